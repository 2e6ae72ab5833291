//! Directories of /etc overlays, which older systems had, that no snapshot uses any more.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::sys::beneath;
use crate::transaction::System;

/// Where the overlays are, below the root.
const OVERLAYS: &str = "var/lib/overlay";
/// The files of a snapshot that mount them.
const TABLES: [&str; 2] = ["etc/fstab", "etc/fstab.sys"];
/// Largest of those files that is read, in bytes.
const LIMIT: u64 = 1 << 20;

/// The directories below /var/lib/overlay that no snapshot mounts, by name. They are found, not deleted.
///
/// # Errors
/// When a table of a snapshot cannot be read: what it uses is not known then.
pub fn unused_overlays(system: &System) -> Result<Vec<PathBuf>> {
    let Ok(entries) = std::fs::read_dir(system.root.join(OVERLAYS)) else {
        return Ok(Vec::new());
    };
    let mut names: Vec<_> = entries.filter_map(|e| Some(e.ok()?.file_name())).collect();
    names.sort();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let mut tables = String::new();
    let inventory = system.store.inventory()?;
    for snapshot in inventory
        .snapshots
        .values()
        .filter(|s| s.subvolume.is_some())
    {
        let fd = system.store.open_snapshot(snapshot.id)?;
        let text = read_tables(fd)
            .with_context(|| format!("reading what snapshot {} mounts", snapshot.id))?;
        tables.push_str(&text);
    }
    let paths = names.into_iter().map(|name| Path::new(OVERLAYS).join(name));
    let is_unused = |path: &PathBuf| !tables.contains(&*path.to_string_lossy());
    Ok(paths
        .filter(is_unused)
        .map(|path| system.root.join(path))
        .collect())
}

fn read_tables(snapshot: impl AsFd) -> Result<String> {
    let mut text = String::new();
    for table in TABLES {
        let bytes = beneath::read(&snapshot, Path::new(table), LIMIT).context(table)?;
        text.push_str(&String::from_utf8_lossy(&bytes.unwrap_or_default()));
        text.push('\n');
    }
    Ok(text)
}
