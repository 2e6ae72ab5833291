//! Registration with SUSEConnect, which runs outside of the snapshot and changes it.

use std::ffi::OsString;

use anyhow::{Result, bail};

use crate::sys::cmd::Argv;
use crate::transaction::{Open, Step, System};

pub(super) const SUSECONNECT: &str = "SUSEConnect";

/// Checks that the running system has the program.
///
/// # Errors
/// When it has not.
pub fn check(system: &System) -> Result<()> {
    if !system.has_program(SUSECONNECT)? {
        bail!("this system has no {SUSECONNECT}; install the package suseconnect-ng");
    }
    Ok(())
}

/// Calls it with `args`; returns its status.
///
/// # Errors
/// When it could not be started.
pub fn register(open: &Open<'_>, args: &[OsString]) -> Result<u8> {
    let root = [SUSECONNECT.into(), "--root".into(), open.top()?.into()];
    let argv = Argv::new(root.into_iter().chain(args.iter().cloned()));
    let run = || open.run_outside(argv.clone(), false);
    Ok(open.step(Step::CallExt, &argv, run)?.code)
}
