//! What `sysupdate update` does when something is wrong: it ends with 1, says why, and what was installed stays whole.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use crate::http::Answer;
use crate::sysupdate_limits::Mounted;
use crate::sysupdate_update::{Site, header, image, wait_until};

/// The bytes of an image of the usual length.
fn content(version: &str) -> Arc<Vec<u8>> {
    Arc::new(image(version, 100_000))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

const OTHER_DIGEST: &str = "00000000000000000000000000000000000000000000000000000000000000ff";

#[test]
fn a_payload_that_breaks_off_is_tried_again_and_the_next_run_goes_on() {
    let site = Site::with(&["1"], "2");
    let cut = Answer::of(&content("2")).etag("\"1\"").cut_after(20_000);
    site.answer("os_2.raw", cut.without_ranges());
    site.fails(&["update"], "os_2.raw");
    let tries = site
        .payloads()
        .iter()
        .filter(|path| *path == "os_2.raw")
        .count();
    // one asks for the length
    assert!(tries >= 6, "{tries}");
    assert!(site.is_whole("1") && !site.path("images/os_2.raw").exists());
    // what was complete waits
    assert!(
        site.path("boot/.sysupdate.pending.os_2+3-0.efi").exists()
            || site.path("trees/.sysupdate.pending.tree_2").exists()
    );
    site.answer("os_2.raw", Answer::of(&content("2")).etag("\"1\""));
    site.ok(&["update"]);
    site.has_only(&["1", "2"]);
}

#[test]
fn a_payload_with_another_checksum_is_removed_and_what_is_good_waits() {
    let mut site = Site::with(&["1", "2"], "3");
    site.promise("os_3.raw", OTHER_DIGEST);
    site.fails(
        &["update", "--jobs=1"],
        "Checksum of downloaded resource does not match expected checksum, yikes.",
    );
    assert!(site.is_whole("2"));
    let left = site.left();
    assert!(
        !left.iter().any(|path| path.contains("os_3.raw")),
        "{left:?}"
    );
    assert!(site.path("trees/.sysupdate.pending.tree_3").exists());
    site.offer("3");
    site.ok(&["update"]);
    site.has_only(&["2", "3"]);
}

#[test]
fn without_a_good_signature_no_payload_is_asked_for() {
    let site = Site::with(&["1"], "2");
    let before = site.payloads().len();
    site.fails(
        &["update", "--verify=yes"],
        "Failed to retrieve signature file, cannot verify. (Try --verify=no?)",
    );
    site.answer(
        "SHA256SUMS.gpg",
        Answer::of(&Arc::new(b"no signature".to_vec())),
    );
    site.fails(
        &["update", "--verify=yes"],
        "DOWNLOAD INVALID: Signature verification failed.",
    );
    site.write("keyring", "");
    let mut command = site.command(&["update", "--verify=yes"]);
    command.env("SYSTEMD_OPENPGP_KEYRING", site.path("keyring"));
    let told = String::from_utf8(command.output().unwrap().stderr).unwrap();
    assert!(told.contains("There is no keyring"), "{told}");
    assert_eq!(site.payloads().len(), before);
    site.has_only(&["1"]);
}

#[test]
fn a_manifest_that_has_expired_is_refused_unless_that_is_not_looked_at() {
    let mut site = Site::with(&["1"], "2");
    let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    site.promise("BEST-BEFORE-2020-02-01", nothing);
    site.fails(
        &["update"],
        "the manifest has expired on 2020-02-01, refusing.",
    );
    site.has_only(&["1"]);
    let mut command = site.command(&["update"]);
    command.env("SYSTEMD_SYSUPDATE_VERIFY_FRESHNESS", "0");
    assert!(command.status().unwrap().success());
    site.has_only(&["1", "2"]);
}

#[test]
fn a_manifest_that_is_none_is_refused_with_its_line() {
    let site = Site::with(&["1"], "");
    for (text, why) in [
        (
            "\n".repeat(100),
            "Failed to parse digest at manifest line 1, refusing.",
        ),
        (
            format!("{OTHER_DIGEST}  ../os_2.raw\n"),
            "Invalid filename specified at manifest line 1, refusing.",
        ),
    ] {
        site.answer("SHA256SUMS", Answer::of(&Arc::new(text.into_bytes())));
        site.fails(&["update"], why);
    }
    site.answer("SHA256SUMS", Answer::status(404));
    site.fails(&["check-new"], "failed with code 404.");
    site.answer("SHA256SUMS", Answer::of(&Arc::new(Vec::new())));
    assert!(site.ok(&["update"]).contains("No update needed."));
    site.has_only(&["1"]);
}

#[test]
fn what_is_missing_or_too_large_is_found_before_anything_changes() {
    let site = Site::with(&["1", "2"], "3");
    site.answer("os_3.raw", Answer::status(404));
    site.answer("os_3.efi", Answer::status(403));
    let told = site.fails(&["update"], "nothing has changed.");
    assert!(
        told.contains("os_3.raw failed with code 404.")
            && told.contains("os_3.efi failed with code 403."),
        "{told}"
    );
    site.answer("os_3.efi", Answer::of(&Arc::new(image("3", 3000))));
    site.answer("os_3.raw", Answer::of(&content("3")).with_length(1 << 60));
    site.fails(&["update"], "bytes are needed");
    site.has_only(&["1", "2"]);
}

#[test]
fn a_version_whose_name_would_be_too_long_changes_nothing() {
    let long = "1".repeat(230);
    let mut site = Site::with(&["2"], "");
    for name in [
        format!("tree_{long}.tar"),
        format!("os_{long}.raw"),
        format!("os_{long}.efi"),
    ] {
        site.put(&name, b"x".to_vec());
    }
    site.fails(
        &["update"],
        "would be longer than the 255 bytes of a file name",
    );
    site.has_only(&["2"]);
}

#[test]
fn two_transfers_do_not_write_to_one_name() {
    let site = Site::with(&["1"], "2");
    site.transfer("30-other", "Type=url-file\nMatchPattern=os_@v.efi\n[Target]\nType=regular-file\nPath=/images\nMatchPattern=os_@v.raw\n");
    site.fails(
        &["update"],
        "20-image and 30-other would both write os_2.raw",
    );
    site.has_only(&["1"]);
}

#[test]
fn a_size_that_a_name_tells_is_the_size_that_comes() {
    for (size, why) in [
        (100_001, "and not the 100001 of its name"),
        (99_999, "os_2_99999.raw"),
    ] {
        let mut site = Site::with(&["1"], "");
        site.transfer("20-image", "Type=url-file\nMatchPattern=os_@v_@s.raw\n[Target]\nType=regular-file\nPath=/images\nMatchPattern=os_@v.raw\nCurrentSymlink=current.raw\n");
        site.offer("2");
        site.put(&format!("os_2_{size}.raw"), image("2", 100_000));
        site.fails(&["update"], why);
        assert!(site.is_whole("1") && !site.path("images/os_2.raw").exists());
        assert!(!site.path("images/.sysupdate.partial.os_2.raw").exists());
    }
}

#[test]
fn links_are_replaced_and_never_written_through() {
    let site = Site::with(&["1"], "2");
    let precious = site.path("precious");
    fs::write(&precious, "precious").unwrap();
    fs::create_dir(site.path("tree")).unwrap();
    fs::write(site.path("tree/file"), "precious").unwrap();
    for name in ["os_2.raw", ".sysupdate.partial.os_2.raw"] {
        symlink(&precious, site.path("images").join(name)).unwrap();
    }
    symlink(
        site.path("tree"),
        site.path("trees/.sysupdate.partial.tree_2"),
    )
    .unwrap();
    symlink(site.path("tree"), site.path("trees/tree_2")).unwrap();
    site.ok(&["update"]);
    site.has_only(&["1", "2"]);
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert_eq!(
        fs::read_to_string(site.path("tree/file")).unwrap(),
        "precious"
    );
}

#[test]
fn nothing_is_locked_or_kept_outside_of_the_system_through_a_link_in_it() {
    let site = Site::with(&["1"], "2");
    let outside = tempfile::tempdir().unwrap();
    let is_empty = || fs::read_dir(outside.path()).unwrap().count() == 0;
    fs::rename(site.path("run"), site.path("run.away")).unwrap();
    symlink(outside.path(), site.path("run")).unwrap();
    for words in [&["update"][..], &["vacuum"], &["cleanup"], &["rollback"]] {
        site.fails(
            words,
            "sysupdate.lock: it, or a directory on the way to it, is a link",
        );
        assert!(is_empty());
    }
    fs::remove_file(site.path("run")).unwrap();
    fs::rename(site.path("run.away"), site.path("run")).unwrap();
    let state = site.path("var/lib/transactional-update");
    fs::rename(&state, site.path("state.away")).unwrap();
    symlink(outside.path(), &state).unwrap();
    let told = site.ok(&["acquire"]);
    assert!(told.contains("What is received cannot be kept"), "{told}");
    site.run(&["update"]);
    assert!(is_empty());
    // nor emptied, which keeps nobody from what vacuum does
    let kept = outside.path().join("sysupdate/spool/kept");
    fs::create_dir_all(kept.parent().unwrap()).unwrap();
    fs::write(&kept, "kept").unwrap();
    let out = site.run(&["vacuum", "--json=short"]);
    let (answer, told) = (
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr),
    );
    assert!(out.status.success(), "{told}");
    assert!(
        told.contains("What was received cannot be removed"),
        "{told}"
    );
    assert!(answer.starts_with("{\"removed\":"), "{answer}");
    assert!(kept.exists());
    fs::remove_file(&state).unwrap();
    site.ok(&["update"]);
    site.has_only(&["1", "2"]);
}

