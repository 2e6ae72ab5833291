//! What is checked before anything is changed.

use std::path::Path;

use anyhow::{Result, bail};
use nix::sys::statvfs::fstatvfs;

use super::{Base, INSIDE_VARIABLE, Options, System, etc, steps};
use crate::boot;
use crate::snapshot::{Inventory, SNAPSHOTS};
use crate::sys::{beneath, root};

/// What a transaction will need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A snapshot and whatever the caller runs in it.
    Snapshot,
    /// The package manager and its database inside the snapshot, too.
    PackageManager,
}

/// Free space below which nothing is begun, in bytes: a snapshot, its metadata and the database of a small
/// change fit into it.
const LEAST_FREE: u64 = 64 << 20;

const ZYPPER: &str = "usr/bin/zypper";
const DATABASE: &str = "usr/lib/sysimage/rpm";
const OLD_DATABASE: &str = "var/lib/rpm";

/// Refuses to begin inside another transaction, where neither snapshots nor the lock are what they seem.
///
/// # Errors
/// When the environment says so.
pub fn not_inside_another() -> Result<()> {
    if std::env::var_os(INSIDE_VARIABLE).is_some() {
        bail!(
            "{INSIDE_VARIABLE} is set: this already runs inside a transaction; call the command itself, \
             without transactional-update, or leave the transaction's shell first"
        );
    }
    Ok(())
}

/// Checks the system and the base.
///
/// # Errors
/// The first thing that stands in the way, and what to do about it.
pub(super) fn check(
    system: &System,
    inventory: &Inventory,
    base: Base,
    options: &Options,
) -> Result<()> {
    writable(system)?;
    space(system)?;
    etc::check(system, base.id)?;
    let snapshot = system.store.open_snapshot(base.id)?;
    let loader = system.loader(&snapshot)?;
    boot::usable(loader, &system.root)?;
    // of the running system only the default entry is needed while it runs
    let kept = inventory.default.filter(|id| Some(*id) != inventory.booted);
    let kept = kept.map(|id| system.store.path_inside(id));
    boot::room(loader, &system.root, &snapshot, kept.as_deref())?;
    match options.need {
        Need::PackageManager => package_manager(&snapshot),
        // what is missing now cannot come along with a package
        Need::Snapshot => steps::preflight(loader, &snapshot, options.boot_files),
    }
}

fn writable(system: &System) -> Result<()> {
    let dir = system.root.join(SNAPSHOTS);
    let flags = fstatvfs(system.store.fd())?.flags();
    if flags.contains(nix::sys::statvfs::FsFlags::ST_RDONLY) {
        bail!(
            "{} is mounted read-only, so no snapshot can be made there; mount it read-write (mount -o remount,rw {}). \
             A file system that turned read-only by itself has errors: see the kernel's log",
            dir.display(),
            dir.display()
        );
    }
    Ok(())
}

fn space(system: &System) -> Result<()> {
    let stat = fstatvfs(system.store.fd())?;
    let free = stat.blocks_available().saturating_mul(stat.fragment_size());
    if free < LEAST_FREE {
        bail!(
            "the file system of {} is full: {} MiB are free, {} MiB are needed at least; delete snapshots or \
             files, {} MiB are missing",
            system.root.join(SNAPSHOTS).display(),
            free >> 20,
            LEAST_FREE >> 20,
            (LEAST_FREE - free).div_ceil(1 << 20)
        );
    }
    Ok(())
}

fn package_manager(snapshot: &std::os::fd::OwnedFd) -> Result<()> {
    if beneath::resolve(snapshot, Path::new(ZYPPER)).is_err() {
        bail!(
            "{} is missing in the snapshot; install the package zypper (with `run` and rpm)",
            root::inside(Path::new(ZYPPER)).display()
        );
    }
    if beneath::resolve(snapshot, Path::new(DATABASE)).is_err() {
        bail!(
            "{} is missing: the RPM database must be part of the root snapshot, or the list of packages and \
             the packages would go different ways",
            root::inside(Path::new(DATABASE)).display()
        );
    }
    // a directory there is used by libzypp without a word, and thrown away with the snapshot's /var
    let parent = beneath::open_dir(snapshot, Path::new("var/lib"));
    let kind = parent
        .and_then(|dir| beneath::stat_at(dir, "rpm".as_ref()))
        .map(|stat| beneath::kind(&stat));
    if kind.is_ok_and(|k| k == nix::sys::stat::SFlag::S_IFDIR) {
        bail!(
            "{} inside the snapshot is a directory where a link to {} belongs; move it away",
            root::inside(Path::new(OLD_DATABASE)).display(),
            root::inside(Path::new(DATABASE)).display()
        );
    }
    Ok(())
}
