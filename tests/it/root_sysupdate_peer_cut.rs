//! What one program was cut off in, the other understands, goes on with or removes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use crate::compat::{Comparison, Program, Tree};
use crate::http::Answer;
use crate::peer::Peer;
use crate::root_sysupdate_peer::tree_of;
use crate::sysupdate_update::{Site, wait_until};

/// What shows a state in which version 3 is begun.
const READS: &[&str] = &[
    "list",
    "list --json=short",
    "list 3",
    "list 3 --json=short",
    "check-new",
    "--offline check-new",
    "pending",
];

/// Versions 1 and 2, of which 2 runs, and 3 to be had.
fn before() -> (Site, Tree) {
    let site = Site::with(&["1", "2"], "3");
    site.write("etc/os-release", "ID=test\nIMAGE_VERSION=2\n");
    let tree = tree_of(&site);
    (site, tree)
}

/// The listing when an update that nothing cuts off is through.
fn after(compared: &Comparison, tree: &Tree) -> Vec<String> {
    let done = tree.copy();
    let calls = [(Program::Ours, "update")];
    compared.run(&done, &calls).pop().unwrap().succeeds();
    done.listing()
}

/// Whether a name in a directory is one of those of unfinished files.
fn has_unfinished(tree: &Tree, dir: &str) -> bool {
    let entries = fs::read_dir(tree.path(dir)).unwrap();
    entries.map(Result::unwrap).any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_unfinished =
            name.starts_with(".#sysupdate") || name.starts_with(".sysupdate.partial.");
        is_unfinished && entry.metadata().is_ok_and(|meta| meta.len() > 0)
    })
}

#[test]
fn what_the_peer_was_killed_in_is_understood_completed_and_removed() {
    let mut compared = Comparison::new("peer killed");
    for (name, dir, state) in [
        ("tree_3.tar", "trees", "tree"),
        ("os_3.raw", "images", "image"),
    ] {
        let (mut site, tree) = before();
        let whole = after(&compared, &tree);
        // slow from here on
        let content = site.payload(name);
        let wait = Duration::from_millis(200);
        site.answer(
            name,
            Answer::of(&content)
                .etag("\"1\"")
                .slow(content.len() / 50, wait),
        );
        let killed = compared.starts(&tree, Program::Theirs, "update");
        wait_until(|| has_unfinished(&tree, dir));
        killed.kill();
        site.offer("3");
        compared.reads(state, &tree, READS);
        let [_, ours] =
            compared.changes(state, &tree, &["vacuum; list", "vacuum; update", "update"]);
        assert_eq!(ours.listing(), whole, "{state}");
    }
    compared.ends();
}

#[test]
fn what_ours_was_killed_in_is_understood_and_removed_by_the_peer() {
    let mut compared = Comparison::new("ours killed");
    let (site, tree) = before();
    let whole = after(&compared, &tree);
    let log = site.path("log");
    let mut all = site.command(&["update", "--jobs=1"]);
    let all = all.env("TU_FAILPOINTS", format!("*=log:{}", log.display()));
    assert!(all.status().unwrap().success());
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut points = Vec::new();
    for name in fs::read_to_string(&log).unwrap().lines() {
        let count = counts.entry(name.to_owned()).or_default();
        *count += 1;
        points.push(format!("{name}@{count}"));
    }
    // 257 does not know the names of what is unfinished
    if compared.peer == Peer::V257 {
        let some = ["sysupdate-acquired@1", "sysupdate-complete-set@1"];
        points.retain(|point| some.contains(&point.as_str()));
        assert_eq!(points.len(), some.len());
    }
    let mut seen = BTreeSet::new();
    for point in points {
        let tree = tree.copy();
        let kill = format!("TU_FAILPOINTS={point}=kill update --jobs=1");
        let killed = compared.run(&tree, &[(Program::Ours, &kill)]).pop();
        killed.unwrap().exits(137);
        if seen.insert(tree.listing()) {
            compared.reads(&point, &tree, READS);
            compared.changes(&point, &tree, &["vacuum; list"]);
        }
        // what is left to ours then is a link that it has noted, and names that 257 has no use for
        let calls = [
            (Program::Theirs, "vacuum"),
            (Program::Theirs, "update"),
            (Program::Ours, "update"),
            (Program::Ours, "vacuum"),
        ];
        for ran in compared.run(&tree, &calls) {
            ran.succeeds();
        }
        assert_eq!(tree.listing(), whole, "{point}");
    }
    assert!(seen.len() > 1);
    compared.ends();
}
