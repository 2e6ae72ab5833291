//! `recover` and its unit: what is left of commands that were cut off.

use crate::fx::{Machine, REBOOT};

#[test]
fn recovery_removes_what_a_killed_transaction_left_and_a_second_one_says_and_changes_nothing() {
    let machine = Machine::new();
    machine
        .boot(
            "TU_FAILPOINTS=ran=kill transactional-update run touch /usr/new
             transactional-update recover; echo again; transactional-update recover 2>&1",
        )
        .succeeds()
        .says("Removed snapshot 2, left behind by a transaction that was cut off.");
    machine.holds(&[1], 1);
    let ran = machine.tu("recover").succeeds();
    assert_eq!((ran.stdout, ran.stderr), (String::new(), String::new()));
}

#[test]
fn recovery_works_on_a_system_that_is_mounted_elsewhere() {
    let machine = Machine::new();
    machine.boot("TU_FAILPOINTS=created=kill transactional-update run true");
    machine
        .outside("$TU --root $FX_ROOT recover && $TU --root $FX_ROOT recover")
        .succeeds()
        .says("Removed snapshot 2");
    machine.holds(&[1], 1);
}

#[test]
fn recovery_leaves_the_work_to_who_holds_the_lock_and_a_boot_waits_to_be_noted() {
    let machine = Machine::new();
    let ran = machine
        .boot(
            "flock /.snapshots sh -c 'touch /run/held; until [ -e /run/go ]; do sleep .02; done' & p=$!
             until [ -e /run/held ]; do sleep .02; done
             transactional-update recover || exit 97
             transactional-update boot-complete & b=$!
             sleep .3; kill -0 $b || exit 96; grep -q tu-booted /.snapshots/1/info.xml && exit 95
             touch /run/go; wait $p && wait $b && grep tu-booted /.snapshots/1/info.xml",
        )
        .succeeds();
    ran.says("Nothing is recovered, since another transaction is running");
}

#[test]
fn a_boot_recovers_before_anything_else_works_on_snapshots() {
    let machine = Machine::new();
    machine.install();
    machine.prepare("systemctl enable transactional-update-recover.service");
    machine.boot("TU_FAILPOINTS=synced=kill transactional-update run touch /usr/new");
    machine
        .power_on(
            "systemctl is-failed transactional-update-recover.service; ls -A /.snapshots | xargs echo there:
             journalctl -b --no-pager -o cat -u transactional-update-recover.service; systemctl --no-block reboot",
        )
        .exits(REBOOT)
        .says("there: 1\n")
        .says("Removed snapshot 2, left behind");
    machine.holds(&[1], 1);
}
