//! Which slot each transfer to a disk writes: all of them together, before the first is written.
//!
//! Pure: what is in the slots, what goes, and how much room is needed come in as data.

use std::collections::BTreeMap;
use std::fmt;

use super::plan::{Plan, Step};
use crate::sysupdate::instance::{Resource, Spot, State};

/// A slot that is going to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assigned {
    /// The number of the partition, from one.
    pub number: u32,
    /// Bytes that it holds.
    pub length: u64,
    /// Whether it has a version that goes before.
    pub is_occupied: bool,
}

/// Why a transfer has no slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooLarge {
    /// The transfer.
    pub transfer: String,
    /// Bytes that it needs at least.
    pub needed: u64,
    /// Bytes of the largest slot that there is for it; `None` when there is none.
    pub largest: Option<u64>,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TooLarge {
            transfer, needed, ..
        } = self;
        match self.largest {
            Some(largest) => write!(
                f,
                "{transfer}: {needed} bytes are needed, and the largest slot that is free or becomes so has {largest}"
            ),
            None => write!(f, "{transfer}: no slot is free or becomes so"),
        }
    }
}

/// A slot that is free, or will be.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    pool: usize,
    slot: Assigned,
    /// Only this resource may have it: what it has begun to write is in it.
    only: Option<usize>,
}

