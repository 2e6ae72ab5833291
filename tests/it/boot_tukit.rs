//! Open transactions and real boots.

use crate::fx::{Machine, REBOOT};

#[test]
fn an_open_transaction_outlives_a_reboot_and_becomes_the_next_system_when_it_is_closed() {
    let machine = Machine::new();
    machine.install();
    machine.prepare("systemctl enable transactional-update-boot.service");
    // callext talks to the running systemd, call must not
    machine
        .power_on(
            "tukit open; tukit call 2 sh -c 'echo one > /usr/one'
             tukit callext 2 systemctl is-active dbus.socket; tukit call 2 systemctl start no-such.service
             transactional-update status",
        )
        .exits(0)
        .says("ID: 2\nactive\n")
        .says("unning in chroot, ignoring")
        .does_not_say("earlier boot");
    machine
        .power_on(
            "systemctl is-failed transactional-update-boot.service; findmnt -n -o FSROOT /; transactional-update status
             tukit call 2 sh -c 'cat /usr/one; echo two > /usr/two'; tukit close 2; systemctl --no-block reboot",
        )
        .exits(REBOOT)
        .says("/@/.snapshots/1/snapshot\n")
        .says("snapshot 2 is an open transaction of an earlier boot")
        .says("one\n")
        .does_not_say("left behind")
        .does_not_say("failed\n");
    machine
        .power_on("findmnt -n -o FSROOT /; cat /usr/one /usr/two; systemctl --failed --no-legend")
        .exits(0)
        .says("/@/.snapshots/2/snapshot\none\ntwo\n");
    machine.holds(&[1, 2], 2);
}
