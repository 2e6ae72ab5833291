//! What a soft-reboot goes to: systemd takes the system that is mounted at /run/nextroot
//! (systemd-soft-reboot.service(8)), and without one it would come back in the same snapshot.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use super::apply::{Made, is_whole, undone};
use crate::etc::Plan;
use crate::snapshot::{EtcLayout, Inventory, SnapshotId};
use crate::sys::cmd::Argv;
use crate::sys::lock::WriteLock;
use crate::sys::mount::{self, FstabEntry};
use crate::sys::root::{descriptor_path, relative};
use crate::sys::tool::Tool;
use crate::sys::{beneath, failpoint, out};
use crate::transaction::{Mounting, NEXT_ROOT, System, forget, merge, recover};

const FSTAB: &str = "etc/fstab";
/// Option of fstab(5) for what is mounted before the system itself starts.
const EARLY: &str = "x-initrd.mount";
const LIMIT: Duration = Duration::from_secs(90);

/// Mounts what boots next for a soft-reboot, with what an initrd would mount, and merges /etc. Returns the snapshot;
/// `None` when it is the booted one, or when something is mounted there already.
///
/// # Errors
/// When it cannot be done; nothing is mounted then.
pub fn prepare_next_root(system: &System, lock: &WriteLock) -> Result<Option<SnapshotId>> {
    if !system.root.is_live() {
        bail!("a soft-reboot is of the running system only");
    }
    let mut inventory = system.store.inventory()?;
    recover(system, lock, &mut inventory)?;
    let next = inventory
        .default
        .ok_or_else(|| anyhow!("what boots next is no snapshot"))?;
    let point = system.root.join(NEXT_ROOT);
    if inventory.booted == Some(next) || point.join(FSTAB).exists() {
        return Ok(None);
    }
    is_whole(&inventory, next)?;
    let layout = system.store.etc_layout(next)?;
    if !matches!(layout, EtcLayout::Plain | EtcLayout::Nested) {
        bail!("the etc of snapshot {next} is not part of it ({layout:?}): a full reboot is needed");
    }
    system.note_mounting(lock, Mounting::NextRoot, next)?;
    if let Err(e) = mount_and_merge(system, &inventory, next, layout == EtcLayout::Nested) {
        return Err(undone(system, lock, e));
    }
    system.forget_mounting(lock)?;
    Ok(Some(next))
}

fn mount_and_merge(
    system: &System,
    inventory: &Inventory,
    next: SnapshotId,
    nested_etc: bool,
) -> Result<()> {
    let point = system.root.join(NEXT_ROOT);
    let mut made = Made::default();
    mount_root(system, next, &point, nested_etc, &mut made)
        .with_context(|| format!("mounting snapshot {next} at {}", point.display()))?;
    failpoint::hit("nextroot-mounted")?;
    // after `apply` the current system is the next one already, and its etc is complete
    if inventory.current.is_some_and(|current| current != next) {
        let plan = merge(system, next)?;
        for conflict in plan.iter().flat_map(Plan::conflicts) {
            out::warn(format_args!("in etc: {conflict}"));
        }
        forget(system, next)?;
    }
    made.keep();
    Ok(())
}

fn mount_root(
    system: &System,
    id: SnapshotId,
    point: &Path,
    nested_etc: bool,
    made: &mut Made,
) -> Result<()> {
    std::fs::create_dir_all(point)?;
    let mounts = mount::mounts()?;
    let read_only = mount::mount_of(&mounts, system.root.path()).is_some_and(|m| m.read_only);
    let source = system.store.path(id);
    mount::bind(&source, beneath::open_root(point)?, false)?;
    made.add(point);
    failpoint::hit("nextroot-bound")?;
    // what is mounted in it would be mounted in the snapshot as well, and go when all is unmounted before the soft-reboot
    mount::make_private(point)?;
    let root = beneath::open_root(point)?;
    if nested_etc {
        let place = beneath::open_place(&root, Path::new("etc"))?;
        let etc = beneath::open_dir(system.store.open_snapshot(id)?, Path::new("etc"))?;
        mount::bind(&descriptor_path(etc.as_fd()), place, false)?;
    }
    if read_only {
        mount::make_read_only(point)?;
    }
    let fstab = beneath::read(&root, Path::new(FSTAB), 1 << 20)?.unwrap_or_default();
    for entry in early(&mount::parse_fstab(&String::from_utf8_lossy(&fstab))) {
        let rel = relative(&entry.point);
        let here = system.root.join(&rel);
        let is_mounted = mounts.iter().any(|m| m.point == here);
        let doing = || format!("mounting {}", entry.point.display());
        if is_mounted {
            let place = beneath::open_place(&root, &rel).with_context(doing)?;
            mount::bind(&here, place, true).with_context(doing)?;
        } else {
            by_fstab(point, &entry.point).with_context(doing)?;
        }
        mount::make_private(&point.join(&rel)).with_context(doing)?;
        failpoint::hit("nextroot-entry")?;
    }
    Ok(())
}

/// What an initrd mounts, /etc apart, outermost first.
fn early(fstab: &[FstabEntry]) -> Vec<&FstabEntry> {
    let has = |e: &FstabEntry, option: &str| e.options.iter().any(|o| o == option);
    let mut entries: Vec<_> = fstab
        .iter()
        .filter(|e| has(e, EARLY) && !has(e, "bind") && e.point.components().count() > 1)
        .collect();
    entries.sort_by(|a, b| a.point.cmp(&b.point));
    entries
}

/// Mounts what the running system has not mounted, as the fstab of the next one says.
fn by_fstab(root: &Path, point: &Path) -> Result<()> {
    let mut words: Vec<std::ffi::OsString> = vec!["mount".into(), "--target-prefix".into()];
    words.extend([root.into(), "--fstab".into()]);
    words.extend([root.join(FSTAB).into(), point.into()]);
    Tool::new(Argv::new(words), LIMIT).run()?.succeeded()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_initrd_mounts_is_mounted_outermost_first() {
        let fstab = mount::parse_fstab(
            "UUID=1 / btrfs ro,x-initrd.mount 0 0
UUID=1 /var/lib/x btrfs subvol=/@/x,x-initrd.mount 0 0
UUID=1 /var btrfs subvol=/@/var,x-initrd.mount 0 0
UUID=1 /home btrfs subvol=/@/home 0 0
/etc /etc none bind,x-initrd.mount 0 0",
        );
        let points: Vec<&Path> = early(&fstab).iter().map(|e| e.point.as_path()).collect();
        assert_eq!(points, [Path::new("/var"), Path::new("/var/lib/x")]);
    }
}
