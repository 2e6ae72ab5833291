//! A file system with room for data and none for its own metadata, and quota groups at their limit.

use crate::fx::{Machine, Variant};
use crate::root_faults::{FULL, PENDING, full_of_everywhere};

/// Of each chunk of data half is free; nodes are full. What cannot make or rename a file can still remove one, and
/// mostly change one item.
const METADATA: &str = r#"
most() {
  local i=0 j; mkdir /var/taken; while fallocate -l 16M /var/taken/$i 2>/dev/null; do i=$((i + 1)); done; sync -f /var
  for ((j = 1; j < i; j += 2)); do rm /var/taken/$j; done; sync -f /var; }
fill() { python3 - <<'PYTHON'
import os
name, value, count = "/var/fill", os.urandom(16000), 0
open(name, "w").close()
for size in 16000, 16000, 8000, 2000, 2000, 1, 1:
    try:
        while True:
            os.setxattr(name, f"user.{count}", value[:size])
            count += 1
    except OSError as e:
        assert e.errno == 28, e
    os.system("sync -f /var")
PYTHON
  ! touch /var/more 2>/dev/null || { echo "there is room for a file"; exit 95; }
  [ $(df -m --output=avail /var | tail -1) -gt 64 ] || { echo "there is no room for data"; exit 94; }; }
"#;

#[test]
fn metadata_that_is_full_in_the_middle_of_a_run_leaves_the_old_system_or_the_whole_new_one() {
    let words = "transactional-update run touch /usr/new";
    let of = format!(
        "{METADATA} ONLY='reserved|created|mounted|before-sync|before-final-info|before-set-default'"
    );
    full_of_everywhere(&of, Variant::RoSqlite, ":", words, 2, 6, true);
}

#[test]
fn metadata_that_is_full_from_any_point_of_dropping_an_update_stops_nothing() {
    let words = "transactional-update discard";
    full_of_everywhere(METADATA, Variant::NestedSqlite, PENDING, words, 1, 5, false);
}

#[test]
fn full_metadata_refuses_a_run_with_what_to_do_and_stops_neither_going_back_nor_recovery() {
    let machine = Machine::with_disk("600M");
    let script = r#"
        there() { [ "$(ls -A /.snapshots | xargs) default $(default)" = "$*" ] || { echo "not $*: $(ls -A /.snapshots | xargs) default $(default)"; exit 98; }; }
        transactional-update -q boot-complete; most
        transactional-update -q run touch /usr/new
        TU_FAILPOINTS=created=kill transactional-update -q run true
        fill; there 1 2 3 default 2
        transactional-update run true; [ $? = 1 ] || exit 97; there 1 2 default 2
        transactional-update rollback && there 1 2 default 1 || exit 96
        transactional-update rollback 2 && there 1 2 default 2 || exit 96
        TU_FAILPOINTS=deleted-subvolume=kill transactional-update discard; there 1 2 default 1
        transactional-update status; transactional-update recover && there 1 default 1 || exit 95
        rm /var/fill; transactional-update -q run touch /usr/new; fill; there 1 2 default 2
        TU_FAILPOINTS=delete-undescribed=kill transactional-update discard; there 1 2 default 1
        [ -z "$(ls -A /.snapshots/2)" ] && transactional-update recover || exit 94
        rm -r /var/fill /var/taken; transactional-update -q run true; there 1 2 3 default 3"#;
    machine
        .boot(&format!("{FULL} {METADATA} {script}"))
        .succeeds()
        .says("making a snapshot in /.snapshots: No space left on device")
        .says("of data or of metadata (`btrfs filesystem usage` tells which)")
        .says("Removed snapshot 3, left behind")
        .says("snapshot 2 has no subvolume")
        .says("Removed snapshot 2, left behind");
    machine.tu("status").succeeds();
}

