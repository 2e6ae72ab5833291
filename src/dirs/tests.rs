//! Tests of whole runs, with a database that is made up.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use super::*;
use crate::rpmdb::{BadPackage, DirectoryEntry, FileState, InstalledPackage, Nevra};

/// A system with a database.
struct System {
    dir: tempfile::TempDir,
    entries: Vec<DirectoryEntry>,
    fingerprint: String,
    request: Request,
    scans: Cell<usize>,
}

const STAMP: &str = "var/lib/transactional-update/create-dirs.json";

impl System {
    /// With these directories: path, mode, user and group.
    fn new(entries: &[(&str, u32, &str, &str)]) -> System {
        let dir = tempfile::tempdir().unwrap();
        for there in ["etc", "var/lib", "srv"] {
            fs::create_dir_all(dir.path().join(there)).unwrap();
        }
        fs::write(dir.path().join("etc/passwd"), "known:x:77:78::/:\n").unwrap();
        fs::write(dir.path().join("etc/group"), "group:x:79:\n").unwrap();
        let entry = |&(path, mode, user, group): &(&str, u32, &str, &str)| DirectoryEntry {
            path: path.into(),
            mode,
            user: user.into(),
            group: group.into(),
            is_ghost: false,
            state: FileState::Normal,
            package: 0,
        };
        let prefixes = ["/var", "/srv", "/opt"];
        System {
            entries: entries.iter().map(entry).collect(),
            fingerprint: "1".into(),
            request: Request {
                prefixes: prefixes.map(|p| Prefix::new(Path::new(p)).unwrap()).into(),
                ..Request::default()
            },
            scans: Cell::new(0),
            dir,
        }
    }

    fn at(&self, rel: &str) -> PathBuf {
        self.dir.path().join(rel)
    }

    fn run(&self) -> Report {
        self.run_as(&self.request)
    }

    fn run_as(&self, request: &Request) -> Report {
        let root = Root::at(self.dir.path()).unwrap();
        let mut run = Run::new(&root, request).unwrap();
        let done = run.compare(fingerprint(&self.fingerprint), |_| {
            self.scans.set(self.scans.get() + 1);
            Ok((found(&self.entries), Vec::new()))
        });
        run.end(done).unwrap()
    }

    /// A run that must not read the database.
    fn run_without_scan(&self) -> Report {
        let scans = self.scans.get();
        let report = self.run();
        assert_eq!(self.scans.get(), scans, "the database was read: {report:?}");
        report
    }

    /// Mode, owner and group of everything but the stamp, a link with where it leads to.
    fn tree(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        let top = beneath::open_root(self.dir.path()).unwrap();
        beneath::walk(&top, Path::new(""), 10_000, &mut |path, stat| {
            let is_state = path.starts_with("var/lib/transactional-update");
            let link = fs::read_link(self.dir.path().join(path)).unwrap_or_default();
            let what = format!(
                "{:o} {}:{} {}",
                stat.st_mode,
                stat.st_uid,
                stat.st_gid,
                link.display()
            );
            if !is_state {
                found.insert(path.to_owned(), what);
            }
        })
        .unwrap();
        found
    }

    fn attributes(&self, rel: &str) -> (u32, u32, u32) {
        let stat = fs::symlink_metadata(self.at(rel)).unwrap();
        assert!(stat.is_dir(), "{rel}");
        (stat.permissions().mode() & 0o7777, stat.uid(), stat.gid())
    }
}

/// What a scan of a database with these directories finds.
fn found(entries: &[DirectoryEntry]) -> Directories {
    let nevra = Nevra {
        name: "p".into(),
        epoch: None,
        version: "1".into(),
        release: "1".into(),
        arch: "noarch".into(),
    };
    Directories {
        entries: entries.to_vec(),
        packages: vec![InstalledPackage {
            nevra,
            identity: String::new(),
            install_time: 0,
            transaction: None,
            vendor: None,
            size: 0,
        }],
        bad: Vec::new(),
    }
}

fn fingerprint(header: &str) -> Fingerprint {
    Fingerprint::Ndb {
        header: header.into(),
        slots: String::new(),
    }
}

