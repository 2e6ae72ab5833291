//! What the programs of each format make is read, and whatever is done to it is told.

use std::io::{BufReader, Write};
use std::process::Stdio;
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::sys::cmd::{self, Argv};

/// What `program` makes of `bytes`.
fn packed(program: &[&str], bytes: &[u8]) -> Vec<u8> {
    let mut child = cmd::command(&Argv::new(program.iter().copied()), true)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to = child.stdin.take().unwrap();
    let owned = bytes.to_vec();
    let writes = thread::spawn(move || to.write_all(&owned).unwrap());
    let out = child.wait_with_output().unwrap();
    writes.join().unwrap();
    assert!(out.status.success());
    out.stdout
}

fn all() -> [(Format, &'static [&'static str]); 5] {
    [
        (Format::Xz, &["xz", "-c"]),
        (Format::Gzip, &["gzip", "-c"]),
        (Format::Bzip2, &["bzip2", "-c"]),
        (Format::Zstd, &["zstd", "-q", "-c"]),
        (Format::Lz4, &["lz4", "-q", "-c"]),
    ]
}

/// Read in pieces of `step`, as they come from a network.
fn opened(bytes: &[u8], step: usize, limit: u64) -> io::Result<(Format, Vec<u8>)> {
    let mut from = open(BufReader::with_capacity(step, bytes), limit)?;
    let mut read = Vec::new();
    from.read_to_end(&mut read)?;
    Ok((from.format(), read))
}

fn unpacked(bytes: &[u8]) -> io::Result<Vec<u8>> {
    opened(bytes, 4096, 1 << 30).map(|(_, read)| read)
}

/// Bytes that can be compressed, but not to nothing.
fn content(length: usize) -> Vec<u8> {
    (0..length)
        .map(|i| ((i / 7) ^ (i >> 11) ^ ((i * i) >> 9)) as u8)
        .collect()
}

#[test]
fn each_format_is_known_by_its_first_bytes_and_read_in_pieces_of_any_length() {
    let plain = content(300_000);
    for (format, program) in all() {
        let bytes = packed(program, &plain);
        for step in [1, 3, 4096, 1 << 20] {
            let (found, read) = opened(&bytes, step, 1 << 30).unwrap();
            assert!(found == format && read == plain, "{format:?} by {step}");
        }
        // an empty payload that was compressed
        assert_eq!(unpacked(&packed(program, b"")).unwrap(), b"", "{format:?}");
    }
}

#[test]
fn what_is_unknown_or_shorter_than_its_magic_is_kept_as_it_is() {
    let raws: [&[u8]; 9] = [
        b"",
        b"a",
        b"\x1f",
        b"BZ",
        b"\x28\xb5\x2f",
        b"\x04\x22\x4d",
        b"\xfd7zXZ",
        b"MZ\0\0\0\0 a program",
        b"\x50\x2a\x4d",
    ];
    for raw in raws {
        let (format, read) = opened(raw, 1, 100).unwrap();
        assert_eq!((format, &*read), (Format::Raw, raw), "{raw:x?}");
    }
}

#[test]
fn several_streams_in_a_row_are_one_payload() {
    let (one, two) = (content(1000), content(70_000));
    let joined = [&*one, &*two, &*one].concat();
    for (format, program) in all() {
        let (a, b) = (packed(program, &one), packed(program, &two));
        let bytes = [&*a, &*b, &*a].concat();
        for step in [1, 4096] {
            let (_, read) = opened(&bytes, step, 1 << 30).unwrap();
            assert!(read == joined, "{format:?} by {step}");
        }
    }
}

#[test]
fn trailing_garbage_is_an_error() {
    for (format, program) in all() {
        let bytes = packed(program, &content(5000));
        for garbage in [
            &b"x"[..],
            b"12345678",
            b"\0",
            &[0x80; 100],
            &bytes[..1],
            &bytes[..8],
        ] {
            let with = [&*bytes, garbage].concat();
            assert!(unpacked(&with).is_err(), "{format:?} {garbage:x?}");
        }
    }
}

