//! Which snapshots may go. Pure.
//!
//! Invariant: nothing that is in use is ever in a plan, and while one snapshot is not understood, nothing is.

use std::collections::BTreeSet;
use std::fmt;

use crate::boot::Previous;
use crate::snapshot::{Info, Inventory, Metadata, NUMBER, Snapshot, SnapshotId, key};

/// Userdata of snapshots of which snapper keeps a number of their own (NUMBER_LIMIT_IMPORTANT).
const IMPORTANT: &str = "important";
/// How the description begins that transactions give their snapshots, also those of other programs.
const DESCRIPTION: &str = "Snapshot Update of #";

/// Which boot this is: transactions of another one wait for nobody. And what the next one will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Boot {
    /// Its id (random(4)); empty when that is not known.
    pub(super) id: String,
    /// When it began: UTC, as info.xml has its dates; empty when that is not known.
    pub(super) since: String,
    /// The snapshot that the boot loader's default entry names, where it has entries.
    pub(super) next: Option<SnapshotId>,
}

/// A snapshot that may be marked for deletion, with the metadata that marks it. Only [`plan`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletable {
    id: SnapshotId,
    info: Info,
}

impl Deletable {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> SnapshotId {
        self.id
    }

    /// The metadata with the mark.
    #[must_use]
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Whether snapper is to keep it longer than others.
    #[must_use]
    pub fn is_important(&self) -> bool {
        is_important(&self.info)
    }
}

/// Why nothing may go: what is not understood, a sentence each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotUnderstood(pub Vec<String>);

impl fmt::Display for NotUnderstood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no snapshot is marked for deletion: {}",
            self.0.join("; ")
        )
    }
}

impl std::error::Error for NotUnderstood {}

/// The snapshots that are to be marked for snapper's clean-up by number, lowest number first: systems that
/// are no longer in use and that nobody else keeps, and what transactions of an earlier boot left behind. One
/// that has run on a read-only system becomes important, so that it is kept longer than one that never did.
///
/// # Errors
/// When a snapshot, or what is in use, is not understood; nothing is to be marked then.
pub(super) fn plan(inventory: &Inventory, boot: &Boot) -> Result<Vec<Deletable>, NotUnderstood> {
    let problems = not_understood(inventory);
    if !problems.is_empty() {
        return Err(NotUnderstood(problems));
    }
    let used = in_use(inventory, boot);
    let free = inventory
        .snapshots
        .values()
        .filter(|s| s.subvolume.is_some() && !used.contains(&s.id));
    Ok(free.filter_map(|s| mark(inventory, s, boot)).collect())
}

fn not_understood(inventory: &Inventory) -> Vec<String> {
    let mut problems = Vec::new();
    if inventory.default.is_none() {
        problems.push("the default subvolume is no snapshot".to_owned());
    }
    if inventory.current.is_none() {
        problems.push("the running system is no snapshot".to_owned());
    }
    for snapshot in inventory.snapshots.values() {
        match (&snapshot.metadata, &snapshot.subvolume) {
            (Metadata::Bad(why), _) => problems.push(format!(
                "the info.xml of snapshot {} is not understood ({why})",
                snapshot.id
            )),
            (Metadata::Missing, Some(_)) => {
                problems.push(format!("snapshot {} has no info.xml", snapshot.id));
            }
            (Metadata::Good(_), _) | (Metadata::Missing, None) => {}
        }
    }
    problems
}

/// What runs, what boots next with all it was made from since, both ends of a switch that is not proved yet, and
/// what unfinished transactions build upon.
fn in_use(inventory: &Inventory, boot: &Boot) -> BTreeSet<SnapshotId> {
    let known = [
        inventory.booted,
        inventory.current,
        inventory.default,
        boot.next,
    ];
    let mut used: BTreeSet<SnapshotId> = known.into_iter().flatten().collect();
    for snapshot in inventory.snapshots.values() {
        if let Some(way_back) = snapshot.userdata(key::UNPROVED) {
            used.insert(snapshot.id);
            used.extend(goes_back_to(inventory, way_back));
        }
    }
    if let (Some(pending), Some(current)) = (inventory.pending(), inventory.current) {
        used.extend(inventory.lineage(pending.id, current).unwrap_or_default());
        used.extend(pending.base().map(|base| base.id));
    }
    let unfinished = inventory.snapshots.values().filter(|s| s.in_progress());
    used.extend(unfinished.filter_map(|s| Some(s.base()?.id)));
    used
}

