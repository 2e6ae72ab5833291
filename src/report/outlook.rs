//! What the next system will not have of the /etc that runs.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::sys::stat::FileStat;
use serde::{Serialize, Serializer};

use crate::etc::{self, ChangeKind, Conflict, Plan, Tree, Trees};
use crate::snapshot::{EtcLayout, Inventory, Moment, Snapshot, Store};
use crate::sys::{Root, beneath, out, root};

const ETC: &str = "etc";
/// The program that merges, below the root.
const MERGER: &str = "usr/libexec/transactional-update-sync-etc-state";
/// Most entries of /etc that are looked at.
const LIMIT: usize = 1_000_000;

/// What of the running /etc does not reach the pending update.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Outlook {
    /// Changes that will not be there after the reboot, because nothing merges them.
    pub lost: Vec<Edit>,
    /// What the update changed as well: its version will count.
    pub conflicts: Vec<Clash>,
}

/// A path that the update changed, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Clash {
    /// The path, absolute.
    #[serde(serialize_with = "as_text")]
    pub path: PathBuf,
    /// What becomes of the running version, for people.
    pub outcome: String,
}

/// A path that was changed in the running /etc.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Edit {
    /// The path, absolute.
    #[serde(serialize_with = "as_text")]
    pub path: PathBuf,
    /// `added`, `changed` or `removed`.
    pub change: &'static str,
}

/// JSON is text, which a name in /etc need not be: what is none becomes U+FFFD.
fn as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

impl Outlook {
    /// The outlook of the system at `root` with these snapshots. Nothing is compared unless an update is pending
    /// and something in /etc has changed since.
    ///
    /// # Errors
    /// When what boots next has lost its /etc, or one of the two /etc cannot be read.
    pub fn of(root: &Root, store: &Store, inventory: &Inventory) -> Result<Outlook> {
        let next = inventory.default;
        let Some(next) = next.filter(|_| next != inventory.current) else {
            return Ok(Outlook::default());
        };
        let layout = store.etc_layout(next)?;
        if layout == EtcLayout::LeftOut {
            bail!(
                "snapshot {next} boots next, but has no /etc and would not get far; `rollback` makes the running \
                 system the next one"
            );
        }
        let Some((pending, since)) = pending_since(inventory) else {
            return Ok(Outlook::default());
        };
        let sealed = |id| inventory.get(id)?.subvolume.as_ref().map(|s| s.read_only);
        if layout == EtcLayout::Plain && inventory.current.and_then(sealed) == Some(true) {
            return Ok(Outlook::default()); // what cannot be written was not changed
        }
        let running = beneath::open_root(&root.join(ETC)).context("opening etc")?;
        if !changed_since(&running, since)? {
            return Ok(Outlook::default());
        }
        match layout {
            EtcLayout::Plain => lost(running, store, pending, since),
            EtcLayout::Nested => conflicts(running, store, inventory, pending),
            _ => Ok(Outlook::default()),
        }
    }

    /// The sentences for a person, each a line, what they list cut after some.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let edit = |edit: &Edit| format!("{} ({})", out::path(&edit.path), edit.change);
        let lost = list(
            "Changed in the running /etc since the update was made; will not be there after the reboot:",
            self.lost.iter().map(edit),
        );
        let clashes = list(
            "Changed in the running /etc and by the update; after the reboot:",
            self.conflicts.iter().map(|clash| clash.outcome.clone()),
        );
        [lost, clashes].concat()
    }
}

/// Lines below a title; none without any.
fn list(title: &str, entries: impl ExactSizeIterator<Item = String>) -> Vec<String> {
    const SHOWN: usize = 20;
    let mut lines = Vec::new();
    let more = entries.len().saturating_sub(SHOWN);
    if entries.len() > 0 {
        lines.push(title.to_owned());
    }
    lines.extend(entries.take(SHOWN).map(|entry| format!("  {entry}")));
    if more > 0 {
        lines.push(format!("  and {more} more; status --json has them all"));
    }
    lines
}

/// The pending update, and when the first snapshot on the way to it was made from the running system: what was
/// changed there before is part of it.
fn pending_since(inventory: &Inventory) -> Option<(&Snapshot, Moment)> {
    let pending = inventory.pending()?;
    let first = *inventory.lineage(pending.id, inventory.current?)?.last()?;
    let since = inventory.get(first)?.subvolume.as_ref()?.created;
    Some((pending, since))
}

