//! The slots of a disk: partitions of one type, each with one version or empty.
//!
//! A slot belongs to a transfer by its type, also by the types that are derived from it for what is not installed yet. What its label
//! says is an instance when a pattern matches; any other label is of somebody else, and such a partition is never touched.

use std::io;

use super::definition::{Kind, Target};
use super::gpt::{Change, Disk, Extent, NoDisk, Partition, Table, mark};
use super::instance::{Instance, Spot, State};
use super::partition_type::PartitionType;
use super::pattern::Metadata;

/// The label of an empty slot.
pub const EMPTY: &str = "_empty";
/// Attributes of partitions (Discoverable Partitions Specification): to be grown, read-only, and not to be mounted by itself.
const GROW_FS: u64 = 1 << 59;
const READ_ONLY: u64 = 1 << 60;
const NO_AUTO: u64 = 1 << 63;

/// An empty slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Free {
    /// Its number.
    pub number: u32,
    /// Its bytes.
    pub extent: Extent,
}

/// What a transfer finds on a disk: its instances, and the slots of its type that are empty.
#[must_use]
pub fn look(disk: &Disk, table: &Table, target: &Target) -> (Vec<Instance>, Vec<Free>) {
    let (mut instances, mut free) = (Vec::new(), Vec::new());
    for partition in table.partitions() {
        let Some(state) = mark::state(partition.kind, target.partition_type) else {
            continue;
        };
        let Some(extent) = partition.extent else {
            continue;
        };
        if partition.label == EMPTY {
            if state == State::Installed {
                free.push(Free {
                    number: partition.number,
                    extent,
                });
            }
            continue;
        }
        instances.extend(instance(disk, target, &partition, state));
    }
    (instances, free)
}

fn instance(disk: &Disk, target: &Target, partition: &Partition, state: State) -> Option<Instance> {
    let (pattern, fields) = target.patterns.matches(&partition.label)?;
    let mut metadata = fields.metadata;
    metadata.uuid = Some(partition.uuid);
    metadata.flags = Some(partition.flags);
    metadata.read_only = metadata
        .read_only
        .or(Some(partition.flags & READ_ONLY != 0));
    Some(Instance {
        version: fields.version,
        state,
        kind: Kind::Partition,
        spot: Spot::Partition(partition.number),
        shown: disk.partition(partition.number),
        pattern,
        metadata,
    })
}

/// Empties the slot `number`, in which a transfer found `instance`: its label and its type change; UUID, attributes and bytes stay.
///
/// # Errors
/// [`NoDisk`]; also when something else is in the slot by now.
pub fn empty(disk: &Disk, number: u32, target: &Target, instance: &Instance) -> Result<(), NoDisk> {
    let change = Change {
        label: Some(EMPTY.to_owned()),
        kind: Some(target.partition_type),
        ..Change::default()
    };
    disk.change(|table| {
        let found = table.partitions().find(|p| p.number == number);
        let found = found.and_then(|partition| {
            let state = mark::state(partition.kind, target.partition_type)?;
            self::instance(disk, target, &partition, state)
        });
        if found.as_ref() != Some(instance) {
            return Err(io::Error::other(format!(
                "partition {number} is not what it was a moment ago; another program changes it"
            )));
        }
        table.change(number, &change)
    })?;
    Ok(())
}

/// The attributes of a partition that had `flags` and becomes `kind`: what is set as a whole, and single ones of which its type knows.
#[must_use]
pub fn flags(flags: u64, kind: PartitionType, wanted: &Metadata) -> u64 {
    let mut flags = wanted.flags.unwrap_or(flags);
    for (bit, wanted, is_known) in [
        (READ_ONLY, wanted.read_only, kind.knows_read_only()),
        (GROW_FS, wanted.grow_fs, kind.knows_grow_fs()),
        (NO_AUTO, wanted.no_auto, kind.knows_no_auto()),
    ] {
        match wanted.filter(|_| is_known) {
            Some(true) => flags |= bit,
            Some(false) => flags &= !bit,
            None => {}
        }
    }
    flags
}
