//! Going back to a snapshot.

use std::fmt::Display;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::snapshot::{BaseRef, Info, Inventory, Metadata, Snapshot, SnapshotId, Syncpoint, key};
use crate::sys::lock::WriteLock;
use crate::sys::{failpoint, out, signal, time};
use crate::transaction::{Ready, Restart, System, ask_for_registration, recover};

/// Where to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The running system: a pending update is no longer the next one.
    Current,
    /// The newest snapshot that was booted before the running one.
    Last,
    /// This one.
    Snapshot(SnapshotId),
}

/// What boots next after going back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RolledBack {
    /// It is that already; the snapshot that `last` would go to, when there is one.
    AlreadyNext(SnapshotId, Option<SnapshotId>),
    /// The snapshot itself.
    To(SnapshotId),
    /// A read-write copy of a snapshot; the running system was saved.
    ToCopy {
        /// The snapshot that was asked for.
        of: SnapshotId,
        /// The copy, which boots next.
        copy: SnapshotId,
        /// The read-only snapshot of the running system.
        saved: SnapshotId,
    },
}

/// Makes `target` what boots next. On a system whose root is read-write that is a copy, since the snapshots
/// themselves may be read-only and should stay what they are.
///
/// # Errors
/// When there is no such snapshot, or it is in use by a transaction, not understood or could not boot.
pub fn rollback(system: &System, lock: &WriteLock, target: Target) -> Result<RolledBack> {
    let mut inventory = system.store.inventory()?;
    recover(system, lock, &mut inventory)?;
    let current = inventory
        .current
        .context("the running system is no snapshot")?;
    let to = match target {
        Target::Current => current,
        Target::Snapshot(id) => id,
        Target::Last => last_good(&inventory).with_context(|| {
            format!("no snapshot is known to have run before #{current}; `list` shows those there are, `rollback N` takes one")
        })?,
    };
    if inventory.default == Some(to) && system.entry_boots(to)? {
        return Ok(RolledBack::AlreadyNext(
            to,
            last_good(&inventory).filter(|l| *l != to),
        ));
    }
    let snapshot = usable(&inventory, to)?;
    let ready = system.check_bootable(to)?;
    let read_write = inventory
        .get(current)
        .and_then(|s| s.subvolume.as_ref())
        .is_some_and(|s| !s.read_only);
    if read_write && to != current {
        return copy(system, lock, &inventory, current, snapshot);
    }
    // from here on the description may hold a note of the way back, which the switch takes out again
    signal::check()?;
    if let Err(e) = keep(system, lock, snapshot, &ready) {
        // going back must work on a full disk; while it is the default, snapper does not delete it anyway
        out::warn(format_args!(
            "a clean-up may delete snapshot {to} once it is not the next one: {e:#}"
        ));
    }
    ask_for_registration(system, current, to);
    system.note_switch(lock, to, restart(to == current));
    if let Err(e) = system.switch(lock, ready) {
        system.forget_switch(lock, to);
        return Err(e);
    }
    if let Some(default) = inventory.default {
        tell(system, default, to);
    }
    Ok(RolledBack::To(to))
}

/// The newest snapshot below the running one that is known to have run.
#[must_use]
pub fn last_good(inventory: &Inventory) -> Option<SnapshotId> {
    let current = inventory.current?;
    let older = inventory.snapshots.range(..current).rev();
    older
        .map(|(_, s)| s)
        .find(|s| s.is_whole() && s.was_booted())
        .map(|s| s.id)
}

fn usable(inventory: &Inventory, id: SnapshotId) -> Result<&Snapshot> {
    let Some(snapshot) = inventory.get(id) else {
        bail!("there is no snapshot {id}; `list` shows those there are");
    };
    match &snapshot.metadata {
        _ if snapshot.subvolume.is_none() => {
            bail!("snapshot {id} has no subvolume; it cannot be booted")
        }
        Metadata::Good(info) if info.in_progress() => {
            bail!("snapshot {id} belongs to a transaction that has not ended; it cannot be booted")
        }
        Metadata::Good(_) if snapshot.is_half_changed() => {
            bail!(
                "snapshot {id} was being updated in place and may be half changed; it cannot be booted"
            )
        }
        Metadata::Good(_) => Ok(snapshot),
        Metadata::Missing => {
            bail!("snapshot {id} has no info.xml; whether it is whole is not known")
        }
        Metadata::Bad(why) => bail!(
            "the info.xml of snapshot {id} is not understood ({why}); whether it is whole is not known"
        ),
    }
}

/// What it takes to get into the system that was chosen.
fn restart(runs: bool) -> Restart {
    if runs { Restart::None } else { Restart::Reboot }
}

