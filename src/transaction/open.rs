//! A transaction that is being made.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Error, Result};

use super::base::{Base, Reason, choose};
use super::hidden::{Content, HiddenFile};
use super::plugins::{self, Plugins, Step};
use super::preflight::{self, Need};
use super::record::Restart;
use super::sealed::{Findings, Sealed};
use super::steps::Registration;
use super::{
    INSIDE_VARIABLE, Options, System, carry, etc, facts, recover, unchanged, working_directory,
};
use crate::package::rpm;
use crate::sandbox::{Exit, Mounts, Output, Plan, Run};
use crate::snapshot::{BaseRef, Info, Inventory, SnapshotId, key};
use crate::sys::cmd::Argv;
use crate::sys::lock::WriteLock;
use crate::sys::{beneath, failpoint, mount, out, root, signal, time};

/// A transaction: a snapshot that is being changed. Dropping it, also because of an error or a signal, removes
/// the snapshot again, unless it is one that another process had left open: that stays open.
#[derive(Debug)]
#[must_use]
pub struct Open<'s> {
    pub(super) system: &'s System,
    pub(super) lock: &'s WriteLock,
    pub(super) id: SnapshotId,
    pub(super) base: SnapshotId,
    pub(super) info: Info,
    pub(super) read_only: bool,
    pub(super) options: Options,
    pub(super) plan: Plan,
    pub(super) mounts: Option<Mounts>,
    /// What lay below the excluded places before anything ran.
    pub(super) before: Content,
    pub(super) plugins: Plugins,
    /// The base of a transaction that is continued, when it is still there.
    pub(super) resumed_from: Option<OwnedFd>,
    /// Whether the base is gone, so that nothing can be compared with it.
    pub(super) lost_base: bool,
    /// Cleared when the snapshot goes on as [`Sealed`], is kept, waits for its next call or is gone.
    pub(super) armed: bool,
}

