//! Several commands in one call, and none at all.

use crate::fx::Machine;

#[test]
fn commands_that_change_the_system_are_one_transaction_with_the_packages_first() {
    let machine = Machine::new();
    machine.use_repository("v2", &["gpgcheck=0"]);
    machine.tu("-n pkg install fx-etc-1.0 fx-lib").succeeds();
    let ran = machine
        .boot("echo 'rpm -q fx-etc > /usr/seen; exit 0' | transactional-update shell dup")
        .succeeds()
        .says("Snapshot 3 is the next system");
    assert_eq!(ran.stderr.matches("Base: ").count(), 1, "{ran}");
    machine.holds(&[1, 2, 3], 3);
    machine
        .boot("cat /usr/seen; rpm -q fx-etc")
        .succeeds()
        .says("fx-etc-2.0-1.noarch\nfx-etc-2.0-1.noarch");
}

#[test]
fn a_chain_whose_last_command_fails_changes_nothing_and_has_its_status() {
    let machine = Machine::new();
    machine
        .tu("-n -q dup run sh -c 'touch /usr/x; exit 7'")
        .exits(7)
        .says("failed with status 7");
    machine.holds(&[1], 1);
}

#[test]
fn a_chain_is_dropped_only_when_none_of_its_commands_changed_something() {
    let machine = Machine::new();
    machine.tu("dup").succeeds().says("Nothing to do");
    machine.holds(&[1], 1);
    machine.tu("dup run touch /usr/x").succeeds();
    machine.holds(&[1, 2], 2);
}

#[test]
fn commands_that_do_not_fit_together_are_refused_before_anything_is_done() {
    let machine = Machine::new();
    for (words, says) in [
        ("dup up", "a command for packages is given twice"),
        ("patch -n pkg install fx-etc", "given twice"),
        ("shell shell", "shell is given twice"),
        ("dup status", "'status' stands alone"),
        ("dup rollback 1", "'rollback' stands alone"),
        ("dup no-such-command", "'no-such-command'"),
        ("dup pkg", "Usage: transactional-update pkg"),
    ] {
        machine.tu(words).exits(1).says(says);
    }
    machine.holds(&[1], 1);
    machine
        .boot("test ! -e /var/log/transactional-update.log")
        .succeeds();
}

#[test]
fn without_a_command_the_configuration_says_what_is_done_and_is_named() {
    let machine = Machine::new();
    machine.use_repository("v2", &["gpgcheck=0"]);
    machine.tu("-n pkg install fx-etc-1.0").succeeds();
    let configure = |method: &str| {
        machine.prepare(&format!(
            "echo UPDATE_METHOD={method} > /etc/transactional-update.conf"
        ));
    };
    configure("sysupdate");
    machine
        .tu("")
        .exits(1)
        .says("UPDATE_METHOD=sysupdate (/etc/transactional-update.conf:1)");
    configure("up");
    machine
        .tu("--no-selfupdate")
        .succeeds()
        .says("UPDATE_METHOD is up (/etc/transactional-update.conf:1)")
        .says("Snapshot 3 is the next system");
    machine.boot("rpm -q fx-etc").succeeds().says("fx-etc-2.0");
    machine.tu("").succeeds().says("Nothing to do");
    machine
        .boot("tail -n 1 /var/log/transactional-update.log; grep 'zypper .*update' /var/log/transactional-update.log")
        .succeeds();
}
