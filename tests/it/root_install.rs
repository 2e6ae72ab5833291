//! Installing packages: the running system stays as it is, the next one has them.

use crate::fx::{ALL_VARIANTS, Machine, Variant};

/// The whole way on one kind of machine: install, look at the running system, boot, look at the new one, go back.
fn install_and_go_back(variant: Variant) {
    let machine = Machine::of(variant);
    let old = machine.manifest("true");
    let running = machine.manifest("transactional-update -n pkg install fx-etc fx-caps");
    assert_eq!(running, old, "the running system changed");
    machine.holds(&[1, 2], 2);
    let look = "findmnt -n -o FSROOT /; fx-etc; rpm -q fx-etc fx-caps; rpm -V fx-etc fx-caps; getcap /usr/bin/fx-ping";
    let new = machine
        .boot(look)
        .succeeds()
        .says("/@/.snapshots/2/snapshot")
        .says("fx-etc 1.0")
        .says("cap_net_raw=ep");
    new.does_not_say("missing").does_not_say("not installed");
    let ran = machine.tu("rollback 1").succeeds();
    if variant.is_read_write() {
        ran.says("Snapshot 4, a read-write copy of #1")
            .says("saved as #3");
        machine.holds(&[1, 2, 3, 4], 4);
        machine
            .boot("touch /usr/new && btrfs property get -ts /.snapshots/3/snapshot ro")
            .succeeds()
            .says("ro=true");
    } else {
        ran.says("Snapshot 1 is the next system");
        machine.holds(&[1, 2], 1);
        assert_eq!(
            machine.manifest("true"),
            old,
            "the old system came back changed"
        );
    }
    machine.boot("rpm -q fx-etc").exits(1);
    machine.boot("test ! -e /usr/bin/fx-etc").succeeds();
}

#[test]
fn a_package_is_in_the_next_system_and_a_rollback_brings_the_old_one_back_ro_sqlite() {
    install_and_go_back(ALL_VARIANTS[0]);
}

#[test]
fn a_package_is_in_the_next_system_and_a_rollback_brings_the_old_one_back_ro_ndb() {
    install_and_go_back(ALL_VARIANTS[1]);
}

#[test]
fn a_package_is_in_the_next_system_and_a_rollback_brings_the_old_one_back_rw_sqlite() {
    install_and_go_back(ALL_VARIANTS[2]);
}

#[test]
fn a_package_is_in_the_next_system_and_a_rollback_brings_the_old_one_back_rw_ndb() {
    install_and_go_back(ALL_VARIANTS[3]);
}

#[test]
fn a_package_is_in_the_next_system_and_a_rollback_brings_the_old_one_back_nested_etc_sqlite() {
    install_and_go_back(ALL_VARIANTS[4]);
}

#[test]
fn a_package_is_in_the_next_system_and_a_rollback_brings_the_old_one_back_nested_etc_ndb() {
    install_and_go_back(ALL_VARIANTS[5]);
}
