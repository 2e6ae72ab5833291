//! Where the boot partitions are mounted, when nobody says it: at the places where bootctl(1) looks.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::sys::stat::{fstat, major, minor};

use super::directory;
use crate::sys::{Root, beneath, mount, root};

/// Where the EFI system partition may be, in this order.
const ESP_PLACES: [&str; 3] = ["efi", "boot", "boot/efi"];
/// Where an extended boot loader partition may be.
const XBOOTLDR_PLACE: &str = "boot";

/// Types of partitions (Discoverable Partitions Specification); in a partition table of DOS the first one has a number.
const ESP_TYPES: [&str; 2] = ["c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "0xef"];
const XBOOTLDR_TYPES: [&str; 2] = ["bc13c2ff-59e6-4262-a352-b275fd6f7172", "0xea"];

/// Where udev keeps what it knows of devices.
const UDEV: &str = "run/udev/data";
/// The field of it that says the type of a partition.
const PARTITION_TYPE: &str = "E:ID_PART_ENTRY_TYPE=";
/// Most bytes that are read of that.
const MOST: u64 = 1 << 20;

/// Something that is mounted at one of the places.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mounted {
    place: &'static str,
    fs_type: String,
    /// Type of its partition, when udev knows the device.
    partition: Option<String>,
}

impl Mounted {
    /// Whether its partition has such a type. Where nobody knows (in a container), it may have it when it is VFAT, which firmware reads.
    fn may_be(&self, types: &[&str]) -> bool {
        match &self.partition {
            Some(known) => types.contains(&known.as_str()),
            None => self.fs_type == "vfat",
        }
    }
}

/// Where the EFI system partition and the extended boot loader partition of the system at `root` are mounted.
///
/// # Errors
/// When it cannot be seen what is mounted.
pub(super) fn find(root: &Root) -> io::Result<[Option<PathBuf>; 2]> {
    let mut opened = Vec::new();
    for place in ESP_PLACES {
        // opening it makes an automount happen
        opened.extend(directory::open(root, Path::new(place))?.map(|dir| (place, dir)));
    }
    let mounts = mount::mounts()?;
    let mut found = Vec::new();
    for (place, dir) in opened {
        let is_it = |m: &&mount::Mount| m.point == root.join(place);
        if let Some(mount) = mounts.iter().rfind(is_it) {
            found.push(Mounted {
                place,
                fs_type: mount.fs_type.clone(),
                partition: partition_type(dir)?,
            });
        }
    }
    Ok(choose(&found).map(|place| place.map(PathBuf::from)))
}

fn choose(found: &[Mounted]) -> [Option<&'static str>; 2] {
    let esp = found.iter().find(|m| m.may_be(&ESP_TYPES));
    let xbootldr = found
        .iter()
        .filter(|m| m.place == XBOOTLDR_PLACE && Some(*m) != esp)
        .find(|m| m.may_be(&XBOOTLDR_TYPES));
    [esp, xbootldr].map(|m| m.map(|m| m.place))
}

/// What udev says of the partition that a file system is on.
fn partition_type(dir: impl AsFd) -> io::Result<Option<String>> {
    let device = fstat(dir)?.st_dev;
    let name = format!("b{}:{}", major(device), minor(device));
    let top = beneath::open_root(Root::live().path())?;
    let known = beneath::read(top, &root::relative(Path::new(UDEV)).join(name), MOST)?;
    let text = String::from_utf8_lossy(&known.unwrap_or_default()).into_owned();
    let value = text.lines().find_map(|l| l.strip_prefix(PARTITION_TYPE));
    Ok(value.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounted(place: &'static str, fs_type: &str, partition: &str) -> Mounted {
        Mounted {
            place,
            fs_type: fs_type.into(),
            partition: (!partition.is_empty()).then(|| partition.into()),
        }
    }

    #[test]
    fn boot_partitions_are_known_by_their_type_and_without_it_by_what_firmware_reads() {
        let [esp, xbootldr] = [ESP_TYPES[0], XBOOTLDR_TYPES[0]];
        let root = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709";
        for (found, wanted) in [
            (vec![], [None, None]),
            (vec![mounted("boot", "vfat", esp)], [Some("boot"), None]),
            (
                vec![
                    mounted("efi", "vfat", esp),
                    mounted("boot", "ext4", xbootldr),
                ],
                [Some("efi"), Some("boot")],
            ),
            (
                vec![
                    mounted("boot", "vfat", xbootldr),
                    mounted("boot/efi", "vfat", "0xef"),
                ],
                [Some("boot/efi"), Some("boot")],
            ),
            // /boot as a partition like any other
            (
                vec![
                    mounted("boot", "ext4", root),
                    mounted("boot/efi", "vfat", esp),
                ],
                [Some("boot/efi"), None],
            ),
            // nobody knows
            (
                vec![mounted("efi", "vfat", ""), mounted("boot", "vfat", "")],
                [Some("efi"), Some("boot")],
            ),
            (vec![mounted("boot", "vfat", "")], [Some("boot"), None]),
            (vec![mounted("boot", "ext4", "")], [None, None]),
        ] {
            assert_eq!(choose(&found), wanted, "{found:?}");
        }
    }

    #[test]
    fn a_directory_where_nothing_is_mounted_is_no_boot_partition() {
        let tmp = tempfile::tempdir().unwrap();
        for place in ["boot/efi", "efi"] {
            std::fs::create_dir_all(tmp.path().join(place)).unwrap();
        }
        let root = Root::at(tmp.path()).unwrap();
        assert_eq!(find(&root).unwrap(), [None, None]);
    }
}
