//! One writer at a time.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::owner::Owner;

/// The right to change what is on disk. Whatever mutates takes `&WriteLock`; it is given back on drop, and by
/// the kernel when the process dies.
#[derive(Debug)]
#[must_use]
pub struct WriteLock {
    _held: Vec<Flock<File>>,
}

/// Why there is no lock.
#[derive(Debug)]
pub enum LockError {
    /// Another process holds it; the text is what that process said of itself.
    Held(PathBuf, String),
    /// It could not be opened, made or locked.
    Io(PathBuf, io::Error),
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::Held(path, by) => {
                write!(f, "another transaction is running")?;
                if !by.is_empty() {
                    write!(f, " ({by})")?;
                }
                write!(f, ": {} is locked; wait until it has ended", path.display())
            }
            LockError::Io(path, e) => write!(f, "cannot lock {}: {e}", path.display()),
        }
    }
}

impl std::error::Error for LockError {}

impl WriteLock {
    /// Locks the file `path` with flock(2) and without waiting, and notes in it who holds it.
    ///
    /// The file is opened or made, never replaced: a replaced file would let two holders in.
    ///
    /// # Errors
    /// [`LockError::Held`] when another process has it.
    pub fn file(path: &Path) -> Result<WriteLock, LockError> {
        let io = |e: io::Error| LockError::Io(path.to_owned(), e);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(io)?;
        }
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(io)?;
        let mut held = lock(file, path)?;
        let note = format!("pid {}\n{}\n", std::process::id(), Owner::this());
        let noted = held
            .set_len(0)
            .and_then(|()| held.rewind())
            .and_then(|()| held.write_all(note.as_bytes()));
        noted.map_err(io)?;
        Ok(WriteLock { _held: vec![held] })
    }

    /// Locks a directory: the lock of a system that is mounted somewhere and whose /run is not there.
    ///
    /// # Errors
    /// [`LockError::Held`] when another process has it.
    pub fn directory(path: &Path) -> Result<WriteLock, LockError> {
        let file = File::open(path).map_err(|e| LockError::Io(path.to_owned(), e))?;
        Ok(WriteLock {
            _held: vec![lock(file, path)?],
        })
    }

    /// Holds `other` as well.
    pub fn and(mut self, other: WriteLock) -> WriteLock {
        self._held.extend(other._held);
        self
    }
}

fn lock(file: File, path: &Path) -> Result<Flock<File>, LockError> {
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(mut file, errno)| match errno {
        Errno::EWOULDBLOCK => {
            let mut note = Vec::new();
            let read = Read::by_ref(&mut file).take(4096).read_to_end(&mut note);
            let first = String::from_utf8_lossy(&note)
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned();
            LockError::Held(path.to_owned(), read.map_or(String::new(), |_| first))
        }
        errno => LockError::Io(path.to_owned(), errno.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_writer_is_told_who_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/lock");
        let first = WriteLock::file(&path).unwrap();
        let refused = WriteLock::file(&path).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("pid {}", std::process::id())),
            "{refused}"
        );
        drop(first);
        assert!(WriteLock::file(&path).is_ok());
    }

    #[test]
    fn a_directory_can_be_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let first = WriteLock::directory(dir.path()).unwrap();
        assert!(matches!(
            WriteLock::directory(dir.path()),
            Err(LockError::Held(..))
        ));
        drop(first);
    }
}