/// The snapshot that a noted way back leads to.
fn goes_back_to(inventory: &Inventory, way_back: &str) -> Option<SnapshotId> {
    let subvolume = way_back.parse::<Previous>().ok()?.subvolume();
    let mut all = inventory.snapshots.values();
    let is_it = |s: &&Snapshot| s.subvolume.as_ref().is_some_and(|v| v.id == subvolume);
    all.find(is_it).map(|s| s.id)
}

/// The mark that a snapshot which is not in use lacks.
fn mark(inventory: &Inventory, snapshot: &Snapshot, boot: &Boot) -> Option<Deletable> {
    let info = snapshot.info()?;
    let of_a_system = if info.in_progress() {
        is_forgotten(snapshot, info, boot)
    } else {
        is_system(snapshot, info)
    };
    // another algorithm, or none for what a person made, is somebody's decision
    if !of_a_system || ![NUMBER, ""].contains(&info.cleanup.as_str()) {
        return None;
    }
    let mut marked = info.clone();
    NUMBER.clone_into(&mut marked.cleanup);
    if has_proved_itself(inventory, snapshot) {
        marked.userdata.insert(IMPORTANT.into(), "yes".into());
    }
    (marked != *info).then_some(Deletable {
        id: snapshot.id,
        info: marked,
    })
}

/// Whether it was made or run as a system, and is not kept for somebody to look at.
fn is_system(snapshot: &Snapshot, info: &Info) -> bool {
    let was_made = snapshot.base().is_some() || info.description.starts_with(DESCRIPTION);
    (was_made || snapshot.was_booted()) && snapshot.userdata(key::KEPT).is_none()
}

/// Whether an unfinished transaction waits for a call that will not come, or was another program's whose boot
/// has ended. Those of ours with a process are for recovery.
fn is_forgotten(snapshot: &Snapshot, info: &Info, boot: &Boot) -> bool {
    let is_other = |of: &str, this: &str| !of.is_empty() && !this.is_empty() && of != this;
    match (snapshot.userdata(key::OWNER), snapshot.userdata(key::BOOT)) {
        (Some(key::OPEN), Some(of)) => is_other(of, &boot.id),
        (Some(_), _) => false,
        (None, _) => is_other(&info.date, &boot.since) && info.date < boot.since,
    }
}

/// Whether it is a system to go back to: it ran before the current one did, and nothing was written to it since.
fn has_proved_itself(inventory: &Inventory, snapshot: &Snapshot) -> bool {
    let current = inventory.current.and_then(|id| inventory.get(id));
    let is_read_only = current
        .and_then(|s| s.subvolume.as_ref())
        .is_some_and(|s| s.read_only);
    is_read_only && snapshot.was_booted() && Some(snapshot.id) < inventory.current
}

