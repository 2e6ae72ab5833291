//! `prepare-nextroot`: called by the unit before a soft-reboot.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};

use super::session::Session;
use crate::activate;
use crate::sys::out;

/// How long another process may have the lock before there is no soft-reboot.
const LOCKED: Duration = Duration::from_secs(60);

/// Mounts what boots next for the soft-reboot.
pub(super) fn prepare_nextroot(session: &Session) -> Result<ExitCode> {
    let system = session.system_to_change()?;
    // what asked for the soft-reboot may still have it
    let lock = system.lock_within(LOCKED, || Ok(false))?;
    let lock = lock.context("another process keeps the lock")?;
    match activate::prepare_next_root(&system, &lock)? {
        Some(id) => out::say(format_args!("The soft-reboot goes to snapshot {id}.")),
        None => out::say("Nothing to mount for the soft-reboot."),
    }
    Ok(ExitCode::SUCCESS)
}
