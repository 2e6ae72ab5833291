use proptest::prelude::*;

use super::*;
use crate::sysupdate::definition::{Kind, Transfer};
use crate::sysupdate::instance::Slots;
use crate::sysupdate::testing::{instance, resource, transfer, version};

/// Transfers and what is in their targets, with empty slots where it is a disk.
#[derive(Debug, Clone)]
struct System {
    transfers: Vec<Transfer>,
    /// Instances, empty slots.
    targets: Vec<(String, Option<usize>)>,
}

impl System {
    fn new(targets: &[(&str, Option<usize>)]) -> System {
        let targets: Vec<_> = targets
            .iter()
            .map(|(words, free)| ((*words).to_owned(), *free))
            .collect();
        let transfers = targets.iter().enumerate().map(|(n, (_, free))| {
            let mut transfer = transfer(&format!("{n}"));
            if free.is_some() {
                transfer.target.kind = Kind::Partition;
            }
            transfer
        });
        System {
            transfers: transfers.collect(),
            targets: targets.clone(),
        }
    }

    fn max(mut self, max: &[u64]) -> System {
        for (transfer, max) in self.transfers.iter_mut().zip(max) {
            transfer.target.instances_max = Some(*max);
        }
        self
    }

    fn protect(mut self, number: usize, version: &str) -> System {
        self.transfers[number].protected.push(version.into());
        self
    }

    fn resources(&self) -> Vec<Resource<'_>> {
        let all = self.transfers.iter().zip(&self.targets).enumerate();
        let resources = all.map(|(pool, (transfer, (words, free)))| Resource {
            slots: free.map(|free| Slots { pool, free }),
            ..resource(transfer, words, "")
        });
        resources.collect()
    }

    /// What goes, as `TRANSFER:VERSION` in the order in which it goes.
    fn plan(&self, wish: &Wish<'_>) -> Result<String, Impossible> {
        let resources = self.resources();
        let plan = plan(&resources, &[], &Sets::of(&resources), wish)?;
        let gone = plan.removals.iter().map(|r| {
            format!(
                "{}:{}",
                r.resource, resources[r.resource].target[r.instance].version
            )
        });
        Ok(gone.collect::<Vec<_>>().join(" "))
    }

    fn update(&self, to: &str) -> Result<String, Impossible> {
        self.plan(&Wish {
            installing: Some(&version(to)),
            ..Wish::default()
        })
    }

    fn vacuum(&self) -> String {
        self.plan(&Wish::default()).unwrap()
    }
}

#[test]
fn a_version_leaves_as_a_whole_and_what_is_protected_anywhere_stays_everywhere() {
    let four = [
        ("1.0 0.9", Some(0)),
        ("1.0 0.9", Some(0)),
        ("1.0 0.9", None),
        ("1.0 0.9", None),
    ];
    let system = System::new(&four).max(&[2; 4]).protect(0, "0.9");
    assert_eq!(system.update("1.1").unwrap(), "3:1.0 2:1.0 1:1.0 0:1.0");
    assert_eq!(system.vacuum(), "");
}

#[test]
fn different_limits_never_leave_a_part_of_a_version() {
    // each step as an update to the next version does it
    let mut there: Vec<String> = vec!["1".into()];
    for new in ["2", "3", "4", "5"] {
        let words = there.join(" ");
        let system = System::new(&[(&words, None), (&words, None)]).max(&[2, 4]);
        let gone = system.update(new).unwrap();
        there.retain(|version| !gone.contains(&format!(":{version}")));
        there.push(new.into());
    }
    assert_eq!(there, ["4", "5"]);
}

#[test]
fn the_oldest_versions_go_until_the_smallest_limit_holds() {
    let files = |words| System::new(&[(words, None), (words, None)]);
    assert_eq!(files("1 2 3 4 5").vacuum(), "1:1 0:1 1:2 0:2");
    assert_eq!(files("1 2 3").vacuum(), "");
    assert_eq!(files("1 2 3").update("4").unwrap(), "1:1 0:1");
    assert_eq!(files("1 2 3").max(&[9, 2]).vacuum(), "1:1 0:1");
    let one = Wish {
        instances_max: Some(1),
        ..Wish::default()
    };
    assert_eq!(files("1 2 3").plan(&one).unwrap(), "1:1 0:1 1:2 0:2");
}

