//! The database `Packages.db` of rpm's ndb backend.
//!
//! Layout, little endian: a header of 32 bytes (`RpmP`, version, generation, pages with slots, next package number), slots
//! of 16 bytes up to the end of these pages (`Slot`, package number, first block, blocks; first block 0: free), blobs in
//! blocks of 16 bytes. A blob has a head (`BlbS`, package number, generation, length), the bytes of a header, padding and a
//! tail (adler32 of all before it, length, `BlbE`).
//!
//! rpm writes under flock(2) LOCK_EX of this very file. Under LOCK_SH it is read in the order of the file, mapped where it is in memory. When
//! the lock cannot be had in time, it is read piece by piece without mapping it, and what was read counts only when the
//! header of the file, which has another generation after each change, is the same as before.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::RpmdbError;
use super::fingerprint::{Fingerprint, sha256};
use super::map::Map;
use super::source::{Ask, Blob, Blobs};
use crate::sys::hex::to_hex;

const PAGE: u64 = 4096;
const HEADER: usize = 32;
const SLOT: usize = 16;
const BLOCK: u64 = 16;
const HEAD: usize = 16;
const TAIL: usize = 12;
/// Room for half a million packages.
const MOST_PAGES: u32 = 2048;
/// More than the largest header takes.
const MOST_BLOCKS: u32 = (257 << 20) / BLOCK as u32;
/// How long a writer may hold the lock.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a database is read that nobody lets us lock.
const ATTEMPTS: u32 = 3;

/// An open `Packages.db`.
#[derive(Debug)]
pub(super) struct Ndb {
    file: File,
    path: PathBuf,
    patience: Duration,
}

/// The pages at the beginning of the file.
struct Pages {
    header: [u8; HEADER],
    bytes: Vec<u8>,
    /// Of the whole file, in bytes.
    size: u64,
}

/// A slot that is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    package: u32,
    block: u32,
    blocks: u32,
}

/// What is wrong with a slot or a blob.
type Bad = String;

impl Slot {
    fn start(self) -> u64 {
        u64::from(self.block) * BLOCK
    }

    fn size(self) -> u64 {
        u64::from(self.blocks) * BLOCK
    }

    fn end(self) -> u64 {
        self.start() + self.size()
    }

    /// Whether there can be a blob.
    fn check(self, pages: &Pages) -> Result<(), Bad> {
        let area = pages.bytes.len() as u64;
        if self.start() < area || self.end() > pages.size {
            return Err(format!(
                "its {} blocks from block {} on are not between the slots and the end of the file",
                self.blocks, self.block
            ));
        }
        if self.size() < (HEAD + TAIL) as u64 || self.blocks > MOST_BLOCKS {
            return Err(format!("it cannot take {} blocks", self.blocks));
        }
        Ok(())
    }

    /// The header in the blob `bytes`. Its checksum is not looked at: rpm itself does so only when it moves a blob.
    fn unwrap(self, bytes: &[u8]) -> Result<&[u8], Bad> {
        let no_blob = || format!("there is no whole blob at block {}", self.block);
        let (head, rest) = bytes.split_at_checked(HEAD).ok_or_else(no_blob)?;
        let (body, tail) = rest
            .len()
            .checked_sub(TAIL)
            .and_then(|at| rest.split_at_checked(at))
            .ok_or_else(no_blob)?;
        if &head[..4] != b"BlbS" || &tail[8..] != b"BlbE" {
            return Err(no_blob());
        }
        let (package, length) = (word(head, 4), word(head, 12));
        if package != self.package {
            return Err(format!(
                "the blob at block {} is that of package number {package}",
                self.block
            ));
        }
        let length_again = word(tail, 4);
        if length != length_again {
            return Err(format!(
                "its blob has {length} bytes at its head, and {length_again} at its tail"
            ));
        }
        body.get(..length as usize).ok_or_else(|| {
            format!(
                "its blob of {length} bytes does not fit into {} blocks",
                self.blocks
            )
        })
    }
}

impl Ndb {
    /// The database in `file`, which is called `path` in messages.
    pub(super) fn new(file: File, path: &Path) -> Ndb {
        Ndb {
            file,
            path: path.to_owned(),
            patience: PATIENCE,
        }
    }

