//! Directories of packages: whatever is on the disk when the power fails, each is missing or has its owner and mode, and the
//! stamp that says that all are there comes last.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use transactional_update::dirs::{Maker, Wanted};
use transactional_update::sys::Root;

use crate::fx::{Variant, command};
use crate::record::record;
use crate::replay::{Replay, cases};
use crate::scenario::{INSTALL, Scenario};
use crate::scenarios::{is_proof, seed, tell};
use crate::sweep::{Found, Points, cuts, is_alone, scratch};

/// The file system is written to disk again and again meanwhile, so that all steps between are there to be seen.
const MADE: Scenario = Scenario {
    name: "directories",
    variant: Variant::RoNdb,
    before: &[(
        "transactional-update -q boot-complete; transactional-update -q -n pkg install fx-vardirs",
        0,
    )],
    // transactions see the system's own logs
    setup: "rm -rf /var/log/fx",
    command: "(while :; do sync -f /var; done) & TU_FAILPOINTS='*=sleep:20' create-dirs-from-rpmdb; rc=$?; kill $!; (exit $rc)",
    ..INSTALL
};

/// What the package wants.
const WANTED: [(&str, u32, u32, u32); 9] = [
    ("var/lib/fx", 0o755, 0, 0),
    ("var/lib/fx/a", 0o700, 1, 1),
    ("var/lib/fx/b", 0o1777, 0, 0),
    ("var/lib/fx/setgid", 0o2775, 0, 8),
    ("var/log/fx", 0o750, 8, 4),
    ("srv/fx", 0o711, 33, 33),
    ("srv/fx/www", 0o755, 33, 33),
    ("opt/fx", 0o755, 0, 0),
    ("opt/fx/bin", 0o700, 0, 0),
];
const STAMP: &str = "var/lib/transactional-update/create-dirs.json";

/// Where a private directory can be.
const PARENTS: [&str; 4] = ["var/lib", "var/log", "srv", "opt"];

/// How many are there; each is as it is to be.
fn there(root: &Path) -> Result<usize, String> {
    let mut count = 0;
    for (path, mode, uid, gid) in WANTED {
        let Ok(stat) = fs::symlink_metadata(root.join(path)) else {
            continue;
        };
        let is = (stat.mode(), stat.uid(), stat.gid());
        if is != (0o040_000 | mode, uid, gid) {
            return Err(format!("{path} is {:o}, {}, {}", is.0, is.1, is.2));
        }
        count += 1;
    }
    Ok(count)
}

/// What of a run that was cut off is there.
fn private(root: &Path) -> Vec<PathBuf> {
    let entries = PARENTS.map(|p| fs::read_dir(root.join(p)).unwrap());
    let paths = entries.into_iter().flatten().map(|e| e.unwrap().path());
    let is_ours = |p: &PathBuf| p.to_string_lossy().contains("/.create-dirs-");
    paths.filter(is_ours).collect()
}

/// What is wrong with a disk; else how many directories are there, and how many private ones.
fn judge(root: &Path, is_done: bool) -> Result<(usize, usize), String> {
    let count = there(root)?;
    let unfinished = private(root);
    for path in &unfinished {
        let stat = fs::symlink_metadata(path).unwrap();
        if (stat.mode(), stat.uid()) != (0o040_700, 0) {
            return Err(format!("{} can be entered", path.display()));
        }
    }
    let is_stamped = fs::metadata(root.join(STAMP)).is_ok_and(|m| m.len() > 0);
    if is_stamped && count < WANTED.len() {
        return Err(format!("the stamp is there, and {count} directories are"));
    }
    if is_done && !is_stamped {
        return Err("it was done, and there is no stamp".into());
    }
    let wanted = WANTED.map(|(path, mode, uid, gid)| Wanted {
        path: path.into(),
        mode,
        uid,
        gid,
    });
    let mut maker = Maker::open(&Root::at(root).unwrap()).unwrap();
    maker.remove_leftovers(wanted.iter().map(|w| w.path.as_path()));
    maker.make(&wanted);
    match (there(root)?, private(root).len()) {
        (9, 0) => Ok((count, unfinished.len())),
        (then, left) => Err(format!(
            "after the next run: {then} directories, {left} left over"
        )),
    }
}

#[test]
fn directories_of_packages_are_whole_or_missing_after_a_power_cut() {
    if !is_alone("directories::directories_of_packages_are_whole_or_missing_after_a_power_cut") {
        return;
    }
    let seed = seed(MADE.name);
    let scratch = scratch();
    let recording = record(&MADE, &scratch);
    let points = match is_proof() {
        true => Points::All(seed),
        false => Points::Sample(60, seed),
    };
    let at = |name: &str| recording.dir.join(name);
    fs::create_dir(at("root")).unwrap();
    let mut replay = Replay::new(&recording.log, &recording.base(), &at("front")).unwrap();
    let mut found = Found::default();
    let (mut partly, mut unfinished) = (0, 0);
    for (image, cuts) in cases(&recording.log, &cuts(&recording, points)) {
        replay.make(&image, &at("disk")).unwrap();
        let mut mount = command("mount");
        mount
            .args(["-o", "loop,subvolid=5"])
            .args([at("disk"), at("root")]);
        assert!(mount.status().unwrap().success(), "{cuts:?}");
        let done = recording.done.unwrap();
        let judged = judge(&at("root/@"), cuts.iter().all(|cut| cut.upto >= done));
        assert!(
            command("umount")
                .arg(at("root"))
                .status()
                .unwrap()
                .success()
        );
        fs::remove_file(at("disk")).unwrap();
        found.disks += 1;
        found.points += cuts.len();
        let line = format!("{cuts:?}: {judged:?}");
        match judged {
            Ok((0, _)) => found.old += 1,
            Ok((9, _)) => found.new += 1,
            Ok(_) => partly += 1,
            Err(_) => found.bad.push(line.clone()),
        }
        unfinished += judged.map_or(0, |(_, private)| private.min(1));
        found.lines.push(line);
    }
    found.summary = format!(
        "directories: {} points on {} disks: none {}, some {partly}, all {}, with something unfinished {unfinished}, bad {}",
        found.points,
        found.disks,
        found.old,
        found.new,
        found.bad.len()
    );
    tell(MADE.name, seed, &found);
    assert!(found.bad.is_empty(), "{}", found.bad.join("\n"));
    let ends = [found.old, partly, found.new, unfinished];
    assert!(ends.iter().all(|n| *n > 0), "{}", found.summary);
}
