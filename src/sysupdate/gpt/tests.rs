//! On images that sfdisk(8) makes, and reads again.

use std::fs;
use std::io::Cursor;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::sys::Root;
use crate::sysupdate::sfdisk;

const ROOT: &str = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709";
const VERITY: &str = "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5";

/// Three slots, and something of somebody else.
fn script(more: &str) -> String {
    format!(
        "label: gpt\nlabel-id: 11111111-2222-3333-4444-555555555555\n{more}\n\
         size=2MiB, type={ROOT}, uuid=00000000-0000-0000-0000-0000000000a1, name=\"_empty\"\n\
         size=2MiB, type={ROOT}, uuid=00000000-0000-0000-0000-0000000000a2, name=\"root_1\", attrs=\"GUID:60 GUID:48 RequiredPartition\"\n\
         size=1MiB, type={VERITY}, uuid=00000000-0000-0000-0000-0000000000a3, name=\"_empty\"\n\
         size=1MiB, type=0fc63daf-8483-4772-8e79-3d69d8477de4, uuid=00000000-0000-0000-0000-0000000000a4, name=\"Märchen\"\n"
    )
}

/// An image in a directory of its own.
struct Image(tempfile::TempDir);

impl Image {
    fn new(more: &str) -> Image {
        let image = Image(tempfile::tempdir().unwrap());
        let file = fs::File::create(image.path()).unwrap();
        file.set_len(12 << 20).unwrap();
        sfdisk::make(image.path(), &script(more));
        image
    }

    /// The same with sectors of 4096 bytes, which sfdisk makes only on such a device.
    fn with_large_sectors() -> Image {
        let small = Image::new("");
        let table = parse(&small.bytes()).unwrap();
        let image = Image(tempfile::tempdir().unwrap());
        let mut file = fs::File::options();
        let file = file.read(true).write(true).create_new(true);
        let mut file = file.open(image.path()).unwrap();
        file.set_len(12 << 20).unwrap();
        let mut large = gptman::GPT::new_from(&mut file, 4096, table.header.disk_guid).unwrap();
        for (number, entry) in (1..=4).zip(&table.entries) {
            large[number] = gptman::GPTPartitionEntry {
                starting_lba: entry.starting_lba / 8,
                ending_lba: (entry.ending_lba + 1) / 8 - 1,
                ..entry.clone()
            };
        }
        large.write_into(&mut file).unwrap();
        image
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("disk.img")
    }

    fn dump(&self) -> String {
        sfdisk::dump(self.path())
    }

    fn disk(&self) -> Disk {
        let root = Root::at(self.0.path()).unwrap();
        Disk::open(&root, "/disk.img".as_ref(), true).unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }
}

fn parse(bytes: &[u8]) -> Result<Table, Bad> {
    Table::read(&mut Cursor::new(bytes), bytes.len() as u64, None)
}

fn install() -> Change {
    Change {
        label: Some("root_2".into()),
        kind: PartitionType::parse(VERITY, "x86-64"),
        uuid: Uuid::parse("f4d1234f-3ebf-47c4-b31d-4052982f9a2f"),
        flags: Some(1 << 59),
    }
}

