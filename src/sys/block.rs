//! Block devices.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{major, minor};

use super::mount::{self, Mount};
use super::root::{BLOCK_DEVICES, BTRFS, DEVICES, INSIDE, SWAPS, VOLATILE_ROOT};

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
    let name = disk_among(Path::new(BLOCK_DEVICES), &mount::mounts()?, &dir)?;
    Ok(Path::new(DEVICES).join(name))
}

/// The disk that the root of the running system is on. One in memory, or an overlay, is on none: then it is the disk of what it replaced,
/// when that is known, and else the one that `/usr` is on.
///
/// # Errors
/// As [`disk_of`].
pub fn disk_of_root() -> io::Result<PathBuf> {
    let replaced = node(Path::new(VOLATILE_ROOT));
    let name = root_among(Path::new(BLOCK_DEVICES), &mount::mounts()?, replaced)?;
    Ok(Path::new(DEVICES).join(name))
}

/// The name of it, when the device `replaced` is what was replaced.
fn root_among(devices: &Path, mounts: &[Mount], replaced: Option<u64>) -> io::Result<String> {
    if let Some(device) = replaced {
        return whole(devices, &numbers(device));
    }
    let root = Path::new(INSIDE);
    disk_among(devices, mounts, root)
        .or_else(|e| disk_among(devices, mounts, &root.join("usr")).map_err(|_| e))
}

/// The name of it by what the kernel tells of `devices`.
fn disk_among(devices: &Path, mounts: &[Mount], dir: &Path) -> io::Result<String> {
    let numbers = mount::mount_of(mounts, dir).map_or(Vec::new(), candidates);
    let number = numbers.iter().find(|number| devices.join(number).exists());
    let number = number.ok_or_else(|| unsupported("its file system is on no device"))?;
    whole(devices, number)
}

/// What uses the partition `partition` of the open block device, or all of the device: a mount, swap, or something that is mapped to it.
/// Whatever writes there would change it under its feet.
///
/// # Errors
/// When the kernel cannot be asked.
pub fn user(device: &File, partition: u32) -> io::Result<Option<String>> {
    let swaps = fs::read_to_string(SWAPS).unwrap_or_default();
    let replaced = node(Path::new(VOLATILE_ROOT));
    let mut used = used(&mount::mounts()?, &swaps, replaced);
    used.extend(of_btrfs(Path::new(BTRFS)));
    let disk = numbers(device.metadata()?.rdev());
    user_of(Path::new(BLOCK_DEVICES), &disk, partition, &used)
}

/// The numbers of devices that these mounts and swaps use, and a root that replaced that of the device `replaced`, and what for.
fn used(mounts: &[Mount], swaps: &str, replaced: Option<u64>) -> Vec<(String, String)> {
    let mut used = Vec::new();
    for mount in mounts {
        let place = format!("mounted at {}", mount.point.display());
        let of_it = candidates(mount).into_iter();
        used.extend(of_it.map(|number| (number, place.clone())));
    }
    let swaps = swaps
        .lines()
        .skip(1)
        .filter_map(|line| line.split(' ').next());
    let swaps = swaps.filter_map(|path| node(Path::new(path)));
    used.extend(swaps.map(|number| (numbers(number), "used for swap".to_owned())));
    // what is below an overlay may be mounted where nobody sees it
    let what = "what the running root is made from";
    used.extend(replaced.map(|number| (numbers(number), what.to_owned())));
    used
}

