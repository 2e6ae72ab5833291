//! Mounts that are made in the running system itself, where they outlive the process that makes them.
//!
//! What is about to be mounted is noted in a file of /run, where it goes together with the mounts, until all of it is
//! there and all that follows is done: so recovery knows what is half there, and that it is ours.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow};

use super::{System, etc};
use crate::snapshot::{Inventory, SnapshotId};
use crate::sys::lock::WriteLock;
use crate::sys::mount::{self, Mount};
use crate::sys::{failpoint, fs, out};

/// Below the root.
const NOTE: &str = "run/transactional-update.mounts";
/// What [`Mounting::Apply`] covers; /usr is the last one: it tells which snapshot is the current one.
pub const APPLIED: [&str; 3] = ["boot", "etc", "usr"];
/// Where systemd looks for the system that a soft-reboot goes to, below the root.
pub const NEXT_ROOT: &str = "run/nextroot";

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mounting {
    /// Parts of a snapshot over those of the running system.
    Apply,
    /// The same, and all of it is there.
    Applied,
    /// A snapshot for a soft-reboot.
    NextRoot,
}

impl Mounting {
    const NAMES: [(&str, Mounting); 3] = [
        ("apply", Mounting::Apply),
        ("applied", Mounting::Applied),
        ("nextroot", Mounting::NextRoot),
    ];
}

impl System {
    /// Notes that snapshot `id` is about to be mounted, until [`System::forget_mounting`].
    ///
    /// # Errors
    /// When the note cannot be written.
    pub fn note_mounting(&self, _: &WriteLock, what: Mounting, id: SnapshotId) -> Result<()> {
        let path = self.root.join(NOTE);
        let names = Mounting::NAMES.iter().find(|(_, w)| *w == what);
        let text = format!("{} {id}\n", names.map_or("", |(name, _)| name));
        fs::replace(&path, text.as_bytes())
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(failpoint::hit("mounting-noted")?)
    }

    /// All of it is mounted and done, or nothing of it is there any more.
    ///
    /// # Errors
    /// When the note stays.
    pub fn forget_mounting(&self, _: &WriteLock) -> Result<()> {
        let path = self.root.join(NOTE);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(e).with_context(|| format!("removing {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    fn noted_mounting(&self) -> Result<Option<(Mounting, SnapshotId)>> {
        let path = self.root.join(NOTE);
        let text = match fs::read_bounded(&path, 64) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.with_context(|| format!("reading {}", path.display()))?,
        };
        parse(&String::from_utf8_lossy(&text))
            .map(Some)
            .ok_or_else(|| {
                anyhow!(
                    "{} is not understood; a reboot removes it together with what may be mounted",
                    path.display()
                )
            })
    }
}

fn parse(note: &str) -> Option<(Mounting, SnapshotId)> {
    let (name, id) = note.trim_end().split_once(' ')?;
    let (_, what) = Mounting::NAMES.iter().find(|(known, _)| *known == name)?;
    Some((*what, SnapshotId::from_str(id).ok()?))
}

/// Takes away what a process that was cut off mounted in the running system only in part, or does what was left to do.
/// What stays undone is told, and is done by the next command. Returns whether there is none.
pub(super) fn finish(system: &System, lock: &WriteLock, inventory: &mut Inventory) -> bool {
    let finished = finished(system, lock, inventory);
    if let Err(e) = &finished {
        out::warn(format_args!(
            "what was mounted in the running system only in part stays, reboot soon: {e:#}"
        ));
    }
    finished.is_ok()
}

fn finished(system: &System, lock: &WriteLock, inventory: &mut Inventory) -> Result<()> {
    // elsewhere the mounts of the system cannot be changed: a service may have its own
    if !system.root.is_live() || !mount::is_namespace_of_system()? {
        return Ok(());
    }
    let Some((what, id)) = system.noted_mounting()? else {
        return Ok(());
    };
    match what {
        Mounting::Applied if inventory.current == Some(id) => {
            etc::merge(system, id)?;
            etc::forget(system, id)?;
            out::say(format_args!(
                "Snapshot {id} is the current system: a switch to it that was cut off is complete."
            ));
        }
        Mounting::Apply | Mounting::Applied => {
            for name in APPLIED.iter().rev() {
                take_away(&system.root.join(name), |m| shows(m, id, name))?;
            }
            // /usr was there, but not all that belongs below it
            if inventory.current == Some(id) {
                *inventory = system.store.inventory()?;
            }
            out::say(format_args!(
                "A switch to snapshot {id} that was cut off is undone."
            ));
        }
        Mounting::NextRoot => {
            take_away(&system.root.join(NEXT_ROOT), |_| true)?;
            out::say(format_args!(
                "Snapshot {id}, which was mounted for a soft-reboot only in part, is mounted no more."
            ));
        }
    }
    system.forget_mounting(lock)
}

/// Takes away the mounts on `point` from the topmost one on, as long as they are `ours`.
fn take_away(point: &Path, ours: impl Fn(&Mount) -> bool) -> Result<()> {
    let doing = || format!("unmounting {}", point.display());
    let top = || -> io::Result<Option<Mount>> {
        let mounts = mount::mounts()?;
        Ok(mounts.into_iter().rev().find(|m| m.point == point))
    };
    while top().with_context(doing)?.is_some_and(|m| ours(&m)) {
        mount::detach(point).with_context(doing)?;
        failpoint::hit("mounting-undone")?;
    }
    Ok(())
}

fn shows(mount: &Mount, id: SnapshotId, name: &str) -> bool {
    let of: PathBuf = [
        crate::snapshot::SNAPSHOTS,
        &id.to_string(),
        "snapshot",
        name,
    ]
    .iter()
    .collect();
    mount.fs_type == "btrfs" && mount.root.ends_with(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_and_nothing_else_is() {
        let id = SnapshotId::new(12).unwrap();
        assert_eq!(parse("apply 12\n"), Some((Mounting::Apply, id)));
        assert_eq!(parse("applied 12\n"), Some((Mounting::Applied, id)));
        assert_eq!(parse("nextroot 12\n"), Some((Mounting::NextRoot, id)));
        for wrong in ["", "apply", "apply 0", "apply x", "other 1", "apply 1 2"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
