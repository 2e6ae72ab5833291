//! Block devices.

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Bytes of a sector of an open block device (BLKSSZGET).
///
/// # Errors
/// `ENOTTY` for anything else.
pub fn sector_size(device: &File) -> io::Result<u64> {
    Ok(rustix::fs::ioctl_blksszget(device)?.into())
}

/// The lock that whoever changes the partition table of a device or an image takes (flock(2); "Locking Block Device Access" of
/// systemd). It goes with the value.
#[derive(Debug)]
#[must_use]
pub struct TableLock {
    _held: Flock<File>,
}

impl TableLock {
    /// Takes it without waiting; `None` when another program has it.
    ///
    /// # Errors
    /// The error of flock(2).
    pub fn try_take(disk: &File) -> io::Result<Option<TableLock>> {
        match Flock::lock(disk.try_clone()?, FlockArg::LockExclusiveNonblock) {
            Ok(held) => Ok(Some(TableLock { _held: held })),
            Err((_, Errno::EWOULDBLOCK | Errno::EINTR)) => Ok(None),
            Err((_, e)) => Err(e.into()),
        }
    }
}
