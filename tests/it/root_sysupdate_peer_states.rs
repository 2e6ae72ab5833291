//! States and definitions in which systemd-sysupdate is known to go wrong, or to have its own mind.

use std::fs;
use std::os::unix::fs::symlink;

use crate::compat::{BOTH, Comparison, Tree};
use crate::peer::Peer;

/// Two directories, and a transfer of files with this name between them.
fn transfer(tree: &Tree, name: &str, keys: &str, pattern: &str, target: &str) {
    let text = format!(
        "[Transfer]\n{keys}\n[Source]\nType=regular-file\nPath=/srv\nMatchPattern={pattern}\n\
         [Target]\nType=regular-file\nMatchPattern={pattern}\n{target}\n"
    );
    tree.write(&format!("etc/sysupdate.d/{name}.transfer"), text);
}

/// One transfer, with these names at its source and at its target.
fn one(pattern: &str, source: &[&str], target: &[&str]) -> Tree {
    let tree = Tree::with(&["srv", "target"]);
    transfer(&tree, "a", "", pattern, "Path=/target");
    source
        .iter()
        .for_each(|name| tree.write(&format!("srv/{name}"), name));
    target
        .iter()
        .for_each(|name| tree.write(&format!("target/{name}"), name));
    tree
}

#[test]
fn names_are_matched_and_versions_are_ordered_as_the_peer_does() {
    let mut compared = Comparison::new("names");
    let calls = ["list", "list --json=short", "check-new"];
    let os = |names: &[&str]| one("os_@v", names, &["os_1.0"]);
    compared.reads(
        "order",
        &os(&[
            "os_1.0",
            "os_1.0-1",
            "os_1.0+b1",
            "os_1.0.rc1",
            "os_1.01",
            "os_v1",
            "os_2a",
        ]),
        &calls,
    );
    compared.reads(
        "equal",
        &os(&["os_1.00"]),
        &["list", "list 1.0", "list 1.00", "check-new"],
    );
    compared.reads(
        "not to be installed",
        &os(&["os_..", "os_", "os1", "OS_2", "os_ 1"]),
        &calls,
    );
    compared.reads("tilde", &os(&["os_1.0~rc1", "os_1.1~rc1"]), &calls);
    compared.reads("caret", &os(&["os_1.0^git1"]), &calls);
    compared.reads("comma", &os(&["os_1,2"]), &calls);
    compared.reads(
        "anchored",
        &one("os_@v.raw", &["os_1.raw.xz", "os_2.raw.sig"], &[]),
        &calls,
    );
    compared.reads(
        "counters",
        &one(
            "os_@v+@l-@d",
            &["os_1+3-0", "os_2+3", "os_3+09-1", "os_4+1-0x2"],
            &[],
        ),
        &calls,
    );
    let linked = os(&["os_2"]);
    symlink("os_2", linked.path("srv/os_3")).unwrap();
    fs::create_dir(linked.path("srv/os_4")).unwrap();
    compared.reads("links and directories", &linked, &calls);
    compared.reads(
        "unfinished source",
        &os(&[".sysupdate.partial.os_2", ".#sysupdateos_30123456789abcdef"]),
        &calls,
    );
    compared.ends();
}

#[test]
fn versions_in_directories_of_their_own_come_and_go_as_with_the_peer() {
    let mut compared = Comparison::new("subdirectories");
    let tree = one(
        "v_@v/os.efi",
        &["v_2/os.efi", "v_3/os.efi"],
        &["v_1/os.efi", "v_2/os.efi"],
    );
    let calls: &[&str] = match compared.peer {
        // it ends with SIGABRT, and leaves what it has begun
        Peer::V257 => &["list"],
        Peer::V262 => &["list", "update; list", "vacuum -m 1"],
    };
    compared.changes("newer", &tree, calls);
    compared.ends();
}

#[test]
fn whole_versions_go_where_the_peer_leaves_halves() {
    let mut compared = Comparison::new("halves");
    let tree = Tree::with(&["srv", "a", "b"]);
    transfer(
        &tree,
        "a",
        "ProtectVersion=1",
        "a_@v",
        "Path=/a\nInstancesMax=2\nCurrentSymlink=current",
    );
    transfer(&tree, "b", "", "b_@v", "Path=/b\nInstancesMax=3");
    for version in 1..=5 {
        tree.write(&format!("srv/a_{version}"), "x");
        tree.write(&format!("srv/b_{version}"), "x");
    }
    compared.changes(
        "none",
        &tree,
        &[
            "update 1; update 2; list",
            "update 1; update 2; update 3; update 4; list",
        ],
    );
    compared.ends();
}

#[test]
fn unfinished_versions_are_listed_and_removed_as_the_peer_does() {
    let mut compared = Comparison::new("unfinished");
    let calls = ["list", "list 1", "check-new", "pending"];
    let with = |names: &[&str]| one("os_@v", &["os_1", "os_2"], names);
    let changes = ["vacuum; list", "update"];
    for (state, names) in [
        ("partial, newest", &[".sysupdate.partial.os_2", "os_1"][..]),
        ("pending, newest", &[".sysupdate.pending.os_2", "os_1"]),
        ("partial, older", &[".sysupdate.partial.os_1", "os_2"]),
        ("pending, older", &[".sysupdate.pending.os_1", "os_2"]),
        ("left over", &[".#sysupdateos_20123456789abcdef", "os_1"]),
    ] {
        let tree = with(names);
        compared.reads(state, &tree, &calls);
        compared.changes(state, &tree, &changes);
    }
    compared.ends();
}

