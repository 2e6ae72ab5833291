//! `reboot`: who is asked for what. The programs are stand-ins that know what they may be called with; the real
//! systemd is in the tests of real boots.

use crate::fx::{Machine, Ran};

/// `fake NAME ARGUMENTS…` makes a program that notes how it is called, and knows these calls only.
pub(crate) const FAKE: &str = r#"
fake() {
  local name=$1; shift
  { printf '#!/bin/bash\necho "%s $*" >> /run/calls\ncase "$*" in\n' "$name"
    for known; do printf '"%s") ;;\n' "$known"; done
    printf '*) echo "unknown call: $*" >&2; exit 99;;\nesac\n[ ! -e /run/%s.fails ] || { echo "no, not now" >&2; exit 3; }\n' "$name"; } > "/usr/sbin/$name"
  chmod 755 "/usr/sbin/$name"; }
fake systemctl reboot soft-reboot kexec
"#;

fn machine(fakes: &str) -> Machine {
    let machine = Machine::new();
    machine.prepare(&format!("{FAKE}{fakes}"));
    machine
}

/// Runs a script, and prints how the stand-ins were called.
fn calls(machine: &Machine, script: &str) -> Ran {
    machine.boot(&format!(
        "{script}\ncode=$?; cat /run/calls 2>/dev/null; exit $code"
    ))
}

fn configure(machine: &Machine, method: &str, tukit: &str) {
    machine.prepare(&format!(
        "echo REBOOT_METHOD={method} > /etc/transactional-update.conf; printf '{tukit}' > /etc/tukit.conf"
    ));
}

#[test]
fn each_method_asks_who_it_is_named_after() {
    let machine =
        machine("fake rebootmgrctl reboot soft-reboot; fake transactional-update-notifier client");
    for (method, called) in [
        ("systemd", "systemctl reboot\n"),
        ("rebootmgr", "rebootmgrctl reboot\n"),
        ("notify", "transactional-update-notifier client\n"),
        ("kured", "kured 0\n"),
        ("none", ""),
    ] {
        configure(&machine, method, "");
        let ran = calls(&machine, "transactional-update reboot && { [ ! -e /var/run/reboot-required ] || stat -c 'kured %s' /run/reboot-required; }").succeeds();
        assert_eq!(ran.stdout, called, "{method}\n{ran}");
    }
}

#[test]
fn auto_leaves_it_to_rebootmgr_when_that_is_active() {
    let machine = machine("");
    let reboot = "transactional-update reboot";
    let ran = calls(&machine, reboot).succeeds();
    assert_eq!(
        ran.stdout, "systemctl reboot\n",
        "there is no rebootmgr\n{ran}"
    );
    machine.prepare(&format!(
        "{FAKE}fake rebootmgrctl 'is-active --quiet' reboot soft-reboot"
    ));
    let ran = calls(&machine, reboot).succeeds();
    assert_eq!(
        ran.stdout, "rebootmgrctl is-active --quiet\nrebootmgrctl reboot\n",
        "{ran}"
    );
    let ran = calls(
        &machine,
        &format!("touch /run/rebootmgrctl.fails; {reboot}"),
    )
    .succeeds();
    assert_eq!(
        ran.stdout, "rebootmgrctl is-active --quiet\nsystemctl reboot\n",
        "it is not active\n{ran}"
    );
}

#[test]
fn a_lighter_reboot_takes_its_place_when_it_is_enough_and_allowed() {
    let machine = machine("fake rebootmgrctl reboot soft-reboot");
    for (method, tukit, needed, called) in [
        (
            "systemd",
            "REBOOT_ALLOW_SOFT_REBOOT=true\\n",
            "soft-reboot",
            "systemctl soft-reboot\n",
        ),
        (
            "rebootmgr",
            "REBOOT_ALLOW_SOFT_REBOOT=true\\n",
            "soft-reboot",
            "rebootmgrctl soft-reboot\n",
        ),
        (
            "systemd",
            "REBOOT_ALLOW_SOFT_REBOOT=true\\n",
            "reboot",
            "systemctl reboot\n",
        ),
        ("systemd", "", "soft-reboot", "systemctl reboot\n"),
        (
            "systemd",
            "REBOOT_ALLOW_SOFT_REBOOT=true\\n",
            "",
            "systemctl reboot\n",
        ),
    ] {
        configure(&machine, method, tukit);
        let script = format!(
            "[ -z '{needed}' ] || echo {needed} > /run/reboot-needed; transactional-update reboot"
        );
        let ran = calls(&machine, &script).succeeds();
        assert_eq!(ran.stdout, called, "{method} {tukit} {needed}\n{ran}");
    }
}

