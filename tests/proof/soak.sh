#!/bin/bash
# soak.sh [ROUNDS]: random commands with random deaths on two machines, ROUNDS (default 1000) in all: one with /etc in the snapshot, one
# with /etc as a subvolume. 25 minutes. After each round what boots next is the old system or the whole new one (tests/it/soak.rs).
# The controls break such a machine on purpose, in six ways, each of which has to be found.
# Area: src/snapshot src/transaction src/manage src/boot src/etc src/sandbox src/sys tests/fixture/soak.py tests/it/soak.rs tests/it/soak
# Appends a row to docs/proofs.tsv when it succeeds. The log is target/proof/soak.log.
. "$(dirname "$0")/../fixture/env.sh"
. "$(dirname "$0")/row.sh"
[ "$(id -u)" = 0 ] || die "needs root: it mounts scratch images"
ROUNDS=${1:-1000} CARGO=${CARGO:-cargo}
LOG=$PROJECT/target/proof/soak.log; mkdir -p "$(dirname "$LOG")"
W=$(mktemp -d "$CACHE/proof.XXXXXX"); trap 'rm -rf "$W"' EXIT

cd "$PROJECT"
rc=0; SOAK_ROUNDS=$((ROUNDS / 2)) SOAK_LOG=$W "$CARGO" test --locked --test it -- soak:: --test-threads=2 > "$W/test" 2>&1 || rc=$?
cat "$W/test" "$W"/*.log > "$LOG"
[ "$rc" = 0 ] || die "failed, see $LOG: $(grep '^test .* \.\.\. FAILED' "$LOG")"
controls=$(grep -c '^test soak::the_soak_finds_.* \.\.\. ok$' "$W/test" || :)
[ "$controls" = 3 ] || die "the controls did not run, see $LOG"
# soak: seed N, N rounds, N cut off, old N, new N, N boots, N s
sum() { sed -n "s/^soak: seed.* $1,.*/\1/p" "$W"/*.log | paste -sd "$2"; }
points=$(($(sum '\([0-9]*\) rounds' +))) old=$(($(sum 'old \([0-9]*\)' +))) new=$(($(sum 'new \([0-9]*\)' +)))
seeds=$(sed -n 's/^soak: seed \([0-9]*\),.*/\1/p' "$W"/*.log | paste -sd ' ')
[ "$points" = $((ROUNDS / 2 * 2)) ] && [ $((old + new)) = "$points" ] || die "$points rounds, old $old, new $new, see $LOG"

copy "$("$HERE/template.sh" ro-sqlite)" "$W/disk.img"
versions="linux $(uname -r)$("$HERE/enter.sh" "$W/disk.img" dpkg-query -W -f ', ${Package} ${Version}' btrfs-progs zypper rpm snapper)"
# each of the three tests of controls breaks a machine once or more often
row soak "$points" "$old" "$new" 0 6 "$seeds" "$versions" "$LOG"
