//! `reboot`: as REBOOT_METHOD says.

use anyhow::Result;

use super::session::Session;
use crate::activate;
use crate::transaction::System;

/// Reboots, or asks whoever decides when.
pub(super) fn reboot(_: &Session, system: &System) -> Result<()> {
    activate::reboot(system, system.config.reboot_method.value)
}
