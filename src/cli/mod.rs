//! Layer 4: what a person types and reads.
//!
//! Owns arguments, exit codes and words; one file per command. Nothing imports this module but the binaries.

mod apply;
pub mod args;
mod boot_complete;
mod chain;
mod cleanup;
pub mod create_dirs;
mod discard;
mod error;
mod images;
mod list;
mod migration;
mod offline;
mod pkg;
mod prepare_nextroot;
mod progress;
mod reboot;
mod recover;
mod register;
mod rollback;
mod run;
mod session;
mod setup;
mod snapper_plugin;
mod status;
mod step;
pub mod sync_etc;
pub mod sysupdate;
pub mod tukit;
mod words;

use std::process::ExitCode;

use anyhow::{Result, bail};

use self::args::{Command, Line};
use self::chain::Plan;
use self::session::Session;
use crate::sandbox;
use crate::sys::out;

/// The program `transactional-update`.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(code) = sandbox::run_if_asked() {
        return code;
    }
    let line = match args::parse(std::env::args_os()) {
        Ok(line) => line,
        Err(e) => return error::usage(&e, args::usage_code(std::env::args_os())),
    };
    out::set_level(match (line.options.quiet, line.options.verbose) {
        (true, _) => out::Level::Quiet,
        (_, true) => out::Level::Verbose,
        _ => out::Level::Normal,
    });
    dispatch(line).unwrap_or_else(|e| error::report(&e))
}

fn dispatch(line: Line) -> Result<ExitCode> {
    let session = Session::new(line.options);
    match chain::plan(&session, line.commands)? {
        Plan::Chain(chain) => chain.go(&session),
        Plan::Alone(command) => alone(&session, command),
    }
}

fn alone(session: &Session, command: Command) -> Result<ExitCode> {
    match command {
        Command::Rollback { target } => rollback::rollback(session, target.as_deref()),
        Command::Discard { snapshot } => discard::discard(session, snapshot),
        Command::Status { json } => status::status(session, json),
        Command::List { json } => list::list(session, json),
        Command::Offline { action } => offline::offline(session, action),
        Command::Recover => recover::recover(session),
        Command::BootComplete => boot_complete::boot_complete(session),
        Command::PrepareNextroot => prepare_nextroot::prepare_nextroot(session),
        Command::SnapperPlugin { stage, snapshot } => {
            snapper_plugin::snapper_plugin(session, &stage, snapshot)
        }
        chained => bail!("{chained:?} is a command of a chain"),
    }
}
