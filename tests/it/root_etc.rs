//! /etc as a subvolume inside a read-only snapshot: what transactions make of it, and what stays of it.

use crate::fx::{Machine, Ran, Variant};

fn machine() -> Machine {
    Machine::of(Variant::NestedSqlite)
}

/// Bash functions: `point N` prints what the syncpoint of snapshot N is compared with, `nested` the subvolumes in
/// snapshots, which are all those of /etc.
const LOOK: &str = r"
point() { cat /.snapshots/$1/snapshot/etc/etc.syncpoint/transactional-update.comparewith; }
nested() { btrfs subvolume list /.snapshots | grep -oE 'path (etc|.*\.snapshots/.*/).*' | sort; }
";

/// Boots, runs `script` with [`LOOK`] and asserts that each line of `says` is a line of its output, in this order
/// and nothing else.
#[track_caller]
fn shows(machine: &Machine, script: &str, lines: &[&str]) -> Ran {
    let ran = machine.boot(&format!("{LOOK}{script}")).succeeds();
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), lines, "{ran}");
    ran
}

#[test]
fn a_new_snapshot_has_an_etc_of_its_own_and_the_running_one_is_unchanged() {
    let machine = machine();
    let script = "old=$(ls -lAR /etc | sha256sum)
         transactional-update -q run sh -c 'touch /etc/new; rm /etc/motd; findmnt -n /usr/etc; echo changed >> /etc/fstab' || exit 96
         [ \"$old\" = \"$(ls -lAR /etc | sha256sum)\" ] || exit 97
         point 2; cmp /etc/fstab /.snapshots/2/snapshot/etc/etc.syncpoint/fstab; ls /.snapshots/2/snapshot/etc/etc.syncpoint/motd
         btrfs property get -ts /.snapshots/2/snapshot ro; btrfs property get -ts /.snapshots/2/snapshot/etc ro";
    shows(
        &machine,
        script,
        &[
            "1",
            "/.snapshots/2/snapshot/etc/etc.syncpoint/motd",
            "ro=true",
            "ro=false",
        ],
    );
    machine.holds(&[1, 2], 2);
    let script = "findmnt -n -o FSROOT /etc; ls /etc/new /etc/motd; touch /etc/written";
    let ran = machine.boot(script).succeeds();
    assert_eq!(
        ran.stdout, "/@/.snapshots/2/snapshot/etc\n/etc/new\n",
        "{ran}"
    );
}

#[test]
fn a_second_transaction_before_the_reboot_is_still_compared_with_the_running_system() {
    let machine = machine();
    let script = "transactional-update -q run touch /etc/first && transactional-update -q run touch /etc/second
         point 2; point 3; cd /.snapshots/3/snapshot/etc; ls first second etc.syncpoint/fstab";
    shows(
        &machine,
        script,
        &["1", "1", "etc.syncpoint/fstab", "first", "second"],
    );
    machine.holds(&[1, 2, 3], 3);
}

#[test]
fn a_second_transaction_sees_what_was_changed_in_the_running_etc_meanwhile() {
    let machine = machine();
    let script = "for f in mine both gone; do echo old > /etc/$f; done
         transactional-update -q run sh -c 'echo update > /etc/both; echo update > /etc/new' || exit
         echo edited > /etc/mine; echo edited > /etc/both; rm /etc/gone
         transactional-update run sh -c 'cat /etc/mine /etc/both /etc/both.rpmsave /etc/new; ls /etc/gone; :' || exit
         point 3; cd /.snapshots/3/snapshot/etc/etc.syncpoint; cat mine both; ls new gone";
    let ran = machine.boot(&format!("{LOOK}{script}")).exits(2);
    assert_eq!(
        ran.stdout, "edited\nupdate\nedited\nupdate\n1\nedited\nedited\n",
        "{ran}"
    );
    ran.says(
        "\"both\" was changed on both sides: the new version stays, yours is \"both.rpmsave\"",
    );
    machine.holds(&[1, 2, 3], 3);
}

#[test]
fn a_second_transaction_that_cannot_take_the_running_etc_over_leaves_nothing() {
    let machine = machine();
    let script = "nested > /run/before; transactional-update -q run touch /etc/new; nested > /run/one; echo edited > /etc/mine
         for action in error kill; do TU_FAILPOINTS=etc-step=$action transactional-update -q run true 2>/dev/null; echo $?; done
         transactional-update -q status >&2; transactional-update -q rollback; nested | diff /run/one -; ls /.snapshots | xargs";
    shows(&machine, script, &["1", "137", "1 2"]);
}

#[test]
fn what_both_sides_changed_is_foreseen_at_the_end_of_a_transaction_and_in_the_status() {
    let machine = machine();
    let script = "echo old > /etc/both; echo old > /etc/mine
         TU_FAILPOINTS=ran=touch:/run/reached,ran=wait:/run/go transactional-update run sh -c 'echo update > /etc/both' 2>&1 & until [ -e /run/reached ]; do sleep .02; done
         echo edited > /etc/both; touch /run/go; wait $!
         transactional-update status > /run/first; echo edited > /etc/mine; transactional-update status | diff /run/first - && cat /run/first";
    let ran = machine.boot(script).succeeds();
    let foreseen = "Changed in the running /etc and by the update; after the reboot:
  \"both\" was changed on both sides: the new version stays, yours is \"both.rpmsave\"\n";
    assert_eq!(ran.stdout.matches(foreseen).count(), 2, "{ran}");
    ran.does_not_say("will not be there after the reboot");
}

#[test]
fn a_snapshot_that_is_not_the_running_one_brings_its_own_etc_and_is_compared_with_nothing() {
    let machine = machine();
    machine.tu("-q run touch /etc/second").succeeds();
    let script = "touch /etc/running; transactional-update -q -c 1 run true; ls /.snapshots/3/snapshot/etc | grep -c 'second\\|running\\|sync'";
    let ran = machine.boot(script);
    assert_eq!(ran.stdout, "0\n", "{ran}");
    machine.holds(&[1, 2, 3], 3);
}

#[test]
fn a_change_in_etc_alone_counts_and_one_in_the_running_etc_does_not() {
    let machine = machine();
    machine
        .boot("TU_FAILPOINTS=ran=touch:/run/reached,ran=wait:/run/go transactional-update -d run true & until [ -e /run/reached ]; do sleep .02; done
             touch /etc/running; touch /run/go; wait $!")
        .succeeds()
        .says("Nothing to do");
    machine.holds(&[1], 1);
    machine.tu("-d run touch /etc/new").succeeds();
    machine.holds(&[1, 2], 2);
    machine.tu("-d run true").succeeds().says("Nothing to do");
    let script = "transactional-update -d run true && transactional-update -d run sh -c 'echo 127.0.0.9 nine >> /etc/hosts'";
    machine
        .boot(script)
        .succeeds()
        .says("Nothing to do")
        .says("Snapshot 3 is the next system");
}

#[test]
fn a_transaction_that_fails_leaves_no_subvolume() {
    let machine = machine();
    let make = "btrfs -q subvolume create /etc/s; btrfs -q subvolume create /usr/s; btrfs property set /etc/s ro true";
    let script = format!(
        "nested > /run/before; transactional-update run sh -c 'touch /etc/x; {make}; exit 7'; echo $?
         TU_FAILPOINTS=before-set-default=error transactional-update -q run true 2>/dev/null; echo $?
         nested | diff /run/before -"
    );
    shows(&machine, &script, &["7", "1"]);
    machine.holds(&[1], 1);
}

#[test]
fn an_error_or_death_while_etc_is_made_leaves_nothing_after_the_next_command() {
    for point in ["nested-etc", "nested-syncpoint"] {
        for (action, code, left) in [("error", "1", "1"), ("kill", "137", "1 2")] {
            let machine = machine();
            let script = format!(
                "nested > /run/before; TU_FAILPOINTS={point}={action} transactional-update -q run true 2>/dev/null; echo $?
                 echo $(ls /.snapshots); transactional-update -q discard; nested | diff /run/before - && echo $(ls /.snapshots)"
            );
            shows(&machine, &script, &[code, left, "1"]);
            machine.tu("-q run true").succeeds();
            machine.holds(&[1, 2], 2);
        }
    }
}

#[test]
fn a_dropped_update_takes_its_etc_along_also_when_the_deletion_is_cut_off() {
    for point in ["none", "deleted-etc", "deleted-subvolume"] {
        let machine = machine();
        let script = format!(
            "nested > /run/before; transactional-update -q run touch /etc/new || exit
             TU_FAILPOINTS={point}=kill transactional-update -q discard; transactional-update -q rollback
             nested | diff /run/before -"
        );
        machine.boot(&format!("{LOOK}{script}")).succeeds();
        machine.holds(&[1], 1);
    }
}

#[test]
fn a_subvolume_of_somebody_else_keeps_a_whole_snapshot_and_is_named() {
    let machine = machine();
    machine
        .boot("transactional-update -q run btrfs -q subvolume create /usr/machines && transactional-update discard")
        .exits(1)
        .says("@/.snapshots/2/snapshot/usr/machines")
        .says("snapper delete 2");
    // the running system is the next one all the same, and nothing of the snapshot is gone
    machine.holds(&[1, 2], 1);
    machine
        .boot("ls /.snapshots/2/snapshot/etc/fstab /.snapshots/2/snapshot/usr/machines")
        .succeeds();
}

#[test]
fn going_back_brings_the_old_etc_back() {
    let machine = machine();
    machine.tu("-q boot-complete").succeeds();
    machine
        .boot("echo old > /etc/mine; transactional-update -q run touch /etc/new")
        .succeeds();
    machine
        .boot("echo new > /etc/mine; transactional-update -q boot-complete && transactional-update rollback last")
        .succeeds();
    let ran = machine.boot("cat /etc/mine; ls /etc/new").exits(2);
    assert_eq!(ran.stdout, "old\n");
    machine.holds(&[1, 2], 1);
}

#[test]
fn going_back_on_a_read_write_root_copies_etc_as_well() {
    let machine = machine();
    // a root that is read-write, with the same /etc
    machine
        .outside(
            "btrfs property set -ts $FX_ROOT/.snapshots/1/snapshot ro false; sed -i 's/btrfs ro /btrfs defaults /' $FX_ROOT/etc/fstab",
        )
        .succeeds();
    machine
        .boot("echo old > /etc/mine; transactional-update -q run touch /etc/new")
        .succeeds();
    machine
        .boot("echo new > /etc/mine; transactional-update -q rollback 1")
        .succeeds();
    machine.holds(&[1, 2, 3, 4], 4);
    let ran = machine
        .boot("cat /etc/mine /.snapshots/3/snapshot/etc/mine; findmnt -n -o FSROOT /etc; touch /etc/x /usr/x")
        .succeeds();
    assert_eq!(
        ran.stdout, "old\nnew\n/@/.snapshots/4/snapshot/etc\n",
        "{ran}"
    );
}

#[test]
fn a_snapshot_without_its_etc_is_no_base_and_never_the_next_one() {
    let machine = machine();
    machine
        .boot("snapper --no-dbus -c root create -d by-hand")
        .succeeds();
    for words in ["-c 2 run true", "rollback 2"] {
        machine.tu(words).exits(1).says("snapshot 2 has no /etc");
    }
    machine.holds(&[1, 2], 1);
    // another program may still have made it the default
    let next = "btrfs subvolume set-default $(btrfs inspect-internal rootid /.snapshots/2/snapshot) /.snapshots
         transactional-update status; transactional-update rollback";
    machine
        .boot(next)
        .succeeds()
        .says("snapshot 2 boots next, but has no /etc")
        .says("Snapshot 1 is the next system");
    machine.holds(&[1, 2], 1);
}

#[test]
fn what_is_refused_because_of_etc_is_refused_before_anything_is_made() {
    let machine = machine();
    let overlay =
        "sed -i 's|^/etc /etc none bind|overlay /etc overlay lowerdir=/sysroot/etc|' /etc/fstab
         transactional-update run true";
    machine
        .boot(overlay)
        .exits(1)
        .says("/etc is an overlay file system")
        .says("replace its line in fstab");
    machine.holds(&[1], 1);
}

#[test]
fn configuration_that_is_edited_while_an_update_of_its_package_waits_is_kept_beside_the_new_one() {
    let machine = machine();
    machine.tu("-n pkg install fx-etc").succeeds();
    machine.use_repository("v2", &["gpgcheck=0"]);
    machine
        .boot("cd /etc/fx; echo early > a.conf; transactional-update -n pkg update fx-etc && echo late > b.conf && echo late >> a.conf")
        .succeeds()
        .says("To upgrade: fx-etc 2.0-1");
    // a.conf is `noreplace` and was edited before the update, which left it alone; b.conf was replaced
    let ran = machine
        .boot("fx-etc; cd /etc/fx; grep . *; rpm -q fx-etc")
        .succeeds();
    let wanted = "fx-etc 2.0\na.conf:early\na.conf:late\na.conf.rpmnew:a=2\nb.conf:b=2\nb.conf.rpmsave:late\nc.conf:c=2\nfx-etc-2.0-1.noarch\n";
    assert_eq!(ran.stdout, wanted, "{ran}");
}

#[test]
fn a_boot_that_could_not_merge_etc_is_told_with_the_call_that_does_it() {
    let machine = machine();
    machine.install();
    machine
        .boot("echo old > /etc/mine; transactional-update -q run touch /etc/new && echo edited > /etc/mine")
        .succeeds();
    // the update runs, and its /etc is as it was made; nothing has merged it
    machine.prepare(
        "transactional-update status | grep -q '^Running: #2$'
         transactional-update status > status; cat status >&2
         grep '^Attention: what was changed in the etc of snapshot 1 was not merged into that of snapshot 2' status
         transactional-update --quiet boot-complete 2>&1 | grep 'was not merged'
         eval \"$(sed -n 's/.*`\\(.*\\)` does it now$/\\1/p' status)\"
         [ $(cat /etc/mine) = edited ]; [ -e /etc/new ]; [ ! -e /etc/etc.syncpoint ]
         transactional-update status > status; if grep merged status; then exit 1; fi",
    );
}

#[test]
fn what_a_copy_of_etc_has_in_the_place_of_its_syncpoint_stops_no_boot_and_goes() {
    let machine = machine();
    let script = "transactional-update -q run touch /etc/new && cd /.snapshots/2/snapshot && btrfs property set . ro false || exit
         btrfs -q subvolume snapshot etc copy && btrfs -q subvolume delete etc/etc.syncpoint etc && mv copy etc && btrfs property set . ro true
         stat -c %i etc/etc.syncpoint";
    shows(&machine, script, &["2"]);
    let ran = machine.boot("ls /etc/new /etc/etc.syncpoint").exits(2);
    assert_eq!(ran.stdout, "/etc/new\n", "{ran}");
}
