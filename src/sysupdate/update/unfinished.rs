//! A note of the version whose links are being set: with the rename that gives the last instance its name a version looks complete, and
//! only the note tells that a link still shows to an older one.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::sys::{Root, beneath, fs};
use crate::sysupdate::definition::Collection;
use crate::sysupdate::uuid::to_hex;
use crate::sysupdate::version::Version;

/// Where the notes are, in the system.
const DIR: &str = "var/lib/transactional-update/sysupdate/installing";
/// Most bytes of a note.
const LIMIT: u64 = 4096;

/// The note of a collection: a name for each, whatever it is called.
fn path(collection: &Collection) -> PathBuf {
    let name = match collection {
        Collection::Default => "default".to_owned(),
        Collection::Component(name) => format!("component-{name}"),
        Collection::Directory(dir) => {
            let digest: [u8; 32] = Sha256::digest(dir.as_os_str().as_encoded_bytes()).into();
            format!("definitions-{}", to_hex(&digest))
        }
    };
    Path::new(DIR).join(name)
}

/// Notes, durably, that `version` is being installed.
///
/// # Errors
/// When the note cannot be written.
pub fn note(root: &Root, collection: &Collection, version: &Version) -> io::Result<()> {
    beneath::make_dirs(beneath::open_root(root.path())?, Path::new(DIR), 0o755)?;
    let path = root.join(path(collection));
    // of a run that was cut off just here
    fs::remove_temporaries(&path)?;
    fs::replace(&path, version.to_string().as_bytes())
}

/// The version that was being installed when a run was cut off.
///
/// # Errors
/// When there is a note that cannot be read.
pub fn noted(root: &Root, collection: &Collection) -> io::Result<Option<Version>> {
    let top = beneath::open_root(root.path())?;
    let text = match beneath::read(top, &path(collection), LIMIT) {
        Err(e) if beneath::is_no_directory(&e) => None,
        other => other?,
    };
    Ok(text.and_then(|text| Version::new(std::str::from_utf8(&text).ok()?)))
}

/// Removes the note. Missing already is fine.
///
/// # Errors
/// When it cannot be removed.
pub fn forget(root: &Root, collection: &Collection) -> io::Result<()> {
    match beneath::remove(beneath::open_root(root.path())?, &path(collection)) {
        Err(e) if beneath::is_no_directory(&e) => Ok(()),
        other => other,
    }
}
