//! The slots of a disk: partitions of one type, each with one version or empty.
//!
//! A slot belongs to a transfer by its type, also by the types that are derived from it for what is not installed yet. What its label
//! says is an instance when a pattern matches; any other label is of somebody else, and such a partition is never touched.

use std::fs::File;
use std::io::{self, BufRead};

use super::definition::{Kind, Target};
use super::direct::Direct;
use super::gpt::{Change, Disk, Extent, NoDisk, Partition, Table, mark};
use super::instance::{Instance, Slot, Spot, State};
use super::partition_type::PartitionType;
use super::pattern::Metadata;
use super::pipeline::{Sink, Verified};

/// The label of an empty slot.
pub const EMPTY: &str = "_empty";
/// Attributes of partitions (Discoverable Partitions Specification): to be grown, read-only, and not to be mounted by itself.
const GROW_FS: u64 = 1 << 59;
const READ_ONLY: u64 = 1 << 60;
const NO_AUTO: u64 = 1 << 63;

/// What a transfer finds on a disk: its instances, and the slots that it can use.
#[must_use]
pub fn look(disk: &Disk, table: &Table, target: &Target) -> (Vec<Instance>, Vec<Slot>) {
    let (mut instances, mut room) = (Vec::new(), Vec::new());
    for partition in table.partitions() {
        let Some(state) = mark::state(partition.kind, target.partition_type) else {
            continue;
        };
        let Some(extent) = partition.extent else {
            continue;
        };
        let is_empty = partition.label == EMPTY;
        let found = match is_empty {
            true => None,
            false => instance(disk, target, &partition, state),
        };
        if found.is_some() || (is_empty && state == State::Installed) {
            room.push(Slot {
                number: partition.number,
                length: extent.length,
                is_empty,
            });
        }
        instances.extend(found);
    }
    (instances, room)
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
        spot: Spot::Partition {
            number: partition.number,
            label: partition.label.clone(),
        },
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
    let is_it = |partition: &Partition| {
        let found = mark::state(partition.kind, target.partition_type)
            .and_then(|state| self::instance(disk, target, partition, state));
        found.as_ref() == Some(instance)
    };
    disk.unused(number)?;
    change(disk, number, is_it, |_| emptied(target)).map(drop)
}

fn emptied(target: &Target) -> Change {
    Change {
        label: Some(EMPTY.to_owned()),
        kind: Some(target.partition_type),
        ..Change::default()
    }
}

/// Changes the partition `number` when it is what it should be.
fn change(
    disk: &Disk,
    number: u32,
    is_it: impl Fn(&Partition) -> bool,
    to: impl Fn(&Partition) -> Change,
) -> Result<Partition, NoDisk> {
    let find = |table: &Table| table.partitions().find(|p| p.number == number);
    let lost = || {
        io::Error::other(format!(
            "partition {number} is not what it was a moment ago; another program changes it"
        ))
    };
    let table = disk.change(|table| {
        let found = find(table).filter(&is_it).ok_or_else(lost)?;
        table.change(number, &to(&found))
    })?;
    find(&table).ok_or_else(|| NoDisk::NotWritten(disk.path().to_owned(), lost()))
}

/// A slot that one version is being written into.
#[derive(Debug)]
pub struct Place<'t> {
    disk: Disk,
    number: u32,
    target: &'t Target,
    label: String,
}

/// A complete version in a slot, which waits.
#[derive(Debug)]
#[must_use]
pub struct Pending<'t>(Place<'t>);

