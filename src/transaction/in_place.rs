//! Changing the running root itself, in a boot in which nothing else runs: the one exception to the rule that it is
//! never changed.
//!
//! What was before is kept in a snapshot, which is made what boots next before the first change and stays that until
//! all has succeeded. So going back is to do nothing, whenever and however the change ends. While it lasts, the description
//! of the running snapshot says so: when another one boots than that, it is half changed and never built upon again.

use std::io;
use std::os::fd::OwnedFd;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use super::open::environment;
use super::{System, not_inside_another, recover};
use crate::boot;
use crate::sandbox::{Exit, Mounts, Output, Run};
use crate::snapshot::{
    BaseRef, EtcLayout, Info, Inventory, Metadata, NUMBER, Snapshot, SnapshotId, Syncpoint, key,
};
use crate::sys::cmd::Argv;
use crate::sys::lock::WriteLock;
use crate::sys::{Doing, Failure, Root, beneath, failpoint, mount, out, signal, time};

/// Whoever has it may change the running root: nothing else runs, and the way into this boot is closed behind us, so that
/// whatever happens next is not done again.
pub trait Claim {}

/// The running root, while a snapshot of what it was boots next.
#[derive(Debug)]
#[must_use]
pub struct InPlace<'s> {
    system: &'s System,
    lock: &'s WriteLock,
    live: SnapshotId,
    before: SnapshotId,
    mounts: Mounts,
}

/// A snapshot of what the running root was, which is not yet what boots next. Dropping it removes it.
#[derive(Debug)]
#[must_use]
pub struct Before<'s> {
    system: &'s System,
    lock: &'s WriteLock,
    live: SnapshotId,
    id: SnapshotId,
    info: Info,
    armed: bool,
}

impl<'s> Before<'s> {
    /// Makes the snapshot. `strip` takes away from its root what must not come again when it boots.
    ///
    /// # Errors
    /// What stands in the way; the running root is as it was, and no snapshot is left.
    pub fn make(
        system: &'s System,
        lock: &'s WriteLock,
        _claim: &impl Claim,
        strip: impl FnOnce(&OwnedFd) -> io::Result<()>,
    ) -> Result<Before<'s>> {
        not_inside_another()?;
        let mut inventory = system.store.inventory()?;
        recover(system, lock, &mut inventory)?;
        let live = running(system, &inventory)?;
        let base = BaseRef {
            id: live.id,
            uuid: live.uuid().context("it has no UUID")?.to_string(),
        };
        let was_booted = live.userdata(key::BOOTED).map(str::to_owned);
        let describe = |id| {
            let text = format!("Before the offline update of #{}", base.id);
            let mut info = Info::new(id, time::utc(SystemTime::now()), text);
            info.begin_transaction();
            info.userdata.insert(key::BASE.into(), base.to_string());
            let booted = was_booted.clone().map(|at| (key::BOOTED.into(), at));
            info.userdata.extend(booted);
            info
        };
        signal::check()?;
        let id = system.store.reserve(lock, &inventory, describe)?;
        let before = Before {
            system,
            lock,
            live: live.id,
            id,
            info: describe(id),
            armed: true,
        };
        failpoint::hit("in-place-reserved")?;
        let store = &system.store;
        store.create(lock, id, before.live, Syncpoint::OfBase)?;
        failpoint::hit("in-place-created")?;
        let top = store.open_snapshot(id)?;
        strip(&top).with_context(|| format!("preparing snapshot {id} for a boot"))?;
        failpoint::hit("in-place-stripped")?;
        store.sync()?;
        failpoint::hit("in-place-before-synced")?;
        Ok(before)
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> SnapshotId {
        self.id
    }

