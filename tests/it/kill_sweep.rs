//! Commands killed at the first, second, … of their system calls, also between failpoints. `CRASH_ALL` in the environment
//! looks at more calls. What a command starts goes with it, and is not killed by itself.

use std::fs;

use crate::crash::{Bench, Scenario};
use crate::fx::command;
use crate::kill_matrix;

/// What changes something on disk or what is mounted. `ioctl` is how btrfs makes, deletes, seals and switches.
const CALLS: &str = "renameat2 renameat rename mkdirat mkdir fsync syncfs unlinkat unlink symlinkat mount umount2 ioctl";

/// Shows a machine the strace of this host, with its libraries: the machine has none.
fn with_strace(mut bench: Bench, names: &[&str]) -> Bench {
    let dir = bench.machine.dir().join("strace");
    fs::create_dir(&dir).unwrap();
    let out = command("sh")
        .args(["-c", "command -v strace"])
        .output()
        .unwrap();
    let strace = String::from_utf8(out.stdout).unwrap();
    assert!(
        out.status.success(),
        "strace is missing: apt-get install strace"
    );
    let strace = strace.trim();
    let out = command("ldd").arg(strace).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let libraries = text.split_whitespace().filter(|w| w.starts_with('/'));
    for file in libraries.chain([strace]) {
        let name = file.rsplit('/').next().unwrap();
        let name = if name.starts_with("ld-") {
            "loader"
        } else {
            name
        };
        fs::copy(file, dir.join(name)).unwrap();
    }
    bench.machine.bind(dir, "/run/strace");
    let is_wanted = |s: &Scenario| names.is_empty() || names.contains(&s.name);
    bench.scenarios.retain(is_wanted);
    bench
}

/// Kills each of these scenarios at each call; asserts that each was killed at some.
#[track_caller]
fn swept(bench: Bench, names: &[&str], how: &str) {
    let found = with_strace(bench, names).holds(how);
    assert!(!found.swept.is_empty(), "nothing was swept");
    let ioctls = found.swept.iter().filter(|s| s.1 == "ioctl").map(|s| s.2);
    assert!(ioctls.sum::<usize>() > 0, "{:?}", found.swept);
    assert!(found.cases.len() > 10, "{:?}", found.swept);
}

fn all() -> bool {
    std::env::var_os("CRASH_ALL").is_some()
}

#[test]
fn a_run_that_is_killed_at_any_system_call_leaves_the_old_system_or_the_whole_new_one() {
    swept(
        kill_matrix::transactions(),
        &["run"],
        &format!("sweep {CALLS}"),
    );
}

#[test]
fn an_installation_that_is_killed_at_any_system_call_is_whole_or_not_there() {
    let calls = if all() {
        CALLS
    } else {
        "renameat2 fsync unlinkat umount2 ioctl"
    };
    swept(
        kill_matrix::transactions(),
        &["install"],
        &format!("sweep {calls}"),
    );
}

#[test]
fn going_back_and_cleaning_up_can_be_killed_at_any_system_call() {
    swept(
        kill_matrix::managed(),
        &["discard", "rollback"],
        &format!("sweep {CALLS}"),
    );
    swept(kill_matrix::cleanup(), &[], &format!("sweep {CALLS}"));
}

#[test]
fn recovery_can_be_killed_at_any_system_call() {
    let how: String = ["reserved-unborn@1", "reserved@1", "mounted@1", "synced@1"]
        .map(|at| format!("(sweep_recovery {at} {CALLS}); "))
        .concat();
    swept(kill_matrix::transactions(), &["run"], &how);
}
