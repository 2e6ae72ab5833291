//! Builds a missing subtree where nobody but root can enter, and moves it to its place in one step.
//!
//! A private directory is made beside the place, `.create-dirs-XXXXXX` with mode 0700. What is made in it has its owner and its
//! mode before it is moved out, so nobody ever sees it half made, and whoever may write in the parent directory can exchange
//! the private one for something else but nothing in it. A cut at any point leaves only the private directory.
//!
//! Nothing is written to disk here. File systems with a journal or a log write the changes of names and attributes in their
//! order: after a power cut a directory is missing, or there as it was moved. [`super::Maker::sync`] makes all of it durable at
//! the end, before anything says that it was done.

use std::ffi::OsStr;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, RenameFlags, renameat2};
use nix::sys::stat::{FileStat, Mode, fchmod, fstat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, geteuid, unlinkat};

use super::way::TRIES;
use super::{Outcome, leftover, tree::Node};
use crate::sys::selinux::{Labelled, Labels};
use crate::sys::{beneath, failpoint, out};

/// How the name of a private directory begins; [`RANDOM`] more letters and digits follow.
pub(super) const PREFIX: &str = ".create-dirs-";
pub(super) const RANDOM: usize = 6;

/// Why a subtree was not made.
#[derive(Debug)]
pub(super) enum Trouble {
    /// What was found before is so no longer: look again.
    Again,
    /// The file system cannot move it without replacing what may be there.
    InPlace,
    /// What was made is not what is there.
    Raced,
    /// A directory could not be made, and nothing of it is left.
    Failed(io::Error),
    /// The same, and it could not be removed, so nothing of the whole subtree is moved to its place.
    Stuck(io::Error),
}

impl<E: Into<io::Error>> From<E> for Trouble {
    fn from(e: E) -> Trouble {
        Trouble::Failed(e.into())
    }
}

/// Somebody else made or removed something there.
fn changed(e: Errno) -> Trouble {
    match e {
        Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOENT => Trouble::Again,
        e => e.into(),
    }
}

/// Makes one subtree.
#[derive(Debug)]
pub(super) struct Builder<'l> {
    pub(super) labels: &'l Labels,
    /// What became of those that could not be made, by number.
    pub(super) told: Vec<(usize, Outcome)>,
    /// Those that restorecon(8) has to give their labels.
    pub(super) unlabelled: Vec<PathBuf>,
}

impl Builder<'_> {
    /// Makes `top` in the open directory `parent` and moves it to its place in one step.
    ///
    /// # Errors
    /// Nothing of it was made then.
    pub(super) fn aside(&mut self, parent: BorrowedFd<'_>, top: &mut Node) -> Result<(), Trouble> {
        let private = Private::new(parent)?;
        let dir = private.dir.as_fd();
        let done = match self.build(dir, top) {
            Ok(true) => put(dir, parent, top),
            other => other.map(drop),
        };
        if let Err(e) = private.remove(parent) {
            let beside = out::path(&top.is.path.with_file_name(&private.name));
            out::warn(format_args!(
                "/{beside} could not be removed: {e}; the next run does it"
            ));
        }
        done
    }

    /// Makes `top` in the open directory `parent`, where it can be seen before it has its owner. What is below it cannot: it
    /// is made while only root can enter `top`. A cut in between leaves `top` as it is then, which the next run finds there
    /// with another owner or mode.
    ///
    /// # Errors
    /// Nothing of it was made then.
    pub(super) fn in_place(
        &mut self,
        parent: BorrowedFd<'_>,
        top: &mut Node,
    ) -> Result<(), Trouble> {
        self.build(parent, top).map(drop)
    }

    /// Makes a directory with all below it; tells whether there was anything to make it for: what could not be made below
    /// it was left out.
    fn build(&mut self, dir: BorrowedFd<'_>, node: &mut Node) -> Result<bool, Trouble> {
        let path = &node.is.path;
        let label = self.labels.of_next(path);
        if matches!(label, Labelled::Later) {
            self.unlabelled.push(path.clone());
        }
        let name = path.file_name().unwrap_or_default().to_owned();
        let made = make(dir, &name)?;
        drop(label);
        let filled = self.fill(made.as_fd(), node);
        if matches!(filled, Ok(true)) {
            return filled;
        }
        let removed = leftover::clear(made.as_fd()).and_then(|()| remove(dir, &name));
        match (filled, removed) {
            (Ok(_) | Err(Trouble::Failed(_)), Err(e)) => Err(Trouble::Stuck(e)),
            (filled, _) => filled,
        }
    }

    /// Makes what is below a new directory, then gives it its owner and mode; `false` when it is there for nothing.
    fn fill(&mut self, made: BorrowedFd<'_>, node: &mut Node) -> Result<bool, Trouble> {
        failpoint::hit("dirs-made")?;
        for mut child in std::mem::take(&mut node.below) {
            match self.build(made, &mut child) {
                Ok(true) => node.below.push(child),
                Ok(false) => {}
                Err(Trouble::Failed(e)) => child.failed(&e, &mut self.told),
                Err(trouble) => return Err(trouble),
            }
        }
        if node.number.is_none() && node.below.is_empty() {
            return Ok(false);
        }
        let is = &node.is;
        let mode = Mode::from_bits_truncate(is.mode);
        // chown(2) takes setuid and setgid away
        fchown(
            made,
            Some(Uid::from_raw(is.uid)),
            Some(Gid::from_raw(is.gid)),
        )?;
        fchmod(made, mode)?;
        let stat = fstat(made)?;
        // some file systems take the call and do nothing, and setgid goes where a group is not one's own
        if (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid) != (mode.bits(), is.uid, is.gid) {
            let text = "the file system does not keep its owner and mode";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text).into());
        }
        failpoint::hit("dirs-owned")?;
        Ok(true)
    }
}

