//! Looking at the directories that are wanted, making those that are missing, and what is told about each.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::create::{Found, Maker, Outcome, Wanted};
use super::owner::Names;
use super::report::{Action, Entry, Reason};
use super::select::Selected;
use super::stamp::Standing;
use crate::sys::out;
use crate::sys::root::{inside, relative};

/// What became of the directories.
#[derive(Debug, Default)]
pub(super) struct Worked {
    /// Of each that is wanted and of each implied one, in no order.
    pub(super) entries: Vec<Entry>,
    /// Each that is wanted and how it was left, sorted by path as they were given.
    pub(super) left: Vec<(Selected, Standing)>,
}

/// Makes directories.
#[derive(Debug)]
pub(super) struct Worker<'a> {
    pub(super) maker: &'a mut Maker,
    pub(super) names: &'a mut Names,
    pub(super) dry_run: bool,
}

/// What is found out about a directory before any is made.
enum Judged {
    Settled(Verdict),
    Missing(Wanted),
}

/// What is told about a directory.
struct Verdict {
    action: Action,
    reason: Option<Reason>,
    error: Option<String>,
    link: Option<PathBuf>,
}

impl Verdict {
    fn plain(action: Action) -> Verdict {
        Verdict {
            action,
            reason: None,
            error: None,
            link: None,
        }
    }

    fn because(action: Action, reason: Reason, error: impl Into<String>) -> Verdict {
        Verdict {
            reason: Some(reason),
            error: Some(error.into()),
            ..Verdict::plain(action)
        }
    }
}

