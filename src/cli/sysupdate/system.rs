//! What `transactional-update` does with versions of images, all of the system: those of no component, and of each component that takes
//! part. The words are those of `sysupdate`.

use std::collections::BTreeSet;
use std::ffi::OsString;

use anyhow::{Error, Result, bail};
use clap::Parser;
use serde::Serialize;

use super::collections::{self, Failures, called};
use super::{Session, Sysupdate, rollback, told_by_systemd, vacuum};
use crate::sys::{Root, out};
use crate::sysupdate::definition::Collection;
use crate::sysupdate::held::Held;
use crate::sysupdate::instance::{Resource, State};
use crate::sysupdate::{Instance, Survey, UpdateSet, Version};

/// The versions of images of a system.
#[derive(Debug)]
pub(in crate::cli) struct Images(Root);

/// What runs, and what boots next as far as transfers say that.
#[derive(Debug)]
pub(in crate::cli) struct Outlook {
    /// The version that runs.
    pub(in crate::cli) booted: Version,
    /// The newest one that is installed as a whole and was not gone back from; it boots next.
    pub(in crate::cli) current: Version,
    /// The newest whole one that is older than what runs.
    pub(in crate::cli) last: Option<Version>,
    /// Whether a reboot makes a difference: what boots next is newer, or what runs was gone back from.
    pub(in crate::cli) is_reboot_wanted: bool,
    /// Whether going back was cut off.
    pub(in crate::cli) is_unfinished: bool,
}

impl Images {
    /// Those of the system at `root`.
    pub(in crate::cli) fn of(root: &Root) -> Images {
        Images(root.clone())
    }

    /// A session of `sysupdate` that was called with these words.
    fn called(&self, words: &[&str]) -> Result<Session> {
        let mut line = vec![OsString::from("sysupdate")];
        if !self.0.is_live() {
            line.extend(["--root".into(), self.0.path().into()]);
        }
        line.extend(words.iter().map(OsString::from));
        let typed = Sysupdate::try_parse_from(line)?;
        Session::new(typed.asked().map_err(Error::msg)?)
    }

    /// Whether the system has any collection.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(in crate::cli) fn are_any(&self) -> Result<bool> {
        let session = self.called(&["list"])?;
        Ok(!collections::sessions(&session)?.is_empty())
    }

    /// Installs the newest version of each collection.
    ///
    /// # Errors
    /// What failed, of one at least; the others were updated.
    pub(in crate::cli) fn update(&self) -> Result<()> {
        self.called(&["--component-all", "update"])?.go().map(drop)
    }

    /// Removes what is too much of each collection.
    ///
    /// # Errors
    /// What failed, of one at least; the other collections were tried.
    pub(in crate::cli) fn vacuum(&self) -> Result<()> {
        let session = self.called(&["vacuum"])?;
        let mut failures = Failures::default();
        for session in collections::sessions(&session)? {
            let name = called(&session.asked.collection);
            failures.take(name, vacuum::go(&session))?;
        }
        failures.end("Not cleaned up").map(drop)
    }

    /// Makes a version the current one: this one, or the newest that is older than the current one.
    ///
    /// # Errors
    /// When it is not there as a whole, or nothing could lead to it.
    pub(in crate::cli) fn go_back(&self, version: Option<&str>) -> Result<()> {
        let session = self.called(&["rollback"])?;
        rollback::go(&session, version)
            .map(drop)
            .map_err(told_by_systemd)
    }

    /// What boots next; `None` when transfers do not say that, since only those of components take part.
    ///
    /// # Errors
    /// When nothing says what runs, or no version is installed as a whole.
    pub(in crate::cli) fn outlook(&self) -> Result<Option<Outlook>> {
        if !self.0.is_live() {
            bail!("nothing of the system at {} runs", out::path(self.0.path()));
        }
        let session = self.called(&["list"])?;
        let definitions = session.definitions()?;
        if definitions.enabled().next().is_none() {
            return Ok(None);
        }
        let survey = session.survey(&definitions, true)?;
        let held = session.held()?;
        let booted = session.known_booted()?;
        let whole = || survey.sets.all().iter().filter(|set| set.is_complete());
        let Some(current) = survey.sets.newest_complete(&held.versions) else {
            bail!("Couldn't find any suitable installed versions.");
        };
        let last = whole().find(|set| set.version < booted && !held.has(&set.version));
        let is_unfinished = held.becoming.is_some();
        Ok(Some(Outlook {
            is_reboot_wanted: differs(&current.version, &booted, &held),
            current: current.version.clone(),
            last: last.map(|set| set.version.clone()),
            is_unfinished,
            booted,
        }))
    }

    /// What there is to see.
    ///
    /// # Errors
    /// When something cannot be read.
    pub(in crate::cli) fn report(&self) -> Result<Report> {
        let session = self.called(&["list"])?;
        let booted = session.booted()?;
        let mut collections = Vec::new();
        for session in collections::sessions(&session)? {
            collections.extend(collected(&session, booted.as_ref())?);
        }
        Ok(Report {
            booted: booted.map(|version| version.to_string()),
            collections,
        })
    }
}

