//! `apply` on a machine that really booted.

use crate::fx::{Machine, Variant};

#[test]
fn a_running_systemd_knows_the_units_of_the_new_system_at_once() {
    for variant in [Variant::RoSqlite, Variant::NestedSqlite] {
        let machine = Machine::of(variant);
        machine.install();
        let unit = "printf \"[Service]\\\\nExecStart=/bin/echo from the new one\\\\n\" > /usr/lib/systemd/system/fx-new.service; echo d /run/fx-made > /usr/lib/tmpfiles.d/fx.conf";
        let script = format!(
            "set -e; transactional-update -q run sh -c '{unit}'; transactional-update -q apply
             systemctl start fx-new.service; ls -d /run/fx-made; findmnt -n -o FSROOT /usr; transactional-update status | head -n 2"
        );
        let ran = machine.power_on(&script).succeeds();
        assert!(
            ran.stdout
                .contains("/run/fx-made\n/@/.snapshots/2/snapshot/usr\n"),
            "{ran}"
        );
        ran.does_not_say("Warning: systemctl")
            .does_not_say("Warning: systemd-tmpfiles");
    }
}
