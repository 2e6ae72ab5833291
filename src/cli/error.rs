//! From an error to words and an exit code. The one place that prints why something failed.

use std::fmt;
use std::io;
use std::process::ExitCode;

use anyhow::Error;

use crate::package::Failure;
use crate::sys::out;

/// Exit code of everything that failed; nothing has changed then.
pub(super) const FAILED: u8 = 1;

/// Prints what clap has to say: help and version are no failures, anything else is, with this exit code.
pub(super) fn usage(error: &clap::Error, code: u8) -> ExitCode {
    let is_failure = error.use_stderr();
    match error.print() {
        Ok(()) if !is_failure => ExitCode::SUCCESS,
        _ => ExitCode::from(code),
    }
}

/// Prints an error with its causes, the last lines of the program that failed, and what to do.
pub(super) fn report(error: &Error) -> ExitCode {
    report_by(error, |text| out::error(text))
}

/// The same without a word before the error, as systemd's programs print it.
pub(super) fn report_alone(error: &Error) -> ExitCode {
    report_by(error, |text| out::error_alone(text))
}

fn report_by(error: &Error, tell: fn(fmt::Arguments<'_>)) -> ExitCode {
    // whoever reads our output has seen enough (`list | head`)
    if error
        .downcast_ref::<io::Error>()
        .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    {
        return ExitCode::from(FAILED);
    }
    tell(format_args!("{error:#}"));
    if let Some(failure) = error.downcast_ref::<Failure>() {
        let said = |line: &str| {
            line.trim_end_matches('.')
                .eq_ignore_ascii_case(&failure.message)
        };
        for line in failure.details.iter().filter(|line| !said(line)) {
            out::complaint(format_args!("  {line}"));
        }
        if !failure.hint.is_empty() {
            out::complaint(failure.hint);
        }
    } else if let Some(hint) = error.chain().find_map(no_room) {
        out::complaint(hint);
    }
    ExitCode::from(FAILED)
}

/// What to do when something failed since there was no room for it. `df` may show plenty: btrfs has room for data
/// and room for its own metadata.
fn no_room(cause: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    match cause.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::StorageFull => Some(
            "The file system is full, of data or of metadata (`btrfs filesystem usage` tells which). Delete old snapshots \
             or other files and try again.",
        ),
        io::ErrorKind::QuotaExceeded => Some(
            "The limit of a quota group is reached (`btrfs qgroup show -re` shows them). Delete old snapshots or raise \
             the limit (`btrfs qgroup limit`) and try again.",
        ),
        _ => None,
    }
}
