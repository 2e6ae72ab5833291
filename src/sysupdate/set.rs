//! Update sets: all instances of one version over all enabled transfers.
//!
//! Everything is sorted once, and one pass over it makes the sets: the time grows with the number of instances, and hardly more.

use super::instance::{Instance, Resource, State};
use super::version::Version;

/// All instances of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateSet {
    /// The version as it is installed; where it is not, as the first source has it.
    pub version: Version,
    /// Of each transfer its instances of this version in the target, the one that counts first: numbers in
    /// [`Resource::target`].
    pub target: Vec<Vec<usize>>,
    /// Of each transfer the instance in the source that counts: a number in [`Resource::source`].
    pub source: Vec<Option<usize>>,
    /// At least one target has it.
    pub is_installed: bool,
    /// All sources have it.
    pub is_available: bool,
    /// It is the newest installed one; or the newest available one, and not installed.
    pub is_newest: bool,
    /// A transfer wants a newer one at least.
    pub is_obsolete: bool,
    /// A transfer protects it.
    pub is_protected: bool,
    /// It is installed, and a target lacks it.
    pub is_incomplete: bool,
    /// An instance is being written.
    pub is_partial: bool,
    /// An instance waits for its name.
    pub is_pending: bool,
}

/// All update sets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sets(Vec<UpdateSet>);

/// Where an instance is while it is sorted.
struct At {
    transfer: usize,
    is_source: bool,
    number: usize,
}

impl Sets {
    /// The sets of `resources`, those of the enabled transfers in the order of their files.
    #[must_use]
    pub fn of(resources: &[Resource<'_>]) -> Sets {
        let mut all: Vec<(At, &Instance)> = Vec::new();
        for (transfer, resource) in resources.iter().enumerate() {
            for (is_source, instances) in [(false, &resource.target), (true, &resource.source)] {
                let of_it = instances.iter().enumerate();
                all.extend(of_it.map(|(number, instance)| {
                    let at = At {
                        transfer,
                        is_source,
                        number,
                    };
                    (at, instance)
                }));
            }
        }
        all.sort_by(|(a, x), (b, y)| {
            let place = |at: &At| (at.is_source, at.transfer);
            let newer = y.version.cmp(&x.version);
            newer
                .then_with(|| place(a).cmp(&place(b)))
                .then_with(|| (x.pattern, &x.shown).cmp(&(y.pattern, &y.shown)))
        });
        let mut sets = Vec::new();
        for group in all.chunk_by(|(_, x), (_, y)| x.version == y.version) {
            sets.extend(set(group, resources));
        }
        let newest = |is: fn(&UpdateSet) -> bool| sets.iter().position(is);
        let newest = [newest(|s| s.is_installed), newest(|s| s.is_available)];
        for (at, is_of_installed) in newest.into_iter().zip([true, false]) {
            if let Some(set) = at.and_then(|at| sets.get_mut(at)) {
                set.is_newest |= set.is_installed == is_of_installed;
            }
        }
        Sets(sets)
    }

    /// The sets, newest first.
    #[must_use]
    pub fn all(&self) -> &[UpdateSet] {
        &self.0
    }

    /// The set whose version has exactly this text.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<&UpdateSet> {
        self.0.iter().find(|set| set.version.is_text(text))
    }

    /// The newest one of which something is installed.
    #[must_use]
    pub fn newest_installed(&self) -> Option<&UpdateSet> {
        self.0.iter().find(|set| set.is_installed)
    }

    /// The newest installed one of which nothing is still being written.
    #[must_use]
    pub fn current(&self) -> Option<&UpdateSet> {
        self.0
            .iter()
            .find(|set| set.is_installed && !set.is_partial)
    }

    /// The newest one that is installed as a whole, and not held.
    #[must_use]
    pub fn newest_complete(&self, held: &[Version]) -> Option<&UpdateSet> {
        let mut whole = self.0.iter().filter(|set| set.is_complete());
        whole.find(|set| !held.contains(&set.version))
    }