impl Worker<'_> {
    /// Works on `wanted`, which is sorted by path.
    pub(super) fn work(&mut self, wanted: Vec<Selected>) -> Worked {
        let mut judged: Vec<Judged> = Vec::with_capacity(wanted.len());
        let mut deferred: Option<&Path> = None;
        for one in &wanted {
            let is_below = deferred.is_some_and(|above| one.path.starts_with(above));
            let verdict = self.judge(one, is_below);
            let waits = matches!(&verdict, Judged::Settled(v) if v.action == Action::Deferred);
            if waits && !is_below {
                deferred = Some(&one.path);
            }
            judged.push(verdict);
        }
        let missing: Vec<Wanted> = judged
            .iter()
            .filter_map(|j| match j {
                Judged::Missing(wanted) => Some(wanted.clone()),
                Judged::Settled(_) => None,
            })
            .collect();
        let mut outcomes = match self.dry_run {
            true => self.foretell(&missing),
            false => self.maker.make(&missing),
        }
        .into_iter();
        let mut worked = Worked::default();
        for (one, judged) in wanted.into_iter().zip(judged) {
            let verdict = match judged {
                Judged::Settled(verdict) => verdict,
                Judged::Missing(_) => match outcomes.next() {
                    Some(outcome) => self.made(&one, outcome, &mut worked.entries),
                    None => Verdict::because(Action::Failed, Reason::Error, "nothing became of it"),
                },
            };
            worked.add(one, verdict);
        }
        worked
    }

    fn judge(&mut self, one: &Selected, is_below_deferred: bool) -> Judged {
        let found = self.maker.look(&relative(&one.path));
        if !matches!(found, Found::Missing) {
            return Judged::Settled(self.there(one, found));
        }
        if is_below_deferred {
            let why = "what it lies in waits for a user or a group";
            let reason = Reason::BelowDeferred;
            return Judged::Settled(Verdict::because(Action::Deferred, reason, why));
        }
        match self.names.ids(&one.user, &one.group) {
            Ok((uid, gid)) => Judged::Missing(Wanted {
                path: relative(&one.path),
                mode: one.mode,
                uid,
                gid,
            }),
            Err(e) => {
                let verdict = Verdict::because(Action::Deferred, e.reason(), e.to_string());
                Judged::Settled(verdict)
            }
        }
    }

    /// The verdict on what is there.
    fn there(&mut self, one: &Selected, found: Found) -> Verdict {
        let name = |rel: &Path| out::path(&inside(rel));
        match found {
            Found::Directory { mode, uid, gid } => match self.names.ids(&one.user, &one.group) {
                Ok(ids) if (mode, (uid, gid)) == (one.mode, ids) => Verdict::plain(Action::Exists),
                Ok(_) => Verdict {
                    error: Some(format!("it is {mode:04o} {uid}:{gid}")),
                    ..Verdict::plain(Action::Differs)
                },
                Err(e) => {
                    let error = format!("it is {mode:04o} {uid}:{gid}, and {e}");
                    Verdict::because(Action::Differs, e.reason(), error)
                }
            },
            Found::Redirected(at) => {
                let error = format!("{} is a symbolic link", name(&at));
                Verdict {
                    link: Some(at),
                    ..Verdict::because(Action::Skipped, Reason::Redirected, error)
                }
            }
            Found::Blocked(at) => {
                let error = format!("{} is no directory", name(&at));
                Verdict::because(Action::Failed, Reason::Blocked, error)
            }
            Found::Failed(e) => Verdict::because(Action::Failed, Reason::Error, e.to_string()),
            Found::Missing => Verdict::because(Action::Failed, Reason::Raced, "it is gone again"),
        }
    }

    /// The verdict on what was to be made; those above it that had to be made are told, too.
    fn made(&mut self, one: &Selected, outcome: Outcome, entries: &mut Vec<Entry>) -> Verdict {
        match outcome {
            Outcome::Made { implied } => {
                entries.extend(implied.iter().map(|rel| implied_entry(rel)));
                Verdict::plain(Action::Create)
            }
            Outcome::Found(found) => self.there(one, found),
            Outcome::Raced => {
                let why = "somebody changed it while it was made";
                Verdict::because(Action::Failed, Reason::Raced, why)
            }
            Outcome::Failed(e) => Verdict::because(Action::Failed, Reason::Error, e.to_string()),
        }
    }

    /// What [`Maker::make`] would do when nothing goes wrong.
    fn foretell(&mut self, missing: &[Wanted]) -> Vec<Outcome> {
        let mut made: BTreeSet<PathBuf> = missing.iter().map(|w| w.path.clone()).collect();
        let mut outcomes = Vec::with_capacity(missing.len());
        for one in missing {
            let mut implied = Vec::new();
            for above in one.path.ancestors().skip(1) {
                let is_top = above.as_os_str().is_empty();
                if is_top || made.contains(above) || !self.is_missing(above) {
                    break;
                }
                implied.push(above.to_owned());
            }
            implied.reverse();
            made.extend(implied.iter().cloned());
            outcomes.push(Outcome::Made { implied });
        }
        outcomes
    }

    fn is_missing(&mut self, rel: &Path) -> bool {
        matches!(self.maker.look(rel), Found::Missing)
    }
}

impl Worked {
    fn add(&mut self, one: Selected, verdict: Verdict) {
        let is_left_over = matches!(verdict.action, Action::Deferred | Action::Failed);
        let standing = Standing {
            pending: verdict.reason.filter(|_| is_left_over),
            link: verdict.link.clone(),
        };
        self.entries.push(entry(&one, verdict));
        self.left.push((one, standing));
    }
}

fn entry(one: &Selected, verdict: Verdict) -> Entry {
    Entry {
        path: one.path.clone(),
        action: verdict.action,
        reason: verdict.reason,
        mode: one.mode,
        user: one.user.clone(),
        group: one.group.clone(),
        packages: one.packages.clone(),
        error: verdict.error,
    }
}

/// The entry of a directory that is not wanted.
pub(super) fn skipped(one: &Selected, reason: Reason) -> Entry {
    let verdict = Verdict {
        reason: Some(reason),
        ..Verdict::plain(Action::Skipped)
    };
    entry(one, verdict)
}

fn implied_entry(rel: &Path) -> Entry {
    Entry {
        path: inside(rel),
        action: Action::Create,
        reason: Some(Reason::Implied),
        mode: 0o755,
        user: "root".into(),
        group: "root".into(),
        packages: Vec::new(),
        error: None,
    }
}
