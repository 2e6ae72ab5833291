use proptest::prelude::*;

use super::*;
use crate::rpmdb::testing::{
    self, Value, chars, dir, header, identity, package, string, strings, u16s, u32s,
};

/// Where the index entry of a tag is, of several the last.
fn entry(blob: &[u8], tag: Tag) -> usize {
    let entries = u32::from_be_bytes(blob[..4].try_into().unwrap()) as usize;
    let at = (0..entries).map(|n| 8 + 16 * n);
    let mut found = at.filter(|at| blob[*at..at + 4] == tag.to_be_bytes());
    found.next_back().expect("the tag is there")
}

fn set(blob: &mut [u8], at: usize, value: u32) {
    blob[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

fn get(blob: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(blob[at..at + 4].try_into().unwrap())
}

/// Looks at everything that can be asked for.
fn look(blob: &[u8]) -> Result<(), Damage> {
    let header = Header::parse(blob)?;
    let tags = header.index.iter().map(|e| Entry::of(e).tag);
    let results = tags.flat_map(|tag| {
        [
            header.string(tag).map(drop),
            header
                .strings(tag)
                .and_then(|mut s| s.try_for_each(|s| s.map(drop))),
            header.u32s(tag).map(drop),
            header.u16s(tag).map(drop),
            header.bytes(tag).map(drop),
        ]
    });
    let failed = results.filter(Result::is_err).count();
    assert!(failed < 5 * header.index.len() + 1);
    header.package().map(drop)?;
    header.verify()
}

#[test]
fn a_header_says_what_was_written_into_it() {
    let mut values = identity("pkg");
    values.extend([
        u32s(tag::EPOCH, &[3]),
        string(tag::VENDOR, "Example"),
        u32s(tag::SIZE, &[7]),
        testing::u64(tag::LONGSIZE, 1 << 40),
    ]);
    let late = [u32s(tag::INSTALLTIME, &[17]), u32s(tag::INSTALLTID, &[18])];
    let blob = header(&values, &late);
    let read = Header::parse(&blob).unwrap();
    let package = read.package().unwrap();
    assert_eq!(package.nevra.to_string(), "pkg-3:1-2.noarch");
    assert_eq!(package.vendor.as_deref(), Some("Example"));
    assert_eq!(
        (package.size, package.install_time, package.transaction),
        (1 << 40, 17, Some(18))
    );
    assert_eq!(package.identity, read.digest());
    assert_eq!(read.verify(), Ok(()));
}

#[test]
fn what_rpm_added_overrides_what_the_package_brought() {
    let values = [
        identity("pkg"),
        vec![string(tag::VENDOR, "old"), u32s(tag::SIZE, &[1])],
    ]
    .concat();
    let blob = header(
        &values,
        &[string(tag::VENDOR, "new"), string(tag::VENDOR, "newest")],
    );
    let read = Header::parse(&blob).unwrap();
    assert_eq!(read.string(tag::VENDOR), Ok(Some(&b"newest"[..])));
    assert_eq!(read.u32(tag::SIZE), Ok(Some(1)));
    assert_eq!(
        read.verify(),
        Ok(()),
        "the digest is that of the region alone"
    );
}

#[test]
fn the_identity_is_the_first_digest_that_is_there() {
    let sha1 = string(tag::SHA1HEADER, "1");
    let sha3 = string(tag::SHA3_256HEADER, "3");
    let digest_of = |late: &[Value]| {
        let mut blob = header(&identity("pkg"), late);
        let at = entry(&blob, tag::SHA256HEADER);
        set(&mut blob, at, 9999);
        let header = Header::parse(&blob).unwrap();
        assert!(header.verify().is_err(), "nothing to compare with");
        header.identity().unwrap()
    };
    assert_eq!(digest_of(&[sha1.clone(), sha3]), "3");
    assert_eq!(digest_of(&[sha1]), "1");
    let blob = header(&identity("pkg"), &[]);
    let brought = Header::parse(&blob).unwrap().identity().unwrap();
    assert_eq!(digest_of(&[]), brought, "made from the region");
}

#[test]
fn a_changed_byte_of_the_region_does_not_match_the_digest() {
    let mut blob = header(&identity("pkg"), &[u32s(tag::INSTALLTIME, &[1])]);
    let data = 8 + 16 * get(&blob, 0) as usize;
    blob[data] = b'q';
    let read = Header::parse(&blob).unwrap();
    assert_eq!(read.string(tag::NAME), Ok(Some(&b"qkg"[..])));
    assert!(read.verify().is_err());
    let last = blob.len() - 1;
    blob[data] = b'p';
    blob[last] = 2;
    assert_eq!(
        Header::parse(&blob).unwrap().verify(),
        Ok(()),
        "outside of the region"
    );
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    let good = package("pkg", &[dir("/var/lib/", "pkg")]);
    assert_eq!(look(&good), Ok(()));
    for length in [0, 1, 7, 8, 100, good.len() - 1] {
        assert!(look(&good[..length]).is_err(), "{length} bytes");
    }
    assert!(look(&[&good[..], b"x"].concat()).is_err());
    let (entries, data) = (get(&good, 0), get(&good, 4));
    for (at, value) in [
        (0, 0),
        (0, entries - 1),
        (0, entries + 1),
        (0, 0x1_0000),
        (0, 0xffff_ffff),
        (4, 0),
        (4, data - 1),
        (4, data + 1),
        (4, 0x1000_0000),
        (4, 0xffff_ffff),
    ] {
        let mut blob = good.clone();
        set(&mut blob, at, value);
        assert!(look(&blob).is_err(), "{value:#x} at {at}");
    }
}

#[test]
fn entries_that_are_not_inside_are_refused() {
    let good = package("pkg", &[dir("/var/lib/", "pkg")]);
    let data = get(&good, 4);
    let cases = [
        ("an unknown type", 4, 10),
        ("a negative type", 4, 0xffff_ffff),
        ("a negative offset", 8, 0xffff_fff0),
        ("an offset at the end", 8, data),
        ("an offset behind the end", 8, data + 4),
        ("no values", 12, 0),
        ("more values than bytes", 12, data),
        ("4 GiB of values", 12, 0xffff_ffff),
        ("values whose bytes overflow", 12, 0x4000_0000),
    ];
    // of the region, and behind it
    for tag in [tag::FILEFLAGS, tag::INSTALLTIME] {
        for (what, at, value) in cases {
            let mut blob = good.clone();
            let at = entry(&blob, tag) + at;
            set(&mut blob, at, value);
            assert!(Header::parse(&blob).is_err(), "{what} of {tag}");
        }
        let mut blob = good.clone();
        let at = entry(&blob, tag) + 8;
        let misaligned = get(&blob, at) - 1;
        set(&mut blob, at, misaligned);
        let why = Header::parse(&blob).unwrap_err().to_string();
        assert!(why.contains("misaligned"), "{why}");
    }
}

#[test]
fn a_value_of_the_region_does_not_lie_behind_it() {
    let mut blob = header(&identity("pkg"), &[string(tag::VENDOR, "late")]);
    let late = get(&blob, entry(&blob, tag::VENDOR) + 8);
    let at = entry(&blob, tag::RELEASE) + 8;
    set(&mut blob, at, late);
    assert!(Header::parse(&blob).is_err());
}

#[test]
fn a_header_has_exactly_one_region_that_is_one() {
    let good = header(&identity("pkg"), &[string(tag::VENDOR, "late")]);
    let refuse = |what: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut blob = good.clone();
        change(&mut blob);
        let why = Header::parse(&blob).expect_err(what).to_string();
        assert!(why.contains("region"), "{what}: {why}");
    };
    let data = 8 + 16 * get(&good, 0) as usize;
    let trailer = data + get(&good, 8 + 8) as usize;
    refuse("no region", &|b| set(b, 8, 999));
    refuse("two regions", &|b| {
        let at = entry(b, tag::VENDOR);
        set(b, at, 62);
    });
    refuse("a region of the wrong type", &|b| set(b, 8 + 4, 8));
    refuse("a region of the wrong length", &|b| set(b, 8 + 12, 15));
    let length = get(&good, 4);
    for offset in [length - 15, length, 0xffff_fff0] {
        refuse("a trailer behind the data", &|b| set(b, 8 + 8, offset));
    }
    for offset in [
        0,
        16,
        80,
        (-8_i32).cast_unsigned(),
        (-16 * 100_i32).cast_unsigned(),
        i32::MIN.cast_unsigned(),
    ] {
        refuse("a trailer of no such index", &|b| {
            set(b, trailer + 8, offset)
        });
    }
    refuse("another tag in the trailer", &|b| set(b, trailer, 62));
    refuse("another type in the trailer", &|b| set(b, trailer + 4, 6));
    refuse("another count in the trailer", &|b| set(b, trailer + 12, 0));
}

#[test]
fn only_a_key_may_have_no_region() {
    let without = |name: &str| {
        let mut blob = header(&identity(name), &[]);
        set(&mut blob, 8, 999);
        blob
    };
    let key = without("gpg-pubkey");
    let header = Header::parse(&key).unwrap();
    assert_eq!(header.nevra().unwrap().name, "gpg-pubkey");
    assert_eq!(header.region.entries as usize, header.index.len());
    assert!(Header::parse(&without("gpg")).is_err());
}

#[test]
fn strings_end_inside_the_data() {
    let mut blob = header(&identity("pkg"), &[string(tag::VENDOR, "last")]);
    *blob.last_mut().unwrap() = b'x';
    let read = Header::parse(&blob).unwrap();
    assert!(read.string(tag::VENDOR).is_err());
    assert!(read.package().is_err());
    assert!(read.string(tag::NAME).is_ok());
}

#[test]
fn an_array_with_fewer_strings_than_it_says_is_an_error_at_its_end() {
    let mut blob = header(
        &identity("pkg"),
        &[strings(tag::BASENAMES, &["one", "two"])],
    );
    let at = entry(&blob, tag::BASENAMES) + 12;
    set(&mut blob, at, 4);
    let read = Header::parse(&blob).unwrap();
    let mut names = read.strings(tag::BASENAMES).unwrap();
    assert_eq!(names.len(), 4);
    assert_eq!(names.next(), Some(Ok(&b"one"[..])));
    assert_eq!(names.next(), Some(Ok(&b"two"[..])));
    assert!(names.next().unwrap().is_err());
    assert_eq!(names.next(), None);
}

#[test]
fn a_tag_of_another_type_is_an_error_and_a_missing_one_is_none() {
    let late = [
        u32s(tag::VENDOR, &[1]),
        string(tag::SIZE, "7"),
        u16s(tag::FILESTATES, &[1]),
    ];
    let blob = header(&identity("pkg"), &late);
    let read = Header::parse(&blob).unwrap();
    assert!(read.string(tag::VENDOR).is_err());
    assert!(read.strings(tag::VENDOR).is_err());
    assert!(read.u32(tag::SIZE).is_err());
    assert!(read.bytes(tag::FILESTATES).is_err());
    assert!(read.package().is_err());
    assert_eq!(read.string(tag::ARCH + 1), Ok(None));
    assert_eq!(read.u32(tag::EPOCH), Ok(None));
    assert_eq!(read.strings(tag::BASENAMES).unwrap().len(), 0);
    assert_eq!(read.bytes(tag::FILEFLAGS).unwrap().get(0), None);
}

#[test]
fn a_package_without_a_name_or_version_is_bad() {
    for missing in [tag::NAME, tag::VERSION, tag::RELEASE] {
        let mut values = identity("pkg");
        values.retain(|v| v.tag != missing);
        assert!(
            Header::parse(&header(&values, &[]))
                .unwrap()
                .nevra()
                .is_err()
        );
        values.push(string(missing, ""));
        assert!(
            Header::parse(&header(&values, &[]))
                .unwrap()
                .nevra()
                .is_err()
        );
    }
}

#[test]
fn a_name_that_no_package_has_is_damage() {
    let mut values = identity(&"x".repeat(MOST_TEXT));
    assert!(
        Header::parse(&header(&values, &[]))
            .unwrap()
            .package()
            .is_ok()
    );
    values.push(string(tag::VENDOR, &"x".repeat(MOST_TEXT + 1)));
    assert!(
        Header::parse(&header(&values, &[]))
            .unwrap()
            .package()
            .is_err()
    );
}

#[test]
fn what_is_no_text_is_escaped() {
    assert_eq!(text("pk\u{e4}".as_bytes()), "pk\u{e4}");
    assert_eq!(text(b"p\xff"), "p\\xff");
    assert_eq!(text(b"p\x1b[2J\n"), "p\\x1b[2J\\n");
}

proptest! {
    #[test]
    fn the_first_nul_is_found(bytes in proptest::collection::vec(prop::sample::select(vec![0, 1, 0x80, 0x81, 0xff]), 0..40)) {
        prop_assert_eq!(find_nul(&bytes), bytes.iter().position(|b| *b == 0));
        let later: Vec<u8> = [&b"\x01\x80\xff_____________"[..], &bytes].concat();
        prop_assert_eq!(find_nul(&later), later.iter().position(|b| *b == 0));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        drop(look(&bytes));
    }

    #[test]
    fn no_change_of_a_good_header_makes_the_reader_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let late = [u32s(tag::INSTALLTIME, &[1]), chars(tag::FILESTATES, &[0])];
        let values = [identity("pkg"), testing::files(&[dir("/var/lib/", "pkg")])].concat();
        let mut blob = header(&values, &late);
        for (at, byte) in changes {
            let at = at.index(blob.len());
            blob[at] = byte;
        }
        if is_cut {
            blob.truncate(cut.index(blob.len()));
        }
        drop(look(&blob));
    }
}
