//! The merge of /etc on btrfs, with the power cut off in the middle of it.

use std::path::Path;

use crate::etc_merge::{ACL, EVERYTHING, PROGRAM};
use crate::fx::{Ran, command, fixture, require_root};

/// Makes a disk with the new /etc, the syncpoint in it and the old /etc, merges until `$POINT`, and takes the disk as it is
/// at that moment: what was not written to it is lost. Then it boots, so to say: mounts that disk, merges again
/// and describes the result. All mounts are in a namespace of their own.
const SCRIPT: &str = r#"
exec 3>&1 1>&2
cd "$DIR"; mkdir m; truncate -s 200M disk; mkfs.btrfs -q disk
mount -o loop,commit=300 disk m
(cd m; btrfs -q subvolume create etc; (cd etc; eval "$BASE"); btrfs -q subvolume snapshot etc old; (cd old; eval "$OLD")
  btrfs -q subvolume snapshot etc etc/etc.syncpoint; (cd etc; eval "$NEW"); sync -f .)
TU_FAILPOINTS=$POINT=kill $P m/old m/etc m/etc/etc.syncpoint && code=0 || code=$?
cp --sparse=always disk cut; umount m; mount -o loop cut m
merges() { [ ! -e m/etc/etc.syncpoint ] || $P "$@" m/old m/etc m/etc/etc.syncpoint; }
merges
if btrfs subvolume list m | grep syncpoint; then exit 9; fi
python3 "$ORACLE" m/etc --list | awk -F '\t' -v OFS='\t' '{ $7 = "-" } 1' >&3   # the times differ from disk to disk
umount m; [ $code = 0 ] || exit 3
"#;

/// What the merge comes to when it is cut off at `point`; the code is 0 when the point was not reached.
fn cut_at(point: &str) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let [base, old, new] = EVERYTHING;
    let mut bash = command("unshare");
    bash.args(["-m", "--propagation", "private", "bash", "-ec", SCRIPT]);
    bash.envs([("BASE", base), ("OLD", old), ("NEW", new), ("ACL", ACL)])
        .envs([("P", PROGRAM), ("POINT", point), ("LC_ALL", "C.UTF-8")])
        .env("DIR", dir.path())
        .env("ORACLE", fixture("oracle.py"));
    Ran::new(point, bash.output().unwrap())
}

#[test]
fn a_power_cut_at_any_step_is_made_good_by_the_merge_at_the_next_boot() {
    require_root();
    assert!(Path::new("/dev/loop-control").exists());
    let whole = cut_at("none").succeeds();
    assert!(whole.stdout.contains("both.rpmsave"), "{whole}");
    for (point, step) in [
        ("etc-step", 3),
        ("etc-written", 4),
        ("etc-made", 3),
        ("etc-exchanged", 1),
        ("etc-applied", 1),
        ("etc-marked", 1),
        ("etc-forgetting", 5),
    ] {
        let mut cuts = 0;
        for time in (1..).step_by(step) {
            let ran = cut_at(&format!("{point}@{time}"));
            assert_eq!(ran.stdout, whole.stdout, "{ran}");
            if ran.code == 0 {
                break;
            }
            ran.exits(3);
            cuts += 1;
        }
        assert!(cuts > 0, "{point} was not reached");
    }
}
