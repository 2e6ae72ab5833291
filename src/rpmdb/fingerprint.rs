//! Whether a database is still the one that was read, without reading it.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use nix::sys::statvfs::fstatvfs;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::sys::hex::to_hex;

/// State of a database, which differs after each change of it. Two that are equal came from the same content.
///
/// Take it before the scan that it stands for: a change during the scan then shows as a difference later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fingerprint {
    /// ndb: rpm writes a new generation into the header of the file with each change.
    Ndb {
        /// The header of the file, in hexadecimal.
        header: String,
        /// SHA-256 of the pages with the slots, in hexadecimal.
        slots: String,
    },
    /// sqlite.
    Sqlite {
        /// The database.
        file: FileStamp,
        /// The four bytes at offset 24 of the database.
        change_counter: u32,
        /// The write-ahead log, when it is there and holds something.
        wal: Option<FileStamp>,
    },
    /// Anything else.
    Other {
        /// The file that holds the packages.
        file: FileStamp,
    },
}

impl Fingerprint {
    /// The same without the file system that the database is on, for who knows that otherwise: btrfs calls a file system by
    /// another name at each mount while a copy of it is mounted, too (`temp_fsid`, since Linux 6.7).
    #[must_use]
    pub fn on_any_filesystem(mut self) -> Fingerprint {
        match &mut self {
            Fingerprint::Ndb { .. } => {}
            Fingerprint::Sqlite { file, wal, .. } => {
                file.filesystem = 0;
                if let Some(wal) = wal {
                    wal.filesystem = 0;
                }
            }
            Fingerprint::Other { file } => file.filesystem = 0,
        }
        self
    }
}

/// What the file system says of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStamp {
    /// Which file system or subvolume it is on (`f_fsid` of statvfs(3)). Not `st_dev`, which changes with the order in which
    /// btrfs subvolumes are mounted.
    pub filesystem: u64,
    /// Its number there.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// When its content was changed last, in nanoseconds since 1970.
    pub mtime: i128,
    /// When it was changed last in any way, in nanoseconds since 1970.
    pub ctime: i128,
}

impl FileStamp {
    /// The stamp of an open file.
    ///
    /// # Errors
    /// The error of fstat(2) or statvfs(3).
    pub(super) fn of(file: &File) -> io::Result<FileStamp> {
        let stat = file.metadata()?;
        let ns = |sec: i64, nsec: i64| i128::from(sec) * 1_000_000_000 + i128::from(nsec);
        Ok(FileStamp {
            filesystem: fstatvfs(file)?.filesystem_id(),
            inode: stat.ino(),
            size: stat.size(),
            mtime: ns(stat.mtime(), stat.mtime_nsec()),
            ctime: ns(stat.ctime(), stat.ctime_nsec()),
        })
    }
}

/// SHA-256 of the parts one after the other, in hexadecimal.
pub(super) fn sha256(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    to_hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_digest_is_written_as_sha256sum_writes_it() {
        assert_eq!(
            sha256(&[b"ab", b"", b"c"]),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_fingerprint_may_leave_out_the_file_system_and_nothing_else() {
        let stamp = |filesystem| FileStamp {
            filesystem,
            inode: 2,
            size: 3,
            mtime: 4,
            ctime: 5,
        };
        let sqlite = |filesystem, change_counter| Fingerprint::Sqlite {
            file: stamp(filesystem),
            change_counter,
            wal: Some(stamp(filesystem)),
        };
        let any = Fingerprint::on_any_filesystem;
        assert_eq!(any(sqlite(7, 1)), any(sqlite(8, 1)));
        assert_ne!(any(sqlite(7, 1)), any(sqlite(7, 2)));
        let other = |filesystem| Fingerprint::Other {
            file: stamp(filesystem),
        };
        assert_eq!(any(other(7)), any(other(8)));
        assert_eq!(any(other(0)), other(0));
    }

    #[test]
    fn a_file_stamp_differs_when_the_file_was_written_or_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "a").unwrap();
        let mut file = File::options().append(true).open(&path).unwrap();
        let before = FileStamp::of(&file).unwrap();
        assert_eq!(before, FileStamp::of(&File::open(&path).unwrap()).unwrap());
        file.write_all(b"b").unwrap();
        assert_ne!(before, FileStamp::of(&file).unwrap());
        std::fs::write(dir.path().join("g"), "a").unwrap();
        std::fs::rename(dir.path().join("g"), &path).unwrap();
        assert_ne!(
            before.inode,
            FileStamp::of(&File::open(&path).unwrap()).unwrap().inode
        );
    }
}
