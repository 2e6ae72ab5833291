//! `boot-complete`: called by the unit when a boot has succeeded.

use std::process::ExitCode;

use anyhow::Result;

use super::session::Session;
use crate::report;
use crate::sys::out;
use crate::transaction;

/// Finishes what a cut-off transaction left behind and notes that the running snapshot boots. A merge of /etc that failed
/// in the initrd stopped no boot; now it is told.
pub(super) fn boot_complete(session: &Session) -> Result<ExitCode> {
    let system = session.system_to_change()?;
    let lock = system.lock()?;
    let mut inventory = system.store.inventory()?;
    transaction::recover(&system, &lock, &mut inventory)?;
    transaction::mark_booted(&system, &lock, &inventory)?;
    if let Some(unmerged) = report::unmerged(&system.store, &inventory)? {
        out::warn(unmerged);
    }
    Ok(ExitCode::SUCCESS)
}
