#!/bin/bash
# sysupdate.sh PROGRAM: how long sysupdate (PROGRAM) takes to list and to check 10, 1,000 and 10,000 versions of 4 transfers beside
# systemd-sysupdate 257 and 262, in turns, on the same files: in a directory, in a manifest beside them, and in one from a server on
# this machine. Whole processes. Prints medians and ratios, for people and as a table for README.md. 20 min, most of it for theirs. Needs
# root. The exit code is 0 also when a goal is not met: figures of a busy machine are no failure.
#   ROUNDS=3                    how often each is run, ours five times as often
#   COUNTS="10 1000 10000"      how many versions
#   SOURCES="directory file http"   where from
. "$(dirname "$0")/sysupdate-beside.sh"
ROUNDS=${ROUNDS:-3} COUNTS=${COUNTS:-10 1000 10000} SOURCES=${SOURCES:-directory file http}
EMPTY=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
serve

# versions SOURCE COUNT: 4 transfers from what has COUNT versions of each, to a directory that has the oldest
versions() {
  local t v dir=$DIR/www/$2 kind=url-file from
  case $1 in directory) kind=regular-file from=$dir/source;; file) from=file://$dir;; http) from=$ADDRESS/$2;; esac
  rm -rf "$dir"; mkdir -p "$dir/d" "$dir/source" "$dir/target"
  for t in a b c e; do
    printf '%s\n' '[Source]' "Type=$kind" "Path=$from" "MatchPattern=${t}_@v.raw" \
      '[Target]' Type=regular-file "Path=$dir/target" "MatchPattern=${t}_@v.raw" > "$dir/d/$t.transfer"
    for ((v = 1; v <= $2; v++)); do printf '%s\n' "${t}_1.$v.raw"; done
    touch "$dir/target/${t}_1.1.raw"
  done > "$dir/names"
  if [ "$1" = directory ]; then (cd "$dir/source" && xargs touch < "$dir/names")
  else sed "s/^/$EMPTY  /" "$dir/names" > "$dir/SHA256SUMS"; fi
}

call() { "$@" "--definitions=$DIR/www/$count/d" --verify=no "$verb"; }
# the fast one more often: what else runs meanwhile makes more of a difference to it
mine() { for _ in 1 2 3 4 5; do call ours; done; }
p257() { call theirs 257; }
p262() { call theirs 262; }

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

echo "Medians of $ROUNDS rounds in turns; $(machine)"
for source in $SOURCES; do
  declare -A took=()
  for count in $COUNTS; do
    versions "$source" "$count"
    # the first call of each reads what there is from disk, and shows that both find the same
    for verb in list check-new; do
      for run in mine p257 p262; do $run > "$DIR/first"; done
      for peer in 257 262; do
        cmp -s "$DIR/ours" "$DIR/$peer" || die "systemd-sysupdate $peer has another answer to $verb of $count versions: $(diff "$DIR/ours" "$DIR/$peer" | head -5)"
      done
      turns "$source-$count-$verb" "$ROUNDS" mine p257 p262
      figures=$DIR/figures/$source-$count-$verb
      took[$count-$verb]=$(median "$figures-mine" 1)
      most "$figures-mine" 3 >> "$DIR/memory"
      goal=; [ "$count" -lt 10000 ] || goal=50
      for peer in 257 262; do
        tell "$verb, $count versions x 4, $source" "${took[$count-$verb]}" "systemd-sysupdate $peer" "$(median "$figures-p$peer" 1)" "$goal"
      done
    done
    rm -rf "${DIR:?}/www/$count"
  done
  for verb in list check-new; do
    [ -n "${took[1000-$verb]:-}" ] && [ -n "${took[10000-$verb]:-}" ] || continue
    awk -v verb="$verb" -v few="${took[1000-$verb]}" -v many="${took[10000-$verb]}" 'BEGIN {
      printf "%s of 10,000 takes %.1f times as long as of 1,000; at most 15: %s\n", verb, many / few, many <= 15 * few ? "met" : "not met" }'
  done
done
awk -v most="$(sort -n "$DIR/memory" | tail -n 1)" 'BEGIN { printf "most memory of ours: %.1f MiB; less than 64: %s\n", most / 1024, most < 65536 ? "met" : "not met" }'
echo "at the end: $(machine)"
printf '\n| what | ours | beside | time | ratio | goal |\n|---|---|---|---|---|---|\n%s' "$ROWS"
