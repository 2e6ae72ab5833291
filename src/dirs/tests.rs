//! Tests of whole runs, with a database that is made up.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

mod again;
mod way;

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

/// A run that looks for a database, which there is not.
fn run_in(system: &System) -> Report {
    run(&Root::at(system.dir.path()).unwrap(), &system.request).unwrap()
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
