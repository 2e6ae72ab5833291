//! A package's header, as the database stores it: an index of tags and their data, big endian.
//!
//! Layout: number of index entries (4 bytes), bytes of data (4), the entries (16 bytes each: tag, type, offset, count),
//! the data. The first entry spans the immutable region: the header as the package brought it. What rpm added at
//! installation stands behind it, and overrides entries of the same tag in the region.
//!
//! Every byte is taken as hostile: the index is checked once, before anything is handed out; an array of strings as it is
//! walked. Nothing is allocated for finding a tag.

use std::fmt;

use super::fingerprint::sha256;
use super::model::{InstalledPackage, Nevra};

/// Number of a tag (rpmtag.h of rpm).
pub(super) type Tag = u32;

/// The tags that are read.
pub(super) mod tag {
    use super::Tag;

    pub(in crate::rpmdb) const SHA1HEADER: Tag = 269;
    pub(in crate::rpmdb) const SHA256HEADER: Tag = 273;
    pub(in crate::rpmdb) const SHA3_256HEADER: Tag = 279;
    pub(in crate::rpmdb) const NAME: Tag = 1000;
    pub(in crate::rpmdb) const VERSION: Tag = 1001;
    pub(in crate::rpmdb) const RELEASE: Tag = 1002;
    pub(in crate::rpmdb) const EPOCH: Tag = 1003;
    pub(in crate::rpmdb) const INSTALLTIME: Tag = 1008;
    pub(in crate::rpmdb) const SIZE: Tag = 1009;
    pub(in crate::rpmdb) const VENDOR: Tag = 1011;
    pub(in crate::rpmdb) const ARCH: Tag = 1022;
    pub(in crate::rpmdb) const OLDFILENAMES: Tag = 1027;
    pub(in crate::rpmdb) const FILESTATES: Tag = 1029;
    pub(in crate::rpmdb) const FILEMODES: Tag = 1030;
    pub(in crate::rpmdb) const FILEFLAGS: Tag = 1037;
    pub(in crate::rpmdb) const FILEUSERNAME: Tag = 1039;
    pub(in crate::rpmdb) const FILEGROUPNAME: Tag = 1040;
    pub(in crate::rpmdb) const CHANGELOGTIME: Tag = 1080;
    pub(in crate::rpmdb) const CHANGELOGNAME: Tag = 1081;
    pub(in crate::rpmdb) const CHANGELOGTEXT: Tag = 1082;
    pub(in crate::rpmdb) const DIRINDEXES: Tag = 1116;
    pub(in crate::rpmdb) const BASENAMES: Tag = 1117;
    pub(in crate::rpmdb) const DIRNAMES: Tag = 1118;
    pub(in crate::rpmdb) const INSTALLTID: Tag = 1128;
    pub(in crate::rpmdb) const LONGSIZE: Tag = 5009;
}

/// Type of an entry's data.
mod kind {
    pub(super) const CHAR: u32 = 1;
    pub(super) const INT8: u32 = 2;
    pub(super) const INT16: u32 = 3;
    pub(super) const INT32: u32 = 4;
    pub(super) const INT64: u32 = 5;
    pub(super) const STRING: u32 = 6;
    pub(super) const BIN: u32 = 7;
    pub(super) const STRING_ARRAY: u32 = 8;
    pub(super) const I18N: u32 = 9;
}

const INTRO: usize = 8;
const ENTRY: usize = 16;
const MOST_ENTRIES: u32 = 0xffff;
const MOST_DATA: u32 = 0x0fff_ffff;
const MOST_BYTES: usize = 256 << 20;
/// Bytes that a name, a version or a vendor may have. A header can point at the same megabytes for each of them.
const MOST_TEXT: usize = 4096;
/// Tags that stand for a region: of signatures, of the package, and what old packages call it.
const REGIONS: std::ops::RangeInclusive<u32> = 61..=63;
/// What the digest of a header covers before its own bytes.
const MAGIC: [u8; 8] = [0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0];
/// The name of the packages that stand for keys. They have no files, and those that an old rpm made no region.
const KEY: &[u8] = b"gpg-pubkey";

/// What is wrong with a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damage(String);

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The error that says `why`.
pub(super) fn damage<T>(why: impl fmt::Display) -> Result<T, Damage> {
    Err(Damage(why.to_string()))
}

/// An index entry.
#[derive(Debug, Clone, Copy)]
struct Entry {
    tag: Tag,
    kind: u32,
    offset: u32,
    count: u32,
}

impl Entry {
    fn of(bytes: &[u8; ENTRY]) -> Entry {
        let word = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Entry {
            tag: word(0),
            kind: word(4),
            offset: word(8),
            count: word(12),
        }
    }

