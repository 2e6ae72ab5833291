//! Tests of the stamp.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;
use crate::rpmdb::FileStamp;

/// A system with the directories that [`stamp`] lists.
fn system() -> (tempfile::TempDir, OwnedFd) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("var/lib/a")).unwrap();
    symlink("elsewhere", dir.path().join("var/lib/link")).unwrap();
    let top = beneath::open_root(dir.path()).unwrap();
    (dir, top)
}

fn fingerprint(header: &str) -> Fingerprint {
    Fingerprint::Ndb {
        header: header.into(),
        slots: "s".into(),
    }
}

fn request() -> Request {
    Request {
        prefixes: vec![Prefix::new(Path::new("/var")).unwrap()],
        ..Request::default()
    }
}

fn selected(path: impl Into<PathBuf>) -> Selected {
    Selected {
        path: path.into(),
        mode: 0o2755,
        user: "root".into(),
        group: OsString::from_vec(b"\xff".to_vec()),
        packages: vec!["p-1-1.noarch".into(), "q-1-1.noarch".into()],
        skip: None,
    }
}

/// A stamp of that system, in which directories were left so.
fn stamp_of(top: &OwnedFd, left: &[(Selected, Standing)]) -> Stamp {
    let places = vec![Place::of(top, Path::new("/var"))];
    let basis = Basis::new(top, fingerprint("h"), &request());
    Stamp::new(basis, places, Accounts::of(top), true, left)
}

fn stamp(top: &OwnedFd) -> Stamp {
    let there = (selected("/var/lib/a"), Standing::default());
    let link = Standing {
        link: Some("var/lib/link".into()),
        ..Standing::default()
    };
    stamp_of(top, &[there, (selected("/var/lib/link/b"), link)])
}

fn file(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join(DIRECTORY).join(NAME)
}

#[test]
fn what_was_written_is_read_again_and_says_that_nothing_is_to_be_done() {
    let (dir, top) = system();
    let left = stamp(&top);
    left.write(&top).unwrap();
    let read = Stamp::read(&top, &left.basis).unwrap();
    assert_eq!(read, left);
    assert!(!read.is_due(&top));
    let directories = read.directories(&top);
    assert_eq!(
        directories[0],
        (selected("/var/lib/a"), Standing::default(), false)
    );
    let beside = std::fs::read_dir(dir.path().join(DIRECTORY))
        .unwrap()
        .count();
    assert_eq!(beside, 1);
}

#[test]
fn a_path_that_is_no_text_comes_back_as_it_was() {
    let (dir, top) = system();
    let odd = OsString::from_vec(b"/var/lib/\xff\xfe".to_vec());
    std::fs::create_dir(
        dir.path()
            .join("var/lib")
            .join(OsString::from_vec(b"\xff\xfe".to_vec())),
    )
    .unwrap();
    let left = stamp_of(&top, &[(selected(odd), Standing::default())]);
    left.write(&top).unwrap();
    let read = Stamp::read(&top, &left.basis).unwrap();
    assert_eq!(read, left);
    assert!(!read.is_due(&top));
}

#[test]
fn the_fingerprint_of_every_format_comes_back_as_it_was() {
    let (_dir, top) = system();
    let file = FileStamp {
        filesystem: u64::MAX,
        inode: 256,
        size: 7,
        mtime: i128::from(u64::MAX),
        ctime: -1,
    };
    for fingerprint in [
        fingerprint("h"),
        Fingerprint::Sqlite {
            file: file.clone(),
            change_counter: u32::MAX,
            wal: Some(file.clone()),
        },
        Fingerprint::Other { file: file.clone() },
    ] {
        let basis = Basis::new(&top, fingerprint, &request());
        Stamp::new(basis.clone(), Vec::new(), Accounts::of(&top), true, &[])
            .write(&top)
            .unwrap();
        assert!(Stamp::read(&top, &basis).is_some(), "{basis:?}");
    }
}

