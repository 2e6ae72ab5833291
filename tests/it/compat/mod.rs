//! The same calls of ours and of systemd-sysupdate on the same files and servers, and what differs.
//!
//! Both programs run in the tree of the peer (tests/fixture/peer-sysupdate.sh), which shows them the directories of a [`Tree`] at
//! their places: definitions, targets, sources and the state of both. What may differ stands in differences.tsv, and there alone: what is
//! not there fails, and so does a row of it that is no difference any more.
//!
//! `FX_PEER=262` in the environment has all of them with that version; nothing is the same as 257 (tests/proof/sysupdate-peer.sh).

mod tree;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::LazyLock;

use crate::fx::{Ran, command, fixture, require_root};
use crate::peer::Peer;
use crate::sysupdate::PROGRAM;
use crate::sysupdate_update::wait_until;

pub(crate) use tree::Tree;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Ours,
    Theirs,
}

pub(crate) const BOTH: [Program; 2] = [Program::Theirs, Program::Ours];

/// A difference that is meant to be: a row of the table. In calls and lines `*` is any text, and `?` any one character.
struct Allowed {
    /// Of the test; `*` for all in which there is such a call.
    situation: &'static str,
    /// With which version of the peer; `both` for each of them.
    peer: &'static str,
    /// `STATE: CALL`.
    call: &'static str,
    /// Lines that only one of the two has; each is met at least once.
    lines: Vec<(Program, &'static str)>,
}

/// The rows of the table; `FX_DIFFERENCES` names another one, for controls.
fn allowed() -> Vec<Allowed> {
    static TABLE: LazyLock<String> = LazyLock::new(|| {
        let usual = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/it/compat/differences.tsv"
        );
        let path = std::env::var("FX_DIFFERENCES").unwrap_or_else(|_| usual.to_owned());
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
    });
    let mut rows = TABLE.lines();
    assert_eq!(
        rows.next(),
        Some("situation\tpeer\tcall\tonly the peer\tonly ours\tallowed by")
    );
    let row = |line: &'static str| {
        let cells: Vec<&str> = line.split('\t').collect();
        let [situation, peer, call, theirs, ours, rule] = cells[..] else {
            panic!("not six cells: {line}");
        };
        assert!(
            ["257", "262", "both"].contains(&peer) && !rule.is_empty(),
            "{line}"
        );
        let lines = |program, cell: &'static str| {
            let lines = cell.split(" || ").filter(|line| *line != "-");
            lines.map(move |line| (program, line))
        };
        let lines: Vec<_> = lines(Program::Theirs, theirs)
            .chain(lines(Program::Ours, ours))
            .collect();
        assert!(!lines.is_empty(), "{line}");
        Allowed {
            situation,
            peer,
            call,
            lines,
        }
    };
    rows.map(row).collect()
}

/// The situations of all rows.
pub(crate) fn situations() -> impl Iterator<Item = &'static str> {
    allowed().into_iter().map(|row| row.situation)
}

/// The situation in which every row of the table for all of them is met.
const GENERAL: &str = "shown";

/// A line that only one of the two has.
struct Difference {
    /// The state before it, and the call.
    call: String,
    program: Program,
    line: String,
    /// All that both did and said.
    about: String,
}

impl Difference {
    fn is(&self, call: &str, program: Program, line: &str) -> bool {
        self.program == program && matches(call, &self.call) && matches(line, &self.line)
    }

    fn is_allowed_by(&self, row: &Allowed) -> bool {
        let mut lines = row.lines.iter();
        lines.any(|(program, line)| self.is(row.call, *program, line))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: only {:?}: {}", self.call, self.program, self.line)
    }
}

/// How a call ended: its exit status, standard output, the texts on standard error that scripts look for, and the files it left.
struct Outcome {
    lines: Vec<String>,
    /// What else it said, for whoever looks for the cause.
    stderr: String,
}

impl Outcome {
    fn of(ran: &Ran, texts: &[&str]) -> Outcome {
        let mut lines = vec![format!("exit {}", ran.code)];
        lines.extend(ran.stdout.lines().map(|line| format!("| {line}")));
        let known = ran.stderr.lines().filter_map(|line| text_in(line, texts));
        lines.extend(known.map(|text| format!("! {text}")));
        Outcome {
            lines,
            stderr: ran.stderr.clone(),
        }
    }
}

