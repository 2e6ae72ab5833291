//! The program `sysupdate`: the commands of systemd-sysupdate(8), and their words.
//!
//! Standard output carries tables, JSON or a version, and nothing else.

mod args;
mod cleanup;
mod collections;
mod dry;
mod enable;
mod features;
mod json;
mod list;
mod progress;
mod rollback;
pub(super) mod system;
mod table;
mod update;
mod vacuum;

use std::cmp::Ordering;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::{CommandFactory, Parser};

pub use args::Sysupdate;
use args::{Asked, Keep, Verb};
use json::{Form, Json};

use super::error;
use crate::sys::cmd::Argv;
use crate::sys::lock::WriteLock;
use crate::sys::tool::Tool;
use crate::sys::{Root, out, root, signal};
use crate::sysupdate::cancel::Cancel;
use crate::sysupdate::definition::{self, Collection, Definitions, Machine};
use crate::sysupdate::fetch::Policy;
use crate::sysupdate::held::Held;
use crate::sysupdate::image::Image;
use crate::sysupdate::pattern::boolean;
use crate::sysupdate::place::{Bases, Ground, Unknown};
use crate::sysupdate::signature;
use crate::sysupdate::source::{Asking, Manifests};
use crate::sysupdate::spool::Spool;
use crate::sysupdate::{Specifiers, Survey, Version};

/// The command line as clap knows it.
#[must_use]
pub fn command() -> clap::Command {
    Sysupdate::command()
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    out::tell_priorities();
    match Sysupdate::try_parse() {
        Err(e) => error::usage(&e, error::FAILED),
        Ok(typed) => typed
            .asked()
            .map_err(anyhow::Error::msg)
            .and_then(|asked| Session::new(asked)?.go())
            .unwrap_or_else(|e| error::report_alone(&told_by_systemd(e))),
    }
}

/// The same error, which begins with the text of systemd where systemd has one.
fn told_by_systemd(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<Unknown>() {
        Some(unknown @ (Unknown::Boot | Unknown::Explicit)) => anyhow!("{unknown}\n({error})"),
        _ => error,
    }
}

/// What all commands work with.
#[derive(Debug, Clone)]
struct Session {
    asked: Asked,
    root: Root,
    specifiers: Specifiers,
    bases: Bases,
    /// Nobody else works on it as long as this lives.
    _image: Option<Arc<Image>>,
}

impl Session {
    fn new(asked: Asked) -> Result<Session> {
        let image = asked.image.as_deref().map(|file| {
            let running = Specifiers::of(&Root::live()).context("asking what system this is")?;
            Image::mount(file, &running.architecture, asked.changes_nothing())
        });
        let image = image.transpose()?.map(Arc::new);
        let dir = image
            .as_ref()
            .map(|image| &image.path)
            .or(asked.root.as_ref());
        let root = match dir {
            None => Root::live(),
            Some(dir) => Root::at(dir).with_context(|| format!("--root {}", out::path(dir)))?,
        };
        let specifiers = Specifiers::of(&root).context("asking what system this is")?;
        let named = |variable| std::env::var_os(variable).map(Into::into);
        let bases = Bases {
            esp: named("SYSTEMD_ESP_PATH"),
            xbootldr: named("SYSTEMD_XBOOTLDR_PATH"),
            explicit: asked.transfer_source.clone(),
            image: asked.image.clone(),
            image_root: image.as_ref().and_then(|image| image.partition),
        };
        Ok(Session {
            asked,
            root,
            specifiers,
            bases,
            _image: image,
        })
    }