#[test]
fn a_stream_that_is_cut_off_anywhere_is_an_error() {
    for (format, program) in all() {
        let bytes = packed(program, &content(300));
        let one = unpacked(&bytes).unwrap();
        for end in MAGIC..bytes.len() {
            assert!(
                unpacked(&bytes[..end]).is_err(),
                "{format:?} at {end} of {}",
                bytes.len()
            );
        }
        // also the second one
        let two = [&*bytes, &*bytes].concat();
        for end in (bytes.len() + 1..two.len()).step_by(3) {
            assert!(
                unpacked(&two[..end]).is_err(),
                "{format:?} at {end} of {}",
                two.len()
            );
        }
        assert_eq!(unpacked(&two).unwrap().len(), 2 * one.len());
    }
}

#[test]
fn a_changed_byte_never_changes_what_is_read_without_a_word() {
    for (format, program) in all() {
        // these two have a checksum only when asked for one
        let program: Vec<&str> = match format {
            Format::Zstd => vec!["zstd", "-q", "-c", "--check"],
            _ => program.to_vec(),
        };
        let plain = content(100);
        let bytes = packed(&program, &plain);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            // bits that mean nothing, as the time in a gzip header, may change
            if let Ok(read) = unpacked(&changed) {
                assert!(
                    read == plain || Format::of(&changed) == Format::Raw,
                    "{format:?} at {at}"
                );
            }
        }
    }
}

#[test]
fn more_than_the_limit_is_refused_without_making_it() {
    let gigabyte_of_zeros = {
        let mut child = cmd::command(&Argv::new(["head", "-c", "1073741824", "/dev/zero"]), true)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let zeros = child.stdout.take().unwrap();
        let zstd = cmd::command(&Argv::new(["zstd", "-q", "-c", "-1"]), true)
            .stdin(zeros)
            .output()
            .unwrap();
        child.wait().unwrap();
        zstd.stdout
    };
    let refused = opened(&gigabyte_of_zeros, 4096, 1 << 20).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge);
    assert_eq!(refused.to_string(), "File overly large, refusing.");
    for (format, program) in all() {
        let bytes = packed(program, &content(1000));
        assert!(opened(&bytes, 4096, 1000).is_ok(), "{format:?}");
        let kind = opened(&bytes, 4096, 999).unwrap_err().kind();
        assert_eq!(kind, io::ErrorKind::FileTooLarge, "{format:?}");
    }
    assert!(opened(b"raw", 4096, 2).is_err() && opened(b"raw", 4096, 3).is_ok());
}

#[test]
fn a_window_of_128_mib_is_read_and_a_larger_one_refused() {
    // a frame without a size and without blocks that count: the window decides
    let frame = |log: u8| {
        [
            &[0x28, 0xb5, 0x2f, 0xfd, 0x00, (log - 10) << 3][..],
            &[1, 0, 0],
        ]
        .concat()
    };
    assert_eq!(unpacked(&frame(27)).unwrap(), b"");
    let refused = unpacked(&frame(28)).unwrap_err();
    assert!(refused.to_string().contains("memory"), "{refused}");
    let plain = content(1000);
    let bytes = packed(&["xz", "-c", "--lzma2=dict=128MiB"], &plain);
    assert_eq!(unpacked(&bytes).unwrap(), plain);
    let bytes = packed(&["xz", "-c", "--lzma2=dict=192MiB"], &plain);
    assert!(unpacked(&bytes).is_err());
}

#[test]
fn frames_that_are_to_be_skipped_are_stepped_over() {
    let plain = content(3000);
    let skipped = |length: u8| {
        [
            &[0x53, 0x2a, 0x4d, 0x18, length, 0, 0, 0][..],
            &vec![7; length.into()],
        ]
        .concat()
    };
    for (format, program) in all() {
        let bytes = packed(program, &plain);
        for before in [skipped(0), skipped(5), [skipped(1), skipped(200)].concat()] {
            let with = [&*before, &*bytes].concat();
            for step in [1, 4096] {
                let (found, read) = opened(&with, step, 1 << 20).unwrap();
                assert!(found == format && read == plain, "{format:?}");
            }
        }
        // behind a frame only the two formats have them
        let behind = unpacked(&[&*bytes, &*skipped(5)].concat());
        assert_eq!(
            behind.is_ok(),
            matches!(format, Format::Zstd | Format::Lz4),
            "{format:?}"
        );
    }
    assert_eq!(unpacked(&skipped(5)).unwrap(), b"");
    assert!(unpacked(&skipped(5)[..10]).is_err());
    assert!(unpacked(&[&*skipped(5), b"raw"].concat()).is_err());
    assert!(unpacked(&[0x50, 0x2a, 0x4d, 0x18, 1]).is_err());
}

