//! The pages of the program for A/B updates and of its files.

use transactional_update::cli;

use super::page::Page;

pub(crate) const NAME: &str = "sysupdate";

/// sysupdate(8).
pub(crate) fn program_page() -> String {
    let mut command = cli::sysupdate::command();
    command.build();
    let mut page = Page::new(NAME, 8);
    page.name("sysupdate - install, list and clean up versions that transfer files name");
    page.synopsis(NAME, &["[OPTIONS]", "[COMMAND [ARGUMENT]]"]);
    page.section("Description");
    for paragraph in DESCRIPTION {
        page.text(paragraph);
    }
    page.section("Commands");
    page.table(COMMANDS);
    page.section("Options")
        .text("They may stand anywhere in the line; of one that is given twice the last counts.");
    page.options(&command);
    page.item("-h, --help", "Print help.");
    page.item("-V, --version", "Print version.");
    page.section("Words of the table");
    page.table(WORDS);
    page.section("JSON")
        .text("With --json=short or --json=pretty, standard output has one object:");
    page.table(JSON);
    page.section("Exit status");
    page.table(EXIT);
    page.section("Environment");
    page.table(ENVIRONMENT);
    page.section("Files");
    page.table(FILES);
    page.section("Units");
    page.table(UNITS);
    page.text("None of them is enabled by default, and the units of systemd-sysupdate(8) with the same purpose stop when they start: enable those of one of the two programs.");
    page.section("Examples");
    page.table(EXAMPLES);
    page.section("See also")
        .text("sysupdate.d(5), transactional-update(8), systemd-inhibit(1)");
    page.render()
}

/// sysupdate.d(5).
pub(crate) fn definitions_page() -> String {
    let mut page = Page::new("sysupdate.d", 5);
    page.name("sysupdate.d - which versions of what are installed where");
    page.section("Synopsis");
    page.table(PLACES);
    page.section("Description");
    for paragraph in ABOUT_FILES {
        page.text(paragraph);
    }
    for (title, keys) in [
        ("[Transfer]", TRANSFER),
        ("[Source]", SOURCE),
        ("[Target]", TARGET),
        ("[Feature] and [Component]", FEATURE),
    ] {
        page.section(title);
        page.table(keys);
    }
    page.section("Patterns");
    for paragraph in PATTERNS {
        page.text(paragraph);
    }
    page.table(WILDCARDS);
    page.section("Specifiers");
    page.text("They stand for something of the system, in MinVersion=, ProtectVersion=, Path=, MatchPattern=, CurrentSymlink= and addresses. What is not known is empty; an unknown one makes the line be ignored.");
    page.table(SPECIFIERS);
    page.section("Order of versions");
    page.text(ORDER);
    page.section("Examples");
    page.table(FILE_EXAMPLES);
    page.section("See also").text("sysupdate(8)");
    page.render()
}

const DESCRIPTION: &[&str] = &[
    "A resource, such as a disk image, a boot entry or a directory, is there in several versions beside each other: the one that runs, and the \
     next one. Transfer files say where versions come from and where they go, see sysupdate.d(5). All instances of one version over all \
     transfers belong together and come and go as a whole.",
    "The files, the commands and what is printed are those of systemd-sysupdate(8), and so are the marks on disk: either program goes on where \
     the other one stopped. Versions before 260 do not know the marks of partitions that are not complete: such a slot is \
     lost to them until this program, or a later one, has gone on or emptied it.",
    "Targets are files, directories and partitions of a disk or of the image of one, whose partition table is read and written without the kernel. \
     A partition of the right type with the label _empty is a slot for the next version; one with a label that no pattern matches is never touched. \
     A slot that has a version is emptied only when what comes into it is complete and fits (see --erase).",
    "An update is planned first. Nothing is changed before it is known that all sources answer, that every name can be given and that there is \
     room. What is new gets its name only when all of it is complete, checked and on disk, in the order of the transfer files. A run that was \
     cut off is finished by the next one, which fetches only what is missing.",
    "Standard output has only what was asked for; everything else is told on standard error.",
];

