#!/bin/bash
# fuzz.sh: fuzzes what is read of the RPM database, its headers and whole databases of ndb, and of A/B updates, their patterns, transfer files,
# manifests, payloads of every format, archives and disks, each of them FUZZ_SECONDS (default 600; together 80 min), from the corpus in fuzz/corpus.
# Whatever the bytes are: no panic, no hang, no memory without bound, nothing is written beside the tree of an archive or the table of a disk, and what is read is as
# promised (fuzz/src/lib.rs). The controls run the same with a mistake that has to be found. Needs root, for devices and owners in archives.
#   FUZZ_TARGETS="sysupdate_archive ..."   only these
# Area: src/rpmdb src/sysupdate fuzz
# cargo-fuzz is taken from PATH, or built into the cache; a stable compiler will do. Appends a row to docs/proofs.tsv for each that succeeds: a
# point is an input that reaches what no other one does, all of them are read or refused as they should ("new"). The log is
# target/proof/fuzz-TARGET.log; an input that was a finding is in fuzz/artifacts.
. "$(dirname "$0")/../fixture/env.sh"
. "$(dirname "$0")/row.sh"
need g++ g++
CARGO=${CARGO:-cargo} VERSION=0.13.2
read -ra TARGETS <<< "${FUZZ_TARGETS:-rpmdb_header rpmdb_ndb sysupdate_pattern sysupdate_transfer sysupdate_manifest sysupdate_payload sysupdate_archive sysupdate_disk}"
SECONDS_EACH=${FUZZ_SECONDS:-600}
[ "$(id -u)" = 0 ] || die "must be root"
FUZZ_TARGET=${FUZZ_TARGET:-$PROJECT/target/fuzz}
mkdir -p "$PROJECT/target/proof"
W=$(mktemp -d "$CACHE/proof.XXXXXX"); trap 'rm -rf "$W"' EXIT
export RUSTC_BOOTSTRAP=1              # sanitizers and coverage of a stable compiler
cd "$PROJECT"
PATH=$CACHE/cargo-fuzz-$VERSION/bin:$PATH
command -v cargo-fuzz > /dev/null || env -u RUSTC_BOOTSTRAP "$CARGO" install --locked --quiet "cargo-fuzz@$VERSION" --root "$CACHE/cargo-fuzz-$VERSION"

# fuzz TARGET SECONDS: what is found new goes into $W/TARGET, not into the corpus that is kept
SEED=$((RANDOM * RANDOM + 1))
fuzz() {
  mkdir -p "$W/$1"
  "$CARGO" fuzz run --target-dir "$FUZZ_TARGET" "$1" "$W/$1" "fuzz/corpus/$1" -- \
    -max_total_time="$2" -timeout=10 -rss_limit_mb=1024 -max_len=16384 -seed="$SEED" -print_final_stats=1; }

for target in "${TARGETS[@]}"; do
  say "fuzz: $target, $SECONDS_EACH s"
  STARTED=$SECONDS LOG=$PROJECT/target/proof/fuzz-$target.log
  : > "$LOG"
  fuzz "$target" "$SECONDS_EACH" > "$W/log" 2>&1 || { cat "$W/log" >> "$LOG"; die "$target: a finding, or it does not run, see $LOG and fuzz/artifacts"; }
  cat "$W/log" >> "$LOG"
  n=$(sed -n 's/^stat::number_of_executed_units: *//p' "$W/log"); [ "${n:-0}" -gt 1000 ] || die "$target: not more than ${n:-0} inputs, see $LOG"
  c=$(sed -n 's|.* corp: \([0-9]*\)/.*|\1|p' "$W/log" | tail -n 1); [ "${c:-0}" -gt 1 ] || die "$target reaches nothing, see $LOG"
  say "fuzz: $target: $n inputs, $c of them reach something of their own"
  mkdir "$W/control-$target"
  if FUZZ_CONTROL=1 "$CARGO" fuzz run --target-dir "$FUZZ_TARGET" "$target" "fuzz/corpus/$target" -- -runs=1 -artifact_prefix="$W/control-$target/" >> "$LOG" 2>&1; then
    die "$target: the control found nothing, see $LOG"; fi
  [ -n "$(ls "$W/control-$target")" ] || die "$target: the control failed in another way, see $LOG"
  row "fuzz-${target//_/-}" "$c" 0 "$c" 0 1 "$SEED" "$(rustc --version | cut -d' ' -f1-2), cargo-fuzz $VERSION, $n inputs" "$LOG"
done
