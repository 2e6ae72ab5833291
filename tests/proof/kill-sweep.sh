#!/bin/bash
# kill-sweep.sh [PART...]: every command that changes something, stopped at every failpoint in all five ways (matrix), the same while
# recovering from each of them (recovery), and killed at every system call that changes something (system-calls). An hour; all
# parts by default.
# The tests are those of `make test`, which take turns with the ways where a point is met again (CRASH_ALL, see
# tests/it/kill_matrix.rs). The control is a judge that is given facts that must not be: each has to be refused.
# Area: src tests/fixture/crash.sh tests/it/crash.rs tests/it/kill_matrix.rs tests/it/kill_recovery.rs tests/it/kill_sweep.rs
# Rows: kill-sweep-matrix kill-sweep-recovery kill-sweep-system-calls
# Appends a row to docs/proofs.tsv for each part that succeeds. Logs: target/proof/kill-sweep-PART.log.
. "$(dirname "$0")/../fixture/env.sh"
. "$(dirname "$0")/row.sh"
[ "$(id -u)" = 0 ] || die "needs root: it mounts scratch images"
need strace strace
declare -A TESTS=([matrix]=kill_matrix:: [recovery]=kill_recovery:: [system-calls]=kill_sweep::)
# so many cases at least, or not all points were tried
declare -A LEAST=([matrix]=3000 [recovery]=2000 [system-calls]=350)
[ $# -gt 0 ] || set -- matrix recovery system-calls
for part; do [ -n "${TESTS[$part]:-}" ] || die "no part $part; there are: matrix recovery system-calls"; done
mkdir -p "$PROJECT/target/proof"; cd "$PROJECT"

W=$(mktemp -d "$CACHE/proof.XXXXXX"); trap 'rm -rf "$W"' EXIT
copy "$("$HERE/template.sh" ro-sqlite)" "$W/disk.img"
versions="linux $(uname -r), $(strace -V | sed -n 's/^strace -- version/strace/p')$("$HERE/enter.sh" "$W/disk.img" dpkg-query -W -f ', ${Package} ${Version}' btrfs-progs zypper rpm)"
for part; do
  STARTED=$SECONDS LOG=$PROJECT/target/proof/kill-sweep-$part.log
  CRASH_ALL=1 "${CARGO:-cargo}" test --locked --test it -- "${TESTS[$part]}" kill_matrix::the_judge --test-threads=2 --nocapture > "$LOG" 2>&1 ||
    die "$part failed, see $LOG: $(grep '^test .* FAILED' "$LOG")"
  # "crash: N cases, N old, N new" of each machine; "crash: N controls refused"
  read -r cases old new controls < <(awk '/^crash: .* cases/ {c += $2; o += $4; n += $6} /^crash: .* controls/ {k += $2}
    END {print c + 0, o + 0, n + 0, k + 0}' "$LOG")
  [ "$cases" -gt "${LEAST[$part]}" ] || die "only $cases cases, see $LOG"
  [ "$controls" -gt 0 ] || die "no control was refused, see $LOG"
  row "kill-sweep-$part" "$cases" "$old" "$new" 0 "$controls" - "$versions" "$LOG"
done