/// Texts that scripts look for (262), where `*` stands for a version, a number or a name.
const TEXTS: &[&str] = &[
    "No update needed.",
    "Selected update '*' is already installed. Skipping update.",
    "Selected update '*' is already acquired and pending installation.",
    "Selected update '*' is already installed, but incomplete. Repairing.",
    "Update '*' not found.",
    "Selected update '*' is not available, refusing.",
    "Selected update '*' is obsolete, refusing.",
    "Selected update '*' is not the newest, proceeding anyway.",
    "Selected update '*' is older than newest installed version, proceeding anyway.",
    "Selected update '*' for install.",
    "✨ Successfully installed update '*'.",
    "Making room…",
    "Making room for * updates…",
    "Found nothing to remove.",
    "Removed * instances.",
    "Removed * disabled transfers.",
    "Couldn't find any suitable installed versions.",
    "/etc/os-release lacks IMAGE_VERSION= field.",
    "DOWNLOAD INVALID: Signature verification failed.",
    "Failed to retrieve signature file, cannot verify. (Try --verify=no?)",
    "Checksum of downloaded resource does not match expected checksum, yikes.",
    "Component is disabled.",
    "No transfer definitions*found.",
    "No components defined.",
    "No features.",
    "The --definitions= switch may not be combined with 'components'.",
    "The --definitions= and --component=/--component-all/--component-suggested switches may not be combined.",
    "The --instances-max= argument must be >= *",
    "Failed to parse --instances-max= parameter: *",
    "Component name invalid: *",
    "Unknown argument to --json= switch: *",
    "Unknown command verb '*'.",
    "Too many arguments.",
    "Source Type= must be one of url-file, url-tar, tar, regular-file, directory, subvolume.",
    "Source specification lacks Path=.",
    "Source specification lacks MatchPattern=.",
    "Source path is not a valid HTTP or HTTPS URL: ftp://x/",
    "Source path is not a normalized, absolute path: x/y",
    "MatchPattern= string is not valid, refusing: ",
    "Target type 'directory' is incompatible with source type 'regular-file', refusing.",
    "PathRelativeTo=explicit requires --transfer-source= to be specified.",
    "Corrupt manifest at line *, refusing.",
    "File names with escapes not supported in manifest at line *, refusing.",
    "Failed to parse digest at manifest line *, refusing.",
    "Missing space separator at manifest line *, refusing.",
    "Missing binary/text input marker at manifest line *, refusing.",
    "Truncated manifest file at line *, refusing.",
    "Empty filename specified at manifest line *, refusing.",
    "Invalid filename specified at manifest line *, refusing.",
    "Filename contains control characters at manifest line *, refusing.",
    "Manifest file has embedded NUL byte, refusing.",
    "Manifest file is not valid UTF-8, refusing.",
    "/SHA256SUMS failed with code *.",
];

/// What a line has of these texts: words may stand before, and behind what is always the same.
fn text_in<'l>(line: &'l str, texts: &[&'l str]) -> Option<&'l str> {
    let mut ends = line.char_indices().map(|(at, _)| &line[at..]);
    let whole = texts.iter().find(|text| line.contains(**text));
    whole
        .copied()
        .or_else(|| ends.find(|end| texts.iter().any(|text| matches(text, end))))
}

/// Whether a text fits to a pattern in which `*` is any text and `?` any one character.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pattern = pattern.chars();
    match pattern.next() {
        None => text.is_empty(),
        Some('*') => {
            let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.into_iter()
                .any(|at| matches(pattern.as_str(), &text[at..]))
        }
        Some(wanted) => {
            let mut text = text.chars();
            let is_met = text.next().is_some_and(|c| wanted == '?' || c == wanted);
            is_met && matches(pattern.as_str(), text.as_str())
        }
    }
}

/// The version that the tests run with.
pub(crate) fn peer() -> Peer {
    match std::env::var("FX_PEER").as_deref() {
        Err(std::env::VarError::NotPresent) | Ok("257") => Peer::V257,
        Ok("262") => Peer::V262,
        other => panic!("FX_PEER is {other:?}; it may be 257 or 262"),
    }
}

/// What differed in one situation.
pub(crate) struct Comparison {
    situation: &'static str,
    pub(crate) peer: Peer,
    calls: Vec<String>,
    found: Vec<Difference>,
}

