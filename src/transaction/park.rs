//! A transaction that stays open between two processes: what `tukit open` leaves for `call` and `close`.
//!
//! Between the calls there is no process, no mount and nothing in memory: all that is known is in info.xml, and
//! the base tells the rest. While a call runs, the write lock keeps others away, and info.xml stays as it is, so
//! that a call which is killed leaves an open transaction.

use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::Options;
use super::hidden::Content;
use super::open::DATABASE_LINK;
use super::plugins::{Plugins, number};
use super::record::Restart;
use super::{Open, System, carry, preflight, recover};
use crate::sandbox::Plan;
use crate::snapshot::{Inventory, Snapshot, SnapshotId, key};
use crate::sys::lock::WriteLock;
use crate::sys::{beneath, failpoint, out, owner, signal};

impl<'s> Open<'s> {
    /// Leaves the transaction open for another process, with everything on disk.
    ///
    /// # Errors
    /// When it cannot be written or a plugin failed; the snapshot is gone then.
    pub fn park(mut self) -> Result<SnapshotId> {
        match self.parked() {
            Ok(()) => Ok(self.id),
            Err(cause) => Err(self.abort_because(cause)),
        }
    }

    fn parked(&mut self) -> Result<()> {
        self.call_plugins("keep-pre")?;
        let mounts = self
            .mounts
            .take()
            .context("the transaction has no mounts")?;
        let restart = Restart::noted_in(mounts.fd()).max(self.restart_so_far());
        carry::initrd_wishes(self.system, mounts.fd());
        failpoint::hit("wishes-carried")?;
        mounts.take_away()?;
        self.system.store.sync()?;
        failpoint::hit("park-synced")?;
        self.note(restart)?;
        failpoint::hit("parked")?;
        self.armed = false;
        Ok(self.plugins.call("keep-post", [number(self.id)])?)
    }

    /// Writes down that the transaction is open, when that is not known yet.
    fn note(&mut self, restart: Option<Restart>) -> Result<()> {
        let before = self.info.clone();
        let mut set = |key: &str, value: &str| {
            self.info.userdata.insert(key.into(), value.into());
        };
        set(key::OWNER, key::OPEN);
        set(key::BOOT, &owner::boot_id());
        // it is not forgotten any more
        self.info.cleanup.clear();
        if self.options.drop_if_unchanged {
            set(key::DISCARD, "yes");
        }
        if let Some(restart) = restart {
            set(key::RESTART, restart.name());
        }
        if self.info != before {
            let store = &self.system.store;
            store.write_info(self.lock, self.id, &self.info)?;
        }
        Ok(())
    }

    /// How the system has to be restarted for what earlier calls did, when they said so.
    pub(super) fn restart_so_far(&self) -> Option<Restart> {
        let noted = self.info.userdata.get(key::RESTART)?;
        Some(Restart::parse(noted.as_bytes()))
    }

