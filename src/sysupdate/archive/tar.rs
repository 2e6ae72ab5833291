//! The members of a tar archive: ustar and pax (POSIX.1-2024, pax), with the long names of GNU tar and its
//! files with holes.
//!
//! Read here and not by a crate, since an archive comes from outside: those read a name or an attribute of any length into
//! memory. Here each has a bound.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};

use super::map::{self, Map};
use super::refused;

pub(super) const BLOCK: u64 = 512;
/// Most bytes of a long name, and of all attributes of a member.
const MOST_EXTRA: u64 = 1 << 20;
/// Most bytes of all holes of an archive, which take no room in it: as many as a file of ext4 may have.
const MOST_HOLES: u64 = 16 << 40;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    HardLink,
    Symlink,
    Character,
    Block,
    Directory,
    Fifo,
}

/// A member, without its bytes.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) kind: Kind,
    pub(super) path: Vec<u8>,
    /// Where a link leads.
    pub(super) link: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    /// Of a file with holes; what follows is its data only.
    pub(super) map: Option<Map>,
    /// Seconds since 1970, and nanoseconds.
    pub(super) modified: (i64, u32),
    pub(super) device: (u64, u64),
    /// Extended attributes, and ACLs in their text form, by the keys of pax.
    pub(super) extra: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// An archive that is read from its start.
pub(super) struct Members<'a> {
    from: &'a mut dyn BufRead,
    /// Bytes of the last member that are still to come, and of its padding.
    left: u64,
    padding: u64,
    /// Bytes of the holes until now.
    holes: u64,
    global: BTreeMap<Vec<u8>, Vec<u8>>,
}

fn bad(text: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the archive is damaged: {text}"),
    )
}

