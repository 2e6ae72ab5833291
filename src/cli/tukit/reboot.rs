//! `reboot`: by the method that is named.

use std::process::ExitCode;

use anyhow::Result;

use super::super::reboot;
use super::super::session::Session;
use crate::config::{Origin, RebootMethod, Value};

/// Reboots; the configuration says nothing here, callers pass the method on.
pub(super) fn reboot(session: &Session, method: RebootMethod) -> Result<ExitCode> {
    let mut system = session.system_to_change()?;
    system.config.reboot_method = Value {
        value: method,
        origin: Origin::CommandLine,
    };
    reboot::reboot(session, &system)?;
    Ok(ExitCode::SUCCESS)
}