impl<'s> Open<'s> {
    /// Begins a transaction: recovers what was left undone, checks the system, makes the snapshot and its
    /// mounts. Tells the base before any work.
    ///
    /// # Errors
    /// What stands in the way; no snapshot is left then.
    pub fn begin(system: &'s System, lock: &'s WriteLock, options: Options) -> Result<Open<'s>> {
        preflight::not_inside_another()?;
        let mut inventory = system.store.inventory()?;
        recover(system, lock, &mut inventory)?;
        let base = choose(&inventory, options.base)?;
        preflight::check(system, &inventory, base, &options)?;
        tell(base, &options);
        mark_booted(system, lock, &inventory)?;
        signal::check()?;
        let plugins = Plugins::find(system, options.ignore_plugins);
        plugins.call("init-pre", [])?;
        let mut open = Open::create(system, lock, options, &inventory, base, plugins)?;
        open.mount()?;
        open.call_plugins("init-post")?;
        Ok(open)
    }

    fn create(
        system: &'s System,
        lock: &'s WriteLock,
        options: Options,
        inventory: &Inventory,
        base: Base,
        plugins: Plugins,
    ) -> Result<Open<'s>> {
        let subvolume = inventory.get(base.id).and_then(|s| s.subvolume.as_ref());
        let subvolume =
            subvolume.with_context(|| format!("snapshot {} has no subvolume", base.id))?;
        let base_ref = BaseRef {
            id: base.id,
            uuid: subvolume.uuid.to_string(),
        };
        let describe = |id| describe(id, &base_ref, &options);
        let id = system.store.reserve(lock, inventory, describe)?;
        let open = Open {
            system,
            lock,
            id,
            base: base.id,
            info: describe(id),
            read_only: subvolume.read_only,
            plan: Plan::default(),
            mounts: None,
            before: Content::default(),
            plugins,
            resumed_from: None,
            lost_base: false,
            armed: true,
            options,
        };
        let created = failpoint::hit("reserved")
            .map_err(Error::from)
            .and_then(|()| {
                let syncpoint = etc::syncpoint(system, base.id, inventory.current)?;
                system.store.create(lock, id, base.id, syncpoint)?;
                etc::catch_up(system, id, base.id, syncpoint)?;
                #[cfg(feature = "publish-early")]
                system.switch_to(lock, id)?;
                Ok(failpoint::hit("created")?)
            });
        match created {
            Ok(()) => Ok(open),
            Err(cause) => Err(open.abort_because(cause)),
        }
    }

    pub(super) fn mount(&mut self) -> Result<()> {
        mount::private_namespace().context("making a mount namespace")?;
        self.plan = Plan::new(&facts::collect(self.system, &self.options.read_only)?);
        out::detail(format_args!(
            "Snapshot {}, mounts:\n{}",
            self.id,
            self.plan.to_string().trim_end()
        ));
        if self.options.tell_live {
            let live: Vec<_> = self
                .plan
                .live()
                .map(|p| root::inside(p).display().to_string())
                .collect();
            out::say(format_args!(
                "Live, not undone by an abort: {}",
                live.join(", ")
            ));
        }
        self.sweep()?;
        let mounts = Mounts::make(
            &self.system.root,
            &self.system.store.path(self.id),
            &self.plan,
        )?;
        let mounts = self.mounts.insert(mounts);
        let (link, target) = DATABASE_LINK;
        if self.plan.hides(link.as_ref()) {
            mounts.link(
                link.as_ref(),
                target.as_ref(),
                "usr/lib/sysimage/rpm".as_ref(),
            )?;
        }
        let unchanged = self.resumed_from.as_ref().unwrap_or(mounts.fd());
        self.before = Content::read(unchanged, &self.plan.excluded)
            .context("looking at the excluded directories")?;
        Ok(failpoint::hit("mounted")?)
    }

    /// The number of the snapshot.
    #[must_use]
    pub fn id(&self) -> SnapshotId {
        self.id
    }

    /// The number of the snapshot it is made from.
    #[must_use]
    pub fn base(&self) -> SnapshotId {
        self.base
    }

    /// Runs a program in the snapshot and waits for it and everything it started. Names what it left behind.
    ///
    /// # Errors
    /// When it could not be started, or when a signal asked us to end; a program that fails is no error.
    pub fn run(
        &self,
        argv: Argv,
        trusted_path: bool,
        interactive: bool,
        output: Output<'_>,
    ) -> Result<Exit> {
        out::detail(format_args!("Running in snapshot {}: {argv}", self.id));
        let run = Run {
            argv,
            env: Vec::new(),
            cwd: working_directory(&self.system.root),
            interactive,
            trusted_path,
            chrooted: true,
        };
        self.launch(run, output)
    }

    /// Runs a command of the caller in the running system, which sees the snapshot with its mounts where
    /// [`Open::top`] says, and waits for it and everything it started.
    ///
    /// # Errors
    /// As [`Open::run`].
    pub fn run_outside(&self, argv: Argv, interactive: bool) -> Result<Exit> {
        out::detail(format_args!("Running for snapshot {}: {argv}", self.id));
        let run = Run {
            argv,
            env: Vec::new(),
            cwd: std::env::current_dir().unwrap_or_default(),
            interactive,
            trusted_path: false,
            chrooted: false,
        };
        self.launch(run, Output::Inherit)
    }

    fn launch(&self, mut run: Run, output: Output<'_>) -> Result<Exit> {
        signal::check()?;
        let mounts = self.mounts()?;
        let name = run.argv.program().display().to_string();
        run.env = environment(mounts);
        if matches!(output, Output::Read { .. }) {
            // what we read has to be in the language that we understand
            run.env.push(("LC_ALL", "C.UTF-8".into()));
        }
        let exit = run.go(mounts, output);
        signal::check()?;
        let exit = exit?;
        for left in &exit.left_behind {
            let text = format!("{name} left a {left} behind; it is gone with the transaction");
            if HELPERS.contains(&left.as_str()) {
                out::detail(text);
            } else {
                out::warn(text);
            }
        }
        failpoint::hit("ran")?;
        Ok(exit)
    }

    /// Runs a program in the snapshot and gives back what it printed, at most 16 MiB.
    ///
    /// # Errors
    /// As [`Open::run`].
    pub fn capture(&self, argv: Argv) -> Result<(Exit, Vec<u8>)> {
        let mut bytes = Vec::new();
        let mut read = |stream: &mut dyn std::io::BufRead| {
            use std::io::Read;
            stream.take(CAPTURE).read_to_end(&mut bytes).unwrap_or(0);
        };
        let stderr = &mut |line: &str| tracing::info!("{line}");
        let exit = self.run(
            argv,
            true,
            false,
            Output::Read {
                stdout: &mut read,
                stderr,
            },
        )?;
        Ok((exit, bytes))
    }

    /// Ends the transaction's work: takes the mounts away and writes everything to disk. Returns `None` when
    /// nothing changed and that was asked for; the snapshot is gone then.
    ///
    /// # Errors
    /// When something could not be written or a signal asked us to end; the snapshot is gone then.
    pub fn seal(mut self) -> Result<Option<Sealed<'s>>> {
        match self.sealed() {
            Ok(Some(findings)) => {
                self.armed = false;
                Ok(Some(Sealed::new(
                    self.system,
                    self.lock,
                    self.id,
                    self.base,
                    self.info.clone(),
                    findings,
                )))
            }
            Ok(None) => self.dropped().map(|()| None),
            Err(cause) => Err(self.abort_because(cause)),
        }
    }

    fn sealed(&mut self) -> Result<Option<Findings>> {
        self.call_plugins("finalize-pre")?;
        let registration = Registration::of(self)?;
        let hidden = self.hidden()?;
        let mounts = self
            .mounts
            .take()
            .context("the transaction has no mounts")?;
        let noted = Restart::noted_in(mounts.fd()).max(self.restart_so_far());
        let restart = self.options.restart_with(noted);
        carry::initrd_wishes(self.system, mounts.fd());
        failpoint::hit("wishes-carried")?;
        mounts.take_away()?;
        failpoint::hit("unmounted")?;
        let store = &self.system.store;
        let snapshot = store.open_snapshot(self.id)?;
        if self.options.drop_if_unchanged
            && unchanged::is_same(&store.open_snapshot(self.base)?, &snapshot)
                .context("comparing with the base")?
            && etc::is_same(self.system, self.id, self.base)?
        {
            return Ok(None);
        }
        beneath::touch(&snapshot, "usr".as_ref()).context("touching /usr")?;
        failpoint::hit("usr-touched")?;
        if self.read_only {
            store.set_read_only(self.lock, self.id, true)?;
        }
        failpoint::hit("before-sync")?;
        store.sync()?;
        failpoint::hit("synced")?;
        signal::check()?;
        Ok(Some(Findings {
            hidden,
            restart,
            plugins: self.plugins.clone(),
            registration,
        }))
    }

    /// What was written to places that will be hidden, with its owners.
    fn hidden(&self) -> Result<Vec<HiddenFile>> {
        let after = match Content::read(self.mounts()?.fd(), &self.plan.excluded) {
            Ok(after) => after,
            Err(e) => {
                out::warn(format_args!(
                    "what was written to hidden directories cannot be told: {e}"
                ));
                return Ok(Vec::new());
            }
        };
        let new: Vec<(PathBuf, bool)> = after
            .since(&self.before)
            .map(|(p, regular)| (root::inside(p), regular))
            .collect();
        let paths: Vec<PathBuf> = new.iter().map(|(p, _)| p.clone()).collect();
        let mut owners = self.owners(&paths)?;
        let file = |(path, is_regular)| HiddenFile {
            owners: owners.remove(&path).unwrap_or_default(),
            path,
            is_regular,
        };
        Ok(new.into_iter().map(file).collect())
    }

    fn owners(
        &self,
        paths: &[PathBuf],
    ) -> Result<std::collections::BTreeMap<PathBuf, Vec<String>>> {
        let mut owners = std::collections::BTreeMap::new();
        if paths.is_empty() || self.options.need == Need::Snapshot && !self.has_rpm()? {
            return Ok(owners);
        }
        for (batch, argv) in rpm::owners_argv(paths) {
            let (_, output) = self.capture(Argv::new(argv))?;
            owners.extend(rpm::parse_owners(batch, &output));
        }
        Ok(owners)
    }

    fn has_rpm(&self) -> Result<bool> {
        Ok(beneath::resolve(self.mounts()?.fd(), "usr/bin/rpm".as_ref()).is_ok())
    }

    fn mounts(&self) -> Result<&Mounts> {
        let mounts = self.mounts.as_ref();
        mounts.context("the transaction has no mounts")
    }

    /// Where the snapshot with its mounts is seen from outside, as long as the transaction lives.
    ///
    /// # Errors
    /// When it has no mounts.
    pub fn top(&self) -> Result<&Path> {
        Ok(self.mounts()?.top())
    }

    /// Does `work`, which runs `argv`, between the plugins' stages for it.
    ///
    /// # Errors
    /// What `work` or a plugin failed with.
    pub fn step<T>(&self, step: Step, argv: &Argv, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let call = |when| {
            self.plugins
                .around(step, when, self.top()?, self.id, argv)
                .map_err(Error::from)
        };
        call("pre")?;
        match (work(), call("post")) {
            (Ok(done), after) => after.map(|()| done),
            (Err(cause), Ok(())) => Err(cause),
            // what a plugin wants counts, also when there is another reason to end
            (Err(cause), Err(after)) => Err(after.context(format!("{cause:#}; after that"))),
        }
    }

    /// Calls the plugins for a stage in which the snapshot is mounted.
    pub(super) fn call_plugins(&self, stage: &str) -> Result<()> {
        let args = plugins::mounted(self.top()?, self.id);
        Ok(self.plugins.call(stage, args)?)
    }

    /// Keeps the snapshot of a run that failed, for somebody to look at. It never becomes the next one by
    /// itself, and a later transaction builds upon it only when its number is given.
    ///
    /// # Errors
    /// When it cannot be kept; it is gone then.
    pub fn keep_failed(mut self) -> Result<SnapshotId> {
        let kept = self.kept();
        match kept {
            Ok(()) => {
                self.armed = false;
                self.plugins.aborted(self.id);
                Ok(self.id)
            }
            Err(cause) => Err(self.abort_because(cause)),
        }
    }

    fn kept(&mut self) -> Result<()> {
        if let Some(mounts) = self.mounts.take() {
            mounts.take_away()?;
        }
        self.info.userdata.insert(key::KEPT.into(), "yes".into());
        self.info.end_transaction();
        let store = &self.system.store;
        if self.read_only {
            store.set_read_only(self.lock, self.id, true)?;
        }
        failpoint::hit("keep-sealed")?;
        // or a power cut leaves less than what failed
        store.sync()?;
        store.write_info(self.lock, self.id, &self.info)?;
        Ok(failpoint::hit("kept")?)
    }

    /// Ends a transaction that changed nothing: the snapshot is gone when this returns.
    ///
    /// # Errors
    /// When it cannot be removed, recovery will; or when a plugin failed.
    pub fn drop_unchanged(self) -> Result<()> {
        match self.call_plugins("finalize-pre") {
            Ok(()) => self.dropped(),
            Err(cause) => Err(self.abort_because(cause)),
        }
    }

    fn dropped(mut self) -> Result<()> {
        let id = self.id;
        self.remove().with_context(|| left_behind(id))?;
        Ok(self.plugins.finalized(self.id, true)?)
    }

    /// Gives the transaction up: the snapshot is gone when this returns.
    ///
    /// # Errors
    /// When it cannot be removed; recovery will.
    pub fn abort(mut self) -> Result<()> {
        let id = self.id;
        self.undo().with_context(|| left_behind(id))
    }

    /// Gives the transaction up because of `cause`, which is kept together with a failure of the undoing.
    pub fn abort_because(mut self, cause: Error) -> Error {
        match self.undo() {
            Ok(()) => cause,
            Err(undo) => cause.context(format!(
                "snapshot {} could not be removed ({undo:#}); the next command removes it; the first failure was",
                self.id
            )),
        }
    }

    fn undo(&mut self) -> Result<()> {
        let removed = self.remove();
        self.plugins.aborted(self.id);
        removed
    }

    fn remove(&mut self) -> Result<()> {
        self.armed = false;
        drop(self.mounts.take());
        Ok(self.system.delete(self.lock, self.id)?)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.armed
            && let Err(e) = self.undo()
        {
            out::error(format_args!(
                "snapshot {} could not be removed: {e:#}; the next command removes it",
                self.id
            ));
        }
    }
}

