//! The update boot: what the unit calls.
//!
//! Owns the order of its steps, and with what status it ends. Whatever happens, the machine must leave this boot by itself and
//! must not come back to it: see [`run`].

mod attempt;
mod checks;
mod screen;
mod trees;
mod watch;

use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Error, Result};

use self::attempt::{Attempt, Log};
use self::screen::Screen;
use self::trees::{Other, Trees};
use self::watch::Watch;
use super::claim::{ClaimError, Request};
use super::journal::{self, Event};
use super::state::{Cause, EndAction, Moment, Outcome, Phase, Record, State, Strategy};
use super::systemd::{self, Job, Manager};
use super::trigger::{self, PLACES, Trigger};
use super::{Directory, MARKER, METADATA, arm, record, words};
use crate::boot;
use crate::config::{Origin, Value};
use crate::sys::lock::WriteLock;
use crate::sys::mount::{self, Namespace};
use crate::sys::{failpoint, out, root, signal, time};
use crate::transaction::{self, System, WayBack};

/// Status of a call that is none of the unit's.
const REFUSED: u8 = 2;
/// How long a package manager may take to end when it is asked to, before it is killed.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long another process may hold the lock: recovery at boot.
const LOCKED: Duration = Duration::from_secs(60);

/// Mounts what boots next for a soft-reboot, in the mount namespace of the system.
pub type NextRoot<'n> = dyn Fn(&System, &WriteLock) -> Result<()> + 'n;

/// Carries the armed update out, when this is its boot. Returns the status for the unit, which FailureAction=reboot and the
/// removal of our trigger follow when it is not 0:
///
/// - once the first process has accepted what comes next (reboot, power off, the usual target): 0 after success and while our
///   trigger is still there, else 1;
/// - 0 when the boot is another program's: that ends it;
/// - 1 when nothing could be asked for and our trigger is gone;
/// - 2 when this is no update boot. Nothing was done.
#[must_use]
pub fn run(mut system: System, command: &str, next_root: &NextRoot<'_>) -> u8 {
    match systemd::is_update_starting() {
        Ok(true) => {}
        Ok(false) => {
            out::error(
                "this is no update boot, and nothing is done; `offline arm` has the next boot be one",
            );
            return REFUSED;
        }
        Err(e) => {
            out::error(format_args!(
                "whether this is an update boot cannot be told: {e:#}"
            ));
            return REFUSED;
        }
    }
    signal::set_patience(PATIENCE);
    // the package manager keeps what it knows of the installed packages among its caches, so it has to write there
    system.config.bind_dirs.push(Value {
        value: record::path().join(METADATA),
        origin: Origin::Default,
    });
    match go(&system, command, next_root) {
        Ok(status) => status,
        Err(e) => {
            out::error(format_args!("{e:#}"));
            1
        }
    }
}

fn go(system: &System, command: &str, next_root: &NextRoot<'_>) -> Result<u8> {
    match trigger::find(&system.root)?.first() {
        Some((_, Trigger::Own)) => {}
        Some((place, _)) => {
            out::say(format_args!(
                "{} is another program's: this update boot is left to it.",
                place.path().display()
            ));
            return Ok(0);
        }
        None => anyhow::bail!("nothing leads into this update boot any more"),
    }
    let lock = system.lock_within(LOCKED, || Ok(false))?;
    let lock = lock.context("another process keeps the lock")?;
    let boot = Boot {
        system,
        lock: &lock,
        command,
        next_root,
    };
    let directory = match Directory::open(&system.root) {
        Ok(Some(directory)) => directory,
        Ok(None) => return Ok(boot.leave("there is no plan")),
        Err(e) => return Ok(boot.leave(Error::from(e))),
    };
    let record = match directory.record() {
        Ok(Some(record)) if [State::Armed, State::Started].contains(&record.state) => record,
        Ok(_) => return Ok(boot.leave("no update is armed")),
        Err(e) => return Ok(boot.leave(Error::from(e))),
    };
    boot.go(&directory, record)
}

/// An update boot whose trigger is ours.
struct Boot<'s> {
    system: &'s System,
    lock: &'s WriteLock,
    command: &'s str,
    next_root: &'s NextRoot<'s>,
}