impl<'a> Members<'a> {
    pub(super) fn new(from: &'a mut dyn BufRead) -> Members<'a> {
        Members {
            from,
            left: 0,
            padding: 0,
            holes: 0,
            global: BTreeMap::new(),
        }
    }

    /// The bytes of the last member.
    pub(super) fn content(&mut self) -> Content<'_, 'a> {
        Content(self)
    }

    /// The next member; what was not read of the last one is stepped over.
    pub(super) fn next(&mut self) -> io::Result<Option<Member>> {
        let mut extra = self.global.clone();
        let (mut path, mut link) = (None, None);
        loop {
            self.step_over()?;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            self.begin(number(&header[124..136])?);
            match header[156] {
                b'L' => path = Some(self.text()?),
                b'K' => link = Some(self.text()?),
                b'x' => add(&mut extra, self.records()?)?,
                b'g' => {
                    let records = self.records()?;
                    add(&mut self.global, records.clone())?;
                    add(&mut extra, records)?;
                }
                // the name of a volume
                b'V' => {}
                _ => return self.member(&header, path, link, extra).map(Some),
            }
        }
    }

    fn member(
        &mut self,
        header: &[u8; BLOCK as usize],
        path: Option<Vec<u8>>,
        link: Option<Vec<u8>>,
        mut extra: BTreeMap<Vec<u8>, Vec<u8>>,
    ) -> io::Result<Member> {
        let has_map =
            header[156] == b'S' || extra.keys().any(|key| key.starts_with(b"GNU.sparse."));
        // the name of a file with holes is another one for who does not know of these
        let path = extra
            .remove(&b"GNU.sparse.name"[..])
            .or(extra.remove(&b"path"[..]))
            .or(path)
            .unwrap_or_else(|| ustar_path(header));
        let kind = match header[156] {
            // before POSIX a directory was a file with a slash
            0 | b'0' | b'7' if path.ends_with(b"/") => Kind::Directory,
            // GNU tar's own form of holes is told of below
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::Character,
            b'4' => Kind::Block,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            _ => return Err(bad("a member of an unknown kind")),
        };
        if let Some(size) = decimal(&mut extra, b"size")? {
            self.begin(size);
        }
        if kind != Kind::File {
            // its size says something else, if anything
            self.begin(0);
        }
        let map = match has_map {
            true => Some(self.map(&path, kind, &extra)?),
            false => None,
        };
        let mut id = |key: &[u8], field: &[u8]| -> io::Result<u32> {
            let id = match decimal(&mut extra, key)? {
                Some(id) => id,
                None => number(field)?,
            };
            u32::try_from(id).map_err(|_| bad("an owner that cannot be"))
        };
        let (uid, gid) = (
            id(b"uid", &header[108..116])?,
            id(b"gid", &header[116..124])?,
        );
        let modified = match extra.remove(&b"mtime"[..]) {
            Some(text) => time(&text).ok_or_else(|| bad("a time that is none"))?,
            None => (signed(&header[136..148])?, 0),
        };
        Ok(Member {
            kind,
            link: extra
                .remove(&b"linkpath"[..])
                .or(link)
                .unwrap_or_else(|| field(&header[157..257])),
            path,
            mode: (number(&header[100..108])? & 0o7777) as u32,
            uid,
            gid,
            size: map.as_ref().map_or(self.left, |map| map.size),
            map,
            modified,
            device: (number(&header[329..337])?, number(&header[337..345])?),
            extra,
        })
    }

    /// Of the member that begins. Its data is what is left then.
    fn map(
        &mut self,
        path: &[u8],
        kind: Kind,
        extra: &BTreeMap<Vec<u8>, Vec<u8>>,
    ) -> io::Result<Map> {
        if kind != Kind::File {
            return Err(refused(path, "only a file has holes"));
        }
        let map = map::read(extra, &mut self.content()).map_err(|e| match e.kind() {
            io::ErrorKind::InvalidData => refused(path, &e.to_string()),
            _ => e,
        })?;
        if map.data != self.left {
            return Err(refused(path, "its map of holes is one of other data"));
        }
        self.holes = self.holes.saturating_add(map.size - map.data);
        match self.holes > MOST_HOLES {
            true => Err(refused(path, "there are too many holes")),
            false => Ok(map),
        }
    }

    /// `None` at the end.
    fn header(&mut self) -> io::Result<Option<[u8; BLOCK as usize]>> {
        let mut header = [0; BLOCK as usize];
        // an archive may end without a mark
        if self.from.fill_buf()?.is_empty() {
            return Ok(None);
        }
        self.from.read_exact(&mut header)?;
        if header == [0; BLOCK as usize] {
            return Ok(None);
        }
        let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
        let stored: u64 = header[148..156].iter().map(|byte| u64::from(*byte)).sum();
        if number(&header[148..156])? != sum - stored + 8 * u64::from(b' ') {
            return Err(bad("the checksum of a header is wrong"));
        }
        Ok(Some(header))
    }

    fn begin(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK;
    }

    fn step_over(&mut self) -> io::Result<()> {
        let rest = self.left.saturating_add(self.padding);
        (self.left, self.padding) = (0, 0);
        if io::copy(&mut self.from.take(rest), &mut io::sink())? != rest {
            return Err(bad("it is cut off"));
        }
        Ok(())
    }

    /// All of a member that belongs to the next one.
    fn all(&mut self) -> io::Result<Vec<u8>> {
        let size = self.left;
        if size > MOST_EXTRA {
            return Err(bad("a name or attribute is too long"));
        }
        let mut bytes = Vec::new();
        self.content().read_to_end(&mut bytes)?;
        if bytes.len() as u64 != size {
            return Err(bad("it is cut off"));
        }
        Ok(bytes)
    }

    fn text(&mut self) -> io::Result<Vec<u8>> {
        Ok(field(&self.all()?))
    }

    /// Records of pax: `LENGTH KEY=VALUE` and a newline.
    fn records(&mut self) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
        let all = self.all()?;
        let mut rest = &all[..];
        let mut records = BTreeMap::new();
        while !rest.is_empty() {
            let record = record(&mut rest).ok_or_else(|| bad("an attribute that is none"))?;
            records.insert(record.0.to_vec(), record.1.to_vec());
        }
        Ok(records)
    }
}

/// Bytes of a member.
pub(super) struct Content<'m, 'a>(&'m mut Members<'a>);

