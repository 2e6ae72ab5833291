use std::fs;

use super::*;
use crate::rpmdb::testing::{File, dir, header, identity, ndb, package, u32s};

fn root_with(bytes: &[u8]) -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("usr/lib/sysimage/rpm");
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("Packages.db"), bytes).unwrap();
    let root = Root::at(dir.path()).unwrap();
    (dir, root)
}

fn prefixes() -> Vec<Prefix> {
    let all = ["/var", "/srv"].map(|p| Prefix::new(Path::new(p)).unwrap());
    all.to_vec()
}

fn directories(bytes: &[u8], verify_digests: bool) -> Result<Directories, RpmdbError> {
    let (_dir, root) = root_with(bytes);
    let options = OpenOptions {
        verify_digests,
        ..OpenOptions::default()
    };
    let db = Database::open(&root, &options).unwrap().unwrap();
    db.directories(&prefixes())
}

fn names(bad: &[BadPackage]) -> Vec<&str> {
    bad.iter().map(|b| b.name.as_str()).collect()
}

#[test]
fn a_root_without_a_database_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::at(dir.path()).unwrap();
    assert!(
        Database::open(&root, &OpenOptions::default())
            .unwrap()
            .is_none()
    );
}

#[test]
fn directories_are_sorted_by_path_and_then_by_package() {
    let bytes = ndb(&[
        package("b", &[dir("/var/lib/", "z"), dir("/srv/", "x")]),
        package("none", &[dir("/usr/", "x")]),
        package(
            "a",
            &[dir("/srv/", "x"), dir("/srv//", "x"), dir("/srv/", "x-y")],
        ),
    ]);
    let found = directories(&bytes, true).unwrap();
    let entries: Vec<_> = found
        .entries
        .iter()
        .map(|e| (e.path.to_str().unwrap(), e.package))
        .collect();
    assert_eq!(
        entries,
        [
            ("/srv//x", 1),
            ("/srv/x", 0),
            ("/srv/x", 1),
            ("/srv/x-y", 1),
            ("/var/lib/z", 0)
        ]
    );
    let packages: Vec<_> = found
        .packages
        .iter()
        .map(|p| p.nevra.name.as_str())
        .collect();
    assert_eq!(packages, ["b", "a"]);
    assert_eq!(found.bad, []);
}

#[test]
fn one_bad_header_among_good_ones_is_named_and_the_others_are_read() {
    let bad_file = File {
        mode: 0,
        ..dir("/var/", "bad")
    };
    let bytes = ndb(&[
        package("good", &[dir("/var/", "a")]),
        b"no header".to_vec(),
        package("bad", &[dir("/var/", "b"), bad_file]),
        package("fine", &[dir("/var/", "c")]),
    ]);
    let found = directories(&bytes, false).unwrap();
    assert_eq!(names(&found.bad), ["number 2", "bad-1-2.noarch"]);
    let paths: Vec<_> = found
        .entries
        .iter()
        .map(|e| e.path.to_str().unwrap())
        .collect();
    assert_eq!(paths, ["/var/a", "/var/c"], "nothing of a bad package");
    let (_dir, root) = root_with(&bytes);
    let db = Database::open(&root, &OpenOptions::default())
        .unwrap()
        .unwrap();
    let (packages, bad) = db.nevras().unwrap();
    let all: Vec<_> = packages.iter().map(|p| p.nevra.name.as_str()).collect();
    assert_eq!(
        (all, names(&bad)),
        (vec!["good", "bad", "fine"], vec!["number 2"])
    );
}

#[test]
fn a_header_that_does_not_match_its_digest_is_reported_when_asked_and_read() {
    let mut changed = package("pkg", &[dir("/var/", "a")]);
    let at = changed.windows(3).position(|w| w == b"pkg").unwrap();
    changed[at] = b'q';
    let bytes = ndb(&[changed, package("good", &[])]);
    assert_eq!(directories(&bytes, false).unwrap().bad, []);
    let found = directories(&bytes, true).unwrap();
    assert_eq!(names(&found.bad), ["qkg-1-2.noarch"]);
    assert_eq!(found.entries.len(), 1);
}

#[test]
fn a_database_that_was_changed_meanwhile_is_read_again_from_the_beginning() {
    struct Restless(std::cell::Cell<u32>, u32);
    impl Blobs for Restless {
        fn for_each(
            &self,
            ask: Ask<'_>,
            visit: &mut dyn FnMut(super::super::source::Blob<'_>),
        ) -> Result<(), RpmdbError> {
            assert_eq!(ask.attempt, self.0.replace(ask.attempt + 1));
            let header = header(&identity("pkg"), &[u32s(1008, &[ask.attempt])]);
            visit(super::super::source::Blob {
                number: 1,
                bytes: Ok(&header),
            });
            match ask.attempt < self.1 {
                true => Err(RpmdbError::Changed("db".into())),
                false => Ok(()),
            }
        }
    }
    let (_dir, root) = root_with(&ndb(&[]));
    let db = Database::open(&root, &OpenOptions::default())
        .unwrap()
        .unwrap();
    let list = |restless: &Restless| {
        db.scan(restless, Ask::default(), Vec::new, |found, header| {
            found.push(header.package()?.install_time);
            Ok(())
        })
    };
    assert_eq!(list(&Restless(0.into(), 2)).unwrap().0, [2]);
    let never = list(&Restless(0.into(), u32::MAX));
    assert!(matches!(never, Err(RpmdbError::Busy(_))), "{never:?}");
}

#[test]
fn a_database_of_nothing_but_bad_packages_is_damaged_as_a_whole() {
    // slots without a mark cost nothing to make: 256 in each page
    let pages = u32::try_from(MOST_BAD / 256 + 2).unwrap();
    let mut bytes = ndb(&[]);
    bytes[12..16].copy_from_slice(&pages.to_le_bytes());
    bytes.resize(pages as usize * 4096, 0xff);
    let refused = directories(&bytes, false);
    assert!(
        matches!(refused, Err(RpmdbError::Format(..))),
        "{refused:?}"
    );
}

#[test]
fn a_database_says_what_it_is_and_which_are_ignored() {
    let (dir, root) = root_with(&ndb(&[]));
    let other = dir.path().join("var/lib/rpm");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("rpmdb.sqlite"), "").unwrap();
    let db = Database::open(&root, &OpenOptions::default())
        .unwrap()
        .unwrap();
    assert_eq!(db.backend(), Backend::Ndb);
    assert!(db.path().ends_with("usr/lib/sysimage/rpm/Packages.db"));
    assert_eq!(
        db.ignored(),
        [(Backend::Sqlite, root.join("var/lib/rpm/rpmdb.sqlite"))]
    );
    let before = db.fingerprint().unwrap();
    let generation_at = 8;
    let mut bytes = ndb(&[]);
    bytes[generation_at] += 1;
    fs::write(db.path(), bytes).unwrap();
    assert_ne!(before, db.fingerprint().unwrap());
}
