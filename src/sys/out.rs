//! What a person reads. Everything the programs print goes through here.
//!
//! Standard output carries only what was asked for (a report, the output of the command that was run); what
//! is told about the work goes to standard error, so that `run zypper --xmlout` stays XML. Where that is the journal,
//! a program that keeps no log of its own can give each line its priority.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::OnceLock;

use nix::sys::stat;

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
static PRIORITIES: OnceLock<()> = OnceLock::new();

/// The variable that says which device and inode a unit's stream to the journal has (systemd.exec(5)).
const JOURNAL_STREAM: &str = "JOURNAL_STREAM";

/// Priority of a line in the journal (sd-daemon(3)).
#[derive(Debug, Clone, Copy)]
enum Priority {
    Error = 3,
    Warning = 4,
    Info = 6,
    Debug = 7,
}

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

/// Begins each line from now on with its priority, as the journal takes it from a unit, when standard error leads there.
pub fn tell_priorities() {
    let stream = std::env::var(JOURNAL_STREAM).unwrap_or_default();
    if stat::fstat(io::stderr()).is_ok_and(|s| stream == format!("{}:{}", s.st_dev, s.st_ino)) {
        PRIORITIES.get_or_init(|| ());
    }
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
        line(Priority::Info, &text.to_string());
    }
    tracing::info!("{text}");
}

/// Tells a step that only `--verbose` shows.
pub fn detail(text: impl fmt::Display) {
    if level() >= Level::Verbose {
        line(Priority::Debug, &text.to_string());
    }
    tracing::debug!("{text}");
}

/// Tells what deserves attention but stops nothing; also with `--quiet`.
pub fn warn(text: impl fmt::Display) {
    if level() >= Level::Quiet {
        line(Priority::Warning, &format!("Warning: {text}"));
    }
    tracing::warn!("{text}");
}

/// Tells why it failed.
pub fn error(text: impl fmt::Display) {
    line(Priority::Error, &format!("Error: {text}"));
    tracing::error!("{text}");
}

/// Tells why it failed, without a word before it: for a program whose texts others look for at the begin of a line.
pub fn error_alone(text: impl fmt::Display) {
    line(Priority::Error, &text.to_string());
    tracing::error!("{text}");
}

/// Tells more about an error or a warning.
pub fn complaint(text: impl fmt::Display) {
    if level() >= Level::Quiet {
        line(Priority::Warning, &text.to_string());
    }
    tracing::warn!("{text}");
}

fn line(priority: Priority, text: &str) {
    match (LINES.get(), PRIORITIES.get()) {
        (Some(print), _) => print(text),
        (None, Some(())) => {
            for line in text.lines() {
                plain(&format!("<{}>{line}", priority as u8));
            }
        }
        (None, None) => plain(text),
    }
}

/// Writes a line to standard error. Nobody is left to tell when that is closed.
pub fn plain(text: &str) {
    let line = format!("{text}\n");
    io::stderr().lock().write_all(line.as_bytes()).unwrap_or(());
}

/// Writes an answer to standard output.
///
/// # Errors
/// When the reader is gone or the disk is full.
pub fn answer(text: &str) -> io::Result<()> {
    answer_bytes(text.as_bytes())
}

/// Writes a piece of an answer that need not be text to standard output.
///
/// # Errors
/// As [`answer`].
pub fn answer_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}
