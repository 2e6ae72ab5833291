//! What people are told about an update.

use std::fmt;

use super::state::{Cause, EndAction, Record, State, Strategy};

/// The unit that carries an update out.
pub const UNIT: &str = "transactional-update-offline.service";

impl Cause {
    /// All of them.
    pub const ALL: [Cause; 10] = [
        Cause::Interrupted,
        Cause::NotRun,
        Cause::Stale,
        Cause::Install,
        Cause::Power,
        Cause::Space,
        Cause::CannotRemoveTrigger,
        Cause::Stalled,
        Cause::Shutdown,
        Cause::UnknownRoot,
    ];

    /// As it is written in the files and the journal.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Cause::Interrupted => "interrupted",
            Cause::NotRun => "not-run",
            Cause::Stale => "stale",
            Cause::Install => "install",
            Cause::Power => "power",
            Cause::Space => "space",
            Cause::CannotRemoveTrigger => "cannot-remove-trigger",
            Cause::Stalled => "stalled",
            Cause::Shutdown => "shutdown",
            Cause::UnknownRoot => "unknown-root",
        }
    }

    /// What it means, as the end of a sentence.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Cause::Interrupted => "power, the kernel or the process ended before it did",
            Cause::NotRun => "the boot that should have carried it out did not begin it",
            Cause::Stale => "the system or the plan is not what it was when the plan was made",
            Cause::Install => "the package manager failed",
            Cause::Power => "the machine ran on battery",
            Cause::Space => "a file system had too little room",
            Cause::CannotRemoveTrigger => {
                "the link that leads into the update boot could not be removed"
            }
            Cause::Stalled => "nothing happened for too long",
            Cause::Shutdown => "the system was shut down meanwhile",
            Cause::UnknownRoot => "the system that runs is none that the update knows as whole",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl State {
    /// As it is written in the files and the journal.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            State::Armed => "armed",
            State::Started => "started",
            State::Applied => "applied",
            State::Reverted => "reverted",
            State::Failed => "failed",
            State::Acknowledged => "acknowledged",
        }
    }
}

impl Strategy {
    /// As it is written in the files and the journal.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Strategy::NewSnapshot => "new-snapshot",
            Strategy::InPlace => "in-place",
        }
    }
}

impl EndAction {
    /// As it is typed and written in the files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            EndAction::Reboot => "reboot",
            EndAction::Poweroff => "poweroff",
            EndAction::SoftReboot => "soft-reboot",
        }
    }
}

/// What has become of the update of `record`, which ended in this way.
#[must_use]
pub fn text(record: &Record, state: State, cause: Option<Cause>) -> String {
    let why = cause.map_or("for an unknown reason", Cause::meaning);
    match (state, cause) {
        (State::Applied, _) => "The offline update was applied.".into(),
        (_, Some(Cause::NotRun)) => format!(
            "The offline update that was armed on {} UTC did not run, and nothing was changed. Usual reasons: a mount \
             or another unit that is needed early failed in the update boot, {UNIT} could not be started, or the link \
             {} was removed by hand or by another program. The journal of the boots since then: {}",
            record.armed.time,
            record.trigger.display(),
            journal_since(&record.armed.time)
        ),
        (_, Some(Cause::UnknownRoot)) => format!(
            "The offline update did not end, and {why}: it may be updated in part. Go back to a system that is whole \
             (`transactional-update list` shows them, `transactional-update rollback N` chooses one), and reboot."
        ),
        (State::Reverted, _) => {
            format!(
                "The offline update was taken back, since {why}. The system is as it was before."
            )
        }
        (_, _) => {
            format!("The offline update was not applied, since {why}. The system was not changed.")
        }
    }
}

/// The call that shows the boots since `time` (UTC), as far as they had to do with an update.
fn journal_since(time: &str) -> String {
    format!("journalctl --since '{time} UTC' --priority=warning; transactional-update offline log")
}

/// What is shown at login from the moment of arming: true as soon as the system was started without the update having begun.
#[must_use]
pub fn motd_armed(record: &Record) -> String {
    format!(
        "An offline update was armed on {} UTC. If the system was restarted since, it did not run:\nsee \
         `transactional-update offline status`.\n",
        record.armed.time
    )
}

/// What is shown at login once an update has ended, until somebody acknowledges it.
#[must_use]
pub fn motd_ended(text: &str) -> String {
    format!(
        "{text}\nSee `transactional-update offline status`; with --ack this is no longer shown.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_called_the_same_in_files_and_for_people() {
        for cause in Cause::ALL {
            assert_eq!(serde_json::to_value(cause).unwrap(), cause.word());
        }
        let mut words = Cause::ALL.map(Cause::word);
        words.sort_unstable();
        assert!(words.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
