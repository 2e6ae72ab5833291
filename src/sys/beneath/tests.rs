use super::*;
use std::os::unix::fs::symlink;

fn dir() -> (tempfile::TempDir, OwnedFd) {
    let dir = tempfile::tempdir().unwrap();
    let fd = open_root(dir.path()).unwrap();
    (dir, fd)
}

#[test]
fn a_link_on_the_way_is_refused() {
    let (tmp, fd) = dir();
    symlink("/etc", tmp.path().join("link")).unwrap();
    assert_eq!(
        open_dir(&fd, Path::new("link")).unwrap_err().raw_os_error(),
        Some(Errno::ELOOP as i32)
    );
    assert!(make_dirs(&fd, Path::new("link/new"), 0o755).is_err());
    for no_file in ["link", "link/passwd", ""] {
        assert!(open_file(&fd, Path::new(no_file)).is_err(), "{no_file}");
    }
    assert!(open_dir(&fd, Path::new("../")).is_err());
}

#[test]
fn a_step_goes_into_a_directory_of_that_name_and_nowhere_else() {
    let (tmp, fd) = dir();
    std::fs::create_dir_all(tmp.path().join("a/b")).unwrap();
    symlink("a", tmp.path().join("link")).unwrap();
    std::fs::write(tmp.path().join("file"), "").unwrap();
    let both: [fn(&OwnedFd, &OsStr) -> io::Result<OwnedFd>; 2] =
        [|dir, name| step(dir, name), |dir, name| enter(dir, name)];
    for open in both {
        let a = open(&fd, OsStr::new("a")).unwrap();
        assert_eq!(names(reopen(&a).unwrap()).unwrap(), ["b"]);
        let kind = |name: &str| open(&fd, OsStr::new(name)).unwrap_err().kind();
        for name in ["link", "file"] {
            assert_eq!(kind(name), io::ErrorKind::NotADirectory, "{name}");
        }
        for name in ["..", ".", "", "a/b", "a/", "/", "link/b"] {
            assert_eq!(kind(name), io::ErrorKind::InvalidFilename, "{name:?}");
        }
        assert_eq!(kind("none"), io::ErrorKind::NotFound);
    }
}

#[test]
fn directories_that_were_made_are_named_and_can_be_removed_again() {
    let (tmp, fd) = dir();
    std::fs::create_dir(tmp.path().join("var")).unwrap();
    let made = make_dirs(&fd, Path::new("var/lib/zypp"), 0o755).unwrap();
    assert_eq!(made, [Path::new("var/lib"), Path::new("var/lib/zypp")]);
    assert!(make_file(&fd, Path::new("var/lib/zypp/file")).unwrap());
    assert!(!make_file(&fd, Path::new("var/lib/zypp/file")).unwrap());
    remove(&fd, Path::new("var/lib")).unwrap();
    assert!(
        tmp.path().join("var/lib/zypp/file").exists(),
        "a directory in use stays"
    );
    for path in [
        "var/lib/zypp/file",
        "var/lib/zypp",
        "var/lib",
        "var/gone/gone",
    ] {
        remove(&fd, Path::new(path)).unwrap();
    }
    assert!(tmp.path().join("var").exists() && !tmp.path().join("var/lib").exists());
}

#[test]
fn overwriting_keeps_the_file_and_follows_no_link() {
    let (tmp, fd) = dir();
    let path = tmp.path().join("f");
    std::fs::write(&path, "a longer text").unwrap();
    let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&path).unwrap());
    overwrite(&fd, "f".as_ref(), b"new").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
    symlink("f", tmp.path().join("link")).unwrap();
    assert!(overwrite(&fd, "link".as_ref(), b"x").is_err());
    assert!(overwrite(&fd, "".as_ref(), b"x").is_err());
    rename(&fd, "f".as_ref(), "g".as_ref()).unwrap();
    let moved = std::fs::metadata(tmp.path().join("g")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::ino(&moved), inode);
}

#[test]
fn reading_follows_links_inside_the_tree_only() {
    let (tmp, fd) = dir();
    std::fs::create_dir_all(tmp.path().join("boot")).unwrap();
    std::fs::write(tmp.path().join("kernel"), "k").unwrap();
    symlink("/kernel", tmp.path().join("boot/vmlinuz")).unwrap();
    symlink("/etc/passwd", tmp.path().join("boot/out")).unwrap();
    assert!(resolve(&fd, Path::new("boot/vmlinuz")).is_ok());
    assert!(resolve(&fd, Path::new("boot/out")).is_err());
}

#[test]
fn a_tree_that_is_deeper_than_any_path_is_removed() {
    let (tmp, fd) = dir();
    let mut at = open_dir(&fd, Path::new("")).unwrap();
    mkdirat(&at, "top", Mode::S_IRWXU).unwrap();
    at = open_dir(at, Path::new("top")).unwrap();
    let name = "x".repeat(200);
    for _ in 0..60 {
        mkdirat(&at, name.as_str(), Mode::S_IRWXU).unwrap();
        make_file(&at, Path::new("file")).unwrap();
        at = open_dir(at, Path::new(&name)).unwrap();
    }
    symlink("..", tmp.path().join("top/up")).unwrap();
    remove_all(&fd, Path::new("top")).unwrap();
    remove_all(&fd, Path::new("top")).unwrap();
    assert_eq!(std::fs::read_dir(tmp.path()).unwrap().count(), 0);
}

#[test]
fn removing_reaches_nothing_through_a_link_that_takes_the_place_of_a_directory_meanwhile() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let (tmp, fd) = dir();
    std::fs::create_dir_all(tmp.path().join("outside/b")).unwrap();
    std::fs::create_dir(tmp.path().join("top")).unwrap();
    let top = open_dir(&fd, Path::new("top")).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let flags = RenameFlags::RENAME_EXCHANGE;
                // fails as long as one of them is missing
                renameat2(&top, "a", &top, "link", flags).unwrap_or(());
            }
        });
        for _ in 0..3000 {
            std::fs::create_dir_all(tmp.path().join("new/b")).unwrap();
            symlink("../outside", tmp.path().join("top/link")).unwrap();
            std::fs::rename(tmp.path().join("new"), tmp.path().join("top/a")).unwrap();
            while std::fs::read_dir(tmp.path().join("top")).unwrap().count() > 0 {
                for name in ["top/a", "top/link"] {
                    remove_all(&fd, Path::new(name)).unwrap_or(());
                }
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(tmp.path().join("outside/b").exists());
}

#[test]
fn a_walk_is_bounded_and_names_everything() {
    let (tmp, fd) = dir();
    std::fs::create_dir_all(tmp.path().join("srv/a/b")).unwrap();
    symlink("..", tmp.path().join("srv/a/up")).unwrap();
    std::fs::write(tmp.path().join("kernel"), "k").unwrap();
    let mut seen = Vec::new();
    walk(&fd, Path::new("srv"), 100, &mut |p, _| {
        seen.push(p.to_owned())
    })
    .unwrap();
    seen.sort();
    assert_eq!(
        seen,
        [
            Path::new("srv/a"),
            Path::new("srv/a/b"),
            Path::new("srv/a/up")
        ]
    );
    assert!(walk(&fd, Path::new("srv"), 2, &mut |_, _| ()).is_err());
    for nothing in ["missing", "srv/a/up", "srv/a/up/a", "kernel"] {
        assert!(walk(&fd, Path::new(nothing), 2, &mut |_, _| panic!("{nothing}")).is_ok());
    }
}
