//! GUID partition tables (UEFI Specification, chapter 5), read and written without the kernel.
//!
//! Invariant: there are two copies of a table, and the one that was read is written last, after the other one is on disk: whenever
//! writing ends, one of them is whole, the old table or the new one. Only labels, types, UUIDs and attributes of single partitions
//! change; everything else is written as it was read. No partition is made, removed, moved or resized.

mod disk;
pub mod mark;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};

use gptman::{GPTHeader, GPTPartitionEntry};

pub use self::disk::{Disk, DiskId, NoDisk};
use super::partition_type::PartitionType;
use super::uuid::Uuid;

/// Units of UTF-16 in a label.
pub const LABEL: usize = 36;
/// Sizes of sectors, in bytes, that an image file may have been made for.
const SECTORS: [u64; 2] = [512, 4096];
/// Where the first copy of a table is, in sectors.
const PRIMARY: u64 = 1;
/// Bytes of an entry; tables may have longer ones, and nobody makes such.
const ENTRY: u32 = 128;
/// Most entries of a table; 128 are usual.
const ENTRIES: u32 = 4096;

/// Why there is no table.
#[derive(Debug)]
pub enum Bad {
    /// Nothing that looks like one.
    None,
    /// It cannot be read.
    Reading(io::Error),
    /// Neither copy counts: what is wrong with each.
    Damaged(String, String),
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bad::None => f.write_str("it has no GPT disk label, not suitable."),
            Bad::Reading(e) => write!(f, "it cannot be read: {e}"),
            Bad::Damaged(primary, backup) => write!(
                f,
                "its GPT disk label is damaged: of the first copy {primary}; of the one at the end {backup}"
            ),
        }
    }
}

impl std::error::Error for Bad {}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number, from one.
    pub number: u32,
    /// Its type.
    pub kind: PartitionType,
    /// Its own UUID.
    pub uuid: Uuid,
    /// All 64 bits of its attributes.
    pub flags: u64,
    /// What it is called.
    pub label: String,
    /// Where its bytes are; `None` when its entry makes no sense, or the disk ends before it does.
    pub extent: Option<Extent>,
}

/// Bytes of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The first one.
    pub start: u64,
    /// How many.
    pub length: u64,
}

/// What changes of a partition; `None`: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Its label.
    pub label: Option<String>,
    /// Its type.
    pub kind: Option<PartitionType>,
    /// Its UUID.
    pub uuid: Option<Uuid>,
    /// All 64 bits of its attributes.
    pub flags: Option<u64>,
}

/// Whether a text can be a label.
#[must_use]
pub fn is_label(text: &str) -> bool {
    text.encode_utf16().count() <= LABEL && !text.contains('\0')
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Bytes of a sector.
    sector: u64,
    /// Bytes of the disk.
    length: u64,
    /// The header of the copy that was read.
    header: GPTHeader,
    /// The header of the other copy, when that counts as well.
    other: Option<GPTHeader>,
    entries: Vec<GPTPartitionEntry>,
}

/// Bytes that are written, and where.
pub type Writes = Vec<(u64, Vec<u8>)>;

impl Table {
    /// The table of a disk of `length` bytes, with sectors of `sector` bytes, or, when that is not known, of either size.
    ///
    /// # Errors
    /// When neither copy is whole.
    pub fn read<R: Read + Seek>(
        disk: &mut R,
        length: u64,
        sector: Option<u64>,
    ) -> Result<Table, Bad> {
        let known = sector.map(|sector| [sector]);
        let sectors = known.as_ref().map_or(&SECTORS[..], |known| &known[..]);
        let count = |sector: u64| length / sector;
        let mut places: Vec<(usize, u64, u64)> =
            sectors.iter().map(|sector| (0, *sector, PRIMARY)).collect();
        // the last sector, and where the first copy says, whose entries may be half written: of a disk that has become longer
        let last = sectors.iter().map(|s| (1, *s, count(*s).saturating_sub(1)));
        places.extend(last);
        for &sector in sectors {
            places.extend(other_place(disk, sector).map(|at| (1, sector, at)));
        }
        places.retain(|(_, sector, at)| (PRIMARY..count(*sector)).contains(at));
        let mut why = [None, None];
        for (copy, sector, at) in places {
            match read_copy(disk, at, sector, length) {
                Ok((header, entries)) => {
                    let other = read_copy(disk, header.backup_lba, sector, length).ok();
                    return Ok(Table {
                        sector,
                        length,
                        header,
                        other: other.map(|(header, _)| header),
                        entries,
                    });
                }
                Err(gptman::Error::InvalidSignature) => {}
                // it is too short for one
                Err(gptman::Error::Io(e)) if e.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(gptman::Error::Io(e)) => return Err(Bad::Reading(e)),
                Err(e) => why[copy] = Some(e.to_string()),
            }
        }
        let none = || "there is nothing".to_owned();
        match why {
            [None, None] => Err(Bad::None),
            [primary, backup] => Err(Bad::Damaged(
                primary.unwrap_or_else(none),
                backup.unwrap_or_else(none),
            )),
        }
    }

