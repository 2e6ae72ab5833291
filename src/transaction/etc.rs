//! /etc of a new snapshot, where it is a subvolume of its own.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result, anyhow, bail};

use super::{System, unchanged};
use crate::etc::{Plan, Tree, Trees};
use crate::snapshot::{EtcLayout, Inventory, SYNCPOINT, Snapshot, SnapshotId, Syncpoint};
use crate::sys::lock::{LockError, WriteLock};
use crate::sys::out;

/// Refuses a base whose /etc would not be part of the new snapshot.
///
/// # Errors
/// Says which layout it is and what to do.
pub(super) fn check(system: &System, base: SnapshotId) -> Result<()> {
    match system.store.etc_layout(base)? {
        EtcLayout::Plain | EtcLayout::Nested => Ok(()),
        EtcLayout::Overlay => bail!(
            "/etc is an overlay file system, the layout of older MicroOS; it must be migrated: move \
             what it shows into a subvolume {base}/snapshot/etc and replace its line in fstab by \
             \"/etc /etc none bind,x-initrd.mount 0 0\" (snapper's plugin of transactional-update 5 does so when \
             it makes a snapshot), then boot that"
        ),
        EtcLayout::Elsewhere(fs_type) => bail!(
            "/etc is a file system of its own ({fs_type}), which is not part of snapshot {base}: it would be \
             changed at once and not with the update; move it into the root file system"
        ),
        EtcLayout::LeftOut => bail!("{}", left_out(base)),
    }
}

/// Refuses to boot a snapshot that has lost its /etc.
///
/// # Errors
/// Says so.
pub(super) fn is_there(system: &System, id: SnapshotId) -> Result<()> {
    if system.store.etc_layout(id)? == EtcLayout::LeftOut {
        bail!("{}", left_out(id));
    }
    Ok(())
}

fn left_out(id: SnapshotId) -> String {
    format!(
        "snapshot {id} has no /etc: it was made by a program that does not know that /etc is a subvolume here, or \
         it was being deleted; choose another one"
    )
}

/// What the nested /etc of a new snapshot of `base` is to be compared with at its first boot, when `current` runs.
///
/// # Errors
/// When that of the base cannot be read.
pub(super) fn syncpoint(
    system: &System,
    base: SnapshotId,
    current: Option<SnapshotId>,
) -> Result<Syncpoint> {
    let Some(current) = current else {
        return Ok(Syncpoint::OfBase);
    };
    if base == current {
        return Ok(Syncpoint::OfNew(current));
    }
    let waits = match system.store.open_syncpoint(base)? {
        Some(of_base) => !Tree::of(of_base)?.is_merged(),
        None => false,
    };
    if waits && system.store.compare_with(base)? == Some(current) {
        return Ok(Syncpoint::OfRunning(current));
    }
    Ok(Syncpoint::OfBase)
}

/// Gives snapshot `id`, which another program made, the /etc of what it was made from, where that is a subvolume, and
/// notes what to merge into it at its first boot.
///
/// # Errors
/// When it is no snapshot of another one, or its /etc cannot be made; recovery does the rest then.
pub fn nest_etc(
    system: &System,
    lock: &WriteLock,
    inventory: &Inventory,
    id: SnapshotId,
) -> Result<()> {
    let store = &system.store;
    let subvolume = inventory.get(id).and_then(|s| s.subvolume.as_ref());
    let subvolume = subvolume.with_context(|| format!("there is no snapshot {id}"))?;
    let mut all = inventory.snapshots.values();
    let source = all
        .find(|s| s.uuid() == Some(subvolume.parent_uuid))
        .with_context(|| format!("what snapshot {id} was made from is no snapshot"))?;
    if store.open_etc(source.id)?.is_none() {
        return Ok(());
    }
    let syncpoint = syncpoint(system, source.id, inventory.current)?;
    store.nest_etc_in_sealed(lock, id, source.id, syncpoint)?;
    catch_up(system, id, source.id, syncpoint)?;
    Ok(store.forget_nesting(lock, id)?)
}

