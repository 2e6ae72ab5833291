//! `run` and `shell`: a command of the administrator in the new snapshot.

use anyhow::Result;

use super::session::{Session, Worked};
use crate::sandbox::{Output, RunError};
use crate::sys::cmd::Argv;
use crate::sys::out;
use crate::transaction::Open;

/// Runs a command; its status becomes ours, and decides whether the snapshot is the next system.
pub(super) fn run(session: &Session, argv: &Argv, open: &Open<'_>) -> Result<Worked> {
    let interactive = session.is_interactive(true);
    match open.run(argv.clone(), false, interactive, Output::Inherit) {
        Ok(exit) => Ok(Worked::by_code(exit.code, &argv.to_string())),
        // the status that a shell has for it, as `env` and `chroot` do
        Err(e) => match e.downcast_ref::<RunError>().and_then(RunError::code) {
            Some(code) => Ok(Worked::Failed(code, e.to_string())),
            None => Err(e),
        },
    }
}

/// Opens a shell; leaving it with status 0 makes the snapshot the next system.
pub(super) fn shell(open: &Open<'_>) -> Result<Worked> {
    out::say(format_args!(
        "A shell in snapshot {}: `exit` makes it the next system, `exit 1` drops it.",
        open.id()
    ));
    let exit = open.run(Argv::new(["bash"]), true, true, Output::Inherit)?;
    Ok(Worked::by_code(exit.code, "the shell"))
}
