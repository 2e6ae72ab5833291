//! What is written after the end of a transaction. Nothing is ever decided from it.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Error, Result};
use serde::Serialize;

use super::System;
use crate::snapshot::SnapshotId;
use crate::sys::{beneath, failpoint, fs, out, time};

const HISTORY: &str = "var/lib/transactional-update/history.jsonl";
const REBOOT_NEEDED: &str = "run/reboot-needed";

/// A line of the history.
#[derive(Debug, Default, Serialize)]
pub struct Record<'r> {
    /// When it ended, UTC; set by [`Record::append`].
    pub time: String,
    /// What was called.
    pub command: &'r str,
    /// `published`, `unchanged`, `failed`, `aborted`, `rollback` or `discard`; `recovered` is a switch by a command that
    /// was cut off.
    pub result: &'r str,
    /// Number of the new snapshot, when there is one, or of the one that was aborted.
    pub snapshot: Option<u64>,
    /// Number of the base, when one was chosen.
    pub base: Option<u64>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Record<'_> {
    /// Appends this to the history of the system.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append(mut self, system: &System) -> Result<()> {
        self.time = time::utc(SystemTime::now());
        let line = serde_json::to_string(&self)?;
        let path = system.root.join(HISTORY);
        fs::append_line(&path, &line).with_context(|| format!("writing {}", path.display()))
    }
}

/// How the system has to be restarted for a new snapshot; a later value includes the earlier ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Restart {
    /// Not at all.
    None,
    /// User space only.
    Soft,
    /// With a new kernel, without the firmware.
    Kexec,
    /// Wholly; also when nobody said anything else.
    #[default]
    Reboot,
}

impl Restart {
    const NAMES: [(&str, Restart); 4] = [
        ("none", Restart::None),
        ("soft-reboot", Restart::Soft),
        ("kexec", Restart::Kexec),
        ("reboot", Restart::Reboot),
    ];

    /// Its name, as programs know it.
    #[must_use]
    pub fn name(self) -> &'static str {
        Restart::NAMES
            .iter()
            .find(|(_, r)| *r == self)
            .map_or("reboot", |(name, _)| name)
    }

    /// What the package manager's plugin noted in the open root of a snapshot.
    pub(super) fn noted_in(root: impl AsFd) -> Option<Restart> {
        match beneath::read(root, Path::new(REBOOT_NEEDED), 64) {
            Ok(noted) => noted.map(|text| Restart::parse(&text)),
            Err(_) => Some(Restart::Reboot),
        }
    }

    pub(super) fn parse(text: &[u8]) -> Restart {
        Restart::named(String::from_utf8_lossy(text).trim()).unwrap_or(Restart::Reboot)
    }

    pub(super) fn named(name: &str) -> Option<Restart> {
        let known = Restart::NAMES.iter().find(|(known, _)| *known == name);
        known.map(|(_, restart)| *restart)
    }
}

/// Tells other programs of the running system that it waits for a restart. A stronger wish that is there
/// already stays.
///
/// # Errors
/// When the mark cannot be written.
pub(super) fn ask_for_restart(system: &System, restart: Restart) -> Result<()> {
    if !system.root.is_live() {
        return Ok(());
    }
    let path = restart_file(system);
    let text = format!("{}\n", restart.max(restart_asked_for(system)).name());
    fs::replace(&path, text.as_bytes()).with_context(|| format!("writing {}", path.display()))
}

/// Tells other programs what it means that `next` was chosen by hand to be the next system: a reboot, or none when
/// it runs already.
///
/// # Errors
/// When the snapshots cannot be read, or the mark not be changed.
pub fn choose_restart(system: &System, next: SnapshotId) -> Result<()> {
    if !system.root.is_live() {
        return Ok(());
    }
    let inventory = system.store.inventory()?;
    if [inventory.booted, inventory.current] != [Some(next); 2] {
        return ask_for_restart(system, Restart::Reboot);
    }
    forget_restart(system)
}

/// Tells other programs that the running system was replaced without a restart. A wish for more than a soft-reboot
/// stays: there is another kernel, too. Returns whether any is left.
///
/// # Errors
/// When the mark cannot be removed.
pub fn restart_is_done(system: &System) -> Result<bool> {
    if restart_asked_for(system) > Restart::Soft {
        return Ok(true);
    }
    forget_restart(system).map(|()| false)
}

pub(super) fn forget_restart(system: &System) -> Result<()> {
    let path = restart_file(system);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(failpoint::hit("restart-forgotten")?),
    }
}

/// Says that the history lacks something.
pub fn gap(e: Error) {
    out::warn(format_args!("the history has a gap: {e:#}"));
}

/// Says that a wish for a reboot could not be handed on.
pub fn unknown_reboot(e: Error) {
    out::warn(format_args!(
        "other programs do not know of the reboot: {e:#}"
    ));
}

/// The restart that somebody asked the running system for; [`Restart::None`] when nobody did.
#[must_use]
pub fn restart_asked_for(system: &System) -> Restart {
    match fs::read_bounded(&restart_file(system), 64) {
        Ok(text) => Restart::parse(&text),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Restart::None,
        Err(_) => Restart::Reboot,
    }
}

pub(super) fn restart_file(system: &System) -> PathBuf {
    let other = system.restart_file.clone();
    other.unwrap_or_else(|| system.root.join(REBOOT_NEEDED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_or_empty_wish_means_a_reboot() {
        assert_eq!(Restart::parse(b"soft-reboot\n"), Restart::Soft);
        assert_eq!(Restart::parse(b""), Restart::Reboot);
        assert_eq!(Restart::parse(b"\xff"), Restart::Reboot);
        assert!(Restart::Kexec > Restart::Soft && Restart::Reboot.name() == "reboot");
    }
}
