//! What changed from one set of installed packages to another.
//!
//! Owns what counts as a change. Opens and changes nothing.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::source::Marks;
use super::{BadPackage, Database, InstalledPackage, Nevra, RpmdbError, order};

/// The name under which rpm keeps the keys it trusts: packages that never replace each other.
const KEYS: &str = "gpg-pubkey";

/// A package that was replaced by another one of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What was there.
    pub old: InstalledPackage,
    /// What is there now.
    pub new: InstalledPackage,
}

impl Change {
    /// Whether another vendor made the new one.
    #[must_use]
    pub fn is_other_vendor(&self) -> bool {
        self.old.vendor != self.new.vendor
    }
}

/// The packages that differ, each list sorted by name, then by epoch, version, release and architecture as text.
///
/// A package is the same on both sides when name, epoch, version, release, architecture and the digest of its header
/// are; when and by which transaction it was installed does not count. A name that has several packages on a side
/// (kernels), and keys, are compared as sets: their packages are added and removed, never upgraded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// Only there in the new set.
    pub added: Vec<InstalledPackage>,
    /// Only there in the old set.
    pub removed: Vec<InstalledPackage>,
    /// Replaced by a newer version.
    pub upgraded: Vec<Change>,
    /// Replaced by an older version.
    pub downgraded: Vec<Change>,
    /// Replaced by another build of the same version: the digest of the header is another.
    pub reinstalled: Vec<Change>,
    /// Of either side, what could not be read and is in none of the lists.
    pub bad: Vec<BadPackage>,
}

/// What changed from one database to another, also between formats. Of databases that keep digests beside their headers
/// (sqlite) only the headers under names that differ in these are read.
///
/// # Errors
/// When one of them cannot be read as a whole.
pub fn diff(old: &Database, new: &Database) -> Result<Diff, RpmdbError> {
    if let Some(diff) = diff_of_few(old, new)? {
        return Ok(diff);
    }
    let (before, mut bad) = old.nevras()?;
    let (now, more) = new.nevras()?;
    bad.extend(more);
    let diff = Diff::between(&before, &now);
    Ok(Diff { bad, ..diff })
}

/// `None` when a side has no such digests, or was changed meanwhile.
fn diff_of_few(old: &Database, new: &Database) -> Result<Option<Diff>, RpmdbError> {
    let looks = || Ok::<_, RpmdbError>([old.fingerprint()?, new.fingerprint()?]);
    let before = looks()?;
    let (Some(old_marks), Some(new_marks)) = (old.marks()?, new.marks()?) else {
        return Ok(None);
    };
    let (was, mut bad) = old.nevras_of(Some(&differing(&old_marks, &new_marks)))?;
    let (is, more) = new.nevras_of(Some(&differing(&new_marks, &old_marks)))?;
    bad.extend(more);
    let diff = Diff::between(&was, &is);
    Ok((looks()? == before).then_some(Diff { bad, ..diff }))
}

/// The numbers of all packages whose name has not the same packages in `others`.
fn differing(marks: &Marks, others: &Marks) -> BTreeSet<u64> {
    let digests = |packages: &[(Option<Vec<u8>>, u64)]| -> Option<Vec<Vec<u8>>> {
        let mut digests: Vec<_> = packages
            .iter()
            .map(|p| p.0.clone())
            .collect::<Option<_>>()?;
        digests.sort_unstable();
        Some(digests)
    };
    let is_same = |name: &Vec<u8>, packages: &[_]| {
        let here = digests(packages);
        here.is_some() && here == others.get(name).and_then(|p| digests(p))
    };
    let differing = marks
        .iter()
        .filter(|(name, packages)| !is_same(name, packages));
    differing
        .flat_map(|(_, packages)| packages.iter().map(|p| p.1))
        .collect()
}

/// The packages that one transaction brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction<'d> {
    /// What rpm calls it (tag 1128): usually when it began, in seconds since 1970.
    pub id: Option<u32>,
    /// In the order in which they were installed.
    pub packages: Vec<&'d InstalledPackage>,
}

