//! Disks: whole block devices, and plain files that are images of such.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::stat::{SFlag, fstat};

use super::{Bad, Table};
use crate::sys::block::{self, TableLock};
use crate::sys::root::descriptor_path;
use crate::sys::{Root, beneath, failpoint, root, signal};

/// How long whoever has the lock of a disk is waited for: nobody has it for longer than a table takes to be written.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often that is looked for.
const LOOKS: u32 = 300;

/// Why a disk cannot be used.
#[derive(Debug)]
pub enum NoDisk {
    /// It cannot be opened or asked.
    Unreadable(PathBuf, io::Error),
    /// It is a device, and not to be used for another system than the running one.
    Device(PathBuf),
    /// It is neither a block device nor a file.
    Kind(PathBuf),
    /// It is a directory that is on no disk, or on several.
    Directory(PathBuf, io::Error),
    /// It has no table that counts.
    Table(PathBuf, Bad),
    /// A partition of it is in use, and by whom.
    InUse(String, String),
    /// Another program does not give up its lock.
    Locked(PathBuf),
    /// Its table cannot be changed.
    NotWritten(PathBuf, io::Error),
}

impl fmt::Display for NoDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoDisk::Unreadable(path, e) => write!(f, "{} cannot be read: {e}", path.display()),
            NoDisk::Device(path) => write!(
                f,
                "{}: access to device nodes is prohibited when another root is given",
                path.display()
            ),
            NoDisk::Kind(path) => write!(
                f,
                "{} is neither a block device nor the image of a disk",
                path.display()
            ),
            NoDisk::Directory(path, e) => {
                write!(
                    f,
                    "the disk that {} is on is not known: {e}",
                    path.display()
                )
            }
            NoDisk::Table(path, Bad::None) => write!(f, "Disk {} {}", path.display(), Bad::None),
            NoDisk::Table(path, bad) => write!(f, "Disk {}: {bad}", path.display()),
            NoDisk::InUse(partition, user) => {
                write!(f, "{partition} is {user}, and so it is not changed")
            }
            NoDisk::Locked(path) => write!(
                f,
                "{} is locked by another program for too long; try again when it has ended",
                path.display()
            ),
            NoDisk::NotWritten(path, e) => {
                write!(f, "the partition table of {}: {e}", path.display())
            }
        }
    }
}

// the text has the cause
impl std::error::Error for NoDisk {}

/// Which disk it is, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiskId(u64, u64);

/// An open disk.
#[derive(Debug)]
pub struct Disk {
    file: File,
    path: PathBuf,
    id: DiskId,
    /// Bytes of a sector; `None` for an image, whose table tells it.
    sector: Option<u64>,
    /// The partition whose file system this very program works in, when it knows that better than the kernel.
    mounted: Option<u32>,
}

impl Disk {
    /// Opens the disk `path` of the system at `root`, whose links are resolved there, to be read and, when it is `writable`, written. A
    /// directory stands for the disk that it is on.
    ///
    /// # Errors
    /// [`NoDisk`]; a device only of the running system.
    pub fn open(root: &Root, path: &Path, writable: bool) -> Result<Disk, NoDisk> {
        let shown = root.join(path);
        let unreadable = |e: io::Error| NoDisk::Unreadable(shown.clone(), e);
        let found = beneath::open_root(root.path())
            .and_then(|top| beneath::resolve(top, &root::relative(path)))
            .map_err(unreadable)?;
        let kind = beneath::kind(&fstat(&found).map_err(|e| unreadable(e.into()))?);
        if kind == SFlag::S_IFDIR {
            if *root != Root::live() {
                return Err(NoDisk::Device(shown));
            }
            let disk = block::disk_of(&shown).map_err(|e| NoDisk::Directory(shown, e))?;
            return Disk::open(root, &disk, writable);
        }
        let file = reopen(&found, writable).map_err(unreadable)?;
        let there = file.metadata().map_err(unreadable)?;
        let (id, sector, shown) = if there.file_type().is_block_device() {
            if *root != Root::live() {
                return Err(NoDisk::Device(shown));
            }
            let sector = block::sector_size(&file).map_err(unreadable)?;
            // what it is called by the kernel, so that partitions have the names of their devices
            let device = std::fs::read_link(descriptor_path(found.as_fd()));
            (
                DiskId(0, there.rdev()),
                Some(sector),
                device.unwrap_or(shown),
            )
        } else if there.is_file() {
            (DiskId(there.dev(), there.ino()), None, shown)
        } else {
            return Err(NoDisk::Kind(shown));
        };
        Ok(Disk {
            file,
            path: shown,
            id,
            sector,
            mounted: None,
        })
    }

    /// The same disk, on which the root of the system that is worked on is the partition `number`. It is mounted by its place on the disk,
    /// so that the kernel does not know it as in use.
    #[must_use]
    pub fn with_mounted(self, number: Option<u32>) -> Disk {
        Disk {
            mounted: number,
            ..self
        }
    }

