//! Real boots: the default snapshot with systemd as PID 1.

use crate::fx::{ALL_VARIANTS, Machine, REBOOT, Variant, command};

/// Which snapshot runs, what failed to start, and whether the package is there.
const LOOK: &str = "findmnt -n -o FSROOT /; systemctl --failed --no-legend; fx-etc; rpm -q fx-etc";

fn update_and_go_back(variant: Variant) {
    let machine = Machine::of(variant);
    machine.install();
    machine.prepare("systemctl enable transactional-update-boot.service");
    let update = "transactional-update -n pkg install fx-etc || exit; systemctl --no-block reboot";
    machine
        .power_on(&format!("{LOOK}; {update}"))
        .exits(REBOOT)
        .says("/@/.snapshots/1/snapshot\n")
        .says("Snapshot 2 is the next system");
    machine
        .power_on(&format!(
            "{LOOK}; transactional-update rollback last; systemctl --no-block reboot"
        ))
        .exits(REBOOT)
        .says("/@/.snapshots/2/snapshot\nfx-etc 1.0\nfx-etc-1.0-1.noarch\n");
    let back = if variant.is_read_write() { 4 } else { 1 };
    machine
        .power_on(LOOK)
        .exits(0)
        .says(&format!("/@/.snapshots/{back}/snapshot\n"))
        .says("package fx-etc is not installed");
}

#[test]
fn a_system_boots_into_its_update_and_after_a_rollback_into_the_old_one_read_only() {
    update_and_go_back(ALL_VARIANTS[0]);
}

#[test]
fn a_system_boots_into_its_update_and_after_a_rollback_into_the_old_one_read_write() {
    update_and_go_back(ALL_VARIANTS[2]);
}

#[test]
fn a_boot_leaves_no_loop_device_no_mount_no_cgroup_and_two_do_not_meet() {
    let machines = [Machine::new(), Machine::new()];
    std::thread::scope(|scope| {
        for machine in &machines {
            scope.spawn(|| {
                machine
                    .power_on("cat /var/mark; echo mark > /var/mark; sleep 1")
                    .exits(0)
                    .says("No such file")
            });
        }
    });
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let loops = command("losetup").arg("-a").output().unwrap();
    let loops = String::from_utf8(loops.stdout).unwrap();
    for machine in &machines {
        let dir = machine.dir().to_str().unwrap();
        assert!(
            !mounts.contains(dir) && !loops.contains(dir),
            "{mounts}{loops}"
        );
    }
    // a cgroup is named by the process that made it; other boots may be under way
    let dead = "for d in /sys/fs/cgroup{,/*}/tu-boot.*; do [ ! -d $d ] || [ -e /proc/${d##*.} ] || echo $d; done";
    let left = command("bash").args(["-c", dead]).output().unwrap();
    assert_eq!(
        String::from_utf8(left.stdout).unwrap(),
        "",
        "cgroups are left"
    );
    machines[0].boot("cat /var/mark").succeeds().says("mark");
}

#[test]
fn a_boot_is_noted_where_another_unit_decides_whether_it_is_a_success() {
    let machine = Machine::new();
    machine.install();
    machine.prepare(
        "systemctl enable transactional-update-boot.service transactional-update-recover.service
         printf '[Unit]\\nAfter=default.target graphical.target multi-user.target\\nBefore=boot-complete.target\\n[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/true\\n[Install]\\nRequiredBy=boot-complete.target\\n' > /etc/systemd/system/check.service
         printf '[Unit]\\nDefaultDependencies=no\\nRequires=boot-complete.target\\nAfter=local-fs.target boot-complete.target\\n[Service]\\nType=oneshot\\nExecStart=/bin/true\\n[Install]\\nWantedBy=basic.target\\n' > /etc/systemd/system/bless.service
         systemctl enable check.service bless.service",
    );
    machine
        .power_on("until grep tu-booted /.snapshots/1/info.xml; do sleep .1; done")
        .exits(0)
        .says("<key>tu-booted</key>")
        .does_not_say("ordering cycle");
}
