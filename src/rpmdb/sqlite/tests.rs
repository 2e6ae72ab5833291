use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::*;
use crate::rpmdb::fingerprint::sha256;
use crate::rpmdb::testing::{dir, header, identity, package, strings, u16s, u32s};
use crate::rpmdb::{Backend, BadPackage, Database, OpenOptions, diff};
use crate::sys::{Root, beneath};

const FILE: &str = "usr/lib/sysimage/rpm/rpmdb.sqlite";

/// A root with a database that has the tables of rpm.
struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(FILE).parent().unwrap()).unwrap();
        let fixture = Fixture { dir };
        fixture
            .write()
            .execute_batch(
                "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL);
                 CREATE TABLE Name (key 'TEXT' NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL);
                 CREATE TABLE Sha1header (key 'TEXT' NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL);
                 CREATE TABLE Dirnames (key 'TEXT' NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL);
                 CREATE INDEX Dirnames_key_idx ON Dirnames (key);
                 CREATE INDEX Dirnames_hnum_idx ON Dirnames (hnum);",
            )
            .unwrap();
        fixture
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join(FILE)
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        self.dir.path().join(format!("{FILE}{suffix}"))
    }

    /// What is in the directory of the database, with digests of what is in it.
    fn all(&self) -> Vec<(PathBuf, String)> {
        let entries = fs::read_dir(self.file().parent().unwrap()).unwrap();
        let mut all: Vec<_> = entries
            .map(|e| e.unwrap().path())
            .map(|path| (path.clone(), sha256(&[&fs::read(path).unwrap()])))
            .collect();
        all.sort();
        all
    }

    fn write(&self) -> Connection {
        Connection::open(self.file()).unwrap()
    }

    fn database(&self) -> Result<Database, RpmdbError> {
        let root = Root::at(self.dir.path()).unwrap();
        let db = Database::open(&root, &OpenOptions::default())?.unwrap();
        assert_eq!(db.backend(), Backend::Sqlite);
        Ok(db)
    }

    fn source(&self) -> Sqlite {
        let dir = beneath::open_root(self.file().parent().unwrap()).unwrap();
        Sqlite::open(Files::new(dir, "rpmdb.sqlite", &self.file())).unwrap()
    }

    /// The names of its packages, and the bad ones.
    fn names(&self) -> (Vec<String>, Vec<BadPackage>) {
        let (packages, bad) = self.database().unwrap().nevras().unwrap();
        (packages.into_iter().map(|p| p.nevra.name).collect(), bad)
    }

    /// The directories below /var, and the bad packages.
    fn directories(&self) -> (Vec<PathBuf>, Vec<BadPackage>) {
        let var = Prefix::new(Path::new("/var")).unwrap();
        let found = self.database().unwrap().directories(&[var]).unwrap();
        (
            found.entries.into_iter().map(|e| e.path).collect(),
            found.bad,
        )
    }
}

/// Adds a package as rpm does; returns its number.
fn add(db: &Connection, name: &str, directories: &[&str]) -> i64 {
    let files: Vec<_> = directories.iter().map(|d| dir(d, "x")).collect();
    let blob = package(name, &files);
    let digest = sha256(&[&blob]);
    db.execute("INSERT INTO Packages (blob) VALUES (?1)", [&blob])
        .unwrap();
    let number = db.last_insert_rowid();
    let index = |table: &str, key: &str| {
        let insert = format!("INSERT INTO {table} VALUES (?1, ?2, 0)");
        db.execute(&insert, (key, number)).unwrap();
    };
    index("Name", name);
    index("Sha1header", &digest);
    for directory in directories {
        index("Dirnames", directory);
    }
    number
}

fn add_blob(db: &Connection, value: impl ToSql) {
    db.execute("INSERT INTO Packages (blob) VALUES (?1)", [value])
        .unwrap();
}

