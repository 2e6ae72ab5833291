//! Layer 1: snapshots on disk.
//!
//! Owns the subvolumes below `.snapshots`, snapper's metadata beside them, the inventory of what is there, and
//! telling snapper's plugins what happens to it.
//! Must not decide what boots next (that is [`crate::boot`]) nor what may be deleted.

mod btrfs;
mod delete;
mod info;
mod inventory;
mod nested;
mod plugins;
mod search;
mod store;

pub use info::{Info, NUMBER, key};
pub use inventory::{BaseRef, Inventory, Metadata, Snapshot};
pub use nested::{COMPARE_WITH, EtcLayout, SYNCPOINT, Syncpoint};
pub use plugins::{CALLER_VARIABLE, Event, Plugins};
pub use search::{Moment, Subvolume, TOP_LEVEL, Uuid};
pub use store::{LayoutError, SNAPSHOTS, Store, running_subvolume};

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// Number of a snapshot, as snapper counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(NonZeroU32);

impl SnapshotId {
    /// The snapshot number `number`; `None` for 0, which is snapper's word for "no snapshot".
    #[must_use]
    pub fn new(number: u32) -> Option<SnapshotId> {
        NonZeroU32::new(number).map(SnapshotId)
    }

    /// The number.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0.get().into()
    }

    /// The number that follows; `None` at the end of the numbers.
    #[must_use]
    pub fn next(self) -> Option<SnapshotId> {
        self.0.checked_add(1).map(SnapshotId)
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SnapshotId {
    type Err = String;

    /// Decimal digits without sign or leading zero, as directories are named.
    fn from_str(text: &str) -> Result<SnapshotId, String> {
        let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        text.parse()
            .ok()
            .filter(|_| plain)
            .map(SnapshotId)
            .ok_or_else(|| format!("{text:?} is no snapshot number"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_numbers_name_snapshots() {
        assert_eq!("42".parse(), Ok(SnapshotId::new(42).unwrap()));
        for text in ["", "0", "01", "+1", "-1", "1x", "4294967296", "current"] {
            assert!(text.parse::<SnapshotId>().is_err(), "{text}");
        }
    }
}
