//! Writes the manual pages and the completions of the shells: `cargo run --example man -- OUTDIR`.
//!
//! Both come from the definitions that the programs themselves use, so that they cannot differ from them.

pub(crate) mod create_dirs;
pub(crate) mod generator;
pub(crate) mod json;
pub(crate) mod offline;
pub(crate) mod page;
pub(crate) mod sync_etc;
pub(crate) mod sysupdate;
pub(crate) mod tukit;

use std::path::Path;
use std::{env, fs, io};

use clap::Command;
use clap_complete::Shell;
use transactional_update::cli;
use transactional_update::config::{File, KEYS};

use self::page::Page;

const NAME: &str = "transactional-update";

fn main() -> io::Result<()> {
    let out = env::args_os()
        .nth(1)
        .ok_or_else(|| io::Error::other("usage: man OUTDIR"))?;
    let out = Path::new(&out);
    fs::create_dir_all(out)?;
    for (file, page) in [
        ("transactional-update.8", program_page()),
        ("transactional-update.conf.5", configuration_page()),
        ("transactional-update-sync-etc-state.8", sync_etc::page()),
        ("transactional-update-generator.8", generator::page()),
        ("create-dirs-from-rpmdb.8", create_dirs::page()),
        ("sysupdate.8", sysupdate::program_page()),
        ("sysupdate.d.5", sysupdate::definitions_page()),
        ("tukit.8", tukit::program_page()),
        ("tukit.conf.5", tukit::configuration_page()),
    ] {
        fs::write(out.join(file), page)?;
    }
    completions(out, NAME, cli::args::command())?;
    completions(out, create_dirs::NAME, cli::create_dirs::command())?;
    completions(out, sysupdate::NAME, cli::sysupdate::command())?;
    completions(out, "tukit", cli::tukit::args::command())
}

fn completions(out: &Path, name: &str, mut command: Command) -> io::Result<()> {
    for (shell, file) in [
        (Shell::Bash, format!("{name}.bash")),
        (Shell::Zsh, format!("_{name}")),
        (Shell::Fish, format!("{name}.fish")),
    ] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command, name, &mut script);
        fs::write(out.join(file), script)?;
    }
    Ok(())
}

/// transactional-update(8).
pub(crate) fn program_page() -> String {
    let mut command = cli::args::command();
    command.build();
    let mut page = Page::new(NAME, 8);
    page.name("transactional-update - update the system in a new snapshot, and switch to it with the next boot");
    page.synopsis(NAME, &["[OPTIONS]", "[COMMAND [ARGUMENTS]...]"]);
    page.section("Description");
    for paragraph in DESCRIPTION {
        page.text(paragraph);
    }
    page.section("Commands");
    for sub in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        page.command(sub, "");
    }
    page.item("-h, --help", "Each command prints its help with this.");
    offline::describe(&mut page);
    page.section("Options")
        .text("They stand anywhere in the line, but what follows pkg, migration, register and run belongs to those.");
    page.options(&command);
    page.section("Exit status");
    page.table(EXIT);
    page.section("JSON of status").table(json::STATUS);
    page.section("JSON of list").table(json::LIST);
    page.section("JSON of offline status").table(json::OFFLINE);
    page.section("Environment");
    page.table(ENVIRONMENT);
    page.section("Units");
    page.table(UNITS);
    page.section("Files");
    page.table(FILES);
    page.section("Examples");
    page.table(EXAMPLES);
    page.section("See also")
        .text("transactional-update.conf(5), transactional-update-generator(8), create-dirs-from-rpmdb(8), tukit(8), tukit.conf(5), snapper(8), zypper(8), btrfs-subvolume(8)");
    page.render()
}

/// transactional-update.conf(5).
pub(crate) fn configuration_page() -> String {
    let mut page = Page::new("transactional-update.conf", 5);
    page.name("transactional-update.conf - how the system is updated");
    page.section("Synopsis");
    page.table(CONFIGURATION_FILES);
    page.section("Description");
    for paragraph in CONFIGURATION {
        page.text(paragraph);
    }
    page.section("Keys");
    for key in KEYS.iter().filter(|k| k.file == File::TransactionalUpdate) {
        page.key(key);
    }
    page.section("Examples");
    page.table(CONFIGURATION_EXAMPLES);
    page.section("See also")
        .text("transactional-update(8), create-dirs-from-rpmdb(8), tukit.conf(5)");
    page.render()
}