#[test]
fn a_directory_in_place_of_the_link_is_found_before_anything_changes() {
    let site = Site::with(&[], "1");
    fs::create_dir_all(site.path("images/current.raw")).unwrap();
    site.fails(&["update"], "CurrentSymlink= cannot replace the directory");
    assert!(site.left().is_empty(), "{:?}", site.left());
}

#[test]
fn a_link_on_the_way_to_what_is_to_be_made_is_found_before_anything_changes() {
    for (path, link, why) in [
        (
            "/images",
            "/lib/os/current",
            "20-image: CurrentSymlink= $W/lib/os/current: no link is followed",
        ),
        (
            "/away/new",
            "current.raw",
            "20-image: $W/away/new cannot be made",
        ),
    ] {
        let site = Site::with(&["1", "2"], "3");
        fs::create_dir_all(site.path("usr/lib")).unwrap();
        symlink("usr/lib", site.path("lib")).unwrap();
        symlink("nothing", site.path("away")).unwrap();
        site.transfer("20-image", &format!("Type=url-file\nMatchPattern=os_@v.raw\n[Target]\nType=regular-file\nPath={path}\nMatchPattern=os_@v.raw\nInstancesMax=2\nCurrentSymlink={link}\n"));
        let before = site.left();
        let top = site.path("").display().to_string();
        site.fails(&["update"], &why.replace("$W", top.trim_end_matches('/')));
        assert_eq!(site.left(), before);
    }
}

