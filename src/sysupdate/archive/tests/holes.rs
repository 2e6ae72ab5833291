//! Files with holes, as GNU tar packs them.

use super::*;

#[test]
fn a_file_with_holes_comes_out_of_a_pax_archive_with_its_holes() {
    use std::os::unix::fs::FileExt;
    let dir = Dir::with_target();
    let top = dir.path("source");
    fs::create_dir(&top).unwrap();
    let long = "l".repeat(200);
    let size = 3 << 20;
    for (name, at) in [
        ("begin", &[size - 4096][..]),
        ("middle", &[0, 1_500_000, size - 1]),
        ("end", &[0]),
        ("many", &[100_000, 300_000, 500_000, 700_000, 2_000_000]),
        ("only", &[]),
        (&long, &[1 << 20]),
    ] {
        let file = File::create(top.join(name)).unwrap();
        for at in at {
            file.write_all_at(b"data", *at).unwrap();
        }
        file.set_len(size).unwrap();
        xattr::set(&file, c"user.note", b"kept").unwrap();
    }
    fs::write(top.join("next"), "next").unwrap();
    for (options, count) in [
        (&["--format=pax", "--xattrs", "--xattrs-include=*"][..], 6),
        (&["--format=posix", "--xattrs", "--sparse-version=0.1"], 6),
        (&["--format=pax", "--xattrs"], 1000),
    ] {
        let many = File::create(top.join("many")).unwrap();
        for piece in 0..count {
            many.write_all_at(b"piece", piece * 16384).unwrap();
        }
        xattr::set(&many, c"user.note", b"kept").unwrap();
        let archive = packed(&top, &[options, &["--sparse"]].concat());
        let is_small = (archive.len() as u64) < size * 3;
        assert!(is_small || count == 1000, "{}", archive.len());
        unpacked(&dir, &archive).unwrap();
        assert_eq!(listing(&dir.path("target"), true), listing(&top, true));
        for entry in fs::read_dir(&top).unwrap() {
            let name = entry.unwrap().file_name();
            let of = |top: &Path| fs::read(top.join(&name)).unwrap();
            assert!(of(&dir.path("target")) == of(&top), "{name:?}");
            let blocks = |top: &Path| fs::metadata(top.join(&name)).unwrap().blocks();
            assert!(
                blocks(&dir.path("target")) <= blocks(&top) + 8,
                "{name:?}: {} and {}",
                blocks(&dir.path("target")),
                blocks(&top)
            );
        }
    }
}

/// A file with holes in the form 1.0.
fn with_holes(name: &str, size: &str, map: &str, data: &[u8]) -> Vec<u8> {
    let records = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", name),
        ("GNU.sparse.realsize", size),
    ];
    let mut content = map.as_bytes().to_vec();
    content.resize(content.len().next_multiple_of(512), 0);
    with_attributes(&records, &[&content, data].concat())
}

#[test]
fn a_map_of_holes_that_is_wrong_is_refused_with_the_name_of_its_member() {
    let data = [b'x'; 512];
    let good = with_holes("sp", "8192", "2\n0\n256\n4096\n256\n", &data);
    let dir = Dir::with_target();
    unpacked(&dir, &[&good[..], &file("next")].concat()).unwrap();
    let bytes = fs::read(dir.path("target/sp")).unwrap();
    assert_eq!(bytes.len(), 8192);
    assert_eq!(bytes.iter().filter(|b| **b == b'x').count(), 512);
    assert!(bytes[4096..4352].iter().all(|b| *b == b'x'));
    assert_eq!(fs::read(dir.path("target/next")).unwrap(), b"evil");
    let max = u64::MAX.to_string();
    let of = |size: &str, map: &str| with_holes("sp", size, map, &data);
    let form = |records: &[(&str, &str)]| {
        with_attributes(&[records, &[("GNU.sparse.name", "sp")]].concat(), &data)
    };
    let huge = (8_u64 << 40).to_string();
    let empty = |size: &str| with_holes("sp", size, "0\n", b"");
    unpacked(&dir, &[empty(&huge), empty("1")].concat()).unwrap();
    for (what, bytes) in [
        ("too many", of("8192", "1048577\n0\n512\n")),
        (
            "more than there are",
            of("8192", &format!("{max}\n0\n512\n")),
        ),
        ("overlapping", of("8192", "2\n0\n256\n255\n256\n")),
        ("not in order", of("8192", "2\n4096\n256\n0\n256\n")),
        ("beyond the size", of("8192", "1\n7681\n512\n")),
        ("beyond all numbers", of(&max, &format!("1\n{max}\n512\n"))),
        ("less data", of("8192", "1\n0\n511\n")),
        ("more data", of("8192", "1\n0\n513\n")),
        ("not digits", of("8192", "1\n+0\n512\n")),
        ("no number", of("8192", "1\n\n512\n")),
        (
            "a long number",
            of("8192", &format!("1\n{}0\n512\n", "0".repeat(30))),
        ),
        ("a size that is none", of("-1", "1\n0\n512\n")),
        ("cut off", of("8192", "1\n0\n")),
        (
            "without padding",
            with_attributes(
                &[
                    ("GNU.sparse.major", "1"),
                    ("GNU.sparse.minor", "0"),
                    ("GNU.sparse.name", "sp"),
                    ("GNU.sparse.realsize", "0"),
                ],
                b"0\n",
            ),
        ),
        ("nothing", with_holes("sp", "8192", "", b"")),
        ("no size", form(&[("GNU.sparse.map", "0,512")])),
        (
            "half a piece",
            form(&[("GNU.sparse.map", "0,512,600"), ("GNU.sparse.size", "600")]),
        ),
        (
            "another form",
            form(&[("GNU.sparse.major", "2"), ("GNU.sparse.minor", "0")]),
        ),
        (
            "the oldest form of pax",
            form(&[("GNU.sparse.numblocks", "1"), ("GNU.sparse.size", "512")]),
        ),
        ("too much of them", of(&max, "1\n0\n512\n")),
        (
            "too much of them together",
            [empty(&huge), empty(&huge), empty("1")].concat(),
        ),
        ("the form of GNU tar", header(b'S', "sp", "", 0)),
    ] {
        let e = unpacked(&Dir::with_target(), &bytes).unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::InvalidData, "{what}: {e}");
        assert!(e.to_string().contains("\"sp\""), "{what}: {e}");
    }
    let e = unpacked(&Dir::with_target(), &good[..good.len() - 100]).unwrap_err();
    assert_eq!(e.kind(), io::ErrorKind::UnexpectedEof, "{e}");
    let up = with_holes("../sp", "512", "1\n0\n512\n", &data);
    assert!(unpacked(&Dir::with_target(), &up).is_err());
}
