//! `prepare-nextroot`: called by the unit before a soft-reboot.

use std::process::ExitCode;

use anyhow::Result;

use super::session::Session;
use crate::activate;
use crate::sys::out;

/// Mounts what boots next for the soft-reboot.
pub(super) fn prepare_nextroot(session: &Session) -> Result<ExitCode> {
    let system = session.system_to_change()?;
    let lock = system.lock()?;
    match activate::prepare_next_root(&system, &lock)? {
        Some(id) => out::say(format_args!("The soft-reboot goes to snapshot {id}.")),
        None => out::say("Nothing to mount for the soft-reboot."),
    }
    Ok(ExitCode::SUCCESS)
}
