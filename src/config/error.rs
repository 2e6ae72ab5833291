//! What is wrong with a configuration file.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Most characters of a line that are shown.
const SHOWN_MAX: usize = 80;

/// A configuration file that cannot be used. Names the file, the line, what is wrong with it, and what to do.
#[derive(Debug)]
pub struct ConfigError {
    /// The file or directory.
    pub path: PathBuf,
    /// The line, counted from one; None when it is about the whole file.
    pub line: Option<usize>,
    /// The text of the line or of the value, shortened; empty when it is about the whole file.
    pub text: String,
    /// What is wrong, in a few words.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
    source: Option<io::Error>,
}

impl ConfigError {
    /// A line that is not understood.
    pub(super) fn of_line(
        path: &Path,
        line: usize,
        text: &str,
        problem: &str,
        remedy: impl Into<String>,
    ) -> ConfigError {
        ConfigError {
            path: path.to_owned(),
            line: Some(line),
            text: shown(text),
            problem: problem.to_owned(),
            remedy: remedy.into(),
            source: None,
        }
    }

    /// A file that is not what it should be.
    pub(super) fn of_file(path: &Path, problem: &str, remedy: &str) -> ConfigError {
        ConfigError {
            path: path.to_owned(),
            line: None,
            text: String::new(),
            problem: problem.to_owned(),
            remedy: remedy.to_owned(),
            source: None,
        }
    }

    /// A file or directory that cannot be read.
    pub(super) fn unreadable(path: &Path, error: io::Error) -> ConfigError {
        let problem = format!("cannot be read: {error}");
        ConfigError {
            source: Some(error),
            ..ConfigError::of_file(path, &problem, "make it readable, or remove it")
        }
    }
}

/// Text as it is shown in a message: short, and without anything that could upset a terminal.
fn shown(text: &str) -> String {
    let mut chars = text.trim().chars();
    let mut out: String = chars
        .by_ref()
        .take(SHOWN_MAX)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    if chars.next().is_some() {
        out.push('…');
    }
    out
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.problem)?;
        if !self.text.is_empty() {
            write!(f, ": {}", self.text)?;
        }
        write!(f, "; {}", self.remedy)
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}
