#!/bin/bash
# etc-as-subvolume.sh: runs the tests of transactions, packages, tukit and snapper with machines whose /etc is a subvolume. 8 minutes.
# The tests are those of `make test`, which has their machines with /etc in the snapshot (FX_LAYOUT, see tests/it/fx.rs). The control
# shows that the tests read the variable: with a layout that does not exist they fail.
# Area: src/snapshot src/transaction src/manage src/report src/etc tests/fixture/image.sh tests/it/fx.rs
# Appends a row to docs/proofs.tsv when it succeeds. The log is target/proof/etc-as-subvolume.log.
. "$(dirname "$0")/../fixture/env.sh"
. "$(dirname "$0")/row.sh"
[ "$(id -u)" = 0 ] || die "needs root: it mounts scratch images"
LOG=$PROJECT/target/proof/etc-as-subvolume.log; mkdir -p "$(dirname "$LOG")"
MODULES=(root_manage:: root_snapper:: root_packages:: root_scriptlets:: root_chain:: root_tukit)

if FX_LAYOUT=none "$PROJECT/tests/run.sh" root_chain:: > "$LOG" 2>&1; then die "the control should fail: FX_LAYOUT is not read"; fi
grep -q 'FX_LAYOUT is .*none' "$LOG" || die "the control failed for another reason, see $LOG"
FX_LAYOUT=b "$PROJECT/tests/run.sh" "${MODULES[@]}" > "$LOG" 2>&1 || die "failed, see $LOG: $(grep '^test .* \.\.\. FAILED' "$LOG")"
passed=$(sed -n 's/^test result: ok\. \([0-9]*\) passed;.*/\1/p' "$LOG" | tail -n 1)
[ "${passed:-0}" -gt 100 ] || die "only ${passed:-0} tests ran, see $LOG"

W=$(mktemp -d "$CACHE/proof.XXXXXX"); trap 'rm -rf "$W"' EXIT
copy "$("$HERE/template.sh" b-sqlite)" "$W/disk.img"
versions="linux $(uname -r)$("$HERE/enter.sh" "$W/disk.img" dpkg-query -W -f ', ${Package} ${Version}' btrfs-progs zypper rpm snapper)"
row etc-as-subvolume "$passed" 0 "$passed" 0 1 - "$versions" "$LOG"
