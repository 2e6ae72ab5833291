#!/bin/bash
# run.sh [FILTER]: all tests, tier by tier, with the seconds of each. Needs root (tests/fixture/deps.sh --check says what else).
set -euo pipefail
cd "$(dirname "$0")/.."
CARGO=${CARGO:-cargo}
tier() { # tier NAME COMMAND...
  local name=$1 start=$SECONDS rc=0; shift
  "$@" || rc=$?
  printf 'tier %-28s %4d s  %s\n' "$name" $((SECONDS - start)) "$([ "$rc" = 0 ] && echo passed || echo FAILED)"
  return "$rc"
}
[ "$(id -u)" = 0 ] || { echo "make test needs root: the tests mount file systems and make namespaces" >&2; exit 1; }
tier "build" "$CARGO" test --locked --no-run --quiet
# what it is linked with shows in the program as it is shipped only
tier "build of what is shipped" "$CARGO" build --release --locked --quiet --bin transactional-update-sync-etc-state --bin create-dirs-from-rpmdb --bin transactional-update-generator
# a mistake on purpose, which the tests of power cuts have to find
tier "build of a control" "$CARGO" build --locked --quiet --features publish-early --bin transactional-update --target-dir target/powercut-control
tier "unit, architecture, golden" "$CARGO" test --locked --quiet --lib --bins --test architecture --test coverage --test man
tier "fixture" tests/fixture/template.sh ro-sqlite
# tests wait for disks and timers a third of their time. Two copies of one file system can be mounted at a time only since Linux 6.7
threads=$(($(nproc) + 1)); [ "$(printf '%s\n' 6.7 "$(uname -r)" | sort -V | head -n 1)" = 6.7 ] || threads=1
tier "real btrfs, zypper and rpm" "$CARGO" test --locked --test it -- --test-threads="$threads" "$@"
# a filter is one of the tests before
[ $# -gt 0 ] || tier "power cuts" "$CARGO" test --locked --test powercut -- --nocapture --test-threads="$threads"