#[test]
fn a_read_only_directory_is_installed_and_removed() {
    let mut compared = Comparison::new("read-only directory");
    let tree = Tree::with(&["srv", "dirs"]);
    tree.write(
        "etc/sysupdate.d/a.transfer",
        "[Source]\nType=directory\nPath=/srv\nMatchPattern=d_@v\n[Target]\nType=directory\nPath=/dirs\nMatchPattern=d_@v\nReadOnly=yes\nInstancesMax=2\n",
    );
    for version in 1..=3 {
        tree.write(&format!("srv/d_{version}/file"), "x");
    }
    compared.changes(
        "none",
        &tree,
        &["update 1", "update 1; update 2; update 3; list"],
    );
    compared.ends();
}

#[test]
fn definitions_are_refused_as_the_peer_refuses_them() {
    let mut compared = Comparison::new("definitions");
    let source = "[Source]\nType=regular-file\nPath=/srv\n";
    let target = "[Target]\nType=regular-file\nPath=/target\n";
    let patterns = [
        "abc",
        "a@v-@v",
        "a@v@u",
        "a@v-@z",
        "a@v*",
        "a@v@",
        "a@V",
        "a@v[1]",
        "a/**/x_@v",
        "\"a b_@v\"",
    ];
    let mut all: Vec<String> = patterns
        .iter()
        .map(|pattern| format!("{source}MatchPattern={pattern}\n{target}"))
        .collect();
    all.extend([
        "[Target]\nType=regular-file\nPath=/x\n".to_owned(),
        "[Source]\nType=url-file\n[Target]\nPath=/x\n".to_owned(),
        "[Source]\nType=url-file\nPath=ftp://x/\nMatchPattern=a@v\n[Target]\nPath=/x\n".to_owned(),
        "[Source]\nType=url-file\nPath=http://127.0.0.1:1/\n[Target]\nPath=/x\n".to_owned(),
        format!("{source}MatchPattern=a@v\n[Target]\nType=directory\nPath=/x\n"),
        "[Source]\nType=regular-file\nPath=x/y\nMatchPattern=a@v\n[Target]\nPath=/x\n".to_owned(),
        "[Source]\nType=partition\nPath=/dev/x\nMatchPattern=a@v\n[Target]\nPath=/x\n".to_owned(),
        format!("{source}PathRelativeTo=explicit\nMatchPattern=a@v\n[Target]\nPath=/x\n"),
        format!("{source}MatchPattern=a@v\n[Target]\nType=bogus\nPath=/x\n"),
        format!("{source}MatchPattern=a@v\n[Target]\nType=regular-file\n"),
        // these are warnings
        format!("{source}MatchPattern=a@v\n{target}Bogus=1\n[Other]\nX=1\n"),
        format!("{source}MatchPattern=a@v\n{target}InstancesMax=1\nMode=9\nReadOnly=perhaps\n"),
        format!(
            "[Transfer]\nMinVersion=/\nProtectVersion=1 2\n{source}MatchPattern=a@v %Z\n{target}"
        ),
        format!("{source}MatchPattern=a\\x5f@v\n{target}MatchPattern=a_@v b_@v\n"),
    ]);
    let tree = Tree::with(&["srv", "target"]);
    tree.write("srv/a_1", "x");
    let mut calls = Vec::new();
    for (number, text) in all.iter().enumerate() {
        tree.write(&format!("etc/definitions/{number}/a.transfer"), text);
        calls.push(format!("--definitions=/etc/definitions/{number} list"));
    }
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    compared.reads("each", &tree, &calls);
    compared.ends();
}

#[test]
fn what_either_program_switches_is_switched_for_both() {
    let mut compared = Comparison::new("switches");
    // 257 has no such commands, but knows what they write
    let reads = ["features extra", "list", "features --json=short"];
    for writer in BOTH {
        let tree = one("os_@v", &["os_1"], &[]);
        transfer(&tree, "b", "Features=extra", "b_@v", "Path=/target");
        tree.write("srv/b_2", "x");
        tree.write(
            "etc/sysupdate.d/extra.feature",
            "[Feature]\nDescription=More\n",
        );
        if compared.peer == Peer::V257 && writer == crate::compat::Program::Theirs {
            compared.reads("off", &tree, &reads);
            continue;
        }
        for (state, call) in [
            ("on", "enable-feature extra"),
            ("off again", "disable-feature extra"),
        ] {
            compared
                .run(&tree, &[(writer, call)])
                .pop()
                .unwrap()
                .succeeds();
            compared.reads(&format!("{writer:?}, {state}"), &tree, &reads);
        }
        if compared.peer == Peer::V257 {
            continue;
        }
        tree.write(
            "etc/sysupdate.other.d/a.transfer",
            fs::read(tree.path("etc/sysupdate.d/a.transfer")).unwrap(),
        );
        tree.write(
            "etc/sysupdate.other.component",
            "[Component]\nDescription=Other\n",
        );
        for (state, call) in [
            ("off", "disable-component other"),
            ("on", "enable-component other"),
        ] {
            compared
                .run(&tree, &[(writer, call)])
                .pop()
                .unwrap()
                .succeeds();
            let state = format!("{writer:?}, component {state}");
            compared.reads(
                &state,
                &tree,
                &["components", "-C other list", "-C other check-new"],
            );
            compared.changes(&state, &tree, &["-C other update; -C other vacuum"]);
        }
    }
    compared.ends();
}
