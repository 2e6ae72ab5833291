//! What follows from the work of a transaction: kernels, initrd, grub.cfg, kdump, registration, labels, keys.

use crate::fx::Machine;

/// A machine on which grub2-mkconfig is Debian's grub-mkconfig and really works. Of a loop device it would ask for the
/// file behind it, which nobody in the machine can see.
fn with_grub_mkconfig() -> Machine {
    let machine = Machine::new();
    machine.prepare(
        "ln -s grub-mkconfig /usr/sbin/grub2-mkconfig; sed -i 's,^ *[/]dev/loop.*),/dev/none),' /etc/grub.d/10_linux /usr/share/grub/grub-mkconfig_lib
         v=6.4.0-1-default; mkdir -p /boot/grub2 /usr/lib/modules/$v; echo old > /boot/grub2/grub.cfg
         echo k > /boot/vmlinuz-$v; echo i > /boot/initrd.img-$v; : > /usr/lib/modules/$v/modules.dep
         echo 'GRUB_DISTRIBUTOR=$(. /etc/os-release; echo \"$PRETTY_NAME\")' > /etc/default/grub; chmod -x /etc/grub.d/05_debian_theme
         ln -s vmlinuz-$v /boot/vmlinuz; cp /boot/initrd.img-$v /boot/initrd-$v; ln -s initrd-$v /boot/initrd",
    );
    machine
}

/// Writes a program that records its calls in /usr/share/fx-calls of the snapshot and takes no other arguments than
/// these; `then` is what it does.
fn recorder(path: &str, arguments: &str, then: &str) -> String {
    format!(
        "cat > {path} <<'X'\n#!/bin/bash\necho \"${{0##*/}} $*\" >> /usr/share/fx-calls\n\
         [ \"$*\" = '{arguments}' ] || exit 99\n{then}\nX\nchmod 755 {path}\n"
    )
}

const CALLS: &str = "cat /usr/share/fx-calls";

#[test]
fn grub_cfg_is_made_anew_when_the_name_of_the_system_changes_and_keeps_its_label() {
    let machine = with_grub_mkconfig();
    machine
        .tu("-v run touch /usr/x")
        .succeeds()
        .does_not_say("Step grub.cfg");
    machine.prepare("setfattr -n security.selinux -v boot_t /boot/grub2/grub.cfg");
    // as openSUSE's does, it replaces the file
    machine.prepare("rm /usr/sbin/grub2-mkconfig; printf '#!/bin/sh\nrm /boot/grub2/grub.cfg; exec grub-mkconfig \"$@\"\n' > /usr/sbin/grub2-mkconfig; chmod 755 /usr/sbin/grub2-mkconfig");
    machine
        .tu("-v run sed -i s/^PRETTY_NAME.*/PRETTY_NAME=NewName/ /usr/lib/os-release")
        .succeeds()
        .says("Step grub.cfg: os-release changed");
    machine
        .boot("grep -m 1 \"^menuentry 'NewName\" /boot/grub2/grub.cfg && getfattr -n security.selinux --only-values /boot/grub2/grub.cfg")
        .succeeds()
        .says("boot_t");
}

#[test]
fn the_command_grub_cfg_makes_it_and_a_failure_changes_nothing() {
    let machine = with_grub_mkconfig();
    machine
        .tu("-v grub.cfg")
        .succeeds()
        .says("Step grub.cfg: it was asked for")
        .says("Snapshot 2 is the next system");
    machine
        .boot("grep -c ^menuentry /boot/grub2/grub.cfg; cat /boot/grub2/grub.cfg | grep 6.4.0-1-default")
        .succeeds()
        .says("/@/.snapshots/2/snapshot/boot/vmlinuz-6.4.0-1-default");
    machine.prepare("chmod -x /etc/grub.d/*; printf '#!/bin/sh\necho no such disk >&2; exit 3\n' > /etc/grub.d/10_linux; chmod +x /etc/grub.d/10_linux");
    machine
        .tu("grub.cfg")
        .exits(1)
        .says("grub2-mkconfig failed in snapshot 3 with status 3")
        .says("no such disk");
    machine.holds(&[1, 2], 2);
}

