//! The plan of an update: what goes, what comes from where to which name, and in which order it is installed.
//!
//! Pure: what is installed and available comes in as data.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::assign::Assigned;
use crate::sysupdate::definition::{Kind, Transfer};
use crate::sysupdate::directory::{PARTIAL, PENDING};
use crate::sysupdate::gpt;
use crate::sysupdate::instance::{Instance, Resource, Spot, State};
use crate::sysupdate::pattern::Metadata;
use crate::sysupdate::set::UpdateSet;
use crate::sysupdate::slots;
use crate::sysupdate::vacuum::{self, Impossible, Wish};
use crate::sysupdate::version::Version;

/// Longest name of a file, in bytes.
const NAME_MAX: usize = 255;
/// How often a boot loader tries what is new, when nothing is said.
pub(in crate::sysupdate) const TRIES: u64 = 3;
/// Mode of a file from an address, when nothing is said.
const MODE: u32 = 0o644;

/// How far a transfer is, and so what it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Its instance is fetched first: the number of it in [`Resource::source`].
    Acquire(usize),
    /// Its instance is pending.
    Install,
    /// Nothing: its instance is installed.
    Nothing,
}

/// What happens with one transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its number, among the enabled ones.
    pub resource: usize,
    /// What it needs.
    pub step: Step,
    /// The name of its instance below the directory of the target, once it is installed; the label of a partition.
    pub name: PathBuf,
    /// The partition that its instance is in, or comes into.
    pub slot: Option<u32>,
    /// What its instance gets.
    pub metadata: Metadata,
}

impl Item {
    /// The name of its instance while it is written, below the directory of the target.
    #[must_use]
    pub fn partial(&self) -> PathBuf {
        let mut name = OsString::from(PARTIAL);
        name.push(self.name.file_name().unwrap_or_default());
        self.name.with_file_name(name)
    }
}

/// The plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The version that is installed.
    pub version: Version,
    /// All transfers, in the order in which they are installed.
    pub items: Vec<Item>,
    /// What was begun of this version and is in the way: numbers of resources and of instances in their targets.
    pub strays: Vec<(usize, usize)>,
    /// What goes.
    pub vacuum: vacuum::Plan,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// There is no room.
    NoRoom(Impossible),
    /// A version cannot have a name in a target: the transfer, and why.
    Name(String, String),
    /// Two transfers would write to the same name: their ids, and the name.
    Twice(String, String, PathBuf),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::NoRoom(why) => write!(f, "{why}"),
            Problem::Name(transfer, why) => write!(f, "{transfer}: {why}"),
            Problem::Twice(a, b, name) => write!(
                f,
                "{a} and {b} would both write {}; let their patterns differ",
                name.display()
            ),
        }
    }
}

