//! What the package manager would change, and whether that is what a plan says. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::plan::{Plan, Removed};
use super::{METADATA, PACKAGES};
use crate::package::archive::{Identity, without_zero_epoch};
use crate::package::cached::{self, Caches, Extent};
use crate::package::{Kind, Solvable, Summary};
use crate::sys::cmd::Argv;

/// Most differences that are told.
const MOST: usize = 20;

/// What comes and what goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// The packages that come, each with the `[epoch:]version-release` of the one that it takes the place of.
    pub install: BTreeMap<Identity, Option<String>>,
    /// The packages that go without a successor.
    pub remove: BTreeSet<Identity>,
}

impl Changes {
    /// What a summary of the package manager says. Patches, patterns and products are not files; where they are packages, they
    /// are there as such too.
    ///
    /// # Errors
    /// When the summary is not whole, or wants what a plan cannot hold; in words.
    pub fn of(summary: &Summary) -> Result<Changes, String> {
        if !summary.complete || summary.omitted > 0 {
            return Err("the package manager's list of changes is not whole".into());
        }
        let mut changes = Changes::default();
        for (list, solvable) in summary.entries() {
            match solvable.kind {
                Kind::Package if list == "remove" => {
                    changes.remove.insert(identity(solvable));
                }
                Kind::Package => {
                    // one that is also of another vendor or architecture stands in two lists
                    let from = changes.install.entry(identity(solvable)).or_default();
                    let old = solvable.edition_old.as_deref();
                    *from = from
                        .take()
                        .or(old.map(|old| without_zero_epoch(old).into()));
                }
                Kind::SourcePackage => {
                    return Err(format!(
                        "{} is a source package; install it when the system runs",
                        solvable.name
                    ));
                }
                Kind::Patch | Kind::Pattern | Kind::Product | Kind::Other => {}
            }
        }
        Ok(changes)
    }

    /// What a plan says.
    #[must_use]
    pub fn of_plan(plan: &Plan) -> Changes {
        let coming = plan.install.iter().map(|package| {
            let identity = Identity {
                name: package.name.clone(),
                arch: package.arch.clone(),
                evr: package.evr.clone(),
            };
            (identity, package.from.clone())
        });
        let going = plan.remove.iter().map(|package| Identity {
            name: package.name.clone(),
            arch: package.arch.clone(),
            evr: package.evr.clone(),
        });
        Changes {
            install: coming.collect(),
            remove: going.collect(),
        }
    }

    /// Whether nothing comes or goes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.install.is_empty() && self.remove.is_empty()
    }

    /// What goes, as a plan has it.
    #[must_use]
    pub fn removed(&self) -> Vec<Removed> {
        let removed = self.remove.iter().map(|package| Removed {
            name: package.name.clone(),
            arch: package.arch.clone(),
            evr: package.evr.clone(),
        });
        removed.collect()
    }
}

/// What the package manager would do differently now from what a plan says, in words, at most 20 of them; nothing when it
/// would do exactly that. `summary` is `None` when it found nothing to do.
#[must_use]
pub fn differences(summary: Option<&Summary>, plan: &Plan) -> Vec<String> {
    let now = match summary.map_or_else(|| Ok(Changes::default()), Changes::of) {
        Ok(now) => now,
        Err(why) => return vec![why],
    };
    let then = Changes::of_plan(plan);
    let keys = |changes: &Changes| changes.install.keys().cloned().collect::<BTreeSet<_>>();
    let (coming, planned) = (keys(&now), keys(&then));
    let mut found = Vec::new();
    for (some, others, what) in [
        (&coming, &planned, "would be installed, too"),
        (&planned, &coming, "would not be installed"),
        (&now.remove, &then.remove, "would be removed, too"),
        (&then.remove, &now.remove, "would not be removed"),
    ] {
        let more = some.difference(others);
        found.extend(more.map(|p| format!("{}-{}.{} {what}", p.name, p.evr, p.arch)));
    }
    limited(found)
}

/// The first of `found`, and how many more there are.
pub(super) fn limited(mut found: Vec<String>) -> Vec<String> {
    if found.len() > MOST {
        let more = found.len() - (MOST - 1);
        found.truncate(MOST - 1);
        found.push(format!("and {more} more"));
    }
    found
}

/// The call of the package manager that solves, downloads or carries out what a plan says. `directory` is
/// [`super::DIRECTORY`] as the package manager sees it.
#[must_use]
pub fn argv(plan: &Plan, directory: &Path, extent: Extent) -> Argv {
    of_command(&plan.command, directory, extent)
}

/// The same for the command of a plan to be.
pub(super) fn of_command(command: &[String], directory: &Path, extent: Extent) -> Argv {
    let (metadata, packages) = (directory.join(METADATA), directory.join(PACKAGES));
    let caches = Caches {
        metadata: &metadata,
        packages: &packages,
    };
    Argv::new(cached::argv(command, caches, extent))
}

