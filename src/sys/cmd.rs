//! The one door to other programs: argv as data, never a shell string.

use std::ffi::OsString;
use std::fmt;
use std::process::Command;

use super::root::{SEARCH_PATH, SELF_EXE};

/// A command line, printed so that a person can read it and type it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argv(Vec<OsString>);

impl Argv {
    /// A program with its arguments.
    pub fn new(words: impl IntoIterator<Item = impl Into<OsString>>) -> Argv {
        Argv(words.into_iter().map(Into::into).collect())
    }

    /// All words, the program first.
    #[must_use]
    pub fn words(&self) -> &[OsString] {
        &self.0
    }

    /// The program, as it was given; empty for an empty command line.
    #[must_use]
    pub fn program(&self) -> &std::ffi::OsStr {
        self.0.first().map_or(std::ffi::OsStr::new(""), |p| p)
    }
}

impl fmt::Display for Argv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, word) in self.0.iter().enumerate() {
            let word = word.to_string_lossy();
            let gap = if i == 0 { "" } else { " " };
            let plain = !word.is_empty()
                && word
                    .chars()
                    .all(|c| c.is_alphanumeric() || "-_./=:,+@%^~".contains(c));
            if plain {
                write!(f, "{gap}{word}")?;
            } else {
                write!(f, "{gap}'{}'", word.replace('\'', r"'\''"))?;
            }
        }
        Ok(())
    }
}

/// A command for `argv`, still without standard streams. `trusted_path` looks the program up in the system's
/// directories only; otherwise the caller's PATH counts, as for a command an administrator typed.
#[must_use]
pub fn command(argv: &Argv, trusted_path: bool) -> Command {
    let mut command = new(argv.program());
    command.args(argv.words().iter().skip(1));
    if trusted_path {
        command.env("PATH", SEARCH_PATH);
    }
    command
}

/// A command that starts this very program again, with a role of its own.
#[must_use]
pub fn this_program() -> Command {
    new(SELF_EXE.as_ref())
}

#[allow(clippy::disallowed_methods)] // the one place that may
fn new(program: &std::ffi::OsStr) -> Command {
    Command::new(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_reads_as_it_would_be_typed() {
        let argv = Argv::new(["zypper", "install", "-y", "a b", "it's", ""]);
        assert_eq!(argv.to_string(), r"zypper install -y 'a b' 'it'\''s' ''");
        assert_eq!(argv.program(), "zypper");
    }
}