    /// That partition.
    #[must_use]
    pub fn mounted(&self) -> Option<u32> {
        self.mounted
    }

    /// Opens the disk that the root is on (`Path=auto`), as [`Disk::open`] does.
    ///
    /// # Errors
    /// As there.
    pub fn of_root(root: &Root, writable: bool) -> Result<Disk, NoDisk> {
        let shown = root.join("");
        if *root != Root::live() {
            return Err(NoDisk::Device(shown));
        }
        let disk = block::disk_of_root().map_err(|e| NoDisk::Directory(shown, e))?;
        Disk::open(root, &disk, writable)
    }

    /// Its path, for words.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file.
    pub(in crate::sysupdate) fn file(&self) -> &File {
        &self.file
    }

    /// Whether it is the image of a disk, and no device.
    #[must_use]
    pub fn is_image(&self) -> bool {
        self.sector.is_none()
    }

    /// Nobody uses a partition, nor all of the disk. Of an image only the use by this program is known.
    ///
    /// # Errors
    /// [`NoDisk::InUse`]; when the kernel cannot be asked.
    pub fn unused(&self, number: u32) -> Result<(), NoDisk> {
        if self.mounted == Some(number) {
            let user = "the root of the system that is worked on".to_owned();
            return Err(NoDisk::InUse(self.partition(number), user));
        }
        if self.is_image() {
            return Ok(());
        }
        match block::user(&self.file, number) {
            Ok(None) => Ok(()),
            Ok(Some(user)) => Err(NoDisk::InUse(self.partition(number), user)),
            Err(e) => Err(NoDisk::Unreadable(self.path.clone(), e)),
        }
    }

    /// A partition can be changed: nobody uses it, and there is room for both copies of the table.
    ///
    /// # Errors
    /// As [`Disk::unused`] and [`Disk::change`].
    pub fn changeable(&self, number: u32) -> Result<(), NoDisk> {
        self.unused(number)?;
        let writes = self.table()?.writes();
        writes
            .map(drop)
            .map_err(|e| NoDisk::NotWritten(self.path.clone(), e))
    }

    /// Which one it is.
    #[must_use]
    pub fn id(&self) -> DiskId {
        self.id
    }

    /// What a partition of it is called (sd_device(3)): the number comes after the path, and after a `p` when that ends with a digit.
    #[must_use]
    pub fn partition(&self, number: u32) -> String {
        let path = self.path.display().to_string();
        let between = match path.ends_with(|c: char| c.is_ascii_digit()) {
            true => "p",
            false => "",
        };
        format!("{path}{between}{number}")
    }

    /// Its table.
    ///
    /// # Errors
    /// [`NoDisk`].
    pub fn table(&self) -> Result<Table, NoDisk> {
        use std::io::{BufReader, Seek, SeekFrom};
        let mut file = &self.file;
        // also of a device, which has no length otherwise
        let length = file
            .seek(SeekFrom::End(0))
            .map_err(|e| NoDisk::Unreadable(self.path.clone(), e))?;
        Table::read(&mut BufReader::new(file), length, self.sector)
            .map_err(|bad| NoDisk::Table(self.path.clone(), bad))
    }

    /// Changes its table as `what` does, which gets it as it is then; nobody who keeps to flock(2), as udev does, has the disk meanwhile.
    /// Either all of the change is on disk when this returns, or, after a crash, all or nothing of it.
    ///
    /// # Errors
    /// That of `what`: nothing is written then; [`NoDisk`].
    pub fn change(&self, what: impl FnOnce(&mut Table) -> io::Result<()>) -> Result<Table, NoDisk> {
        let not_written = |e: io::Error| NoDisk::NotWritten(self.path.clone(), e);
        let _locked = self.lock()?;
        let mut table = self.table()?;
        what(&mut table).map_err(not_written)?;
        for copy in table.writes().map_err(not_written)? {
            for (at, bytes) in copy {
                self.file.write_all_at(&bytes, at).map_err(not_written)?;
                failpoint::hit("sysupdate-slot-table").map_err(not_written)?;
            }
            // always: what is read is whole only when this copy is on disk before the next is begun
            self.file.sync_all().map_err(not_written)?;
        }
        self.table()
    }

    /// The lock that all who write partition tables take.
    fn lock(&self) -> Result<TableLock, NoDisk> {
        let failed = |e: io::Error| NoDisk::NotWritten(self.path.clone(), e);
        for _ in 0..LOOKS {
            if let Some(lock) = TableLock::try_take(&self.file).map_err(failed)? {
                return Ok(lock);
            }
            signal::check().map_err(|e| failed(io::Error::other(e)))?;
            std::thread::sleep(PATIENCE / LOOKS);
        }
        Err(NoDisk::Locked(self.path.clone()))
    }
}

/// The same object with a descriptor of its own, which can write.
fn reopen(found: &OwnedFd, writable: bool) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(writable);
    options.open(descriptor_path(found.as_fd()))
}