/// What to do when a snapshot could not be removed: nothing.
fn left_behind(id: SnapshotId) -> String {
    format!("snapshot {id} could not be removed; the next command removes it")
}

/// What gpg leaves behind whenever signatures are checked.
const HELPERS: [&str; 2] = ["process gpg-agent", "process keyboxd"];
/// Most output of a program that is captured, in bytes.
const CAPTURE: u64 = 16 << 20;
/// Where libzypp looks for the RPM database, and where it is.
pub(super) const DATABASE_LINK: (&str, &str) = ("var/lib/rpm", "../../usr/lib/sysimage/rpm");

fn describe(id: SnapshotId, base: &BaseRef, options: &Options) -> Info {
    let description = options.description.clone();
    let description = description.unwrap_or_else(|| format!("Snapshot Update of #{}", base.id));
    let mut info = Info::new(id, time::utc(SystemTime::now()), description);
    info.begin_transaction();
    info.userdata.insert(key::BASE.into(), base.to_string());
    info
}

fn tell(base: Base, options: &Options) {
    let other = match base.reason {
        Reason::Current => "the running system".to_owned(),
        Reason::Pending => "pending; --no-continue starts from the running system".to_owned(),
        Reason::PendingLeftOut(pending) => {
            format!(
                "the running system; the pending #{pending} will not be part of it, --continue={pending} builds upon it"
            )
        }
        Reason::Asked => "as asked".to_owned(),
    };
    out::say(format_args!("Base: #{} ({other})", base.id));
    if options.drop_if_unchanged {
        out::detail("The new snapshot is dropped if nothing changes.");
    }
}

/// Notes that the running snapshot is one that boots, for `rollback last` and for the choice of the base.
///
/// # Errors
/// When its metadata cannot be written.
pub fn mark_booted(system: &System, lock: &WriteLock, inventory: &Inventory) -> Result<()> {
    let Some(snapshot) = inventory.booted.and_then(|id| inventory.get(id)) else {
        return Ok(());
    };
    let Some(info) = snapshot.info().filter(|_| !snapshot.was_booted()) else {
        return Ok(());
    };
    let mut info = info.clone();
    info.userdata
        .insert(key::BOOTED.into(), time::utc(SystemTime::now()));
    Ok(system.store.write_info(lock, snapshot.id, &info)?)
}

pub(super) fn environment(mounts: &Mounts) -> Vec<(&'static str, std::ffi::OsString)> {
    vec![
        (INSIDE_VARIABLE, "true".into()),
        ("TRANSACTIONAL_UPDATE_ROOT", mounts.top().into()),
        ("DISABLE_SNAPPER_ZYPP_PLUGIN", "1".into()),
        ("DISABLE_RESTART_ON_UPDATE", "yes".into()),
    ]
}
