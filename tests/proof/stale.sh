#!/bin/bash
# stale.sh: prints each proof without a row in docs/proofs.tsv, or whose last row is older than the last change in its area, which a
# line "# Area:" of its script names. Never fails: a proof is made by hand.
set -euo pipefail
cd "$(dirname "$0")/../.."
for script in tests/proof/*.sh; do
  area=$(sed -n 's/^# Area: //p' "$script"); name=$(basename "$script" .sh)
  [ -n "$area" ] || continue
  # the area is a list of words
  # shellcheck disable=SC2086
  changed=$(git log -1 --format=%h -- $area "$script" 2>/dev/null || :)
  # a proof that has a row for each of its parts names them
  rows=$(sed -n 's/^# Rows: //p' "$script")
  for row in ${rows:-$name}; do
    proved=$(awk -F'\t' -v name="$row" '$1 == name {commit = $8} END {print commit}' docs/proofs.tsv 2>/dev/null || :)
    if [ -z "$proved" ]; then echo "proof: $row was never made (make proof)"
    elif [ -n "$changed" ] && ! git merge-base --is-ancestor "$changed" "$proved" 2>/dev/null; then
      echo "proof: $row was made at $proved, its area changed in $changed (make proof)"; fi
  done
done