impl Diff {
    /// What changed from `old` to `new`; their order has no influence.
    #[must_use]
    pub fn between(old: &[InstalledPackage], new: &[InstalledPackage]) -> Diff {
        let mut names: BTreeMap<&str, [Vec<&InstalledPackage>; 2]> = BTreeMap::new();
        for (side, packages) in [old, new].into_iter().enumerate() {
            for package in packages {
                let name = names.entry(&package.nevra.name).or_default();
                name[side].push(package);
            }
        }
        let mut diff = Diff::default();
        for (name, [old, new]) in names {
            match (&old[..], &new[..]) {
                ([old], [new]) if name != KEYS => diff.compare(old, new),
                _ => diff.compare_sets(&old, &new),
            }
        }
        diff
    }

    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changes().next().is_none()
    }

    /// All packages that replaced another one: upgrades, downgrades, other builds.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        let others = self.downgraded.iter().chain(&self.reinstalled);
        self.upgraded.iter().chain(others)
    }

    /// Of these, the ones that another vendor made.
    pub fn vendor_changes(&self) -> impl Iterator<Item = &Change> {
        self.changes().filter(|c| c.is_other_vendor())
    }

    /// How many bytes more the packages take now; below 0 when they take fewer.
    #[must_use]
    pub fn size_delta(&self) -> i64 {
        // 2^64 packages of any size stay far inside
        let sum = |packages: &mut dyn Iterator<Item = &InstalledPackage>| -> i128 {
            packages.map(|p| i128::from(p.size)).sum()
        };
        let came = sum(&mut self.arrived());
        let gone = sum(&mut self.removed.iter().chain(self.changes().map(|c| &c.old)));
        let delta = came - gone;
        i64::try_from(delta).unwrap_or(if delta < 0 { i64::MIN } else { i64::MAX })
    }

    /// What came, grouped by the transaction that brought it, oldest first; what names none comes before them. A removal
    /// leaves nothing in the database that names its transaction.
    #[must_use]
    pub fn transactions(&self) -> Vec<Transaction<'_>> {
        let mut groups: BTreeMap<Option<u32>, Vec<&InstalledPackage>> = BTreeMap::new();
        for package in self.arrived() {
            groups.entry(package.transaction).or_default().push(package);
        }
        let mut transactions = Vec::with_capacity(groups.len());
        for (id, mut packages) in groups {
            packages.sort_by(|a, b| (a.install_time, &a.nevra).cmp(&(b.install_time, &b.nevra)));
            transactions.push(Transaction { id, packages });
        }
        transactions
    }

    /// Every package of the new set that is not in the old one.
    fn arrived(&self) -> impl Iterator<Item = &InstalledPackage> {
        self.added.iter().chain(self.changes().map(|c| &c.new))
    }

    /// The only package of a name against the only one on the other side.
    fn compare(&mut self, old: &InstalledPackage, new: &InstalledPackage) {
        if is_same(old, new) {
            return;
        }
        let change = Change {
            old: old.clone(),
            new: new.clone(),
        };
        match order::versions(&old.nevra, &new.nevra) {
            Ordering::Less => self.upgraded.push(change),
            Ordering::Greater => self.downgraded.push(change),
            Ordering::Equal if old.nevra.arch == new.nevra.arch => {
                self.reinstalled.push(change);
            }
            Ordering::Equal => {
                self.removed.push(change.old);
                self.added.push(change.new);
            }
        }
    }

    /// All packages of a name against all on the other side.
    fn compare_sets(&mut self, old: &[&InstalledPackage], new: &[&InstalledPackage]) {
        let mut sides: BTreeMap<&Nevra, [Vec<&InstalledPackage>; 2]> = BTreeMap::new();
        for package in new {
            sides.entry(&package.nevra).or_default()[1].push(package);
        }
        for package in old {
            let [before, now] = sides.entry(&package.nevra).or_default();
            match now.iter().position(|n| is_same(package, n)) {
                Some(same) => drop(now.swap_remove(same)),
                None => before.push(package),
            }
        }
        for [mut before, mut now] in sides.into_values() {
            // what is left of one NEVRA has other digests on both sides; the order of the database does not count
            before.sort_by(|a, b| a.identity.cmp(&b.identity));
            now.sort_by(|a, b| a.identity.cmp(&b.identity));
            let pairs = before.len().min(now.len());
            for (old, new) in before.drain(..pairs).zip(now.drain(..pairs)) {
                self.reinstalled.push(Change {
                    old: old.clone(),
                    new: new.clone(),
                });
            }
            self.removed.extend(before.into_iter().cloned());
            self.added.extend(now.into_iter().cloned());
        }
    }
}

