//! What goes, so that a new version has room: whole sets, planned before the first of them is touched.
//!
//! Invariant: the plan never leaves half of a version that is installed as a whole, and never takes one that is protected, booted,
//! linked to or being installed. Pure: what is installed and how many slots there are comes in as data.

use std::collections::BTreeMap;
use std::fmt;

use super::instance::{Resource, State};
use super::partition_type::PartitionType;
use super::set::{Sets, UpdateSet};
use super::version::Version;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Wish<'v> {
    /// The version that is to be installed, which needs room; `None` to clean up only.
    pub installing: Option<&'v Version>,
    /// The version that runs.
    pub booted: Option<&'v Version>,
    /// The versions that links show to.
    pub linked: Vec<Version>,
    /// How many versions may stay, whatever the transfers say.
    pub instances_max: Option<u64>,
}

/// Why an instance goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its version is one too many.
    Old,
    /// It waits for its name, and nobody wants it any more.
    Pending,
    /// It was never finished.
    Partial,
    /// Its transfer takes no part.
    Disabled,
}

/// An instance that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// Number of the resource, among the enabled ones or among the disabled ones.
    pub resource: usize,
    /// Number of the instance in its target.
    pub instance: usize,
    /// Why it goes.
    pub why: Why,
}

/// Everything that goes, in the order in which it is to be removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Of enabled transfers. Of each set, what was installed last goes first.
    pub removals: Vec<Removal>,
    /// How many versions these belong to.
    pub versions: usize,
    /// Of disabled transfers.
    pub disabled: Vec<Removal>,
    /// How many transfers these belong to.
    pub disabled_transfers: usize,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Impossible {
    /// There are fewer than two slots: their type, and the pattern of their labels.
    FewSlots(PartitionType, String),
    /// No slot can be emptied: the transfers that need one, and what keeps each set.
    NoSlot(Vec<String>, Vec<(Version, Kept)>),
}

/// What keeps a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// A transfer protects it.
    Protected,
    /// It runs.
    Booted,
    /// A link shows to it.
    Linked,
    /// It is being installed.
    Installing,
    /// It is the newest one, and no other one is complete.
    Newest,
}

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Impossible::FewSlots(kind, pattern) => write!(
                f,
                "Partition table has less than two partition slots of the right type {} ({}) and matching the expected pattern '{pattern}', refusing.",
                kind.0,
                kind.name().unwrap_or("unknown"),
            ),
            Impossible::NoSlot(transfers, kept) => {
                write!(
                    f,
                    "No partition slot can be emptied for {}",
                    transfers.join(", ")
                )?;
                for (at, (version, kept)) in kept.iter().enumerate() {
                    let why = match kept {
                        Kept::Protected => "is protected",
                        Kept::Booted => "is booted",
                        Kept::Linked => "is what a link shows to",
                        Kept::Installing => "is the one to install",
                        Kept::Newest => "is the newest, and no other one is complete",
                    };
                    write!(f, "{} {version} {why}", if at == 0 { ":" } else { "," })?;
                }
                f.write_str("; nothing is changed")
            }
        }
    }
}

impl std::error::Error for Impossible {}

/// What goes of the targets of `enabled` and `disabled`, so that `wish` has room. `sets` are those of `enabled`.
///
/// # Errors
/// When there can be no room; nothing may be removed then.
pub fn plan(
    enabled: &[Resource<'_>],
    disabled: &[Resource<'_>],
    sets: &Sets,
    wish: &Wish<'_>,
) -> Result<Plan, Impossible> {
    let mut planner = Planner::new(enabled, disabled, sets, wish)?;
    planner.remove_unfinished();
    planner.remove_old()?;
    planner.remove_disabled();
    Ok(planner.plan)
}

struct Planner<'p> {
    enabled: &'p [Resource<'p>],
    disabled: &'p [Resource<'p>],
    sets: &'p [UpdateSet],
    wish: &'p Wish<'p>,
    newest: Option<&'p Version>,
    /// How many versions may stay besides the one to be installed.
    limit: u64,
    /// Sets that stay so far.
    stays: Vec<bool>,
    /// Of each pool, how many slots are missing (when negative, so many are left).
    missing: BTreeMap<usize, i64>,
    plan: Plan,
}

