//! `recover`: called by the unit early at boot, and by whoever repairs a system that is mounted elsewhere.

use std::process::ExitCode;

use anyhow::Result;

use super::session::Session;
use crate::sys::lock::WriteLock;
use crate::sys::out;
use crate::transaction::{self, System};

/// Does what every command that changes something does first, and nothing else.
pub(super) fn recover(session: &Session) -> Result<ExitCode> {
    let system = session.system_to_change()?;
    transaction::not_inside_another()?;
    Ok(match unless_locked(&system)? {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Recovers, unless another process holds the lock: that has done it already. Whether nothing is left to do.
pub(super) fn unless_locked(system: &System) -> Result<bool> {
    match system.lock() {
        Err(e) if transaction::is_held(&e) => {
            out::say(format_args!("Nothing is recovered, since {e}."));
            Ok(true)
        }
        lock => with(system, &lock?),
    }
}

/// Recovers with the right to. Whether nothing is left to do.
pub(super) fn with(system: &System, lock: &WriteLock) -> Result<bool> {
    let mut inventory = system.store.inventory()?;
    Ok(transaction::recover(system, lock, &mut inventory)?)
}