fn told(report: &Report) -> Vec<(&str, Action, Option<Reason>)> {
    report
        .entries
        .iter()
        .map(|e| (e.path.to_str().unwrap(), e.action, e.reason))
        .collect()
}

#[test]
fn what_is_missing_is_made_exactly_and_the_next_run_does_not_read_the_database() {
    let system = System::new(&[
        ("/var/lib/a", 0o1777, "root", "root"),
        ("/var/lib/a/b", 0o2775, "known", "group"),
        ("/var/lib/deep/er/c", 0o4755, "known", "root"),
        ("/opt/d", 0o500, "root", "group"),
        ("/usr/e", 0o755, "root", "root"),
    ]);
    let report = system.run();
    let made = |path, reason| (path, Action::Create, reason);
    assert_eq!(
        told(&report),
        [
            made("/opt", Some(Reason::Implied)),
            made("/opt/d", None),
            made("/var/lib/a", None),
            made("/var/lib/a/b", None),
            made("/var/lib/deep", Some(Reason::Implied)),
            made("/var/lib/deep/er", Some(Reason::Implied)),
            made("/var/lib/deep/er/c", None),
        ]
    );
    assert_eq!(
        (report.status.clone(), report.code(false)),
        (Status::Scanned, 0)
    );
    assert_eq!(report.entries[1].packages, ["p-1-1.noarch"]);
    for (rel, expected) in [
        ("var/lib/a", (0o1777, 0, 0)),
        ("var/lib/a/b", (0o2775, 77, 79)),
        ("var/lib/deep", (0o755, 0, 0)),
        ("var/lib/deep/er/c", (0o4755, 77, 0)),
        ("opt/d", (0o500, 0, 79)),
    ] {
        assert_eq!(system.attributes(rel), expected, "{rel}");
    }
    assert!(!system.at("usr").exists());
    let before = (system.tree(), fs::metadata(system.at(STAMP)).unwrap().ino());
    let report = system.run_without_scan();
    assert_eq!(
        (report.status, report.entries),
        (Status::NothingToDo, Vec::new())
    );
    assert_eq!(
        before,
        (system.tree(), fs::metadata(system.at(STAMP)).unwrap().ino())
    );
}

#[test]
fn the_directory_of_the_stamp_is_made_as_packages_want_it_when_they_do() {
    let system = System::new(&[
        ("/var/lib", 0o711, "root", "group"),
        ("/var/lib/transactional-update", 0o750, "root", "root"),
    ]);
    fs::remove_dir(system.at("var/lib")).unwrap();
    let report = system.run();
    assert!(report.entries.iter().all(|e| e.action == Action::Create));
    assert_eq!(system.attributes("var/lib"), (0o711, 0, 79));
    assert_eq!(
        system.attributes("var/lib/transactional-update"),
        (0o750, 0, 0)
    );
    assert_eq!(system.run_without_scan().status, Status::NothingToDo);
}

#[test]
fn a_change_of_the_database_or_of_the_request_and_force_have_it_read_again() {
    let mut system = System::new(&[("/var/lib/a", 0o755, "root", "root")]);
    system.run();
    system.entries[0].path = "/var/lib/b".into();
    system.run_without_scan();
    system.fingerprint = "2".into();
    assert_eq!(system.run().status, Status::Scanned);
    assert!(system.at("var/lib/b").exists());
    system.request.with_ghosts = true;
    assert_eq!(system.run().status, Status::Scanned);
    assert_eq!(system.run().status, Status::NothingToDo);
    system.request.force = true;
    let report = system.run();
    assert_eq!(told(&report), [("/var/lib/b", Action::Exists, None)]);
    assert_eq!(system.scans.get(), 4);
}

