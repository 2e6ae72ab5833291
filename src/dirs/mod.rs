//! The directories that packages own where no transaction can make them: /var, /srv, /opt of the running system.
//!
//! Owns which of the database's directories are wanted, making them without ever following a link, the stamp that saves
//! the next boot the work, and calling systemd-tmpfiles. Never removes what it has not made itself, and changes nothing
//! about what is there.

mod create;
mod owner;
mod places;
mod report;
mod select;
mod stamp;
mod tmpfiles;
mod turn;
mod work;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

pub use create::{Found, Maker, Outcome, Wanted};
pub use report::{Action, Entry, Reason, Report, Source, Status, Summary, Tmpfiles};

use crate::rpmdb::{Database, Directories, Fingerprint, OpenOptions, Prefix, RpmdbError};
use crate::sys::root::relative;
use crate::sys::{Root, beneath, failpoint};
use owner::{Accounts, Names};
use places::Points;
use select::{Rules, Selected};
use stamp::{Basis, Stamp, Standing};
use turn::Turn;
use work::Worker;

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Directories below which those of packages are wanted; never these themselves.
    pub prefixes: Vec<Prefix>,
    /// Directories below which none are wanted.
    pub excluded: Vec<Prefix>,
    /// Whether those that packages only own (%ghost) are wanted, too.
    pub with_ghosts: bool,
    /// Where the database is, below the root, when it is not where it usually is.
    pub database: Option<PathBuf>,
    /// Whether headers are checked against their digests.
    pub verify_digests: bool,
    /// Whether to find out only what would be done.
    pub dry_run: bool,
    /// Whether to scan the database whatever the stamp says.
    pub force: bool,
    /// Whether systemd-tmpfiles is called for the same prefixes afterwards.
    pub tmpfiles: bool,
    /// Whether the system boots: systemd-tmpfiles then applies the lines that are only for that.
    pub boot: bool,
}

/// Makes the directories that are wanted below `root` and missing there.
///
/// # Errors
/// Only for what makes the whole run impossible, as a root that cannot be opened. What concerns single directories, and a
/// database that cannot be read, is in the report.
pub fn run(root: &Root, request: &Request) -> Result<Report> {
    let mut run = Run::new(root, request)?;
    let done = run.go();
    run.end(done)
}

/// A run.
struct Run<'a> {
    root: &'a Root,
    top: OwnedFd,
    request: &'a Request,
    /// While it changes something.
    turn: Option<Turn>,
    /// Why what was made may not be on disk.
    unsynced: Option<io::Error>,
    report: Report,
    begun: Instant,
}

