//! `recover` and its unit: what is left of commands that were cut off.

use crate::fx::{Machine, REBOOT, Variant};

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

#[test]
fn a_deletion_that_dies_anywhere_leaves_no_number_that_nobody_owns() {
    let machine = Machine::of(Variant::NestedSqlite);
    let mut script = "there() { echo $(ls -A /.snapshots | sort -V); }\n".to_owned();
    for point in [
        "delete-marked",
        "unsealed",
        "deleted-syncpoint",
        "deleted-etc",
        "deleted-subvolume",
        "deleted-entries",
        "delete-unnumbered",
        "unborn-emptied",
    ] {
        script += &format!(
            "transactional-update -q run true || exit 90
             TU_FAILPOINTS={point}=kill transactional-update -q discard; [ $? = 137 ] || exit 91
             transactional-update status | grep -q 'Next boot: #1' || exit 92
             transactional-update recover || exit 93; [ \"$(there)\" = 1 ] || {{ echo '{point}:' $(there); exit 94; }}\n"
        );
    }
    let ran = machine.boot(&script).succeeds();
    assert_eq!(ran.stderr.matches("left behind").count(), 8, "{ran}");
    machine.holds(&[1], 1);
}

#[test]
fn a_deletion_that_dies_keeps_a_number_that_must_not_come_again() {
    let machine = Machine::new();
    machine.prepare("echo 'UNIQUE_NUMBERS=\"yes\"' >> /etc/snapper/configs/root");
    for point in ["delete-marked", "deleted-subvolume", "delete-undescribed"] {
        machine.boot(&format!(
            "transactional-update -q run true && TU_FAILPOINTS={point}=kill transactional-update -q discard
             transactional-update recover"
        ));
    }
    machine.holds(&[1, 2, 3, 4], 1);
    let ran = machine.tu("run true").succeeds();
    ran.says("Snapshot 5 is the next system");
}

#[test]
fn what_writes_of_metadata_left_beside_it_is_removed() {
    let machine = Machine::new();
    for (point, words) in [
        ("replace-written@1", "boot-complete"),
        ("replace-written@2", "run touch /usr/new"),
    ] {
        machine
            .boot(&format!(
                "TU_FAILPOINTS={point}=kill transactional-update {words}; [ $? = 137 ] && find /.snapshots -maxdepth 2 -name '*.tu-new' | grep . &&
                 transactional-update recover && ! find /.snapshots -maxdepth 2 -name '*.tu-new' | grep ."
            ))
            .succeeds();
    }
    machine.holds(&[1], 1);
}
