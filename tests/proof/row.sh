# shellcheck shell=bash
# row.sh: sourced by the proofs, first thing. PROJECT, and one row of docs/proofs.tsv for a proof that succeeded.
PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
STARTED=$SECONDS

# row PROOF POINTS OLD NEW BAD CONTROLS SEED VERSIONS LOG: what was looked at, how much of it was the old state, the new one, and neither;
# controls that failed as they should
row() {
  local file=$PROJECT/docs/proofs.tsv commit
  # the tree that was proved, without the files that record it
  commit=$(git -C "$PROJECT" rev-parse --short=12 HEAD)
  [ -z "$(git -C "$PROJECT" status --porcelain -- . ':!docs/proofs.tsv' ':!README.md')" ] || commit+=-changed
  [ -e "$file" ] || { mkdir -p "$(dirname "$file")"
    printf 'proof\tpoints\told\tnew\tbad\tcontrols\tseconds\tcommit\tseed\tversions\tsha256\n' > "$file"; }
  printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" "$5" "$6" $((SECONDS - STARTED)) "$commit" "$7" "$8" \
    "$(sha256sum < "$9" | cut -d' ' -f1)" | tee -a "$file"
  "$PROJECT/tests/proof/totals.sh"
}