/// Whether anything at or below the open directory was changed at that moment or later. A removal changes the
/// directory.
fn changed_since(dir: impl AsFd, since: Moment) -> Result<bool> {
    let mut found = Moment::of_change(&nix::sys::stat::fstat(&dir)?) >= since;
    beneath::walk(dir, Path::new(""), LIMIT, &mut |_, stat| {
        found |= Moment::of_change(stat) >= since;
    })
    .context("looking for changes in etc")?;
    Ok(found)
}

/// What differs, less what the update itself did: a change time tells which, since a snapshot keeps them.
fn lost(running: OwnedFd, store: &Store, pending: &Snapshot, since: Moment) -> Result<Outlook> {
    let new = beneath::open_dir(store.open_snapshot(pending.id)?, Path::new(ETC))?;
    let trees = (Tree::of(new.try_clone()?)?, Tree::of(running.try_clone()?)?);
    let mut lost = Vec::new();
    for change in etc::changes(&trees.0, &trees.1)? {
        let (is_edit, word) = match change.kind {
            ChangeKind::Added => (moment(&running, &change.path)? >= Some(since), "added"),
            ChangeKind::Changed => (moment(&running, &change.path)? >= Some(since), "changed"),
            ChangeKind::Removed => (moment(&new, &change.path)? < Some(since), "removed"),
        };
        if is_edit {
            lost.push(Edit {
                path: root::inside(&Path::new(ETC).join(change.path)),
                change: word,
            });
        }
    }
    Ok(Outlook {
        lost,
        ..Outlook::default()
    })
}

/// What the merge at the first boot of `pending` will find changed on both sides, as things stand.
fn conflicts(
    running: OwnedFd,
    store: &Store,
    inventory: &Inventory,
    pending: &Snapshot,
) -> Result<Outlook> {
    let (Some(base), Some(theirs)) = (
        store.open_syncpoint(pending.id)?,
        store.open_etc(pending.id)?,
    ) else {
        return Ok(Outlook::default());
    };
    if store.compare_with(pending.id)? != inventory.current {
        return Ok(Outlook::default());
    }
    let trees = Trees {
        base: Tree::of(base)?,
        ours: Tree::of(running)?,
        theirs: Tree::of(theirs)?,
    };
    let clash = |conflict: &Conflict| Clash {
        path: root::inside(&Path::new(ETC).join(&conflict.path)),
        outcome: conflict.to_string(),
    };
    Ok(Outlook {
        conflicts: Plan::of(&trees)?.conflicts().iter().map(clash).collect(),
        ..Outlook::default()
    })
}

/// What to do when the boot of the running system could not merge /etc; `None` when nothing is left to merge.
///
/// # Errors
/// When the syncpoint in the running /etc cannot be read.
pub fn unmerged(store: &Store, inventory: &Inventory) -> Result<Option<String>> {
    let Some(current) = inventory.current else {
        return Ok(None);
    };
    let (Some(base), Some(from)) = (store.open_syncpoint(current)?, store.compare_with(current)?)
    else {
        return Ok(None);
    };
    if Tree::of(base)?.is_merged() {
        return Ok(None);
    }
    let path = |rel: &Path| root::inside(rel).display().to_string();
    Ok(Some(format!(
        "what was changed in the etc of snapshot {from} was not merged into that of snapshot {current} when it booted; the \
         journal of that boot tells why, and `{} {} {etc} {etc}/{}` does it now",
        path(Path::new(MERGER)),
        path(&store.path_inside(from).join(ETC)),
        etc::SYNCPOINT,
        etc = path(Path::new(ETC)),
    )))
}

/// When `path` was last changed; `None` when it has gone meanwhile.
fn moment(dir: impl AsFd, path: &Path) -> Result<Option<Moment>> {
    let parent = beneath::open_dir(dir, path.parent().unwrap_or(Path::new("")));
    let stat: Result<FileStat, _> =
        parent.and_then(|p| beneath::stat_at(p, path.file_name().unwrap_or(OsStr::new("."))));
    match stat {
        Err(e) if beneath::is_no_directory(&e) => Ok(None),
        other => Ok(Some(Moment::of_change(&other?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut_and_says_so() {
        let edit = |n| Edit {
            path: format!("/etc/{n}").into(),
            change: "added",
        };
        let outlook = |count| Outlook {
            lost: (0..count).map(edit).collect(),
            conflicts: Vec::new(),
        };
        assert!(outlook(0).lines().is_empty());
        assert_eq!(outlook(20).lines().len(), 21);
        let lines = outlook(25).lines();
        assert_eq!(lines.len(), 22);
        assert!(lines[21].contains("and 5 more"), "{lines:?}");
    }
}