const COMMANDS: &[(&str, &str)] = &[
    (
        "list [VERSION]",
        "All versions that are installed or available, newest first; with a version its instances. This is done without a command as well.",
    ),
    (
        "check-new",
        "Prints the version that could be updated to: the newest available one that is newer than what is installed; else the newest installed \
         one, when it is to be finished or repaired. Never an older one.",
    ),
    (
        "pending",
        "Whether the newest version that is installed as a whole is newer than IMAGE_VERSION of the running system.",
    ),
    (
        "update [VERSION]",
        "Installs what check-new prints, or this version: makes room, fetches what is missing of it, and gives it its names when all of it is \
         complete. With --offline it installs what was acquired, and asks no source. With --reboot it reboots as the command reboot does, when \
         the version is newer than IMAGE_VERSION of the running system, or is that one and was incomplete. With -A it does so with what has \
         no component, if anything has none, and then with each component that is enabled; when one fails, the others are tried nevertheless.",
    ),
    (
        "acquire [VERSION]",
        "The same, but ends when all of it is complete and waits for its names.",
    ),
    (
        "rollback [VERSION]",
        "Makes an older version the current one again: the newest one that is installed as a whole and older than the current one, or this one. \
         In reverse order of the transfer files, what CurrentSymlink= names shows to it, and where the pattern of a target has @l, files of newer \
         versions get no tries left, so that the boot loader passes them over. Nothing is removed. The newer versions are held: check-new, \
         pending and an update without a version take none of them, until something newer is there; update VERSION lets one be used again. With \
         --reboot it reboots as the command reboot does, when another version runs.",
    ),
    (
        "reboot",
        "Reboots when pending says yes, and does nothing else. Inhibitors count, also for root, see systemd-inhibit(1).",
    ),
    (
        "vacuum",
        "Removes versions that are too many by InstancesMax=, what was begun and never finished, and what disabled transfers \
         have and no other one. A version goes as a whole, incomplete ones first, then the oldest. What any transfer protects, what runs, what a \
         link shows to and the newest version stay, and in the image of a disk the version whose root is mounted (see --image); so does a \
         partition of a disabled transfer that is in use.",
    ),
    (
        "cleanup",
        "Removes what was installed and what no transfer that takes part owns any more, of whatever collection (one that cannot be read keeps all): after a transfer file was removed, or its path or its \
         pattern changed. What was ever installed is found by the install database, which systemd-sysupdate(8) has as well; what --definitions= \
         installed has one of its own for each directory. What any transfer protects, what runs and what a link shows to stay, and no symbolic \
         link is followed. Also when no transfer file is left, then all of the collection goes. With -A all collections are cleaned up, \
         disabled components too.",
    ),
    (
        "features [FEATURE]",
        "The optional features, or what one of them is.",
    ),
    (
        "enable-feature NAME…",
        "Lets features take part, by a drop-in with the name that systemd-sysupdate(8) gives it. With -a all, with -s those that are suggested.",
    ),
    (
        "disable-feature NAME…",
        "Lets features take no part. vacuum and the next update remove what their transfers have installed.",
    ),
    (
        "components",
        "The components: collections of transfers with versions of their own.",
    ),
    (
        "enable-component NAME…",
        "Lets components be updated. With -A all, with -S those that are suggested.",
    ),
    ("disable-component NAME…", "Lets components not be updated."),
    ("help", "Prints help."),
];

const WORDS: &[(&str, &str)] = &[
    ("current", "It is the newest installed version."),
    (
        "installed, protected",
        "It is installed; a transfer protects it.",
    ),
    (
        "candidate",
        "It is the newest available version, and not installed; also when it is older than what is installed.",
    ),
    ("available", "All sources have it."),
    ("+obsolete", "It is older than MinVersion= of a transfer."),
    ("+incomplete", "A target lacks it."),
    (
        "+partial, +pending",
        "An instance is being written; an instance is complete and waits for its name.",
    ),
];

