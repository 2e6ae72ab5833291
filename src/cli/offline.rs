//! `offline`: updates in a boot of their own.

mod prepare;

use std::process::ExitCode;

use anyhow::{Result, bail};

use super::args::Offline;
use super::session::Session;

/// Does what was asked for.
pub(super) fn offline(session: &Session, action: Offline) -> Result<ExitCode> {
    match action {
        Offline::Prepare { strategy, update } => prepare::prepare(session, strategy, update),
        Offline::Run => bail!("`offline run` is not there yet"),
    }
}
