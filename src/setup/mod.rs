//! Layer 3: setting up parts of the system in a snapshot that is being changed: FIPS, kdump, SELinux, registration,
//! migration to another product.
//!
//! Owns what has to be installed, switched on and written for each of them. Configuration files are changed as data,
//! line by line, and only those lines that are known.

mod fips;
mod kdump;
mod lines;
mod migration;
mod register;
mod selinux;

use anyhow::{Result, bail};

use crate::sys::cmd::Argv;
use crate::sys::lock::WriteLock;
use crate::transaction::{BootFiles, Open, System};

pub use kdump::CrashKernel;
pub use migration::{Migration, migrate};
pub use register::{check as check_register, register};

/// A part of the system that can be set up. The order of the variants is the one in which several are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setup {
    /// Cryptography as FIPS 140 wants it.
    Fips,
    /// SELinux with the targeted policy, enforcing.
    Selinux,
    /// Dumps of the memory after a crash of the kernel.
    Kdump(Option<CrashKernel>),
}

/// Something that has to be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Package(&'static str),
    Pattern(&'static str),
}

impl Setup {
    /// The command that asks for it.
    #[must_use]
    pub fn command(&self) -> &'static str {
        match self {
            Setup::Fips => "setup-fips",
            Setup::Selinux => "setup-selinux",
            Setup::Kdump(_) => "setup-kdump",
        }
    }

    fn wanted(&self) -> &'static [Wanted] {
        match self {
            Setup::Fips => &[Wanted::Pattern("fips")],
            Setup::Selinux => &[
                Wanted::Package("selinux-policy-targeted"),
                Wanted::Package("container-selinux"),
            ],
            Setup::Kdump(_) => &[Wanted::Package("kdump")],
        }
    }

    /// What has to be there in the running system before a transaction is begun.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn prepare(&self, system: &System, lock: &WriteLock) -> Result<()> {
        match self {
            Setup::Selinux => selinux::prepare(system, lock),
            Setup::Fips | Setup::Kdump(_) => Ok(()),
        }
    }

    /// What is missing for it in the snapshot, as the package manager calls it.
    ///
    /// # Errors
    /// When the RPM database cannot be asked.
    pub fn missing(&self, open: &Open<'_>) -> Result<Vec<String>> {
        let mut missing = Vec::new();
        for wanted in self.wanted() {
            missing.extend(wanted.missing(open)?);
        }
        Ok(missing)
    }

    /// Sets it up in the snapshot, where everything is installed. Returns the boot files that have to be made anew.
    ///
    /// # Errors
    /// When a file is missing or a program failed.
    pub fn apply(&self, open: &Open<'_>) -> Result<BootFiles> {
        match self {
            Setup::Fips => fips::apply(open),
            Setup::Selinux => selinux::apply(open),
            // its own initrd follows from the change of packages or comes with the boot
            Setup::Kdump(memory) => {
                kdump::apply(open, memory.as_ref()).map(|()| BootFiles::default())
            }
        }
    }
}

impl Wanted {
    /// What the package manager has to install for it; nothing when it is there.
    fn missing(self, open: &Open<'_>) -> Result<Option<String>> {
        match self {
            Wanted::Package(name) => {
                let (exit, _) = open.capture(Argv::new(["rpm", "--quiet", "-q", name]))?;
                Ok((exit.code != 0).then(|| name.to_owned()))
            }
            Wanted::Pattern(name) => {
                let capability = format!("pattern() = {name}");
                let argv = ["rpm", "-q", "--whatprovides", "pattern()", "--provides"];
                let (_, provided) = open.capture(Argv::new(argv))?;
                let provided = String::from_utf8_lossy(&provided);
                let is_there = provided.lines().any(|line| line.trim() == capability);
                Ok((!is_there).then_some(capability))
            }
        }
    }
}

/// Changes a file of the snapshot that a package should have brought.
fn edit(open: &Open<'_>, path: &str, package: &str, change: impl Fn(&str) -> String) -> Result<()> {
    if !open.edit(path.as_ref(), change)? {
        bail!("the snapshot has no {path}; the package {package} should have brought it");
    }
    Ok(())
}
