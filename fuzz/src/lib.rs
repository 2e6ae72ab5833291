//! What must hold of whatever is read, from bytes of any kind. The fuzz targets call it, and tests/it/fuzz_corpus.rs with the
//! corpus that is kept.

use std::fs::{self, File, Metadata};
use std::io::{self, BufReader, Cursor, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use transactional_update::rpmdb::{Database, DirectoryEntry, Prefix, raw};
use transactional_update::sysupdate::archive::Tree;
use transactional_update::sysupdate::decompress::{self, Format, Size};
use transactional_update::sysupdate::gpt::{Change, Partition, Table};
use transactional_update::sysupdate::pattern::words;
use transactional_update::sysupdate::pipeline::Sink;
use transactional_update::sysupdate::{
    Manifest, Pattern, PatternList, Specifiers, Transfer, Uuid, partition_type::PartitionType,
};

fn prefixes() -> Vec<Prefix> {
    let tops = ["/var", "/srv", "/opt"].map(|top| Prefix::new(Path::new(top)));
    tops.into_iter().flatten().collect()
}

/// Reads `bytes` as a header. Whether there is one.
///
/// # Panics
/// When what is read is not as promised.
pub fn header(bytes: &[u8]) -> bool {
    let prefixes = prefixes();
    let Ok((package, entries)) = raw::header(bytes, &prefixes) else {
        return false;
    };
    assert!(package.nevra.to_string().contains('-'));
    entries.iter().for_each(|entry| sound(entry, &prefixes, 1));
    true
}

/// Reads `bytes` as a database of ndb: how many packages it has, and how many that cannot be read; `None` when it is no
/// database.
///
/// # Panics
/// When what is read is not as promised.
pub fn ndb(bytes: &[u8]) -> Option<(usize, usize)> {
    let prefixes = prefixes();
    let database = Database::of_ndb(file(bytes), Path::new("Packages.db"));
    let state = database.fingerprint();
    let (packages, bad) = database.nevras().ok()?;
    // each comes from a slot of its own, besides what cannot be read of one
    assert!(packages.len() <= bytes.len() / 16 && bad.len() <= 2 * (bytes.len() / 16));
    let found = database
        .directories(&prefixes)
        .expect("what has a list of packages can be scanned");
    for entry in &found.entries {
        sound(entry, &prefixes, found.packages.len());
    }
    let key = |e: &DirectoryEntry| (e.path.as_os_str().to_owned(), e.package);
    assert!(found.entries.is_sorted_by_key(key));
    assert!(found.packages.len() <= packages.len());
    assert_eq!(state.ok(), database.fingerprint().ok());
    Some((packages.len(), bad.len()))
}

fn sound(entry: &DirectoryEntry, prefixes: &[Prefix], packages: usize) {
    let path = entry.path.as_os_str().as_bytes();
    assert!(prefixes.iter().any(|p| p.holds(path)), "{entry:?}");
    assert!(
        entry.mode <= 0o7777 && entry.package < packages,
        "{entry:?}"
    );
    control();
}

/// The controls of tests/proof/fuzz.sh: a mistake that has to be found.
fn control() {
    assert!(std::env::var_os("FUZZ_CONTROL").is_none(), "a control");
}

/// Reads the first line of `bytes` as a list of patterns, the rest as a name. Whether there is a list, and whether the name
/// matches.
///
/// # Panics
/// When what matches is not as promised.
pub fn pattern(bytes: &[u8]) -> Option<bool> {
    let (list, name) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
    let patterns = words(list).ok()?;
    let patterns = patterns.iter().map(|word| Pattern::parse(word).ok());
    let patterns: PatternList = patterns.collect::<Option<_>>()?;
    let Some((number, fields)) = patterns.matches(name) else {
        return Some(false);
    };
    control();
    let pattern = &patterns.patterns()[number];
    assert!(pattern.can_match() && name.contains(fields.version.as_str()));
    assert!(
        patterns.patterns()[..number]
            .iter()
            .all(|before| before.matches(name).is_none())
    );
    let metadata = &fields.metadata;
    if let Ok(new) = pattern.format(&fields.version, metadata) {
        let again = pattern
            .matches(&new)
            .expect("a name that is given is found again");
        assert!(again == fields, "{new}: {again:?}, not {fields:?}");
    }
    Some(true)
}

/// Reads `bytes` as a transfer file. Whether it is one.
///
/// # Panics
/// When what is read is not as promised.
pub fn transfer(bytes: &[u8]) -> bool {
    let mut warnings = Vec::new();
    let specifiers = Specifiers::default();
    let read = Transfer::parse(Path::new("a.transfer"), bytes, &specifiers, &mut warnings);
    let lines = bytes.iter().filter(|b| **b == b'\n').count() + 1;
    // a line has a warning for each of its words at most
    assert!(
        warnings.len() <= bytes.len() + 10 && warnings.iter().all(|w| w.starts_with("a.transfer:"))
    );
    match read {
        Ok(transfer) => {
            control();
            assert!(
                transfer.source.patterns.first().is_some()
                    && transfer.target.patterns.first().is_some()
            );
            assert!(transfer.source.kind.fits(transfer.target.kind));
            assert!(transfer.target.instances_max() >= 2);
            let place = transfer.target.place.map(|place| place.path);
            assert!(place.is_none_or(|path| path.is_absolute()));
            true
        }
        Err(e) => {
            assert!(e.line <= lines && !e.problem.is_empty(), "{e}");
            false
        }
    }
}

/// Reads `bytes` as a manifest: how many files it has; `None` when it is none.
///
/// # Panics
/// When what is read is not as promised.
pub fn manifest(bytes: &[u8]) -> Option<usize> {
    let manifest = Manifest::parse(bytes).ok()?;
    for entry in manifest.entries() {
        control();
        let is_plain = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= 255;
        assert!(entry.name.split('/').all(is_plain), "{entry:?}");
        assert!(
            !entry
                .name
                .contains(|c: char| c == '%' || c.is_ascii_control())
        );
    }
    let now = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_714_564_800);
    assert!(manifest.freshness(now).warnings.len() <= manifest.entries().len());
    let patterns: PatternList = Pattern::parse("os_@v_@h")
        .into_iter()
        .chain(Pattern::parse("@v"))
        .collect();
    let matching = manifest.instances(&patterns).count();
    assert!(matching <= manifest.entries().len() && manifest.entries().len() <= bytes.len() / 68);
    Some(manifest.entries().len())
}

