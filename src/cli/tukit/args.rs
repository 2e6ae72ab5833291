//! What can be typed. Options stand before the command; what follows it belongs to it.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::str::FromStr;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use super::super::args;
use crate::config::RebootMethod;
use crate::snapshot::SnapshotId;

/// Make a transaction step by step, and look at snapshots. For programs; people have transactional-update.
#[derive(Debug, Parser)]
#[command(
    name = "tukit",
    disable_help_subcommand = true,
    disable_version_flag = true,
    args_override_self = true,
    infer_long_args = true,
    max_term_width = 100,
    override_usage = "tukit [OPTIONS] COMMAND"
)]
#[command(
    after_help = "Exit status: 0 done; `call` and `callext`: the status of the command (127: not found, 126: not executable); \
                  of a plugin that stopped the transaction: its own; 1 everything else that failed."
)]
pub struct Cli {
    /// Options of all commands.
    #[command(flatten)]
    pub options: Options,
    /// What to do; none is an error unless the version was asked for.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options of all commands.
#[derive(Debug, Args)]
pub struct Options {
    /// Build upon what boots next, or upon snapshot ID (default: upon the running system)
    #[arg(short = 'c', long = "continue", value_name = "ID", num_args = 0..=1, require_equals = true)]
    pub base: Option<Option<Base>>,
    /// Describe the new snapshot so
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Keep the snapshot of a failed run, and go on when a plugin fails
    #[arg(short, long)]
    pub keep: bool,
    /// Drop the snapshot if nothing in it changed; given to `open`, it counts at `close`
    #[arg(short, long)]
    pub discard: bool,
    /// The same as behind `snapshots`
    #[arg(short, long, value_name = "FIELD,...", value_delimiter = ',', value_parser = field)]
    pub fields: Vec<Field>,
    /// Where to tell what happens: console, or syslog for log file and journal (default: both)
    #[arg(
        short,
        long,
        value_name = "TARGET,...",
        value_delimiter = ',',
        value_enum
    )]
    pub log: Vec<LogTarget>,
    /// Set a key of tukit.conf for this call
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub option: Vec<String>,
    /// Print errors and the command's own output only
    #[arg(short, long, overrides_with = "verbose")]
    pub quiet: bool,
    /// Print each step
    #[arg(short, long, overrides_with = "quiet")]
    pub verbose: bool,
    /// Print the version
    #[arg(short = 'V', long)]
    pub version: bool,
}

impl Options {
    /// Whether what happens is told there.
    pub(super) fn logs_to(&self, target: LogTarget) -> bool {
        self.log.is_empty() || self.log.contains(&target)
    }
}

impl From<Options> for args::Options {
    fn from(options: Options) -> args::Options {
        let (base, no_continue) = match options.base {
            // the other program has a default of its own
            None | Some(Some(Base::Active)) => (None, true),
            Some(None | Some(Base::Default)) => (Some(None), false),
            Some(Some(Base::Snapshot(id))) => (Some(Some(id)), false),
        };
        args::Options {
            base,
            no_continue,
            keep: options.keep,
            drop_if_no_change: options.discard,
            quiet: options.quiet,
            verbose: options.verbose,
            ..args::Options::default()
        }
    }
}

/// What a new snapshot is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// The running system (`active`).
    Active,
    /// What boots next (`default`).
    Default,
    /// This snapshot.
    Snapshot(SnapshotId),
}

impl FromStr for Base {
    type Err = String;

    fn from_str(text: &str) -> Result<Base, String> {
        match text {
            "active" => Ok(Base::Active),
            "default" => Ok(Base::Default),
            number => number.parse().map(Base::Snapshot),
        }
    }
}

/// Where to tell what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogTarget {
    /// Standard error.
    Console,
    /// The log file and the journal.
    Syslog,
}

/// What is known of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Field {
    /// Its number.
    Number,
    /// Whether it boots next.
    Default,
    /// Whether it runs.
    Active,
    /// When it was made, UTC.
    Date,
    /// One line for people.
    Description,
    /// `single`, `pre` or `post`.
    Type,
    /// The algorithm that cleans it up.
    Cleanup,
    /// Keys and values of anybody.
    Userdata,
    /// Who made it.
    User,
    /// The configuration of snapper it belongs to.
    Config,
    /// The directory it is a snapshot of.
    Subvolume,
}

