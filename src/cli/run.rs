//! `run` and `shell`: a command of the administrator in the new snapshot.

use anyhow::Result;

use super::session::{Session, Worked};
use crate::sandbox::{Output, RunError};
use crate::sys::cmd::Argv;
use crate::sys::out;
use crate::transaction::{Open, Step};

/// Runs a command; its status becomes ours, and decides whether the snapshot is the next system.
pub(super) fn run(session: &Session, argv: &Argv, open: &Open<'_>) -> Result<Worked> {
    let interactive = session.is_interactive(true);
    let run = || open.run(argv.clone(), false, interactive, Output::Inherit);
    match open.step(Step::Execute, argv, run) {
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
    let argv = Argv::new(["bash"]);
    let run = || open.run(argv.clone(), true, true, Output::Inherit);
    let exit = open.step(Step::Execute, &argv, run)?;
    Ok(Worked::by_code(exit.code, "the shell"))
}