const JSON: &[(&str, &str)] = &[
    (
        "current, all, appstreamUrls",
        "Of list: the newest installed version, all versions, addresses. The first key is current+pending while that version waits for its names.",
    ),
    (
        "version, newest, available, installed, partial, pending, obsolete, protected, incomplete, changelogUrls, contents",
        "Of list VERSION. Each of contents has type, path, ptuuid, ptflags, mtime (microseconds), mode, size, tries-done, tries-left, noauto, ro, \
         growfs, sha256, as far as one of them has it.",
    ),
    ("available", "Of check-new: a version, or null."),
    (
        "version, remove, acquire, install",
        "Of update, acquire, vacuum, cleanup and rollback with --dry-run: what would be done. Each of remove has version, transfer (null: of none), path; of acquire transfer, source, \
         target, bytes; of install transfer, target. With -A there is one for each collection, with component (null: of none).",
    ),
    (
        "link, rename, hold",
        "Of rollback with --dry-run as well. Each of link and rename has transfer, path, target; hold has the versions that would be held.",
    ),
    (
        "removed, disabledTransfers",
        "Of vacuum: how many versions were removed, and of how many disabled transfers something.",
    ),
    ("features", "Of features: their names."),
    (
        "id, description, documentation, appStream, enabled, suggested, transfers",
        "Of features FEATURE; what is empty is absent.",
    ),
    (
        "default, components",
        "Of components: whether there are transfers without a component, and the names.",
    ),
];

const EXIT: &[(&str, &str)] = &[
    ("0", "It is done, or the answer is yes."),
    (
        "1",
        "It failed, or the answer of check-new or pending is no.",
    ),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "SYSTEMD_ESP_PATH, SYSTEMD_XBOOTLDR_PATH",
        "Where the EFI system partition and the extended boot loader partition are mounted, for PathRelativeTo=. Without them, that is where \
     partitions of these types are mounted at /efi, /boot and /boot/efi.",
    ),
    (
        "SYSTEMD_OPENPGP_KEYRING",
        "The keyring that is trusted instead of those in /etc/systemd and /usr/lib/systemd.",
    ),
    (
        "SYSTEMD_SYSUPDATE_VERIFY_FRESHNESS",
        "With 0, a manifest that has expired is told and not refused.",
    ),
    ("TZ", "The time zone of times in tables."),
];

const FILES: &[(&str, &str)] = &[
    (
        "/etc/sysupdate.d, /run/sysupdate.d, /usr/local/lib/sysupdate.d, /usr/lib/sysupdate.d",
        "Transfer files, see sysupdate.d(5).",
    ),
    (
        "/etc/sysupdate.d/FEATURE.feature.d/50-systemd-sysupdate-enabled.conf, /etc/sysupdate.COMPONENT.component.d/50-systemd-sysupdate-enabled.conf",
        "Switch a feature, with -C in the directory of that component, or a component.",
    ),
    (
        "/etc/systemd/import-pubring.pgp, /usr/lib/systemd/import-pubring.pgp",
        "The keys whose signatures of SHA256SUMS are trusted: those of the running system, also with --root= and --image=.",
    ),
    (
        "/var/lib/transactional-update/sysupdate",
        "What was received of payloads and is gone on with, for a week (--spool= names another place, in which nobody else may write), and which \
         version is being installed, and which ones were gone back from; the install databases of --definitions=.",
    ),
    (
        "/var/lib/systemd/sysupdate/installdb, /var/lib/systemd/sysupdate/installdb.COMPONENT",
        "The install databases: where cleanup looks. systemd-sysupdate(8) has the same.",
    ),
    ("/run/sysupdate.lock", "Is locked while something changes."),
];

const UNITS: &[(&str, &str)] = &[
    (
        "sysupdate.timer, sysupdate.service",
        "Call `sysupdate update --component-all` soon after the boot, then every few hours.",
    ),
    (
        "sysupdate-reboot.timer, sysupdate-reboot.service",
        "Call `sysupdate reboot` at night.",
    ),
];

