//! What every command begins with and how every transaction ends.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Error, Result, bail};
use nix::unistd::Uid;
use serde::Serialize;

use super::args::Options;
use super::pkg;
use crate::config::{self, Config, Overrides, UpdateMethod};
use crate::report::Outlook;
use crate::sandbox::Shown;
use crate::snapshot::{LayoutError, SnapshotId, Store};
use crate::sys::cmd::Argv;
use crate::sys::lock::WriteLock;
use crate::sys::{Root, log, out, signal, tool};
use crate::transaction::{
    self, BasePolicy, BootFiles, Need, Open, Published, Record, Restart, StateChange, System,
    choose_restart,
};

const LOG: &str = "var/log/transactional-update.log";

/// A command with the options it was called with.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) options: Options,
    /// What was typed, for the history.
    command: String,
    extra: Extra,
}

/// What only `tukit` can be asked for.
#[derive(Debug, Default)]
pub(super) struct Extra {
    /// The description of a new snapshot.
    pub(super) description: Option<String>,
    /// Keys of tukit.conf, set by hand.
    pub(super) settings: Vec<String>,
    /// Writes neither the log nor the journal.
    pub(super) no_log: bool,
}

impl Session {
    pub(super) fn new(options: Options) -> Session {
        Session::of("transactional-update", options, Extra::default())
    }

    /// A session of `program`.
    pub(super) fn of(program: &str, options: Options, extra: Extra) -> Session {
        let words = std::iter::once(program.into()).chain(std::env::args_os().skip(1));
        Session {
            options,
            command: Argv::new(words).to_string(),
            extra,
        }
    }

    /// What was typed.
    pub(super) fn command(&self) -> &str {
        &self.command
    }

    /// The system to look at.
    pub(super) fn system(&self) -> Result<System> {
        self.configured()?.system()
    }

    /// The root that is worked on, and its configuration.
    pub(super) fn configured(&self) -> Result<Configured> {
        if !Uid::effective().is_root() {
            bail!(
                "only root can read and change snapshots; call this as root (sudo transactional-update …)"
            );
        }
        let root = match &self.options.root {
            Some(dir) => Root::at(dir).with_context(|| format!("--root {}", dir.display()))?,
            None => Root::live(),
        };
        let overrides = Overrides {
            system_file: named("TU_CONFFILESYSTEM"),
            admin_file: named("TU_CONFFILE"),
            settings: self.extra.settings.clone(),
        };
        let mut config = Config::load(&root, &overrides)?;
        if let Some(lock) = named("TU_LOCKFILE") {
            config.lock_file = config::Value {
                value: lock,
                origin: config::Origin::Environment("TU_LOCKFILE"),
            };
        }
        for warning in &config.warnings {
            out::warn(warning);
        }
        tool::set_plugin_limit(config.plugin_timeout.value);
        Ok(Configured { root, config })
    }

    /// The system to change.
    pub(super) fn system_to_change(&self) -> Result<System> {
        self.to_change(self.configured()?)
    }

    /// The same, of what is known already.
    pub(super) fn to_change(&self, configured: Configured) -> Result<System> {
        let system = configured.system()?;
        self.begin(&system.root)?;
        Ok(system)
    }

    /// Begins to change something: with a log, and with signals that abort instead of killing us.
    pub(super) fn begin(&self, root: &Root) -> Result<()> {
        let path = named("TU_LOGFILE").unwrap_or_else(|| root.join(LOG));
        if !self.extra.no_log
            && let Err(e) = log::start(&path)
        {
            out::warn(format_args!("cannot write the log {}: {e}", path.display()));
        }
        tracing::info!("called as: {}", self.command);
        signal::install().context("listening to signals")
    }

    /// What a new transaction builds upon: the command line, else the configuration.
    fn base(&self, system: &System) -> BasePolicy {
        match (self.options.no_continue, self.options.base) {
            (true, _) => BasePolicy::Current,
            (false, Some(Some(id))) => BasePolicy::Snapshot(id),
            (false, Some(None)) => BasePolicy::Default,
            (false, None) => match system.config.base.value {
                config::Base::Auto => BasePolicy::Auto,
                config::Base::Active => BasePolicy::Current,
                config::Base::Default => BasePolicy::Default,
            },
        }
    }

    /// Whether a person answers, given what the command does when nothing was said.
    pub(super) fn is_interactive(&self, by_default: bool) -> bool {
        (by_default || self.options.interactive) && !self.options.non_interactive
    }

