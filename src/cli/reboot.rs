//! `reboot`: as REBOOT_METHOD says.

use anyhow::{Result, bail};

use super::session::Session;
use crate::transaction::{System, before_reboot};

/// Reboots, when no plugin objects.
pub(super) fn reboot(_: &Session, system: &System) -> Result<()> {
    before_reboot(system)?;
    bail!("the command reboot is not there yet")
}