#[test]
fn what_sfdisk_wrote_is_read_and_only_what_changes_is_changed() {
    for more in ["", "table-length: 200"] {
        let image = Image::new(more);
        let (before, bytes) = (image.dump(), image.bytes());
        let disk = image.disk();
        let table = disk.table().unwrap();
        assert_eq!((table.sector, table.warning()), (512, None));
        let found: Vec<Partition> = table.partitions().collect();
        let labels: Vec<&str> = found.iter().map(|p| p.label.as_str()).collect();
        assert_eq!(labels, ["_empty", "root_1", "_empty", "Märchen"]);
        assert_eq!(found[1].number, 2);
        assert_eq!(found[1].kind.name(), Some("root-x86-64"));
        assert_eq!(
            found[1].uuid.to_string(),
            "00000000-0000-0000-0000-0000000000a2"
        );
        assert_eq!(found[1].flags, 1 << 60 | 1 << 48 | 1);
        assert_eq!(found[0].extent.map(|e| e.length), Some(2 << 20));
        assert_eq!(found[0].extent.map(|e| e.start), Some(1 << 20));

        // nothing changes: not a byte
        disk.change(|_| Ok(())).unwrap();
        assert!(image.bytes() == bytes);

        let written = disk.change(|table| table.change(1, &install())).unwrap();
        assert!(disk.table().unwrap() == written && written.warning().is_none());
        let expected = before.replacen(
            &format!("type={ROOT}, uuid=00000000-0000-0000-0000-0000000000A1, name=\"_empty\"").replace(ROOT, &ROOT.to_uppercase()),
            &format!("type={}, uuid=F4D1234F-3EBF-47C4-B31D-4052982F9A2F, name=\"root_2\", attrs=\"GUID:59\"", VERITY.to_uppercase()),
            1,
        );
        assert_ne!(expected, before);
        assert_eq!(image.dump(), expected);
    }
}

/// Every state of the disk while `writes` are written, also with the last of them cut off within: sectors are written whole.
fn prefixes(bytes: &[u8], writes: &[Writes; 2], mut see: impl FnMut(&[u8])) {
    let mut disk = bytes.to_vec();
    see(&disk);
    for (at, run) in writes.iter().flatten() {
        let at = usize::try_from(*at).unwrap();
        for (number, piece) in run.chunks(512).enumerate() {
            let at = at + number * 512;
            disk[at..at + piece.len()].copy_from_slice(piece);
            see(&disk);
        }
    }
}

#[test]
fn whenever_writing_ends_the_table_is_the_old_or_the_new_one() {
    let longer = Image::new("");
    let file = fs::File::options().write(true).open(longer.path());
    file.unwrap().set_len((12 << 20) + 8192).unwrap();
    for (image, more) in [
        (Image::new(""), 0),
        (Image::with_large_sectors(), 0),
        // it has its second copy where its end was
        (longer, 8192),
    ] {
        let whole = image.bytes();
        let at = usize::try_from(parse(&whole).unwrap().sector).unwrap();
        let end = whole.len() - more - at;
        for damage in [None, Some(at), Some(at * 2 + 3), Some(end), Some(end - 5)] {
            // only the first header says where that is
            if more > 0 && damage == Some(at) {
                continue;
            }
            let mut bytes = whole.clone();
            if let Some(at) = damage {
                bytes[at] ^= 0xff;
            }
            let old = parse(&bytes).unwrap();
            assert_eq!(old.warning().is_some(), damage.is_some());
            let mut new = old.clone();
            new.change(1, &install()).unwrap();
            let of = |table: &Table| table.partitions().collect::<Vec<_>>();
            let (mut olds, mut news) = (0, 0);
            let mut last = Vec::new();
            prefixes(&bytes, &new.writes().unwrap(), |disk| {
                let table = parse(disk).unwrap();
                if of(&table) == of(&old) {
                    assert_eq!(news, 0, "never back again");
                    olds += 1;
                } else {
                    assert_eq!(of(&table), of(&new));
                    news += 1;
                }
                last = disk.to_vec();
            });
            assert!(olds > 1 && news > 1, "{damage:?}: {olds} {news}");
            // and both copies are whole again
            let table = parse(&last).unwrap();
            assert_eq!((table.warning(), table.header.primary_lba), (None, 1));
            last[if more > 0 { at * 2 } else { at }] ^= 0xff;
            assert_eq!(of(&parse(&last).unwrap()), of(&new));
        }
    }
}