/// A digest that rpm did not tell is no difference.
fn is_same(old: &InstalledPackage, new: &InstalledPackage) -> bool {
    let is_untold = old.identity.is_empty() || new.identity.is_empty();
    old.nevra == new.nevra && (is_untold || old.identity == new.identity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn package(name: &str, version: &str, identity: &str) -> InstalledPackage {
        InstalledPackage {
            nevra: Nevra {
                name: name.into(),
                epoch: None,
                version: version.into(),
                release: "1".into(),
                arch: "x86_64".into(),
            },
            identity: identity.into(),
            install_time: 7,
            transaction: Some(7),
            vendor: Some("v".into()),
            size: 10,
        }
    }

    fn names(packages: &[InstalledPackage]) -> Vec<String> {
        packages.iter().map(|p| p.nevra.to_string()).collect()
    }

    #[test]
    fn every_kind_of_change_is_told_by_its_name() {
        let old = [
            package("same", "1", "a"),
            package("gone", "1", "a"),
            package("up", "1.9", "a"),
            package("down", "2", "a"),
            package("again", "1", "a"),
            package("again-spelled-otherwise", "1.0", "a"),
        ];
        let mut new = old.to_vec();
        new.reverse();
        new.retain(|p| p.nevra.name != "gone");
        for p in &mut new {
            p.install_time = 9; // when it was installed does not count
            let (version, identity) = match p.nevra.name.as_str() {
                "up" => ("1.10", "b"),
                "down" => ("1", "b"),
                "again" => ("1", "b"),
                "again-spelled-otherwise" => ("1.00", "b"),
                _ => continue,
            };
            (p.nevra.version, p.identity) = (version.into(), identity.into());
        }
        new.push(package("came", "1", "a"));
        let diff = Diff::between(&old, &new);
        let news = |changes: &[Change]| -> Vec<String> {
            changes.iter().map(|c| c.new.nevra.to_string()).collect()
        };
        assert_eq!(names(&diff.added), ["came-1-1.x86_64"]);
        assert_eq!(names(&diff.removed), ["gone-1-1.x86_64"]);
        assert_eq!(news(&diff.upgraded), ["up-1.10-1.x86_64"]);
        assert_eq!(news(&diff.downgraded), ["down-1-1.x86_64"]);
        assert_eq!(
            news(&diff.reinstalled),
            ["again-1-1.x86_64", "again-spelled-otherwise-1.00-1.x86_64"]
        );
    }

    #[test]
    fn several_packages_of_a_name_are_a_set_and_never_upgraded() {
        let kernel = |v: &str| package("kernel", v, v);
        let diff = Diff::between(&[kernel("1"), kernel("2")], &[kernel("3"), kernel("2")]);
        assert_eq!(names(&diff.removed), ["kernel-1-1.x86_64"]);
        assert_eq!(names(&diff.added), ["kernel-3-1.x86_64"]);
        let diff = Diff::between(&[kernel("1")], &[kernel("2"), kernel("3")]);
        assert_eq!((diff.removed.len(), diff.added.len()), (1, 2));
        assert_eq!(diff.changes().count(), 0);
        let built_again = package("kernel", "2", "other");
        let diff = Diff::between(&[kernel("1"), kernel("2")], &[built_again, kernel("1")]);
        assert_eq!(diff.reinstalled.len(), 1);
        assert!(diff.added.is_empty() && diff.removed.is_empty());
    }

    #[test]
    fn a_key_never_replaces_another_one() {
        let diff = Diff::between(&[package(KEYS, "1", "a")], &[package(KEYS, "2", "b")]);
        assert_eq!((diff.removed.len(), diff.added.len()), (1, 1));
        assert!(diff.upgraded.is_empty());
    }

    #[test]
    fn the_same_version_for_another_architecture_is_no_upgrade() {
        let mut other = package("a", "1", "b");
        other.nevra.arch = "noarch".into();
        let diff = Diff::between(&[package("a", "1", "a")], &[other]);
        assert_eq!(
            (names(&diff.removed), names(&diff.added)),
            (vec!["a-1-1.x86_64".into()], vec!["a-1-1.noarch".into()])
        );
    }

    #[test]
    fn sizes_vendors_and_transactions_are_those_of_what_changed() {
        let old = [
            package("up", "1", "a"),
            package("gone", "1", "a"),
            package("same", "1", "a"),
        ];
        let mut up = package("up", "2", "b");
        (up.vendor, up.size, up.transaction) = (Some("w".into()), 100, Some(9));
        let mut late = package("late", "1", "a");
        (late.transaction, late.install_time) = (Some(9), 6);
        let mut unknown = package("unknown", "1", "a");
        unknown.transaction = None;
        let new = [up, late, unknown, package("same", "1", "a")];
        let diff = Diff::between(&old, &new);
        assert_eq!(diff.size_delta(), 100 + 10 + 10 - 10 - 10);
        assert_eq!(diff.vendor_changes().count(), 1);
        let groups: Vec<_> = diff
            .transactions()
            .into_iter()
            .map(|t| {
                let of = |p: &&InstalledPackage| p.nevra.name.clone();
                (t.id, t.packages.iter().map(of).collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(
            groups,
            [
                (None, vec!["unknown".into()]),
                (Some(9), vec!["late".into(), "up".into()])
            ]
        );
        let mut huge = package("huge", "1", "a");
        huge.size = u64::MAX;
        assert_eq!(Diff::between(&[huge.clone()], &[]).size_delta(), i64::MIN);
        assert_eq!(Diff::between(&[], &[huge]).size_delta(), i64::MAX);
    }

    /// Few names, versions and digests, so that everything meets everything.
    fn packages() -> impl Strategy<Value = Vec<InstalledPackage>> {
        let names = prop::sample::select(vec!["a", "b", KEYS, "kernel"]);
        let versions = prop::sample::select(vec!["1", "2", "2.0", "2.00"]);
        let archs = prop::sample::select(vec!["x86_64", "noarch"]);
        let one = (names, versions, archs, 0..3_u8, 0..4_u32, any::<u32>());
        let one = one.prop_map(|(name, version, arch, identity, time, size)| {
            let mut package = package(name, version, &identity.to_string());
            package.nevra.arch = arch.into();
            package.nevra.epoch = (time == 3).then_some(0);
            (package.install_time, package.transaction) = (time, (time > 0).then_some(time));
            package.size = size.into();
            package
        });
        prop::collection::vec(one, 0..12)
    }

    /// What makes a package the one it is, as a set in which one may be several times.
    fn set(packages: &[InstalledPackage]) -> Vec<(Nevra, String)> {
        let mut set: Vec<_> = packages
            .iter()
            .map(|p| (p.nevra.clone(), p.identity.clone()))
            .collect();
        set.sort();
        set
    }

    proptest! {
        #[test]
        fn nothing_differs_from_itself(a in packages(), seed in any::<u64>()) {
            let mut shuffled = a.clone();
            let turn = usize::try_from(seed % 12).unwrap().min(a.len());
            shuffled.rotate_left(turn);
            prop_assert!(Diff::between(&a, &shuffled).is_empty());
        }

        #[test]
        fn the_difference_applied_to_the_old_set_gives_the_new_one(a in packages(), b in packages()) {
            let diff = Diff::between(&a, &b);
            let mut result = a;
            for gone in diff.removed.iter().chain(diff.changes().map(|c| &c.old)) {
                let at = result.iter().position(|p| p == gone);
                prop_assert!(at.is_some(), "{} was not there", gone.nevra);
                result.swap_remove(at.unwrap());
            }
            result.extend(diff.arrived().cloned());
            prop_assert_eq!(set(&result), set(&b));
        }

        #[test]
        fn the_way_back_is_the_same_way(a in packages(), b in packages()) {
            let (there, back) = (Diff::between(&a, &b), Diff::between(&b, &a));
            prop_assert_eq!(set(&there.added), set(&back.removed));
            prop_assert_eq!(there.upgraded.len(), back.downgraded.len());
            prop_assert_eq!(there.reinstalled.len(), back.reinstalled.len());
            prop_assert_eq!(there.size_delta(), -back.size_delta());
        }

        #[test]
        fn what_arrived_is_in_exactly_one_transaction(a in packages(), b in packages()) {
            let diff = Diff::between(&a, &b);
            let grouped: usize = diff.transactions().iter().map(|t| t.packages.len()).sum();
            prop_assert_eq!(grouped, diff.arrived().count());
        }
    }
}
