//! Several commands in one call: first what they come to, then all of it.
//!
//! What works in the new snapshot is one transaction, in an order of its own and not in the typed one: packages
//! first, so that everything later sees the new files, and boot files last. `cleanup` comes before it, `apply` and
//! `reboot` after it, and only when it succeeded.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use super::args::Command;
use super::cleanup::{self, Cleanup};
use super::session::{Ended, Frame, Session, Worked};
use super::step::Step;
use super::{apply, images, migration, pkg, reboot, recover, register};
use crate::activate;
use crate::config::UpdateMethod;
use crate::offline;
use crate::package::Action;
use crate::setup::Setup;
use crate::sys::cmd::Argv;
use crate::sys::mount::Namespace;
use crate::sys::out;
use crate::transaction::{self, BootFiles, Need, Open, System};

/// What the commands of one call come to.
#[derive(Debug)]
pub(super) enum Plan {
    /// One command that stands alone.
    Alone(Command),
    /// Commands that chain; none means what the configuration says.
    Chain(Chain),
}

/// Commands that chain, in the order in which they are done.
#[derive(Debug, Default)]
pub(super) struct Chain {
    cleanup: Cleanup,
    /// Whether packages are updated as the configuration says.
    configured: bool,
    steps: Vec<Step>,
    boot_files: BootFiles,
    apply: bool,
    reboot: bool,
}

/// Resolves what was typed.
///
/// # Errors
/// When the commands do not fit together, or one of them asks questions that nobody can answer.
pub(super) fn plan(session: &Session, commands: Vec<Command>) -> Result<Plan> {
    let mut chain = Chain::default();
    for command in commands {
        if let Some(alone) = chain.add(session, command)? {
            return Ok(Plan::Alone(alone)); // it is the only one: args::parse saw to that
        }
    }
    chain.steps.sort_by_key(Step::rank);
    chain.check()?;
    Ok(Plan::Chain(chain))
}

impl Chain {
    /// Takes a command in; gives it back when it is none that chains.
    fn add(&mut self, session: &Session, command: Command) -> Result<Option<Command>> {
        let step = match command {
            Command::Pkg { action } => Step::Packages(pkg::pkg(session, action)?),
            Command::Dup => Step::Packages(pkg::upgrade(session, Action::DistUpgrade)?),
            Command::Up => Step::Packages(pkg::upgrade(session, Action::Update)?),
            Command::Patch => Step::Packages(pkg::upgrade(session, Action::Patch)?),
            Command::Migration { args } => Step::Migration(migration::Job::new(session, args)?),
            Command::Register { args } => Step::Register(register::Job(args)),
            Command::SetupFips => Step::Setup(Setup::Fips),
            Command::SetupSelinux => Step::Setup(Setup::Selinux),
            Command::SetupKdump { crashkernel } => Step::Setup(Setup::Kdump(crashkernel)),
            Command::Run { command } => Step::Run(Argv::new(command)),
            Command::Shell => Step::Shell,
            flag => return Ok(self.set(flag)),
        };
        self.steps.push(step);
        Ok(None)
    }

    /// Takes in a command that is there or not; gives it back when it is none that chains.
    fn set(&mut self, command: Command) -> Option<Command> {
        match command {
            Command::Initrd => self.boot_files.initrd = true,
            Command::Kdump => self.boot_files.kdump = true,
            Command::GrubCfg => self.boot_files.grub_cfg = true,
            Command::Bootloader => self.boot_files.bootloader = true,
            Command::Cleanup => {
                self.cleanup = Cleanup {
                    snapshots: true,
                    overlays: true,
                    images: true,
                };
            }
            Command::CleanupSnapshots => self.cleanup.snapshots = true,
            Command::CleanupOverlays => self.cleanup.overlays = true,
            Command::Auto => self.configured = true,
            Command::Apply => self.apply = true,
            Command::Reboot => self.reboot = true,
            alone => return Some(alone),
        }
        None
    }

