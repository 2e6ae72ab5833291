//! `run` and `shell`: a command of the administrator in the new snapshot.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

use super::session::{Session, Worked};
use crate::sandbox::{Output, RunError};
use crate::sys::cmd::Argv;
use crate::sys::out;
use crate::transaction::Need;

/// Runs `command`; its status becomes ours, and decides whether the snapshot is the next system.
pub(super) fn run(session: &Session, command: Vec<OsString>) -> Result<ExitCode> {
    let interactive = session.is_interactive(true);
    session.transact(
        Need::Snapshot,
        false,
        |_| Vec::new(),
        |_, open| {
            let argv = Argv::new(command);
            let name = argv.to_string();
            match open.run(argv, false, interactive, Output::Inherit) {
                Ok(exit) => Ok(Worked::by_code(exit.code, &name)),
                // the status that a shell has for it, as `env` and `chroot` do
                Err(e) => match e.downcast_ref::<RunError>().and_then(RunError::code) {
                    Some(code) => Ok(Worked::Failed(code, e.to_string())),
                    None => Err(e),
                },
            }
        },
    )
}

/// Opens a shell; leaving it with status 0 makes the snapshot the next system.
pub(super) fn shell(session: &Session) -> Result<ExitCode> {
    session.transact(
        Need::Snapshot,
        true,
        |_| Vec::new(),
        |_, open| {
            out::say(format_args!(
                "A shell in snapshot {}: `exit` makes it the next system, `exit 1` drops it.",
                open.id()
            ));
            let exit = open.run(Argv::new(["bash"]), true, true, Output::Inherit)?;
            Ok(Worked::by_code(exit.code, "the shell"))
        },
    )
}