impl Plan {
    /// The plan that leads to `set`. `wish` says that it is to be installed.
    ///
    /// # Errors
    /// Everything that makes it impossible.
    pub fn of(
        enabled: &[Resource<'_>],
        disabled: &[Resource<'_>],
        sets: &crate::sysupdate::Sets,
        set: &UpdateSet,
        wish: &Wish<'_>,
    ) -> Result<Plan, Vec<Problem>> {
        let mut problems = Vec::new();
        let (mut items, mut strays) = (Vec::new(), Vec::new());
        for (number, resource) in enabled.iter().enumerate() {
            match item(number, resource, set) {
                Ok((item, begun)) => {
                    items.push(item);
                    strays.extend(begun.into_iter().map(|instance| (number, instance)));
                }
                Err(why) => problems.push(Problem::Name(
                    resource.transfer.path.display().to_string(),
                    why,
                )),
            }
        }
        for (at, item) in items.iter().enumerate() {
            let place = |item: &Item| {
                let target = &enabled[item.resource].transfer.target;
                // partitions of different types may have one label
                let kind = Some(target.partition_type).filter(|_| target.kind == Kind::Partition);
                (&target.place, kind, item.name.clone())
            };
            if let Some(other) = items[..at].iter().find(|other| place(other) == place(item)) {
                let id = |item: &Item| enabled[item.resource].transfer.id.clone();
                problems.push(Problem::Twice(id(other), id(item), item.name.clone()));
            }
        }
        let vacuum = match vacuum::plan(enabled, disabled, sets, wish) {
            Ok(vacuum) => vacuum,
            Err(why) => {
                problems.push(Problem::NoRoom(why));
                vacuum::Plan::default()
            }
        };
        match problems.is_empty() {
            true => Ok(Plan {
                version: set.version.clone(),
                items,
                strays,
                vacuum,
            }),
            false => Err(problems),
        }
    }

    /// The slots that were chosen are those of their transfers.
    pub fn assign(&mut self, slots: &BTreeMap<usize, Assigned>) {
        for item in &mut self.items {
            let chosen = slots.get(&item.resource).map(|slot| slot.number);
            item.slot = chosen.or(item.slot);
        }
    }

    /// What is to be fetched.
    pub fn acquired(&self) -> impl Iterator<Item = (&Item, usize)> {
        self.items.iter().filter_map(|item| match item.step {
            Step::Acquire(source) => Some((item, source)),
            _ => None,
        })
    }
}

/// What a transfer needs, and which of its instances of this version are only in the way.
fn item(
    number: usize,
    resource: &Resource<'_>,
    set: &UpdateSet,
) -> Result<(Item, Vec<usize>), String> {
    let there = &set.target[number];
    let in_state = |state| {
        there
            .iter()
            .copied()
            .find(|at| resource.target[*at].state == state)
    };
    let whole = in_state(State::Installed).or(in_state(State::Pending));
    let (step, name, metadata) = match whole.map(|at| &resource.target[at]) {
        Some(instance) => {
            let step = match instance.state {
                State::Installed => Step::Nothing,
                _ => Step::Install,
            };
            let name = unmarked(instance).ok_or("it has no name")?;
            let metadata = whole_metadata(resource.transfer, &Metadata::default());
            (step, name, metadata)
        }
        None => {
            let source = set.source[number].ok_or("its source does not have it")?;
            let metadata = whole_metadata(resource.transfer, &resource.source[source].metadata);
            let name = name(resource.transfer, &set.version, &metadata)?;
            (Step::Acquire(source), name, metadata)
        }
    };
    // with our own mark and name it is gone on with, or replaced, when it is fetched
    let is_replaced = |instance: &Instance| {
        matches!(step, Step::Acquire(_)) && unmarked(instance).as_ref() == Some(&name)
    };
    let strays = there.iter().copied().filter(|at| {
        let instance = &resource.target[*at];
        Some(*at) != whole && instance.state != State::Installed && !is_replaced(instance)
    });
    let strays = strays.collect();
    let slot = match whole.map(|at| &resource.target[at].spot) {
        Some(Spot::Partition { number, .. }) => Some(*number),
        _ => None,
    };
    let item = Item {
        resource: number,
        step,
        name,
        slot,
        metadata,
    };
    Ok((item, strays))
}

/// The path of an instance without the mark of what is not installed; the label of a partition, which has no mark.
fn unmarked(instance: &Instance) -> Option<PathBuf> {
    let path = match &instance.spot {
        Spot::Path(path) => path,
        Spot::Partition { label, .. } => return Some(label.into()),
    };
    let name = path.file_name()?.to_str()?;
    let plain = match instance.state {
        State::Installed => name,
        State::Pending => name.strip_prefix(PENDING)?,
        State::Partial => name.strip_prefix(PARTIAL)?,
    };
    Some(path.with_file_name(plain))
}

/// What a new instance gets: what the transfer sets, else what its source says.
fn whole_metadata(transfer: &Transfer, source: &Metadata) -> Metadata {
    let set = &transfer.target.settings;
    Metadata {
        uuid: set.uuid.or(source.uuid),
        flags: set.flags.or(source.flags),
        no_auto: set.no_auto.or(source.no_auto),
        grow_fs: set.grow_fs.or(source.grow_fs),
        read_only: set.read_only.or(source.read_only),
        mtime: set.mtime.or(source.mtime),
        mode: set.mode.or(source.mode).or(Some(MODE)),
        size: set.size.or(source.size),
        tries_done: set.tries_done.or(source.tries_done).or(Some(0)),
        tries_left: set.tries_left.or(source.tries_left).or(Some(TRIES)),
        sha256: source.sha256,
    }
}

fn name(transfer: &Transfer, version: &Version, metadata: &Metadata) -> Result<PathBuf, String> {
    let pattern = transfer
        .target
        .patterns
        .first()
        .ok_or("it has no pattern")?;
    let name = pattern
        .format(version, metadata)
        .map_err(|why| format!("no name for version '{version}': {why}"))?;
    if transfer.target.kind == Kind::Partition {
        return match gpt::is_label(&name) && name != slots::EMPTY {
            true => Ok(name.into()),
            false => Err(format!(
                "Formatted pattern is not suitable as GPT partition label, refusing: {name}"
            )),
        };
    }
    let last = name.rsplit('/').next().unwrap_or(&name);
    // while it is written it has a mark before its name
    if last.len() + PARTIAL.len().max(PENDING.len()) > NAME_MAX {
        return Err(format!(
            "no name for version '{version}': with its mark {last} would be longer than the {NAME_MAX} bytes of a file name"
        ));
    }
    Ok(name.into())
}
