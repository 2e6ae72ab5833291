//! What follows from the work of a transaction, before it is sealed: each step only where it applies, and each told
//! with its reason by `--verbose`.

mod grub_cfg;
mod initrd;
mod kdump;
mod kernels;
mod loader;
mod registration;
mod relabel;

use std::collections::VecDeque;
use std::io::BufRead;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{Open, Restart};
use crate::boot::Loader;
use crate::package::refresh_argv;
use crate::sandbox::Output;
use crate::sys::cmd::Argv;
use crate::sys::{beneath, out};

pub(super) use registration::Registration;
pub use registration::ask_for_registration;

/// Boot files that a command asked for by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BootFiles {
    /// The initrd.
    pub initrd: bool,
    /// The initrd that dumps the memory of a crashed kernel, where it is an own one.
    pub kdump: bool,
    /// The configuration of GRUB.
    pub grub_cfg: bool,
    /// The boot loader itself.
    pub bootloader: bool,
}

impl BootFiles {
    /// These and `other`.
    #[must_use]
    pub fn and(self, other: BootFiles) -> BootFiles {
        BootFiles {
            initrd: self.initrd || other.initrd,
            kdump: self.kdump || other.kdump,
            grub_cfg: self.grub_cfg || other.grub_cfg,
            bootloader: self.bootloader || other.bootloader,
        }
    }

    /// Whether nothing was asked for.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == BootFiles::default()
    }

    /// How the system has to be restarted for them.
    #[must_use]
    pub fn restart(self) -> Option<Restart> {
        let all = self.grub_cfg || self.bootloader;
        let kernel = self.initrd || self.kdump;
        kernel
            .then_some(Restart::Kexec)
            .max(all.then_some(Restart::Reboot))
    }
}

impl Open<'_> {
    /// Removes kernels that the package manager keeps no longer, when its work changed the kernels. To be called
    /// right behind it.
    ///
    /// # Errors
    /// When a signal asked us to end; that an old kernel stays is only told.
    pub fn purge_kernels(&self) -> Result<()> {
        kernels::purge(self)
    }

    /// Has the package manager read its repositories anew, trusting their keys.
    ///
    /// # Errors
    /// When it cannot read one of them.
    pub fn read_repositories(&self) -> Result<()> {
        tell("refresh", "a repository has a key that is not known yet");
        self.call(Argv::new(refresh_argv()))
    }

    /// Does what follows from everything that was done in the snapshot, and makes the boot files that were asked
    /// for. `packages` says whether the package manager did something.
    ///
    /// # Errors
    /// When a step failed; the snapshot is not fit to be booted then.
    pub fn follow_up(&self, asked: BootFiles, packages: bool) -> Result<()> {
        let initrd = initrd::follow(self, asked.initrd)?;
        kdump::follow(self, asked.kdump, packages || initrd)?;
        grub_cfg::follow(self, asked.grub_cfg || asked.bootloader)?;
        if asked.bootloader {
            loader::install(self)?;
        }
        if packages {
            relabel::follow(self);
        }
        Ok(())
    }

    /// Runs a program of the system in the snapshot without input. What it prints is logged.
    ///
    /// # Errors
    /// When it could not be started or failed; with its last lines.
    pub fn call(&self, argv: Argv) -> Result<()> {
        let name = argv.program().display().to_string();
        let (mut printed, mut complained) = (VecDeque::new(), VecDeque::new());
        let mut stdout = |stream: &mut dyn BufRead| {
            for line in stream.split(b'\n').map_while(Result::ok) {
                keep(&name, &mut printed, &String::from_utf8_lossy(&line));
            }
        };
        let mut stderr = |line: &str| keep(&name, &mut complained, line);
        let output = Output::Read {
            stdout: &mut stdout,
            stderr: &mut stderr,
        };
        let exit = self.run(argv, true, false, output)?;
        if exit.code == 0 {
            return Ok(());
        }
        let said: Vec<String> = if complained.is_empty() {
            printed.into()
        } else {
            complained.into()
        };
        bail!(
            "{name} failed in snapshot {} with status {}: {}",
            self.id(),
            exit.code,
            said.join("; ")
        )
    }

    /// The open root of the snapshot with its mounts.
    pub(super) fn root(&self) -> Result<&OwnedFd> {
        let mounts = self.mounts.as_ref();
        Ok(mounts.context("the transaction has no mounts")?.fd())
    }

    /// How this system finds what to boot, as its snapshot knows it.
    ///
    /// # Errors
    /// When a file that tells cannot be read.
    pub fn loader(&self) -> Result<Loader> {
        self.system.loader(self.root()?)
    }

    /// Whether the snapshot has a program of the system of this name.
    fn has(&self, program: &str) -> Result<bool> {
        Ok(has(self.root()?, program))
    }

    /// Whether the content of a file differs from the base. What cannot be read has none.
    fn differs(&self, path: &str) -> Result<bool> {
        const LIMIT: u64 = 1 << 20;
        let base = self.system.store.open_snapshot(self.base())?;
        let path = Path::new(path);
        let before = beneath::read(base, path, LIMIT).ok().flatten();
        Ok(before != beneath::read(self.root()?, path, LIMIT).ok().flatten())
    }
}

/// Last lines of a program that are kept for the message about its failure.
const TAIL: usize = 3;

fn keep(name: &str, tail: &mut VecDeque<String>, line: &str) {
    tracing::info!("{name}: {line}");
    if line.trim().is_empty() {
        return;
    }
    if tail.len() == TAIL {
        tail.pop_front();
    }
    tail.push_back(line.trim().to_owned());
}

/// Where programs of the system are, inside a snapshot.
const PROGRAMS: [&str; 4] = ["usr/sbin", "usr/bin", "sbin", "bin"];

pub(super) fn has(root: impl AsFd, program: &str) -> bool {
    PROGRAMS
        .iter()
        .any(|dir| beneath::resolve(&root, &Path::new(dir).join(program)).is_ok())
}

/// Checks that the programs in the snapshot for boot files that were asked for are there, before anything is changed.
///
/// # Errors
/// Names the program that is missing and the package that brings it.
pub(super) fn preflight(loader: Loader, base: impl AsFd, asked: BootFiles) -> Result<()> {
    let wanted = [
        (asked.initrd, initrd::program(loader)),
        (
            asked.grub_cfg || asked.bootloader,
            grub_cfg::program(loader),
        ),
        (asked.bootloader, loader::program(loader)),
    ];
    for (_, program) in wanted.into_iter().filter(|(asked, _)| *asked) {
        if let Some(program) = program {
            program.require(&base)?;
        }
    }
    Ok(())
}

/// A program that a step needs.
#[derive(Debug, Clone, Copy)]
struct Program {
    name: &'static str,
    /// What brings it.
    package: &'static str,
}

impl Program {
    /// That the snapshot whose root is open has it.
    fn require(self, root: impl AsFd) -> Result<()> {
        if has(root, self.name) {
            return Ok(());
        }
        bail!(
            "the snapshot has no {}; install the package {} first (pkg install {})",
            self.name,
            self.package,
            self.package
        )
    }
}

fn tell(step: &str, because: &str) {
    out::detail(format_args!("Step {step}: {because}"));
}
