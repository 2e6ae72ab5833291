//! Layer 4: what a person types and reads.
//!
//! Owns arguments, exit codes and words; one file per command. Nothing imports this module but the binaries.

pub mod args;
mod boot_complete;
mod discard;
mod error;
mod list;
mod pkg;
mod progress;
mod rollback;
mod run;
mod session;
mod status;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use self::args::{Cli, Command};
use self::session::Session;
use crate::package::Action;
use crate::sandbox;
use crate::sys::out;

/// The program `transactional-update`.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(code) = sandbox::run_if_asked() {
        return code;
    }
    let cli = match Cli::try_parse_from(args::normalize(std::env::args_os())) {
        Ok(cli) => cli,
        Err(e) => return error::usage(&e),
    };
    out::set_level(match (cli.options.quiet, cli.options.verbose) {
        (true, _) => out::Level::Quiet,
        (_, true) => out::Level::Verbose,
        _ => out::Level::Normal,
    });
    dispatch(cli).unwrap_or_else(|e| error::report(&e))
}

fn dispatch(cli: Cli) -> Result<ExitCode> {
    let session = Session::new(cli.options);
    match cli.command {
        Command::Pkg { action } => pkg::pkg(&session, action),
        Command::Dup { args } => pkg::upgrade(&session, Action::DistUpgrade, args),
        Command::Up { args } => pkg::upgrade(&session, Action::Update, args),
        Command::Patch { args } => pkg::upgrade(&session, Action::Patch, args),
        Command::Run { command } => run::run(&session, command),
        Command::Shell => run::shell(&session),
        Command::Rollback { target } => rollback::rollback(&session, target.as_deref()),
        Command::Discard { snapshot } => discard::discard(&session, snapshot),
        Command::Status { json } => status::status(&session, json),
        Command::List { json } => list::list(&session, json),
        Command::BootComplete => boot_complete::boot_complete(&session),
    }
}