    /// What is not right and will be when it is written the next time.
    #[must_use]
    pub fn warning(&self) -> Option<&'static str> {
        match (self.is_backup(), &self.other) {
            (true, None) => {
                Some("the first copy of its GPT disk label is damaged; the one at the end is used")
            }
            (false, None) if self.header.backup_lba >= self.sectors() => {
                Some("it ends before the second copy of its GPT disk label")
            }
            (false, None) => Some("the copy of its GPT disk label at the end is damaged"),
            _ => None,
        }
    }

    fn is_backup(&self) -> bool {
        self.header.primary_lba != PRIMARY
    }

    fn sectors(&self) -> u64 {
        self.length / self.sector
    }

    /// The bytes between the two copies, where partitions may be.
    #[must_use]
    pub fn usable(&self) -> std::ops::Range<u64> {
        let (first, last) = (self.header.first_usable_lba, self.header.last_usable_lba);
        first * self.sector..(last + 1) * self.sector
    }

    /// All partitions.
    pub fn partitions(&self) -> impl Iterator<Item = Partition> {
        (1..)
            .zip(&self.entries)
            .filter(|(_, entry)| entry.is_used())
            .map(|(number, entry)| Partition {
                number,
                kind: PartitionType(uuid(entry.partition_type_guid)),
                uuid: uuid(entry.unique_partition_guid),
                flags: entry.attribute_bits,
                label: entry.partition_name.as_str().to_owned(),
                extent: self.extent(entry),
            })
    }

    fn extent(&self, entry: &GPTPartitionEntry) -> Option<Extent> {
        let usable = self.header.first_usable_lba..=self.header.last_usable_lba;
        if !usable.contains(&entry.starting_lba) || !usable.contains(&entry.ending_lba) {
            return None;
        }
        let count = entry.size().ok()?;
        let start = entry.starting_lba.checked_mul(self.sector)?;
        let length = count.checked_mul(self.sector)?;
        let is_there = start.checked_add(length)? <= self.length;
        is_there.then_some(Extent { start, length })
    }

    /// Changes a partition.
    ///
    /// # Errors
    /// `NotFound` when there is no such one; `InvalidInput` for what is no label.
    pub fn change(&mut self, number: u32, change: &Change) -> io::Result<()> {
        let at = number
            .checked_sub(1)
            .and_then(|at| usize::try_from(at).ok());
        let entry = at
            .and_then(|at| self.entries.get_mut(at))
            .filter(|entry| entry.is_used())
            .ok_or(io::ErrorKind::NotFound)?;
        if let Some(label) = &change.label {
            if !is_label(label) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            entry.partition_name = label.as_str().into();
        }
        if let Some(kind) = change.kind {
            entry.partition_type_guid = guid(kind.0);
        }
        if let Some(uuid) = change.uuid {
            entry.unique_partition_guid = guid(uuid);
        }
        if let Some(flags) = change.flags {
            entry.attribute_bits = flags;
        }
        Ok(())
    }

    /// What is to be written: all of the first part, and when that is on disk all of the second.
    ///
    /// # Errors
    /// When the other copy would be where something else is, or behind the end of the disk.
    pub fn writes(&self) -> io::Result<[Writes; 2]> {
        let written = |header: GPTHeader| {
            let mut header = header;
            let mut record = Record::default();
            let all = header.write_into(&mut record, self.sector, &self.entries);
            all.map_err(io::Error::other)?;
            // the header is what makes its entries count
            record
                .0
                .sort_by_key(|(at, _)| *at == header.primary_lba * self.sector);
            Ok::<_, io::Error>(record.0)
        };
        Ok([written(self.other()?)?, written(self.header.clone())?])
    }

    /// The header of the other copy, with what the one that was read says.
    fn other(&self) -> io::Result<GPTHeader> {
        let mine = &self.header;
        if mine.backup_lba >= self.sectors() {
            return Err(io::Error::other(
                "the disk ends before the second copy of its GPT disk label; make it as long as it was",
            ));
        }
        let array = u64::from(mine.number_of_partition_entries) * u64::from(ENTRY);
        let array = array.div_ceil(self.sector);
        let usual = match self.is_backup() {
            true => PRIMARY + 1,
            false => mine.backup_lba.saturating_sub(array),
        };
        let entries = self.other.as_ref().map_or(usual, |o| o.partition_entry_lba);
        let is_free = match self.is_backup() {
            true => entries > PRIMARY && entries + array <= mine.first_usable_lba,
            false => entries > mine.last_usable_lba && entries + array <= mine.backup_lba,
        };
        if !is_free {
            return Err(io::Error::other(
                "there is no room for the other copy of its GPT disk label",
            ));
        }
        Ok(GPTHeader {
            primary_lba: mine.backup_lba,
            backup_lba: mine.primary_lba,
            partition_entry_lba: entries,
            ..mine.clone()
        })
    }
}