    /// Makes it what boots next. From now on the running root may be changed.
    ///
    /// # Errors
    /// When that is not possible; the running root is as it was and boots next.
    pub fn protect(mut self) -> Result<InPlace<'s>> {
        let (system, lock) = (self.system, self.lock);
        // what a scriptlet mounts is gone with it
        mount::private_namespace().context("making a mount namespace")?;
        let mounts = Mounts::none(&system.root)?;
        signal::check()?;
        let ready = system.check_bootable(self.id)?;
        // it is whole, and is about to boot: no clean-up takes it
        self.info.end_transaction();
        self.info.cleanup.clear();
        ready.note_in(&mut self.info);
        system.store.modify(lock, self.id, &self.info)?;
        failpoint::hit("in-place-described")?;
        note(system, lock, self.live, Some(self.id))?;
        failpoint::hit("in-place-noted")?;
        if let Err(e) = system.switch(lock, ready) {
            self.armed = !system.may_still_boot(self.id, &e);
            return Err(match note(system, lock, self.live, None) {
                Ok(()) => e,
                Err(undo) => e.context(format!(
                    "the note in snapshot {} stays: {undo:#}",
                    self.live
                )),
            });
        }
        self.armed = false;
        #[cfg(feature = "publish-early")]
        system.switch_to(lock, self.live)?;
        failpoint::hit("in-place-protected")?;
        Ok(InPlace {
            system,
            lock,
            live: self.live,
            before: self.id,
            mounts,
        })
    }
}

impl Drop for Before<'_> {
    fn drop(&mut self) {
        if self.armed
            && let Err(e) = self.system.delete(self.lock, self.id)
        {
            out::error(format_args!(
                "snapshot {} could not be removed: {e}: {}; the next command removes it",
                self.id,
                e.cause()
            ));
        }
    }
}

impl<'s> InPlace<'s> {
    /// The snapshot of what was before.
    #[must_use]
    pub fn before(&self) -> SnapshotId {
        self.before
    }

    /// Runs a program in the running root and waits for it and everything it started.
    ///
    /// # Errors
    /// When it could not be started, or when a signal asked us to end; a program that fails is no error.
    pub fn run(&self, argv: Argv, output: Output<'_>) -> Result<Exit> {
        signal::check()?;
        let mut env = environment(&self.mounts);
        env.push(("LC_ALL", "C.UTF-8".into()));
        let run = Run {
            argv,
            env,
            cwd: self.system.root.path().to_owned(),
            interactive: false,
            trusted_path: true,
            chrooted: false,
        };
        let exit = run.go(&self.mounts, output);
        signal::check()?;
        failpoint::hit("in-place-ran")?;
        Ok(exit?)
    }

    /// Writes what was changed to disk, on every file system that packages write to.
    ///
    /// # Errors
    /// When it could not be written: what was before boots next then.
    pub fn seal(self) -> Result<Changed<'s>> {
        let top = beneath::open_root(self.system.root.path())?;
        // services that look whether /usr is newer (ConditionNeedsUpdate=) must see it
        beneath::touch(&top, "usr".as_ref()).context("touching /usr")?;
        self.system.store.sync()?;
        sync_others(&self.system.root)?;
        failpoint::hit("in-place-synced")?;
        signal::check()?;
        Ok(Changed(self))
    }
}

/// What was changed and is on disk.
#[derive(Debug)]
#[must_use]
pub struct Changed<'s>(InPlace<'s>);

impl<'s> Changed<'s> {
    /// Makes the running root what boots next again. From here on nothing is taken back.
    ///
    /// # Errors
    /// When it could not: what was before boots next then, but for [`crate::boot::BootError::SwitchAndUndo`].
    pub fn publish(self) -> Result<WayBack<'s>> {
        let InPlace {
            system,
            lock,
            live,
            before,
            ..
        } = self.0;
        system.switch_to(lock, live)?;
        failpoint::hit("in-place-published")?;
        Ok(WayBack {
            system,
            lock,
            live,
            before,
        })
    }
}

/// The snapshot of what was before a change that succeeded. It can still be written, so that it says so itself.
#[derive(Debug)]
#[must_use]
pub struct WayBack<'s> {
    system: &'s System,
    lock: &'s WriteLock,
    live: SnapshotId,
    before: SnapshotId,
}

impl WayBack<'_> {
    /// Keeps it, read-only, to go back to. What goes wrong here is told; the next command finishes it.
    pub fn keep(self) {
        let WayBack {
            system,
            lock,
            live,
            before,
        } = self;
        let kept = keep(system, lock, before).and_then(|()| note(system, lock, live, None));
        if let Err(e) = kept {
            out::warn(format_args!(
                "the system is updated, but snapshot {before} of what it was is not described as it should be: {e:#}"
            ));
        }
    }
}