impl Comparison {
    /// Of this situation, which rows of the table name.
    pub(crate) fn new(situation: &'static str) -> Comparison {
        require_root();
        Comparison {
            situation,
            peer: peer(),
            calls: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Calls that change nothing, of both programs on one tree.
    pub(crate) fn reads(&mut self, state: &str, tree: &Tree, calls: &[&str]) {
        let before = tree.listing();
        let each = calls
            .iter()
            .flat_map(|call| BOTH.map(|program| (program, *call)));
        let each: Vec<(Program, &str)> = each.collect();
        let ran = self.run(tree, &each);
        for (call, both) in calls.iter().zip(ran.chunks(2)) {
            self.note(&format!("{state}: {call}"), &both[0], &both[1], None);
        }
        let about = format!("{} {state}: reading changes nothing", self.situation);
        assert_eq!(tree.listing(), before, "{about}");
    }

    /// Calls that may change something, each of them on a copy of the tree for each program; what it leaves is compared as well.
    /// `a; b` are two calls on one copy. Returns what ours left after the last one.
    pub(crate) fn changes(&mut self, state: &str, tree: &Tree, calls: &[&str]) -> [Tree; 2] {
        let mut left = BOTH.map(|_| tree.copy());
        for (number, line) in calls.iter().enumerate() {
            if number > 0 {
                left = BOTH.map(|_| tree.copy());
            }
            let words: Vec<&str> = line.split("; ").collect();
            let all = [0, 1].map(|i| {
                let each: Vec<_> = words.iter().map(|call| (BOTH[i], *call)).collect();
                self.run(&left[i], &each)
            });
            for (number, call) in words.iter().enumerate() {
                let is_last = number + 1 == words.len();
                let name = match words.len() {
                    1 => format!("{state}: {line}"),
                    _ => format!("{state}: {line}: {call}"),
                };
                let trees = [&left[0], &left[1]].map(Tree::listing);
                let trees = is_last.then_some(&trees);
                self.note(&name, &all[0][number], &all[1][number], trees);
            }
        }
        left
    }

    fn note(&mut self, call: &str, theirs: &Ran, ours: &Ran, trees: Option<&[Vec<String>; 2]>) {
        // what 257 says is not what is promised
        let texts: &[&str] = match self.peer {
            Peer::V257 => &[],
            Peer::V262 => TEXTS,
        };
        let mut both = [theirs, ours].map(|ran| Outcome::of(ran, texts));
        if let Some(trees) = trees {
            for (outcome, tree) in both.iter_mut().zip(trees) {
                outcome.lines.extend(tree.iter().cloned());
            }
        }
        self.calls.push(call.to_owned());
        let [theirs, ours] = &both;
        let about = format!(
            "--- theirs:\n{}\n{}--- ours:\n{}\n{}",
            theirs.lines.join("\n"),
            theirs.stderr,
            ours.lines.join("\n"),
            ours.stderr
        );
        let mut note = |program, line: &str| {
            self.found.push(Difference {
                call: call.to_owned(),
                program,
                line: line.to_owned(),
                about: about.clone(),
            });
        };
        let only = |these: &Outcome, others: &Outcome| -> Vec<String> {
            let mut others = others.lines.clone();
            let is_other = |line: &&String| match others.iter().position(|other| other == *line) {
                Some(at) => {
                    others.swap_remove(at);
                    false
                }
                None => true,
            };
            these.lines.iter().filter(is_other).cloned().collect()
        };
        let (of_theirs, of_ours) = (only(theirs, ours), only(ours, theirs));
        if of_theirs.is_empty() && of_ours.is_empty() && theirs.lines != ours.lines {
            note(Program::Ours, "in another order");
        }
        of_theirs
            .iter()
            .for_each(|line| note(Program::Theirs, line));
        of_ours.iter().for_each(|line| note(Program::Ours, line));
    }

    /// What was found is what the table has, and each row of it was found.
    #[allow(clippy::print_stdout)] // what was compared is counted
    pub(crate) fn ends(self) {
        let is_mine = |row: &&Allowed| {
            let is_here = matches(row.situation, self.situation);
            is_here && [self.peer.name(), "both"].contains(&row.peer)
        };
        let table = allowed();
        let rows: Vec<&Allowed> = table.iter().filter(is_mine).collect();
        let mut wrong = Vec::new();
        let mut told = "";
        for found in &self.found {
            if !rows.iter().any(|row| found.is_allowed_by(row)) {
                if told != found.about {
                    wrong.push(found.about.clone());
                    told = &found.about;
                }
                wrong.push(found.to_string());
            }
        }
        for row in rows {
            let has_call = self.calls.iter().any(|call| matches(row.call, call));
            if !has_call && (row.situation == self.situation || self.situation == GENERAL) {
                wrong.push(format!("no such call any more: {}", row.call));
            }
            for (program, line) in row.lines.iter().filter(|_| has_call) {
                if !self
                    .found
                    .iter()
                    .any(|found| found.is(row.call, *program, line))
                {
                    let call = row.call;
                    wrong.push(format!(
                        "no difference any more: {call}: only {program:?}: {line}"
                    ));
                }
            }
        }
        let (about, peer) = (self.situation, self.peer);
        println!(
            "compared: {about}: {} calls with {peer:?}",
            self.calls.len()
        );
        assert!(
            wrong.is_empty(),
            "{about} with {peer:?}:\n{}",
            wrong.join("\n")
        );
    }

    /// Calls one after the other on this tree.
    pub(crate) fn run(&self, tree: &Tree, calls: &[(Program, &str)]) -> Vec<Ran> {
        let out = tempfile::tempdir().unwrap();
        let ran = self.entering(tree, out.path(), calls).output().unwrap();
        let ran = Ran::new("peer-sysupdate.sh", ran).succeeds();
        let read = |name: String| std::fs::read(out.path().join(name));
        let each = calls.iter().enumerate().map(|(number, (program, call))| {
            let code =
                read(format!("{number}.exit")).unwrap_or_else(|e| panic!("{call}: {e}\n{ran}"));
            let code = String::from_utf8(code).unwrap();
            let [stdout, stderr] = ["out", "err"].map(|name| {
                let bytes = read(format!("{number}.{name}")).unwrap();
                String::from_utf8_lossy(&bytes).into_owned()
            });
            Ran::told(
                &format!("{program:?}: {call}"),
                code.trim().parse().unwrap(),
                stdout,
                stderr,
            )
        });
        each.collect()
    }

    /// A call that goes on while the test does something else; killing it kills all of it at once.
    pub(crate) fn starts(&self, tree: &Tree, program: Program, call: &str) -> Started {
        let out = tempfile::tempdir().unwrap();
        let child = self.entering(tree, out.path(), &[(program, call)]).spawn();
        Started {
            child: child.unwrap(),
            out,
        }
    }

    fn entering(&self, tree: &Tree, out: &Path, calls: &[(Program, &str)]) -> Command {
        const OURS: &str = "/compat/sysupdate";
        let mut script = String::from(
            "for p in /usr/lib/systemd /usr/bin; do [ ! -x $p/systemd-sysupdate ] || theirs=$p/systemd-sysupdate; done\n\
             n=0; call() { \"$@\" > /compat/out/$n.out 2> /compat/out/$n.err; echo $? > /compat/out/$n.exit; n=$((n + 1)); }\n",
        );
        for (program, call) in calls {
            let program = match program {
                Program::Ours => OURS,
                Program::Theirs => "$theirs",
            };
            // some go round in circles: `LIMIT=SECONDS` ends a call, with the exit status 124
            let limit = call
                .strip_prefix("LIMIT=")
                .and_then(|rest| rest.split_once(' '));
            let (limited, call) = match limit {
                Some((seconds, call)) => (format!("timeout -k 30 {seconds} "), call),
                None => (String::new(), *call),
            };
            let words = call.split(' ').filter(|word| !word.is_empty());
            let is_variable = |word: &&str| {
                word.split_once('=').is_some_and(|(name, _)| {
                    name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
                })
            };
            let (variables, words): (Vec<&str>, Vec<&str>) = words.partition(is_variable);
            let quoted = |words: Vec<&str>| -> String {
                words.iter().map(|word| format!(" '{word}'")).collect()
            };
            let (variables, words) = (quoted(variables), quoted(words));
            script += &format!("call env SYSTEMD_EMOJI=1{variables} {limited}{program}{words}\n");
        }
        script += "exit 0\n";
        let mut binds: Vec<(PathBuf, PathBuf)> = tree.binds();
        binds.push((PROGRAM.into(), OURS.into()));
        binds.push((out.into(), "/compat/out".into()));
        let binds = binds
            .iter()
            .map(|(from, to)| format!("{}:{}", from.display(), to.display()));
        let mut peer = command(fixture("peer-sysupdate.sh"));
        peer.arg(self.peer.name())
            .args(["-c", &script])
            .env("PEER_BIND", binds.collect::<Vec<_>>().join(" "))
            .env("PEER_PROGRAM", "/bin/bash");
        peer
    }
}

/// A call that runs.
pub(crate) struct Started {
    child: Child,
    out: tempfile::TempDir,
}

impl Started {
    /// Waits until it has ended; whether it succeeded.
    pub(crate) fn wait(mut self) -> bool {
        self.child.wait().unwrap();
        std::fs::read_to_string(self.out.path().join("0.exit")).unwrap() == "0\n"
    }

    /// Ends all its processes, as SIGKILL does, and waits until that is done.
    pub(crate) fn kill(mut self) {
        let pid = self.child.id();
        let below = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // the first process of their namespace has ended when all others have
        let first = Path::new("/proc").join(below.trim()).join("stat");
        let is_running = || {
            let stat = std::fs::read_to_string(&first).unwrap_or_default();
            stat.rsplit_once(") ")
                .is_some_and(|(_, rest)| !rest.starts_with('Z'))
        };
        wait_until(|| !is_running());
    }
}
