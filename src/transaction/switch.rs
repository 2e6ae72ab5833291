//! Making a snapshot what boots next, with a note of the way back in its info.xml for as long as it is not shown
//! that it boots.

use std::os::fd::AsFd;

use anyhow::{Context, Error, Result};

use super::{System, etc};
use crate::boot::{self, BootError, Bootable, Candidate, Cause, Loader, Previous};
use crate::snapshot::{Event, Info, Inventory, Metadata, SnapshotId, key};
use crate::sys::lock::WriteLock;
use crate::sys::{Failure, beneath, out};

/// A snapshot that was shown bootable as far as can be seen before it is the next one, and the way back.
#[derive(Debug)]
#[must_use]
pub struct Ready {
    id: SnapshotId,
    next: Bootable,
    previous: Previous,
}

impl Ready {
    /// Notes the way back in the description of the snapshot, where it may be needed after a cut. What writes
    /// the description anyway saves [`System::switch`] from writing it once more.
    pub fn note_in(&self, info: &mut Info) {
        if self.needs_proof() {
            let way_back = self.previous.to_string();
            info.userdata.insert(key::UNPROVED.into(), way_back);
        }
    }

    /// Whether the proof comes after the switch.
    #[must_use]
    pub fn needs_proof(&self) -> bool {
        self.previous.needs_proof()
    }
}

impl System {
    /// Makes snapshot `id` what boots next, after showing that it can boot.
    ///
    /// # Errors
    /// When it cannot boot or the switch fails; what booted before is the next one then.
    pub fn switch_to(&self, lock: &WriteLock, id: SnapshotId) -> Result<()> {
        let ready = self.check_bootable(id)?;
        self.switch(lock, ready)
    }

    /// Shows that snapshot `id` can boot.
    ///
    /// # Errors
    /// Names what is missing.
    pub fn check_bootable(&self, id: SnapshotId) -> Result<Ready> {
        let (next, loader) = self.bootable(id)?;
        Ok(Ready {
            id,
            next,
            previous: Previous::ask(loader, self.store.default_subvolume()?)?,
        })
    }

    fn bootable(&self, id: SnapshotId) -> Result<(Bootable, Loader)> {
        etc::is_there(self, id)?;
        let snapshot = self.store.open_snapshot(id)?;
        let loader = self.loader(&snapshot)?;
        if loader == Loader::None {
            out::detail("No boot loader was found: only the default subvolume is switched.");
        }
        let candidate = Candidate {
            number: id.number(),
            subvolume: self.store.subvolume_id(id)?,
            path: &self.store.path_inside(id),
            snapshot: snapshot.as_fd(),
        };
        let next = boot::check(loader, &self.root, &candidate)
            .with_context(|| format!("snapshot {id} is not made the next one"))?;
        Ok((next, loader))
    }

    /// Whether the loader's default entry, where it has one, boots snapshot `id`: the default subvolume alone
    /// does not tell that.
    ///
    /// # Errors
    /// When the entries cannot be read.
    pub fn entry_boots(&self, id: SnapshotId) -> Result<bool> {
        Ok(self.next_entry_boots(id)?.unwrap_or(true))
    }

    /// The same; `None` where the loader has no default entry.
    ///
    /// # Errors
    /// As there.
    pub fn next_entry_boots(&self, id: SnapshotId) -> Result<Option<bool>> {
        let entry = boot::next_entry(&self.root)?;
        Ok(entry.map(|e| e.boots(&self.store.path_inside(id))))
    }

    /// Checks that the loader's partition has room for another kernel and initrd on snapshot `id`, where they are put there.
    ///
    /// # Errors
    /// When it has not, or that cannot be told.
    pub fn has_room_to_boot(&self, id: SnapshotId) -> Result<()> {
        let snapshot = self.store.open_snapshot(id)?;
        let loader = self.loader(&snapshot)?;
        Ok(boot::room(loader, &self.root, &snapshot, None)?)
    }

    /// Makes a snapshot that was shown bootable what boots next.
    ///
    /// # Errors
    /// When it fails; what booted before is the next one then, but for [`BootError::SwitchAndUndo`].
    pub fn switch(&self, lock: &WriteLock, ready: Ready) -> Result<()> {
        let Ready { id, next, previous } = ready;
        let noted = previous.needs_proof() && self.note(lock, id, Some(&previous));
        let switched = boot::switch(&self.root, &self.lend(lock, id), &previous, next);
        // a way back that is not done has to be found by the next command
        if noted && !matches!(switched, Err(BootError::SwitchAndUndo(..))) {
            self.note(lock, id, None);
        }
        Ok(switched?)
    }

    /// Deletes a snapshot as [`Store::delete`](crate::snapshot::Store::delete) does, with what is left of it on the
    /// loader's partition.
    ///
    /// # Errors
    /// When the snapshot cannot be deleted.
    pub fn delete(&self, lock: &WriteLock, id: SnapshotId) -> Result<(), Failure> {
        self.store.delete(lock, id, || self.forget(id))
    }

    /// Deletes a snapshot that was complete as [`Store::retire`](crate::snapshot::Store::retire) does, with what is
    /// left of it on the loader's partition.
    ///
    /// # Errors
    /// When the snapshot cannot be deleted.
    pub fn retire(&self, lock: &WriteLock, id: SnapshotId) -> Result<(), Failure> {
        self.store.retire(lock, id, || self.forget(id))
    }

