//! `boot-complete`: called by the unit when a boot has succeeded.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use super::session::Session;
use crate::report;
use crate::sys::out;
use crate::transaction;

/// How long another process may have the lock: what works at boot is over by then. A transaction, which may take
/// longer, notes the same.
const PATIENCE: Duration = Duration::from_secs(60);

/// Finishes what a cut-off transaction left behind and notes that the running snapshot boots. A merge of /etc that failed
/// in the initrd stopped no boot; now it is told.
pub(super) fn boot_complete(session: &Session) -> Result<ExitCode> {
    let system = session.system_to_change()?;
    let is_noted = || Ok(system.store.inventory()?.is_running_noted());
    if let Some(lock) = system.lock_within(PATIENCE, is_noted)? {
        let mut inventory = system.store.inventory()?;
        transaction::recover(&system, &lock, &mut inventory)?;
        transaction::mark_booted(&system, &lock, &inventory)?;
    }
    if let Some(unmerged) = report::unmerged(&system.store, &system.store.inventory()?)? {
        out::warn(unmerged);
    }
    Ok(ExitCode::SUCCESS)
}