    /// Makes a transaction in which `work` is done. `work` says whether what it did is to be published.
    pub(super) fn transact(
        &self,
        system: &System,
        lock: &WriteLock,
        frame: Frame,
        work: impl FnOnce(&Open<'_>) -> Result<Worked>,
    ) -> Result<Ended> {
        let open = Open::begin(system, lock, self.transaction(system, frame));
        self.end(system, lock, open, work)
    }

    /// What a transaction is made with.
    pub(super) fn transaction(&self, system: &System, frame: Frame) -> transaction::Options {
        transaction::Options {
            base: self.base(system),
            need: frame.need,
            drop_if_unchanged: self.options.drop_if_no_change || frame.drop_if_unchanged,
            description: self.extra.description.clone(),
            ignore_plugins: self.options.keep,
            read_only: [frame.read_only, pkg::local_repositories(system)].concat(),
            tell_live: frame.tell_live,
            boot_files: frame.boot_files,
            restart: frame.restart,
        }
    }

    /// Does `work` in a transaction, when there is one, and ends it; tells and records what came of it.
    pub(super) fn end<'s>(
        &self,
        system: &System,
        lock: &WriteLock,
        open: Result<Open<'s>>,
        work: impl FnOnce(&Open<'s>) -> Result<Worked>,
    ) -> Result<Ended> {
        let mut entry = Record {
            command: &self.command,
            ..Record::default()
        };
        let ended = open.and_then(|open| {
            entry.base = Some(open.base().number());
            match work(&open) {
                Ok(Worked::Publish) => Ok((
                    open.seal()?.map(|sealed| sealed.publish()).transpose()?,
                    Ended::Nothing,
                )),
                Ok(Worked::Nothing) => open.drop_unchanged().map(|()| (None, Ended::Nothing)),
                Ok(Worked::Failed(code, why)) => {
                    entry.error = Some(why.clone());
                    self.give_up(open, why)
                        .map(|()| (None, Ended::Failed(code)))
                }
                Err(e) => Err(self.give_up_because(open, e)),
            }
        });
        let record = |record: Record<'_>| {
            record.append(system).unwrap_or_else(transaction::gap);
        };
        match ended {
            Ok((Some(published), _)) => {
                self.published(system, lock, published, entry);
                Ok(Ended::Published)
            }
            Ok((None, ended)) => {
                let failed = matches!(ended, Ended::Failed(_));
                record(Record {
                    result: if failed { "failed" } else { "unchanged" },
                    ..entry
                });
                if !failed {
                    out::say("Nothing to do: nothing changed, and no snapshot was kept.");
                }
                Ok(ended)
            }
            Err(e) => {
                record(Record {
                    result: "failed",
                    error: Some(format!("{e:#}")),
                    ..entry
                });
                Err(e)
            }
        }
    }

    /// Tells and records that a snapshot is the next system.
    fn published(&self, system: &System, lock: &WriteLock, done: Published, entry: Record<'_>) {
        system.tell_published(lock, &done, entry, false);
        tell(system, &done);
        if let Some(complaint) = done.complaint {
            out::warn(format_args!(
                "{complaint}; snapshot {} is the next system all the same",
                done.id
            ));
        }
    }

