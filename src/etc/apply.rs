//! Does what a plan says.
//!
//! New objects are made in a directory of their own at the top of the new /etc, made durable, and moved to their place
//! in one step; only root may enter that directory. What an interrupted merge leaves there the next one removes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, mkdirat, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{linkat, symlinkat, syncfs};

use super::attribute;
use super::entry::Entry;
use super::plan::{Action, Plan, Trees};
use super::tree::{Found, MERGED, deep, told};
use crate::sys::{Doing, Failure, attr, beneath, failpoint};

/// Where new objects are made.
pub(super) const WORK: &str = ".etc-merge.tu-new";
/// The name of the one that is being made.
const NEW: &str = "new";

impl Plan {
    /// Does it, and makes it durable. When it fails, or is interrupted, a new plan of the same trees does the rest,
    /// as long as the base is there: forget it only afterwards.
    ///
    /// # Errors
    /// The first step that failed, or that it could not be written to disk.
    pub fn apply(&self, trees: &Trees) -> Result<(), Failure> {
        let theirs = trees.theirs.root();
        let clearing = || "removing what an interrupted merge left".to_owned();
        beneath::remove_all(theirs, WORK.as_ref()).doing(clearing)?;
        if !self.actions.is_empty() {
            let work = Work::new(trees).doing(|| format!("making the directory {WORK}"))?;
            for action in &self.actions {
                work.do_in_any_case(action).doing(|| action.to_string())?;
            }
            beneath::remove_all(theirs, WORK.as_ref()).doing(clearing)?;
        }
        failpoint::hit("etc-applied").doing(clearing)?;
        syncfs(theirs).doing(|| "writing the merged /etc to disk".to_owned())
    }
}

struct Work<'t> {
    trees: &'t Trees,
    dir: OwnedFd,
}

impl Work<'_> {
    fn new(trees: &Trees) -> io::Result<Work<'_>> {
        mkdirat(trees.theirs.root(), WORK, Mode::S_IRWXU)?;
        let dir = beneath::open_dir(trees.theirs.root(), WORK.as_ref())?;
        Ok(Work { trees, dir })
    }

    /// A file that chattr(1) made immutable must not keep everything else from being merged: its flag is taken away
    /// for the step, and what is there afterwards gets it. A cut in between loses the flag and nothing else.
    fn do_in_any_case(&self, action: &Action) -> io::Result<()> {
        let denied = match self.step(action) {
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => e,
            other => return other,
        };
        let mut lifted = Vec::new();
        for path in action.touches() {
            if let Found::Here(entry) = self.trees.theirs.find(path)? {
                lifted.extend(attr::lift(entry.as_fd())?.map(|flags| (path, flags)));
            }
        }
        if lifted.is_empty() {
            return Err(denied);
        }
        beneath::remove_all(&self.dir, NEW.as_ref())?;
        let done = self.step(action);
        for (path, flags) in lifted {
            if let Found::Here(entry) = self.trees.theirs.find(path)?
                && (entry.is_file() || entry.is_dir())
            {
                attr::put_back(entry.as_fd(), flags)?;
            }
        }
        done
    }

    fn step(&self, action: &Action) -> io::Result<()> {
        failpoint::hit("etc-step")?;
        match action {
            Action::Take(path) => match self.trees.ours.find(path)? {
                // the system of the administrator may be running: it was removed meanwhile
                Found::Absent | Found::Foreign => Ok(()),
                Found::Here(entry) => {
                    make(&entry, &self.dir, Path::new(NEW))?;
                    self.put(path)
                }
            },
            Action::Link(path, to) => self.link(path, to),
            Action::Save(path, to) => {
                deep(|| copy_tree(self.trees, path, &self.dir, Path::new(NEW)))??;
                self.put(to)
            }
            // one that somebody put something into meanwhile stays
            Action::Remove(path) => beneath::remove(self.trees.theirs.root(), path),
            Action::SetPart(path, part) => match self.trees.theirs.find(path)? {
                Found::Here(dir) => part.set(&dir).and_then(|()| attribute::sync(&dir)),
                _ => Ok(()),
            },
            Action::SetTime(path) => match self.trees.ours.find(path)? {
                Found::Here(from) => self.set_time(path, &from),
                _ => Ok(()),
            },
        }
    }

    /// Moves what was made to its place, in one step. What was there goes.
    fn put(&self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.place(path)?;
        let Some(new) = is_dir(&self.dir, Path::new(NEW))? else {
            // gone before it was copied
            return Ok(());
        };
        failpoint::hit("etc-made")?;
        // a directory replaces nothing and is replaced by nothing, but it can change places
        match is_dir(&parent, name)? {
            Some(old) if old || new => {
                renameat2(&self.dir, NEW, &parent, name, RenameFlags::RENAME_EXCHANGE)?;
                failpoint::hit("etc-exchanged")?;
            }
            _ => renameat(&self.dir, NEW, &parent, name)?,
        }
        beneath::remove_all(&self.dir, NEW.as_ref())
    }

    fn link(&self, path: &Path, to: &Path) -> io::Result<()> {
        let (parent, name) = self.place(to)?;
        match linkat(&parent, name, &self.dir, NEW, AtFlags::empty()) {
            Ok(()) => self.put(path),
            // it cannot have more names; a copy is as good
            Err(Errno::EMLINK) => self.step(&Action::Take(path.to_owned())),
            Err(e) => Err(e.into()),
        }
    }

    fn set_time(&self, path: &Path, from: &Entry) -> io::Result<()> {
        let (parent, name) = self.place(path)?;
        copy_times(from, &parent, name)
    }

    /// The open directory in theirs that a path is in, and its name there.
    fn place<'p>(&self, path: &'p Path) -> io::Result<(OwnedFd, &'p Path)> {
        let name = path
            .file_name()
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
        let parent = path.parent().unwrap_or(Path::new(""));
        let parent = beneath::open_dir(self.trees.theirs.root(), parent)?;
        Ok((parent, Path::new(name)))
    }
}

