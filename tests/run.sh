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
cycles() { # cycles FILE: the boots that it has, the median and the longest of each scenario
  sort -t $'\t' -k 1,2 -k 3n "$1" | awk -F '\t' '
    function put() { if (n) line = line sprintf(", %s %.2f (%.2f) s", what, s[int((n + 1) / 2)], s[n]); n = 0 }
    function end() { put(); if (name != "") print "cycle " name ": " substr(line, 3); line = "" }
    $1 != name { end() }
    $2 != what { put() }
    { name = $1; what = $2; s[++n] = $3 }
    END { end() }'
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
# how long each cycle of update boot and next boot took: median (longest)
TU_CYCLES=$(mktemp); export TU_CYCLES
trap 'cycles "$TU_CYCLES"; rm "$TU_CYCLES"' EXIT
tier "real btrfs, zypper and rpm" "$CARGO" test --locked --test it -- --test-threads="$threads" "$@"
# a filter is one of the tests before
[ $# -gt 0 ] || tier "power cuts" "$CARGO" test --locked --test powercut -- --nocapture --test-threads="$threads"
