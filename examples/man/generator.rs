//! The page of the generator, which systemd calls and no person types.

use transactional_update::offline::generator::OVERRIDES;

use super::page::Page;

const NAME: &str = "transactional-update-generator";

/// transactional-update-generator(8).
pub(crate) fn page() -> String {
    let mut page = Page::new(NAME, 8);
    page.name(
        "transactional-update-generator - boot into an offline update, and keep it out of others",
    );
    page.section("Synopsis");
    page.table(CALLS);
    page.section("Description");
    for paragraph in DESCRIPTION {
        page.text(paragraph);
    }
    page.section("What it does").table(DECISIONS);
    page.section("Kernel command line");
    page.text(&format!(
        "systemd.unit= with a value and these words, alone, choose another target, and an update waits for a boot without them: {}.",
        OVERRIDES.join(", ")
    ));
    page.section("Environment");
    page.table(ENVIRONMENT);
    page.section("Exit status");
    page.table(EXIT);
    page.section("Files");
    page.table(FILES);
    page.section("See also")
        .text("transactional-update(8), systemd.offline-updates(7), systemd.generator(7), systemd-system-update-generator(8)");
    page.render()
}

const CALLS: &[(&str, &str)] = &[
    (
        "/usr/lib/systemd/system-generators/transactional-update-generator NORMAL EARLY LATE",
        "As systemd calls it when the system boots and when its configuration is read again. Only EARLY is written.",
    ),
    (
        "/usr/lib/systemd/system-generators/transactional-update-generator DIRECTORY",
        "The same with one directory.",
    ),
];

const DESCRIPTION: &[&str] = &[
    "An offline update is carried out in a boot of its own, into system-update.target. What leads there is a trigger: /system-update, \
     or /etc/system-update where the root is read-only. systemd's own generator diverts the boot for it. This one does what that cannot: \
     systemd before 254 does not know the trigger in /etc, some systems have no such generator, and two tools may be armed at once.",
    "It decides before the first unit starts, and by names and texts of links alone. A trigger is ours when it is a link with the text \
     /var/lib/transactional-update/offline. It is neither followed nor changed, and nothing below /var is read. In an initrd and for the \
     units of a user it does nothing.",
];

const DECISIONS: &[(&str, &str)] = &[
    (
        "The trigger is of another tool",
        "transactional-update-offline.service is masked, so that it does not start in the update of the other one. It gets its own boot \
         afterwards. The first trigger that is there counts, and anything but our link is of another tool.",
    ),
    (
        "The trigger is ours, and systemd's generator knows it",
        "Nothing: systemd diverts the boot.",
    ),
    (
        "The trigger is ours, and systemd's generator is missing or does not know it",
        "default.target is system-update.target. Where system-update-cleanup.service does not know the trigger in /etc, it gets a \
         drop-in that removes it.",
    ),
    (
        "The trigger is ours, and systemd's generator is masked",
        "Nothing, with a warning: the administrator wants no boot to be diverted.",
    ),
    (
        "The trigger is ours, and the kernel command line chooses another target",
        "Nothing, with a warning. The trigger stays for another boot.",
    ),
    (
        "The trigger is ours, and system-update.target or our unit is missing",
        "Nothing, with an error.",
    ),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "SYSTEMD_IN_INITRD, SYSTEMD_SCOPE, SYSTEMD_VIRTUALIZATION",
        "Are set by systemd, see systemd.generator(7). Where the first is missing, /etc/initrd-release tells an initrd. In a container the \
         arguments of the first process take the place of the kernel command line.",
    ),
    (
        "SYSTEMD_PROC_CMDLINE",
        "In place of the kernel command line.",
    ),
    (
        "TU_GENERATOR_ROOT",
        "Everything is read below this directory, and told to standard error. For tests.",
    ),
];

const EXIT: &[(&str, &str)] = &[
    (
        "0",
        "It is decided, also that there is nothing to do, or that something else is where it would have written.",
    ),
    (
        "1",
        "Something could not be written, or the number of arguments is wrong. The boot goes on without it.",
    ),
];

const FILES: &[(&str, &str)] = &[
    (
        "/system-update, /etc/system-update",
        "The triggers, in this order.",
    ),
    (
        "EARLY/default.target, EARLY/transactional-update-offline.service",
        "Links to system-update.target and to /dev/null. They go with the boot, or when systemd reads its configuration again.",
    ),
    (
        "EARLY/system-update-cleanup.service.d/50-transactional-update.conf",
        "Lets the clean-up remove /etc/system-update.",
    ),
    (
        "/dev/kmsg",
        "Gets a line for each decision. Nothing is told where there is no trigger.",
    ),
];