impl<'a> Run<'a> {
    fn new(root: &'a Root, request: &'a Request) -> Result<Run<'a>> {
        let begun = Instant::now();
        let top = beneath::open_root(root.path())
            .with_context(|| format!("opening the root directory {}", root.path().display()))?;
        Ok(Run {
            root,
            top,
            request,
            turn: None,
            unsynced: None,
            begun,
            report: Report {
                root: root.path().to_owned(),
                database: None,
                status: Status::NoDatabase,
                dry_run: request.dry_run,
                entries: Vec::new(),
                bad: Vec::new(),
                warnings: Vec::new(),
                tmpfiles: Tmpfiles::NotCalled,
                took: Duration::ZERO,
            },
        })
    }

    /// The report, once all is done.
    fn end(mut self, done: Result<()>) -> Result<Report> {
        match done {
            Err(e) if e.is::<RpmdbError>() => {
                self.report.status = Status::Unreadable(e.to_string());
            }
            other => other?,
        }
        self.report.entries.sort_by(|a, b| a.path.cmp(&b.path));
        self.report.took = self.begun.elapsed();
        Ok(self.report)
    }

    /// Does it. An [`RpmdbError`] is that of a database that cannot be read at all.
    fn go(&mut self) -> Result<()> {
        let options = OpenOptions {
            dir: self.request.database.clone(),
            verify_digests: self.request.verify_digests,
        };
        let Some(database) = Database::open(self.root, &options)? else {
            return Ok(());
        };
        self.report.database = Some(Source {
            path: database.path().to_owned(),
            backend: database.backend().to_string(),
        });
        // taken before the scan: what changes during it shows at the next run
        let fingerprint = database.fingerprint()?;
        self.compare(fingerprint, |prefixes| {
            let ignored = database.ignored().iter();
            let told = ignored.map(|(backend, path)| {
                format!(
                    "another RPM database is not used: {}, of {backend}",
                    path.display()
                )
            });
            Ok((database.directories(prefixes)?, told.collect()))
        })
    }

    /// Does what is to be done when the database has that fingerprint. `scan` reads it, and warns.
    fn compare(
        &mut self,
        fingerprint: Fingerprint,
        scan: impl FnOnce(&[Prefix]) -> Result<(Directories, Vec<String>), RpmdbError>,
    ) -> Result<()> {
        let basis = Basis::new(&self.top, fingerprint, self.request);
        let stamp = match self.request.force {
            true => None,
            false => Stamp::read(&self.top, &basis),
        };
        // another run left it, which did not call systemd-tmpfiles or did so in vain
        let stamp = stamp.filter(|stamp| stamp.has_tmpfiles() || !self.request.tmpfiles);
        match stamp {
            Some(stamp) if stamp.is_due(&self.top) => self.resume(basis, &stamp),
            Some(_) => {
                self.report.status = Status::NothingToDo;
                Ok(())
            }
            None => self.scan(basis, scan),
        }
    }

    /// Works on all that the database has.
    fn scan(
        &mut self,
        basis: Basis,
        scan: impl FnOnce(&[Prefix]) -> Result<(Directories, Vec<String>), RpmdbError>,
    ) -> Result<()> {
        let (root, request) = (self.root, self.request);
        let warnings = &mut self.report.warnings;
        let points = Points::of(root, &self.top, &request.prefixes, warnings);
        let places = points.places(&self.top, &request.prefixes);
        let accounts = Accounts::of(&self.top);
        let (found, told) = scan(&request.prefixes)?;
        self.report.status = Status::Scanned;
        let (selected, conflicts) = select::select(&found, rules(request, &points));
        warnings.extend(told.into_iter().chain(conflicts));
        self.report.bad = found.bad;
        let names = Names::read(&self.top, root.is_live(), warnings);
        let (mut wanted, mut left) = (Vec::new(), Vec::new());
        for one in selected {
            let Some(reason) = one.skip else {
                wanted.push(one);
                continue;
            };
            self.report.entries.push(work::skipped(&one, reason));
            if reason == Reason::UnsafePath {
                left.push((one, Standing::pending(reason)));
            }
        }
        left.extend(self.work(wanted, names, &points)?);
        left.sort_by(|(a, _), (b, _)| a.path.cmp(&b.path));
        self.tmpfiles(&points)?;
        if !self.report.bad.is_empty() {
            // what these packages want is not known, and the next run may be able to read them: it has to try
            return Ok(());
        }
        let places = places.into_iter().map(|p| p.or_new(&self.top, &points));
        let places = places.collect();
        let tmpfiles = self.report.tmpfiles.is_done();
        self.leave(
            &Stamp::new(basis, places, accounts, tmpfiles, &left),
            &points,
        )
    }

    /// Works on what the last run could not make and on what is missing since.
    fn resume(&mut self, basis: Basis, stamp: &Stamp) -> Result<()> {
        let (root, request) = (self.root, self.request);
        self.report.status = Status::Resumed;
        let warnings = &mut self.report.warnings;
        let points = Points::of(root, &self.top, &request.prefixes, warnings);
        let accounts = Accounts::of(&self.top);
        let mut names = Names::read(&self.top, root.is_live(), warnings);
        // at boot no service knows more than before, and asking it may take long
        let ask_again = root.is_live() && !request.boot;
        let are_same = stamp.accounts() == Some(&accounts) && !ask_again;
        let (mut due, mut left) = (Vec::new(), Vec::new());
        for (one, standing, is_due) in stamp.directories(&self.top) {
            if are_same {
                names.take_as_before(&one, standing.pending);
            }
            match select::refusal(&one.path, rules(request, &points)) {
                _ if !is_due => left.push((one, standing)),
                None => due.push(one),
                Some(reason) => {
                    self.report.entries.push(work::skipped(&one, reason));
                    left.push((one, standing));
                }
            }
        }
        left.extend(self.work(due, names, &points)?);
        left.sort_by(|(a, _), (b, _)| a.path.cmp(&b.path));
        let is_made = |e: &Entry| e.action == Action::Create;
        let mut tmpfiles = stamp.has_tmpfiles();
        if self.report.entries.iter().any(is_made) {
            self.tmpfiles(&points)?;
            tmpfiles = self.report.tmpfiles.is_done();
        }
        let places = stamp.places().iter().cloned();
        let places = places.map(|p| p.or_new(&self.top, &points)).collect();
        let new = Stamp::new(basis, places, accounts, tmpfiles, &left);
        if new == *stamp {
            return Ok(());
        }
        self.leave(&new, &points)
    }

    /// Makes what of `wanted`, sorted by path, is missing; returns how each was left.
    fn work(
        &mut self,
        wanted: Vec<Selected>,
        mut names: Names,
        points: &Points,
    ) -> Result<Vec<(Selected, Standing)>> {
        for point in &points.unmounted {
            let is_in = |e: &Entry| point.holds(e.path.as_os_str().as_encoded_bytes());
            let mut skipped = self.report.entries.iter();
            if skipped.any(|e| e.reason == Some(Reason::NotMounted) && is_in(e)) {
                let text = "something is to be mounted there (fstab, or autofs), and is not";
                let warning = format!("no directories are made in {point}: {text}");
                self.report.warnings.push(warning);
            }
        }
        let mut maker = Maker::open(self.root).with_context(|| {
            format!("opening the root directory {}", self.root.path().display())
        })?;
        if !self.request.dry_run {
            self.begin(&wanted, &mut maker, points)?;
        }
        let mut worker = Worker {
            maker: &mut maker,
            names: &mut names,
            dry_run: self.request.dry_run,
        };
        let worked = worker.work(wanted);
        self.report.entries.extend(worked.entries);
        self.unsynced = maker.sync().err();
        Ok(worked.left)
    }

    /// Takes a turn, and removes what runs that were cut off left behind when no other run is going on. Makes nothing: what
    /// is missing may be wanted, with other attributes.
    fn begin(&mut self, wanted: &[Selected], maker: &mut Maker, points: &Points) -> Result<()> {
        // a directory that every run finds and that none makes
        let lock = match beneath::open_dir(&self.top, Path::new("etc")) {
            Ok(directory) => directory,
            Err(_) => self.top.try_clone().context("duplicating a descriptor")?,
        };
        let mut turn = Turn::take(lock);
        if turn.is_alone() {
            let paths: Vec<PathBuf> = wanted.iter().map(|one| relative(&one.path)).collect();
            maker.remove_leftovers(paths.iter().map(PathBuf::as_path));
            if self.has_stamp(points)
                && let Err(e) = stamp::remove_temporaries(&self.top)
            {
                let warning = format!("half a stamp of an earlier run is still there: {e}");
                self.report.warnings.push(warning);
            }
            turn.share();
        }
        self.turn = Some(turn);
        Ok(())
    }

    /// Whether the place of the stamp is where it will be after the next boot.
    fn has_stamp(&self, points: &Points) -> bool {
        !select::is_below(&stamp::path(), &points.unmounted)
    }

    /// Lets systemd-tmpfiles do the rest, where that is asked for.
    fn tmpfiles(&mut self, points: &Points) -> Result<()> {
        if !self.request.tmpfiles {
            return Ok(());
        }
        let is_there = |prefix: &&Prefix| {
            let is_in = |point: &Prefix| prefix.path().starts_with(point.path());
            !points.unmounted.iter().any(is_in)
        };
        let asked = self.request.prefixes.iter();
        let prefixes: Vec<Prefix> = asked.filter(is_there).cloned().collect();
        let excluded = [&self.request.excluded[..], &points.unmounted].concat();
        let call = tmpfiles::Call {
            root: self.root,
            prefixes: &prefixes,
            excluded: &excluded,
            boot: self.request.boot,
            dry_run: self.request.dry_run,
        };
        self.report.tmpfiles = call.run();
        Ok(failpoint::hit("tmpfiles-applied")?)
    }

    /// Leaves the stamp, once what it says is on disk. Without one the work counts as well.
    fn leave(&mut self, stamp: &Stamp, points: &Points) -> Result<()> {
        if self.request.dry_run {
            return Ok(());
        }
        let failed = match &self.unsynced {
            Some(e) => Some(format!("what was made may not be on disk: {e}")),
            None if !self.has_stamp(points) => Some("its file system is not mounted".to_owned()),
            None => {
                failpoint::hit("dirs-synced")?;
                stamp.write(&self.top).err().map(|e| e.to_string())
            }
        };
        if let Some(why) = failed {
            let path = stamp::path();
            let warning = format!(
                "the next boot has to read the RPM database again, because {} cannot be written: {why}",
                path.display()
            );
            self.report.warnings.push(warning);
        }
        Ok(())
    }
}

fn rules<'a>(request: &'a Request, points: &'a Points) -> Rules<'a> {
    Rules {
        prefixes: &request.prefixes,
        excluded: &request.excluded,
        with_ghosts: request.with_ghosts,
        unmounted: &points.unmounted,
    }
}

#[cfg(test)]
mod tests;
