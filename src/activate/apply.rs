//! The next system takes the place of the running one: its /boot, /etc and /usr are mounted over those of the
//! running one.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail};

use crate::etc::Plan;
use crate::snapshot::{EtcLayout, Inventory, SnapshotId};
use crate::sys::cmd::Argv;
use crate::sys::lock::WriteLock;
use crate::sys::mount::{self, Mount};
use crate::sys::root::descriptor_path;
use crate::sys::tool::{Done, Tool, ToolError};
use crate::sys::{beneath, failpoint, out};
use crate::transaction::{APPLIED, Mounting, System, forget, merge, recover};

/// Time for each program that is told of the new system.
const LIMIT: Duration = Duration::from_secs(120);
/// Is there where systemd runs, below the root.
const SYSTEMD: &str = "run/systemd/system";

/// Makes what boots next the current system. Running processes keep the files that they have open; /var and everything
/// else stays as it is. Returns the snapshot; `None` when it is the current one already.
///
/// # Errors
/// When it cannot be done; the running system is as it was then.
pub fn apply(system: &System, lock: &WriteLock) -> Result<Option<SnapshotId>> {
    if !system.root.is_live() {
        bail!(
            "only the running system can be replaced, not the one at {}",
            system.root.path().display()
        );
    }
    let mut inventory = system.store.inventory()?;
    recover(system, lock, &mut inventory)?;
    let next = inventory
        .default
        .ok_or_else(|| anyhow!("what boots next is no snapshot: there is nothing to switch to"))?;
    let current = inventory
        .current
        .ok_or_else(|| anyhow!("the running system is no snapshot"))?;
    if next == current {
        // cut off right after the switch
        if inventory.booted != Some(next) {
            finish(system, next)?;
        }
        return Ok(None);
    }
    is_whole(&inventory, next)?;
    let layout = system.store.etc_layout(next)?;
    if !matches!(layout, EtcLayout::Plain | EtcLayout::Nested) {
        bail!("the etc of snapshot {next} is not part of it ({layout:?}): it can only be booted");
    }
    merge(system, next)?;
    system.note_mounting(lock, Mounting::Apply, next)?;
    if let Err(e) = switch(system, lock, next, layout == EtcLayout::Nested) {
        return Err(undone(system, lock, e));
    }
    failpoint::hit("apply-switched")?;
    // what was changed while that was done
    let plan = merge(system, next)?;
    for conflict in plan.iter().flat_map(Plan::conflicts) {
        out::warn(format_args!("in etc: {conflict}"));
    }
    forget(system, next)?;
    system.forget_mounting(lock)?;
    tell_programs(system);
    Ok(Some(next))
}

/// Nothing is mounted any more because of `cause`.
pub(super) fn undone(system: &System, lock: &WriteLock, cause: Error) -> Error {
    match system.forget_mounting(lock) {
        Ok(()) => cause,
        Err(e) => cause.context(format!("{e:#}; the first failure was")),
    }
}

/// Refuses the snapshot of a transaction that has not ended, also where somebody made it the default by hand.
///
/// # Errors
/// Says so.
pub(super) fn is_whole(inventory: &Inventory, id: SnapshotId) -> Result<()> {
    match inventory.get(id) {
        Some(snapshot) if snapshot.in_progress() => bail!(
            "snapshot {id} boots next, but is not whole: its transaction has not ended; `rollback` makes the running \
             system the next one again"
        ),
        _ => Ok(()),
    }
}

/// Does what is left to do for a snapshot that is current, but was not booted.
fn finish(system: &System, id: SnapshotId) -> Result<()> {
    merge(system, id)?;
    forget(system, id)
}

/// Mounts made so far; they go when it fails.
#[derive(Default)]
pub(super) struct Made(Vec<PathBuf>);

impl Made {
    pub(super) fn add(&mut self, point: &Path) {
        self.0.push(point.to_owned());
    }

    /// Nothing failed.
    pub(super) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for point in self.0.drain(..).rev() {
            if let Err(e) = mount::detach(&point) {
                out::warn(format_args!(
                    "the new {} stays mounted, reboot soon: {e}",
                    point.display()
                ));
            }
        }
    }
}

