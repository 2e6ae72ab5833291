//! What ours and systemd-sysupdate remove of what no transfer owns any more, by the install database that both have.
//!
//! 257 has no such database and no such command: with it only ours is called.

use std::fs;

use crate::compat::{BOTH, Comparison, Program, Tree};
use crate::peer::Peer;

fn transfer(tree: &Tree, dir: &str, path: &str, patterns: &str) {
    tree.write(
        &format!("{dir}/a.transfer"),
        format!(
            "[Source]\nType=regular-file\nPath=/srv\nMatchPattern=os_@v\n[Target]\nType=regular-file\nPath={path}\nMatchPattern={patterns}\n"
        ),
    );
}

/// Two versions to be had, by a collection of the system, a component, and one that is named.
fn before() -> Tree {
    let tree = Tree::with(&["srv", "images", "other", "named", "definitions"]);
    tree.write("srv/os_1", "1");
    tree.write("srv/os_2", "2");
    transfer(&tree, "etc/sysupdate.d", "/images", "os_@v os-@v");
    transfer(&tree, "etc/sysupdate.other.d", "/other", "other_@v");
    transfer(&tree, "definitions", "/named", "named_@v");
    tree
}

/// The programs that can clean up.
fn programs(compared: &Comparison) -> &'static [Program] {
    match compared.peer {
        Peer::V257 => &[Program::Ours],
        Peer::V262 => &BOTH,
    }
}

/// Has a program do this, which has to succeed.
fn does(compared: &Comparison, tree: &Tree, program: Program, calls: &[&str]) {
    let calls: Vec<_> = calls.iter().map(|call| (program, *call)).collect();
    for ran in compared.run(tree, &calls) {
        let _done = ran.succeeds();
    }
}

fn has(tree: &Tree, path: &str) -> bool {
    tree.listing().iter().any(|line| line.contains(path))
}

/// The entries of the install databases.
fn entries(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for database in ["installdb", "installdb.other"] {
        let dir = tree.path("var/lib/systemd/sysupdate").join(database);
        for entry in fs::read_dir(dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            let text = fs::read_link(&path).unwrap();
            let name = path.file_name().unwrap().display().to_string();
            found.push(format!("{database} {name} {}", text.display()));
        }
    }
    found.sort();
    found
}

#[test]
fn what_either_installed_is_cleaned_up_by_the_other_by_the_same_entries() {
    let mut compared = Comparison::new("cleaned up");
    let mut written = Vec::new();
    for program in programs(&compared) {
        let tree = before();
        does(&compared, &tree, *program, &["update 1", "-A update"]);
        written.push(entries(&tree));
        transfer(&tree, "etc/sysupdate.d", "/images", "new_@v");
        does(&compared, &tree, *program, &["update"]);
        fs::remove_file(tree.path("etc/sysupdate.other.d/a.transfer")).unwrap();
        tree.write("images/unrelated", "x");
        for cleaner in programs(&compared) {
            let tree = tree.copy();
            does(&compared, &tree, *cleaner, &["cleanup"]);
            let left = [
                "/images/os_1",
                "/images/os_2",
                "/images/new_2",
                "/images/unrelated",
                "/other/other_2",
            ]
            .map(|name| has(&tree, name));
            assert_eq!(
                left,
                [false, false, true, true, true],
                "{program:?}, {cleaner:?}"
            );
            does(&compared, &tree, *cleaner, &["-A cleanup"]);
            assert!(!has(&tree, "/other/other_2"), "{program:?}, {cleaner:?}");
            let all = entries(&tree);
            assert!(
                all.len() == 1 && all[0].ends_with(" /images/./new_@v"),
                "{all:?}"
            );
        }
        if compared.peer == Peer::V262 {
            let calls = [
                "cleanup",
                "-A cleanup",
                "update --cleanup=yes",
                "cleanup --cleanup=no",
                "cleanup a",
            ];
            compared.changes(&format!("by {program:?}"), &tree, &calls);
        }
    }
    assert_eq!(written[0].len(), 3, "{written:?}");
    assert_eq!(written.first(), written.last());
    compared.ends();
}

#[test]
fn what_named_definitions_installed_is_theirs_alone() {
    let mut compared = Comparison::new("definitions cleaned up");
    let tree = before();
    let (named, usual) = ("/named/named_2", "/images/os_2");
    let installed = ["--definitions=/definitions update", "update"];
    for (cleanup, left) in [
        ("cleanup", [true, true]),
        ("--definitions=/definitions cleanup", [true, true]),
    ] {
        let tree = tree.copy();
        does(&compared, &tree, Program::Ours, &installed);
        does(&compared, &tree, Program::Ours, &[cleanup]);
        assert_eq!([has(&tree, named), has(&tree, usual)], left, "{cleanup}");
        fs::remove_file(tree.path("definitions/a.transfer")).unwrap();
        does(&compared, &tree, Program::Ours, &["-A cleanup"]);
        assert_eq!([has(&tree, named), has(&tree, usual)], [true, true]);
        does(
            &compared,
            &tree,
            Program::Ours,
            &["--definitions=/definitions cleanup"],
        );
        assert_eq!([has(&tree, named), has(&tree, usual)], [false, true]);
    }
    if compared.peer == Peer::V262 {
        let calls = ["cleanup", "--definitions=/definitions cleanup"]
            .map(|cleanup| format!("{}; {cleanup}", installed.join("; ")));
        let calls = calls.each_ref().map(String::as_str);
        compared.changes("both installed", &tree, &calls);
    }
    compared.ends();
}

#[test]
fn a_collection_that_lost_its_definitions_is_cleaned_up_only_when_that_is_asked_for() {
    let mut compared = Comparison::new("definitions lost");
    let tree = before();
    does(
        &compared,
        &tree,
        *programs(&compared).last().unwrap(),
        &["-A update"],
    );
    fs::remove_file(tree.path("etc/sysupdate.d/a.transfer")).unwrap();
    let ours = tree.copy();
    does(
        &compared,
        &ours,
        Program::Ours,
        &["-A update --cleanup=yes"],
    );
    assert!(has(&ours, "/images/os_2"));
    does(&compared, &ours, Program::Ours, &["cleanup"]);
    assert!(!has(&ours, "/images/os_2") && has(&ours, "/other/other_2"));
    if compared.peer == Peer::V262 {
        let calls = ["-A update --cleanup=yes", "update --cleanup=yes", "cleanup"];
        compared.changes("lost", &tree, &calls);
    }
    compared.ends();
}

#[test]
fn the_version_that_runs_is_never_cleaned_up() {
    let compared = Comparison::new("running cleaned up");
    let tree = before();
    tree.write("etc/os-release", "ID=test\nIMAGE_VERSION=1\n");
    does(&compared, &tree, Program::Ours, &["update 1", "update"]);
    fs::remove_file(tree.path("etc/sysupdate.d/a.transfer")).unwrap();
    does(&compared, &tree, Program::Ours, &["cleanup"]);
    assert!(has(&tree, "/images/os_1") && !has(&tree, "/images/os_2"));
    tree.write("etc/os-release", "ID=test\nIMAGE_VERSION=2\n");
    does(&compared, &tree, Program::Ours, &["cleanup"]);
    assert!(!has(&tree, "/images/os_1"));
    assert_eq!(entries(&tree).len(), 0);
}
