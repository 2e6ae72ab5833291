//! `offline`: updates in a boot of their own.

use std::process::ExitCode;

use anyhow::{Result, bail};

use super::args::Offline;
use super::session::Session;

/// Does what was asked for.
pub(super) fn offline(_: &Session, action: &Offline) -> Result<ExitCode> {
    match action {
        Offline::Prepare => bail!("`offline prepare` is not there yet"),
        Offline::Run => bail!("`offline run` is not there yet"),
    }
}
