//! Subvolumes of btrfs (btrfs-subvolume(8)), and their read-only property (btrfs-property(8)).

#![allow(unsafe_code)]

use std::ffi::{OsStr, c_char};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::SFlag;

use super::beneath;

mod ioctl {
    // linux/btrfs.h: BTRFS_IOC_SUBVOL_CREATE, BTRFS_IOC_SUBVOL_GETFLAGS and BTRFS_IOC_SUBVOL_SETFLAGS
    nix::ioctl_write_ptr!(create, 0x94, 14, super::Named);
    nix::ioctl_read!(get_flags, 0x94, 25, u64);
    nix::ioctl_write_ptr!(set_flags, 0x94, 26, u64);
}

/// `BTRFS_SUBVOL_RDONLY`
const READ_ONLY: u64 = 1 << 1;
/// `BTRFS_PATH_NAME_MAX`, with the NUL at the end.
const NAME: usize = 4088;

/// `struct btrfs_ioctl_vol_args`
#[repr(C)]
struct Named {
    fd: i64,
    name: [c_char; NAME],
}

/// Makes the subvolume `name` in the directory `dir`. Returns whether there is such a thing: nothing is made on another file system.
///
/// # Errors
/// `EEXIST`, `ENOSPC` … as BTRFS_IOC_SUBVOL_CREATE gives them; `InvalidFilename` for what is no single name.
pub fn create(dir: impl AsFd, name: &OsStr) -> io::Result<bool> {
    if Path::new(name).file_name() != Some(name) || name.len() >= NAME {
        return Err(io::ErrorKind::InvalidFilename.into());
    }
    let mut named = Named {
        fd: 0,
        name: [0; NAME],
    };
    for (to, from) in named.name.iter_mut().zip(name.as_bytes()) {
        *to = from.cast_signed() as c_char;
    }
    // SAFETY: the descriptor is open, and the kernel reads one such struct, whose name ends with NUL.
    match unsafe { ioctl::create(dir.as_fd().as_raw_fd(), &raw const named) } {
        Err(Errno::ENOTTY | Errno::EOPNOTSUPP | Errno::EINVAL) => Ok(false),
        other => Ok(other.map(|_| true)?),
    }
}

/// Makes a subvolume read-only. Returns whether the open directory is one.
///
/// # Errors
/// When the property cannot be changed.
pub fn make_read_only(open: impl AsFd) -> io::Result<bool> {
    change(open, |flags| flags | READ_ONLY)
}

/// Makes the directory `rel` below `dir`, and all in it, writable that is a read-only subvolume. What is mounted there is left alone.
///
/// # Errors
/// As [`beneath::open_unmounted`], or when the property cannot be changed.
pub fn make_all_writable(dir: impl AsFd, rel: &Path) -> io::Result<()> {
    let mut pending = vec![rel.to_owned()];
    while let Some(path) = pending.pop() {
        let open = match beneath::open_unmounted(&dir, &path) {
            Err(e) if beneath::is_no_directory(&e) || e.kind() == io::ErrorKind::CrossesDevices => {
                continue;
            }
            other => other?,
        };
        change(&open, |flags| flags & !READ_ONLY)?;
        for name in beneath::names(beneath::reopen(&open)?)? {
            if beneath::kind(&beneath::stat_at(&open, &name)?) == SFlag::S_IFDIR {
                pending.push(path.join(name));
            }
        }
    }
    Ok(())
}

/// Changes the flags of a subvolume; `false` for another file system, or a directory that is none.
fn change(open: impl AsFd, to: impl Fn(u64) -> u64) -> io::Result<bool> {
    let fd = open.as_fd().as_raw_fd();
    let mut flags = 0;
    // SAFETY: the descriptor is open, and the kernel writes one u64 to where one is.
    match unsafe { ioctl::get_flags(fd, &raw mut flags) } {
        Err(Errno::ENOTTY | Errno::EOPNOTSUPP | Errno::EINVAL) => return Ok(false),
        other => other?,
    };
    let wanted = to(flags);
    if wanted != flags {
        // SAFETY: as above; the kernel reads one u64.
        unsafe { ioctl::set_flags(fd, &raw const wanted) }?;
    }
    Ok(true)
}
