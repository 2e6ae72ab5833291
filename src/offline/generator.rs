//! The program that systemd calls before it starts the first unit (systemd.generator(7)): makes the boot go to the update where
//! systemd's own generator would not, and keeps our unit out of another tool's update.
//!
//! The first process waits for it, at boot and at each daemon-reload. So it reads names, texts of links and a few small files,
//! writes into one directory that goes with the boot, and starts and asks nobody. /var need not be mounted yet, and is not read;
//! a trigger is neither followed nor changed. [`decide`] alone says what comes of what was read.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{self, ExitCode};

use nix::fcntl::OFlag;

use super::DIRECTORY;
use super::systemd::TARGET;
use super::words::UNIT;
use crate::sys::fs::read_bounded;
use crate::sys::out;
use crate::sys::root::{self, KERNEL_LOG, NULL, Root};

pub(super) const NAME: &str = "transactional-update-generator";

/// Where triggers are; the first one that is there counts.
const TRIGGER: &str = "system-update";
/// The other one, for a root that is read-only. systemd has it since 254.
const TRIGGER_IN_ETC: &str = "etc/system-update";

pub(super) const UNITS: &str = "usr/lib/systemd/system";
/// Where an administrator masks units, below the root; the first one that has the unit counts.
pub(super) const MASKS: [&str; 2] = ["etc/systemd/system", "run/systemd/system"];
const CLEANUP: &str = "system-update-cleanup.service";

/// Generators are looked for here, as the first process does.
const GENERATORS: [&str; 4] = ["run", "etc", "usr/local/lib", "usr/lib"];
const DIRECTORY_OF_GENERATORS: &str = "systemd/system-generators";
/// systemd's own one.
pub(super) const THEIRS: &str = "systemd-system-update-generator";

/// No file that is read is larger, in bytes.
const LIMIT: u64 = 1 << 20;

/// Words of the kernel command line that choose what is booted, beside `systemd.unit=` (kernel-command-line(7)).
pub const OVERRIDES: [&str; 12] = [
    "emergency",
    "-b",
    "rescue",
    "single",
    "-s",
    "s",
    "S",
    "1",
    "2",
    "3",
    "4",
    "5",
];

const DROP_IN: &str = "50-transactional-update.conf";
/// Makes the clean-up of systemd before 254 remove the trigger in /etc as well: else the boot ends nowhere when we do not.
const CLEAN_ETC: &str = "\
[Unit]
ConditionPathIsSymbolicLink=|/etc/system-update

[Service]
ExecStart=rm -fv /etc/system-update
";

/// The program. Exit code 0: it is decided, also that nothing is to be done; 1: wrong usage, or it could not be written.
#[must_use]
pub fn main() -> ExitCode {
    let directories: Vec<OsString> = env::args_os().skip(1).collect();
    let ([early] | [_, early, _]) = &directories[..] else {
        out::plain(&format!(
            "usage: {NAME} NORMAL EARLY LATE | {NAME} DIRECTORY"
        ));
        return ExitCode::FAILURE;
    };
    let prefix = env::var_os("TU_GENERATOR_ROOT");
    let log = Log {
        is_kernels: prefix.is_none(),
    };
    match generate(prefix.as_deref(), Path::new(early), &log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            log.tell(Level::Error, &text);
            ExitCode::FAILURE
        }
    }
}

/// Looks, decides and writes. The error is what to say of it.
fn generate(prefix: Option<&OsStr>, early: &Path, log: &Log) -> Result<(), String> {
    let root = match prefix.filter(|p| !p.is_empty()) {
        Some(dir) => Root::at(Path::new(dir)).map_err(|e| format!("{}: {e}", dir.display()))?,
        None => Root::live(),
    };
    if is_elsewhere(&root) {
        return Ok(());
    }
    let Some(trigger) = trigger(&root, log) else {
        return Ok(());
    };
    let (is_done, level, text) = match decide(&Facts::of(&root, trigger)) {
        Decision::Nothing(level, text) => (true, level, text),
        Decision::KeepOut(text) => (link(early, UNIT, Path::new(NULL), log)?, Level::Info, text),
        Decision::Divert { clean, text } => {
            let target = root::inside(&Path::new(UNITS).join(TARGET));
            // what ends the boot comes first: without it there must be no such boot
            let is_done =
                (!clean || clean_etc(early, log)?) && link(early, "default.target", &target, log)?;
            (is_done, Level::Info, text)
        }
    };
    if is_done {
        log.tell(level, &text);
    }
    Ok(())
}

/// Whether this is an initrd or the manager of a user's units: neither boots into an update.
fn is_elsewhere(root: &Root) -> bool {
    let is_initrd = match env::var_os("SYSTEMD_IN_INITRD") {
        Some(value) => value == "1",
        // systemd before 251 tells neither
        None => root.join("etc/initrd-release").symlink_metadata().is_ok(),
    };
    is_initrd || env::var_os("SYSTEMD_SCOPE").is_some_and(|scope| scope != "system")
}