    /// What to update to: the newest available one that is newer than all that is installed or held, and not obsolete; else the newest
    /// installed one that is not held, when it is to be finished or repaired. Never an older one.
    #[must_use]
    pub fn candidate(&self, held: &[Version]) -> Option<&UpdateSet> {
        let available = self.0.iter().find(|set| set.is_available);
        let newest = self.newest_installed();
        let is_newer = |set: &&UpdateSet| {
            let than = |other: &UpdateSet| set.version > other.version;
            let is_new = !set.is_installed && held.iter().all(|other| set.version > *other);
            is_new && !set.is_obsolete && newest.is_none_or(than)
        };
        let is_free = |set: &&UpdateSet| set.is_installed && !held.contains(&set.version);
        let installed = self.0.iter().find(is_free);
        let is_unfinished = |set: &&UpdateSet| {
            set.is_pending || set.is_partial || (set.is_incomplete && set.is_available)
        };
        available
            .filter(is_newer)
            .or(installed.filter(is_unfinished))
    }
}

impl UpdateSet {
    /// Whether it is installed as a whole.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.is_installed && !self.is_incomplete && !self.is_partial && !self.is_pending
    }

    /// Whether at least one instance of it has its name.
    #[must_use]
    pub fn has_installed(&self, resources: &[Resource<'_>]) -> bool {
        let all = self.target.iter().zip(resources);
        let mut all = all.flat_map(|(numbers, r)| numbers.iter().map(|n| &r.target[*n]));
        all.any(|instance| instance.state == State::Installed)
    }

    /// What it is, in the word that systemd-sysupdate(8) has for it.
    #[must_use]
    pub fn assessment(&self) -> String {
        let base = match self.is_installed {
            true if self.is_newest => "current",
            true if self.is_protected => "protected",
            true => "installed",
            false if self.is_newest && !self.is_obsolete => "candidate",
            false => "available",
        };
        let obsolete = if self.is_obsolete { "+obsolete" } else { "" };
        let rest = match self {
            set if set.is_partial => "+partial",
            set if set.is_pending => "+pending",
            set if set.is_incomplete => "+incomplete",
            _ => "",
        };
        format!("{base}{obsolete}{rest}")
    }
}

