//! `close`: the end of an open transaction.

use std::process::ExitCode;

use anyhow::Result;

use super::super::session::{Session, Worked};
use crate::snapshot::SnapshotId;
use crate::transaction::Open;

/// Makes the open transaction `id` the next system.
pub(super) fn close(session: &Session, id: SnapshotId) -> Result<ExitCode> {
    let (system, lock) = super::begin(session)?;
    let options = session.transaction(&system, super::frame());
    let open = Open::resume(&system, &lock, id, options);
    session.end(&system, &lock, open, |_| Ok(Worked::Publish))?;
    Ok(ExitCode::SUCCESS)
}