const DESCRIPTION: &[&str] = &[
    "A command that changes the system makes a btrfs snapshot of it, works there, and makes the snapshot what boots next. \
     The running system stays as it is. When anything fails, also by a loss of power, the snapshot goes away and the next boot \
     is the one it would have been: either all of a change is there, or nothing of it.",
    "A change that is made before the reboot builds upon the one that waits for it, so nothing is lost when there are several. \
     The snapshot that is built upon is named at the beginning.",
    "Commands that change the system can be chained: those that work in the new snapshot are one transaction, packages first whatever the \
     order in which they were typed; cleanup comes before it, apply and reboot after it and only when it succeeded. When it changed nothing, \
     reboot only does something for an update that waits already. Without a command, what UPDATE_METHOD in the configuration says is done.",
    "With UPDATE_METHOD=sysupdate updates are versions of images, as sysupdate(8) installs them; the root needs no snapshots then. A call without \
     a command, or auto, installs the newest version of each collection; cleanup removes what is too much, and marks snapshots where there are any; \
     rollback makes the version that runs (IMAGE_VERSION in os-release) the current one, rollback last the one before it, rollback VERSION that \
     one; reboot reboots only where what boots next is newer than what runs, what runs was gone back from, or a snapshot waits. Commands that name packages \
     or work in a snapshot stay what they are, and cleanup and reboot beside them are about snapshots.",
    "The root must otherwise be a snapshot below /.snapshots as snapper makes them (the layout of openSUSE). /etc and the RPM database are part of \
     the snapshot. /var, /srv, /opt, /home and everything else that is mounted are not: what a package writes there is hidden when \
     the new system runs, and is told at the end. /var/cache and /var/log are live. The directories that packages own there are made at \
     the next boot, see create-dirs-from-rpmdb(8).",
    "Where /etc is a subvolume inside the snapshot, mounted on itself by fstab, what is changed in the running /etc until the reboot is \
     merged into the new one when it first boots, see transactional-update-sync-etc-state(8); what both sides changed is told at the end \
     of a transaction and by status. Where it is a directory of a read-write root, nothing merges it: those changes will not be there \
     after the reboot, and are listed in the same places. An overlay on /etc is refused.",
    "What boots next is the default subvolume where GRUB reads its configuration, kernel and initrd from it; these are looked at before the \
     switch. With systemd-boot or grub2-bls (LOADER_TYPE in /etc/sysconfig/bootloader) it is the default entry on the ESP: sdbootutil(1) puts \
     kernel, initrd and entry there, and the update counts only when the default entry was shown to boot it and all of it is on disk. \
     Otherwise what booted before boots next, and where the ESP is full, the bytes that are missing are named. A switch that was cut off is \
     completed or undone by the next boot or command; until then status says that the default is not known to be bootable.",
];

const EXIT: &[(&str, &str)] = &[
    ("0", "It is done, or there was nothing to do."),
    (
        "1",
        "It failed, and nothing was changed; where only an apply or reboot behind it failed, what it did before stays. Also when the \
         command line was not understood.",
    ),
    (
        "2",
        "offline arm: the command line was not understood. offline status: an update is armed, the arming of one was cut off, or one has \
         begun. offline run: this is no update boot, and nothing was done.",
    ),
    (
        "3",
        "offline status: the last update was not applied, and nobody has acknowledged that.",
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
    ("TU_STATE_FILE", "The old state file."),
    (
        "TU_NEEDS_RESTARTING_FILE",
        "In place of /run/reboot-needed.",
    ),
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
        "transactional-update-recover.service",
        "Finishes or undoes at boot what a command that was cut off by a crash or by loss of power left: snapshots, a switch, \
         boot entries, notes for other programs. It does not wait for the boot to succeed. Whoever changes something does that \
         first, too; without the unit the leftovers stay until then. To be enabled everywhere.",
    ),
    (
        "transactional-update-boot.service",
        "Notes after a boot that the snapshot boots, and recovers before. To be enabled everywhere.",
    ),
    (
        "create-dirs-from-rpmdb.service",
        "Makes at boot the directories that packages own in /var, /srv and /opt, see create-dirs-from-rpmdb(8). Need not be enabled.",
    ),
    (
        "transactional-update-offline.service",
        "Carries out an offline update in the boot that is for it, see transactional-update-generator(8). Need not be enabled.",
    ),
    (
        "prepare-nextroot-for-softreboot.service",
        "Mounts the next system at /run/nextroot and merges /etc when a soft-reboot is asked for, also by systemctl. Without it a \
         soft-reboot comes back in the same snapshot. Has to be enabled.",
    ),
];

