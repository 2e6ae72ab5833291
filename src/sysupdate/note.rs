//! Small files in which a collection remembers something between runs.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::definition::Collection;
use crate::sys::hex::to_hex;
use crate::sys::{Root, beneath, fs};

/// Where their directories are, in the system.
const DIR: &str = "var/lib/transactional-update/sysupdate";

/// A kind of them: the name of its directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Note(pub(super) &'static str);

impl Note {
    /// The file of a collection: a name for each, whatever it is called.
    #[must_use]
    pub(super) fn path(self, collection: &Collection) -> PathBuf {
        let name = match collection {
            Collection::Default => "default".to_owned(),
            Collection::Component(name) => format!("component-{name}"),
            Collection::Directory(dir) => {
                let digest: [u8; 32] = Sha256::digest(dir.as_os_str().as_encoded_bytes()).into();
                format!("definitions-{}", to_hex(&digest))
            }
        };
        Path::new(DIR).join(self.0).join(name)
    }

    /// Writes it, durably: old or new is there after a crash.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(
        self,
        root: &Root,
        collection: &Collection,
        bytes: &[u8],
    ) -> io::Result<()> {
        let dir = Path::new(DIR).join(self.0);
        for made in beneath::make_dirs(beneath::open_root(root.path())?, &dir, 0o755)? {
            // a file is there after a power cut only when all directories above it are
            fs::sync_dir(&root.join(made.parent().unwrap_or(Path::new(""))))?;
        }
        let path = root.join(self.path(collection));
        // of a run that was cut off just here
        fs::remove_temporaries(&path)?;
        fs::replace(&path, bytes)
    }

    /// The first `limit` bytes of it; `None` when there is none.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub(super) fn read(
        self,
        root: &Root,
        collection: &Collection,
        limit: u64,
    ) -> io::Result<Option<Vec<u8>>> {
        let top = beneath::open_root(root.path())?;
        match beneath::read(top, &self.path(collection), limit) {
            Err(e) if beneath::is_no_directory(&e) => Ok(None),
            other => other,
        }
    }

    /// Removes it, durably: it does not come back after a crash. Missing already is fine.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(super) fn forget(self, root: &Root, collection: &Collection) -> io::Result<()> {
        let path = self.path(collection);
        let above = path.parent().unwrap_or(Path::new(""));
        let dir = match beneath::open_dir(beneath::open_root(root.path())?, above) {
            Err(e) if beneath::is_no_directory(&e) => return Ok(()),
            other => other?,
        };
        beneath::remove(&dir, Path::new(path.file_name().unwrap_or_default()))?;
        // also when an earlier run has removed it, and was cut off here
        File::from(dir).sync_all()
    }
}
