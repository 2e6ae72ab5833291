//! Which snapshot the next one is made from. Pure.

use std::fmt;

use crate::snapshot::{Inventory, Metadata, Snapshot, SnapshotId, key};

/// What the caller wants to build upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BasePolicy {
    /// The pending update when it descends from the current system and was never booted, else the current one.
    #[default]
    Auto,
    /// The current system.
    Current,
    /// What boots next.
    Default,
    /// This snapshot.
    Snapshot(SnapshotId),
}

/// Why a base was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is the running system, and nothing is pending.
    Current,
    /// It waits for the next boot.
    Pending,
    /// It is the running system, and this pending update will not be part of the new one.
    PendingLeftOut(SnapshotId),
    /// The caller named it.
    Asked,
}

/// The base of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// The snapshot.
    pub id: SnapshotId,
    /// Why this one.
    pub reason: Reason,
}

/// Why there is no base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseError {
    /// There is no such snapshot.
    Missing(SnapshotId),
    /// Another transaction still makes it.
    InProgress(SnapshotId),
    /// It was being changed in place, and nobody has said that all of the change is there.
    HalfChanged(SnapshotId),
    /// Its metadata cannot be understood; the text says why.
    NotUnderstood(SnapshotId, String),
    /// The default subvolume is no snapshot.
    NoDefault,
    /// The running system is no snapshot.
    NoCurrent,
}

impl fmt::Display for BaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BaseError::Missing(id) => {
                write!(f, "there is no snapshot {id}; `list` shows those there are")
            }
            BaseError::InProgress(id) => {
                write!(
                    f,
                    "snapshot {id} belongs to a transaction that has not ended; choose another one"
                )
            }
            BaseError::HalfChanged(id) => {
                write!(
                    f,
                    "snapshot {id} was being updated in place and may be half changed; choose another one"
                )
            }
            BaseError::NotUnderstood(id, why) => {
                write!(
                    f,
                    "snapshot {id} cannot be used, its info.xml is not understood: {why}"
                )
            }
            BaseError::NoDefault => {
                f.write_str("the default subvolume is no snapshot; name one with --continue=N")
            }
            BaseError::NoCurrent => {
                f.write_str("the running system is no snapshot; name one with --continue=N")
            }
        }
    }
}

impl std::error::Error for BaseError {}

/// Chooses the base.
///
/// # Errors
/// When the snapshot that was asked for, or that the rule gives, cannot be built upon.
pub fn choose(inventory: &Inventory, policy: BasePolicy) -> Result<Base, BaseError> {
    let current = || inventory.current.ok_or(BaseError::NoCurrent);
    let (id, reason) = match policy {
        BasePolicy::Snapshot(id) => (id, Reason::Asked),
        BasePolicy::Default => (
            inventory.default.ok_or(BaseError::NoDefault)?,
            Reason::Asked,
        ),
        BasePolicy::Current => (
            current()?,
            left_out(inventory).map_or(Reason::Current, Reason::PendingLeftOut),
        ),
        BasePolicy::Auto => match (continuable(inventory), left_out(inventory)) {
            (Some(id), _) => (id, Reason::Pending),
            (None, Some(pending)) => (current()?, Reason::PendingLeftOut(pending)),
            (None, None) => (current()?, Reason::Current),
        },
    };
    // what was booted and still runs is a good base even when its description was lost
    let running = Some(id) == inventory.current || Some(id) == inventory.booted;
    match inventory.get(id) {
        Some(Snapshot {
            subvolume: Some(_),
            metadata,
            ..
        }) => match metadata {
            Metadata::Good(info) if info.in_progress() => Err(BaseError::InProgress(id)),
            Metadata::Good(info) if info.userdata.contains_key(key::IN_PLACE) => {
                Err(BaseError::HalfChanged(id))
            }
            Metadata::Bad(why) if !running => Err(BaseError::NotUnderstood(id, why.clone())),
            Metadata::Missing if !running => {
                Err(BaseError::NotUnderstood(id, "it is missing".into()))
            }
            _ => Ok(Base { id, reason }),
        },
        _ => Err(BaseError::Missing(id)),
    }
}

/// The pending update, when every snapshot between it and the current system is ours and was never booted.
fn continuable(inventory: &Inventory) -> Option<SnapshotId> {
    let pending = inventory.pending().filter(|p| p.is_whole())?.id;
    let chain = inventory.lineage(pending, inventory.current?)?;
    chain
        .iter()
        .all(|id| inventory.get(*id).is_some_and(|s| !s.was_booted()))
        .then_some(pending)
}