#[test]
fn an_unknown_user_or_group_defers_only_its_directories_and_what_lies_below() {
    let names = ["/var/lib/a", "/var/lib/b", "/var/lib/c"];
    for unknown in names {
        let below = format!("{unknown}/below");
        let owner = |path| if path == unknown { "later" } else { "root" };
        let mut all: Vec<_> = names
            .iter()
            .map(|path| (*path, 0o750, owner(*path), "root"))
            .collect();
        all.push((&below, 0o755, "root", "root"));
        let system = System::new(&all);
        let report = system.run();
        assert_eq!((report.code(false), report.code(true)), (65, 1));
        for (path, action, reason) in told(&report) {
            let expected = match path {
                path if path == unknown => (Action::Deferred, Some(Reason::UnknownUser)),
                path if path == below => (Action::Deferred, Some(Reason::BelowDeferred)),
                _ => (Action::Create, None),
            };
            assert_eq!((action, reason), expected, "{path}");
            assert_eq!(system.at(&path[1..]).exists(), action == Action::Create);
        }
        let error = report
            .entries
            .iter()
            .find_map(|e| e.error.as_deref())
            .unwrap();
        assert!(error.contains("no user later"), "{error}");
        // as long as nobody is new, it stays so, and it is told again
        let report = system.run_without_scan();
        assert_eq!(
            (report.status.clone(), report.code(false)),
            (Status::Resumed, 65)
        );
        assert_eq!(told(&report).len(), 2);
        fs::write(system.at("etc/passwd"), "later:x:7:7::/:\n").unwrap();
        let report = system.run_without_scan();
        assert_eq!(report.code(false), 0);
        assert!(report.entries.iter().all(|e| e.action == Action::Create));
        assert_eq!(system.attributes(&unknown[1..]), (0o750, 7, 0));
        assert_eq!(system.attributes(&below[1..]), (0o755, 0, 0));
        assert_eq!(system.run_without_scan().status, Status::NothingToDo);
    }
    let system = System::new(&[
        ("/srv/a", 0o755, "1000", "root"),
        ("/srv/b", 0o755, "root", "none"),
    ]);
    let report = system.run();
    let deferred = |path, reason| (path, Action::Deferred, Some(reason));
    let expected = [
        deferred("/srv/a", Reason::UnknownUser),
        deferred("/srv/b", Reason::UnknownGroup),
    ];
    assert_eq!(told(&report), expected);
}

#[test]
fn a_directory_that_is_gone_since_comes_back_without_reading_the_database() {
    let system = System::new(&[
        ("/srv/a", 0o700, "known", "group"),
        ("/srv/a/b", 0o755, "root", "root"),
        ("/srv/c", 0o755, "root", "root"),
    ]);
    system.run();
    let before = system.tree();
    fs::remove_dir(system.at("srv/a/b")).unwrap();
    fs::remove_dir(system.at("srv/a")).unwrap();
    let report = system.run_without_scan();
    assert_eq!(report.status, Status::Resumed);
    let made = |path| (path, Action::Create, None);
    assert_eq!(told(&report), [made("/srv/a"), made("/srv/a/b")]);
    assert_eq!(report.entries[0].packages, ["p-1-1.noarch"]);
    assert_eq!(system.tree(), before);
    assert_eq!(system.run_without_scan().status, Status::NothingToDo);
}

#[test]
fn another_file_system_in_the_place_of_a_prefix_is_filled_again() {
    let system = System::new(&[("/srv/a", 0o755, "root", "root")]);
    system.run();
    fs::rename(system.at("srv"), system.at("old")).unwrap();
    fs::create_dir(system.at("srv")).unwrap();
    let report = system.run();
    assert_eq!((report.status, system.scans.get()), (Status::Scanned, 2));
    assert!(system.at("srv/a").is_dir());
}

