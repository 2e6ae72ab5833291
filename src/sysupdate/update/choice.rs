//! Which version an update leads to.

use std::fmt;

use crate::sysupdate::instance::{Resource, State};
use crate::sysupdate::set::{Sets, UpdateSet};
use crate::sysupdate::version::Version;

/// What there is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice<'s> {
    /// Nothing.
    Nothing,
    /// Nothing: this version is installed as a whole.
    Installed(&'s UpdateSet),
    /// Nothing more before it is installed: all of it is pending or installed.
    Acquired(&'s UpdateSet),
    /// This.
    Update(Chosen<'s>),
}

/// A version to be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen<'s> {
    /// Its set.
    pub set: &'s UpdateSet,
    /// It is installed, and something of it is missing.
    pub is_repair: bool,
    /// Nothing of it is to be fetched: all of it is pending or installed.
    pub is_acquired: bool,
    /// A newer one is available.
    pub is_passed: bool,
    /// A newer one is installed.
    pub is_older: bool,
}

/// Why a version is not taken, with its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Nobody has it.
    NotFound(String),
    /// What is missing of it is not in the sources.
    NotAvailable(String),
    /// A transfer wants a newer one at least.
    Obsolete(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::NotFound(version) => write!(f, "Update '{version}' not found."),
            Refused::NotAvailable(version) => {
                write!(f, "Selected update '{version}' is not available, refusing.")
            }
            Refused::Obsolete(version) => {
                write!(f, "Selected update '{version}' is obsolete, refusing.")
            }
        }
    }
}

impl std::error::Error for Refused {}

/// What to do when `text` is asked for, or whatever is best and not `held`. `until_pending`: nothing is to be installed yet.
///
/// # Errors
/// When it cannot be done.
pub fn choose<'s>(
    sets: &'s Sets,
    resources: &[Resource<'_>],
    held: &[Version],
    text: Option<&str>,
    until_pending: bool,
) -> Result<Choice<'s>, Refused> {
    let set = match text {
        None => match sets.candidate(held) {
            Some(set) => set,
            None => return Ok(Choice::Nothing),
        },
        Some(text) => sets
            .find(text)
            .ok_or_else(|| Refused::NotFound(text.to_owned()))?,
    };
    if set.is_complete() {
        return Ok(Choice::Installed(set));
    }
    let is_there = |instances: &Vec<usize>, resource: &Resource<'_>| {
        instances
            .iter()
            .any(|i| resource.target[*i].state != State::Partial)
    };
    let mut missing = set
        .target
        .iter()
        .zip(resources)
        .zip(&set.source)
        .filter(|((instances, resource), _)| !is_there(instances, resource))
        .map(|(_, source)| source)
        .peekable();
    let is_acquired = missing.peek().is_none();
    if until_pending && is_acquired {
        return Ok(Choice::Acquired(set));
    }
    if missing.any(Option::is_none) {
        return Err(Refused::NotAvailable(set.version.to_string()));
    }
    if set.is_obsolete {
        return Err(Refused::Obsolete(set.version.to_string()));
    }
    let newer = || sets.all().iter().take_while(|other| *other != set);
    Ok(Choice::Update(Chosen {
        set,
        is_repair: set.is_incomplete,
        is_acquired,
        is_passed: newer().any(|other| other.is_available),
        is_older: newer().any(|other| other.is_installed),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysupdate::testing::{resource, transfer, version};

    /// What is chosen where two targets have these versions, and both sources those.
    fn chosen(targets: [&str; 2], sources: [&str; 2], text: &str, until_pending: bool) -> String {
        let mut transfers = [transfer("a"), transfer("b")];
        transfers[0].min_version = Some(version("0.5"));
        let resources = [
            resource(&transfers[0], targets[0], sources[0]),
            resource(&transfers[1], targets[1], sources[1]),
        ];
        let sets = Sets::of(&resources);
        let text = Some(text).filter(|text| !text.is_empty());
        match choose(&sets, &resources, &[], text, until_pending) {
            Err(refused) => refused.to_string(),
            Ok(Choice::Nothing) => "nothing".into(),
            Ok(Choice::Installed(set)) => format!("installed {}", set.version),
            Ok(Choice::Acquired(set)) => format!("acquired {}", set.version),
            Ok(Choice::Update(chosen)) => {
                let words = [
                    (chosen.is_repair, " repair"),
                    (chosen.is_acquired, " acquired"),
                    (chosen.is_passed, " passed"),
                    (chosen.is_older, " older"),
                ];
                let said = words.iter().filter(|(is, _)| *is).map(|(_, word)| *word);
                format!("update {}{}", chosen.set.version, said.collect::<String>())
            }
        }
    }

    #[test]
    fn what_is_missing_and_where_it_could_come_from_decide_what_is_done() {
        for (targets, sources, text, expected) in [
            (["1", "1"], ["1 2", "1 2"], "", "update 2"),
            (["1", "1"], ["1 2", "1"], "", "nothing"),
            (["2", "2"], ["1", "1"], "", "nothing"),
            (["2", "2"], ["1", "1"], "2", "installed 2"),
            (["2", "2"], ["1 3", "1 3"], "1", "update 1 passed older"),
            (["2", "2"], ["1", "1"], "1.0", "Update '1.0' not found."),
            (["1", ""], ["1", "1"], "", "update 1 repair"),
            // the one that is missing is there, and the other is not needed
            (["1", ""], ["", "1"], "1", "update 1 repair"),
            (
                ["1", ""],
                ["1", ""],
                "1",
                "Selected update '1' is not available, refusing.",
            ),
            (
                ["1", "1?"],
                ["", ""],
                "",
                "Selected update '1' is not available, refusing.",
            ),
            (["1", "1!"], ["", ""], "", "update 1 acquired"),
            (["1!", "1?"], ["1", "1"], "", "update 1"),
            (["1!", "1!"], ["1 2", "1 2"], "", "update 2"),
            (["1!", "1!"], ["1", "1"], "", "update 1 acquired"),
            (
                ["1", "1"],
                ["0.4", "0.4"],
                "0.4",
                "Selected update '0.4' is obsolete, refusing.",
            ),
        ] {
            assert_eq!(
                chosen(targets, sources, text, false),
                expected,
                "{targets:?} {sources:?}"
            );
        }
    }

    #[test]
    fn nothing_is_acquired_twice() {
        for (targets, expected) in [
            (["1!", "1!"], "acquired 1"),
            (["1", "1!"], "acquired 1"),
            (["1!", "1?"], "update 1"),
            (["1!", ""], "update 1"),
            (["1", "1"], "nothing"),
        ] {
            assert_eq!(
                chosen(targets, ["1", "1"], "", true),
                expected,
                "{targets:?}"
            );
        }
    }
}
