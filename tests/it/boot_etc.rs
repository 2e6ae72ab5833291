//! Real boots of a system whose /etc is a subvolume: the merge runs before systemd, as in an initrd.

use crate::fx::{Machine, REBOOT, Variant};

#[test]
fn what_was_edited_before_the_reboot_is_in_the_new_etc_when_the_system_is_up() {
    let machine = Machine::of(Variant::NestedSqlite);
    machine.install();
    machine.prepare("systemctl enable transactional-update-boot.service");
    let update = "for f in mine both gone; do echo old > /etc/$f; done
        transactional-update -q -n pkg install fx-etc && transactional-update -q run sh -c 'echo update > /etc/both' || exit
        echo edited > /etc/mine; echo edited > /etc/both; rm /etc/gone; ln -s /nowhere /etc/link
        printf '[Service]\\nType=oneshot\\nExecStart=/bin/touch /run/unit-of-the-administrator\\n' > /etc/systemd/system/edit.service
        mkdir /etc/systemd/system/multi-user.target.wants 2>/dev/null; ln -s ../edit.service /etc/systemd/system/multi-user.target.wants/
        transactional-update status; systemctl --no-block reboot";
    let ran = machine.power_on(update).exits(REBOOT);
    let foreseen = ran.says("yours is \"both.rpmsave\"");
    assert!(foreseen.stdout.contains("Next boot: #3"), "{foreseen}");
    let look = "findmnt -n -o FSROOT /etc; cd /etc; cat mine both both.rpmsave fx/a.conf; readlink link; ls gone etc.syncpoint
        ls /run/unit-of-the-administrator; systemctl --failed --no-legend; touch /etc/writable; transactional-update status
        transactional-update rollback last; systemctl --no-block reboot";
    let ran = machine.power_on(look).exits(REBOOT);
    assert!(
        ran.stdout
            .starts_with("/@/.snapshots/3/snapshot/etc\nedited\nupdate\nedited\na=1\n/nowhere\n"),
        "{ran}"
    );
    ran.says("cannot access 'gone'")
        .says("cannot access 'etc.syncpoint'")
        .says("\n/run/unit-of-the-administrator\nRunning: #3\n")
        // what the initrd said
        .says("\"both\" was changed on both sides");
    // the old system has the /etc that it had
    let ran = machine
        .power_on("findmnt -n -o FSROOT /etc; cd /etc; cat mine both; ls gone both.rpmsave fx")
        .exits(0);
    assert!(
        ran.stdout
            .starts_with("/@/.snapshots/1/snapshot/etc\nedited\nedited\n"),
        "{ran}"
    );
}

#[test]
fn a_merge_that_is_cut_off_is_finished_by_the_next_boot() {
    let machine = Machine::of(Variant::NestedSqlite);
    machine
        .boot("for n in 1 2 3; do echo old > /etc/mine$n; done; transactional-update -q run touch /etc/new && for n in 1 2 3; do echo edited > /etc/mine$n; done")
        .succeeds();
    let look = "cat /etc/mine?; ls /etc/new /etc/etc.syncpoint";
    for point in ["etc-step", "etc-marked"] {
        machine.dies_in_initrd(point).does_not_say("up");
    }
    let ran = machine.boot(look).exits(2);
    assert_eq!(ran.stdout, "edited\nedited\nedited\n/etc/new\n", "{ran}");
}

#[test]
fn a_merge_that_fails_stops_no_boot_and_is_told_by_the_unit() {
    let machine = Machine::of(Variant::NestedSqlite);
    machine.install();
    machine.prepare("systemctl enable transactional-update-boot.service");
    machine
        .boot("transactional-update -q run touch /etc/new && echo edited > /etc/mine
            cd /.snapshots/2/snapshot/etc/etc.syncpoint && echo 99 > transactional-update.comparewith")
        .succeeds();
    let look = "ls /etc/new /etc/mine; ls -d /etc/etc.syncpoint; systemctl show -P Result transactional-update-boot.service
        journal -o cat -u transactional-update-boot.service | grep -o '^Warning: .* was not merged'; findmnt -n -o FSROOT /etc";
    let ran = machine.power_on(look).exits(0);
    ran.says(".snapshots/99/snapshot/etc")
        .says("cannot access '/etc/mine'")
        .says("/etc/new\n/etc/etc.syncpoint\nsuccess\nWarning: what was changed in the etc of snapshot 99 was not merged\n/@/.snapshots/2/snapshot/etc\n");
}