#[test]
fn a_directory_is_made_behind_a_link_of_the_administrator() {
    let site = Site::with(&[], "1");
    fs::create_dir_all(site.path("data")).unwrap();
    symlink("/data", site.path("away")).unwrap();
    site.transfer("20-image", "Type=url-file\nMatchPattern=os_@v.raw\n[Target]\nType=regular-file\nPath=/away/new/images\nMatchPattern=os_@v.raw\n");
    site.ok(&["update"]);
    assert!(site.path("data/new/images/os_1.raw").exists());
}

#[test]
fn left_overs_of_systemd_go_and_what_it_left_pending_is_installed() {
    let site = Site::with(&["1"], "2");
    site.write("images/.#sysupdateos_2.raw0123456789abcdef", "x");
    site.write("images/.sysupdate.partial.os_1.5.raw", "x");
    site.write("images/.sysupdate.partial.os_2.raw", "half of it");
    fs::write(
        site.path("boot/.sysupdate.pending.os_2+3-0.efi"),
        image("2", 3000),
    )
    .unwrap();
    let before = site.payloads().len();
    site.ok(&["update"]);
    site.has_only(&["1", "2"]);
    assert!(
        !site.payloads()[before..]
            .iter()
            .any(|path| path == "os_2.efi")
    );
}

