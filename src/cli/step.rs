//! What is done in the new snapshot: one step for each command that works there.

use anyhow::Result;

use super::session::{Session, Worked};
use super::{migration, pkg, register, run, setup};
use crate::package::Action;
use crate::sandbox::Shown;
use crate::setup::Setup;
use crate::sys::cmd::Argv;
use crate::sys::lock::WriteLock;
use crate::transaction::{BootFiles, Need, Open, Restart, System};

/// One of them, resolved.
#[derive(Debug)]
pub(super) enum Step {
    Register(register::Job),
    Packages(pkg::Job),
    Migration(migration::Job),
    Setup(Setup),
    Run(Argv),
    Shell,
}

/// What a step came to, and what follows from it.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) worked: Worked,
    /// Boot files that have to be made anew.
    pub(super) boot_files: BootFiles,
    /// Whether packages changed.
    pub(super) packages: bool,
}

impl Step {
    /// Its place in the order; those with the same exclude each other.
    pub(super) fn rank(&self) -> usize {
        match self {
            Step::Register(_) => 0,
            Step::Packages(_) | Step::Migration(_) => 1,
            Step::Setup(Setup::Fips) => 2,
            Step::Setup(Setup::Selinux) => 3,
            Step::Setup(Setup::Kdump(_)) => 4,
            Step::Run(_) => 5,
            Step::Shell => 6,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Step::Register(_) => "register",
            Step::Packages(_) | Step::Migration(_) => "a command for packages",
            Step::Setup(setup) => setup.command(),
            Step::Run(_) => "run",
            Step::Shell => "shell",
        }
    }

    /// Whether it is a command for packages, and none that may stand beside one that sets something up.
    pub(super) fn excludes_setup(&self) -> bool {
        match self {
            Step::Packages(job) => job.action() != Action::Install,
            Step::Migration(_) => true,
            _ => false,
        }
    }

    pub(super) fn need(&self) -> Need {
        match self {
            Step::Packages(_) | Step::Migration(_) | Step::Setup(_) => Need::PackageManager,
            Step::Register(_) | Step::Run(_) | Step::Shell => Need::Snapshot,
        }
    }

    /// How the system has to be restarted for it at least; the package manager knows better what it did.
    pub(super) fn restart(&self) -> Option<Restart> {
        match self {
            Step::Packages(_) | Step::Migration(_) => None,
            Step::Register(_) => Some(Restart::Soft),
            Step::Setup(_) | Step::Run(_) | Step::Shell => Some(Restart::Reboot),
        }
    }

    /// Whether a person works in the snapshot, who has to know what an abort does not undo.
    pub(super) fn is_dialogue(&self) -> bool {
        match self {
            Step::Packages(job) => job.is_interactive(),
            Step::Migration(job) => job.is_interactive(),
            Step::Shell => true,
            Step::Register(_) | Step::Setup(_) | Step::Run(_) => false,
        }
    }

    pub(super) fn shown(&self) -> Vec<Shown> {
        match self {
            Step::Packages(job) => job.shown(),
            _ => Vec::new(),
        }
    }

    /// Looks after the running system before a transaction is begun.
    pub(super) fn prepare(&self, system: &System, lock: &WriteLock) -> Result<()> {
        match self {
            Step::Register(_) => crate::setup::check_register(system),
            Step::Setup(setup) => setup.prepare(system, lock),
            _ => Ok(()),
        }
    }

    /// Does it.
    pub(super) fn work(&self, session: &Session, system: &System, open: &Open<'_>) -> Result<Done> {
        let (worked, boot_files) = match self {
            Step::Register(job) => (job.work(open)?, BootFiles::default()),
            Step::Packages(job) => (job.work(system, open)?, BootFiles::default()),
            Step::Migration(job) => (job.work(open)?, BootFiles::default()),
            Step::Setup(setup) => setup::set_up(session, setup, system, open)?,
            Step::Run(argv) => (run::run(session, argv, open)?, BootFiles::default()),
            Step::Shell => (run::shell(open)?, BootFiles::default()),
        };
        let changed = matches!(worked, Worked::Publish);
        Ok(Done {
            worked,
            boot_files,
            packages: changed && self.need() == Need::PackageManager,
        })
    }
}
