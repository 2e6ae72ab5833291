//! What can be typed. First resolved into these types, then acted upon by one file per command.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::snapshot::SnapshotId;

/// Build the next system in a new snapshot. The running system is never touched.
#[derive(Debug, Parser)]
#[command(
    name = "transactional-update",
    version,
    disable_help_subcommand = true,
    max_term_width = 100
)]
#[command(
    after_help = "Exit status: 0 done; `run` and `shell`: the status of the command (127: not found, \
                  126: not executable); 1 failed, nothing changed."
)]
pub struct Cli {
    /// Options of all commands.
    #[command(flatten)]
    pub options: Options,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of all commands; they stand before the command.
#[derive(Debug, Args)]
pub struct Options {
    /// Build upon the pending update, or upon snapshot N (default: upon the pending update when it descends
    /// from the running system, else upon the running system)
    #[arg(short = 'c', long = "continue", value_name = "N", num_args = 0..=1, require_equals = true)]
    #[arg(overrides_with = "no_continue")]
    pub base: Option<Option<SnapshotId>>,
    /// Build upon the running system
    #[arg(long, overrides_with = "base")]
    pub no_continue: bool,
    /// Answer the package manager's questions yourself (default for pkg)
    #[arg(short, long, overrides_with = "non_interactive")]
    pub interactive: bool,
    /// Let the package manager take its defaults (default for dup, up and patch)
    #[arg(short, long, overrides_with = "interactive")]
    pub non_interactive: bool,
    /// Drop the snapshot if nothing in it changed
    #[arg(short, long)]
    pub drop_if_no_change: bool,
    /// Keep the snapshot of a failed run
    #[arg(short, long)]
    pub keep: bool,
    /// Work on the system that is mounted at DIR (rescue systems, images)
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Print errors and the command's own output only
    #[arg(short, long)]
    pub quiet: bool,
    /// Print each step
    #[arg(short, long, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Accepted for older scripts; there is nothing to switch off
    #[arg(long, hide = true)]
    pub no_selfupdate: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Install, remove or update packages
    #[command(visible_alias = "package", alias = "ptf")]
    Pkg {
        /// What to do with them.
        #[command(subcommand)]
        action: Pkg,
    },
    /// Upgrade to the newest state of the repositories
    #[command(alias = "dist-upgrade")]
    Dup {
        /// Further options for the package manager
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        args: Vec<OsString>,
    },
    /// Update all packages
    #[command(alias = "update")]
    Up {
        /// Further options for the package manager
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        args: Vec<OsString>,
    },
    /// Install patches
    Patch {
        /// Further options for the package manager
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        args: Vec<OsString>,
    },
    /// Run a command in the new snapshot
    Run {
        /// The command and its arguments
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            required = true,
            value_name = "CMD"
        )]
        command: Vec<OsString>,
    },
    /// Open a shell in the new snapshot
    Shell,
    /// Boot the running system next (drops a pending update), or snapshot N, or the last one that ran before
    Rollback {
        /// Number of a snapshot, or `last`
        #[arg(value_name = "N|last")]
        target: Option<String>,
    },
    /// Drop the pending update, or a snapshot that was kept after a failure
    Discard {
        /// Number of the snapshot
        #[arg(value_name = "N")]
        snapshot: Option<SnapshotId>,
    },
    /// Show what runs, what boots next and why
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the snapshots
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Note that this boot has succeeded (for the unit)
    #[command(hide = true)]
    BootComplete,
}

/// What to do with packages.
#[derive(Debug, Subcommand)]
pub enum Pkg {
    /// Install packages or local .rpm files
    #[command(visible_alias = "in")]
    Install(Packages),
    /// Remove packages
    #[command(visible_alias = "rm")]
    Remove(Packages),
    /// Update packages
    #[command(visible_alias = "up")]
    Update(Update),
}

/// Packages and options for the package manager.
#[derive(Debug, Args)]
pub struct Packages {
    /// Packages, .rpm files, and options for the package manager
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true,
        value_name = "PKG|FILE"
    )]
    pub args: Vec<OsString>,
}

/// Packages to update; all of them without any.
#[derive(Debug, Args)]
pub struct Update {
    /// Packages, .rpm files, and options for the package manager
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "PKG|FILE"
    )]
    pub args: Vec<OsString>,
}

/// The definition of the command line, for man pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Puts the known spelling `-c N` and `--continue N` into the form `--continue=N`. Only words before the
/// command are looked at: what follows `run` or `pkg` belongs to them.
pub(super) fn normalize(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args = args.into_iter().peekable();
    let mut out: Vec<OsString> = args.next().into_iter().collect();
    let mut in_options = true;
    while let Some(arg) = args.next() {
        let is_continue = in_options && (arg == "-c" || arg == "--continue");
        let number = args
            .peek()
            .and_then(|next| next.to_str())
            .filter(|n| n.parse::<SnapshotId>().is_ok());
        match number {
            Some(number) if is_continue => {
                out.push(format!("--continue={number}").into());
                args.next();
            }
            _ => {
                // `--root DIR` is the one option whose value is a word of its own
                let takes_value = arg == "--root";
                in_options &= is_option(&arg);
                out.push(arg);
                if takes_value && in_options {
                    out.extend(args.next());
                }
            }
        }
    }
    out
}

fn is_option(arg: &OsStr) -> bool {
    arg.as_encoded_bytes().starts_with(b"-") && arg != "--"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        let words = ["transactional-update"]
            .into_iter()
            .chain(line.split_whitespace())
            .map(OsString::from);
        Cli::try_parse_from(normalize(words))
    }

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn continue_takes_a_number_with_a_blank_or_an_equals_sign_or_none() {
        for (line, base) in [
            ("-c 5 dup", Some(SnapshotId::new(5))),
            ("--continue=5 dup", Some(SnapshotId::new(5))),
            ("--root /mnt --continue 5 dup", Some(SnapshotId::new(5))),
            ("-c dup", Some(None)),
            ("--continue pkg install 5", Some(None)),
            ("dup", None),
            ("-c 5 --no-continue dup", None),
        ] {
            assert_eq!(parse(line).unwrap().options.base, base, "{line}");
        }
    }

    #[test]
    fn everything_behind_run_belongs_to_the_command() {
        let cli = parse("--quiet run zypper -c 5 --xmlout -q").unwrap();
        let Command::Run { command } = cli.command else {
            panic!("not run")
        };
        assert_eq!(command, ["zypper", "-c", "5", "--xmlout", "-q"]);
        assert!(cli.options.quiet && cli.options.base.is_none());
    }

    #[test]
    fn known_spellings_of_package_commands_are_accepted() {
        for line in [
            "pkg in foo",
            "package install -y foo",
            "pkg rm foo",
            "ptf install foo",
            "pkg up",
            "pkg update foo",
        ] {
            assert!(
                matches!(parse(line).unwrap().command, Command::Pkg { .. }),
                "{line}"
            );
        }
        assert!(matches!(
            parse("dist-upgrade").unwrap().command,
            Command::Dup { .. }
        ));
        assert!(matches!(
            parse("update").unwrap().command,
            Command::Up { .. }
        ));
        assert!(parse("--no-selfupdate -n dup").is_ok());
        assert!(
            parse("").is_err()
                && parse("pkg").is_err()
                && parse("run").is_err()
                && parse("nonsense").is_err()
        );
    }
}
