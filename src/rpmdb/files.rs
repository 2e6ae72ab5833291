//! The file that a database is, with those that sqlite keeps beside it: how they look, and a private copy of them.
//!
//! Everything goes through the open directory, follows no link and opens for reading only. A path comes into it only where
//! a library or a program takes nothing else; then it is one that leads to this very directory, without any link.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use super::RpmdbError;
use super::fingerprint::{FileStamp, Fingerprint};
use crate::sys::beneath;
use crate::sys::fs::PrivateDir;

/// What sqlite calls its files beside a database: what is not in it yet, and what was in it before.
pub(super) const WAL: &str = "-wal";
pub(super) const JOURNAL: &str = "-journal";

/// Most that is copied, in bytes; ten times the packages of a large system take a quarter of it.
const MOST: u64 = 4 << 30;
/// What a copy leaves free where it is made, in bytes.
const SPARE: u64 = 64 << 20;

/// Files of one database.
#[derive(Debug)]
pub(super) struct Files {
    dir: OwnedFd,
    name: &'static str,
    shown: PathBuf,
}

impl Files {
    /// The file `name` in `dir`, which a person knows as `shown`.
    pub(super) fn new(dir: OwnedFd, name: &'static str, shown: &Path) -> Files {
        let shown = shown.to_owned();
        Files { dir, name, shown }
    }

    /// Its path, for messages.
    pub(super) fn shown(&self) -> &Path {
        &self.shown
    }

    /// Its name in the directory.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// The open file, or the one beside it with this `suffix`; `None` when it is not there.
    fn open(&self, suffix: &str) -> Result<Option<File>, RpmdbError> {
        let name = format!("{}{suffix}", self.name);
        match beneath::open_file(self.dir.as_fd(), Path::new(&name)) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(RpmdbError::Read(self.shown.with_file_name(name), e)),
        }
    }

    fn main(&self) -> Result<File, RpmdbError> {
        let missing = || RpmdbError::read(&self.shown)(io::ErrorKind::NotFound.into());
        self.open("")?.ok_or_else(missing)
    }

    /// How the file beside it looks; `None` also when there is nothing in it.
    pub(super) fn beside(&self, suffix: &str) -> Result<Option<FileStamp>, RpmdbError> {
        let Some(file) = self.open(suffix)? else {
            return Ok(None);
        };
        let stamp = FileStamp::of(&file).map_err(RpmdbError::read(&self.shown))?;
        Ok((stamp.size > 0).then_some(stamp))
    }

    /// How the file looks.
    pub(super) fn stamp(&self) -> Result<FileStamp, RpmdbError> {
        FileStamp::of(&self.main()?).map_err(RpmdbError::read(&self.shown))
    }

    /// How a database of sqlite looks (its file format, section "The Database Header").
    ///
    /// # Errors
    /// [`RpmdbError::Format`] when it does not begin as one.
    pub(super) fn sqlite_fingerprint(&self) -> Result<Fingerprint, RpmdbError> {
        const MAGIC: &[u8; 16] = b"SQLite format 3\0";
        const HEADER: u64 = 100;
        let file = self.main()?;
        let stamp = FileStamp::of(&file).map_err(RpmdbError::read(&self.shown))?;
        if stamp.size < HEADER {
            let why = format!("it has {} bytes only", stamp.size);
            return Err(RpmdbError::format(&self.shown, why));
        }
        let (mut magic, mut counter) = ([0; MAGIC.len()], [0; 4]);
        file.read_exact_at(&mut magic, 0)
            .and_then(|()| file.read_exact_at(&mut counter, 24))
            .map_err(RpmdbError::read(&self.shown))?;
        if magic != *MAGIC {
            let why = "it does not begin as a database of sqlite does";
            return Err(RpmdbError::format(&self.shown, why));
        }
        Ok(Fingerprint::Sqlite {
            file: stamp,
            change_counter: u32::from_be_bytes(counter),
            wal: self.beside(WAL)?,
        })
    }

    /// The path of the directory, for a library that opens by paths: without any link, and checked to lead here. To be
    /// compared again when the file is open: who may rename the directories above could lead it elsewhere. `None` when no
    /// path leads here.
    #[cfg(feature = "sqlite")]
    pub(super) fn place(&self) -> Option<PathBuf> {
        use nix::sys::stat::{fstat, lstat};
        let path = std::fs::read_link(crate::sys::root::descriptor_path(self.dir.as_fd())).ok()?;
        let (here, there) = (fstat(&self.dir).ok()?, lstat(&path).ok()?);
        ((there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)).then_some(path)
    }

    /// Copies the file, and those beside it that are there and hold something, into a private directory, under their names.
    ///
    /// # Errors
    /// [`RpmdbError::Changed`] when they were changed meanwhile.
    pub(super) fn copy(&self, beside: &[&str]) -> Result<PrivateDir, RpmdbError> {
        let looks = || -> Result<Vec<Option<FileStamp>>, RpmdbError> {
            let main = std::iter::once(self.stamp().map(Some));
            main.chain(beside.iter().map(|s| self.beside(s))).collect()
        };
        let before = looks()?;
        let dir = PrivateDir::new().map_err(|e| self.not_copied(e))?;
        let size = before.iter().flatten().map(|s| s.size);
        let size = size.fold(0, u64::saturating_add);
        self.check_room(dir.path(), size)?;
        let suffixes = std::iter::once(&"").chain(beside);
        for (suffix, _) in suffixes.zip(&before).filter(|(_, stamp)| stamp.is_some()) {
            if let Some(from) = self.open(suffix)? {
                let to = dir.path().join(format!("{}{suffix}", self.name));
                // never more than there was room for, however the file grows
                let copied =
                    File::create_new(to).and_then(|mut to| io::copy(&mut from.take(size), &mut to));
                copied.map_err(|e| self.not_copied(e))?;
            }
        }
        if looks()? != before {
            return Err(RpmdbError::Changed(self.shown.clone()));
        }
        Ok(dir)
    }

    fn check_room(&self, dir: &Path, size: u64) -> Result<(), RpmdbError> {
        let room = statvfs(dir).map_err(|e| self.not_copied(e.into()))?;
        let free = room
            .blocks_available()
            .saturating_mul(room.fragment_size())
            .saturating_sub(SPARE);
        if size > free.min(MOST) {
            let kind = io::ErrorKind::StorageFull;
            let why = format!(
                "it has {size} bytes, and {} may take at most {}",
                dir.display(),
                free.min(MOST)
            );
            return Err(self.not_copied(io::Error::new(kind, why)));
        }
        Ok(())
    }

    fn not_copied(&self, e: io::Error) -> RpmdbError {
        let text = format!("it can only be read from a private copy, which cannot be made: {e}");
        RpmdbError::Read(self.shown.clone(), io::Error::new(e.kind(), text))
    }
}
