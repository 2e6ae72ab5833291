//! The way from the root down to a directory, one name at a time and never through a link.
//!
//! Keeps what it has open, so that sorted paths cost one call for each directory. Whoever may write in a directory on the
//! way can move what is below it meanwhile; what is done then is done where it was moved to, which is still his own.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use super::Found;
use crate::sys::{Root, beneath};

/// Most names of a path. Each is an open descriptor, of which a process has 1,024.
pub(super) const LEVELS: usize = 256;

/// Looks at something that changes meanwhile: as often, then it is told that it does.
pub(super) const TRIES: usize = 16;

/// What a way ends in, and where that is.
#[derive(Debug)]
pub(super) struct End {
    /// The path below the root.
    pub(super) at: PathBuf,
    /// What is there.
    pub(super) found: Found,
}

/// Open directories from the root down to where the last way led.
#[derive(Debug)]
pub(super) struct Way {
    root: OwnedFd,
    open: Vec<(OsString, OwnedFd)>,
}

impl Way {
    pub(super) fn open(root: &Root) -> io::Result<Way> {
        Ok(Way {
            root: beneath::open_root(root.path())?,
            open: Vec::new(),
        })
    }

    /// Forgets what is open: the next way begins at the root.
    pub(super) fn forget(&mut self) {
        self.open.clear();
    }

    fn last(&self) -> BorrowedFd<'_> {
        let last = self.open.last();
        last.map_or(self.root.as_fd(), |(_, dir)| dir.as_fd())
    }

    /// Opens the directory `path` below the root (`O_PATH`), or tells what is in its place or above it.
    pub(super) fn go(&mut self, path: &Path) -> Result<BorrowedFd<'_>, End> {
        let known = self.open.iter().zip(path).take_while(|(o, n)| o.0 == *n);
        let known = known.count();
        self.open.truncate(known);
        for (number, name) in path.iter().enumerate().skip(known) {
            match step(self.last(), name, || path.iter().take(number + 1).collect()) {
                Ok(dir) => self.open.push((name.to_owned(), dir)),
                Err(found) => {
                    let at = path.iter().take(number + 1).collect();
                    return Err(End { at, found });
                }
            }
        }
        Ok(self.last())
    }

    /// What is at `path`, or what ends the way to it.
    pub(super) fn find(&mut self, path: &Path) -> End {
        let end = |found| End {
            at: path.to_owned(),
            found,
        };
        let name = match check(path) {
            Ok(name) => name,
            Err(e) => return end(Found::Failed(e)),
        };
        match self.go(path.parent().unwrap_or(Path::new(""))) {
            Ok(dir) => end(look(dir, name, || path.to_owned())),
            Err(end) => end,
        }
    }
}

/// The last name of a path.
///
/// # Errors
/// When it has none, has `..`, begins somewhere else than at the root, or is too deep.
pub(super) fn check(path: &Path) -> io::Result<&OsStr> {
    let is_name = |part| matches!(part, Component::Normal(_));
    let name = path.file_name().filter(|_| path.components().all(is_name));
    let refused = |text: String| io::Error::new(io::ErrorKind::InvalidFilename, text);
    if path.iter().count() > LEVELS {
        return Err(refused(format!("more than {LEVELS} directories deep")));
    }
    name.ok_or_else(|| refused("not a path below the root".into()))
}

fn step(dir: BorrowedFd<'_>, name: &OsStr, path: impl Fn() -> PathBuf) -> Result<OwnedFd, Found> {
    for _ in 0..TRIES {
        match beneath::step(dir, name) {
            Ok(dir) => return Ok(dir),
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
                match look(dir, name, &path) {
                    // it is one now
                    Found::Directory { .. } => {}
                    found => return Err(found),
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(Found::Missing),
            Err(e) => return Err(Found::Failed(e)),
        }
    }
    Err(Found::Failed(io::ErrorKind::ResourceBusy.into()))
}

/// What is at the name `name` in an open directory; `path` is what that is called below the root.
fn look(dir: BorrowedFd<'_>, name: &OsStr, path: impl Fn() -> PathBuf) -> Found {
    use nix::sys::stat::SFlag;
    match beneath::stat_at(dir, name) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Found::Missing,
        Err(e) => Found::Failed(e),
        Ok(stat) => match beneath::kind(&stat) {
            SFlag::S_IFDIR => Found::Directory {
                mode: stat.st_mode & 0o7777,
                uid: stat.st_uid,
                gid: stat.st_gid,
            },
            SFlag::S_IFLNK => Found::Redirected(path()),
            _ => Found::Blocked(path()),
        },
    }
}
