//! How a transaction is made.

use super::{BasePolicy, BootFiles, Need, Restart};
use crate::sandbox::Shown;

/// How a transaction is made.
#[derive(Debug, Clone)]
pub struct Options {
    /// What to build upon.
    pub base: BasePolicy,
    /// What the snapshot must offer.
    pub need: Need,
    /// Drops the snapshot when nothing in it changed.
    pub drop_if_unchanged: bool,
    /// What the snapshot is for, in one line; a sentence about its base without it.
    pub description: Option<String>,
    /// Whether the failure of a plugin is only told and ends nothing.
    pub ignore_plugins: bool,
    /// Files and directories to show to the transaction.
    pub read_only: Vec<Shown>,
    /// Whether to tell which directories are live, before a person works there.
    pub tell_live: bool,
    /// Boot files that will be made.
    pub boot_files: BootFiles,
    /// How the system has to be restarted at least for what will be done beside packages; `None` when that is not
    /// known.
    pub restart: Option<Restart>,
}

impl Options {
    /// How the system has to be restarted, given what the package manager noted about its part.
    pub(super) fn restart_with(&self, noted: Option<Restart>) -> Restart {
        let is_unknown = self.need == Need::PackageManager && noted.is_none();
        let packages = is_unknown.then_some(Restart::Reboot);
        noted.max(self.restart).max(packages).unwrap_or_default()
    }
}
