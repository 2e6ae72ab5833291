//! Marking old snapshots, so that snapper's clean-up deletes them.

use anyhow::{Context, Result};

use super::retention::{self, Boot, Deletable, NotUnderstood};
use crate::boot::{self, NextEntry};
use crate::snapshot::{Inventory, SnapshotId};
use crate::sys::lock::WriteLock;
use crate::sys::{failpoint, owner, signal, time};
use crate::transaction::{System, recover};

/// What a clean-up came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cleaned {
    /// These were marked; none when everything was marked before.
    Marked(Vec<Deletable>),
    /// Nothing was marked, because something is not understood.
    NotUnderstood(NotUnderstood),
}

/// Removes what dead transactions of ours left, and marks what [`retention::plan`] finds. Deleting is left to
/// snapper, which knows how many the administrator wants to keep.
///
/// # Errors
/// When something cannot be removed or marked; what was marked before stays marked, and a second run does the rest.
pub fn cleanup(system: &System, lock: &WriteLock) -> Result<Cleaned> {
    let mut inventory = system.store.inventory()?;
    recover(system, lock, &mut inventory)?;
    let next = match next(system, &inventory) {
        Ok(next) => next,
        Err(e) => {
            return Ok(Cleaned::NotUnderstood(NotUnderstood(vec![format!(
                "{e:#}"
            )])));
        }
    };
    let boot = Boot {
        id: owner::boot_id(),
        since: time::booted().map(time::utc).unwrap_or_default(),
        next,
    };
    let plan = match retention::plan(&inventory, &boot) {
        Ok(plan) => plan,
        Err(why) => return Ok(Cleaned::NotUnderstood(why)),
    };
    for deletable in &plan {
        signal::check()?;
        system
            .store
            .modify(lock, deletable.id(), deletable.info())?;
        failpoint::hit("cleanup-marked")?;
    }
    if !plan.is_empty() {
        // snapper deletes next, and a mark that lies in btrfs's log comes apart from its snapshot in a power cut
        system.store.commit()?;
    }
    Ok(Cleaned::Marked(plan))
}

/// The snapshot that the boot loader's default entry names, where it has entries.
fn next(system: &System, inventory: &Inventory) -> Result<Option<SnapshotId>> {
    let entry = boot::next_entry(&system.root).context("what boots next is not known")?;
    let boots = |entry: &NextEntry| {
        let mut all = inventory.snapshots.keys().copied();
        all.find(|id| entry.boots(&system.store.path_inside(*id)))
    };
    Ok(entry.as_ref().and_then(boots))
}