impl Boot<'_> {
    fn go(&self, directory: &Directory, mut record: Record) -> Result<u8> {
        let manager = Manager::ask();
        let now = Moment {
            time: time::utc(SystemTime::now()),
            userspace: manager.userspace(),
        };
        let end = record.end;
        if record.state == State::Started {
            // cut off before the trigger was gone, so before anything was changed
            return self.not_again(directory, record, Cause::Interrupted, end);
        }
        if record.armed.userspace.is_same(&now.userspace) || manager.was_up() {
            if record.live_redirects > 0 {
                return self.not_again(directory, record, Cause::NotRun, EndAction::Reboot);
            }
            out::warn(
                "this boot was entered from the running system, whose services are still there: nothing is done, and \
                 the system restarts into the update",
            );
            record.live_redirects += 1;
            directory.write_record(&record)?;
            failpoint::hit("offline-redirected")?;
            // the trigger has to stay, which is only so with status 0
            return Ok(self.ask(EndAction::Reboot, 0, 0));
        }
        let request = Request {
            root: &self.system.root,
            lock: self.lock,
            directory,
            record: record.clone(),
        };
        let claimed = match request.claim(now) {
            Ok(claimed) => claimed,
            Err(ClaimError::CannotRemoveTrigger(e)) => {
                return Ok(self.cannot_leave(directory, record, &Error::from(e)));
            }
            Err(e) => return Ok(self.leave(Error::from(e))),
        };
        let (record, outcome) = (claimed.record().clone(), claimed.outcome().clone());
        let underway = Underway::new(self, directory, record, outcome);
        Ok(underway.go(&claimed))
    }

    /// Ends the boot without an update: only the way into it is closed.
    fn leave(&self, why: impl Display) -> u8 {
        out::error(format_args!("no update is carried out: {why:#}"));
        match self.close() {
            Ok(()) => self.ask(EndAction::Reboot, 1, 1),
            Err(e) => {
                out::error(format_args!("{e:#}"));
                self.isolate()
            }
        }
    }

    /// The same for an update that is not tried again.
    fn not_again(
        &self,
        directory: &Directory,
        record: Record,
        cause: Cause,
        end: EndAction,
    ) -> Result<u8> {
        let outcome = directory.outcome()?;
        if let Err(e) = self.close() {
            return Ok(self.cannot_leave(directory, record, &e));
        }
        // without a trigger it leads nowhere, but one may come back with an old snapshot
        if let Err(e) = directory.remove(MARKER) {
            out::warn(format_args!("{e:#}"));
        }
        let mut underway = Underway::new(
            self,
            directory,
            record.clone(),
            outcome.unwrap_or_else(|| super::claim::begun(&record)),
        );
        underway.note_end(State::Failed, Some(cause), None);
        out::error(&underway.outcome.text);
        Ok(self.ask(end, 1, 1))
    }

    /// The trigger stays, so nothing may be installed and no reboot asked for: the usual system comes up in this boot.
    fn cannot_leave(&self, directory: &Directory, record: Record, why: &Error) -> u8 {
        let outcome = super::claim::begun(&record);
        let mut underway = Underway::new(self, directory, record, outcome);
        underway.note_end(State::Failed, Some(Cause::CannotRemoveTrigger), Some(why));
        out::error(&underway.outcome.text);
        self.isolate()
    }

    fn close(&self) -> Result<()> {
        for place in PLACES {
            trigger::remove(&self.system.root, self.lock, place)?;
        }
        Ok(())
    }

    fn isolate(&self) -> u8 {
        // it may be that only the fsync failed; this boot is left by a reboot then, which the first process sees to with status 1
        let is_gone = trigger::find(&self.system.root).is_ok_and(|t| t.own().next().is_none());
        if is_gone {
            return self.ask(EndAction::Reboot, 1, 1);
        }
        let target = systemd::default_target(&self.system.root);
        out::error(format_args!(
            "remove the link that leads into this boot by hand; {target} is started now"
        ));
        if let Err(e) = systemd::queue(&Job::Isolate(target)) {
            out::error(format_args!("{e:#}"));
        }
        0
    }

    /// Asks for the end of this boot: `status` when that was accepted, else `other`.
    fn ask(&self, end: EndAction, status: u8, other: u8) -> u8 {
        match systemd::queue(&Job::from(end)) {
            Ok(()) => status,
            Err(e) => {
                out::error(format_args!("{e:#}"));
                other
            }
        }
    }
}

