//! From "armed" to "begun": the way into the update boot is closed before anything is changed.
//!
//! Invariant: only who has removed the trigger has a [`Claimed`], and nothing is changed without one. So there is no
//! boot that comes again and again.

use std::fmt;

use super::record::{Directory, StateError};
use super::state::{Cause, Moment, Outcome, Phase, Record, SCHEMA, State};
use super::trigger::{self, PLACES};
use super::{MARKER, words};
use crate::sys::lock::WriteLock;
use crate::sys::{Doing, Failure, Root, failpoint};
use crate::transaction;

/// An update that is armed, and whose boot this is.
#[derive(Debug)]
pub struct Request<'s> {
    /// The system.
    pub root: &'s Root,
    /// The right to change it.
    pub lock: &'s WriteLock,
    /// The directory of the state.
    pub directory: &'s Directory,
    /// What was armed.
    pub record: Record,
}

/// The right to carry an update out. The trigger and the marker are gone, and state and result say that it was begun and did not
/// end.
#[derive(Debug)]
#[must_use]
pub struct Claimed {
    record: Record,
    outcome: Outcome,
}

/// Why an update cannot be carried out.
#[derive(Debug)]
pub enum ClaimError {
    /// The state could not be written. Nothing was changed.
    State(StateError),
    /// The trigger is still there, or its removal may not be on disk: the next boot may be diverted again.
    CannotRemoveTrigger(Failure),
    /// The trigger is gone, the marker is not.
    CannotRemoveMarker(StateError),
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClaimError::State(_) => f.write_str("noting that the update begins"),
            ClaimError::CannotRemoveTrigger(_) | ClaimError::CannotRemoveMarker(_) => {
                f.write_str("closing the way into the update boot")
            }
        }
    }
}

impl std::error::Error for ClaimError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(match self {
            ClaimError::State(e) | ClaimError::CannotRemoveMarker(e) => e,
            ClaimError::CannotRemoveTrigger(e) => e,
        })
    }
}

impl Request<'_> {
    /// Begins: notes that it did and has not ended, then removes what leads into this boot. Each is on disk before the next.
    ///
    /// # Errors
    /// When one of them fails; nothing of the system was changed.
    pub fn claim(self, started: Moment) -> Result<Claimed, ClaimError> {
        let mut record = self.record.clone();
        record.state = State::Started;
        record.phase = Some(Phase::Begin);
        record.cause = None;
        record.started = Some(started);
        let outcome = begun(&record);
        self.note(&record, &outcome).map_err(ClaimError::State)?;
        for place in PLACES {
            trigger::remove(self.root, self.lock, place)
                .map_err(ClaimError::CannotRemoveTrigger)?;
        }
        self.directory
            .remove(MARKER)
            .map_err(ClaimError::CannotRemoveMarker)?;
        let claimed = failpoint::hit("offline-claimed").doing(|| "beginning".into());
        claimed.map_err(|e| ClaimError::State(e.into()))?;
        Ok(Claimed { record, outcome })
    }

    fn note(&self, record: &Record, outcome: &Outcome) -> Result<(), StateError> {
        let going_on = || "beginning".to_owned();
        self.directory.write_record(record)?;
        failpoint::hit("offline-claim-started").doing(going_on)?;
        self.directory.write_outcome(outcome)?;
        Ok(failpoint::hit("offline-claim-noted").doing(going_on)?)
    }
}

impl Claimed {
    /// What result.json holds.
    #[must_use]
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// What state.json holds.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }
}

impl transaction::Claim for Claimed {}

/// The result of an attempt until it has a better one.
pub(super) fn begun(record: &Record) -> Outcome {
    let began = record.started.as_ref().unwrap_or(&record.armed);
    let (state, cause) = (State::Failed, Some(Cause::Interrupted));
    Outcome {
        schema: SCHEMA,
        plan: record.plan.clone(),
        state,
        cause,
        text: words::text(record, state, cause),
        packages: Vec::new(),
        not_reverted: Vec::new(),
        subvolumes: vec![record.base],
        times: [began.time.clone(), began.time.clone()],
        boot_id: began.userspace.boot_id.clone(),
        log: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offline::reconcile::tests::record;
    use crate::offline::trigger::Place;

    struct Armed {
        tmp: tempfile::TempDir,
        root: Root,
        lock: WriteLock,
        directory: Directory,
    }

    fn armed() -> Armed {
        let tmp = tempfile::tempdir().unwrap();
        std::fs::create_dir(tmp.path().join("etc")).unwrap();
        let root = Root::at(tmp.path()).unwrap();
        let lock = WriteLock::directory(tmp.path()).unwrap();
        let directory = Directory::make(&root).unwrap();
        directory.write_record(&record(State::Armed)).unwrap();
        directory.mark().unwrap();
        trigger::make(&root, &lock, Place::Etc).unwrap();
        Armed {
            tmp,
            root,
            lock,
            directory,
        }
    }

    fn claim(armed: &Armed) -> Result<Claimed, ClaimError> {
        let request = Request {
            root: &armed.root,
            lock: &armed.lock,
            directory: &armed.directory,
            record: record(State::Armed),
        };
        request.claim(record(State::Started).started.unwrap())
    }

    #[test]
    fn what_is_claimed_is_noted_as_begun_and_the_way_into_the_boot_is_closed() {
        let armed = armed();
        let claimed = claim(&armed).unwrap();
        assert_eq!(trigger::find(&armed.root).unwrap().first(), None);
        assert!(!armed.directory.is_marked().unwrap());
        let (record, outcome) = (claimed.record().clone(), claimed.outcome().clone());
        assert_eq!(armed.directory.record().unwrap().as_ref(), Some(&record));
        assert_eq!(armed.directory.outcome().unwrap(), Some(outcome.clone()));
        assert_eq!(
            (record.state, record.phase),
            (State::Started, Some(Phase::Begin))
        );
        assert_eq!(
            (outcome.state, outcome.cause),
            (State::Failed, Some(Cause::Interrupted))
        );
    }

    #[test]
    fn without_its_note_nothing_is_removed_and_nothing_claimed() {
        let armed = armed();
        let file = armed.tmp.path().join(crate::offline::DIRECTORY);
        std::fs::create_dir(file.join(crate::offline::state::RESULT)).unwrap();
        assert!(matches!(claim(&armed), Err(ClaimError::State(_))));
        assert!(trigger::find(&armed.root).unwrap().own().next().is_some());
        assert!(armed.directory.is_marked().unwrap());
    }
}
