//! Layer 1: /etc in several states.
//!
//! Owns the comparison of two states of /etc and the merge of three. Works on open directories, follows no link
//! and enters nothing that is mounted there. Knows neither btrfs nor packages, so that it also runs in an initrd.

mod apply;
mod attribute;
mod changes;
mod entry;
mod plan;
mod rules;
#[cfg(test)]
mod tests;
mod tree;

pub use apply::forget;
pub use changes::{Change, ChangeKind, changes};
pub use plan::{Conflict, ConflictKind, Plan, Trees};
pub use tree::{COMPARE_WITH, SYNCPOINT, Tree};
