//! `open`: the beginning of a transaction that other processes continue.

use std::process::ExitCode;

use anyhow::Result;

use super::super::session::Session;
use crate::sys::out;
use crate::transaction::Open;

/// Makes a transaction, prints its number and leaves it open.
pub(super) fn open(session: &Session) -> Result<ExitCode> {
    let (system, lock) = super::begin(session)?;
    let options = session.transaction(&system, super::frame());
    let open = Open::begin(&system, &lock, options)?;
    // a caller that cannot read the number cannot end it either
    if let Err(e) = out::answer(&format!("ID: {}\n", open.id())) {
        return Err(open.abort_because(e.into()));
    }
    open.park()?;
    Ok(ExitCode::SUCCESS)
}
