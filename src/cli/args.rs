//! What can be typed. First resolved into these types, then acted upon by one file per command.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use super::error::FAILED;
use super::words::{self, Extent};
use crate::setup::CrashKernel;
use crate::snapshot::SnapshotId;

/// Build the next system in a new snapshot. The running system is never touched.
#[derive(Debug, Parser)]
#[command(
    name = "transactional-update",
    version,
    disable_help_subcommand = true,
    max_term_width = 100,
    override_usage = "transactional-update [OPTIONS] [COMMAND...]"
)]
#[command(
    after_help = "Commands that change the system can be chained (\"cleanup dup reboot\"); what follows pkg, migration, register and run \
                  belongs to them. Without a command: what UPDATE_METHOD says.\n\nExit status: 0 done; `run` and `shell`: the status of the command (127: not found, \
                  126: not executable); 1 failed, nothing changed."
)]
pub struct Cli {
    /// Options of all commands.
    #[command(flatten)]
    pub options: Options,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// A command line: its options, and its commands in the order in which they were typed.
#[derive(Debug)]
pub struct Line {
    /// Options of all commands.
    pub options: Options,
    /// What to do; nothing means what the configuration says.
    pub commands: Vec<Command>,
}

/// Options of all commands; they stand anywhere before what belongs to a command.
#[derive(Debug, Default, Args)]
pub struct Options {
    /// Build upon the pending update, or upon snapshot N (default: upon the pending update when it descends
    /// from the running system, else upon the running system)
    #[arg(short = 'c', long = "continue", value_name = "N", num_args = 0..=1, require_equals = true)]
    #[arg(overrides_with = "no_continue")]
    pub base: Option<Option<SnapshotId>>,
    /// Build upon the running system
    #[arg(long, overrides_with = "base")]
    pub no_continue: bool,
    /// Answer the package manager's questions yourself (default for pkg and migration)
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
    Dup,
    /// Update all packages
    #[command(alias = "update")]
    Up,
    /// Install patches
    Patch,
    /// Update as UPDATE_METHOD says, beside other commands (for the unit)
    #[command(hide = true)]
    Auto,
    /// Migrate to another version of the registered products
    Migration {
        /// Options for `zypper migration`
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "ARGS"
        )]
        args: Vec<OsString>,
    },
    /// Register the system (SUSEConnect)
    Register {
        /// Options for SUSEConnect
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            required = true,
            value_name = "ARGS"
        )]
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
    /// Make the initrd anew
    Initrd,
    /// Make the configuration of GRUB anew
    #[command(name = "grub.cfg")]
    GrubCfg,
    /// Install the boot loader anew, with its configuration
    Bootloader,
    /// Make the initrd of kdump anew (with fadump; without it, that happens at boot)
    Kdump,
    /// Install what FIPS needs and switch it on
    SetupFips,
    /// Install the targeted policy of SELinux and switch it on
    SetupSelinux,
    /// Install kdump and switch it on
    SetupKdump {
        /// Memory to reserve, in MiB (default: what kdump computes)
        #[arg(long, value_name = "LOW[,HIGH]", require_equals = true)]
        crashkernel: Option<CrashKernel>,
    },
    /// Mark old snapshots, so that snapper's clean-up deletes them; never one that is in use
    Cleanup,
    /// The part of cleanup that is about snapshots
    #[command(hide = true)]
    CleanupSnapshots,
    /// The part of cleanup that is about overlays of /etc
    #[command(hide = true)]
    CleanupOverlays,
    /// Switch to the next system without a reboot
    Apply,
    /// Reboot as REBOOT_METHOD says, when all else succeeded
    Reboot,
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
    /// Update in a boot of its own, in which nothing else runs
    Offline {
        /// What to do about it.
        #[command(subcommand)]
        action: Offline,
    },
    /// List the snapshots
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Finish or undo what a transaction that was cut off left behind (for the unit)
    #[command(hide = true)]
    Recover,
    /// Note that this boot has succeeded (for the unit)
    #[command(hide = true)]
    BootComplete,
    /// Mount what boots next for a soft-reboot (for the unit)
    #[command(hide = true)]
    PrepareNextroot,
    /// See to /etc of a snapshot that snapper makes or deletes (for its plugin)
    #[command(hide = true)]
    SnapperPlugin {
        /// snapper's name of the moment
        stage: String,
        /// Number of the snapshot
        snapshot: SnapshotId,
    },
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