impl Read for Content<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let length = bytes.len().min(buf.len());
        buf[..length].copy_from_slice(&bytes[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Content<'_, '_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.0.left == 0 {
            return Ok(&[]);
        }
        let bytes = self.0.from.fill_buf()?;
        let most = usize::try_from(self.0.left).unwrap_or(usize::MAX);
        Ok(&bytes[..bytes.len().min(most)])
    }

    fn consume(&mut self, amount: usize) {
        self.0.left -= amount as u64;
        self.0.from.consume(amount);
    }
}

fn record<'r>(rest: &mut &'r [u8]) -> Option<(&'r [u8], &'r [u8])> {
    let blank = rest.iter().position(|b| *b == b' ')?;
    let length: usize = std::str::from_utf8(&rest[..blank]).ok()?.parse().ok()?;
    let record = rest.get(blank + 1..length)?.strip_suffix(b"\n")?;
    *rest = &rest[length..];
    let equals = record.iter().position(|b| *b == b'=')?;
    Some((&record[..equals], &record[equals + 1..]))
}

/// Adds attributes to others, of which there are few enough before.
fn add(known: &mut BTreeMap<Vec<u8>, Vec<u8>>, new: BTreeMap<Vec<u8>, Vec<u8>>) -> io::Result<()> {
    known.extend(new);
    let bytes: usize = known
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    match bytes as u64 > MOST_EXTRA {
        true => Err(bad("there are too many attributes")),
        false => Ok(()),
    }
}

/// Up to the first NUL.
fn field(bytes: &[u8]) -> Vec<u8> {
    bytes.split(|b| *b == 0).next().unwrap_or_default().to_vec()
}

fn ustar_path(header: &[u8; BLOCK as usize]) -> Vec<u8> {
    let name = field(&header[..100]);
    // GNU tar has other things there, and another magic
    let prefix = match &header[257..263] {
        b"ustar\0" => field(&header[345..500]),
        _ => Vec::new(),
    };
    if prefix.is_empty() {
        return name;
    }
    [prefix, name].join(&b'/')
}

/// In octal digits, or in binary where the first bit says so, as GNU tar has it.
fn number(field: &[u8]) -> io::Result<u64> {
    let wrong = || bad("a number that is none");
    if let [first, rest @ ..] = field
        && first & 0x80 != 0
    {
        // only a time may be negative
        let start = u64::from(first & 0x3f);
        let fold = |sum: u64, byte: &u8| Some(sum.checked_mul(256)? | u64::from(*byte));
        return rest
            .iter()
            .try_fold(start, fold)
            .filter(|_| first & 0x40 == 0)
            .ok_or_else(wrong);
    }
    let text = std::str::from_utf8(field).map_err(|_| wrong())?;
    match text.trim_matches([' ', '\0']) {
        "" => Ok(0),
        digits => u64::from_str_radix(digits, 8).map_err(|_| wrong()),
    }
}

/// As [`number`], or a negative one in binary: of a time before 1970.
fn signed(field: &[u8]) -> io::Result<i64> {
    if let Some((sign, low)) = field.split_last_chunk::<8>()
        && sign.first() == Some(&0xff)
    {
        let number = i64::from_be_bytes(*low);
        let is_whole = number < 0 && sign.iter().all(|byte| *byte == 0xff);
        return is_whole
            .then_some(number)
            .ok_or_else(|| bad("a time that is none"));
    }
    Ok(i64::try_from(number(field)?).unwrap_or(0))
}

fn decimal(extra: &mut BTreeMap<Vec<u8>, Vec<u8>>, key: &[u8]) -> io::Result<Option<u64>> {
    let Some(text) = extra.remove(key) else {
        return Ok(None);
    };
    let number = std::str::from_utf8(&text).ok().and_then(|t| t.parse().ok());
    number.map(Some).ok_or_else(|| bad("a number that is none"))
}

fn time(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let nanos: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let (whole, nanos): (i64, u32) = (seconds.parse().ok()?, nanos.parse().ok()?);
    // the fraction of a negative one goes downwards, that of the kernel upwards
    match seconds.starts_with('-') && nanos > 0 {
        true => Some((whole.checked_sub(1)?, 1_000_000_000 - nanos)),
        false => Some((whole, nanos)),
    }
}
