//! Finishing what a transaction that was cut off left undone, from its metadata alone.

use super::{System, etc, in_place, live, record, state, switch, untold};
use crate::snapshot::{Inventory, Snapshot, key};
use crate::sys::lock::WriteLock;
use crate::sys::{Doing, Failure, fs, out};

/// Finishes or undoes a switch that was cut off, and removes the snapshots of our transactions whose process is dead,
/// and what is left of those whose deletion was cut off.
/// Those of other programs, those that wait to be continued, and what cannot be understood stay. What should go and cannot
/// be removed, a snapshot or a mount, is told: it is in nobody's way, and must not stop an update, and going back even less.
/// Returns whether there is none.
///
/// # Errors
/// When what was done is not on disk.
pub fn recover(
    system: &System,
    lock: &WriteLock,
    inventory: &mut Inventory,
) -> Result<bool, Failure> {
    let store = &system.store;
    let is_noted = |s: &Snapshot| [key::UNPROVED, key::UNTOLD].map(|k| s.userdata(k)) != [None; 2];
    let had_notes = inventory.snapshots.values().any(is_noted);
    switch::finish(system, lock, inventory);
    untold::tell(system, lock, inventory);
    in_place::finish(system, lock, inventory);
    if had_notes {
        // as after the marks of a clean-up: somebody may delete these snapshots next
        store.commit()?;
    }
    let mut is_done = live::finish(system, lock, inventory);
    etc::finish_nesting(system, inventory);
    match store.remove_unborn(lock) {
        Ok(None) => {}
        Ok(Some(dir)) => out::say(format_args!(
            "Removed {}, left behind by a transaction that was cut off.",
            dir.display()
        )),
        Err(e) => {
            is_done = false;
            out::warn(format_args!("{e}: {}", e.cause()));
        }
    }
    // in nobody's way
    store
        .remove_temporaries(lock, inventory)
        .and_then(|()| remove_temporaries(system, lock))
        .unwrap_or_else(|e| out::warn(format_args!("{e}: {}", e.cause())));
    let dead: Vec<_> = inventory
        .snapshots
        .values()
        .filter(|s| is_abandoned(s) || is_half_deleted(s))
        .map(|s| (s.id, s.in_progress()))
        .collect();
    for (id, in_progress) in dead {
        if [inventory.default, inventory.booted, inventory.current].contains(&Some(id)) {
            out::warn(format_args!(
                "snapshot {id} is marked as unfinished, but it is what boots; it stays"
            ));
            continue;
        }
        let deleted = match in_progress {
            true => system.delete(lock, id),
            false => system.retire(lock, id),
        };
        match deleted {
            Ok(()) => {
                inventory.snapshots.remove(&id);
                out::say(format_args!(
                    "Removed snapshot {id}, left behind by a transaction that was cut off."
                ));
            }
            Err(e) => {
                is_done = false;
                out::warn(format_args!(
                    "snapshot {id} is left behind by a transaction that was cut off, and cannot be removed: {e}: {}",
                    e.cause()
                ));
            }
        }
    }
    Ok(is_done)
}

/// Those beside the files that other programs read.
fn remove_temporaries(system: &System, _lock: &WriteLock) -> Result<(), Failure> {
    let restart = Some(record::restart_file(system)).filter(|_| system.root.is_live());
    for file in state::file(system).into_iter().chain(restart) {
        fs::remove_temporaries(&file)
            .doing(|| format!("removing temporary files beside {}", file.display()))?;
    }
    Ok(())
}

/// Whether a transaction of ours was making it and its process is gone, or it is an open one whose removal was
/// cut off.
fn is_abandoned(snapshot: &Snapshot) -> bool {
    let is_dead = snapshot.owner().is_some_and(|owner| !owner.is_alive());
    let is_half_gone = snapshot.is_open() && snapshot.subvolume.is_none();
    snapshot.in_progress() && snapshot.userdata(key::KEPT).is_none() && (is_dead || is_half_gone)
}

/// Whether it was whole, and somebody began to delete it who did not come to its end and could not mark it, as on a
/// full disk. One that another program just deletes is there for a moment only, and gone one way or the other.
fn is_half_deleted(snapshot: &Snapshot) -> bool {
    snapshot.subvolume.is_none() && snapshot.base().is_some() && !snapshot.in_progress()
}