/// Most bytes that a payload may have when it is decompressed.
pub const PAYLOAD_LIMIT: usize = 4 << 20;

/// Reads `bytes` as a payload of whatever format they are: how many bytes it has; `None` when it is damaged or too large.
///
/// # Panics
/// When what is read is not as promised.
pub fn payload(bytes: &[u8]) -> Option<usize> {
    let read = |step| -> io::Result<(Format, Vec<u8>)> {
        let mut from =
            decompress::open(BufReader::with_capacity(step, bytes), PAYLOAD_LIMIT as u64)?;
        let mut plain = Vec::new();
        // what comes before an error is bounded as well
        let result = from.read_to_end(&mut plain);
        assert!(plain.len() <= PAYLOAD_LIMIT);
        result.map(|_| (from.format(), plain))
    };
    let whole = read(bytes.len().max(1)).ok();
    assert!(
        read(7).ok() == whole,
        "it is read in another way in small pieces"
    );
    let (format, plain) = whole?;
    if format != Format::Raw {
        control();
    }
    let length = bytes.len() as u64;
    let size = match Size::of_start(bytes, length) {
        Size::NeedsEnd(needed) => {
            let start = bytes.len() - usize::try_from(needed).expect("not more than there is");
            Size::of_end(&bytes[start..], length)
        }
        other => other,
    };
    match size {
        Size::Exactly(size) => assert_eq!(size, plain.len() as u64),
        Size::AtLeast(size) => assert!(size <= plain.len() as u64),
        Size::NeedsEnd(_) | Size::Unknown => {}
    }
    Some(plain.len())
}

/// Unpacks `bytes` as an archive, with the right checksum in each block that looks like a header: whether it is one, and nothing is
/// left of it. Nothing beside the directory of the tree is touched.
///
/// # Panics
/// When what is done is not as promised.
pub fn archive(bytes: &[u8]) -> bool {
    let mut bytes = bytes.to_vec();
    for block in bytes.as_chunks_mut::<512>().0 {
        if block[257..262] == *b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        }
    }
    let dir = directory();
    let (target, outside) = (dir.join("target"), dir.join("outside"));
    fs::create_dir(&target).expect("memory");
    fs::create_dir(&outside).expect("memory");
    fs::write(outside.join("file"), "content").expect("memory");
    let looks = |path: &Path| -> Metadata { fs::symlink_metadata(path).expect("it is there") };
    let state = || {
        [&dir, &outside, &outside.join("file")].map(|path| {
            let it = looks(path);
            let owner = (it.mode(), it.uid(), it.gid(), it.nlink(), it.len());
            (
                owner,
                it.mtime(),
                it.mtime_nsec(),
                it.ctime(),
                it.ctime_nsec(),
            )
        })
    };
    let before = state();
    let mut tree = Tree::new(File::open(&target).expect("it was made").into());
    let done = tree.take(&mut &bytes[..]).is_ok();
    assert_eq!(state(), before, "something beside the tree has changed");
    let has_some = fs::read_dir(&target).is_ok_and(|mut entries| entries.next().is_some());
    tree.take(&mut io::empty()).expect("nothing is an archive");
    fs::remove_dir(&target).expect("it is empty again");
    fs::remove_file(outside.join("file")).expect("it is there");
    fs::remove_dir(&outside).expect("nothing was made there");
    fs::remove_dir(&dir).expect("nothing was made there");
    if has_some {
        control();
    }
    done
}

