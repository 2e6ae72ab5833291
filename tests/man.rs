//! The manual pages are made from the same definitions as the programs; these tests show that nothing gets lost
//! on the way, and that nothing is described that does not exist.

#[allow(dead_code)] // its `main` writes the files
#[path = "../examples/man/main.rs"]
mod man;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use transactional_update::cli;
use transactional_update::config::{File, KEYS, Values};
use transactional_update::report::{Clash, Edit, Entry, List, Outlook, Pending, SCHEMA, Status};

/// The text of a page without the language of man(7), as lines; a heading of a paragraph begins with `>`.
fn plain(page: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut is_heading = false;
    for line in page.lines() {
        let text = line
            .replace("\\-", "-")
            .replace("\\fB", "")
            .replace("\\fI", "")
            .replace("\\fR", "")
            .replace("\\*(Aq", "'");
        match text.strip_prefix(".SH ") {
            Some(title) => lines.push(format!("= {}", title.trim_matches('"'))),
            None if text.starts_with(".TP") => is_heading = true,
            None if text.starts_with('.') => {}
            None if is_heading => {
                lines.push(format!("> {text}"));
                is_heading = false;
            }
            None => lines.push(text.replace("\\&", "").replace("\\\\", "\\")),
        }
    }
    lines
}

/// The lines of a section.
fn section(page: &[String], title: &str) -> Vec<String> {
    let lines = page
        .iter()
        .skip_while(|l| **l != format!("= {title}"))
        .skip(1);
    let lines: Vec<String> = lines
        .take_while(|l| !l.starts_with("= "))
        .cloned()
        .collect();
    assert!(!lines.is_empty(), "no section {title}");
    lines
}

/// The headings of the paragraphs in these lines.
fn headings(lines: &[String]) -> Vec<String> {
    lines
        .iter()
        .filter_map(|l| l.strip_prefix("> "))
        .map(str::to_owned)
        .collect()
}