    fn check(&self) -> Result<()> {
        let steps = || self.steps.iter();
        let is_packages = |step: &Step| matches!(step, Step::Packages(_) | Step::Migration(_));
        if self.configured && steps().any(is_packages) {
            bail!("auto is itself a command for packages, of which a call has one");
        }
        let setup = steps().find(|step| matches!(step, Step::Setup(_)));
        if let Some(setup) = setup
            && (self.configured || steps().any(Step::excludes_setup))
        {
            bail!(
                "{} installs packages by itself; of the commands for packages only `pkg install` goes with it",
                setup.name()
            );
        }
        if let Some(pair) = self
            .steps
            .windows(2)
            .find(|pair| pair[0].rank() == pair[1].rank())
        {
            bail!(
                "{} is given twice; a call has one command for packages, and every other one once",
                pair[0].name()
            );
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        let cleans = self.cleanup != Cleanup::default();
        !(cleans || self.changes() || self.apply || self.reboot)
    }

    /// What is asked for where updates are versions of images; nothing when it is about snapshots there as well.
    fn of_images(&self, is_automatic: bool) -> Result<Option<images::Wish>> {
        let is_of_snapshots = self.changes() || self.apply;
        if is_of_snapshots && is_automatic {
            bail!(
                "auto updates images here (UPDATE_METHOD=sysupdate); of all commands only cleanup and reboot go with it"
            );
        }
        let is_asked = is_automatic || self.cleanup.images || self.reboot;
        Ok((is_asked && !is_of_snapshots).then_some(images::Wish {
            cleanup: self.cleanup,
            update: is_automatic,
            reboot: self.reboot,
        }))
    }

    /// Whether something is done in a new snapshot.
    fn changes(&self) -> bool {
        !self.steps.is_empty() || !self.boot_files.is_empty()
    }

    /// Does everything, or what comes before the first failure: what follows it would build upon it.
    ///
    /// # Errors
    /// What failed.
    pub(super) fn go(mut self, session: &Session) -> Result<ExitCode> {
        let configured = session.configured()?;
        let is_automatic = self.configured || self.is_empty();
        if configured.updates_images()
            && let Some(wish) = self.of_images(is_automatic)?
        {
            return images::go(session, configured, wish);
        }
        let system = session.to_change(configured)?;
        transaction::not_inside_another()?;
        if !self.may_go(&system, is_automatic) {
            return Ok(ExitCode::SUCCESS);
        }
        if is_automatic {
            self.steps.push(packages(session, &system)?);
            self.steps.sort_by_key(Step::rank);
        }
        let lock = system.lock()?;
        if !self.changes() && !self.cleanup.snapshots && !self.apply {
            // all else does that itself. When it fails, a reboot may be what helps
            recover::with(&system, &lock)
                .map(drop)
                .unwrap_or_else(|e| out::warn(format_args!("{e:#}")));
        }
        for step in &self.steps {
            step.prepare(&system, &lock)?;
        }
        if self.cleanup != Cleanup::default() {
            cleanup::cleanup(&system, &lock, self.cleanup)?;
        }
        // a transaction leaves us in a mount namespace of its own, where no switch would be seen
        let host = self.changes().then(Namespace::here).transpose()?;
        if self.changes() {
            match session.transact(&system, &lock, self.frame(), |open| {
                self.work(session, &system, open)
            })? {
                Ended::Published => {}
                // no update, no reboot: or the nightly one would reboot every night
                Ended::Nothing => self.reboot = self.reboot && activate::is_wanted(&system)?,
                Ended::Failed(code) => return Ok(ExitCode::from(code)),
            }
        }
        if self.apply {
            if let Some(host) = host {
                host.enter().context("going back to the host's mounts")?;
            }
            let is_wanted = apply::apply(session, &system, &lock)?;
            self.reboot = self.reboot && is_wanted;
        }
        drop(lock);
        if self.reboot {
            reboot::reboot(session, &system)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Whether it may be done while an update may be armed for a boot of its own. What nobody has asked for keeps still then, and a
    /// person is told what becomes of the armed one.
    fn may_go(&self, system: &System, is_automatic: bool) -> bool {
        if !(is_automatic || self.changes() || self.apply) || !system.root.is_live() {
            return true;
        }
        match offline::is_waiting(system) {
            Ok(false) => true,
            Ok(true) if is_automatic => {
                out::say(
                    "Nothing is done: an offline update is armed, and would not fit another system. `offline cancel` calls it off.",
                );
                false
            }
            Ok(true) => {
                out::warn(
                    "an offline update is armed; what is changed now makes it stale, so that it will not be carried out. \
                     `offline cancel` calls it off",
                );
                true
            }
            Err(e) => {
                out::warn(format_args!(
                    "whether an offline update is armed is not known: {e:#}"
                ));
                true
            }
        }
    }

    /// What the transaction needs for all of its steps.
    fn frame(&self) -> Frame {
        let steps = || self.steps.iter();
        let packages = steps().any(|step| step.need() == Need::PackageManager);
        Frame {
            need: if packages {
                Need::PackageManager
            } else {
                Need::Snapshot
            },
            // most of what the registration can be asked for changes nothing
            drop_if_unchanged: steps().any(|step| matches!(step, Step::Register(_))),
            tell_live: steps().any(Step::is_dialogue),
            read_only: steps().flat_map(Step::shown).collect(),
            boot_files: self.boot_files,
            restart: steps()
                .map(Step::restart)
                .fold(self.boot_files.restart(), Ord::max),
        }
    }

    fn work(&self, session: &Session, system: &System, open: &Open<'_>) -> Result<Worked> {
        let mut boot_files = self.boot_files;
        let (mut changed, mut packages) = (!boot_files.is_empty(), false);
        for step in &self.steps {
            let done = step.work(session, system, open)?;
            match done.worked {
                Worked::Publish => changed = true,
                Worked::Nothing => {}
                failed @ Worked::Failed(..) => return Ok(failed),
            }
            boot_files = boot_files.and(done.boot_files);
            packages |= done.packages;
        }
        if !changed {
            return Ok(Worked::Nothing);
        }
        open.follow_up(boot_files, packages)?;
        Ok(Worked::Publish)
    }
}

/// What is done when no command is given.
fn packages(session: &Session, system: &System) -> Result<Step> {
    Ok(Step::Packages(pkg::upgrade(
        session,
        configured_action(system)?,
    )?))
}

/// What UPDATE_METHOD says.
pub(super) fn configured_action(system: &System) -> Result<Action> {
    let method = &system.config.update_method;
    out::say(format_args!(
        "UPDATE_METHOD is {} ({}).",
        method.value.word(),
        method.origin
    ));
    Ok(match method.value {
        UpdateMethod::Dup => Action::DistUpgrade,
        UpdateMethod::Up => Action::Update,
        UpdateMethod::Patch => Action::Patch,
        UpdateMethod::Sysupdate => bail!(
            "UPDATE_METHOD=sysupdate ({}) updates images, and this is about packages: name the command, dup, up or patch",
            method.origin
        ),
    })
}