#[test]
fn packages_and_only_directories_below_the_prefixes_are_read() {
    let fixture = Fixture::new();
    let db = fixture.write();
    add(&db, "a", &["/usr/", "/var/lib/"]);
    add(&db, "b", &["/usr/", "/var", "/various/"]);
    add(&db, "c", &[]);
    add(&db, "d", &["/var/"]);
    drop(db);
    let before = fixture.all();
    assert_eq!(fixture.names().0, ["a", "b", "c", "d"]);
    let (paths, bad) = fixture.directories();
    assert_eq!(paths, [Path::new("/var/lib/x"), Path::new("/var/x")]);
    assert!(bad.is_empty(), "{bad:?}");
    assert_eq!(fixture.all(), before);
}

#[test]
fn whole_paths_are_found_although_no_index_knows_them() {
    let fixture = Fixture::new();
    let db = fixture.write();
    add(&db, "a", &["/usr/"]);
    let paths = [
        strings(1027, &["/var/old"]),
        u16s(1030, &[0o40700]),
        u32s(1037, &[0]),
        strings(1039, &["root"]),
        strings(1040, &["root"]),
    ];
    add_blob(
        &db,
        header(&[identity("old"), paths.to_vec()].concat(), &[]),
    );
    for index in ["", "INSERT INTO Name VALUES ('old', 2, 0)"] {
        db.execute_batch(index).unwrap();
        let (paths, bad) = fixture.directories();
        let expected = if index.is_empty() { 0 } else { 1 };
        assert_eq!((paths.len(), bad.len()), (expected, 0), "{index}");
    }
    db.execute_batch("DROP TABLE Name").unwrap();
    assert_eq!(fixture.directories().0, [Path::new("/var/old")]);
    db.execute_batch("DROP TABLE Dirnames").unwrap();
    assert_eq!(fixture.directories().0, [Path::new("/var/old")]);
}

#[test]
fn one_header_that_cannot_be_had_is_one_bad_package() {
    let fixture = Fixture::new();
    let db = fixture.write();
    db.execute_batch(
        "DROP TABLE Packages; CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob)",
    )
    .unwrap();
    add(&db, "a", &["/var/"]);
    let whole = package("cut", &[]);
    add_blob(&db, rusqlite::types::Null);
    add_blob(&db, 7);
    add_blob(&db, "text");
    add_blob(&db, &whole[..whole.len() - 1]);
    add_blob(&db, Vec::<u8>::new());
    for number in 2..=6 {
        let name = format!("INSERT INTO Name VALUES ('bad', {number}, 0)");
        db.execute_batch(&name).unwrap();
    }
    db.execute_batch("INSERT INTO Dirnames VALUES ('/var/', 5, 0), ('/var/', 99, 0)")
        .unwrap();
    add(&db, "z", &["/var/lib/"]);
    let (names, bad) = fixture.names();
    assert_eq!((names, bad.len()), (vec!["a".into(), "z".into()], 5));
    let (paths, bad) = fixture.directories();
    assert_eq!(paths, [Path::new("/var/lib/x"), Path::new("/var/x")]);
    let bad: Vec<_> = bad.iter().map(|b| b.name.as_str()).collect();
    // what is short and without a directory has no paths either; the one that is no row is told, too
    assert_eq!(bad, ["number 2", "number 3", "number 5", "number 99"]);
}

#[test]
fn what_is_no_database_of_rpm_is_an_error_that_names_the_file() {
    let view = "ALTER TABLE Packages RENAME TO p; CREATE VIEW Packages AS SELECT * FROM p";
    for (why, sql) in [
        ("no table Packages", "DROP TABLE Packages"),
        ("no table Packages", view),
        ("hnum", "DROP TABLE Packages; CREATE TABLE Packages (a)"),
    ] {
        let fixture = Fixture::new();
        fixture.write().execute_batch(sql).unwrap();
        let e = fixture
            .database()
            .unwrap()
            .nevras()
            .unwrap_err()
            .to_string();
        assert!(e.contains(why) && e.contains(FILE), "{e}");
    }
    for bytes in [&b""[..], b"SQLite format 3", &[b'x'; 4096], &[0; 100]] {
        let fixture = Fixture::new();
        fs::write(fixture.file(), bytes).unwrap();
        let e = fixture.database().map(|_| ()).unwrap_err().to_string();
        assert!(e.contains(FILE), "{e}");
    }
}

