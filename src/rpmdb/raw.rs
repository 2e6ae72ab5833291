//! The parsers alone, on bytes from anywhere: for fuzzing, and for tests of what is damaged. Nothing of the program uses it.

use super::directories::{self, MOST_TEXT};
use super::header::{Damage, Header};
use super::model::{DirectoryEntry, InstalledPackage, Prefix};

/// What a header in the form that a database holds (rpm's headerfmt.md, without magic) says of its package, and the
/// directories of the package below `prefixes`; the number of the package in them is 0. Its digest is looked at as well,
/// and may be wrong.
///
/// # Errors
/// When the bytes are no header, or one that cannot be read, with the reason.
pub fn header(
    bytes: &[u8],
    prefixes: &[Prefix],
) -> Result<(InstalledPackage, Vec<DirectoryEntry>), String> {
    let read = || -> Result<_, Damage> {
        let header = Header::parse(bytes)?;
        let entries = directories::of(&header, prefixes, 0, &mut MOST_TEXT.clone());
        // one that is wrong is told by the readers of databases, and stops nothing
        let _is_right = header.verify();
        Ok((header.package()?, entries?))
    };
    read().map_err(|damage| damage.to_string())
}