    /// Checks the type, that there is something, and that it lies inside `data` bytes. How long strings are is not known yet:
    /// each takes at least the byte that ends it.
    fn check(self, data: u32) -> Result<(), Damage> {
        let size = match self.kind {
            0 => 0,
            kind::INT16 => 2,
            kind::INT32 => 4,
            kind::INT64 => 8,
            kind::CHAR
            | kind::INT8
            | kind::BIN
            | kind::STRING
            | kind::STRING_ARRAY
            | kind::I18N => 1,
            other => {
                return damage(format_args!(
                    "tag {} has the unknown type {other}",
                    self.tag
                ));
            }
        };
        let end = u64::from(self.count) * size + u64::from(self.offset);
        if self.count == 0 || self.offset >= data || end > u64::from(data) {
            return damage(format_args!(
                "tag {}: {} values at offset {} are not inside the {data} bytes of data",
                self.tag, self.count, self.offset
            ));
        }
        if size > 1 && u64::from(self.offset) % size != 0 {
            return damage(format_args!(
                "tag {} is misaligned at offset {}",
                self.tag, self.offset
            ));
        }
        Ok(())
    }
}

/// The header as the package brought it: the first entries, and the first bytes of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Region {
    entries: u32,
    data: u32,
}

/// A header. Borrows its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header<'a> {
    index: &'a [[u8; ENTRY]],
    data: &'a [u8],
    region: Region,
}

impl<'a> Header<'a> {
    /// The header that `blob` is, its index checked.
    ///
    /// # Errors
    /// When it is larger than rpm allows, its lengths do not fit, it has not exactly one immutable region, or an entry has an
    /// unknown type, no values, values outside of the data, or misaligned ones.
    pub(super) fn parse(blob: &'a [u8]) -> Result<Header<'a>, Damage> {
        let Some((intro, rest)) = blob.split_first_chunk::<INTRO>() else {
            return damage(format_args!("{} bytes are no header", blob.len()));
        };
        let [a, b, c, d, e, f, g, h] = *intro;
        let (entries, length) = (
            u32::from_be_bytes([a, b, c, d]),
            u32::from_be_bytes([e, f, g, h]),
        );
        if entries == 0 || entries > MOST_ENTRIES || length > MOST_DATA || blob.len() >= MOST_BYTES
        {
            return damage(format_args!(
                "a header with {entries} entries and {length} bytes of data cannot be"
            ));
        }
        let index_bytes = entries as usize * ENTRY;
        if rest.len() != index_bytes + length as usize {
            return damage(format_args!(
                "a header with {entries} entries and {length} bytes of data does not take {} bytes",
                blob.len()
            ));
        }
        let (index, data) = rest.split_at(index_bytes);
        let (index, _) = index.as_chunks::<ENTRY>();
        let mut header = Header {
            index,
            data,
            region: Region {
                entries,
                data: length,
            },
        };
        let first = Entry::of(&index[0]);
        let has_region = REGIONS.contains(&first.tag);
        if has_region {
            header.region = header.find_region(first)?;
        }
        for (at, bytes) in index.iter().enumerate().skip(usize::from(has_region)) {
            let entry = Entry::of(bytes);
            if REGIONS.contains(&entry.tag) {
                return damage("it has a second region, or one that does not come first");
            }
            let in_region = at < header.region.entries as usize;
            entry.check(if in_region {
                header.region.data
            } else {
                length
            })?;
        }
        if !has_region && header.string(tag::NAME)? != Some(KEY) {
            return damage("it has no immutable region");
        }
        Ok(header)
    }

    /// The region that the entry `first` stands for. Its trailer, the last 16 bytes of its data, has the form of an entry and
    /// tells by a negative offset how far back its index reaches.
    fn find_region(&self, first: Entry) -> Result<Region, Damage> {
        let (kind, count) = (first.kind, first.count);
        if kind != kind::BIN || count as usize != ENTRY {
            return damage("the entry of its region is none");
        }
        let from = first.offset as usize;
        let Some(trailer) = self.data.get(from..).and_then(<[u8]>::first_chunk) else {
            return damage("the trailer of its region lies outside of the data");
        };
        let trailer = Entry::of(trailer);
        let index = trailer.offset.wrapping_neg();
        let entries = index / ENTRY as u32;
        if trailer.tag != first.tag
            || trailer.kind != kind
            || trailer.count != count
            || !index.is_multiple_of(ENTRY as u32)
            || entries == 0
            || entries as usize > self.index.len()
        {
            return damage("the trailer of its region is none");
        }
        Ok(Region {
            entries,
            data: first.offset + ENTRY as u32,
        })
    }

    /// The entry of a tag: of several the last, which rpm added.
    fn find(&self, tag: Tag) -> Option<Entry> {
        let mut entries = self.index.iter().rev().map(Entry::of);
        entries.find(|entry| entry.tag == tag)
    }

    /// The data of a tag that has one of these types, from its beginning to the end of all data.
    fn data_of(&self, tag: Tag, kinds: &[u32]) -> Result<Option<(&'a [u8], u32)>, Damage> {
        let Some(entry) = self.find(tag) else {
            return Ok(None);
        };
        if !kinds.contains(&entry.kind) {
            return damage(format_args!("tag {tag} has the wrong type {}", entry.kind));
        }
        // checked by `parse`: the offset is inside
        let data = self.data.get(entry.offset as usize..).unwrap_or_default();
        Ok(Some((data, entry.count)))
    }

    /// The value of a tag with one string; of a translated one the first.
    ///
    /// # Errors
    /// When the tag is something else, or the string has no end.
    pub(super) fn string(&self, tag: Tag) -> Result<Option<&'a [u8]>, Damage> {
        let Some((data, _)) = self.data_of(tag, &[kind::STRING, kind::I18N])? else {
            return Ok(None);
        };
        string_at(data, tag).map(Some)
    }