#[test]
fn an_initrd_is_made_when_a_scriptlet_or_a_command_asks_for_it_and_then_once() {
    let machine = Machine::new();
    machine.use_repository("kernels", &["gpgcheck=0"]);
    machine
        .boot("transactional-update -v -n pkg install fx-initrd && transactional-update discard")
        .succeeds()
        .says("No initrd was made, which a package asked for: nothing boots it here");
    machine.prepare("mkdir -p /boot/grub2; echo menu > /boot/grub2/grub.cfg");
    machine
        .tu("-n pkg install fx-initrd")
        .exits(1)
        .says("the snapshot has no dracut; install the package dracut first");
    machine.prepare("rm -r /boot/grub2/grub.cfg");
    machine.prepare(&recorder(
        "/usr/sbin/dracut",
        "--force --regenerate-all",
        "",
    ));
    machine
        .tu("-v -n pkg install fx-initrd")
        .succeeds()
        .says("Step initrd: a package asked for it");
    machine
        .boot(&format!(
            "{CALLS}; ls /run/regenerate-initrd; cat /run/reboot-needed"
        ))
        .says("dracut --force --regenerate-all\n")
        .does_not_say("all\nall");
    let ran = machine
        .boot("transactional-update -v initrd run sh -c 'mkdir /run/regenerate-initrd; touch /run/regenerate-initrd/6.4'; cat /run/reboot-needed; ls /run/regenerate-initrd")
        .exits(2)
        .says("Step initrd: it was asked for");
    assert!(ran.stdout.starts_with("reboot\n"), "{ran}");
    let ran = machine.boot("transactional-update initrd; cat /run/reboot-needed");
    assert_eq!(ran.stdout, "kexec\n", "{ran}");
    let calls = machine.boot(CALLS).succeeds();
    assert_eq!(calls.stdout.lines().count(), 3, "{calls}");
    machine.prepare(&recorder(
        "/usr/sbin/dracut",
        "--force --regenerate-all",
        "echo no space; exit 1",
    ));
    machine
        .tu("initrd")
        .exits(1)
        .says("dracut failed in snapshot 5 with status 1: no space");
    machine.holds(&[1, 2, 3, 4], 4);
}

#[test]
fn kernels_that_are_no_longer_kept_are_removed_when_the_kernels_changed() {
    let machine = Machine::new();
    machine.use_repository("kernels", &["gpgcheck=0"]);
    machine.prepare("printf '[main]\nmultiversion = provides:multiversion(kernel)\nmultiversion.kernels = latest,latest-1\n' > /etc/zypp/zypp.conf");
    machine.tu("-n pkg install kernel-fx=1.0").succeeds();
    machine.tu("-n pkg install kernel-fx=2.0").succeeds();
    machine
        .boot("rpm -q kernel-fx")
        .succeeds()
        .says("kernel-fx-1.0-1.noarch\nkernel-fx-2.0-1.noarch");
    machine
        .tu("-v -n pkg install kernel-fx=3.0")
        .succeeds()
        .says("Step purge-kernels: the installed kernels changed");
    machine
        .boot("rpm -q kernel-fx; ls /boot")
        .succeeds()
        .does_not_say("1.0-1")
        .says("kernel-fx-2.0-1.noarch\nkernel-fx-3.0-1.noarch")
        .says("vmlinuz-3.0-1-fx");
}

#[test]
fn other_products_ask_for_a_new_registration_once_they_boot_next() {
    let machine = Machine::new();
    let trigger = "/var/lib/rollback/check-registration";
    machine
        .boot(&format!(
            "transactional-update run touch /usr/x; test ! -e {trigger}"
        ))
        .succeeds();
    machine
        .boot(&format!("transactional-update -v run sh -c 'mkdir -p /etc/products.d; echo 1 > /etc/products.d/a.prod; exit 3'; test ! -e {trigger}"))
        .succeeds();
    let change = "run sh -c 'mkdir -p /etc/products.d; echo 1 > /etc/products.d/a.prod'";
    machine
        .boot(&format!(
            "transactional-update -v {change}; test -f {trigger} && rm {trigger}"
        ))
        .succeeds()
        .says("Step registration: the installed products changed");
    machine
        .boot(&format!(
            "transactional-update {change}; test ! -e {trigger}"
        ))
        .succeeds();
    machine
        .boot(&format!(
            "transactional-update rollback 1 && ls {trigger} && rm {trigger}"
        ))
        .succeeds();
    machine
        .boot(&format!("export TU_FAILPOINTS=final-info=error; transactional-update {change}; test ! -e {trigger}"))
        .succeeds()
        .says("final-info");
    machine
        .boot(&format!(
            "TU_FAILPOINTS=committed=kill transactional-update {change}; ls {trigger}"
        ))
        .succeeds();
}

