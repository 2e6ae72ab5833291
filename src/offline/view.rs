//! What there is of offline updates in a system, and what has become of it.

use std::time::SystemTime;

use anyhow::{Result, bail};

use super::journal::{self, Event};
use super::reconcile::{Now, Situation, Standing, reconcile};
use super::record::Directory;
use super::state::{Record, State};
use super::systemd::Manager;
use super::trigger::{self, Triggers};
use super::{MOTD, words};
use crate::snapshot::{self, SnapshotId};
use crate::sys::lock::WriteLock;
use crate::sys::{Root, time};
use crate::transaction::System;

/// What there is.
#[derive(Debug)]
pub struct View {
    /// The directory of the state, when it was ever made.
    pub directory: Option<Directory>,
    /// What is where triggers are.
    pub triggers: Triggers,
    /// The first process.
    pub manager: Manager,
    /// What is so now.
    pub now: Now,
    /// What has become of it.
    pub standing: Standing,
}

/// Whether an update is armed or is being carried out: the system should stay what the plan was made for.
///
/// # Errors
/// As [`View::of`].
pub fn is_waiting(system: &System) -> Result<bool> {
    // most systems never had one
    Ok(Directory::open(&system.root)?.is_some() && View::of(system)?.is_waiting())
}

impl View {
    /// Of the running system.
    ///
    /// # Errors
    /// When something cannot be read or is not understood.
    pub fn of(system: &System) -> Result<View> {
        let inventory = system.store.inventory()?;
        let subvolume = |id: Option<SnapshotId>| {
            let snapshot = inventory.get(id?)?;
            snapshot.subvolume.as_ref().map(|subvolume| subvolume.id)
        };
        let (booted, default) = (subvolume(inventory.booted), subvolume(inventory.default));
        View::with(&system.root, booted, default)
    }

    /// Of the running system, for who may not look at snapshots: what boots next is not known then.
    ///
    /// # Errors
    /// As [`View::of`].
    pub fn for_anybody(root: &Root) -> Result<View> {
        View::with(root, snapshot::running_subvolume(root).ok(), None)
    }

    fn with(root: &Root, booted: Option<u64>, default: Option<u64>) -> Result<View> {
        if !root.is_live() {
            bail!(
                "offline updates are those of the running system, not of the one at {}",
                root.path().display()
            );
        }
        let triggers = trigger::find(root)?;
        let directory = Directory::open(root)?;
        let (mut record, mut outcome, mut is_marked) = (None, None, false);
        if let Some(directory) = &directory {
            record = directory.record()?;
            outcome = directory.outcome()?;
            is_marked = directory.is_marked()?;
        }
        let manager = Manager::ask();
        let now = Now {
            userspace: manager.userspace(),
            is_linked: is_marked && triggers.own().next().is_some(),
            booted,
            default,
            time: time::utc(SystemTime::now()),
        };
        let standing = reconcile(record.as_ref(), outcome.as_ref(), &now);
        Ok(View {
            directory,
            triggers,
            manager,
            now,
            standing,
        })
    }

    /// As [`is_waiting`].
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        use Situation::{Acknowledged, Armed, Ended, Incomplete, NotDiverted, Nothing, Underway};
        match self.standing.situation {
            Incomplete | Armed | NotDiverted | Underway => true,
            Nothing | Ended | Acknowledged => false,
        }
    }

    /// Writes down what has become of an update, when that is news.
    ///
    /// # Errors
    /// When it cannot be written; it is found out again then.
    pub fn settle(&mut self, _lock: &WriteLock) -> Result<()> {
        let (Some(directory), true) = (&self.directory, self.standing.is_news) else {
            return Ok(());
        };
        if let (Some(record), Some(outcome)) = (&self.standing.record, &self.standing.outcome) {
            directory.write_outcome(outcome)?;
            directory.write_motd(&words::motd_ended(&outcome.text))?;
            directory.write_record(record)?;
            if let Some(event) = Event::of_end(record) {
                journal::tell(event, record, &outcome.text);
            }
        }
        self.standing.is_news = false;
        Ok(())
    }

    /// Notes that somebody has seen the result, which is not shown at login any more.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn acknowledge(&mut self, lock: &WriteLock) -> Result<()> {
        self.settle(lock)?;
        let standing = &mut self.standing;
        let (Some(directory), Some(record)) = (&self.directory, &standing.record) else {
            return Ok(());
        };
        if standing.situation != Situation::Ended {
            return Ok(());
        }
        let seen = Record {
            state: State::Acknowledged,
            ..record.clone()
        };
        directory.write_record(&seen)?;
        directory.remove(MOTD)?;
        standing.situation = Situation::Acknowledged;
        standing.record = Some(seen);
        Ok(())
    }
}
