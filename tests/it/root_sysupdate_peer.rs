//! Ours and systemd-sysupdate do the same with what either of them has written: tests/it/compat.

use std::fs;

use crate::compat::{BOTH, Comparison, Tree, situations};
use crate::sysupdate_update::Site;

/// What shows a state.
pub(crate) const GLANCE: &[&str] = &["list", "list 2", "list --json=short", "check-new"];

/// The files of a site, with its targets.
pub(crate) fn tree_of(site: &Site) -> Tree {
    for target in ["trees", "images", "boot"] {
        fs::create_dir_all(site.path(target)).unwrap();
    }
    Tree::of(&site.path(""))
}

#[test]
fn each_allowed_difference_is_of_a_situation_that_a_test_makes() {
    let tests = [
        include_str!("root_sysupdate_peer.rs"),
        include_str!("root_sysupdate_peer_cleanup.rs"),
        include_str!("root_sysupdate_peer_cut.rs"),
        include_str!("root_sysupdate_peer_payload.rs"),
        include_str!("root_sysupdate_peer_slots.rs"),
        include_str!("root_sysupdate_peer_states.rs"),
        include_str!("root_sysupdate_peer_verbs.rs"),
    ];
    for situation in situations().filter(|name| *name != "*") {
        let made = format!("Comparison::new(\"{situation}\")");
        assert!(tests.iter().any(|text| text.contains(&made)), "{situation}");
    }
}

#[test]
fn each_lists_completes_and_vacuums_what_the_other_installed_from_a_server() {
    let mut compared = Comparison::new("server");
    for writer in BOTH {
        let mut site = Site::new();
        let tree = tree_of(&site);
        for version in ["1", "2"] {
            site.offer(version);
            compared
                .run(&tree, &[(writer, "--sync=no update")])
                .pop()
                .unwrap()
                .succeeds();
        }
        site.offer("3");
        let state = format!("{writer:?}, newer");
        compared.reads(&state, &tree, GLANCE);
        compared.changes(&state, &tree, &["update; list --offline", "vacuum -m 1"]);
        fs::remove_file(tree.path("images/os_2.raw")).unwrap();
        let state = format!("{writer:?}, incomplete");
        compared.reads(&state, &tree, &["list", "list 2"]);
        compared.changes(&state, &tree, &["update 2", "vacuum -m 1"]);
    }
    compared.ends();
}

/// Transfers between directories, of every kind of them.
fn local() -> Tree {
    let tree = Tree::with(&["srv", "trees", "dirs", "images", "boot", "deep", "links"]);
    let transfer = |name: &str, source: &str, target: &str| {
        let text = format!("[Source]\nPath=/srv\n{source}[Target]\nInstancesMax=2\n{target}");
        tree.write(&format!("etc/sysupdate.d/{name}.transfer"), text);
    };
    transfer(
        "10-tree",
        "Type=tar\nMatchPattern=tree_@v.tar\n",
        "Type=directory\nPath=/trees\nMatchPattern=tree_@v\n",
    );
    transfer(
        "20-dir",
        "Type=directory\nMatchPattern=dir_@v\n",
        "Type=directory\nPath=/dirs\nMatchPattern=dir_@v\nCurrentSymlink=current\n",
    );
    transfer(
        "30-image",
        "Type=regular-file\nMatchPattern=os_@v_@m.raw\n",
        "Type=regular-file\nPath=/images\nMatchPattern=os_@v.raw\nReadOnly=yes\nCurrentSymlink=/links/os.raw\n",
    );
    transfer(
        "40-counted",
        "Type=regular-file\nMatchPattern=os_@v+@l-@d.efi\n",
        "Type=regular-file\nPath=/boot\nMatchPattern=a_@v+@l-@d.efi a_@v.efi\n",
    );
    transfer(
        "50-entry",
        "Type=regular-file\nMatchPattern=os_@v+3-1.efi\n",
        "Type=regular-file\nPath=/boot\nMatchPattern=b_@v+@l-@d.efi b_@v.efi\nTriesLeft=2\nMode=0600\n",
    );
    for version in ["1", "2"] {
        offer(&tree, version);
    }
    tree
}

fn offer(tree: &Tree, version: &str) {
    let file = format!("srv/dir_{version}/usr/file");
    tree.write(&file, version);
    tree.write(&format!("srv/dir_{version}/other"), "x");
    tree.pack(
        &format!("srv/dir_{version}"),
        &format!("srv/tree_{version}.tar"),
    );
    tree.write(&format!("srv/os_{version}_640.raw"), version.repeat(5000));
    tree.write(&format!("srv/os_{version}+3-1.efi"), version);
}

#[test]
fn each_lists_completes_and_vacuums_what_the_other_installed_from_directories() {
    let mut compared = Comparison::new("directories");
    for writer in BOTH {
        let tree = local();
        compared
            .run(
                &tree,
                &[
                    (writer, "--sync=no update 1"),
                    (writer, "--sync=no update 2"),
                ],
            )
            .pop()
            .unwrap()
            .succeeds();
        offer(&tree, "3");
        // what a boot loader does
        fs::rename(tree.path("boot/b_2+2-0.efi"), tree.path("boot/b_2+1-1.efi")).unwrap();
        fs::rename(tree.path("boot/a_1+3-1.efi"), tree.path("boot/a_1.efi")).unwrap();
        let state = format!("{writer:?}, newer");
        compared.reads(&state, &tree, GLANCE);
        compared.reads(&state, &tree, &["list 1", "list 1 --json=pretty", "list 3"]);
        compared.changes(
            &state,
            &tree,
            &[
                "update; update; list 3; check-new",
                "update 2",
                "vacuum -m 1",
            ],
        );
        fs::rename(tree.path("dirs/dir_2"), tree.path("dirs/dir2")).unwrap();
        let state = format!("{writer:?}, incomplete");
        compared.reads(&state, &tree, &["list", "list 2"]);
        compared.changes(&state, &tree, &["update 2; list", "vacuum"]);
    }
    compared.ends();
}
