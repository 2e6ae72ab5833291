//! `reboot`: by the method that is named.

use std::process::ExitCode;

use anyhow::Result;

use super::super::reboot;
use super::super::recover;
use super::super::session::Session;
use crate::config::{Origin, RebootMethod, Value};
use crate::sys::out;

/// Reboots; the configuration says nothing here, callers pass the method on.
pub(super) fn reboot(session: &Session, method: RebootMethod) -> Result<ExitCode> {
    let mut system = session.system_to_change()?;
    // what is half switched to is completed or undone; when that fails, a reboot may be what helps
    recover::unless_locked(&system)
        .map(drop)
        .unwrap_or_else(|e| out::warn(format_args!("{e:#}")));
    system.config.reboot_method = Value {
        value: method,
        origin: Origin::CommandLine,
    };
    reboot::reboot(session, &system)?;
    Ok(ExitCode::SUCCESS)
}
