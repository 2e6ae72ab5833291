//! Offline updates: arming, calling off, and what is told of them.

use crate::fx::{Machine, Variant};

const STATE: &str = "/var/lib/transactional-update/offline";

/// A machine that runs version 1 of a package of which its repository has version 2, with a plan to update it.
fn prepared(variant: Variant) -> Machine {
    let machine = Machine::of(variant);
    machine.use_repository("v2", &["gpgcheck=0"]);
    machine.tu("-n pkg install fx-etc-1.0").succeeds();
    machine.install();
    machine.tu("offline prepare dup").succeeds();
    machine
}

/// All that arming makes, a line each.
const TRACES: &str = "readlink /system-update /etc/system-update; cd /var/lib/transactional-update/offline; ls -A state.json .transactional-update-armed motd .*.tu-new 2>/dev/null";

#[test]
fn arming_makes_state_marker_and_link_and_calling_it_off_takes_them_away() {
    let machine = prepared(Variant::RwSqlite);
    machine
        .tu("offline status")
        .exits(0)
        .says("no offline update is armed");
    machine
        .tu("offline arm")
        .succeeds()
        .says("no login and no network")
        .says("systemd.unit=multi-user.target");
    let ran = machine.boot(TRACES);
    assert_eq!(
        ran.stdout,
        format!("{STATE}\n.transactional-update-armed\nmotd\nstate.json\n"),
        "{ran}"
    );
    machine
        .boot(&format!("cd {STATE}; stat -c '%a %U %G' . state.json motd .transactional-update-armed | sort -u; grep . motd; cat /usr/lib/motd.d/transactional-update-offline | grep -c armed"))
        .says("644 root root\n755 root root\n")
        .says("it did not run")
        .says("\n1\n");
    machine
        .tu("offline status")
        .exits(2)
        .says("Offline update: armed")
        .says("by /system-update; then reboot");
    machine
        .tu("offline status --ack")
        .exits(1)
        .says("no result yet");
    machine
        .tu("offline status --json")
        .exits(2)
        .says("\"situation\": \"armed\"")
        .says("\"boot_id\"");
    machine.tu("offline arm").exits(0).says("armed already");
    machine.tu("offline cancel").succeeds().says("called off");
    assert_eq!(machine.boot(TRACES).stdout, "");
    machine
        .tu("offline status")
        .exits(0)
        .says("no offline update is armed");
    machine
        .tu("offline cancel")
        .exits(0)
        .says("No offline update is armed");
    machine.tu("offline arm --end poweroff").succeeds();
    machine.tu("offline status").exits(2).says("then poweroff");
}