/// What to do about an update in a boot of its own.
#[derive(Debug, Subcommand)]
pub enum Offline {
    /// Find out what an update changes, download it and check it, while the system runs unchanged
    Prepare {
        /// How the update boot carries it out (default: new-snapshot when the root is read-only, else in-place)
        #[arg(long, value_name = "HOW")]
        strategy: Option<Strategy>,
        /// What is updated; without it what UPDATE_METHOD says.
        #[command(subcommand)]
        update: Option<Prepare>,
    },
    /// Let the next boot carry the plan out: one without login and without network
    Arm {
        /// What follows the update, also when it fails (default: reboot)
        #[arg(
            long,
            value_name = "ACTION",
            default_value = "reboot",
            hide_default_value = true
        )]
        end: End,
        /// Arm it although the machine runs on battery
        #[arg(long)]
        allow_battery: bool,
        /// Reboot now (default: whoever restarts the system next starts the update)
        #[arg(long)]
        reboot: bool,
        /// Enter the update boot by a soft-reboot, now
        #[arg(long, conflicts_with = "reboot")]
        soft_reboot: bool,
    },
    /// Call off what is armed; of an update that has ended, acknowledge the result
    Cancel,
    /// Show what has become of it
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Acknowledge the result, which is not shown at login any more
        #[arg(long)]
        ack: bool,
    },
    /// Show the journal of the boots that had to do with it, and what the package manager printed
    Log,
    /// Carry the plan out in the update boot (for the unit)
    #[command(hide = true)]
    Run,
}

/// What follows an update in a boot of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum End {
    /// A reboot
    Reboot,
    /// The machine is powered off
    Poweroff,
    /// A start of user space alone, where the update allows it; else a reboot
    SoftReboot,
}

/// What an update in a boot of its own is to do.
#[derive(Debug, Subcommand)]
pub enum Prepare {
    /// Upgrade to the newest state of the repositories
    #[command(alias = "dist-upgrade")]
    Dup,
    /// Update all packages
    #[command(alias = "update")]
    Up,
    /// Install patches
    Patch,
    /// Install packages of repositories
    #[command(visible_alias = "in")]
    Install(Names),
    /// Remove packages
    #[command(visible_alias = "rm")]
    Remove(Names),
}

/// Packages of repositories and options that say which are meant.
#[derive(Debug, Args)]
pub struct Names {
    /// Packages, and options of the package manager that say which are meant or what the solver may do
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true,
        value_name = "PKG"
    )]
    pub args: Vec<OsString>,
}

/// How the update boot carries an update out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Strategy {
    /// In a new snapshot, which is booted next on success
    NewSnapshot,
    /// In the running root; a snapshot of what was before boots next unless all succeeds
    InPlace,
}

/// The definition of the command line, for man pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Reads a command line, which begins with the name of the program.
///
/// # Errors
/// What is wrong with it, or the help or version that was asked for.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Line, clap::Error> {
    let mut args = args.into_iter();
    let program = args.next().unwrap_or_default();
    let definition = command();
    let split = words::split(args, |name| {
        chained(&definition, name).unwrap_or(Extent::Rest)
    });
    let read = |words: &[OsString]| Cli::try_parse_from(std::iter::once(&program).chain(words));
    let options = read(&split.options)?.options;
    let mut commands = Vec::new();
    for words in &split.commands {
        commands.extend(read(words)?.command);
    }
    let names = || split.commands.iter().map(|words| &words[0]);
    match names().find(|name| chained(&definition, name).is_none()) {
        Some(name) if commands.len() > 1 => Err(stands_alone(name, names())),
        _ => Ok(Line { options, commands }),
    }
}

/// The exit code of a line that is not understood: that of everything that failed, but for what is told apart from a refusal.
#[must_use]
pub(super) fn usage_code(args: impl IntoIterator<Item = OsString>) -> u8 {
    let definition = command();
    let split = words::split(args.into_iter().skip(1), |name| {
        chained(&definition, name).unwrap_or(Extent::Rest)
    });
    match split.commands.first().map(Vec::as_slice) {
        Some([name, action, ..]) if name == "offline" && action == "arm" => 2,
        _ => FAILED,
    }
}