#[test]
fn a_truncated_or_overwritten_database_is_an_error_or_has_bad_packages() {
    let fixture = Fixture::new();
    let db = fixture.write();
    for i in 0..50 {
        add(
            &db,
            &format!("p{i}"),
            &["/var/", &"/usr/long/".repeat(i * 2 + 1)],
        );
    }
    drop(db);
    let whole = fs::read(fixture.file()).unwrap();
    let directories = |bytes: &[u8]| {
        fs::write(fixture.file(), bytes).unwrap();
        let var = Prefix::new(Path::new("/var")).unwrap();
        let db = fixture.database()?;
        db.nevras()?;
        db.directories(&[var])
    };
    assert_eq!(directories(&whole).unwrap().packages.len(), 50);
    for pages in [1, 2, 5, whole.len() / 4096 - 1] {
        assert!(directories(&whole[..pages * 4096]).is_err(), "{pages}");
    }
    for page in 1..whole.len() / 4096 {
        for fill in [0x0d, 0xff] {
            let mut bytes = whole.clone();
            bytes[page * 4096..][..4096].fill(fill);
            // whatever it says, it comes to an end, and invents nothing
            let found = directories(&bytes).map_or(0, |d| d.entries.len());
            assert!(found <= 50, "{page}");
        }
    }
}

#[test]
fn what_is_in_the_log_counts_and_nothing_is_written_beside_it() {
    let fixture = Fixture::new();
    let db = fixture.write();
    db.execute_batch("PRAGMA journal_mode=WAL").unwrap();
    add(&db, "a", &[]);
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); BEGIN")
        .unwrap();
    add(&db, "b", &[]);
    db.execute_batch("COMMIT").unwrap();
    let logged = fs::read(fixture.beside(WAL)).unwrap();
    // while somebody has it open for writing, here in the same process: sqlite shares its index of the log with us
    let logs = || {
        fixture
            .all()
            .into_iter()
            .filter(|(path, _)| !path.ends_with("rpmdb.sqlite-shm"))
    };
    let before: Vec<_> = logs().collect();
    assert_eq!(fixture.names().0, ["a", "b"]);
    assert_eq!(logs().collect::<Vec<_>>(), before);
    // as after a power cut, or in a snapshot: with an index of the log, of another one, and without any
    let whole = fs::read(fixture.file()).unwrap();
    let index = fs::read(fixture.beside("-shm")).unwrap();
    for index in [Some(index), Some(vec![7; 32768]), Some(Vec::new()), None] {
        let fixture = Fixture::new();
        fs::write(fixture.file(), &whole).unwrap();
        fs::write(fixture.beside(WAL), &logged).unwrap();
        if let Some(index) = &index {
            fs::write(fixture.beside("-shm"), index).unwrap();
        }
        let before = fixture.all();
        assert_eq!(fixture.names().0, ["a", "b"]);
        assert_eq!(fixture.all(), before);
        // a commit that was cut off never happened
        fs::write(fixture.beside(WAL), &logged[..logged.len() - 1]).unwrap();
        assert_eq!(fixture.names().0, ["a"]);
        fs::write(fixture.beside(WAL), "no log").unwrap();
        assert_eq!(fixture.names().0, ["a"]);
    }
}

/// A database in the middle of a transaction that a power cut ended: it has `b` in it, and the journal takes it back.
fn cut_off() -> Fixture {
    let fixture = Fixture::new();
    let db = fixture.write();
    add(&db, "a", &[]);
    db.execute_batch("PRAGMA cache_size=1; BEGIN").unwrap();
    for _ in 0..20 {
        add(&db, "b", &[&"/usr/long/".repeat(1000)]);
    }
    let cut = Fixture::new();
    for suffix in ["", JOURNAL] {
        fs::copy(fixture.beside(suffix), cut.beside(suffix)).unwrap();
    }
    cut
}

