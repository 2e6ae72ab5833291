//! The program `create-dirs-from-rpmdb`: what can be typed, and the way from there to an exit code.
//!
//! It runs at every boot, before almost everything else: it keeps no log file, and reads the configuration once.

mod json;
mod words;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};

pub use json::Answer;

use super::error;
use crate::config::{Config, ConfigError, File};
use crate::dirs::{self, Request};
use crate::rpmdb::Prefix;
use crate::sys::{Root, out};

/// Exit code for a command line that is not understood (sysexits.h).
const USAGE: u8 = 64;

/// Make the directories that packages own in /var, /srv and /opt and that are missing there.
#[derive(Debug, Parser)]
#[command(
    name = "create-dirs-from-rpmdb",
    version,
    max_term_width = 100,
    after_help = "Exit status: 0 all are there, nothing to do, or no RPM database; 1 --check: something is missing, or it failed; \
                  64 wrong usage; 65 some are deferred or refused, or a package cannot be read; 66 the database cannot be read; \
                  73 some could not be made. With 65 and 73 the rest is done."
)]
pub struct CreateDirs {
    /// The system boots: lines of tmpfiles.d that are only for that apply as well, and a mistake in the configuration
    /// stops nothing
    #[arg(long)]
    pub boot: bool,
    /// Work on the system that is mounted at DIR
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Where the RPM database is in that system (default: /usr/lib/sysimage/rpm, else /var/lib/rpm)
    #[arg(long, value_name = "DIR")]
    pub db: Option<PathBuf>,
    /// Make those below DIR; can be given several times, and takes the place of CREATE_DIRS_PREFIXES
    #[arg(long, value_name = "DIR", value_parser = prefix)]
    pub prefix: Vec<Prefix>,
    /// Make none below DIR; can be given several times, and takes the place of CREATE_DIRS_EXCLUDE
    #[arg(long, value_name = "DIR", value_parser = prefix)]
    pub exclude_prefix: Vec<Prefix>,
    /// Print what would be done, and do nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// The same, with exit status 1 when something is missing
    #[arg(long)]
    pub check: bool,
    /// Make also those that a package owns but does not bring (%ghost)
    #[arg(long)]
    pub ghost: bool,
    /// Read the whole database, also when nothing has changed since the last run
    #[arg(long)]
    pub force: bool,
    /// Check each header of the database against its digest
    #[arg(long)]
    pub verify_digests: bool,
    /// Call systemd-tmpfiles for the same directories afterwards, unless there was nothing to do
    #[arg(long)]
    pub tmpfiles: bool,
    /// Print the result as JSON to standard output
    #[arg(long)]
    pub json: bool,
    /// Tell only what went wrong
    #[arg(short, long)]
    pub quiet: bool,
    /// Tell each directory that is made, differs or is left out
    #[arg(short, long, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Tell also those that are as they should be, and what is asked for
    #[arg(long, conflicts_with = "quiet")]
    pub debug: bool,
    /// Print how it is called
    #[arg(long)]
    pub usage: bool,
}

/// The command line as clap knows it.
#[must_use]
pub fn command() -> clap::Command {
    CreateDirs::command()
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    match CreateDirs::try_parse() {
        Err(e) => error::usage(&e, USAGE),
        Ok(asked) => {
            out::tell_priorities();
            out::set_level(asked.level());
            asked.go().unwrap_or_else(|e| error::report(&e))
        }
    }
}

impl CreateDirs {
    fn level(&self) -> out::Level {
        match (self.quiet, self.verbose || self.debug) {
            (true, _) => out::Level::Quiet,
            (_, true) => out::Level::Verbose,
            _ => out::Level::Normal,
        }
    }

    fn go(&self) -> Result<ExitCode> {
        if self.usage {
            out::answer(&format!("{}\n", command().render_usage()))?;
            return Ok(ExitCode::SUCCESS);
        }
        let root = match &self.root {
            None => Root::live(),
            Some(dir) => match Root::at(dir) {
                Ok(root) => root,
                Err(e) => {
                    out::error(format_args!("--root {}: {e}", out::path(dir)));
                    return Ok(ExitCode::from(USAGE));
                }
            },
        };
        let request = self.request(&self.config(&root)?)?;
        if self.debug {
            out::detail(format_args!("Asked for: {request:?}"));
        }
        let report = dirs::run(&root, &request)?;
        words::tell(&report, self.debug);
        if self.json {
            let answer = serde_json::to_string_pretty(&Answer::of(&report))?;
            out::answer(&(answer + "\n"))?;
        }
        Ok(ExitCode::from(report.code(self.check)))
    }

    /// The configuration of the system at `root`. At boot a mistake in it must not keep directories from being made, so
    /// that then the defaults are taken.
    fn config(&self, root: &Root) -> Result<Config, ConfigError> {
        let config = match Config::load_only(root, File::TransactionalUpdate) {
            Err(e) if self.boot => {
                out::warn(format_args!(
                    "{e}; until that is mended, nothing in this file counts"
                ));
                Config::default()
            }
            other => other?,
        };
        config.warnings.iter().for_each(out::warn);
        Ok(config)
    }

    /// What is asked for. An option takes the place of its key.
    fn request(&self, config: &Config) -> Result<Request> {
        let or_key = |typed: &[Prefix], key: &[PathBuf]| {
            if typed.is_empty() {
                let prefixes = key.iter().map(|dir| Prefix::new(dir));
                prefixes.collect::<Result<_, _>>()
            } else {
                Ok(typed.to_vec())
            }
        };
        let chosen = |typed: &[Prefix], key| {
            or_key(typed, key)
                .map_err(anyhow::Error::msg)
                .context("which directories to make")
        };
        Ok(Request {
            prefixes: chosen(&self.prefix, &config.create_dirs_prefixes.value)?,
            excluded: chosen(&self.exclude_prefix, &config.create_dirs_exclude.value)?,
            with_ghosts: self.ghost || config.create_dirs_ghost.value,
            database: self.db.clone(),
            verify_digests: self.verify_digests,
            dry_run: self.dry_run || self.check,
            force: self.force,
            tmpfiles: self.tmpfiles,
            boot: self.boot,
        })
    }
}

fn prefix(text: &str) -> Result<Prefix, String> {
    Prefix::new(Path::new(text))
}
