//! `cleanup`, `cleanup-snapshots`, `cleanup-overlays`: what old updates left.

use anyhow::Result;

use crate::manage::{self, Cleaned, Deletable};
use crate::sys::lock::WriteLock;
use crate::sys::out;
use crate::transaction::{self, StateChange, System};

/// What is cleaned up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cleanup {
    /// Snapshots that nothing needs any more.
    pub(super) snapshots: bool,
    /// Overlays of /etc that no snapshot uses.
    pub(super) overlays: bool,
    /// Versions of images that are too many, where UPDATE_METHOD=sysupdate.
    pub(super) images: bool,
}

/// Marks snapshots for snapper's clean-up, and names overlays. What is not understood is told and is no failure:
/// an update that follows in the same call does not depend on it.
pub(super) fn cleanup(system: &System, lock: &WriteLock, what: Cleanup) -> Result<()> {
    if what.snapshots {
        let cleaned = manage::cleanup(system, lock)?;
        if matches!(cleaned, Cleaned::Marked(_)) {
            transaction::keep_state(system, StateChange::CleanedUp);
        }
        tell(cleaned);
    }
    if what.overlays {
        for unused in manage::unused_overlays(system)? {
            out::say(format_args!(
                "{} is used by no snapshot and can be deleted.",
                unused.display()
            ));
        }
    }
    Ok(())
}

fn tell(cleaned: Cleaned) {
    match cleaned {
        Cleaned::Marked(marked) if marked.is_empty() => {
            out::detail("No snapshot has to be marked for deletion.")
        }
        Cleaned::Marked(marked) => {
            let marked: Vec<String> = marked.iter().map(name).collect();
            out::say(format_args!(
                "Marked for deletion by snapper: {}",
                marked.join(", ")
            ));
        }
        Cleaned::NotUnderstood(why) => out::warn(why),
    }
}

fn name(marked: &Deletable) -> String {
    let important = if marked.is_important() {
        " (important)"
    } else {
        ""
    };
    format!("#{}{important}", marked.id())
}
