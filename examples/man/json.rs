//! What `--json` prints.

/// The answer of `status`; a dot stands before what is inside.
pub(crate) const STATUS: &[(&str, &str)] = &[
    (
        "schema",
        "1. Raised when a field changes its meaning or goes away; new ones may be added.",
    ),
    (
        "booted, current, default, next",
        "Numbers of snapshots: the one that was booted, the one that /usr comes from (another one after apply), the default \
         subvolume, and the one that boots next. null where it is no snapshot.",
    ),
    (
        "pending",
        "The update that waits for the next boot, or null.",
    ),
    (
        "pending.snapshot, pending.since, pending.lineage",
        "Its number, when it was made (UTC), and the numbers from it down to the running system.",
    ),
    (
        "reboot_needed",
        "Whether another snapshot than the running one boots next.",
    ),
    (
        "in_progress, open, kept",
        "Numbers of snapshots: not finished by a transaction; those of them that tukit holds open; kept after a failure.",
    ),
    (
        "etc",
        "What of the running /etc does not reach the pending update.",
    ),
    (
        "etc.lost, etc.lost.path, etc.lost.change",
        "What nothing merges: the path, and added, changed or removed.",
    ),
    (
        "etc.conflicts, etc.conflicts.path, etc.conflicts.outcome",
        "What the update changed, too: the path, and a sentence on what becomes of the running version.",
    ),
    (
        "attention",
        "Sentences on what an administrator should look at.",
    ),
];

/// The answer of `list`.
pub(crate) const LIST: &[(&str, &str)] = &[
    ("schema", "As above."),
    ("snapshots", "The snapshots by number."),
    (
        "snapshots.number, snapshots.date, snapshots.description",
        "As snapper has them; the time is UTC.",
    ),
    (
        "snapshots.flags",
        "Any of booted, current, default, pending, in-progress, open, kept, broken, important.",
    ),
    (
        "snapshots.read_only",
        "Whether it is read-only; null without a subvolume.",
    ),
    (
        "snapshots.base",
        "The number of the snapshot it was made from, or null when another program made it.",
    ),
    (
        "snapshots.cleanup, snapshots.userdata",
        "snapper's algorithm that deletes it, empty when it stays; keys and values of anybody.",
    ),
    (
        "snapshots.problem",
        "Why it cannot be understood; only there when it cannot.",
    ),
];

/// The answer of `offline status`.
pub(crate) const OFFLINE: &[(&str, &str)] = &[
    ("schema", "As above."),
    (
        "situation",
        "none; incomplete (arming was cut off); armed; not-diverted (armed, but this boot was not the one); started; applied; reverted; failed; \
         acknowledged.",
    ),
    (
        "state",
        "What is noted of it, or null: plan, cause, phase, strategy, end, trigger, armed, started, tree, finished. cause is why it was not applied: \
         interrupted, not-run, stale, install, power, space, cannot-remove-trigger, foreign-trigger, unsafe-directory, stalled, shutdown, \
         unknown-root.",
    ),
    (
        "result",
        "Details of the end, or null: cause, text, packages, not_reverted, subvolumes, times, boot_id, log.",
    ),
    (
        "foreign",
        "Sentences on what is where triggers are and belongs to another program.",
    ),
    (
        "leftover",
        "Paths of triggers that belong to no armed update.",
    ),
    (
        "running, default",
        "Ids of the subvolume that runs and of the default one; null where that is not known.",
    ),
    ("next", "A sentence on what can be done, or null."),
];