/// Moves a finished subtree to its place.
fn put(from: BorrowedFd<'_>, to: BorrowedFd<'_>, top: &Node) -> Result<(), Trouble> {
    let name = top.is.path.file_name().unwrap_or_default();
    match renameat2(from, name, to, name, RenameFlags::RENAME_NOREPLACE) {
        Ok(()) => Ok(failpoint::hit("dirs-renamed")?),
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::EXDEV | Errno::EOPNOTSUPP) => {
            Err(Trouble::InPlace)
        }
        Err(e) => Err(changed(e)),
    }
}

/// Makes a directory that only who runs this can enter, and opens it.
fn make(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Trouble> {
    mkdirat(dir, name, Mode::S_IRWXU).map_err(changed)?;
    match open_new(dir, name) {
        Err(Trouble::Failed(e)) => match remove(dir, name) {
            Ok(()) => Err(Trouble::Failed(e)),
            Err(_) => Err(Trouble::Stuck(e)),
        },
        other => other,
    }
}

/// Opens a directory that was made just now, and sees that it is that one: it belongs to who runs this, nobody else can enter
/// it, and it is empty.
pub(super) fn open_new(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Trouble> {
    let made = match beneath::enter(dir, name) {
        // another run may have taken it for one that was left behind
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(Trouble::Again),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => return Err(Trouble::Raced),
        other => other?,
    };
    let is_ours = is_private(&fstat(&made)?, &fstat(dir)?);
    match is_ours && beneath::names(beneath::reopen(&made)?)?.is_empty() {
        true => Ok(made),
        false => Err(Trouble::Raced),
    }
}

fn remove(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    Ok(unlinkat(dir, name, UnlinkatFlags::RemoveDir)?)
}

/// Whether only who runs this can enter a directory, which is no other file system than its parent. The group may be one that
/// was inherited, with setgid.
pub(super) fn is_private(stat: &FileStat, parent: &FileStat) -> bool {
    const OTHERS: u32 = 0o5077;
    stat.st_uid == geteuid().as_raw() && stat.st_mode & OTHERS == 0 && stat.st_dev == parent.st_dev
}

/// A directory that nobody but root can enter.
struct Private {
    /// Locked as long as it is worked in, so that no other run takes it for one that was left behind.
    _lock: Option<Flock<OwnedFd>>,
    dir: OwnedFd,
    name: String,
}

impl Private {
    fn new(parent: BorrowedFd<'_>) -> Result<Private, Trouble> {
        for _ in 0..TRIES {
            let name = temporary();
            let dir = match make(parent, name.as_ref()) {
                // the name is taken, or another run has removed it before it was locked
                Err(Trouble::Again) => continue,
                other => other?,
            };
            let lock = match Flock::lock(dir.try_clone()?, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => Some(lock),
                // another run was faster, and removes it
                Err((_, Errno::EWOULDBLOCK)) => continue,
                // there are no locks on this file system
                Err(_) => None,
            };
            let private = Private {
                _lock: lock,
                dir,
                name,
            };
            return match failpoint::hit("dirs-begun") {
                Ok(()) => Ok(private),
                Err(e) => private
                    .remove(parent)
                    .map_or_else(|e| Err(Trouble::Stuck(e)), |()| Err(Trouble::Failed(e))),
            };
        }
        Err(Trouble::Again)
    }

    /// Removes it with what is still in it. What cannot be removed the next run removes.
    fn remove(&self, parent: BorrowedFd<'_>) -> io::Result<()> {
        leftover::clear(self.dir.as_fd())?;
        match remove(parent, self.name.as_ref()) {
            // another run was faster, or who may write there moved it away: an empty directory of root's
            Err(e) if beneath::is_no_directory(&e) => Ok(()),
            other => other.and_then(|()| failpoint::hit("dirs-tidied")),
        }
    }
}

/// A name that is not there yet, most likely. Nobody has to be unable to guess it: what is there is never used.
fn temporary() -> String {
    const DIGITS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut number = RandomState::new().build_hasher().finish();
    let mut name = PREFIX.to_owned();
    for _ in 0..RANDOM {
        let digit = usize::try_from(number % DIGITS.len() as u64).unwrap_or(0);
        name.push(char::from(DIGITS[digit]));
        number /= DIGITS.len() as u64;
    }
    name
}
