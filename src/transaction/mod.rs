//! Layer 2: a change to the system that happens wholly or not at all.
//!
//! Owns the order of writes: lock, recover, preflight, snapshot, mounts, run, seal, publish or abort.
//!
//! Invariants: [`Open`] ends by [`Open::seal`] and [`Sealed::publish`], or waits for another process after
//! [`Open::park`], or the snapshot is gone, also when it is dropped. Nothing of the running system changes before
//! `publish`, which switches once.

mod base;
mod carry;
mod content;
mod etc;
mod facts;
mod hidden;
mod in_place;
mod live;
mod manager;
mod open;
mod options;
mod park;
mod plugins;
mod preflight;
mod record;
mod recover;
mod sealed;
mod state;
mod steps;
mod switch;
mod unchanged;
mod untold;

pub use base::{Base, BaseError, BasePolicy, Reason, choose};
pub use etc::{forget, merge, nest_etc};
pub use hidden::HiddenFile;
pub use in_place::{Before, Changed, Claim, InPlace, WayBack};
pub use live::{APPLIED, Mounting, NEXT_ROOT};
pub use manager::{call_package_manager, understand};
pub use open::{Open, mark_booted};
pub use options::Options;
pub use plugins::{PluginError, Step, before_reboot};
pub use preflight::{Need, not_inside_another};
pub use record::{
    Record, Restart, choose_restart, gap, restart_asked_for, restart_is_done, unknown_reboot,
};
pub use recover::recover;
pub use sealed::{Published, Sealed};
pub use state::{StateChange, keep_state};
pub use steps::{BootFiles, ask_for_registration};
pub use switch::Ready;

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Error, Result};

use crate::boot::{self, Loader};
use crate::config::Config;
use crate::snapshot::Store;
use crate::sys::lock::{LockError, WriteLock};
use crate::sys::{Root, beneath, root, signal};

/// The variable that tells programs that they run inside a transaction.
pub const INSIDE_VARIABLE: &str = "TRANSACTIONAL_UPDATE";

/// How long to wait before the lock is tried again.
const AGAIN: Duration = Duration::from_millis(100);

/// The system that is worked on.
#[derive(Debug)]
pub struct System {
    /// Its root.
    pub root: Root,
    /// Its snapshots.
    pub store: Store,
    /// Its configuration.
    pub config: Config,
    /// In place of run/reboot-needed, which tells other programs of a reboot (`TU_NEEDS_RESTARTING_FILE`).
    pub restart_file: Option<PathBuf>,
    /// In place of the old state file of the running system (`TU_STATE_FILE`).
    pub state_file: Option<PathBuf>,
}

impl System {
    /// Takes the right to change this system: by the directory of its snapshots, so that two ways to the same
    /// system exclude each other, and for the running one also by the file that says who has it.
    ///
    /// # Errors
    /// When another process has it.
    pub fn lock(&self) -> Result<WriteLock> {
        let directory = || WriteLock::directory(&self.root.join(crate::snapshot::SNAPSHOTS));
        if self.root.is_live() {
            let file = WriteLock::file(&self.root.join(&self.config.lock_file.value))?;
            return Ok(file.and(directory()?));
        }
        Ok(directory()?)
    }

    /// As [`System::lock`], but waits as long as another process has it, at most `limit`. `None` as soon as there is
    /// nothing to wait for any more, because `is_done`.
    ///
    /// # Errors
    /// As there, and when a signal asked us to end.
    pub fn lock_within(
        &self,
        limit: Duration,
        is_done: impl Fn() -> Result<bool>,
    ) -> Result<Option<WriteLock>> {
        let begun = Instant::now();
        loop {
            match self.lock() {
                Err(e) if is_held(&e) && begun.elapsed() < limit => {
                    if is_done()? {
                        return Ok(None);
                    }
                }
                other => return other.map(Some),
            }
            thread::sleep(AGAIN);
            signal::check()?;
        }
    }

    /// How this system finds what to boot. What is in charge is what the running system was set up with; the open
    /// root `snapshot` is asked when that does not tell.
    ///
    /// # Errors
    /// When a file that tells cannot be read, or the loader is one we cannot switch.
    pub fn loader(&self, snapshot: impl AsFd) -> Result<Loader> {
        Ok(match boot::detect(beneath::open_root(self.root.path())?)? {
            Loader::None => boot::detect(snapshot)?,
            found => found,
        })
    }
}

/// Whether `error` of [`System::lock`] is that another process has it.
#[must_use]
pub fn is_held(error: &Error) -> bool {
    matches!(error.downcast_ref(), Some(LockError::Held(..)))
}

/// The working directory of the caller as it would be called inside the system at `root`.
fn working_directory(root: &Root) -> PathBuf {
    let cwd = std::env::current_dir().unwrap_or_default();
    root.strip(&cwd)
        .map_or_else(|| root::inside("".as_ref()), root::inside)
}
