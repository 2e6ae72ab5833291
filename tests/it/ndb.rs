//! Databases of RPM in its format ndb, written for tests by what the format is, with nothing of the program's reader: so that
//! the two cannot be wrong in the same way, and where rpm itself writes no ndb.
//!
//! Integers of the file are little endian, those of a header big endian. A header has its tags in a region, as it came in the
//! package, and behind it what rpm adds at the installation.

use std::fs;
use std::path::Path;

/// A package, to be written into a database.
#[derive(Clone)]
pub(crate) struct Package {
    name: String,
    version: String,
    /// When it was installed, and in which transaction.
    time: u32,
    transaction: Option<u32>,
    files: Vec<File>,
}

#[derive(Clone)]
struct File {
    path: Vec<u8>,
    mode: u16,
    user: String,
    group: String,
    flags: u32,
    state: u8,
}

impl Package {
    pub(crate) fn new(name: &str) -> Package {
        Package {
            name: name.to_owned(),
            version: "1".to_owned(),
            time: 1_700_000_000,
            transaction: None,
            files: Vec::new(),
        }
    }

    pub(crate) fn version(mut self, version: &str) -> Package {
        version.clone_into(&mut self.version);
        self
    }

    pub(crate) fn installed_at(mut self, time: u32) -> Package {
        self.time = time;
        self
    }

    pub(crate) fn transaction(mut self, transaction: u32) -> Package {
        self.transaction = Some(transaction);
        self
    }

    /// A directory of root's.
    pub(crate) fn dir(self, path: &str, mode: u16) -> Package {
        self.owned(path, mode, "root", "root")
    }

    pub(crate) fn owned(
        mut self,
        path: impl AsRef<[u8]>,
        mode: u16,
        user: &str,
        group: &str,
    ) -> Package {
        self.files.push(File {
            path: path.as_ref().to_vec(),
            mode: 0o040_000 | mode,
            user: user.to_owned(),
            group: group.to_owned(),
            flags: 0,
            state: 0,
        });
        self
    }

    /// The last directory is one that the package owns only when it is there (%ghost).
    pub(crate) fn ghost(mut self) -> Package {
        self.files.last_mut().unwrap().flags = 64;
        self
    }

    /// What rpm did with the last directory: 1 replaced, 2 not installed, 3 net shared, 4 wrong colour.
    pub(crate) fn state(mut self, state: u8) -> Package {
        self.files.last_mut().unwrap().state = state;
        self
    }

    /// Its header, as a database holds it.
    pub(crate) fn header(&self) -> Vec<u8> {
        let mut region = vec![
            string(1000, &self.name),
            string(1001, &self.version),
            string(1002, "1"),
            string(1022, "noarch"),
        ];
        let mut behind = vec![numbers(1008, &[self.time])];
        if !self.files.is_empty() {
            let column = |f: fn(&File) -> u32| self.files.iter().map(f).collect::<Vec<_>>();
            let words =
                |f: fn(&File) -> &[u8]| self.files.iter().flat_map(|x| z(f(x))).collect::<Vec<_>>();
            let count = self.files.len();
            let places: Vec<u32> = (0u32..).take(count).collect();
            let modes = self.files.iter().flat_map(|f| f.mode.to_be_bytes());
            region.extend([
                (1030, 3, count, modes.collect()),
                numbers(1037, &column(|f| f.flags)),
                (1039, 8, count, words(|f| f.user.as_bytes())),
                (1040, 8, count, words(|f| f.group.as_bytes())),
                numbers(1116, &places),
                (1117, 8, count, words(|f| split(&f.path).1)),
                (1118, 8, count, words(|f| split(&f.path).0)),
            ]);
            let states = self.files.iter().map(|f| f.state).collect();
            behind.push((1029, 1, count, states));
        }
        behind.extend(self.transaction.map(|t| numbers(1128, &[t])));
        assemble(region, behind)
    }
}

/// A tag, its type, how many values, and these.
type Tag = (u32, u32, usize, Vec<u8>);

fn z(bytes: &[u8]) -> Vec<u8> {
    [bytes, &[0]].concat()
}

fn string(tag: u32, value: &str) -> Tag {
    (tag, 6, 1, z(value.as_bytes()))
}