#[test]
fn what_is_in_the_way_stays_and_is_told_until_it_is_gone() {
    let system = System::new(&[
        ("/srv/file", 0o755, "root", "root"),
        ("/srv/file/below", 0o755, "root", "root"),
        ("/srv/other", 0o755, "root", "root"),
    ]);
    fs::write(system.at("srv/file"), "kept").unwrap();
    let blocked = |path| (path, Action::Failed, Some(Reason::Blocked));
    let report = system.run();
    assert_eq!(
        told(&report),
        [
            blocked("/srv/file"),
            blocked("/srv/file/below"),
            ("/srv/other", Action::Create, None),
        ]
    );
    assert_eq!(report.code(false), 73);
    assert!(
        report.entries[1]
            .error
            .as_ref()
            .unwrap()
            .contains("/srv/file is no directory")
    );
    assert_eq!(fs::read(system.at("srv/file")).unwrap(), b"kept");
    let stamp = fs::metadata(system.at(STAMP)).unwrap().ino();
    let report = system.run_without_scan();
    assert_eq!(
        told(&report),
        [blocked("/srv/file"), blocked("/srv/file/below")]
    );
    assert_eq!(report.code(false), 73);
    assert_eq!(
        fs::metadata(system.at(STAMP)).unwrap().ino(),
        stamp,
        "it says the same"
    );
    fs::remove_file(system.at("srv/file")).unwrap();
    assert_eq!(system.run_without_scan().code(false), 0);
    assert!(system.at("srv/file/below").is_dir());
    assert_eq!(system.run_without_scan().status, Status::NothingToDo);
}

#[test]
fn a_link_means_that_somebody_moved_it_and_is_no_failure() {
    let system = System::new(&[
        ("/srv/dangling", 0o755, "root", "root"),
        ("/srv/dir", 0o755, "root", "root"),
        ("/srv/dir/below", 0o755, "root", "root"),
        ("/srv/out/below", 0o755, "root", "root"),
    ]);
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir(system.at("moved")).unwrap();
    symlink("nowhere", system.at("srv/dangling")).unwrap();
    symlink("../moved", system.at("srv/dir")).unwrap();
    symlink(outside.path(), system.at("srv/out")).unwrap();
    let before = system.tree();
    let report = system.run();
    let reasons: Vec<_> = report
        .entries
        .iter()
        .map(|e| (e.action, e.reason))
        .collect();
    assert_eq!(reasons, [(Action::Skipped, Some(Reason::Redirected)); 4]);
    assert_eq!((report.code(false), report.code(true)), (0, 0));
    assert!(
        report.entries[2]
            .error
            .as_ref()
            .unwrap()
            .starts_with("/srv/dir is a")
    );
    assert_eq!(system.tree(), before);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert_eq!(system.run_without_scan().status, Status::NothingToDo);
    fs::remove_file(system.at("srv/dir")).unwrap();
    let report = system.run_without_scan();
    let made = |path| (path, Action::Create, None);
    assert_eq!(told(&report), [made("/srv/dir"), made("/srv/dir/below")]);
}

#[test]
fn what_differs_is_told_and_left_as_it_is() {
    let system = System::new(&[
        ("/srv/mode", 0o750, "root", "root"),
        ("/srv/owner", 0o755, "known", "root"),
        ("/srv/same", 0o755, "root", "root"),
        ("/srv/user", 0o755, "nobody-knows", "root"),
    ]);
    for name in ["mode", "owner", "same", "user"] {
        fs::create_dir(system.at("srv").join(name)).unwrap();
        fs::set_permissions(
            system.at("srv").join(name),
            fs::Permissions::from_mode(0o755),
        )
        .unwrap();
    }
    let before = system.tree();
    let report = system.run();
    assert_eq!(
        told(&report),
        [
            ("/srv/mode", Action::Differs, None),
            ("/srv/owner", Action::Differs, None),
            ("/srv/same", Action::Exists, None),
            ("/srv/user", Action::Differs, Some(Reason::UnknownUser)),
        ]
    );
    assert_eq!(report.entries[0].error.as_deref(), Some("it is 0755 0:0"));
    assert_eq!((report.summary().differing, report.code(false)), (3, 0));
    assert_eq!(system.tree(), before);
    assert_eq!(system.run_without_scan().status, Status::NothingToDo);
}