    /// The values of a tag with an array of strings; none when there is no such tag.
    ///
    /// # Errors
    /// When the tag is something else.
    pub(super) fn strings(&self, tag: Tag) -> Result<Strings<'a>, Damage> {
        let found = self.data_of(tag, &[kind::STRING_ARRAY, kind::I18N])?;
        let (data, left) = found.unwrap_or_default();
        Ok(Strings { tag, data, left })
    }

    /// The values of a tag with 32-bit numbers; none when there is no such tag.
    ///
    /// # Errors
    /// When the tag is something else.
    pub(super) fn u32s(&self, tag: Tag) -> Result<Numbers<'a, 4>, Damage> {
        self.numbers(tag, &[kind::INT32])
    }

    /// The values of a tag with 16-bit numbers, as [`Header::u32s`].
    ///
    /// # Errors
    /// As there.
    pub(super) fn u16s(&self, tag: Tag) -> Result<Numbers<'a, 2>, Damage> {
        self.numbers(tag, &[kind::INT16])
    }

    /// The values of a tag with one byte each, as [`Header::u32s`].
    ///
    /// # Errors
    /// As there.
    pub(super) fn bytes(&self, tag: Tag) -> Result<Numbers<'a, 1>, Damage> {
        self.numbers(tag, &[kind::CHAR, kind::INT8])
    }

    fn numbers<const N: usize>(&self, tag: Tag, kinds: &[u32]) -> Result<Numbers<'a, N>, Damage> {
        let (data, count) = self.data_of(tag, kinds)?.unwrap_or_default();
        let (chunks, _) = data.as_chunks::<N>();
        // checked by `parse`: so many are inside
        Ok(Numbers(chunks.get(..count as usize).unwrap_or_default()))
    }

    /// The only, or first, value of a tag with 32-bit numbers.
    ///
    /// # Errors
    /// As [`Header::u32s`].
    pub(super) fn u32(&self, tag: Tag) -> Result<Option<u32>, Damage> {
        Ok(self.u32s(tag)?.get(0))
    }

    /// A string that is kept, as text; `None` when there is no such tag, or nothing in it.
    fn text(&self, tag: Tag) -> Result<Option<String>, Damage> {
        match self.string(tag)? {
            Some(long) if long.len() > MOST_TEXT => damage(format_args!(
                "tag {tag} has {} bytes, which cannot be",
                long.len()
            )),
            found => Ok(found.filter(|s| !s.is_empty()).map(text)),
        }
    }

    /// Name, version, release, epoch and architecture. A key has no architecture.
    ///
    /// # Errors
    /// When one of the first three is missing, or one is damaged.
    pub(super) fn nevra(&self) -> Result<Nevra, Damage> {
        let needed = |tag| match self.text(tag)? {
            Some(value) => Ok(value),
            None => damage(format_args!("tag {tag} is missing or empty")),
        };
        Ok(Nevra {
            name: needed(tag::NAME)?,
            epoch: self.u32(tag::EPOCH)?,
            version: needed(tag::VERSION)?,
            release: needed(tag::RELEASE)?,
            arch: self.text(tag::ARCH)?.unwrap_or_default(),
        })
    }

    /// What is known of the installed package.
    ///
    /// # Errors
    /// As [`Header::nevra`].
    pub(super) fn package(&self) -> Result<InstalledPackage, Damage> {
        let long = self.numbers::<8>(tag::LONGSIZE, &[kind::INT64])?.get(0);
        let size = match long {
            Some(size) => size,
            None => self.u32(tag::SIZE)?.unwrap_or(0).into(),
        };
        Ok(InstalledPackage {
            nevra: self.nevra()?,
            identity: self.identity()?,
            install_time: self.u32(tag::INSTALLTIME)?.unwrap_or(0),
            transaction: self.u32(tag::INSTALLTID)?,
            vendor: self.text(tag::VENDOR)?,
            size,
        })
    }

    /// What tells this build of the package from every other: the digest that it brought, else one of its region.
    ///
    /// # Errors
    /// When the tag of a digest is no string.
    fn identity(&self) -> Result<String, Damage> {
        for tag in [tag::SHA256HEADER, tag::SHA3_256HEADER, tag::SHA1HEADER] {
            if let Some(digest) = self.text(tag)? {
                return Ok(digest);
            }
        }
        Ok(self.digest())
    }

    /// Compares the digest that the package brought with its region. A key may have none.
    ///
    /// # Errors
    /// When they differ, or there is no such digest.
    pub(super) fn verify(&self) -> Result<(), Damage> {
        match self.string(tag::SHA256HEADER)? {
            Some(digest) if digest == self.digest().as_bytes() => Ok(()),
            Some(_) => damage("its SHA-256 digest is another one: the header was changed"),
            None if self.string(tag::NAME)? == Some(KEY) => Ok(()),
            None => damage("it has no SHA-256 digest to compare with"),
        }
    }

    /// SHA-256 of the immutable region as the package had it, in hexadecimal.
    fn digest(&self) -> String {
        let Region { entries, data } = self.region;
        let index = self.index.get(..entries as usize).unwrap_or_default();
        sha256(&[
            &MAGIC,
            &entries.to_be_bytes(),
            &data.to_be_bytes(),
            index.as_flattened(),
            self.data.get(..data as usize).unwrap_or_default(),
        ])
    }
}

