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

#[test]
fn a_soft_reboot_goes_to_the_next_system_with_the_merged_etc() {
    let machine = Machine::of(Variant::NestedSqlite);
    machine.install();
    let look = "findmnt -n -o FSROOT /; ls /usr/new /etc/mine; findmnt -n -o FSROOT /var; ls -d /etc/etc.syncpoint; transactional-update status | head -n 2";
    machine.prepare(&format!(
        "systemctl enable prepare-nextroot-for-softreboot.service
         printf '[Unit]\\nConditionPathExists=/run/second\\n[Service]\\nType=oneshot\\nExecStart=/bin/bash -c \"{{ {look}; }} &> /var/result; sync; systemctl --no-block poweroff\"\\n' > /etc/systemd/system/second.service
         mkdir -p /etc/systemd/system/multi-user.target.wants; ln -s ../second.service /etc/systemd/system/multi-user.target.wants/",
    ));
    let script = "transactional-update -q run touch /usr/new || exit 1
         echo admin > /etc/mine; touch /run/second; systemctl --no-block soft-reboot; sleep 60";
    let ran = machine.power_on(script);
    let result = machine.boot("cat /var/result").stdout;
    let wanted = "/@/.snapshots/2/snapshot\n/etc/mine\n/usr/new\n/@/var\nls: cannot access '/etc/etc.syncpoint'";
    assert!(result.starts_with(wanted), "{result}\n{ran}");
}
