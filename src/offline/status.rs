//! What people and programs are told of an update.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::reconcile::Situation;
use super::state::{Cause, Outcome, Record, State, Strategy};
use super::view::View;

/// Raised when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// What is told.
#[derive(Debug, Serialize)]
pub struct Status {
    schema: u32,
    /// Where things stand, in a word.
    situation: &'static str,
    /// state.json, as it is so now.
    state: Option<Record>,
    /// result.json, as it is so now.
    result: Option<Outcome>,
    /// What is where triggers are and is not ours.
    foreign: Vec<String>,
    /// Triggers of ours that are not those of an armed update.
    leftover: Vec<PathBuf>,
    /// Id of the subvolume that runs.
    running: Option<u64>,
    /// Id of the default subvolume, when it is a snapshot and the caller may know.
    default: Option<u64>,
    /// What can be done next.
    next: Option<&'static str>,
    #[serde(skip)]
    code: u8,
}

impl Status {
    /// What is told of `view`.
    #[must_use]
    pub fn new(view: &View) -> Status {
        let standing = &view.standing;
        let state = standing.record.as_ref().map(|record| record.state);
        let own = view.triggers.own();
        let is_armed = view.is_waiting() && standing.situation != Situation::Underway;
        Status {
            schema: SCHEMA,
            situation: situation(standing.situation, state),
            state: standing.record.clone(),
            result: result(standing.record.as_ref(), standing.outcome.as_ref()),
            foreign: view.triggers.foreign().collect(),
            leftover: own.filter(|_| !is_armed).map(|p| p.path()).collect(),
            running: view.now.booted,
            default: view.now.default,
            next: next(standing.situation, standing.record.as_ref()),
            code: code(standing.situation, state),
        }
    }

    /// The exit code of the command: 0 nothing, applied or acknowledged; 2 armed, also when arming was cut off, or begun; 3 it did not come to it.
    #[must_use]
    pub fn code(&self) -> u8 {
        self.code
    }

    fn running(&self) -> Option<String> {
        let (record, running) = (self.state.as_ref()?, self.running?);
        let tree = record.tree.as_ref().and_then(|tree| tree.subvolume);
        let what = match record.strategy {
            _ if self.situation == "started" => return None,
            Strategy::NewSnapshot if Some(running) == tree => "the new snapshot",
            Strategy::InPlace if Some(running) == tree => "what was before the update",
            _ if running == record.base => "the system that it was armed in",
            _ => "another system than the update knows",
        };
        Some(format!("{what} (subvolume {running})"))
    }
}

/// The result that belongs to what is told of: once an update is armed, that of an earlier one is no more.
fn result(record: Option<&Record>, outcome: Option<&Outcome>) -> Option<Outcome> {
    let record = record?;
    let has_ended = !matches!(record.state, State::Armed | State::Started);
    let of_it = |outcome: &&Outcome| outcome.plan == record.plan && has_ended;
    outcome.filter(of_it).cloned()
}

fn situation(situation: Situation, state: Option<State>) -> &'static str {
    match situation {
        Situation::Nothing => "none",
        Situation::Incomplete => "incomplete",
        Situation::Armed => "armed",
        Situation::NotDiverted => "not-diverted",
        Situation::Underway => "started",
        Situation::Acknowledged => "acknowledged",
        Situation::Ended => state.map_or("none", State::word),
    }
}

fn code(situation: Situation, state: Option<State>) -> u8 {
    match situation {
        Situation::Nothing | Situation::Acknowledged => 0,
        Situation::Incomplete | Situation::Armed | Situation::NotDiverted | Situation::Underway => {
            2
        }
        Situation::Ended if state == Some(State::Applied) => 0,
        Situation::Ended => 3,
    }
}

fn next(situation: Situation, record: Option<&Record>) -> Option<&'static str> {
    let state = record.map(|record| record.state);
    match situation {
        Situation::Nothing | Situation::Acknowledged | Situation::Underway => None,
        Situation::Incomplete => {
            Some("`offline arm` arms it again, `offline cancel` takes it back")
        }
        Situation::Armed => Some("the next restart carries it out; `offline cancel` calls it off"),
        Situation::NotDiverted => Some(
            "the next restart carries it out, unless the kernel command line says where to boot, as it did this time; \
             `offline cancel` calls it off",
        ),
        Situation::Ended if state == Some(State::Applied) => {
            Some("`offline status --ack` acknowledges it")
        }
        Situation::Ended if record.is_some_and(is_of_another_system) => Some(
            "`offline log` shows what happened; `offline prepare` makes a new plan, since the old one is not for the system \
             that runs now; `offline status --ack` acknowledges the result",
        ),
        Situation::Ended => Some(
            "`offline log` shows what happened; `offline arm` tries the same plan again, `offline prepare` makes a new \
             one, `offline status --ack` acknowledges the result",
        ),
    }
}

/// Whether the plan cannot be tried again: what runs is not what it was made for.
fn is_of_another_system(record: &Record) -> bool {
    let stale = [Some(Cause::Stale), Some(Cause::UnknownRoot)].contains(&record.cause);
    record.state == State::Reverted || stale
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heading = match self.situation {
            "none" => "no offline update is armed",
            "incomplete" => "arming was not completed; nothing will happen at the next restart",
            "not-diverted" => "armed, but not run in this boot, which was not diverted",
            "started" => "being carried out",
            word => word,
        };
        let cause = self.state.as_ref().and_then(|record| record.cause);
        match cause {
            Some(cause) => writeln!(f, "Offline update: {heading} ({cause})")?,
            None => writeln!(f, "Offline update: {heading}")?,
        }
        if let Some(record) = &self.state {
            writeln!(
                f,
                "Armed: {} UTC by {}; then {}",
                record.armed.time,
                record.trigger.display(),
                record.end.word()
            )?;
            if let Some(finished) = &record.finished {
                writeln!(f, "Ended: {finished} UTC")?;
            }
        }
        if let Some(running) = self.running() {
            writeln!(f, "Runs now: {running}")?;
        }
        if let (Some(running), Some(default), Some(_)) = (self.running, self.default, &self.state)
            && running != default
        {
            writeln!(f, "Boots next: another system (subvolume {default})")?;
        }
        if let Some(result) = &self.result {
            writeln!(f, "{}", result.text)?;
            if !result.not_reverted.is_empty() && result.state != State::Applied {
                let kept: Vec<String> = result
                    .not_reverted
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect();
                writeln!(f, "Changed and not taken back: {}", kept.join(", "))?;
            }
        }
        for foreign in &self.foreign {
            writeln!(
                f,
                "Attention: {foreign}. It is not ours: the next boot may go to another program's update, and nothing \
                 is armed or removed there"
            )?;
        }
        for path in &self.leftover {
            writeln!(
                f,
                "Attention: {} is still there, and the next boot may be diverted in vain; `offline cancel` removes it",
                path.display()
            )?;
        }
        match self.next {
            Some(next) => writeln!(f, "Next: {next}"),
            None => Ok(()),
        }
    }
}
