//! Writes the manual pages and the completions of the shells: `cargo run --example man -- OUTDIR`.
//!
//! Both come from the definitions that the programs themselves use, so that they cannot differ from them.

use std::path::Path;
use std::{env, fs, io};

use clap::{Arg, Command};
use clap_complete::Shell;
use clap_mangen::roff::{Roff, bold, italic, roman};
use transactional_update::cli::args;
use transactional_update::config::{File, KEYS, Key, Values};

const NAME: &str = "transactional-update";

fn main() -> io::Result<()> {
    let out = env::args_os()
        .nth(1)
        .ok_or_else(|| io::Error::other("usage: man OUTDIR"))?;
    let out = Path::new(&out);
    fs::create_dir_all(out)?;
    fs::write(out.join(format!("{NAME}.8")), program_page())?;
    fs::write(out.join(format!("{NAME}.conf.5")), configuration_page())?;
    for (shell, file) in completions() {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut args::command(), NAME, &mut script);
        fs::write(out.join(file), script)?;
    }
    Ok(())
}

fn completions() -> [(Shell, String); 3] {
    [
        (Shell::Bash, format!("{NAME}.bash")),
        (Shell::Zsh, format!("_{NAME}")),
        (Shell::Fish, format!("{NAME}.fish")),
    ]
}

/// transactional-update(8).
pub(crate) fn program_page() -> String {
    let mut command = args::command();
    command.build();
    let mut page = Page::new(NAME, 8);
    page.name("transactional-update - update the system in a new snapshot, and switch to it with the next boot");
    page.section("Synopsis");
    page.0.text([
        bold(NAME),
        roman(" ["),
        italic("OPTIONS"),
        roman("] ["),
        italic("COMMAND"),
        roman(" ["),
        italic("ARGUMENTS"),
        roman("]...]"),
    ]);
    page.section("Description");
    for paragraph in DESCRIPTION {
        page.text(paragraph);
    }
    page.section("Commands");
    for sub in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        page.command(sub, "");
    }
    page.item("-h, --help", "Each command prints its help with this.");
    page.section("Options")
        .text("They stand anywhere in the line, but what follows run and pkg belongs to those.");
    page.options(&command);
    page.section("Exit status");
    page.table(EXIT);
    page.section("Environment");
    page.table(ENVIRONMENT);
    page.section("Units");
    page.table(UNITS);
    page.section("Files");
    page.table(FILES);
    page.section("Examples");
    page.table(EXAMPLES);
    page.section("See also")
        .text("transactional-update.conf(5), snapper(8), zypper(8), btrfs-subvolume(8)");
    page.0.render()
}

/// transactional-update.conf(5), which is also about tukit.conf.
pub(crate) fn configuration_page() -> String {
    let mut page = Page::new("transactional-update.conf", 5);
    page.name("transactional-update.conf, tukit.conf - how the system is updated");
    page.section("Synopsis");
    page.table(CONFIGURATION_FILES);
    page.section("Description");
    for paragraph in CONFIGURATION {
        page.text(paragraph);
    }
    for (file, title) in [
        (
            File::TransactionalUpdate,
            "Keys of transactional-update.conf",
        ),
        (File::Tukit, "Keys of tukit.conf"),
    ] {
        page.section(title);
        for key in KEYS.iter().filter(|k| k.file == file) {
            page.key(key);
        }
    }
    page.section("Examples");
    page.table(CONFIGURATION_EXAMPLES);
    page.section("See also").text("transactional-update(8)");
    page.0.render()
}

const DESCRIPTION: &[&str] = &[
    "A command that changes the system makes a btrfs snapshot of it, works there, and makes the snapshot what boots next. \
     The running system stays as it is. When anything fails, also by a loss of power, the snapshot goes away and the next boot \
     is the one it would have been: either all of a change is there, or nothing of it.",
    "A change that is made before the reboot builds upon the one that waits for it, so nothing is lost when there are several. \
     The snapshot that is built upon is named at the beginning.",
    "Commands that change the system can be chained: those that work in the new snapshot are one transaction, packages first whatever the \
     order in which they were typed; cleanup comes before it, apply and reboot after it and only when it changed something. Without a command, \
     what UPDATE_METHOD in the configuration says is done.",
    "The root must be a snapshot below /.snapshots as snapper makes them (the layout of openSUSE). /etc and the RPM database are part of \
     the snapshot. /var, /srv, /opt, /home and everything else that is mounted are not: what a package writes there is hidden when \
     the new system runs, and is told at the end. /var/cache and /var/log are live.",
];

