//! What a person reads. Everything the programs print goes through here.
//!
//! Standard output carries only what was asked for (a report, the output of the command that was run); what
//! is told about the work goes to standard error, so that `run zypper --xmlout` stays XML.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::OnceLock;

use super::root;

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// Only why it failed.
    Silent,
    /// Only errors and warnings.
    Quiet,
    /// What happens and what to do next.
    #[default]
    Normal,
    /// Each step, too.
    Verbose,
}

static LEVEL: OnceLock<Level> = OnceLock::new();
static LINES: OnceLock<fn(&str)> = OnceLock::new();

/// Sets how much is told; the first call counts.
pub fn set_level(level: Level) {
    LEVEL.get_or_init(|| level);
}

/// How much is told.
#[must_use]
pub fn level() -> Level {
    LEVEL.get().copied().unwrap_or_default()
}

/// Lets `print` write lines to the terminal, so that they do not tear a progress bar apart.
pub fn lines_go_through(print: fn(&str)) {
    LINES.get_or_init(|| print);
}

/// Whether a person watches standard error.
#[must_use]
pub fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Whether a person can answer a program that asks: it asks the terminal that controls this process, also
/// when standard input is something else.
#[must_use]
pub fn is_answered() -> bool {
    std::fs::File::open(root::TERMINAL).is_ok()
}

/// `path` for a line of text: as it is, or quoted and escaped where it has what a terminal would not show as itself.
#[must_use]
pub fn path(path: &Path) -> String {
    let (plain, escaped) = (path.display().to_string(), format!("{path:?}"));
    match escaped.strip_prefix('"').and_then(|e| e.strip_suffix('"')) {
        Some(inner) if inner == plain => plain,
        _ => escaped,
    }
}

/// Tells what happens.
pub fn say(text: impl fmt::Display) {
    if level() >= Level::Normal {
        line(&text.to_string());
    }
    tracing::info!("{text}");
}

/// Tells a step that only `--verbose` shows.
pub fn detail(text: impl fmt::Display) {
    if level() >= Level::Verbose {
        line(&text.to_string());
    }
    tracing::debug!("{text}");
}

/// Tells what deserves attention but stops nothing; also with `--quiet`.
pub fn warn(text: impl fmt::Display) {
    if level() >= Level::Quiet {
        line(&format!("Warning: {text}"));
    }
    tracing::warn!("{text}");
}

/// Tells why it failed.
pub fn error(text: impl fmt::Display) {
    line(&format!("Error: {text}"));
    tracing::error!("{text}");
}

/// Tells more about an error or a warning.
pub fn complaint(text: impl fmt::Display) {
    if level() >= Level::Quiet {
        line(&text.to_string());
    }
    tracing::warn!("{text}");
}

fn line(text: &str) {
    match LINES.get() {
        Some(print) => print(text),
        None => plain(text),
    }
}

/// Writes a line to standard error. Nobody is left to tell when that is closed.
pub fn plain(text: &str) {
    writeln!(io::stderr().lock(), "{text}").unwrap_or(());
}

/// Writes an answer to standard output.
///
/// # Errors
/// When the reader is gone or the disk is full.
pub fn answer(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
