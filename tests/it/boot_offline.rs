//! Offline updates on machines that really boot into system-update.target.

use crate::fx::{Machine, REBOOT, Variant};

#[test]
fn a_trigger_leads_to_a_boot_in_which_the_script_of_a_test_does_not_run() {
    let machine = Machine::of(Variant::RwSqlite);
    machine.install();
    machine.prepare("ln -s /nowhere /system-update");
    machine
        .power_on_default("", "echo came here")
        .exits(REBOOT)
        .does_not_say("came here");
    machine
        .power_on_default("", "echo came here; ls -l /system-update")
        .exits(0)
        .says("came here");
}
