//! Why a database cannot be read at all. One bad package is no error but a [`super::BadPackage`].

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a database cannot be read.
#[derive(Debug)]
pub enum RpmdbError {
    /// A file of it, or what says which one it is, cannot be opened or read.
    Read(PathBuf, io::Error),
    /// The file is not what its name says, or damaged as a whole.
    Format(PathBuf, String),
    /// It was changed while it was read. The facade reads again; a backend returns it for that.
    Changed(PathBuf),
    /// It was changed at each of several attempts to read it.
    Busy(PathBuf),
    /// rpm, which reads what this program does not, failed; the text is what it said.
    Query(PathBuf, String),
}

impl RpmdbError {
    /// The error of reading `path`.
    pub(super) fn read(path: &Path) -> impl FnOnce(io::Error) -> RpmdbError {
        let path = path.to_owned();
        move |e| RpmdbError::Read(path, e)
    }

    /// `path` is damaged: `why`.
    pub(super) fn format(path: &Path, why: impl Into<String>) -> RpmdbError {
        RpmdbError::Format(path.to_owned(), why.into())
    }
}

impl fmt::Display for RpmdbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RpmdbError::Read(path, e) => {
                write!(
                    f,
                    "the RPM database cannot be read: {}: {e}",
                    path.display()
                )
            }
            RpmdbError::Format(path, why) => write!(
                f,
                "the RPM database {} is damaged or newer than this program: {why}; see what `rpm -qa` says, and rebuild it \
                 with `rpmdb --rebuilddb` if that fails too",
                path.display()
            ),
            RpmdbError::Changed(path) | RpmdbError::Busy(path) => write!(
                f,
                "the RPM database {} is changed by another program all the time; try again when it has ended",
                path.display()
            ),
            RpmdbError::Query(path, why) => write!(
                f,
                "rpm cannot read the RPM database {}: {why}",
                path.display()
            ),
        }
    }
}

impl std::error::Error for RpmdbError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RpmdbError::Read(_, e) => Some(e),
            _ => None,
        }
    }
}