/// Makes it read-only. A clean-up may take it, but late.
fn keep(system: &System, lock: &WriteLock, before: SnapshotId) -> Result<()> {
    system.store.set_read_only(lock, before, true)?;
    failpoint::hit("in-place-read-only")?;
    let Metadata::Good(mut info) = system.store.metadata(before) else {
        bail!("its info.xml cannot be read");
    };
    info.end_transaction();
    info.userdata.insert("important".into(), "yes".into());
    system.store.modify(lock, before, &info)?;
    Ok(failpoint::hit("in-place-kept")?)
}

/// The running snapshot, when it can be changed in place.
fn running<'i>(system: &System, inventory: &'i Inventory) -> Result<&'i Snapshot> {
    let live = inventory
        .booted
        .context("the running system is no snapshot")?;
    if inventory.current != Some(live) {
        bail!(
            "/usr is not that of the snapshot that was booted ({live}): restart the system first"
        );
    }
    if inventory.default != Some(live) || !system.entry_boots(live)? {
        bail!("snapshot {live} runs, but another one boots next; an update in place would be lost");
    }
    let live = inventory
        .get(live)
        .context("the running snapshot is not there")?;
    if live.subvolume.as_ref().is_none_or(|s| s.read_only) {
        bail!("the root is read-only: it can only be updated in a new snapshot");
    }
    if system.store.etc_layout(live.id)? != EtcLayout::Plain {
        bail!(
            "/etc is a subvolume of its own: such a system can only be updated in a new snapshot"
        );
    }
    Ok(live)
}

/// Notes in the description of the running snapshot that it is being changed while `before` boots next, or takes it out.
fn note(
    system: &System,
    lock: &WriteLock,
    live: SnapshotId,
    before: Option<SnapshotId>,
) -> Result<()> {
    let Metadata::Good(mut info) = system.store.metadata(live) else {
        bail!("the info.xml of snapshot {live} cannot be read");
    };
    match before {
        Some(before) => info
            .userdata
            .insert(key::IN_PLACE.into(), before.to_string()),
        None => info.userdata.remove(key::IN_PLACE),
    };
    Ok(system.store.write_info(lock, live, &info)?)
}

fn sync_others(root: &Root) -> Result<(), Failure> {
    for place in boot::PLACES {
        let path = root.join(place);
        let doing = || format!("writing the file system of {} to disk", path.display());
        match std::fs::File::open(&path) {
            Ok(dir) => nix::unistd::syncfs(&dir).doing(doing)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e).doing(doing),
        }
    }
    Ok(())
}

/// Ends what changes in place that were cut off have left: from info.xml alone. A marked snapshot that boots next was never
/// changed, or all of it is there, and what was before is kept to go back to; any other one is half, and a clean-up may take it
/// once it does not run.
pub(super) fn finish(system: &System, lock: &WriteLock, inventory: &mut Inventory) {
    let marked = |s: &&mut Snapshot| s.userdata(key::IN_PLACE).is_some();
    let (default, booted) = (inventory.default, inventory.booted);
    for snapshot in inventory.snapshots.values_mut().filter(marked) {
        let Metadata::Good(info) = &mut snapshot.metadata else {
            continue;
        };
        let id = snapshot.id;
        let before = info.clone();
        if default == Some(id) {
            let way_back = info.userdata.remove(key::IN_PLACE);
            let way_back = way_back.and_then(|number| number.parse().ok());
            if let Some(before) = way_back.filter(|before| booted != Some(*before))
                && let Err(e) = keep(system, lock, before)
            {
                out::warn(format_args!(
                    "snapshot {before} of what was before an update in place is not described as it should be: {e:#}"
                ));
            }
        } else if booted != Some(id) && info.cleanup.is_empty() {
            NUMBER.clone_into(&mut info.cleanup);
            out::warn(format_args!(
                "an update of snapshot {id} in place was cut off: it may be half changed, and is never booted or built upon again"
            ));
        }
        if *info != before
            && let Err(e) = system.store.write_info(lock, id, info)
        {
            out::warn(format_args!("{e}: {}", e.cause()));
        }
    }
}
