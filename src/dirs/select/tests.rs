//! Tests of what is selected.

use proptest::prelude::*;

use super::*;
use crate::rpmdb::InstalledPackage;

/// A package that was installed at that time, in that transaction.
fn package(name: &str, install_time: u32, transaction: Option<u32>) -> InstalledPackage {
    InstalledPackage {
        nevra: Nevra {
            name: name.into(),
            epoch: None,
            version: "1".into(),
            release: "1".into(),
            arch: "noarch".into(),
        },
        identity: String::new(),
        install_time,
        transaction,
        vendor: None,
        size: 0,
    }
}

fn entry(path: &str, package: usize) -> DirectoryEntry {
    DirectoryEntry {
        path: path.into(),
        mode: 0o755,
        user: "root".into(),
        group: "root".into(),
        is_ghost: false,
        state: FileState::Normal,
        package,
    }
}

fn found(packages: &[InstalledPackage], entries: &[DirectoryEntry]) -> Directories {
    Directories {
        entries: entries.to_vec(),
        packages: packages.to_vec(),
        bad: Vec::new(),
    }
}

fn prefixes(paths: &[&str]) -> Vec<Prefix> {
    let new = |p: &&str| Prefix::new(Path::new(p)).unwrap();
    paths.iter().map(new).collect()
}

/// What is selected below /var and /srv, not in /var/out, with nothing mounted in /var/mnt.
fn select_with(found: &Directories, with_ghosts: bool) -> (Vec<Selected>, Vec<String>) {
    let (asked, excluded) = (prefixes(&["/var", "/srv"]), prefixes(&["/var/out"]));
    let unmounted = prefixes(&["/var/mnt"]);
    let rules = Rules {
        prefixes: &asked,
        excluded: &excluded,
        with_ghosts,
        unmounted: &unmounted,
    };
    select(found, rules)
}

/// The reason for each path of one package.
fn reasons(paths: &[&str]) -> Vec<(String, Option<Reason>)> {
    let entries: Vec<_> = paths.iter().map(|path| entry(path, 0)).collect();
    let (selected, warnings) = select_with(&found(&[package("p", 1, None)], &entries), false);
    assert_eq!(warnings, [""; 0]);
    let shown = |one: &Selected| (one.path.display().to_string(), one.skip);
    selected.iter().map(shown).collect()
}

#[test]
fn what_lies_below_a_prefix_is_wanted_and_the_prefix_itself_never() {
    assert_eq!(
        reasons(&[
            "/var",
            "/var/lib",
            "/various/a",
            "/usr/lib",
            "/srv/b",
            "/srv/a",
            "/srv"
        ]),
        [
            ("/srv/a".into(), None),
            ("/srv/b".into(), None),
            ("/var/lib".into(), None),
        ]
    );
}

#[test]
fn paths_that_could_lead_elsewhere_are_refused() {
    let longest = format!("/var/{}", "x".repeat(4090));
    let too_long = format!("{longest}x");
    assert_eq!(longest.len(), 4095);
    for path in [
        "/var/../etc",
        "/var/a/..",
        "/var/./a",
        "/var/a/.",
        "/var//a",
        "/var/a/",
        "/var/a\0b",
        &too_long,
    ] {
        let refused = Some(Reason::UnsafePath);
        assert_eq!(reasons(&[path]), [(path.to_owned(), refused)], "{path:?}");
    }
    for path in ["/var/..a", "/var/a..", "/var/...", "/var/a\nb", &longest] {
        assert_eq!(reasons(&[path]), [(path.to_owned(), None)], "{path:?}");
    }
}

