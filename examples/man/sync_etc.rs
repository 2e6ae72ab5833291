//! The page of the merge of /etc.

use transactional_update::cli;

use super::page::Page;

const NAME: &str = "transactional-update-sync-etc-state";

/// transactional-update-sync-etc-state(8).
pub(crate) fn page() -> String {
    let mut command = cli::sync_etc::command();
    command.build();
    let mut page = Page::new(NAME, 8);
    page.name("transactional-update-sync-etc-state - take what was changed in the old /etc over into the new one");
    page.section("Synopsis");
    page.table(CALLS);
    page.section("Description");
    for paragraph in DESCRIPTION {
        page.text(paragraph);
    }
    page.section("Options");
    page.options(&command);
    page.item("-h, --help", "Print help.");
    page.section("Rules");
    page.table(RULES);
    page.section("Exit status");
    page.table(EXIT);
    page.section("Files");
    page.table(FILES);
    page.section("See also")
        .text("transactional-update(8), rpmconfigcheck(8), dracut(8)");
    page.render()
}

const CALLS: &[(&str, &str)] = &[
    (
        "transactional-update-sync-etc-state [--dry-run] [--keep-syncpoint] PARENT CURRENT REFERENCE",
        "Merges into CURRENT.",
    ),
    (
        "transactional-update-sync-etc-state [--dry-run] [--keep-syncpoint] --sysroot=DIR",
        "The same with the directories of the system that is mounted at DIR.",
    ),
];

const DESCRIPTION: &[&str] = &[
    "On systems where /etc is a subvolume of each snapshot, the running /etc goes on changing while an update waits for its \
     boot. This program takes these changes over. PARENT is the /etc of the system that ran before, CURRENT the one of the new \
     snapshot, REFERENCE (the syncpoint) the state that both come from. Usually it is called in the initrd, by \
     transactional-update apply and before a soft reboot.",
    "It can be interrupted at any moment, also by a loss of power: the syncpoint stays until everything is on disk, and the next \
     call gives the same result as one that was not interrupted. No link is followed; mount points and subvolumes are left alone.",
];

const RULES: &[(&str, &str)] = &[
    (
        "changed on one side only",
        "That side wins, also when it removed something. Contents, type, mode, owner, extended attributes and ACLs count. The time \
         of a file is taken over, but does not make it a changed one.",
    ),
    (
        "changed on both sides",
        "CURRENT keeps its version. The one of PARENT is kept beside it as NAME.rpmsave (NAME.1.rpmsave when that exists), and is \
         told.",
    ),
    (
        "removed in PARENT, changed in CURRENT",
        "It stays, and is told.",
    ),
    (
        "directories",
        "Each attribute is merged by itself. A directory that one side removed is there afterwards when the other side put \
         something into it or changed something in it.",
    ),
    (
        "an empty PARENT",
        "It is refused when REFERENCE is not empty: no system runs without a file in /etc.",
    ),
    (
        "sockets",
        "They are not taken over. Links, FIFOs and devices are.",
    ),
];

const EXIT: &[(&str, &str)] = &[
    ("0", "Merged, also when there were conflicts."),
    (
        "1",
        "It failed. The syncpoint is still there, and the same call does the rest. Also when the command line was not understood.",
    ),
];

const FILES: &[(&str, &str)] = &[
    (
        "/etc/etc.syncpoint",
        "The state that is compared with; a subvolume. It is removed after the merge.",
    ),
    (
        "/etc/etc.syncpoint/transactional-update.comparewith",
        "The number of the snapshot whose /etc is PARENT.",
    ),
    (
        "/usr/lib/dracut/modules.d/50transactional-update",
        "The part of the initrd that calls this program. It is the one of the time when the initrd was built.",
    ),
];
