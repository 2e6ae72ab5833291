//! `recover` and its unit: what is left of commands that were cut off.

use crate::fx::{Machine, REBOOT, Variant};

#[test]
fn recovery_removes_what_a_killed_transaction_left_and_a_second_one_says_and_changes_nothing() {
    let machine = Machine::new();
    machine
        .boot(
            "TU_FAILPOINTS=ran=kill transactional-update run touch /usr/new
             transactional-update recover; echo again; transactional-update recover 2>&1",
        )
        .succeeds()
        .says("Removed snapshot 2, left behind by a transaction that was cut off.");
    machine.holds(&[1], 1);
    let ran = machine.tu("recover").succeeds();
    assert_eq!((ran.stdout, ran.stderr), (String::new(), String::new()));
}

#[test]
fn recovery_works_on_a_system_that_is_mounted_elsewhere() {
    let machine = Machine::new();
    machine.boot("TU_FAILPOINTS=created=kill transactional-update run true");
    machine
        .outside("$TU --root $FX_ROOT recover && $TU --root $FX_ROOT recover")
        .succeeds()
        .says("Removed snapshot 2");
    machine.holds(&[1], 1);
}

#[test]
fn recovery_leaves_the_work_to_who_holds_the_lock_and_a_boot_waits_to_be_noted() {
    let machine = Machine::new();
    let ran = machine
        .boot(
            "flock /.snapshots sh -c 'touch /run/held; until [ -e /run/go ]; do sleep .02; done' & p=$!
             until [ -e /run/held ]; do sleep .02; done
             transactional-update recover || exit 97
             transactional-update boot-complete & b=$!
             sleep .3; kill -0 $b || exit 96; grep -q tu-booted /.snapshots/1/info.xml && exit 95
             touch /run/go; wait $p && wait $b && grep tu-booted /.snapshots/1/info.xml",
        )
        .succeeds();
    ran.says("Nothing is recovered, since another transaction is running");
}

#[test]
fn a_boot_recovers_before_anything_else_works_on_snapshots() {
    let machine = Machine::new();
    machine.install();
    machine.prepare("systemctl enable transactional-update-recover.service");
    machine.boot("TU_FAILPOINTS=synced=kill transactional-update run touch /usr/new");
    machine
        .power_on(
            "systemctl is-failed transactional-update-recover.service; ls -A /.snapshots | xargs echo there:
             journal -o cat -u transactional-update-recover.service; systemctl --no-block reboot",
        )
        .exits(REBOOT)
        .says("there: 1\n")
        .says("Removed snapshot 2, left behind");
    machine.holds(&[1], 1);
}