fn numbers(tag: u32, values: &[u32]) -> Tag {
    let bytes = values.iter().flat_map(|v| v.to_be_bytes());
    (tag, 4, values.len(), bytes.collect())
}

/// The directory with its `/`, and the name in it.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    path.split_at(path.iter().rposition(|b| *b == b'/').unwrap() + 1)
}

fn word(n: usize) -> u32 {
    u32::try_from(n).unwrap()
}

fn entry(tag: u32, kind: u32, offset: u32, count: usize) -> Vec<u8> {
    [tag, kind, offset, word(count)]
        .iter()
        .flat_map(|v| v.to_be_bytes())
        .collect()
}

fn assemble(region: Vec<Tag>, behind: Vec<Tag>) -> Vec<u8> {
    let (mut index, mut data) = (Vec::new(), Vec::new());
    let put = |index: &mut Vec<u8>, data: &mut Vec<u8>, (tag, kind, count, bytes): Tag| {
        // integers of 16 and 32 bits
        let align = match kind {
            3 => 2,
            4 => 4,
            _ => 1,
        };
        data.resize(data.len().next_multiple_of(align), 0);
        index.extend(entry(tag, kind, word(data.len()), count));
        data.extend(bytes);
    };
    let inside = region.len() + 1;
    for tag in region {
        put(&mut index, &mut data, tag);
    }
    // the region's own entry stands first and leads to its end, which says how many entries it has
    let head = entry(63, 7, word(data.len()), 16);
    data.extend(entry(63, 7, (16 * word(inside)).wrapping_neg(), 16));
    for tag in behind {
        put(&mut index, &mut data, tag);
    }
    let entries = index.len() / 16 + 1;
    let counts = [word(entries), word(data.len())].map(u32::to_be_bytes);
    [counts.concat(), head, index, data].concat()
}

fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    b << 16 | a
}

fn little(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// A whole Packages.db with these headers, as rpm writes it when one after the other is added to an empty database.
pub(crate) fn file(headers: &[Vec<u8>]) -> Vec<u8> {
    // the head takes the place of two slots, a page has 256
    let pages = (headers.len() + 2).div_ceil(256);
    let next = word(headers.len()) + 1;
    let mut slots = [b"RpmP".to_vec(), little(&[0, next, word(pages), next])].concat();
    slots.resize(32, 0);
    let mut blobs = Vec::new();
    for (number, header) in (1u32..).zip(headers) {
        let begin = pages * 4096 + blobs.len();
        let blocks = (16 + header.len() + 12).div_ceil(16);
        let length = word(header.len());
        let mut blob = [
            b"BlbS".to_vec(),
            little(&[number, number, length]),
            header.clone(),
        ]
        .concat();
        blob.resize(blocks * 16 - 12, 0);
        let tail = little(&[adler32(&blob), length]);
        blobs.extend([blob, tail, b"BlbE".to_vec()].concat());
        slots.extend(b"Slot");
        slots.extend(little(&[number, word(begin / 16), word(blocks)]));
    }
    while slots.len() < pages * 4096 {
        slots.extend(b"Slot\0\0\0\0\0\0\0\0\0\0\0\0");
    }
    [slots, blobs].concat()
}

/// Writes a database with these packages into `dir`, which is made.
pub(crate) fn write(dir: &Path, packages: &[Package]) {
    fs::create_dir_all(dir).unwrap();
    let headers: Vec<_> = packages.iter().map(Package::header).collect();
    fs::write(dir.join("Packages.db"), file(&headers)).unwrap();
}

/// The headers of a database of fewer than 255 packages that rpm has made, which is trusted.
fn headers(file: &[u8]) -> Vec<Vec<u8>> {
    let number = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let blobs = (2..256).map(|slot| number(slot * 16 + 8) * 16);
    blobs
        .filter(|at| *at != 0)
        .map(|at| file[at + 16..at + 16 + number(at + 12)].to_vec())
        .collect()
}

#[test]
fn what_tests_write_as_ndb_is_what_rpm_writes_byte_by_byte() {
    for name in ["few", "edge"] {
        let path = format!("tests/data/rpmdb/{name}/ndb/Packages.db");
        let made = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        let headers = headers(&made);
        assert!(headers.len() >= 9, "{}", headers.len());
        assert!(file(&headers) == made, "{name}");
    }
}
