//! What payloads and manifests of every kind become with ours and with systemd-sysupdate.

use std::fs;
use std::sync::Arc;

use crate::compat::{Comparison, Program, Tree};
use crate::fx::{Ran, command};
use crate::gpg::Gpg;
use crate::http::Answer;
use crate::peer::Peer;
use crate::root_sysupdate_peer::tree_of;
use crate::sysupdate_update::{Site, image};

/// A site whose only transfer has these lines, for its source and its target.
fn site(source: &str, target: &str) -> (Site, Tree) {
    let site = Site::new();
    for id in ["10-tree", "20-image", "90-entry"] {
        fs::remove_file(site.path(&format!("etc/sysupdate.d/{id}.transfer"))).unwrap();
    }
    site.transfer("a", &format!("{source}\n[Target]\n{target}\n"));
    let tree = tree_of(&site);
    (site, tree)
}

fn packed(program: &str, args: &[&str], content: &[u8]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("content");
    fs::write(&path, content).unwrap();
    let out = command(program)
        .args(args)
        .arg("-c")
        .arg(&path)
        .output()
        .unwrap();
    assert!(out.status.success(), "{program}");
    out.stdout
}

#[test]
fn payloads_are_decompressed_as_the_peer_does() {
    let mut compared = Comparison::new("payloads");
    let content = image("1", 20_000);
    let [half, other] = [&content[..9_000], &content[9_000..]];
    let gzip = |content: &[u8]| packed("gzip", &["-n"], content);
    let xz = |content: &[u8]| packed("xz", &[], content);
    let payloads = [
        ("raw", content.clone()),
        ("empty", Vec::new()),
        ("one-byte", b"x".to_vec()),
        ("sparse", vec![0; 300_000]),
        ("gz", gzip(&content)),
        ("gz-two-members", [gzip(half), gzip(other)].concat()),
        (
            "gz-garbage",
            [gzip(&content), b"garbage.".to_vec()].concat(),
        ),
        ("gz-cut", gzip(&content)[..500].to_vec()),
        ("xz", xz(&content)),
        ("xz-garbage", [xz(&content), b"garbage".to_vec()].concat()),
        ("bz2", packed("bzip2", &[], &content)),
        (
            "bz2-two-streams",
            [packed("bzip2", &[], half), packed("bzip2", &[], other)].concat(),
        ),
        ("zst", packed("zstd", &["-q"], &content)),
        ("zst-cut", packed("zstd", &["-q"], &content)[..500].to_vec()),
        ("lz4", packed("lz4", &["-q"], &content)),
    ];
    for (name, payload) in payloads {
        let (mut site, tree) = site(
            "Type=url-file\nMatchPattern=os_@v",
            "Type=regular-file\nPath=/images\nMatchPattern=os_@v",
        );
        site.put("os_1", payload);
        if compared.peer == Peer::V257 && ["gz-two-members", "gz-garbage"].contains(&name) {
            goes_round_in_circles(&compared, &tree, name == "gz-garbage");
            continue;
        }
        compared.changes(name, &tree, &["--sync=no update"]);
    }
    compared.ends();
}

/// A payload that 257 never comes to the end of.
fn goes_round_in_circles(compared: &Comparison, tree: &Tree, is_damaged: bool) {
    let calls = [
        (Program::Theirs, "LIMIT=10 --sync=no update"),
        (Program::Ours, "--sync=no update"),
    ];
    for (ran, code) in compared
        .run(tree, &calls)
        .into_iter()
        .zip([124, i32::from(is_damaged)])
    {
        ran.exits(code);
    }
    let installed = fs::read(tree.path("images/os_1")).ok();
    assert_eq!(installed, (!is_damaged).then(|| image("1", 20_000)));
}

#[test]
fn archives_become_the_trees_that_they_are_with_the_peer() {
    let mut compared = Comparison::new("archives");
    let made = Tree::with(&["a/usr/bin", "a/etc"]);
    made.write("a/usr/bin/tool", "tool");
    made.write("a/etc/secret", "secret");
    let script = "cd $1/a && chmod 4755 usr/bin/tool && chmod 0600 etc/secret && chown 7:8 etc/secret && ln usr/bin/tool usr/bin/hard \
        && ln -s tool usr/bin/soft && ln -s /etc/passwd etc/absolute && mkfifo etc/fifo && mknod etc/null c 1 3 && chmod 1777 usr && chmod 0700 etc";
    let ran = command("bash")
        .args(["-c", script, "bash"])
        .arg(made.path(""))
        .output();
    Ran::new(script, ran.unwrap()).succeeds();
    made.pack("a", "whole.tar");
    let read = |name: &str| fs::read(made.path(name)).unwrap();
    let bare = |args: &[&str]| {
        let mut tar = command("tar");
        tar.arg("-C")
            .arg(made.path("a"))
            .args(["-cf", "-"])
            .args(args);
        let out = tar.output().unwrap();
        assert!(out.status.success());
        out.stdout
    };
    let archives = [
        ("whole", read("whole.tar")),
        ("gz", packed("gzip", &["-n"], &read("whole.tar"))),
        ("without directories", bare(&["usr/bin/tool"])),
        (
            "with a leading slash",
            bare(&["--transform=s,^,/,", "usr/bin/tool"]),
        ),
        (
            "out of the tree",
            bare(&["-P", "--transform=s,^,../../,", "usr/bin/tool"]),
        ),
        ("empty", bare(&["-T", "/dev/null"])),
        ("none", b"this is no archive".repeat(100)),
    ];
    for (name, archive) in archives {
        let (mut site, tree) = site(
            "Type=url-tar\nMatchPattern=tree_@v.tar",
            "Type=directory\nPath=/trees\nMatchPattern=tree_@v",
        );
        site.put("tree_1.tar", archive);
        compared.changes(name, &tree, &["--sync=no update"]);
    }
    compared.ends();
}

