//! What is found where directories should be.

use super::*;

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
