//! The program that ours is compared with runs, and does what it is known for.

use std::fs;
use std::path::Path;

use crate::peer::{PEERS, Peer};

/// Definitions of one transfer of files, with versions 1 and 2 to be had.
fn transfer(dir: &Path) {
    for name in ["definitions", "source", "target"] {
        fs::create_dir(dir.join(name)).unwrap();
    }
    let text = "[Source]\nType=regular-file\nPath=/srv/source\nMatchPattern=os_@v.raw\n\
                [Target]\nType=regular-file\nPath=/srv/target\nMatchPattern=os_@v.raw\n";
    fs::write(dir.join("definitions/10-os.transfer"), text).unwrap();
    for version in ["1", "2"] {
        fs::write(dir.join(format!("source/os_{version}.raw")), version).unwrap();
    }
}

#[test]
fn both_versions_of_the_peer_install_the_newest_file_and_leave_nothing_else() {
    for peer in PEERS {
        let dir = tempfile::tempdir().unwrap();
        transfer(dir.path());
        let binds = [(dir.path(), "/srv")];
        let found = peer.run(&binds, &["--definitions=/srv/definitions", "check-new"]);
        assert_eq!(found.succeeds().stdout, "2\n", "{peer:?}");
        peer.run(&binds, &["--definitions=/srv/definitions", "update"])
            .succeeds();
        let names: Vec<_> = fs::read_dir(dir.path().join("target"))
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, ["os_2.raw"], "{peer:?}");
        assert_eq!(fs::read(dir.path().join("target/os_2.raw")).unwrap(), b"2");
    }
}

#[test]
fn the_two_versions_of_the_peer_are_those_that_differ() {
    let version = |peer: Peer| {
        let told = peer.run(&[], &["--version"]).succeeds().stdout;
        let number = told.split_ascii_whitespace().nth(1).unwrap();
        number
            .split(['.', '~'])
            .next()
            .unwrap()
            .parse::<u32>()
            .unwrap()
    };
    assert_eq!(version(Peer::V257), 257);
    assert!(version(Peer::V262) >= 262);
}
