//! `list`: the snapshots.

use std::process::ExitCode;

use anyhow::Result;

use super::session::Session;
use crate::report::List;

/// Prints the list.
pub(super) fn list(session: &Session, json: bool) -> Result<ExitCode> {
    let inventory = session.system()?.store.inventory()?;
    session.answer(&List::new(&inventory), json)
}