#[test]
fn a_directory_that_is_gone_replaced_or_pending_is_due_and_nothing_else() {
    let (dir, top) = system();
    let path = dir.path().join("var/lib/a");
    let due = |stamp: &Stamp| -> Vec<bool> {
        stamp
            .directories(&top)
            .iter()
            .map(|(_, _, due)| *due)
            .collect()
    };
    let stamp = stamp(&top);
    assert_eq!(due(&stamp), [false, false]);
    std::fs::remove_dir(&path).unwrap();
    assert_eq!(due(&stamp), [true, false]);
    assert!(stamp.is_due(&top));
    std::fs::write(&path, "").unwrap();
    assert_eq!(
        due(&stamp),
        [true, false],
        "a file in the way is no directory"
    );
    std::fs::remove_file(&path).unwrap();
    symlink(".", &path).unwrap();
    assert_eq!(due(&stamp), [true, false], "nor is a link to one");
    std::fs::remove_file(dir.path().join("var/lib/link")).unwrap();
    assert_eq!(due(&stamp), [true, true]);
    let pending = Standing {
        pending: Some(Reason::Blocked),
        ..Standing::default()
    };
    assert_eq!(due(&stamp_of(&top, &[(selected("/var"), pending)])), [true]);
}

#[test]
fn of_many_in_one_directory_each_is_missed_however_much_else_is_there() {
    let (dir, top) = system();
    let many = dir.path().join("var/many");
    let names: Vec<String> = (0..20).map(|n| format!("{n:02}")).collect();
    for name in &names {
        std::fs::create_dir_all(many.join(name)).unwrap();
    }
    let wanted = names.iter().map(|name| {
        let path = Path::new("/var/many").join(name);
        (selected(path), Standing::default())
    });
    let stamp = stamp_of(&top, &wanted.collect::<Vec<_>>());
    for others in [0, 10, 500] {
        for n in 0..others {
            std::fs::write(many.join(format!("other{n}")), "").unwrap();
        }
        assert!(!stamp.is_due(&top), "{others} others");
        for name in &names {
            let (is, was) = (many.join(name), many.join("was"));
            std::fs::rename(&is, &was).unwrap();
            assert!(stamp.is_due(&top), "{name} is gone, {others} others");
            symlink("was", &is).unwrap();
            assert!(stamp.is_due(&top), "{name} is a link, {others} others");
            std::fs::remove_file(&is).unwrap();
            std::fs::rename(&was, &is).unwrap();
        }
    }
    std::fs::rename(&many, dir.path().join("var/elsewhere")).unwrap();
    assert!(stamp.is_due(&top));
}

#[test]
fn a_stamp_of_another_database_root_or_request_does_not_count() {
    let (_dir, top) = system();
    let left = stamp(&top);
    left.write(&top).unwrap();
    let (_other, other_top) = system();
    let with = |change: fn(&mut Request)| {
        let mut request = request();
        change(&mut request);
        Basis::new(&top, fingerprint("h"), &request)
    };
    let same = with(|r| {
        // what is not about which directories are wanted
        r.force = true;
        r.dry_run = true;
        r.tmpfiles = true;
        r.boot = true;
        r.prefixes.push(Prefix::new(Path::new("/var/")).unwrap());
    });
    assert!(Stamp::read(&top, &same).is_some());
    for basis in [
        Basis::new(&top, fingerprint("i"), &request()),
        Basis::new(&other_top, fingerprint("h"), &request()),
        with(|r| r.with_ghosts = true),
        with(|r| r.verify_digests = true),
        with(|r| r.database = Some("db".into())),
        with(|r| r.prefixes.push(Prefix::new(Path::new("/srv")).unwrap())),
        with(|r| r.excluded.push(Prefix::new(Path::new("/srv")).unwrap())),
    ] {
        assert!(Stamp::read(&top, &basis).is_none(), "{basis:?}");
    }
}

