//! `recover`: called by the unit early at boot, and by whoever repairs a system that is mounted elsewhere.

use std::process::ExitCode;

use anyhow::Result;

use super::session::Session;
use crate::sys::lock::LockError;
use crate::sys::out;
use crate::transaction;

/// Does what every command that changes something does first, and nothing else. Who holds the lock has done it
/// already.
pub(super) fn recover(session: &Session) -> Result<ExitCode> {
    let system = session.system_to_change()?;
    transaction::not_inside_another()?;
    let lock = match system.lock() {
        Err(e) if matches!(e.downcast_ref(), Some(LockError::Held(..))) => {
            out::say(format_args!("Nothing is recovered, since {e}."));
            return Ok(ExitCode::SUCCESS);
        }
        other => other?,
    };
    let mut inventory = system.store.inventory()?;
    transaction::recover(&system, &lock, &mut inventory)?;
    Ok(ExitCode::SUCCESS)
}
