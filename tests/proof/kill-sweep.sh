#!/bin/bash
# kill-sweep.sh: every command that changes something, stopped at every failpoint in all five ways, the same while recovering from each
# of them, and killed at every system call that changes something. An hour.
# The tests are those of `make test`, which take turns with the ways where a point is met again (CRASH_ALL, see tests/it/kill_matrix.rs). The
# control is a judge that is given facts that must not be: each has to be refused.
# Area: src tests/fixture/crash.sh tests/it/crash.rs tests/it/kill_matrix.rs tests/it/kill_recovery.rs tests/it/kill_sweep.rs
# Appends a row to docs/proofs.tsv when it succeeds. The log is target/proof/kill-sweep.log.
. "$(dirname "$0")/../fixture/env.sh"
. "$(dirname "$0")/row.sh"
[ "$(id -u)" = 0 ] || die "needs root: it mounts scratch images"
need strace strace
LOG=$PROJECT/target/proof/kill-sweep.log; mkdir -p "$(dirname "$LOG")"
cd "$PROJECT"

CRASH_ALL=1 "${CARGO:-cargo}" test --locked --test it -- kill_ --test-threads=2 --nocapture > "$LOG" 2>&1 ||
  die "failed, see $LOG: $(grep '^test .* FAILED' "$LOG")"
# "crash: N cases, N old, N new" of each machine; "crash: N controls refused"
read -r cases old new controls < <(awk '/^crash: .* cases/ {c += $2; o += $4; n += $6} /^crash: .* controls/ {k += $2}
  END {print c + 0, o + 0, n + 0, k + 0}' "$LOG")
[ "$cases" -gt 3000 ] || die "only $cases cases, see $LOG"
[ "$controls" -gt 0 ] || die "no control was refused, see $LOG"

W=$(mktemp -d "$CACHE/proof.XXXXXX"); trap 'rm -rf "$W"' EXIT
copy "$("$HERE/template.sh" ro-sqlite)" "$W/disk.img"
versions="linux $(uname -r), $(strace -V | sed -n 's/^strace -- version/strace/p')$("$HERE/enter.sh" "$W/disk.img" dpkg-query -W -f ', ${Package} ${Version}' btrfs-progs zypper rpm)"
row kill-sweep "$cases" "$old" "$new" 0 "$controls" - "$versions" "$LOG"
