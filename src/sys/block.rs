//! Block devices.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{major, minor};

use super::mount;
use super::root::{BLOCK_DEVICES, DEVICES, SWAPS};

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
    let number = numbers(device);
    Ok(Path::new(DEVICES).join(whole(Path::new(BLOCK_DEVICES), &number)?))
}

/// What uses the partition `partition` of the open block device, or all of the device: a mount, swap, or something that is mapped to it.
/// Whatever writes there would change it under its feet.
///
/// # Errors
/// When the kernel cannot be asked.
pub fn user(device: &File, partition: u32) -> io::Result<Option<String>> {
    let mounts = mount::mounts()?;
    let swaps = fs::read_to_string(SWAPS).unwrap_or_default();
    let number = |path: &Path| {
        let there = fs::metadata(path).ok().filter(|there| there.rdev() != 0);
        there.map(|there| numbers(there.rdev()))
    };
    let mut used: Vec<(String, String)> = Vec::new();
    for mount in mounts.iter().filter(|m| m.source.starts_with(DEVICES)) {
        let place = format!("mounted at {}", mount.point.display());
        used.extend(number(&mount.source).map(|number| (number, place)));
    }
    for path in swaps
        .lines()
        .skip(1)
        .filter_map(|line| line.split(' ').next())
    {
        used.extend(number(Path::new(path)).map(|number| (number, "used for swap".to_owned())));
    }
    let disk = numbers(device.metadata()?.rdev());
    user_of(Path::new(BLOCK_DEVICES), &disk, partition, &used)
}

fn numbers(device: u64) -> String {
    format!("{}:{}", major(device), minor(device))
}

/// The same by what the kernel tells of `devices`, and which of them are used for what.
fn user_of(
    devices: &Path,
    disk: &str,
    partition: u32,
    used: &[(String, String)],
) -> io::Result<Option<String>> {
    let disk = fs::canonicalize(devices.join(disk))?;
    let text = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
    let entries = fs::read_dir(&disk)?.flatten().map(|entry| entry.path());
    let is_it = |path: &PathBuf| text(path.join("partition")).trim() == partition.to_string();
    let places = entries.filter(is_it).chain([disk.clone()]);
    for place in places.collect::<Vec<_>>() {
        let number = text(place.join("dev"));
        if let Some((_, what)) = used.iter().find(|(known, _)| known == number.trim()) {
            return Ok(Some(what.clone()));
        }
        let mut holders = fs::read_dir(place.join("holders"))
            .into_iter()
            .flatten()
            .flatten();
        if let Some(holder) = holders.next() {
            let name = holder.file_name();
            return Ok(Some(format!("a part of {}", name.to_string_lossy())));
        }
    }
    Ok(None)
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
    fn what_is_mounted_or_mapped_is_known_by_its_partition_and_by_its_disk() {
        let sys = tempfile::tempdir().unwrap();
        let at = |path: &str| sys.path().join(path);
        for (dir, dev, partition) in [
            ("vda", "1:0", ""),
            ("vda/vda1", "1:1", "1"),
            ("vda/vda2", "1:2", "2"),
        ] {
            fs::create_dir_all(at(dir).join("holders")).unwrap();
            fs::write(at(dir).join("dev"), format!("{dev}\n")).unwrap();
            if !partition.is_empty() {
                fs::write(at(dir).join("partition"), format!("{partition}\n")).unwrap();
            }
        }
        symlink("vda", at("1:0")).unwrap();
        let user = |partition, used: &[(&str, &str)]| {
            let used: Vec<_> = used
                .iter()
                .map(|(n, w)| ((*n).to_owned(), (*w).to_owned()))
                .collect();
            user_of(sys.path(), "1:0", partition, &used).unwrap()
        };
        assert_eq!(user(1, &[]), None);
        let mounted = [("1:2", "mounted at /usr")];
        assert_eq!(user(2, &mounted).as_deref(), Some("mounted at /usr"));
        assert_eq!(user(1, &mounted), None);
        assert_eq!(
            user(1, &[("1:0", "mounted at /mnt")]).as_deref(),
            Some("mounted at /mnt")
        );
        fs::write(at("vda/vda1/holders/dm-0"), "").unwrap();
        assert_eq!(user(1, &[]).as_deref(), Some("a part of dm-0"));
        assert_eq!(user(3, &[]), None);
        assert!(user_of(sys.path(), "7:7", 1, &[]).is_err());
    }

    #[test]
    fn what_is_on_no_device_has_no_disk() {
        let told = disk_of(Path::new("/proc")).unwrap_err().to_string();
        assert!(told.contains("on no device"), "{told}");
    }
}
