//! `apply`: the next system takes the place of the running one without a reboot.

use crate::fx::{ALL_VARIANTS, Machine, Variant};

/// Bash function: from which snapshots /usr, /etc and /boot come.
const LOOK: &str = r"
from() { for d in usr etc boot; do findmnt -n -o FSROOT -T /$d | tail -n 1 | grep -oE '[0-9]+/snapshot'; done | xargs; }
";

#[test]
fn a_new_package_works_at_once_on_every_kind_of_machine() {
    for variant in ALL_VARIANTS.into_iter().step_by(2) {
        let machine = Machine::of(variant);
        let script = format!(
            "{LOOK}
             touch /usr/local/mine /boot/grub2/x86_64-efi/mine; sleep 1000 & p=$!
             transactional-update -n pkg install fx-etc apply 2>/dev/null && exit 90   # what follows pkg belongs to it
             transactional-update -n pkg install fx-etc && transactional-update apply || exit 91
             fx-etc; from; ls /usr/local/mine /boot/grub2/x86_64-efi/mine; kill -0 $p
             transactional-update status; transactional-update apply"
        );
        let ran = machine.boot(&script).succeeds();
        let lines: Vec<&str> = ran.stdout.lines().collect();
        assert_eq!(
            lines[..4],
            [
                "fx-etc 1.0",
                "2/snapshot 2/snapshot 2/snapshot",
                "/boot/grub2/x86_64-efi/mine",
                "/usr/local/mine"
            ],
            "{variant:?} {ran}"
        );
        ran.says("Snapshot 2 is the current system")
            .says("The next system is the current one already.");
        machine.holds(&[1, 2], 2);
    }
}

#[test]
fn a_read_only_system_stays_one_and_its_etc_stays_writable() {
    let machine = Machine::of(Variant::NestedSqlite);
    let script = "transactional-update -q run touch /usr/new && transactional-update -q apply || exit 90
         ls /usr/new; touch /usr/x 2>&1; touch /boot/x 2>&1; touch /etc/written && ls /.snapshots/2/snapshot/etc/written";
    let ran = machine.boot(script).succeeds();
    assert_eq!(
        ran.stdout.matches("Read-only file system").count(),
        2,
        "{ran}"
    );
    assert!(
        ran.stdout.ends_with("/.snapshots/2/snapshot/etc/written\n"),
        "{ran}"
    );
}

#[test]
fn status_tells_the_booted_and_the_current_system_apart_and_what_follows_builds_upon_the_current_one()
 {
    let machine = Machine::new();
    let script = format!(
        "{LOOK}
         transactional-update -q run touch /usr/one && transactional-update -q apply || exit 90
         transactional-update status --json; transactional-update run touch /usr/two || exit 91
         [ ! -e /usr/two ] || exit 92; transactional-update -q apply && ls /usr/one /usr/two && from"
    );
    let ran = machine.boot(&script).succeeds();
    let (status, rest) = ran.stdout.split_at(ran.stdout.rfind('}').unwrap() + 1);
    for text in ["\"booted\": 1", "\"current\": 2"] {
        assert!(status.contains(text), "{text}: {ran}");
    }
    assert_eq!(
        rest.trim(),
        "/usr/one\n/usr/two\n3/snapshot 3/snapshot 3/snapshot",
        "{ran}"
    );
    ran.says("Base: #2");
    machine.holds(&[1, 2, 3], 3);
    machine.boot("ls /usr/one /usr/two").succeeds();
}

#[test]
fn what_was_changed_in_etc_meanwhile_is_merged_at_once_and_not_once_more_at_the_boot() {
    let machine = Machine::of(Variant::NestedSqlite);
    let script = "echo 1 > /etc/both; transactional-update -q run sh -c 'echo update > /etc/both; echo update > /etc/new' || exit 90
         echo admin > /etc/both; echo admin > /etc/mine; rm /etc/motd
         transactional-update apply || exit 91
         cat /etc/both /etc/both.rpmsave /etc/new /etc/mine; [ ! -e /etc/motd ] || exit 92; [ ! -e /etc/etc.syncpoint ] || exit 93
         echo later > /etc/mine; btrfs subvolume list -o /etc | grep -c syncpoint";
    let ran = machine.boot(script);
    assert_eq!(ran.stdout, "update\nadmin\nupdate\nadmin\n0\n", "{ran}");
    ran.says(
        "\"both\" was changed on both sides: the new version stays, yours is \"both.rpmsave\"",
    );
    let ran = machine.boot("cat /etc/mine").succeeds();
    assert_eq!(ran.stdout, "later\n", "{ran}");
}

#[test]
fn an_update_of_another_system_gets_the_edits_of_that_one_and_loses_nothing_to_the_running_one() {
    let machine = Machine::of(Variant::NestedSqlite);
    // #2 has a file that #1 never had; #3 is made from #2 while that runs, which is left again
    machine
        .boot("transactional-update -q run sh -c 'echo 1 > /etc/of-2'")
        .succeeds();
    machine
        .boot("transactional-update -q run touch /etc/of-3 && echo edited > /etc/mine && transactional-update -q rollback 1")
        .succeeds();
    let script = "transactional-update -q rollback 3 && transactional-update -q apply || exit 90
         cat /etc/of-2 /etc/mine; ls /etc/of-3 /etc/etc.syncpoint";
    let ran = machine.boot(script).exits(2);
    assert_eq!(ran.stdout, "1\nedited\n/etc/of-3\n", "{ran}");
}

