//! `apply`: the next system takes the place of the running one without a reboot.

use anyhow::{Result, bail};

use super::session::Session;
use crate::sys::lock::WriteLock;
use crate::transaction::System;

/// Switches to what boots next.
pub(super) fn apply(_: &Session, _: &System, _: &WriteLock) -> Result<()> {
    bail!("the command apply is not there yet")
}
