//! The writes of a disk in their order, in the format of dm-log-writes, and what a power cut may leave of them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes in a sector, which is also the unit of the log.
pub(crate) const SECTOR: u64 = 512;
const MAGIC: u64 = 0x006a_7366_7773_6872;
/// Bytes of the header that are looked at.
pub(crate) const HEADER: usize = 28;
/// A log of more entries than this was not made by a command of ours.
const MOST_ENTRIES: u64 = 1 << 20;
/// The longest write, in sectors.
const MOST_SECTORS: u64 = 1 << 16;

const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// A write, a flush or a discard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) sector: u64,
    pub(crate) sectors: u64,
    flags: u64,
    /// Where its data begins in the log.
    data: u64,
}

impl Entry {
    /// Whether it writes. What is discarded may keep its content on a disk, and does so here.
    pub(crate) fn writes(&self) -> bool {
        self.sectors > 0 && self.flags & DISCARD == 0
    }
}

/// The entries of a log.
pub(crate) struct Log {
    file: File,
    pub(crate) entries: Vec<Entry>,
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let field = bytes.get(at..at + 8).and_then(|b| b.try_into().ok());
    field.map_or(0, u64::from_le_bytes)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the log {what}"))
}

/// How many entries the log had when this was its beginning.
pub(crate) fn count(header: &[u8]) -> io::Result<u64> {
    // it is written with the first entry
    if header.len() >= HEADER && header.iter().all(|byte| *byte == 0) {
        return Ok(0);
    }
    if header.len() < HEADER || number(header, 0) != MAGIC {
        return Err(bad("has no header"));
    }
    let size = header[24..28].try_into().map(u32::from_le_bytes);
    if number(header, 8) != 1 || size.map(u64::from).ok() != Some(SECTOR) {
        return Err(bad("has another version or size of sectors"));
    }
    let count = number(header, 16);
    if count > MOST_ENTRIES {
        return Err(bad("is too long"));
    }
    Ok(count)
}

impl Log {
    /// Reads the entries of a log.
    ///
    /// # Errors
    /// When it is none, or ends early.
    pub(crate) fn open(path: &Path) -> io::Result<Log> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut block = [0; SECTOR as usize];
        file.read_exact_at(&mut block, 0)?;
        let mut entries = Vec::new();
        let mut at = SECTOR;
        for _ in 0..count(&block)? {
            file.read_exact_at(&mut block[..32], at)?;
            let mut entry = Entry {
                sector: number(&block, 0),
                sectors: number(&block, 8),
                flags: number(&block, 16),
                data: at + SECTOR,
            };
            at = entry.data;
            if entry.flags & DISCARD != 0 {
                entry.sectors = 0;
            }
            if entry.sectors > MOST_SECTORS || entry.sector > u64::MAX / SECTOR - MOST_SECTORS {
                return Err(bad("has an entry that is no write of a disk"));
            }
            at += entry.sectors * SECTOR;
            if at > length {
                return Err(bad("ends in the middle of an entry"));
            }
            entries.push(entry);
        }
        Ok(Log { file, entries })
    }

    /// Does a write again.
    pub(crate) fn apply(&self, index: usize, disk: &File) -> io::Result<()> {
        let entry = self.entries[index];
        if !entry.writes() {
            return Ok(());
        }
        let mut data = vec![0; (entry.sectors * SECTOR) as usize];
        self.file.read_exact_at(&mut data, entry.data)?;
        disk.write_all_at(&data, entry.sector * SECTOR)
    }

    /// How many entries are sure to be on the disk when it loses power after `upto` of them.
    pub(crate) fn durable(&self, upto: usize) -> usize {
        let flush = |e: &Entry| e.flags & FLUSH != 0;
        self.entries[..upto].iter().rposition(flush).unwrap_or(0)
    }

    /// The ends of the epochs: between two of them nothing is flushed.
    pub(crate) fn epochs(&self) -> Vec<(usize, usize)> {
        let mut starts: Vec<usize> = (0..self.entries.len())
            .filter(|i| self.entries[*i].flags & FLUSH != 0)
            .collect();
        starts.insert(0, 0);
        starts.push(self.entries.len());
        starts
            .windows(2)
            .map(|w| (w[0], w[1]))
            .filter(|(from, to)| self.entries[*from..*to].iter().any(Entry::writes))
            .collect()
    }

    /// What is on the disk when it loses power at `cut`.
    pub(crate) fn image(&self, cut: Cut) -> Image {
        let flushed = match cut.seed {
            None => cut.upto,
            Some(_) => self.durable(cut.upto),
        };
        let mut random = Random::of(cut.seed.unwrap_or(0), cut.upto as u64);
        // most of the cache is lost, half of it, or little
        let odds = [128, 32, 224, 128][(random.next() % 4) as usize];
        let mut kept: Vec<usize> = (flushed..cut.upto)
            .filter(|i| self.entries[*i].writes())
            .filter(|i| self.entries[*i].flags & FUA != 0 || random.next() % 256 >= odds)
            .collect();
        // what is kept without a gap is a prefix
        let mut whole = flushed;
        let mut gapless = 0;
        for index in flushed..cut.upto {
            if kept.get(gapless) == Some(&index) {
                gapless += 1;
            } else if self.entries[index].writes() {
                break;
            }
            whole = index + 1;
        }
        kept.drain(..gapless);
        while whole > 0 && !self.entries[whole - 1].writes() {
            whole -= 1;
        }
        Image { whole, kept }
    }

    /// All that was ever written: ranges of bytes, in order, none of which touches another.
    pub(crate) fn written(&self) -> Vec<(u64, u64)> {
        let writes = self.entries.iter().filter(|e| e.writes());
        let mut ranges: Vec<(u64, u64)> = writes
            .map(|e| (e.sector * SECTOR, (e.sector + e.sectors) * SECTOR))
            .collect();
        ranges.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for (from, to) in ranges {
            match merged.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => merged.push((from, to)),
            }
        }
        merged
    }
}

