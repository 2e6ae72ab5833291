//! An error of the system with what was being done, for the layers below anyhow.

use std::fmt;
use std::io;

/// A system call or file operation that failed, and what it was for.
#[derive(Debug)]
pub struct Failure {
    doing: String,
    cause: io::Error,
}

impl Failure {
    /// A failure of `doing` ("deleting snapshot 42") by `cause`.
    pub fn new(doing: impl Into<String>, cause: impl Into<io::Error>) -> Failure {
        Failure {
            doing: doing.into(),
            cause: cause.into(),
        }
    }

    /// The error of the system.
    #[must_use]
    pub fn cause(&self) -> &io::Error {
        &self.cause
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.doing)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// Adds what was being done to an error of the system.
pub trait Doing<T> {
    /// Turns the error into a [`Failure`] of `doing`.
    ///
    /// # Errors
    /// The error that was there.
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|cause| Failure::new(doing(), cause))
    }
}
