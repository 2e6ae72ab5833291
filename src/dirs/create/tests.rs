use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Uid, getegid, geteuid};

use super::*;

/// A root directory with what is usually in it, and a maker for it.
struct Tree {
    dir: tempfile::TempDir,
}

impl Tree {
    fn new() -> Tree {
        let tree = Tree {
            dir: tempfile::tempdir().unwrap(),
        };
        for path in ["var/lib", "srv", "opt"] {
            fs::create_dir_all(tree.at(path)).unwrap();
        }
        tree
    }

    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(path)
    }

    fn maker(&self) -> Maker {
        Maker::open(&Root::at(self.dir.path()).unwrap()).unwrap()
    }

    fn make(&self, wanted: &[Wanted]) -> Vec<Outcome> {
        self.maker().make(wanted)
    }

    /// Mode, owner and group of a directory.
    #[track_caller]
    fn is(&self, path: &str) -> (u32, u32, u32) {
        let stat = fs::symlink_metadata(self.at(path)).unwrap();
        assert!(stat.is_dir(), "{path}");
        (stat.mode() & 0o7777, stat.uid(), stat.gid())
    }

    /// All paths that are there, sorted.
    fn all(&self) -> Vec<String> {
        let mut found = Vec::new();
        let root = beneath::open_root(self.dir.path()).unwrap();
        let mut visit = |path: &Path, _: &_| found.push(path.to_str().unwrap().to_owned());
        beneath::walk(root, Path::new(""), 100_000, &mut visit).unwrap();
        found.sort();
        found
    }
}

/// Some user that is not root, where one can give a directory to it.
fn somebody() -> (u32, u32) {
    match Uid::effective().is_root() {
        true => (1234, 5678),
        false => us(),
    }
}

fn us() -> (u32, u32) {
    (geteuid().as_raw(), getegid().as_raw())
}

fn wanted(path: &str, mode: u32) -> Wanted {
    let (uid, gid) = somebody();
    Wanted {
        path: path.into(),
        mode,
        uid,
        gid,
    }
}

/// What became of it, in a word.
fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Made { implied } => match implied.len() {
            0 => "made".into(),
            _ => format!("made after {implied:?}"),
        },
        Outcome::Found(found) => format!("{found:?}"),
        Outcome::Raced => "raced".into(),
        Outcome::Failed(e) => format!("failed: {e}"),
    }
}

fn words(outcomes: &[Outcome]) -> Vec<String> {
    outcomes.iter().map(word).collect()
}

/// Does something in a thread with this umask, which other tests do not see.
fn with_umask<T: Send>(mask: u32, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_FS).unwrap();
            umask(Mode::from_bits_truncate(mask));
            work()
        });
        thread.join().unwrap()
    })
}

