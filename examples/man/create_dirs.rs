//! The page of the boot helper.

use transactional_update::cli;

use super::page::Page;

pub(crate) const NAME: &str = "create-dirs-from-rpmdb";

/// create-dirs-from-rpmdb(8).
pub(crate) fn page() -> String {
    let mut command = cli::create_dirs::command();
    command.build();
    let mut page = Page::new(NAME, 8);
    page.name(
        "create-dirs-from-rpmdb - make the directories that packages own in /var, /srv and /opt",
    );
    page.synopsis(NAME, &["[OPTIONS]"]);
    page.section("Description");
    for paragraph in DESCRIPTION {
        page.text(paragraph);
    }
    page.section("Options");
    page.options(&command);
    page.item("-h, --help", "Print help.");
    page.item("-V, --version", "Print version.");
    page.section("Which directories");
    page.table(RULES);
    page.section("Exit status");
    page.table(EXIT);
    page.section("JSON").table(JSON);
    page.section("Files");
    page.table(FILES);
    page.section("Examples");
    page.table(EXAMPLES);
    page.section("See also").text(
        "transactional-update(8), transactional-update.conf(5), tmpfiles.d(5), systemd-tmpfiles(8), sysusers.d(5), rpm(8)",
    );
    page.render()
}

const DESCRIPTION: &[&str] = &[
    "An update is made in a snapshot of the root. /var, /srv and /opt are file systems or subvolumes of their own that no snapshot \
     has, so the directories that a new package owns there do not exist when its system boots. This program reads from the RPM \
     database which ones those are, and makes what is missing with the owner, group and mode that the package wants. \
     create-dirs-from-rpmdb.service calls it at every boot, before systemd-tmpfiles and everything that might need them, also when \
     the system boots for an offline update or into rescue mode.",
    "A directory appears with its owner and mode at once, whatever the umask. No symbolic link is followed, also where the \
     directory above belongs to a service user. Nothing that is there is changed or removed: what is otherwise than its package wants \
     it is told, a file in the way is told. One directory that cannot be made stops no other, and never the boot.",
    "When the database has not changed since the last run, which could read all of it, it is not read again: only what is missing, had \
     to wait or was refused is looked at. systemd-tmpfiles, which follows, has the last word on paths that tmpfiles.d names.",
    "It is also installed as create_dirs_from_rpmdb.",
];

const RULES: &[(&str, &str)] = &[
    (
        "made",
        "What a package brings as a directory below the prefixes. Directories above it that no package owns are made as root:root \
         0755. Where packages disagree, the one that was installed last counts, and both are named.",
    ),
    (
        "left out",
        "What a package owns but does not bring (%ghost, unless --ghost); what rpm did not install; what lies in /run, /var/run or /var/lock; \
         what lies on a file system that fstab or an automount has and that is not mounted; what is a symbolic link, or lies behind one.",
    ),
    (
        "refused",
        "Paths that are relative, too long, or have . or .. in them.",
    ),
    (
        "deferred",
        "What is to belong to a user or a group that does not exist, and what lies in it: it is never given to somebody else. It is \
         made at the first boot after a package or an administrator has made the user.",
    ),
    (
        "failed",
        "What something that is no directory is in the way of, and what the system refused, as on a full or read-only file system. It \
         is tried again at the next boot.",
    ),
];

const EXIT: &[(&str, &str)] = &[
    (
        "0",
        "All directories are there, also when some are otherwise than their packages want them; or there was nothing to do, or \
         there is no RPM database.",
    ),
    (
        "1",
        "With --check: something is missing. Else it failed, also when systemd-tmpfiles did.",
    ),
    ("64", "The command line was not understood."),
    (
        "65",
        "Some directories are deferred or refused, or a package in the database cannot be read; the rest is done.",
    ),
    (
        "66",
        "There is an RPM database, but it cannot be read at all.",
    ),
    (
        "73",
        "Some directories could not be made; the rest is done. Also when there is a reason for 65 as well.",
    ),
];

const JSON: &[(&str, &str)] = &[
    (
        "version",
        "1. Raised when a field changes its meaning or goes away; new ones may be added.",
    ),
    ("root", "The root directory that was worked on."),
    (
        "database, database.path, database.backend",
        "Which database was taken, and its format, as ndb; null when there is none, or when it cannot be read.",
    ),
    (
        "status",
        "scanned: the database was read. resumed: it has not changed, and only what is missing, had to wait or was refused was looked at; only \
         that is in the entries. nothing-to-do, no-database, unreadable.",
    ),
    (
        "dry_run",
        "Whether nothing was done; the entries then say what would be.",
    ),
    (
        "summary, summary.made, summary.existing, summary.differing, summary.deferred, summary.failed, summary.skipped, \
         summary.refused, summary.bad_packages",
        "How many entries there are of each kind. Those that are refused are among those that are skipped.",
    ),
    (
        "bad_packages, bad_packages.name, bad_packages.error",
        "Packages that the database holds in a form that cannot be read.",
    ),
    (
        "warnings",
        "Sentences on what deserves attention: packages that disagree, a second database.",
    ),
    (
        "entries, entries.path",
        "The directories by path. A path that is no text is escaped.",
    ),
    (
        "entries.action",
        "create, exists, differs, deferred, failed or skipped.",
    ),
    (
        "entries.reason, entries.error",
        "Why, as a word and as a sentence, or null: implied, ghost, replaced, not-installed, net-shared, wrong-colour, unknown-state, \
         unsafe-path, volatile, excluded, not-mounted, redirected, unknown-user, unknown-group, below-deferred, blocked, raced, error.",
    ),
    (
        "entries.mode, entries.user, entries.group",
        "What it is to have; the mode in four octal digits.",
    ),
    (
        "entries.packages",
        "The packages that own it, the one that counts first.",
    ),
];

const FILES: &[(&str, &str)] = &[
    (
        "/usr/lib/sysimage/rpm, /var/lib/rpm",
        "Where the RPM database is. ndb and sqlite are read without librpm, other formats by rpm(8).",
    ),
    (
        "/etc/transactional-update.conf",
        "CREATE_DIRS_PREFIXES, CREATE_DIRS_EXCLUDE and CREATE_DIRS_GHOST, see transactional-update.conf(5).",
    ),
    (
        "/var/lib/transactional-update/create-dirs.json",
        "What the last run has seen and left. Removing it costs one reading of the database.",
    ),
    (
        "/usr/lib/systemd/system/create-dirs-from-rpmdb.service",
        "Calls it at boot with --boot --tmpfiles. It is linked from sysinit.target.wants and need not be enabled. A /srv or /opt that is \
         mounted later than local-fs.target, from the network or by hand, is left out then; call the program once it is mounted.",
    ),
];

const EXAMPLES: &[(&str, &str)] = &[
    (
        "create-dirs-from-rpmdb --check --verbose",
        "Tells what is missing and what is otherwise than its package wants it.",
    ),
    (
        "create-dirs-from-rpmdb --root /mnt --tmpfiles",
        "Makes them in an image that is being built.",
    ),
    (
        "create-dirs-from-rpmdb --dry-run --json",
        "Lists them for a program.",
    ),
];
