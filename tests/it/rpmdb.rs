//! What is read from RPM databases is what rpm itself says of the same ones.
//!
//! Beside each database lies the answer of the rpm that made it (tests/fixture/rpmdb.sh); the small ones are kept in tests/data.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use transactional_update::rpmdb::{
    Database, Directories, DirectoryEntry, FileState, InstalledPackage, OpenOptions, Prefix,
};
use transactional_update::sys::Root;

/// A directory of the fixture or of tests/data with databases and answers.
pub(crate) fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/rpmdb")
        .join(name)
}

/// Opens the database in `dir` without anything around it.
pub(crate) fn open(dir: &Path) -> Database {
    let options = OpenOptions {
        dir: Some(PathBuf::from(".")),
        ..OpenOptions::default()
    };
    let database = Database::open(&Root::at(dir).unwrap(), &options);
    database.unwrap().expect("there is a database")
}

pub(crate) fn prefixes() -> Vec<Prefix> {
    let tops = ["/var", "/srv", "/opt"];
    tops.map(|p| Prefix::new(Path::new(p)).unwrap()).to_vec()
}

/// The records of an answer: fields between tabs, quoted as for a shell.
pub(crate) fn records(answer: &Path) -> Vec<Vec<Vec<u8>>> {
    let bytes = fs::read(answer).unwrap_or_else(|e| panic!("{}: {e}", answer.display()));
    let (mut records, mut record, mut field) = (Vec::new(), Vec::new(), Vec::new());
    let (mut quoted, mut rest) = (false, bytes.iter());
    while let Some(byte) = rest.next() {
        match (quoted, byte) {
            (_, b'\'') => quoted = !quoted,
            (false, b'\\') => field.extend(rest.next()),
            (false, b'\t') => record.push(std::mem::take(&mut field)),
            (false, b'\n') => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            _ => field.push(*byte),
        }
    }
    assert!(!quoted && record.is_empty() && !records.is_empty());
    records
}

fn text(field: &[u8]) -> String {
    String::from_utf8(field.to_vec()).unwrap()
}

/// What rpm prints for what is not there.
const NONE: &[u8] = b"(none)";

/// A directory as rpm tells it: path, mode, user, group, flags, state, package.
type Line = (Vec<u8>, u32, Vec<u8>, Vec<u8>, bool, String, String);

/// The directories below `/var/`, `/srv/` and `/opt/` in an answer, sorted.
pub(crate) fn told_directories(answer: &Path) -> Vec<Line> {
    let mut lines = Vec::new();
    for record in records(answer) {
        let [nevra, mode, flags, state, user, group, name, old_name] = &record[..] else {
            panic!("{record:?}");
        };
        let path = if name == NONE { old_name } else { name };
        let mode = u32::from_str_radix(&text(mode), 8).unwrap();
        let below = |top: &str| path.starts_with(top.as_bytes()) && path.len() > top.len();
        if mode & 0o170_000 == 0o040_000 && ["/var/", "/srv/", "/opt/"].into_iter().any(below) {
            let is_ghost = text(flags).parse::<u32>().unwrap() & 64 != 0;
            let state = if state == NONE {
                "0".into()
            } else {
                text(state)
            };
            let nevra = text(nevra);
            let (user, group) = (user.clone(), group.clone());
            lines.push((
                path.clone(),
                mode & 0o7777,
                user,
                group,
                is_ghost,
                state,
                nevra,
            ));
        }
    }
    lines.sort();
    lines
}

fn line(entry: &DirectoryEntry, packages: &[InstalledPackage]) -> Line {
    let state = match entry.state {
        FileState::Normal => 0,
        FileState::Replaced => 1,
        FileState::NotInstalled => 2,
        FileState::NetShared => 3,
        FileState::WrongColour => 4,
        FileState::Unknown(n) => n,
    };
    (
        entry.path.as_os_str().as_bytes().to_vec(),
        entry.mode,
        entry.user.as_bytes().to_vec(),
        entry.group.as_bytes().to_vec(),
        entry.is_ghost,
        state.to_string(),
        packages[entry.package].nevra.to_string(),
    )
}

