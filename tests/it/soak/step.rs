//! The commands of the soak: what is typed, and what may come of it.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Content, Facts, PACKAGES, Policy, Snapshot, newest};
use super::random::Random;

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Run(Policy),
    RunFails,
    RunKept,
    Install(Policy, &'static str, &'static str),
    Remove(Policy, &'static str),
    Dup(Policy),
    /// A package that cannot be installed.
    Fails(&'static str),
    Rollback(Option<u32>),
    RollbackLast,
    Discard,
    DropKept(u32),
    Cleanup,
    /// snapper's own clean-up, as its timer calls it.
    Snapper,
    Open,
    Call(u32),
    Close(u32),
    Abort(u32),
    BootComplete,
    Recover,
}

/// What a command that nothing disturbs comes to.
#[derive(Debug)]
pub(super) struct Outcome {
    succeeds: bool,
    next: Next,
    /// Whole, open and kept snapshots that may go.
    may_go: BTreeSet<u32>,
}

/// What boots next then.
#[derive(Debug)]
enum Next {
    Same,
    Is(u32),
    /// A new snapshot of this one, with one of these contents.
    New(u32, Vec<Content>),
}

/// What is known of the contents of each snapshot: one of these.
pub(super) type Contents = BTreeMap<u32, Vec<Content>>;

impl Step {
    /// A command that makes sense, or is refused for a reason that is known.
    pub(super) fn pick(random: &mut Random, facts: &Facts, contents: &Contents) -> Step {
        let policy = random.one_of(&[
            Policy::Auto,
            Policy::Auto,
            Policy::Auto,
            Policy::Current,
            Policy::Default,
        ]);
        let whole = facts.that(Snapshot::is_whole);
        let (open, kept) = (facts.that(Snapshot::is_open), facts.that(Snapshot::is_kept));
        let there = &contents[&facts.base(policy)][0].packages;
        let (package, _) = random.one_of(&PACKAGES);
        match random.below(100) {
            0..20 => Step::Run(policy),
            20..23 => Step::RunFails,
            23..26 => Step::RunKept,
            26..46 if there.contains_key(package) => Step::Remove(policy, package),
            26..46 if package == "fx-etc" && random.below(2) == 0 => {
                Step::Install(policy, package, "1.0")
            }
            26..46 => Step::Install(policy, package, newest(package)),
            46..52 => Step::Dup(policy),
            52..56 => {
                Step::Fails(random.one_of(&["fx-badpre", "fx-badpost", "fx-broken", "fx-none"]))
            }
            56..62 => Step::Rollback(Some(random.one_of(&whole))),
            62..64 => Step::Rollback(None),
            64..66 => Step::RollbackLast,
            66..72 => Step::Discard,
            72..74 if !kept.is_empty() => Step::DropKept(random.one_of(&kept)),
            72..77 => Step::Cleanup,
            77..81 => Step::Snapper,
            81..84 => Step::BootComplete,
            84..86 => Step::Recover,
            86.. if open.is_empty() => Step::Open,
            86..91 => Step::Call(random.one_of(&open)),
            91..96 => Step::Close(random.one_of(&open)),
            96..98 => Step::Abort(random.one_of(&open)),
            _ => Step::Open,
        }
    }

    /// Whether it goes through our program, whose every command mends what it finds first.
    pub(super) fn mends(&self) -> bool {
        *self != Step::Snapper
    }

    pub(super) fn has_packages(&self) -> bool {
        matches!(
            self,
            Step::Install(..) | Step::Remove(..) | Step::Dup(_) | Step::Fails(_)
        )
    }

    /// What is typed; `round` is what the snapshot is marked with.
    pub(super) fn words(&self, round: u32) -> String {
        let tu = "transactional-update";
        // one rename, so that the mark is the old or the new one
        let mark = format!(
            "sh -c 'head -c 1M /dev/urandom > /usr/soak.data; echo {round} > /usr/soak.new; mv /usr/soak.new /usr/soak'"
        );
        match self {
            Step::Run(policy) => format!("{tu} {}run {mark}", policy.word()),
            Step::RunFails => format!("{tu} run sh -c 'echo x > /usr/soak; exit 9'"),
            Step::RunKept => format!("{tu} -k run sh -c 'echo x > /usr/soak; exit 9'"),
            Step::Install(policy, name, "1.0") if *name == "fx-etc" => {
                format!("{tu} -n {}pkg install fx-etc=1.0", policy.word())
            }
            Step::Install(policy, name, _) => {
                format!("{tu} -n {}pkg install {name}", policy.word())
            }
            Step::Remove(policy, name) => format!("{tu} -n {}pkg remove {name}", policy.word()),
            Step::Dup(policy) => format!("{tu} -n {}dup", policy.word()),
            Step::Fails(name) => format!("{tu} -n pkg install {name}"),
            Step::Rollback(None) => format!("{tu} rollback"),
            Step::Rollback(Some(id)) => format!("{tu} rollback {id}"),
            Step::RollbackLast => format!("{tu} rollback last"),
            Step::Discard => format!("{tu} discard"),
            Step::DropKept(id) => format!("{tu} discard {id}"),
            Step::Cleanup => format!("{tu} cleanup"),
            Step::Snapper => "snapper --no-dbus -c root cleanup number".to_owned(),
            Step::Open => "tukit open".to_owned(),
            Step::Call(id) => format!("tukit call {id} {mark}"),
            Step::Close(id) => format!("tukit close {id}"),
            Step::Abort(id) => format!("tukit abort {id}"),
            Step::BootComplete => format!("{tu} boot-complete"),
            Step::Recover => format!("{tu} recover"),
        }
    }

    /// What may come of it.
    pub(super) fn outcome(&self, round: u32, facts: &Facts, contents: &Contents) -> Outcome {
        let changed = |policy: Policy, change: &dyn Fn(&Content) -> Content| {
            let base = facts.base(policy);
            let old = &contents[&base];
            let new: Vec<Content> = old.iter().map(change).collect();
            match new == *old {
                true => Next::Same,
                false => Next::New(base, new),
            }
        };
        let (mut succeeds, mut may_go) = (true, BTreeSet::new());
        let next = match self {
            Step::Run(policy) => changed(*policy, &|c| c.marked(round)),
            Step::Install(policy, name, version) => changed(*policy, &|c| c.install(name, version)),
            Step::Remove(policy, name) => changed(*policy, &|c| c.remove(name)),
            Step::Dup(policy) => changed(*policy, &Content::upgrade),
            Step::RunFails | Step::RunKept | Step::Fails(_) => {
                succeeds = false;
                Next::Same
            }
            Step::Rollback(None) => Next::Is(facts.current),
            Step::Rollback(Some(id)) => Next::Is(*id),
            Step::RollbackLast => {
                let ran = |id: &&u32| {
                    let s = &facts.snapshots[*id];
                    **id < facts.current && s.is_whole() && s.was_booted()
                };
                let last = facts.snapshots.keys().rev().find(ran);
                succeeds = last.is_some();
                last.map_or(Next::Same, |id| Next::Is(*id))
            }
            Step::Discard => match (facts.pending(), facts.lineage()) {
                (None, _) => Next::Same,
                (Some(_), None) => {
                    succeeds = false;
                    Next::Same
                }
                (Some(_), Some(chain)) => {
                    may_go.extend(chain);
                    Next::Is(facts.current)
                }
            },
            Step::Close(id) => {
                // one that fails is given up
                may_go.insert(*id);
                Next::Is(*id)
            }
            Step::DropKept(id) | Step::Abort(id) => {
                may_go.insert(*id);
                Next::Same
            }
            Step::Snapper => {
                may_go = facts.snapshots.keys().copied().collect();
                let lineage = facts.lineage().unwrap_or_default();
                for id in [facts.current, facts.default].iter().chain(&lineage) {
                    may_go.remove(id);
                }
                Next::Same
            }
            Step::Cleanup | Step::Open | Step::Call(_) | Step::BootComplete | Step::Recover => {
                Next::Same
            }
        };
        Outcome {
            succeeds,
            next,
            may_go,
        }
    }

    /// Compares what came of it with what may; `code` is none when it was cut off. Learns what new snapshots hold.
    pub(super) fn judge(
        &self,
        round: u32,
        code: Option<i32>,
        (before, after): (&Facts, &Facts),
        contents: &mut Contents,
    ) -> Result<(), String> {
        let outcome = self.outcome(round, before, contents);
        after.sound()?;
        let is_next = match &outcome.next {
            Next::Same => after.default == before.default,
            Next::Is(id) => after.default == *id,
            Next::New(base, _) => {
                let new = &after.snapshots[&after.default];
                let was = before.snapshots.get(&after.default);
                !was.is_some_and(Snapshot::is_whole) && new.base() == Some(*base)
            }
        };
        let is_old = after.default == before.default;
        let as_it_should = match code {
            None => is_next || is_old,
            // snapper's status says whether it could delete all it wanted to
            Some(_) if *self == Step::Snapper => is_old,
            Some(0) => outcome.succeeds && is_next,
            Some(_) => !outcome.succeeds && is_old,
        };
        if !as_it_should {
            return Err(format!(
                "status {code:?} with default {} -> {}; {outcome:?}",
                before.default, after.default
            ));
        }
        if code.is_some() && self.mends() {
            after.mended()?;
        }
        let stays = |s: &Snapshot| s.is_whole() || s.is_kept() || s.is_open();
        let is_there = |id: &&u32| after.snapshots.get(id).is_some_and(stays);
        let gone: Vec<u32> = before
            .that(stays)
            .iter()
            .filter(|id| !is_there(id))
            .copied()
            .collect();
        if let Some(id) = gone.iter().find(|id| !outcome.may_go.contains(id)) {
            return Err(format!(
                "snapshot {id} is gone or half: {:?}",
                after.snapshots.get(id)
            ));
        }
        self.learn(round, code, &outcome, (before, after), contents)
    }

    fn learn(
        &self,
        round: u32,
        code: Option<i32>,
        outcome: &Outcome,
        (before, after): (&Facts, &Facts),
        contents: &mut Contents,
    ) -> Result<(), String> {
        contents.retain(|id, _| {
            after
                .snapshots
                .get(id)
                .is_some_and(|s| s.is_whole() || s.is_open())
        });
        if let Step::Call(id) = self {
            let known = contents.entry(*id).or_default();
            let new: Vec<Content> = known.iter().map(|c| c.marked(round)).collect();
            if code.is_none() {
                known.extend(new);
            } else {
                *known = new;
            }
        }
        for id in after.that(|s| s.is_whole() || s.is_open()) {
            if contents.contains_key(&id) {
                continue;
            }
            let new = match &outcome.next {
                Next::New(_, new) => new.clone(),
                _ if *self == Step::Open => contents[&before.current].clone(),
                _ => return Err(format!("snapshot {id} came from nowhere")),
            };
            contents.insert(id, new);
        }
        Ok(())
    }
}
