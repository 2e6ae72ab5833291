//! Finishing what a transaction that was cut off left undone, from its metadata alone.

use super::{System, switch};
use crate::snapshot::{Inventory, Snapshot, key};
use crate::sys::lock::WriteLock;
use crate::sys::{Failure, out};

/// Finishes or undoes a switch that was cut off, and removes the snapshots of our transactions whose process is dead.
/// Those of other programs, those that wait to be continued, and what cannot be understood stay. Returns how many
/// were found.
///
/// # Errors
/// When one of them cannot be removed; the others are tried all the same.
pub fn recover(
    system: &System,
    lock: &WriteLock,
    inventory: &mut Inventory,
) -> Result<usize, Failure> {
    let store = &system.store;
    switch::finish(system, lock, inventory);
    if let Some(dir) = store.remove_unborn(lock)? {
        let dir = dir.display();
        out::say(format_args!(
            "Removed {dir}, left behind by a transaction that was cut off."
        ));
    }
    store.remove_temporaries(lock, inventory)?;
    let dead: Vec<_> = inventory
        .snapshots
        .values()
        .filter(|s| is_abandoned(s))
        .map(|s| s.id)
        .collect();
    let mut failed = None;
    for id in &dead {
        if [inventory.default, inventory.booted, inventory.current].contains(&Some(*id)) {
            out::warn(format_args!(
                "snapshot {id} is marked as unfinished, but it is what boots; it stays"
            ));
            continue;
        }
        match system.delete(lock, *id) {
            Ok(()) => {
                inventory.snapshots.remove(id);
                out::say(format_args!(
                    "Removed snapshot {id}, left behind by a transaction that was cut off."
                ));
            }
            Err(e) => failed = Some(e),
        }
    }
    failed.map_or(Ok(dead.len()), Err)
}

/// Whether a transaction of ours was making it and its process is gone, or it is an open one whose removal was
/// cut off.
fn is_abandoned(snapshot: &Snapshot) -> bool {
    let is_dead = snapshot.owner().is_some_and(|owner| !owner.is_alive());
    let is_half_gone = snapshot.is_open() && snapshot.subvolume.is_none();
    snapshot.in_progress() && snapshot.userdata(key::KEPT).is_none() && (is_dead || is_half_gone)
}
