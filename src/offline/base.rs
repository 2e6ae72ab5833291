//! The running system, as a plan describes it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Error, Result, anyhow, bail};

use super::plan::Base;
use super::state::Strategy;
use crate::rpmdb::{Database, OpenOptions};
use crate::snapshot::{Inventory, Snapshot, Subvolume};
use crate::sys::{Doing, mount};
use crate::transaction::System;

/// The running system as the base of a plan, and the strategy that suits it.
///
/// # Errors
/// When it is not what boots next, or is no snapshot; when its RPM database cannot be read.
pub fn running(system: &System) -> Result<(Base, Strategy)> {
    let inventory = system.store.inventory()?;
    let booted = booted(&inventory)?;
    let subvolume = booted.subvolume.as_ref().context("it has no subvolume")?;
    Ok((of(system, subvolume)?, strategy(system, subvolume)?))
}

/// The snapshot that was booted, when it is whole in use and boots next, too.
fn booted(inventory: &Inventory) -> Result<&Snapshot> {
    let id = inventory
        .booted
        .ok_or_else(|| anyhow!("the running system was not booted from a snapshot"))?;
    if inventory.current != Some(id) {
        bail!(
            "`apply` has switched the running system from snapshot {id} to another one; reboot, then prepare the update"
        );
    }
    match inventory.default {
        Some(default) if default == id => {}
        Some(default) => bail!(
            "snapshot {default} boots next, and an offline update is for the running snapshot {id}: reboot first, or drop what \
             is pending with `discard`"
        ),
        None => bail!("what boots next is no snapshot; `rollback` makes the running one boot next"),
    }
    inventory
        .get(id)
        .with_context(|| format!("there is no snapshot {id}"))
}

fn of(system: &System, subvolume: &Subvolume) -> Result<Base> {
    let database = database(system)?;
    Ok(Base {
        subvolume: subvolume.id,
        uuid: subvolume.uuid.to_string(),
        // which file system it is on is told by the UUID
        rpmdb: serde_json::to_string(&database.fingerprint()?.on_any_filesystem())?,
        // what is mounted read-only can be written elsewhere, as /etc is
        generation: subvolume.read_only.then_some(subvolume.generation),
    })
}

/// Whether an update of the running system can be carried out so, where `suits` is what suits it.
///
/// # Errors
/// Why it cannot.
pub(super) fn allows(system: &System, strategy: Strategy, suits: Strategy) -> Result<()> {
    if strategy == Strategy::NewSnapshot {
        return Ok(());
    }
    if suits == Strategy::NewSnapshot {
        bail!("the root is read-only, so it cannot be updated in place; leave --strategy out");
    }
    let database = database(system)?;
    let device = |path: &Path| {
        let stat = std::fs::metadata(path).doing(|| format!("looking at {}", path.display()))?;
        Ok::<_, Error>(stat.dev())
    };
    // each subvolume is a device of its own
    if device(database.path())? != device(system.root.path())? {
        bail!(
            "the RPM database ({}) is not in the subvolume of the root, and going back would not take it along; choose \
             --strategy new-snapshot",
            database.path().display()
        );
    }
    Ok(())
}

fn database(system: &System) -> Result<Database> {
    Database::open(&system.root, &OpenOptions::default())?.context("the system has no RPM database")
}

/// A root that cannot be written is not changed in place.
fn strategy(system: &System, subvolume: &Subvolume) -> Result<Strategy> {
    let mounts = mount::mounts().doing(|| "reading the mounts".into())?;
    let root = mount::mount_of(&mounts, system.root.path());
    Ok(
        match subvolume.read_only || root.is_some_and(|m| m.read_only) {
            true => Strategy::NewSnapshot,
            false => Strategy::InPlace,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Metadata, SnapshotId};

    fn inventory(booted: u32, current: u32, default: Option<u32>) -> Inventory {
        let id = |number| SnapshotId::new(number).unwrap();
        let mut inventory = Inventory {
            booted: Some(id(booted)),
            current: Some(id(current)),
            default: default.map(id),
            ..Inventory::default()
        };
        for number in 1..3 {
            let snapshot = Snapshot {
                id: id(number),
                subvolume: Some(Subvolume::default()),
                metadata: Metadata::Missing,
            };
            inventory.snapshots.insert(id(number), snapshot);
        }
        inventory
    }

    #[test]
    fn only_the_running_system_that_boots_next_is_a_base() {
        let whole = inventory(1, 1, Some(1));
        assert_eq!(booted(&whole).unwrap().id.number(), 1);
        for (inventory, words) in [
            (Inventory::default(), "was not booted from a snapshot"),
            (inventory(1, 2, Some(1)), "`apply` has switched"),
            (inventory(1, 1, Some(2)), "snapshot 2 boots next"),
            (inventory(1, 1, None), "what boots next is no snapshot"),
            (inventory(3, 3, Some(3)), "there is no snapshot 3"),
        ] {
            let error = booted(&inventory).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