#[test]
fn blocks_of_xz_are_read_whether_they_fit_side_by_side_or_not() {
    let plain = content(9 << 20);
    for block in ["--block-size=1MiB", "--block-size=30MiB"] {
        let bytes = packed(&["xz", "-0", "-T2", block, "-c"], &plain);
        assert!(unpacked(&bytes).unwrap() == plain, "{block}");
    }
    // streams with padding between them
    let stream = packed(&["xz", "-0", "-c"], b"stream");
    let padded = |zeros: usize| [&*stream, &*vec![0; zeros], &*stream, &*vec![0; zeros]].concat();
    assert_eq!(unpacked(&padded(8)).unwrap(), b"streamstream");
    assert!(unpacked(&padded(6)).is_err());
}

#[test]
fn the_size_is_told_by_a_zstd_header_an_xz_index_and_of_what_is_raw() {
    let plain = content(300_000);
    let of = |bytes: &[u8]| Size::of_start(&bytes[..bytes.len().min(64)], bytes.len() as u64);
    assert_eq!(of(b"raw bytes"), Size::Exactly(9));
    assert_eq!(of(b""), Size::Exactly(0));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &plain).unwrap();
    let zstd = packed(&["zstd", "-q", "-c", file.path().to_str().unwrap()], b"");
    assert_eq!(of(&zstd), Size::AtLeast(300_000));
    // of a pipe zstd does not know it
    assert_eq!(of(&packed(&["zstd", "-q", "-c"], &plain)), Size::Unknown);
    for (format, program) in all() {
        if matches!(format, Format::Gzip | Format::Bzip2 | Format::Lz4) {
            assert_eq!(of(&packed(program, &plain)), Size::Unknown, "{format:?}");
        }
    }
    let xz = packed(&["xz", "-0", "-T2", "--block-size=4KiB", "-c"], &plain);
    let length = xz.len() as u64;
    assert_eq!(of(&xz), Size::NeedsEnd(length.min(64 << 10)));
    let Size::NeedsEnd(more) = Size::of_end(&xz[xz.len() - 40..], length) else {
        panic!("{:?}", Size::of_end(&xz[xz.len() - 40..], length));
    };
    let end = &xz[xz.len() - more as usize..];
    assert_eq!(Size::of_end(end, length), Size::Exactly(300_000));
    let padded = [&*xz, &[0; 8]].concat();
    assert_eq!(Size::of_end(&padded, length + 8), Size::Exactly(300_000));
    let two = [&*xz, &*xz].concat();
    assert_eq!(Size::of_end(&two, 2 * length), Size::AtLeast(300_000));
    assert_eq!(Size::of_end(b"", 0), Size::Unknown);
    assert_eq!(Size::of_end(&zstd, zstd.len() as u64), Size::Unknown);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 200 } else { 2000 }))]

    /// Nothing panics, and nothing comes out beyond the limit.
    #[test]
    fn any_bytes_are_read_or_refused(start in 0_usize..7, bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        const STARTS: [&[u8]; 7] = [
            b"",
            b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46",
            b"\x1f\x8b\x08\0\0\0\0\0\0\x03",
            b"BZh91AY&SY",
            b"\x28\xb5\x2f\xfd",
            b"\x04\x22\x4d\x18\x64\x40\xa7",
            b"\x5a\x2a\x4d\x18\x03\0\0\0",
        ];
        let bytes = [STARTS[start], &*bytes].concat();
        if let Ok((_, read)) = opened(&bytes, 64, 1 << 16) {
            prop_assert!(read.len() <= 1 << 16);
        }
        let length = bytes.len() as u64;
        prop_assert_ne!(Size::of_start(&bytes, length), Size::AtLeast(u64::MAX));
        prop_assert_ne!(Size::of_end(&bytes, length), Size::AtLeast(u64::MAX));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn what_was_compressed_comes_out_as_it_was(bytes in prop::collection::vec(any::<u8>(), 0..3000), repeat in 1_usize..40) {
        let plain = bytes.repeat(repeat);
        let zstd = zstd::stream::encode_all(&*plain, 1).unwrap();
        prop_assert_eq!(&unpacked(&zstd).unwrap(), &plain);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        prop_assert_eq!(&unpacked(&gzip.finish().unwrap()).unwrap(), &plain);
        let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
        lz4.write_all(&plain).unwrap();
        prop_assert_eq!(&unpacked(&lz4.finish().unwrap()).unwrap(), &plain);
    }
}
