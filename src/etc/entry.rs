//! One object of a tree, held by a descriptor: what it is, and whether two of them are the same.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::{OFlag, readlinkat};
use nix::sys::stat::{FileStat, SFlag, fstat};

use crate::sys::beneath;
use crate::sys::root::descriptor_path;
use crate::sys::xattr::{self, Xattrs};

/// An object of any type, opened with `O_PATH`: it stays this one whatever is renamed meanwhile.
pub(super) struct Entry {
    fd: OwnedFd,
    pub(super) stat: FileStat,
}

impl Entry {
    pub(super) fn of(fd: OwnedFd) -> io::Result<Entry> {
        let stat = fstat(&fd)?;
        Ok(Entry { fd, stat })
    }

    pub(super) fn kind(&self) -> SFlag {
        beneath::kind(&self.stat)
    }

    pub(super) fn is_dir(&self) -> bool {
        self.kind() == SFlag::S_IFDIR
    }

    pub(super) fn is_file(&self) -> bool {
        self.kind() == SFlag::S_IFREG
    }

    pub(super) fn is_link(&self) -> bool {
        self.kind() == SFlag::S_IFLNK
    }

    /// Permission bits, with those above `0o777`.
    pub(super) fn mode(&self) -> u32 {
        self.stat.st_mode & 0o7777
    }

    pub(super) fn mtime(&self) -> (i64, i64) {
        (self.stat.st_mtime, self.stat.st_mtime_nsec)
    }

    pub(super) fn xattrs(&self) -> io::Result<Xattrs> {
        xattr::all(&self.fd)
    }

    /// Where a symbolic link points to.
    pub(super) fn target(&self) -> io::Result<std::ffi::OsString> {
        Ok(readlinkat(&self.fd, c"")?)
    }

    /// The content of a regular file. That it is read is not noted in it: comparing changes nothing.
    pub(super) fn read(&self) -> io::Result<File> {
        let path = descriptor_path(self.fd.as_fd());
        let unnoted = File::options()
            .read(true)
            .custom_flags(OFlag::O_NOATIME.bits())
            .open(&path);
        match unnoted {
            // for the owner and root only
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => File::open(path),
            other => other,
        }
    }

    /// Whether both are the same but for their times: type, mode, owner, attributes, and content, target or
    /// device number. Of directories not what they hold.
    ///
    /// The content is read whenever the sizes are equal. Equal times prove nothing: a file that was written, put
    /// into a snapshot and written again within one tick of the kernel's clock has the same ones in both.
    pub(super) fn same(&self, other: &Entry) -> io::Result<bool> {
        let of = |s: &FileStat| (s.st_mode, s.st_uid, s.st_gid);
        if of(&self.stat) != of(&other.stat) {
            return Ok(false);
        }
        let alike = match self.kind() {
            SFlag::S_IFREG => self.stat.st_size == other.stat.st_size,
            SFlag::S_IFLNK => self.target()? == other.target()?,
            SFlag::S_IFCHR | SFlag::S_IFBLK => self.stat.st_rdev == other.stat.st_rdev,
            _ => true,
        };
        if !alike || self.xattrs()? != other.xattrs()? {
            return Ok(false);
        }
        let is_one = (self.stat.st_dev, self.stat.st_ino) == (other.stat.st_dev, other.stat.st_ino);
        if !self.is_file() || is_one {
            return Ok(true);
        }
        same_bytes(self.read()?, other.read()?)
    }
}

impl AsFd for Entry {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn same_bytes(mut a: File, mut b: File) -> io::Result<bool> {
    const PART: usize = 64 * 1024;
    let (mut left, mut right) = (Vec::with_capacity(PART), Vec::with_capacity(PART));
    loop {
        left.clear();
        right.clear();
        a.by_ref().take(PART as u64).read_to_end(&mut left)?;
        b.by_ref().take(PART as u64).read_to_end(&mut right)?;
        if left != right || left.is_empty() {
            return Ok(left == right);
        }
    }
}
