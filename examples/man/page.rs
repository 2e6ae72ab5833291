//! What all pages are made with.

use clap::{Arg, Command};
use clap_mangen::roff::{Roff, bold, italic, roman};
use transactional_update::config::{Key, Values};

/// What the programs belong to, for the foot of each page.
const PROJECT: &str = "transactional-update";

/// A page in the making.
pub(crate) struct Page(Roff);

impl Page {
    pub(crate) fn new(name: &str, section: u8) -> Page {
        let mut page = Page(Roff::new());
        let source = format!("{PROJECT} {}", env!("CARGO_PKG_VERSION"));
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

    /// What is typed: the program, and what may follow it, each in brackets when that may be left out.
    pub(crate) fn synopsis(&mut self, program: &str, rest: &[&str]) {
        self.section("Synopsis");
        let mut words = vec![bold(program)];
        for word in rest {
            words.extend([roman(" "), italic(*word)]);
        }
        self.0.text(words);
    }

    /// The page as text in the language of man(7).
    pub(crate) fn render(&self) -> String {
        self.0.render()
    }

    pub(crate) fn section(&mut self, title: &str) -> &mut Page {
        self.0.control("SH", [title.to_uppercase().as_str()]);
        self
    }

    /// The section that the index of manual pages is made from.
    pub(crate) fn name(&mut self, text: &str) {
        self.section("Name").0.text([roman(text)]);
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Page {
        self.0.control("PP", []).text([roman(text)]);
        self
    }

    /// A paragraph with a bold heading.
    pub(crate) fn item(&mut self, title: &str, text: &str) -> &mut Page {
        self.0
            .control("TP", [])
            .text([bold(title)])
            .text([roman(text)]);
        self
    }

    /// What `inner` writes, further to the right.
    pub(crate) fn indented(&mut self, inner: impl FnOnce(&mut Page)) {
        self.0.control("RS", []);
        inner(self);
        self.0.control("RE", []);
    }

    pub(crate) fn table(&mut self, rows: &[(&str, &str)]) {
        for (title, text) in rows {
            self.item(title, text);
        }
    }

    /// A command with its arguments, options and sub-commands; `above` is the command it belongs to.
    pub(crate) fn command(&mut self, command: &Command, above: &str) {
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

    pub(crate) fn options(&mut self, command: &Command) {
        let is_top = command.has_subcommands();
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
                &format!("{help}.{}", words(option)),
            );
        }
    }

    pub(crate) fn key(&mut self, key: &Key) {
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
            Values::Directories => {
                _ = self.text("Value: absolute paths of directories, with blanks between them.");
            }
            Values::Seconds(least) => {
                let text = format!("Value: a number of seconds, from {least} to 86400.");
                let _ = self.text(&text);
            }
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

/// What the value of an option may be, where these words are all.
fn words(option: &Arg) -> String {
    let words: Vec<String> = option
        .get_possible_values()
        .iter()
        .map(|word| word.get_name().to_owned())
        .collect();
    match option.get_action().takes_values() && !words.is_empty() {
        true => format!(" Values: {}.", words.join(", ")),
        false => String::new(),
    }
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