#[test]
fn incomplete_versions_go_before_complete_ones() {
    let system = System::new(&[("1 2 3 4", None), ("1 3 4", None)]);
    assert_eq!(system.vacuum(), "0:2");
    assert_eq!(system.update("5").unwrap(), "0:2 1:1 0:1");
    // within the limit, nothing has to go
    assert_eq!(System::new(&[("1 2 3", None), ("3", None)]).vacuum(), "");
}

#[test]
fn what_is_booted_linked_or_newest_stays() {
    let system = System::new(&[("1 2 3 4 5", None)]).max(&[2]);
    let (one, three) = (version("1"), version("3"));
    let wish = Wish {
        booted: Some(&one),
        linked: vec![three],
        ..Wish::default()
    };
    assert_eq!(system.plan(&wish).unwrap(), "0:2 0:4");
    // too many that are kept are just kept
    let six = version("6");
    let update = Wish {
        installing: Some(&six),
        ..wish
    };
    assert_eq!(system.plan(&update).unwrap(), "0:2 0:4 0:5");
}

#[test]
fn the_newest_version_goes_only_when_another_complete_one_stays() {
    // three slots, none is empty: 1 runs, 2 is incomplete
    let slots = |words: &str| System::new(&[(words, Some(0))]);
    let one = version("1");
    let three = version("3");
    let wish = Wish {
        installing: Some(&three),
        booted: Some(&one),
        ..Wish::default()
    };
    assert_eq!(slots("1 2").plan(&wish).unwrap(), "0:2");
    let protecting = slots("1 2").protect(0, "2");
    let e = protecting.plan(&wish).unwrap_err();
    assert_eq!(
        e.to_string(),
        "No partition slot can be emptied for 0: 2 is protected, 1 is in use; nothing is changed"
    );
    // the other one lacks something
    let half = System::new(&[("1 2", Some(0)), ("2", None)]);
    let e = half.plan(&wish).unwrap_err();
    assert!(
        e.to_string()
            .contains("2 is the newest, and no other one can take its place"),
        "{e}"
    );
}

#[test]
fn what_was_gone_back_from_does_not_take_the_place_of_the_newest_version() {
    // 2 runs until the next boot, 1 was gone back to
    let slots = System::new(&[("1 2", Some(0)), ("1 2", None)]);
    let (two, three) = (version("2"), version("3"));
    let wish = Wish {
        installing: Some(&three),
        booted: Some(&two),
        held: vec![two.clone()],
        ..Wish::default()
    };
    let e = slots.plan(&wish).unwrap_err();
    assert_eq!(
        e.to_string(),
        "No partition slot can be emptied for 0: 2 is in use, 1 is the newest, and no other one can take its place; nothing is changed"
    );
    // once 1 runs, 2 goes
    let one = version("1");
    let wish = Wish {
        booted: Some(&one),
        ..wish
    };
    assert_eq!(slots.plan(&wish).unwrap(), "1:2 0:2");
}

#[test]
fn fewer_than_two_slots_are_an_error() {
    for (words, free) in [("", 0), ("1", 0), ("", 1)] {
        let e = System::new(&[(words, Some(free))])
            .update("2")
            .unwrap_err()
            .to_string();
        assert_eq!(
            e,
            "Partition table has less than two partition slots of the right type 0fc63daf-8483-4772-8e79-3d69d8477de4 \
             (linux-generic) and matching the expected pattern 'os_@v', refusing."
        );
    }
    assert_eq!(System::new(&[("1", Some(1))]).update("2").unwrap(), "");
}

