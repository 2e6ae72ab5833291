//! snapper on a system whose /etc is a subvolume: it makes and deletes snapshots with the help of our plugin.

use std::io::{BufRead, BufReader};

use crate::fx::{Machine, Ran, Variant, command};

/// With the plugin where snapper looks for it.
fn machine() -> Machine {
    let machine = Machine::of(Variant::NestedSqlite);
    machine.install();
    machine
}

/// `s` is snapper without its daemon, `nested` prints the subvolumes in snapshots.
fn boot(machine: &Machine, script: &str) -> Ran {
    machine.boot(&format!(
        "s() {{ snapper --no-dbus -c root \"$@\"; }}
         nested() {{ btrfs subvolume list /.snapshots | grep -oE 'path (etc|.*\\.snapshots/.*/).*' | sort; }}
         tu() {{ transactional-update -q \"$@\"; }}
         {script}"
    ))
}

#[test]
fn snapper_deletes_our_snapshots() {
    let machine = machine();
    let script = "nested > /run/before; tu run true && tu rollback && s delete 2 && nested | diff /run/before -";
    boot(&machine, script).succeeds();
    machine.holds(&[1], 1);
}

#[test]
fn the_clean_up_of_snapper_deletes_our_old_snapshots() {
    let machine = machine();
    machine.prepare(
        "sed -i 's/^NUMBER_LIMIT=.*/NUMBER_LIMIT=1/; s/^NUMBER_LIMIT_IMPORTANT=.*/NUMBER_LIMIT_IMPORTANT=1/; s/^NUMBER_MIN_AGE=.*/NUMBER_MIN_AGE=0/; s/^FREE_LIMIT=.*/FREE_LIMIT=0/' /etc/snapper/configs/root",
    );
    let script = "for n in 2 3 4; do tu --no-continue run touch /etc/$n || exit; done; sleep 1; s cleanup number; ls /.snapshots | xargs";
    let ran = boot(&machine, script).succeeds();
    assert_eq!(ran.stdout, "1 4\n", "{ran}");
    machine.boot("ls /etc/4").succeeds();
    machine.holds(&[1, 4], 4);
}

#[test]
fn a_snapshot_of_snapper_has_its_etc_and_gets_later_edits_at_its_first_boot() {
    let machine = machine();
    let script = "echo mine > /etc/mine; s create -d by-hand; echo later > /etc/mine
         cat /.snapshots/2/snapshot/etc/mine /.snapshots/2/snapshot/etc/etc.syncpoint/transactional-update.comparewith
         btrfs property get -ts /.snapshots/2/snapshot ro; transactional-update rollback 2";
    let ran = boot(&machine, script).succeeds();
    assert!(ran.stdout.starts_with("mine\n1\nro=true\n"), "{ran}");
    let ran = boot(&machine, "cat /etc/mine; findmnt -n -o FSROOT /etc").succeeds();
    assert_eq!(ran.stdout, "later\n/@/.snapshots/2/snapshot/etc\n", "{ran}");
}

#[test]
fn what_runs_boots_next_or_is_being_made_keeps_its_etc() {
    let machine = machine();
    let script = "tu run true; p=/usr/lib/snapper/plugins/50-etc
         for n in 1 2; do $p delete-snapshot-pre / btrfs $n; echo $?; done
         TU_FAILPOINTS=mounted=touch:/run/reached,mounted=wait:/run/go transactional-update -q run true & until [ -e /run/reached ]; do sleep .02; done
         $p delete-snapshot-pre / btrfs 3; echo $?; touch /run/go; wait $!; echo $?; ls -d /.snapshots/[123]/snapshot/etc/fstab | wc -l
         tukit -q open >/dev/null; $p delete-snapshot-pre / btrfs 4; echo $?; ls -d /.snapshots/4/snapshot/etc/fstab
         sed -i \"s/$(cat /proc/sys/kernel/random/boot_id)/earlier/\" /.snapshots/4/info.xml; $p delete-snapshot-pre / btrfs 4; echo $?";
    let ran = boot(&machine, script)
        .says("snapshot 1 runs or boots next")
        .says("a transaction is making snapshot 3");
    let ran = ran.says("snapshot 4 is an open transaction");
    let expected = "1\n1\n1\n0\n3\n1\n/.snapshots/4/snapshot/etc/fstab\n0\n";
    assert_eq!(ran.stdout, expected, "{ran}");
}

#[test]
fn the_plugin_leaves_a_snapshot_alone_that_snapper_could_not_delete() {
    let machine = machine();
    let script = "tu run btrfs -q subvolume create /usr/machines; tu rollback; s delete 2; /usr/lib/snapper/plugins/50-etc delete-snapshot-pre / btrfs 2; ls -d /.snapshots/2/snapshot/etc/fstab";
    boot(&machine, script)
        .succeeds()
        .says("@/.snapshots/2/snapshot/usr/machines");
    machine.holds(&[1, 2], 1);
}

#[test]
fn the_plugin_starts_nothing_for_other_stages_subvolumes_and_callers() {
    let machine = machine();
    let script = "tu run true; tu rollback; mount --bind /bin/false /usr/sbin/transactional-update; p=/usr/lib/snapper/plugins/50-etc
         $p set-default-snapshot-post / btrfs 2 && $p delete-snapshot-pre /home btrfs 2 && $p delete-snapshot-post / btrfs 2 &&
         TU_SNAPPER_PLUGINS=yes $p delete-snapshot-pre / btrfs 2 && ! $p delete-snapshot-pre / btrfs 2 && ls /.snapshots/2/snapshot/etc/fstab";
    boot(&machine, script).succeeds();
}

#[test]
fn snapper_deletes_a_snapshot_whose_etc_was_cut_off_and_leaves_no_number() {
    let machine = machine();
    let script = "for p in replace-written nesting-noted nested-etc etc-sealed; do n=$(TU_FAILPOINTS=$p=kill s create --print-number); [ $n = 2 ] || exit 90
         ls -A /.snapshots/2 | grep -q transactional-update || exit 91; s delete 2 || exit 92; ls -A /.snapshots | xargs; done";
    let ran = boot(&machine, script).succeeds();
    assert_eq!(ran.stdout, "1\n".repeat(4), "{ran}");
    machine.holds(&[1], 1);
}

#[test]
fn recovery_leaves_a_snapshot_alone_that_snappers_plugin_is_at_work_on() {
    let machine = machine();
    let script = "echo mine > /etc/mine
         for p in replace-written nesting-noted nested-etc etc-sealed nesting-forgotten; do rm -f /run/reached /run/go
         TU_FAILPOINTS=$p=touch:/run/reached,$p=wait:/run/go s create & until [ -e /run/reached ]; do sleep .02; done
         tu recover || exit 90; touch /run/go; wait $! || exit 91; cat /.snapshots/2/snapshot/etc/mine
         ls -A /.snapshots/2 | xargs; s delete 2 || exit 92; done";
    let ran = boot(&machine, script).succeeds();
    let one = "mine\ninfo.xml snapshot\n";
    assert_eq!(ran.stdout, one.repeat(5), "{ran}");
    machine.holds(&[1], 1);
}

#[test]
fn a_power_cut_after_snapper_made_a_snapshot_leaves_the_etc_that_it_has() {
    let machine = machine();
    let mut child = machine.start(
        "echo mine > /etc/mine; snapper --no-dbus -c root create || exit 90
         echo later > /etc/mine; sync /etc/mine; echo made; read _",
    );
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    // what is on the disk at this moment
    let cut = machine.dir().join("cut");
    let mut copy = command("cp");
    copy.args(["--sparse=always".as_ref(), machine.image(), &cut]);
    assert!(copy.status().unwrap().success());
    drop(child.stdin.take());
    assert_eq!(
        (child.wait().unwrap().code(), line.as_str()),
        (Some(1), "made\n")
    );
    let look = "transactional-update recover; cat /.snapshots/2/snapshot/etc/mine /etc/mine";
    let ran = machine.boot_on(&cut, look).succeeds();
    assert_eq!(ran.stdout, "mine\nlater\n", "{ran}");
}

#[test]
fn where_the_root_is_no_snapshot_the_plugin_is_silent() {
    let machine = machine();
    let script = "mkdir -p /run/fs /run/img; truncate -s 200M /run/img/x; mkfs.btrfs -q /run/img/x; mount -o loop /run/img/x /run/fs; cd /run/fs
         btrfs -q subvolume create .snapshots; mkdir usr etc .snapshots/1; btrfs -q subvolume snapshot . .snapshots/1/snapshot
         for stage in create-snapshot-post delete-snapshot-pre; do transactional-update --root /run/fs snapper-plugin $stage 1 || exit; done
         umount /run/fs 2>/dev/null; cd /; umount /run/fs";
    let ran = boot(&machine, script).succeeds();
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("", ""),
        "{ran}"
    );
}

#[test]
fn on_a_system_with_a_plain_etc_the_plugin_changes_nothing() {
    let machine = Machine::new();
    machine.install();
    let script = "s create -d by-hand && diff -r --no-dereference /etc /.snapshots/2/snapshot/etc && s delete 2";
    boot(&machine, script).succeeds();
    machine.holds(&[1], 1);
}
