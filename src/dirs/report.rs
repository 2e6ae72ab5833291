//! What became of each directory, as data: what is printed and which exit code it leads to.
//!
//! Knows no words for persons beyond single reasons; the command line makes lines and JSON of it.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::rpmdb::BadPackage;

/// What was done about a directory, or would be done in a dry run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// It was missing and was made.
    Create,
    /// It was there as the package wants it.
    Exists,
    /// It was there with another owner, group or mode, and was left so.
    Differs,
    /// It waits for a user or a group that does not exist.
    Deferred,
    /// It could not be made.
    Failed,
    /// It is not ours to make.
    Skipped,
}

impl Action {
    /// The word for it in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Exists => "exists",
            Action::Differs => "differs",
            Action::Deferred => "deferred",
            Action::Failed => "failed",
            Action::Skipped => "skipped",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Created although no package owns it: something below it was wanted. It is root:root 0755.
    Implied,
    /// Skipped: the package only owns it (%ghost).
    Ghost,
    /// Skipped: another package's file replaced it.
    Replaced,
    /// Skipped: rpm was told not to install it.
    NotInstalled,
    /// Skipped: it is on a file system that machines share.
    NetShared,
    /// Skipped: it belongs to another architecture.
    WrongColour,
    /// Skipped: the database gives it a state that this program does not know.
    UnknownState,
    /// Refused: its path is relative, too long, or has empty, `.` or `..` components.
    UnsafePath,
    /// Skipped: it is in what is made anew at each boot.
    Volatile,
    /// Skipped: it was asked to be.
    Excluded,
    /// Skipped: fstab or autofs mounts something above it, which is not mounted.
    NotMounted,
    /// Skipped: it, or a directory above it, is a symbolic link.
    Redirected,
    /// Deferred, or it differs: there is no user of that name.
    UnknownUser,
    /// Deferred, or it differs: there is no group of that name.
    UnknownGroup,
    /// Deferred: what it lies in is.
    BelowDeferred,
    /// Failed: something that is no directory is in the way.
    Blocked,
    /// Failed: somebody interfered while it was made.
    Raced,
    /// Failed: the system said no; the entry has its words.
    Error,
}

impl Reason {
    /// Whether it waits for a user or a group.
    #[must_use]
    pub fn is_waiting(self) -> bool {
        matches!(
            self,
            Reason::UnknownUser | Reason::UnknownGroup | Reason::BelowDeferred
        )
    }

    /// The word for it in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Reason::Implied => "implied",
            Reason::Ghost => "ghost",
            Reason::Replaced => "replaced",
            Reason::NotInstalled => "not-installed",
            Reason::NetShared => "net-shared",
            Reason::WrongColour => "wrong-colour",
            Reason::UnknownState => "unknown-state",
            Reason::UnsafePath => "unsafe-path",
            Reason::Volatile => "volatile",
            Reason::Excluded => "excluded",
            Reason::NotMounted => "not-mounted",
            Reason::Redirected => "redirected",
            Reason::UnknownUser => "unknown-user",
            Reason::UnknownGroup => "unknown-group",
            Reason::BelowDeferred => "below-deferred",
            Reason::Blocked => "blocked",
            Reason::Raced => "raced",
            Reason::Error => "error",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A directory and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path in the system, as the database has it: absolute unless it was refused.
    pub path: PathBuf,
    /// What was done.
    pub action: Action,
    /// Why, where it is not obvious.
    pub reason: Option<Reason>,
    /// Permission bits that it is to have, at most 07777.
    pub mode: u32,
    /// Owner that it is to have.
    pub user: OsString,
    /// Group that it is to have.
    pub group: OsString,
    /// The packages that own it (NEVRA), the one whose wishes count first; none when it is implied.
    pub packages: Vec<String>,
    /// A sentence that says more: what is in the way, how it differs, what the system said.
    pub error: Option<String>,
}

/// How the work was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// The database was scanned.
    Scanned,
    /// The database is as it was: only what is missing or was left over was worked on, and only that is told.
    Resumed,
    /// All is as it was, and nothing is missing: there are no entries.
    NothingToDo,
    /// The system has no RPM database.
    NoDatabase,
    /// There is a database, but it cannot be read at all, for this reason.
    Unreadable(String),
}

impl Status {
    /// The word for it in JSON.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Status::Scanned => "scanned",
            Status::Resumed => "resumed",
            Status::NothingToDo => "nothing-to-do",
            Status::NoDatabase => "no-database",
            Status::Unreadable(_) => "unreadable",
        }
    }
}

/// The database that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// Its format, as `ndb`.
    pub backend: String,
}

/// What the call of systemd-tmpfiles led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tmpfiles {
    /// It was not called: not asked for, or nothing to do.
    NotCalled,
    /// All of its lines were applied.
    Applied,
    /// Some of its lines could not be applied; it said this. No failure of ours.
    SomeLines(String),
    /// There is no such program, or it cannot do what was asked; this is why. No failure of ours.
    Unable(String),
    /// It failed, for this reason.
    Failed(String),
}

impl Tmpfiles {
    /// Whether another call would do no more than this one.
    pub(super) fn is_done(&self) -> bool {
        !matches!(self, Tmpfiles::NotCalled | Tmpfiles::Failed(_))
    }
}

/// How many directories of each kind there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Made, or to be made in a dry run.
    pub made: usize,
    /// There as wanted.
    pub existing: usize,
    /// There, otherwise than wanted.
    pub differing: usize,
    /// Waiting for a user or a group.
    pub deferred: usize,
    /// Could not be made.
    pub failed: usize,
    /// Not ours to make.
    pub skipped: usize,
    /// Of the skipped ones, those that were refused because of their path.
    pub refused: usize,
    /// Packages that the database holds in a form that cannot be read.
    pub bad_packages: usize,
}

