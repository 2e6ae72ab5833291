//! Making another version the current one that is installed as a whole: what links show to, and what a boot loader tries.
//!
//! Nothing is deleted. Invariant: the record of what is held ([`Held`]) is written before the first step and says where they lead; each
//! step is durable and can be done again, so that a run that is cut off anywhere is finished by the next one. The steps of the transfer
//! that is installed last come first: the entry point leads from the first step on to a version of which all is there.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::definition::{Kind, Transfer};
use super::held::Held;
use super::instance::{Instance, Resource, Spot, State};
use super::pattern::{Metadata, Pattern, Wildcard};
use super::place::{Directory, Ground};
use super::set::{Sets, UpdateSet};
use super::update;
use super::update::TRIES;
use super::version::Version;
use crate::sys::{attr, beneath, failpoint};

/// What is done with one transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Its link shows to the instance that is there, which a person calls so.
    Link(Spot, PathBuf),
    /// An instance gets another name, which tells a boot loader how often to try it.
    Rename(PathBuf, PathBuf),
}

/// The plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The version that becomes the current one.
    pub version: Version,
    /// What is held then.
    pub held: Vec<Version>,
    /// The steps in their order, each with the number of its transfer among the enabled ones.
    pub steps: Vec<(usize, Step)>,
}

/// Why a version cannot become the current one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Nothing is installed as a whole.
    Nothing,
    /// Nothing older than this one is installed as a whole.
    Oldest(Version),
    /// Nobody has it.
    NotFound(String),
    /// Something of it is missing.
    Incomplete(Version),
    /// No transfer has anything that could lead to it.
    NoWay,
    /// A file cannot get its other name: its path, and why.
    Name(String, String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Nothing => f.write_str("No version is installed as a whole."),
            Refused::Oldest(current) => write!(
                f,
                "No version that is older than '{current}' is installed as a whole; `sysupdate update VERSION` installs one."
            ),
            Refused::NotFound(text) => write!(f, "Update '{text}' not found."),
            Refused::Incomplete(version) => write!(
                f,
                "Version '{version}' is not installed as a whole; `sysupdate update {version}` installs what is missing."
            ),
            Refused::NoWay => f.write_str(
                "Nothing says which version is used: no transfer has CurrentSymlink= or a pattern with @l for its target, so that what boots is chosen elsewhere.",
            ),
            Refused::Name(path, why) => write!(f, "{path} cannot get another name: {why}"),
        }
    }
}

impl std::error::Error for Refused {}

/// The version to go back to: the one with this text, or the newest one that is older than the current one, both installed as a whole.
/// What was on the way when a run was cut off comes first.
///
/// # Errors
/// When there is none.
pub fn choose<'s>(
    sets: &'s Sets,
    held: &Held,
    text: Option<&str>,
) -> Result<&'s UpdateSet, Refused> {
    if let Some(text) = text {
        let set = sets.find(text).filter(|set| set.is_installed);
        return match set.ok_or_else(|| Refused::NotFound(text.to_owned()))? {
            set if set.is_complete() => Ok(set),
            set => Err(Refused::Incomplete(set.version.clone())),
        };
    }
    let whole = || sets.all().iter().filter(|set| set.is_complete());
    if let Some(set) = whole().find(|set| held.becoming.as_ref() == Some(&set.version)) {
        return Ok(set);
    }
    let current = sets
        .newest_complete(&held.versions)
        .ok_or(Refused::Nothing)?;
    let mut others = whole().filter(|set| !held.has(&set.version));
    let older = others.find(|set| set.version < current.version);
    older.ok_or_else(|| Refused::Oldest(current.version.clone()))
}

