//! One of the directories that are compared: what is in it, without leaving it.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::thread;

use nix::errno::Errno;
use nix::sys::stat::SFlag;

use super::entry::Entry;
use crate::sys::{beneath, fs};

/// Name of the copy of /etc inside of it that a merge compares with.
pub const SYNCPOINT: &str = "etc.syncpoint";
/// File at the top of a syncpoint that names the snapshot whose /etc it was.
pub const COMPARE_WITH: &str = "transactional-update.comparewith";

/// File at the top of a syncpoint that has been merged and is about to go.
pub(super) const MERGED: &str = ".merged.tu-new";

/// A directory, opened. Every path is relative to it; no link is followed, and mount points and nested subvolumes
/// are not entered.
pub struct Tree {
    root: OwnedFd,
    device: u64,
}

/// What a path of a tree holds.
pub(super) enum Found {
    /// Nothing, or something that cannot be kept (a socket).
    Absent,
    /// A mount point or a nested subvolume: another tree, not part of this one. Or its path is too long for the kernel.
    Foreign,
    /// A directory, file, link, FIFO or device.
    Here(Entry),
}

impl Found {
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Found::Absent)
    }
}

impl Tree {
    /// Opens the directory `path`, which is trusted.
    ///
    /// # Errors
    /// The error of open(2).
    pub fn open(path: &Path) -> io::Result<Tree> {
        Tree::of(beneath::open_root(path)?)
    }

    /// The tree below an open directory.
    ///
    /// # Errors
    /// The error of fstat(2).
    pub fn of(root: OwnedFd) -> io::Result<Tree> {
        let device = nix::sys::stat::fstat(&root)?.st_dev;
        Ok(Tree { root, device })
    }

    /// The directory itself.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<Found> {
        let fd = match beneath::open_entry(&self.root, path) {
            Err(e) => match e.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(Found::Absent),
                Some(Errno::EXDEV | Errno::ENAMETOOLONG) => return Ok(Found::Foreign),
                _ => return Err(e),
            },
            Ok(fd) => fd,
        };
        let entry = Entry::of(fd)?;
        Ok(match entry.kind() {
            SFlag::S_IFSOCK => Found::Absent,
            // only of directories: on overlayfs the number of a file is another one
            SFlag::S_IFDIR if entry.stat.st_dev != self.device => Found::Foreign,
            _ => Found::Here(entry),
        })
    }

    /// Whether this is a base that has been merged, and of which a part may be gone already.
    #[must_use]
    pub fn is_merged(&self) -> bool {
        self.is_used(Path::new(MERGED))
    }

    /// Whether nothing that can be merged is in it, as in what a snapshot has in the place of a subvolume.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn is_empty(&self) -> io::Result<bool> {
        let mut names = BTreeSet::new();
        self.names(Path::new(""), &mut names)?;
        Ok(names.is_empty())
    }

    /// Whether anything is there, also what is not merged.
    pub(super) fn is_used(&self, path: &Path) -> bool {
        beneath::open_entry(&self.root, path).is_ok()
    }

    /// The names in the directory `path`, without what is never merged; none when it is no directory.
    pub(super) fn names(&self, path: &Path, into: &mut BTreeSet<OsString>) -> io::Result<()> {
        let fd = match beneath::open_dir(&self.root, path) {
            Err(e) => match e.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(()),
                _ => return Err(e),
            },
            Ok(fd) => fd,
        };
        for name in beneath::names(fd)? {
            let is_top = path.as_os_str().is_empty();
            if !(is_top && is_ours(&name)) {
                into.insert(name);
            }
        }
        Ok(())
    }
}

/// Whether two objects, and what they hold when they are directories, are the same, times aside.
pub(super) fn same_trees(
    (a, a_path, a_entry): (&Tree, &Path, &Entry),
    (b, b_path, b_entry): (&Tree, &Path, &Entry),
) -> io::Result<bool> {
    if !a_entry.same(b_entry)? {
        return Ok(false);
    }
    if !a_entry.is_dir() {
        return Ok(true);
    }
    let mut names = BTreeSet::new();
    a.names(a_path, &mut names)?;
    b.names(b_path, &mut names)?;
    for name in names {
        let (a_path, b_path) = (a_path.join(&name), b_path.join(&name));
        let same = match (a.find(&a_path)?, b.find(&b_path)?) {
            (Found::Here(x), Found::Here(y)) => same_trees((a, &a_path, &x), (b, &b_path, &y))?,
            (Found::Absent, Found::Absent) => true,
            _ => false,
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What belongs to the merge itself, at the top of a tree.
fn is_ours(name: &OsStr) -> bool {
    name == SYNCPOINT || name == COMPARE_WITH || name.to_str().is_some_and(fs::is_temporary)
}

/// `path` as it is told: quoted, with everything escaped that a terminal would not show; the top is `.`.
pub(super) fn told(path: &Path) -> String {
    match path.as_os_str().is_empty() {
        true => format!("{:?}", Path::new(".")),
        false => format!("{path:?}"),
    }
}

/// Runs what goes down into trees level by level. A path has at most 4096 bytes (`PATH_MAX`), which are 2048 levels: the
/// stack is large enough for all of them, so that nobody who may write below /etc can make a merge fail with a deep
/// directory.
pub(super) fn deep<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    const STACK: usize = 64 << 20;
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK);
        let done = thread.spawn_scoped(scope, work)?.join();
        Ok(done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
