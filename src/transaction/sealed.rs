//! A transaction that is complete on disk and not yet what boots next.

use anyhow::Result;

use super::System;
use super::hidden::HiddenFile;
use super::plugins::{PluginError, Plugins};
use super::record::Restart;
use super::steps::Registration;
use crate::snapshot::{Info, SnapshotId, key};
use crate::sys::lock::WriteLock;
use crate::sys::{failpoint, out};

/// A snapshot with all its data on disk. Publishing it makes it what boots next; dropping it removes it.
#[derive(Debug)]
#[must_use]
pub struct Sealed<'s> {
    system: &'s System,
    lock: &'s WriteLock,
    id: SnapshotId,
    base: SnapshotId,
    info: Info,
    findings: Findings,
    armed: bool,
}

/// What a transaction found out about itself before it was sealed.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) hidden: Vec<HiddenFile>,
    pub(super) restart: Restart,
    pub(super) plugins: Plugins,
    pub(super) registration: Registration,
}

/// What boots next from now on.
#[derive(Debug)]
pub struct Published {
    /// The new snapshot.
    pub id: SnapshotId,
    /// What it was made from.
    pub base: SnapshotId,
    /// Files that will be hidden once it runs.
    pub hidden: Vec<HiddenFile>,
    /// How the system has to be restarted for it.
    pub restart: Restart,
    /// What a plugin failed with that was told about it. It changes nothing any more.
    pub complaint: Option<PluginError>,
}

impl<'s> Sealed<'s> {
    pub(super) fn new(
        system: &'s System,
        lock: &'s WriteLock,
        id: SnapshotId,
        base: SnapshotId,
        info: Info,
        findings: Findings,
    ) -> Sealed<'s> {
        Sealed {
            system,
            lock,
            id,
            base,
            info,
            findings,
            armed: true,
        }
    }

    /// Makes the snapshot what boots next. When this returns, that is on disk.
    ///
    /// # Errors
    /// When it could not boot or could not be switched to; the previous one is the next then, and the
    /// snapshot is gone.
    pub fn publish(mut self) -> Result<Published> {
        match self.switch() {
            Ok(()) => {
                self.armed = false;
                let Findings {
                    hidden,
                    restart,
                    plugins,
                    ..
                } = std::mem::take(&mut self.findings);
                Ok(Published {
                    id: self.id,
                    base: self.base,
                    hidden,
                    restart,
                    complaint: plugins.finalized(self.id, false).err(),
                })
            }
            Err(cause) if self.system.may_still_boot(self.id, &cause) => {
                self.armed = false;
                Err(cause.context(format!(
                    "snapshot {} stays until the next command has gone back",
                    self.id
                )))
            }
            Err(cause) => Err(match self.undo() {
                Ok(()) => cause,
                Err(undo) => cause.context(format!(
                    "snapshot {} could not be removed: {undo:#}",
                    self.id
                )),
            }),
        }
    }

    fn switch(&mut self) -> Result<()> {
        let ready = self.system.check_bootable(self.id)?;
        ready.note_in(&mut self.info);
        self.info.end_transaction();
        let packaged = self
            .findings
            .hidden
            .iter()
            .filter(|f| f.is_regular && !f.owners.is_empty())
            .count();
        if packaged > 0 {
            self.info
                .userdata
                .insert(key::HIDDEN.into(), packaged.to_string());
        }
        let restart = self.findings.restart.name().to_owned();
        self.info.userdata.insert(key::UNTOLD.into(), restart);
        self.findings.registration.ask(self.system);
        failpoint::hit("before-final-info")?;
        self.system.store.modify(self.lock, self.id, &self.info)?;
        failpoint::hit("final-info")?;
        self.system.switch(self.lock, ready)
    }

    fn undo(&mut self) -> Result<()> {
        self.armed = false;
        let removed = self.system.delete(self.lock, self.id);
        self.findings.registration.withdraw(self.system);
        self.findings.plugins.aborted(self.id);
        Ok(removed?)
    }
}

impl Drop for Sealed<'_> {
    fn drop(&mut self) {
        if self.armed
            && let Err(e) = self.undo()
        {
            out::error(format_args!(
                "snapshot {} could not be removed: {e:#}; the next command removes it",
                self.id
            ));
        }
    }
}
