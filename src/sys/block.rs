//! Block devices.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{major, minor};

use super::mount;
use super::root::{BLOCK_DEVICES, DEVICES};

/// How many devices may be made of one another: a file system in LUKS in LVM in LUKS has five.
const DEPTH: usize = 16;

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

/// The disk that the directory `dir` is on: what its file system is mounted from, without what is mapped between.
///
/// # Errors
/// `Unsupported` when it is on no device, or on several disks.
pub fn disk_of(dir: &Path) -> io::Result<PathBuf> {
    let dir = fs::canonicalize(dir)?;
    let mounts = mount::mounts()?;
    let source = mount::mount_of(&mounts, &dir).map(|mount| mount.source.clone());
    let source = source.filter(|source| source.starts_with(DEVICES));
    let source = source.ok_or_else(|| unsupported("its file system is on no device"))?;
    let device = fs::metadata(source)?.rdev();
    let number = format!("{}:{}", major(device), minor(device));
    Ok(Path::new(DEVICES).join(whole(Path::new(BLOCK_DEVICES), &number)?))
}

fn unsupported(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, why)
}

/// The name of the disk that the device of this number is a part of.
fn whole(devices: &Path, number: &str) -> io::Result<String> {
    let mut place = fs::canonicalize(devices.join(number))?;
    for _ in 0..DEPTH {
        let slaves = fs::read_dir(place.join("slaves")).into_iter().flatten();
        let slaves: Vec<PathBuf> = slaves.flatten().map(|entry| entry.path()).collect();
        place = match &slaves[..] {
            [] if place.join("partition").exists() => {
                let above = place.parent().map(Path::to_path_buf);
                above.ok_or_else(|| unsupported("its partition is on no disk"))?
            }
            [] => {
                let event = fs::read_to_string(place.join("uevent"))?;
                let name = event.lines().find_map(|line| line.strip_prefix("DEVNAME="));
                let name = name.filter(|name| !name.contains(".."));
                return name
                    .map(str::to_owned)
                    .ok_or_else(|| unsupported("its disk has no name"));
            }
            [one] => fs::canonicalize(one)?,
            _ => return Err(unsupported("its file system is on several disks")),
        };
    }
    Err(unsupported("too many devices are made of one another"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_disk_is_found_below_partitions_and_what_is_mapped() {
        let sys = tempfile::tempdir().unwrap();
        let at = |path: &str| sys.path().join(path);
        for (dir, name, is_partition) in [
            ("disk", "vda", false),
            ("disk/vda2", "vda2", true),
            ("other", "vdb", false),
            ("luks", "dm-0", false),
            ("lvm", "dm-1", false),
            ("raid", "md0", false),
        ] {
            fs::create_dir_all(at(dir).join("slaves")).unwrap();
            fs::write(at(dir).join("uevent"), format!("MAJOR=1\nDEVNAME={name}\n")).unwrap();
            if is_partition {
                fs::write(at(dir).join("partition"), "2\n").unwrap();
            }
        }
        for (below, above) in [
            ("../../disk/vda2", "luks/slaves/vda2"),
            ("../../luks", "lvm/slaves/dm-0"),
            ("../../disk", "raid/slaves/vda"),
            ("../../other", "raid/slaves/vdb"),
            ("disk", "1:0"),
            ("disk/vda2", "1:2"),
            ("luks", "2:0"),
            ("lvm", "2:1"),
            ("raid", "9:0"),
        ] {
            symlink(below, at(above)).unwrap();
        }
        for number in ["1:0", "1:2", "2:0", "2:1"] {
            assert_eq!(whole(sys.path(), number).unwrap(), "vda", "{number}");
        }
        let told = whole(sys.path(), "9:0").unwrap_err().to_string();
        assert!(told.contains("several disks"), "{told}");
        assert!(whole(sys.path(), "7:7").is_err());
    }

    #[test]
    fn what_is_on_no_device_has_no_disk() {
        let told = disk_of(Path::new("/proc")).unwrap_err().to_string();
        assert!(told.contains("on no device"), "{told}");
    }
}