const EXIT: &[(&str, &str)] = &[
    ("0", "It is done, or there was nothing to do."),
    (
        "1",
        "It failed, and nothing was changed. Also when the command line was not understood.",
    ),
    (
        "other",
        "The status of the command that run or shell started; nothing was changed.",
    ),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "TU_CONFFILE",
        "Is read instead of /etc/transactional-update.conf and must exist.",
    ),
    (
        "TU_CONFFILESYSTEM",
        "Is read instead of /usr/etc/transactional-update.conf and must exist.",
    ),
    (
        "TU_LOCKFILE",
        "The lock file; takes precedence over LOCKFILE in tukit.conf.",
    ),
    ("TU_LOGFILE", "The log file."),
    (
        "TRANSACTIONAL_UPDATE",
        "Is true for everything that runs inside a transaction. A transaction is not begun where it is set.",
    ),
];

const UNITS: &[(&str, &str)] = &[
    (
        "transactional-update.timer, transactional-update.service",
        "Update the system every night as UPDATE_METHOD says, after a cleanup, and reboot as REBOOT_METHOD says when there is \
         something to switch to. Enable the timer for it.",
    ),
    (
        "transactional-update-cleanup.timer, transactional-update-cleanup.service",
        "Call cleanup every day.",
    ),
    (
        "transactional-update-boot.service",
        "Notes after a boot that the snapshot boots, and finishes what a transaction that was cut off left. To be enabled \
         everywhere.",
    ),
];

const FILES: &[(&str, &str)] = &[
    (
        "/etc/transactional-update.conf, /etc/tukit.conf",
        "The configuration, see transactional-update.conf(5).",
    ),
    (
        "/.snapshots/N/snapshot",
        "The snapshots. Beside each is its info.xml with what snapper shows of it.",
    ),
    (
        "/var/log/transactional-update.log",
        "The log. The journal has it, too, under the identifier transactional-update.",
    ),
    (
        "/var/lib/transactional-update/history.jsonl",
        "One JSON object for each change: when, what, and what came of it.",
    ),
    (
        "/run/reboot-needed",
        "How the system has to be restarted for what waits: soft-reboot, kexec or reboot.",
    ),
];

const EXAMPLES: &[(&str, &str)] = &[
    (
        "transactional-update dup",
        "Upgrades everything, without questions.",
    ),
    (
        "transactional-update dup shell",
        "Upgrades everything and opens a shell in the result, before it becomes the next system.",
    ),
    (
        "transactional-update pkg install vim ./own.rpm",
        "Installs a package and a local file.",
    ),
    (
        "transactional-update --drop-if-no-change run sed -i s/a/b/ /etc/foo.conf",
        "Edits a file of the next system.",
    ),
    (
        "transactional-update discard",
        "Drops what waits for the next boot.",
    ),
    (
        "transactional-update rollback last",
        "Goes back to the system that ran before this one.",
    ),
    (
        "transactional-update status --json",
        "Tells a program what runs and what boots next.",
    ),
    (
        "transactional-update --root /mnt rollback 41",
        "Mends a system that does not boot, from a rescue system that has it mounted at /mnt.",
    ),
];

const CONFIGURATION_FILES: &[(&str, &str)] = &[
    (
        "/etc/transactional-update.conf, /etc/transactional-update.conf.d/*.conf",
        "Of the administrator.",
    ),
    (
        "/usr/etc/transactional-update.conf, /usr/etc/transactional-update.conf.d/*.conf",
        "Of the distribution.",
    ),
    (
        "/etc/tukit.conf, /etc/tukit.conf.d/*.conf",
        "Of the administrator.",
    ),
    (
        "/usr/etc/tukit.conf, /usr/etc/tukit.conf.d/*.conf",
        "Of the distribution.",
    ),
];

const CONFIGURATION: &[&str] = &[
    "Each line sets a key to a value, which may stand in quotes; lines that begin with # are comments. The files are data and are never \
     run as a shell script. A value that is not understood is an error that names the file and the line; a key that is not known is a warning.",
    "A drop-in in /etc replaces one of the same name in /usr/etc.",
    "transactional-update.conf: first the file in /usr/etc is read, then its drop-ins, then the file in /etc, then its drop-ins. \
     What is read later wins.",
    "tukit.conf: the file in /etc replaces the one in /usr/etc. The drop-ins of both directories follow, in the order of their names.",
];

const CONFIGURATION_EXAMPLES: &[(&str, &str)] = &[
    (
        "/etc/transactional-update.conf.d/release.conf",
        "UPDATE_METHOD=up",
    ),
    ("/etc/tukit.conf.d/opt.conf", "BINDDIRS[]=/opt/vendor"),
];

/// A page in the making.
struct Page(Roff);

impl Page {
    fn new(name: &str, section: u8) -> Page {
        let mut page = Page(Roff::new());
        let source = format!("{NAME} {}", env!("CARGO_PKG_VERSION"));
        page.0.control(
            "TH",
            [
                name.to_uppercase().as_str(),
                section.to_string().as_str(),
                "\"\"",
                source.as_str(),
            ],
        );
        page
    }

