//! Each command of ours and of systemd-sysupdate, on the same states: exit status, standard output, texts and files.

use crate::compat::{Comparison, Tree};

/// What shows a state, for versions 2 and 3.
const READS: &[&str] = &[
    "list",
    "",
    "list --no-legend",
    "list --json=short",
    "list --json=pretty",
    "list 2",
    "list 2 --json=short",
    "list 3 --json=pretty",
    "list 9",
    "list 1 --no-legend",
    "check-new",
    "check-new --json=short",
    "--offline list",
    "--offline check-new --json=short",
    "pending",
    "features",
    "features --json=short",
    "features --json=pretty",
    "features extra",
    "features extra --json=short",
    "features nope",
    "components",
    "components --json=short",
    "components --json=pretty",
    "-C other list",
    "-C other check-new",
    "-C other features",
    "--component=other -C  list",
];

const KEYS: &str = "[Transfer]\nMinVersion=0.5\nProtectVersion=0.9\nChangeLog=https://example.com/@v\nAppStream=https://example.com/app.xml\n";

/// Versions 1 and 2 installed, 3 and an obsolete one to be had; a feature that is off; another component.
fn states() -> Tree {
    let tree = Tree::with(&["srv", "images", "boot", "extra", "other"]);
    let pair = |from: &str, to: &str, keys: &str| {
        format!(
            "[Source]\nType=regular-file\nPath=/srv\nMatchPattern={from}\n[Target]\nType=regular-file\nPath={to}\nMatchPattern={from}\n{keys}"
        )
    };
    let write = |name: &str, text: String| tree.write(&format!("etc/{name}"), text);
    write(
        "sysupdate.d/10-image.transfer",
        KEYS.to_owned()
            + &pair(
                "os_@v.raw",
                "/images",
                "InstancesMax=3\nCurrentSymlink=current\n",
            ),
    );
    write(
        "sysupdate.d/20-entry.transfer",
        "[Transfer]\nProtectVersion=0.9\n".to_owned()
            + &pair("os_@v.efi", "/boot", "InstancesMax=3\n"),
    );
    write(
        "sysupdate.d/30-extra.transfer",
        "[Transfer]\nFeatures=extra\n".to_owned() + &pair("extra_@v", "/extra", ""),
    );
    write("sysupdate.d/extra.feature", "[Feature]\nDescription=More of it\nDocumentation=https://example.com/extra\nAppStream=https://example.com/extra.xml\n".to_owned());
    write(
        "sysupdate.other.d/a.transfer",
        pair("other_@v", "/other", ""),
    );
    write("os-release", "ID=test\nIMAGE_VERSION=2\n".to_owned());
    for version in ["0.4", "0.9", "1", "2", "3"] {
        tree.write(&format!("srv/os_{version}.raw"), version);
        tree.write(&format!("srv/os_{version}.efi"), version);
        tree.write(&format!("srv/other_{version}"), version);
    }
    for version in ["0.9", "1", "2"] {
        tree.write(&format!("images/os_{version}.raw"), version);
        tree.write(&format!("boot/os_{version}.efi"), version);
    }
    std::os::unix::fs::symlink("os_2.raw", tree.path("images/current")).unwrap();
    tree.write("extra/extra_7", "x");
    tree
}

#[test]
fn what_is_there_is_shown_as_the_peer_shows_it() {
    let mut compared = Comparison::new("shown");
    let tree = states();
    compared.reads("newer", &tree, READS);
    tree.write("images/os_0.3.raw", "x");
    tree.write("boot/os_2.1.efi", "x");
    compared.reads("obsolete, incomplete", &tree, READS);
    compared.ends();
}

#[test]
fn what_changes_something_changes_what_the_peer_changes() {
    let mut compared = Comparison::new("changed");
    let tree = states();
    let calls = [
        "update; update; pending; vacuum",
        "update 3; update 3",
        "update 2",
        "update 9",
        "update 0.4",
        "update 03",
        "update 0.9",
        "-m 2 update; list",
        "-m 4 update",
        "vacuum",
        "vacuum -m 1; list",
        "vacuum --json=short",
        "acquire; list; acquire; update --offline; list",
        "update --offline",
        "--offline update 2",
        "-C other update; -C other update 1; -C other list; -C other vacuum",
        "--sync=no update",
    ];
    compared.changes("newer", &tree, &calls);
    compared.ends();
}

#[test]
fn bad_command_lines_end_as_they_do_with_the_peer() {
    let mut compared = Comparison::new("options");
    let tree = states();
    let calls = [
        "--definitions=/etc/sysupdate.d components",
        "-C nope list",
        "-C ../x list",
        "-C foo --definitions=/etc/sysupdate.d list",
        "-m 1 update",
        "-m 1 acquire",
        "-m 0 vacuum",
        "-m x vacuum",
        "--definitions=/nonexistent list",
        "--definitions=/nonexistent update",
        "--json=bogus list",
        "--sync=bogus update",
        "--verify=bogus list",
        "--bogus list",
        "bogusverb",
        "list a b",
        "update a b",
        "check-new a",
        "vacuum a",
        "features a b",
        "components a",
        "-C other pending",
        "--root=/ pending",
        "--root=/ reboot",
        "--root=/ list",
        "--definitions=/etc/sysupdate.d --root=/ list",
    ];
    compared.reads("newer", &tree, &calls);
    compared.ends();
}