/// Chooses a slot for each of [`Plan::acquired`] that goes to a disk; `needed` says how many bytes each of them needs at least, 0 when
/// that is not known. Empty slots come before those that are emptied for it, and the smallest that is large enough before larger ones.
///
/// # Errors
/// Everything that finds no slot.
pub fn assign(
    enabled: &[Resource<'_>],
    plan: &Plan,
    needed: &[u64],
) -> Result<BTreeMap<usize, Assigned>, Vec<TooLarge>> {
    let mut candidates = candidates(enabled, plan);
    let mut wanting: Vec<(u64, usize)> = plan
        .items
        .iter()
        .filter(|item| matches!(item.step, Step::Acquire(_)))
        .zip(needed)
        .map(|(item, needed)| (*needed, item.resource))
        .filter(|(_, resource)| enabled[*resource].slots.is_some())
        .collect();
    // whoever needs most has the fewest slots to choose from, all of which are good enough for the others as well
    wanting.sort_by_key(|(needed, resource)| (std::cmp::Reverse(*needed), *resource));
    let (mut chosen, mut failed) = (BTreeMap::new(), Vec::new());
    for (needed, resource) in wanting {
        let pool = enabled[resource].slots.map(|slots| slots.pool);
        let fits =
            |c: &Candidate| Some(c.pool) == pool && c.only.is_none_or(|only| only == resource);
        let best = candidates
            .iter()
            .enumerate()
            .filter(|(_, c)| fits(c) && c.slot.length >= needed)
            .min_by_key(|(_, c)| {
                let is_begun = c.only.is_some();
                (!is_begun, c.slot.is_occupied, c.slot.length, c.slot.number)
            });
        match best.map(|(at, _)| at) {
            Some(at) => {
                chosen.insert(resource, candidates.swap_remove(at).slot);
            }
            None => failed.push(TooLarge {
                transfer: enabled[resource].transfer.id.clone(),
                needed,
                largest: candidates
                    .iter()
                    .filter(|c| fits(c))
                    .map(|c| c.slot.length)
                    .max(),
            }),
        }
    }
    match failed.is_empty() {
        true => Ok(chosen),
        false => Err(failed),
    }
}

/// Every slot that is empty, that the plan empties, or that has what was begun of the version.
fn candidates(enabled: &[Resource<'_>], plan: &Plan) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    for (number, resource) in enabled.iter().enumerate() {
        let Some(slots) = resource.slots else {
            continue;
        };
        for slot in &resource.room {
            let candidate = Candidate {
                pool: slots.pool,
                slot: Assigned {
                    number: slot.number,
                    length: slot.length,
                    is_occupied: false,
                },
                only: None,
            };
            if slot.is_empty {
                let is_same = |c: &Candidate| {
                    (c.pool, c.slot.number) == (candidate.pool, candidate.slot.number)
                };
                // transfers that share slots both see it
                if !found.iter().any(is_same) {
                    found.push(candidate);
                }
                continue;
            }
            let at = resource.target.iter().position(
                |i| matches!(i.spot, Spot::Partition { number, .. } if number == slot.number),
            );
            let Some(at) = at else { continue };
            let goes = plan
                .vacuum
                .removals
                .iter()
                .map(|r| (r.resource, r.instance))
                .chain(plan.strays.iter().copied())
                .any(|gone| gone == (number, at));
            let instance = &resource.target[at];
            let is_begun = instance.state == State::Partial && instance.version == plan.version;
            let slot = Assigned {
                is_occupied: instance.state == State::Installed,
                ..candidate.slot
            };
            if goes {
                found.push(Candidate { slot, ..candidate });
            } else if is_begun {
                found.push(Candidate {
                    slot,
                    only: Some(number),
                    ..candidate
                });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::sysupdate::instance::{Instance, Slot, Slots};
    use crate::sysupdate::pattern::Metadata;
    use crate::sysupdate::testing::{instance, resource, transfer, version};
    use crate::sysupdate::update::plan::Item;
    use crate::sysupdate::vacuum::{self, Removal, Why};

    /// Slots as `NUMBER:LENGTH` when they are empty, `NUMBER:LENGTH:VERSION` when the plan takes that version away, with `?` when it is
    /// what was begun of the version that is installed.
    fn chosen(pools: &[(usize, &str)], needed: &[u64]) -> String {
        let transfers: Vec<_> = (0..pools.len()).map(|n| transfer(&n.to_string())).collect();
        let mut removals = Vec::new();
        let mut resources = Vec::new();
        for (number, ((pool, slots), transfer)) in pools.iter().zip(&transfers).enumerate() {
            let mut found = resource(transfer, "", "9");
            for slot in slots.split_ascii_whitespace() {
                let mut parts = slot.split(':');
                let mut number_of = || parts.next().unwrap().parse::<u64>().unwrap();
                let (at, length) = (number_of() as u32, number_of());
                let text = parts.next();
                found.room.push(Slot {
                    number: at,
                    length,
                    is_empty: text.is_none(),
                });
                let Some(text) = text else { continue };
                let spot = Spot::Partition {
                    number: at,
                    label: text.into(),
                };
                let there = Instance {
                    spot,
                    ..instance(text)
                };
                if there.state == State::Installed {
                    removals.push(Removal {
                        resource: number,
                        instance: found.target.len(),
                        why: Why::Old,
                    });
                }
                found.target.push(there);
            }
            found.slots = Some(Slots {
                pool: *pool,
                free: found.room.iter().filter(|s| s.is_empty).count(),
            });
            resources.push(found);
        }
        let item = |resource| Item {
            resource,
            step: Step::Acquire(0),
            name: PathBuf::from("os_9"),
            slot: None,
            metadata: Metadata::default(),
        };
        let plan = Plan {
            version: version("9"),
            items: (0..pools.len()).map(item).collect(),
            strays: Vec::new(),
            vacuum: vacuum::Plan {
                removals,
                ..vacuum::Plan::default()
            },
        };
        match assign(&resources, &plan, needed) {
            Ok(chosen) => {
                let words = chosen.values().map(|slot| {
                    let mark = if slot.is_occupied { "!" } else { "" };
                    format!("{}{mark}", slot.number)
                });
                words.collect::<Vec<_>>().join(" ")
            }
            Err(failed) => failed
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; "),
        }
    }

    #[test]
    fn every_transfer_gets_a_slot_that_is_large_enough_or_all_that_do_not_are_named() {
        // the smallest empty one that is large enough
        assert_eq!(chosen(&[(0, "1:9 2:5 3:4")], &[5]), "2");
        assert_eq!(chosen(&[(0, "1:9 2:5 3:4")], &[0]), "3");
        // an empty one before one that is emptied for it
        assert_eq!(chosen(&[(0, "1:5:1 2:9")], &[5]), "2");
        assert_eq!(chosen(&[(0, "1:9:1 2:4")], &[5]), "1!");
        // where it was begun it is gone on with, if that is large enough
        assert_eq!(chosen(&[(0, "1:4 2:9:9?")], &[4]), "2");
        assert_eq!(chosen(&[(0, "1:9 2:4:9?")], &[5]), "1");
        // two of one type: the larger one chooses first, and no slot is given twice
        let shared = "1:9 2:5";
        assert_eq!(chosen(&[(0, shared), (0, shared)], &[3, 7]), "2 1");
        assert_eq!(chosen(&[(0, shared), (0, shared)], &[7, 3]), "1 2");
        assert_eq!(
            chosen(&[(0, shared), (0, shared)], &[7, 7]),
            "1: 7 bytes are needed, and the largest slot that is free or becomes so has 5"
        );
        // what one of them gives up the other may take, but not what the other has begun
        assert_eq!(chosen(&[(0, "1:9:1"), (0, "2:5:1")], &[3, 7]), "2! 1!");
        assert_eq!(
            chosen(&[(0, "1:9:9?"), (0, "")], &[3, 7]),
            "1: no slot is free or becomes so"
        );
        // types of their own
        assert_eq!(chosen(&[(0, "1:9"), (1, "2:5")], &[3, 5]), "1 2");
        assert_eq!(
            chosen(&[(0, "1:2"), (1, "2:2")], &[3, 5]),
            "1: 5 bytes are needed, and the largest slot that is free or becomes so has 2; \
             0: 3 bytes are needed, and the largest slot that is free or becomes so has 2"
        );
    }
}