/// The numbers of all devices of the btrfs file systems that `mounted` has: a mount names one of them, and none where the kernel mounted it.
fn of_btrfs(mounted: &Path) -> Vec<(String, String)> {
    let below = |dir: &Path| {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let systems = below(mounted).into_iter();
    let devices = systems.flat_map(|system| below(&system.join("devices")));
    let number = |device: PathBuf| fs::read_to_string(device.join("dev")).ok();
    let what = "a part of a mounted btrfs";
    let numbers = devices.filter_map(number);
    numbers
        .map(|n| (n.trim().to_owned(), what.to_owned()))
        .collect()
}

/// The numbers that the device of a mount may have. What the kernel itself mounted is of `/dev/root`, which is no device, but its file
/// system has the right number; that of btrfs has one that no device has, but is of a device.
fn candidates(mount: &Mount) -> Vec<String> {
    let source = Some(&mount.source).filter(|source| source.starts_with(DEVICES));
    let source = source.and_then(|source| node(source));
    let both = [Some(mount.device), source].into_iter().flatten();
    both.map(numbers).collect()
}

/// The number of the device that `path` is.
fn node(path: &Path) -> Option<u64> {
    let there = fs::metadata(path).ok()?;
    Some(there.rdev()).filter(|number| *number != 0)
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
    whole_of(&fs::canonicalize(devices.join(number))?, DEPTH)
}

/// The same of the device at `place`, which may be made of others at most so deep.
fn whole_of(place: &Path, depth: usize) -> io::Result<String> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(unsupported("too many devices are made of one another"));
    };
    let slaves = fs::read_dir(place.join("slaves")).into_iter().flatten();
    let of_slaves = slaves
        .flatten()
        .map(|entry| whole_of(&fs::canonicalize(entry.path())?, depth));
    // with dm-verity there are two, data and hashes, which may be on one disk
    let mut disks = of_slaves.collect::<io::Result<BTreeSet<String>>>()?;
    if let Some(disk) = disks.pop_first() {
        return match disks.is_empty() {
            true => Ok(disk),
            false => Err(unsupported("its file system is on several disks")),
        };
    }
    if place.join("partition").exists() {
        let above = place.parent();
        return whole_of(
            above.ok_or_else(|| unsupported("its partition is on no disk"))?,
            depth,
        );
    }
    let event = fs::read_to_string(place.join("uevent"))?;
    let name = event.lines().find_map(|line| line.strip_prefix("DEVNAME="));
    let name = name.filter(|name| !name.contains(".."));
    name.map(str::to_owned)
        .ok_or_else(|| unsupported("its disk has no name"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::sys::stat::makedev;

    use super::*;

    #[test]
    fn a_disk_is_found_below_partitions_and_what_is_mapped() {
        let sys = tempfile::tempdir().unwrap();
        let at = |path: &str| sys.path().join(path);
        for (dir, name, is_partition) in [
            ("disk", "vda", false),
            ("disk/vda2", "vda2", true),
            ("disk/vda3", "vda3", true),
            ("other", "vdb", false),
            ("luks", "dm-0", false),
            ("lvm", "dm-1", false),
            ("raid", "md0", false),
            ("verity", "dm-2", false),
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
            ("../../disk/vda3", "verity/slaves/vda3"),
            ("../../luks", "verity/slaves/dm-0"),
            ("disk", "1:0"),
            ("disk/vda2", "1:2"),
            ("luks", "2:0"),
            ("lvm", "2:1"),
            ("verity", "2:2"),
            ("raid", "9:0"),
        ] {
            symlink(below, at(above)).unwrap();
        }
        for number in ["1:0", "1:2", "2:0", "2:1", "2:2"] {
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
    fn a_root_that_the_kernel_mounted_or_that_was_replaced_is_known_by_its_device() {
        // as /dev/root, but on no machine is it there
        let info =
            "1 0 1:2 / / rw - ext4 /dev/null/root rw\n2 1 0:30 / /srv rw - tmpfs /dev/null rw\n";
        let mounts = mount::parse_mountinfo(info.as_bytes());
        let replaced = Some(makedev(1, 3));
        let used = used(&mounts, "Filename Type\n/dev/zero partition\n", replaced);
        let used: Vec<_> = used.iter().map(|(n, w)| (n.as_str(), w.as_str())).collect();
        let source = numbers(fs::metadata("/dev/null").unwrap().rdev());
        let swap = numbers(fs::metadata("/dev/zero").unwrap().rdev());
        assert_eq!(
            used,
            [
                ("1:2", "mounted at /"),
                ("0:30", "mounted at /srv"),
                (&*source, "mounted at /srv"),
                (&*swap, "used for swap"),
                ("1:3", "what the running root is made from"),
            ]
        );
        let sys = one_partition();
        let disk = |dir: &str| disk_among(sys.path(), &mounts, Path::new(dir));
        assert_eq!(disk("/usr").unwrap(), "vda");
        assert!(disk("/srv").is_err());
    }

    #[test]
    fn all_devices_of_a_btrfs_are_used() {
        let sys = tempfile::tempdir().unwrap();
        for (device, number) in [("a/devices/vda2", "1:2\n"), ("a/devices/vdb", "1:16\n")] {
            fs::create_dir_all(sys.path().join(device)).unwrap();
            fs::write(sys.path().join(device).join("dev"), number).unwrap();
        }
        fs::create_dir_all(sys.path().join("features")).unwrap();
        let mut used = of_btrfs(sys.path());
        used.sort();
        let part = |number: &str| (number.to_owned(), "a part of a mounted btrfs".to_owned());
        assert_eq!(used, [part("1:16"), part("1:2")]);
        assert!(of_btrfs(&sys.path().join("none")).is_empty());
    }

    /// What the kernel tells of the partition 1:2 of a disk.
    fn one_partition() -> tempfile::TempDir {
        let sys = tempfile::tempdir().unwrap();
        let place = sys.path().join("vda/vda2");
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("partition"), "2\n").unwrap();
        fs::write(sys.path().join("vda/uevent"), "DEVNAME=vda\n").unwrap();
        symlink("vda/vda2", sys.path().join("1:2")).unwrap();
        sys
    }

    #[test]
    fn the_disk_of_a_root_in_memory_is_that_of_what_it_replaced_or_of_usr() {
        let sys = one_partition();
        let disk = |info: &str, replaced| {
            let mounts = mount::parse_mountinfo(info.as_bytes());
            root_among(sys.path(), &mounts, replaced).map_err(|e| e.to_string())
        };
        let root = "1 0 0:30 / / rw - tmpfs tmpfs rw\n";
        let with_usr = format!("{root}2 1 1:2 / /usr ro - erofs /dev/null/root ro\n");
        assert_eq!(disk(&with_usr, None).unwrap(), "vda");
        assert_eq!(disk(root, Some(makedev(1, 2))).unwrap(), "vda");
        assert!(disk(root, None).unwrap_err().contains("on no device"));
        assert!(disk(root, Some(makedev(7, 7))).is_err());
    }

    #[test]
    fn what_is_on_no_device_has_no_disk() {
        let told = disk_of(Path::new("/proc")).unwrap_err().to_string();
        assert!(told.contains("on no device"), "{told}");
    }
}