impl<'p> Planner<'p> {
    fn new(
        enabled: &'p [Resource<'p>],
        disabled: &'p [Resource<'p>],
        sets: &'p Sets,
        wish: &'p Wish<'p>,
    ) -> Result<Planner<'p>, Impossible> {
        let whole = sets.newest_complete();
        let newest = whole.or_else(|| {
            let is_there = |set: &&UpdateSet| has_installed(set, enabled);
            sets.all().iter().find(is_there)
        });
        let mut limit = u64::MAX;
        let mut missing = BTreeMap::new();
        for resource in enabled {
            let target = &resource.transfer.target;
            limit = limit.min(wish.instances_max.unwrap_or(target.instances_max()));
            let Some(slots) = resource.slots else {
                continue;
            };
            let sharing = || {
                enabled
                    .iter()
                    .filter(|r| r.slots.is_some_and(|s| s.pool == slots.pool))
            };
            let used: usize = sharing().map(|r| r.target.len()).sum();
            let each = (slots.free + used) / sharing().count();
            if each < 2 {
                let pattern = target.patterns.first().map(|p| p.to_string());
                return Err(Impossible::FewSlots(
                    target.partition_type,
                    pattern.unwrap_or_default(),
                ));
            }
            limit = limit.min(each as u64);
            let needs_one = wish
                .installing
                .is_some_and(|v| resource.target.iter().all(|i| i.version != *v));
            let free = i64::try_from(slots.free).unwrap_or(i64::MAX);
            *missing.entry(slots.pool).or_insert(-free) += i64::from(needs_one);
        }
        Ok(Planner {
            enabled,
            disabled,
            sets: sets.all(),
            wish,
            newest: newest.map(|set| &set.version),
            limit: limit.saturating_sub(u64::from(wish.installing.is_some())),
            stays: sets.all().iter().map(|set| set.is_installed).collect(),
            missing,
            plan: Plan::default(),
        })
    }

    /// What keeps a set, whatever else.
    fn kept(&self, set: &UpdateSet) -> Option<Kept> {
        let is = |version: Option<&Version>| version == Some(&set.version);
        if is(self.wish.installing) {
            Some(Kept::Installing)
        } else if set.is_protected {
            Some(Kept::Protected)
        } else if is(self.wish.booted) {
            Some(Kept::Booted)
        } else if self.wish.linked.contains(&set.version) {
            Some(Kept::Linked)
        } else if is(self.newest) {
            Some(Kept::Newest)
        } else {
            None
        }
    }

    /// What was begun and is not going to be finished goes first: all of such a set, or of one that is kept just that.
    fn remove_unfinished(&mut self) {
        for (number, set) in self.sets.iter().enumerate().rev() {
            let is_unfinished = set.is_partial || set.is_pending;
            if !is_unfinished || self.wish.installing == Some(&set.version) {
                continue;
            }
            if self.kept(set).is_none() {
                self.remove(number, |_| true);
            } else {
                self.remove(number, |state| match state {
                    State::Partial => true,
                    State::Pending => !set.is_protected,
                    State::Installed => false,
                });
            }
        }
    }

    /// Sets that nothing keeps: first those that are of no use, then the oldest.
    fn remove_old(&mut self) -> Result<(), Impossible> {
        for is_whole in [false, true] {
            for (number, set) in self.sets.iter().enumerate().rev() {
                if !self.is_crowded() {
                    return Ok(());
                }
                if self.stays[number] && set.is_complete() == is_whole && self.kept(set).is_none() {
                    self.remove(number, |_| true);
                }
            }
        }
        if self.wish.installing.is_none() || !self.is_crowded() {
            return Ok(());
        }
        let newest = self
            .sets
            .iter()
            .position(|set| self.kept(set) == Some(Kept::Newest));
        if let Some(number) = newest.filter(|number| self.stays[*number]) {
            let mut others = self.sets.iter().enumerate();
            let is_safe = |(at, set): (usize, &UpdateSet)| {
                at != number
                    && self.stays[at]
                    && set.is_complete()
                    && self.wish.installing != Some(&set.version)
            };
            if others.any(is_safe) {
                self.remove(number, |_| true);
            }
        }
        match self.missing.values().any(|missing| *missing > 0) {
            true => Err(self.no_slot()),
            // too many that are kept are just kept
            false => Ok(()),
        }
    }

    fn is_crowded(&self) -> bool {
        let others = self.sets.iter().zip(&self.stays);
        let others =
            others.filter(|(set, stays)| **stays && self.wish.installing != Some(&set.version));
        others.count() as u64 > self.limit || self.missing.values().any(|missing| *missing > 0)
    }

    fn no_slot(&self) -> Impossible {
        let lacks = |r: &&Resource<'_>| {
            r.slots
                .is_some_and(|s| self.missing.get(&s.pool).is_some_and(|m| *m > 0))
        };
        let needs = |r: &&Resource<'_>| {
            r.target
                .iter()
                .all(|i| self.wish.installing != Some(&i.version))
        };
        let transfers = self
            .enabled
            .iter()
            .filter(lacks)
            .filter(needs)
            .map(|r| r.transfer.id.clone());
        let staying = self
            .sets
            .iter()
            .zip(&self.stays)
            .filter(|(_, stays)| **stays);
        let kept = staying.filter_map(|(set, _)| Some((set.version.clone(), self.kept(set)?)));
        Impossible::NoSlot(transfers.collect(), kept.collect())
    }

    /// Takes the instances of a set that are in such a state, those of the last transfer first.
    fn remove(&mut self, number: usize, is_meant: impl Fn(State) -> bool) {
        let set = &self.sets[number];
        let before = self.plan.removals.len();
        let mut left = 0;
        for (resource, instances) in set.target.iter().enumerate().rev() {
            for instance in instances {
                let state = self.enabled[resource].target[*instance].state;
                if !is_meant(state) {
                    left += 1;
                    continue;
                }
                self.plan.removals.push(Removal {
                    resource,
                    instance: *instance,
                    why: match state {
                        State::Installed => Why::Old,
                        State::Pending => Why::Pending,
                        State::Partial => Why::Partial,
                    },
                });
                if let Some(slots) = self.enabled[resource].slots {
                    *self.missing.entry(slots.pool).or_default() -= 1;
                }
            }
        }
        self.plan.versions += usize::from(self.plan.removals.len() > before);
        self.stays[number] = left > 0;
    }

    /// What disabled transfers have goes, except what anybody protects and what runs.
    fn remove_disabled(&mut self) {
        let all = self.enabled.iter().chain(self.disabled);
        let protected: Vec<&String> = all.flat_map(|r| &r.transfer.protected).collect();
        for (number, resource) in self.disabled.iter().enumerate() {
            let before = self.plan.disabled.len();
            for (instance, found) in resource.target.iter().enumerate() {
                let is_protected = protected.iter().any(|text| found.version.is_text(text));
                if !is_protected && self.wish.booted != Some(&found.version) {
                    self.plan.disabled.push(Removal {
                        resource: number,
                        instance,
                        why: Why::Disabled,
                    });
                }
            }
            self.plan.disabled_transfers += usize::from(self.plan.disabled.len() > before);
        }
    }
}

fn has_installed(set: &UpdateSet, resources: &[Resource<'_>]) -> bool {
    let mut all = set
        .target
        .iter()
        .zip(resources)
        .flat_map(|(numbers, r)| numbers.iter().map(|n| &r.target[*n]));
    all.any(|instance| instance.state == State::Installed)
}

#[cfg(test)]
mod tests {
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
            "No partition slot can be emptied for 0: 2 is protected, 1 is booted; nothing is changed"
        );
        // the other one lacks something
        let half = System::new(&[("1 2", Some(0)), ("2", None)]);
        let e = half.plan(&wish).unwrap_err();
        assert!(
            e.to_string()
                .contains("2 is the newest, and no other one is complete"),
            "{e}"
        );
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
}
