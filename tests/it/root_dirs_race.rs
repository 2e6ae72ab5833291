//! Making directories where others interfere, where the file system says no, and where the kernel lacks something.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use transactional_update::dirs::{Found, Maker, Outcome, Wanted};
use transactional_update::sys::{Root, beneath, xattr};

use crate::fx::{Ran, command, require_root};

/// A directory with a file system of its own, which goes with it.
struct Disk {
    dir: tempfile::TempDir,
    mounts: Vec<PathBuf>,
}

impl Disk {
    /// Bash, with `$T` as a directory with a file system in memory.
    fn new(script: &str) -> Disk {
        require_root();
        let dir = tempfile::tempdir().unwrap();
        let mut disk = Disk {
            dir,
            mounts: Vec::new(),
        };
        disk.mount("-t tmpfs -o mode=755 none", "");
        disk.bash(script);
        disk
    }

    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(path)
    }

    fn mount(&mut self, what: &str, on: &str) {
        let on = self.at(on);
        self.bash(&format!("mount {what} {}", on.display()));
        self.mounts.push(on);
    }

    #[track_caller]
    fn bash(&self, script: &str) -> String {
        let mut command = command("bash");
        command.args(["-ec", script]).env("T", self.dir.path());
        Ran::new(script, command.output().unwrap())
            .succeeds()
            .stdout
    }

    fn maker(&self) -> Maker {
        Maker::open(&Root::at(self.dir.path()).unwrap()).unwrap()
    }

    /// Mode, owner and group of a directory.
    #[track_caller]
    fn is(&self, path: &str) -> (u32, u32, u32) {
        let stat = fs::symlink_metadata(self.at(path)).unwrap();
        assert!(stat.is_dir(), "{path}");
        (stat.mode() & 0o7777, stat.uid(), stat.gid())
    }

    /// All paths below this one, sorted.
    fn all(&self, below: &str) -> Vec<String> {
        let found = self.bash(&format!(
            "cd $T/{below}; find . -mindepth 1 -printf '%P\\n' | LC_ALL=C sort"
        ));
        found.lines().map(str::to_owned).collect()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        for path in self.mounts.iter().rev() {
            // a process that another test starts just now has a copy of our descriptors until it runs its program
            let is_done = (0..100).any(|_| {
                let done = command("umount").arg("-q").arg(path).status();
                done.is_ok_and(|s| s.success()) || {
                    std::thread::sleep(std::time::Duration::from_millis(100));
                    false
                }
            });
            assert!(is_done || std::thread::panicking(), "{}", path.display());
        }
    }
}

fn wanted(path: &str, mode: u32) -> Wanted {
    Wanted {
        path: path.into(),
        mode,
        uid: 1234,
        gid: 5678,
    }
}

fn words(outcomes: &[Outcome]) -> Vec<String> {
    let word = |outcome: &Outcome| match outcome {
        Outcome::Made { implied } if implied.is_empty() => "made".into(),
        Outcome::Made { implied } => format!("made after {implied:?}"),
        Outcome::Found(found) => format!("{found:?}"),
        Outcome::Raced => "raced".into(),
        Outcome::Failed(e) => format!("failed: {e}"),
    };
    outcomes.iter().map(word).collect()
}

/// What can be seen of each file and directory: anything that is done to one changes its ctime.
fn state(dir: &Path) -> BTreeMap<PathBuf, [i64; 7]> {
    let mut found = BTreeMap::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(path) = pending.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        if stat.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
        let facts = [
            stat.ino().cast_signed(),
            stat.mode().into(),
            stat.uid().into(),
            stat.gid().into(),
            stat.nlink().cast_signed(),
            stat.ctime(),
            stat.ctime_nsec(),
        ];
        found.insert(path, facts);
    }
    found
}

/// As the user `nobody`, who owns the directory it is in: exchanges what is there for links to `outside`, and takes each
/// private directory away. Nothing that it does can fail because of rights.
const ATTACK: &str = r#"
import ctypes, itertools, os, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
libc = ctypes.CDLL(None)
libc.prctl(1, 9)                   # ends with the test, however that ends (PR_SET_PDEATHSIG)
outside = sys.argv[1]
def exchange(a, b): libc.renameat2(-100, a.encode(), -100, b.encode(), 2)
# into another directory it cannot be moved: for that one has to be able to write in it
def away(path): os.rename(path, f"data/stolen{next(numbers)}")
def attempt(what, *args):
    try: what(*args)
    except OSError: pass
