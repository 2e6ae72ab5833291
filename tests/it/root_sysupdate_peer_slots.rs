//! Versions in partitions that systemd-sysupdate installed, in the image of a disk.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::compat::{Comparison, Program, Tree};
use crate::http::{Answer, Server};
use crate::peer::Peer;
use crate::sfdisk;
use crate::sysupdate_update::wait_until;

/// The type of the slots of [`slots`].
const ROOT_TYPE: &str = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709";

/// The lines of a listing that tell of a partition.
fn partitions(listing: &[String]) -> Vec<&String> {
    let is_entry = |line: &&String| line.starts_with("p ") && line.contains("name=");
    listing.iter().filter(is_entry).collect()
}

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
            "size=1MiB, type={ROOT_TYPE}, uuid=BBBBBBBB-0000-0000-0000-{number:012}, name=\"{label}\"\n"
        );
    }
    sfdisk::make(tree.path("disk.img"), &script);
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

#[test]
fn updates_of_partitions_leave_the_same_disk() {
    let mut compared = Comparison::new("partition updates");
    let tree = slots(&["_empty", "_empty", "other"]);
    compared.changes(
        "empty",
        &tree,
        &[
            "update 1; list",
            "update 1; update 2; list 2",
            "update 1; update 2; update 3; list --json=short",
            "update 2; update 1; vacuum -m 1; list",
        ],
    );
    if compared.peer == Peer::V262 {
        compared.changes("empty", &tree, &["acquire 1; list; update --offline; list"]);
    }
    let one = slots(&["_empty", "other"]);
    compared.changes("one slot", &one, &["update 1"]);
    compared.ends();
}

#[test]
fn attributes_of_partitions_are_those_that_were_asked_for() {
    let mut compared = Comparison::new("attributes");
    let tree = slots(&["_empty", "_empty", "other"]);
    let path = "etc/sysupdate.d/a.transfer";
    let text = fs::read_to_string(tree.path(path)).unwrap();
    let more = "ReadOnly=yes\nPartitionNoAuto=yes\nPartitionGrowFileSystem=yes\n";
    tree.write(path, text + more);
    compared.changes("empty", &tree, &["update 1; list 1"]);
    compared.ends();
}

#[test]
fn what_either_program_was_cut_off_in_the_other_finishes_in_the_slots() {
    let compared = Comparison::new("partitions cut off");
    if compared.peer == Peer::V257 {
        // it knows nothing of what is not complete
        return compared.ends();
    }
    let tree = slots(&["_empty", "_empty", "other"]);
    let update = |program| [(program, "update 1"), (program, "update 2")];
    for ran in compared.run(&tree, &update(Program::Theirs)) {
        ran.succeeds();
    }
    let done = tree.copy();
    let all = [(Program::Ours, "TU_FAILPOINTS=*=log:/srv/log update 3")];
    compared.run(&done, &all).pop().unwrap().succeeds();
    let log = fs::read_to_string(done.path("srv/log")).unwrap();
    fs::remove_file(done.path("srv/log")).unwrap();
    let whole = done.listing();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut points = Vec::new();
    for name in log
        .lines()
        .filter(|name| name.starts_with("sysupdate-slot-"))
    {
        let count = counts.entry(name).or_default();
        *count += 1;
        points.push(format!("{name}@{count}"));
    }
    assert!(points.len() > 12, "{points:?}");
    for point in points {
        let tree = tree.copy();
        let kill = format!("TU_FAILPOINTS={point}=kill update 3");
        let killed = compared.run(&tree, &[(Program::Ours, &kill)]).pop();
        killed.unwrap().exits(137);
        let calls = [
            (Program::Theirs, "list"),
            (Program::Theirs, "vacuum"),
            (Program::Theirs, "update 3"),
            (Program::Ours, "vacuum"),
            (Program::Ours, "update"),
        ];
        for ran in compared.run(&tree, &calls) {
            ran.succeeds();
        }
        assert_eq!(tree.listing(), whole, "{point}");
    }
    compared.ends();
}

