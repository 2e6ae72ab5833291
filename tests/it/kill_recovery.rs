//! Recovery from what death leaves, stopped in turn at every failpoint that it passes. `CRASH_ALL` in the environment looks at
//! the death of every transaction; without it, at that of a run.

use crate::kill_matrix::{self, Bench};

/// Death at each point of each scenario, and recovery from that, stopped in the same ways.
#[track_caller]
fn recovers(bench: &Bench) {
    let found = bench.holds("recoveries");
    assert!(found.cases.len() > 3, "recovery passed no points");
}

#[test]
fn recovery_from_a_transaction_that_died_can_be_stopped_anywhere() {
    let mut bench = kill_matrix::transactions();
    if std::env::var_os("CRASH_ALL").is_none() {
        bench.scenarios.truncate(1);
    }
    recovers(&bench);
}

#[test]
fn recovery_from_a_command_of_tukit_that_died_can_be_stopped_anywhere() {
    recovers(&kill_matrix::tukit());
}

#[test]
fn recovery_from_going_back_that_died_can_be_stopped_anywhere() {
    recovers(&kill_matrix::managed());
    recovers(&kill_matrix::copies());
}

#[test]
fn recovery_of_a_nested_etc_can_be_stopped_anywhere() {
    recovers(&kill_matrix::nested());
}

#[test]
fn recovery_of_a_default_entry_can_be_stopped_anywhere() {
    recovers(&kill_matrix::bls());
}
