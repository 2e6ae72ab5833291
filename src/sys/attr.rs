//! The inode flags of chattr(1) that keep even root from changing a file (FS_IOC_GETFLAGS, ioctl_iflags(2)).

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat};
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use rustix::io::Errno;

use super::beneath;
use super::root::descriptor_path;

/// Flags that were taken from an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Lifted(IFlags);

/// Takes immutable and append-only from the file or directory that a descriptor stands for, which may have been
/// opened with `O_PATH`; `None` when it has neither.
///
/// # Errors
/// When it cannot be opened, or the flag not be taken away.
pub fn lift(object: BorrowedFd<'_>) -> io::Result<Option<Lifted>> {
    // opening anything else may do something, and links have no flags
    if ![SFlag::S_IFREG, SFlag::S_IFDIR].contains(&beneath::kind(&fstat(object)?)) {
        return Ok(None);
    }
    let file = open(object)?;
    let flags = match ioctl_getflags(&file) {
        // a file system without them
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL) => return Ok(None),
        other => other?,
    };
    let locks = flags & (IFlags::IMMUTABLE | IFlags::APPEND);
    if locks.is_empty() {
        return Ok(None);
    }
    ioctl_setflags(&file, flags - locks)?;
    Ok(Some(Lifted(locks)))
}

/// Gives an object the flags that were taken from it, or from what was there before it.
///
/// # Errors
/// As [`lift`].
pub fn put_back(object: BorrowedFd<'_>, lifted: Lifted) -> io::Result<()> {
    let file = open(object)?;
    let flags = ioctl_getflags(&file)?;
    Ok(ioctl_setflags(&file, flags | lifted.0)?)
}

/// Makes the file or directory that a descriptor stands for immutable.
///
/// # Errors
/// As [`lift`]; also of a file system without such a flag.
pub fn make_immutable(object: BorrowedFd<'_>) -> io::Result<()> {
    put_back(object, Lifted(IFlags::IMMUTABLE))
}

/// The flags are asked for with a descriptor that can read.
fn open(object: BorrowedFd<'_>) -> io::Result<File> {
    File::options()
        .read(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
        .open(descriptor_path(object))
}