#[test]
fn of_two_updates_at_once_one_refuses() {
    let site = Site::with(&["1"], "2");
    let (is_there, go_on) = (site.path("there"), site.path("go"));
    let points = format!(
        "sysupdate-checked=touch:{},sysupdate-acquired=wait:{}",
        is_there.display(),
        go_on.display()
    );
    let mut command = site.command(&["update"]);
    let mut first = command.env("TU_FAILPOINTS", points).spawn().unwrap();
    wait_until(|| is_there.exists());
    site.fails(&["update"], "is locked");
    fs::write(&go_on, "").unwrap();
    assert!(first.wait().unwrap().success());
    site.has_only(&["1", "2"]);
}

#[test]
fn a_mirror_gives_what_the_main_server_does_not() {
    let site = Site::with(&["1"], "2");
    let url = site.server.url("/");
    let text = format!(
        "[Transfer]\nVerify=no\n[Source]\nType=url-file\nPath={url}nothing\nX-Mirror={url}\nMatchPattern=os_@v.raw\n[Target]\nType=regular-file\nPath=/images\nMatchPattern=os_@v.raw\nInstancesMax=2\nCurrentSymlink=current.raw\n"
    );
    site.write("etc/sysupdate.d/20-image.transfer", &text);
    site.ok(&["update"]);
    site.has_only(&["1", "2"]);
}

/// Its images are to be had below `mirror` as well.
fn with_mirror(site: &Site) {
    let path = "etc/sysupdate.d/20-image.transfer";
    let text = fs::read_to_string(site.path(path)).unwrap();
    let mirror = format!("[Source]\nX-Mirror={}\n", site.server.url("/mirror/"));
    site.write(path, &text.replace("[Source]\n", &mirror));
}

#[test]
fn a_payload_that_breaks_off_at_one_address_goes_on_at_the_next_in_the_same_run() {
    let site = Site::with(&["1"], "2");
    with_mirror(&site);
    let good = Answer::of(&content("2")).etag("\"1\"");
    site.answer("mirror/os_2.raw", good.clone());
    // its length and its first bytes are looked at before
    let cut = good.clone().cut_after(70_000);
    site.answer_in_turn(
        "os_2.raw",
        vec![good.clone(), good, cut, Answer::status(404)],
    );
    site.ok(&["update"]);
    site.has_only(&["1", "2"]);
    let seen = site.server.seen();
    let asked = seen.iter().filter(|r| r.path == "/mirror/os_2.raw");
    let ranges: Vec<_> = asked.map(|r| r.header("range")).collect();
    assert_eq!(ranges, [Some("bytes=70000-")]);
}

#[test]
fn a_page_of_another_length_than_its_name_tells_is_no_payload_and_a_mirror_is_tried() {
    let mut site = Site::with(&["1"], "");
    let url = site.server.url("/");
    site.transfer("20-image", &format!("X-Mirror={url}mirror/\nType=url-file\nMatchPattern=os_@v_@s.raw\n[Target]\nType=regular-file\nPath=/images\nMatchPattern=os_@v.raw\nCurrentSymlink=current.raw\nInstancesMax=2\n"));
    site.offer("2");
    let name = "os_2_100000.raw";
    site.put(name, image("2", 100_000));
    let mirror = format!("mirror/{name}");
    let pages = [
        (
            b"<html>not here</html>".to_vec(),
            "and not the 100000 of its name",
        ),
        (vec![b'x'; 200_000], "and not the 100000 of its name"),
        // how long it becomes is known only when it comes
        (gzip(&vec![b'x'; 200_000]), "File overly large, refusing."),
    ];
    for (page, why) in &pages {
        let page = Answer::of(&Arc::new(page.clone()));
        site.answer(name, page.clone());
        site.answer(&mirror, page);
        site.fails(&["update"], why);
        assert!(site.is_whole("1") && !site.path("images/os_2.raw").exists());
    }
    let mut version = String::from("1");
    for (number, (page, _)) in pages.iter().enumerate() {
        let next = (number + 2).to_string();
        let name = format!("os_{next}_100000.raw");
        site.offer(&next);
        site.put(&name, image(&next, 100_000));
        let good = site.payload(&name);
        site.answer(&name, Answer::of(&Arc::new(page.clone())));
        site.answer(&format!("mirror/{name}"), Answer::of(&good));
        site.ok(&["update"]);
        site.has_only(&[&version, &next]);
        version = next;
    }
}