impl Plan {
    /// The plan that makes `set` the current version and holds all newer ones. Pure.
    ///
    /// # Errors
    /// When nothing leads to it, or a name cannot be given.
    pub fn back(
        enabled: &[Resource<'_>],
        sets: &Sets,
        set: &UpdateSet,
        held: &Held,
    ) -> Result<Plan, Refused> {
        let is_newer = |other: &&UpdateSet| other.version > set.version;
        let newer = sets.all().iter().filter(is_newer);
        let newer = newer.filter(|other| other.has_installed(enabled));
        let mut versions: Vec<Version> = newer.map(|set| set.version.clone()).collect();
        let others = held
            .versions
            .iter()
            .filter(|version| !versions.contains(version));
        let others: Vec<Version> = others.cloned().collect();
        versions.extend(others);
        Plan::of(enabled, set, &versions)
    }

    /// The plan that makes `set` the current version and holds `held` without it.
    ///
    /// # Errors
    /// As [`Plan::back`].
    pub fn of(
        enabled: &[Resource<'_>],
        set: &UpdateSet,
        held: &[Version],
    ) -> Result<Plan, Refused> {
        let others = held.iter().filter(|version| **version != set.version);
        let held: Vec<Version> = others.cloned().collect();
        let mut steps = Vec::new();
        let mut has_way = false;
        for (number, resource) in enabled.iter().enumerate().rev() {
            let instances = set.target[number].iter().map(|at| &resource.target[*at]);
            let instances: Vec<&Instance> = instances.collect();
            // no boot loader reads the labels of partitions
            let target = &resource.transfer.target;
            let is_files = target.kind != Kind::Partition;
            let has_link = target.current_symlink.is_some();
            has_way |= has_link || (is_files && counter(resource.transfer).is_some());
            let mut shown = instances
                .first()
                .map(|i| (i.spot.clone(), PathBuf::from(&i.shown)));
            for (at, instance) in instances.iter().enumerate() {
                if instance.metadata.tries_left == Some(0)
                    && let Some(step) = retried(resource.transfer, instance, true)?
                {
                    if at == 0
                        && let Step::Rename(_, to) = &step
                    {
                        let name = to.file_name().unwrap_or_default();
                        let path = Path::new(&instance.shown).with_file_name(name);
                        shown = Some((Spot::Path(to.clone()), path));
                    }
                    steps.push((number, step));
                }
            }
            steps.extend(
                shown
                    .filter(|_| has_link)
                    .map(|(spot, path)| (number, Step::Link(spot, path))),
            );
            let is_held = |i: &&Instance| i.state == State::Installed && held.contains(&i.version);
            for instance in resource.target.iter().filter(is_held) {
                let step = retried(resource.transfer, instance, false)?;
                steps.extend(step.map(|step| (number, step)));
            }
        }
        match has_way {
            true => Ok(Plan {
                version: set.version.clone(),
                held,
                steps,
            }),
            false => Err(Refused::NoWay),
        }
    }
}

/// The pattern of a target whose names tell how often a boot loader tries what they name.
fn counter(transfer: &Transfer) -> Option<&Pattern> {
    let mut all = transfer.target.patterns.patterns().iter();
    all.find(|pattern| has_counter(pattern))
}

fn has_counter(pattern: &Pattern) -> bool {
    pattern.wildcards().any(|w| w == Wildcard::TriesLeft)
}

fn path(instance: &Instance) -> Option<&Path> {
    match &instance.spot {
        Spot::Path(path) => Some(path),
        Spot::Partition { .. } => None,
    }
}

/// The step after which an instance is tried anew, or passed over; `None` where names tell nothing of that, or this already.
fn retried(
    transfer: &Transfer,
    instance: &Instance,
    is_tried: bool,
) -> Result<Option<Step>, Refused> {
    let own = transfer.target.patterns.patterns().get(instance.pattern);
    let pattern = own.filter(|p| has_counter(p)).or(counter(transfer));
    let (Some(pattern), Some(from)) = (pattern, path(instance)) else {
        return Ok(None);
    };
    let found = &instance.metadata;
    let settings = &transfer.target.settings;
    let (left, done) = match is_tried {
        true => (
            settings.tries_left.unwrap_or(TRIES),
            settings.tries_done.unwrap_or(0),
        ),
        false => (0, found.tries_done.unwrap_or(0)),
    };
    if found.tries_left == Some(left) {
        return Ok(None);
    }
    let metadata = Metadata {
        tries_left: Some(left),
        tries_done: Some(done),
        ..found.clone()
    };
    let refused = |why: String| Refused::Name(instance.shown.clone(), why);
    let to = pattern.format(&instance.version, &metadata);
    let to = PathBuf::from(to.map_err(|why| refused(why.to_string()))?);
    match to.parent() == from.parent() {
        true => Ok(Some(Step::Rename(from.to_owned(), to))),
        false => Err(refused(
            "what is counted is the name of its directory".into(),
        )),
    }
}

/// Takes the steps. `told` is given each, and of another name the directory that it is in.
///
/// # Errors
/// The first step that failed; the record says where the others lead.
pub fn execute(
    ground: Ground<'_>,
    enabled: &[Resource<'_>],
    steps: &[(usize, Step)],
    told: &dyn Fn(&Transfer, &Path, &Step),
) -> Result<()> {
    for (number, step) in steps {
        let transfer = enabled[*number].transfer;
        let done = match step {
            Step::Link(spot, _) => {
                told(transfer, Path::new(""), step);
                update::link_to(ground, transfer, spot)
            }
            Step::Rename(from, to) => {
                let found = ground.open(transfer)?;
                told(transfer, &found.path, step);
                rename(ground, &found, from, to)
            }
        };
        done.with_context(|| transfer.id.clone())?;
    }
    Ok(())
}

/// Gives `from` the name `to` in the same directory, durably. What has that name already stays what it is.
fn rename(ground: Ground<'_>, found: &Directory, from: &Path, to: &Path) -> Result<()> {
    let dir = found.dir.as_ref().context("it has no directory")?;
    let renamed = || -> io::Result<()> {
        // what is immutable gets no other name
        let entry = beneath::open_entry(dir, from)?;
        let lifted = attr::lift(entry.as_fd())?;
        let renamed = beneath::rename_new(dir, from, to);
        // also when its name stays
        let put_back = lifted.map_or(Ok(()), |lifted| attr::put_back(entry.as_fd(), lifted));
        match (renamed, put_back) {
            (Err(e), Err(other)) => {
                let text = format!("{e}; what made it immutable cannot be put back: {other}");
                return Err(io::Error::new(e.kind(), text));
            }
            (renamed, put_back) => renamed.and(put_back)?,
        }
        if ground.is_durable {
            let above = to.parent().unwrap_or(Path::new(""));
            File::from(beneath::open_dir(dir, above)?).sync_all()?;
        }
        failpoint::hit("sysupdate-back-renamed")
    };
    let shown = |path: &Path| found.path.join(path).display().to_string();
    renamed().with_context(|| format!("renaming {} to {}", shown(from), shown(to)))
}

#[cfg(test)]
mod tests;