    fn section(&mut self, title: &str) -> &mut Page {
        self.0.control("SH", [title.to_uppercase().as_str()]);
        self
    }

    /// The section that the index of manual pages is made from.
    fn name(&mut self, text: &str) {
        self.section("Name").0.text([roman(text)]);
    }

    fn text(&mut self, text: &str) -> &mut Page {
        self.0.control("PP", []).text([roman(text)]);
        self
    }

    /// A paragraph with a bold heading.
    fn item(&mut self, title: &str, text: &str) -> &mut Page {
        self.0
            .control("TP", [])
            .text([bold(title)])
            .text([roman(text)]);
        self
    }

    /// What `inner` writes, further to the right.
    fn indented(&mut self, inner: impl FnOnce(&mut Page)) {
        self.0.control("RS", []);
        inner(self);
        self.0.control("RE", []);
    }

    fn table(&mut self, rows: &[(&str, &str)]) {
        for (title, text) in rows {
            self.item(title, text);
        }
    }

    /// A command with its arguments, options and sub-commands; `above` is the command it belongs to.
    fn command(&mut self, command: &Command, above: &str) {
        let mut words = vec![above.to_owned(), command.get_name().to_owned()];
        words.extend(
            command
                .get_positionals()
                .filter(|a| !a.is_hide_set())
                .map(positional),
        );
        if command.has_subcommands() {
            words.push("COMMAND".into());
        }
        let title = words.join(" ").trim().to_owned();
        let aliases: Vec<&str> = command.get_visible_aliases().collect();
        let mut about = command
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        if !aliases.is_empty() {
            about = format!("{about}. Also: {}", aliases.join(", "));
        }
        self.item(&title, &format!("{about}."));
        if command
            .get_arguments()
            .any(|a| is_option(a) && a.get_long() != Some("help"))
        {
            self.indented(|page| page.options(command));
        }
        for sub in command.get_subcommands().filter(|c| !c.is_hide_set()) {
            self.command(sub, &format!("{above} {}", command.get_name()));
        }
    }

    fn options(&mut self, command: &Command) {
        let is_top = command.get_name() == NAME;
        for option in command
            .get_arguments()
            .filter(|a| is_option(a) && (is_top || a.get_long() != Some("help")))
        {
            let short = option.get_short().map(|s| format!("-{s}"));
            let long = option.get_long().map(|l| format!("--{l}"));
            let names: Vec<String> = short.into_iter().chain(long).collect();
            let help = option
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            self.item(
                &format!("{}{}", names.join(", "), value(option)),
                &format!("{help}."),
            );
        }
    }

    fn key(&mut self, key: &Key) {
        let brackets = if key.is_list() { "[]" } else { "" };
        self.item(&format!("{}{brackets}=", key.name), key.doc);
        self.indented(|page| page.values(key));
    }

    fn values(&mut self, key: &Key) {
        match key.values {
            Values::Words(words) => self.table(words),
            Values::Boolean => _ = self.text("Values: 1, yes or true; 0, no or false."),
            Values::Path => _ = self.text("Value: an absolute path."),
            Values::Paths => _ = self.text("Value: an absolute path; one line for each."),
            Values::Seconds => _ = self.text("Value: a number of seconds, from 1 to 86400."),
            Values::Text => _ = self.text("Value: text."),
        }
        let default = match (key.default, key.values) {
            ("", _) => "none".to_owned(),
            (path, Values::Path) => format!("/{path}"),
            (other, _) => other.to_owned(),
        };
        self.text(&format!("Default: {default}"));
    }
}

fn is_option(argument: &Arg) -> bool {
    !argument.is_positional() && !argument.is_hide_set()
}

/// The value of an option, as it is typed.
fn value(option: &Arg) -> String {
    let Some(name) = option
        .get_value_names()
        .and_then(|n| n.first())
        .filter(|_| option.get_action().takes_values())
    else {
        return String::new();
    };
    match (
        option.get_num_args().map(|n| n.min_values()),
        option.is_require_equals_set(),
    ) {
        (Some(0), _) => format!("[={name}]"),
        (_, true) => format!("={name}"),
        (_, false) => format!(" {name}"),
    }
}

fn positional(argument: &Arg) -> String {
    let name = argument
        .get_value_names()
        .and_then(|n| n.first())
        .map_or("ARG", |n| n.as_str());
    let many = argument.get_num_args().is_some_and(|n| n.max_values() > 1);
    let name = if many {
        format!("{name}...")
    } else {
        name.to_owned()
    };
    if argument.is_required_set() {
        name
    } else {
        format!("[{name}]")
    }
}