#[test]
fn both_programs_at_once_leave_a_table_that_is_whole() {
    let mut compared = Comparison::new("at once");
    let tree = slots(&["_empty", "_empty", "_empty", "_empty"]);
    let other = "[Source]\nType=regular-file\nPath=/srv\nMatchPattern=usr_@v.raw\n\
         [Target]\nType=partition\nPath=/disk.img\nMatchPattern=usr_@v\nMatchPartitionType=usr-x86-64\n";
    tree.write("etc/sysupdate.other.d/b.transfer", other);
    for _ in 0..5 {
        let tree = tree.copy();
        // one writes and empties slots over and over, the other does as well
        let theirs = compared.starts(&tree, Program::Theirs, "update 1");
        let calls = [(Program::Ours, "update 2"), (Program::Ours, "list")];
        let ran = compared.run(&tree, &calls);
        let is_theirs_done = theirs.wait();
        let listing = tree.listing();
        let table = partitions(&listing);
        assert_eq!(table.len(), 4, "{listing:?}");
        let told = &ran[0];
        let is_in = |version: &str| table.iter().any(|line| line.contains(version));
        // the peer reads the table before it has the lock: what it chose a slot by may be older than what ours wrote there
        let is_replaced = is_theirs_done && is_in("name=\"root_1\"");
        let is_there = is_in("name=\"root_2\"");
        assert!(
            is_there || told.code != 0 || is_replaced,
            "{listing:?}\n{told}"
        );
        // whatever came of it, the next update sets it right and leaves nothing half
        let update = [(Program::Ours, "update 2"), (Program::Ours, "vacuum")];
        for ran in compared.run(&tree, &update) {
            ran.succeeds();
        }
        let listing = tree.listing();
        let table = partitions(&listing);
        let versions = table.iter().filter(|line| line.contains("name=\"root_2\""));
        assert_eq!((table.len(), versions.count()), (4, 1), "{listing:?}");
        assert!(
            table.iter().all(|line| line.contains(ROOT_TYPE)),
            "{listing:?}"
        );
    }
    compared.reads("after", &tree, &["list"]);
    compared.ends();
}

/// The same from a server, which takes its time while `is_slow` says so. Of version 3 it promises something else than it has.
fn served(labels: &[&str], versions: u8, is_slow: &Arc<AtomicBool>) -> (Tree, Server) {
    let tree = slots(labels);
    let mut files: BTreeMap<String, Arc<Vec<u8>>> = BTreeMap::new();
    let mut sums = String::new();
    for version in 1..=versions {
        let name = format!("root_{version}_aaaaaaaa-1111-2222-3333-00000000000{version}.raw");
        let content: Vec<u8> = (0..600_000_u32)
            .map(|i| (i / 251) as u8 ^ version)
            .collect();
        let digest = Sha256::digest(&content);
        let digest: String = digest.iter().map(|b| format!("{b:02x}")).collect();
        let digest = if version == 3 { "0".repeat(64) } else { digest };
        sums += &format!("{digest}  {name}\n");
        files.insert(format!("/{name}"), Arc::new(content));
    }
    files.insert("/SHA256SUMS".into(), Arc::new(sums.into_bytes()));
    let slow = Arc::clone(is_slow);
    let server = Server::new(move |request| match files.get(&request.path) {
        None => Answer::status(404),
        Some(body) if slow.load(Ordering::Relaxed) && request.path.starts_with("/root_2") => {
            let answer = Answer::of(body).etag("\"1\"");
            answer.slow(body.len() / 100, Duration::from_millis(100))
        }
        Some(body) => Answer::of(body).etag("\"1\""),
    });
    let url = server.url("");
    let path = "etc/sysupdate.d/a.transfer";
    let text = fs::read_to_string(tree.path(path)).unwrap();
    let text = text.replace(
        "Type=regular-file\nPath=/srv",
        &format!("Type=url-file\nPath={url}"),
    );
    tree.write(path, format!("[Transfer]\nVerify=no\n{text}"));
    (tree, server)
}