    /// Does `work`, which changes what boots next or removes snapshots, and notes in the history which snapshot
    /// boots next when it changed that.
    pub(super) fn manage(
        &self,
        configured: Configured,
        result: &str,
        work: impl FnOnce(&System, &WriteLock) -> Result<Option<SnapshotId>>,
    ) -> Result<ExitCode> {
        let system = self.to_change(configured)?;
        transaction::not_inside_another()?;
        let lock = system.lock()?;
        if let Some(next) = work(&system, &lock)? {
            self.record(&system, result, next);
            choose_restart(&system, next).unwrap_or_else(transaction::unknown_reboot);
            transaction::keep_state(&system, StateChange::RolledBack(next));
            system.forget_switch(&lock, next);
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Notes in the history what became of a snapshot.
    pub(super) fn record(&self, system: &System, result: &str, snapshot: SnapshotId) {
        let record = Record {
            command: &self.command,
            result,
            snapshot: Some(snapshot.number()),
            ..Record::default()
        };
        record.append(system).unwrap_or_else(transaction::gap);
    }

    /// Prints the answer of a command that only looks.
    pub(super) fn answer<T: Serialize + Display>(
        &self,
        answer: &T,
        json: bool,
    ) -> Result<ExitCode> {
        let text = if json {
            format!("{}\n", serde_json::to_string_pretty(answer)?)
        } else {
            answer.to_string()
        };
        out::answer(&text)?;
        Ok(ExitCode::SUCCESS)
    }

    fn give_up(&self, open: Open<'_>, why: String) -> Result<()> {
        if self.options.keep {
            let id = open.keep_failed()?;
            out::error(format_args!(
                "{why}; snapshot {id} was kept, `discard {id}` removes it"
            ));
            return Ok(());
        }
        let id = open.id();
        open.abort().with_context(|| {
            format!("{why}; snapshot {id} could not be removed, the next command removes it")
        })?;
        out::error(format_args!("{why}; nothing was changed"));
        Ok(())
    }

    fn give_up_because(&self, open: Open<'_>, cause: Error) -> Error {
        // a signal asks for nothing to be left
        if self.options.keep && signal::check().is_ok() {
            return match open.keep_failed() {
                Ok(id) => {
                    out::warn(format_args!(
                        "snapshot {id} of the failed run was kept, `discard {id}` removes it"
                    ));
                    cause
                }
                Err(keeping) => cause.context(format!(
                    "the snapshot could not be kept: {keeping:#}; the failure was"
                )),
            };
        }
        open.abort_because(cause)
    }
}

/// A root, of which it is not yet asked whether it has snapshots.
#[derive(Debug, Clone)]
pub(super) struct Configured {
    pub(super) root: Root,
    pub(super) config: Config,
}

impl Configured {
    /// Whether updates are versions of images here.
    pub(super) fn updates_images(&self) -> bool {
        self.config.update_method.value == UpdateMethod::Sysupdate
    }

    /// The system with its snapshots, of which one runs.
    pub(super) fn snapshots(&self) -> Result<System> {
        let system = self.clone().system()?;
        system.store.inventory()?;
        Ok(system)
    }

    /// The system with its snapshots.
    pub(super) fn system(self) -> Result<System> {
        Ok(System {
            store: Store::open(&self.root)?,
            root: self.root,
            config: self.config,
            restart_file: named("TU_NEEDS_RESTARTING_FILE"),
            state_file: named("TU_STATE_FILE"),
        })
    }
}

/// Whether the reason is that a system has no snapshots by its layout.
pub(super) fn is_other_layout(error: &Error) -> bool {
    error
        .downcast_ref::<LayoutError>()
        .is_some_and(|e| !matches!(e, LayoutError::Failed(_)))
}

/// A file that a variable of the environment names; an empty one names none.
fn named(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .filter(|name| !name.is_empty())
        .map(Into::into)
}

/// What a transaction has to offer to what is done in it.
#[derive(Debug)]
pub(super) struct Frame {
    /// What the snapshot must have.
    pub(super) need: Need,
    /// Whether the snapshot is dropped when nothing in it changed, also without the option.
    pub(super) drop_if_unchanged: bool,
    /// Whether to tell what is live, before a person works there.
    pub(super) tell_live: bool,
    /// Files and directories to show.
    pub(super) read_only: Vec<Shown>,
    /// Boot files that will be made.
    pub(super) boot_files: BootFiles,
    /// How the system has to be restarted at least for what will be done, beside packages.
    pub(super) restart: Option<Restart>,
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Its snapshot is what boots next.
    Published,
    /// Nothing changed, and no snapshot is left.
    Nothing,
    /// A command in it failed with this code, which was told, and nothing changed.
    Failed(u8),
}

/// What the work of a transaction came to.
#[derive(Debug)]
pub(super) enum Worked {
    /// It is to become the next system.
    Publish,
    /// It changed nothing.
    Nothing,
    /// The command failed with this code, for this reason.
    Failed(u8, String),
}

impl Worked {
    /// By the exit code of a command that the user chose.
    pub(super) fn by_code(code: u8, what: &str) -> Worked {
        match code {
            0 => Worked::Publish,
            code => Worked::Failed(code, format!("{what} failed with status {code}")),
        }
    }
}

/// What was changed in the running /etc while the update was made.
fn tell_etc(system: &System) {
    let inventory = system.store.inventory().map_err(Error::from);
    match inventory.and_then(|inventory| Outlook::of(&system.root, &system.store, &inventory)) {
        Ok(outlook) => outlook.lines().iter().for_each(out::complaint),
        Err(e) => out::warn(format_args!(
            "what the next system has of the changes in /etc cannot be told: {e:#}"
        )),
    }
}

fn tell(system: &System, published: &Published) {
    let again = if system.root.is_live() {
        "Reboot to switch to it"
    } else {
        "It boots next"
    };
    out::say(format_args!(
        "Snapshot {} is the next system. {again}; `rollback` keeps the running one.",
        published.id
    ));
    tell_etc(system);
    if published.hidden.is_empty() {
        return;
    }
    out::warn("These files are in the snapshot, but other file systems will hide them:");
    for file in &published.hidden {
        let by = if file.owners.is_empty() {
            "no package".to_owned()
        } else {
            file.owners.join(", ")
        };
        out::complaint(format_args!("  {} ({by})", out::path(&file.path)));
    }
    out::say("A directory that BINDDIRS[] in tukit.conf names is part of transactions.");
}