const EXAMPLES: &[(&str, &str)] = &[
    ("sysupdate", "Lists all versions."),
    (
        "sysupdate --json=short check-new",
        "Prints what could be updated to, for a program.",
    ),
    (
        "sysupdate update --dry-run",
        "Shows what an update would do.",
    ),
    ("sysupdate acquire", "Fetches the newest version."),
    (
        "sysupdate update --offline",
        "Installs it, later and without a network.",
    ),
    (
        "sysupdate rollback --reboot",
        "Goes back to the version before, and reboots into it.",
    ),
    (
        "sysupdate --root=/mnt vacuum",
        "Removes old versions of the system that is mounted at /mnt.",
    ),
    (
        "sysupdate -C extensions list 2.1",
        "Shows a version of a component.",
    ),
];

const PLACES: &[(&str, &str)] = &[
    (
        "sysupdate.d/*.transfer, sysupdate.d/*.transfer.d/*.conf",
        "Transfers, in the order in which they are installed.",
    ),
    (
        "sysupdate.d/*.feature, sysupdate.d/*.feature.d/*.conf",
        "Optional features.",
    ),
    ("sysupdate.NAME.d", "The same of the component NAME."),
    (
        "sysupdate.NAME.component, sysupdate.NAME.component.d/*.conf",
        "What is said of a component.",
    ),
];

const ABOUT_FILES: &[&str] = &[
    "These are in /etc, /run, /usr/local/lib and /usr/lib. Of several files with one name that in the first of these directories counts; an empty \
     file there, or a link to /dev/null, hides it. Drop-ins of all directories follow their file in the order of their names. Where there is not one \
     *.transfer, *.conf are transfers.",
    "A file that cannot be used refuses everything. Unknown keys and values that are not understood are told and ignored; keys and sections that \
     begin with X- belong to others. A line that ends in a backslash goes on in the next one. Values of lists add up, and an empty value empties a list.",
];

const TRANSFER: &[(&str, &str)] = &[
    ("MinVersion=", "Older versions are obsolete."),
    (
        "ProtectVersion=",
        "Versions that are never removed, as exact texts, with blanks between.",
    ),
    (
        "Verify=",
        "Whether a manifest needs a signature (default: yes).",
    ),
    (
        "ChangeLog=, AppStream=",
        "Addresses; @v in the first one is the version.",
    ),
    (
        "Features=, RequisiteFeatures=",
        "The transfer takes part when one of the former (or none is named) and all of the latter are enabled.",
    ),
];

const SOURCE: &[(&str, &str)] = &[
    (
        "Type=",
        "url-file, url-tar, tar, regular-file, directory or subvolume.",
    ),
    ("Path=", "The address (http, https, file) or the directory."),
    (
        "PathRelativeTo=",
        "root (default); esp, xbootldr: that partition; boot: the latter, else the former; explicit: the directory of --transfer-source. In a \
         boot partition no link is followed.",
    ),
    ("MatchPattern=", "What versions are called there."),
    (
        "X-Mirror=",
        "More addresses with the same; a key of this program.",
    ),
];

const TARGET: &[(&str, &str)] = &[
    (
        "Type=",
        "regular-file, partition, directory or subvolume (of btrfs; elsewhere a directory). Without it, it follows from the source and the path.",
    ),
    (
        "Path=, PathRelativeTo=",
        "The directory. For partitions it is the disk or its image, or a directory, for the disk that it is on, also below what is mapped (LUKS, \
         LVM, dm-verity); auto: the disk of the root. When the root is in memory or an overlay, that is the disk of the device that \
         /run/systemd/volatile-root shows to, or else the disk of /usr.",
    ),
    (
        "MatchPattern=",
        "What versions are called there: the first pattern names new ones. Without it, those of the source.",
    ),
    (
        "MatchPartitionType=",
        "Type of the partitions: a UUID or a name (default: linux-generic).",
    ),
    (
        "PartitionUUID=, PartitionFlags=, PartitionNoAuto=, PartitionGrowFileSystem=, ReadOnly=, Mode=, TriesLeft=, TriesDone=",
        "What a new instance gets, whatever the name at the source says.",
    ),
    (
        "InstancesMax=",
        "How many versions stay (default: 3 of files, of partitions as many as there are; at least 2). The smallest one of all transfers counts.",
    ),
    (
        "RemoveTemporary=",
        "Whether left-overs are removed (default: yes).",
    ),
    (
        "CurrentSymlink=",
        "The link that shows to the newest version: absolute, or below the directory.",
    ),
];

