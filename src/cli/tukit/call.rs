//! `call` and `callext`: a command in an open transaction, or beside it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::ExitCode;

use anyhow::{Error, Result};

use super::super::session::Session;
use crate::sandbox::{Output, RunError};
use crate::snapshot::SnapshotId;
use crate::sys::cmd::Argv;
use crate::sys::out;
use crate::transaction::{Open, PluginError, Step};

/// What stands for the directory where the snapshot is mounted.
const PLACE: &[u8] = b"{}";

/// Runs `command` in the open transaction `id`, which stays open however the command ends; its status becomes ours.
pub(super) fn call(
    session: &Session,
    id: SnapshotId,
    command: Vec<OsString>,
    step: Step,
) -> Result<ExitCode> {
    let (system, lock) = super::begin(session)?;
    let options = session.transaction(&system, super::frame());
    let open = Open::resume(&system, &lock, id, options)?;
    let argv = match step {
        Step::Execute => Argv::new(command),
        Step::CallExt => {
            let top = open.top()?.as_os_str();
            Argv::new(command.iter().map(|word| filled(word, top)))
        }
    };
    let interactive = session.is_interactive(true);
    let run = || match step {
        Step::Execute => open.run(argv.clone(), false, interactive, Output::Inherit),
        Step::CallExt => open.run_outside(argv.clone(), interactive),
    };
    match open.step(step, &argv, run) {
        Ok(exit) => {
            open.park()?;
            if exit.code != 0 {
                let code = exit.code;
                out::say(format_args!(
                    "{argv} ended with status {code}; transaction {id} stays open"
                ));
            }
            Ok(ExitCode::from(exit.code))
        }
        Err(e) if e.is::<PluginError>() => Err(open.abort_because(e)),
        Err(e) => not_run(open, e),
    }
}

/// What becomes of a command that did not run to its end.
fn not_run(open: Open<'_>, error: Error) -> Result<ExitCode> {
    let id = match open.park() {
        Ok(id) => id,
        Err(parking) => return Err(parking.context(format!("{error:#}; after that"))),
    };
    let error = error.context(format!("transaction {id} stays open"));
    match error.downcast_ref::<RunError>().and_then(RunError::code) {
        // the status that a shell has for it, as `env` and `chroot` do
        Some(code) => {
            out::error(format_args!("{error:#}"));
            Ok(ExitCode::from(code))
        }
        None => Err(error),
    }
}

/// `word` with the directory `top` in each place that is meant for it.
fn filled(word: &OsStr, top: &OsStr) -> OsString {
    let mut rest = word.as_bytes();
    let mut out = Vec::with_capacity(rest.len());
    while let Some(at) = rest.windows(PLACE.len()).position(|w| w == PLACE) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(top.as_bytes());
        rest = &rest[at + PLACE.len()..];
    }
    out.extend_from_slice(rest);
    OsString::from_vec(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_braces_is_the_directory_and_nothing_else_is() {
        for (word, expected) in [
            ("{}", "/top"),
            ("--root={}", "--root=/top"),
            ("{}/a:{}/b", "/top/a:/top/b"),
            ("{x}", "{x}"),
            ("{{}}", "{/top}"),
            ("", ""),
        ] {
            assert_eq!(filled(word.as_ref(), "/top".as_ref()), expected, "{word}");
        }
        let bytes = OsStr::from_bytes(b"\xff{}\xff");
        assert_eq!(filled(bytes, "/".as_ref()).as_bytes(), b"\xff/\xff");
    }
}