/// What a run found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The root directory of the system that was worked on.
    pub root: PathBuf,
    /// Which database was taken.
    pub database: Option<Source>,
    /// How the work was found.
    pub status: Status,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// The directories, sorted by path.
    pub entries: Vec<Entry>,
    /// What the database holds in a form that cannot be read.
    pub bad: Vec<BadPackage>,
    /// What deserves attention but stopped nothing, as sentences: conflicts, other databases, a stamp that could not be written.
    pub warnings: Vec<String>,
    /// What systemd-tmpfiles did.
    pub tmpfiles: Tmpfiles,
    /// How long it took.
    pub took: Duration,
}

impl Report {
    /// Counts the entries.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut sum = Summary {
            bad_packages: self.bad.len(),
            ..Summary::default()
        };
        for entry in &self.entries {
            let count = match entry.action {
                Action::Create => &mut sum.made,
                Action::Exists => &mut sum.existing,
                Action::Differs => &mut sum.differing,
                Action::Deferred => &mut sum.deferred,
                Action::Failed => &mut sum.failed,
                Action::Skipped => &mut sum.skipped,
            };
            *count += 1;
            sum.refused += usize::from(entry.reason == Some(Reason::UnsafePath));
        }
        sum
    }

    /// The exit code: 66 when there is a database that cannot be read, 1 when systemd-tmpfiles failed or when `check`
    /// asks whether something is missing and something is, 73 when directories could not be made, 65 when some were
    /// deferred, refused or cannot be read from the database, else 0.
    #[must_use]
    pub fn code(&self, check: bool) -> u8 {
        let sum = self.summary();
        let missing = sum.made + sum.deferred + sum.failed;
        match () {
            () if matches!(self.status, Status::Unreadable(_)) => 66,
            () if matches!(self.tmpfiles, Tmpfiles::Failed(_)) => 1,
            () if check && missing > 0 => 1,
            () if sum.failed > 0 => 73,
            () if sum.deferred + sum.refused + sum.bad_packages > 0 => 65,
            () => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(entries: &[(Action, Option<Reason>)]) -> Report {
        let entry = |(action, reason): &(Action, Option<Reason>)| Entry {
            path: "/var/a".into(),
            action: *action,
            reason: *reason,
            mode: 0o755,
            user: "root".into(),
            group: "root".into(),
            packages: Vec::new(),
            error: None,
        };
        Report {
            root: "/".into(),
            database: None,
            status: Status::Scanned,
            dry_run: false,
            entries: entries.iter().map(entry).collect(),
            bad: Vec::new(),
            warnings: vec!["a warning has no influence".into()],
            tmpfiles: Tmpfiles::SomeLines("nor has this".into()),
            took: Duration::ZERO,
        }
    }

    const CREATED: (Action, Option<Reason>) = (Action::Create, None);
    const DEFERRED: (Action, Option<Reason>) = (Action::Deferred, Some(Reason::UnknownUser));
    const FAILED: (Action, Option<Reason>) = (Action::Failed, Some(Reason::Error));
    const REFUSED: (Action, Option<Reason>) = (Action::Skipped, Some(Reason::UnsafePath));

    #[test]
    fn the_exit_code_is_that_of_the_worst_that_happened() {
        let others = [
            (Action::Exists, None),
            (Action::Differs, Some(Reason::UnknownUser)),
            (Action::Skipped, Some(Reason::Ghost)),
            (Action::Skipped, Some(Reason::Redirected)),
            (Action::Skipped, Some(Reason::NotMounted)),
        ];
        for (entries, code, checked) in [
            (&[][..], 0, 0),
            (&others, 0, 0),
            (&[CREATED], 0, 1),
            (&[REFUSED, others[0]], 65, 65),
            (&[DEFERRED, CREATED], 65, 1),
            (&[DEFERRED, FAILED, REFUSED], 73, 1),
        ] {
            let report = report(entries);
            let codes = (report.code(false), report.code(true));
            assert_eq!(codes, (code, checked), "{entries:?}");
        }
        let mut report = report(&[FAILED]);
        report.tmpfiles = Tmpfiles::Unable("it is not there".into());
        assert_eq!(report.code(false), 73);
        report.tmpfiles = Tmpfiles::Failed("it ended with 1".into());
        assert_eq!(report.code(false), 1);
        report.status = Status::Unreadable("damaged".into());
        assert_eq!((report.code(false), report.code(true)), (66, 66));
    }

    #[test]
    fn a_package_that_cannot_be_read_is_no_success() {
        let mut report = report(&[]);
        report.bad.push(BadPackage {
            name: "number 7".into(),
            why: "damaged".into(),
        });
        assert_eq!((report.code(false), report.code(true)), (65, 65));
        assert_eq!(report.summary().bad_packages, 1);
    }

    #[test]
    fn every_entry_is_counted_once_and_refused_ones_also_as_skipped() {
        let all = [CREATED, CREATED, DEFERRED, FAILED, REFUSED];
        let sum = report(&all).summary();
        let expected = Summary {
            made: 2,
            deferred: 1,
            failed: 1,
            skipped: 1,
            refused: 1,
            ..Summary::default()
        };
        assert_eq!(sum, expected);
    }

    #[test]
    fn a_reason_has_one_word_in_json_and_in_the_stamp() {
        for reason in [
            Reason::Implied,
            Reason::NotInstalled,
            Reason::WrongColour,
            Reason::UnsafePath,
            Reason::BelowDeferred,
            Reason::Raced,
        ] {
            let word = serde_json::to_string(&reason).unwrap();
            assert_eq!(word, format!("\"{}\"", reason.word()));
        }
    }
}
