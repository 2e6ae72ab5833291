//! Dropping an update before it was booted.

use anyhow::{Context, Result, bail};

use crate::snapshot::{Inventory, SnapshotId, key};
use crate::sys::lock::WriteLock;
use crate::sys::{failpoint, signal};
use crate::transaction::{Restart, System, recover};

/// What was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discarded {
    /// There was nothing to drop.
    Nothing,
    /// These snapshots are gone; the one that boots next.
    Dropped(Vec<SnapshotId>, SnapshotId),
}

/// Makes the running system the next one again and deletes the pending update: every snapshot between the two
/// that we made and that was never booted. With `id`, that snapshot must be the pending one, or one that was
/// kept after a failure, which is then deleted alone.
///
/// # Errors
/// When the pending snapshot is not one of ours, or something cannot be switched or deleted.
pub fn discard(system: &System, lock: &WriteLock, id: Option<SnapshotId>) -> Result<Discarded> {
    let mut inventory = system.store.inventory()?;
    recover(system, lock, &mut inventory)?;
    let current = inventory
        .current
        .context("the running system is no snapshot")?;
    let pending = inventory.pending().map(|s| s.id);
    if let Some(id) = id.filter(|id| Some(*id) != pending) {
        return kept(system, lock, &inventory, id, current);
    }
    let Some(pending) = pending else {
        return Ok(Discarded::Nothing);
    };
    let Some(chain) = inventory.lineage(pending, current) else {
        bail!(
            "the pending snapshot {pending} was not made from the running system by transactional-update; \
             `rollback` makes #{current} the next one and deletes nothing"
        );
    };
    let unused = |id: &SnapshotId| {
        inventory
            .get(*id)
            .is_some_and(|s| !s.was_booted() && s.is_whole())
    };
    let drop: Vec<SnapshotId> = chain.into_iter().take_while(unused).collect();
    signal::check()?;
    system.note_switch(lock, current, Restart::None);
    if let Err(e) = system.switch_to(lock, current) {
        system.forget_switch(lock, current);
        return Err(e);
    }
    failpoint::hit("discard-switched")?;
    for id in &drop {
        system.retire(lock, *id)?;
    }
    Ok(Discarded::Dropped(drop, current))
}

fn kept(
    system: &System,
    lock: &WriteLock,
    inventory: &Inventory,
    id: SnapshotId,
    current: SnapshotId,
) -> Result<Discarded> {
    let snapshot = inventory
        .get(id)
        .with_context(|| format!("there is no snapshot {id}; `list` shows those there are"))?;
    if snapshot.is_open() {
        bail!("snapshot {id} is an open transaction; `tukit abort {id}` removes it");
    }
    let in_use = [inventory.booted, inventory.current, inventory.default].contains(&Some(id));
    if in_use || snapshot.userdata(key::KEPT).is_none() {
        bail!(
            "snapshot {id} is neither the pending update nor one kept after a failure; it is not deleted"
        );
    }
    system.retire(lock, id)?;
    Ok(Discarded::Dropped(
        vec![id],
        inventory.default.unwrap_or(current),
    ))
}
