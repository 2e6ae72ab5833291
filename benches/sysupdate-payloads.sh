#!/bin/bash
# sysupdate-payloads.sh PROGRAM: how long sysupdate (PROGRAM) takes to install payloads of 1 GiB into a directory beside systemd-sysupdate
# 262, in turns, with the same files from the same server on this machine and from the same directory, both with their default options, and
# four transfers of 256 MiB at once; and how much memory it takes. Whole processes, sources in the page cache, sources and targets on one
# file system. Prints medians and ratios, for people and as a table for README.md. 40 min. Needs root and 8 GB. The exit code is 0 also when
# a goal is not met: figures of a busy machine are no failure; on such a one the times of the processors say more.
#   ROUNDS=5     pairs of raw and .zst; the slower ones are run SLOW=3 times
#   CASES="raw zst 4x-zst gz lz4 bz2 xz xz-blocks zst-19 slot-raw slot-zst"
#                slot-: into a partition of the image of a disk that has an older version, which is to stay until the new one is verified
#   SOURCES="http file"
#   SIZE=1024    MiB of a payload
#   PAYLOADS=DIR keeps the payloads there, on the same file system, for the next time, and takes those that are there
. "$(dirname "$0")/sysupdate-beside.sh"
ROUNDS=${ROUNDS:-5} SLOW=${SLOW:-3} SIZE=${SIZE:-1024} SOURCES=${SOURCES:-http file}
CASES=${CASES:-raw zst 4x-zst gz lz4 bz2 xz xz-blocks zst-19 slot-raw slot-zst}
need sfdisk fdisk
mkdir -p "${PAYLOADS:=$DIR/payloads}" "$DIR/d" "$DIR/target"
serve

# content: what most payloads hold: an archive of files of this machine, the same each time
content() {
  [ -s "$PAYLOADS/tar" ] || {
    find /usr -xdev -type f -print0 | LC_ALL=C sort -z | tar --null --no-recursion -T - --mtime=@0 --owner=0 --group=0 --mode=644 -cf - 2>/dev/null |
      head -c "$SIZE"M > "$PAYLOADS/tar" || :
    [ "$(stat -c %s "$PAYLOADS/tar")" = $((SIZE << 20)) ] || die "/usr has less than $SIZE MiB"; }
  cat "$PAYLOADS/tar"
}
# pack CASE: one payload, to standard output
pack() {
  case $1 in
    raw) head -c "$SIZE"M /dev/urandom;;
    zst) content | zstd -q -T0 -c;;
    zst-19) content | head -c $((SIZE / 4))M | zstd -q -T0 -19 -c || :;;
    4x-zst*) content | tail -c +$((${1#4x-zst} * (SIZE << 18) + 1)) | head -c $((SIZE / 4))M | zstd -q -T0 -c || :;;
    gz) content | gzip -c;;
    lz4) content | lz4 -q -c;;
    bz2) content | bzip2 -c;;
    xz) content | xz -6 -T1 -c;;               # one block, as xz writes it by default before 5.6
    xz-blocks) content | xz -6 -T2 -c;;        # as later ones do
  esac
}
# payload CASE NAME: in what is served
payload() {
  [ -s "$PAYLOADS/$1" ] || { say "making the payload $1"; pack "$1" > "$PAYLOADS/$1.new"; mv "$PAYLOADS/$1.new" "$PAYLOADS/$1"; }
  ln "$PAYLOADS/$1" "$DIR/www/$2"            # a link of another kind leads out of what the other one sees
  (cd "$DIR/www"; sha256sum "$2" >> SHA256SUMS)
}