    fn go(&self) -> Result<ExitCode> {
        match &self.asked.verb {
            Verb::List(None) => self.list(),
            Verb::List(Some(version)) => self.list_version(version),
            Verb::CheckNew => self.check_new(),
            Verb::Pending => Ok(ExitCode::from(u8::from(!self.is_pending()?))),
            Verb::Reboot => self.reboot(),
            Verb::Vacuum => vacuum::go(self),
            Verb::Cleanup => cleanup::go(self),
            Verb::Update(version) => update::go(self, version.as_deref(), false),
            Verb::Acquire(version) => update::go(self, version.as_deref(), true),
            Verb::Rollback(version) => rollback::go(self, version.as_deref()),
            Verb::Features(None) => self.features(),
            Verb::Features(Some(name)) => self.feature(name),
            Verb::Components => self.components(),
            Verb::Switch(thing, chosen, is_on) => enable::go(self, *thing, chosen, *is_on),
            Verb::Help => {
                out::answer(&command().render_help().to_string())?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }

    /// The same with another collection.
    fn with(&self, collection: Collection) -> Session {
        let mut other = self.clone();
        other.asked.collection = collection;
        other
    }

    /// The definitions; what is strange in them is told.
    fn definitions(&self) -> Result<Definitions> {
        let mut found = Definitions::load(&self.root, &self.asked.collection, &self.specifiers)?;
        found.warnings.iter().for_each(out::warn);
        for transfer in &mut found.transfers {
            transfer.verify = self.asked.is_verified.unwrap_or(transfer.verify);
        }
        Ok(found)
    }

    /// The definitions, of which at least one transfer is there.
    fn transfers(&self, is_enough: fn(&Definitions) -> bool) -> Result<Definitions> {
        let found = self.definitions()?;
        if is_enough(&found) {
            return Ok(found);
        }
        match &self.asked.collection {
            Collection::Component(name) => {
                bail!("No transfer definitions for component '{name}' found.")
            }
            _ => bail!(NO_DEFINITIONS),
        }
    }

    /// The definitions, of which at least one transfer takes part.
    fn enabled(&self) -> Result<Definitions> {
        self.transfers(|found| found.enabled().next().is_some())
    }

    fn survey<'d>(&self, definitions: &'d Definitions, is_offline: bool) -> Result<Survey<'d>> {
        let manifests = match is_offline {
            true => None,
            false => Some(self.manifests(definitions, &Cancel::default())?),
        };
        Survey::of(&self.root, definitions, &self.bases, manifests.as_ref())
    }

    /// What the sources behind addresses have; what is strange in their manifests is told.
    fn manifests(&self, definitions: &Definitions, cancel: &Cancel) -> Result<Manifests> {
        let keyring = std::env::var_os(signature::VARIABLE);
        let freshness = std::env::var("SYSTEMD_SYSUPDATE_VERIFY_FRESHNESS");
        let asking = Asking {
            policy: Policy::default(),
            cancel: cancel.clone(),
            keyring,
            needs_fresh: freshness
                .ok()
                .and_then(|text| boolean(&text))
                .unwrap_or(true),
        };
        let found = Manifests::fetch(definitions, &asking)?;
        found.warnings.iter().for_each(out::warn);
        Ok(found)
    }

    /// What is held of the collection.
    fn held(&self) -> Result<Held> {
        Held::load(&self.root, &self.asked.collection)
    }

