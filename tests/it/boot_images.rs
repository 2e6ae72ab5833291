//! UPDATE_METHOD=sysupdate in real boots: a machine whose root is one of several trees, and that has no snapshots.

use crate::fx::{Machine, REBOOT, Variant};

/// What its boot loader follows.
const CURRENT: &str = "images/current";

/// A machine that runs version 1.0 of its image, a directory beside which others have room. Its source has version 1.1, and its timer does
/// not wait for its turn.
fn machine() -> Machine {
    let machine = Machine::of(Variant::RwSqlite);
    machine.install();
    machine.prepare(
        "systemctl enable transactional-update.timer transactional-update-boot.service transactional-update-recover.service
         mkdir -p /etc/systemd/system/transactional-update.timer.d /var/lib/systemd/timers /etc/sysupdate.d
         printf '[Timer]\\nRandomizedDelaySec=0\\nAccuracySec=1ms\\n' > /etc/systemd/system/transactional-update.timer.d/now.conf
         touch -d '2 days ago' /var/lib/systemd/timers/stamp-transactional-update.timer
         echo UPDATE_METHOD=sysupdate > /etc/transactional-update.conf
         printf '%s\\n' '[Source]' Type=directory Path=/images/source MatchPattern=os_@v '[Target]' Type=directory Path=/images MatchPattern=os_@v \\
           CurrentSymlink=current > /etc/sysupdate.d/os.transfer
         sed -i /IMAGE_VERSION/d /usr/lib/os-release; ln -sf ../usr/lib/os-release /etc/os-release
         mkdir -p /images/source /images/os_1.0; cd /images
         for d in /*; do case $d in /images|/proc|/sys|/dev|/run|/var|/home|/srv|/opt|/tmp|/boot|/root) mkdir -p os_1.0$d;; *) cp -a --reflink=auto $d os_1.0/;; esac; done
         cp -a --reflink=auto os_1.0 source/os_1.1
         for v in 1.0 1.1; do d=/images/os_$v; [ $v = 1.0 ] || d=/images/source/os_$v; echo IMAGE_VERSION=$v >> $d/usr/lib/os-release; : > $d/etc/fstab; done
         ln -s os_1.0 current",
    );
    machine
}

/// Which version runs, what is the current one, units that failed.
const LOOK: &str = "sed -n s/^IMAGE_VERSION=//p /etc/os-release; readlink /images/current; systemctl --failed --no-legend; ls -d /.snapshots 2>&1";
/// Waits until the unit has run; a reboot that it asks for comes in between.
const WAIT: &str = "for i in {1..2000}; do [ \"$(systemctl show -P ExecMainExitTimestampMonotonic transactional-update.service)\" = 0 ] || break; sleep 0.1; done
    systemctl show -P Result transactional-update.service; sleep 2";
const JOURNAL: &str = "journal -o cat -u transactional-update.service";

#[test]
fn the_timer_updates_the_image_the_machine_comes_back_in_it_and_goes_back_where_it_is_told_to() {
    let machine = machine();
    machine
        .power_on_image(CURRENT, &format!("{LOOK}; {WAIT}; {JOURNAL}"))
        .exits(REBOOT)
        .says("1.0\nos_1.0\nls: cannot access '/.snapshots'");
    machine
        .power_on_image(
            CURRENT,
            &format!(
                "{LOOK}; systemctl start transactional-update.service && {JOURNAL}; transactional-update status --json; transactional-update rollback
                 transactional-update rollback last; readlink /images/current; transactional-update status; transactional-update reboot; sleep 60"
            ),
        )
        .exits(REBOOT)
        .says("1.1\nos_1.1\nls: cannot access '/.snapshots'")
        .says("UPDATE_METHOD is sysupdate (/etc/transactional-update.conf:1)")
        .says("No reboot: version '1.1' runs, and '1.1' is the newest that is installed as a whole.")
        .says("\"booted\": \"1.1\"")
        .says("Version '1.1' runs and boots next; `rollback last` goes to '1.0'.")
        .says("os_1.0\nRunning image: version 1.1\nImages: version 1.0 is the current one\nReboot to switch to it; `rollback` keeps the running one instead.\n  1.1 (current, gone back from)\n");
    // what was gone back from does not come again by itself, and nothing reboots for it
    machine
        .power_on_image(
            CURRENT,
            &format!("{LOOK}; systemctl start transactional-update.service; systemctl show -P Result transactional-update.service; {JOURNAL}; sleep 2"),
        )
        .exits(0)
        .says("1.0\nos_1.0\nls: cannot access '/.snapshots'")
        .says("success\n")
        .says("No reboot: version '1.0' runs");
}