/// The string that `data` begins with.
fn string_at(data: &[u8], tag: Tag) -> Result<&[u8], Damage> {
    match find_nul(data).and_then(|end| data.get(..end)) {
        Some(string) => Ok(string),
        None => damage(format_args!("a string of tag {tag} has no end")),
    }
}

/// Where the first NUL is, eight bytes at a time: most strings are so short that a search made for long ones costs more, and
/// this is most of the work of a scan.
fn find_nul(data: &[u8]) -> Option<usize> {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let (words, rest) = data.as_chunks::<8>();
    for (at, bytes) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*bytes);
        // the lowest bit that is set marks the first byte that is 0
        let zeros = word.wrapping_sub(LOW) & !word & HIGH;
        if zeros != 0 {
            return Some(at * 8 + (zeros.trailing_zeros() / 8) as usize);
        }
    }
    let at = rest.iter().position(|b| *b == 0)?;
    Some(words.len() * 8 + at)
}

/// `bytes` as text. What is no UTF-8, or would be no text on a terminal, is escaped.
pub(super) fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(char::is_control) => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}

/// An array of strings. Each is checked when its turn comes.
#[derive(Debug, Clone)]
pub(super) struct Strings<'a> {
    tag: Tag,
    data: &'a [u8],
    left: u32,
}

impl Strings<'_> {
    /// How many the index says that there are left.
    pub(super) fn len(&self) -> usize {
        self.left as usize
    }
}

impl<'a> Iterator for Strings<'a> {
    type Item = Result<&'a [u8], Damage>;

    /// The next string, without the NUL at its end; an error, and then nothing more, when it has none.
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let string = string_at(self.data, self.tag);
        match &string {
            Ok(s) => self.data = self.data.get(s.len() + 1..).unwrap_or_default(),
            Err(_) => self.left = 0,
        }
        Some(string)
    }
}

/// An array of numbers of `N` bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers<'a, const N: usize>(&'a [[u8; N]]);

impl<const N: usize> Numbers<'_, N> {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

macro_rules! numbers {
    ($size:literal, $number:ty) => {
        impl Numbers<'_, $size> {
            /// The value at a place, when there are so many.
            pub(super) fn get(&self, at: usize) -> Option<$number> {
                self.0.get(at).map(|b| <$number>::from_be_bytes(*b))
            }
        }
    };
}
numbers!(1, u8);
numbers!(2, u16);
numbers!(4, u32);
numbers!(8, u64);

#[cfg(test)]
mod tests;
