//! Splits a command line into options and commands, before clap reads each of them by itself: commands chain,
//! and options stand anywhere between them.

use std::ffi::{OsStr, OsString};
use std::iter::Peekable;

use crate::snapshot::SnapshotId;

/// A command line, split. Each command has its name first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Split {
    /// Options of all commands.
    pub(super) options: Vec<OsString>,
    /// The commands in the order in which they were typed.
    pub(super) commands: Vec<Vec<OsString>>,
}

/// Which of the words behind the name of a command belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// None: the next word is another command or an option of all.
    Name,
    /// Those right behind it that begin with this option of its own.
    Option(&'static str),
    /// All of them.
    Rest,
}

/// Splits `args`, which come without the name of the program; `extent` knows the commands.
///
/// The known spelling `-c N` and `--continue N` becomes `--continue=N`. A `--help` behind a command is the help of
/// that command.
pub(super) fn split(
    args: impl IntoIterator<Item = OsString>,
    extent: impl Fn(&OsStr) -> Extent,
) -> Split {
    let mut args = args.into_iter().peekable();
    let mut split = Split::default();
    while let Some(arg) = args.next() {
        if !is_option(&arg) {
            let extent = extent(&arg);
            split.commands.push(command(arg, extent, &mut args));
            continue;
        }
        match split.commands.last_mut() {
            Some(command) if arg == "-h" || arg == "--help" => command.push(arg),
            _ => option(arg, &mut args, &mut split.options),
        }
    }
    split
}

fn command(
    name: OsString,
    extent: Extent,
    args: &mut Peekable<impl Iterator<Item = OsString>>,
) -> Vec<OsString> {
    let mut words = vec![name];
    match extent {
        Extent::Name => {}
        Extent::Option(own) => {
            let is_own = |arg: &OsString| arg.as_encoded_bytes().starts_with(own.as_bytes());
            while let Some(arg) = args.next_if(is_own) {
                words.push(arg);
            }
        }
        Extent::Rest => words.extend(args),
    }
    words
}

fn option(
    arg: OsString,
    args: &mut Peekable<impl Iterator<Item = OsString>>,
    options: &mut Vec<OsString>,
) {
    let is_continue = arg == "-c" || arg == "--continue";
    if let Some(number) = args.next_if(|next| is_continue && is_number(next)) {
        let mut joined = OsString::from("--continue=");
        joined.push(number);
        return options.push(joined);
    }
    // the one option whose value is a word of its own
    let takes_value = arg == "--root";
    options.push(arg);
    if takes_value {
        options.extend(args.next());
    }
}

fn is_number(word: &OsStr) -> bool {
    word.to_str()
        .is_some_and(|word| word.parse::<SnapshotId>().is_ok())
}

fn is_option(arg: &OsStr) -> bool {
    arg.as_encoded_bytes().starts_with(b"-")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn extent(name: &OsStr) -> Extent {
        match name.to_str() {
            Some("run") => Extent::Rest,
            Some("setup") => Extent::Option("--own"),
            _ => Extent::Name,
        }
    }

    fn of(line: &str) -> (String, Vec<String>) {
        let split = split(line.split_whitespace().map(OsString::from), extent);
        let join = |words: &[OsString]| words.join(OsStr::new(" ")).into_string().unwrap();
        (
            join(&split.options),
            split.commands.iter().map(|c| join(c)).collect(),
        )
    }

    #[test]
    fn options_and_commands_come_apart_wherever_they_stand() {
        for (line, options, commands) in [
            ("-q a -n b", "-q -n", &["a", "b"][..]),
            ("a b -c 5", "--continue=5", &["a", "b"]),
            ("-c a 5", "-c", &["a", "5"]),
            ("--root -x a", "--root -x", &["a"]),
            ("-q run -c 5 a", "-q", &["run -c 5 a"]),
            ("a run b a", "", &["a", "run b a"]),
            ("setup --own=1 -q a", "-q", &["setup --own=1", "a"]),
            ("a --help b", "", &["a --help", "b"]),
            ("--help a", "--help", &["a"]),
            ("", "", &[]),
        ] {
            let commands: Vec<String> = commands.iter().map(|c| (*c).to_owned()).collect();
            assert_eq!(of(line), (options.to_owned(), commands), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_word_gets_lost_and_what_follows_run_is_not_touched(
            head in proptest::collection::vec("-?-?[a-c5]{0,3}", 0..6),
            rest in proptest::collection::vec("[ -~]{0,5}", 0..6),
        ) {
            let run = "run".to_owned();
            let words = head.iter().chain([&run]).chain(&rest).map(OsString::from);
            let split = split(words, extent);
            let last = split.commands.last().unwrap();
            prop_assert_eq!(&last[0], "run");
            prop_assert!(last[1..].iter().eq(rest.iter().map(OsString::from).collect::<Vec<_>>().iter()));
            let letters = |words: &mut dyn Iterator<Item = &OsString>| {
                let mut all: Vec<u8> = words.flat_map(|w| w.as_encoded_bytes().to_vec()).collect();
                all.sort_unstable();
                all
            };
            let before = &split.commands[..split.commands.len() - 1];
            let joined = split.options.iter().filter(|o| o.as_encoded_bytes().starts_with(b"--continue=")).count();
            let kept = letters(&mut split.options.iter().chain(before.iter().flatten()));
            let typed = letters(&mut head.iter().map(OsString::from).collect::<Vec<_>>().iter());
            prop_assert_eq!(kept.len(), typed.len() + joined * ("--continue=".len() - "-c".len()));
        }
    }
}
