use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};
use proptest::strategy::Strategy as Generator;

use super::*;
use crate::offline::plan::PlanId;
use crate::offline::state::{EndAction, Moment, Tree};

const BASE: u64 = 260;
const TREE: u64 = 300;

fn userspace(boot: &str, timestamp: u64) -> Userspace {
    Userspace {
        boot_id: boot.into(),
        timestamp: Some(timestamp),
        soft_reboots: Some(0),
    }
}

fn moment(boot: &str) -> Moment {
    Moment {
        time: "2026-01-31 13:00:00".into(),
        userspace: userspace(boot, 1000),
    }
}

/// A record of a plan that was armed in boot `a` and, when it is not only armed, started in boot `b`.
pub(in crate::offline) fn record(state: State) -> Record {
    Record {
        schema: SCHEMA,
        plan: PlanId("00112233445566778899aabbccddeeff".into()),
        plan_sha256: "00".repeat(32),
        state,
        cause: None,
        phase: None,
        strategy: Strategy::NewSnapshot,
        end: EndAction::Reboot,
        allow_battery: false,
        trigger: "/system-update".into(),
        armed: moment("a"),
        started: (state != State::Armed).then(|| moment("b")),
        base: BASE,
        tree: None,
        live_redirects: 0,
        finished: None,
    }
}

/// What is written when an attempt begins.
pub(in crate::offline) fn outcome() -> Outcome {
    Outcome {
        schema: SCHEMA,
        plan: record(State::Started).plan,
        state: State::Failed,
        cause: Some(Cause::Interrupted),
        text: "interrupted".into(),
        packages: vec![("a-1-1.noarch".into(), "installed".into())],
        not_reverted: vec!["/boot".into()],
        subvolumes: vec![BASE],
        times: ["2026-01-31 13:01:00".into(), String::new()],
        boot_id: "b".into(),
        log: None,
    }
}

fn now(boot: &str, is_linked: bool, booted: u64) -> Now {
    Now {
        userspace: userspace(boot, 1000),
        is_linked,
        booted: Some(booted),
        default: Some(booted),
        time: "2026-02-01 08:00:00".into(),
    }
}

fn started(strategy: Strategy, phase: Phase) -> Record {
    Record {
        strategy,
        phase: Some(phase),
        tree: (phase > Phase::Begin).then_some(Tree {
            number: 3,
            subvolume: Some(TREE),
        }),
        ..record(State::Started)
    }
}

fn comes_to(record: &Record, outcome: Option<&Outcome>, now: &Now) -> (State, Option<Cause>) {
    let standing = reconcile(Some(record), outcome, now);
    assert_eq!(
        (standing.situation, standing.is_news),
        (Situation::Ended, true)
    );
    let (record, outcome) = (standing.record.unwrap(), standing.outcome.unwrap());
    assert_eq!(
        (record.state, record.cause),
        (outcome.state, outcome.cause),
        "both files say the same"
    );
    assert_eq!(record.finished.as_deref(), Some("2026-02-01 08:00:00"));
    assert!(!outcome.text.is_empty());
    (record.state, record.cause)
}

#[test]
fn nothing_was_armed() {
    let standing = reconcile(None, Some(&outcome()), &now("a", true, BASE));
    assert_eq!(standing.situation, Situation::Nothing);
    assert!(!standing.is_news);
}

#[test]
fn armed_in_the_same_userspace_waits_for_the_boot_and_without_its_link_is_incomplete() {
    for (is_linked, situation) in [(true, Situation::Armed), (false, Situation::Incomplete)] {
        let standing = reconcile(
            Some(&record(State::Armed)),
            None,
            &now("a", is_linked, BASE),
        );
        assert_eq!((standing.situation, standing.is_news), (situation, false));
    }
}

#[test]
fn armed_with_its_link_in_a_later_userspace_was_not_diverted() {
    let armed = record(State::Armed);
    let standing = reconcile(Some(&armed), None, &now("b", true, BASE));
    assert_eq!(standing.situation, Situation::NotDiverted);
    assert_eq!((standing.record, standing.is_news), (Some(armed), false));
}

