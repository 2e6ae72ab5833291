//! The units in real boots: the nightly update, with nobody there.

use crate::fx::{Machine, REBOOT, Variant};

/// A machine whose snapshot 2 has version 1 of a package of which its repository has version 2. Its timer has last
/// run two days ago and does not wait for its turn.
fn machine(variant: Variant) -> Machine {
    let machine = Machine::of(variant);
    machine.use_repository("v2", &["gpgcheck=0"]);
    machine.tu("-n pkg install fx-etc-1.0").succeeds();
    machine.install();
    machine.prepare(
        "systemctl enable transactional-update.timer transactional-update-cleanup.timer transactional-update-boot.service
         mkdir -p /etc/systemd/system/transactional-update.timer.d /var/lib/systemd/timers
         printf '[Timer]\\nRandomizedDelaySec=0\\nAccuracySec=1ms\\n' > /etc/systemd/system/transactional-update.timer.d/now.conf
         touch -d '2 days ago' /var/lib/systemd/timers/stamp-transactional-update.timer",
    );
    machine
}

/// Which snapshot runs, the package in it, units that failed.
const LOOK: &str = "findmnt -n -o FSROOT /; rpm -q fx-etc; systemctl --failed --no-legend";
/// Waits until the unit has run; a reboot that it asks for comes in between.
const WAIT: &str = "for i in {1..300}; do [ \"$(systemctl show -P ExecMainExitTimestampMonotonic transactional-update.service)\" = 0 ] || break; sleep 0.1; done
    systemctl show -P Result transactional-update.service; sleep 2";

fn updated_by_the_timer(variant: Variant) {
    let machine = machine(variant);
    machine
        .power_on(&format!(
            "{LOOK}; {WAIT}; journal -u transactional-update.service"
        ))
        .exits(REBOOT)
        .says("/@/.snapshots/2/snapshot\nfx-etc-1.0-1.noarch\n");
    let second = "systemctl start transactional-update.service && journal -u transactional-update.service; ls /.snapshots | xargs; sleep 2";
    machine
        .power_on(&format!("{LOOK}; {second}"))
        .exits(0)
        .says("/@/.snapshots/3/snapshot\nfx-etc-2.0-1.noarch\n")
        .says("UPDATE_METHOD is dup (default)")
        .says("Nothing to do")
        .says("\n1 2 3\n");
    machine.holds(&[1, 2, 3], 3);
}

#[test]
fn the_timer_updates_the_machine_which_comes_back_in_the_new_snapshot_read_only() {
    updated_by_the_timer(Variant::RoSqlite);
}

#[test]
fn the_timer_updates_the_machine_which_comes_back_in_the_new_snapshot_read_write() {
    updated_by_the_timer(Variant::RwNdb);
}

#[test]
fn the_timer_updates_the_machine_which_comes_back_in_the_new_snapshot_with_an_etc_of_its_own() {
    updated_by_the_timer(Variant::NestedSqlite);
}

#[test]
fn the_timer_leaves_a_machine_alone_that_has_nothing_to_update() {
    let machine = machine(Variant::RoSqlite);
    machine.tu("dup").succeeds();
    machine.prepare("rm -f /run/reboot-needed");
    machine
        .power_on(&format!(
            "{WAIT}; {LOOK}; ls /.snapshots | xargs; test ! -e /run/reboot-needed && echo no wish"
        ))
        .exits(0)
        .says("success\n/@/.snapshots/3/snapshot\nfx-etc-2.0-1.noarch\n1 2 3\nno wish\n");
}

#[test]
fn the_unit_updates_as_the_configuration_says_and_a_failure_is_its_failure() {
    let machine = machine(Variant::RoSqlite);
    machine.prepare("echo UPDATE_METHOD=patch > /etc/transactional-update.conf; systemctl disable transactional-update.timer");
    let run = "systemctl start transactional-update.service; systemctl show -P Result transactional-update.service; journal -u transactional-update.service";
    machine
        .power_on(run)
        .exits(0)
        .says("success\n")
        .says("UPDATE_METHOD is patch (/etc/transactional-update.conf:1)");
    machine.prepare("echo UPDATE_METHOD=newest > /etc/transactional-update.conf");
    machine
        .power_on(run)
        .exits(0)
        .says("exit-code\n")
        .says("UPDATE_METHOD does not know this value");
    machine.holds(&[1, 2], 2);
}

#[test]
fn the_clean_up_unit_marks_what_is_old() {
    let machine = machine(Variant::RoSqlite);
    machine.prepare(
        "systemctl disable transactional-update.timer; sed -i /cleanup/d /.snapshots/1/info.xml",
    );
    machine
        .power_on("systemctl is-active transactional-update-cleanup.timer; systemctl start transactional-update-cleanup.service && grep cleanup /.snapshots/1/info.xml; journal -u transactional-update-cleanup.service")
        .exits(0)
        .says("active\n  <cleanup>number</cleanup>\n")
        .says("Marked for deletion by snapper: #1 (important)");
}

