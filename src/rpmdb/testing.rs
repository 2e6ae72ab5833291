//! Writers of headers and of ndb databases, for tests: they share no code with the readers.

use sha2::{Digest, Sha256};

use crate::sys::hex::to_hex;

/// A tag with its type, the number of its values, and its data.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) tag: u32,
    pub(super) kind: u32,
    pub(super) count: u32,
    pub(super) data: Vec<u8>,
}

fn value(tag: u32, kind: u32, count: usize, data: Vec<u8>) -> Value {
    let count = u32::try_from(count).unwrap();
    Value {
        tag,
        kind,
        count,
        data,
    }
}

pub(super) fn string(tag: u32, text: &str) -> Value {
    value(tag, 6, 1, [text.as_bytes(), b"\0"].concat())
}

pub(super) fn strings<S: AsRef<[u8]>>(tag: u32, texts: &[S]) -> Value {
    let data = texts.iter().flat_map(|t| [t.as_ref(), b"\0"].concat());
    value(tag, 8, texts.len(), data.collect())
}

pub(super) fn u32s(tag: u32, numbers: &[u32]) -> Value {
    let data = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
    value(tag, 4, numbers.len(), data)
}

pub(super) fn u16s(tag: u32, numbers: &[u16]) -> Value {
    let data = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
    value(tag, 3, numbers.len(), data)
}

pub(super) fn u64(tag: u32, number: u64) -> Value {
    value(tag, 5, 1, number.to_be_bytes().to_vec())
}

pub(super) fn chars(tag: u32, bytes: &[u8]) -> Value {
    value(tag, 1, bytes.len(), bytes.to_vec())
}

fn put(values: &[Value], index: &mut Vec<u8>, data: &mut Vec<u8>) {
    for v in values {
        let align = [1, 1, 1, 2, 4, 8]
            .get(v.kind as usize)
            .copied()
            .unwrap_or(1);
        data.resize(data.len().next_multiple_of(align), 0);
        let offset = u32::try_from(data.len()).unwrap();
        for word in [v.tag, v.kind, offset, v.count] {
            index.extend(word.to_be_bytes());
        }
        data.extend(&v.data);
    }
}

fn lengths(index: &[u8], data: &[u8]) -> [u8; 8] {
    let lengths = [index.len() / 16, data.len()].map(|n| u32::try_from(n).unwrap().to_be_bytes());
    lengths.concat().try_into().unwrap()
}

/// A header with an immutable region of `values`, its digest, and what rpm added at installation.
pub(super) fn header(values: &[Value], late: &[Value]) -> Vec<u8> {
    let (mut index, mut data) = (Vec::new(), Vec::new());
    put(values, &mut index, &mut data);
    let back = -16 * i32::try_from(values.len() + 1).unwrap();
    let mut region = Vec::new();
    let trailer = [63, 7, back, 16].map(i32::to_be_bytes).concat();
    put(&[value(63, 7, 16, trailer)], &mut region, &mut data);
    index.splice(0..0, region);
    let magic = [0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
    let whole = [&magic[..], &lengths(&index, &data), &index, &data].concat();
    let digest = string(273, &to_hex(&Sha256::digest(whole)));
    put(&[digest], &mut index, &mut data);
    put(late, &mut index, &mut data);
    [&lengths(&index, &data)[..], &index, &data].concat()
}

/// A file of a package.
#[derive(Debug, Clone)]
pub(super) struct File<'a> {
    pub(super) dir: &'a [u8],
    pub(super) name: &'a [u8],
    pub(super) mode: u16,
    pub(super) user: &'a str,
    pub(super) group: &'a str,
    pub(super) flags: u32,
    pub(super) state: u8,
}

/// A directory of root, 0755.
pub(super) fn dir<'a>(dir: &'a str, name: &'a str) -> File<'a> {
    File {
        dir: dir.as_bytes(),
        name: name.as_bytes(),
        mode: 0o40755,
        user: "root",
        group: "root",
        flags: 0,
        state: 0,
    }
}

/// Name and version.
pub(super) fn identity(name: &str) -> Vec<Value> {
    vec![
        string(1000, name),
        string(1001, "1"),
        string(1002, "2"),
        string(1022, "noarch"),
    ]
}

/// What says which files there are; a directory may be named more than once.
pub(super) fn files(files: &[File<'_>]) -> Vec<Value> {
    let column = |f: fn(&File<'_>) -> u32| files.iter().map(f).collect::<Vec<_>>();
    let modes: Vec<u16> = files.iter().map(|f| f.mode).collect();
    let indexes: Vec<u32> = (0..).take(files.len()).collect();
    let texts = |f: for<'f> fn(&'f File<'_>) -> &'f [u8]| {
        files.iter().map(|x| f(x).to_vec()).collect::<Vec<_>>()
    };
    vec![
        u16s(1030, &modes),
        u32s(1037, &column(|f| f.flags)),
        strings(1039, &texts(|f| f.user.as_bytes())),
        strings(1040, &texts(|f| f.group.as_bytes())),
        u32s(1116, &indexes),
        strings(1117, &texts(|f| f.name)),
        strings(1118, &texts(|f| f.dir)),
    ]
}

/// The header of an installed package.
pub(super) fn package(name: &str, owned: &[File<'_>]) -> Vec<u8> {
    let states: Vec<u8> = owned.iter().map(|f| f.state).collect();
    let late = [u32s(1008, &[1_700_000_000]), chars(1029, &states)];
    match owned {
        [] => header(&identity(name), &late[..1]),
        _ => header(&[identity(name), files(owned)].concat(), &late),
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// The blob of package number `number`, padded.
pub(super) fn blob(number: u32, header: &[u8]) -> Vec<u8> {
    let length = u32::try_from(header.len()).unwrap();
    let mut blob = [b"BlbS", &words(&[number, 1, length])[..], header].concat();
    blob.resize((blob.len() + 12).next_multiple_of(16) - 12, 0);
    let (a, b) = blob.iter().fold((1, 0), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65521;
        (a, (b + a) % 65521)
    });
    blob.extend(words(&[b << 16 | a, length]));
    blob.extend(b"BlbE");
    blob
}

/// A database with one page of slots: the packages 1, 2, ... in the order of the file.
pub(super) fn ndb(headers: &[Vec<u8>]) -> Vec<u8> {
    let next = u32::try_from(headers.len()).unwrap() + 1;
    let mut slots = [&b"RpmP"[..], &words(&[0, 7, 1, next, 0, 0, 0])].concat();
    let mut blobs = Vec::new();
    for (number, header) in (1..).zip(headers) {
        let blob = blob(number, header);
        let blocks = [4096 + blobs.len(), blob.len()].map(|n| u32::try_from(n / 16).unwrap());
        slots.extend(b"Slot");
        slots.extend(words(&[number, blocks[0], blocks[1]]));
        blobs.extend(blob);
    }
    while slots.len() < 4096 {
        slots.extend(b"Slot");
        slots.extend([0; 12]);
    }
    [slots, blobs].concat()
}