/// What makes systemd boot into an update.
#[derive(Debug)]
struct Trigger {
    /// Below the root.
    at: &'static str,
    /// It is a link with exactly our text. What it leads to is not looked at.
    is_ours: bool,
}

/// The trigger that counts.
fn trigger(root: &Root, log: &Log) -> Option<Trigger> {
    let is_there = |at: &&str| match root.join(at).symlink_metadata() {
        Ok(_) => true,
        Err(e) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&e.kind()) => false,
        Err(e) => {
            log.tell(Level::Warning, &format!("/{at}: {e}"));
            false
        }
    };
    let at = [TRIGGER, TRIGGER_IN_ETC].into_iter().find(is_there)?;
    let ours = root::inside(Path::new(DIRECTORY));
    // byte for byte: for Path, a final slash would be no difference
    let is_ours = fs::read_link(root.join(at)).is_ok_and(|t| t.as_os_str() == ours.as_os_str());
    Some(Trigger { at, is_ours })
}

/// A generator that makes a boot go to the update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Generator {
    Missing,
    /// The administrator wants no boot to be diverted.
    Masked,
    There {
        knows_etc: bool,
    },
}

/// All that counts for the decision, once there is a trigger.
#[derive(Debug)]
struct Facts {
    trigger: Trigger,
    /// What chooses another target on the kernel command line.
    overridden: Option<&'static str>,
    /// A unit without which the boot would end nowhere, or come to nothing, and what is wrong with it.
    unusable: Option<(&'static str, &'static str)>,
    theirs: Generator,
    /// systemd's clean-up knows the trigger in /etc.
    cleans_etc: bool,
}

impl Facts {
    fn of(root: &Root, trigger: Trigger) -> Facts {
        let unit = |name: &str| root.join(UNITS).join(name);
        let is_missing = |name: &str| !unit(name).is_file();
        let unusable = |name: &'static str| match name {
            _ if is_missing(name) => Some((name, "missing")),
            _ if is_masked(root, name) => Some((name, "masked")),
            _ => None,
        };
        let command_line = command_line(root);
        Facts {
            trigger,
            overridden: words(&command_line).iter().find_map(|w| overriding(w)),
            unusable: [TARGET, UNIT].into_iter().find_map(unusable),
            theirs: Generator::find(root, THEIRS),
            cleans_etc: mentions_etc(&unit(CLEANUP)),
        }
    }
}

/// Whether the administrator has masked a unit: the boot would be diverted in vain, since nothing would be done in it.
fn is_masked(root: &Root, unit: &str) -> bool {
    let mut found = MASKS.iter().map(|dir| root.join(dir).join(unit).metadata());
    found.find_map(Result::ok).is_some_and(|f| is_mask(&f))
}

/// Whether a file is one that masks: /dev/null, or an empty one.
fn is_mask(found: &fs::Metadata) -> bool {
    let kind = found.file_type();
    kind.is_char_device() || kind.is_block_device() || (kind.is_file() && found.len() == 0)
}

impl Generator {
    /// The one of this name: the first file that the first process would run, or the mask that keeps it from running one.
    pub(super) fn find(root: &Root, name: &str) -> Generator {
        for dir in GENERATORS {
            let path = root.join(dir).join(DIRECTORY_OF_GENERATORS).join(name);
            let Ok(found) = path.metadata() else {
                continue;
            };
            if is_mask(&found) {
                return Generator::Masked;
            }
            let kind = found.file_type();
            if kind.is_file() && found.permissions().mode() & 0o111 != 0 {
                let knows_etc = mentions_etc(&path);
                return Generator::There { knows_etc };
            }
        }
        Generator::Missing
    }
}

/// Whether a file holds the path of the trigger in /etc. One that cannot be read does not: two links to one target are no harm, an
/// update that is forgotten is.
fn mentions_etc(file: &Path) -> bool {
    let path = root::inside(Path::new(TRIGGER_IN_ETC));
    let path = path.as_os_str().as_encoded_bytes();
    let holds = |bytes: Vec<u8>| bytes.windows(path.len()).any(|part| part == path);
    read_bounded(file, LIMIT).is_ok_and(holds)
}

/// The kernel command line as the first process sees it. In a container its own arguments are in the place of that.
fn command_line(root: &Root) -> String {
    if let Some(line) = env::var_os("SYSTEMD_PROC_CMDLINE") {
        return line.to_string_lossy().into_owned();
    }
    let kind = env::var_os("SYSTEMD_VIRTUALIZATION").unwrap_or_default();
    let is_container = kind.as_encoded_bytes().starts_with(b"container:");
    let file = if is_container {
        "proc/1/cmdline"
    } else {
        "proc/cmdline"
    };
    let bytes = read_bounded(&root.join(file), LIMIT).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// The words of a command line, as the first process takes them: quotes keep blanks together and are no part of a word.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match quote {
            Some(end) if c == end => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c.is_ascii_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// What of this word chooses another target than the default one.
fn overriding(word: &str) -> Option<&'static str> {
    const UNIT: &str = "systemd.unit=";
    match word.strip_prefix(UNIT) {
        Some("") => None,
        Some(_) => Some(UNIT),
        None => OVERRIDES.into_iter().find(|w| *w == word),
    }
}