#[test]
fn a_stamp_from_before_another_file_system_was_mounted_does_not_count() {
    let (dir, top) = system();
    let left = stamp(&top);
    left.write(&top).unwrap();
    let (var, moved) = (dir.path().join("var"), dir.path().join("moved"));
    std::fs::rename(&var, &moved).unwrap();
    std::fs::create_dir(&var).unwrap();
    std::fs::rename(moved.join("lib"), var.join("lib")).unwrap();
    assert!(Stamp::read(&top, &left.basis).is_none());
}

#[test]
fn a_stamp_that_is_damaged_newer_too_large_or_no_file_does_not_count() {
    let (dir, top) = system();
    let left = stamp(&top);
    left.write(&top).unwrap();
    let path = file(&dir);
    let good = std::fs::read(&path).unwrap();
    let newer = String::from_utf8(good.clone()).unwrap();
    let newer = newer.replace("\"format\":1", "\"format\":2");
    assert_ne!(newer.as_bytes(), good);
    for bad in [
        &b""[..],
        b"{}",
        b"\xff",
        &good[..good.len() / 2],
        newer.as_bytes(),
    ] {
        std::fs::write(&path, bad).unwrap();
        assert!(Stamp::read(&top, &left.basis).is_none());
    }
    std::fs::write(&path, &good).unwrap();
    assert!(Stamp::read(&top, &left.basis).is_some());
    let large = File::options().write(true).open(&path).unwrap();
    large.set_len(MOST + 1).unwrap();
    assert!(Stamp::read(&top, &left.basis).is_none());
    std::fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
    assert!(
        Stamp::read(&top, &left.basis).is_none(),
        "and it is not waited for"
    );
    std::fs::remove_file(&path).unwrap();
    assert!(Stamp::read(&top, &left.basis).is_none());
}

#[test]
fn no_link_is_followed_to_read_or_to_write_a_stamp() {
    let (dir, top) = system();
    let left = stamp(&top);
    left.write(&top).unwrap();
    let (path, aside) = (file(&dir), dir.path().join("aside"));
    std::fs::rename(&path, &aside).unwrap();
    symlink(&aside, &path).unwrap();
    assert!(Stamp::read(&top, &left.basis).is_none());
    left.write(&top).unwrap();
    assert!(
        std::fs::symlink_metadata(&path).unwrap().is_file(),
        "the link is replaced"
    );
    let inode = std::fs::metadata(&aside).unwrap().ino();
    assert_ne!(std::fs::metadata(&path).unwrap().ino(), inode);
    let state = dir.path().join(DIRECTORY);
    let moved = dir.path().join("moved");
    std::fs::rename(&state, &moved).unwrap();
    symlink(&moved, &state).unwrap();
    assert!(Stamp::read(&top, &left.basis).is_none());
    assert!(left.write(&top).is_err());
}

#[test]
fn a_stamp_says_whom_somebody_waits_for_only_when_somebody_does() {
    let (_dir, top) = system();
    assert_eq!(stamp(&top).accounts(), None);
    let with = |reason| {
        let standing = Standing {
            pending: Some(reason),
            ..Standing::default()
        };
        stamp_of(&top, &[(selected("/var/lib/a"), standing)])
    };
    assert_eq!(with(Reason::Blocked).accounts(), None);
    assert_eq!(
        with(Reason::UnknownUser).accounts(),
        Some(&Accounts::of(&top))
    );
}

#[test]
fn a_stamp_is_written_whole_or_not_at_all() {
    let (dir, top) = system();
    stamp(&top).write(&top).unwrap();
    let path = file(&dir);
    std::fs::write(
        dir.path().join(DIRECTORY).join(format!(".{NAME}.x.tu-new")),
        "half",
    )
    .unwrap();
    remove_temporaries(&top).unwrap();
    assert_eq!(
        std::fs::read_dir(dir.path().join(DIRECTORY))
            .unwrap()
            .count(),
        1
    );
    assert_eq!(
        std::fs::metadata(path).unwrap().permissions().mode() & 0o022,
        0
    );
}
