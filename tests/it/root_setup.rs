//! setup-fips, setup-selinux, setup-kdump, register and migration: what they install, write and call.

use crate::fx::Machine;

/// A script of the fixture for a program that is not there: records each call in `log`, takes no other arguments
/// than these (a pattern of bash), and then does `then`.
fn recorder(path: &str, log: &str, arguments: &str, then: &str) -> String {
    format!(
        "mkdir -p $(dirname {path}); cat > {path} <<'X'\n#!/bin/bash\necho \"${{0##*/}} $*\" >> {log}\n\
         [[ \"$*\" == {arguments} ]] || exit 99\n{then}\nX\nchmod 755 {path}\n"
    )
}

/// Where recorders in the snapshot note their calls, and those in the running system.
const INSIDE: &str = "/usr/share/fx-calls";
const OUTSIDE: &str = "/var/tmp/fx-calls";

fn machine() -> Machine {
    let machine = Machine::new();
    machine.use_repository("kernels", &["gpgcheck=0"]);
    let dracut = recorder("/usr/sbin/dracut", INSIDE, "--force\\ --regenerate-all", "");
    machine.prepare(&dracut);
    machine
}

#[test]
fn setup_fips_installs_the_pattern_and_calls_the_systems_own_program() {
    let machine = machine();
    machine.prepare(&recorder(
        "/usr/bin/fips-mode-setup",
        INSIDE,
        "--enable",
        "[ \"$FIPS_MODE_SETUP_SKIP_WARNING\" = 1 ] || exit 98",
    ));
    machine
        .tu("-v setup-fips")
        .succeeds()
        .says("To install: patterns-base-fips")
        .says("Step initrd");
    let calls = "fips-mode-setup --enable\ndracut --force --regenerate-all\n";
    machine
        .boot(&format!(
            "rpm -q patterns-base-fips; cat {INSIDE}; cat /run/reboot-needed"
        ))
        .says(&format!("patterns-base-fips-1.0-1.noarch\n{calls}"));
    machine
        .tu("setup-fips")
        .succeeds()
        .does_not_say("To install");
    machine.prepare("echo 'echo kernel too old >&2; exit 1' >> /usr/bin/fips-mode-setup");
    machine
        .tu("setup-fips")
        .exits(1)
        .says("env failed in snapshot 4 with status 1: kernel too old");
    machine.holds(&[1, 2, 3], 3);
}

#[test]
fn setup_selinux_installs_the_policy_into_the_live_store_and_switches_it_on() {
    let machine = machine();
    machine.prepare(&format!(
        "test ! -e /var/lib/selinux; touch /.autorelabel; mkdir -p /boot/grub2; echo old > /boot/grub2/grub.cfg
         printf 'GRUB_TIMEOUT=8\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet splash\"\n' > /etc/default/grub
         v=6.4; mkdir -p /usr/lib/modules/$v; : > /usr/lib/modules/$v/modules.dep
         for f in vmlinuz initrd; do echo $f > /boot/$f-$v; ln -s $f-$v /boot/$f; done
         {}",
        recorder(
            "/usr/sbin/grub2-mkconfig",
            INSIDE,
            "--output=/boot/grub2/grub.cfg",
            "echo new > /boot/grub2/grub.cfg"
        )
    ));
    machine
        .tu("-v setup-selinux")
        .succeeds()
        .does_not_say("kdump");
    machine
        .boot("cat /etc/default/grub /etc/selinux/config; cat /var/lib/selinux/policy; ls -a / /etc/selinux | grep autorelabel; cat /boot/grub2/grub.cfg")
        .succeeds()
        .says("GRUB_TIMEOUT=8\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet splash security=selinux selinux=1\"\n")
        .says("# a comment\nSELINUX=enforcing\nSELINUXTYPE=targeted\npolicy\n.autorelabel\nnew\n");
    machine
        .boot(&format!("cat {INSIDE}"))
        .says("dracut --force --regenerate-all\ngrub2-mkconfig --output=/boot/grub2/grub.cfg\n");
    machine.prepare("rm /etc/default/grub");
    machine
        .tu("setup-selinux")
        .exits(1)
        .says("the snapshot has no etc/default/grub; the package grub2 should have brought it");
    for line in ["GRUB_TIMEOUT=8", "GRUB_CMDLINE_LINUX_DEFAULT=\"a\" # b"] {
        machine.prepare(&format!("echo '{line}' > /etc/default/grub"));
        machine
            .tu("setup-selinux")
            .exits(1)
            .says("add security=selinux selinux=1 to it by hand");
    }
    machine.prepare("echo 'GRUB_CMDLINE_LINUX_DEFAULT=\"\"' > /etc/elsewhere; ln -sf ../elsewhere /etc/default/grub");
    machine
        .tu("setup-selinux")
        .exits(1)
        .says("changing etc/default/grub of the snapshot");
    machine.holds(&[1, 2], 2);
}

