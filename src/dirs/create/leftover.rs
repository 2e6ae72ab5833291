//! What a run left behind that was cut off: private directories with nothing but directories in them.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::fstat;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::build::{PREFIX, RANDOM, is_private};
use super::way::LEVELS;
use crate::sys::{beneath, failpoint};

/// Removes each directory in `parent` that a run left behind; returns their names. One with anything but directories in it
/// is not of our making and stays as it is, as does one that another run is at work in.
///
/// # Errors
/// When `parent` cannot be read, or one not be removed.
pub(super) fn remove(parent: BorrowedFd<'_>) -> io::Result<Vec<String>> {
    let mut removed = Vec::new();
    for name in candidates(parent)? {
        if remove_one(parent, &name)? {
            removed.push(name);
        }
    }
    Ok(removed)
}

/// The names that are of the form of ours, among the first of a directory that may hold millions of other things.
fn candidates(parent: BorrowedFd<'_>) -> io::Result<Vec<String>> {
    const MOST: usize = 100_000;
    let mut found = Vec::new();
    for entry in Dir::from_fd(beneath::reopen(parent)?)?.iter().take(MOST) {
        let name = entry?.file_name().to_str().map(str::to_owned);
        found.extend(name.ok().filter(|n| is_ours(n)));
    }
    Ok(found)
}

fn is_ours(name: &str) -> bool {
    let random = name.strip_prefix(PREFIX);
    random.is_some_and(|r| r.len() == RANDOM && r.bytes().all(|b| b.is_ascii_alphanumeric()))
}

fn remove_one(parent: BorrowedFd<'_>, name: &str) -> io::Result<bool> {
    let dir = match beneath::enter(parent, OsStr::new(name)) {
        Err(e) if beneath::is_no_directory(&e) => return Ok(false),
        other => other?,
    };
    if !is_private(&fstat(&dir)?, &fstat(parent)?) {
        return Ok(false);
    }
    // kept until it is gone; where there are no locks, whoever is at work in it has to begin again
    let lock = Flock::lock(dir.try_clone()?, FlockArg::LockExclusiveNonblock);
    if matches!(lock, Err((_, Errno::EWOULDBLOCK))) {
        return Ok(false);
    }
    if !holds_directories_only(dir.as_fd(), LEVELS)? {
        return Ok(false);
    }
    clear(dir.as_fd())?;
    match unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
        Ok(()) => failpoint::hit("leftover-removed").map(|()| true),
        // it is another one now
        Err(Errno::ENOENT | Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOTDIR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Whether all below a directory is directories of the same file system, and not deeper than anything that we make.
fn holds_directories_only(dir: BorrowedFd<'_>, levels: usize) -> io::Result<bool> {
    let device = fstat(dir)?.st_dev;
    for name in beneath::names(beneath::reopen(dir)?)? {
        let below = match beneath::enter(dir, &name) {
            Err(e) if beneath::is_no_directory(&e) => return Ok(false),
            other => other?,
        };
        let is_same = fstat(&below)?.st_dev == device;
        if levels == 0 || !is_same || !holds_directories_only(below.as_fd(), levels - 1)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes what is in a directory that only root can enter: directories, as deep as we make them.
///
/// # Errors
/// `ENOTDIR` or `ENOTEMPTY` when there is anything else.
pub(super) fn clear(dir: BorrowedFd<'_>) -> io::Result<()> {
    for name in beneath::names(beneath::reopen(dir)?)? {
        clear(beneath::enter(dir, &name)?.as_fd())?;
        unlinkat(dir, &*name, UnlinkatFlags::RemoveDir)?;
    }
    Ok(())
}
