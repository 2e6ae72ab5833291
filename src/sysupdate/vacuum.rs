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
    /// The version that runs, or whose root is mounted.
    pub booted: Option<&'v Version>,
    /// The versions that links show to.
    pub linked: Vec<Version>,
    /// Versions that were gone back from: none of them counts as the newest.
    pub held: Vec<Version>,
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

impl Plan {
    /// Whether nothing goes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.removals.is_empty() && self.disabled.is_empty()
    }
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
    /// It runs, or its root is mounted.
    Booted,
    /// A link shows to it.
    Linked,
    /// It is being installed.
    Installing,
    /// It is the newest one, and every other one is incomplete or was gone back from.
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
                        Kept::Booted => "is in use",
                        Kept::Linked => "is what a link shows to",
                        Kept::Installing => "is the one to install",
                        Kept::Newest => "is the newest, and no other one can take its place",
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
        let whole = sets.newest_complete(&wish.held);
        let newest = whole.or_else(|| {
            let is_there = |set: &&UpdateSet| set.has_installed(enabled);
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
                    // nobody wants to be left with what was gone back from
                    && !self.wish.held.contains(&set.version)
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

#[cfg(test)]
mod tests;