#[test]
fn what_is_made_anew_at_each_boot_is_skipped() {
    for (path, reason) in [
        ("/var/run", Some(Reason::Volatile)),
        ("/var/run/a", Some(Reason::Volatile)),
        ("/var/lock/a/b", Some(Reason::Volatile)),
        ("/var/running", None),
        ("/var/lib/run/a", None),
        ("/var/out", None),
        ("/var/out/a", Some(Reason::Excluded)),
        ("/var/mnt", None),
        ("/var/mnt/a/b", Some(Reason::NotMounted)),
    ] {
        assert_eq!(reasons(&[path]), [(path.to_owned(), reason)]);
    }
    let run = prefixes(&["/run"]);
    let rules = Rules {
        prefixes: &run,
        excluded: &[],
        with_ghosts: false,
        unmounted: &[],
    };
    let found = found(&[package("p", 1, None)], &[entry("/run/a", 0)]);
    assert_eq!(select(&found, rules).0[0].skip, Some(Reason::Volatile));
}

#[test]
fn only_what_rpm_has_put_on_disk_is_wanted() {
    for (state, reason) in [
        (FileState::Normal, None),
        (FileState::Replaced, Some(Reason::Replaced)),
        (FileState::NotInstalled, Some(Reason::NotInstalled)),
        (FileState::NetShared, Some(Reason::NetShared)),
        (FileState::WrongColour, Some(Reason::WrongColour)),
        (FileState::Unknown(9), Some(Reason::UnknownState)),
    ] {
        let of_state = DirectoryEntry {
            state,
            mode: 0o700,
            ..entry("/var/a", 0)
        };
        let alone = found(&[package("p", 9, None)], std::slice::from_ref(&of_state));
        assert_eq!(select_with(&alone, true).0[0].skip, reason, "{state:?}");
        // another package that has put it there counts alone
        let both = [of_state, entry("/var/a", 1)];
        let both = found(&[package("p", 9, None), package("q", 1, None)], &both);
        let (selected, warnings) = select_with(&both, true);
        let is_normal = state == FileState::Normal;
        assert_eq!(selected[0].mode, if is_normal { 0o700 } else { 0o755 });
        assert_eq!(warnings.len(), usize::from(is_normal));
    }
}

#[test]
fn ghosts_are_listed_and_only_wanted_when_asked_for() {
    let ghost = DirectoryEntry {
        is_ghost: true,
        mode: 0o700,
        ..entry("/var/a", 0)
    };
    let alone = found(&[package("p", 9, None)], std::slice::from_ref(&ghost));
    assert_eq!(select_with(&alone, false).0[0].skip, Some(Reason::Ghost));
    assert_eq!(select_with(&alone, true).0[0].skip, None);
    let packages = [package("p", 9, None), package("q", 1, None)];
    let both = found(&packages, &[ghost, entry("/var/a", 1)]);
    for with_ghosts in [false, true] {
        let (selected, warnings) = select_with(&both, with_ghosts);
        assert_eq!((selected[0].skip, selected[0].mode), (None, 0o755));
        assert_eq!(selected[0].packages, ["q-1-1.noarch"]);
        assert_eq!(warnings, [""; 0]);
    }
}

#[test]
fn packages_that_agree_are_all_named_without_a_warning() {
    let packages = [
        package("b", 5, None),
        package("c", 7, None),
        package("a", 6, None),
    ];
    let entries = [
        entry("/var/x", 0),
        entry("/var/x", 1),
        entry("/var/x", 2),
        entry("/var/x", 2),
    ];
    let (selected, warnings) = select_with(&found(&packages, &entries), false);
    assert_eq!(selected.len(), 1);
    let names = ["c-1-1.noarch", "a-1-1.noarch", "b-1-1.noarch"];
    assert_eq!(selected[0].packages, names);
    assert_eq!(warnings, [""; 0]);
}

