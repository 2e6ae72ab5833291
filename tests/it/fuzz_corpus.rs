//! The inputs that fuzzing began with and what it found are read as they are in fuzzing.

use std::fs;
use std::path::{Path, PathBuf};

#[allow(unreachable_pub)] // it is a library there
#[path = "../../fuzz/src/lib.rs"]
mod checks;

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let entries = fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut found: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    found.sort();
    found
}

#[test]
fn every_header_of_the_corpus_is_read_or_refused() {
    let corpus = corpus("rpmdb_header");
    assert!(corpus.len() > 50, "{}", corpus.len());
    for (path, bytes) in corpus {
        let name = path.file_name().unwrap().to_string_lossy();
        let is_header = checks::header(&bytes);
        if name.starts_with("whole-") {
            assert!(is_header, "{name}");
        }
        // a change of length or number, of the type of the region or of what is cut off is never overlooked
        let told = [
            "bad-entries-",
            "bad-length-",
            "bad-cut",
            "bad-longer",
            "bad-empty",
            "bad-7",
        ];
        if told.iter().any(|t| name.starts_with(t)) {
            assert!(!is_header, "{name}");
        }
    }
}

#[test]
fn every_database_of_the_corpus_is_read_or_refused() {
    let corpus = corpus("rpmdb_ndb");
    assert!(corpus.len() > 20, "{}", corpus.len());
    for (path, bytes) in corpus {
        let name = path.file_name().unwrap().to_string_lossy();
        let found = checks::ndb(&bytes);
        match &*name {
            "whole" => assert_eq!(found, Some((2, 0))),
            "empty" | "31-bytes" | "magic" | "version-1" | "pages-0" | "pages-65535" => {
                assert_eq!(found, None, "{name}");
            }
            // one is damaged, the other one is read
            "cut" | "number-2" | "head-2" | "length-4000" | "tail-0" | "end-0" | "block-1" => {
                let (packages, bad) = found.unwrap();
                assert!(packages <= 1 && bad >= 1, "{name}: {packages} and {bad}");
            }
            _ => {}
        }
    }
}

/// The name of a file of the corpus.
fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn every_pattern_of_the_corpus_matches_or_is_refused() {
    let corpus = corpus("sysupdate_pattern");
    assert!(corpus.len() > 50, "{}", corpus.len());
    for (path, bytes) in corpus {
        let name = name_of(&path);
        let found = checks::pattern(&bytes);
        match name.split('-').next() {
            Some("match") => assert_eq!(found, Some(true), "{name}"),
            Some("other") => assert_eq!(found, Some(false), "{name}"),
            Some("refused") => assert_eq!(found, None, "{name}"),
            _ => {}
        }
    }
}

#[test]
fn every_transfer_file_of_the_corpus_is_read_or_refused() {
    let corpus = corpus("sysupdate_transfer");
    assert!(corpus.len() > 10, "{}", corpus.len());
    for (path, bytes) in corpus {
        let name = name_of(&path);
        let is_read = checks::transfer(&bytes);
        if let Some(kind @ ("good" | "bad")) = name.split('-').next() {
            assert_eq!(is_read, kind == "good", "{name}");
        }
    }
}

#[test]
fn every_manifest_of_the_corpus_is_read_or_refused() {
    let corpus = corpus("sysupdate_manifest");
    assert!(corpus.len() > 10, "{}", corpus.len());
    for (path, bytes) in corpus {
        let name = name_of(&path);
        let is_read = checks::manifest(&bytes).is_some();
        if let Some(kind @ ("good" | "bad")) = name.split('-').next() {
            assert_eq!(is_read, kind == "good", "{name}");
        }
    }
}

#[test]
fn every_payload_of_the_corpus_is_decompressed_or_refused() {
    let corpus = corpus("sysupdate_payload");
    assert!(corpus.len() > 40, "{}", corpus.len());
    for (path, bytes) in corpus {
        let name = name_of(&path);
        let length = checks::payload(&bytes);
        match name.split('-').next() {
            Some("good") => assert!(length.is_some(), "{name}"),
            Some("bad") => assert_eq!(length, None, "{name}"),
            _ => {}
        }
    }
}

#[test]
fn every_archive_of_the_corpus_is_unpacked_or_refused_and_stays_where_it_belongs() {
    let corpus = corpus("sysupdate_archive");
    assert!(corpus.len() > 20, "{}", corpus.len());
    for (path, bytes) in corpus {
        let name = name_of(&path);
        let is_unpacked = checks::archive(&bytes);
        if let Some(kind @ ("good" | "bad")) = name.split('-').next() {
            assert_eq!(is_unpacked, kind == "good", "{name}");
        }
    }
}

#[test]
fn every_disk_of_the_corpus_is_changed_where_its_table_is_or_refused() {
    let corpus = corpus("sysupdate_disk");
    assert!(corpus.len() > 40, "{}", corpus.len());
    for (path, bytes) in corpus {
        let name = name_of(&path);
        let partitions = checks::disk(&bytes);
        match name.split('-').next() {
            Some("good") => assert_eq!(partitions, Some(3), "{name}"),
            Some("bad") => assert_eq!(partitions, None, "{name}"),
            _ => {}
        }
    }
}
