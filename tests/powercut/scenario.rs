//! The commands that are cut off.

use crate::fx::Variant;
use crate::offline;

/// Which program does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Under {
    Product,
    /// tests/fixture/tx-by-hand.sh with the default switched too early, in this way.
    ByHand(&'static str),
    /// The product with the feature `publish-early`.
    EarlyProduct,
}

/// A command and the machine it runs on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) variant: Variant,
    /// Runs on the machine while its root is writable.
    pub(crate) prepare: &'static str,
    /// Scripts that the machine runs before, one boot each, with their exit codes.
    pub(crate) before: &'static [(&'static str, i32)],
    /// The repository that the machine has then, if not its own.
    pub(crate) repository: Option<&'static str>,
    /// Runs in the same boot before the power can fail.
    pub(crate) setup: &'static str,
    /// What is cut off.
    pub(crate) command: &'static str,
    pub(crate) code: i32,
    pub(crate) under: Under,
    /// Whether it is durable once the command has come back. What is only cleared away may come back.
    pub(crate) promises: bool,
    /// Whether a boot merges /etc once more before it is judged.
    pub(crate) merges: bool,
    /// Whether it is about an update in a boot of its own, and what follows is judged by the boots that come then.
    pub(crate) offline: bool,
}

pub(crate) const INSTALL: Scenario = Scenario {
    name: "install",
    variant: Variant::RoSqlite,
    prepare: "",
    before: &[],
    repository: None,
    setup: "",
    command: "transactional-update -q -n pkg install fx-etc",
    code: 0,
    under: Under::Product,
    promises: true,
    merges: false,
    offline: false,
};

/// An upgrade that updates, replaces, removes, downgrades and adds packages, in an update boot of a read-write system.
const OFFLINE: Scenario = Scenario {
    name: "offline-in-place",
    variant: Variant::RwSqlite,
    prepare: offline::PREPARE,
    before: &[(
        "cd /etc/zypp/repos.d && rm * && printf '[b]\nenabled=1\nbaseurl=dir:///run/repos/before\ntype=rpm-md\ngpgcheck=0\n' > b.repo
         zypper -q -n install fx-etc fx-old fx-plug fx-down",
        0,
    )],
    repository: Some("after"),
    setup: "echo 1 > /run/userspace; transactional-update -q offline prepare dup && transactional-update -q offline arm && echo 2 > /run/userspace",
    command: "transactional-update -q offline run",
    offline: true,
    ..INSTALL
};