    /// The state of the database: 32 bytes, and a digest of some pages.
    ///
    /// # Errors
    /// As a scan, for what is no database as a whole.
    pub(super) fn fingerprint(&self) -> Result<Fingerprint, RpmdbError> {
        for _ in 0..ATTEMPTS {
            let pages = self.pages()?;
            if self.header()? == pages.header {
                return Ok(Fingerprint::Ndb {
                    header: to_hex(&pages.header),
                    slots: sha256(&[&pages.bytes]),
                });
            }
        }
        Err(RpmdbError::Busy(self.path.clone()))
    }

    fn header(&self) -> Result<[u8; HEADER], RpmdbError> {
        let mut header = [0; HEADER];
        match self.file.read_exact_at(&mut header, 0) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(RpmdbError::format(
                &self.path,
                "it is shorter than its header",
            )),
            other => other.map(|()| header).map_err(RpmdbError::read(&self.path)),
        }
    }

    /// Reads and checks what the database is made of.
    fn pages(&self) -> Result<Pages, RpmdbError> {
        let header = self.header()?;
        let read = RpmdbError::read;
        let size = self.file.metadata().map_err(read(&self.path))?.len();
        let format = |why: String| Err(RpmdbError::Format(self.path.clone(), why));
        if &header[..4] != b"RpmP" {
            return format("it does not begin as one of ndb".to_owned());
        }
        let (version, count) = (word(&header, 4), word(&header, 12));
        if version != 0 {
            return format(format!("it has the unknown version {version}"));
        }
        let length = u64::from(count) * PAGE;
        if count == 0 || count > MOST_PAGES || length > size {
            return format(format!(
                "{count} pages with slots cannot be in its {size} bytes"
            ));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let filled = self.file.read_exact_at(&mut bytes, 0);
        filled.map_err(read(&self.path))?;
        Ok(Pages {
            header,
            bytes,
            size,
        })
    }

    /// Whether the lock could be had within `patience`. A file system without locks has no writer who would wait for us.
    fn lock(&self, patience: Duration) -> Option<Lock<'_>> {
        const PAUSE: Duration = Duration::from_millis(20);
        let begun = Instant::now();
        loop {
            match self.file.try_lock_shared() {
                Ok(()) => return Some(Lock(&self.file)),
                Err(TryLockError::WouldBlock) if begun.elapsed() < patience => {
                    std::thread::sleep(PAUSE);
                }
                Err(_) => return None,
            }
        }
    }
}

/// Hands out what is in the slots: those that are bad by themselves first, then the others in the order of the file.
fn scan(pages: &Pages, content: &Content<'_>, visit: &mut dyn FnMut(Blob<'_>)) {
    let mut report = |slot: Slot, why: Bad| {
        visit(Blob {
            number: slot.package.into(),
            bytes: Err(why),
        });
    };
    let slots = used(pages, &mut report);
    let slots = apart(slots, content, &mut report);
    let mut buffer = Vec::new();
    for slot in slots {
        let bytes = content.read(slot, &mut buffer);
        visit(Blob {
            number: slot.package.into(),
            bytes: bytes.and_then(|bytes| slot.unwrap(bytes)),
        });
    }
}

/// The slots that are in use and can be, sorted by their blocks.
fn used(pages: &Pages, report: &mut dyn FnMut(Slot, Bad)) -> Vec<Slot> {
    let mut slots = Vec::new();
    for (at, bytes) in pages.bytes[HEADER..].chunks_exact(SLOT).enumerate() {
        let slot = Slot {
            package: word(bytes, 4),
            block: word(bytes, 8),
            blocks: word(bytes, 12),
        };
        if &bytes[..4] != b"Slot" {
            report(slot, format!("slot {at} is none"));
        } else if slot.block != 0 {
            match slot.check(pages) {
                Ok(()) => slots.push(slot),
                Err(why) => report(slot, why),
            }
        }
    }
    slots.sort_unstable_by_key(|s| (s.block, s.blocks, s.package));
    slots
}