/// Compares what is read of directories with the answer of rpm; how many there are.
pub(crate) fn agrees_about_directories(found: &Directories, answer: &Path) -> usize {
    assert!(found.bad.is_empty(), "{:?}", found.bad);
    let key = |e: &DirectoryEntry| (e.path.as_os_str().to_owned(), e.package);
    assert!(
        found.entries.is_sorted_by_key(key),
        "by path, then by package"
    );
    let lines = found.entries.iter().map(|e| line(e, &found.packages));
    let mut lines: Vec<_> = lines.collect();
    lines.sort();
    let told = told_directories(answer);
    let show =
        |(path, mode, .., package): &Line| format!("{} {mode:o} of {package}", path.escape_ascii());
    let only = |a: &[Line], b: &[Line]| {
        let lines = a.iter().filter(|l| b.binary_search(l).is_err());
        lines.map(show).collect::<Vec<_>>().join("\n")
    };
    assert!(
        lines == told,
        "only we say:\n{}\nonly rpm says:\n{}",
        only(&lines, &told),
        only(&told, &lines)
    );
    told.len()
}

/// Compares the list of packages with the answer of rpm; how many there are. `hashed` is how many have no digest at all.
pub(crate) fn agrees_about_packages(database: &Database, answer: &Path, hashed: usize) -> usize {
    let (found, bad) = database.nevras().unwrap();
    assert!(bad.is_empty(), "{bad:?}");
    let or_none = |field: Option<String>| field.unwrap_or_else(|| "(none)".to_owned());
    let told = records(answer);
    let mut told: Vec<Vec<String>> = told
        .iter()
        .map(|r| r.iter().map(|f| text(f)).collect())
        .collect();
    let mut without = 0;
    for record in &mut told {
        let sha1 = record.remove(6);
        if record[5] == "(none)" {
            record[5] = sha1;
        }
    }
    let mut lines = Vec::new();
    for package in found {
        let nevra = package.nevra;
        let mut identity = package.identity;
        if told.iter().all(|record| record[5] != identity) {
            assert!(identity.len() == 64 && identity.bytes().all(|b| b.is_ascii_hexdigit()));
            without += 1;
            "(none)".clone_into(&mut identity);
        }
        let arch = Some(nevra.arch).filter(|a| !a.is_empty());
        lines.push(vec![
            nevra.name,
            or_none(nevra.epoch.map(|e| e.to_string())),
            nevra.version,
            nevra.release,
            or_none(arch),
            identity,
            package.install_time.to_string(),
            or_none(package.transaction.map(|t| t.to_string())),
            or_none(package.vendor),
            package.size.to_string(),
        ]);
    }
    told.sort();
    lines.sort();
    assert_eq!(lines, told);
    assert_eq!(without, hashed);
    told.len()
}

#[test]
fn directories_of_small_databases_are_those_that_rpm_says() {
    for (database, answer, directories) in [
        ("few/ndb", "few/ndb.files", 20),
        ("few/sqlite", "few/sqlite.files", 20),
        ("edge/ndb", "edge/ndb.files", 60),
    ] {
        let found = open(&kept(database)).directories(&prefixes()).unwrap();
        let count = agrees_about_directories(&found, &kept(answer));
        assert!(count >= directories, "{database}: {count}");
    }
}

#[test]
fn packages_of_small_databases_are_those_that_rpm_says() {
    for (database, answer, packages, hashed) in [
        ("few/ndb", "few/ndb.packages", 9, 0),
        ("few/sqlite", "few/sqlite.packages", 9, 0),
        ("edge/ndb", "edge/ndb.packages", 37, 1),
    ] {
        let count = agrees_about_packages(&open(&kept(database)), &kept(answer), hashed);
        assert_eq!(count, packages, "{database}");
    }
}

#[test]
fn only_directories_below_the_prefixes_that_are_asked_for_are_found() {
    for database in ["few/ndb", "few/sqlite"] {
        let opt = [Prefix::new(Path::new("/opt")).unwrap()];
        let found = open(&kept(database)).directories(&opt).unwrap();
        let paths: Vec<_> = found.entries.iter().map(|e| e.path.clone()).collect();
        assert_eq!(paths, [Path::new("/opt/x")], "{database}");
        let packages: Vec<_> = found.packages.iter().map(|p| &p.nevra.name).collect();
        assert_eq!(packages, ["other-roots"], "{database}");
    }
}