#[test]
fn armed_without_its_link_in_a_later_userspace_has_not_run() {
    let failed = (State::Failed, Some(Cause::NotRun));
    let armed = record(State::Armed);
    assert_eq!(comes_to(&armed, None, &now("b", false, BASE)), failed);
    // what is left of an earlier attempt is not taken for this one
    let earlier = Outcome {
        plan: PlanId("earlier".into()),
        cause: Some(Cause::Install),
        ..outcome()
    };
    assert_eq!(
        comes_to(&armed, Some(&earlier), &now("b", false, BASE)),
        failed
    );
    let standing = reconcile(Some(&armed), Some(&earlier), &now("b", false, BASE));
    let text = standing.outcome.unwrap().text;
    for part in [
        "mount",
        "could not be started",
        "by hand",
        "journalctl --since '2026-01-31 13:00:00 UTC'",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn started_in_this_userspace_is_underway() {
    let record = started(Strategy::InPlace, Phase::Install);
    let standing = reconcile(Some(&record), None, &now("b", false, BASE));
    assert_eq!(
        (standing.situation, standing.is_news),
        (Situation::Underway, false)
    );
}

const INTERRUPTED: (State, Option<Cause>) = (State::Failed, Some(Cause::Interrupted));
const REVERTED: (State, Option<Cause>) = (State::Reverted, Some(Cause::Interrupted));
const UNKNOWN: (State, Option<Cause>) = (State::Failed, Some(Cause::UnknownRoot));
const APPLIED: (State, Option<Cause>) = (State::Applied, None);

#[test]
fn a_new_snapshot_counts_as_applied_when_it_runs_and_was_complete() {
    use Phase::{Begin, Finish, Install, Snapshot};
    for (phase, booted, expected) in [
        (Begin, BASE, INTERRUPTED),
        (Snapshot, BASE, INTERRUPTED),
        (Install, BASE, INTERRUPTED),
        (Finish, BASE, INTERRUPTED),
        (Snapshot, TREE, UNKNOWN),
        (Install, TREE, UNKNOWN),
        (Finish, TREE, APPLIED),
        (Begin, 999, UNKNOWN),
        (Finish, 999, UNKNOWN),
    ] {
        let record = started(Strategy::NewSnapshot, phase);
        let found = comes_to(&record, Some(&outcome()), &now("c", false, booted));
        assert_eq!(found, expected, "{phase:?} {booted}");
    }
}

#[test]
fn a_new_snapshot_that_boots_next_is_applied_though_another_one_was_chosen_for_this_boot() {
    let record = started(Strategy::NewSnapshot, Phase::Finish);
    let mut now = now("c", false, BASE);
    now.default = Some(TREE);
    assert_eq!(comes_to(&record, Some(&outcome()), &now), APPLIED);
}

#[test]
fn an_update_in_place_counts_as_reverted_when_what_was_before_runs_and_as_applied_when_it_was_complete()
 {
    use Phase::{Begin, Finish, Install, Protected, Snapshot};
    for (phase, booted, expected) in [
        (Begin, BASE, INTERRUPTED),
        (Snapshot, BASE, INTERRUPTED),
        (Protected, BASE, INTERRUPTED),
        (Install, BASE, UNKNOWN),
        (Finish, BASE, APPLIED),
        (Protected, TREE, REVERTED),
        (Install, TREE, REVERTED),
        (Finish, TREE, REVERTED),
        (Install, 999, UNKNOWN),
    ] {
        let record = started(Strategy::InPlace, phase);
        let found = comes_to(&record, Some(&outcome()), &now("c", false, booted));
        assert_eq!(found, expected, "{phase:?} {booted}");
    }
}

#[test]
fn a_root_that_may_be_half_updated_is_told_loudly() {
    let record = started(Strategy::InPlace, Phase::Install);
    let standing = reconcile(Some(&record), Some(&outcome()), &now("c", false, BASE));
    let text = standing.outcome.unwrap().text;
    assert!(
        text.contains("updated in part") && text.contains("rollback"),
        "{text}"
    );
}

#[test]
fn what_was_found_out_before_the_cut_is_kept() {
    let stale = Outcome {
        cause: Some(Cause::Stale),
        text: "stale since".into(),
        ..outcome()
    };
    let record = started(Strategy::NewSnapshot, Phase::Begin);
    let standing = reconcile(Some(&record), Some(&stale), &now("c", false, BASE));
    let outcome = standing.outcome.unwrap();
    assert_eq!(
        (outcome.cause, outcome.text.as_str()),
        (Some(Cause::Stale), "stale since")
    );
    assert_eq!(standing.record.unwrap().cause, Some(Cause::Stale));
    assert_eq!(
        (outcome.packages, outcome.not_reverted),
        (stale.packages, stale.not_reverted)
    );
}

#[test]
fn what_has_ended_stays_as_it_was_written() {
    for (state, situation) in [
        (State::Applied, Situation::Ended),
        (State::Reverted, Situation::Ended),
        (State::Failed, Situation::Ended),
        (State::Acknowledged, Situation::Acknowledged),
    ] {
        for boot in ["a", "b", "c"] {
            let standing = reconcile(
                Some(&record(state)),
                Some(&outcome()),
                &now(boot, true, 999),
            );
            assert_eq!((standing.situation, standing.is_news), (situation, false));
        }
    }
}

#[test]
fn a_soft_reboot_is_another_userspace_and_what_one_side_does_not_know_is_not_compared() {
    let one = userspace("a", 1000);
    assert!(one.is_same(&one.clone()));
    assert!(!one.is_same(&userspace("b", 1000)));
    assert!(!one.is_same(&userspace("a", 2000)));
    let mut later = one.clone();
    later.soft_reboots = Some(1);
    assert!(!one.is_same(&later));
    later.soft_reboots = None;
    assert!(one.is_same(&later) && later.is_same(&one));
    let only_boot = Userspace {
        timestamp: None,
        soft_reboots: None,
        ..one.clone()
    };
    assert!(one.is_same(&only_boot) && only_boot.is_same(&one));
    let unknown = Userspace {
        boot_id: String::new(),
        ..one.clone()
    };
    assert!(one.is_same(&unknown) && unknown.is_same(&unknown));
}

fn any_record() -> impl Generator<Value = Record> {
    use Phase::{Begin, Finish, Install, Protected, Snapshot};
    use State::{Acknowledged, Applied, Armed, Failed, Reverted, Started};
    let states = prop::sample::select(vec![
        Armed,
        Started,
        Applied,
        Reverted,
        Failed,
        Acknowledged,
    ]);
    let phases = prop::sample::select(vec![
        None,
        Some(Begin),
        Some(Snapshot),
        Some(Protected),
        Some(Install),
        Some(Finish),
    ]);
    let trees = prop::sample::select(vec![None, Some(None), Some(Some(TREE))]);
    (states, phases, trees, any::<bool>(), any::<bool>()).prop_map(
        |(state, phase, tree, in_place, has_started)| Record {
            phase,
            tree: tree.map(|subvolume| Tree {
                number: 3,
                subvolume,
            }),
            strategy: if in_place {
                Strategy::InPlace
            } else {
                Strategy::NewSnapshot
            },
            started: has_started.then(|| moment("b")),
            ..record(state)
        },
    )
}

proptest! {
    #[test]
    fn what_is_so_now_is_so_when_it_is_asked_again(
        record in prop::option::of(any_record()),
        outcome in prop::option::of(prop::sample::select(vec![outcome(), Outcome { cause: Some(Cause::Stale), ..outcome() }])),
        boot in prop::sample::select(vec!["a", "b", "c", ""]),
        is_linked: bool,
        booted in prop::sample::select(vec![None, Some(BASE), Some(TREE), Some(999)]),
        default in prop::sample::select(vec![None, Some(BASE), Some(TREE)]),
    ) {
        let now = Now { booted, default, ..now(boot, is_linked, BASE) };
        let first = reconcile(record.as_ref(), outcome.as_ref(), &now);
        if !first.is_news {
            prop_assert_eq!((&first.record, &first.outcome), (&record, &outcome));
        }
        let later = Now { time: "2026-03-01 00:00:00".into(), ..now };
        let second = reconcile(first.record.as_ref(), first.outcome.as_ref(), &later);
        prop_assert!(!second.is_news);
        prop_assert_eq!((second.situation, second.record, second.outcome), (first.situation, first.record, first.outcome));
    }
}