    /// Where targets are.
    fn ground(&self) -> Ground<'_> {
        Ground {
            root: &self.root,
            bases: &self.bases,
            is_durable: self.asked.is_synced,
        }
    }

    /// The right to change something; a dry run needs none.
    fn lock(&self) -> Result<Option<WriteLock>> {
        match self.asked.is_dry_run {
            true => Ok(None),
            false => Ok(Some(WriteLock::in_root(&self.root, LOCK_FILE.as_ref())?)),
        }
    }

    /// Opens the directory in which what is received is kept, and makes it when `is_made`; with its path. `None` when nothing is kept, or
    /// nothing is there and it is not to be made.
    fn spool(&self, is_made: bool) -> Option<(PathBuf, io::Result<Spool>)> {
        let is_wanted = |path: &Path| is_made || path.is_dir();
        match &self.asked.keep {
            Keep::Usual => {
                let path = self.root.join(SPOOL);
                is_wanted(&path).then(|| (path, Spool::in_root(&self.root, SPOOL.as_ref())))
            }
            Keep::In(path) => is_wanted(path).then(|| (path.clone(), Spool::open(path))),
            Keep::Nowhere => None,
        }
    }

    /// Prints one of two forms of the same answer.
    fn answer(
        &self,
        table: impl FnOnce(bool) -> String,
        json: impl FnOnce() -> Json,
    ) -> Result<()> {
        let text = match self.asked.form {
            Form::Table => table(self.asked.has_legend),
            form => json().written(form),
        };
        Ok(out::answer(&text)?)
    }

    fn list(&self) -> Result<ExitCode> {
        let definitions = self.enabled()?;
        let survey = self.survey(&definitions, self.asked.is_offline)?;
        self.answer(
            |has_header| list::table(&survey.sets, has_header),
            || list::json(&survey.enabled, &survey.sets),
        )?;
        Ok(ExitCode::SUCCESS)
    }

    fn list_version(&self, text: &str) -> Result<ExitCode> {
        let definitions = self.enabled()?;
        let survey = self.survey(&definitions, self.asked.is_offline)?;
        let Some(set) = survey.sets.find(text) else {
            bail!("Update '{text}' not found.");
        };
        self.answer(
            |has_header| list::version_text(&survey.enabled, set, has_header),
            || list::version_json(&survey.enabled, set),
        )?;
        Ok(ExitCode::SUCCESS)
    }

    fn check_new(&self) -> Result<ExitCode> {
        let definitions = self.enabled()?;
        let survey = self.survey(&definitions, self.asked.is_offline)?;
        let held = self.held()?;
        let candidate = survey
            .sets
            .candidate(&held.versions)
            .map(|set| &set.version);
        self.answer(
            |_| {
                candidate
                    .map(|version| format!("{version}\n"))
                    .unwrap_or_default()
            },
            || Json::Object(vec![("available", Json::text_or_null(candidate))]),
        )?;
        Ok(ExitCode::from(u8::from(candidate.is_none())))
    }

    /// Whether what is installed as a whole is newer than what runs.
    fn is_pending(&self) -> Result<bool> {
        let definitions = self.enabled()?;
        let survey = self.survey(&definitions, true)?;
        // what was gone back from would be asked for again every night
        let held = self.held()?;
        let newest = survey.sets.newest_complete(&held.versions);
        let Some(newest) = newest.map(|set| &set.version) else {
            bail!("Couldn't find any suitable installed versions.");
        };
        let booted = self.known_booted()?;
        let (is_newer, text) = verdict(newest, &booted);
        out::say(text);
        Ok(is_newer)
    }

    /// Reboots when what is installed as a whole is newer than what runs.
    fn reboot(&self) -> Result<ExitCode> {
        if self.is_pending()? {
            reboot()?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The version that runs, when this is the running system and says it.
    fn booted(&self) -> Result<Option<Version>> {
        let text = self
            .specifiers
            .image_version()
            .filter(|_| self.root.is_live());
        let version = text.map(|text| {
            Version::new(text).with_context(|| format!("IMAGE_VERSION={text} is no version"))
        });
        version.transpose()
    }

    /// The version that is in use and has to stay: the one that runs, or in an image the one whose root is mounted.
    fn in_use(&self, survey: &Survey<'_>) -> Result<Option<Version>> {
        match self.booted()? {
            None => survey.mounted(self.ground()),
            running => Ok(running),
        }
    }

    /// The version that runs, where nothing can be said without it.
    fn known_booted(&self) -> Result<Version> {
        let file = root::inside(OS_RELEASE.as_ref());
        self.booted()?
            .with_context(|| format!("{} lacks IMAGE_VERSION= field.", file.display()))
    }

    fn features(&self) -> Result<ExitCode> {
        let found = self.definitions()?;
        let command_line = command_line();
        let here = self.here(&command_line);
        self.answer(
            |has_legend| features::table(&found.features, &here, has_legend),
            || features::json(&found.features),
        )?;
        if found.features.is_empty() && self.asked.form == Form::Table {
            out::say("No features.");
        }
        Ok(ExitCode::SUCCESS)
    }

    fn feature(&self, name: &str) -> Result<ExitCode> {
        let found = self.definitions()?;
        let Some(feature) = found.features.iter().find(|feature| feature.name == name) else {
            bail!("Optional feature not found: {name}");
        };
        let command_line = command_line();
        let here = self.here(&command_line);
        self.answer(
            |has_legend| features::feature_table(&found, feature, &here, has_legend),
            || features::feature_json(&found, feature, &here),
        )?;
        Ok(ExitCode::SUCCESS)
    }

    fn components(&self) -> Result<ExitCode> {
        let (components, warnings) = definition::components(&self.root, &self.specifiers)?;
        warnings.iter().for_each(out::warn);
        let default = Definitions::load(&self.root, &Collection::Default, &self.specifiers)?;
        let has_default = !default.transfers.is_empty();
        let command_line = command_line();
        let here = self.here(&command_line);
        if self.asked.form == Form::Table && !has_default && components.is_empty() {
            out::say("No components defined.");
            return Ok(ExitCode::SUCCESS);
        }
        self.answer(
            |has_legend| features::components_table(has_default, &components, &here, has_legend),
            || features::components_json(has_default, &components),
        )?;
        Ok(ExitCode::SUCCESS)
    }

    fn here<'h>(&'h self, command_line: &'h str) -> Machine<'h> {
        Machine {
            root: Root::live(),
            specifiers: &self.specifiers,
            command_line,
        }
    }
}

/// Asks login1 for a reboot, unless somebody inhibits it (org.freedesktop.login1(5)): `systemctl reboot` would not ask inhibitors when
/// root calls it without a terminal.
///
/// # Errors
/// When it is inhibited, or nobody can be asked.
fn reboot() -> Result<()> {
    out::say("Rebooting…");
    const LIMIT: Duration = Duration::from_secs(60);
    /// Inhibitors count for root as well (`SD_LOGIND_ROOT_CHECK_INHIBITORS`).
    const INHIBITORS_COUNT: &str = "1";
    let call = Argv::new([
        "busctl",
        "call",
        "org.freedesktop.login1",
        root::LOGIN,
        "org.freedesktop.login1.Manager",
        "RebootWithFlags",
        "t",
        INHIBITORS_COUNT,
    ]);
    let refused =
        "The system is not rebooted; `systemd-inhibit --list` shows who may be against it";
    signal::install()?;
    match Tool::new(call, LIMIT).run().context(refused)? {
        // the answer may come later than the end
        done if done.went_down() => Ok(()),
        done => done.succeeded().map(drop).context(refused),
    }
}

/// Whether what is installed is newer than what runs, in words as well.
fn verdict(newest: &Version, booted: &Version) -> (bool, String) {
    let (is_newer, how) = match newest.cmp(booted) {
        Ordering::Greater => (true, "is newer than booted version"),
        Ordering::Equal => (false, "matches booted version"),
        Ordering::Less => (false, "is older than booted version"),
    };
    let advice = if is_newer { " Reboot recommended." } else { "" };
    (
        is_newer,
        format!("Newest installed version '{newest}' {how} '{booted}'.{advice}"),
    )
}

/// Where what was received is kept, in the system.
const SPOOL: &str = "var/lib/transactional-update/sysupdate/spool";
/// Is locked while something changes.
const LOCK_FILE: &str = "run/sysupdate.lock";
/// What is said where no transfer file is.
const NO_DEFINITIONS: &str = "No transfer definitions found.";
/// The file that says what version of an image runs.
const OS_RELEASE: &str = "etc/os-release";

/// The command line of the kernel; empty where /proc does not tell.
fn command_line() -> String {
    std::fs::read_to_string(root::COMMAND_LINE).unwrap_or_default()
}

#[cfg(test)]
mod tests;
