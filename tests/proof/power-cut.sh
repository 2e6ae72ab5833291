#!/bin/bash
# power-cut.sh [SCENARIO...]: cuts the power after each write of a command, and in each epoch for 20 caches that lose what was not
# flushed. What is on the disk then has to be the old system or the new one, and to be recovered (tests/powercut). 4 minutes and more
# for each scenario, all by default.
# The controls come first: five commands with the default switched too early, or a trigger made too early. Each has to have bad points.
# Area: src tests/powercut tests/fixture/disk.sh tests/fixture/enter.sh
# Rows: power-cut-install power-cut-install-nested-etc power-cut-install-huge power-cut-update power-cut-remove power-cut-continue power-cut-rollback power-cut-rollback-copy power-cut-discard power-cut-cleanup power-cut-etc-merge power-cut-recovery-of-a-new-snapshot power-cut-recovery-of-a-full-snapshot power-cut-recovery-of-a-removal power-cut-offline-in-place power-cut-offline-new-snapshot power-cut-offline-arm
# Appends a row to docs/proofs.tsv for each scenario that succeeds. Logs, with a line for each point: target/proof/power-cut-SCENARIO.log.
. "$(dirname "$0")/../fixture/env.sh"
. "$(dirname "$0")/row.sh"
[ "$(id -u)" = 0 ] || die "needs root: it mounts scratch images"
declare -A TESTS=(
  [install]=an_install_is_old_or_new
  [install-nested-etc]=an_install_with_a_nested_etc_is_old_or_new
  [install-huge]=an_install_of_200_megabytes_is_old_or_new
  [update]=an_update_is_old_or_new
  [remove]=a_removal_is_old_or_new
  [continue]=a_continued_update_is_old_or_new
  [rollback]=a_rollback_is_old_or_new
  [rollback-copy]=a_rollback_that_copies_is_old_or_new
  [discard]=a_discard_is_old_or_new
  [cleanup]=a_cleanup_is_old_or_new
  [etc-merge]=a_merge_of_etc_comes_to_the_same
  [recovery-of-a-new-snapshot]=the_recovery_of_a_new_snapshot_is_repeated
  [recovery-of-a-full-snapshot]=the_recovery_of_a_full_snapshot_is_repeated
  [recovery-of-a-removal]=the_recovery_of_a_removal_is_repeated
  [offline-in-place]=an_offline_update_in_place_is_old_or_new_and_known_as_what_it_is
  [offline-new-snapshot]=an_offline_update_in_a_new_snapshot_is_old_or_new_and_known_as_what_it_is
  [offline-arm]=arming_never_leads_to_an_update_boot_that_knows_of_no_update
)
ALL=(install install-nested-etc install-huge update remove continue rollback rollback-copy discard cleanup etc-merge recovery-of-a-new-snapshot recovery-of-a-full-snapshot recovery-of-a-removal
  offline-in-place offline-new-snapshot offline-arm)
[ $# -gt 0 ] || set -- "${ALL[@]}"
for name; do [ -n "${TESTS[$name]:-}" ] || die "no scenario $name; there are: ${ALL[*]}"; done
# what is shipped is what is proved
sweep() { (cd "$PROJECT" && POWERCUT=all "${CARGO:-cargo}" test --release --locked --quiet --test powercut -- --nocapture "${@/#/scenarios::}" >&2); }
count() { sed -n "2s/.*[:,] $1 \([0-9]*\)[,;].*/\1/p" "$(log "$2")"; }
log() { printf '%s/target/proof/power-cut-%s.log' "$PROJECT" "$1"; }

# build first: its time belongs to no scenario
(cd "$PROJECT" && "${CARGO:-cargo}" test --release --locked --quiet --test powercut --no-run)
versions="linux $(uname -r), $(btrfs --version | sed -n '1s/ v/ /p'), $(qemu-storage-daemon --version | sed -n '1s/.*version \([0-9.]*\).*/QEMU \1/p')"
sweep a_default_that_is_switched_early a_product_that_publishes_early a_root_that_is_changed_in_place_while_it_boots_next a_trigger_before_what_it_leads_to || die "a control was not caught"
controls=0
for name in default-early default-early-not-synced published-early offline-published-early offline-armed-early; do
  caught=$(count bad "$name"); [ "${caught:-0}" -gt 0 ] || die "control $name: no bad point in $(log "$name")"
  controls=$((controls + caught))
done
failed=()
for name; do
  # row.sh counts from it
  # shellcheck disable=SC2034
  STARTED=$SECONDS
  if sweep "${TESTS[$name]}"; then
    points=$(sed -n '2s/.*: \([0-9]*\) points on .*/\1/p' "$(log "$name")")
    row "power-cut-$name" "$points" "$(count old "$name")" "$(count new "$name")" "$(count bad "$name")" "$controls" \
      "$(sed -n '1s/^seed //p' "$(log "$name")")" "$versions" "$(log "$name")"
  else
    failed+=("$name"); fi
done
[ ${#failed[@]} = 0 ] || die "bad points in: ${failed[*]}; see target/proof/power-cut-SCENARIO.log"
