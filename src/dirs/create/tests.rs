use std::fs;
use std::os::fd::AsFd;
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
    let mut masks = vec![0, 0o022, 0o027, 0o077];
    let mut modes = vec![0o700, 0o755, 0o775, 0o1777, 0o2775, 0o4755, 0o7777];
    // others cannot use what they have no right to
    if Uid::effective().is_root() {
        masks.push(0o777);
        modes.push(0);
    }
    for mask in masks {
        let tree = Tree::new();
        let paths: Vec<String> = modes.iter().map(|m| format!("srv/{m:o}")).collect();
        let list: Vec<_> = paths
            .iter()
            .zip(&modes)
            .map(|(p, m)| wanted(p, *m))
            .collect();
        let outcomes = with_umask(mask, || words(&tree.make(&list)));
        assert_eq!(outcomes, vec!["made"; modes.len()], "umask {mask:o}");
        for (path, mode) in paths.iter().zip(&modes) {
            assert_eq!(tree.is(path), (*mode, uid, gid), "{path}, umask {mask:o}");
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

#[test]
fn what_cannot_be_made_in_a_missing_subtree_is_left_out_and_all_else_is_made() {
    let tree = Tree::new();
    let long = "x".repeat(256);
    let list = [
        wanted("srv/new/a", 0o700),
        wanted(&format!("srv/new/between/{long}"), 0o700),
        wanted(&format!("srv/new/between/{long}/below"), 0o700),
        wanted("srv/new/z", 0o700),
        wanted(&format!("srv/never/{long}"), 0o700),
        wanted(&format!("srv/{long}/a"), 0o700),
    ];
    let too_long = "failed: File name too long (os error 36)";
    let outcomes = words(&tree.make(&list));
    let told = [
        r#"made after ["srv/new"]"#,
        too_long,
        too_long,
        "made",
        too_long,
        too_long,
    ];
    assert_eq!(outcomes, told);
    let all = [
        "opt",
        "srv",
        "srv/new",
        "srv/new/a",
        "srv/new/z",
        "var",
        "var/lib",
    ];
    assert_eq!(tree.all(), all);
}

#[test]
fn one_that_is_wanted_twice_is_made_once() {
    let tree = Tree::new();
    let list = [wanted("srv/a", 0o700), wanted("srv/a", 0o755)];
    let outcomes = words(&tree.make(&list));
    assert_eq!(outcomes[0], "made");
    assert!(outcomes[1].starts_with("Directory {"), "{outcomes:?}");
    assert_eq!(tree.is("srv/a").0, 0o700);
}

#[test]
fn an_owner_or_mode_that_is_not_kept_is_no_success() {
    let tree = Tree::new();
    // the number that means "leave it as it is" to chown(2)
    let impossible = Wanted {
        uid: u32::MAX,
        ..wanted("srv/a/b", 0o700)
    };
    let outcomes = words(&tree.make(&[impossible, wanted("srv/a/c", 0o700)]));
    let told = "failed: the file system does not keep its owner and mode";
    assert_eq!(outcomes, [told, r#"made after ["srv/a"]"#]);
    assert_eq!(
        tree.all(),
        ["opt", "srv", "srv/a", "srv/a/c", "var", "var/lib"]
    );
}

/// As on a file system without RENAME_NOREPLACE.
fn only_in_place(tree: &Tree) -> Maker {
    let mut maker = tree.maker();
    let device = fs::metadata(tree.dir.path()).unwrap().dev();
    maker.in_place.insert(device);
    maker
}

#[test]
fn where_nothing_can_be_moved_without_replacing_directories_are_made_in_place() {
    let tree = Tree::new();
    let (uid, gid) = somebody();
    let long = "x".repeat(256);
    let list = [
        wanted("srv/a", 0o2775),
        wanted("srv/b/c", 0o1777),
        wanted(&format!("srv/d/{long}"), 0o700),
        wanted("srv/file", 0o700),
    ];
    fs::write(tree.at("srv/file"), "").unwrap();
    let outcomes = with_umask(0o027, || words(&only_in_place(&tree).make(&list)));
    let told = [
        "made",
        r#"made after ["srv/b"]"#,
        "failed: File name too long (os error 36)",
        r#"Blocked("srv/file")"#,
    ];
    assert_eq!(outcomes, told);
    assert_eq!(tree.is("srv/a"), (0o2775, uid, gid));
    assert_eq!(tree.is("srv/b"), (0o755, us().0, us().1));
    assert_eq!(tree.is("srv/b/c"), (0o1777, uid, gid));
    assert!(!tree.at("srv/d").exists());
}

/// What would be made for one directory, as it was planned before something else happened.
fn plan(path: &str) -> Node {
    Node::plan("srv/a".into(), [(0, &wanted(path, 0o700))].into_iter())
}

#[test]
fn what_somebody_else_made_meanwhile_is_neither_replaced_nor_changed() {
    let tree = Tree::new();
    fs::create_dir(tree.at("srv/a")).unwrap();
    fs::set_permissions(tree.at("srv/a"), fs::Permissions::from_mode(0o705)).unwrap();
    let labels = Labels::None;
    let builder = || Builder {
        labels: &labels,
        told: Vec::new(),
        unlabelled: Vec::new(),
    };
    let srv = fs::File::open(tree.at("srv")).unwrap();
    let aside = builder().aside(srv.as_fd(), &mut plan("srv/a/b"));
    let in_place = builder().in_place(srv.as_fd(), &mut plan("srv/a/b"));
    for done in [aside, in_place] {
        assert!(matches!(done, Err(Trouble::Again)), "{done:?}");
    }
    // not the last time: it is looked at again, and found
    for mut maker in [tree.maker(), only_in_place(&tree)] {
        assert!(maker.make_missing(&mut plan("srv/a/b"), false).is_empty());
        let told = maker.make_missing(&mut plan("srv/a/b"), true);
        assert!(matches!(told[..], [(0, Outcome::Raced)]), "{told:?}");
    }
    assert_eq!(tree.all(), ["opt", "srv", "srv/a", "var", "var/lib"]);
    assert_eq!(words(&tree.make(&[wanted("srv/a/b", 0o700)])), ["made"]);
    assert_eq!(tree.is("srv/a").0, 0o705);
}

#[test]
fn a_directory_that_went_away_while_it_was_open_is_looked_for_again() {
    let tree = Tree::new();
    let mut maker = tree.maker();
    fs::create_dir_all(tree.at("srv/a/b")).unwrap();
    assert!(matches!(maker.look(Path::new("srv/a/b/c")), Found::Missing));
    fs::rename(tree.at("srv/a"), tree.at("srv/moved")).unwrap();
    fs::create_dir_all(tree.at("srv/a")).unwrap();
    fs::remove_dir(tree.at("srv/moved/b")).unwrap();
    let outcomes = words(&maker.make(&[wanted("srv/a/b/c", 0o700)]));
    assert_eq!(outcomes, [r#"made after ["srv/a/b"]"#]);
    assert_eq!(fs::read_dir(tree.at("srv/moved")).unwrap().count(), 0);
}

#[test]
fn two_at_once_make_one_tree() {
    let paths: Vec<String> = (0..40)
        .map(|n| format!("srv/{}/{}/{n}", n % 3, n % 7))
        .collect();
    let list: Vec<_> = paths.iter().map(|p| wanted(p, 0o750)).collect();
    let reference = Tree::new();
    reference.make(&list);
    for _ in 0..20 {
        let tree = Tree::new();
        let work = || {
            let mut maker = tree.maker();
            maker.remove_leftovers(list.iter().map(|w| w.path.as_path()));
            let outcomes = words(&maker.make(&list));
            maker.remove_leftovers(list.iter().map(|w| w.path.as_path()));
            outcomes
        };
        let [one, other] = std::thread::scope(|scope| {
            let both = [scope.spawn(work), scope.spawn(work)];
            both.map(|thread| thread.join().unwrap())
        });
        assert_eq!(tree.all(), reference.all());
        for (path, (one, other)) in paths.iter().zip(one.iter().zip(&other)) {
            assert_eq!(tree.is(path), reference.is(path), "{path}");
            let made = [one, other]
                .iter()
                .filter(|w| w.starts_with("made"))
                .count();
            let found = [one, other]
                .iter()
                .filter(|w| w.starts_with("Directory"))
                .count();
            assert_eq!((made, found), (1, 1), "{path}: {one}, {other}");
        }
    }
}

/// Makes a directory that only who runs this can enter, and those above it.
fn private(tree: &Tree, path: &str) {
    fs::create_dir_all(tree.at(path)).unwrap();
    let top: PathBuf = Path::new(path).iter().take(2).collect();
    fs::set_permissions(tree.at(top), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn what_a_run_left_that_was_cut_off_is_removed_and_nothing_else() {
    let tree = Tree::new();
    private(&tree, "srv/.create-dirs-abc123/one/two");
    private(&tree, "srv/.create-dirs-abc123/one/three");
    private(&tree, "srv/.create-dirs-empty0");
    private(&tree, "var/.create-dirs-000000");
    let stay = [
        "srv/.create-dirs-file00/one",
        "srv/.create-dirs-link00/one",
        "srv/.create-dirs-open00",
        "srv/.create-dirs-locked",
        "srv/.create-dirs-short",
        "srv/.create-dirs-longer1",
        "srv/.create-dirs-a.cde1",
        "srv/create-dirs-abc123",
        "opt/.create-dirs-abc123",
    ];
    for path in stay {
        private(&tree, path);
    }
    fs::write(tree.at("srv/.create-dirs-file00/one/file"), "").unwrap();
    symlink("/", tree.at("srv/.create-dirs-link00/one/link")).unwrap();
    symlink("..", tree.at("srv/.create-dirs-linked")).unwrap();
    fs::write(tree.at("srv/.create-dirs-afile1"), "").unwrap();
    let open = tree.at("srv/.create-dirs-open00");
    fs::set_permissions(open, fs::Permissions::from_mode(0o710)).unwrap();
    let locked = fs::File::open(tree.at("srv/.create-dirs-locked")).unwrap();
    locked.lock().unwrap();
    if Uid::effective().is_root() {
        private(&tree, "srv/.create-dirs-owned0");
        let (uid, gid) = somebody();
        let path = tree.at("srv/.create-dirs-owned0");
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).unwrap();
    }
    let mut expected = tree.all();
    expected.retain(|p| {
        let goes = [
            "srv/.create-dirs-abc123",
            "srv/.create-dirs-empty0",
            "var/.create-dirs-000000",
        ];
        !goes.iter().any(|n| p.starts_with(n))
    });

    let mut maker = tree.maker();
    let paths = [
        "srv/a",
        "srv/b/c",
        "var/lib/x",
        "none/x",
        "srv/.create-dirs-afile1/x",
    ];
    let mut removed = maker.remove_leftovers(paths.map(Path::new));
    removed.sort();
    let wanted = [
        "srv/.create-dirs-abc123",
        "srv/.create-dirs-empty0",
        "var/.create-dirs-000000",
    ];
    assert_eq!(removed, wanted.map(PathBuf::from));
    assert_eq!(tree.all(), expected);
    drop(locked);
    assert_eq!(
        maker.remove_leftovers(paths.map(Path::new)),
        [Path::new("srv/.create-dirs-locked")]
    );
}

#[test]
fn only_a_new_empty_directory_that_nobody_else_can_enter_is_taken_for_the_one_that_was_made() {
    let tree = Tree::new();
    let srv = fs::File::open(tree.at("srv")).unwrap();
    let open = |name: &str| build::open_new(srv.as_fd(), name.as_ref());
    private(&tree, "srv/good");
    private(&tree, "srv/full/with");
    private(&tree, "srv/open");
    fs::set_permissions(tree.at("srv/open"), fs::Permissions::from_mode(0o1700)).unwrap();
    symlink("good", tree.at("srv/link")).unwrap();
    fs::write(tree.at("srv/file"), "").unwrap();
    assert!(open("good").is_ok());
    for name in ["full", "open", "link", "file"] {
        assert!(matches!(open(name), Err(Trouble::Raced)), "{name}");
    }
    assert!(matches!(open("gone"), Err(Trouble::Again)));
    if Uid::effective().is_root() {
        std::os::unix::fs::chown(tree.at("srv/good"), Some(1234), None).unwrap();
        assert!(matches!(open("good"), Err(Trouble::Raced)));
    }
}

#[test]
fn five_thousand_directories_are_made_with_a_thousand_descriptors() {
    const INSIDE: &str = "CREATE_DIRS_TEST_LIMITED";
    let limit: usize = 1024;
    if std::env::var_os(INSIDE).is_none() {
        let name =
            "dirs::create::tests::five_thousand_directories_are_made_with_a_thousand_descriptors";
        let me = std::env::current_exe().unwrap();
        let script = format!("ulimit -n {limit} && exec \"$1\" --exact {name} --nocapture");
        let argv = [
            "sh".into(),
            "-c".into(),
            script.into(),
            "sh".into(),
            me.into_os_string(),
        ];
        let tool = crate::sys::tool::Tool::new(
            crate::sys::cmd::Argv::new(argv),
            std::time::Duration::from_secs(300),
        );
        let done = tool.env(INSIDE, "1").run().unwrap();
        let out = String::from_utf8_lossy(&done.stdout);
        assert!(
            done.code == 0 && out.contains("1 passed"),
            "{out}\n{}",
            String::from_utf8_lossy(&done.stderr)
        );
        return;
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let files = limits
        .lines()
        .find(|l| l.starts_with("Max open files"))
        .unwrap();
    assert_eq!(files.split_whitespace().nth(3), Some("1024"));
    let tree = Tree::new();
    let deep = |name: char| format!("srv/{name}{}", "/d".repeat(254));
    assert_eq!(fs::create_dir_all(tree.at("srv/d")).ok(), Some(()));
    // half of the deepest way is there already
    fs::create_dir_all(tree.at(format!("srv/x{}", "/d".repeat(127)))).unwrap();
    let wide = (0..5000).map(|n| format!("var/{}/{}/{n}", n % 10, n % 100));
    let paths: Vec<_> = wide.chain([deep('w'), deep('x')]).collect();
    let list: Vec<_> = paths.iter().map(|p| wanted(p, 0o711)).collect();
    let mut maker = tree.maker();
    let outcomes = words(&maker.make(&list));
    assert!(
        outcomes.iter().all(|w| w.starts_with("made")),
        "{outcomes:?}"
    );
    maker.sync().unwrap();
    assert!(
        list.iter()
            .all(|w| matches!(maker.look(&w.path), Found::Directory { mode: 0o711, .. }))
    );
}
