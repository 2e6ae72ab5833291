//! Disks that fill up at any point of any command, and disks that fail in one kind of block.

use crate::fx::{Machine, Variant};
use crate::root_disk::{BadDisk, sectors_of};

/// `full_at POINT STATE WORDS…` does a command, of which the disk is full from a failpoint on; `STATE` makes what it
/// works on. Then the default snapshot is 1 or, after success, `$NEW`; and recovery succeeds on the full disk.
pub(crate) const FULL: &str = r#"
default() { btrfs subvolume get-default / | sed -E 's|.*snapshots/([0-9]+)/.*|\1|'; }
# until what was deleted is gone: its space would come back in the middle
gone() { btrfs filesystem sync /.snapshots; while [ -n "$(btrfs subvolume list -d /.snapshots)" ]; do sleep .02; done; }
reset() {
  btrfs subvolume set-default $(btrfs inspect-internal rootid /) /.snapshots
  for n in $(ls /.snapshots); do [ $n = 1 ] || {
    [ ! -e /.snapshots/$n/snapshot ] || { btrfs property set -f -ts /.snapshots/$n/snapshot ro false; btrfs -q subvolume delete -R /.snapshots/$n/snapshot; }
    rm -r /.snapshots/$n; }; done
  gone; }
most() { fallocate -l $(( $(df -k --output=avail /var | tail -1) - 131072 ))K /var/taken; }
fill() {
  fallocate -l $(( $(df -k --output=avail /var | tail -1) - 8192 ))K /var/fill
  dd if=/dev/zero bs=1M status=none 2>/dev/null >> /var/fill; sync -f /var; :; }
