//! All subvolumes of a file system and its default, from one search of the root tree.
//!
//! Follows the on-disk format of btrfs (linux/btrfs_tree.h): root items, back references and the directory
//! item `default`. Numbers on disk are little-endian.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;

use nix::sys::stat::FileStat;

use super::btrfs;

const ROOT_ITEM: u32 = 132;
const ROOT_BACKREF: u32 = 144;
const DIR_ITEM: u32 = 84;
const ROOT_TREE_DIRECTORY: u64 = 6;
/// Id of the top-level subvolume.
pub const TOP_LEVEL: u64 = 5;
const FIRST_FREE: u64 = 256;
/// Objects of the kernel's own, as -1 to -255.
const LAST_FREE: u64 = u64::MAX - 255;

/// A subvolume as the root tree describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subvolume {
    /// Its id.
    pub id: u64,
    /// Id of the subvolume it lies in; 0 for one that is being deleted.
    pub parent: u64,
    /// Inode number of the directory it lies in.
    pub directory: u64,
    /// Its name in that directory.
    pub name: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// UUID of the subvolume it is a snapshot of; all zero when it is none.
    pub parent_uuid: Uuid,
    /// The read-only property.
    pub read_only: bool,
    /// Generation in which something in it was last changed (`ctransid`). To make a snapshot of it is no change.
    pub generation: u64,
    /// When it was made.
    pub created: Moment,
}

/// A moment of the kernel's clock: seconds since 1970 and nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(i64, i64);

impl Moment {
    /// When a file or its metadata was last changed, which a snapshot keeps.
    #[must_use]
    pub fn of_change(stat: &FileStat) -> Moment {
        Moment(stat.st_ctime, stat.st_ctime_nsec)
    }

    /// struct btrfs_timespec.
    fn on_disk(item: &[u8], at: usize) -> Option<Moment> {
        let nanoseconds = u32::from_le_bytes(item.get(at + 8..at + 12)?.try_into().ok()?);
        Some(Moment(u64_le(item, at)? as i64, nanoseconds.into()))
    }
}

/// UUID of a subvolume, printed in lower case with dashes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Uuid([u8; 16]);

impl std::fmt::Display for Uuid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            let dash = if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Uuid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// The subvolumes of a file system.
#[derive(Debug, Default)]
pub(super) struct Subvolumes {
    /// By id; subvolumes that are being deleted are left out.
    pub(super) by_id: BTreeMap<u64, Subvolume>,
    /// Id of the default subvolume; the top level when none was ever set.
    pub(super) default: u64,
}

impl Subvolumes {
    /// Reads them through any open file of the file system.
    ///
    /// # Errors
    /// As BTRFS_IOC_TREE_SEARCH_V2, and `InvalidData` for items that are cut short.
    pub(super) fn read(fd: impl AsFd) -> io::Result<Subvolumes> {
        let mut all = Subvolumes {
            default: TOP_LEVEL,
            ..Subvolumes::default()
        };
        let mut from = (TOP_LEVEL, 0, 0);
        loop {
            let found = btrfs::search_root_tree(&fd, from, LAST_FREE)?;
            let (last, used) = all.add(found.bytes(), found.count)?;
            // with room left for the largest item there was nothing more; else the kernel is asked again
            if used + LARGEST_ITEM < btrfs::SEARCH_BUFFER {
                break;
            }
            let Some(next) = last.and_then(after) else {
                break;
            };
            from = next;
        }
        all.by_id.retain(|id, s| *id == TOP_LEVEL || s.parent != 0);
        Ok(all)
    }

    /// Adds `count` items of a search result; returns the key of the last one and the bytes they took.
    fn add(&mut self, mut bytes: &[u8], count: u32) -> io::Result<(Option<Key>, usize)> {
        let all = bytes.len();
        let mut last = None;
        for _ in 0..count {
            let header = take(&mut bytes, 32)?;
            let (objectid, offset) = (u64_ne(header, 8), u64_ne(header, 16));
            let (kind, len) = (u32_ne(header, 24), u32_ne(header, 28));
            let item = take(&mut bytes, len as usize)?;
            self.item(objectid, kind, offset, item)
                .ok_or_else(cut_short)?;
            last = Some((objectid, kind as u8, offset));
        }
        Ok((last, all - bytes.len()))
    }

    fn item(&mut self, objectid: u64, kind: u32, offset: u64, item: &[u8]) -> Option<()> {
        let is_subvolume = objectid == TOP_LEVEL || (FIRST_FREE..=LAST_FREE).contains(&objectid);
        match kind {
            ROOT_ITEM if is_subvolume => {
                let entry = self.by_id.entry(objectid).or_default();
                entry.id = objectid;
                entry.read_only = u64_le(item, 208)? & 1 != 0;
                // the part from here on is missing in file systems made before Linux 3.6
                entry.uuid = uuid(item, 247).unwrap_or_default();
                entry.parent_uuid = uuid(item, 263).unwrap_or_default();
                entry.generation = u64_le(item, 295).or(u64_le(item, 160))?;
                entry.created = Moment::on_disk(item, 339).unwrap_or_default();
            }
            ROOT_BACKREF if is_subvolume => {
                let length = u16::from_le_bytes(item.get(16..18)?.try_into().ok()?);
                let entry = self.by_id.entry(objectid).or_default();
                entry.parent = offset;
                entry.directory = u64_le(item, 0)?;
                entry.name =
                    String::from_utf8_lossy(item.get(18..18 + usize::from(length))?).into_owned();
            }
            DIR_ITEM if objectid == ROOT_TREE_DIRECTORY => {
                let length = usize::from(u16::from_le_bytes(item.get(27..29)?.try_into().ok()?));
                if item.get(30..30 + length)? == b"default" {
                    self.default = u64_le(item, 0)?;
                }
            }
            _ => {}
        }
        Some(())
    }
}

