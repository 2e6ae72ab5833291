//! Where the data of a file with holes belongs: the forms 1.0 and 0.1 that GNU tar writes into pax archives.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};
use std::ops::Range;

use super::tar::BLOCK;

/// Most pieces of data of one file.
const MOST_PIECES: u64 = 1 << 20;
/// Digits of a number of 64 bits, and the end of its line.
const MOST_LINE: u64 = 21;

/// A file with holes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Map {
    /// Where there is data, in order; the archive has the bytes of one after the other.
    pub(super) pieces: Vec<Range<u64>>,
    /// Bytes of the whole file.
    pub(super) size: u64,
    /// Bytes of it that the archive has.
    pub(super) data: u64,
}

/// The map of a member whose attributes say that it has one. In the form 1.0 it is taken from the start of the content.
///
/// # Errors
/// Those of `content`; `InvalidData` for what is no map.
pub(super) fn read(
    extra: &BTreeMap<Vec<u8>, Vec<u8>>,
    content: &mut dyn BufRead,
) -> io::Result<Map> {
    let get = |key: &str| extra.get(key.as_bytes()).map(Vec::as_slice);
    let (numbers, size) = match (get("GNU.sparse.major"), get("GNU.sparse.map")) {
        (Some(b"1"), None) if get("GNU.sparse.minor") == Some(b"0") => {
            (lines(content)?, get("GNU.sparse.realsize"))
        }
        (None, Some(map)) => {
            let numbers = map.split(|b| *b == b',').map(number);
            (numbers.collect::<io::Result<_>>()?, get("GNU.sparse.size"))
        }
        _ => {
            return Err(bad(
                "it has holes in a form that is not known; GNU tar with --format=pax writes one that is",
            ));
        }
    };
    let size = number(size.unwrap_or_default())?;
    map(&numbers, size).ok_or_else(|| bad("its map of holes contradicts itself"))
}

/// From where each piece begins and how long it is.
fn map(numbers: &[u64], size: u64) -> Option<Map> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    let (mut end, mut data) = (0, 0);
    let mut pieces = Vec::with_capacity(pairs.len());
    for &[start, length] in pairs {
        // in order, and none over another
        if start < end {
            return None;
        }
        end = start.checked_add(length)?;
        data += length;
        pieces.push(start..end);
    }
    (rest.is_empty() && end <= size).then_some(Map { pieces, size, data })
}

/// How many pieces there are, and two numbers of each, with one number a line, to the end of the last block.
fn lines(content: &mut dyn BufRead) -> io::Result<Vec<u64>> {
    let mut taken = 0;
    let mut next = || {
        let mut line = Vec::new();
        taken += (&mut *content)
            .take(MOST_LINE)
            .read_until(b'\n', &mut line)? as u64;
        match line.strip_suffix(b"\n") {
            Some(digits) => number(digits),
            None => Err(bad("its map of holes is cut off")),
        }
    };
    let count = next()?;
    if count > MOST_PIECES {
        return Err(bad("it has too many holes"));
    }
    let numbers = (0..2 * count).map(|_| next()).collect::<io::Result<_>>()?;
    let padding = taken.wrapping_neg() % BLOCK;
    let stepped = io::copy(&mut content.take(padding), &mut io::sink())?;
    match stepped == padding {
        true => Ok(numbers),
        false => Err(bad("its map of holes is cut off")),
    }
}

fn number(digits: &[u8]) -> io::Result<u64> {
    let text = std::str::from_utf8(digits).ok();
    // a sign is none of them
    let text = text.filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
    text.and_then(|t| t.parse().ok())
        .ok_or_else(|| bad("its map of holes has a number that is none"))
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
