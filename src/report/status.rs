//! What runs, what boots next, and what deserves attention.

use std::fmt;

use serde::Serialize;

use super::{Outlook, SCHEMA};
use crate::boot;
use crate::snapshot::{Inventory, Metadata, Store, key};
use crate::sys::Root;

/// The answer of `status`.
#[derive(Debug, Default, Serialize)]
pub struct Status {
    /// Version of this form.
    pub schema: u32,
    /// Number of the snapshot that was booted; none for a system that is mounted elsewhere.
    pub booted: Option<u64>,
    /// Number of the snapshot /usr comes from.
    pub current: Option<u64>,
    /// Number of the default snapshot.
    pub default: Option<u64>,
    /// Number of the snapshot that boots next.
    pub next: Option<u64>,
    /// The update that waits for the next boot.
    pub pending: Option<Pending>,
    /// Whether another snapshot than the running one boots next.
    pub reboot_needed: bool,
    /// Numbers of snapshots that a transaction has not finished.
    pub in_progress: Vec<u64>,
    /// Those of them that are open transactions and wait for their next call.
    pub open: Vec<u64>,
    /// Numbers of snapshots that were kept after a failure.
    pub kept: Vec<u64>,
    /// What of the running /etc does not reach the pending update.
    pub etc: Outlook,
    /// Sentences on what an administrator should look at.
    pub attention: Vec<String>,
}

/// An update that waits for the next boot.
#[derive(Debug, Serialize)]
pub struct Pending {
    /// Number of its snapshot.
    pub snapshot: u64,
    /// When it was made, UTC.
    pub since: String,
    /// From it down to the running system, by number; empty when it does not descend from it.
    pub lineage: Vec<u64>,
}

impl Status {
    /// The status of a system that has no snapshots.
    #[must_use]
    pub fn without_snapshots() -> Status {
        Status {
            schema: SCHEMA,
            ..Status::default()
        }
    }

    /// The status of the system whose snapshots are `inventory`.
    #[must_use]
    pub fn new(inventory: &Inventory) -> Status {
        let numbers = |matches: &dyn Fn(&crate::snapshot::Snapshot) -> bool| -> Vec<u64> {
            inventory
                .snapshots
                .values()
                .filter(|s| matches(s))
                .map(|s| s.id.number())
                .collect()
        };
        let running = inventory.booted.or(inventory.current);
        Status {
            schema: SCHEMA,
            booted: inventory.booted.map(|id| id.number()),
            current: inventory.current.map(|id| id.number()),
            default: inventory.default.map(|id| id.number()),
            next: inventory.default.map(|id| id.number()),
            pending: pending(inventory),
            reboot_needed: inventory.default != running,
            in_progress: numbers(&|s| s.in_progress()),
            open: numbers(&|s| s.is_open()),
            kept: numbers(&|s| s.userdata(key::KEPT).is_some()),
            etc: Outlook::default(),
            attention: attention(inventory),
        }
    }
}

impl Status {
    /// Adds what the loader's own default entry says, which counts more than the default subvolume where there
    /// is one.
    #[must_use]
    pub fn with_entry(mut self, root: &Root, store: &Store, inventory: &Inventory) -> Status {
        let entry = match boot::next_entry(root) {
            Ok(None) => return self,
            Ok(Some(entry)) => entry,
            Err(e) => {
                self.attention.push(e.to_string());
                return self;
            }
        };
        let mut all = inventory.snapshots.keys();
        let next = all.find(|id| entry.boots(&store.path_inside(**id)));
        self.next = next.map(|id| id.number());
        self.reboot_needed = next.copied() != inventory.booted.or(inventory.current);
        if self.next != self.default {
            let name = |n: Option<u64>| n.map_or("no snapshot".to_owned(), |n| format!("#{n}"));
            self.attention.push(format!(
                "the default entry {} of the boot loader boots {}, but the default subvolume is {}; `rollback N` \
                 makes both the same",
                entry.id,
                name(self.next),
                name(self.default)
            ));
        }
        self
    }

    /// Adds what [`unmerged`](super::unmerged) says; what cannot be known deserves attention as well.
    #[must_use]
    pub fn with_unmerged(mut self, unmerged: anyhow::Result<Option<String>>) -> Status {
        let told = unmerged.unwrap_or_else(|e| {
            Some(format!(
                "whether /etc was merged at the boot cannot be told: {e:#}"
            ))
        });
        self.attention.extend(told);
        self
    }