#[test]
fn a_dry_run_tells_what_a_run_does_and_changes_nothing() {
    let system = System::new(&[
        ("/opt/x/y", 0o755, "root", "root"),
        ("/opt/x/z/w", 0o755, "root", "root"),
        ("/srv/a", 0o755, "nobody-knows", "root"),
        ("/srv/a/b", 0o755, "root", "root"),
        ("/srv/file", 0o755, "root", "root"),
        ("/var/lib", 0o755, "root", "root"),
        ("/var/lib/c", 0o755, "root", "root"),
        ("/var/lib/c/d", 0o755, "root", "root"),
        ("/var/run/e", 0o755, "root", "root"),
    ]);
    fs::write(system.at("srv/file"), "").unwrap();
    let before = system.tree();
    let dry = Request {
        dry_run: true,
        ..system.request.clone()
    };
    let foretold = system.run_as(&dry);
    assert_eq!(system.tree(), before);
    assert!(!system.at(STAMP).exists() && !system.at("var/lib/transactional-update").exists());
    let done = system.run();
    assert_eq!(foretold.entries, done.entries);
    assert_eq!((foretold.code(true), foretold.code(false)), (1, 73));
    let stamp = fs::read(system.at(STAMP)).unwrap();
    fs::write(system.at("etc/passwd"), "nobody-knows:x:5:5::/:\n").unwrap();
    let foretold = system.run_as(&dry);
    assert_eq!(
        (&foretold.status, system.scans.get()),
        (&Status::Resumed, 2)
    );
    assert_eq!(fs::read(system.at(STAMP)).unwrap(), stamp);
    assert_eq!(foretold.entries, system.run_without_scan().entries);
}

#[test]
fn nothing_is_made_under_a_mount_point_that_is_not_mounted() {
    let system = System::new(&[
        ("/srv/a", 0o755, "root", "root"),
        ("/var/lib/b", 0o755, "root", "root"),
    ]);
    fs::write(
        system.at("etc/fstab"),
        "/dev/x /srv btrfs\n/dev/x / btrfs\n",
    )
    .unwrap();
    let report = system.run();
    assert_eq!(
        told(&report),
        [
            ("/srv/a", Action::Skipped, Some(Reason::NotMounted)),
            ("/var/lib/b", Action::Create, None),
        ]
    );
    let [warning] = &report.warnings[..] else {
        panic!("{:?}", report.warnings)
    };
    assert!(warning.contains(" /srv: "), "{warning}");
    assert_eq!(report.code(false), 0);
    assert!(!system.at("srv/a").exists());
    assert_eq!(system.run_without_scan().status, Status::NothingToDo);
    // nor is the stamp left there
    fs::write(system.at("etc/fstab"), "/dev/x /var btrfs\n").unwrap();
    fs::remove_file(system.at(STAMP)).unwrap();
    let report = system.run();
    assert!(system.at("srv/a").exists() && !system.at(STAMP).exists());
    assert!(
        report.warnings.iter().any(|w| w.contains(STAMP)),
        "{:?}",
        report.warnings
    );
}

#[test]
fn a_mount_point_that_is_new_in_fstab_keeps_its_directories_from_being_made_under_it() {
    let system = System::new(&[("/srv/a", 0o755, "root", "root")]);
    system.run();
    fs::remove_dir(system.at("srv/a")).unwrap();
    fs::write(system.at("etc/fstab"), "/dev/x /srv btrfs\n").unwrap();
    for _ in 0..2 {
        let report = system.run_without_scan();
        let skipped = ("/srv/a", Action::Skipped, Some(Reason::NotMounted));
        assert_eq!(told(&report), [skipped]);
        assert!(!system.at("srv/a").exists());
    }
    fs::write(system.at("etc/fstab"), "").unwrap();
    assert_eq!(
        told(&system.run_without_scan()),
        [("/srv/a", Action::Create, None)]
    );
}

#[test]
fn without_a_place_for_the_stamp_the_work_counts_and_a_warning_says_so() {
    let system = System::new(&[("/srv/a", 0o755, "root", "root")]);
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), system.at("var/lib/transactional-update")).unwrap();
    let report = system.run();
    assert_eq!((told(&report).len(), report.code(false)), (1, 0));
    assert!(report.warnings[0].contains(STAMP), "{:?}", report.warnings);
    assert_eq!(
        fs::read_dir(outside.path()).unwrap().count(),
        0,
        "a link is not followed"
    );
    assert_eq!(system.run().status, Status::Scanned);
}