/// What boots next must not be cleaned up.
fn keep(system: &System, lock: &WriteLock, snapshot: &Snapshot, ready: &Ready) -> Result<()> {
    match snapshot.info() {
        Some(info) if !info.cleanup.is_empty() => {
            let mut info = info.clone();
            info.cleanup.clear();
            ready.note_in(&mut info);
            Ok(system.store.modify(lock, snapshot.id, &info)?)
        }
        _ => Ok(()),
    }
}

/// Tells snapper's plugins, as snapper does after a rollback.
fn tell(system: &System, old: SnapshotId, new: SnapshotId) {
    let store = &system.store;
    let (old_path, new_path) = (store.path(old), store.path(new));
    store
        .plugins()
        .rolled_back((old, &old_path), (new, &new_path));
}

fn copy(
    system: &System,
    lock: &WriteLock,
    inventory: &Inventory,
    current: SnapshotId,
    of: &Snapshot,
) -> Result<RolledBack> {
    let mut made = Made {
        system,
        lock,
        snapshots: Vec::new(),
    };
    let current = inventory
        .get(current)
        .context("the running system is no snapshot")?;
    let saved = made.snapshot(
        inventory,
        current,
        true,
        format_args!("Backup of #{} before rollback to #{}", current.id, of.id),
    )?;
    let copy = made.snapshot(inventory, of, false, format_args!("Copy of #{}", of.id))?;
    system.store.sync()?;
    failpoint::hit("rollback-synced")?;
    signal::check()?;
    // neither is whole without the other
    made.describe()?;
    if let Err(e) = system.switch_to(lock, copy) {
        if system.may_still_boot(copy, &e) {
            made.keep();
        }
        return Err(e);
    }
    made.keep();
    tell(system, saved, copy);
    Ok(RolledBack::ToCopy {
        of: of.id,
        copy,
        saved,
    })
}

/// Snapshots made on the way, each with what it is described as in the end; gone again unless all of it succeeds.
struct Made<'s> {
    system: &'s System,
    lock: &'s WriteLock,
    snapshots: Vec<(SnapshotId, Info)>,
}

impl Made<'_> {
    fn snapshot(
        &mut self,
        inventory: &Inventory,
        of: &Snapshot,
        read_only: bool,
        description: impl Display,
    ) -> Result<SnapshotId> {
        let store = &self.system.store;
        let uuid = of
            .uuid()
            .context("the snapshot has no subvolume")?
            .to_string();
        let base = BaseRef { id: of.id, uuid };
        let describe = |id| {
            let mut info = Info::new(id, time::utc(SystemTime::now()), description.to_string());
            info.userdata.insert(key::BASE.into(), base.to_string());
            if !read_only {
                info.cleanup.clear(); // it is about to boot
                let restart = restart(false).name().to_owned();
                info.userdata.insert(key::UNTOLD.into(), restart);
            }
            info
        };
        let unfinished = |id| {
            let mut info = describe(id);
            info.begin_transaction();
            info
        };
        let id = store.reserve(self.lock, inventory, unfinished)?;
        self.snapshots.push((id, describe(id)));
        failpoint::hit("rollback-reserved")?;
        store.create(self.lock, id, of.id, Syncpoint::OfBase)?;
        failpoint::hit("rollback-created")?;
        if read_only {
            store.set_read_only(self.lock, id, true)?;
        }
        Ok(id)
    }

    /// Says that they are whole, which they are on disk.
    fn describe(&self) -> Result<()> {
        for (id, info) in &self.snapshots {
            self.system.store.write_info(self.lock, *id, info)?;
            failpoint::hit("rollback-described")?;
        }
        Ok(())
    }

    fn keep(mut self) {
        self.snapshots.clear();
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        for (id, _) in &self.snapshots {
            if let Err(e) = self.system.delete(self.lock, *id) {
                out::warn(format_args!(
                    "snapshot {id} could not be removed: {e}: {}",
                    e.cause()
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Subvolume;

    #[test]
    fn the_last_good_snapshot_is_the_newest_older_one_that_ran() {
        let id = |n| SnapshotId::new(n).unwrap();
        let mut inventory = Inventory {
            current: Some(id(5)),
            ..Inventory::default()
        };
        for (n, booted, whole) in [
            (1, true, true),
            (2, true, true),
            (3, true, false),
            (4, false, true),
            (6, true, true),
        ] {
            let mut info = Info::new(id(n), String::new(), String::new());
            if booted {
                info.userdata.insert(key::BOOTED.into(), "t".into());
            }
            let subvolume = whole.then(Subvolume::default);
            inventory.snapshots.insert(
                id(n),
                Snapshot {
                    id: id(n),
                    subvolume,
                    metadata: Metadata::Good(info),
                },
            );
        }
        assert_eq!(last_good(&inventory), Some(id(2)));
        inventory.current = Some(id(1));
        assert_eq!(last_good(&inventory), None);
    }
}