#[test]
fn kexec_loads_the_kernel_of_the_next_system_wherever_its_links_lead() {
    let load = "--kexec-syscall-auto -l /.snapshots/2/snapshot/boot/vmlinuz-6.4 --initrd=/.snapshots/2/snapshot/boot/initrd-6.4 --reuse-cmdline";
    let machine = machine(&format!("fake kexec '{load}'"));
    let update = "transactional-update -q run sh -c 'cd /boot; echo k > vmlinuz-6.4; echo i > initrd-6.4; ln -s /boot/vmlinuz-6.4 vmlinuz; ln -s initrd-6.4 initrd'";
    machine.boot(update).succeeds();
    machine.boot("transactional-update -q rollback 1; btrfs subvolume set-default $(btrfs inspect-internal rootid /.snapshots/1/snapshot) /.snapshots").succeeds();
    configure(&machine, "kexec", "");
    let next = "btrfs subvolume set-default $(btrfs inspect-internal rootid /.snapshots/2/snapshot) /.snapshots; ";
    let back = "; code=$?; btrfs subvolume set-default $(btrfs inspect-internal rootid /) /.snapshots; (exit $code)";
    let loaded = format!("kexec {load}\n");
    let reboot = format!("{next}transactional-update reboot{back}");
    let ran = calls(&machine, &reboot).succeeds();
    assert_eq!(ran.stdout, format!("{loaded}systemctl kexec\n"), "{ran}");
    let ran = calls(&machine, &format!("touch /run/kexec.fails; {reboot}"))
        .succeeds()
        .says("no, not now");
    assert_eq!(
        ran.stdout,
        format!("{loaded}systemctl reboot\n"),
        "a full reboot takes its place\n{ran}"
    );
    configure(&machine, "systemd", "REBOOT_ALLOW_KEXEC=true\\n");
    let ran = calls(
        &machine,
        &format!("echo kexec > /run/reboot-needed; {reboot}"),
    )
    .succeeds();
    assert_eq!(ran.stdout, format!("{loaded}systemctl kexec\n"), "{ran}");
}

#[test]
fn kexec_takes_the_default_entry_of_a_loader_with_entries() {
    let load = "--kexec-syscall-auto -l /boot/efi/suse/linux-1 --initrd=/boot/efi/suse/initrd-1 --command-line=rootflags=subvol=@/.snapshots/2/snapshot quiet";
    let machine = machine(&format!(
        "fake kexec '{load}'; mkdir -p /boot/efi /etc/sysconfig; echo LOADER_TYPE=systemd-boot > /etc/sysconfig/bootloader"
    ));
    configure(&machine, "kexec", "");
    let esp = "mount -t tmpfs tmpfs /boot/efi; mkdir -p /boot/efi/loader/entries; echo default suse-2 > /boot/efi/loader/loader.conf
        printf 'linux /suse/linux-1\\ninitrd /suse/initrd-1\\noptions rootflags=subvol=@/.snapshots/2/snapshot quiet\\n' > /boot/efi/loader/entries/suse-2.conf";
    let ran = calls(&machine, &format!("{esp}; transactional-update reboot")).succeeds();
    assert_eq!(
        ran.stdout,
        format!("kexec {load}\nsystemctl kexec\n"),
        "{ran}"
    );
}

#[test]
fn an_update_that_changed_nothing_reboots_only_when_the_system_waits_for_one() {
    let machine = machine("");
    for (before, called) in [
        ("true", ""),
        ("echo none > /run/reboot-needed", ""),
        ("echo reboot > /run/reboot-needed", "systemctl reboot\n"),
        (
            "transactional-update -q run true; rm /run/reboot-needed",
            "systemctl reboot\n",
        ),
    ] {
        let ran = calls(
            &machine,
            &format!("{before}; transactional-update dup reboot"),
        )
        .succeeds()
        .says("Nothing to do");
        assert_eq!(ran.stdout, called, "{before}\n{ran}");
    }
}

#[test]
fn an_update_that_succeeded_reboots_and_one_that_failed_does_not() {
    let machine = machine("");
    let ran = calls(&machine, "transactional-update reboot -n pkg install fx-broken; transactional-update reboot run false").exits(1);
    assert_eq!(ran.stdout, "", "{ran}");
    machine.use_repository("v2", &["gpgcheck=0"]);
    machine.tu("-n pkg install fx-etc-1.0").succeeds();
    let ran = calls(&machine, "transactional-update cleanup dup reboot").succeeds();
    assert_eq!(ran.stdout, "systemctl reboot\n", "{ran}");
    machine.holds(&[1, 2, 3], 3);
}

#[test]
fn a_reboot_that_cannot_be_asked_for_is_a_failure_that_names_the_program() {
    let machine = machine("fake rebootmgrctl reboot");
    configure(&machine, "systemd", "");
    machine
        .boot("touch /run/systemctl.fails; transactional-update reboot")
        .exits(1)
        .says("the system is not rebooted: `systemctl reboot` failed with status 3: no, not now");
    configure(&machine, "notify", "");
    machine
        .tu("reboot")
        .exits(1)
        .says("transactional-update-notifier: there is no such program");
    machine
        .outside(r#""$TU" --root "$FX_ROOT" reboot"#)
        .exits(1)
        .says("only the running system can be rebooted");
}

#[test]
fn a_plugin_can_object_to_a_reboot() {
    let machine = machine(
        "mkdir -p /etc/tukit/plugins; printf '#!/bin/sh\\necho plugin $1 >> /run/calls; exit 4\\n' > /etc/tukit/plugins/p; chmod 755 /etc/tukit/plugins/p",
    );
    let ran = calls(&machine, "transactional-update reboot").says("failed in stage reboot-pre");
    assert_eq!(ran.stdout, "plugin reboot-pre\n", "{ran}");
    assert_ne!(ran.code, 0);
}