#[test]
fn what_a_mirror_began_stays_when_the_main_server_has_damaged_bytes() {
    let site = Site::with(&["1"], "2");
    with_mirror(&site);
    let good = Answer::of(&content("2")).etag("\"1\"");
    site.answer("os_2.raw", Answer::of(&Arc::new(vec![b'x'; 5000])));
    let cut = good.clone().cut_after(70_000);
    site.answer_in_turn("mirror/os_2.raw", vec![cut, Answer::status(404)]);
    site.fails(
        &["update"],
        "Checksum of downloaded resource does not match",
    );
    site.answer("os_2.raw", Answer::status(404));
    site.answer("mirror/os_2.raw", good);
    let before = site.server.seen().len();
    site.ok(&["update"]);
    site.has_only(&["1", "2"]);
    let seen = site.server.seen();
    let asked = seen[before..]
        .iter()
        .filter(|r| r.path == "/mirror/os_2.raw");
    let ranges: Vec<_> = asked.map(|r| r.header("range")).collect();
    assert_eq!(ranges.last(), Some(&Some("bytes=70000-")), "{ranges:?}");
}

#[test]
fn what_comes_damaged_from_one_address_comes_from_the_next_and_nothing_of_it_stays() {
    let mut site = Site::with(&["1"], "");
    let url = site.server.url("/");
    for id in ["10-tree", "20-image"] {
        let path = format!("etc/sysupdate.d/{id}.transfer");
        let text = fs::read_to_string(site.path(&path)).unwrap();
        let mirror = format!("[Source]\nX-Mirror={url}mirror/\n");
        site.write(&path, &text.replace("[Source]\n", &mirror));
    }
    site.offer("2");
    let packed = gzip(&image("2", 100_000));
    site.put("os_2.raw", packed.clone());
    let mut other = packed.clone();
    let middle = other.len() / 2;
    other[middle..middle + 100].fill(0x55);
    let names = ["tree_2.tar", "os_2.raw"];
    let good = names.map(|name| site.payload(name));
    let page = b"<html>not here</html>".repeat(1000);
    let bad = [
        // a member of which the rest is missing, and half a stream
        [good[0][..600].to_vec(), packed[..middle].to_vec()],
        [page, other.clone()],
        // an archive of which only a member is wrong: a hard link to nothing
        [
            [header("h", b"0000644", b'1', 0), vec![0; 1024]].concat(),
            other,
        ],
    ];
    for bad in &bad {
        for (name, bytes) in names.iter().zip(bad) {
            let bytes = Answer::of(&Arc::new(bytes.clone())).etag("\"1\"");
            site.answer(name, bytes.clone());
            site.answer(&format!("mirror/{name}"), bytes);
        }
        let told = site.fails(&["update", "--jobs=1"], "the payload is damaged: ");
        assert!(told.contains("tree_2.tar"), "{told}");
        site.has_only(&["1"]);
    }
    for (name, bytes) in names.iter().zip(&good) {
        site.answer(&format!("mirror/{name}"), Answer::of(bytes).etag("\"1\""));
    }
    site.ok(&["update"]);
    site.has_only(&["1", "2"]);
}

#[test]
fn a_payload_that_becomes_too_large_for_its_file_system_leaves_nothing_there() {
    let mut site = Site::with(&["1"], "");
    site.offer("2");
    site.transfer("30-bomb", "Type=url-file\nMatchPattern=bomb_@v\n[Target]\nType=regular-file\nPath=/small\nMatchPattern=bomb_@v\n");
    site.put("bomb_2", gzip(&vec![b'x'; 4 << 20]));
    let mounted = Mounted::new(&site, "small", "tmpfs", "size=1m");
    site.fails(&["update"], "No space left on device");
    assert!(mounted.names().is_empty());
    assert!(site.is_whole("1") && !site.path("boot/os_2+3-0.efi").exists());
}