const FEATURE: &[(&str, &str)] = &[
    (
        "Description=, Documentation=, AppStream=",
        "What it is, and where to read more. A component has no AppStream=.",
    ),
    (
        "Enabled=",
        "Whether it is on (default: no for a feature, yes for a component).",
    ),
    (
        "Suggest=, SuggestOnArchitecture=, SuggestOnFirmware=, SuggestOnVirtualization=, SuggestOnHost=, SuggestOnKernelCommandLine=, \
         SuggestOnVersion=, SuggestOnCredential=, SuggestOnSecurity=, SuggestOnOSRelease=, SuggestOnMachineTag=, SuggestOnFraction=",
        "Whether it should be on here, as the conditions of units (systemd.unit(5)). SuggestOnFraction=, versions of anything but the \
         kernel and the security of audit are known, and cannot be evaluated.",
    ),
];

const PATTERNS: &[&str] = &[
    "A pattern is text with wildcards, of which @v has to be one; @@ is the character itself. Between two wildcards stands text or a slash. A name is \
     read from left to right without going back: a wildcard takes all up to the first place where the text behind it stands. Of a list with blanks \
     between the first pattern that matches counts. A blank in a pattern is \\x20.",
    "A slash leads into directories, never through links. **/ before a pattern of a source looks at any depth.",
];

const WILDCARDS: &[(&str, &str)] = &[
    (
        "@v",
        "The version: letters, digits and .~^_+- of ASCII, at most 255.",
    ),
    (
        "@u, @f, @a, @g, @r",
        "UUID and flags (hexadecimal) of a partition; whether it is not mounted by itself, grows its file system, is read-only.",
    ),
    (
        "@t, @m, @s",
        "Time in microseconds since 1970, mode (octal), and size when it is not compressed.",
    ),
    (
        "@d, @l",
        "How often a boot loader has tried it, and how often it still will. Decimal, also with leading zeros.",
    ),
    ("@h", "SHA-256 of the file as it is stored."),
];

const SPECIFIERS: &[(&str, &str)] = &[
    (
        "%A, %B, %M, %o, %w, %W",
        "IMAGE_VERSION, BUILD_ID, IMAGE_ID, ID, VERSION_ID and VARIANT_ID of os-release.",
    ),
    (
        "%a, %v, %b, %m",
        "Architecture, release of the kernel, identity of the boot and of the machine.",
    ),
    (
        "%H, %l, %q",
        "Host name, the same up to the first dot, and as people write it.",
    ),
    (
        "%T, %V, %%",
        "Directories for temporary files; the character itself.",
    ),
];

const ORDER: &str = "Versions are compared as the Version Format Specification says (UAPI.10): numbers by value, letters by text; ~ makes a version older than what is \
                     before it, - and ^ and . than what goes on without. Versions that are equal by that, as 1.01 and 1.1, are one version.";

const FILE_EXAMPLES: &[(&str, &str)] = &[(
    "/usr/lib/sysupdate.d/50-uki.transfer",
    "[Source] Type=regular-file Path=/srv/images MatchPattern=os_@v.efi [Target] Type=regular-file Path=/EFI/Linux PathRelativeTo=boot \
     MatchPattern=os_@v+@l-@d.efi os_@v+@l.efi os_@v.efi Mode=0444 TriesLeft=3 InstancesMax=2, each on a line of its own.",
)];
