//! `migration`: to another version of the products that are registered.

use std::ffi::OsString;

use anyhow::Result;

use super::session::{Session, Worked};
use super::{error, pkg};
use crate::setup::{self, Migration};
use crate::sys::out;
use crate::transaction::Open;

/// A migration, checked as far as that is possible without a snapshot.
#[derive(Debug)]
pub(super) struct Job(Migration);

impl Job {
    pub(super) fn new(session: &Session, args: Vec<OsString>) -> Result<Job> {
        let migration = Migration {
            args,
            interactive: session.is_interactive(true),
            quiet: session.options.quiet,
        };
        migration.check()?;
        if migration.interactive && !out::is_answered() {
            return Err(pkg::nobody_answers());
        }
        Ok(Job(migration))
    }

    pub(super) fn is_interactive(&self) -> bool {
        self.0.interactive
    }

    /// Migrates the snapshot of `open`.
    pub(super) fn work(&self, open: &Open<'_>) -> Result<Worked> {
        Ok(match setup::migrate(open, &self.0)? {
            0 => {
                open.purge_kernels()?;
                Worked::Publish
            }
            code => Worked::Failed(
                error::FAILED,
                format!("zypper migration failed with status {code}"),
            ),
        })
    }
}