/// How the tests and the proof know them.
pub(crate) const SCENARIOS: [Scenario; 17] = [
    INSTALL,
    Scenario {
        name: "install-nested-etc",
        variant: Variant::NestedSqlite,
        ..INSTALL
    },
    Scenario {
        name: "install-huge",
        repository: Some("v1"),
        command: "transactional-update -q -n pkg install fx-huge",
        ..INSTALL
    },
    Scenario {
        name: "update",
        before: &[("transactional-update -q -n pkg install fx-etc", 0)],
        repository: Some("v2"),
        command: "transactional-update -q -n pkg update fx-etc",
        ..INSTALL
    },
    Scenario {
        name: "remove",
        before: &[("transactional-update -q -n pkg install fx-etc", 0)],
        command: "transactional-update -q -n pkg remove fx-etc",
        ..INSTALL
    },
    // the base is a snapshot that waits for its boot
    Scenario {
        name: "continue",
        setup: "transactional-update -q run touch /usr/pending",
        ..INSTALL
    },
    Scenario {
        name: "rollback",
        before: &[RAN],
        command: "transactional-update -q rollback 1",
        ..INSTALL
    },
    Scenario {
        name: "rollback-copy",
        variant: Variant::RwSqlite,
        before: &[RAN],
        command: "transactional-update -q rollback 1",
        ..INSTALL
    },
    Scenario {
        name: "discard",
        setup: "transactional-update -q run touch /usr/pending",
        command: "transactional-update -q discard",
        ..INSTALL
    },
    Scenario {
        name: "cleanup",
        before: &[
            RAN,
            ("transactional-update -q boot-complete; transactional-update -q run touch /usr/3", 0),
            ("transactional-update -q boot-complete; transactional-update -q rollback 1", 0),
            ("transactional-update -q boot-complete; transactional-update -q rollback 2", 0),
            ("transactional-update -q boot-complete; transactional-update -q rollback 3", 0),
            ("transactional-update -q boot-complete", 0),
        ],
        command: "transactional-update -q cleanup",
        ..INSTALL
    },
    Scenario {
        name: "etc-merge",
        variant: Variant::NestedSqlite,
        before: &[(
            "for f in $(seq 40); do echo old > /etc/both$f; echo old > /etc/mine$f; done
             transactional-update -q run sh -c 'for f in $(seq 40); do echo update > /etc/both$f; echo update > /etc/new$f; done' || exit
             for f in $(seq 40); do echo edited > /etc/both$f; echo edited > /etc/mine$f; done; rm /etc/mine1; ln -s nowhere /etc/link",
            0,
        )],
        // an initrd does it before
        command: "true",
        merges: true,
        ..INSTALL
    },
    // recovery of what was cut off while the snapshot was made, before it was published, and while it was removed
    Scenario {
        name: "recovery-of-a-new-snapshot",
        before: &[("TU_FAILPOINTS=created=kill transactional-update -q run true", 137)],
        command: "transactional-update -q recover",
        promises: false,
        ..INSTALL
    },
    Scenario {
        name: "recovery-of-a-full-snapshot",
        variant: Variant::NestedSqlite,
        before: &[("TU_FAILPOINTS=synced=kill transactional-update -q -n pkg install fx-etc", 137)],
        command: "transactional-update -q recover",
        promises: false,
        ..INSTALL
    },
    Scenario {
        name: "recovery-of-a-removal",
        before: &[(
            "TU_FAILPOINTS=ran=kill transactional-update -q run true; TU_FAILPOINTS=deleted-subvolume=kill transactional-update -q recover",
            137,
        )],
        command: "transactional-update -q recover",
        promises: false,
        ..INSTALL
    },
    OFFLINE,
    Scenario {
        name: "offline-new-snapshot",
        setup: "echo 1 > /run/userspace; transactional-update -q offline prepare --strategy new-snapshot dup && transactional-update -q offline arm && echo 2 > /run/userspace",
        ..OFFLINE
    },
    Scenario {
        name: "offline-arm",
        setup: "echo 1 > /run/userspace; transactional-update -q offline prepare dup",
        command: "transactional-update -q offline arm",
        ..OFFLINE
    },
];

/// What of these finds nothing is blind.
pub(crate) const CONTROLS: [Scenario; 5] = [
    Scenario {
        name: "default-early",
        command: "bash /run/by-hand install -y fx-etc",
        under: Under::ByHand("1"),
        ..INSTALL
    },
    Scenario {
        name: "default-early-not-synced",
        repository: Some("v1"),
        command: "bash /run/by-hand install -y fx-huge",
        under: Under::ByHand("nosync"),
        ..INSTALL
    },
    Scenario {
        name: "published-early",
        under: Under::EarlyProduct,
        ..INSTALL
    },
    // the root that is being changed boots next
    Scenario {
        name: "offline-published-early",
        under: Under::EarlyProduct,
        ..OFFLINE
    },
    Scenario {
        name: "offline-armed-early",
        setup: "echo 1 > /run/userspace; transactional-update -q offline prepare dup",
        command: "ln -s /var/lib/transactional-update/offline /system-update; sync -f /; transactional-update -q offline arm",
        ..OFFLINE
    },
];

/// A second system, which is the next one.
const RAN: (&str, i32) = (
    "transactional-update -q boot-complete; transactional-update -q run touch /usr/2",
    0,
);
