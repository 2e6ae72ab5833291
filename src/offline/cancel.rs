//! Calling an update off.

use anyhow::{Context, Result, bail};

use super::journal::{self, Event};
use super::reconcile::Situation;
use super::state::{self, State};
use super::trigger::{self, PLACES};
use super::view::View;
use super::{Directory, MARKER, MOTD};
use crate::sys::lock::WriteLock;
use crate::sys::{Root, failpoint};
use crate::transaction::System;

/// What was called off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// An update that was armed.
    Update,
    /// A link that was left behind.
    Leftover,
    /// Nothing: the update has ended in this way, and its result is acknowledged.
    Ended(State),
    /// Nothing: there was nothing.
    Nothing,
}

/// Calls the armed update off: the next boot is an ordinary one. Of an update that has ended, the result is acknowledged.
///
/// # Errors
/// When an update is being carried out, when all there is belongs to another program, or when something cannot be removed.
pub fn cancel(system: &System, lock: &WriteLock) -> Result<Cancelled> {
    let mut view = match View::of(system) {
        Ok(view) => view,
        // whatever is wrong with the state, the next boot must not be diverted
        Err(e) if system.root.is_live() => {
            return Err(match close(&system.root, lock)? {
                true => e.context("no update is armed any more, but its state is not understood"),
                false => e,
            });
        }
        Err(e) => return Err(e),
    };
    view.settle(lock)?;
    match view.standing.situation {
        Situation::Underway => bail!(
            "the update is being carried out; it can only be stopped by restarting the system, which leaves or brings \
             back what was before"
        ),
        Situation::Armed | Situation::NotDiverted | Situation::Incomplete => {
            close(&system.root, lock)?;
            if let (Some(directory), Some(record)) = (&view.directory, &view.standing.record) {
                forget(directory)?;
                let text = "The offline update was called off.";
                journal::tell(Event::Cancelled, record, text);
            }
            Ok(Cancelled::Update)
        }
        Situation::Ended => {
            let ended = view.standing.record.as_ref().map(|record| record.state);
            close(&system.root, lock)?;
            view.acknowledge(lock)?;
            Ok(ended.map_or(Cancelled::Nothing, Cancelled::Ended))
        }
        Situation::Nothing | Situation::Acknowledged => {
            if close(&system.root, lock)? {
                return Ok(Cancelled::Leftover);
            }
            match view.triggers.foreign().next() {
                Some(foreign) => bail!(
                    "{foreign}: it belongs to another program or to the administrator, and is not touched; nothing of \
                     ours is armed"
                ),
                None => Ok(Cancelled::Nothing),
            }
        }
    }
}

/// Removes the triggers of ours, then the marker. Whether there was a trigger.
pub(super) fn close(root: &Root, lock: &WriteLock) -> Result<bool> {
    let mut was_there = false;
    for place in PLACES {
        was_there |= trigger::remove(root, lock, place)
            .with_context(|| format!("{place} leads into an update boot; remove it by hand"))?;
    }
    if let Some(directory) = Directory::open(root)? {
        directory.remove(MARKER)?;
        failpoint::hit("offline-unmarked")?;
    }
    Ok(was_there)
}

/// Removes what says that an update is armed.
pub(super) fn forget(directory: &Directory) -> Result<()> {
    directory.remove_temporaries()?;
    directory.remove(MOTD)?;
    failpoint::hit("offline-motd-removed")?;
    directory.remove(state::FILE)?;
    failpoint::hit("offline-cancelled")?;
    Ok(())
}
