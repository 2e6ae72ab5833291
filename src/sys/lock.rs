//! One writer at a time.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, openat};
use nix::sys::stat::Mode;

use super::owner::Owner;
use super::{Root, beneath, out};

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
    /// The lock file could not be opened, made or locked, or is no file that may be written to.
    File(PathBuf, io::Error),
    /// The same of a lock file whose place nobody can choose.
    Fixed(PathBuf, io::Error),
    /// The directory could not be opened or locked.
    Directory(PathBuf, io::Error),
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
            LockError::File(path, e) => write!(
                f,
                "cannot lock {}: {e}; see that a regular file can be written there, or let LOCKFILE in tukit.conf \
                 name another one",
                path.display()
            ),
            LockError::Fixed(path, e) => write!(
                f,
                "cannot lock {}: {e}; see that a regular file can be written there",
                path.display()
            ),
            LockError::Directory(path, e) => write!(f, "cannot lock {}: {e}", path.display()),
        }
    }
}

impl std::error::Error for LockError {}

impl WriteLock {
    /// Locks the file `path` with flock(2) and without waiting, and notes in it who holds it.
    ///
    /// The file is opened or made, never replaced: a replaced file would let two holders in. A link is not followed,
    /// and what is no regular file is not touched: the note is written as root, and the directory may belong to
    /// others.
    ///
    /// # Errors
    /// [`LockError::Held`] when another process has it.
    pub fn file(path: &Path) -> Result<WriteLock, LockError> {
        let io = |e: io::Error| LockError::File(path.to_owned(), e);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(io)?;
        }
        let opened = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(flags().bits())
            .open(path);
        let file = opened.map_err(|e| io(or_link(e, "it is a link")))?;
        WriteLock::noted(file, path, LockError::File)
    }

    /// The same of the file `rel` in a system. No link is followed on the way either: `root` may be the system of somebody else, whose
    /// links lead out of it.
    ///
    /// # Errors
    /// As [`WriteLock::file`].
    pub fn in_root(root: &Root, rel: &Path) -> Result<WriteLock, LockError> {
        let path = root.join(rel);
        let opened = || {
            let above = rel.parent().unwrap_or(Path::new(""));
            let name = rel.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
            let top = beneath::open_root(root.path())?;
            beneath::make_dirs(&top, above, 0o755)?;
            let dir = beneath::open_dir(&top, above)?;
            let flags = flags() | OFlag::O_CREAT | OFlag::O_RDWR | OFlag::O_CLOEXEC;
            let mode = Mode::from_bits_truncate(0o644);
            Ok(File::from(openat(&dir, name, flags, mode)?))
        };
        let file = opened().map_err(|e| {
            let e = or_link(e, "it, or a directory on the way to it, is a link");
            LockError::Fixed(path.clone(), e)
        })?;
        WriteLock::noted(file, &path, LockError::Fixed)
    }

    /// Locks an open file, and notes in it who holds it.
    fn noted(file: File, path: &Path, failed: Failed) -> Result<WriteLock, LockError> {
        let io = |e: io::Error| failed(path.to_owned(), e);
        if !file.metadata().map_err(io)?.is_file() {
            return Err(io(io::Error::other("it is no regular file")));
        }
        let mut held = lock(file, path, failed)?;
        let note = format!("pid {}\n{}\n", std::process::id(), Owner::this());
        let noted = held
            .set_len(0)
            .and_then(|()| held.rewind())
            .and_then(|()| held.write_all(note.as_bytes()));
        // the lock is the lock, also where there is no room for a note
        if let Err(e) = noted {
            let path = path.display();
            out::warn(format_args!("{path} does not say who holds it: {e}"));
        }
        Ok(WriteLock { _held: vec![held] })
    }

    /// Locks a directory: the lock of a system that is mounted somewhere and whose /run is not there.
    ///
    /// # Errors
    /// [`LockError::Held`] when another process has it.
    pub fn directory(path: &Path) -> Result<WriteLock, LockError> {
        let file = File::open(path).map_err(|e| LockError::Directory(path.to_owned(), e))?;
        Ok(WriteLock {
            _held: vec![lock(file, path, LockError::Directory)?],
        })
    }

    /// Holds `other` as well.
    pub fn and(mut self, other: WriteLock) -> WriteLock {
        self._held.extend(other._held);
        self
    }
}

/// What it is that failed with a path.
type Failed = fn(PathBuf, io::Error) -> LockError;

/// How a lock file is opened: a link is not followed, and a FIFO is opened, and refused, instead of waited for.
fn flags() -> OFlag {
    OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY
}

/// The error of what was opened; `link` when it is one.
fn or_link(e: io::Error, link: &str) -> io::Error {
    match e.raw_os_error() {
        Some(code) if code == Errno::ELOOP as i32 => io::Error::other(link),
        _ => e,
    }
}

fn lock(file: File, path: &Path, failed: Failed) -> Result<Flock<File>, LockError> {
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(mut file, errno)| match errno {
        Errno::EWOULDBLOCK => {
            let mut note = Vec::new();
            let read = Read::by_ref(&mut file).take(4096).read_to_end(&mut note);
            let note = read.map_or("", |_| first_line(&note));
            LockError::Held(path.to_owned(), note.to_owned())
        }
        errno => failed(path.to_owned(), errno.into()),
    })
}

/// What a holder said of itself; nothing where it is not what a terminal shows as itself.
fn first_line(note: &[u8]) -> &str {
    let line = note.split(|b| *b == b'\n').next().unwrap_or_default();
    let is_text = line.iter().all(|b| b.is_ascii_graphic() || *b == b' ');
    match std::str::from_utf8(line) {
        Ok(text) if is_text => text,
        _ => "",
    }
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
    fn no_link_leads_to_a_lock_file_outside_of_its_system() {
        let dir = tempfile::tempdir().unwrap();
        let (system, outside) = (dir.path().join("system"), dir.path().join("outside"));
        fs::create_dir(&system).unwrap();
        fs::create_dir(&outside).unwrap();
        let root = Root::at(&system).unwrap();
        let lock = || WriteLock::in_root(&root, Path::new("run/x/lock"));
        for link in ["run", "run/x", "run/x/lock"] {
            let link = system.join(link);
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(&outside, &link).unwrap();
            let refused = lock().unwrap_err().to_string();
            assert!(refused.contains("on the way to it, is a link"), "{refused}");
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
            fs::remove_file(link).unwrap();
        }
        let first = lock().unwrap();
        assert!(matches!(lock(), Err(LockError::Held(..))));
        drop(first);
        assert!(lock().is_ok());
    }

    #[test]
    fn bytes_that_no_holder_writes_are_not_shown() {
        assert_eq!(first_line(b"pid 7\nx"), "pid 7");
        for note in [
            &b""[..],
            b"\n",
            b"\xff\xfe",
            b"\x1b[2Jpid 7\n",
            "pid 7\u{9b}".as_bytes(),
        ] {
            assert_eq!(first_line(note), "");
        }
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
