//! What becomes of one path: the rules of the merge, without a file system.

/// What a state of /etc has at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Absent,
    Dir,
    /// Anything else that can be kept: file, link, FIFO, device.
    Leaf,
}

/// What becomes of a path in the new /etc.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays as the new snapshot has it.
    Stay,
    /// The administrator's object takes its place; of a directory only itself, what is below follows by itself.
    Take,
    /// It goes, as it went for the administrator.
    Remove,
    /// Both are directories: their attributes are merged, then what is below.
    Descend,
    /// The new snapshot has the directory no more: it comes back when something of the administrator's is below.
    DescendIntoGone,
    /// The administrator has the directory no more: it goes when nothing new is below.
    DescendToRemove,
    /// Both changed it: it stays as the new snapshot has it, and the administrator's is kept beside it.
    KeepBoth,
    /// The administrator removed what the new snapshot changed: it stays.
    StayChanged,
}

/// Which two of the three states are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pair {
    BaseOurs,
    BaseTheirs,
    OursTheirs,
}

/// Decides. `base` is the state both come from, `ours` the administrator's, `theirs` the new snapshot's. `same`
/// tells whether two of them are equal there, with everything below; it is asked only about two of one kind,
/// because the answer may mean to read files.
pub(super) fn decide<E>(
    base: Kind,
    ours: Kind,
    theirs: Kind,
    same: &mut dyn FnMut(Pair) -> Result<bool, E>,
) -> Result<Fate, E> {
    use Kind::{Absent, Dir, Leaf};
    use Pair::{BaseOurs, BaseTheirs, OursTheirs};
    Ok(match (base, ours, theirs) {
        (_, Dir, Dir) => Fate::Descend,
        (Dir, Dir, Absent) => Fate::DescendIntoGone,
        (Dir, Absent, Dir) => Fate::DescendToRemove,
        // what was there is gone on both sides, or was never there: what one side made new is kept
        (_, Absent, Absent | Dir) | (Absent | Dir, Absent, Leaf) => Fate::Stay,
        (Absent, _, Absent) | (Leaf, Dir, Absent) | (Dir, Leaf, Absent) => Fate::Take,
        (Leaf, Absent, Leaf) => match same(BaseTheirs)? {
            true => Fate::Remove,
            false => Fate::StayChanged,
        },
        (Leaf, Leaf, Absent | Dir) | (Dir, Dir, Leaf) => match same(BaseOurs)? {
            true => Fate::Stay,
            false => Fate::KeepBoth,
        },
        (Leaf, Dir, Leaf) | (Dir, Leaf, Dir) => match same(BaseTheirs)? {
            true => Fate::Take,
            false => Fate::KeepBoth,
        },
        (Absent, Dir, Leaf) | (Absent, Leaf, Dir) => Fate::KeepBoth,
        (Absent | Dir, Leaf, Leaf) => match same(OursTheirs)? {
            true => Fate::Stay,
            false => Fate::KeepBoth,
        },
        (Leaf, Leaf, Leaf) if same(BaseOurs)? => Fate::Stay,
        (Leaf, Leaf, Leaf) if same(OursTheirs)? => Fate::Stay,
        (Leaf, Leaf, Leaf) if same(BaseTheirs)? => Fate::Take,
        (Leaf, Leaf, Leaf) => Fate::KeepBoth,
    })
}

/// The same for one attribute of a directory that both sides have: what to set it to, if anything.
pub(super) fn decide_attribute<T: PartialEq + Copy>(base: T, ours: T, theirs: T) -> Attribute<T> {
    if ours == base || ours == theirs {
        Attribute::Stay
    } else if theirs == base {
        Attribute::Set(ours)
    } else {
        Attribute::BothChanged
    }
}

/// What becomes of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attribute<T> {
    Stay,
    Set(T),
    BothChanged,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A state of a path that is small enough to try all of them.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum State {
        Absent,
        Dir(u8),
        Leaf(u8),
    }
    use State::{Absent, Dir, Leaf};

    const ALL: [State; 7] = [Absent, Dir(0), Dir(1), Dir(2), Leaf(0), Leaf(1), Leaf(2)];

    fn kind(state: State) -> Kind {
        match state {
            Absent => Kind::Absent,
            Dir(_) => Kind::Dir,
            Leaf(_) => Kind::Leaf,
        }
    }

    fn fate(base: State, ours: State, theirs: State) -> Fate {
        let same = &mut |pair| {
            let (a, b) = match pair {
                Pair::BaseOurs => (base, ours),
                Pair::BaseTheirs => (base, theirs),
                Pair::OursTheirs => (ours, theirs),
            };
            assert_eq!(kind(a), kind(b), "asked about two of different kinds");
            Ok::<_, ()>(a == b)
        };
        decide(kind(base), kind(ours), kind(theirs), same).unwrap()
    }

    /// All cases, without those where it goes on below a directory.
    fn cases() -> impl Iterator<Item = (State, State, State)> {
        let all = ALL.into_iter();
        all.flat_map(|b| ALL.into_iter().map(move |o| (b, o)))
            .flat_map(|(b, o)| ALL.into_iter().map(move |t| (b, o, t)))
    }

    #[test]
    fn what_the_administrator_did_not_change_stays_as_the_snapshot_has_it() {
        for (base, ours, theirs) in cases().filter(|(b, o, _)| b == o) {
            let fate = fate(base, ours, theirs);
            let below = matches!(fate, Fate::Descend | Fate::DescendIntoGone);
            assert!(below || fate == Fate::Stay, "{base:?} {theirs:?}: {fate:?}");
        }
    }

    #[test]
    fn what_only_the_administrator_changed_wins() {
        for (base, ours, theirs) in cases().filter(|(b, o, t)| b == t && b != o) {
            let wanted = match (ours, theirs) {
                (Absent, Leaf(_)) => Fate::Remove,
                (Absent, Dir(_)) => Fate::DescendToRemove,
                (Dir(_), Dir(_)) => Fate::Descend,
                _ => Fate::Take,
            };
            assert_eq!(fate(base, ours, theirs), wanted, "{base:?} {ours:?}");
        }
    }

    #[test]
    fn nothing_of_the_administrators_is_lost_when_both_changed_it() {
        let both = |(b, o, t): &(State, State, State)| b != o && b != t && o != t;
        for (base, ours, theirs) in cases().filter(both) {
            let fate = fate(base, ours, theirs);
            let kept = [
                Fate::Take,
                Fate::KeepBoth,
                Fate::Descend,
                Fate::DescendIntoGone,
            ];
            let nothing_to_lose = ours == Absent;
            assert!(
                nothing_to_lose || kept.contains(&fate),
                "{base:?} {ours:?} {theirs:?}: {fate:?}"
            );
        }
    }

    #[test]
    fn nothing_new_of_the_snapshot_is_lost() {
        for (base, ours, theirs) in cases().filter(|(b, _, t)| b != t && *t != Absent) {
            let fate = fate(base, ours, theirs);
            assert!(
                !matches!(fate, Fate::Take | Fate::Remove | Fate::DescendIntoGone),
                "{base:?} {ours:?} {theirs:?}: {fate:?}"
            );
        }
    }

    #[test]
    fn an_attribute_that_one_side_changed_is_the_one_of_that_side() {
        assert_eq!(decide_attribute(1, 1, 2), Attribute::Stay);
        assert_eq!(decide_attribute(1, 2, 2), Attribute::Stay);
        assert_eq!(decide_attribute(1, 2, 1), Attribute::Set(2));
        assert_eq!(decide_attribute(1, 2, 3), Attribute::BothChanged);
    }
}