    /// An entry of what is gone takes room and does not boot, but nothing depends on that.
    fn forget(&self, id: SnapshotId) {
        let root = beneath::open_root(self.root.path());
        let Some(loader) = root.ok().and_then(|root| boot::detect(root).ok()) else {
            return;
        };
        if !self.root.is_live() {
            if loader == Loader::Bls {
                out::warn(format_args!(
                    "boot entries of snapshot {id} may be left on the ESP; `sdbootutil cleanup {id}` on the running \
                     system removes them"
                ));
            }
            return;
        }
        let path = self.store.path_inside(id);
        if let Err(e) = boot::forget(loader, &self.root, id.number(), &path) {
            out::warn(format_args!(
                "boot entries of snapshot {id} are left behind: {e}"
            ));
        }
    }

    /// Whether an entry may still boot snapshot `id` after a switch to it failed with `error`: then it must not be
    /// deleted before the way back, which stands in its description, was gone.
    #[must_use]
    pub fn may_still_boot(&self, id: SnapshotId, error: &Error) -> bool {
        let failed = error.downcast_ref::<BootError>();
        let metadata = self.store.metadata(id);
        matches!(failed, Some(BootError::SwitchAndUndo(..)))
            && matches!(metadata, Metadata::Good(info) if info.userdata.contains_key(key::UNPROVED))
    }

    fn lend<'l>(&'l self, lock: &'l WriteLock, id: SnapshotId) -> Lent<'l> {
        Lent {
            system: self,
            lock,
            id,
        }
    }

    /// Writes the way back into the description of snapshot `id`, or takes it out; whether it is there then. A
    /// disk that is too full for that must not stop somebody from going back.
    fn note(&self, lock: &WriteLock, id: SnapshotId, way_back: Option<&Previous>) -> bool {
        let Metadata::Good(mut info) = self.store.metadata(id) else {
            return false;
        };
        let before = info.userdata.remove(key::UNPROVED);
        let now = way_back.map(Previous::to_string);
        if let Some(text) = &now {
            info.userdata.insert(key::UNPROVED.into(), text.clone());
        }
        if before == now {
            return now.is_some();
        }
        match self.store.write_info(lock, id, &info) {
            Ok(()) => now.is_some(),
            Err(e) => {
                out::warn(format_args!("{e}: {}", e.cause()));
                // the error may have come after the rename: what is there now has to be taken out later
                matches!(self.store.metadata(id), Metadata::Good(info) if info.userdata.contains_key(key::UNPROVED))
            }
        }
    }
}

/// Finishes switches that were cut off before it was shown that the new default boots, or goes back. What stays
/// undone is told, and is done by the next command.
pub(super) fn finish(system: &System, lock: &WriteLock, inventory: &mut Inventory) {
    let unproved = |s: &crate::snapshot::Snapshot| {
        let way_back = s.userdata(key::UNPROVED).filter(|_| !s.in_progress())?;
        Some((s.id, way_back.parse::<Previous>()))
    };
    let all: Vec<_> = inventory.snapshots.values().filter_map(unproved).collect();
    for (id, previous) in all {
        if !system.root.is_live() {
            out::warn(format_args!(
                "whether snapshot {id} boots is not known; this is found out when its system runs"
            ));
            continue;
        }
        let done = match previous {
            Ok(previous) if inventory.default == Some(id) => {
                finish_default(system, lock, inventory, id, &previous)
            }
            Ok(previous) => previous
                .put_entry_back_from(&system.root, &system.store.path_inside(id))
                .map_err(|e| format!("the boot entry could not be put back: {e}")),
            Err(_) => Ok(()), // nothing that could be gone back to
        };
        match done {
            Ok(()) => {
                system.note(lock, id, None);
                // or whoever writes it next would bring the note back
                if let Some(snapshot) = inventory.snapshots.get_mut(&id) {
                    snapshot.metadata = system.store.metadata(id);
                }
            }
            Err(why) => out::warn(format_args!(
                "the switch to snapshot {id} was cut off, and it is not known to be bootable: {why}"
            )),
        }
    }
}

fn finish_default(
    system: &System,
    lock: &WriteLock,
    inventory: &mut Inventory,
    id: SnapshotId,
    previous: &Previous,
) -> Result<(), String> {
    let lent = system.lend(lock, id);
    let finished = system
        .bootable(id)
        .map_err(|e| Cause::from(format!("{e:#}")))
        .and_then(|(next, _)| boot::finish(&lent, &next));
    match finished {
        Ok(()) => {
            out::say(format_args!(
                "Snapshot {id} is the next system: a switch that was cut off is complete."
            ));
            return Ok(());
        }
        // it runs, so going back is for a person to decide
        Err(cause) if inventory.booted == Some(id) => return Err(cause.to_string()),
        Err(cause) => match boot::undo(&system.root, &lent, previous, cause) {
            BootError::Switch(cause) => out::warn(format_args!(
                "the switch to snapshot {id} was cut off and could not be completed; what booted before is the \
                 next one again: {cause}"
            )),
            error => return Err(error.to_string()),
        },
    }
    let mut all = inventory.snapshots.values();
    let is_it = |s: &&crate::snapshot::Snapshot| {
        s.subvolume.as_ref().map(|v| v.id) == Some(previous.subvolume())
    };
    inventory.default = all.find(is_it).map(|s| s.id);
    Ok(())
}

/// Lends the store's default subvolume to [`boot`], which is the only one to set it, and snapper's plugins.
struct Lent<'s> {
    system: &'s System,
    lock: &'s WriteLock,
    id: SnapshotId,
}

impl boot::DefaultSubvolume for Lent<'_> {
    fn before(&self) {
        let plugins = self.system.store.plugins();
        plugins.before(Event::SetDefault, self.id);
    }

    fn set(&self, subvolume: u64) -> Result<(), Cause> {
        Ok(self.system.store.set_default(self.lock, subvolume)?)
    }

    fn commit(&self) -> Result<(), Cause> {
        Ok(self.system.store.commit()?)
    }

    fn after(&self) {
        let plugins = self.system.store.plugins();
        plugins.after(Event::SetDefault, self.id);
    }
}
