//! What is complete in the spool, and was shown to be right by this process.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::MetadataExt;

use super::Sha256;

/// An open file of the spool whose bytes had the digest that was expected. Whoever gives its name to something else changes nothing
/// here; only we and root can change its bytes, and then it says so.
#[derive(Debug)]
pub struct Spooled {
    file: File,
    stamp: Stamp,
    digest: Sha256,
}

/// Length, and when it was changed: seconds and nanoseconds. Nobody can set that time.
type Stamp = (u64, i64, i64);

fn stamp(file: &File) -> io::Result<Stamp> {
    let there = file.metadata()?;
    Ok((there.len(), there.ctime(), there.ctime_nsec()))
}

impl Spooled {
    /// `file` as it is now, whose bytes have or are to have this digest.
    pub(super) fn of(file: File, digest: Sha256) -> io::Result<Spooled> {
        Ok(Spooled {
            stamp: stamp(&file)?,
            file,
            digest,
        })
    }

    /// Whether its bytes are still those that were looked at.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        stamp(&self.file).is_ok_and(|now| now == self.stamp)
    }

    /// The file, whose bytes nothing is known of.
    #[must_use]
    pub fn into_file(self) -> File {
        self.file
    }

    pub(super) fn digest(&self) -> Sha256 {
        self.digest
    }

    pub(super) fn bytes(&self) -> io::Result<impl Read + '_> {
        let mut file = &self.file;
        file.rewind()?;
        Ok(file.take(self.stamp.0))
    }
}
