//! Disks on which nodes of btrfs's trees cannot be written or read, in one of their copies or both.

use std::path::Path;

use crate::fx::{Machine, command};
use crate::root_disk::BadDisk;

/// What a transaction does in these tests.
const WORDS: &str = "run sh -c 'find /usr -ls >/run/found && head -c 1M /dev/urandom > /usr/new'";

fn dump(image: &Path, what: &[&str]) -> String {
    let out = command("btrfs")
        .arg("inspect-internal")
        .args(what)
        .arg(image)
        .output()
        .unwrap();
    assert!(out.status.success(), "{what:?}");
    String::from_utf8(out.stdout).unwrap()
}

/// The number behind the word `name`.
fn number(line: &str, name: &str) -> Option<u64> {
    let mut words = line.split_whitespace().skip_while(|word| *word != name);
    words.nth(1)?.trim_end_matches(')').parse().ok()
}

/// Where the copies of nodes begin: the address of a chunk, its length, and the places of its copies on the disk.
fn chunks(image: &Path) -> Vec<(u64, u64, Vec<u64>)> {
    let text = dump(image, &["dump-tree", "-t", "chunk"]);
    let items = text.split("\titem ").skip(1);
    let nodes = items.filter(|item| item.contains("METADATA|DUP") || item.contains("SYSTEM|DUP"));
    let chunk = |item: &str| {
        let copies: Vec<u64> = item.lines().filter_map(|l| number(l, "offset")).collect();
        Some((number(item, "CHUNK_ITEM")?, number(item, "length")?, copies))
    };
    nodes.map(|item| chunk(item).expect("a chunk")).collect()
}

/// The nodes of all trees that were written after `generation`.
fn nodes(image: &Path, generation: u64) -> Vec<u64> {
    let text = dump(image, &["dump-tree"]);
    let heads = text
        .lines()
        .filter(|l| l.starts_with("leaf ") || l.starts_with("node "));
    let node = |l: &str| {
        (number(l, "generation")? > generation).then(|| l.split(' ').nth(1)?.parse().ok())?
    };
    heads.filter_map(node).collect()
}

/// The sectors at which these copies (0, 1) of nodes begin.
fn sectors(image: &Path, nodes: &[u64], copies: &[usize]) -> Vec<u64> {
    let chunks = chunks(image);
    let place = |node: &u64, copy: &usize| {
        let (start, _, places) = chunks
            .iter()
            .find(|(start, length, _)| (*start..start + length).contains(node))
            .expect("no chunk of nodes");
        (places[*copy] + node - start) / 512
    };
    nodes
        .iter()
        .flat_map(|node| copies.iter().map(move |copy| place(node, copy)))
        .collect()
}

/// A machine whose boot is noted, and the nodes that a transaction will write: a copy of the machine shows them.
fn will_write() -> (Machine, Vec<u64>) {
    let [machine, good] = [Machine::new(), Machine::new()];
    for m in [&machine, &good] {
        m.tu("boot-complete").succeeds();
    }
    let before = dump(good.image(), &["dump-super"]);
    let before = before
        .lines()
        .find_map(|l| number(l, "generation"))
        .unwrap();
    good.tu(WORDS).succeeds();
    let nodes = nodes(good.image(), before);
    assert!(nodes.len() > 20, "{nodes:?}");
    (machine, nodes)
}

/// Whether the command in the snapshot was the first to see it.
fn errors_of_find(said: &str) -> bool {
    said.contains("find: ") && said.contains(": Input/output error")
}

/// Does a transaction while these copies of nodes fail, and the next one on a good disk.
#[track_caller]
fn nodes_fail(machine: &Machine, nodes: &[u64], copies: &[usize], errors: &str, is_new: bool) {
    let sectors = sectors(machine.image(), nodes, copies);
    let bad = BadDisk::failing(machine, sectors, errors);
    let ran = machine.boot_on(&bad.export, &format!("transactional-update {WORDS}"));
    drop(bad);
    if is_new {
        ran.succeeds();
        machine.holds(&[1, 2], 2);
        machine
            .boot("[ $(stat -c %s /usr/new) = 1048576 ] && cat /usr/new >/dev/null")
            .succeeds();
        machine.tu("run true").succeeds();
        machine.holds(&[1, 2, 3], 3);
    } else {
        let ran = ran.exits(1);
        let errors = ran.stderr.lines().filter(|l| l.starts_with("Error: "));
        let said: Vec<_> = errors.collect();
        // where giving up fails as well, the first failure stands behind that
        let is_first_named = said
            .iter()
            .all(|l| l.ends_with("Input/output error (os error 5)"));
        assert!(
            said.len() == 1 && (is_first_named || errors_of_find(&ran.stderr)),
            "{ran}"
        );
        machine
            .boot("[ ! -e /usr/new ] && transactional-update recover")
            .succeeds();
        machine.holds(&[1], 1);
        machine.tu(WORDS).succeeds();
        machine.holds(&[1, 2], 2);
    }
}

/// btrfs takes no copy for written unless both are.
#[test]
fn nodes_of_which_a_copy_cannot_be_written_leave_the_old_system() {
    for (copy, errors) in [(0, "write"), (1, "write"), (0, "once"), (1, "once")] {
        let (machine, nodes) = will_write();
        nodes_fail(&machine, &nodes, &[copy], errors, false);
    }
}

#[test]
fn nodes_that_cannot_be_read_leave_the_old_system_unless_there_is_another_copy() {
    for (copies, is_new) in [(&[0][..], true), (&[0, 1], false)] {
        let machine = Machine::new();
        machine.tu("boot-complete").succeeds();
        // among files that nothing reads but who looks at every one
        let ran = machine.boot(
            "btrfs inspect-internal rootid /; find /usr/share/zoneinfo -type f -printf '%i\n' | sort -n | sed -n 200p",
        );
        let [tree, inode] = ran.stdout.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("no such file\n{ran}");
        };
        let text = dump(machine.image(), &["dump-tree", "-t", tree]);
        let item = format!("key ({inode} INODE_ITEM 0)");
        let mut leaves = text.split("\nleaf ").filter(|leaf| leaf.contains(&item));
        let leaf = leaves
            .next()
            .and_then(|l| l.split(' ').next()?.parse().ok());
        let middle = leaf.expect("no leaf holds it");
        nodes_fail(&machine, &[middle], copies, "read", is_new);
    }
}
