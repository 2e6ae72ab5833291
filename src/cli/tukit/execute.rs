//! `execute`: a whole transaction around one command.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

use super::super::error::FAILED;
use super::super::run;
use super::super::session::{Ended, Frame, Session};
use crate::sys::cmd::Argv;

/// Runs `command`, or a shell without one, in a new snapshot, which is the next system when that succeeds. Unlike
/// `call` it does not pass the status of a command that fails.
pub(super) fn execute(session: &Session, command: Vec<OsString>) -> Result<ExitCode> {
    let (system, lock) = super::begin(session)?;
    let is_shell = command.is_empty();
    let argv = Argv::new(command);
    let frame = Frame {
        tell_live: is_shell,
        ..super::frame()
    };
    let ended = session.transact(&system, &lock, frame, |open| {
        if is_shell {
            run::shell(open)
        } else {
            run::run(session, &argv, open)
        }
    })?;
    Ok(match ended {
        Ended::Failed(_) => ExitCode::from(FAILED),
        Ended::Published | Ended::Nothing => ExitCode::SUCCESS,
    })
}
