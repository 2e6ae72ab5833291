//! The files that both programs work on.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use sha2::{Digest, Sha256};

use crate::fx::command;
use crate::sfdisk;

/// Directories of a system, below one of this host. Those of `etc` and `var/lib` are shown one by one, all others whole.
pub(crate) struct Tree(tempfile::TempDir);

/// Where both programs keep their state.
const STATE: [&str; 2] = ["var/lib/systemd/sysupdate", "var/lib/transactional-update"];

impl Tree {
    /// A copy of the files below `dir`.
    pub(crate) fn of(dir: &Path) -> Tree {
        let tree = Tree(tempfile::tempdir().unwrap());
        let all = format!("{}/.", dir.display());
        let mut copy = command("cp");
        copy.args(["-a", &all]).arg(tree.0.path());
        assert!(copy.status().unwrap().success(), "copying {all}");
        for state in STATE {
            fs::create_dir_all(tree.path(state)).unwrap();
        }
        walk(dir, Path::new(""), &mut |path, kind| {
            if is_locked(&dir.join(path), kind) {
                lock(&tree.path(path), true);
            }
        });
        tree
    }

    /// With nothing but these directories.
    pub(crate) fn with(dirs: &[&str]) -> Tree {
        let tree = Tree(tempfile::tempdir().unwrap());
        for dir in dirs.iter().chain(&STATE) {
            fs::create_dir_all(tree.path(dir)).unwrap();
        }
        tree
    }

    pub(crate) fn copy(&self) -> Tree {
        Tree::of(self.0.path())
    }

    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        // what is compared does not depend on when the test runs
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_714_564_800);
        fs::File::open(&path).unwrap().set_modified(then).unwrap();
    }

    /// An archive of what is in a directory.
    pub(crate) fn pack(&self, dir: &str, archive: &str) {
        let mut tar = command("tar");
        tar.args(["--sort=name", "--xattrs", "-C"])
            .arg(self.path(dir));
        tar.arg("-cf").arg(self.path(archive)).arg(".");
        assert!(tar.status().unwrap().success(), "packing {dir}");
    }

    /// What is shown, and where.
    pub(super) fn binds(&self) -> Vec<(PathBuf, PathBuf)> {
        let children = |dir: &str| -> Vec<PathBuf> {
            let entries = fs::read_dir(self.path(dir)).into_iter().flatten();
            entries
                .map(|e| Path::new(dir).join(e.unwrap().file_name()))
                .collect()
        };
        let mut shown = children("etc");
        shown.extend(STATE.map(PathBuf::from));
        let tops = children("");
        shown.extend(tops.into_iter().filter(|top| {
            !["etc", "var", "run"]
                .map(Path::new)
                .contains(&top.as_path())
        }));
        shown
            .into_iter()
            .map(|path| (self.path(&path), Path::new("/").join(&path)))
            .collect()
    }

    /// A line for each file but definitions and state: kind, permissions, `i` if it is immutable, path, what is in it.
    pub(crate) fn listing(&self) -> Vec<String> {
        let mut found = Vec::new();
        walk(self.0.path(), Path::new(""), &mut |path, kind| {
            if ["etc", "var", "run"]
                .iter()
                .any(|top| path.starts_with(top))
            {
                return;
            }
            let full = self.path(path);
            let meta = fs::symlink_metadata(&full).unwrap();
            let mode = format!("{:04o}", meta.permissions().mode() & 0o7777);
            let flag = if is_locked(&full, kind) { " i" } else { "" };
            let shown = path.display();
            let line = match kind {
                Kind::Dir => format!("d {mode}{flag} /{shown}"),
                Kind::Link => format!("l /{shown} -> {}", fs::read_link(&full).unwrap().display()),
                Kind::File if path.extension().is_some_and(|e| e == "img") => {
                    found.extend(disk(&full));
                    format!("f {mode} /{shown}")
                }
                Kind::File => {
                    let sum = Sha256::digest(fs::read(&full).unwrap());
                    let sum: String = sum[..4].iter().map(|b| format!("{b:02x}")).collect();
                    format!(
                        "f {mode}{flag} /{shown} {sum} {} bytes at {}",
                        meta.len(),
                        meta.mtime()
                    )
                }
                Kind::Other => format!("? {mode} /{shown}"),
            };
            found.push(line);
        });
        found.sort();
        found
    }
}

/// The image of a disk: its partition table, and a sum of what is in its partitions.
fn disk(path: &Path) -> Vec<String> {
    /// Nothing but the table is nearer to both ends.
    const ENDS: usize = 1 << 20;
    let content = fs::read(path).unwrap();
    let sum = Sha256::digest(&content[ENDS..content.len() - ENDS]);
    let sum: String = sum[..4].iter().map(|b| format!("{b:02x}")).collect();
    let text = sfdisk::dump(path);
    let lines = text.lines().filter_map(|line| line.split_once(".img"));
    let parts = lines.filter(|(_, rest)| rest.contains("start="));
    let mut found: Vec<String> = parts.map(|(_, rest)| format!("p {rest}")).collect();
    found.push(format!("p {sum}"));
    found
}

impl Drop for Tree {
    fn drop(&mut self) {
        let dir = self.0.path().to_owned();
        walk(&dir, Path::new(""), &mut |path, kind| {
            if is_locked(&dir.join(path), kind) {
                lock(&dir.join(path), false);
            }
        });
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dir,
    File,
    Link,
    Other,
}

fn walk(top: &Path, dir: &Path, each: &mut impl FnMut(&Path, Kind)) {
    for entry in fs::read_dir(top.join(dir)).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        let kind = match (kind.is_dir(), kind.is_file(), kind.is_symlink()) {
            (true, ..) => Kind::Dir,
            (_, true, _) => Kind::File,
            (.., true) => Kind::Link,
            _ => Kind::Other,
        };
        let path = dir.join(entry.file_name());
        each(&path, kind);
        if kind == Kind::Dir {
            walk(top, &path, each);
        }
    }
}

/// Whether a file is immutable. (A file system without that has none.)
fn is_locked(path: &Path, kind: Kind) -> bool {
    matches!(kind, Kind::Dir | Kind::File)
        && ioctl_getflags(fs::File::open(path).unwrap())
            .is_ok_and(|f| f.contains(IFlags::IMMUTABLE))
}

fn lock(path: &Path, is_locked: bool) {
    let file = fs::File::open(path).unwrap();
    let mut flags = ioctl_getflags(&file).unwrap();
    flags.set(IFlags::IMMUTABLE, is_locked);
    ioctl_setflags(&file, flags).unwrap();
}