/// A machine of which all snapshots are members of the quota group 1/0.
fn in_quota_group(variant: Variant) -> Machine {
    let machine = Machine::of(variant);
    // what it inherits from must be a member as well, or btrfs counts nothing until the next rescan
    machine.prepare(
        r#"sed -i 's|^QGROUP=.*|QGROUP="1/0"|' /etc/snapper/configs/root
        btrfs quota enable /.snapshots; btrfs quota rescan -w /.snapshots; btrfs qgroup create 1/0 /.snapshots
        btrfs qgroup assign --no-rescan 0/$(btrfs inspect-internal rootid /) 1/0 /.snapshots || [ $? = 1 ]
        btrfs quota rescan -w /.snapshots"#,
    );
    machine
}

#[test]
fn a_quota_group_at_its_limit_fails_a_transaction_by_name_and_leaves_nothing() {
    let machine = in_quota_group(Variant::RoSqlite);
    machine.use_repository("v1", &["gpgcheck=0"]);
    let script = r#"
        there() { [ "$(ls -A /.snapshots | xargs)" = "$*" ] || { echo "not $*: $(ls -A /.snapshots | xargs)"; exit 98; }; }
        held() { sync -f /.snapshots; btrfs qgroup show -e --raw /.snapshots | awk '$1 == "1/0" { print $3 }'; }
        # what was deleted counts until it is gone
        settled() { btrfs filesystem sync /.snapshots; while [ -n "$(btrfs subvolume list -d /.snapshots)" ]; do sleep .02; done; sync -f /.snapshots; }
        transactional-update -q boot-complete
        [ $(held) -gt 100000000 ] || { btrfs qgroup show -pre /.snapshots; exit 97; }
        btrfs qgroup limit -e $(($(held) + (8 << 20))) 1/0 /.snapshots
        transactional-update run sh -c 'head -c 20M /dev/urandom > /usr/big'; [ $? = 1 ] || exit 96; there 1; settled
        transactional-update -n pkg install fx-huge; [ $? = 1 ] || exit 95; there 1; settled
        transactional-update run touch /usr/new && there 1 2 || exit 94
        # less than there is
        btrfs qgroup limit -e 4M 1/0 /.snapshots
        transactional-update run touch /usr/more; [ $? = 1 ] || exit 93; there 1 2
        transactional-update rollback && transactional-update rollback 2 || exit 92
        transactional-update discard && there 1 || exit 91
        transactional-update run true; [ $? = 1 ] || exit 90; there 1
        btrfs qgroup limit -e none 1/0 /.snapshots; transactional-update -q run true"#;
    machine
        .boot(script)
        .succeeds()
        .says("head: error writing 'standard output': Disk quota exceeded")
        .says("or raise the limit of their quota group, where they have one")
        .says("Disk quota exceeded (os error 122)")
        .says("The limit of a quota group is reached (`btrfs qgroup show -re` shows them)");
    machine.holds(&[1, 2], 2);
}

/// At its limit, btrfs does not even let a subvolume be deleted out of a member.
#[test]
fn a_nested_etc_that_a_quota_group_does_not_let_go_is_told_and_goes_when_there_is_room() {
    let machine = in_quota_group(Variant::NestedSqlite);
    let script = r#"
        transactional-update -q boot-complete; sync -f /.snapshots
        held=$(btrfs qgroup show -e --raw /.snapshots | awk '$1 == "1/0" { print $3 }')
        btrfs qgroup limit -e $((held + (8 << 20))) 1/0 /.snapshots
        transactional-update run sh -c 'head -c 20M /dev/urandom > /usr/big'; [ $? = 1 ] || exit 98
        btrfs subvolume get-default / | grep -q /1/snapshot || exit 97
        btrfs qgroup limit -e none 1/0 /.snapshots; transactional-update -q run true"#;
    machine
        .boot(script)
        .succeeds()
        .says("failed with status 1; snapshot 2 could not be removed, the next command removes it")
        .says("The limit of a quota group is reached");
    machine.holds(&[1, 2], 2);
}
