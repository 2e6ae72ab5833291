use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use tempfile::NamedTempFile;

use super::*;
use crate::rpmdb::testing::{blob, ndb, package};

/// What a scan hands out: for each package its number and its bytes, or why there are none.
type Seen = Vec<(u64, Result<Vec<u8>, String>)>;

fn file_of(bytes: &[u8]) -> (NamedTempFile, Ndb) {
    let path = NamedTempFile::new().unwrap();
    std::fs::write(&path, bytes).unwrap();
    let file = File::open(&path).unwrap();
    let mut ndb = Ndb::new(file, path.path());
    ndb.patience = Duration::from_millis(100);
    (path, ndb)
}

fn ask(attempt: u32) -> Ask<'static> {
    Ask {
        prefixes: None,
        attempt,
        ..Ask::default()
    }
}

fn read(ndb: &Ndb) -> Result<Seen, RpmdbError> {
    let mut seen = Vec::new();
    ndb.for_each(ask(0), &mut |blob| {
        seen.push((blob.number, blob.bytes.map(<[u8]>::to_vec)))
    })?;
    Ok(seen)
}

/// What is in a file of these bytes: mapped, and the same again when a writer has the lock.
fn scan(bytes: &[u8]) -> Result<Seen, RpmdbError> {
    let (path, mut ndb) = file_of(bytes);
    let mapped = read(&ndb);
    let writer = File::open(path.path()).unwrap();
    writer.lock().unwrap();
    ndb.patience = Duration::ZERO;
    assert_eq!(format!("{mapped:?}"), format!("{:?}", read(&ndb)));
    mapped
}

fn three() -> (Vec<Vec<u8>>, Vec<u8>) {
    let headers = ["one", "two", "three"]
        .map(|name| package(name, &[]))
        .to_vec();
    let bytes = ndb(&headers);
    (headers, bytes)
}

