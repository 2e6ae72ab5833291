//! `status`: what runs, what boots next and why.

use std::process::ExitCode;

use anyhow::Result;

use super::session::Session;
use crate::report::{self, Outlook, Status};

/// Prints the status.
pub(super) fn status(session: &Session, json: bool) -> Result<ExitCode> {
    let system = session.system()?;
    let inventory = system.store.inventory()?;
    let outlook = Outlook::of(&system.root, &system.store, &inventory);
    let status = Status::new(&inventory)
        .with_entry(&system.root, &system.store, &inventory)
        .with_etc(outlook)
        .with_unmerged(report::unmerged(&system.store, &inventory));
    session.answer(&status, json)
}
