#!/bin/bash
# systemd-versions.sh [SUITE...]: boots machines with another systemd into updates: bookworm's (252, which knows no trigger in /etc and no
# soft-reboot) and sid's (the newest). The tests are those of `make test`, which boots trixie's (257; FX_SUITE, see
# tests/fixture/base.sh). Where a version lacks what a test is about, the test asks the machine for its version and says that it
# does not apply. 10 minutes each, both by default.
# The control shows that FX_SUITE is read: with one that does not exist the tests fail.
# Area: src/offline units tests/fixture/base.sh tests/fixture/boot.sh tests/it/boot_offline.rs tests/it/boot_generator.rs
# Rows: systemd-versions-bookworm systemd-versions-sid
# Appends a row to docs/proofs.tsv for each that succeeds: a point is a test. Logs: target/proof/systemd-versions-SUITE.log.
. "$(dirname "$0")/../fixture/env.sh"
. "$(dirname "$0")/row.sh"
[ "$(id -u)" = 0 ] || die "needs root: it mounts scratch images"
MODULES=(boot_offline:: boot_generator::)
[ $# -gt 0 ] || set -- bookworm sid
for suite; do case $suite in bookworm|sid) ;; *) die "no suite $suite; there are: bookworm sid";; esac; done
mkdir -p "$PROJECT/target/proof"; cd "$PROJECT"
run() { "${CARGO:-cargo}" test --locked --test it -- --nocapture --test-threads=2 "$@"; }

LOG=$PROJECT/target/proof/systemd-versions-control.log
if FX_SUITE=none run boot_generator::a_directory_as_trigger > "$LOG" 2>&1; then die "the control should fail: FX_SUITE is not read"; fi
grep -q 'FX_SUITE is none' "$LOG" || die "the control failed for another reason, see $LOG"
W=$(mktemp -d "$CACHE/proof.XXXXXX"); trap 'rm -rf "$W"' EXIT
for suite; do
  STARTED=$SECONDS LOG=$PROJECT/target/proof/systemd-versions-$suite.log
  FX_SUITE=$suite run "${MODULES[@]}" > "$LOG" 2>&1 || die "$suite: failed, see $LOG: $(grep '^test .*FAILED$' "$LOG" || :)"
  passed=$(sed -n 's/^test result: ok\. \([0-9]*\) passed;.*/\1/p' "$LOG" | tail -n 1)
  apart=$(grep -c 'does not apply to systemd' "$LOG" || :)
  [ $((${passed:-0} - apart)) -gt 20 ] || die "only $((${passed:-0} - apart)) tests ran, see $LOG"
  copy "$(FX_SUITE=$suite "$HERE/template.sh" rw-sqlite)" "$W/disk.img"
  versions="linux $(uname -r)$("$HERE/enter.sh" "$W/disk.img" dpkg-query -W -f ', ${Package} ${Version}' systemd zypper rpm), $apart more do not apply"
  row "systemd-versions-$suite" $((passed - apart)) 0 $((passed - apart)) 0 1 - "$versions" "$LOG"
done
