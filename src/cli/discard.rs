//! `discard`: dropping an update before it was booted.

use std::process::ExitCode;

use anyhow::Result;

use super::session::Session;
use crate::manage::{self, Discarded};
use crate::snapshot::SnapshotId;
use crate::sys::out;

/// Drops the pending update, or the kept snapshot `id`.
pub(super) fn discard(session: &Session, id: Option<SnapshotId>) -> Result<ExitCode> {
    session.manage(session.configured()?, "discard", |system, lock| {
        Ok(match manage::discard(system, lock, id)? {
            Discarded::Nothing => {
                out::say("No update is pending.");
                None
            }
            Discarded::Dropped(gone, next) => {
                let gone: Vec<String> = gone.iter().map(|id| format!("#{id}")).collect();
                out::say(format_args!(
                    "Deleted {}; snapshot {next} is the next system.",
                    gone.join(", ")
                ));
                Some(next)
            }
        })
    })
}
