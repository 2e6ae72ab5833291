//! What a later run does.

use super::*;

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
