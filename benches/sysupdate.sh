#!/bin/bash
# sysupdate.sh PROGRAM: how long sysupdate (PROGRAM) takes to list and to check 10, 1,000 and 10,000 versions of 4 transfers beside
# systemd-sysupdate 257 and 262, in turns, on the same files. Whole processes. Prints medians and ratios, for people and as a table for
# README.md. 5 min, most of it for theirs. Needs root. The exit code is 0 also when a goal is not met: figures of a busy machine are no failure.
#   ROUNDS=3                 how often each is run
#   COUNTS="10 1000 10000"   how many versions
. "$(dirname "$0")/../tests/fixture/env.sh"
FIXTURE=$(cd "$(dirname "${BASH_SOURCE[0]}")/../tests/fixture" && pwd -P)
[ "$(id -u)" = 0 ] || die "needs root: it calls chroot"
PROGRAM=$(realpath "${1:?usage: sysupdate.sh PROGRAM}")
ROUNDS=${ROUNDS:-3} COUNTS=${COUNTS:-10 1000 10000}
DIR=$(mktemp -d "$CACHE/bench.XXXXXX")
trap 'rm -rf "$DIR"' EXIT

# versions COUNT: 4 transfers from a directory that has COUNT versions of each, to one that has the oldest
versions() {
  local t v dir=$DIR/$1
  mkdir -p "$dir/d" "$dir/source" "$dir/target"
  for t in a b c e; do
    printf '%s\n' '[Source]' Type=regular-file "Path=$dir/source" "MatchPattern=${t}_@v.raw" \
      '[Target]' Type=regular-file "Path=$dir/target" "MatchPattern=${t}_@v.raw" > "$dir/d/$t.transfer"
    for ((v = 1; v <= $1; v++)); do printf '%s\n' "$dir/source/${t}_1.$v.raw"; done | xargs -r touch
    touch "$dir/target/${t}_1.1.raw"
  done
}

# milliseconds of one call, to standard output
TIMED='b=${EPOCHREALTIME/./}; "$@" > "$OUT"; e=${EPOCHREALTIME/./}; echo $(((e - b) / 1000)).$(((e - b) % 1000 / 100))'
# ours COUNT VERB, theirs VERSION COUNT VERB: one call of a program
ours() { OUT=$DIR/ours bash -ec "$TIMED" ours "$PROGRAM" "--definitions=$DIR/$1/d" --verify=no "$2"; }
theirs() {
  PEER_BIND=$DIR:$DIR PEER_PROGRAM=/usr/bin/bash "$FIXTURE/peer-sysupdate.sh" "$1" -ec \
    "OUT=\$1; shift; for p in /usr/lib/systemd/systemd-sysupdate /usr/bin/systemd-sysupdate; do [ ! -x \$p ] || program=\$p; done
     set -- \$program \"\$@\"; $TIMED" theirs "$DIR/$1" "--definitions=$DIR/$2/d" --verify=no "$3" 2> "$DIR/said" || { cat "$DIR/said" >&2; die "systemd-sysupdate $1 failed"; }
}
median() { sort -n | sed -n "$(((ROUNDS + 1) / 2))p"; }

declare -A OURS
ROWS=
# tell WHAT OURS BESIDE THEIRS GOAL: a line for people, and one of the table
tell() {
  local line
  line=$(awk -v what="$1" -v ours="$2" -v name="$3" -v theirs="$4" -v goal="$5" 'BEGIN {
    ratio = theirs / (ours > 0 ? ours : 0.1)
    met = goal == "" ? "-" : sprintf("%sx: %s", goal, ratio >= goal ? "met" : "not met")
    printf "| %s | %.1f ms | %s | %.1f ms | %.1fx | %s |", what, ours, name, theirs, ratio, met }')
  echo "$line" | tr -d '|' | sed 's/^ //'
  ROWS+=$line$'\n'
}

echo "Medians of $ROUNDS rounds in turns; Linux $(uname -r), $(nproc) CPUs, load $(cut -d' ' -f1 /proc/loadavg)"
for count in $COUNTS; do
  versions "$count"
  # the first call of each reads the directory from disk, and shows that both find the same
  for peer in 257 262; do theirs "$peer" "$count" list > /dev/null; done
  ours "$count" list > /dev/null
  for peer in 257 262; do
    cmp -s "$DIR/ours" "$DIR/$peer" || die "systemd-sysupdate $peer lists $count versions in another way: $(diff "$DIR/ours" "$DIR/$peer" | head -5)"
  done
  for verb in list check-new; do
    for ((r = 0; r < ROUNDS; r++)); do
      ours "$count" "$verb" >> "$DIR/$count-$verb-ours"
      for peer in 257 262; do theirs "$peer" "$count" "$verb" >> "$DIR/$count-$verb-$peer"; done
    done
    mine=$(median < "$DIR/$count-$verb-ours")
    OURS[$count-$verb]=$mine
    goal=; [ "$count" -lt 10000 ] || goal=50
    for peer in 257 262; do
      tell "$verb, $count versions x 4" "$mine" "systemd-sysupdate $peer" "$(median < "$DIR/$count-$verb-$peer")" "$goal"
    done
  done
  rm -rf "${DIR:?}/$count"
done
for verb in list check-new; do
  [ -n "${OURS[1000-$verb]:-}" ] && [ -n "${OURS[10000-$verb]:-}" ] || continue
  awk -v verb="$verb" -v few="${OURS[1000-$verb]}" -v many="${OURS[10000-$verb]}" 'BEGIN {
    printf "%s of 10,000 takes %.1f times as long as of 1,000; at most 15: %s\n", verb, many / few, many <= 15 * few ? "met" : "not met" }'
done
printf '\n| what | ours | beside | time | ratio | goal |\n|---|---|---|---|---|---|\n%s' "$ROWS"
