//! What snapper cannot do for snapshots with an /etc of their own: it asks for it through its plugin 50-etc.

use anyhow::{Context, Result, bail};

use crate::snapshot::{Inventory, Snapshot, SnapshotId};
use crate::sys::lock::WriteLock;
use crate::transaction::{self, System};

/// Gives snapshot `id`, which snapper has just made, the /etc of what it was made from, and notes what to merge
/// into it at its first boot.
///
/// # Errors
/// When it is no snapshot of another one, or its /etc cannot be made.
pub fn etc_of_created(system: &System, id: SnapshotId) -> Result<()> {
    let lock = lock(system, id)?;
    let inventory = system.store.inventory()?;
    if system.store.open_etc(id)?.is_some() {
        return Ok(());
    }
    transaction::nest_etc(system, &lock, &inventory, id)
}

/// Deletes the /etc of snapshot `id`, which snapper is about to delete.
///
/// # Errors
/// When the snapshot is in use or an open transaction of this boot, or holds what is in the way of its deletion;
/// its /etc is still there then.
pub fn etc_of_deleted(system: &System, id: SnapshotId) -> Result<()> {
    let lock = lock(system, id)?;
    let inventory = system.store.inventory()?;
    let snapshot = subvolume(&inventory, id)?;
    let in_use = [inventory.booted, inventory.current, inventory.default];
    if in_use.contains(&Some(id)) {
        bail!("snapshot {id} runs or boots next; its /etc is not deleted");
    }
    if snapshot.in_progress() && snapshot.owner().is_some_and(|owner| owner.is_alive()) {
        bail!("a transaction is making snapshot {id}; its /etc is not deleted");
    }
    if snapshot.is_open() && !snapshot.is_forgotten() {
        bail!("snapshot {id} is an open transaction; `tukit abort {id}` removes it");
    }
    let others = system.store.not_understood(id)?;
    if !others.is_empty() {
        bail!(
            "snapshot {id} holds the subvolumes {}, which are not part of a system; delete or move them first",
            others.join(", ")
        );
    }
    system.store.unnest_etc(&lock, id)?;
    // snapper takes away what it knows, and then the directory, which must be empty
    system.store.remove_temporaries_of(&lock, id)?;
    Ok(system.store.forget_nesting(&lock, id)?)
}

fn subvolume(inventory: &Inventory, id: SnapshotId) -> Result<&Snapshot> {
    let snapshot = inventory.get(id).filter(|s| s.subvolume.is_some());
    snapshot.with_context(|| format!("there is no snapshot {id}"))
}

/// The right to change this one snapshot. That to change the system may be with a transaction meanwhile, which
/// snapper cannot wait for; it is snapper that has this snapshot, and waits for us.
fn lock(system: &System, id: SnapshotId) -> Result<WriteLock> {
    Ok(WriteLock::directory(&system.store.dir(id))?)
}
