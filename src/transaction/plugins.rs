//! tukit's plugins: programs of the running system that are called before and after the steps of a transaction.
//!
//! They lie in two directories; a name in the administrator's one hides the same name in the vendor's one, and
//! a link to the null device masks it. A plugin that fails or does not end ends the transaction. A system that is
//! mounted somewhere has none: its plugins are made for the machine that it runs on.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::System;
use crate::config::Config;
use crate::snapshot::SnapshotId;
use crate::sys::cmd::Argv;
use crate::sys::root::NULL;
use crate::sys::tool::Tool;
use crate::sys::{Root, out};

/// Where they lie, the place that hides the other one first.
const PLACES: [&str; 2] = ["etc/tukit/plugins", "usr/lib/tukit/plugins"];

/// The plugins that are called, in this order.
#[derive(Debug, Clone, Default)]
pub(super) struct Plugins {
    programs: Vec<PathBuf>,
    limit: Duration,
    /// Whether a failure is only told.
    keep_going: bool,
}

/// A step that runs a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A command in the snapshot.
    Execute,
    /// A command that works on the snapshot from outside; also the package manager, which plugins expect there.
    CallExt,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Step::Execute => "execute",
            Step::CallExt => "callExt",
        }
    }
}

/// A plugin that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginError {
    plugin: PathBuf,
    stage: String,
    why: String,
    /// Its exit code; 1 when it has none.
    pub code: u8,
}

impl fmt::Display for PluginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the plugin {} failed in stage {}: {}",
            self.plugin.display(),
            self.stage,
            self.why
        )
    }
}

impl std::error::Error for PluginError {}

/// What an entry of a directory of plugins is.
enum Entry {
    Program,
    Mask,
    Other(&'static str),
}

impl Entry {
    fn of(path: &Path) -> io::Result<Entry> {
        use std::os::unix::fs::PermissionsExt;
        if std::fs::read_link(path).is_ok_and(|target| target == Path::new(NULL)) {
            return Ok(Entry::Mask);
        }
        let meta = path.metadata()?;
        Ok(match (meta.is_file(), meta.permissions().mode() & 0o111) {
            (false, _) => Entry::Other("no file"),
            (true, 0) => Entry::Other("not executable"),
            (true, _) => Entry::Program,
        })
    }
}

impl Plugins {
    /// Looks for the plugins of `system`. With `keep_going`, one that fails is told and no more.
    #[must_use]
    pub(super) fn find(system: &System, keep_going: bool) -> Plugins {
        Plugins::of(&system.root, &system.config, keep_going)
    }

    fn of(root: &Root, config: &Config, keep_going: bool) -> Plugins {
        let mut plugins = Plugins {
            programs: Vec::new(),
            limit: config.plugin_timeout.value,
            keep_going,
        };
        if !root.is_live() {
            return plugins;
        }
        let mut seen = BTreeSet::new();
        for place in PLACES {
            for path in entries(&root.join(place)) {
                plugins.add(path, &mut seen);
            }
        }
        plugins
    }

    fn add(&mut self, path: PathBuf, seen: &mut BTreeSet<OsString>) {
        let name = path.file_name().unwrap_or_default().to_owned();
        if seen.contains(&name) {
            return;
        }
        match Entry::of(&path) {
            Ok(Entry::Mask) => _ = seen.insert(name),
            Ok(Entry::Program) => {
                seen.insert(name);
                self.programs.push(path);
            }
            Ok(Entry::Other(why)) => out::warn(format_args!(
                "{} is {why}, so it is not called as a plugin",
                path.display()
            )),
            Err(e) => out::warn(format_args!(
                "{} is not called as a plugin: {e}",
                path.display()
            )),
        }
    }

    /// Calls all of them with the name of the stage and these arguments.
    ///
    /// # Errors
    /// The first one that failed; the others are not called then.
    pub(super) fn call(
        &self,
        stage: &str,
        args: impl IntoIterator<Item = OsString>,
    ) -> Result<(), PluginError> {
        let args: Vec<OsString> = args.into_iter().collect();
        for program in &self.programs {
            match self.call_one(program, stage, &args) {
                Err(e) if self.keep_going => out::warn(e),
                other => other?,
            }
        }
        Ok(())
    }

    fn call_one(&self, program: &Path, stage: &str, args: &[OsString]) -> Result<(), PluginError> {
        let failed = |code, why: String| PluginError {
            plugin: program.to_owned(),
            stage: stage.to_owned(),
            why,
            code,
        };
        let words = [program.into(), stage.into()];
        let argv = Argv::new(words.into_iter().chain(args.iter().cloned()));
        out::detail(format_args!("Plugin: {argv}"));
        let done = Tool::new(argv, self.limit)
            .run()
            .map_err(|e| failed(1, e.to_string()))?;
        for line in String::from_utf8_lossy(&done.stdout).lines() {
            out::detail(format_args!("  {line}"));
        }
        match (done.code, done.last_words()) {
            (0, _) => Ok(()),
            (code, words) if words.is_empty() => Err(failed(code, format!("status {code}"))),
            (code, words) => Err(failed(code, format!("status {code}: {words}"))),
        }
    }

    /// Calls them before or after a step that runs `argv` in the snapshot that is mounted at `top`.
    pub(super) fn around(
        &self,
        step: Step,
        when: &str,
        top: &Path,
        id: SnapshotId,
        argv: &Argv,
    ) -> Result<(), PluginError> {
        let args = mounted(top, id)
            .into_iter()
            .chain(argv.words().iter().cloned());
        self.call(&format!("{}-{when}", step.name()), args)
    }

    /// Calls them after snapshot `id` was given up. What they answer changes nothing any more.
    pub(super) fn aborted(&self, id: SnapshotId) {
        self.call("abort-post", [number(id)])
            .unwrap_or_else(out::warn);
    }

    /// Calls them after snapshot `id` became the next system, or was dropped because nothing changed.
    pub(super) fn finalized(&self, id: SnapshotId, discarded: bool) -> Result<(), PluginError> {
        let discarded = discarded.then(|| OsString::from("discarded"));
        self.call("finalize-post", [number(id)].into_iter().chain(discarded))
    }
}

/// Calls the plugins of `system` before it is rebooted.
///
/// # Errors
/// The first one that failed; the system is not to be rebooted then.
pub fn before_reboot(root: &Root, config: &Config) -> Result<(), PluginError> {
    Plugins::of(root, config, false).call("reboot-pre", [])
}

/// The arguments of most stages: where the snapshot is mounted, and its number.
pub(super) fn mounted(top: &Path, id: SnapshotId) -> [OsString; 2] {
    [top.into(), number(id)]
}

/// The number of a snapshot as an argument.
pub(super) fn number(id: SnapshotId) -> OsString {
    id.to_string().into()
}

/// What lies in a directory that may be missing, by name.
fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(e) => {
            out::warn(format_args!(
                "no plugin of {} is called: {e}",
                dir.display()
            ));
            return Vec::new();
        }
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    paths
}
