#!/bin/bash
# sysupdate-peer.sh: ours and systemd-sysupdate 262 (or later, of Debian's sid) do the same with the same definitions and servers, and
# with what the other one wrote or was killed in. The tests are those of `make test`, which has them with 257 of trixie (FX_PEER, see
# tests/it/compat/mod.rs); each failpoint of ours is tried here. 5 minutes.
# The controls show that FX_PEER is read, and that a row too much and a row too few in the table of differences fail.
# Area: src/sysupdate src/cli/sysupdate tests/it/compat tests/it/root_sysupdate_peer.rs tests/it/root_sysupdate_peer_cleanup.rs tests/it/root_sysupdate_peer_cut.rs tests/it/root_sysupdate_peer_payload.rs tests/it/root_sysupdate_peer_slots.rs tests/it/root_sysupdate_peer_states.rs tests/it/root_sysupdate_peer_verbs.rs tests/fixture/peer-sysupdate.sh
# Appends a row to docs/proofs.tsv when it succeeds: a point is a call that both were compared in. The log is target/proof/sysupdate-peer.log.
. "$(dirname "$0")/../fixture/env.sh"
. "$(dirname "$0")/row.sh"
[ "$(id -u)" = 0 ] || die "needs root: the peer runs in a tree of its own"
export LC_ALL=C.UTF-8 FX_PEER=262
LOG=$PROJECT/target/proof/sysupdate-peer.log; mkdir -p "$(dirname "$LOG")"; cd "$PROJECT"
W=$(mktemp -d "$CACHE/proof.XXXXXX"); trap 'rm -rf "$W"' EXIT
run() { "${CARGO:-cargo}" test --locked --test it -- --nocapture --test-threads=2 "$@"; }

# control NAME TEXT VARIABLE=VALUE: with that the tests fail, and say this
control() {
  if (export "$3"; run root_sysupdate_peer_payload::archives) > "$W/log" 2>&1; then die "the control \"$1\" should fail"; fi
  grep -qF "$2" "$W/log" || { cat "$W/log" >> "$LOG"; die "the control \"$1\" failed for another reason, see $LOG"; }
}
: > "$LOG"
control "no such peer" 'FX_PEER is Ok("none")' FX_PEER=none
TABLE=tests/it/compat/differences.tsv
grep -v "^archives	262	none: " "$TABLE" > "$W/few"
control "a row too few" "none: --sync=no update: only Theirs: d 0755 /trees/.sysupdate.partial.tree_1" FX_DIFFERENCES="$W/few"
{ cat "$TABLE"; printf 'archives\t262\twhole: *\texit 7\t-\ta control\n'; } > "$W/many"
control "a row too many" "no difference any more: whole: *: only Theirs: exit 7" FX_DIFFERENCES="$W/many"

run root_sysupdate_peer >> "$LOG" 2>&1 || die "failed, see $LOG: $(grep '^test .*FAILED$' "$LOG" || :)"
calls=$(sed -n 's/^compared: .*: \([0-9]*\) calls with V262$/\1/p' "$LOG" | awk '{n += $1} END {print n + 0}')
[ "$calls" -gt 400 ] || die "only $calls calls were compared, see $LOG"
version=$(PEER_PROGRAM=/bin/sh tests/fixture/peer-sysupdate.sh 262 -c 'dpkg-query -W -f "\${Package} \${Version}" systemd-container')
row sysupdate-peer "$calls" 0 "$calls" 0 3 - "linux $(uname -r), $version, $(grep -c -P '\t(262|both)\t' "$TABLE") differences are allowed" "$LOG"