/// The set of the instances of one version; `None` when it is neither installed nor in all sources.
fn set(group: &[(At, &Instance)], resources: &[Resource<'_>]) -> Option<UpdateSet> {
    let version = &group.first()?.1.version;
    let mut target = vec![Vec::new(); resources.len()];
    let mut source = vec![None; resources.len()];
    for (at, _) in group {
        match at.is_source {
            true => source[at.transfer] = source[at.transfer].or(Some(at.number)),
            false => target[at.transfer].push(at.number),
        }
    }
    let is_installed = target.iter().any(|instances| !instances.is_empty());
    let is_available = source.iter().all(Option::is_some);
    if !is_installed && !is_available {
        return None;
    }
    let has = |state| {
        group
            .iter()
            .any(|(at, i)| !at.is_source && i.state == state)
    };
    let is_lacking = target.iter().any(Vec::is_empty);
    let (is_partial, is_pending) = (has(State::Partial), has(State::Pending));
    let transfers = || resources.iter().map(|resource| resource.transfer);
    let is_protected = |text: &String| group.iter().any(|(_, i)| i.version.is_text(text));
    Some(UpdateSet {
        version: version.clone(),
        is_installed,
        is_available,
        is_newest: false,
        is_obsolete: transfers().any(|t| t.min_version.as_ref().is_some_and(|min| version < min)),
        is_protected: transfers().any(|t| t.protected.iter().any(is_protected)),
        is_incomplete: is_installed && is_lacking && !is_partial && !is_pending,
        is_partial,
        is_pending,
        target,
        source,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sysupdate::definition::Transfer;
    use crate::sysupdate::testing::{instance, resource, transfer, version};

    /// Version and assessment of each set of two transfers, newest first; in the same file order, target and source of each.
    fn table(transfers: &[Transfer; 2], content: [(&str, &str); 2]) -> Vec<String> {
        let both = transfers.iter().zip(content);
        let resources: Vec<_> = both
            .map(|(t, (target, source))| resource(t, target, source))
            .collect();
        let sets = Sets::of(&resources);
        sets.all()
            .iter()
            .map(|s| format!("{} {}", s.version, s.assessment()))
            .collect()
    }

    fn two() -> [Transfer; 2] {
        [transfer("a"), transfer("b")]
    }

    /// What to update to.
    fn candidate(transfers: &[Transfer; 2], content: [(&str, &str); 2]) -> Option<String> {
        candidate_but(transfers, content, &[])
    }

    /// The same, while these versions are held.
    fn candidate_but(
        transfers: &[Transfer; 2],
        content: [(&str, &str); 2],
        held: &[&str],
    ) -> Option<String> {
        let held: Vec<Version> = held.iter().map(|text| version(text)).collect();
        let both = transfers.iter().zip(content);
        let resources: Vec<_> = both
            .map(|(t, (target, source))| resource(t, target, source))
            .collect();
        Sets::of(&resources)
            .candidate(&held)
            .map(|s| s.version.to_string())
    }

    #[test]
    fn what_is_held_is_no_update_until_something_newer_is_there() {
        let transfers = two();
        let held = |target: &str, source: &str| {
            candidate_but(&transfers, [(target, source), (target, source)], &["3"])
        };
        assert_eq!(held("1 2 3", "3"), None);
        assert_eq!(held("1 2", "3"), None);
        assert_eq!(held("1 2", "2.5"), None);
        assert_eq!(held("1 2 3", "3 4"), Some("4".into()));
        // what is held is not repaired, and what is used instead is
        let both = |a: &str, b: &str| candidate_but(&transfers, [(a, "2 3"), (b, "2 3")], &["3"]);
        assert_eq!(both("2 3", "2"), None);
        assert_eq!(both("2 3", "3"), Some("2".into()));
        let enabled = [
            resource(&transfers[0], "1 2 3", ""),
            resource(&transfers[1], "1 3", ""),
        ];
        let sets = Sets::of(&enabled);
        let newest = |held: &[Version]| sets.newest_complete(held).map(|s| s.version.to_string());
        assert_eq!(newest(&[]), Some("3".into()));
        assert_eq!(newest(&[version("3")]), Some("1".into()));
    }

    #[test]
    fn installed_is_what_one_target_has_and_available_what_all_sources_have() {
        assert_eq!(
            table(&two(), [("1 2", "2 3 4"), ("2", "2 3")]),
            ["3 candidate", "2 current", "1 installed+incomplete"]
        );
        assert_eq!(table(&two(), [("", ""), ("", "")]), [""; 0]);
        assert!(Sets::of(&[]).all().is_empty());
    }

    #[test]
    fn every_state_has_its_word() {
        let mut protecting = two();
        protecting[1].protected = vec!["0.9".into()];
        let installed = "0.9 1.0 1.1";
        assert_eq!(
            table(
                &protecting,
                [(installed, "1.0 2.0 2.1"), ("0.9 1.1", "1.0 2.0 2.1")]
            ),
            [
                "2.1 candidate",
                "2.0 available",
                "1.1 current",
                "1.0 installed+incomplete",
                "0.9 protected"
            ]
        );
        let mut demanding = protecting.clone();
        demanding[0].min_version = Some(version("2.5"));
        assert_eq!(
            table(&demanding, [("0.9 2", "2.1"), ("0.9 2?", "2.1")]),
            [
                "2.1 available+obsolete",
                "2 current+obsolete+partial",
                "0.9 protected+obsolete"
            ]
        );
        // what is not the newest can be unfinished as well, and partial is said rather than pending
        assert_eq!(
            table(&two(), [("1! 2? 3", ""), ("1 2! 3", "")]),
            ["3 current", "2 installed+partial", "1 installed+pending"]
        );
        // a set that is being written is not called incomplete
        assert_eq!(
            table(&two(), [("1?", "1"), ("", "1")]),
            ["1 current+partial"]
        );
    }

    #[test]
    fn the_newest_available_version_is_called_candidate_even_when_it_is_older() {
        assert_eq!(
            table(&two(), [("2", "1"), ("2", "1")]),
            ["2 current", "1 candidate"]
        );
        assert_eq!(candidate(&two(), [("2", "1"), ("2", "1")]), None);
    }

    #[test]
    fn an_update_leads_to_something_newer_or_finishes_what_is_newest() {
        let of = |content| candidate(&two(), content);
        assert_eq!(of([("1", "1 2"), ("1", "1 2")]).as_deref(), Some("2"));
        assert_eq!(of([("", "1"), ("", "1")]).as_deref(), Some("1"));
        assert_eq!(of([("1", "1"), ("1", "1")]), None);
        assert_eq!(of([("1", "1 2"), ("1", "1")]), None);
        // repair, only where it can be had
        assert_eq!(of([("1", "1"), ("", "1")]).as_deref(), Some("1"));
        assert_eq!(of([("1", ""), ("", "")]), None);
        for unfinished in ["1!", "1?"] {
            assert_eq!(
                of([(unfinished, ""), ("1", "")]).as_deref(),
                Some("1"),
                "{unfinished}"
            );
        }
        // never a downgrade, also when the newest one is incomplete
        assert_eq!(of([("2", "1"), ("", "1")]), None);
        let mut demanding = two();
        demanding[1].min_version = Some(version("3"));
        assert_eq!(candidate(&demanding, [("1", "2"), ("1", "2")]), None);
    }

    #[test]
    fn versions_that_are_equal_are_one_set_with_the_installed_text() {
        let transfers = two();
        let resources = [
            resource(&transfers[0], "1.1", "1.01"),
            resource(&transfers[1], "1.1", "1.1"),
        ];
        let sets = Sets::of(&resources);
        assert_eq!(sets.all().len(), 1);
        assert!(sets.find("1.1").is_some() && sets.find("1.01").is_none());
        assert!(sets.all()[0].is_installed && sets.all()[0].is_available);
        let mut protecting = two();
        protecting[0].protected = vec!["1.001".into()];
        assert_eq!(
            table(&protecting, [("1.1 2", ""), ("1.1 2", "")])[1],
            "1.1 installed"
        );
    }

    #[test]
    fn of_several_instances_of_one_version_that_of_the_first_pattern_counts_and_all_belong_to_it() {
        let transfers = two();
        let mut resources = [
            resource(&transfers[0], "1 1 1", "1 1"),
            resource(&transfers[1], "1", "1"),
        ];
        for (number, (pattern, shown)) in [(1, "/a"), (0, "/c"), (0, "/b")].into_iter().enumerate()
        {
            resources[0].target[number].pattern = pattern;
            resources[0].target[number].shown = shown.into();
        }
        resources[0].source[0].pattern = 1;
        let sets = Sets::of(&resources);
        assert_eq!(sets.all()[0].target, [vec![2, 1, 0], vec![0]]);
        assert_eq!(sets.all()[0].source, [Some(1), Some(0)]);
    }

    #[test]
    fn what_is_only_partial_is_never_the_current_version() {
        let transfers = two();
        let resources = [
            resource(&transfers[0], "1 2! 3?", ""),
            resource(&transfers[1], "1 2", ""),
        ];
        let sets = Sets::of(&resources);
        let text = |set: Option<&UpdateSet>| set.map(|s| s.version.to_string()).unwrap_or_default();
        assert_eq!(text(sets.newest_installed()), "3");
        assert_eq!(text(sets.current()), "2");
        assert_eq!(text(sets.newest_complete(&[])), "1");
    }

    #[test]
    fn ten_thousand_versions_of_four_transfers_are_merged() {
        let transfers = ["a", "b", "c", "d"].map(transfer);
        let all: Vec<Instance> = (0..10_000).map(|n| instance(&format!("{n}.1"))).collect();
        let resources: Vec<Resource<'_>> = transfers
            .iter()
            .map(|transfer| Resource {
                transfer,
                target: all[..5000].to_vec(),
                source: all.clone(),
                slots: None,
                room: Vec::new(),
            })
            .collect();
        let sets = Sets::of(&resources);
        assert_eq!(sets.all().len(), 10_000);
        assert!(sets.candidate(&[]).unwrap().version.is_text("9999.1"));
        assert!(
            sets.all()[..5000]
                .iter()
                .all(|s| s.is_available && !s.is_installed)
        );
        assert!(sets.all()[5000..].iter().all(UpdateSet::is_complete));
    }

    fn words() -> impl Strategy<Value = String> {
        let word = prop::sample::select(vec![
            "1", "1.01", "1.1", "1.1!", "2?", "2", "2~rc", "3", "3!",
        ]);
        proptest::collection::vec(word, 0..5).prop_map(|words| words.join(" "))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn sets_say_what_a_look_at_every_instance_says(
            content in proptest::collection::vec((words(), words()), 1..4),
            min in prop::sample::select(vec!["0", "1.1", "2", "9"]),
            protected in prop::sample::select(vec!["1", "1.01", "2"]),
        ) {
            let mut transfers: Vec<Transfer> = content.iter().map(|_| transfer("a")).collect();
            transfers[0].min_version = Some(version(min));
            transfers.last_mut().unwrap().protected.push(protected.to_owned());
            let resources: Vec<Resource<'_>> = transfers.iter().zip(&content).map(|(t, (a, b))| resource(t, a, b)).collect();
            let sets = Sets::of(&resources);
            prop_assert!(sets.all().is_sorted_by(|a, b| a.version > b.version));
            let everything = resources.iter().flat_map(|r| r.target.iter().chain(&r.source));
            for v in everything.map(|i| &i.version) {
                let targets = resources.iter().map(|r| r.target.iter().filter(|i| i.version == *v).collect::<Vec<_>>());
                let targets: Vec<Vec<&Instance>> = targets.collect();
                let in_source = |r: &Resource<'_>| r.source.iter().any(|i| i.version == *v);
                let (some, all) = (targets.iter().any(|t| !t.is_empty()), targets.iter().all(|t| !t.is_empty()));
                let available = resources.iter().all(in_source);
                let found = sets.all().iter().find(|s| s.version == *v);
                prop_assert_eq!(found.is_some(), some || available);
                let Some(set) = found else { continue };
                prop_assert_eq!((set.is_installed, set.is_available), (some, available));
                let is = |state| targets.iter().flatten().any(|i| i.state == state);
                prop_assert_eq!(set.is_partial, is(State::Partial));
                prop_assert_eq!(set.is_pending, is(State::Pending));
                prop_assert_eq!(set.is_incomplete, some && !all && !set.is_partial && !set.is_pending);
                prop_assert_eq!(set.is_obsolete, *v < version(min));
                for (numbers, resource) in set.target.iter().zip(&resources) {
                    prop_assert!(numbers.iter().all(|n| resource.target[*n].version == *v));
                }
            }
            if let Some(set) = sets.candidate(&[]) {
                prop_assert!(sets.newest_installed().is_none_or(|newest| set.version >= newest.version));
            }
            let newest = sets.all().iter().filter(|s| s.is_newest);
            prop_assert!(newest.clone().count() <= 2 && newest.filter(|s| s.is_installed).count() <= 1);
        }
    }
}
