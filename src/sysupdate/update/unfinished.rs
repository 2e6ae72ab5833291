//! A note of the version whose links are being set: with the rename that gives the last instance its name a version looks complete, and
//! only the note tells that a link still shows to an older one.

use std::io;

use crate::sys::Root;
use crate::sysupdate::definition::Collection;
use crate::sysupdate::note::Note;
use crate::sysupdate::version::Version;

const NOTE: Note = Note("installing");
/// Most bytes of a note.
const LIMIT: u64 = 4096;

/// Notes, durably, that `version` is being installed.
///
/// # Errors
/// When the note cannot be written.
pub fn note(root: &Root, collection: &Collection, version: &Version) -> io::Result<()> {
    NOTE.write(root, collection, version.to_string().as_bytes())
}

/// The version that was being installed when a run was cut off.
///
/// # Errors
/// When there is a note that cannot be read.
pub fn noted(root: &Root, collection: &Collection) -> io::Result<Option<Version>> {
    let text = NOTE.read(root, collection, LIMIT)?;
    Ok(text.and_then(|text| Version::new(std::str::from_utf8(&text).ok()?)))
}

/// Removes the note. Missing already is fine.
///
/// # Errors
/// When it cannot be removed.
pub fn forget(root: &Root, collection: &Collection) -> io::Result<()> {
    NOTE.forget(root, collection)
}
