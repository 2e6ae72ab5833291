//! UPDATE_METHOD=sysupdate: the same commands for a system whose updates are versions of images.
//!
//! The commands that name packages or a snapshot stay what they are; those that leave open what they are about (none at all, auto,
//! cleanup, rollback, reboot) are about versions here.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use super::cleanup::{self, Cleanup};
use super::session::{Configured, Session, is_other_layout};
use super::sysupdate::system::{Images, Outlook};
use crate::activate;
use crate::sys::out;
use crate::transaction;

/// Why nothing is known of what boots next.
const NOTHING_BOOTS: &str = "no transfer that has no component takes part";

/// What is asked for in one call, in this order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) cleanup: Cleanup,
    pub(super) update: bool,
    pub(super) reboot: bool,
}

/// Does it, or what comes before the first failure.
pub(super) fn go(session: &Session, configured: Configured, wish: Wish) -> Result<ExitCode> {
    let images = begin(session, &configured)?;
    if wish.cleanup != Cleanup::default() {
        match clean_up(&configured, &images, wish.cleanup) {
            // the update may be what helps
            Err(e) if wish.update => out::warn(format_args!("{e:#}")),
            done => done?,
        }
    }
    if wish.update {
        images.update()?;
    }
    if wish.reboot {
        reboot(&configured, &images)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the version that runs, `last` or the one that `target` names the current one.
pub(super) fn rollback(
    session: &Session,
    configured: &Configured,
    target: Option<&str>,
) -> Result<ExitCode> {
    let images = begin(session, configured)?;
    let target = match target {
        None => running(&images)?,
        Some("last") => last(&images)?,
        named => named.map(str::to_owned),
    };
    if let Some(version) = target {
        images.go_back(Some(&version))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn begin(session: &Session, configured: &Configured) -> Result<Images> {
    transaction::not_inside_another()?;
    session.begin(&configured.root)?;
    let method = &configured.config.update_method;
    out::say(format_args!(
        "UPDATE_METHOD is {} ({}).",
        method.value.word(),
        method.origin
    ));
    let images = Images::of(&configured.root);
    if !images.are_any()? {
        bail!(
            "UPDATE_METHOD=sysupdate ({}), but no transfer file says what is updated; sysupdate(8) tells where they lie",
            method.origin
        );
    }
    Ok(images)
}

/// Removes versions that are too many, and sees to snapshots where the root has any.
fn clean_up(configured: &Configured, images: &Images, what: Cleanup) -> Result<()> {
    if what.images {
        images.vacuum()?;
    }
    match configured.snapshots() {
        Ok(system) => cleanup::cleanup(&system, &system.lock()?, what),
        Err(e) if what.images && is_other_layout(&e) => Ok(()),
        Err(e) => Err(e),
    }
}

/// Reboots, or asks whoever decides when, where that makes a difference: for a version, or for a snapshot that waits.
fn reboot(configured: &Configured, images: &Images) -> Result<()> {
    let waiting = match configured.snapshots() {
        Ok(system) => activate::is_wanted(&system)?.then_some(system),
        Err(e) if is_other_layout(&e) => None,
        Err(e) => return Err(e),
    };
    match (images.outlook(), waiting) {
        (Ok(Some(now)), _) if now.is_reboot_wanted => {
            out::say(format_args!(
                "Version '{}' runs, and '{}' boots next.",
                now.booted, now.current
            ));
            activate::reboot_to_image(&configured.root, &configured.config)
        }
        (_, Some(system)) => activate::reboot(&system, configured.config.reboot_method.value),
        (Ok(None), None) => {
            out::say(format_args!(
                "No reboot: {NOTHING_BOOTS}, and components need none."
            ));
            Ok(())
        }
        (Ok(Some(now)), None) => {
            out::say(format_args!(
                "No reboot: version '{}' runs, and '{}' is the newest that is installed as a whole.",
                now.booted, now.current
            ));
            Ok(())
        }
        (Err(e), None) => {
            Err(e.context("whether a reboot makes a difference is not known, and there is none"))
        }
    }
}

/// What boots next, where somebody goes back from it.
fn outlook(images: &Images) -> Result<Outlook> {
    let now = images
        .outlook()
        .context("`rollback VERSION` names what to go back to")?;
    now.with_context(|| {
        format!("{NOTHING_BOOTS}; `sysupdate --component=NAME rollback` goes back with one")
    })
}

/// The version that runs; nothing when it boots next already.
fn running(images: &Images) -> Result<Option<String>> {
    let now = outlook(images)?;
    if now.current != now.booted || now.is_unfinished {
        return Ok(Some(now.booted.to_string()));
    }
    let last = now
        .last
        .map(|version| format!("; `rollback last` goes to '{version}'"));
    out::say(format_args!(
        "Version '{}' runs and boots next{}.",
        now.booted,
        last.unwrap_or_default()
    ));
    Ok(None)
}

/// The version before the one that runs.
fn last(images: &Images) -> Result<Option<String>> {
    let now = outlook(images)?;
    let Some(last) = now.last else {
        bail!(
            "no version that is older than '{}', which runs, is installed as a whole",
            now.booted
        );
    };
    Ok(Some(last.to_string()))
}