#[test]
fn a_syncpoint_that_does_not_say_what_to_merge_is_refused_and_stays() {
    let machine = Machine::of(Variant::NestedSqlite);
    let script = "transactional-update -q run touch /etc/new || exit 90
         cd /.snapshots/2/snapshot/etc/etc.syncpoint; rm transactional-update.comparewith; echo edited > /etc/mine
         transactional-update apply; echo $?; ls fstab; findmnt -n -o FSROOT -T /usr";
    let ran = machine.boot(script).says("nothing says which etc");
    assert_eq!(ran.stdout, "1\nfstab\n/@/.snapshots/1/snapshot\n", "{ran}");
}

#[test]
fn an_error_on_the_way_leaves_the_running_system_as_it_was() {
    let machine = Machine::of(Variant::NestedSqlite);
    let script = format!(
        "{LOOK}
         transactional-update -q run touch /usr/new || exit 90; echo admin > /etc/mine; before=$(cat /proc/self/mountinfo | wc -l)
         for n in 1 2 3; do
           TU_FAILPOINTS=apply-mounted@$n=error transactional-update apply && exit 91
           [ $before = $(cat /proc/self/mountinfo | wc -l) ] && [ ! -e /usr/new ] || exit 92; from
           ls -d /.snapshots/2/snapshot/etc/etc.syncpoint
         done
         transactional-update -q apply && ls /usr/new /etc/mine; ls -d /etc/etc.syncpoint"
    );
    let ran = machine
        .boot(&script)
        .exits(2)
        .says("mounting usr of snapshot 2");
    let undone = "1/snapshot 1/snapshot 1/snapshot\n/.snapshots/2/snapshot/etc/etc.syncpoint\n";
    assert_eq!(
        ran.stdout,
        format!("{undone}{undone}{undone}/etc/mine\n/usr/new\n"),
        "{ran}"
    );
}

#[test]
fn a_link_in_the_snapshot_leads_to_nothing_of_the_running_system() {
    let machine = Machine::of(Variant::RoSqlite);
    let script = format!(
        "{LOOK}
         from > /run/before; transactional-update -q run true || exit 90
         s=/.snapshots/2/snapshot; btrfs property set -ts $s ro false; mv $s/boot $s/usr/boot; ln -s /var/lib $s/boot
         transactional-update apply; echo $?; from | diff /run/before - && echo same"
    );
    let ran = machine.boot(&script).says("mounting boot of snapshot 2");
    assert_eq!(ran.stdout, "1\nsame\n", "{ran}");
}

#[test]
fn an_open_transaction_that_boots_next_does_not_take_the_place_of_the_running_system() {
    let machine = Machine::of(Variant::NestedSqlite);
    let script = format!(
        "{LOOK}
         from > /run/before; tukit -q open
         btrfs subvolume set-default $(btrfs inspect-internal rootid /.snapshots/2/snapshot) /.snapshots
         transactional-update apply; echo $?; transactional-update prepare-nextroot; echo $?
         from | diff /run/before - && ls -d /.snapshots/2/snapshot/etc/etc.syncpoint; findmnt /run/nextroot"
    );
    let ran = machine
        .boot(&script)
        .says("snapshot 2 boots next, but is not whole");
    let expected = "ID: 2\n1\n1\n/.snapshots/2/snapshot/etc/etc.syncpoint\n";
    assert_eq!(ran.stdout, expected, "{ran}");
}

#[test]
fn death_on_the_way_is_made_good_by_the_same_command_or_by_the_boot() {
    for point in [
        "apply-mounted@1",
        "apply-mounted@2",
        "apply-mounted@3",
        "etc-step@1",
        "etc-marked",
        "etc-forgetting@3",
    ] {
        let machine = Machine::of(Variant::NestedSqlite);
        let script = format!(
            "{LOOK}
             transactional-update -q run touch /usr/new || exit 90; echo admin > /etc/mine
             TU_FAILPOINTS={point}=kill transactional-update -q apply; [ $? = 137 ] || exit 91
             transactional-update -q apply || exit 92; from; cat /etc/mine; ls -d /etc/etc.syncpoint"
        );
        let ran = machine.boot(&script).exits(2);
        assert_eq!(
            ran.stdout, "2/snapshot 2/snapshot 2/snapshot\nadmin\n",
            "{point}: {ran}"
        );
    }
}

#[test]
fn a_soft_reboot_is_not_needed_any_more_and_a_reboot_still_is() {
    let machine = Machine::new();
    for (wish, left) in [("soft-reboot", "none"), ("reboot", "reboot")] {
        let script = format!(
            "transactional-update -q run true && echo {wish} > /run/reboot-needed && transactional-update apply || exit 90
             cat /run/reboot-needed 2>/dev/null || echo none"
        );
        let ran = machine.boot(&script).succeeds();
        assert_eq!(ran.stdout, format!("{left}\n"), "{ran}");
        assert_eq!(
            ran.stderr.contains("a reboot is still needed"),
            left == "reboot",
            "{ran}"
        );
    }
}

#[test]
fn a_chain_applies_what_it_made_or_what_waits_and_nothing_is_no_failure() {
    let machine = Machine::new();
    machine
        .tu("apply")
        .succeeds()
        .says("The next system is the current one already.");
    let script = "transactional-update -d apply run touch /usr/new && ls /usr/new";
    machine.boot(script).succeeds();
    machine
        .outside("$TU --root $FX_ROOT apply")
        .exits(1)
        .says("only the running system can be replaced");
}