#[test]
fn a_transaction_that_was_cut_off_is_taken_back_in_a_copy_only() {
    let fixture = cut_off();
    let before = fixture.all();
    assert_eq!(fixture.names().0, ["a"]);
    assert_eq!(fixture.all(), before);
}

#[test]
fn a_copy_is_gone_as_soon_as_it_is_open() {
    let fixture = cut_off();
    let copy = fixture.source().copy().unwrap();
    let path = Path::new(copy.path().unwrap());
    assert_ne!(path, fixture.file());
    assert!(!path.exists() && !path.parent().unwrap().exists());
    let count = copy.query_row("SELECT count(*) FROM Packages", [], |row| row.get(0));
    assert_eq!(count, Ok(1));
}

#[test]
fn a_journal_that_names_another_one_is_refused() {
    let fixture = cut_off();
    let victim = fixture.dir.path().join("victim");
    fs::write(&victim, "").unwrap();
    // the end of a journal, as the file format has it: page, name, length, sum, magic
    let name = victim.to_str().unwrap();
    let sum: u32 = name.bytes().map(u32::from).sum();
    let mut journal = fs::read(fixture.beside(JOURNAL)).unwrap();
    journal.extend(1_u32.to_be_bytes());
    journal.extend(name.as_bytes());
    journal.extend(u32::try_from(name.len()).unwrap().to_be_bytes());
    journal.extend(sum.to_be_bytes());
    journal.extend([0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7]);
    fs::write(fixture.beside(JOURNAL), journal).unwrap();
    let e = fixture.database().unwrap().nevras().unwrap_err();
    assert!(e.to_string().contains("several databases"), "{e}");
    assert!(victim.exists());
}

#[test]
fn a_link_in_the_place_of_the_database_or_its_log_is_refused() {
    for suffix in ["", WAL, JOURNAL] {
        let fixture = Fixture::new();
        add(&fixture.write(), "a", &[]);
        fs::copy(fixture.file(), fixture.beside(".other")).unwrap();
        fs::remove_file(fixture.beside(suffix)).unwrap_or(());
        symlink("rpmdb.sqlite.other", fixture.beside(suffix)).unwrap();
        let read = fixture.database().and_then(|db| db.nevras());
        assert!(read.is_err(), "{suffix}");
    }
}

#[test]
fn a_database_that_changes_while_it_is_read_is_read_again() {
    let fixture = Fixture::new();
    add(&fixture.write(), "a", &[]);
    let source = fixture.source();
    let changes: [&dyn Fn(); 3] = [
        &|| assert_eq!(add(&fixture.write(), "b", &[]), 2),
        &|| {
            fs::copy(fixture.file(), fixture.beside(".new")).unwrap();
            fs::rename(fixture.beside(".new"), fixture.file()).unwrap();
        },
        &|| {
            fs::File::options()
                .append(true)
                .open(fixture.file())
                .unwrap()
                .set_len(1)
                .unwrap()
        },
    ];
    for change in changes {
        let read = source.read(0, |_| {
            change();
            Ok(())
        });
        assert!(read.is_err(), "{read:?}");
    }
    assert!(matches!(
        source.read(ATTEMPTS, |_| Ok(())),
        Err(RpmdbError::Busy(_))
    ));
}

#[test]
fn after_some_attempts_it_is_read_with_locks() {
    let fixture = Fixture::new();
    let db = fixture.write();
    add(&db, "a", &[]);
    let write = |sql| db.execute_batch(sql);
    let read = fixture.source().read(UNLOCKED, |_| {
        Ok(write("PRAGMA busy_timeout=0; DELETE FROM Packages").is_err())
    });
    assert!(read.unwrap(), "nobody writes meanwhile");
    // and what somebody else has locked is not read
    write("BEGIN EXCLUSIVE").unwrap();
    let read = fixture.source().read(UNLOCKED, |_| Ok(()));
    assert!(matches!(read, Err(RpmdbError::Busy(_))), "{read:?}");
}

