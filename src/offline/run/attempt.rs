//! Carrying out a plan: in a new snapshot, or in the running root.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail};

use super::screen::Screen;
use super::trees::Other;
use super::watch::Watch;
use crate::offline::plan::Plan;
use crate::offline::prepare::call;
use crate::offline::state::{Cause, Phase, Strategy, Tree};
use crate::offline::{Claimed, Directory, PACKAGES, record, solution, trigger};
use crate::package::cached::Extent;
use crate::package::{Action, Event, Failure, FailureKind, Summary, Task};
use crate::sandbox::{Exit, Output, Shown};
use crate::snapshot::SnapshotId;
use crate::sys::cmd::Argv;
use crate::sys::lock::WriteLock;
use crate::sys::root::descriptor_path;
use crate::sys::{out, signal};
use crate::transaction::{
    self, BasePolicy, Before, BootFiles, Need, Open, Options, Restart, Step, System, WayBack,
    call_package_manager,
};

/// Notes how far the attempt is before it goes on, with the snapshot once there is one.
pub(super) type Note<'n> = dyn FnMut(Phase, Option<Other>) -> Result<()> + 'n;

/// What an attempt works with.
#[derive(Debug)]
pub(super) struct Attempt<'a, 's> {
    pub(super) system: &'s System,
    pub(super) lock: &'s WriteLock,
    pub(super) claimed: &'a Claimed,
    pub(super) plan: &'a Plan,
    /// The directory of the state, in the running root.
    pub(super) directory: &'a Directory,
    /// What was called, for the history.
    pub(super) command: &'a str,
    pub(super) screen: &'a mut Screen,
    pub(super) watch: &'a Watch,
    /// What the package manager says.
    pub(super) log: Log,
    /// What became of each package that was begun.
    pub(super) packages: BTreeMap<String, &'static str>,
    /// What the package manager wants to do is not what was planned: the differences.
    pub(super) differs: Vec<String>,
    /// Whether the package manager says that the system has to be rebooted.
    pub(super) needs_reboot: bool,
}