/// Where the power fails: after `upto` entries; with a seed, a disk with a cache that loses some of what was not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cut {
    pub(crate) upto: usize,
    pub(crate) seed: Option<u64>,
}

/// What of the log a disk has: the first `whole` entries, and of the later ones `kept`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Image {
    pub(crate) whole: usize,
    pub(crate) kept: Vec<usize>,
}

/// Numbers that are the same in each run with the same seed (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn of(seed: u64, more: u64) -> Random {
        Random(seed.rotate_left(32) ^ more)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log with these entries: sector, sectors, flags; each sector written holds the number of its entry.
    fn written(
        entries: &[(u64, u64, u64)],
        count: u64,
    ) -> (tempfile::NamedTempFile, io::Result<Log>) {
        let mut bytes = vec![0; SECTOR as usize];
        bytes[..8].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[8] = 1;
        bytes[16..24].copy_from_slice(&count.to_le_bytes());
        bytes[24..28].copy_from_slice(&512u32.to_le_bytes());
        for (number, (sector, sectors, flags)) in entries.iter().enumerate() {
            let at = bytes.len();
            bytes.resize(at + SECTOR as usize, 0);
            for (i, field) in [*sector, *sectors, *flags].into_iter().enumerate() {
                bytes[at + 8 * i..at + 8 * i + 8].copy_from_slice(&field.to_le_bytes());
            }
            if flags & DISCARD == 0 {
                let end = bytes.len() + (sectors * SECTOR) as usize;
                bytes.resize(end, number as u8 + 1);
            }
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let log = Log::open(file.path());
        (file, log)
    }

    const ENTRIES: [(u64, u64, u64); 8] = [
        (8, 2, 0),
        (0, 0, FLUSH),
        (16, 1, 0),
        (17, 1, FUA),
        (90, 4, DISCARD),
        (18, 1, 0),
        (0, 0, FLUSH),
        (8, 1, 0),
    ];

    #[test]
    fn a_log_is_read_and_written_again_entry_by_entry() {
        let (_file, log) = written(&ENTRIES, 8);
        let log = log.unwrap();
        let disk = tempfile::tempfile().unwrap();
        for index in 0..log.entries.len() {
            log.apply(index, &disk).unwrap();
        }
        let mut sector = [0; 1];
        let mut at = |n: u64| {
            disk.read_exact_at(&mut sector, n * SECTOR).unwrap();
            sector[0]
        };
        assert_eq!([8, 9, 16, 17, 18].map(&mut at), [8, 1, 3, 4, 6]);
        assert_eq!(disk.metadata().unwrap().len(), 19 * SECTOR);
        assert_eq!(log.written(), [(8 * 512, 10 * 512), (16 * 512, 19 * 512)]);
    }

    #[test]
    fn what_is_no_log_or_ends_early_is_an_error() {
        assert!(written(&ENTRIES, 9).1.is_err());
        assert!(written(&[(0, MOST_SECTORS + 1, DISCARD)], 1).1.is_ok());
        assert!(written(&[(u64::MAX / 2, 1, 0)], 1).1.is_err());
        assert!(written(&ENTRIES, MOST_ENTRIES + 1).1.is_err());
        let empty = tempfile::NamedTempFile::new().unwrap();
        assert!(Log::open(empty.path()).is_err());
        std::fs::write(empty.path(), [0; 600]).unwrap();
        assert_eq!(Log::open(empty.path()).unwrap().entries, []);
        std::fs::write(empty.path(), [1; 600]).unwrap();
        assert!(Log::open(empty.path()).is_err());
    }

    #[test]
    fn what_was_flushed_or_went_past_the_cache_is_never_lost_and_everything_else_is_with_some_seed()
    {
        let (_file, log) = written(&ENTRIES, 8);
        let log = log.unwrap();
        assert_eq!(log.epochs(), [(0, 1), (1, 6), (6, 8)]);
        assert_eq!(log.durable(1), 0);
        assert_eq!(log.durable(6), 1);
        assert_eq!(log.durable(7), 6);
        let images = |upto| {
            let images = (0..64).map(|seed| {
                log.image(Cut {
                    upto,
                    seed: Some(seed),
                })
            });
            let mut images: Vec<_> = images.map(|i| (i.whole, i.kept)).collect();
            images.sort();
            images.dedup();
            images
        };
        assert_eq!(images(2), [(1, vec![])]);
        // entry 2 and 5 or not, entry 3 always
        let all = [(1, vec![3]), (1, vec![3, 5]), (4, vec![]), (6, vec![])];
        assert_eq!(images(6), all);
        assert_eq!(images(7), [(6, vec![])]);
        let prefix = |upto| log.image(Cut { upto, seed: None });
        assert_eq!(prefix(7), prefix(6));
        assert_eq!(
            (prefix(5).whole, prefix(8).whole, prefix(0).whole),
            (4, 8, 0)
        );
    }
}