numbers = itertools.count()
print("ready", flush=True)
while True:
    for _ in range(20): exchange("data", "link")
    exchange("data/a", "data/a.link")
    try: names = os.listdir("data")
    except OSError: continue
    for name in names:
        if not name.startswith(".create-dirs-"): continue
        path = "data/" + name
        attempt(away, path)
        how = next(numbers) % 3
        if how == 0: attempt(os.symlink, outside, path)
        if how == 1: attempt(os.mkdir, path, 0o700)
        if how == 2: attempt(os.symlink, outside + "/a", path)
"#;

struct Attacker(Child);

impl Attacker {
    fn begin(disk: &Disk) -> Attacker {
        let mut child = command("python3")
            .args(["-c", ATTACK])
            .arg(disk.at("outside"))
            .current_dir(disk.at("srv/www"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        let mut out = child.stdout.take().unwrap();
        std::io::Read::read_exact(&mut out, &mut ready).unwrap();
        Attacker(child)
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A tree in which the owner of a directory attacks.
fn attacked() -> Disk {
    Disk::new(
        "mkdir -p $T/{var,srv/www/{data,trash},outside/a/b}; echo kept >$T/outside/file; chmod 700 $T/outside/a/b
        ln -s $T/outside $T/srv/www/link; ln -s $T/outside/a $T/srv/www/data/a.link
        chown -hR 65534:65534 $T/srv/www; chmod 755 $T/outside",
    )
}

/// Removes what was made; what the attacker does meanwhile makes that fail now and then, and the next round goes on.
fn tidy(disk: &Disk) {
    let root = beneath::open_root(disk.dir.path()).unwrap();
    for below in ["data", "link", "trash"] {
        let below = Path::new("srv/www").join(below);
        for name in beneath::names_below(&root, &below).unwrap_or_default() {
            if name != "a.link" {
                beneath::remove_all(&root, &below.join(name)).unwrap_or(());
            }
        }
    }
}

/// The control of the next test: the attack is one.
#[test]
fn what_is_done_by_paths_reaches_outside_under_the_same_attack() {
    let disk = attacked();
    let before = state(&disk.at("outside"));
    let _attacker = Attacker::begin(&disk);
    let path = disk.at("srv/www/data/a");
    for _ in 0..10_000 {
        if fs::create_dir(&path).is_ok() {
            chown(&path, Some(1234), Some(5678)).unwrap_or(());
        }
        if state(&disk.at("outside")) != before {
            return;
        }
        tidy(&disk);
    }
    panic!("nothing outside was touched");
}

#[test]
fn nothing_outside_is_touched_while_the_owner_of_a_parent_exchanges_it_for_a_link() {
    let disk = attacked();
    let before = state(&disk.at("outside"));
    let list = [
        wanted("srv/www/data/a/b", 0o2770),
        wanted("srv/www/data/c", 0o755),
    ];
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let attacker = Attacker::begin(&disk);
    for round in 0..10_000 {
        let mut maker = disk.maker();
        for outcome in maker.make(&list) {
            let what = match outcome {
                Outcome::Made { .. } => "made",
                Outcome::Found(Found::Redirected(_)) => "redirected",
                Outcome::Found(Found::Directory { .. }) => "there",
                Outcome::Raced => "raced",
                other => panic!("{round}: {other:?}"),
            };
            *counts.entry(what.into()).or_default() += 1;
        }
        if round % 8 == 0 {
            maker.remove_leftovers(list.iter().map(|w| w.path.as_path()));
        }
        tidy(&disk);
    }
    drop(attacker);
    assert_eq!(state(&disk.at("outside")), before, "{counts:?}");
    let often = |what: &str| counts.get(what).copied().unwrap_or(0) > 200;
    assert!(often("made") && often("redirected"), "{counts:?}");
    disk.bash("cd $T/srv/www; rm -rf data link; mkdir data; chown nobody data");
    let outcomes = words(&disk.maker().make(&list));
    assert_eq!(outcomes, [r#"made after ["srv/www/data/a"]"#, "made"]);
    assert_eq!(disk.all("srv/www/data"), ["a", "a/b", "c"]);
    assert_eq!(disk.is("srv/www/data/a/b"), (0o2770, 1234, 5678));
}

#[test]
fn directories_are_made_across_mount_points_and_subvolumes_of_one_tree() {
    let mut disk = Disk::new("truncate -s 200M $T/image; mkfs.btrfs -q $T/image; mkdir $T/root");
    disk.mount("-o loop \"$T/image\"", "root");
    disk.bash("cd $T/root; for s in var srv var/lib; do btrfs -q subvolume create $s; done; mkdir srv/share opt");
    disk.mount("-t tmpfs none", "root/srv/share");
    let root = Root::at(&disk.at("root")).unwrap();
    let mut maker = Maker::open(&root).unwrap();
    let paths = [
        "var/lib/a/b",
        "var/lib",
        "var/c",
        "srv/share/d/e",
        "srv/f",
        "opt/g",
    ];
    let list: Vec<_> = paths.iter().map(|p| wanted(p, 0o2750)).collect();
    let outcomes = words(&maker.make(&list));
    let found = format!("{:?}", maker.look(Path::new("var/lib")));
    let told = [
        r#"made after ["var/lib/a"]"#,
        &found,
        "made",
        r#"made after ["srv/share/d"]"#,
        "made",
        "made",
    ];
    assert_eq!(outcomes, told);
    maker.sync().unwrap();
    for path in ["var/lib/a/b", "var/c", "srv/share/d/e", "srv/f", "opt/g"] {
        assert_eq!(disk.is(&format!("root/{path}")), (0o2750, 1234, 5678));
    }
    let all = "opt opt/g srv srv/f srv/share srv/share/d srv/share/d/e var var/c var/lib var/lib/a var/lib/a/b";
    assert_eq!(disk.all("root").join(" "), all);
    drop(maker);
}

/// The kernel takes those of the ACL for the mode that is asked for, whatever the umask.
#[test]
fn a_default_acl_of_the_parent_changes_no_mode() {
    let disk = Disk::new("mkdir $T/srv");
    let mut acl = vec![2, 0, 0, 0];
    // owner, the user nobody, group, mask, others: tag, rights, id (acl(5))
    for (tag, rights, id) in [
        (1, 5, -1),
        (2, 7, 65534),
        (4, 7, -1),
        (16, 7, -1),
        (32, 7, -1),
    ] {
        acl.extend([tag, 0, rights, 0]);
        acl.extend(i32::to_le_bytes(id));
    }
    let srv = fs::File::open(disk.at("srv")).unwrap();
    xattr::set(&srv, c"system.posix_acl_default", &acl).unwrap();
    let modes = [0o1777, 0o2770, 0o700, 0o755];
    let list = modes.map(|mode| wanted(&format!("srv/new/{mode:o}"), mode));
    let mut maker = disk.maker();
    let outcomes = words(&maker.make(&list));
    assert_eq!(
        outcomes,
        [r#"made after ["srv/new"]"#, "made", "made", "made"]
    );
    for one in list {
        assert_eq!(disk.is(one.path.to_str().unwrap()), (one.mode, 1234, 5678));
    }
    assert_eq!(disk.is("srv/new"), (0o755, 0, 0));
    drop(maker);
}

#[test]
fn what_is_read_only_fails_and_all_else_is_made() {
    let mut disk = Disk::new("mkdir $T/{var,srv,opt}");
    disk.mount("-t tmpfs none", "srv");
    disk.bash("mkdir $T/srv/there; mount -o remount,ro $T/srv");
    let paths = [
        "srv/a/b",
        "srv/there/c",
        "var/d",
        "srv/there",
        "nowhere/e",
        "opt/f",
    ];
    let list: Vec<_> = paths.iter().map(|p| wanted(p, 0o700)).collect();
    let outcomes = words(&disk.maker().make(&list));
    let failed = "failed: Read-only file system (os error 30)";
    assert_eq!(outcomes[..3], [failed, failed, "made"]);
    assert!(outcomes[3].starts_with("Directory {"), "{outcomes:?}");
    assert_eq!(outcomes[4..], [r#"made after ["nowhere"]"#, "made"]);
    assert_eq!(
        disk.all(""),
        [
            "nowhere",
            "nowhere/e",
            "opt",
            "opt/f",
            "srv",
            "srv/there",
            "var",
            "var/d"
        ]
    );
}

/// `free` of the inodes of the small disk at /srv are left; asserts what becomes of six directories in it.
#[track_caller]
fn full(free: u32, told: [&str; 6], all: &[&str]) {
    let mut disk =
        Disk::new("truncate -s 1M $T/image; mkfs.ext4 -qF -N 64 -m 0 $T/image; mkdir $T/{srv,var}");
    disk.mount("-o loop \"$T/image\"", "srv");
    disk.bash(&format!(
        "cd $T/srv; rmdir lost+found; mkdir full; i=0; while : 2>/dev/null >full/$i; do i=$((i + 1)); done 2>/dev/null; [ $i -gt 20 ]
        ls -v full | tail -n {free} | sed s,^,full/, | xargs -r rm"
    ));
    let paths = [
        "srv/new/a",
        "srv/new/b",
        "srv/new/b/c",
        "srv/new/d",
        "srv/other",
        "var/e",
    ];
    let list: Vec<_> = paths.iter().map(|p| wanted(p, 0o751)).collect();
    let mut maker = disk.maker();
    assert_eq!(words(&maker.make(&list)), told);
    disk.bash("rm -r $T/srv/full");
    assert_eq!(disk.all("srv"), all);
    assert_eq!(disk.is("var/e"), (0o751, 1234, 5678));
    maker.make(&list);
    assert_eq!(
        disk.all("srv"),
        ["new", "new/a", "new/b", "new/b/c", "new/d", "other"]
    );
    for path in paths {
        assert_eq!(disk.is(path), (0o751, 1234, 5678), "{path}");
    }
    drop(maker);
}

#[test]
fn a_full_disk_fails_what_has_no_room_and_leaves_nothing_half_made() {
    let failed = "failed: No space left on device (os error 28)";
    let made = r#"made after ["srv/new"]"#;
    full(0, [failed, failed, failed, failed, failed, "made"], &[]);
    full(
        2,
        [failed, failed, failed, failed, "made", "made"],
        &["other"],
    );
    full(
        3,
        [made, failed, failed, failed, failed, "made"],
        &["new", "new/a"],
    );
    full(
        4,
        [made, "made", failed, failed, failed, "made"],
        &["new", "new/a", "new/b"],
    );
}

/// Names the root for a test that runs in a process of its own.
const CHILD: &str = "CREATE_DIRS_TEST_ROOT";

/// What is made there.
const PATHS: [&str; 5] = ["srv/a", "srv/b/c", "srv/b/d", "srv/e", "var/f/g/h"];
const MODE: u32 = 0o3770;
const IMPLIED: [&str; 3] = ["srv/b", "var/f", "var/f/g"];

/// Whether this is that process; then the work is done, and told in a file.
fn is_child() -> bool {
    let Some(root) = std::env::var_os(CHILD) else {
        return false;
    };
    let root = Root::at(Path::new(&root)).unwrap();
    let list: Vec<_> = PATHS.iter().map(|p| wanted(p, MODE)).collect();
    let mut maker = Maker::open(&root).unwrap();
    maker.remove_leftovers(list.iter().map(|w| w.path.as_path()));
    let outcomes = words(&maker.make(&list));
    let synced = maker
        .sync()
        .map_or_else(|e| e.to_string(), |()| "synced".into());
    let told = format!("{}\n{synced}", outcomes.join("\n"));
    fs::write(root.path().join("told"), told).unwrap();
    true
}

/// Does the work of [`is_child`] in a process of the test `name` that strace(1) hinders so; gives what is told, if it was
/// not killed before.
#[track_caller]
fn hindered(disk: &Disk, name: &str, call: &str, how: &str) -> Option<Vec<String>> {
    fs::remove_file(disk.at("told")).unwrap_or(());
    let mut strace = command("strace");
    strace.args(["-f", "-qq", "-o"]).arg(disk.at("trace"));
    strace.args([
        "-e",
        &format!("trace={call}"),
        "-e",
        &format!("inject={call}:{how}"),
    ]);
    strace.arg(std::env::current_exe().unwrap());
    strace.args(["--exact", &format!("root_dirs_race::{name}")]);
    let ran = Ran::new(how, strace.env(CHILD, disk.at("")).output().unwrap());
    let told = fs::read_to_string(disk.at("told")).ok();
    assert_eq!(ran.code == 0, told.is_some(), "{call}:{how}\n{ran}");
    told.map(|t| t.lines().map(str::to_owned).collect())
}

/// Asserts that each directory that can be seen is as it is to be; gives those that are there, and how many private ones.
#[track_caller]
fn whole(disk: &Disk, case: &str) -> (Vec<String>, usize) {
    let mut there = disk.all("srv");
    there = there.iter().map(|p| format!("srv/{p}")).collect();
    there.extend(disk.all("var").iter().map(|p| format!("var/{p}")));
    let is_top = |p: &&String| p.contains("/.create-dirs-") && p.matches('/').count() == 1;
    let private = there.iter().filter(is_top).count();
    there.retain(|p| !p.contains("/.create-dirs-"));
    for path in &there {
        let implied = IMPLIED.contains(&path.as_str());
        assert!(implied || PATHS.contains(&path.as_str()), "{case}: {path}");
        let right = if implied {
            (0o755, 0, 0)
        } else {
            (MODE, 1234, 5678)
        };
        assert_eq!(disk.is(path), right, "{case}: {path}");
    }
    (there, private)
}

fn empty() -> Disk {
    Disk::new("mkdir $T/srv $T/var")
}

const MADE: [&str; 6] = [
    "made",
    r#"made after ["srv/b"]"#,
    "made",
    "made",
    r#"made after ["var/f", "var/f/g"]"#,
    "synced",
];

#[test]
fn a_kernel_without_openat2_makes_the_same() {
    if is_child() {
        return;
    }
    let name = "a_kernel_without_openat2_makes_the_same";
    let disk = empty();
    let told = hindered(&disk, name, "openat2", "error=ENOSYS");
    assert_eq!(told.unwrap(), MADE);
    assert_eq!(whole(&disk, name).0.len(), PATHS.len() + IMPLIED.len());
}

#[test]
fn a_file_system_that_cannot_rename_without_replacing_gets_the_same() {
    if is_child() {
        return;
    }
    let name = "a_file_system_that_cannot_rename_without_replacing_gets_the_same";
    for errno in ["EINVAL", "ENOSYS", "EXDEV", "EOPNOTSUPP"] {
        let disk = empty();
        let told = hindered(&disk, name, "renameat2", &format!("error={errno}"));
        assert_eq!(told.unwrap(), MADE, "{errno}");
        let (there, private) = whole(&disk, errno);
        assert_eq!((there.len(), private), (PATHS.len() + IMPLIED.len(), 0));
        let calls = fs::read_to_string(disk.at("trace")).unwrap();
        assert_eq!(
            calls.lines().filter(|l| l.contains("renameat2(")).count(),
            1
        );
    }
}

#[test]
fn whichever_call_fails_or_is_the_last_one_only_whole_directories_are_seen_and_the_next_run_makes_the_rest()
 {
    if is_child() {
        return;
    }
    let name = "whichever_call_fails_or_is_the_last_one_only_whole_directories_are_seen_and_the_next_run_makes_the_rest";
    let mut cases = 0;
    for call in [
        "mkdirat",
        "fchown",
        "fchmod",
        "renameat2",
        "unlinkat",
        "syncfs",
    ] {
        for how in ["error=EIO", "signal=KILL"] {
            for number in 1.. {
                let case = format!("{call}:{how}:when={number}");
                let disk = empty();
                let told = hindered(&disk, name, call, &format!("{how}:when={number}"));
                let calls = fs::read_to_string(disk.at("trace")).unwrap();
                if calls
                    .lines()
                    .filter(|l| l.contains(&format!("{call}(")))
                    .count()
                    < number
                {
                    break;
                }
                cases += 1;
                let (there, private) = whole(&disk, &case);
                // what is told is so
                for (path, told) in PATHS.iter().zip(told.iter().flatten()) {
                    let is_there = there.iter().any(|p| p == path);
                    assert_eq!(is_there, told.starts_with("made"), "{case}: {path}: {told}");
                    let is_right = is_there || told == "failed: Input/output error (os error 5)";
                    assert!(is_right, "{case}: {path}: {told}");
                }
                assert!(private <= 1, "{case}");
                assert!(
                    private == 0 || how == "signal=KILL" || call == "unlinkat",
                    "{case}"
                );
                hindered(&disk, name, "none", "error=EIO").unwrap();
                let (there, private) = whole(&disk, &case);
                let all = PATHS.len() + IMPLIED.len();
                assert_eq!((there.len(), private), (all, 0), "{case}");
            }
        }
    }
    assert!(cases > 60, "{cases}");
}
