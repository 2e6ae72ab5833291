//! What the page says of offline updates.

use transactional_update::offline::Cause;

use super::page::Page;

/// The sections about them.
pub(crate) fn describe(page: &mut Page) {
    page.section("Offline updates");
    for paragraph in DESCRIPTION {
        page.text(paragraph);
    }
    page.section("The update boot");
    for paragraph in BOOT {
        page.text(paragraph);
    }
    page.section("Results of offline updates").table(STATES);
    page.text("Why an update was not applied stands behind that, and in the journal as TU_CAUSE:");
    page.indented(|page| {
        for cause in Cause::ALL {
            page.item(cause.word(), &sentence(cause.meaning()));
        }
    });
    page.section("What can come between").table(TRAPS);
}

/// The end of a sentence as one of its own.
fn sentence(end: &str) -> String {
    let mut letters = end.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
}

const DESCRIPTION: &[&str] = &[
    "offline prepare reads the repositories, finds out what the update installs and removes, downloads it and checks it. It works with caches \
     of its own below /var/lib/transactional-update/offline and changes nothing of the running system but the log and the notes of the \
     package manager. It asks nothing, agrees to licences of products, and imports no key: signatures are checked with the keys that \
     the system trusts already. What the package manager accepts is accepted, so that a repository with gpgcheck=0 needs no signature; \
     each package has to fit its own digests, and its signature when the key is known. Package files and options that could change what is \
     trusted are refused. An enabled repository that cannot be read fails it. What it leaves is a plan, and an earlier plan is \
     gone; while an update is armed or carried out, it refuses. With nothing to do it leaves no plan, and succeeds.",
    "A plan is for the system that it was made in: when packages were installed or removed since, or another snapshot runs or boots next, it is \
     stale and has to be prepared again. The update boot has no network. It carries the plan out exactly, with the \
     packages that were checked, or changes nothing.",
    "offline arm lets the next boot carry the plan out: it makes the link /system-update, or /etc/system-update where the root is read-only, which \
     systemd.offline-updates(7) describes. It refuses, and changes nothing, when another program has armed an update, when another \
     snapshot boots next or fstab pins the root, when the kernel command line pins it and no boot entry that can be switched decides that, when the plan is stale or a package is missing or damaged, when its directory is on a network or is \
     mounted on demand, on battery, without enough room, also for another kernel and initrd where those are put, and when a unit or generator that is needed is missing or masked. Without --reboot \
     or --soft-reboot whoever restarts the system next starts the update. In it there is no login and no network; \
     systemd.unit=multi-user.target on the kernel command line skips it, and it stays armed. While it is armed, commands without a \
     person (auto, and none at all) do nothing; other changes go on with a warning, since they make the plan stale.",
    "offline status tells what has become of it, also when the update boot was cut off at any point: what boots and what was noted decide. A result is \
     shown at login until offline status --ack, offline cancel or the next offline prepare. The journal has a record of each event with the fields \
     TU_PLAN_ID, TU_STRATEGY and TU_CAUSE, by which offline log finds the boots.",
];

const BOOT: &[&str] = &[
    "An update boot goes to system-update.target: file systems are mounted, and almost nothing else runs. Its unit is \
     transactional-update-offline.service. It notes that it has begun, removes the link, and only then does anything else, so that no boot \
     comes again by itself: an update is tried once for each offline arm. Then it looks once more whether the system, the plan and the packages are \
     what they were, whether there is room, and whether it runs on battery.",
    "With the strategy in-place, which is the usual one where the root is read-write, the running root itself is changed. Before that a snapshot of it is \
     made, and boots next until all has succeeded and is on disk. So a failure, a loss of power or a machine that is switched off end in what was \
     before, and the root that was changed in part is kept, but neither booted nor built upon; a clean-up takes it. After success \
     the snapshot stays, read-only, and rollback goes back to it. The RPM database must be in the subvolume of the root.",
    "With the strategy new-snapshot, which is the usual one where the root is read-only, it is a transaction like any other, with the difference that no \
     service sees it.",
    "What is no part of the root is not taken back with it: boot partitions and the ESP, /var, /srv, /opt, /home and /root where they are subvolumes or \
     file systems of their own. offline status names those of them that an update that failed may have changed.",
    "/var, or only the directory of the state, may be a part of the root. What boots next knows what has become of the update then as well; its \
     journal stays in the root that ran the update boot, and update.log has what the package manager printed. A directory of the state that is a subvolume which nothing mounts, or that is \
     mounted from the root itself, is refused.",
    "It ends with what --end says, also after a failure, whose reason stays on the screen for OFFLINE_FAILURE_PAUSE. A package manager that gives \
     no sign of life for OFFLINE_STALL_TIMEOUT is ended, see transactional-update.conf(5). In place of a soft-reboot comes a reboot when packages of the \
     kernel, the initrd, firmware or the boot loader were changed, and when what was before an update in place has to boot.",
];

const STATES: &[(&str, &str)] = &[
    (
        "no offline update is armed",
        "None was, or it was called off.",
    ),
    (
        "arming was not completed",
        "It was cut off, and nothing will happen. offline arm does it again, offline cancel takes it back.",
    ),
    ("armed", "The next restart carries it out."),
    (
        "armed, but not run in this boot",
        "The kernel command line said where to boot, or the system was started in another way that leads past the link. It stays armed.",
    ),
    ("being carried out", "This is the update boot."),
    ("applied", "All of it is there."),
    (
        "reverted",
        "It was done in place and did not succeed; what was before runs. The plan cannot be tried again.",
    ),
    (
        "failed",
        "The system was not changed, or a new snapshot was thrown away.",
    ),
    (
        "acknowledged",
        "Somebody has seen the result: by offline status --ack, offline cancel or the next offline prepare.",
    ),
];

const TRAPS: &[(&str, &str)] = &[
    (
        "The update is to be skipped",
        "systemd.unit=multi-user.target, or another word that chooses a target, on the kernel command line of one boot. The update stays armed for \
         the next one without it; offline cancel calls it off.",
    ),
    (
        "A mount or another early unit fails in the update boot",
        "The unit does not start, systemd removes the link and reboots, and the result is failed (not-run). Plan and packages are still there; \
         offline arm does it again.",
    ),
    (
        "The target is entered from the running system",
        "As by systemctl default, or by leaving the rescue mode. Nothing is changed, and the system reboots into the update. The second time it \
         is failed (not-run).",
    ),
    (
        "Another program's link is there",
        "offline arm refuses and names it. One that comes later gets its update boot first, and ours one of its own after that, where the plan is \
         stale when the other one has changed packages.",
    ),
    (
        "A directory is in the place of the link",
        "offline arm, cancel and status name it, and it is never removed. systemd may keep an update boot for it that does not end: remove it by hand, \
         booted with systemd.unit=multi-user.target.",
    ),
    (
        "The link cannot be removed",
        "Nothing is installed. The usual system comes up in the same boot, and the result is failed (cannot-remove-trigger). Remove it by hand.",
    ),
    (
        "A snapshot of the time when an update was armed boots later",
        "The link is in it and leads into an update boot, in which nothing is done but to remove it: one boot more.",
    ),
];
