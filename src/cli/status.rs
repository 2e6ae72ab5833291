//! `status`: what runs, what boots next and why.

use std::process::ExitCode;

use anyhow::Result;

use super::session::Session;
use crate::report::Status;

/// Prints the status.
pub(super) fn status(session: &Session, json: bool) -> Result<ExitCode> {
    let inventory = session.system()?.store.inventory()?;
    session.answer(&Status::new(&inventory), json)
}
