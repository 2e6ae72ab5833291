//! What is not read natively is asked of rpm, and nothing is written where it lies.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use transactional_update::rpmdb::{
    Backend, Database, DirectoryEntry, InstalledPackage, OpenOptions, diff,
};
use transactional_update::sys::Root;
use transactional_update::sys::cmd::Argv;
use transactional_update::sys::tool::Tool;

use crate::rpmdb::{kept, open, prefixes};

/// Writes the headers of a database of ndb ($0) as a database of Berkeley DB ($1), as rpm did once.
const CONVERT: &str = r#"
use strict; use DB_File; use Fcntl;
my ($from, $to) = @ARGV;
open my $in, '<:raw', $from or die; local $/; my $ndb = <$in>;
tie my %db, 'DB_File', $to, O_RDWR|O_CREAT, 0644, $DB_HASH or die;
my ($pages, $last) = (unpack('V', substr $ndb, 12, 4), 0);
for (my $at = 32; $at < $pages * 4096; $at += 16) {
    my (undef, $number, $offset) = unpack 'V4', substr $ndb, $at, 16;
    next unless $offset;
    my $length = unpack 'V', substr $ndb, $offset * 16 + 12, 4;
    $db{pack 'L', $number} = substr $ndb, $offset * 16 + 16, $length;
    $last = $number if $number > $last;
}
$db{pack 'L', 0} = pack 'L', $last;
untie %db or die;
"#;

/// A root with the headers of a small database in a database of Berkeley DB.
fn root_with_bdb(of: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("var/lib/rpm");
    fs::create_dir_all(&dir).unwrap();
    let (from, to) = (kept(of).join("Packages.db"), dir.join("Packages"));
    let argv = ["perl", "-e", CONVERT].map(OsString::from);
    let argv = argv.into_iter().chain([from.into(), to.into()]);
    let perl = Tool::new(Argv::new(argv), Duration::from_secs(60))
        .run()
        .unwrap();
    assert_eq!(perl.code, 0, "{}", perl.last_words());
    root
}

fn open_root(root: &Path) -> Database {
    let options = OpenOptions::default();
    Database::open(&Root::at(root).unwrap(), &options)
        .unwrap()
        .unwrap()
}

fn sorted(database: &Database) -> Vec<InstalledPackage> {
    let (mut packages, bad) = database.nevras().unwrap();
    assert!(bad.is_empty(), "{bad:?}");
    packages.sort_by(|a, b| a.nevra.cmp(&b.nevra));
    packages
}

fn entries(root: &Path) -> Vec<String> {
    let names = fs::read_dir(root.join("var/lib/rpm")).unwrap();
    names
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn rpm_tells_of_an_old_database_what_is_read_from_a_newer_one() {
    let root = root_with_bdb("few/ndb");
    let (old, new) = (open_root(root.path()), open(&kept("few/ndb")));
    assert_eq!((old.backend(), new.backend()), (Backend::Bdb, Backend::Ndb));
    assert_eq!(sorted(&old), sorted(&new));
    let told = |database: &Database| {
        let found = database.directories(&prefixes()).unwrap();
        assert!(found.bad.is_empty(), "{:?}", found.bad);
        let packages = &found.packages;
        let line = |e: &DirectoryEntry| {
            let (e, nevra) = (
                DirectoryEntry {
                    package: 0,
                    ..e.clone()
                },
                &packages[e.package].nevra,
            );
            format!("{nevra} {e:?}")
        };
        let mut lines: Vec<_> = found.entries.iter().map(line).collect();
        lines.sort();
        lines
    };
    assert_eq!(told(&old), told(&new));
    assert!(diff(&old, &new).unwrap().is_empty());
    for package in sorted(&new) {
        let changes = |database: &Database| database.changelog(&package.nevra).unwrap();
        assert_eq!(changes(&old), changes(&new), "{}", package.nevra);
    }
    assert_eq!(old.fingerprint().unwrap(), old.fingerprint().unwrap());
    assert_eq!(entries(root.path()), ["Packages"]);
}

#[test]
fn what_rpm_does_not_know_either_is_an_error_and_no_empty_database() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("var/lib/rpm")).unwrap();
    for bytes in [&b""[..], b"what is this?", &[0; 8192]] {
        fs::write(root.path().join("var/lib/rpm/Packages"), bytes).unwrap();
        let database = open_root(root.path());
        let e = database.nevras().unwrap_err().to_string();
        assert!(e.contains("var/lib/rpm/Packages"), "{e}");
        assert!(database.directories(&prefixes()).is_err());
        assert_eq!(entries(root.path()), ["Packages"]);
    }
}