impl<'t> Place<'t> {
    /// The slot `number` of `disk`, for a version with this label.
    #[must_use]
    pub fn new(disk: Disk, number: u32, target: &'t Target, label: &str) -> Place<'t> {
        Place {
            disk,
            number,
            target,
            label: label.to_owned(),
        }
    }

    fn is_in(&self, partition: &Partition, states: &[State]) -> bool {
        let state = mark::state(partition.kind, self.target.partition_type);
        partition.label == self.label && state.is_some_and(|state| states.contains(&state))
    }

    fn derived(&self, state: State) -> PartitionType {
        mark::derived(self.target.partition_type, state)
    }

    /// Marks the slot as being written, durably and before the first byte is. It is empty, or an earlier run has begun the same there.
    ///
    /// # Errors
    /// [`NoDisk`]; also when something else is in it.
    pub fn begin(&self) -> Result<Slice, NoDisk> {
        let is_free = |partition: &Partition| {
            let kind = self.target.partition_type;
            (partition.label == EMPTY && partition.kind == kind)
                || self.is_in(partition, &[State::Partial])
        };
        let to = Change {
            label: Some(self.label.clone()),
            kind: Some(self.derived(State::Partial)),
            ..Change::default()
        };
        self.disk.unused(self.number)?;
        let partition = change(&self.disk, self.number, is_free, |_| to.clone())?;
        let lost = || io::Error::other("it is no part of the disk");
        let failed = |e| NoDisk::NotWritten(self.disk.path().to_owned(), e);
        let extent = partition.extent.ok_or_else(lost).map_err(failed)?;
        let file = self.disk.file().try_clone().map_err(failed)?;
        Ok(Slice {
            file,
            extent,
            has: 0,
        })
    }

    /// Makes a complete slot pending. Its bytes are on disk before it is marked, with its UUID and attributes.
    ///
    /// # Errors
    /// [`NoDisk`]; it is still partial then.
    pub fn pending(
        self,
        verified: Verified<Slice>,
        wanted: &Metadata,
    ) -> Result<Pending<'t>, NoDisk> {
        let synced = verified.into_sink().file.sync_data();
        synced.map_err(|e| NoDisk::NotWritten(self.disk.path().to_owned(), e))?;
        let is_it = |partition: &Partition| self.is_in(partition, &[State::Partial]);
        change(&self.disk, self.number, is_it, |partition| Change {
            label: None,
            kind: Some(self.derived(State::Pending)),
            uuid: wanted.uuid,
            flags: Some(flags(partition.flags, self.target.partition_type, wanted)),
        })?;
        Ok(Pending(self))
    }

    /// The slot as an earlier run left it, when it is pending; the table says when it is installed.
    pub fn found_pending(self) -> Pending<'t> {
        Pending(self)
    }

    /// Empties it again. Something else in it, or nothing, is fine.
    ///
    /// # Errors
    /// [`NoDisk`].
    pub fn discard(&self) -> Result<(), NoDisk> {
        let table = self.disk.table()?;
        let unfinished = [State::Partial, State::Pending];
        let mut all = table.partitions();
        if !all.any(|p| p.number == self.number && self.is_in(&p, &unfinished)) {
            return Ok(());
        }
        let is_it = |partition: &Partition| self.is_in(partition, &unfinished);
        change(&self.disk, self.number, is_it, |_| emptied(self.target)).map(drop)
    }
}

impl Pending<'_> {
    /// Gives it its type, and the attributes that go with it, in one step.
    ///
    /// # Errors
    /// [`NoDisk`]; it is pending or installed then.
    pub fn install(self, wanted: &Metadata) -> Result<(), NoDisk> {
        let Pending(place) = self;
        let kind = place.target.partition_type;
        let is_it = |partition: &Partition| place.is_in(partition, &[State::Pending]);
        change(&place.disk, place.number, is_it, |partition| Change {
            label: None,
            kind: Some(kind),
            uuid: None,
            flags: Some(flags(partition.flags, kind, wanted)),
        })
        .map(drop)
    }
}

/// The bytes of a slot, which a payload is written into, zeros as well.
#[derive(Debug)]
pub struct Slice {
    file: File,
    extent: Extent,
    /// Bytes of the payload that it has taken.
    has: u64,
}

impl Slice {
    /// How many bytes it has.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.extent.length
    }

    /// How many bytes of a payload are in it.
    #[must_use]
    pub fn has(&self) -> u64 {
        self.has
    }
}

impl Sink for Slice {
    fn take(&mut self, from: &mut dyn BufRead) -> io::Result<()> {
        self.has = 0;
        let mut to = Direct::new(&self.file, self.extent.start);
        loop {
            let bytes = from.fill_buf()?;
            if bytes.is_empty() {
                return to.finish();
            }
            let length = bytes.len();
            // never a byte behind the slot, whoever asks for it
            if self.has + length as u64 > self.extent.length {
                let text = "File overly large, refusing.";
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
            }
            to.write(bytes)?;
            from.consume(length);
            self.has += length as u64;
        }
    }
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