/// The commands that can stand beside others, each with the words that belong to it.
const CHAINED: &[(&str, Extent)] = &[
    ("cleanup", Extent::Name),
    ("cleanup-snapshots", Extent::Name),
    ("cleanup-overlays", Extent::Name),
    ("pkg", Extent::Rest),
    ("dup", Extent::Name),
    ("up", Extent::Name),
    ("patch", Extent::Name),
    ("auto", Extent::Name),
    ("migration", Extent::Rest),
    ("register", Extent::Rest),
    ("run", Extent::Rest),
    ("shell", Extent::Name),
    ("initrd", Extent::Name),
    ("grub.cfg", Extent::Name),
    ("bootloader", Extent::Name),
    ("kdump", Extent::Name),
    ("setup-fips", Extent::Name),
    ("setup-selinux", Extent::Name),
    ("setup-kdump", Extent::Option("--crashkernel")),
    ("apply", Extent::Name),
    ("reboot", Extent::Name),
];

fn chained(definition: &clap::Command, name: &OsStr) -> Option<Extent> {
    let name = definition.find_subcommand(name)?.get_name();
    CHAINED
        .iter()
        .find(|(chained, _)| *chained == name)
        .map(|(_, extent)| *extent)
}

fn stands_alone<'n>(name: &OsStr, all: impl Iterator<Item = &'n OsString>) -> clap::Error {
    let other = all.into_iter().find(|other| *other != name);
    let text = format!(
        "the command '{}' stands alone, it cannot be called together with '{}'",
        name.display(),
        other.map_or(name, |other| other).display()
    );
    command().error(ErrorKind::ArgumentConflict, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &str) -> Result<Line, clap::Error> {
        let words = ["transactional-update"]
            .into_iter()
            .chain(words.split_whitespace());
        parse(words.map(OsString::from))
    }

    #[test]
    fn the_definition_is_sound_and_knows_every_command_that_chains() {
        let definition = command();
        definition.clone().debug_assert();
        for (name, _) in CHAINED {
            assert!(
                definition.get_subcommands().any(|c| c.get_name() == *name),
                "{name}"
            );
        }
    }

    #[test]
    fn continue_takes_a_number_with_a_blank_or_an_equals_sign_or_none() {
        for (words, base) in [
            ("-c 5 dup", Some(SnapshotId::new(5))),
            ("--continue=5 dup", Some(SnapshotId::new(5))),
            ("--root /mnt --continue 5 dup", Some(SnapshotId::new(5))),
            ("dup -c 5", Some(SnapshotId::new(5))),
            ("-c dup", Some(None)),
            ("--continue pkg install 5", Some(None)),
            ("dup", None),
            ("-c 5 --no-continue dup", None),
        ] {
            assert_eq!(line(words).unwrap().options.base, base, "{words}");
        }
    }

    #[test]
    fn everything_behind_run_belongs_to_the_command() {
        let line = line("--quiet run zypper -c 5 --xmlout -q").unwrap();
        let [Command::Run { command }] = &line.commands[..] else {
            panic!("not run")
        };
        assert_eq!(command, &["zypper", "-c", "5", "--xmlout", "-q"]);
        assert!(line.options.quiet && line.options.base.is_none());
    }

    #[test]
    fn known_spellings_of_package_commands_are_accepted() {
        for words in [
            "pkg in foo",
            "package install -y foo",
            "pkg rm foo",
            "ptf install foo",
            "pkg up",
            "pkg update foo",
        ] {
            assert!(
                matches!(line(words).unwrap().commands[..], [Command::Pkg { .. }]),
                "{words}"
            );
        }
        assert!(matches!(
            line("dist-upgrade").unwrap().commands[..],
            [Command::Dup]
        ));
        assert!(matches!(
            line("update").unwrap().commands[..],
            [Command::Up]
        ));
        assert!(line("--no-selfupdate -n dup").is_ok());
        assert!(line("").unwrap().commands.is_empty());
    }

    #[test]
    fn known_commands_chain_in_any_order_with_options_between_them() {
        let words = "cleanup -n dup --no-selfupdate reboot -d";
        let line = line(words).unwrap();
        assert!(matches!(
            line.commands[..],
            [Command::Cleanup, Command::Dup, Command::Reboot]
        ));
        assert!(line.options.non_interactive && line.options.drop_if_no_change);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_and_named() {
        for (words, named) in [
            ("pkg", "Usage"),
            ("run", "CMD"),
            ("nonsense", "nonsense"),
            ("dup nonsense", "nonsense"),
            ("dup status", "'status' stands alone"),
            ("list dup", "unexpected argument 'dup'"),
            ("rollback last reboot", "unexpected argument 'reboot'"),
            ("cleanup discard", "together with 'cleanup'"),
            ("dup --nonsense", "--nonsense"),
            ("-q -v dup", "cannot be used with"),
        ] {
            let error = line(words).unwrap_err().to_string();
            assert!(error.contains(named), "{words}: {error}");
        }
    }
}