/// The images in the answer of `status`.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Report {
    /// The version that runs, when os-release says it (IMAGE_VERSION=).
    pub(in crate::cli) booted: Option<String>,
    /// The collections that take part: first what has no component.
    pub(in crate::cli) collections: Vec<Collected>,
}

/// A collection of transfers.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Collected {
    /// Its component; none for what has no component.
    pub(in crate::cli) component: Option<String>,
    /// The newest version that is installed as a whole and not held.
    pub(in crate::cli) current: Option<String>,
    /// Whether a reboot makes a difference; never of a component.
    pub(in crate::cli) reboot_needed: bool,
    /// Versions that were gone back from, and are not used until somebody asks for them.
    pub(in crate::cli) held: Vec<String>,
    /// What is in the targets, newest first.
    pub(in crate::cli) versions: Vec<Installed>,
    /// Partitions that are free for a version.
    pub(in crate::cli) empty_slots: Vec<Empty>,
}

/// A version of which something is in a target.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Installed {
    pub(in crate::cli) version: String,
    /// The word that `sysupdate list` has for it.
    pub(in crate::cli) assessment: String,
    /// Whether all of it is there.
    pub(in crate::cli) complete: bool,
    /// Whether a transfer protects it.
    pub(in crate::cli) protected: bool,
    pub(in crate::cli) instances: Vec<At>,
}

/// Where a part of a version is.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct At {
    transfer: String,
    r#type: String,
    /// A path, or the disk with the number of the partition.
    path: String,
    state: &'static str,
}

/// A partition without a version.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Empty {
    /// The first transfer that can use it.
    transfer: String,
    /// The number of the partition on the disk of the transfer.
    partition: u32,
    bytes: u64,
}

impl Report {
    /// Whether a reboot makes a difference.
    pub(in crate::cli) fn is_reboot_needed(&self) -> bool {
        self.collections.iter().any(|c| c.reboot_needed)
    }
}

/// What is there of the collection of a session; nothing when it has no transfer that takes part.
fn collected(session: &Session, booted: Option<&Version>) -> Result<Option<Collected>> {
    let definitions = session.definitions()?;
    if definitions.enabled().next().is_none() {
        return Ok(None);
    }
    let survey = session.survey(&definitions, true)?;
    let held = session.held()?;
    let current = survey.sets.newest_complete(&held.versions);
    let current = current.map(|set| &set.version);
    let component = match &session.asked.collection {
        Collection::Component(name) => Some(name.clone()),
        _ => None,
    };
    let both = current.zip(booted);
    let sets = survey.sets.all().iter().filter(|set| set.is_installed);
    Ok(Some(Collected {
        reboot_needed: component.is_none()
            && both.is_some_and(|(current, booted)| differs(current, booted, &held)),
        current: current.map(Version::to_string),
        held: held.versions.iter().map(Version::to_string).collect(),
        versions: sets.map(|set| installed(&survey, set)).collect(),
        empty_slots: empty(&survey),
        component,
    }))
}

/// Whether a reboot makes a difference. What runs may be newer than all that is installed: a reboot would not change that.
fn differs(current: &Version, booted: &Version, held: &Held) -> bool {
    current > booted || held.has(booted)
}

fn installed(survey: &Survey<'_>, set: &UpdateSet) -> Installed {
    let of_each = survey.enabled.iter().zip(&set.target);
    let instances = of_each.flat_map(|(resource, numbers)| {
        let all = numbers.iter().map(|number| &resource.target[*number]);
        all.map(|instance| at(resource, instance))
    });
    Installed {
        version: set.version.to_string(),
        assessment: set.assessment(),
        complete: set.is_complete(),
        protected: set.is_protected,
        instances: instances.collect(),
    }
}

fn at(resource: &Resource<'_>, instance: &Instance) -> At {
    At {
        transfer: resource.transfer.id.clone(),
        r#type: instance.kind.to_string(),
        path: instance.shown.clone(),
        state: match instance.state {
            State::Installed => "installed",
            State::Pending => "pending",
            State::Partial => "partial",
        },
    }
}

/// Each empty slot once, also where several transfers can use it.
fn empty(survey: &Survey<'_>) -> Vec<Empty> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for resource in &survey.enabled {
        let pool = resource.slots.map(|slots| slots.pool);
        for slot in resource.room.iter().filter(|slot| slot.is_empty) {
            if seen.insert((pool, slot.number)) {
                found.push(Empty {
                    transfer: resource.transfer.id.clone(),
                    partition: slot.number,
                    bytes: slot.length,
                });
            }
        }
    }
    found
}
