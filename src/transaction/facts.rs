//! What the mount plan of a transaction is made from.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::System;
use crate::sandbox::{Facts, Shown};
use crate::sys::{beneath, mount, root};

/// Sockets of the running system's journal, so that programs in the snapshot can log.
const JOURNAL: &str = "run/systemd/journal";
const RESOLVER: &str = "etc/resolv.conf";
const RUN: &str = "run";

/// Collects the facts of `system`; `read_only` is what to show to the transaction.
pub(super) fn collect(system: &System, read_only: &[Shown]) -> Result<Facts> {
    let mounts = mount::mounts().context("reading the list of mounts")?;
    let fstab = mount::fstab(&system.root).context("reading etc/fstab")?;
    let bind_dirs = system
        .config
        .bind_dirs
        .iter()
        .map(|dir| root::relative(&dir.value))
        .collect();
    let mut from_run = vec![PathBuf::from(JOURNAL)];
    from_run.extend(resolver(system));
    from_run.retain(|_| system.root.is_live());
    Ok(Facts {
        mounted: mount::points_below(&mounts, &system.root),
        fstab: fstab
            .into_iter()
            .filter(|e| e.fs_type != "swap")
            .map(|e| e.point)
            .collect(),
        bind_dirs,
        read_only: read_only.to_vec(),
        from_run,
    })
}

/// The file in /run that resolv.conf is a link to.
fn resolver(system: &System) -> Option<PathBuf> {
    let target = std::fs::read_link(system.root.join(RESOLVER)).ok()?;
    let target = if target.is_absolute() {
        target
    } else {
        Path::new(RESOLVER).parent()?.join(target)
    };
    let target = root::relative(&target);
    (target.starts_with(RUN) && beneath::open_root(system.root.path()).is_ok()).then_some(target)
}
