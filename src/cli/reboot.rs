//! `reboot`: as REBOOT_METHOD says.

use anyhow::{Result, bail};

use super::session::Session;
use crate::transaction::System;

/// Reboots.
pub(super) fn reboot(_: &Session, _: &System) -> Result<()> {
    bail!("the command reboot is not there yet")
}