/// An update whose trigger is gone: whatever happens, there is no second try.
struct Underway<'b> {
    boot: &'b Boot<'b>,
    trees: Trees<'b>,
    record: Record,
    outcome: Outcome,
    screen: Screen,
}

impl<'b> Underway<'b> {
    fn new(
        boot: &'b Boot<'b>,
        directory: &'b Directory,
        record: Record,
        outcome: Outcome,
    ) -> Underway<'b> {
        Underway {
            boot,
            trees: Trees::of(directory),
            record,
            outcome,
            screen: Screen::new(),
        }
    }

    fn go(mut self, claimed: &super::Claimed) -> u8 {
        journal::tell(Event::Started, &self.record, "The offline update begins.");
        self.screen
            .phase("An update is carried out: do not power off. The system restarts afterwards.");
        // an attempt may leave us in a mount namespace of its own, where the system would not see what is mounted
        let host = Namespace::here();
        let tried = self.try_it(claimed);
        let (state, cause, error, way_back) = match tried {
            Ok(way_back) => (State::Applied, None, None, way_back),
            Err((cause, e)) => (self.state_after_failure(), Some(cause), Some(e), None),
        };
        self.note_end(state, cause, error.as_ref());
        // from then on nothing can be written to it
        if let Some(way_back) = way_back {
            way_back.keep();
        }
        self.screen.phase(&self.outcome.text);
        if state != State::Applied && cause != Some(Cause::Shutdown) {
            std::thread::sleep(self.boot.system.config.offline_pause.value);
        }
        let end = self.end_action(state, host);
        self.screen.end(end);
        self.boot.ask(end, u8::from(state != State::Applied), 1)
    }

    fn try_it(&mut self, claimed: &super::Claimed) -> Result<Option<WayBack<'b>>, (Cause, Error)> {
        let system = self.boot.system;
        let running = self.trees.running();
        let plan = checks::plan(system, running, &self.record)?;
        let watch = Watch::new(system.config.offline_stall.value);
        let log = Log::new(running).map_err(|e| (Cause::Space, e))?;
        self.outcome.log = Some(log.path().to_owned());
        let mut attempt = Attempt {
            system,
            lock: self.boot.lock,
            claimed,
            plan: &plan,
            directory: running,
            command: self.boot.command,
            screen: &mut self.screen,
            watch: &watch,
            log,
            packages: Default::default(),
            differs: Vec::new(),
            needs_reboot: false,
        };
        let (record, trees) = (&mut self.record, &mut self.trees);
        let done = attempt.go(&mut |phase, other| note(trees, record, phase, other));
        let cause = done.as_ref().err().map(|e| attempt.cause(e));
        let (packages, log) = (attempt.packages, attempt.log);
        let packages = packages.into_iter().map(|(p, what)| (p, what.to_owned()));
        self.outcome.packages = packages.collect();
        let needs_reboot = attempt.needs_reboot || arm::touches_boot(&plan);
        if needs_reboot && self.record.end == EndAction::SoftReboot {
            out::say("The kernel or what it starts first was changed: the system reboots.");
            self.record.end = EndAction::Reboot;
        }
        if let Err(e) = log.sync() {
            out::warn(format_args!("{e:#}"));
        }
        done.map_err(|e| (cause.unwrap_or(Cause::Install), e))
    }

    /// In place, what was before boots next as soon as anything may be changed.
    fn state_after_failure(&self) -> State {
        let tree = self.record.tree.as_ref().and_then(|tree| tree.subvolume);
        let default = self.boot.system.store.default_subvolume().ok();
        match self.record.strategy {
            Strategy::InPlace if tree.is_some() && tree == default => State::Reverted,
            _ => State::Failed,
        }
    }

    /// Writes down how it ended: the details first, then what everything else is decided by. What cannot be written is found
    /// out at the next boot from what was written before.
    fn note_end(&mut self, state: State, cause: Option<Cause>, error: Option<&Error>) {
        let now = time::utc(SystemTime::now());
        self.record.state = state;
        self.record.cause = cause;
        self.record.finished = Some(now.clone());
        self.outcome.state = state;
        self.outcome.cause = cause;
        self.outcome.times[1] = now;
        self.outcome.text = words::text(&self.record, state, cause);
        if let Some(error) = error {
            self.outcome.text = format!("{} The reason: {error:#}.", self.outcome.text);
        }
        if self.record.phase >= Some(Phase::Install) {
            self.outcome.not_reverted = not_reverted(self.record.strategy);
        }
        let tree = self.record.tree.as_ref().and_then(|tree| tree.subvolume);
        self.outcome.subvolumes = std::iter::once(self.record.base).chain(tree).collect();
        if state == State::Failed {
            // the running root stays what it is, and nothing else is left
            self.trees.part();
        }
        let (record, outcome) = (&self.record, &self.outcome);
        for directory in self.trees.each() {
            if let Err(e) = write_end(directory, record, outcome) {
                out::warn(format_args!("{e:#}"));
            }
        }
        if let Some(event) = Event::of_end(record) {
            journal::tell(event, record, &outcome.text);
        }
        self.add_to_history(state, error);
    }

    /// What was published in a new snapshot stands there already.
    fn add_to_history(&self, state: State, error: Option<&Error>) {
        let result = match (state, self.record.strategy) {
            (State::Applied, Strategy::NewSnapshot) => return,
            (State::Applied, Strategy::InPlace) => "published",
            _ => "failed",
        };
        let history = transaction::Record {
            command: self.boot.command,
            result,
            snapshot: self.record.tree.as_ref().map(|tree| tree.number),
            error: error.map(|e| format!("{e:#}")),
            ..transaction::Record::default()
        };
        history
            .append(self.boot.system)
            .unwrap_or_else(transaction::gap);
    }

    /// What comes now. User space alone restarts only in a whole system: in place after a failure that is another one than runs.
    fn end_action(&self, state: State, host: io::Result<Namespace>) -> EndAction {
        let end = self.record.end;
        if end != EndAction::SoftReboot {
            return end;
        }
        let prepared = match (self.record.strategy, state) {
            (Strategy::InPlace, State::Applied) => Ok(()),
            (Strategy::InPlace, _) => return EndAction::Reboot,
            (Strategy::NewSnapshot, _) => self.mount_next(host),
        };
        match prepared {
            Ok(()) => end,
            Err(e) => {
                out::warn(format_args!(
                    "the system is rebooted, since a soft-reboot cannot be prepared: {e:#}"
                ));
                EndAction::Reboot
            }
        }
    }

    fn mount_next(&self, host: io::Result<Namespace>) -> Result<()> {
        let host = host.context("finding the mounts of the system")?;
        host.enter()
            .context("going back to the mounts of the system")?;
        (self.boot.next_root)(self.boot.system, self.boot.lock)
    }
}

