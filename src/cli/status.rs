//! `status`: what runs, what boots next and why; of snapshots and of versions of images.

use std::fmt;
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;

use super::session::{Configured, Session, is_other_layout};
use super::sysupdate::system::{Collected, Images, Report};
use crate::report::{self, Outlook, Status};

/// All that there is to see.
#[derive(Debug, Serialize)]
struct Whole {
    #[serde(flatten)]
    status: Status,
    #[serde(skip)]
    has_snapshots: bool,
    /// Versions of images; left out where no transfer file is.
    #[serde(skip_serializing_if = "Option::is_none")]
    sysupdate: Option<Report>,
}

/// Prints the status.
pub(super) fn status(session: &Session, json: bool) -> Result<ExitCode> {
    let configured = session.configured()?;
    let mut whole = Whole {
        status: Status::without_snapshots(),
        has_snapshots: true,
        sysupdate: None,
    };
    match of_snapshots(&configured) {
        Ok(status) => whole.status = status,
        Err(e) if configured.updates_images() && is_other_layout(&e) => {
            whole.has_snapshots = false;
        }
        Err(e) => return Err(e),
    }
    whole.see_images(&configured);
    session.answer(&whole, json)
}

fn of_snapshots(configured: &Configured) -> Result<Status> {
    let system = configured.clone().system()?;
    let inventory = system.store.inventory()?;
    let outlook = Outlook::of(&system.root, &system.store, &inventory);
    Ok(Status::new(&inventory)
        .with_entry(&system.root, &system.store, &inventory)
        .with_etc(outlook)
        .with_unmerged(report::unmerged(&system.store, &inventory)))
}

impl Whole {
    /// Adds versions of images; what cannot be known of them deserves attention.
    fn see_images(&mut self, configured: &Configured) {
        let images = Images::of(&configured.root);
        let found = images.are_any().and_then(|is_any| {
            let is_asked = is_any || configured.updates_images();
            is_asked.then(|| images.report()).transpose()
        });
        match found {
            Ok(report) => {
                let is_needed = report.as_ref().is_some_and(Report::is_reboot_needed);
                self.status.reboot_needed |= is_needed;
                self.sysupdate = report;
            }
            Err(e) => self
                .status
                .attention
                .push(format!("what is installed of images cannot be told: {e:#}")),
        }
    }
}

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.has_snapshots {
            self.status.fmt(f)?;
        } else {
            for text in &self.status.attention {
                writeln!(f, "Attention: {text}")?;
            }
        }
        let Some(report) = &self.sysupdate else {
            return Ok(());
        };
        if let Some(booted) = &report.booted {
            writeln!(f, "Running image: version {booted}")?;
        }
        for collected in &report.collections {
            write(f, collected)?;
        }
        match report.collections.is_empty() {
            true => writeln!(f, "Images: no transfer takes part"),
            false => Ok(()),
        }
    }
}

fn write(f: &mut fmt::Formatter<'_>, collected: &Collected) -> fmt::Result {
    let what = match &collected.component {
        None => "Images".to_owned(),
        Some(name) => format!("Images of component {name}"),
    };
    match &collected.current {
        Some(version) => writeln!(f, "{what}: version {version} is the current one")?,
        None => writeln!(f, "{what}: no version is installed as a whole")?,
    }
    if collected.reboot_needed {
        writeln!(
            f,
            "Reboot to switch to it; `rollback` keeps the running one instead."
        )?;
    }
    let is_current = |version: &String| Some(version) == collected.current.as_ref();
    let others = collected.versions.iter();
    for other in others.filter(|other| !is_current(&other.version)) {
        let is_held = collected.held.contains(&other.version);
        let held = if is_held { ", gone back from" } else { "" };
        writeln!(f, "  {} ({}{held})", other.version, other.assessment)?;
    }
    match collected.empty_slots.len() {
        0 => Ok(()),
        1 => writeln!(f, "  1 slot is empty"),
        empty => writeln!(f, "  {empty} slots are empty"),
    }
}
