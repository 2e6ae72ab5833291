//! What is told about a run: a line for each problem, one for all of it, and with `--verbose` one for each directory.

use std::fmt;

use crate::dirs::{Action, Entry, Reason, Report, Status, Tmpfiles};
use crate::sys::out;

/// Tells what `report` says; `all` includes the directories about which there is nothing to say.
pub(super) fn tell(report: &Report, all: bool) {
    for warning in &report.warnings {
        out::warn(warning);
    }
    for bad in &report.bad {
        out::warn(bad);
    }
    for entry in &report.entries {
        tell_entry(entry, report.dry_run, all);
    }
    tell_tmpfiles(&report.tmpfiles);
    match &report.status {
        Status::Unreadable(why) => out::error(format_args!("{why}; no directories are made")),
        Status::NoDatabase => out::say("There is no RPM database here, so nothing to do"),
        Status::NothingToDo => out::say("The directories of all packages are there"),
        Status::Scanned | Status::Resumed => out::say(Sum(report)),
    }
}

fn tell_entry(entry: &Entry, dry_run: bool, all: bool) {
    let told = Told(entry);
    match (entry.action, entry.reason) {
        (Action::Create, _) if dry_run => out::say(told),
        (Action::Create | Action::Differs, _) => out::detail(told),
        (Action::Exists, _) if all => out::detail(told),
        (Action::Exists, _) => {}
        (Action::Deferred | Action::Failed, _) | (Action::Skipped, Some(Reason::UnsafePath)) => {
            out::warn(told);
        }
        // somebody's decision, but what a package may miss
        (Action::Skipped, Some(Reason::Redirected)) => out::say(told),
        (Action::Skipped, _) => out::detail(told),
    }
}

fn tell_tmpfiles(tmpfiles: &Tmpfiles) {
    match tmpfiles {
        Tmpfiles::NotCalled | Tmpfiles::Applied => {}
        Tmpfiles::SomeLines(said) => out::say(format_args!(
            "systemd-tmpfiles could not apply some lines of tmpfiles.d:\n{}",
            said.trim_end()
        )),
        Tmpfiles::Unable(why) => out::warn(format_args!("tmpfiles.d was not applied: {why}")),
        Tmpfiles::Failed(why) => out::error(format_args!("tmpfiles.d could not be applied: {why}")),
    }
}

/// An entry as a line.
struct Told<'a>(&'a Entry);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.0;
        let path = out::path(&entry.path);
        match entry.action {
            Action::Create => write!(f, "Create {path}")?,
            Action::Exists => write!(f, "{path} is as it should be")?,
            Action::Differs => write!(f, "{path} is not as its package wants it")?,
            Action::Deferred => write!(f, "{path} has to wait")?,
            Action::Failed => write!(f, "{path} could not be made")?,
            Action::Skipped => write!(f, "{path} is left out")?,
        }
        match (&entry.error, entry.reason.and_then(meaning)) {
            (Some(error), _) => write!(f, ": {error}")?,
            (None, Some(meaning)) => write!(f, ": {meaning}")?,
            (None, None) => {}
        }
        if !entry.packages.is_empty() {
            write!(f, " ({})", entry.packages.join(", "))?;
        }
        Ok(())
    }
}

/// What a reason means, where the entry has no sentence of its own.
fn meaning(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::Implied => "no package owns it, but what is below it",
        Reason::Ghost => "the package owns it, but does not bring it (%ghost)",
        Reason::Replaced => "another package replaced it",
        Reason::NotInstalled => "rpm was told not to install it",
        Reason::NetShared => "it is on a file system that machines share",
        Reason::WrongColour => "it belongs to another architecture",
        Reason::UnknownState => "the database gives it an unknown state",
        Reason::UnsafePath => "this path is refused",
        Reason::Volatile => "it is made anew at each boot",
        Reason::Excluded => "it is excluded",
        Reason::NotMounted => "the file system that is to hold it is not mounted",
        Reason::Redirected => "a link leads elsewhere",
        Reason::UnknownUser => "its user does not exist",
        Reason::UnknownGroup => "its group does not exist",
        Reason::BelowDeferred => "what it lies in has to wait",
        Reason::Blocked => "something that is no directory is in the way",
        Reason::Raced => "somebody interfered",
        Reason::Error => return None,
    })
}

/// All of a run in one line.
struct Sum<'a>(&'a Report);

impl fmt::Display for Sum<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = self.0.summary();
        let made = if self.0.dry_run { "to make" } else { "made" };
        write!(
            f,
            "Directories of packages: {} {made}, {} deferred, {} failed, {} differing, {} left out; {} unreadable packages; {} ms",
            sum.made,
            sum.deferred,
            sum.failed,
            sum.differing,
            sum.skipped,
            sum.bad_packages,
            self.0.took.as_millis()
        )
    }
}