#[test]
fn systemd_finds_nothing_wrong_in_the_units() {
    let machine = machine(Variant::RoSqlite);
    let units = "/usr/lib/systemd/system/{transactional-update*.{service,timer},prepare-nextroot*.service,sysupdate*.{service,timer}}";
    let ran = machine
        .boot(&format!("systemd-analyze verify --man=no --recursive-errors=no {units} && systemd-analyze calendar daily '*-*-* 23:00:00' >&2"))
        .succeeds();
    assert_eq!(ran.stdout, "", "{ran}");
}

/// A machine that runs version 1.0 of an image, as it says, and has this version installed.
fn imaged(installed: &str) -> Machine {
    let machine = machine(Variant::RoSqlite);
    machine.prepare(&format!(
        "systemctl disable transactional-update.timer; mkdir -p /etc/sysupdate.d /srv/images
         rm -f /etc/os-release; printf 'ID=test\\nIMAGE_VERSION=1.0\\n' > /etc/os-release; touch /srv/images/os_{installed}.raw
         printf '%s\\n' '[Source]' Type=regular-file Path=/srv/source MatchPattern=os_@v.raw '[Target]' Path=/srv/images MatchPattern=os_@v.raw > /etc/sysupdate.d/os.transfer"
    ));
    machine
}

#[test]
fn a_newer_image_is_rebooted_into_unless_somebody_inhibits_it_or_it_is_no_newer() {
    let no_newer = imaged("1.0");
    no_newer
        .power_on("systemctl list-unit-files --no-legend 'sysupdate*.timer' | grep -c enabled.*; sysupdate reboot")
        .exits(0)
        .says("Newest installed version '1.0' matches booted version '1.0'.");
    let newer = imaged("1.1");
    newer
        .power_on("d=/run/systemd/system/sysupdate-reboot.service.d; mkdir -p $d; printf '[Unit]\\nConditionVirtualization=\\n' > $d/here.conf; systemd-inhibit --what=shutdown --mode=block --why=busy sysupdate reboot; echo $?; systemctl daemon-reload; systemctl start sysupdate-reboot.service; sleep 60")
        .exits(REBOOT)
        .says("The system is not rebooted")
        .says("\n1\n");
}

