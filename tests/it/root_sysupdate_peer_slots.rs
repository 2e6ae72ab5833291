//! Versions in partitions that systemd-sysupdate installed, in the image of a disk.

use std::io::Write;
use std::process::Stdio;

use crate::compat::{Comparison, Program, Tree};
use crate::fx::command;

/// A disk with these labels on slots of a root, and versions 1 to 3 to be had.
fn slots(labels: &[&str]) -> Tree {
    let tree = Tree::with(&["srv"]);
    tree.write(
        "etc/sysupdate.d/a.transfer",
        "[Source]\nType=regular-file\nPath=/srv\nMatchPattern=root_@v_@u.raw\n\
         [Target]\nType=partition\nPath=/disk.img\nMatchPattern=root_@v\nMatchPartitionType=root-x86-64\n",
    );
    for version in 1..=3 {
        let name = format!("srv/root_{version}_aaaaaaaa-1111-2222-3333-00000000000{version}.raw");
        tree.write(&name, [version; 5000]);
    }
    tree.write("disk.img", vec![0; 12 << 20]);
    let mut script = "label: gpt\nlabel-id: 11111111-2222-3333-4444-555555555555\n".to_owned();
    for (number, label) in labels.iter().enumerate() {
        script += &format!(
            "size=1MiB, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid=BBBBBBBB-0000-0000-0000-{number:012}, name=\"{label}\"\n"
        );
    }
    let mut sfdisk = command("sfdisk");
    let sfdisk = sfdisk
        .args(["--quiet", "--no-tell-kernel"])
        .arg(tree.path("disk.img"));
    let mut child = sfdisk.stdin(Stdio::piped()).spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
    tree
}

#[test]
fn what_the_peer_installed_into_partitions_is_listed_and_removed_as_it_does() {
    let mut compared = Comparison::new("partitions");
    let tree = slots(&["_empty", "_empty", "_empty", "other"]);
    compared.reads("empty", &tree, &["list", "check-new"]);
    let calls = [(Program::Theirs, "update 1"), (Program::Theirs, "update 2")];
    for ran in compared.run(&tree, &calls) {
        ran.succeeds();
    }
    compared.reads(
        "newer",
        &tree,
        &[
            "list",
            "list 2",
            "list 2 --json=pretty",
            "list --json=short",
            "check-new",
        ],
    );
    compared.changes("newer", &tree, &["vacuum", "vacuum -m 1; list"]);
    compared.ends();
}