#[test]
fn the_package_that_was_installed_last_wins_and_a_warning_names_both_with_their_values() {
    let other = DirectoryEntry {
        mode: 0o2770,
        user: "mail".into(),
        group: "a\u{1b}b".into(),
        ..entry("/var/x", 1)
    };
    // the later time, then the later transaction, then the name
    for (first, second, winner) in [
        (package("a", 5, Some(1)), package("b", 4, Some(9)), 0o755),
        (package("a", 5, Some(1)), package("b", 5, Some(2)), 0o2770),
        (package("a", 5, Some(1)), package("b", 5, None), 0o755),
        (package("a", 5, Some(1)), package("b", 5, Some(1)), 0o2770),
        (package("c", 5, Some(1)), package("b", 5, Some(1)), 0o755),
    ] {
        let both = [entry("/var/x", 0), other.clone()];
        let (selected, warnings) = select_with(&found(&[first, second], &both), false);
        assert_eq!(selected[0].mode, winner);
        assert_eq!(selected[0].packages.len(), 2);
        let [warning] = &warnings[..] else {
            panic!("{warnings:?}")
        };
        assert!(warning.starts_with("/var/x: "), "{warning}");
        for part in ["-1-1.noarch", "0755 root:root", "2770 mail:", r"a\u{1b}b"] {
            assert!(warning.contains(part), "{warning}");
        }
        let names = selected[0].packages.iter();
        assert!(
            names.clone().all(|name| warning.contains(name)),
            "{warning}"
        );
    }
}

#[test]
fn of_two_versions_that_were_installed_together_the_newer_one_counts() {
    let of_version = |version: &str| {
        let mut package = package("kernel", 5, Some(1));
        package.nevra.version = version.into();
        package
    };
    for (first, second, mode) in [("6.4.0", "6.12.10", 0o700), ("6.12.10", "6.4.0", 0o755)] {
        let packages = [of_version(first), of_version(second)];
        let other = DirectoryEntry {
            mode: 0o700,
            ..entry("/var/x", 1)
        };
        let (selected, warnings) =
            select_with(&found(&packages, &[entry("/var/x", 0), other]), false);
        assert_eq!((selected[0].mode, warnings.len()), (mode, 1));
    }
}

fn claims() -> impl Strategy<Value = (Vec<InstalledPackage>, Vec<DirectoryEntry>)> {
    let packages = prop::collection::vec(("[ab]", 0..3u32, prop::option::of(0..2u32)), 1..5);
    let packages = packages.prop_map(|all| {
        let new = |(name, time, id): (String, u32, Option<u32>)| package(&name, time, id);
        all.into_iter().map(new).collect::<Vec<_>>()
    });
    packages.prop_flat_map(|packages| {
        let path = prop::sample::select(vec![
            "/var/a",
            "/var/a/b",
            "/var/a-b",
            "/var/a//b",
            "/var/a/.",
            "/srv/x",
            "/var/out/a",
        ]);
        let state = prop::sample::select(vec![FileState::Normal, FileState::Replaced]);
        let mode = prop::sample::select(vec![0o700, 0o755]);
        let user = prop::sample::select(vec!["root", "mail"]);
        let owner = 0..packages.len();
        let one = (path, state, mode, user, any::<bool>(), owner).prop_map(
            |(path, state, mode, user, is_ghost, owner)| DirectoryEntry {
                state,
                mode,
                user: user.into(),
                is_ghost,
                ..entry(path, owner)
            },
        );
        (Just(packages), prop::collection::vec(one, 0..12))
    })
}

proptest! {
    #[test]
    fn the_order_in_the_database_has_no_influence(
        (packages, entries) in claims(),
        seed in any::<prop::sample::Index>(),
        with_ghosts: bool,
    ) {
        let given = select_with(&found(&packages, &entries), with_ghosts);
        // the packages turned around and the entries rotated
        let last = packages.len() - 1;
        let turned: Vec<_> = packages.iter().rev().cloned().collect();
        let mut moved: Vec<_> = entries
            .iter()
            .rev()
            .map(|e| DirectoryEntry { package: last - e.package, ..e.clone() })
            .collect();
        if !moved.is_empty() {
            let by = seed.index(moved.len());
            moved.rotate_left(by);
        }
        prop_assert_eq!(&given, &select_with(&found(&turned, &moved), with_ghosts));
        // each path once, and what lies in a directory right behind it
        let paths: Vec<&Path> = given.0.iter().map(|one| one.path.as_path()).collect();
        prop_assert!(paths.windows(2).all(|two| by_path(two[0], two[1]).is_lt()));
    }
}