fn identity(solvable: &Solvable) -> Identity {
    Identity {
        name: solvable.name.clone(),
        arch: solvable.arch.clone(),
        evr: without_zero_epoch(&solvable.edition).into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing;
    use super::*;

    fn package(name: &str, edition: &str, old: Option<&str>) -> Solvable {
        Solvable {
            kind: Kind::Package,
            name: name.into(),
            edition: edition.into(),
            edition_old: old.map(str::to_owned),
            arch: "noarch".into(),
            repository: "r".into(),
            summary: String::new(),
        }
    }

    fn whole() -> Summary {
        Summary {
            complete: true,
            ..Summary::default()
        }
    }

    /// The plan that a summary leads to.
    fn planned(summary: &Summary) -> Plan {
        let changes = Changes::of(summary).unwrap();
        let mut plan = testing::plan();
        plan.remove = changes.removed();
        plan.install = changes
            .install
            .into_iter()
            .map(|(package, from)| testing::package(&package, from))
            .collect();
        plan
    }

    #[test]
    fn what_comes_has_the_version_that_it_replaces_whatever_list_it_stands_in() {
        let summary = Summary {
            install: vec![package("a", "1-1", None)],
            upgrade: vec![package("b", "2-1", Some("0:1-1"))],
            downgrade: vec![package("c", "1:1-1", Some("1:2-1"))],
            reinstall: vec![package("d", "1-1", Some("1-1"))],
            change_vendor: vec![
                package("b", "2-1", None),
                package("e", "0:2-1", Some("1-1")),
            ],
            remove: vec![package("f", "1-1", None)],
            ..whole()
        };
        let changes = Changes::of(&summary).unwrap();
        let told: Vec<_> = changes
            .install
            .iter()
            .map(|(p, from)| (p.name.as_str(), p.evr.as_str(), from.as_deref()))
            .collect();
        assert_eq!(
            told,
            [
                ("a", "1-1", None),
                ("b", "2-1", Some("1-1")),
                ("c", "1:1-1", Some("1:2-1")),
                ("d", "1-1", Some("1-1")),
                ("e", "2-1", Some("1-1")),
            ]
        );
        assert_eq!(changes.removed()[0].name, "f");
        assert!(differences(Some(&summary), &planned(&summary)).is_empty());
    }

    #[test]
    fn what_is_no_package_is_no_part_of_it_and_a_source_package_is_refused() {
        let of_kind = |kind| Summary {
            install: vec![Solvable {
                kind,
                ..package("a", "1-1", None)
            }],
            ..whole()
        };
        for kind in [Kind::Patch, Kind::Pattern, Kind::Product, Kind::Other] {
            assert!(Changes::of(&of_kind(kind)).unwrap().is_empty());
        }
        let refused = Changes::of(&of_kind(Kind::SourcePackage)).unwrap_err();
        assert!(refused.contains("a is a source package"), "{refused}");
    }

    #[test]
    fn a_list_that_is_not_whole_is_never_the_plan() {
        let plan = planned(&whole());
        assert!(differences(Some(&whole()), &plan).is_empty());
        assert!(differences(None, &plan).is_empty());
        for summary in [
            Summary {
                complete: false,
                ..whole()
            },
            Summary {
                omitted: 1,
                ..whole()
            },
        ] {
            assert_eq!(differences(Some(&summary), &plan).len(), 1);
        }
    }

    #[test]
    fn differences_are_named_and_not_more_than_can_be_read() {
        let old = Summary {
            install: vec![package("a", "1-1", None)],
            remove: vec![package("b", "1-1", None)],
            ..whole()
        };
        let new = Summary {
            upgrade: vec![package("a", "2-1", Some("1-1"))],
            remove: vec![package("c", "1-1", None)],
            ..whole()
        };
        assert_eq!(
            differences(Some(&new), &planned(&old)),
            [
                "a-2-1.noarch would be installed, too",
                "a-1-1.noarch would not be installed",
                "c-1-1.noarch would be removed, too",
                "b-1-1.noarch would not be removed",
            ]
        );
        let many = Summary {
            install: (0..100)
                .map(|n| package(&n.to_string(), "1-1", None))
                .collect(),
            ..whole()
        };
        let found = differences(Some(&many), &planned(&old));
        assert_eq!(found.len(), MOST);
        assert_eq!(found.last().unwrap(), "and 83 more");
    }

    fn solvables() -> impl Strategy<Value = Vec<Solvable>> {
        let one = ("[a-c]{1,2}", "[0-2]:[12]-1", prop::option::of("[12]-1"));
        let one = one.prop_map(|(name, edition, old)| package(&name, &edition, old.as_deref()));
        prop::collection::vec(one, 0..6)
    }

    fn summaries() -> impl Strategy<Value = Summary> {
        let lists = (solvables(), solvables(), solvables(), solvables());
        lists.prop_map(|(install, upgrade, downgrade, remove)| Summary {
            install,
            upgrade,
            downgrade,
            remove,
            ..whole()
        })
    }

    proptest! {
        #[test]
        fn the_same_solution_is_the_plan_in_whatever_order_and_lists_it_is_told(summary in summaries()) {
            let plan = planned(&summary);
            prop_assert_eq!(differences(Some(&summary), &plan), Vec::<String>::new());
            let mut told = summary;
            let upgrades = std::mem::take(&mut told.upgrade);
            told.install.extend(upgrades);
            told.install.reverse();
            told.downgrade.reverse();
            told.remove.reverse();
            prop_assert_eq!(differences(Some(&told), &plan), Vec::<String>::new());
        }

        #[test]
        fn another_solution_is_never_the_plan(one in summaries(), other in summaries()) {
            let set = |s: &Summary| {
                let changes = Changes::of(s).unwrap();
                (changes.install.into_keys().collect::<BTreeSet<_>>(), changes.remove)
            };
            let same = set(&one) == set(&other);
            prop_assert_eq!(differences(Some(&other), &planned(&one)).is_empty(), same);
        }
    }
}