impl<'s> Attempt<'_, 's> {
    /// Does it. Returns the snapshot of what was before, when it was done in place.
    ///
    /// # Errors
    /// Why it did not succeed; the system that boots next is the one that ran then.
    pub(super) fn go(&mut self, note: &mut Note<'_>) -> Result<Option<WayBack<'s>>> {
        self.ask()?;
        match self.plan.strategy {
            Strategy::NewSnapshot => self.new_snapshot(note).map(|()| None),
            Strategy::InPlace => self.in_place(note).map(Some),
        }
    }

    /// The cause that is written down for `error`.
    pub(super) fn cause(&self, error: &Error) -> Cause {
        if self.watch.has_stalled() {
            return Cause::Stalled;
        }
        if !self.differs.is_empty() {
            return Cause::Stale;
        }
        if signal::check().is_err() {
            return Cause::Shutdown;
        }
        match error.downcast_ref::<Failure>().map(|f| &f.kind) {
            Some(FailureKind::DiskFull) => Cause::Space,
            _ => Cause::Install,
        }
    }

    fn new_snapshot(&mut self, note: &mut Note<'_>) -> Result<()> {
        note(Phase::Snapshot, None)?;
        let (system, lock) = (self.system, self.lock);
        let open = Open::begin(system, lock, options())?;
        let worked = self.in_new(&open, note);
        let sealed = match worked {
            Ok(()) => open
                .seal()?
                .context("the package manager changed nothing")?,
            Err(e) => return Err(open.abort_because(e)),
        };
        note(Phase::Finish, None)?;
        let published = sealed.publish()?;
        let record = transaction::Record {
            command: self.command,
            ..transaction::Record::default()
        };
        system.tell_published(lock, &published, record, true);
        if let Some(complaint) = published.complaint {
            out::warn(complaint);
        }
        Ok(())
    }

    fn in_new(&mut self, open: &Open<'_>, note: &mut Note<'_>) -> Result<()> {
        let new = self.made(open.id())?;
        note(Phase::Install, Some(new))?;
        let argv = self.argv(Extent::All);
        self.install(|output| {
            let run = || open.run(argv.clone(), true, false, output);
            open.step(Step::CallExt, &argv, run)
        })?;
        open.purge_kernels()?;
        open.follow_up(BootFiles::default(), true)
    }

    fn in_place(&mut self, note: &mut Note<'_>) -> Result<WayBack<'s>> {
        note(Phase::Snapshot, None)?;
        // a trigger in it would lead to an update boot each time it boots
        let strip = |top: &OwnedFd| trigger::strip(top);
        let before = Before::make(self.system, self.lock, self.claimed, strip)?;
        let made = self.made(before.id())?;
        note(Phase::Protected, Some(made))?;
        let live = before.protect()?;
        note(Phase::Install, None)?;
        let argv = self.argv(Extent::All);
        self.install(|output| live.run(argv, output))?;
        let changed = live.seal()?;
        note(Phase::Finish, None)?;
        changed.publish()
    }

    fn argv(&self, extent: Extent) -> Argv {
        solution::argv(self.plan, &record::path(), extent)
    }

    fn action(&self) -> Result<Action> {
        let action = self.plan.action();
        action.context("the plan names no command of the package manager")
    }

    /// Asks the package manager what it would do, and refuses what was not planned before anything is done.
    fn ask(&mut self) -> Result<()> {
        let argv = self.argv(Extent::Solution);
        let action = self.action()?;
        let (watch, log) = (self.watch, &mut self.log);
        let mut take = |event: &Event| {
            watch.alive();
            log.take(event);
        };
        let (report, _) = call::package_manager(action, &argv, &mut take)?;
        self.compare(report.summary.as_ref())
    }

    fn compare(&mut self, summary: Option<&Summary>) -> Result<()> {
        let differs = solution::differences(summary, self.plan);
        if differs.is_empty() {
            return Ok(());
        }
        let text = differs.join("; ");
        self.differs = differs;
        bail!("the package manager wants something else than was planned: {text}")
    }

    /// The snapshot that was made. What is written from now on has to be in it as well.
    fn made(&mut self, id: SnapshotId) -> Result<Other> {
        let store = &self.system.store;
        let tree = Tree {
            number: id.number(),
            subvolume: Some(store.subvolume_id(id)?),
        };
        let directory = self.directory.in_tree(&store.open_snapshot(id)?)?;
        if let Some(directory) = &directory {
            self.log.also_in(directory)?;
        }
        Ok(Other { tree, directory })
    }

    fn install(&mut self, run: impl FnOnce(Output<'_>) -> Result<Exit>) -> Result<()> {
        let action = self.action()?;
        let (plan, screen, watch) = (self.plan, &mut *self.screen, self.watch);
        let (packages, log) = (&mut self.packages, &mut self.log);
        let mut summary = None;
        screen.begin(action == Action::DistUpgrade);
        let mut take = |event: &Event| {
            watch.alive();
            screen.take(event);
            log.take(event);
            note_package(packages, event);
            if let Event::Summary(found) = event {
                // nothing of it is done yet
                if !solution::differences(Some(found), plan).is_empty() {
                    signal::interrupt();
                }
                summary = Some(found.clone());
            }
        };
        let called = call_package_manager(action, &mut take, run);
        self.needs_reboot |= summary.as_ref().is_some_and(|s| s.need_reboot);
        if called.is_ok() || summary.is_some() {
            self.compare(summary.as_ref())?;
        }
        for warning in called?.warnings {
            out::warn(warning);
        }
        Ok(())
    }
}

/// Notes what has become of a package.
fn note_package(packages: &mut BTreeMap<String, &'static str>, event: &Event) {
    let Event::Progress(progress) = event else {
        return;
    };
    let (package, done) = match &progress.task {
        Task::Install { package } => (package, "installed"),
        Task::Remove { package } => (package, "removed"),
        _ => return,
    };
    let state = match (progress.done, progress.failed) {
        (true, false) => done,
        (_, true) => "failed",
        (false, false) => "begun",
    };
    packages.insert(package.clone(), state);
}

/// What the package manager says, for `offline log`: a journal on disk is not certain.
#[derive(Debug)]
pub(super) struct Log {
    /// One in each root that has a directory of the state.
    files: Vec<File>,
    path: PathBuf,
}

impl Log {
    const NAME: &str = "update.log";

    /// An empty one.
    pub(super) fn new(directory: &Directory) -> Result<Log> {
        let path = record::path().join(Log::NAME);
        directory.remove(Log::NAME)?;
        let file = File::create_new(descriptor_path(directory.fd()).join(Log::NAME));
        let file = file.with_context(|| format!("making {}", path.display()))?;
        let files = vec![file];
        Ok(Log { files, path })
    }

    /// From now on also in the directory of a snapshot, which has what was written so far.
    fn also_in(&mut self, directory: &Directory) -> Result<()> {
        let file = descriptor_path(directory.fd()).join(Log::NAME);
        let file = File::options().append(true).open(file);
        let file =
            file.with_context(|| format!("opening {} in the snapshot", self.path.display()))?;
        self.files.push(file);
        Ok(())
    }

    /// Where it is, as the system calls it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes it to disk.
    pub(super) fn sync(&self) -> Result<()> {
        let synced = self.files.iter().try_for_each(File::sync_all);
        synced.with_context(|| format!("writing {}", self.path.display()))
    }

    fn take(&mut self, event: &Event) {
        let line = match event {
            Event::Message { text, .. } => text,
            Event::Progress(progress) if progress.done => &progress.label,
            _ => return,
        };
        for file in &mut self.files {
            // a full disk shows where it matters
            writeln!(file, "{line}").unwrap_or(());
        }
    }
}

/// How the transaction of an update in a new snapshot is made.
fn options() -> Options {
    // the package manager removes what it has installed; when that comes to nothing, the plan is to be tried again
    let packages = record::path().join(PACKAGES);
    let packages = Shown {
        source: packages.clone(),
        path: packages,
        over_own: true,
    };
    Options {
        base: BasePolicy::Current,
        need: Need::PackageManager,
        drop_if_unchanged: false,
        description: Some("Offline update".into()),
        ignore_plugins: false,
        read_only: vec![packages],
        tell_live: false,
        boot_files: BootFiles::default(),
        restart: Some(Restart::Reboot),
    }
}
