//! The directories that packages own where no transaction can make them: /var, /srv, /opt of the running system.
//!
//! Owns which of the database's directories are wanted, making them without ever following a link, the stamp that saves
//! the next boot the work, and calling systemd-tmpfiles. Never removes what it has not made itself, and changes nothing
//! about what is there.

mod create;
mod report;

use std::path::PathBuf;

use anyhow::{Result, bail};

pub use create::{Found, Maker, Outcome, Wanted};
pub use report::{Action, Entry, Reason, Report, Source, Status, Summary, Tmpfiles};

use crate::rpmdb::Prefix;
use crate::sys::Root;

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Directories below which those of packages are wanted; never these themselves.
    pub prefixes: Vec<Prefix>,
    /// Directories below which none are wanted.
    pub excluded: Vec<Prefix>,
    /// Whether those that packages only own (%ghost) are wanted, too.
    pub with_ghosts: bool,
    /// Where the database is, below the root, when it is not where it usually is.
    pub database: Option<PathBuf>,
    /// Whether headers are checked against their digests.
    pub verify_digests: bool,
    /// Whether to find out only what would be done.
    pub dry_run: bool,
    /// Whether to scan the database whatever the stamp says.
    pub force: bool,
    /// Whether systemd-tmpfiles is called for the same prefixes afterwards.
    pub tmpfiles: bool,
    /// Whether the system boots: systemd-tmpfiles then applies the lines that are only for that.
    pub boot: bool,
}

/// Makes the directories that are wanted below `root` and missing there.
///
/// # Errors
/// Only for what makes the whole run impossible, as a root that cannot be opened. What concerns single directories, and a
/// database that cannot be read, is in the report.
pub fn run(root: &Root, request: &Request) -> Result<Report> {
    let what = request.prefixes.len();
    bail!(
        "directories below {what} prefixes of {} cannot be made yet",
        root.path().display()
    );
}