    /// Adds what is known of the running /etc; what cannot be known deserves attention.
    #[must_use]
    pub fn with_etc(mut self, outlook: anyhow::Result<Outlook>) -> Status {
        match outlook {
            Ok(outlook) => self.etc = outlook,
            Err(e) => self.attention.push(format!(
                "what the next system has of the changes in /etc cannot be told: {e:#}"
            )),
        }
        self
    }
}

fn pending(inventory: &Inventory) -> Option<Pending> {
    let pending = inventory.pending()?;
    let lineage = inventory.current.and_then(|current| {
        let chain = inventory.lineage(pending.id, current)?;
        Some(
            chain
                .into_iter()
                .chain([current])
                .map(|id| id.number())
                .collect(),
        )
    });
    Some(Pending {
        snapshot: pending.id.number(),
        since: pending.info().map(|i| i.date.clone()).unwrap_or_default(),
        lineage: lineage.unwrap_or_default(),
    })
}

fn attention(inventory: &Inventory) -> Vec<String> {
    let mut found = Vec::new();
    let default = inventory.default.and_then(|id| inventory.get(id));
    match default {
        None => found.push(
            "the default subvolume is no snapshot; `rollback N` makes one the next system"
                .to_owned(),
        ),
        Some(next) => {
            if next.in_progress() {
                found.push(format!(
                    "snapshot {} boots next, but is marked as unfinished",
                    next.id
                ));
            }
            if next.userdata(key::UNPROVED).is_some() {
                found.push(format!(
                    "default {}, not known to be bootable: the switch to it was cut off; the next command or boot \
                     completes it or goes back",
                    next.id
                ));
            }
            if let Some(count) = next.userdata(key::HIDDEN) {
                found.push(format!(
                    "{count} packaged files of snapshot {} are hidden by other file systems (/var, /srv, /opt …); \
                     BINDDIRS in tukit.conf makes a directory part of transactions",
                    next.id
                ));
            }
        }
    }
    for snapshot in inventory.snapshots.values() {
        match (&snapshot.metadata, &snapshot.subvolume) {
            (Metadata::Bad(why), _) => {
                found.push(format!(
                    "the info.xml of snapshot {} is not understood: {why}",
                    snapshot.id
                ));
            }
            (Metadata::Missing, Some(_)) => {
                found.push(format!("snapshot {} has no info.xml", snapshot.id))
            }
            (Metadata::Good(_), None) if !snapshot.in_progress() => {
                found.push(format!("snapshot {} has no subvolume", snapshot.id));
            }
            (Metadata::Good(_), _) | (Metadata::Missing, None) => {}
        }
        if snapshot.is_forgotten() {
            found.push(format!(
                "snapshot {0} is an open transaction of an earlier boot; snapper's clean-up deletes it, \
                 `tukit close {0}` makes it the next system",
                snapshot.id
            ));
        }
        let dead =
            snapshot.in_progress() && snapshot.owner().is_some_and(|owner| !owner.is_alive());
        if dead {
            found.push(format!("snapshot {} was left behind by a transaction that was cut off; the next one removes it", snapshot.id));
        }
    }
    found
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |n: Option<u64>| n.map_or("no snapshot".to_owned(), |n| format!("#{n}"));
        match (self.booted, self.current) {
            (Some(booted), Some(current)) if booted != current => {
                writeln!(f, "Running: #{current} (booted: #{booted})")?;
            }
            (Some(booted), _) => writeln!(f, "Running: #{booted}")?,
            (None, current) => writeln!(f, "Mounted: {}", name(current))?,
        }
        writeln!(f, "Next boot: {}", name(self.next))?;
        if let Some(pending) = &self.pending {
            writeln!(
                f,
                "Pending: #{} since {} UTC",
                pending.snapshot, pending.since
            )?;
            if pending.lineage.len() > 2 {
                let lineage: Vec<String> =
                    pending.lineage.iter().map(|n| format!("#{n}")).collect();
                writeln!(f, "Made from: {}", lineage.join(" <- "))?;
            }
        }
        // not reboot_needed, which may be for something else than snapshots
        if self.next != self.booted.or(self.current) {
            writeln!(
                f,
                "Reboot to switch to it; `rollback` keeps {} instead.",
                name(self.current)
            )?;
        }
        for (title, list) in [
            ("In progress", &self.in_progress),
            ("Open transactions", &self.open),
            ("Kept after a failure", &self.kept),
        ] {
            if !list.is_empty() {
                let list: Vec<String> = list.iter().map(|n| format!("#{n}")).collect();
                writeln!(f, "{title}: {}", list.join(", "))?;
            }
        }
        for line in self.etc.lines() {
            writeln!(f, "{line}")?;
        }
        for text in &self.attention {
            writeln!(f, "Attention: {text}")?;
        }
        Ok(())
    }
}
