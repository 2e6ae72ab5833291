#!/bin/bash
# totals.sh [--check]: writes the newest row of each proof in docs/proofs.tsv into README.md, between the lines that name this script.
# --check changes nothing, and fails when README.md says something else.
set -euo pipefail
cd "$(dirname "$0")/../.."
BEGIN='<!-- made by tests/proof/totals.sh -->' END='<!-- end -->'
for line in "$BEGIN" "$END"; do
  [ "$(grep -cxF -- "$line" README.md)" = 1 ] || { echo "README.md must hold one line \"$line\"" >&2; exit 1; }; done

table() {
  awk -F'\t' '
    NR == 1 {for (i = 1; i <= NF; i++) column[$i] = i; next}
    !($1 in newest) {order[++proofs] = $1}
    {newest[$1] = $0}
    END {
      print "| proof | points | old | new | bad | controls caught | minutes | commit |"
      print "|---|---|---|---|---|---|---|---|"
      for (p = 1; p <= proofs; p++) {
        split(newest[order[p]], f, "\t")
        printf "| %s | %d | %d | %d | %d | %d | %.0f | %s |\n", f[1], f[column["points"]], f[column["old"]], f[column["new"]], f[column["bad"]], \
          f[column["controls"]], f[column["seconds"]] / 60, f[column["commit"]]
        points += f[column["points"]]; bad += f[column["bad"]]
        # the controls of power cuts are the same for all of them
        if (f[1] !~ /^power-cut-/) controls += f[column["controls"]]
        else if (f[column["controls"]] > cuts) cuts = f[column["controls"]]
      }
      controls += cuts
      printf "| all | %d | | | %d | %d | | |\n", points, bad, controls
    }' docs/proofs.tsv
}
new=$(mktemp "$PWD/README.md.XXXXXX"); trap 'rm -f "$new"' EXIT
awk -v begin="$BEGIN" -v end="$END" -v table="$(table)" '
  $0 == end {inside = 0}
  !inside {print}
  $0 == begin {inside = 1; print table}' README.md > "$new"
if [ "${1:-}" = --check ]; then
  cmp -s "$new" README.md || { echo "README.md does not show what docs/proofs.tsv says: tests/proof/totals.sh" >&2; exit 1; }
else
  chmod --reference=README.md "$new"; mv "$new" README.md
fi