fn note(
    trees: &mut Trees<'_>,
    record: &mut Record,
    phase: Phase,
    other: Option<Other>,
) -> Result<()> {
    record.phase = Some(phase);
    if let Some(other) = other {
        record.tree = Some(other.tree);
        trees.join(other.directory);
    }
    for directory in trees.each() {
        directory.write_record(record)?;
        failpoint::hit("offline-phase-noted")?;
    }
    Ok(())
}

fn write_end(directory: &Directory, record: &Record, outcome: &Outcome) -> Result<()> {
    directory.write_outcome(outcome)?;
    failpoint::hit("offline-outcome")?;
    directory.write_record(record)?;
    failpoint::hit("offline-ended")?;
    Ok(directory.write_motd(&words::motd_ended(&outcome.text))?)
}

/// What is not part of the root and so is not taken back with it, of what packages and scriptlets write to.
fn not_reverted(strategy: Strategy) -> Vec<PathBuf> {
    const LIVE: [&str; 5] = ["home", "opt", "root", "srv", "var"];
    let live = match strategy {
        Strategy::InPlace => &LIVE[..],
        Strategy::NewSnapshot => &[],
    };
    let mounts = mount::mounts().unwrap_or_default();
    let places = boot::PLACES
        .iter()
        .chain(live)
        .map(|p| root::inside(p.as_ref()));
    let is_own = |place: &PathBuf| mounts.iter().any(|m| m.point == *place);
    places.filter(is_own).collect()
}
