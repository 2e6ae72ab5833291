//! The read-only property of btrfs subvolumes (btrfs-property(8)).

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::SFlag;

use super::beneath;

mod ioctl {
    // linux/btrfs.h: BTRFS_IOC_SUBVOL_GETFLAGS and BTRFS_IOC_SUBVOL_SETFLAGS
    nix::ioctl_read!(get_flags, 0x94, 25, u64);
    nix::ioctl_write_ptr!(set_flags, 0x94, 26, u64);
}

/// `BTRFS_SUBVOL_RDONLY`
const READ_ONLY: u64 = 1 << 1;

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
        make_writable(&open)?;
        for name in beneath::names(beneath::reopen(&open)?)? {
            if beneath::kind(&beneath::stat_at(&open, &name)?) == SFlag::S_IFDIR {
                pending.push(path.join(name));
            }
        }
    }
    Ok(())
}

fn make_writable(open: impl AsFd) -> io::Result<()> {
    let fd = open.as_fd().as_raw_fd();
    let mut flags = 0;
    // SAFETY: the descriptor is open, and the kernel writes one u64 to where one is.
    match unsafe { ioctl::get_flags(fd, &raw mut flags) } {
        // another file system, or a directory that is no subvolume
        Err(Errno::ENOTTY | Errno::EOPNOTSUPP | Errno::EINVAL) => return Ok(()),
        other => other?,
    };
    if flags & READ_ONLY == 0 {
        return Ok(());
    }
    let flags = flags & !READ_ONLY;
    // SAFETY: as above; the kernel reads one u64.
    unsafe { ioctl::set_flags(fd, &raw const flags) }?;
    Ok(())
}