/// What is to be done, and what to say of it.
#[derive(Debug)]
enum Decision {
    Nothing(Level, String),
    /// This boot is another tool's: our unit must not start in it.
    KeepOut(String),
    /// The boot goes to the update.
    Divert {
        /// systemd's clean-up has to be taught the trigger in /etc.
        clean: bool,
        text: String,
    },
}

/// What comes of what was found.
fn decide(facts: &Facts) -> Decision {
    let Trigger { at, is_ours } = facts.trigger;
    if !is_ours {
        return Decision::KeepOut(format!("/{at} is of another tool: {UNIT} does not start"));
    }
    if let Some(word) = facts.overridden {
        let text = format!("the kernel command line has {word}: the update of /{at} has to wait");
        return Decision::Nothing(Level::Warning, text);
    }
    if let Some((unit, how)) = facts.unusable {
        let text = format!("/{at} is there, but {unit} is {how}: no update in this boot");
        return Decision::Nothing(Level::Error, text);
    }
    match facts.theirs {
        Generator::Masked => {
            let text = format!(
                "/{at} is there, but {DIRECTORY_OF_GENERATORS}/{THEIRS} is masked: no update in this boot"
            );
            Decision::Nothing(Level::Warning, text)
        }
        Generator::There { knows_etc } if knows_etc || at == TRIGGER => {
            let text = format!("/{at} is ours: systemd diverts the boot to {TARGET}");
            Decision::Nothing(Level::Info, text)
        }
        _ => Decision::Divert {
            clean: at == TRIGGER_IN_ETC && !facts.cleans_etc,
            text: format!("/{at} is ours: the boot is diverted to {TARGET}"),
        },
    }
}

/// Makes a link in the directory of the generator; `false` when something else is there, which stays.
fn link(early: &Path, name: &str, text: &Path, log: &Log) -> Result<bool, String> {
    let path = early.join(name);
    match symlink(text, &path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            let is_same = fs::read_link(&path).is_ok_and(|t| t.as_os_str() == text.as_os_str());
            if !is_same {
                log.tell(Level::Warning, &occupied(&path));
            }
            Ok(is_same)
        }
        Err(e) => Err(failed(&path, &e)),
    }
}

/// Teaches systemd's clean-up the trigger in /etc; `false` when something else is there, which stays.
fn clean_etc(early: &Path, log: &Log) -> Result<bool, String> {
    let dir = early.join(format!("{CLEANUP}.d"));
    match fs::create_dir(&dir) {
        Ok(()) => fs::set_permissions(&dir, Permissions::from_mode(0o755)),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
    .map_err(|e| failed(&dir, &e))?;
    let path = dir.join(DROP_IN);
    match write_new(&path, CLEAN_ETC) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            let is_same = read_bounded(&path, LIMIT).is_ok_and(|b| b == CLEAN_ETC.as_bytes());
            if !is_same {
                log.tell(Level::Warning, &occupied(&path));
            }
            Ok(is_same)
        }
        Err(e) => Err(failed(&path, &e)),
    }
}

/// Makes a file that everybody can read; there is none when it fails.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).open(path)?;
    let written = file
        .set_permissions(Permissions::from_mode(0o644))
        .and_then(|()| file.write_all(text.as_bytes()));
    written.or_else(|e| fs::remove_file(path).and(Err(e)))
}

fn occupied(path: &Path) -> String {
    format!("{} is something else already, and stays", path.display())
}

fn failed(path: &Path, error: &io::Error) -> String {
    format!("{} could not be made: {error}", path.display())
}

/// Priority of a line (sd-daemon(3)).
#[derive(Debug, Clone, Copy)]
enum Level {
    Error = 3,
    Warning = 4,
    Info = 6,
}

/// Where is told what was decided: the journal does not take anything yet.
#[derive(Debug)]
struct Log {
    /// The kernel's, unless it cannot be written; else standard error.
    is_kernels: bool,
}

impl Log {
    fn tell(&self, level: Level, text: &str) {
        let line = format!("{NAME}[{}]: {text}", process::id());
        let record = format!("<{}>{line}\n", level as u8);
        // a container can have something else in its place, which must not make anybody wait
        let mut kernel = File::options();
        let kernel = kernel.append(true).custom_flags(OFlag::O_NONBLOCK.bits());
        let told = || kernel.open(KERNEL_LOG)?.write_all(record.as_bytes());
        if !self.is_kernels || told().is_err() {
            out::plain(&line);
        }
    }
}