#[test]
fn what_is_no_table_or_a_damaged_one_is_told_apart() {
    let bytes = Image::new("").bytes();
    for none in [&b""[..], b"x", &[0; 600], &vec![0; 1 << 20]] {
        assert!(matches!(parse(none), Err(Bad::None)));
    }
    let mut both = bytes.clone();
    let end = both.len() - 512;
    both[600] ^= 1;
    both[end + 20] ^= 1;
    let told = parse(&both).unwrap_err().to_string();
    assert!(told.contains("checksum"), "{told}");
    // a disk that has become shorter
    let told = parse(&bytes[..bytes.len() / 2]).unwrap_err().to_string();
    assert!(told.contains("boundaries"), "{told}");
    // one of which only the end is gone can be read, and not be written
    let table = parse(&bytes[..bytes.len() - 512]).unwrap();
    let told = table.warning().unwrap();
    assert!(told.starts_with("it ends before"), "{told}");
    let told = table.writes().unwrap_err().to_string();
    assert!(told.contains("make it as long as it was"), "{told}");
    // one that has become longer has its second copy where it was
    let longer = [&bytes[..], &[0; 4096]].concat();
    assert_eq!(parse(&longer).unwrap().warning(), None);
}

#[test]
fn a_copy_that_says_that_it_is_among_the_partitions_does_not_count() {
    let bytes = Image::new("").bytes();
    let end = bytes.len() - 512;
    let told = |header: usize, field: usize, lba: u64| {
        let mut bytes = bytes.clone();
        // there is one, and its sum is right
        bytes.copy_within(1024..1024 + 128 * 128, 2048 * 512);
        bytes[header + field..][..8].copy_from_slice(&lba.to_le_bytes());
        bytes[header + 16..header + 20].fill(0);
        let sum = crc32(&bytes[header..header + 92]);
        bytes[header + 16..header + 20].copy_from_slice(&sum.to_le_bytes());
        if header == end {
            bytes[512] ^= 1;
        }
        match parse(&bytes) {
            Ok(table) => table.warning().unwrap_or("").to_owned(),
            Err(e) => e.to_string(),
        }
    };
    // where the entries are, and where the other copy is
    for field in [72, 32] {
        let first = told(512, field, 2048);
        assert!(first.starts_with("the first copy of"), "{first}");
        let second = told(end, field, 2048);
        assert!(second.contains("of the one at the end invalid"), "{second}");
    }
    assert_eq!(told(512, 72, 2), "");
}

#[test]
fn a_label_has_at_most_36_units_of_utf_16() {
    for (label, is) in [
        ("x".repeat(36), true),
        ("x".repeat(37), false),
        ("😀".repeat(18), true),
        ("😀".repeat(18) + "x", false),
        ("a\0b".to_owned(), false),
        (String::new(), true),
    ] {
        assert_eq!(is_label(&label), is, "{label}");
        let mut table = parse(&Image::new("").bytes()).unwrap();
        let change = Change {
            label: Some(label.clone()),
            ..Change::default()
        };
        assert_eq!(table.change(2, &change).is_ok(), is);
        let now = table.partitions().nth(1).unwrap();
        assert_eq!(now.label, if is { label } else { "root_1".into() });
        // of what nothing is said stays
        assert_eq!(now.flags, 1 << 60 | 1 << 48 | 1);
    }
    let mut table = parse(&Image::new("").bytes()).unwrap();
    for number in [0, 5, 129, u32::MAX] {
        assert!(table.change(number, &install()).is_err());
    }
}

#[test]
fn a_partition_outside_of_the_disk_has_no_bytes() {
    let mut table = parse(&Image::new("").bytes()).unwrap();
    for (start, end) in [(0, 40), (2048, 2047), (2048, u64::MAX), (20_000, 24_570)] {
        (table.entries[0].starting_lba, table.entries[0].ending_lba) = (start, end);
        assert_eq!(
            table.partitions().next().unwrap().extent,
            None,
            "{start} {end}"
        );
    }
}