# what is fetched in this case, and by which transfers
prepare() {
  local names name from n
  rm -f "$DIR"/www/* "$DIR"/d/*
  case $case in 4x-*) names="a b c e";; *) names=a;; esac
  n=0
  for name in $names; do
    case $case in 4x-*) payload "$case$n" "${name}_1.raw"; n=$((n + 1));; *) payload "${case#slot-}" "${name}_1.raw";; esac
    case $source in http) from=$ADDRESS;; file) from=file://$DIR/www;; esac
    printf '%s\n' '[Transfer]' Verify=no '[Source]' Type=url-file "Path=$from" "MatchPattern=${name}_@v.raw" \
      '[Target]' > "$DIR/d/$name.transfer"
    case $case in
      slot-*) printf '%s\n' Type=partition "Path=$DIR/target/disk" "MatchPattern=${name}_@v";;
      *) printf '%s\n' Type=regular-file "Path=$DIR/target" "MatchPattern=${name}_@v.raw";;
    esac >> "$DIR/d/$name.transfer"
  done
}
# what was installed is there: the sum of its bytes
installed() {
  case $case in
    slot-*) sfdisk -d "$DIR/target/disk" | grep -q 'name="a_1"'; tail -c +$(((1 << 20) + 1)) "$DIR/target/disk" | head -c "$BYTES" || :;;
    *) cat "$DIR"/target/?_1.raw;;
  esac
}
check() {
  local sum
  sum=$(installed | sha256sum)
  [ "${SUM:=$sum}" = "$sum" ] || die "$case from $source: $1 installs something else"
  [ "$(installed | wc -c)" = "$BYTES" ] || die "$case from $source: $1 installs something of another length"
}
# a disk with two slots, each with a version, of which the first one is to go
disk() {
  truncate -s $((2 * SIZE + 8))M "$DIR/target/disk"
  printf 'label: gpt\nsize=%sM, name="a_0.1"\nsize=%sM, name="a_0.2"\n' "$SIZE" "$SIZE" |
    sfdisk --quiet --no-tell-kernel "$DIR/target/disk"
}
# one run of COMMAND: nothing is there, and nothing is left to be written when it begins
run() {
  rm -rf "$DIR/target" "$DIR/lib/transactional-update" "$DIR/lib/systemd"; mkdir -p "$DIR/target"
  case $case in *slot-*) disk;; esac      # in turns it has the source before it
  sync -f "$DIR"
  "$@" "--definitions=$DIR/d" update
  [ -n "$CHECKED" ] || check "$1"
}
mine() { run ours; }
p262() { run theirs 262; }

ROWS=
# tell GOAL: what came out of a case
tell() {
  local figures=$DIR/figures/$source-$case line
  line=$(awk -v what="$case, $source" -v goal="$1" -v rounds="$rounds" -v a="$(median "$figures-mine" 1)" -v b="$(median "$figures-p262" 1)" \
    -v ca="$(median "$figures-mine" 2)" -v cb="$(median "$figures-p262" 2)" -v m="$(most "$figures-mine" 3)" 'BEGIN {
    ratio = b / a; met = ratio >= goal ? "met" : "not met"; small = m < 65536 ? "met" : "not met"
    printf "| %s | %.2f s (%.2f) | %.2f s (%.2f) | %.2fx (%.2fx) | %.1fx: %s | %.1f MiB: %s |", what, a / 1000, ca / 1000, b / 1000, cb / 1000,
      ratio, cb / ca, goal, met, m / 1024, small }')
  echo "$line" | tr -d '|' | sed 's/^ //'
  ROWS+=$line$'\n'
}

echo "Medians of $ROUNDS pairs in turns (of the slow ones $SLOW); seconds, and in brackets those of the processors; $(machine)"
for case in $CASES; do
  BYTES=$((SIZE << 20)) rounds=$SLOW goal=1.0
  case $case in raw|zst|4x-*) rounds=$ROUNDS goal=1.5;; zst-19) BYTES=$((SIZE << 18)) goal=1.5;; esac
  for source in $SOURCES; do
    prepare
    cat "$DIR"/www/* > /dev/null
    # the first run of each is not counted
    CHECKED= SUM=
    mine > /dev/null; p262 > /dev/null
    CHECKED=1
    turns "$source-$case" "$rounds" mine p262
    tell "$goal"
  done
  rm -rf "$DIR/target"
  case $PAYLOADS in "$DIR"/*) rm -f "$PAYLOADS/$case"*;; esac
done
echo "at the end: $(machine)"
printf '\n| payload, from | ours | systemd-sysupdate 262 | ratio | goal | most memory, less than 64 MiB |\n|---|---|---|---|---|---|\n%s' "$ROWS"