fn left_out(inventory: &Inventory) -> Option<SnapshotId> {
    inventory
        .default
        .filter(|d| Some(*d) != inventory.current && Some(*d) != inventory.booted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Info, Subvolume};

    fn id(n: u32) -> SnapshotId {
        SnapshotId::new(n).unwrap()
    }

    /// Snapshots 1..=n, all whole; `bases` lists which was made from which.
    fn system(n: u32, current: u32, default: u32, bases: &[(u32, u32)]) -> Inventory {
        let mut inventory = Inventory {
            current: Some(id(current)),
            default: Some(id(default)),
            ..Inventory::default()
        };
        inventory.booted = inventory.current;
        for number in 1..=n {
            let mut info = Info::new(id(number), String::new(), String::new());
            if let Some((_, base)) = bases.iter().find(|(of, _)| *of == number) {
                let uuid = crate::snapshot::Uuid::default();
                info.userdata
                    .insert(key::BASE.into(), format!("{base}:{uuid}"));
            }
            let subvolume = Some(Subvolume::default());
            let snapshot = Snapshot {
                id: id(number),
                subvolume,
                metadata: Metadata::Good(info),
            };
            inventory.snapshots.insert(id(number), snapshot);
        }
        inventory
    }

    fn set(inventory: &mut Inventory, number: u32, key: &str, value: &str) {
        let Some(Snapshot {
            metadata: Metadata::Good(info),
            ..
        }) = inventory.snapshots.get_mut(&id(number))
        else {
            panic!("no such snapshot")
        };
        info.userdata.insert(key.into(), value.into());
    }

    #[test]
    fn without_a_pending_update_the_running_system_is_the_base() {
        let base = choose(&system(2, 2, 2, &[]), BasePolicy::Auto).unwrap();
        assert_eq!(
            base,
            Base {
                id: id(2),
                reason: Reason::Current
            }
        );
    }

    #[test]
    fn a_pending_update_is_continued_and_can_be_left_out() {
        let inventory = system(3, 1, 3, &[(2, 1), (3, 2)]);
        assert_eq!(
            choose(&inventory, BasePolicy::Auto).unwrap(),
            Base {
                id: id(3),
                reason: Reason::Pending
            }
        );
        let current = choose(&inventory, BasePolicy::Current).unwrap();
        assert_eq!(
            current,
            Base {
                id: id(1),
                reason: Reason::PendingLeftOut(id(3))
            }
        );
    }

    #[test]
    fn a_pending_snapshot_that_does_not_descend_from_the_current_one_is_left_out() {
        for bases in [&[(3, 2)][..], &[], &[(3, 3)]] {
            let base = choose(&system(3, 1, 3, bases), BasePolicy::Auto).unwrap();
            assert_eq!(
                base,
                Base {
                    id: id(1),
                    reason: Reason::PendingLeftOut(id(3))
                },
                "{bases:?}"
            );
        }
    }

    #[test]
    fn what_was_booted_and_does_not_run_now_is_never_continued() {
        let mut inventory = system(3, 1, 3, &[(2, 1), (3, 2)]);
        set(&mut inventory, 2, key::BOOTED, "2026-01-01 00:00:00");
        assert_eq!(choose(&inventory, BasePolicy::Auto).unwrap().id, id(1));
        let mut inventory = system(3, 1, 3, &[(3, 1)]);
        set(&mut inventory, 3, key::BOOTED, "2026-01-01 00:00:00");
        assert_eq!(choose(&inventory, BasePolicy::Auto).unwrap().id, id(1));
    }

    #[test]
    fn a_number_that_was_used_again_is_not_taken_for_the_old_snapshot() {
        let mut inventory = system(2, 1, 2, &[]);
        set(&mut inventory, 2, key::BASE, "1:another-uuid");
        assert_eq!(choose(&inventory, BasePolicy::Auto).unwrap().id, id(1));
    }

    #[test]
    fn a_base_that_is_missing_in_progress_or_not_understood_is_refused() {
        let mut inventory = system(4, 1, 1, &[]);
        assert_eq!(
            choose(&inventory, BasePolicy::Snapshot(id(9))),
            Err(BaseError::Missing(id(9)))
        );
        set(&mut inventory, 2, key::IN_PROGRESS, "yes");
        assert_eq!(
            choose(&inventory, BasePolicy::Snapshot(id(2))),
            Err(BaseError::InProgress(id(2)))
        );
        inventory.snapshots.get_mut(&id(3)).unwrap().metadata = Metadata::Bad("not XML".into());
        assert!(matches!(
            choose(&inventory, BasePolicy::Snapshot(id(3))),
            Err(BaseError::NotUnderstood(..))
        ));
        inventory.snapshots.get_mut(&id(4)).unwrap().subvolume = None;
        assert_eq!(
            choose(&inventory, BasePolicy::Snapshot(id(4))),
            Err(BaseError::Missing(id(4)))
        );
    }

    #[test]
    fn the_running_system_is_a_base_even_without_metadata() {
        let mut inventory = system(1, 1, 1, &[]);
        inventory.snapshots.get_mut(&id(1)).unwrap().metadata = Metadata::Missing;
        assert_eq!(choose(&inventory, BasePolicy::Auto).unwrap().id, id(1));
    }
}
