#!/bin/bash
# side-by-side.sh PROGRAM: how long PROGRAM takes beside the same work with plain commands, in the same boot of the same scratch
# machine, in turns. Prints medians and ratios, for people and as a table for README.md. 20 s. Needs root. The exit code is 0 also when a
# goal is not met: figures of a busy machine are no failure.
#   ROUNDS=11   how often each is run
. "$(dirname "$0")/../tests/fixture/env.sh"
FIXTURE=$(cd "$(dirname "${BASH_SOURCE[0]}")/../tests/fixture" && pwd -P)
[ "$(id -u)" = 0 ] || die "needs root: it mounts a scratch image (nothing of this system is changed)"
PROGRAM=$(realpath "${1:?usage: side-by-side.sh PROGRAM}")
ROUNDS=${ROUNDS:-11}
TEMPLATE=$("$FIXTURE/template.sh" ro-sqlite)
DIR=$(mktemp -d "$CACHE/bench.XXXXXX")
trap 'rm -rf "$DIR"' EXIT
copy "$TEMPLATE" "$DIR/disk.img"
# without the times of its steps: taking them takes time
sed 's/^lap() .*/lap() { :; }/' "$FIXTURE/tx-by-hand.sh" > "$DIR/tx-by-hand.sh"

# boot SCRIPT: runs it in the machine. `timed NAME COMMAND...` there prints NAME and milliseconds.
boot() {
  FX_BIND="$PROGRAM:/run/tu/transactional-update $DIR/tx-by-hand.sh:/run/tu/tx-by-hand.sh" \
    "$FIXTURE/enter.sh" "$DIR/disk.img" bash -c "PATH=/run/tu:\$PATH; ROUNDS=$ROUNDS; set -euo pipefail
      $(declare -f timed back raw); $1"; }

# what runs in the machine
timed() {
  local name=$1 start=$EPOCHREALTIME us; shift
  "$@" >/run/out 2>&1 || { echo "$name failed:" >&2; cat /run/out >&2; exit 1; }
  us=$(( ${EPOCHREALTIME/./} - ${start/./} ))
  printf '%s\t%d.%03d\n' "$name" $((us / 1000)) $((us % 1000)); }

# the machine as it was
back() {
  btrfs subvolume set-default "$(btrfs inspect-internal rootid /.snapshots/1/snapshot)" /.snapshots
  btrfs -q subvolume delete /.snapshots/2/snapshot; rm -r /.snapshots/2
  sync -f /.snapshots; }

# a transaction without content, by hand: what is needed so that it survives a power cut, without any metadata
raw() {
  mkdir /.snapshots/2
  btrfs -q subvolume snapshot /.snapshots/1/snapshot /.snapshots/2/snapshot
  btrfs property set -ts /.snapshots/2/snapshot ro true
  sync -f /.snapshots
  btrfs subvolume set-default "$(btrfs inspect-internal rootid /.snapshots/2/snapshot)" /.snapshots
  sync -f /.snapshots; }

# the scripts are for the machine, not for this shell
# shellcheck disable=SC2016
measure() {
  boot '
    turn() { if [ $1 = 0 ]; then timed empty transactional-update -q run true; else timed raw raw; fi; back; }
    turn 0 >/dev/null; turn 1 >/dev/null
    for ((i = 0; i < ROUNDS; i++)); do turn $((i % 2)); turn $((1 - i % 2)); done'
  boot '
    by_hand() { bash /run/tu/tx-by-hand.sh install -y fx-lib; }
    turn() { if [ $1 = 0 ]; then timed install transactional-update -q -n pkg install fx-lib; else timed install-by-hand by_hand; fi
      back; }
    turn 0 >/dev/null; turn 1 >/dev/null
    for ((i = 0; i < ROUNDS; i++)); do turn $((i % 2)); turn $((1 - i % 2)); done'
  # many at a time share a commit, and without barriers none waits for the disk
  boot '
    mount -o remount,nobarrier /.snapshots
    for ((n = 2; n <= 1000; n++)); do
      mkdir /.snapshots/$n
      echo "<?xml version=\"1.0\"?><snapshot><type>single</type><num>$n</num><date>2026-01-02 03:04:05</date><description>number $n</description><cleanup>number</cleanup></snapshot>" > /.snapshots/$n/info.xml
    done
    seq 2 1000 | xargs -P 50 -I{} btrfs -q subvolume snapshot -r /.snapshots/1/snapshot /.snapshots/{}/snapshot'
  boot '
    status() { transactional-update status; }
    list() { transactional-update list; }
    snapper_list() { snapper --no-dbus -c root list; }
    commands=(status list snapper_list)
    for ((i = 0; i <= ROUNDS; i++)); do
      for ((k = 0; k < 3; k++)); do c=${commands[(i + k) % 3]}; timed $c $c; done
    done | tail -n +4'
}
measure > "$DIR/figures"

median() { awk -F'\t' -v n="$1" '$1 == n { print $2 }' "$DIR/figures" | sort -n | awk '{ v[NR] = $1 } END { printf "%.1f", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
rows=()
compare() { # TEXT OURS TEXT OTHER GOAL
  local ours other ratio verdict
  ours=$(median "$2"); other=$(median "$4"); ratio=$(awk -v a="$ours" -v b="$other" 'BEGIN { printf "%.2f", a / b }')
  verdict=$(awk -v r="$ratio" -v g="$5" 'BEGIN { print r <= g ? "met" : "not met" }')
  printf '%-46s %8s ms   %-44s %8s ms   %5sx   at most %sx: %s\n' "$1" "$ours" "$3" "$other" "$ratio" "$5" "$verdict"
  rows+=("| $1 | $ours ms | $3 | $other ms | ${ratio}x | $5x: $verdict |"); }

echo "Medians of $ROUNDS rounds in turns; Linux $(uname -r), $(nproc) CPUs, load $(cut -d' ' -f1 /proc/loadavg), disk: a file, btrfs"
echo
compare "empty transaction: run true" empty "snapshot, set ro, sync, set-default, sync" raw 2.00
compare "pkg install of one small package" install "the same with plain commands" install-by-hand 1.10
compare "status, 1,000 snapshots" status "snapper list" snapper_list 1.00
compare "list, 1,000 snapshots" list "snapper list" snapper_list 1.00
echo
echo "| what | ours | beside | time | ratio | goal |"
echo "|---|---|---|---|---|---|"
printf '%s\n' "${rows[@]}"
