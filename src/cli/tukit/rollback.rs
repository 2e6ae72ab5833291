//! `rollback`: what boots next, chosen by number.

use std::process::ExitCode;

use anyhow::Result;

use super::super::rollback;
use super::super::session::Session;
use crate::snapshot::SnapshotId;

/// Makes snapshot `id`, or a copy of it where the root is read-write, the next system.
pub(super) fn rollback(session: &Session, id: SnapshotId) -> Result<ExitCode> {
    rollback::rollback(session, Some(&id.to_string()))
}