#[test]
fn a_database_that_cannot_be_read_is_told_as_that() {
    let system = System::new(&[]);
    let root = Root::at(system.dir.path()).unwrap();
    let mut run = Run::new(&root, &system.request).unwrap();
    let error = RpmdbError::Busy("Packages.db".into());
    let done = run.compare(fingerprint("1"), |_| Err(error));
    let report = run.end(done).unwrap();
    assert!(matches!(&report.status, Status::Unreadable(why) if why.contains("Packages.db")));
    assert_eq!((report.code(false), report.code(true)), (66, 66));
    assert!(!system.at(STAMP).exists());
    let none = run_in(&system);
    assert_eq!(
        (none.status.clone(), none.code(true)),
        (Status::NoDatabase, 0)
    );
}

#[test]
fn as_long_as_a_package_cannot_be_read_the_next_run_tries_again() {
    let system = System::new(&[("/srv/a", 0o755, "root", "root")]);
    let root = Root::at(system.dir.path()).unwrap();
    for status in [Action::Create, Action::Exists] {
        let mut run = Run::new(&root, &system.request).unwrap();
        let done = run.compare(fingerprint(&system.fingerprint), |_| {
            let bad = BadPackage {
                name: "number 7".into(),
                why: "damaged".into(),
            };
            let found = Directories {
                bad: vec![bad],
                ..found(&system.entries)
            };
            Ok((found, Vec::new()))
        });
        let report = run.end(done).unwrap();
        assert_eq!(told(&report), [("/srv/a", status, None)]);
        assert_eq!(
            (report.code(false), report.code(true)),
            (65, if status == Action::Create { 1 } else { 65 })
        );
    }
    assert_eq!(system.run().status, Status::Scanned);
    assert_eq!(system.run_without_scan().status, Status::NothingToDo);
}

#[test]
fn what_was_refused_is_told_at_each_run() {
    let system = System::new(&[
        ("/srv/a", 0o755, "root", "root"),
        ("/srv/b/../../etc/c", 0o755, "root", "root"),
    ]);
    let before = system.tree();
    assert_eq!(system.run().code(false), 65);
    let stamp = fs::metadata(system.at(STAMP)).unwrap().ino();
    for _ in 0..2 {
        let report = system.run_without_scan();
        let refused = (
            "/srv/b/../../etc/c",
            Action::Skipped,
            Some(Reason::UnsafePath),
        );
        assert_eq!(told(&report), [refused]);
        assert_eq!((report.code(false), report.code(true)), (65, 65));
    }
    assert_eq!(fs::metadata(system.at(STAMP)).unwrap().ino(), stamp);
    fs::remove_dir(system.at("srv/a")).unwrap();
    assert_eq!(system.tree(), before);
}

/// A run that looks for a database, which there is not.
fn run_in(system: &System) -> Report {
    run(&Root::at(system.dir.path()).unwrap(), &system.request).unwrap()
}

#[test]
fn what_runs_that_were_cut_off_left_is_removed() {
    let system = System::new(&[("/srv/a", 0o755, "root", "root")]);
    fs::create_dir_all(system.at("var/lib/transactional-update")).unwrap();
    let half = system.at("var/lib/transactional-update/.create-dirs.json.x.tu-new");
    fs::write(&half, "half").unwrap();
    let empty = system.at("srv/.create-dirs-abcdef");
    fs::create_dir(&empty).unwrap();
    fs::set_permissions(&empty, fs::Permissions::from_mode(0o700)).unwrap();
    let report = system.run();
    assert_eq!(report.warnings, [""; 0]);
    assert!(!half.exists() && !empty.exists() && system.at("srv/a").exists());
}