/// Whether a name stands for a directory; `None` when nothing is there.
fn is_dir(dir: &OwnedFd, name: &Path) -> io::Result<Option<bool>> {
    match beneath::stat_at(dir, name.as_os_str()) {
        Ok(stat) => Ok(Some(beneath::kind(&stat) == SFlag::S_IFDIR)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Makes a durable copy of an object in `dir`, of a directory without what it holds.
fn make(from: &Entry, dir: &OwnedFd, name: &Path) -> io::Result<()> {
    match from.kind() {
        SFlag::S_IFREG => return make_file(from, dir, name),
        SFlag::S_IFDIR => mkdirat(dir, name, Mode::S_IRWXU)?,
        SFlag::S_IFLNK => symlinkat(from.target()?.as_os_str(), dir, name)?,
        kind => mknodat(dir, name, kind, Mode::S_IRUSR, from.stat.st_rdev)?,
    }
    let new = Entry::of(beneath::open_entry(dir, name)?)?;
    attribute::copy(from, &new)?;
    copy_times(from, dir, name)?;
    match new.is_dir() {
        true => attribute::sync(&new),
        false => Ok(()),
    }
}

fn make_file(from: &Entry, dir: &OwnedFd, name: &Path) -> io::Result<()> {
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let mut file = File::from(openat(dir, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
    io::copy(&mut from.read()?, &mut file)?;
    failpoint::hit("etc-written")?;
    attribute::copy(from, &Entry::of(beneath::open_entry(dir, name)?)?)?;
    copy_times(from, dir, name)?;
    file.sync_all()
}

/// Makes a copy of what ours has at `path`, with everything in it, as `copy` below `dir`. Nothing when it is not there
/// any more. However deep it is, few descriptors are open.
fn copy_tree(trees: &Trees, path: &Path, dir: &OwnedFd, copy: &Path) -> io::Result<()> {
    let Found::Here(entry) = trees.ours.find(path)? else {
        return Ok(());
    };
    let parent = beneath::open_dir(dir, copy.parent().unwrap_or(Path::new("")))?;
    make(
        &entry,
        &parent,
        Path::new(copy.file_name().unwrap_or_default()),
    )?;
    let is_dir = entry.is_dir();
    drop((entry, parent));
    let mut names = BTreeSet::new();
    if is_dir {
        trees.ours.names(path, &mut names)?;
    }
    for name in names {
        copy_tree(trees, &path.join(&name), dir, &copy.join(&name))?;
    }
    Ok(())
}

fn copy_times(from: &Entry, dir: impl AsFd, name: &Path) -> io::Result<()> {
    let stat = &from.stat;
    let accessed = TimeSpec::new(stat.st_atime, stat.st_atime_nsec);
    let modified = TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec);
    let flag = UtimensatFlags::NoFollowSymlink;
    Ok(utimensat(dir, name, &accessed, &modified, flag)?)
}

/// Removes a base that has been merged. First it is marked, durably, so that no merge ever takes a part of it for
/// the whole; the mark goes last.
///
/// # Errors
/// The first step that failed. The next call for the same path does the rest.
pub fn forget(base: &Path) -> Result<(), Failure> {
    let doing = || format!("removing the merged {}", told(base));
    let unnamed = || io::Error::from(io::ErrorKind::InvalidFilename);
    let name = base.file_name().ok_or_else(unnamed).doing(doing)?;
    let parent = match base.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let parent = beneath::open_root(parent).doing(doing)?;
    empty(&parent, Path::new(name)).doing(doing)?;
    beneath::remove(&parent, &Path::new(name).join(MERGED)).doing(doing)?;
    failpoint::hit("etc-unmarked").doing(doing)?;
    beneath::remove_all(&parent, Path::new(name)).doing(doing)
}

/// Removes everything in a base but the mark.
fn empty(parent: &OwnedFd, name: &Path) -> io::Result<()> {
    let base = beneath::open_dir(parent, name)?;
    // also what a snapshot has in the place of a subvolume, in which nothing can be made
    if beneath::names(beneath::open_dir(&base, Path::new(""))?)?.is_empty() {
        return Ok(());
    }
    beneath::make_file(&base, Path::new(MERGED))?;
    failpoint::hit("etc-marked")?;
    // of a subvolume: everything of it that is not on disk yet
    syncfs(&base)?;
    for name in beneath::names(beneath::open_dir(&base, Path::new(""))?)? {
        if name != MERGED {
            beneath::remove_all(&base, Path::new(&name))?;
            failpoint::hit("etc-forgetting")?;
        }
    }
    Ok(())
}