fn switch(system: &System, lock: &WriteLock, id: SnapshotId, nested_etc: bool) -> Result<()> {
    let mounts = mount::mounts().context("reading what is mounted")?;
    let root = beneath::open_root(system.root.path())?;
    let snapshot = system.store.open_snapshot(id)?;
    let read_only = mount::mount_of(&mounts, system.root.path()).is_some_and(|m| m.read_only);
    let mut made = Made::default();
    for name in APPLIED {
        let point = system.root.join(name);
        let doing = || format!("mounting {name} of snapshot {id}");
        // held before they are covered
        let inner = open_inner(&mounts, &point).with_context(doing)?;
        let place = beneath::open_place(&root, Path::new(name)).with_context(doing)?;
        // a link in its place would lead to what is no part of the snapshot
        let source = beneath::open_dir(&snapshot, Path::new(name)).with_context(doing)?;
        mount::bind(&descriptor_path(source.as_fd()), place, false).with_context(doing)?;
        made.add(&point);
        failpoint::hit("apply-bound").with_context(doing)?;
        if read_only && !(nested_etc && name == "etc") {
            mount::make_read_only(&point).with_context(doing)?;
        }
        for (rel, fd) in inner {
            show_again(&point, &rel, fd)?;
        }
        failpoint::hit("apply-mounted").with_context(doing)?;
    }
    // until here it is undone: /usr alone does not tell that what belongs below it is there again
    system.note_mounting(lock, Mounting::Applied, id)?;
    made.keep();
    Ok(())
}

/// Opens what is mounted below `point` and can be seen there.
fn open_inner(mounts: &[Mount], point: &Path) -> Result<Vec<(PathBuf, OwnedFd)>> {
    let root = beneath::open_root(point)?;
    let mut opened = Vec::new();
    for rel in inner(mounts, point) {
        let fd = beneath::open_place(&root, &rel)
            .with_context(|| format!("opening {}", point.join(&rel).display()))?;
        opened.push((rel, fd));
    }
    Ok(opened)
}

/// The mount points below `point`, outermost first, without those that a later mount on `point` itself hides.
fn inner(mounts: &[Mount], point: &Path) -> Vec<PathBuf> {
    let last = mounts.iter().rposition(|m| m.point == point);
    let visible = &mounts[last.map_or(0, |last| last + 1)..];
    let below = visible
        .iter()
        .filter_map(|m| m.point.strip_prefix(point).ok());
    let mut points: Vec<PathBuf> = below
        .filter(|p| !p.as_os_str().is_empty())
        .map(Path::to_owned)
        .collect();
    points.sort();
    points.dedup();
    points
}

/// Mounts what was mounted below a place before in the new one, too.
fn show_again(point: &Path, rel: &Path, fd: OwnedFd) -> Result<()> {
    let path = point.join(rel);
    match beneath::open_place(beneath::open_root(point)?, rel) {
        Err(e) => out::warn(format_args!(
            "what is mounted at {} cannot be seen in the new system, which has no such place: {e}",
            path.display()
        )),
        Ok(place) => mount::bind(&descriptor_path(fd.as_fd()), place, false)
            .with_context(|| format!("mounting {} again", path.display()))?,
    }
    Ok(())
}

/// Tells the service manager and others that there are other files now. What does not work is told; a reboot makes
/// it good.
fn tell_programs(system: &System) {
    let mounts = mount::mounts().unwrap_or_default();
    let usr = system.root.join("usr");
    let has_extensions = mounts
        .iter()
        .any(|m| m.point == usr && m.fs_type == "overlay");
    let mut calls: Vec<&[&str]> = Vec::new();
    if has_extensions {
        calls.push(&["systemd-sysext", "refresh"]);
    }
    if system.root.join(SYSTEMD).is_dir() {
        calls.push(&["systemctl", "daemon-reexec"]);
        calls.push(&["systemd-tmpfiles", "--create"]);
    }
    for words in calls {
        let done = Tool::new(Argv::new(words.iter().copied()), LIMIT).run();
        match done.and_then(Done::succeeded) {
            Ok(_) | Err(ToolError::NotFound(_)) => {}
            Err(e) => out::warn(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_that_an_earlier_switch_hides_are_not_shown_again() {
        let mount = |point: &str| Mount {
            device: 0,
            root: "/".into(),
            point: point.into(),
            read_only: false,
            fs_type: "btrfs".into(),
            source: PathBuf::new(),
        };
        let before = ["/", "/usr/local", "/usr/hidden", "/usrlocal", "/boot/efi"].map(mount);
        assert_eq!(
            inner(&before, Path::new("/usr")),
            [Path::new("hidden"), Path::new("local")]
        );
        let after = ["/", "/usr/hidden", "/usr", "/usr/local"].map(mount);
        assert_eq!(inner(&after, Path::new("/usr")), [Path::new("local")]);
    }
}