#[test]
fn two_runs_at_once_lead_to_the_same_tree() {
    let names: Vec<String> = (0..200)
        .map(|n| format!("/srv/{}/{}/{n}", n % 7, n % 3))
        .collect();
    let all: Vec<_> = names
        .iter()
        .map(|path| (path.as_str(), 0o2750, "known", "group"))
        .collect();
    let alone = System::new(&all);
    alone.run();
    for _ in 0..4 {
        let both = System::new(&all);
        let (dir, entries, request) = (&both.dir, &both.entries, &both.request);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(move || {
                    let root = Root::at(dir.path()).unwrap();
                    let mut run = Run::new(&root, request).unwrap();
                    let scanned = Ok((found(entries), Vec::new()));
                    let done = run.compare(fingerprint("1"), |_| scanned);
                    let report = run.end(done).unwrap();
                    assert_eq!(report.code(false), 0, "{report:?}");
                    assert_eq!(report.warnings, [""; 0]);
                });
            }
        });
        assert_eq!(both.tree(), alone.tree());
        assert_eq!(both.run_without_scan().status, Status::NothingToDo);
    }
}

#[test]
fn at_boot_nobody_is_asked_again_for_whom_the_files_are_the_same() {
    let mut system = System::new(&[("/srv/a", 0o755, "later", "root")]);
    system.request.boot = true;
    assert_eq!(system.run().code(false), 65);
    let passwd = system.at("etc/passwd");
    let before = fs::metadata(&passwd).unwrap();
    // a file that seems the same is not read for that name, one that is not is
    let text = fs::read_to_string(&passwd)
        .unwrap()
        .replace("known", "later");
    fs::write(&passwd, text).unwrap();
    let file = fs::File::options().write(true).open(&passwd).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
    assert_eq!(system.run_without_scan().code(false), 65);
    file.set_modified(std::time::SystemTime::now()).unwrap();
    assert_eq!(system.run_without_scan().code(false), 0);
    assert_eq!(system.attributes("srv/a"), (0o755, 77, 0));
}

#[test]
fn tmpfiles_are_applied_below_the_prefixes_after_a_scan_and_when_something_came_back() {
    let mut system = System::new(&[("/srv/a", 0o755, "root", "root")]);
    system.request.tmpfiles = true;
    let lines = system.at("usr/lib/tmpfiles.d");
    fs::create_dir_all(&lines).unwrap();
    let text = "f /srv/a/line 0644 root root - text\nf! /srv/a/boot 0644\nf /usr/line 0644\nf /var/line 0644\n";
    fs::write(lines.join("x.conf"), text).unwrap();
    system.request.excluded = vec![Prefix::new(Path::new("/var/line")).unwrap()];
    let report = system.run();
    assert_eq!(report.tmpfiles, Tmpfiles::Applied);
    assert!(system.at("srv/a/line").exists());
    for not in ["srv/a/boot", "usr/line", "var/line"] {
        assert!(!system.at(not).exists(), "{not}");
    }
    fs::remove_file(system.at("srv/a/line")).unwrap();
    assert_eq!(system.run_without_scan().tmpfiles, Tmpfiles::NotCalled);
    assert!(!system.at("srv/a/line").exists());
    fs::remove_dir(system.at("srv/a")).unwrap();
    system.request.boot = true;
    assert_eq!(system.run_without_scan().tmpfiles, Tmpfiles::Applied);
    assert!(system.at("srv/a/line").exists() && system.at("srv/a/boot").exists());
    // a line that cannot be applied is told, and no failure of ours
    fs::write(lines.join("y.conf"), "this is no line\n").unwrap();
    system.request.force = true;
    let report = system.run();
    assert!(matches!(&report.tmpfiles, Tmpfiles::SomeLines(said) if said.contains("y.conf")));
    assert_eq!(report.code(false), 0);
}

#[test]
fn tmpfiles_that_were_not_asked_for_the_first_time_are_applied_when_they_are() {
    let mut system = System::new(&[("/srv/a", 0o755, "root", "root")]);
    let lines = system.at("usr/lib/tmpfiles.d");
    fs::create_dir_all(&lines).unwrap();
    fs::write(
        lines.join("x.conf"),
        "f /srv/a/line 0644 root root - text\n",
    )
    .unwrap();
    system.run();
    assert_eq!(system.run_without_scan().status, Status::NothingToDo);
    system.request.tmpfiles = true;
    assert_eq!(system.run().tmpfiles, Tmpfiles::Applied);
    assert!(system.at("srv/a/line").exists());
    assert_eq!(system.run_without_scan().status, Status::NothingToDo);
}
