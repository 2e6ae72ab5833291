//! The commands, each cut off.

use std::fs;
use std::path::Path;

use crate::scenario::{CONTROLS, SCENARIOS, Scenario};
use crate::sweep::{Found, Points, is_alone, seed_of, sweep};

fn named(name: &str) -> Scenario {
    let mut all = SCENARIOS.iter().chain(&CONTROLS);
    *all.find(|s| s.name == name).unwrap()
}

/// What chooses the points: `POWERCUT_SEED`, or the time.
pub(crate) fn seed(name: &str) -> u64 {
    let given = std::env::var("POWERCUT_SEED");
    let given = given.unwrap_or_else(|_| format!("{:?}", std::time::SystemTime::now()));
    seed_of(&given, name)
}

/// Says what was found, and keeps a line for each point; that of a sample does not take the place of a proof's.
#[allow(clippy::print_stdout)] // for whoever reads the output of the tests
pub(crate) fn tell(name: &str, seed: u64, found: &Found) {
    println!("power cut, seed {seed}: {}", found.summary);
    let (dir, file) = match is_proof() {
        true => ("target/proof", format!("power-cut-{name}.log")),
        false => ("target/powercut", format!("{name}.log")),
    };
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    fs::create_dir_all(&dir).unwrap();
    let head = format!("seed {seed}\n{}\n", found.summary);
    fs::write(dir.join(file), head + &found.lines.join("\n") + "\n").unwrap();
}

pub(crate) fn is_proof() -> bool {
    std::env::var("POWERCUT").is_ok_and(|all| all == "all")
}

/// Runs one scenario: all points in a proof, otherwise `sample`.
fn cut_off(test: &str, name: &str, sample: fn(u64) -> Points) {
    if !is_alone(&format!("scenarios::{test}")) {
        return;
    }
    let seed = seed(name);
    let (points, workers) = match is_proof() {
        true => (Points::All(seed), 2),
        false => (sample(seed), 1),
    };
    let found = sweep(&named(name), points, workers);
    tell(name, seed, &found);
    let bad = &found.bad;
    assert!(
        bad.is_empty(),
        "{name}: {} bad\n{}",
        bad.len(),
        bad.join("\n")
    );
}

/// A mistake that has to be found.
fn is_caught(test: &str, name: &str) {
    if !is_alone(&format!("scenarios::{test}")) {
        return;
    }
    let seed = seed(name);
    let found = sweep(&named(name), Points::Sample(12, seed), 1);
    tell(name, seed, &found);
    assert!(
        !found.bad.is_empty(),
        "{name}: nothing bad is seen\n{}",
        found.summary
    );
}

#[test]
fn an_install_is_old_or_new() {
    cut_off("an_install_is_old_or_new", "install", |seed| {
        Points::Sample(40, seed)
    });
}

#[test]
fn an_install_with_a_nested_etc_is_old_or_new() {
    cut_off(
        "an_install_with_a_nested_etc_is_old_or_new",
        "install-nested-etc",
        |seed| Points::Random(1, seed),
    );
}

#[test]
fn an_install_of_200_megabytes_is_old_or_new() {
    cut_off(
        "an_install_of_200_megabytes_is_old_or_new",
        "install-huge",
        |seed| Points::Sample(20, seed),
    );
}

#[test]
fn an_update_is_old_or_new() {
    cut_off("an_update_is_old_or_new", "update", |seed| {
        Points::Random(1, seed)
    });
}

#[test]
fn a_removal_is_old_or_new() {
    cut_off("a_removal_is_old_or_new", "remove", |seed| {
        Points::Random(1, seed)
    });
}

#[test]
fn a_continued_update_is_old_or_new() {
    cut_off("a_continued_update_is_old_or_new", "continue", |seed| {
        Points::Random(1, seed)
    });
}

#[test]
fn a_rollback_is_old_or_new() {
    cut_off("a_rollback_is_old_or_new", "rollback", |seed| {
        Points::Random(1, seed)
    });
}

#[test]
fn a_rollback_that_copies_is_old_or_new() {
    cut_off(
        "a_rollback_that_copies_is_old_or_new",
        "rollback-copy",
        |seed| Points::Random(1, seed),
    );
}

#[test]
fn a_discard_is_old_or_new() {
    cut_off("a_discard_is_old_or_new", "discard", |seed| {
        Points::Random(1, seed)
    });
}

#[test]
fn a_cleanup_is_old_or_new() {
    cut_off("a_cleanup_is_old_or_new", "cleanup", |seed| {
        Points::Random(1, seed)
    });
}

#[test]
fn a_merge_of_etc_comes_to_the_same() {
    cut_off("a_merge_of_etc_comes_to_the_same", "etc-merge", |seed| {
        Points::Random(1, seed)
    });
}

#[test]
fn the_recovery_of_a_new_snapshot_is_repeated() {
    cut_off(
        "the_recovery_of_a_new_snapshot_is_repeated",
        "recovery-of-a-new-snapshot",
        |seed| Points::Random(1, seed),
    );
}

#[test]
fn the_recovery_of_a_full_snapshot_is_repeated() {
    cut_off(
        "the_recovery_of_a_full_snapshot_is_repeated",
        "recovery-of-a-full-snapshot",
        |seed| Points::Random(1, seed),
    );
}

#[test]
fn the_recovery_of_a_removal_is_repeated() {
    cut_off(
        "the_recovery_of_a_removal_is_repeated",
        "recovery-of-a-removal",
        |seed| Points::Random(1, seed),
    );
}

#[test]
fn an_offline_update_in_place_is_old_or_new_and_known_as_what_it_is() {
    cut_off(
        "an_offline_update_in_place_is_old_or_new_and_known_as_what_it_is",
        "offline-in-place",
        |seed| Points::Random(1, seed),
    );
}

#[test]
fn an_offline_update_in_a_new_snapshot_is_old_or_new_and_known_as_what_it_is() {
    cut_off(
        "an_offline_update_in_a_new_snapshot_is_old_or_new_and_known_as_what_it_is",
        "offline-new-snapshot",
        |seed| Points::Random(1, seed),
    );
}

#[test]
fn arming_never_leads_to_an_update_boot_that_knows_of_no_update() {
    cut_off(
        "arming_never_leads_to_an_update_boot_that_knows_of_no_update",
        "offline-arm",
        |seed| Points::Random(1, seed),
    );
}

#[test]
fn a_default_that_is_switched_early_is_caught() {
    is_caught(
        "a_default_that_is_switched_early_is_caught",
        "default-early",
    );
}

#[test]
fn a_default_that_is_switched_early_and_not_synced_is_caught() {
    is_caught(
        "a_default_that_is_switched_early_and_not_synced_is_caught",
        "default-early-not-synced",
    );
}

#[test]
fn a_product_that_publishes_early_is_caught() {
    is_caught(
        "a_product_that_publishes_early_is_caught",
        "published-early",
    );
}

#[test]
fn a_root_that_is_changed_in_place_while_it_boots_next_is_caught() {
    is_caught(
        "a_root_that_is_changed_in_place_while_it_boots_next_is_caught",
        "offline-published-early",
    );
}

#[test]
fn a_trigger_before_what_it_leads_to_is_caught() {
    is_caught(
        "a_trigger_before_what_it_leads_to_is_caught",
        "offline-armed-early",
    );
}