fn set(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Where the slot of package `number` is, and where its blob begins and ends.
fn slot(bytes: &[u8], number: usize) -> (usize, usize, usize) {
    let at = 32 + 16 * (number - 1);
    let (block, blocks) = (word(bytes, at + 8) as usize, word(bytes, at + 12) as usize);
    (at, block * 16, (block + blocks) * 16)
}

#[test]
fn headers_come_in_the_order_of_the_file() {
    let (headers, mut bytes) = three();
    let seen = scan(&bytes).unwrap();
    let expected: Seen = (1..).zip(headers.iter().cloned().map(Ok)).collect();
    assert_eq!(seen, expected);
    // slots in another order, one of them free
    let (first, third) = (slot(&bytes, 1).0, slot(&bytes, 3).0);
    for at in 0..16 {
        bytes.swap(first + at, third + at);
    }
    assert_eq!(scan(&bytes).unwrap(), expected);
    let at = slot(&bytes, 2).0;
    bytes[at + 4..at + 16].fill(0);
    let without_two = [expected[0].clone(), expected[2].clone()];
    assert_eq!(scan(&bytes).unwrap(), without_two);
}

#[test]
fn a_file_that_is_no_database_is_an_error() {
    let (_, good) = three();
    let refuse = |what: &str, bytes: &[u8]| {
        let (_path, ndb) = file_of(bytes);
        assert!(matches!(read(&ndb), Err(RpmdbError::Format(..))), "{what}");
        assert!(
            matches!(ndb.fingerprint(), Err(RpmdbError::Format(..))),
            "{what}"
        );
    };
    refuse("nothing", b"");
    refuse("31 bytes", &good[..31]);
    refuse("a header without slots", &good[..32]);
    refuse("half a page", &good[..4095]);
    let with = |at, value| {
        let mut bytes = good.clone();
        set(&mut bytes, at, value);
        bytes
    };
    refuse("another magic", &with(0, 0x12345));
    refuse("a newer version", &with(4, 1));
    for pages in [0, good.len() as u32 / 4096 + 1, 0x10_0000, 0xffff_ffff] {
        refuse("pages that cannot be", &with(12, pages));
    }
}

#[test]
fn a_bad_slot_or_blob_is_one_bad_package_among_good_ones() {
    let (_, good) = three();
    let (at, start, end) = slot(&good, 2);
    let file = good.len() as u32;
    let blocks = (end - start) as u32 / 16;
    let length = word(&good, start + 12);
    let cases = [
        ("another magic of the slot", at, 0x1234),
        ("a blob in the header", at + 8, 1),
        ("a blob among the slots", at + 8, 255),
        ("a blob that begins behind the end", at + 8, file / 16),
        ("a blob far behind the end", at + 8, 0xffff_ffff),
        ("a blob where there is none", at + 8, start as u32 / 16 + 1),
        ("no blocks", at + 12, 0),
        ("one block", at + 12, 1),
        ("a block too few", at + 12, blocks - 1),
        (
            "blocks beyond the end",
            at + 12,
            (file - start as u32) / 16 + 1,
        ),
        ("4 Gi blocks", at + 12, 0xffff_ffff),
        ("the number of another package in the slot", at + 4, 7),
        ("another magic at the head", start, 0x1234),
        ("another number at the head", start + 4, 9),
        ("no bytes, at the head alone", start + 12, 0),
        ("4 GiB, at the head alone", start + 12, 0xffff_ffff),
        ("another length at the head", start + 12, length - 1),
        ("another length at the tail", end - 8, length + 1),
        ("no tail", end - 4, 0),
    ];
    for (what, at, value) in cases {
        let mut bytes = good.clone();
        set(&mut bytes, at, value);
        let seen = scan(&bytes).unwrap();
        let bad: Vec<_> = seen.iter().filter(|(_, b)| b.is_err()).collect();
        assert!(bad.len() == 1 && seen.len() == 3, "{what}: {seen:?}");
        let good: Vec<u64> = seen
            .iter()
            .filter(|(_, b)| b.is_ok())
            .map(|s| s.0)
            .collect();
        assert_eq!(good, [1, 3], "{what}");
    }
}

#[test]
fn a_length_that_does_not_fit_into_the_blocks_is_bad_also_when_both_ends_say_so() {
    let (_, good) = three();
    let (_, start, end) = slot(&good, 2);
    for length in [0xffff_ffff, (end - start) as u32 - 27] {
        let mut bytes = good.clone();
        set(&mut bytes, start + 12, length);
        set(&mut bytes, end - 8, length);
        let seen = scan(&bytes).unwrap();
        assert!(
            seen[1].1.is_err() && seen[0].1.is_ok() && seen[2].1.is_ok(),
            "{length}"
        );
    }
    let mut bytes = good;
    set(&mut bytes, start + 12, 0);
    set(&mut bytes, end - 8, 0);
    assert_eq!(
        scan(&bytes).unwrap()[1],
        (2, Ok(Vec::new())),
        "no header, as its reader says"
    );
}

#[test]
fn packages_that_share_blocks_are_both_bad() {
    let (_, mut bytes) = three();
    let (first, second) = (slot(&bytes, 1), slot(&bytes, 2));
    // a whole blob of package 2 inside the blob of package 1, at the place of its header
    let inner = blob(2, b"x");
    let start = first.1 + 16;
    bytes[start..start + inner.len()].copy_from_slice(&inner);
    set(&mut bytes, second.0 + 8, start as u32 / 16);
    set(&mut bytes, second.0 + 12, inner.len() as u32 / 16);
    let seen = scan(&bytes).unwrap();
    assert!(
        seen[0].1.is_err() && seen[1].1.is_err() && seen[2].1.is_ok(),
        "{seen:?}"
    );
}

#[test]
fn a_slot_that_says_too_much_does_not_take_the_others_with_it() {
    let (_, mut bytes) = three();
    let at = slot(&bytes, 1).0;
    let to_the_end = (bytes.len() as u32 - 4096) / 16;
    set(&mut bytes, at + 12, to_the_end);
    let seen = scan(&bytes).unwrap();
    let bad: Vec<u64> = seen.iter().filter(|s| s.1.is_err()).map(|s| s.0).collect();
    assert_eq!((bad, seen.len()), (vec![1], 3));
}

#[test]
fn packages_with_the_same_number_are_both_bad() {
    let (_, mut bytes) = three();
    let (at, start, _) = slot(&bytes, 2);
    set(&mut bytes, at + 4, 3);
    set(&mut bytes, start + 4, 3);
    let seen = scan(&bytes).unwrap();
    let results: Vec<_> = seen.iter().map(|s| (s.0, s.1.is_ok())).collect();
    assert_eq!(results, [(3, false), (3, false), (1, true)]);
}

#[test]
fn a_writer_is_waited_for_and_then_kept_out() {
    let (_, bytes) = three();
    let (path, mut ndb) = file_of(&bytes);
    ndb.patience = Duration::from_secs(60);
    let writer = File::open(path.path()).unwrap();
    writer.lock().unwrap();
    let seen = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0;
            let other = File::open(path.path()).unwrap();
            ndb.for_each(ask(0), &mut |_| {
                seen += 1;
                assert!(other.try_lock().is_err(), "nobody writes while it is read");
            })
            .unwrap();
            seen
        });
        std::thread::sleep(Duration::from_millis(50));
        assert!(!reader.is_finished());
        writer.unlock().unwrap();
        reader.join().unwrap()
    });
    assert_eq!(seen, 3);
    writer.try_lock().expect("the lock is given back");
}

