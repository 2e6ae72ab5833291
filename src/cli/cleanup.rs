//! `cleanup`, `cleanup-snapshots`, `cleanup-overlays`: what old updates left.

use anyhow::{Result, bail};

use super::session::Session;
use crate::sys::lock::WriteLock;
use crate::transaction::System;

/// What is cleaned up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cleanup {
    /// Snapshots that nothing needs any more.
    pub(super) snapshots: bool,
    /// Overlays of /etc that no snapshot uses.
    pub(super) overlays: bool,
}

/// Cleans up.
pub(super) fn cleanup(_: &Session, _: &System, _: &WriteLock, _: Cleanup) -> Result<()> {
    bail!("the command cleanup is not there yet")
}
