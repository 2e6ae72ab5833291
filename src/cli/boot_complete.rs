//! `boot-complete`: called by the unit when a boot has succeeded.

use std::process::ExitCode;

use anyhow::Result;

use super::session::Session;
use crate::transaction;

/// Finishes what a cut-off transaction left behind and notes that the running snapshot boots.
pub(super) fn boot_complete(session: &Session) -> Result<ExitCode> {
    let system = session.system_to_change()?;
    let lock = system.lock()?;
    let mut inventory = system.store.inventory()?;
    transaction::recover(&system, &lock, &mut inventory)?;
    transaction::mark_booted(&system, &lock, &inventory)?;
    Ok(ExitCode::SUCCESS)
}
