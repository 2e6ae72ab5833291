//! Instances: one version of one resource at one place.

use std::path::PathBuf;

use super::definition::{Kind, Transfer};
use super::pattern::Metadata;
use super::version::Version;

/// How far an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// It is what its name says.
    #[default]
    Installed,
    /// It is complete and verified, but has not got its name yet.
    Pending,
    /// It is being written.
    Partial,
}

/// Where an instance is in its resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spot {
    /// A path below the directory or the address, as it is there: with the mark of what is not installed.
    Path(PathBuf),
    /// A partition of the disk.
    Partition {
        /// Its number, from one.
        number: u32,
        /// What it is called.
        label: String,
    },
}

/// One version of one resource at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its version.
    pub version: Version,
    /// How far it is.
    pub state: State,
    /// What it is there.
    pub kind: Kind,
    /// Where it is in its resource.
    pub spot: Spot,
    /// Where it is for a person: an address, a path, or a disk with the number of the partition.
    pub shown: String,
    /// Which pattern of its resource named it: of several with one version, that of the earliest pattern counts.
    pub pattern: usize,
    /// What else is known of it.
    pub metadata: Metadata,
}

/// The slots that a transfer to partitions can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    /// Which slots they are: transfers to the same type on the same disk share theirs, and have the same number here.
    pub pool: usize,
    /// How many of them are empty.
    pub free: usize,
}

/// A slot that a transfer can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The number of the partition, from one.
    pub number: u32,
    /// Bytes that it holds.
    pub length: u64,
    /// Whether nothing is in it.
    pub is_empty: bool,
}

/// A transfer, what is in its target, and what its source has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource<'d> {
    /// The transfer.
    pub transfer: &'d Transfer,
    /// What is in its target, in any order.
    pub target: Vec<Instance>,
    /// What its source has, in any order; nothing when it was not asked.
    pub source: Vec<Instance>,
    /// The slots of its target, when that is a disk.
    pub slots: Option<Slots>,
    /// Each of them: the empty ones, and those with its instances.
    pub room: Vec<Slot>,
}
