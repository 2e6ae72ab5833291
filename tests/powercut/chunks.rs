//! Which files have the content that they had before the recording, whatever became of the disk since: those whose
//! extents lie in sectors that were never written.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use crate::fx::command;
use crate::log::Log;

/// Extents of a file: offset in the file, address, length, each in bytes.
pub(crate) type Extents = Vec<(u64, u64, u64)>;

/// The ranges of addresses of btrfs that were not written in a recording.
pub(crate) struct Untouched {
    /// Address, length, where that is on the disk: of data that lies there once.
    chunks: Vec<(u64, u64, u64)>,
    written: Vec<(u64, u64)>,
}

impl Untouched {
    /// Of a disk before the recording.
    pub(crate) fn of(disk: &Path, log: &Log) -> Untouched {
        let mut btrfs = command("btrfs");
        btrfs.args(["inspect-internal", "dump-tree", "-t", "chunk"]);
        let out = btrfs.arg(disk).output().unwrap();
        assert!(out.status.success(), "{out:?}");
        let chunks = chunks(&String::from_utf8_lossy(&out.stdout));
        assert!(!chunks.is_empty(), "no chunk of data in {}", disk.display());
        let written = log.written();
        Untouched { chunks, written }
    }

    /// Of a disk of which nothing is known.
    pub(crate) fn none() -> Untouched {
        Untouched {
            chunks: Vec::new(),
            written: Vec::new(),
        }
    }

    /// Whether these are as before the recording.
    pub(crate) fn has(&self, extents: &Extents) -> bool {
        extents.iter().all(|e| self.is_untouched(e.1, e.2))
    }

    fn is_untouched(&self, address: u64, length: u64) -> bool {
        let within = |(start, size, _): &&(u64, u64, u64)| {
            address >= *start && address + length <= start + size
        };
        let Some((start, _, on_disk)) = self.chunks.iter().find(within) else {
            return false;
        };
        let from = address - start + on_disk;
        let before = self.written.partition_point(|range| range.1 <= from);
        self.written
            .get(before)
            .is_none_or(|range| range.0 >= from + length)
    }
}

/// The chunks of data that lie on the disk once, from what btrfs prints.
fn chunks(text: &str) -> Vec<(u64, u64, u64)> {
    let mut found = Vec::new();
    let (mut start, mut length) = (None, None);
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |word: &str| {
            let at = words.iter().position(|w| *w == word)?;
            words.get(at + 1)?.trim_end_matches(')').parse::<u64>().ok()
        };
        if line.trim_start().starts_with("item ") {
            (start, length) = (after("CHUNK_ITEM"), None);
        } else if words.first() == Some(&"length") {
            let single = words.last() == Some(&"DATA|single");
            length = after("length").filter(|_| single);
        } else if let (Some(start), Some(length), Some(at)) = (start, length, after("offset"))
            && words.first() == Some(&"stripe")
        {
            found.push((start, length, at));
        }
    }
    found
}

const MOST_EXTENTS: usize = 128;

/// struct fiemap of linux/fiemap.h with room for extents.
#[repr(C)]
struct Fiemap {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    room: u32,
    reserved: u32,
    extents: [Extent; MOST_EXTENTS],
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Extent {
    offset: u64,
    address: u64,
    length: u64,
    reserved: [u64; 2],
    flags: u32,
    more: [u32; 3],
}

/// The header only, which is what the number of the call stands for.
const FIEMAP_HEADER: usize = 32;
const LAST: u32 = 1;
const SHARED: u32 = 0x2000;

#[allow(unsafe_code)]
mod call {
    nix::ioctl_readwrite_bad!(
        fiemap,
        nix::request_code_readwrite!(b'f', 11, super::FIEMAP_HEADER),
        super::Fiemap
    );
}

/// The extents of a file when they say all of its content: without holes and what only metadata tells.
pub(crate) fn extents(file: &File, size: u64) -> io::Result<Option<Extents>> {
    let covers = |extents: &Extents| extents.iter().map(|e| e.2).sum::<u64>() >= size;
    Ok(fiemap(file)?.filter(covers))
}

/// The extents of a file, unless there are too many or some that are not plain data on the disk.
fn fiemap(file: &File) -> io::Result<Option<Extents>> {
    let none = Extent {
        offset: 0,
        address: 0,
        length: 0,
        reserved: [0; 2],
        flags: 0,
        more: [0; 3],
    };
    let mut map = Fiemap {
        start: 0,
        length: u64::MAX,
        flags: 0,
        mapped: 0,
        room: MOST_EXTENTS as u32,
        reserved: 0,
        extents: [none; MOST_EXTENTS],
    };
    // SAFETY: the kernel writes at most `room` extents, which is the size of the array, and keeps no pointer.
    #[allow(unsafe_code)]
    unsafe { call::fiemap(file.as_raw_fd(), &raw mut map) }?;
    let extents = &map.extents[..(map.mapped as usize).min(MOST_EXTENTS)];
    let whole = extents.last().is_some_and(|e| e.flags & LAST != 0);
    let plain = extents.iter().all(|e| e.flags & !(LAST | SHARED) == 0);
    Ok((whole && plain).then(|| {
        let plain = |e: &Extent| (e.offset, e.address, e.length);
        extents.iter().map(plain).collect()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "
chunk tree
leaf 22036480 items 5 free space 15626 generation 6 owner CHUNK_TREE
\titem 1 key (FIRST_CHUNK_TREE CHUNK_ITEM 13631488) itemoff 16105 itemsize 80
\t\tlength 8388608 owner 2 stripe_len 65536 type DATA|single
\t\tio_align 65536 io_width 65536 sector_size 4096
\t\tnum_stripes 1 sub_stripes 1
\t\t\tstripe 0 devid 1 offset 14680064
\t\t\tdev_uuid 5f
\titem 2 key (FIRST_CHUNK_TREE CHUNK_ITEM 22020096) itemoff 15993 itemsize 112
\t\tlength 8388608 owner 2 stripe_len 65536 type SYSTEM|DUP
\t\tnum_stripes 2 sub_stripes 1
\t\t\tstripe 0 devid 1 offset 22020096
\t\t\tstripe 1 devid 1 offset 30408704
";

    #[test]
    fn only_data_that_lies_once_in_sectors_never_written_is_known_without_reading() {
        let chunks = chunks(DUMP);
        assert_eq!(chunks, [(13_631_488, 8_388_608, 14_680_064)]);
        let at = 14_680_064;
        let written = vec![(at - 512, at), (at + 4096, at + 8192)];
        let known = Untouched { chunks, written };
        let known = |from: u64, length| known.is_untouched(13_631_488 + from, length);
        assert!(known(0, 4096) && known(8192, 4096) && known(8192, 8_388_608 - 8192));
        assert!(!known(0, 4097) && !known(4096, 4096) && !known(8000, 4096));
        assert!(!known(8192, 8_388_608 - 8191) && !known(16_777_216, 4096));
    }
}
