//! `apply`: the next system takes the place of the running one without a reboot.

use anyhow::Result;

use super::session::Session;
use crate::activate;
use crate::sys::lock::WriteLock;
use crate::sys::out;
use crate::transaction::{self, System};

/// Switches to what boots next. Returns whether a reboot is still needed for all of it.
pub(super) fn apply(session: &Session, system: &System, lock: &WriteLock) -> Result<bool> {
    let Some(id) = activate::apply(system, lock)? else {
        out::say("The next system is the current one already.");
        return Ok(true);
    };
    session.record(system, "applied", id);
    let is_wanted = transaction::restart_is_done(system)?;
    out::say(format_args!(
        "Snapshot {id} is the current system. Running programs go on with the old files until they are restarted{}.",
        if is_wanted {
            "; a reboot is still needed"
        } else {
            ""
        }
    ));
    Ok(is_wanted)
}