#[test]
fn the_number_of_slots_is_a_limit_and_empty_ones_are_used_first() {
    let slots = |words: &str, free| System::new(&[(words, Some(free))]);
    assert_eq!(slots("1 2 3", 1).update("4").unwrap(), "");
    assert_eq!(slots("1 2 3", 0).update("4").unwrap(), "0:1");
    assert_eq!(slots("1 2 3", 1).max(&[2]).update("4").unwrap(), "0:1 0:2");
    // the slots of another transfer decide for files as well
    let both = System::new(&[("1 2", Some(0)), ("1 2", None)]);
    assert_eq!(both.update("3").unwrap(), "1:1 0:1");
}

#[test]
fn transfers_to_one_type_share_its_slots() {
    let transfers = [transfer("a"), transfer("b")];
    let resources = |free| {
        let mut both = [
            resource(&transfers[0], "1", ""),
            resource(&transfers[1], "1", ""),
        ];
        for resource in &mut both {
            resource.slots = Some(Slots { pool: 7, free });
        }
        both
    };
    let two = version("2");
    let wish = Wish {
        installing: Some(&two),
        ..Wish::default()
    };
    let plan = |free| {
        let resources = resources(free);
        plan(&resources, &[], &Sets::of(&resources), &wish).map(|plan| plan.removals.len())
    };
    assert_eq!(plan(2), Ok(0));
    // three slots are not enough for two versions of both
    assert!(matches!(plan(1), Err(Impossible::FewSlots(..))));
}

#[test]
fn what_is_unfinished_goes_first_unless_it_is_to_be_installed() {
    let system = System::new(&[("1 2! 3?", None), ("1 2 3", None)]);
    assert_eq!(system.vacuum(), "1:2 0:2 1:3 0:3");
    assert_eq!(system.update("3").unwrap(), "1:2 0:2");
    assert_eq!(system.clone().protect(1, "2").vacuum(), "1:3 0:3");
    assert_eq!(system.clone().protect(1, "3").vacuum(), "1:2 0:2 0:3");
    // acquired and nothing else
    assert_eq!(
        System::new(&[("2!", None), ("2!", None)]).vacuum(),
        "1:2 0:2"
    );
    // there is nothing else: what is installed of it stays
    assert_eq!(System::new(&[("1", None), ("1!", None)]).vacuum(), "1:1");
}

#[test]
fn an_installed_part_of_the_version_needs_no_more_room() {
    let system = System::new(&[("2 3", Some(0)), ("2", Some(1))]);
    assert_eq!(system.update("3").unwrap(), "");
}

#[test]
fn of_disabled_transfers_all_goes_but_what_is_protected_or_booted() {
    let mut transfers = [transfer("on"), transfer("off"), transfer("none")];
    transfers[0].protected.push("1".into());
    transfers[1].protected.push("2".into());
    let enabled = [resource(&transfers[0], "1 2 3 4", "")];
    let disabled = [
        resource(&transfers[1], "1 2 3 4? 5!", ""),
        resource(&transfers[2], "", ""),
    ];
    let three = version("3");
    let wish = Wish {
        booted: Some(&three),
        ..Wish::default()
    };
    let plan = plan(&enabled, &disabled, &Sets::of(&enabled), &wish).unwrap();
    let gone: Vec<(usize, usize, Why)> = plan
        .disabled
        .iter()
        .map(|r| (r.resource, r.instance, r.why))
        .collect();
    assert_eq!(gone, [(0, 3, Why::Disabled), (0, 4, Why::Disabled)]);
    assert_eq!((plan.disabled_transfers, plan.versions), (1, 1));
}

#[test]
fn all_instances_of_a_version_in_one_transfer_leave_with_it() {
    let system = System::new(&[("1 1 2", None)]).max(&[2]);
    assert_eq!(system.update("3").unwrap(), "0:1 0:1");
}

