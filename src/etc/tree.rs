//! One of the directories that are compared: what is in it, without leaving it.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::sys::stat::SFlag;

use super::entry::Entry;
use crate::sys::{beneath, fs};

/// Name of the copy of /etc inside of it that a merge compares with.
pub const SYNCPOINT: &str = "etc.syncpoint";
/// File at the top of a syncpoint that names the snapshot whose /etc it was.
pub const COMPARE_WITH: &str = "transactional-update.comparewith";

/// Entries of one directory that are looked at; more is refused, so that no tree takes the memory of the machine.
const MOST_NAMES: usize = 1_000_000;

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
    /// A mount point or a nested subvolume: another tree, not part of this one.
    Foreign,
    /// A directory, file, link, FIFO or device.
    Here(Entry),
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

    pub(super) fn find(&self, path: &Path) -> io::Result<Found> {
        let fd = match beneath::open_entry(&self.root, path) {
            Err(e) => match e.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(Found::Absent),
                Some(Errno::EXDEV) => return Ok(Found::Foreign),
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

    /// The names in the directory `path`, without what is never merged; none when it is no directory.
    pub(super) fn names(&self, path: &Path, into: &mut BTreeSet<OsString>) -> io::Result<()> {
        let fd = match beneath::open_dir(&self.root, path) {
            Err(e) => match e.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(()),
                _ => return Err(e),
            },
            Ok(fd) => fd,
        };
        for entry in Dir::from_fd(fd)?.iter() {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            let is_top = path.as_os_str().is_empty();
            if name == "." || name == ".." || (is_top && is_ours(name)) {
                continue;
            }
            into.insert(name.to_owned());
            if into.len() > MOST_NAMES {
                return Err(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    format!("more than {MOST_NAMES} entries"),
                ));
            }
        }
        Ok(())
    }
}

/// What belongs to the merge itself, at the top of a tree.
fn is_ours(name: &OsStr) -> bool {
    name == SYNCPOINT || name == COMPARE_WITH || name.to_str().is_some_and(fs::is_temporary)
}

/// `path` as it is told: quoted, with everything escaped that a terminal would not show.
pub(super) fn told(path: &Path) -> String {
    format!("{path:?}")
}
