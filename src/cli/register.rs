//! `register`: the registration of the system, as SUSEConnect does it.

use std::ffi::OsString;

use anyhow::Result;

use super::session::Worked;
use crate::setup;
use crate::transaction::Open;

/// The arguments for SUSEConnect.
#[derive(Debug)]
pub(super) struct Job(pub(super) Vec<OsString>);

impl Job {
    /// Calls it for the snapshot of `open`. Its status is told, ours is 1.
    pub(super) fn work(&self, open: &Open<'_>) -> Result<Worked> {
        Ok(match setup::register(open, &self.0)? {
            0 => Worked::Publish,
            code => Worked::Failed(
                super::error::FAILED,
                format!("SUSEConnect failed with status {code}"),
            ),
        })
    }
}
