//! What happens to updates, in the journal: records that are found by their MESSAGE_ID.

use super::state::{Cause, Record, State};
use crate::sys::journal;

/// Something that happens to an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It was armed.
    Armed,
    /// It was begun.
    Started,
    /// All of it is there.
    Applied,
    /// What ran before runs again.
    Reverted,
    /// It failed.
    Failed,
    /// The boot that should have carried it out did not begin it.
    NotRun,
    /// It was called off.
    Cancelled,
}

/// All of them.
pub const EVENTS: [Event; 7] = [
    Event::Armed,
    Event::Started,
    Event::Applied,
    Event::Reverted,
    Event::Failed,
    Event::NotRun,
    Event::Cancelled,
];

impl Event {
    /// Its MESSAGE_ID.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Event::Armed => "2588a83cecc24eec9057d64dcdc058b3",
            Event::Started => "7a3c78d0d69b4c479303f131792a69eb",
            Event::Applied => "f7fbde89e05b4edfa031e9e045ce1172",
            Event::Reverted => "3ddf65d3a4954bce8e8de90dd9a4ebde",
            Event::Failed => "9155b9062f1544dc94ba8a28d8f8c09f",
            Event::NotRun => "f6aa04fb7d794030853718c4c123e55d",
            Event::Cancelled => "574d19866bd2484db04a2c2104b82ad5",
        }
    }

    /// How the update of `record` ended; `None` when it did not.
    #[must_use]
    pub fn of_end(record: &Record) -> Option<Event> {
        match (record.state, record.cause) {
            (State::Failed, Some(Cause::NotRun)) => Some(Event::NotRun),
            (State::Failed, _) => Some(Event::Failed),
            (State::Applied, _) => Some(Event::Applied),
            (State::Reverted, _) => Some(Event::Reverted),
            (State::Armed | State::Started | State::Acknowledged, _) => None,
        }
    }

    /// Priority in the journal: warning for what somebody should look at, else informational.
    fn priority(self) -> &'static str {
        match self {
            Event::Reverted | Event::Failed | Event::NotRun => "4",
            Event::Armed | Event::Started | Event::Applied | Event::Cancelled => "6",
        }
    }
}

/// Notes `event` of the update of `record`. Where there is no journal, there is nothing to note it in.
pub fn tell(event: Event, record: &Record, text: &str) {
    let mut fields = vec![
        ("MESSAGE", text),
        ("MESSAGE_ID", event.id()),
        ("PRIORITY", event.priority()),
        ("SYSLOG_IDENTIFIER", "transactional-update"),
        ("TU_PLAN_ID", record.plan.0.as_str()),
        ("TU_STRATEGY", record.strategy.word()),
    ];
    fields.extend(record.cause.map(|cause| ("TU_CAUSE", cause.word())));
    if let Err(e) = journal::send(&fields) {
        tracing::info!("not in the journal ({e}): {text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offline::reconcile::tests::record;

    #[test]
    fn each_event_has_an_id_of_its_own() {
        let mut ids: Vec<&str> = EVENTS.into_iter().map(Event::id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), EVENTS.len());
        let is_id = |id: &&str| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
        assert!(ids.iter().all(is_id));
    }

    #[test]
    fn an_update_that_was_not_begun_is_told_from_one_that_failed() {
        let mut failed = record(State::Failed);
        assert_eq!(Event::of_end(&failed), Some(Event::Failed));
        failed.cause = Some(Cause::NotRun);
        assert_eq!(Event::of_end(&failed), Some(Event::NotRun));
        assert_eq!(Event::of_end(&record(State::Started)), None);
    }
}