fn is_important(info: &Info) -> bool {
    info.userdata.get(IMPORTANT).is_some_and(|v| v == "yes")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::snapshot::{BaseRef, Subvolume, Uuid};

    const NOW: &str = "2026-03-01 00:00:00";
    const BEFORE: &str = "2026-02-01 00:00:00";
    const SINCE: &str = "2026-03-02 00:00:00";

    fn boot() -> Boot {
        Boot {
            id: "this".into(),
            since: NOW.into(),
            next: None,
        }
    }

    fn id(n: u32) -> SnapshotId {
        SnapshotId::new(n).unwrap()
    }

    fn data(info: &mut Info, key: &str, value: impl ToString) {
        info.userdata.insert(key.into(), value.to_string());
    }

    fn whole(n: u32) -> Snapshot {
        let subvolume = Subvolume {
            read_only: true,
            ..Subvolume::default()
        };
        Snapshot {
            id: id(n),
            subvolume: Some(subvolume),
            metadata: Metadata::Good(Info::new(id(n), BEFORE.into(), String::new())),
        }
    }

    /// A snapshot as transactions make it, from `base`.
    fn update(n: u32, base: u32, change: impl FnOnce(&mut Info)) -> Snapshot {
        let mut snapshot = whole(n);
        if let Metadata::Good(info) = &mut snapshot.metadata {
            let uuid = Uuid::default().to_string();
            data(info, key::BASE, BaseRef { id: id(base), uuid });
            change(info);
        }
        snapshot
    }

    fn system(current: u32, default: u32, snapshots: Vec<Snapshot>) -> Inventory {
        Inventory {
            snapshots: snapshots.into_iter().map(|s| (s.id, s)).collect(),
            booted: SnapshotId::new(current),
            current: SnapshotId::new(current),
            default: SnapshotId::new(default),
        }
    }

    /// Numbers of what is to be marked, with a star for what becomes important.
    fn marks(inventory: &Inventory) -> String {
        let plan = plan(inventory, &boot()).unwrap();
        let one = |d: &Deletable| format!("{}{}", d.id, if d.is_important() { "*" } else { "" });
        plan.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    fn booted(info: &mut Info) {
        data(info, key::BOOTED, BEFORE);
    }

    fn kept_by_rollback(info: &mut Info) {
        info.cleanup.clear();
    }

    #[test]
    fn a_system_that_ran_before_is_marked_as_important_and_one_that_never_ran_as_the_others() {
        let snapshots = vec![
            update(1, 1, booted),
            update(2, 1, kept_by_rollback),
            update(3, 1, |_| ()),
            update(4, 1, booted),
            update(5, 4, |info| {
                booted(info);
                kept_by_rollback(info);
            }),
        ];
        assert_eq!(marks(&system(4, 4, snapshots)), "1* 2 5");
    }

    #[test]
    fn on_a_read_write_system_nothing_becomes_important() {
        let mut inventory = system(
            3,
            3,
            vec![
                update(1, 1, booted),
                update(2, 1, kept_by_rollback),
                update(3, 2, booted),
            ],
        );
        assert_eq!(marks(&inventory), "1* 2");
        let current = inventory.snapshots.get_mut(&id(3)).unwrap();
        current.subvolume.as_mut().unwrap().read_only = false;
        assert_eq!(marks(&inventory), "2");
    }

    #[test]
    fn what_runs_what_boots_next_and_what_lies_between_stays() {
        let bare = |n, base| update(n, base, kept_by_rollback);
        let snapshots = vec![bare(1, 1), bare(2, 1), bare(3, 2), bare(4, 3), bare(5, 2)];
        assert_eq!(marks(&system(2, 4, snapshots.clone())), "1 5");
        let mut inventory = system(2, 4, snapshots);
        inventory.current = Some(id(5)); // after `apply`: / is of one snapshot, /usr of another
        assert_eq!(marks(&inventory), "1");
    }

    #[test]
    fn what_an_entry_boots_and_both_ends_of_an_unproved_switch_stay() {
        let mut snapshots: Vec<_> = (1..=6).map(|n| update(n, 1, kept_by_rollback)).collect();
        for (snapshot, subvolume) in snapshots.iter_mut().zip(261..) {
            snapshot.subvolume.as_mut().unwrap().id = subvolume;
        }
        if let Metadata::Good(info) = &mut snapshots[3].metadata {
            data(info, key::UNPROVED, "263:opensuse-3.conf");
        }
        let inventory = system(1, 1, snapshots);
        let boot = Boot {
            next: Some(id(5)),
            ..boot()
        };
        let marked: Vec<_> = plan(&inventory, &boot)
            .unwrap()
            .iter()
            .map(Deletable::id)
            .collect();
        assert_eq!(marked, [id(2), id(6)]);
    }

    #[test]
    fn what_a_person_or_another_algorithm_keeps_is_not_touched() {
        let mut theirs = whole(2);
        if let Metadata::Good(info) = &mut theirs.metadata {
            kept_by_rollback(info);
        }
        let timeline = update(3, 1, |info| info.cleanup = "timeline".into());
        let failed = update(4, 1, |info| {
            data(info, key::KEPT, "yes");
            kept_by_rollback(info);
        });
        let mut old = theirs.clone();
        old.id = id(5);
        if let Metadata::Good(info) = &mut old.metadata {
            info.description = "Snapshot Update of #1".into();
        }
        let snapshots = vec![update(1, 1, |_| ()), theirs, timeline, failed, old];
        assert_eq!(marks(&system(1, 1, snapshots)), "5");
    }

    #[test]
    fn an_unfinished_transaction_is_marked_only_when_its_boot_has_ended() {
        let unfinished = |n, date: &str, owner: Option<&str>, of: Option<&str>| {
            let mut snapshot = whole(n);
            let mut info = Info::new(id(n), date.into(), String::new());
            info.cleanup.clear();
            data(&mut info, key::IN_PROGRESS, "yes");
            for (key, value) in [(key::OWNER, owner), (key::BOOT, of)] {
                if let Some(value) = value {
                    data(&mut info, key, value);
                }
            }
            snapshot.metadata = Metadata::Good(info);
            snapshot
        };
        let snapshots = vec![
            update(1, 1, |_| ()),
            unfinished(2, BEFORE, None, None),
            unfinished(3, SINCE, None, None),
            unfinished(4, "", None, None),
            unfinished(5, SINCE, Some(key::OPEN), Some("another")),
            unfinished(6, BEFORE, Some(key::OPEN), Some("this")),
            unfinished(7, BEFORE, Some(key::OPEN), None),
            unfinished(8, BEFORE, Some("another:1:2"), None),
        ];
        let inventory = system(1, 1, snapshots);
        assert_eq!(marks(&inventory), "2 5");
        let unknown = Boot {
            id: String::new(),
            since: String::new(),
            next: None,
        };
        assert_eq!(plan(&inventory, &unknown), Ok(Vec::new()));
    }

    #[test]
    fn one_snapshot_that_is_not_understood_stops_everything_and_is_named() {
        let good = vec![update(1, 1, |_| ()), update(2, 1, kept_by_rollback)];
        assert_eq!(marks(&system(1, 1, good.clone())), "2");
        let mut bad = whole(3);
        bad.metadata = Metadata::Bad("not XML".into());
        let mut missing = whole(3);
        missing.metadata = Metadata::Missing;
        for (snapshot, why) in [
            (bad, "snapshot 3 is not understood (not XML)"),
            (missing, "snapshot 3 has no info.xml"),
        ] {
            let inventory = system(1, 1, [good.clone(), vec![snapshot]].concat());
            let said = plan(&inventory, &boot()).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
        let inventory = system(1, 0, good);
        assert!(
            plan(&inventory, &boot()).is_err(),
            "the default is no snapshot"
        );
    }

    fn any_snapshot(n: u32) -> impl Strategy<Value = Option<Snapshot>> {
        let cleanup = prop_oneof!["", "number", "timeline"];
        let owner = prop_oneof![Just(None), Just(Some("open")), Just(Some("another:1:2"))];
        let marks = (any::<bool>(), any::<bool>(), any::<bool>(), owner);
        let of = prop_oneof![Just("this"), Just("another")];
        let date = prop_oneof![Just(BEFORE), Just(SINCE), Just("")];
        let shape = (0..10u8, 0..=n, cleanup, date);
        (shape, marks, of).prop_map(
            move |((shape, base, cleanup, date), (ran, unfinished, kept, owner), of)| {
                let mut snapshot = update(n, base.max(1), |info| {
                    info.cleanup = cleanup;
                    info.date = date.into();
                    if base == 0 {
                        info.userdata.clear();
                    }
                    let yes = |key, is: bool| is.then_some((key, "yes"));
                    let owner = owner.map(|o| (key::OWNER, o));
                    let all = [
                        yes(key::BOOTED, ran),
                        yes(key::IN_PROGRESS, unfinished),
                        yes(key::KEPT, kept),
                        owner,
                    ];
                    for (key, value) in all.into_iter().flatten() {
                        data(info, key, value);
                    }
                    data(info, key::BOOT, of);
                });
                match shape {
                    0 => return None,
                    1 => snapshot.subvolume = None,
                    _ => {}
                }
                Some(snapshot)
            },
        )
    }

    fn any_system() -> impl Strategy<Value = Inventory> {
        let snapshots: Vec<_> = (1..8).map(any_snapshot).collect();
        (snapshots, 1..8u32, 1..8u32, 1..8u32).prop_map(|(snapshots, booted, current, default)| {
            let mut inventory = system(current, default, snapshots.into_iter().flatten().collect());
            inventory.booted = SnapshotId::new(booted);
            inventory
        })
    }

    fn apply(inventory: &mut Inventory, plan: &[Deletable]) {
        for deletable in plan {
            let snapshot = inventory.snapshots.get_mut(&deletable.id()).unwrap();
            snapshot.metadata = Metadata::Good(deletable.info().clone());
        }
    }

    proptest! {
        #[test]
        fn what_is_in_use_is_never_in_a_plan(inventory in any_system()) {
            for deletable in plan(&inventory, &boot()).unwrap() {
                let it = Some(deletable.id());
                prop_assert!(![inventory.booted, inventory.current, inventory.default].contains(&it));
                let snapshot = inventory.get(deletable.id()).unwrap();
                prop_assert!(snapshot.subvolume.is_some() && snapshot.userdata(key::KEPT).is_none() || snapshot.in_progress());
                // from the pending update down, one base after the other
                let mut at = inventory.pending();
                while let Some(snapshot) = at {
                    prop_assert_ne!(snapshot.id, deletable.id());
                    let below = snapshot.base().filter(|b| b.id < snapshot.id && Some(snapshot.id) != inventory.current);
                    let pending = inventory.pending().unwrap().id;
                    let reaches = inventory.current.and_then(|c| inventory.lineage(pending, c)).is_some();
                    at = below.filter(|_| reaches).and_then(|b| inventory.get(b.id));
                }
                for other in inventory.snapshots.values().filter(|s| s.in_progress()) {
                    prop_assert_ne!(other.base().map(|b| b.id), it);
                }
            }
        }

        #[test]
        fn a_mark_adds_to_the_metadata_and_changes_nothing_of_it(inventory in any_system()) {
            for deletable in plan(&inventory, &boot()).unwrap() {
                let mut marked = deletable.info().clone();
                let was = inventory.get(deletable.id()).and_then(Snapshot::info).unwrap();
                prop_assert!(was.cleanup.is_empty() || was.cleanup == NUMBER);
                prop_assert_eq!(&marked.cleanup, NUMBER);
                marked.cleanup.clone_from(&was.cleanup);
                if !is_important(was) {
                    marked.userdata.remove(IMPORTANT);
                }
                prop_assert_eq!(&marked, was);
            }
        }

        #[test]
        fn a_plan_that_was_carried_out_in_part_leaves_exactly_the_rest(inventory in any_system(), part in 0..8usize) {
            let all = plan(&inventory, &boot()).unwrap();
            let (done, rest) = all.split_at(part.min(all.len()));
            let mut after = inventory;
            apply(&mut after, done);
            let again = plan(&after, &boot()).unwrap();
            prop_assert_eq!(&again, rest);
            apply(&mut after, &again);
            prop_assert_eq!(plan(&after, &boot()).unwrap(), Vec::new());
        }

        #[test]
        fn a_transaction_that_begins_takes_its_base_out_of_the_plan_and_nothing_else(inventory in any_system(), base in 1..8u32) {
            let before = plan(&inventory, &boot()).unwrap();
            let mut after = inventory;
            let begun = update(9, base, |info| {
                data(info, key::IN_PROGRESS, "yes");
                data(info, key::OWNER, key::OPEN);
                data(info, key::BOOT, "this");
            });
            after.snapshots.insert(begun.id, begun);
            let expected: Vec<_> = before.into_iter().filter(|d| d.id() != id(base)).collect();
            prop_assert_eq!(plan(&after, &boot()).unwrap(), expected);
        }

        #[test]
        fn a_snapshot_that_is_not_understood_empties_every_plan(inventory in any_system(), n in 1..9u32) {
            let mut inventory = inventory;
            let mut bad = whole(n);
            bad.metadata = Metadata::Bad("?".into());
            inventory.snapshots.insert(bad.id, bad);
            prop_assert!(plan(&inventory, &boot()).is_err());
        }
    }
}