#[test]
fn the_changes_of_one_package_are_found_by_its_name() {
    let fixture = Fixture::new();
    let db = fixture.write();
    let lists = [
        u32s(1080, &[9]),
        strings(1081, &["me"]),
        strings(1082, &["- more"]),
    ];
    let number = add(&db, "a", &[]);
    let blob = header(&[identity("a"), lists.to_vec()].concat(), &[]);
    db.execute(
        "UPDATE Packages SET blob = ?1 WHERE hnum = ?2",
        (blob, number),
    )
    .unwrap();
    add(&db, "b", &[]);
    let database = fixture.database().unwrap();
    let (packages, _) = database.nevras().unwrap();
    let entries = |at: usize| database.changelog(&packages[at].nevra).unwrap();
    assert_eq!(
        (entries(0)[0].text.as_str(), entries(1).len()),
        ("- more", 0)
    );
    let none = crate::rpmdb::Nevra {
        version: "9".into(),
        ..packages[0].nevra.clone()
    };
    assert_eq!(database.changelog(&none).unwrap(), []);
}

#[test]
fn any_bytes_may_be_in_the_path() {
    use std::ffi::OsStr;
    let fixture = Fixture::new();
    add(&fixture.write(), "a", &["/var/"]);
    let odd = fixture
        .dir
        .path()
        .join(OsStr::from_bytes(b"a?b#c%41 \xff'\n"));
    fs::create_dir(&odd).unwrap();
    fs::rename(fixture.dir.path().join("usr"), odd.join("usr")).unwrap();
    let db = Database::open(&Root::at(&odd).unwrap(), &OpenOptions::default());
    assert_eq!(db.unwrap().unwrap().nevras().unwrap().0.len(), 1);
}

#[test]
fn the_fingerprint_is_another_one_after_each_change() {
    let fixture = Fixture::new();
    let db = fixture.write();
    let print = || fixture.database().unwrap().fingerprint().unwrap();
    let mut seen = vec![print()];
    assert_eq!(print(), seen[0]);
    let mut differs = |what: &str| {
        assert!(!seen.contains(&print()), "{what}");
        seen.push(print());
    };
    add(&db, "a", &[]);
    differs("a package");
    db.execute_batch("PRAGMA journal_mode=WAL").unwrap();
    add(&db, "b", &[]);
    differs("a package in the log");
    add(&db, "c", &[]);
    differs("another one");
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    differs("the log brought in");
}

#[test]
fn of_two_databases_only_what_can_differ_is_read() {
    let (old, new) = (Fixture::new(), Fixture::new());
    for fixture in [&old, &new] {
        let db = fixture.write();
        add(&db, "same", &[]);
        add(&db, "kernel", &["/1/"]);
        db.execute_batch("UPDATE Packages SET blob = x'00' WHERE hnum = 1")
            .unwrap();
    }
    add(&old.write(), "gone", &[]);
    let db = new.write();
    add(&db, "came", &[]);
    add(&db, "kernel", &["/2/"]);
    let open = |f: &Fixture| f.database().unwrap();
    let few = diff(&open(&old), &open(&new)).unwrap();
    assert_eq!(names(&few.removed), ["gone"]);
    assert_eq!(names(&few.added), ["came", "kernel"]);
    assert!(few.bad.is_empty(), "{:?}", few.bad);
    // without its index of names everything is read, and found to be the same
    db.execute_batch("DELETE FROM Name WHERE key = 'came'")
        .unwrap();
    let mut all = diff(&open(&old), &open(&new)).unwrap();
    assert_eq!(std::mem::take(&mut all.bad).len(), 2);
    assert_eq!(all, few);
    assert!(diff(&open(&new), &open(&new)).unwrap().is_empty());
}

fn names(packages: &[crate::rpmdb::InstalledPackage]) -> Vec<&str> {
    packages.iter().map(|p| p.nevra.name.as_str()).collect()
}
