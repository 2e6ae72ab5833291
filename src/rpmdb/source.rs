//! What a native backend owes the facade: header blobs, as bytes, one after the other.

use std::collections::{BTreeMap, BTreeSet};

use super::RpmdbError;
use super::model::Prefix;

/// What a scan is for.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "ndb cannot tell"))]
pub(super) struct Ask<'a> {
    /// Only packages that have files in directories below these matter; a backend that cannot tell hands out all.
    pub(super) prefixes: Option<&'a [Prefix]>,
    /// Only packages with these numbers matter; the same holds.
    pub(super) numbers: Option<&'a BTreeSet<u64>>,
    /// How often this scan was begun before and ended with [`RpmdbError::Changed`]; what was handed out then is forgotten.
    pub(super) attempt: u32,
}

/// One header in the database.
#[derive(Debug)]
pub(super) struct Blob<'a> {
    /// Its number: pkgidx (ndb), hnum (sqlite).
    pub(super) number: u64,
    /// Its bytes, which [`super::header::Header::parse`] understands; or why they cannot be had.
    pub(super) bytes: Result<&'a [u8], String>,
}

/// For each name its packages: a digest of the header (tag 269) that the database keeps beside it, where it has one, and
/// the number of the header.
pub(super) type Marks = BTreeMap<Vec<u8>, Vec<(Option<Vec<u8>>, u64)>>;

/// A database whose headers can be had.
pub(super) trait Blobs {
    /// Calls `visit` for each header, in an order that is the same as long as the database is. One that cannot be read is
    /// one `Err` among the others.
    ///
    /// # Errors
    /// [`RpmdbError::Changed`] when the database was changed meanwhile: what was handed out may be a mixture, and the
    /// caller begins again with the next `attempt`. The backend itself says [`RpmdbError::Busy`] when it gives up.
    fn for_each(&self, ask: Ask<'_>, visit: &mut dyn FnMut(Blob<'_>)) -> Result<(), RpmdbError>;
}
