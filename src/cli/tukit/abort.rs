//! `abort`: an open transaction is given up.

use std::process::ExitCode;

use anyhow::Result;

use super::super::session::Session;
use crate::snapshot::SnapshotId;
use crate::sys::out;
use crate::transaction::Open;

/// Deletes the open transaction `id`.
pub(super) fn abort(session: &Session, id: SnapshotId) -> Result<ExitCode> {
    let (system, lock) = super::begin(session)?;
    let options = session.transaction(&system, super::frame());
    Open::abort_parked(&system, &lock, id, options)?;
    session.record(&system, "aborted", id);
    out::say(format_args!("Deleted #{id}."));
    Ok(ExitCode::SUCCESS)
}