const FILES: &[(&str, &str)] = &[
    (
        "/var/lib/transactional-update/offline",
        "The offline update: plan.json is what it will do, packages and metadata are what it works with, state.json is what has become of it, \
         result.json has the details, update.log what the package manager printed, motd what is shown at login. \
         .transactional-update-armed is there while it is armed. Only root may be able to write there, or nothing of it is believed.",
    ),
    (
        "/system-update, /etc/system-update",
        "The link that leads into the update boot, see systemd.offline-updates(7). One that leads elsewhere is of another program and stays.",
    ),
    (
        "/usr/lib/motd.d/transactional-update-offline",
        "A link to what is shown at login about an offline update.",
    ),
    (
        "/etc/transactional-update.conf, /etc/tukit.conf",
        "The configuration, see transactional-update.conf(5) and tukit.conf(5).",
    ),
    (
        "/.snapshots/N/snapshot",
        "The snapshots. Beside each is its info.xml with what snapper shows of it.",
    ),
    (
        "/usr/lib/snapper/plugins/50-etc",
        "Gives /etc, where that is a subvolume, to snapshots that snapper makes, and takes it out of those that snapper deletes, which \
         it could not do otherwise.",
    ),
    (
        "/usr/lib/snapper/plugins",
        "Programs that snapper calls when snapshots are made, changed, deleted or become the default; they are called for ours, too. \
         One that fails or takes longer than PLUGIN_TIMEOUT is told and stops nothing. Those of a system below --root are not called.",
    ),
    (
        "/var/log/transactional-update.log",
        "The log. The journal has it, too, under the identifier transactional-update.",
    ),
    (
        "/var/lib/transactional-update/history.jsonl",
        "One JSON object for each change: when, what, and what came of it; recovered is a change of what boots next by a \
         command that was cut off.",
    ),
    (
        "/var/lib/misc/transactional-update.state",
        "Shell assignments for programs that read them, as earlier versions wrote them. Nothing is decided from it.",
    ),
    (
        "/run/reboot-needed",
        "How the system has to be restarted for what waits: soft-reboot, kexec or reboot.",
    ),
    (
        "/run/transactional-update.mounts",
        "What is being mounted in the running system, while apply or a soft-reboot is prepared. When it is left behind, the next \
         command takes away what is mounted only in part, or finishes it.",
    ),
];

const EXAMPLES: &[(&str, &str)] = &[
    (
        "transactional-update offline prepare dup",
        "Find out and download what the upgrade changes, for an update boot.",
    ),
    (
        "transactional-update dup",
        "Upgrades everything, without questions.",
    ),
    (
        "transactional-update initrd grub.cfg",
        "Makes the initrd and the configuration of GRUB anew, in a new snapshot.",
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
        "transactional-update offline arm --reboot",
        "Reboots into the update that was prepared, and back.",
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
];

const CONFIGURATION: &[&str] = &[
    CONFIGURATION_FORM,
    "First the file in /usr/etc is read, then its drop-ins, then the file in /etc, then its drop-ins. What is read later wins. A drop-in in \
     /etc replaces one of the same name in /usr/etc.",
];

/// What both configuration files have in common.
pub(crate) const CONFIGURATION_FORM: &str = "Each line sets a key to a value, which may stand in quotes; lines that begin with # are \
     comments. The files are data and are never run as a shell script. A value that is not understood is an error that names the file and \
     the line; a key that is not known is a warning.";

const CONFIGURATION_EXAMPLES: &[(&str, &str)] = &[(
    "/etc/transactional-update.conf.d/release.conf",
    "UPDATE_METHOD=up",
)];