#[test]
fn setup_kdump_reserves_the_memory_that_was_asked_for() {
    let machine = machine();
    machine.prepare(&recorder(
        "/usr/sbin/kdumptool",
        INSIDE,
        "commandline\\ -u",
        "",
    ));
    machine
        .tu("setup-kdump --crashkernel=72,128 run touch /usr/x")
        .succeeds()
        .says("Snapshot 2 is the next system");
    let look = format!("cat /etc/sysconfig/kdump {INSIDE}; systemctl is-enabled kdump; ls /usr/x");
    machine
        .boot(&look)
        .succeeds()
        .says("KDUMP_CRASHKERNEL=\"crashkernel=72M,low crashkernel=128M,high\"\nKDUMP_FADUMP=\"false\"\n#KDUMP_UPDATE_BOOTLOADER\nKDUMP_UPDATE_BOOTLOADER=\"false\"\n")
        .says("kdumptool commandline -u\nenabled\n/usr/x\n");
    machine.tu("setup-kdump").succeeds();
    machine
        .boot(&look)
        .succeeds()
        .says("KDUMP_CRASHKERNEL=\"auto\"");
    for (words, says) in [
        ("setup-kdump --crashkernel=x", "\"x\" is not LOW[,HIGH]"),
        ("setup-kdump --crashkernel 72", "'--crashkernel"),
        ("setup-kdump dup", "setup-kdump installs packages by itself"),
        ("auto setup-fips", "only `pkg install` goes with it"),
        (
            "setup-fips -n pkg remove fx-lib",
            "only `pkg install` goes with it",
        ),
    ] {
        machine.tu(words).exits(1).says(says);
    }
    machine
        .tu("-n setup-kdump pkg install fx-initrd")
        .succeeds();
    machine.boot("rpm -q fx-initrd").succeeds();
}

#[test]
fn register_calls_suseconnect_for_the_snapshot_and_leaves_nothing_when_it_changed_nothing() {
    let machine = Machine::new();
    machine
        .tu("register --status")
        .exits(1)
        .says("this system has no SUSEConnect; install the package suseconnect-ng");
    machine.prepare(&recorder(
        "/usr/sbin/SUSEConnect",
        OUTSIDE,
        "--root\\ /.snapshots/[0-9]*/snapshot\\ *",
        "case $3 in -p) mkdir -p $2/etc/zypp/credentials.d; echo secret > $2/etc/zypp/credentials.d/SCC;;
         --status) echo '[{}]';; *) exit 67;; esac",
    ));
    let ran = machine.tu("register --status").succeeds();
    assert_eq!(ran.stdout, "[{}]\n", "{ran}");
    machine.holds(&[1], 1);
    machine
        .boot(
            "transactional-update register -p SLE-Micro/6.0/x86_64 -r CODE; cat /run/reboot-needed",
        )
        .succeeds()
        .says("soft-reboot");
    machine.holds(&[1, 2], 2);
    machine
        .boot(&format!("cat /etc/zypp/credentials.d/SCC {OUTSIDE}"))
        .succeeds()
        .says("secret")
        .says("SUSEConnect --root /.snapshots/2/snapshot -p SLE-Micro/6.0/x86_64 -r CODE\n");
    machine
        .tu("register --nonsense")
        .exits(1)
        .says("SUSEConnect failed with status 67");
    machine.tu("register").exits(1).says("<ARGS>");
    machine.holds(&[1, 2], 2);
}

#[test]
fn migration_is_zyppers_and_gives_the_registration_back_until_the_reboot() {
    let machine = Machine::new();
    machine
        .tu("migration")
        .exits(1)
        .says("there is no terminal");
    let migration = recorder(
        "/usr/lib/zypper/commands/zypper-migration",
        OUTSIDE,
        "--no-snapshots\\ --no-selfupdate\\ --root\\ /.snapshots/[0-9]*/snapshot\\ --non-interactive\\ --auto-agree-with-licenses\\ --product\\ *",
        "mkdir -p $4/etc/products.d; echo $8 > $4/etc/products.d/a.prod; [ $8 != broken ] || exit 4; exit 102",
    );
    let connect = recorder("/usr/sbin/SUSEConnect", OUTSIDE, "--rollback", "");
    let plugin = "mkdir -p /etc/tukit/plugins; printf '#!/bin/sh\necho plugin $1 $4 $5 >> /var/tmp/fx-calls\n' > /etc/tukit/plugins/a; chmod 755 /etc/tukit/plugins/a\n";
    machine.prepare(&format!("{migration}{connect}{plugin}"));
    let trigger = "/var/lib/rollback/check-registration";
    machine
        .boot(&format!(
            "transactional-update -n migration --product broken; echo $?; ls {trigger}"
        ))
        .exits(2)
        .says("zypper migration failed with status 4");
    machine.holds(&[1], 1);
    machine
        .boot(&format!(
            "transactional-update -n migration --product new && ls {trigger}"
        ))
        .succeeds()
        .says("Snapshot 2 is the next system")
        .says(trigger);
    machine
        .boot(&format!(
            "cat /etc/products.d/a.prod; grep -c rollback {OUTSIDE}; cat {OUTSIDE}"
        ))
        .succeeds()
        .says("new\n2\n")
        .says("plugin callExt-pre zypper migration\n")
        .says("plugin callExt-post zypper migration\n");
    machine
        .tu("-n migration --root /x")
        .exits(1)
        .says("leave --root out");
}