    /// Continues the open transaction `id`. Until it is sealed or aborted, it stays open however this process ends.
    ///
    /// # Errors
    /// When `id` is no open transaction or cannot be mounted; it stays as it is then. When a plugin failed,
    /// it is gone.
    pub fn resume(
        system: &'s System,
        lock: &'s WriteLock,
        id: SnapshotId,
        options: Options,
    ) -> Result<Open<'s>> {
        let mut open = Open::reopen(system, lock, id, options)?;
        open.mount()?;
        match open.call_plugins("resume-post") {
            Ok(()) => Ok(open),
            Err(cause) => Err(open.abort_because(cause)),
        }
    }

    /// Gives up the open transaction `id`, also when it can no longer be mounted.
    ///
    /// # Errors
    /// When `id` is no open transaction, or cannot be removed; or when a plugin failed that had to know of it.
    pub fn abort_parked(
        system: &'s System,
        lock: &'s WriteLock,
        id: SnapshotId,
        options: Options,
    ) -> Result<()> {
        let mut open = Open::reopen(system, lock, id, options)?;
        let resumed = match open.mount() {
            Ok(()) => open.call_plugins("resume-post"),
            Err(e) => {
                out::warn(format_args!("snapshot {id} cannot be mounted: {e:#}"));
                Ok(())
            }
        };
        match resumed {
            Ok(()) => open.abort(),
            Err(cause) => Err(open.abort_because(cause)),
        }
    }

    fn reopen(
        system: &'s System,
        lock: &'s WriteLock,
        id: SnapshotId,
        mut options: Options,
    ) -> Result<Open<'s>> {
        preflight::not_inside_another()?;
        let mut inventory = system.store.inventory()?;
        recover(system, lock, &mut inventory)?;
        let snapshot = open_transaction(&inventory, id)?;
        let info = snapshot.info().cloned().unwrap_or_default();
        let base_ref = snapshot.base();
        let base = base_ref
            .as_ref()
            .and_then(|b| inventory.get(b.id))
            .filter(|s| {
                s.uuid().map(|uuid| uuid.to_string()) == base_ref.as_ref().map(|b| b.uuid.clone())
            });
        options.drop_if_unchanged |= info.userdata.contains_key(key::DISCARD);
        if base.is_none() {
            out::warn(format_args!(
                "what snapshot {id} was made from is gone, so what changed in it cannot be told"
            ));
            options.drop_if_unchanged = false;
        }
        signal::check()?;
        let plugins = Plugins::find(system, options.ignore_plugins);
        plugins.call("resume-pre", [number(id)])?;
        let like = base.or_else(|| inventory.get(inventory.default?));
        let resumed_from = base.map(|b| system.store.open_snapshot(b.id)).transpose()?;
        // a `close` that was cut off may have sealed it
        if snapshot.subvolume.as_ref().is_some_and(|s| s.read_only) {
            system.store.set_read_only(lock, id, false)?;
        }
        failpoint::hit("resumed")?;
        Ok(Open {
            system,
            lock,
            id,
            base: base_ref.map_or(id, |b| b.id),
            info,
            read_only: like
                .and_then(|s| s.subvolume.as_ref())
                .is_some_and(|s| s.read_only),
            options,
            plan: Plan::default(),
            mounts: None,
            before: Content::default(),
            plugins,
            resumed_from,
            lost_base: base.is_none(),
            armed: false,
        })
    }

    /// Removes from a transaction that is continued what a call that was killed left of its mounts: empty
    /// directories, and the link to the database, that the base does not have.
    pub(super) fn sweep(&self) -> Result<()> {
        let Some(base) = &self.resumed_from else {
            return Ok(());
        };
        let snapshot = self.system.store.open_snapshot(self.id)?;
        // only where the mounts would bring it: elsewhere a package has made it
        let link = Some(Path::new(DATABASE_LINK.0)).filter(|link| self.plan.hides(link));
        let places = self.plan.steps.iter().map(|(place, _)| place.as_path());
        for place in places.chain(link) {
            let above = place.ancestors().filter(|p| !p.as_os_str().is_empty());
            for path in above.take_while(|p| is_missing(base, p)) {
                beneath::remove(&snapshot, path)
                    .with_context(|| format!("removing {} again", path.display()))?;
                failpoint::hit("swept")?;
            }
        }
        Ok(())
    }
}

fn is_missing(base: &std::os::fd::OwnedFd, path: &Path) -> bool {
    beneath::open_place(base, path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
}

/// The snapshot `id`, which must be an open transaction of ours.
fn open_transaction(inventory: &Inventory, id: SnapshotId) -> Result<&Snapshot> {
    let Some(snapshot) = inventory.get(id).filter(|s| !s.is_only_a_number()) else {
        bail!("there is no snapshot {id}; `tukit snapshots` shows those there are");
    };
    if !snapshot.is_open() {
        bail!(
            "snapshot {id} is no open transaction: it was closed, or `tukit open` did not make it"
        );
    }
    Ok(snapshot)
}