#[test]
fn manifests_are_taken_and_refused_as_the_peer_does() {
    let mut compared = Comparison::new("manifests");
    let (mut site, tree) = site(
        "Type=url-file\nMatchPattern=os_@v sub/os_@v",
        "Type=regular-file\nPath=/images\nMatchPattern=os_@v",
    );
    site.put("os_1", image("1", 100));
    let sum = "0".repeat(64);
    let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let manifests: [(&str, String); 21] = [
        ("usual", format!("{sum}  os_1\n{sum} *os_2\n{sum}  other\n")),
        ("empty", String::new()),
        ("upper case", format!("{}  os_1\n", "A".repeat(64))),
        ("no final newline", format!("{sum}  os_1")),
        ("blank line", format!("{sum}  os_1\n\n{sum}  os_2\n")),
        (
            "comment",
            format!(
                "# a comment, and it is longer than a line of a manifest would be, which is 67\n{sum}  os_1\n"
            ),
        ),
        ("tab", format!("{sum}\tos_1\n")),
        ("one space", format!("{sum} os_1\n")),
        ("no name", format!("{sum}  \n{sum}  os_2\n")),
        ("slash first", format!("{sum}  /os_1\n")),
        ("out of it", format!("{sum}  ../os_1\n")),
        ("dot", format!("{sum}  ./os_1\n")),
        ("escape", format!("\\{sum}  os_1\n")),
        ("return", format!("{sum}  os_1\r\n")),
        ("percent", format!("{sum}  os_1%20\n")),
        ("subdirectory", format!("{sum}  sub/os_1\n")),
        ("twice", format!("{sum}  os_1\n{sum}  os_1\n")),
        ("two digests", format!("{sum}  os_1\n{nothing}  os_1\n")),
        ("no utf-8", format!("{sum}  os_1\u{0}\n")),
        (
            "expired",
            format!("{sum}  os_1\n{nothing}  BEST-BEFORE-2020-01-01\n"),
        ),
        (
            "fresh",
            format!("{sum}  os_1\n{nothing}  BEST-BEFORE-2099-01-01\n"),
        ),
    ];
    for (name, text) in manifests {
        site.answer("SHA256SUMS", Answer::of(&Arc::new(text.into_bytes())));
        compared.reads(name, &tree, &["list --no-legend"]);
        if name == "expired" {
            let anyway = "SYSTEMD_SYSUPDATE_VERIFY_FRESHNESS=0 list --no-legend";
            compared.reads(name, &tree, &[anyway]);
        }
    }
    site.answer("SHA256SUMS", Answer::status(404));
    compared.reads("missing", &tree, &["list", "check-new"]);
    site.promise("os_1", &sum);
    compared.changes("wrong digest", &tree, &["--sync=no update; list"]);
    site.put("os_1", image("1", 100));
    site.answer("os_1", Answer::status(404));
    compared.changes("missing payload", &tree, &["--sync=no update; list"]);
    compared.ends();
}

#[test]
fn signatures_are_trusted_and_refused_as_the_peer_does() {
    let mut compared = Comparison::new("signatures");
    let keys = Gpg::new(&["owner", "other"]);
    let (mut site, tree) = site(
        "Type=url-file\nMatchPattern=os_@v",
        "Type=regular-file\nPath=/images\nMatchPattern=os_@v",
    );
    let serve = |site: &Site, name: &str, signature: Vec<u8>| {
        site.answer(name, Answer::of(&Arc::new(signature)));
    };
    site.put("os_1", image("1", 100));
    let manifest = site.manifest();
    let calls = ["--verify=yes --sync=no update"];
    compared.changes("nothing", &tree, &calls);
    serve(&site, "SHA256SUMS.gpg", keys.sign("owner", &manifest));
    compared.changes("no keyring", &tree, &calls);
    tree.write("etc/systemd/import-pubring.gpg", keys.keys("other"));
    compared.changes("foreign", &tree, &calls);
    let expired = keys.sign_expired("expired", &manifest);
    let all = ["other", "owner", "expired"].map(|key| keys.keys(key));
    tree.write("etc/systemd/import-pubring.gpg", all.concat());
    compared.reads(
        "good",
        &tree,
        &["--verify=yes list", "--verify=yes check-new"],
    );
    compared.changes("good", &tree, &calls);
    serve(&site, "SHA256SUMS.gpg", keys.sign("owner", b"other"));
    compared.changes("of something else", &tree, &calls);
    serve(&site, "SHA256SUMS.gpg", expired);
    compared.changes("expired", &tree, &calls);
    site.answer("SHA256SUMS.gpg", Answer::status(404));
    let armoured = keys.run(&["-u", "owner", "-a", "--detach-sign"], &manifest);
    serve(&site, "SHA256SUMS.sha256.asc", armoured);
    compared.changes("the newer name", &tree, &calls);
    compared.reads("not asked for", &tree, &["list", "check-new"]);
    compared.ends();
}
