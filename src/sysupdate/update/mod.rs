//! Updates: one version of everything, from its sources to its names.
//!
//! What is to be done is planned first, and the plan is pure; only then is anything changed. Invariant: a version that is installed as a
//! whole stays so until the plan takes all of it away, and what is new gets its name only when all of it is complete and durable, in the
//! order of the transfer files. Each step leaves marks with which the next run goes on, or starts that one step anew.

mod acquire;
mod assign;
mod choice;
mod install;
mod payload;
mod plan;
mod preflight;
mod prospect;
pub mod unfinished;

pub use acquire::{AllStaged, Fetching, Progress, Report};
pub use assign::{Assigned, TooLarge, assign};
pub use choice::{Choice, Chosen, Refused, choose};
pub use install::{install, link_to};
pub use payload::Staged;
pub(super) use plan::TRIES;
pub use plan::{Item, Plan, Step};
pub use preflight::{Checked, Erase, check};
pub use prospect::Prospect;

use super::cancel::Cancel;
use super::fetch::Policy;
use super::place::{Bases, Ground};
use super::source::Manifests;
use super::spool::Spool;
use crate::sys::Root;

/// What steps of an update work with.
#[derive(Debug, Clone, Copy)]
pub struct Site<'s> {
    /// The system.
    pub root: &'s Root,
    /// Where directories are.
    pub bases: &'s Bases,
    /// Where payloads come from; nothing when no source is to be asked.
    pub manifests: &'s Manifests,
    /// Where what was received is kept; `None`: nowhere.
    pub spool: Option<&'s Spool>,
    /// How patient.
    pub policy: &'s Policy,
    /// Asks to end early.
    pub cancel: &'s Cancel,
    /// Whether each step is on disk before the next.
    pub is_durable: bool,
}

impl<'s> Site<'s> {
    /// Where targets are changed.
    #[must_use]
    pub fn ground(&self) -> Ground<'s> {
        Ground {
            root: self.root,
            bases: self.bases,
            is_durable: self.is_durable,
        }
    }
}
