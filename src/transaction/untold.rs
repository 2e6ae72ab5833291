//! A switch that others do not know of yet: those who read the history, the old state file or the wish for a reboot.
//!
//! The note stands in info.xml before the switch and goes once all were told, so that recovery can tell them.

use crate::snapshot::{Inventory, Metadata, SnapshotId, key};
use crate::sys::lock::WriteLock;
use crate::sys::out;

use super::record::{Record, Restart, ask_for_restart, forget_restart};
use super::sealed::Published;
use super::state::{StateChange, keep_state};
use super::{System, record};

impl System {
    /// Notes that snapshot `id` is about to be the next system, for which `restart` is needed. A disk that is too full
    /// for that must not stop somebody from going back.
    pub fn note_switch(&self, lock: &WriteLock, id: SnapshotId, restart: Restart) {
        self.write_note(lock, id, Some(restart));
    }

    /// Removes the note of [`System::note_switch`], when all were told, or there is nothing to tell.
    pub fn forget_switch(&self, lock: &WriteLock, id: SnapshotId) {
        self.write_note(lock, id, None);
    }

    /// Tells those who wait for it that a snapshot is the next system: the history, which has `record` of it, who restarts the
    /// system, unless that is on its way already (`restarts`), and who reads the old state file. Then nothing is left for recovery to
    /// tell.
    pub fn tell_published(
        &self,
        lock: &WriteLock,
        done: &Published,
        record: Record<'_>,
        restarts: bool,
    ) {
        let record = Record {
            result: "published",
            snapshot: Some(done.id.number()),
            base: Some(done.base.number()),
            ..record
        };
        record.append(self).unwrap_or_else(record::gap);
        if !restarts {
            ask_for_restart(self, done.restart).unwrap_or_else(record::unknown_reboot);
        }
        keep_state(self, StateChange::Published(done.id, done.restart));
        self.forget_switch(lock, done.id);
    }

    fn write_note(&self, lock: &WriteLock, id: SnapshotId, restart: Option<Restart>) {
        let Metadata::Good(mut info) = self.store.metadata(id) else {
            return;
        };
        let before = info.userdata.remove(key::UNTOLD);
        let now = restart.map(|restart| restart.name().to_owned());
        info.userdata
            .extend(now.clone().map(|name| (key::UNTOLD.into(), name)));
        if before == now {
            return;
        }
        let written = match now {
            Some(_) => self.store.write_info(lock, id, &info),
            // nobody waits for it, and told twice is not told wrongly
            None => self.store.drop_note(lock, id, &info),
        };
        if let Err(e) = written {
            out::warn(format_args!("{e}: {}", e.cause()));
        }
    }
}

/// Tells of the switches that were cut off before others knew, and names the snapshots that did not get there.
pub(super) fn tell(system: &System, lock: &WriteLock, inventory: &mut Inventory) {
    // where its /var is, is known only when it runs; then it is told
    if !system.root.is_live() {
        return;
    }
    let untold = |s: &crate::snapshot::Snapshot| {
        let note = s.userdata(key::UNTOLD).filter(|_| !s.in_progress())?;
        Some((s.id, Restart::parse(note.as_bytes())))
    };
    let all: Vec<_> = inventory.snapshots.values().filter_map(untold).collect();
    for (id, restart) in all {
        if inventory.default == Some(id) {
            tell_of(system, inventory, id, restart);
        } else {
            out::say(format_args!(
                "The command that was about to make snapshot {id} the next system was cut off; `rollback {id}` does it."
            ));
        }
        system.forget_switch(lock, id);
        // or whoever writes it next would bring the note back
        if let Some(snapshot) = inventory.snapshots.get_mut(&id) {
            snapshot.metadata = system.store.metadata(id);
        }
    }
}

fn tell_of(system: &System, inventory: &Inventory, id: SnapshotId, restart: Restart) {
    let snapshot = inventory.get(id);
    let record = Record {
        result: "recovered",
        snapshot: Some(id.number()),
        base: snapshot.and_then(|s| Some(s.base()?.id.number())),
        ..Record::default()
    };
    record.append(system).unwrap_or_else(record::gap);
    let change = match snapshot.is_some_and(|s| s.was_booted()) {
        true => StateChange::RolledBack(id),
        false => StateChange::Published(id, restart),
    };
    keep_state(system, change);
    let runs = [inventory.booted, inventory.current] == [Some(id); 2];
    let asked = match restart {
        Restart::None if runs => forget_restart(system),
        _ if runs => Ok(()), // there was a reboot since
        restart => ask_for_restart(system, restart),
    };
    asked.unwrap_or_else(record::unknown_reboot);
}