wrong() { echo "$point: $*: status $code, default $(default), there $(ls -A /.snapshots | xargs)"; cat /run/out; exit 98; }
half() { grep -l 'transactional-update-in-progress' /.snapshots/*/info.xml; ls -A /.snapshots | grep -vx '[0-9]*'; }
full_at() {
  local point=$1 state=$2; shift 2
  reset; eval "$state"; before=$(default); rm -f /run/reached /run/go
  TU_FAILPOINTS=$point=touch:/run/reached,$point=wait:/run/go "$@" >/run/out 2>&1 & p=$!
  until [ -e /run/reached ]; do kill -0 $p 2>/dev/null || { code=-1; wrong "was not reached"; }; sleep .02; done
  fill; touch /run/go; code=0; wait $p || code=$?
  case $code in
    0) [ $(default) = $NEW ] || wrong "not the new one";;
    1) failed=$((failed + 1)); [ $(default) = $before ] || [ $(default) = $NEW ] || wrong "not the old one"; grep -q '^Error: ' /run/out || wrong "no word";;
    *) wrong "strange";;
  esac
  transactional-update status >/dev/null || wrong "no status"
  transactional-update recover >/run/out 2>&1 || wrong "recovery"
  [ "$state" = 'tukit -q open >/dev/null' ] || [ -z "$(half)" ] || wrong "half: $(half)"
  rm /var/fill; gone
  transactional-update -q run true >/run/out 2>&1 || { code=$?; wrong "the next one"; }; }
everywhere() { # STATE WORDS...
  local state=$1; shift
  reset; eval "$state"; rm -f /run/points
  TU_FAILPOINTS='*=log:/run/points' "$@" >/run/out 2>&1 || { echo "undisturbed: $?"; cat /run/out; exit 97; }
  points=$(awk '!seen[$0]++' /run/points | grep -xE "${ONLY:-.*}"); [ $(echo "$points" | wc -l) -ge $LEAST ] || exit 96
  failed=0; for point in $points; do full_at $point "$state" "$@"; done
  echo points $(echo "$points" | wc -l) failed $failed; }
"#;

/// The disk is full from each point of a command on; there are `least` of them or more, and at some of them the command
/// fails, or at none.
#[track_caller]
fn full_everywhere(variant: Variant, state: &str, words: &str, new: u32, least: u32, fails: bool) {
    full_of_everywhere("", variant, state, words, new, least, fails);
}

/// The same; `of` may define anew what `most` and `fill` take away.
#[track_caller]
pub(crate) fn full_of_everywhere(
    of: &str,
    variant: Variant,
    state: &str,
    words: &str,
    new: u32,
    least: u32,
    fails: bool,
) {
    let machine = Machine::of_size(variant, "700M");
    let script = format!(
        "{FULL} {of} NEW={new} LEAST={least}; transactional-update -q boot-complete; most; everywhere '{state}' {words}"
    );
    let ran = machine.boot(&script).succeeds();
    let none = ran.stdout.trim_end().ends_with("failed 0");
    assert_eq!(none, !fails, "{ran}");
    machine
        .boot("rm -r /var/taken; transactional-update -q recover")
        .succeeds();
    machine.tu("run true").succeeds();
}

pub(crate) const PENDING: &str = "transactional-update -q run touch /usr/new";

#[test]
fn a_disk_that_is_full_from_any_point_of_a_run_leaves_the_old_system_or_the_whole_new_one() {
    for variant in [Variant::RoSqlite, Variant::NestedSqlite] {
        let words = "transactional-update run touch /usr/new";
        full_everywhere(variant, ":", words, 2, 12, true);
    }
}

#[test]
fn a_disk_that_is_full_from_any_point_of_an_installation_leaves_the_old_system_or_the_whole_new_one()
 {
    let words = "transactional-update -n pkg install fx-etc";
    full_everywhere(Variant::RoSqlite, ":", words, 2, 12, true);
}

#[test]
fn a_disk_that_is_full_from_any_point_of_dropping_an_update_stops_nothing() {
    let words = "transactional-update discard";
    full_everywhere(Variant::NestedSqlite, PENDING, words, 1, 5, false);
}

#[test]
fn a_disk_that_is_full_from_any_point_of_going_back_or_a_clean_up_stops_nothing() {
    let old = format!("{PENDING}; transactional-update -q rollback");
    let words = "transactional-update rollback 2";
    full_everywhere(Variant::RoSqlite, &old, words, 2, 3, false);
    let words = "transactional-update rollback";
    full_everywhere(Variant::RoSqlite, PENDING, words, 1, 3, false);
    let unmarked = format!("{old}; sed -i /cleanup/d /.snapshots/2/info.xml");
    let words = "transactional-update cleanup";
    full_everywhere(Variant::RoSqlite, &unmarked, words, 1, 2, false);
}

#[test]
fn a_disk_that_is_full_from_any_point_of_closing_leaves_the_old_system_or_the_whole_new_one() {
    let state = "tukit -q open >/dev/null";
    full_everywhere(Variant::RoSqlite, state, "tukit close 2", 2, 6, true);
}

#[test]
fn a_file_system_that_is_mounted_read_only_is_refused_before_anything_is_done() {
    let machine = Machine::new();
    let script = r#"mount -o remount,ro /.snapshots || exit 97
        for words in 'run true' '-n pkg install fx-etc'; do
          text=$(transactional-update $words 2>&1); [ $? = 1 ] || exit 98; echo "$text"; done
        transactional-update status && transactional-update list || exit 96; exit 1"#;
    machine
        .boot(script)
        .exits(1)
        .says("/.snapshots is mounted read-only")
        .says("mount -o remount,rw /.snapshots")
        .does_not_say("Base:");
    machine.holds(&[1], 1);
}

#[test]
fn a_database_of_packages_that_cannot_be_read_stops_the_installation_and_nothing_else() {
    let machine = Machine::new();
    machine.tu("boot-complete").succeeds();
    let sectors = sectors_of(&machine, 1, "usr/lib/sysimage/rpm/rpmdb.sqlite");
    let bad = BadDisk::failing(&machine, sectors, "read");
    let ran = machine.boot_on(
        &bad.export,
        "transactional-update -n pkg install fx-etc; [ $? = 1 ] || exit 98
         transactional-update run true && transactional-update discard",
    );
    drop(bad);
    ran.succeeds().says("Error: ");
    machine.holds(&[1], 1);
    machine.tu("-n pkg install fx-etc").succeeds();
    machine.holds(&[1, 2], 2);
}