#[test]
fn an_update_of_images_reboots_when_that_makes_a_difference_and_only_then() {
    let machine = imaged("1.0");
    machine.prepare(
        "sed s,/srv/images,/srv/more, /etc/sysupdate.d/os.transfer > /etc/sysupdate.d/other.transfer
         mkdir /srv/source; touch /srv/source/os_{0.9,1.0,1.1}.raw",
    );
    let ran = machine
        .power_on("mount --bind /dev/null /etc/os-release; sysupdate update --reboot; echo unknown $?; ls /srv/images | xargs; umount /etc/os-release
            sysupdate update --reboot --dry-run; echo shown $?
            systemd-inhibit --what=shutdown --mode=block --why=busy sysupdate update --reboot; echo newer $?
            sysupdate update --reboot; echo nothing $?; sysupdate update 0.9 --reboot; echo older $?; sysupdate update 1.0 --reboot; sleep 60")
        .exits(REBOOT);
    for text in [
        "/etc/os-release lacks IMAGE_VERSION= field.",
        "\nunknown 1\nos_1.0.raw\n",
        "\nshown 0\n",
        "Version '1.1' is newer than booted version '1.0'.",
        "The system is not rebooted",
        "\nnewer 1\n",
        "No update needed.\nnothing 0\n",
        "Version '0.9' is not newer than booted version '1.0': no reboot.\nolder 0\n",
        "Booted version '1.0' was repaired.",
    ] {
        assert!(
            format!("{}{}", ran.stdout, ran.stderr).contains(text),
            "{text}: {ran}"
        );
    }
}

/// A server of one directory that is started for each connection: bash is what every machine has.
const SERVER: &str = r#"#!/bin/bash
read -r method path _; while read -r line && [ "$line" != $'\r' ]; do :; done
file=/srv/web$path
[ -f "$file" ] || { printf 'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'; exit; }
printf 'HTTP/1.1 200 OK\r\nContent-Length: %s\r\nConnection: close\r\n\r\n' "$(stat -c %s "$file")"
[ "$method" = HEAD ] || cat "$file""#;

#[test]
fn the_unit_updates_images_of_all_collections_in_its_sandbox() {
    let machine = imaged("1.0");
    machine.prepare(&format!(
        "cat > /usr/bin/serve <<'EOF'\n{SERVER}\nEOF\nchmod 755 /usr/bin/serve
         printf '%s\n' [Socket] ListenStream=127.0.0.1:8080 Accept=yes > /etc/systemd/system/serve.socket
         printf '%s\n' [Service] ExecStart=/usr/bin/serve StandardInput=socket > /etc/systemd/system/serve@.service
         mkdir -p /srv/web /srv/source /srv/trees/t /etc/sysupdate.more.d; cd /srv/trees/t
         echo x > file; chown 12:34 file; chmod 4755 file; mkdir -p /srv/web; tar -C .. -cf /srv/web/tree_1.1.tar t
         head -c 300000 /dev/urandom > /srv/source/os_1.1.raw; cp /srv/source/os_1.1.raw /srv/web/part_7
         for d in source web; do cd /srv/$d; sha256sum * > /run/sums; mv /run/sums SHA256SUMS; done
         printf '%s\n' [Transfer] Verify=no '[Source]' Type=url-file Path=file:///srv/source MatchPattern=os_@v.raw '[Target]' Path=/srv/images MatchPattern=os_@v.raw CurrentSymlink=current > /etc/sysupdate.d/os.transfer
         printf '%s\n' [Transfer] Verify=no '[Source]' Type=url-tar Path=http://127.0.0.1:8080 MatchPattern=tree_@v.tar '[Target]' Type=directory Path=/srv/trees MatchPattern=tree_@v ReadOnly=yes > /etc/sysupdate.d/tree.transfer
         printf '%s\n' [Transfer] Verify=no '[Source]' Type=url-file Path=http://127.0.0.1:8080 MatchPattern=part_@v '[Target]' Path=/srv/more MatchPattern=part_@v > /etc/sysupdate.more.d/part.transfer"
    ));
    // the same sandbox for what looks at it
    let ran = machine.power_on(
        "d=/run/systemd/system/sysupdate.service.d; mkdir -p $d
         printf '%s\n' [Unit] ConditionVirtualization= [Service] 'ExecStartPre=grep -E \"^(CapBnd|NoNewPrivs|Seccomp):\" /proc/self/status' > $d/here.conf
         systemctl daemon-reload; systemctl start serve.socket; systemctl start --wait sysupdate.service; echo ended $?
         journal -o cat -u sysupdate.service; readlink /srv/images/current; cmp /srv/images/os_1.1.raw /srv/source/os_1.1.raw && cmp /srv/more/part_7 /srv/web/part_7 && echo same
         stat -c '%a %u:%g' /srv/trees/tree_1.1/t/file; touch /srv/trees/tree_1.1/x || echo immutable; lsattr -d /srv/trees/tree_1.1; chattr -i /srv/trees/tree_1.1",
    ).exits(0);
    for text in [
        "CapBnd:\t000000008820031b",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "ended 0",
        "Successfully installed update '1.1'",
        "Successfully installed update '7'",
        "os_1.1.raw\nsame\n4755 12:34\n",
        "immutable\n",
    ] {
        assert!(
            format!("{}{}", ran.stdout, ran.stderr).contains(text),
            "{text}: {ran}"
        );
    }
}

#[test]
fn a_machine_that_goes_back_to_an_older_image_reboots_into_it_and_is_left_alone_then() {
    let machine = imaged("1.0");
    machine.prepare(
        "echo CurrentSymlink=current >> /etc/sysupdate.d/os.transfer; mkdir /srv/source; touch /srv/source/os_1.1.raw /srv/images/os_0.9.raw",
    );
    let used = "readlink /srv/images/current";
    machine
        .power_on(&format!("sysupdate update; {used}; sysupdate pending; echo $?; sysupdate rollback --reboot; echo stays $?; {used}; sysupdate pending; echo $?; sysupdate rollback --reboot; sleep 60"))
        .exits(REBOOT)
        .says("It is the booted one: no reboot.")
        .says("stays 0\nos_1.0.raw\nNewest installed version '1.0' matches booted version '1.0'.\n1\n");
    machine
        .power_on(&format!("{used}; sysupdate reboot; echo $?"))
        .exits(0)
        .says(
            "os_0.9.raw\nNewest installed version '0.9' is older than booted version '1.0'.\n0\n",
        );
}

#[test]
fn an_update_that_is_stopped_or_overtaken_by_a_reboot_leaves_the_old_system() {
    let machine = machine(Variant::RoSqlite);
    machine.prepare("systemctl disable transactional-update.timer");
    // the unit with a command that would go on for long
    let begin = "d=/run/systemd/system/transactional-update.service.d; mkdir -p $d
        printf '[Service]\\nExecStart=\\nExecStart=/usr/sbin/transactional-update cleanup run sleep 1000\\n' > $d/slow.conf; systemctl daemon-reload
        systemctl start --no-block transactional-update.service; for i in {1..600}; do pgrep -x sleep && break; sleep 0.1; done; ls /.snapshots | xargs";
    machine
        .power_on(&format!("{begin}; systemctl stop transactional-update.service; ls -A /.snapshots | xargs; pgrep -x sleep; systemctl show -P Result transactional-update.service"))
        .exits(0)
        .says("\n1 2 3\n1 2\nexit-code\n");
    let started = std::time::Instant::now();
    machine
        .power_on(&format!("{begin}; systemctl --no-block reboot; sleep 60"))
        .exits(REBOOT)
        .says("\n1 2 3\n");
    assert!(
        started.elapsed().as_secs() < 45,
        "the reboot waited for the update"
    );
    machine.holds(&[1, 2], 2);
}