/// Object, type and offset, the order of a btrfs tree.
type Key = (u64, u8, u64);

/// An item is never larger than a tree block, which is at most 64 KiB.
const LARGEST_ITEM: usize = 64 << 10;

fn after((objectid, kind, offset): Key) -> Option<Key> {
    if offset < u64::MAX {
        Some((objectid, kind, offset + 1))
    } else if kind < u8::MAX {
        Some((objectid, kind + 1, 0))
    } else {
        Some((objectid.checked_add(1)?, 0, 0))
    }
}

fn take<'b>(bytes: &mut &'b [u8], len: usize) -> io::Result<&'b [u8]> {
    let (head, tail) = bytes.split_at_checked(len).ok_or_else(cut_short)?;
    *bytes = tail;
    Ok(head)
}

fn cut_short() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the kernel's list of subvolumes is cut short",
    )
}

/// Search headers are in the machine's order, the caller has checked the length.
fn u64_ne(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn u32_ne(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_le(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn uuid(bytes: &[u8], at: usize) -> Option<Uuid> {
    Some(Uuid(bytes.get(at..at + 16)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(objectid: u64, kind: u32, offset: u64, item: &[u8]) -> Vec<u8> {
        let mut out = 7u64.to_ne_bytes().to_vec();
        out.extend(objectid.to_ne_bytes());
        out.extend(offset.to_ne_bytes());
        out.extend(kind.to_ne_bytes());
        out.extend((item.len() as u32).to_ne_bytes());
        out.extend(item);
        out
    }

    fn backref(directory: u64, name: &str) -> Vec<u8> {
        let mut item = directory.to_le_bytes().to_vec();
        item.extend(1u64.to_le_bytes());
        item.extend((name.len() as u16).to_le_bytes());
        item.extend(name.as_bytes());
        item
    }

    fn root_item(read_only: bool) -> Vec<u8> {
        let mut item = vec![0; 439];
        item[160..168].copy_from_slice(&8u64.to_le_bytes());
        item[295..303].copy_from_slice(&9u64.to_le_bytes());
        item[208] = u8::from(read_only);
        item[339..347].copy_from_slice(&1_700_000_000u64.to_le_bytes());
        item[347..351].copy_from_slice(&5u32.to_le_bytes());
        item[247..263].copy_from_slice(&[0xab; 16]);
        item
    }

    #[test]
    fn items_give_subvolumes_and_the_default() {
        let mut default = 256u64.to_le_bytes().to_vec();
        default.extend([132; 9]);
        default.extend([0; 8]);
        default.extend([0, 0, 7, 0, 2]);
        default.extend(b"default");
        let mut bytes = entry(6, DIR_ITEM, 1, &default);
        bytes.extend(entry(256, ROOT_ITEM, 0, &root_item(true)));
        bytes.extend(entry(256, ROOT_BACKREF, 5, &backref(257, "snapshot")));
        let mut all = Subvolumes::default();
        let (last, used) = all.add(&bytes, 3).unwrap();
        assert_eq!((last, used), (Some((256, 144, 5)), bytes.len()));
        assert_eq!(all.default, 256);
        let subvolume = &all.by_id[&256];
        assert_eq!(
            (subvolume.parent, subvolume.directory, subvolume.generation),
            (5, 257, 9)
        );
        assert_eq!(subvolume.created, Moment(1_700_000_000, 5));
        assert!(subvolume.read_only && subvolume.name == "snapshot");
        assert_eq!(
            subvolume.uuid.to_string(),
            "abababab-abab-abab-abab-abababababab"
        );
    }

    #[test]
    fn a_list_cut_short_anywhere_is_an_error_not_a_panic() {
        let bytes = entry(300, ROOT_BACKREF, 5, &backref(257, "snapshot"));
        for cut in 0..bytes.len() {
            assert!(Subvolumes::default().add(&bytes[..cut], 1).is_err());
        }
        let short = entry(300, ROOT_ITEM, 0, &[0; 100]);
        assert!(Subvolumes::default().add(&short, 1).is_err());
    }

    #[test]
    fn the_next_search_begins_right_behind_the_last_item() {
        assert_eq!(after((256, 144, 5)), Some((256, 144, 6)));
        assert_eq!(after((256, 144, u64::MAX)), Some((256, 145, 0)));
        assert_eq!(after((256, 255, u64::MAX)), Some((257, 0, 0)));
        assert_eq!(after((u64::MAX, 255, u64::MAX)), None);
    }
}