fn systems() -> impl Strategy<Value = System> {
    let word = prop::sample::select(vec!["1", "2", "3", "4", "5", "5?", "3!"]);
    let words = proptest::collection::vec(word, 0..6).prop_map(|words| words.join(" "));
    let target = (
        words,
        proptest::option::of(0..3_usize),
        2..5_u64,
        any::<bool>(),
    );
    proptest::collection::vec(target, 1..4).prop_map(|targets| {
        let words: Vec<(&str, Option<usize>)> =
            targets.iter().map(|t| (t.0.as_str(), t.1)).collect();
        let max: Vec<u64> = targets.iter().map(|t| t.2).collect();
        let system = System::new(&words).max(&max);
        match targets[0].3 {
            true => system.protect(0, "2"),
            false => system,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn a_plan_never_halves_a_complete_version_and_makes_the_room_that_is_needed(
        system in systems(), new in prop::sample::select(vec!["3", "5", "6"]), is_update in any::<bool>(),
    ) {
        let new = version(new);
        let booted = version("4");
        let wish = Wish {
            installing: is_update.then_some(&new),
            booted: Some(&booted),
            ..Wish::default()
        };
        let resources = system.resources();
        let sets = Sets::of(&resources);
        let Ok(plan) = plan(&resources, &[], &sets, &wish) else { return Ok(()) };
        let is_gone = |resource: usize, instance: usize| {
            plan.removals.iter().any(|r| (r.resource, r.instance) == (resource, instance))
        };
        let mut complete_left = 0;
        for set in sets.all() {
            let all: Vec<(usize, usize)> = set.target.iter().enumerate().flat_map(|(r, of)| of.iter().map(move |i| (r, *i))).collect();
            let gone = all.iter().filter(|(r, i)| is_gone(*r, *i)).count();
            if set.is_complete() {
                prop_assert!(gone == 0 || gone == all.len(), "half of {} goes", set.version);
                complete_left += usize::from(gone == 0);
                let is_kept = set.is_protected || set.version == booted || wish.installing == Some(&set.version);
                prop_assert!(gone == 0 || !is_kept, "{} goes", set.version);
            }
        }
        let had = sets.all().iter().filter(|s| s.is_complete()).count();
        prop_assert!(had == 0 || complete_left > 0, "no complete version is left");
        if is_update {
            for (number, resource) in resources.iter().enumerate() {
                let Some(slots) = resource.slots else { continue };
                let gone = (0..resource.target.len()).filter(|i| is_gone(number, *i)).count();
                let has = resource.target.iter().any(|i| i.version == new);
                prop_assert!(has || slots.free + gone > 0, "transfer {} has no room", number);
            }
        }
        let mut each: Vec<(usize, usize)> = plan.removals.iter().map(|r| (r.resource, r.instance)).collect();
        each.sort();
        each.dedup();
        prop_assert_eq!(each.len(), plan.removals.len(), "something goes twice");
    }
}

#[test]
fn the_reason_of_a_removal_is_known() {
    let transfers = [transfer("a")];
    let mut resources = [resource(&transfers[0], "1", "")];
    resources[0].target = vec![instance("1?"), instance("2!"), instance("3"), instance("4")];
    let one = Wish {
        instances_max: Some(1),
        ..Wish::default()
    };
    let plan = plan(&resources, &[], &Sets::of(&resources), &one).unwrap();
    let why: Vec<Why> = plan.removals.iter().map(|r| r.why).collect();
    assert_eq!(why, [Why::Partial, Why::Pending, Why::Old]);
    assert_eq!(plan.versions, 3);
}

#[test]
fn what_was_gone_back_from_goes_before_what_is_used_instead() {
    let system = System::new(&[("1 2 3", None), ("1 2 3", None)]).max(&[3, 3]);
    let (new, held) = (version("4"), vec![version("3")]);
    let wish = |held: Vec<Version>| Wish {
        installing: Some(&new),
        held,
        instances_max: Some(2),
        ..Wish::default()
    };
    assert_eq!(system.plan(&wish(held)).unwrap(), "1:1 0:1 1:3 0:3");
    // 3 itself stays only while it is not held
    assert_eq!(system.plan(&wish(vec![])).unwrap(), "1:1 0:1 1:2 0:2");
}