#[test]
fn a_database_that_cannot_be_locked_counts_when_it_stays_the_same() {
    let (_, bytes) = three();
    let (path, ndb) = file_of(&bytes);
    let writer = File::options().write(true).open(path.path()).unwrap();
    writer.lock().unwrap();
    assert_eq!(read(&ndb).unwrap().len(), 3);
    let generation = AtomicU32::new(100);
    let write = |_: Blob<'_>| {
        let next = generation.fetch_add(1, Ordering::Relaxed);
        writer.write_all_at(&next.to_le_bytes(), 8).unwrap();
    };
    for attempt in [0, 1] {
        let read = ndb.for_each(ask(attempt), &mut { write });
        assert!(matches!(read, Err(RpmdbError::Changed(_))), "{read:?}");
    }
    let read = ndb.for_each(ask(2), &mut { write });
    assert!(matches!(read, Err(RpmdbError::Busy(_))), "{read:?}");
}

#[test]
fn a_file_that_is_cut_off_while_it_is_read_without_the_lock_is_no_crash() {
    let (_, bytes) = three();
    let (path, ndb) = file_of(&bytes);
    let writer = File::options().write(true).open(path.path()).unwrap();
    writer.lock().unwrap();
    let mut seen = Vec::new();
    let cut = slot(&bytes, 2).1 as u64;
    let read = ndb.for_each(ask(0), &mut |blob| {
        seen.push(blob.bytes.is_ok());
        writer.set_len(cut).unwrap();
    });
    assert!(read.is_ok(), "the header is the same");
    assert_eq!(seen, [true, false, false]);
}

#[test]
fn a_file_that_is_replaced_or_grows_while_it_is_read_is_read_as_it_was() {
    let (_, bytes) = three();
    let (path, ndb) = file_of(&bytes);
    let mut seen = 0;
    ndb.for_each(ask(0), &mut |blob| {
        seen += 1;
        assert!(blob.bytes.is_ok());
        let file = File::options().append(true).open(path.path()).unwrap();
        file.set_len(bytes.len() as u64 + 10_000).unwrap();
        let other = NamedTempFile::new().unwrap();
        other.persist(path.path()).unwrap();
    })
    .unwrap();
    assert_eq!(seen, 3);
}

#[test]
fn the_fingerprint_differs_with_the_generation_and_with_the_slots() {
    let (_, mut bytes) = three();
    let first = file_of(&bytes).1.fingerprint().unwrap();
    assert_eq!(first, file_of(&bytes).1.fingerprint().unwrap());
    let json = serde_json::to_string(&first).unwrap();
    assert_eq!(serde_json::from_str::<Fingerprint>(&json).unwrap(), first);
    set(&mut bytes, 8, 8);
    let second = file_of(&bytes).1.fingerprint().unwrap();
    let at = slot(&bytes, 3).0;
    set(&mut bytes, at + 8, 0);
    let third = file_of(&bytes).1.fingerprint().unwrap();
    assert!(first != second && second != third && third != first);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(
        changes in proptest::collection::vec((0_usize..5200, any::<u8>()), 1..10),
        length in 0_usize..5200,
        is_cut in any::<bool>(),
    ) {
        let (_, mut bytes) = three();
        for (at, byte) in changes {
            // half of them where something is
            let at = if at % 2 == 0 { at % 80 } else { at % bytes.len() };
            bytes[at] = byte;
        }
        if is_cut {
            bytes.truncate(length);
        }
        let (_path, ndb) = file_of(&bytes);
        if let Ok(seen) = read(&ndb) {
            for bytes in seen.into_iter().filter_map(|(_, b)| b.ok()) {
                drop(crate::rpmdb::header::Header::parse(&bytes).map(drop));
            }
        }
    }
}