fn field(text: &str) -> Result<Field, String> {
    Field::from_str(text, false).map_err(|_| {
        let names = Field::value_variants()
            .iter()
            .filter_map(ValueEnum::to_possible_value);
        let names: Vec<String> = names.map(|value| value.get_name().to_owned()).collect();
        format!("there is {}", names.join(", "))
    })
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a command, or a shell, in a new snapshot, which boots next if that succeeds
    Execute {
        /// The command and its arguments
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "CMD"
        )]
        command: Vec<OsString>,
    },
    /// Begin a transaction and print its number
    Open,
    /// Run a command in the snapshot of an open transaction
    Call {
        /// Number of the transaction
        #[arg(value_name = "ID")]
        id: SnapshotId,
        /// The command and its arguments
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            required = true,
            value_name = "CMD"
        )]
        command: Vec<OsString>,
    },
    /// Run a command in the running system, with {} for the directory of the open transaction
    Callext {
        /// Number of the transaction
        #[arg(value_name = "ID")]
        id: SnapshotId,
        /// The command and its arguments
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            required = true,
            value_name = "CMD"
        )]
        command: Vec<OsString>,
    },
    /// End an open transaction: its snapshot boots next
    Close {
        /// Number of the transaction
        #[arg(value_name = "ID")]
        id: SnapshotId,
    },
    /// Give an open transaction up: its snapshot is deleted
    Abort {
        /// Number of the transaction
        #[arg(value_name = "ID")]
        id: SnapshotId,
    },
    /// Boot a snapshot next
    Rollback {
        /// Number of the snapshot
        #[arg(value_name = "ID")]
        id: SnapshotId,
    },
    /// List the snapshots
    Snapshots {
        /// What to print of each, in this order: number (default), default, active, date, description, type,
        /// cleanup, userdata, user, config, subvolume
        #[arg(short, long, value_name = "FIELD,...", value_delimiter = ',', value_parser = field)]
        fields: Vec<Field>,
    },
    /// Reboot the system
    Reboot {
        /// How: auto, rebootmgr, notify, systemd, kured, kexec or none
        #[arg(value_name = "METHOD", default_value = "auto")]
        method: RebootMethod,
    },
}

/// The definition of the command line, for man pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Understands a command line, with the name of the program as its first word.
///
/// # Errors
/// What is wrong with it; also when only help was asked for.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let cli = Cli::try_parse_from(normalize(words))?;
    if cli.options.version {
        return Ok(Cli {
            command: None,
            ..cli
        });
    }
    match cli.command {
        Some(_) => Ok(cli),
        None => Err(Cli::command().error(ErrorKind::MissingSubcommand, "a command is missing")),
    }
}

/// Puts `-cID` into the form `--continue=ID`, also behind other letters. Only words before the command are looked
/// at: what follows it belongs to it.
fn normalize(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words = words.into_iter();
    let mut out: Vec<OsString> = words.next().into_iter().collect();
    while let Some(word) = words.next() {
        let takes_next = match word.as_bytes() {
            long @ [b'-', b'-', _, ..] => VALUED_LONG.iter().any(|option| option.starts_with(long)),
            [b'-', letters @ ..] => {
                let (before, base) = split_base(letters);
                if let Some(base) = base {
                    out.extend(before.map(|b| OsString::from_vec([b"-", b].concat())));
                    out.push(base);
                    continue;
                }
                wants_next(letters)
            }
            _ => {
                out.push(word);
                break;
            }
        };
        out.push(word);
        if takes_next {
            out.extend(words.next());
        }
    }
    out.extend(words);
    out
}

/// Options whose value may be the next word.
const VALUED: &[u8] = b"flo";
const VALUED_LONG: [&[u8]; 4] = [b"--description", b"--fields", b"--log", b"--option"];

/// What stands before the letter `c` in a word of letters, and that letter with its value as a word of its own.
fn split_base(letters: &[u8]) -> (Option<&[u8]>, Option<OsString>) {
    let special = |l: &u8| *l == b'c' || VALUED.contains(l);
    let Some(at) = letters
        .iter()
        .position(special)
        .filter(|at| letters[*at] == b'c')
    else {
        return (None, None);
    };
    let (before, id) = (&letters[..at], &letters[at + 1..]);
    let equals: &[u8] = if id.is_empty() { b"" } else { b"=" };
    let base = OsString::from_vec([b"--continue", equals, id].concat());
    (Some(before).filter(|b| !b.is_empty()), Some(base))
}

