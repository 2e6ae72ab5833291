//! The program `tukit`: single steps of a transaction, for other programs. Its command line is older than this
//! project and is kept as it is known.

mod abort;
pub mod args;
mod call;
mod close;
mod execute;
mod open;
mod reboot;
mod rollback;
mod snapshots;

use std::process::ExitCode;

use anyhow::Result;

use self::args::{Command, LogTarget};
use super::error;
use super::session::{Extra, Frame, Session};
use crate::sandbox;
use crate::sys::lock::WriteLock;
use crate::sys::out;
use crate::transaction::{self, BootFiles, Need, PluginError, Step, System};

/// The program `tukit`.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(code) = sandbox::run_if_asked() {
        return code;
    }
    let cli = match args::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(e) => return error::usage(&e, error::FAILED),
    };
    let Some(command) = cli.command else {
        return version();
    };
    let options = cli.options;
    out::set_level(
        match (
            options.logs_to(LogTarget::Console),
            options.quiet,
            options.verbose,
        ) {
            (false, ..) => out::Level::Silent,
            (_, true, _) => out::Level::Quiet,
            (_, _, true) => out::Level::Verbose,
            _ => out::Level::Normal,
        },
    );
    let extra = Extra {
        description: options.description.clone(),
        settings: options.option.clone(),
        no_log: !options.logs_to(LogTarget::Syslog),
    };
    let fields = options.fields.clone();
    let session = Session::of("tukit", options.into(), extra);
    dispatch(&session, command, &fields).unwrap_or_else(|e| {
        let code = error::report(&e);
        // callers know the status of a plugin that stops them
        let plugin = e.downcast_ref::<PluginError>();
        plugin.map_or(code, |plugin| ExitCode::from(plugin.code))
    })
}

fn dispatch(session: &Session, command: Command, fields: &[args::Field]) -> Result<ExitCode> {
    match command {
        Command::Execute { command } => execute::execute(session, command),
        Command::Open => open::open(session),
        Command::Call { id, command } => call::call(session, id, command, Step::Execute),
        Command::Callext { id, command } => call::call(session, id, command, Step::CallExt),
        Command::Close { id } => close::close(session, id),
        Command::Abort { id } => abort::abort(session, id),
        Command::Rollback { id } => rollback::rollback(session, id),
        Command::Snapshots { fields: own } => {
            let fields = if own.is_empty() { fields } else { &own };
            snapshots::snapshots(session, fields)
        }
        Command::Reboot { method } => reboot::reboot(session, method),
    }
}

/// The version alone, as callers compare it.
fn version() -> ExitCode {
    match out::answer(concat!(env!("CARGO_PKG_VERSION"), "\n")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(error::FAILED),
    }
}

/// The system to change, and the right to.
fn begin(session: &Session) -> Result<(System, WriteLock)> {
    let system = session.system_to_change()?;
    transaction::not_inside_another()?;
    let lock = system.lock()?;
    Ok((system, lock))
}

/// What a transaction of any command has to offer.
fn frame() -> Frame {
    Frame {
        need: Need::Snapshot,
        drop_if_unchanged: false,
        tell_live: false,
        read_only: Vec::new(),
        boot_files: BootFiles::default(),
        restart: None,
    }
}