/// The options that a heading such as `-c, --continue[=N]` names.
fn options_in(headings: &[String]) -> BTreeSet<String> {
    let words = headings
        .iter()
        .filter(|h| h.starts_with('-'))
        .flat_map(|h| h.split(", "));
    words
        .map(|w| {
            w.split(['=', '[', ' '])
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
}

/// The visible commands below `command`, as `pkg install`, and all options of them.
fn defined(
    command: &clap::Command,
    above: &str,
    commands: &mut BTreeSet<String>,
    options: &mut BTreeSet<String>,
) {
    for option in command
        .get_arguments()
        .filter(|a| !a.is_positional() && !a.is_hide_set())
    {
        options.extend(option.get_short().map(|s| format!("-{s}")));
        options.extend(option.get_long().map(|l| format!("--{l}")));
    }
    for sub in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        let name = format!("{above} {}", sub.get_name()).trim().to_owned();
        defined(sub, &name, commands, options);
        commands.insert(name);
    }
}

/// The programs: the page, the definition of the command line, and the program itself.
fn programs() -> [(Vec<String>, clap::Command, &'static str); 2] {
    [
        (
            plain(&man::program_page()),
            cli::args::command(),
            env!("CARGO_BIN_EXE_transactional-update"),
        ),
        (
            plain(&man::tukit::program_page()),
            cli::tukit::args::command(),
            env!("CARGO_BIN_EXE_tukit"),
        ),
    ]
}

fn definition(mut command: clap::Command) -> (BTreeSet<String>, BTreeSet<String>) {
    command.build();
    let (mut commands, mut options) = (BTreeSet::new(), BTreeSet::new());
    defined(&command, "", &mut commands, &mut options);
    (commands, options)
}

#[test]
fn the_page_has_every_option_and_no_other() {
    for (page, command, _) in programs() {
        let mut described = options_in(&headings(&section(&page, "COMMANDS")));
        described.extend(options_in(&headings(&section(&page, "OPTIONS"))));
        assert_eq!(described, definition(command).1);
    }
}

#[test]
fn the_page_has_every_visible_command_and_no_other() {
    let is_word = |w: &&str| w.starts_with(|c: char| c.is_ascii_lowercase());
    for (page, command, _) in programs() {
        let commands = headings(&section(&page, "COMMANDS"));
        let commands = commands.iter().filter(|h| !h.starts_with('-'));
        let described: BTreeSet<String> = commands
            .map(|h| {
                h.split(' ')
                    .take_while(is_word)
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        assert_eq!(described, definition(command).0);
    }
}

#[test]
#[allow(clippy::disallowed_methods)] // tests start programs as a person does
fn what_the_program_says_of_itself_is_in_the_page() {
    for (page, _, program) in programs() {
        let page = page.join("\n");
        let out = std::process::Command::new(program)
            .arg("--help")
            .output()
            .unwrap();
        let help = String::from_utf8(out.stdout).unwrap();
        let words = help
            .split([' ', '\n', ',', '[', '='])
            .filter(|w| w.starts_with("--") || (w.len() == 2 && w.starts_with('-')));
        let commands = help
            .lines()
            .skip_while(|l| *l != "Commands:")
            .skip(1)
            .take_while(|l| !l.is_empty());
        let commands: Vec<&str> = commands
            .filter_map(|l| l.split_whitespace().next())
            .collect();
        assert!(commands.len() > 8, "{help}");
        for word in words.chain(commands) {
            assert!(page.contains(word), "{word} of --help is not in the page");
        }
    }
}

#[test]
fn the_examples_of_the_page_are_understood() {
    let [(page, ..), (tukit, ..)] = programs();
    let words = |example: &str| -> Vec<_> { example.split_whitespace().map(Into::into).collect() };
    let examples = headings(&section(&page, "EXAMPLES"));
    assert!(examples.len() > 3);
    for example in examples {
        let parsed = cli::args::parse(words(&example));
        assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
    }
    let examples = headings(&section(&tukit, "EXAMPLES"));
    assert!(examples.len() > 3);
    for example in examples {
        let parsed = cli::tukit::args::parse(words(&example));
        assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
    }
}

/// The stages that src/transaction names are those of the page.
#[test]
fn the_page_of_tukit_has_every_stage_of_plugins_and_no_other() {
    let page = plain(&man::tukit::program_page());
    let described: BTreeSet<String> = headings(&section(&page, "PLUGINS"))
        .iter()
        .filter_map(|h| h.split(' ').next().map(str::to_owned))
        .collect();
    let mut called = BTreeSet::new();
    for step in ["execute", "callExt"] {
        called.extend(["pre", "post"].map(|when| format!("{step}-{when}")));
    }
    for file in ["open", "park", "plugins"] {
        let path = format!("{}/src/transaction/{file}.rs", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(path).unwrap();
        let literals = text.split('"').skip(1).step_by(2);
        let stages = literals.filter(|l| l.ends_with("-pre") || l.ends_with("-post"));
        called.extend(stages.map(str::to_owned));
    }
    assert_eq!(described, called);
}

#[test]
fn the_page_has_every_environment_variable_that_the_program_reads_and_no_other() {
    let described: BTreeSet<String> =
        headings(&section(&plain(&man::program_page()), "ENVIRONMENT"))
            .into_iter()
            .collect();
    let mut read = BTreeSet::from(["TRANSACTIONAL_UPDATE".to_owned()]);
    let dirs =
        ["src/cli", "src/cli/tukit"].map(|dir| Path::new(env!("CARGO_MANIFEST_DIR")).join(dir));
    let entries = dirs.iter().flat_map(|dir| fs::read_dir(dir).unwrap());
    for path in entries.map(|e| e.unwrap().path()).filter(|p| p.is_file()) {
        let text = fs::read_to_string(path).unwrap();
        let literals = text
            .split('"')
            .skip(1)
            .step_by(2)
            .filter(|l| l.starts_with("TU_"));
        read.extend(literals.map(str::to_owned));
    }
    assert_eq!(described, read);
}

/// The pages of the configuration files.
fn configuration() -> [(Vec<String>, File); 2] {
    [
        (plain(&man::configuration_page()), File::TransactionalUpdate),
        (plain(&man::tukit::configuration_page()), File::Tukit),
    ]
}

#[test]
fn the_page_of_a_configuration_file_has_each_of_its_keys_and_no_other() {
    for (page, file) in configuration() {
        let described: Vec<String> = headings(&section(&page, "KEYS"))
            .into_iter()
            .filter(|h| h.ends_with('='))
            .collect();
        let known = KEYS.iter().filter(|k| k.file == file);
        let known: Vec<String> = known
            .map(|k| format!("{}{}=", k.name, if k.is_list() { "[]" } else { "" }))
            .collect();
        assert_eq!(described, known);
    }
}

#[test]
fn each_key_is_described_with_its_values_and_its_default() {
    let pages = configuration();
    for key in KEYS {
        let page = pages.iter().find(|(_, file)| *file == key.file);
        let (page, _) = page.unwrap();
        let brackets = if key.is_list() { "[]" } else { "" };
        let heading = format!("> {}{brackets}=", key.name);
        let block = page.iter().skip_while(|l| **l != heading).skip(1);
        let block: Vec<String> = block
            .take_while(|l| !(l.starts_with("= ") || l.starts_with("> ") && l.ends_with('=')))
            .cloned()
            .collect();
        assert_eq!(block[0], key.doc, "{}", key.name);
        let words: Vec<&str> = match key.values {
            Values::Words(words) => words.iter().map(|(word, _)| *word).collect(),
            _ => Vec::new(),
        };
        assert_eq!(headings(&block), words, "{}", key.name);
        if let Values::Words(words) = key.values {
            assert!(
                words
                    .iter()
                    .all(|(_, meaning)| block.iter().any(|l| l == meaning)),
                "{}: {block:?}",
                key.name
            );
        } else {
            assert!(
                block.iter().any(|l| l.starts_with("Value")),
                "{}: {block:?}",
                key.name
            );
        }
        let default = block.iter().find_map(|l| l.strip_prefix("Default: "));
        let expected = if key.default.is_empty() {
            "none"
        } else {
            key.default
        };
        assert_eq!(
            default.map(|d| d.trim_start_matches('/')),
            Some(expected.trim_start_matches('/')),
            "{}",
            key.name
        );
    }
}

#[test]
#[allow(clippy::disallowed_methods)] // tests start programs as a person does
fn the_page_of_the_merge_has_every_option_and_what_the_program_says_of_itself() {
    let page = plain(&man::sync_etc::page());
    let mut command = transactional_update::cli::sync_etc::command();
    command.build();
    let (mut commands, mut options) = (BTreeSet::new(), BTreeSet::new());
    defined(&command, "", &mut commands, &mut options);
    assert_eq!(options_in(&headings(&section(&page, "OPTIONS"))), options);
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_transactional-update-sync-etc-state"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(out.stdout).unwrap();
    let words = help.split([' ', '\n', ',', '[', '=', '<']);
    let page = page.join("\n");
    for word in words.filter(|w| w.starts_with('-') || w.chars().all(|c| c.is_ascii_uppercase())) {
        assert!(page.contains(word), "{word} of --help is not in the page");
    }
}

#[test]
#[allow(clippy::disallowed_methods)] // tests start programs as a person does
fn the_page_of_the_boot_helper_has_every_option_and_what_the_program_says_of_itself() {
    let page = plain(&man::create_dirs::page());
    let mut command = transactional_update::cli::create_dirs::command();
    command.build();
    let (mut commands, mut options) = (BTreeSet::new(), BTreeSet::new());
    defined(&command, "", &mut commands, &mut options);
    assert_eq!(options_in(&headings(&section(&page, "OPTIONS"))), options);
    let program = env!("CARGO_BIN_EXE_create-dirs-from-rpmdb");
    let out = std::process::Command::new(program).arg("--help").output();
    let help = String::from_utf8(out.unwrap().stdout).unwrap();
    let text = page.join("\n");
    for word in help.split([' ', '\n', ',', '<', '>', ':', ';']) {
        let is_code = !word.is_empty() && word.chars().all(|c| c.is_ascii_digit());
        if word.starts_with('-') || is_code {
            assert!(text.contains(word), "{word} of --help is not in the page");
        }
    }
    for example in headings(&section(&page, "EXAMPLES")) {
        let words = example.split_whitespace();
        let parsed = cli::create_dirs::command().try_get_matches_from(words);
        assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
    }
}

#[test]
fn the_page_of_sysupdate_has_every_option_every_command_and_examples_that_can_be_typed() {
    let page = plain(&man::sysupdate::program_page());
    let mut command = cli::sysupdate::command();
    command.build();
    let (mut commands, mut options) = (BTreeSet::new(), BTreeSet::new());
    defined(&command, "", &mut commands, &mut options);
    assert_eq!(options_in(&headings(&section(&page, "OPTIONS"))), options);
    let help = command.render_long_help().to_string();
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    let listed: Vec<&str> = listed
        .filter_map(|line| line.trim().split("  ").next())
        .collect();
    assert_eq!(headings(&section(&page, "COMMANDS")), listed);
    for example in headings(&section(&page, "EXAMPLES")) {
        let parsed = cli::sysupdate::command().try_get_matches_from(example.split_whitespace());
        assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
    }
}

#[test]
fn the_page_of_transfer_files_has_every_key_that_is_read_and_no_other() {
    let page = plain(&man::sysupdate::definitions_page());
    let mut described = BTreeSet::new();
    for title in [
        "[TRANSFER]",
        "[SOURCE]",
        "[TARGET]",
        "[FEATURE] AND [COMPONENT]",
    ] {
        let lines = section(&page, title).join(" ");
        let words = lines
            .split([' ', ','])
            .filter_map(|word| word.strip_suffix('='));
        described.extend(words.map(str::to_owned));
    }
    let mut read = BTreeSet::new();
    for file in ["draft.rs", "feature.rs"] {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("src/sysupdate/definition")
            .join(file);
        for line in fs::read_to_string(source).unwrap().lines() {
            let Some((keys, _)) = line
                .trim()
                .strip_prefix('"')
                .and_then(|_| line.split_once(" =>").or(line.split_once(" if ")))
            else {
                continue;
            };
            let words = keys.split('"').skip(1).step_by(2);
            let is_key = |word: &&str| word.starts_with(|c: char| c.is_ascii_uppercase());
            read.extend(words.filter(is_key).map(str::to_owned));
        }
    }
    for section in ["Transfer", "Source", "Target"] {
        read.remove(section);
    }
    let conditions = described
        .iter()
        .filter(|key| key.starts_with("SuggestOn"))
        .count();
    assert_eq!(conditions, 11);
    described.retain(|key| !key.starts_with("SuggestOn"));
    assert_eq!(described, read);
}

#[test]
fn the_page_of_the_boot_helper_has_every_word_of_its_json() {
    let page = section(&plain(&man::create_dirs::page()), "JSON").join("\n");
    let described: BTreeSet<&str> = page.split([' ', ',', '.', ':', '\n']).collect();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/dirs/report.rs");
    let source = fs::read_to_string(source).unwrap();
    for name in ["Action", "Reason", "Status"] {
        let (_, block) = source.split_once(&format!("\nimpl {name} {{")).unwrap();
        let (block, _) = block.split_once("\n}").unwrap();
        let words: Vec<&str> = block.split('"').skip(1).step_by(2).collect();
        assert!(words.len() > 3, "{name}");
        for word in words {
            assert!(described.contains(word), "{word} is not in the page");
        }
    }
}

#[test]
fn the_page_of_the_generator_has_every_variable_that_it_reads_every_override_and_no_other() {
    let page = plain(&man::generator::page());
    let variables = headings(&section(&page, "ENVIRONMENT"));
    let described: BTreeSet<&str> = variables.iter().flat_map(|h| h.split(", ")).collect();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/offline/generator.rs");
    let source = fs::read_to_string(source).unwrap();
    let words = source.split(|c: char| !c.is_ascii_uppercase() && c != '_');
    let read = words.filter(|w| w.starts_with("TU_") || w.starts_with("SYSTEMD_"));
    assert_eq!(described, read.collect());
    let line = section(&page, "KERNEL COMMAND LINE").join(" ");
    let (_, words) = line.split_once("without them: ").unwrap();
    let words: Vec<&str> = words.trim_end_matches('.').split(", ").collect();
    assert_eq!(words, transactional_update::offline::generator::OVERRIDES);
}

#[test]
fn the_pages_hold_nothing_that_the_reader_of_pages_would_not_show() {
    for (name, page) in [
        ("transactional-update", man::program_page()),
        ("transactional-update.conf", man::configuration_page()),
        ("transactional-update-sync-etc-state", man::sync_etc::page()),
        ("transactional-update-generator", man::generator::page()),
        ("create-dirs-from-rpmdb", man::create_dirs::page()),
        ("sysupdate", man::sysupdate::program_page()),
        ("sysupdate.d", man::sysupdate::definitions_page()),
        ("tukit", man::tukit::program_page()),
        ("tukit.conf", man::tukit::configuration_page()),
    ] {
        let name = name.replace('-', "\\-");
        assert!(
            page.contains(&format!("\n.SH NAME\n{name} \\- ")),
            "the index of pages needs the name right below its heading"
        );
        let known = [".TH", ".SH", ".TP", ".PP", ".RS", ".RE", ".ie", ".el"];
        for line in page.lines().filter(|l| l.starts_with(['.', '\''])) {
            assert!(known.iter().any(|k| line.starts_with(k)), "{line}");
        }
    }
}

/// The names in a JSON text, with those of what they are inside of.
fn names(value: &serde_json::Value, above: &str, into: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                let name = format!("{above}{name}");
                names(value, &format!("{name}."), into);
                into.insert(name);
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|v| names(v, above, into)),
        _ => {}
    }
}

/// What the boot helper prints when there is something of everything.
fn directories() -> serde_json::Value {
    use transactional_update::dirs;
    use transactional_update::rpmdb::BadPackage;
    let report = dirs::Report {
        root: "a".into(),
        database: Some(dirs::Source {
            path: "a".into(),
            backend: String::new(),
        }),
        status: dirs::Status::Scanned,
        dry_run: false,
        entries: vec![dirs::Entry {
            path: "a".into(),
            action: dirs::Action::Create,
            reason: None,
            mode: 0,
            user: "a".into(),
            group: "a".into(),
            packages: Vec::new(),
            error: None,
        }],
        bad: vec![BadPackage {
            name: String::new(),
            why: String::new(),
        }],
        warnings: Vec::new(),
        tmpfiles: dirs::Tmpfiles::NotCalled,
        took: Default::default(),
    };
    serde_json::to_value(cli::create_dirs::Answer::of(&report)).expect("an answer is plain data")
}

#[test]
fn every_field_of_the_json_is_described_and_no_other() {
    let status = Status {
        schema: SCHEMA,
        booted: None,
        current: None,
        default: None,
        next: None,
        pending: Some(Pending {
            snapshot: 2,
            since: String::new(),
            lineage: Vec::new(),
        }),
        reboot_needed: false,
        in_progress: Vec::new(),
        open: Vec::new(),
        kept: Vec::new(),
        etc: Outlook {
            lost: vec![Edit {
                path: "a".into(),
                change: "added",
            }],
            conflicts: vec![Clash {
                path: "a".into(),
                outcome: String::new(),
            }],
        },
        attention: Vec::new(),
    };
    let list = List {
        schema: SCHEMA,
        snapshots: vec![Entry {
            number: 1,
            date: String::new(),
            flags: Vec::new(),
            read_only: None,
            base: None,
            description: String::new(),
            cleanup: String::new(),
            userdata: Default::default(),
            problem: Some(String::new()),
        }],
    };
    let page = plain(&man::program_page());
    let helper = plain(&man::create_dirs::page());
    for (page, title, answer) in [
        (
            &page,
            "JSON OF STATUS",
            serde_json::to_value(status).unwrap(),
        ),
        (&page, "JSON OF LIST", serde_json::to_value(list).unwrap()),
        (&helper, "JSON", directories()),
    ] {
        let mut printed = BTreeSet::new();
        names(&answer, "", &mut printed);
        let headings = headings(&section(page, title));
        let described = headings.iter().flat_map(|h| h.split(", "));
        assert_eq!(
            described.map(str::to_owned).collect::<BTreeSet<_>>(),
            printed,
            "{title}"
        );
    }
    assert!(section(&page, "JSON OF STATUS")[1].starts_with(&format!("{SCHEMA}. ")));
}