/// Gives those snapshots of other programs their /etc for which that was cut off. What stays undone is told.
pub(super) fn finish_nesting(system: &System, inventory: &Inventory) {
    let finish = |id| -> Result<()> {
        let store = &system.store;
        if store.nesting_noted(id)?.is_none() {
            return Ok(());
        }
        // snapper's plugin is at work otherwise
        let lock = match WriteLock::directory(&store.dir(id)) {
            Err(LockError::Held(..)) => return Ok(()),
            other => other?,
        };
        if store.nesting_noted(id)?.is_none() {
            return Ok(()); // it has ended just now
        }
        let in_use = [inventory.booted, inventory.current, inventory.default].contains(&Some(id));
        let snapshot = inventory.get(id).filter(|s| s.subvolume.is_some());
        if in_use || snapshot.is_none_or(Snapshot::in_progress) {
            return Ok(store.forget_nesting(&lock, id)?);
        }
        store.unnest_etc(&lock, id)?;
        nest_etc(system, &lock, inventory, id)?;
        out::say(format_args!(
            "Snapshot {id} has its /etc: giving it was cut off."
        ));
        Ok(())
    };
    for id in inventory.snapshots.keys() {
        finish(*id).unwrap_or_else(|e| {
            out::warn(format_args!(
                "snapshot {id} lacks its /etc, or a part of it: {e:#}"
            ));
        });
    }
}

/// Takes what was changed in the running /etc since the pending `base` was made over into the new snapshot `id`,
/// so that what runs there sees it; what the update changed as well is told.
///
/// # Errors
/// When one of the three states cannot be read, or the new one not be written.
pub(super) fn catch_up(
    system: &System,
    id: SnapshotId,
    base: SnapshotId,
    to: Syncpoint,
) -> Result<()> {
    let store = &system.store;
    let (Syncpoint::OfRunning(_), Some(base), Some(ours), Some(theirs)) = (
        to,
        store.open_syncpoint(base)?,
        store.open_syncpoint(id)?,
        store.open_etc(id)?,
    ) else {
        return Ok(());
    };
    let trees = Trees {
        base: Tree::of(base)?,
        ours: Tree::of(ours)?,
        theirs: Tree::of(theirs)?,
    };
    let plan = Plan::of(&trees)?;
    plan.apply(&trees).with_context(|| {
        format!("taking the changes of the running etc over into snapshot {id}")
    })?;
    for conflict in plan.conflicts() {
        out::warn(format_args!("in the etc of snapshot {id}: {conflict}"));
    }
    Ok(())
}

/// Takes over into the etc of `to` what was changed in that of the snapshot which its syncpoint names, where those are
/// subvolumes. That is the running one, unless it was gone back from what `to` was made from.
///
/// # Errors
/// When that one has no etc, or nothing says which it is; the syncpoint stays.
pub fn merge(system: &System, to: SnapshotId) -> Result<Option<Plan>> {
    let store = &system.store;
    let (Some(base), Some(theirs)) = (store.open_syncpoint(to)?, store.open_etc(to)?) else {
        return Ok(None);
    };
    let base = Tree::of(base)?;
    if base.is_merged() || base.is_empty()? {
        return Ok(None);
    }
    let from = store.compare_with(to)?.ok_or_else(|| {
        anyhow!("nothing says which etc is to be merged into that of snapshot {to}; reboot instead")
    })?;
    let ours = store.open_etc(from)?.ok_or_else(|| {
        anyhow!("snapshot {from}, whose etc is to be merged into that of snapshot {to}, has none")
    })?;
    let trees = Trees {
        base,
        ours: Tree::of(ours)?,
        theirs: Tree::of(theirs)?,
    };
    let plan = Plan::of(&trees)?;
    plan.apply(&trees)
        .with_context(|| format!("merging the etc of snapshot {from} into that of {to}"))?;
    Ok(Some(plan))
}

/// Removes the syncpoint of a snapshot that runs.
///
/// # Errors
/// The first step that failed; the next call does the rest.
pub fn forget(system: &System, id: SnapshotId) -> Result<()> {
    if system.store.open_syncpoint(id)?.is_some() {
        crate::etc::forget(&system.store.path(id).join("etc").join(SYNCPOINT))?;
    }
    Ok(())
}

/// Whether /etc of snapshot `id`, where it is a subvolume, has the content of that of `base`.
///
/// # Errors
/// When one of them cannot be read.
pub(super) fn is_same(system: &System, id: SnapshotId, base: SnapshotId) -> Result<bool> {
    let store = &system.store;
    let etc = |id| store.open_etc(id);
    let (Some(new), Some(old)) = (etc(id)?, etc(base)?) else {
        return Ok(true);
    };
    // that of the running system goes on changing; the syncpoint is what it was
    let before: OwnedFd = match store.open_syncpoint(id)? {
        Some(syncpoint) if store.compare_with(id)? == Some(base) => syncpoint,
        _ => old,
    };
    unchanged::is_same(&before, &new).context("comparing etc with that of the base")
}

#[cfg(test)]
mod tests {
    use crate::{etc, snapshot};

    #[test]
    fn whoever_makes_a_syncpoint_and_whoever_merges_it_use_the_same_names() {
        assert_eq!(snapshot::SYNCPOINT, etc::SYNCPOINT);
        assert_eq!(snapshot::COMPARE_WITH, etc::COMPARE_WITH);
    }
}