#[test]
fn the_initrd_of_kdump_is_made_only_with_fadump() {
    let machine = Machine::new();
    let set_up = recorder("/usr/sbin/mkdumprd", "", "");
    machine.prepare(&format!(
        "{set_up}printf '[Install]\nWantedBy=multi-user.target\n' > /usr/lib/systemd/system/kdump.service
         echo 'KDUMP_FADUMP=\"false\"' > /etc/sysconfig/kdump; systemctl enable kdump.service"
    ));
    machine.tu("-n pkg install fx-lib").succeeds();
    machine
        .tu("kdump")
        .succeeds()
        .says("only fadump has one before the next boot");
    machine.boot(CALLS).exits(1);
    machine.prepare("sed -i s/false/true/ /etc/sysconfig/kdump");
    machine
        .tu("-v -n pkg install fx-etc")
        .succeeds()
        .says("Step kdump: fadump has an initrd of its own");
    machine.boot(CALLS).succeeds().says("mkdumprd \n");
    machine.tu("-v kdump").succeeds().says("Step kdump");
    machine.prepare("systemctl disable kdump.service");
    machine
        .tu("-v -n pkg install fx-caps")
        .succeeds()
        .does_not_say("Step kdump");
}

#[test]
fn the_hidden_var_is_labelled_where_selinux_is_on() {
    let machine = Machine::new();
    machine.prepare(&recorder("/usr/sbin/restorecon", "-R -x /var", ""));
    machine
        .tu("-v -n pkg install fx-lib")
        .succeeds()
        .does_not_say("Step restorecon");
    // a tmpfs stands for the file system by which the kernel says so
    let on =
        "mount -t tmpfs tmpfs /sys/fs; mkdir -p /sys/fs/selinux; echo 1 > /sys/fs/selinux/enforce";
    machine
        .boot(&format!(
            "{on}; transactional-update -v -n pkg install fx-vardirs"
        ))
        .succeeds()
        .says("Step restorecon: SELinux is on");
    machine
        .boot(CALLS)
        .succeeds()
        .says("restorecon -R -x /var\n");
    machine
        .boot(&format!("{on}; transactional-update -v run touch /usr/y"))
        .succeeds()
        .does_not_say("Step restorecon");
}

#[test]
fn a_key_that_was_accepted_by_a_run_without_outcome_is_found_again() {
    let machine = Machine::new();
    machine.use_repository("signed", &["pkg_gpgcheck=1"]);
    machine.prepare("echo ZYPPER_AUTO_IMPORT_KEYS=1 > /etc/transactional-update.conf");
    // the key is gone with the snapshot, but the cache counts as verified
    machine.tu("dup").succeeds().says("Nothing to do");
    machine
        .tu("-v -n pkg install fx-signed")
        .succeeds()
        .says("Step refresh: a repository has a key that is not known yet");
    machine
        .boot("rpm -q fx-signed && rpm -qa 'gpg-pubkey*'")
        .succeeds()
        .says("gpg-pubkey");
    machine.prepare("rm /etc/transactional-update.conf; rm -rf /var/cache/zypp/*");
    machine
        .tu("-v -n pkg install fx-lib")
        .succeeds()
        .does_not_say("Step refresh");
}

#[test]
fn a_missing_program_is_named_with_what_brings_it_before_a_snapshot_is_made() {
    let machine = Machine::new();
    for (words, says) in [
        (
            "initrd",
            "no dracut; install the package dracut first (pkg install dracut)",
        ),
        ("grub.cfg", "no grub2-mkconfig; install the package grub2"),
        ("bootloader", "no grub2-mkconfig"),
    ] {
        machine.tu(words).exits(1).says(says).does_not_say("Base");
    }
    machine.holds(&[1], 1);
}

#[test]
fn the_boot_loader_is_installed_anew_with_its_configuration() {
    let machine = with_grub_mkconfig();
    machine
        .tu("bootloader")
        .exits(1)
        .says("no pbl; install the package perl-Bootloader");
    machine.prepare(&recorder("/usr/sbin/pbl", "--install", ""));
    machine
        .tu("-v bootloader")
        .succeeds()
        .says("Step grub.cfg")
        .says("Step bootloader");
    machine.boot(CALLS).succeeds().says("pbl --install\n");
}

#[test]
fn a_signal_in_the_middle_of_a_step_ends_it_and_leaves_nothing() {
    let machine = Machine::new();
    machine.prepare(&recorder(
        "/usr/sbin/dracut",
        "--force --regenerate-all",
        "sleep 60",
    ));
    let ran = machine
        .boot(
            "transactional-update initrd & p=$!
             for i in $(seq 200); do [ -e /.snapshots/2/snapshot/usr/share/fx-calls ] && break; sleep 0.05; done
             SECONDS=0; kill -TERM $p; wait $p; rc=$?; pgrep dracut && exit 91; [ $SECONDS -lt 10 ] || exit 92; exit $rc",
        )
        .exits(1)
        .says("interrupted by SIGTERM");
    ran.does_not_say("is the next system");
    machine.holds(&[1], 1);
}