#[test]
fn a_deletion_that_dies_anywhere_leaves_no_number_that_nobody_owns() {
    let machine = Machine::of(Variant::NestedSqlite);
    let mut script = "there() { echo $(ls -A /.snapshots | sort -V); }\n".to_owned();
    for point in [
        "delete-marked",
        "unsealed",
        "deleted-syncpoint",
        "deleted-etc",
        "deleted-subvolume",
        "deleted-entries",
        "delete-unnumbered",
        "unborn-emptied",
    ] {
        script += &format!(
            "transactional-update -q run true || exit 90
             TU_FAILPOINTS={point}=kill transactional-update -q discard; [ $? = 137 ] || exit 91
             transactional-update status | grep -q 'Next boot: #1' || exit 92
             transactional-update recover || exit 93; [ \"$(there)\" = 1 ] || {{ echo '{point}:' $(there); exit 94; }}\n"
        );
    }
    let ran = machine.boot(&script).succeeds();
    assert_eq!(ran.stderr.matches("left behind").count(), 8, "{ran}");
    machine.holds(&[1], 1);
}

#[test]
fn a_deletion_that_dies_keeps_a_number_that_must_not_come_again() {
    let machine = Machine::new();
    machine.prepare("echo 'UNIQUE_NUMBERS=\"yes\"' >> /etc/snapper/configs/root");
    for point in ["delete-marked", "deleted-subvolume", "delete-undescribed"] {
        machine.boot(&format!(
            "transactional-update -q run true && TU_FAILPOINTS={point}=kill transactional-update -q discard
             transactional-update recover"
        ));
    }
    machine.holds(&[1, 2, 3, 4], 1);
    let ran = machine.tu("run true").succeeds();
    ran.says("Snapshot 5 is the next system");
}

#[test]
fn what_writes_of_metadata_left_beside_it_is_removed() {
    let machine = Machine::new();
    for (point, words) in [
        ("replace-written@1", "boot-complete"),
        ("replace-written@2", "run touch /usr/new"),
    ] {
        machine
            .boot(&format!(
                "TU_FAILPOINTS={point}=kill transactional-update {words}; [ $? = 137 ] && find /.snapshots -maxdepth 2 -name '*.tu-new' | grep . &&
                 transactional-update recover && ! find /.snapshots -maxdepth 2 -name '*.tu-new' | grep ."
            ))
            .succeeds();
    }
    machine.holds(&[1], 1);
}

/// What a program that reads the history or the wish for a reboot sees, and what is noted for it.
const TOLD: &str = r#"told() {
  echo "wish $(cat /run/reboot-needed 2>/dev/null)"; tail -n 1 /var/lib/transactional-update/history.jsonl | grep -o '"result":"[a-z]*","snapshot":[0-9]*'
  ! grep -H tu-untold /.snapshots/*/info.xml; grep UNUSED /var/lib/misc/transactional-update.state; }
"#;

#[test]
fn a_switch_that_dies_before_others_know_of_it_is_told_by_the_next_command() {
    for point in ["after-set-default", "committed", "told", "line-written"] {
        let machine = Machine::new();
        let script = format!(
            "{TOLD}tukit -q open >&2; tukit -q call 2 sh -c 'echo soft-reboot > /run/reboot-needed'; TU_FAILPOINTS={point}=kill tukit -q close 2
             [ $? = 137 ] && [ ! -e /run/reboot-needed ] || exit 90
             transactional-update recover || exit 91; told"
        );
        let ran = machine.boot(&script).succeeds();
        assert_eq!(
            ran.stdout,
            "wish soft-reboot\n\"result\":\"recovered\",\"snapshot\":2\nUNUSED_SNAPSHOTS=\"2\"\n",
            "{point} {ran}"
        );
        let again = machine.boot("transactional-update recover").succeeds();
        assert_eq!(again.stderr, "", "{point}");
    }
}

#[test]
fn a_whole_snapshot_that_did_not_become_the_next_one_is_named_once() {
    let machine = Machine::new();
    let cut = "TU_FAILPOINTS=final-info=kill transactional-update -q run touch /usr/new";
    let says = "about to make snapshot 2 the next system was cut off; `rollback 2` does it";
    machine
        .boot(&format!("{cut}; transactional-update recover"))
        .succeeds()
        .says(says);
    machine.tu("recover").succeeds().does_not_say(says);
    machine.tu("rollback 2").succeeds();
    machine.boot("ls /usr/new").succeeds();
}

#[test]
fn going_back_that_dies_before_others_know_of_it_is_told_by_the_next_command() {
    let machine = Machine::new();
    let script = format!(
        "{TOLD}transactional-update -q run true || exit 90
         for words in 'rollback' 'rollback 2' 'discard'; do
           TU_FAILPOINTS=committed=kill transactional-update -q $words; [ $? = 137 ] || exit 91
           transactional-update -q recover || exit 92; told; done"
    );
    let ran = machine.boot(&script).succeeds();
    let told = |wish: &str, id: u32| {
        format!("wish{wish}\n\"result\":\"recovered\",\"snapshot\":{id}\nUNUSED_SNAPSHOTS=")
    };
    let lines: Vec<&str> = ran.stdout.split_inclusive("UNUSED_SNAPSHOTS=").collect();
    assert!(lines[0].ends_with(&told(" ", 1)), "{ran}");
    assert!(lines[1].ends_with(&told(" reboot", 2)), "{ran}");
    assert!(lines[2].ends_with(&told(" ", 1)), "{ran}");
}

#[test]
fn a_line_of_the_history_that_was_cut_off_goes_with_the_next_one() {
    let machine = Machine::new();
    let script = "transactional-update -q run true && printf '{\"time\":\"20' >> /var/lib/transactional-update/history.jsonl
         transactional-update -q run true && cat /var/lib/transactional-update/history.jsonl";
    let ran = machine.boot(script).succeeds();
    let lines: Vec<serde_json::Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "{ran}");
}

#[test]
fn temporary_files_beside_what_others_read_are_removed() {
    for (time, beside) in [
        (3, "/run/.reboot-needed."),
        (4, "/var/lib/misc/.transactional-update.state."),
    ] {
        let machine = Machine::new();
        let look = format!("ls {beside}*.tu-new | wc -l");
        let script = format!(
            "transactional-update -q boot-complete; TU_FAILPOINTS=replace-written@{time}=kill transactional-update -q run true
             {look}; transactional-update recover; {look}"
        );
        let ran = machine.boot(&script);
        assert_eq!(ran.stdout, "1\n0\n", "{ran}");
    }
}

#[test]
fn both_copies_of_a_rollback_go_when_it_dies_before_they_are_whole() {
    let machine = Machine::of(Variant::RwSqlite);
    let script = |point: &str| {
        format!(
            "TU_FAILPOINTS={point}=kill transactional-update -q rollback 1; [ $? = 137 ] || exit 90
             transactional-update recover"
        )
    };
    machine
        .boot("transactional-update -q run touch /usr/new")
        .succeeds();
    for point in ["rollback-created@2", "rollback-synced"] {
        machine.boot(&script(point)).succeeds();
        machine.holds(&[1, 2], 2);
    }
    machine
        .boot(&script("rollback-described@2"))
        .succeeds()
        .says("about to make snapshot 4 the next system was cut off");
    machine.holds(&[1, 2, 3, 4], 2);
}

#[test]
fn a_failed_run_whose_keeping_dies_is_removed_until_it_is_kept() {
    for (point, there) in [("keep-sealed", &[1][..]), ("kept", &[1, 2])] {
        let machine = Machine::new();
        machine.boot(&format!("TU_FAILPOINTS={point}=kill transactional-update -q -k run false; transactional-update recover")).succeeds();
        machine.holds(there, 1);
    }
}

#[test]
fn half_a_switch_of_the_running_system_is_undone_and_a_whole_one_finished() {
    let look = "look() { for d in boot etc usr; do stat -c %d:%i /$d; done | xargs; findmnt -rn -o TARGET,FSROOT | grep -E '^/(boot|etc|usr)' | md5sum; }";
    for variant in [Variant::RoSqlite, Variant::NestedSqlite] {
        for point in [
            "mounting-noted@1",
            "apply-bound@1",
            "apply-mounted@2",
            "apply-bound@3",
            "apply-mounted@3",
        ] {
            let machine = Machine::of(variant);
            machine
                .boot(&format!(
                    "{look}; transactional-update -q run touch /usr/new || exit 90; look > /run/before
                     TU_FAILPOINTS={point}=kill transactional-update -q apply; [ $? = 137 ] || exit 91
                     transactional-update recover || exit 92; look | diff /run/before - && [ ! -e /usr/new ] || exit 93
                     transactional-update recover 2>&1 | grep . && exit 94; transactional-update -q apply && ls /usr/new"
                ))
                .succeeds()
                .says("A switch to snapshot 2 that was cut off is undone.");
        }
    }
    let machine = Machine::of(Variant::NestedSqlite);
    machine
        .boot(
            "transactional-update -q run touch /usr/new || exit 90; echo admin > /etc/mine
             TU_FAILPOINTS=apply-switched=kill transactional-update -q apply; [ $? = 137 ] || exit 91
             transactional-update recover || exit 92; ls /usr/new && cat /etc/mine && [ ! -e /etc/etc.syncpoint ]",
        )
        .succeeds()
        .says("Snapshot 2 is the current system: a switch to it that was cut off is complete.");
}

#[test]
fn what_is_mounted_for_a_soft_reboot_only_in_part_is_not_what_it_goes_to() {
    for point in ["nextroot-bound", "nextroot-entry@1", "nextroot-mounted"] {
        let machine = Machine::of(Variant::NestedSqlite);
        machine
            .boot(&format!(
                "transactional-update -q run touch /usr/new || exit 90; echo admin > /etc/mine
                 TU_FAILPOINTS={point}=kill transactional-update prepare-nextroot; [ $? = 137 ] || exit 91
                 findmnt /run/nextroot || exit 92
                 transactional-update prepare-nextroot || exit 93
                 cat /run/nextroot/etc/mine && ls /run/nextroot/usr/new && findmnt /run/nextroot/var && [ ! -e /run/nextroot/etc/etc.syncpoint ] || exit 94
                 [ $(findmnt -n /run/nextroot | wc -l) = 1 ]"
            ))
            .succeeds()
            .says("mounted for a soft-reboot only in part, is mounted no more");
    }
}

#[test]
fn mounts_of_the_system_are_left_alone_by_who_sees_a_copy_of_them() {
    let machine = Machine::new();
    machine
        .boot(
            "transactional-update -q run touch /usr/new || exit 90
             TU_FAILPOINTS=apply-bound=kill transactional-update -q apply; [ $? = 137 ] || exit 91
             unshare -m transactional-update recover; findmnt -n /boot || exit 92
             transactional-update recover; ! findmnt -n /boot",
        )
        .succeeds()
        .says("that was cut off is undone");
}

#[test]
fn a_reboot_by_either_program_recovers_first() {
    for words in [
        "transactional-update reboot",
        "tukit reboot none",
        "transactional-update prepare-nextroot",
    ] {
        let machine = Machine::new();
        machine
            .boot(&format!(
                "echo REBOOT_METHOD=none > /run/conf; export TU_CONFFILE=/run/conf
                 TU_FAILPOINTS=synced=kill transactional-update -q run true; {words}"
            ))
            .succeeds()
            .says("Removed snapshot 2, left behind");
        machine.holds(&[1], 1);
    }
}

#[test]
fn plugins_that_were_told_of_a_beginning_are_told_when_no_snapshot_comes_of_it() {
    let machine = Machine::new();
    machine.prepare(
        "mkdir -p /etc/tukit/plugins; printf '#!/bin/sh\\necho \"$@\" >> /run/calls\\n' > /etc/tukit/plugins/log; chmod 755 /etc/tukit/plugins/log",
    );
    for point in ["reserved", "created"] {
        let ran = machine.boot(&format!(
            "TU_FAILPOINTS={point}=error transactional-update -q run true; cat /run/calls"
        ));
        assert_eq!(ran.stdout, "init-pre\nabort-post 2\n", "{ran}");
    }
}

#[test]
fn what_cannot_be_looked_for_on_the_esp_of_a_mounted_system_is_named() {
    let machine = Machine::new();
    machine.boot("TU_FAILPOINTS=ran=kill transactional-update -q run true");
    machine.prepare(
        "mkdir -p /etc/sysconfig; echo LOADER_TYPE=systemd-boot > /etc/sysconfig/bootloader",
    );
    machine
        .outside("$TU --root $FX_ROOT recover")
        .succeeds()
        .says("boot entries of snapshot 2 may be left on the ESP");
    machine.holds(&[1], 1);
}

#[test]
fn a_snapshot_of_snapper_whose_etc_was_cut_off_gets_it_and_is_read_only_again() {
    let machine = Machine::of(Variant::NestedSqlite);
    machine.install();
    let mut script =
        "s() { snapper --no-dbus -c root \"$@\"; }; echo mine > /etc/mine\n".to_owned();
    for point in [
        "nesting-noted",
        "etc-unsealed",
        "nested-etc",
        "nested-syncpoint",
        "etc-sealed",
    ] {
        script += &format!(
            "n=$(TU_FAILPOINTS={point}=kill s create --print-number) || exit 90; ls /.snapshots/$n/.transactional-update-etc || exit 91
             transactional-update recover || exit 92; ls -A /.snapshots/$n | xargs; p=/.snapshots/$n/snapshot; btrfs property get -ts $p ro
             cat $p/etc/mine $p/etc/etc.syncpoint/mine $p/etc/etc.syncpoint/transactional-update.comparewith; s delete $n || exit 93\n"
        );
    }
    let ran = machine.boot(&script).succeeds();
    let one =
        "/.snapshots/2/.transactional-update-etc\ninfo.xml snapshot\nro=true\nmine\nmine\n1\n";
    assert_eq!(ran.stdout, one.repeat(5), "{ran}");
    machine.holds(&[1], 1);
}

#[test]
fn a_leftover_that_cannot_be_removed_stops_no_other_command_and_is_named_by_each() {
    let machine = Machine::new();
    machine.boot("TU_FAILPOINTS=ran=kill transactional-update run true");
    let set = |flag| machine.outside(&format!("chattr {flag} $FX_ROOT/.snapshots/2/snapshot"));
    set("+i").succeeds();
    machine
        .boot(
            "transactional-update recover && exit 92
             transactional-update -q run touch /usr/new || exit 93
             transactional-update -q rollback || exit 94
             transactional-update boot-complete && grep -q tu-booted /.snapshots/1/info.xml || exit 95",
        )
        .succeeds()
        .says("snapshot 2 is left behind by a transaction that was cut off, and cannot be removed");
    set("-i").succeeds();
    machine.tu("recover").succeeds();
    machine.holds(&[1, 3], 1);
}