#[test]
fn what_the_peer_was_killed_in_is_finished_in_its_slot() {
    let mut compared = Comparison::new("partitions, peer killed");
    let is_slow = Arc::new(AtomicBool::new(false));
    let (tree, server) = served(&["_empty", "_empty", "other"], 2, &is_slow);
    let update = [(Program::Theirs, "update 1")];
    compared.run(&tree, &update).pop().unwrap().succeeds();
    let done = tree.copy();
    let update = [(Program::Ours, "update")];
    compared.run(&done, &update).pop().unwrap().succeeds();
    let whole = done.listing();
    is_slow.store(true, Ordering::Relaxed);
    let before = server.seen().len();
    let killed = compared.starts(&tree, Program::Theirs, "update");
    wait_until(|| {
        let seen = server.seen();
        seen[before..]
            .iter()
            .any(|r| r.method == "GET" && r.path.starts_with("/root_2"))
    });
    // some of its bytes are there
    std::thread::sleep(Duration::from_millis(700));
    killed.kill();
    is_slow.store(false, Ordering::Relaxed);
    compared.reads(
        "killed",
        &tree,
        &["list", "check-new", "--offline check-new"],
    );
    let [_, ours] = compared.changes("killed", &tree, &["vacuum; list", "vacuum; update"]);
    assert_eq!(ours.listing(), whole);
    // and without asking for a vacuum before
    let update = [(Program::Ours, "update")];
    compared.run(&tree, &update).pop().unwrap().succeeds();
    assert_eq!(tree.listing(), whole);
    compared.ends();
}

#[test]
fn a_payload_that_is_not_right_takes_no_version_out_of_its_slot() {
    let mut compared = Comparison::new("partitions, bad payload");
    let (tree, _server) = served(&["_empty", "_empty", "other"], 3, &Arc::default());
    let update = |version: &str| {
        let call = format!("update {version}");
        let calls = [(Program::Ours, call.as_str())];
        compared.run(&tree, &calls).pop().unwrap().succeeds();
    };
    update("1");
    update("2");
    compared.changes("wrong digest", &tree, &["update 3; list"]);
    // from a directory, with nothing to check it by but its size
    let tree = slots(&["root_1", "root_2", "other"]);
    let large = "srv/root_3_aaaaaaaa-1111-2222-3333-000000000003.raw";
    tree.write(large, vec![3; (1 << 20) + 1]);
    compared.changes("too large", &tree, &["update 3; list"]);
    compared.ends();
}

#[test]
fn transfers_of_one_type_get_a_slot_each() {
    let mut compared = Comparison::new("partitions, one type");
    let tree = slots(&["_empty", "_empty", "_empty", "_empty"]);
    let more = "[Source]\nType=regular-file\nPath=/srv\nMatchPattern=more_@v.raw\n\
         [Target]\nType=partition\nPath=/disk.img\nMatchPattern=more_@v\nMatchPartitionType=root-x86-64\n";
    tree.write("etc/sysupdate.d/b.transfer", more);
    tree.write("srv/more_1.raw", [7; 3000]);
    compared.changes("empty", &tree, &["update 1; list"]);
    compared.ends();
}

#[test]
fn the_slots_of_a_disabled_transfer_are_emptied() {
    let mut compared = Comparison::new("partitions, disabled");
    let tree = slots(&["root_1", "root_2", "other"]);
    let path = "etc/sysupdate.d/a.transfer";
    let text = fs::read_to_string(tree.path(path)).unwrap();
    tree.write(path, format!("[Transfer]\nFeatures=off\n{text}"));
    tree.write("etc/sysupdate.d/off.feature", "[Feature]\nEnabled=no\n");
    // of those that are not, nothing is to be removed
    let other = "[Source]\nType=regular-file\nPath=/srv\nMatchPattern=more_@v.raw\n\
         [Target]\nType=regular-file\nPath=/srv\nMatchPattern=copy_@v\n";
    tree.write("etc/sysupdate.d/b.transfer", other);
    compared.changes("off", &tree, &["vacuum"]);
    compared.ends();
}

#[test]
fn a_disk_that_was_cut_off_is_refused() {
    let mut compared = Comparison::new("partitions, shorter");
    let tree = slots(&["root_1", "_empty", "other"]);
    let image = fs::File::options().write(true).open(tree.path("disk.img"));
    let image = image.unwrap();
    for (state, length) in [
        ("a sector", (12 << 20) - 512),
        ("its end", 8 << 20),
        ("a slot", 3 << 20),
    ] {
        image.set_len(length).unwrap();
        compared.reads(state, &tree, &["list"]);
        compared.changes(state, &tree, &["update 2"]);
    }
    compared.ends();
}
