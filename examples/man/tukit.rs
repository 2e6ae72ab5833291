//! tukit(8) and tukit.conf(5).

use transactional_update::cli::tukit::args;
use transactional_update::config::{File, KEYS};

use super::CONFIGURATION_FORM;
use super::page::Page;

/// tukit(8).
pub(crate) fn program_page() -> String {
    let mut command = args::command();
    command.build();
    let mut page = Page::new("tukit", 8);
    page.name("tukit - make a transaction step by step, and look at snapshots");
    page.synopsis("tukit", &["[OPTIONS]", "COMMAND", "[ARGUMENTS]"]);
    page.section("Description");
    for paragraph in DESCRIPTION {
        page.text(paragraph);
    }
    page.section("Commands");
    for sub in command.get_subcommands() {
        page.command(sub, "");
    }
    page.section("Options")
        .text("They stand before the command; what follows a command belongs to it.");
    page.options(&command);
    page.section("Plugins");
    for paragraph in PLUGINS {
        page.text(paragraph);
    }
    page.table(STAGES);
    page.section("Exit status");
    page.table(EXIT);
    page.section("Environment")
        .text("What transactional-update(8) knows. For commands in a transaction and beside it these are set:");
    page.table(ENVIRONMENT);
    page.section("Files");
    page.table(FILES);
    page.section("Examples");
    page.table(EXAMPLES);
    page.section("See also")
        .text("tukit.conf(5), transactional-update(8), snapper(8)");
    page.render()
}

/// tukit.conf(5).
pub(crate) fn configuration_page() -> String {
    let mut page = Page::new("tukit.conf", 5);
    page.name("tukit.conf - how transactions are made");
    page.section("Synopsis");
    page.table(CONFIGURATION_FILES);
    page.section("Description").text(CONFIGURATION_FORM);
    for paragraph in CONFIGURATION {
        page.text(paragraph);
    }
    page.section("Keys");
    for key in KEYS.iter().filter(|k| k.file == File::Tukit) {
        page.key(key);
    }
    page.section("Examples");
    page.table(CONFIGURATION_EXAMPLES);
    page.section("See also")
        .text("tukit(8), transactional-update(8), transactional-update.conf(5)");
    page.render()
}

const DESCRIPTION: &[&str] = &[
    "tukit is for programs that make a change to the system out of several steps. People rather use transactional-update(8), which makes the \
     same transactions and knows more about packages.",
    "A transaction is a snapshot that is being changed. It begins with open, any number of call and callext follow, and close makes it what \
     boots next, when it can boot; abort deletes it. execute is all of it for one command. Until close nothing changes for the next boot.",
    "Between two commands no process and no mount is left: an open transaction is marked in the info.xml of its snapshot. A command that \
     is killed leaves it open, and several can be open at a time. One that is still open after a reboot can be continued, until \
     a clean-up removes it.",
    "What happens is told on standard error and in the log. Standard output has the number of a new transaction, the list of snapshots, and \
     what the called commands print.",
];

const PLUGINS: &[&str] = &[
    "Every executable in /etc/tukit/plugins and /usr/lib/tukit/plugins is called before and after each step, also for transactional-update, with \
     the name of the stage and the arguments below. A name in /etc takes the place of the same name in /usr/lib; a link to /dev/null there \
     only masks it. PATH is the directory where the snapshot is mounted with all that a transaction sees.",
    "A plugin that fails, or does not end within PLUGIN_TIMEOUT, ends the transaction, unless --keep is given: then it is told and no more. \
     After finalize-post and abort-post there is nothing to end. On a system that is mounted elsewhere (--root) none is called.",
];

const STAGES: &[(&str, &str)] = &[
    ("init-pre", "Before a snapshot is made."),
    ("init-post PATH ID", "A new snapshot is mounted."),
    (
        "resume-pre ID",
        "Before an open transaction is mounted again.",
    ),
    ("resume-post PATH ID", "It is mounted."),
    (
        "execute-pre PATH ID CMD...",
        "Before a command in the snapshot: execute and call; run and shell of transactional-update.",
    ),
    ("execute-post PATH ID CMD...", "After it, however it ended."),
    (
        "callExt-pre PATH ID CMD...",
        "Before a command beside the snapshot, each {} of it filled in; also before the package manager of transactional-update.",
    ),
    ("callExt-post PATH ID CMD...", "After it, however it ended."),
    ("keep-pre PATH ID", "Before a transaction is left open."),
    ("keep-post ID", "It is no longer mounted."),
    ("finalize-pre PATH ID", "Before a transaction is closed."),
    ("finalize-post ID", "It is what boots next."),
    (
        "finalize-post ID discarded",
        "It changed nothing and was deleted.",
    ),
    (
        "abort-post ID",
        "It was given up. Its snapshot is gone, unless it was to be kept.",
    ),
    (
        "reboot-pre",
        "Before a reboot, which is not done when a plugin fails.",
    ),
];

const EXIT: &[(&str, &str)] = &[
    ("0", "It is done."),
    (
        "of the command",
        "call and callext end as the command did: 127 when there is none, 126 when it cannot be executed, 128 and the number of the \
         signal that ended it. The transaction stays open.",
    ),
    (
        "of a plugin",
        "A plugin ended the transaction with this status.",
    ),
    (
        "1",
        "Anything else failed, also the command of execute; or the command line was not understood.",
    ),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "TRANSACTIONAL_UPDATE",
        "true. A transaction is not begun or continued where it is set.",
    ),
    (
        "TRANSACTIONAL_UPDATE_ROOT",
        "The directory of the snapshot, as it is called outside.",
    ),
];

const FILES: &[(&str, &str)] = &[
    ("/etc/tukit.conf", "The configuration, see tukit.conf(5)."),
    (
        "/etc/tukit/plugins, /usr/lib/tukit/plugins",
        "The plugins of the administrator and of packages.",
    ),
    (
        "/run/tukit.lock",
        "Is locked while a command runs that may change something.",
    ),
];

const EXAMPLES: &[(&str, &str)] = &[
    ("tukit open", "Prints ID: 42, for example."),
    (
        "tukit call 42 zypper --non-interactive install vim",
        "Runs the package manager in the new snapshot.",
    ),
    (
        "tukit callext 42 rsync --archive own/ {}/usr/share/own",
        "Copies something into it.",
    ),
    ("tukit close 42", "Makes it the next system."),
    (
        "tukit --continue --discard execute sed -i s/a/b/ /etc/foo.conf",
        "Edits a file of the next system, if that is a change.",
    ),
    (
        "tukit --fields=number,default,date,description snapshots",
        "Lists the snapshots, a line for each, with tabulators.",
    ),
];

const CONFIGURATION_FILES: &[(&str, &str)] = &[
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
    "The file in /etc replaces the one in /usr/etc. The drop-ins of both directories follow, in the order of their names; one in /etc \
     replaces one of the same name in /usr/etc. What is read later wins.",
    "These keys count for transactional-update, too. The option --option of tukit sets one for a single call.",
];

const CONFIGURATION_EXAMPLES: &[(&str, &str)] = &[
    (
        "/etc/tukit.conf.d/vendor.conf",
        "BINDDIRS[vendor]=/opt/vendor",
    ),
    ("/etc/tukit.conf.d/plugins.conf", "PLUGIN_TIMEOUT=1800"),
];