/// Whether the last letter wants a value, and none before it has taken it for its own.
fn wants_next(letters: &[u8]) -> bool {
    let first = letters.iter().position(|l| VALUED.contains(l));
    first.is_some_and(|at| at + 1 == letters.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Cli, clap::Error> {
        parse(
            std::iter::once("tukit")
                .chain(line.split_whitespace())
                .map(OsString::from),
        )
    }

    fn options(line: &str) -> Options {
        parsed(line)
            .unwrap_or_else(|e| panic!("{line}: {e}"))
            .options
    }

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn continue_takes_a_number_without_a_blank_or_none() {
        let five = SnapshotId::new(5).map(Base::Snapshot);
        for (line, base) in [
            ("open", None),
            ("-c open", Some(None)),
            ("--continue open", Some(None)),
            ("-c5 open", Some(five)),
            ("-kc5 open", Some(five)),
            ("-o A=c5 -c5 open", Some(five)),
            ("--description text -c5 open", Some(five)),
            ("--description=text -c5 open", Some(five)),
            ("--continue=5 open", Some(five)),
            ("--continue=default open", Some(Some(Base::Default))),
            ("-cactive open", Some(Some(Base::Active))),
            ("-fnumber snapshots", None),
        ] {
            assert_eq!(options(line).base, base, "{line}");
        }
        for wrong in ["-c 5 open", "-cx open", "--continue=0 open"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_follows_the_command_belongs_to_it() {
        let cli = parsed("-q execute ls -c5 -q --description x").unwrap();
        assert!(cli.options.base.is_none() && cli.options.description.is_none());
        let Some(Command::Execute { command }) = cli.command else {
            panic!("not execute")
        };
        assert_eq!(command, ["ls", "-c5", "-q", "--description", "x"]);
        let Some(Command::Call { id, command }) = parsed("call 7 -x y").unwrap().command else {
            panic!("not call")
        };
        assert_eq!((id.number(), command.len()), (7, 2));
    }

    #[test]
    fn the_last_of_options_that_contradict_each_other_counts() {
        let both = options("-q -v -q -v open");
        assert!(both.verbose && !both.quiet);
        assert_eq!(
            options("--description=a --description=b open")
                .description
                .as_deref(),
            Some("b")
        );
        assert_eq!(options("-o A=1 --option=B=2 open").option, ["A=1", "B=2"]);
    }

    #[test]
    fn fields_and_log_targets_are_lists_of_known_words() {
        assert!(matches!(
            parsed("snapshots --fields date,number").unwrap().command,
            Some(Command::Snapshots { fields }) if fields == [Field::Date, Field::Number]
        ));
        let fields = options("--fields=number,date -f active snapshots").fields;
        assert_eq!(fields, [Field::Number, Field::Date, Field::Active]);
        let only = options("-l syslog open");
        assert!(only.logs_to(LogTarget::Syslog) && !only.logs_to(LogTarget::Console));
        assert!(options("open").logs_to(LogTarget::Console));
        for wrong in ["-f nonsense snapshots", "-l file open", "-l  open"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn only_options_before_the_command_are_touched(
            before in proptest::collection::vec("-[cdkqv]{0,3}[0-9]{0,2}|--continue|-f[a-z,]{1,4}|-koA=c5|--option=c5", 0..5),
            after in proptest::collection::vec("-c[0-9]*|-[a-z]{1,3}|[a-z]{0,3}|--", 0..5),
        ) {
            // a word of options never has another number of words in front of the command
            let line = |before: &[String]| -> Vec<OsString> {
                let words = std::iter::once("tukit").chain(before.iter().map(String::as_str));
                words.chain(["execute"]).chain(after.iter().map(String::as_str)).map(OsString::from).collect()
            };
            let out = normalize(line(&before));
            let tail: Vec<OsString> = after.iter().map(OsString::from).collect();
            proptest::prop_assert!(out.ends_with(&tail), "{out:?}");
            proptest::prop_assert_eq!(normalize(out.clone()), out);
        }
    }

    #[test]
    fn a_command_and_its_number_have_to_be_there() {
        for wrong in [
            "",
            "-q",
            "call",
            "call 5",
            "call x true",
            "callext 5",
            "close",
            "abort",
            "rollback",
            "close 1 2",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
        assert!(parsed("--version").unwrap().command.is_none());
        assert!(parsed("-V open").unwrap().command.is_none());
    }
}