/// Those of `slots` that share neither blocks nor a package number with another. One that only says so, without a blob in its
/// place, does not take the others with it.
fn apart(
    mut slots: Vec<Slot>,
    content: &Content<'_>,
    report: &mut dyn FnMut(Slot, Bad),
) -> Vec<Slot> {
    let mut buffer = Vec::new();
    let mut drop_colliding = |slots: &mut Vec<Slot>, only_without_blob: bool| {
        let mut collides = collisions(slots).into_iter();
        slots.retain(|slot| {
            let is_fine = !collides.next().unwrap_or(false)
                || (only_without_blob && {
                    let bytes = content.read(*slot, &mut buffer);
                    bytes.is_ok_and(|bytes| slot.unwrap(bytes).is_ok())
                });
            if !is_fine {
                report(
                    *slot,
                    "another slot has its blocks, or its number".to_owned(),
                );
            }
            is_fine
        });
    };
    drop_colliding(&mut slots, true);
    drop_colliding(&mut slots, false);
    slots
}

impl Blobs for Ndb {
    fn for_each(&self, ask: Ask<'_>, visit: &mut dyn FnMut(Blob<'_>)) -> Result<(), RpmdbError> {
        let is_first = ask.attempt == 0;
        let patience = if is_first {
            self.patience
        } else {
            Duration::ZERO
        };
        if let Some(_lock) = self.lock(patience) {
            let pages = self.pages()?;
            let map = Map::of(&self.file, pages.size).map_err(RpmdbError::read(&self.path))?;
            let content = match map.is_in_memory() {
                true => Content::Mapped(&map),
                false => Content::read_ahead(&self.file),
            };
            scan(&pages, &content, visit);
            return Ok(());
        }
        let pages = self.pages()?;
        // a writer may cut the file off while it is read: never mapped
        scan(&pages, &Content::read_ahead(&self.file), visit);
        match self.header()? == pages.header {
            true => Ok(()),
            false if ask.attempt + 1 < ATTEMPTS => Err(RpmdbError::Changed(self.path.clone())),
            false => Err(RpmdbError::Busy(self.path.clone())),
        }
    }
}

/// The shared lock of a file; given back on drop.
struct Lock<'f>(&'f File);

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // nothing to do about it: the kernel takes it back when the file is closed
        drop(self.0.unlock());
    }
}

/// Where blobs are read.
enum Content<'f> {
    Mapped(&'f Map),
    Read(&'f File),
}

impl<'f> Content<'f> {
    /// A file that is read from its beginning to its end.
    fn read_ahead(file: &'f File) -> Content<'f> {
        if let Err(e) = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL) {
            tracing::debug!("the database is read in small pieces: {e}");
        }
        Content::Read(file)
    }

    /// The bytes of a blob, from head to tail.
    fn read<'b>(&'b self, slot: Slot, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], Bad> {
        let size = usize::try_from(slot.size()).unwrap_or(usize::MAX);
        match self {
            Content::Mapped(map) => {
                let start = usize::try_from(slot.start()).unwrap_or(usize::MAX);
                let bytes = map.bytes().get(start..).and_then(|b| b.get(..size));
                bytes.ok_or_else(|| "it lies behind the end of the file".to_owned())
            }
            Content::Read(file) => {
                buffer.resize(size, 0);
                let filled = file.read_exact_at(buffer, slot.start());
                filled.map_err(|e| format!("it cannot be read: {e}"))?;
                Ok(buffer)
            }
        }
    }
}

/// Which of these slots, sorted by their first block, share blocks or a package number with another.
fn collisions(slots: &[Slot]) -> Vec<bool> {
    let mut found = vec![false; slots.len()];
    let mut widest = 0;
    for at in 1..slots.len() {
        if slots[at].start() < slots[widest].end() {
            found[at] = true;
            found[widest] = true;
        }
        if slots[at].end() > slots[widest].end() {
            widest = at;
        }
    }
    let mut numbers: Vec<(u32, usize)> = Vec::with_capacity(slots.len());
    numbers.extend(slots.iter().enumerate().map(|(at, s)| (s.package, at)));
    numbers.sort_unstable();
    for pair in numbers.windows(2).filter(|p| p[0].0 == p[1].0) {
        found[pair[0].1] = true;
        found[pair[1].1] = true;
    }
    found
}

/// The number at a place that is there.
fn word(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..).and_then(<[u8]>::first_chunk);
    u32::from_le_bytes(four.copied().unwrap_or_default())
}

#[cfg(test)]
mod tests;