/// Where the header of the first copy, if there is one, says that the other copy is.
fn other_place<R: Read + Seek>(disk: &mut R, sector: u64) -> Option<u64> {
    disk.seek(SeekFrom::Start(PRIMARY * sector)).ok()?;
    let header = GPTHeader::read_from(disk).ok()?;
    Some(header.backup_lba)
}

/// The copy whose header is in the sector `at`. Nothing of it is used before it is known to be in the disk, and not too large.
fn read_copy<R: Read + Seek>(
    disk: &mut R,
    at: u64,
    sector: u64,
    length: u64,
) -> Result<(GPTHeader, Vec<GPTPartitionEntry>), gptman::Error> {
    let start = at.checked_mul(sector).ok_or(gptman::Error::Overflow)?;
    disk.seek(SeekFrom::Start(start))?;
    let header = GPTHeader::read_from(disk)?;
    let sectors = length / sector;
    let array = u64::from(header.number_of_partition_entries) * u64::from(ENTRY);
    let end = header
        .partition_entry_lba
        .checked_add(array.div_ceil(sector));
    // both copies are outside of what partitions may have: whatever is written there is no byte of theirs
    let is_outside = end.is_some_and(|end| match at {
        PRIMARY => {
            header.partition_entry_lba > at
                && end <= header.first_usable_lba
                && header.backup_lba > header.last_usable_lba
        }
        _ => {
            header.partition_entry_lba > header.last_usable_lba
                && end <= at
                && header.backup_lba == PRIMARY
        }
    });
    let is_sane = header.primary_lba == at
        && header.size_of_partition_entry == ENTRY
        && (1..=ENTRIES).contains(&header.number_of_partition_entries)
        && header.first_usable_lba > PRIMARY
        && header.first_usable_lba <= header.last_usable_lba
        && header.last_usable_lba < sectors
        && is_outside;
    if !is_sane {
        return Err(gptman::Error::InvalidPartitionBoundaries);
    }
    let entries = header.read_partitions(disk, sector)?;
    Ok((header, entries))
}

/// Where each run of bytes is to be written.
#[derive(Default)]
struct Record(Writes, u64);

impl Write for Record {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.last_mut() {
            Some((start, run)) if *start + run.len() as u64 == self.1 => {
                run.extend_from_slice(bytes);
            }
            _ => self.0.push((self.1, bytes.to_vec())),
        }
        self.1 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Record {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match to {
            SeekFrom::Start(at) => self.1 = at,
            _ => return Err(io::ErrorKind::Unsupported.into()),
        }
        Ok(self.1)
    }
}

/// On disk, the first three parts of a UUID are in the order of a small machine.
fn guid(Uuid(mut bytes): Uuid) -> [u8; 16] {
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    bytes
}

fn uuid(bytes: [u8; 16]) -> Uuid {
    Uuid(guid(Uuid(bytes)))
}