/// Reads `bytes` as a disk and changes each of its partitions: of how many, and `None` when it has no table or that cannot be
/// written. The first byte says how: sectors of 4096 bytes, of which 512 stand in `bytes`; whether their size is known; whether the sums
/// of the table are made right before.
///
/// # Panics
/// When what is done is not as promised.
pub fn disk(bytes: &[u8]) -> Option<usize> {
    let (how, blocks) = bytes.split_first()?;
    let sector = if how & 1 == 0 { 512 } else { 4096 };
    let mut disk = Vec::new();
    for block in blocks.chunks(512) {
        disk.extend_from_slice(block);
        disk.resize(disk.len().next_multiple_of(sector), 0);
    }
    if how & 4 != 0 {
        sums(&mut disk, sector);
    }
    let known = (how & 2 != 0).then_some(sector as u64);
    let length = disk.len() as u64;
    let read = |disk: &[u8]| Table::read(&mut Cursor::new(disk), length, known);
    let mut table = read(&disk).ok()?;
    let old: Vec<Partition> = table.partitions().collect();
    let usable = table.usable();
    assert!(usable.start >= 1024 && usable.end <= length, "{usable:?}");
    let inside = |start: u64, end: u64| usable.start <= start && end <= usable.end;
    for partition in &old {
        let extent = partition.extent;
        assert!(extent.is_none_or(|e| e.length > 0 && inside(e.start, e.start + e.length)));
        let change = Change {
            label: Some("root_1".to_owned()),
            kind: PartitionType::parse("root-x86-64", "x86-64"),
            uuid: Some(Uuid([7; 16])),
            flags: Some(partition.flags ^ 1 << 60),
        };
        table
            .change(partition.number, &change)
            .expect("there is such a partition");
    }
    let new: Vec<Partition> = table.partitions().collect();
    let writes = table.writes().ok()?;
    let places =
        |all: &[Partition]| -> Vec<_> { all.iter().map(|p| (p.number, p.extent)).collect() };
    assert_eq!(places(&new), places(&old));
    for (at, run) in writes.iter().flatten() {
        let end = at + run.len() as u64;
        assert!(*at >= 512 && end <= length, "{at} to {end} of {length}");
        assert!(end <= usable.start || *at >= usable.end, "{at} to {end}");
        let at = usize::try_from(*at).expect("it is in memory");
        disk[at..at + run.len()].copy_from_slice(run);
        let now = read(&disk).expect("one copy is always whole");
        let now: Vec<Partition> = now.partitions().collect();
        assert!(now == old || now == new, "{now:?}");
    }
    let table = read(&disk).expect("it was written");
    assert!(table.partitions().eq(new.iter().cloned()) && table.warning().is_none());
    if !new.is_empty() {
        control();
    }
    Some(new.len())
}

/// Makes the sums of both copies of a partition table right, where they are on the disk.
fn sums(disk: &mut [u8], sector: usize) {
    let last = (disk.len() / sector).saturating_sub(1);
    for header in [sector, last * sector] {
        let Some(field) = disk.get(header..header + 92) else {
            continue;
        };
        let number = |at: usize, length: usize| {
            let bytes = field[at..at + length].iter().rev();
            bytes.fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte))
        };
        let start = number(72, 8).checked_mul(sector);
        let end = start.and_then(|start| start.checked_add(number(80, 4).checked_mul(128)?));
        let entries = start.zip(end).and_then(|(from, to)| disk.get(from..to));
        let sum = entries.map_or(0, crc32);
        disk[header + 88..header + 92].copy_from_slice(&sum.to_le_bytes());
        disk[header + 16..header + 20].fill(0);
        let sum = crc32(&disk[header..header + 92]);
        disk[header + 16..header + 20].copy_from_slice(&sum.to_le_bytes());
    }
}

/// The sum of a table (IEEE 802.3), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    })
}

/// A name in memory that nobody else has.
fn name() -> PathBuf {
    let name = format!(
        "tu-fuzz.{}.{:?}",
        std::process::id(),
        std::thread::current().id()
    );
    Path::new("/dev/shm").join(name)
}

/// A new directory.
fn directory() -> PathBuf {
    let name = name();
    let mut tries = (0..1000).map(|number| PathBuf::from(format!("{}.{number}", name.display())));
    // everybody may write there: what has a name already, left over or a link, is not used
    let made = tries.find(|path| fs::create_dir(path).is_ok());
    made.expect("memory")
}

/// A file without a name that holds `bytes`.
fn file(bytes: &[u8]) -> File {
    let path = name();
    // everybody may write there: what has the name already, left over or a link, is not opened
    drop(fs::remove_file(&path));
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .expect("memory");
    fs::remove_file(&path).expect("it was made");
    file.write_all_at(bytes, 0).expect("memory");
    file
}
