//! What is so now, from what was written and what is there. Pure.
//!
//! An update boot can end at any point, so what the files say is what was so when they were written. Which subvolume was
//! booted tells the rest.

use super::state::{Cause, Outcome, Phase, Record, SCHEMA, State, Strategy, Userspace};
use super::words;

/// What is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Now {
    /// This run of user space.
    pub userspace: Userspace,
    /// Whether a trigger of ours and the marker are there: the next boot is diverted.
    pub is_linked: bool,
    /// Id of the subvolume that was booted, when that can be told.
    pub booted: Option<u64>,
    /// Id of the default subvolume, when that can be told.
    pub default: Option<u64>,
    /// The time, in UTC as `2026-01-31 13:00:00`.
    pub time: String,
}

/// Where things stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Situation {
    /// Nothing was armed.
    Nothing,
    /// Arming was cut off in this run of user space.
    Incomplete,
    /// The next boot carries it out.
    Armed,
    /// It is armed, but this boot was not diverted.
    NotDiverted,
    /// It is being carried out.
    Underway,
    /// It has ended: the record says how.
    Ended,
    /// Somebody has seen the result.
    Acknowledged,
}

/// What is so now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Where things stand.
    pub situation: Situation,
    /// What state.json should hold.
    pub record: Option<Record>,
    /// What result.json should hold.
    pub outcome: Option<Outcome>,
    /// Whether that differs from what the files hold.
    pub is_news: bool,
}

impl Userspace {
    /// Whether this is the same run of user space: neither a reboot nor a soft-reboot lies between the two, as far as both
    /// tell. A boot that could not be identified is taken for the same: nothing is done then.
    #[must_use]
    pub fn is_same(&self, other: &Userspace) -> bool {
        fn agree<T: PartialEq>(a: Option<&T>, b: Option<&T>) -> bool {
            a.is_none() || b.is_none() || a == b
        }
        fn id(userspace: &Userspace) -> Option<&String> {
            Some(&userspace.boot_id).filter(|id| !id.is_empty())
        }
        agree(id(self), id(other))
            && agree(self.timestamp.as_ref(), other.timestamp.as_ref())
            && agree(self.soft_reboots.as_ref(), other.soft_reboots.as_ref())
    }
}

/// What has become of the update of `record`, whose last result is `outcome`.
#[must_use]
pub fn reconcile(record: Option<&Record>, outcome: Option<&Outcome>, now: &Now) -> Standing {
    let standing = |situation| Standing {
        situation,
        record: record.cloned(),
        outcome: outcome.cloned(),
        is_news: false,
    };
    let Some(record) = record else {
        return standing(Situation::Nothing);
    };
    let since_armed = !record.armed.userspace.is_same(&now.userspace);
    match record.state {
        State::Armed => match (now.is_linked, since_armed) {
            (true, false) => standing(Situation::Armed),
            (true, true) => standing(Situation::NotDiverted),
            (false, false) => standing(Situation::Incomplete),
            (false, true) => ended(record, outcome, now, (State::Failed, Some(Cause::NotRun))),
        },
        State::Started => {
            let started = record.started.as_ref().unwrap_or(&record.armed);
            match started.userspace.is_same(&now.userspace) {
                true => standing(Situation::Underway),
                false => ended(record, outcome, now, verdict(record, now)),
            }
        }
        State::Applied | State::Reverted | State::Failed => standing(Situation::Ended),
        State::Acknowledged => standing(Situation::Acknowledged),
    }
}

/// What has become of an attempt that began in an earlier run of user space.
fn verdict(record: &Record, now: &Now) -> (State, Option<Cause>) {
    const INTERRUPTED: Option<Cause> = Some(Cause::Interrupted);
    const UNKNOWN: (State, Option<Cause>) = (State::Failed, Some(Cause::UnknownRoot));
    let phase = record.phase.unwrap_or(Phase::Begin);
    let tree = record.tree.as_ref().and_then(|tree| tree.subvolume);
    let runs = |subvolume: Option<u64>| subvolume.is_some() && now.booted == subvolume;
    let (tree_runs, base_runs) = (runs(tree), runs(Some(record.base)));
    match (record.strategy, phase) {
        (Strategy::NewSnapshot, Phase::Finish) if tree_runs => (State::Applied, None),
        (Strategy::NewSnapshot, _) if tree_runs => UNKNOWN,
        // it was switched to, and somebody chose another one to boot
        (Strategy::NewSnapshot, Phase::Finish)
            if base_runs && tree.is_some() && now.default == tree =>
        {
            (State::Applied, None)
        }
        (Strategy::NewSnapshot, _) if base_runs => (State::Failed, INTERRUPTED),
        (Strategy::InPlace, _) if tree_runs => (State::Reverted, INTERRUPTED),
        (Strategy::InPlace, Phase::Finish) if base_runs => (State::Applied, None),
        (Strategy::InPlace, Phase::Install) if base_runs => UNKNOWN,
        (Strategy::InPlace, _) if base_runs => (State::Failed, INTERRUPTED),
        _ => UNKNOWN,
    }
}

/// The update of `record` has ended in this way. What was found out before about the same end is kept.
fn ended(
    record: &Record,
    outcome: Option<&Outcome>,
    now: &Now,
    (state, cause): (State, Option<Cause>),
) -> Standing {
    let known = outcome.filter(|known| known.plan == record.plan);
    let same = known.filter(|k| k.state == state && cause == Some(Cause::Interrupted));
    let cause = same.and_then(|known| known.cause).or(cause);
    let mut record = record.clone();
    record.state = state;
    record.cause = cause;
    record.finished = Some(now.time.clone());
    let began = record.started.as_ref().unwrap_or(&record.armed);
    let fresh = || Outcome {
        schema: SCHEMA,
        plan: record.plan.clone(),
        state,
        cause,
        text: String::new(),
        packages: Vec::new(),
        not_reverted: Vec::new(),
        subvolumes: std::iter::once(record.base)
            .chain(record.tree.as_ref().and_then(|tree| tree.subvolume))
            .collect(),
        times: [began.time.clone(), now.time.clone()],
        boot_id: began.userspace.boot_id.clone(),
        log: None,
    };
    let mut outcome = known.cloned().unwrap_or_else(fresh);
    let is_told = same.is_some_and(|known| known.cause != Some(Cause::Interrupted));
    if !is_told {
        outcome.text = words::text(&record, state, cause);
    }
    outcome.state = state;
    outcome.cause = cause;
    Standing {
        situation: Situation::Ended,
        record: Some(record),
        outcome: Some(outcome),
        is_news: true,
    }
}

#[cfg(test)]
pub(super) mod tests;