#[test]
fn all_bits_and_owners_are_exact_under_every_umask() {
    let (uid, gid) = somebody();
    for mask in [0, 0o022, 0o027, 0o077, 0o777] {
        let tree = Tree::new();
        let modes = [0, 0o700, 0o755, 0o775, 0o1777, 0o2775, 0o4755, 0o7777];
        let paths: Vec<String> = modes.iter().map(|m| format!("srv/{m:o}")).collect();
        let list: Vec<_> = paths.iter().zip(modes).map(|(p, m)| wanted(p, m)).collect();
        let outcomes = with_umask(mask, || words(&tree.make(&list)));
        assert_eq!(outcomes, ["made"; 8], "umask {mask:o}");
        for (path, mode) in paths.iter().zip(modes) {
            assert_eq!(tree.is(path), (mode, uid, gid), "{path}, umask {mask:o}");
        }
        let made = with_umask(mask, || words(&tree.make(&[wanted("var/a/b", 0o2770)])));
        assert_eq!(made, [r#"made after ["var/a"]"#]);
        assert_eq!(tree.is("var/a"), (0o755, us().0, us().1), "umask {mask:o}");
        assert_eq!(tree.is("var/a/b"), (0o2770, uid, gid));
    }
}

#[test]
fn a_parent_that_passes_setgid_on_changes_nothing_about_what_is_wanted() {
    let tree = Tree::new();
    let (uid, gid) = somebody();
    std::os::unix::fs::chown(tree.at("srv"), None, Some(gid)).unwrap();
    fs::set_permissions(tree.at("srv"), fs::Permissions::from_mode(0o2775)).unwrap();
    let outcomes = tree.make(&[wanted("srv/a", 0o755), wanted("srv/b/c", 0o700)]);
    assert_eq!(words(&outcomes), ["made", r#"made after ["srv/b"]"#]);
    assert_eq!(tree.is("srv/a"), (0o755, uid, gid));
    assert_eq!(tree.is("srv/b"), (0o755, us().0, us().1));
    assert_eq!(tree.is("srv/b/c"), (0o700, uid, gid));
}

#[test]
fn what_is_there_is_told_and_left_as_it_is() {
    let tree = Tree::new();
    fs::create_dir(tree.at("srv/dir")).unwrap();
    fs::set_permissions(tree.at("srv/dir"), fs::Permissions::from_mode(0o1751)).unwrap();
    fs::write(tree.at("srv/file"), "kept").unwrap();
    let socket = UnixListener::bind(tree.at("srv/socket")).unwrap();
    let outside = tempfile::tempdir().unwrap();
    symlink("nowhere", tree.at("srv/dangling")).unwrap();
    symlink("dir", tree.at("srv/inside")).unwrap();
    symlink(outside.path(), tree.at("srv/outside")).unwrap();
    let paths = ["dir", "file", "socket", "dangling", "inside", "outside"];
    let below = paths.iter().skip(1).map(|p| format!("{p}/below/it"));
    let paths = paths.iter().map(|p| (*p).to_owned()).chain(below);
    let list: Vec<_> = paths.map(|p| wanted(&format!("srv/{p}"), 0o700)).collect();
    let before = tree.all();
    let (uid, gid) = us();
    let told = [
        &*format!("Directory {{ mode: {}, uid: {uid}, gid: {gid} }}", 0o1751),
        r#"Blocked("srv/file")"#,
        r#"Blocked("srv/socket")"#,
        r#"Redirected("srv/dangling")"#,
        r#"Redirected("srv/inside")"#,
        r#"Redirected("srv/outside")"#,
        r#"Blocked("srv/file")"#,
        r#"Blocked("srv/socket")"#,
        r#"Redirected("srv/dangling")"#,
        r#"Redirected("srv/inside")"#,
        r#"Redirected("srv/outside")"#,
    ];
    let mut maker = tree.maker();
    let found: Vec<_> = list
        .iter()
        .map(|w| format!("{:?}", maker.look(&w.path)))
        .collect();
    assert_eq!(found, told);
    assert_eq!(words(&maker.make(&list)), told);
    assert_eq!(tree.all(), before);
    assert_eq!(tree.is("srv/dir"), (0o1751, uid, gid));
    assert_eq!(fs::read(tree.at("srv/file")).unwrap(), b"kept");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    drop(socket);
}

#[test]
fn a_path_that_could_lead_elsewhere_or_is_too_deep_is_refused_and_others_are_made() {
    let tree = Tree::new();
    let inside = tree.at("srv/abs");
    let deep = |levels: usize| format!("srv/deep{}", "/d".repeat(levels - 2));
    let paths = [
        "srv/../srv/up",
        "..",
        "",
        inside.to_str().unwrap(),
        "srv/nul\0/x",
        &deep(257),
        "srv/good",
        &deep(256),
    ];
    let paths = paths.map(|p| p.replace("\\0", "\0"));
    let list: Vec<_> = paths.iter().map(|p| wanted(p, 0o700)).collect();
    let outcomes = words(&tree.make(&list));
    for refused in &outcomes[..4] {
        assert_eq!(refused, "failed: not a path below the root");
    }
    assert!(outcomes[4].starts_with("failed: "), "{outcomes:?}");
    assert_eq!(outcomes[5], "failed: more than 256 directories deep");
    assert_eq!(outcomes[6], "made");
    assert!(outcomes[7].starts_with("made after [\"srv/deep\", "));
    assert_eq!(tree.is(&deep(256)).0, 0o700);
    assert_eq!(fs::read_dir(tree.at("srv")).unwrap().count(), 2);
}

#[test]
fn a_missing_parent_is_made_as_it_is_wanted_or_else_as_implied() {
    let tree = Tree::new();
    // in any order, and with names that sort between a directory and what is below it
    let list = [
        wanted("var/x/y/z", 0o700),
        wanted("var/x-y", 0o711),
        wanted("var/x", 0o750),
        wanted("var/p/q/r/s", 0o701),
        wanted("var/p/q/t", 0o702),
        wanted("var/lib", 0o755),
    ];
    let outcomes = tree.make(&list);
    let lib = format!("{:?}", tree.maker().look(Path::new("var/lib")));
    let told = [
        r#"made after ["var/x/y"]"#,
        "made",
        "made",
        r#"made after ["var/p", "var/p/q", "var/p/q/r"]"#,
        "made",
        &lib,
    ];
    assert_eq!(words(&outcomes), told);
    let (uid, gid) = somebody();
    assert_eq!(tree.is("var/x"), (0o750, uid, gid));
    assert_eq!(tree.is("var/x/y"), (0o755, us().0, us().1));
    assert_eq!(tree.is("var/p/q/r/s"), (0o701, uid, gid));
    let all = tree.all();
    assert!(!all.iter().any(|p| p.contains(".create-dirs-")), "{all:?}");
}
