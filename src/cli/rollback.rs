//! `rollback`: what boots next, chosen by hand.

use std::process::ExitCode;

use anyhow::{Result, anyhow};

use super::images;
use super::session::Session;
use crate::manage::{self, RolledBack, Target};
use crate::sys::out;

/// Makes the running system, or the snapshot that `target` names, the next one.
pub(super) fn rollback(session: &Session, target: Option<&str>) -> Result<ExitCode> {
    let configured = session.configured()?;
    if configured.updates_images() {
        return images::rollback(session, &configured, target);
    }
    let target = match target {
        None => Target::Current,
        Some("last") => Target::Last,
        Some(number) => Target::Snapshot(
            number
                .parse()
                .map_err(|e| anyhow!("{e}; use `rollback N` or `rollback last`"))?,
        ),
    };
    session.manage(configured, "rollback", |system, lock| {
        let done = manage::rollback(system, lock, target)?;
        Ok(match done {
            RolledBack::AlreadyNext(id, Some(last)) => {
                out::say(format_args!("Snapshot {id} is already the next one; `rollback last` goes to #{last}."));
                None
            }
            RolledBack::AlreadyNext(id, None) => {
                out::say(format_args!("Snapshot {id} is already the next one."));
                None
            }
            RolledBack::To(id) => {
                out::say(format_args!("Snapshot {id} is the next system."));
                Some(id)
            }
            RolledBack::ToCopy { of, copy, saved } => {
                out::say(format_args!(
                    "Snapshot {copy}, a read-write copy of #{of}, is the next system; the running one was saved as #{saved}."
                ));
                Some(copy)
            }
        })
    })
}