#[test]
fn a_change_waits_for_who_has_the_disk_and_a_refused_one_writes_nothing() {
    let image = Image::new("");
    let bytes = image.bytes();
    let disk = image.disk();
    let refused = disk.change(|table| {
        table.change(1, &install())?;
        Err(io::Error::other("not so"))
    });
    assert!(refused.unwrap_err().to_string().ends_with("not so"));
    assert!(image.bytes() == bytes);
    let other = fs::File::open(image.path()).unwrap();
    let held = crate::sys::block::TableLock::try_take(&other)
        .unwrap()
        .unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| disk.change(|table| table.change(1, &install())).is_ok());
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert!(image.bytes() == bytes);
        drop(held);
        assert!(writer.join().unwrap());
    });
    assert!(image.bytes() != bytes);
}

#[test]
fn a_disk_is_an_image_or_a_device_of_the_running_system() {
    let image = Image::new("");
    let root = Root::at(image.0.path()).unwrap();
    let link = |to: &str, at: &str| {
        std::os::unix::fs::symlink(to, image.0.path().join(at)).unwrap();
    };
    link("/disk.img", "inside");
    link("/dev/zero", "outside");
    fs::create_dir(image.0.path().join("dir")).unwrap();
    let open = |path: &str| Disk::open(&root, path.as_ref(), false);
    assert_eq!(
        open("/inside").unwrap().id(),
        open("/disk.img").unwrap().id()
    );
    assert!(matches!(open("/dir"), Err(NoDisk::Device(_))));
    assert!(matches!(
        Disk::open(&Root::live(), "/proc".as_ref(), false),
        Err(NoDisk::Directory(..))
    ));
    assert!(matches!(open("/outside"), Err(NoDisk::Unreadable(..))));
    assert!(matches!(
        Disk::open(&Root::live(), "/dev/zero".as_ref(), false),
        Err(NoDisk::Kind(_))
    ));
    let disk = open("/disk.img").unwrap();
    assert!(disk.partition(3).ends_with("/disk.img3"));
    let told = |disk: &Disk| disk.unused(3).map_err(|e| e.to_string());
    assert_eq!(told(&disk), Ok(()));
    let disk = disk.with_mounted(Some(3));
    assert!(disk.unused(1).is_ok());
    assert!(
        told(&disk)
            .unwrap_err()
            .contains("is the root of the system that is worked on")
    );
    // it was opened to be read
    assert!(disk.change(|table| table.change(1, &install())).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_bytes_make_a_table_panic(
        changes in prop::collection::vec((0..3000_usize, any::<u8>()), 1..8),
        fixes in any::<bool>(),
        at_end in any::<bool>(),
    ) {
        // sectors of the first copy, and of the second one, behind a small disk
        let whole = Image::small();
        let mut bytes = whole;
        let length = bytes.len();
        for (at, byte) in changes {
            let at = if at_end { length - 1 - at } else { at };
            bytes[at] = byte;
        }
        if fixes {
            // a header whose sum is right is looked into
            for at in [512, length - 512] {
                bytes[at + 16..at + 20].fill(0);
                let sum = crc32(&bytes[at..at + 92]);
                bytes[at + 16..at + 20].copy_from_slice(&sum.to_le_bytes());
            }
        }
        if let Ok(mut table) = parse(&bytes) {
            let numbers: Vec<u32> = table.partitions().map(|p| p.number).collect();
            for number in numbers {
                table.change(number, &install()).unwrap();
            }
            if let Ok(writes) = table.writes() {
                for (at, run) in writes.iter().flatten() {
                    prop_assert!(at + run.len() as u64 <= length as u64);
                    prop_assert!(*at >= 512);
                }
            }
        }
    }
}

impl Image {
    /// The bytes of a disk of 200 KiB.
    fn small() -> Vec<u8> {
        static BYTES: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let make = || {
            let image = Image(tempfile::tempdir().unwrap());
            let file = fs::File::create(image.path()).unwrap();
            file.set_len(200 << 10).unwrap();
            let script = format!("label: gpt\nstart=40, size=50, type={ROOT}, name=\"_empty\"\n");
            sfdisk::make(image.path(), &script);
            image.bytes()
        };
        BYTES.get_or_init(make).clone()
    }
}

/// The sum of a header (IEEE 802.3), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    })
}
