//! `snapper-plugin`: called by snapper through its plugin 50-etc, before it deletes and after it made a snapshot.

use std::process::ExitCode;

use anyhow::{Result, bail};

use super::session::{Session, is_other_layout};
use crate::manage;
use crate::snapshot::SnapshotId;

/// Does for `id` what `stage` is about; other stages than those the plugin passes on are refused.
pub(super) fn snapper_plugin(session: &Session, stage: &str, id: SnapshotId) -> Result<ExitCode> {
    let done = session.system().and_then(|system| match stage {
        "create-snapshot-post" => manage::etc_of_created(&system, id),
        "delete-snapshot-pre" => manage::etc_of_deleted(&system, id),
        other => bail!("snapper has no stage {other} that concerns /etc"),
    });
    match done {
        // snapper also works where the root is no snapshot; there, /etc is none of ours
        Err(e) if is_other_layout(&e) => Ok(ExitCode::SUCCESS),
        other => other.map(|()| ExitCode::SUCCESS),
    }
}
