//! What a wildcard accepts, and how a field is written.

use std::fmt;

use crate::sys::hex::{from_hex, to_hex};
use crate::sysupdate::Version;
use crate::sysupdate::uuid::Uuid;

/// A wildcard of a pattern: `@v` and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wildcard {
    /// `@v`: the version.
    Version,
    /// `@u`: the UUID of the partition.
    PartitionUuid,
    /// `@f`: all flags of the partition.
    PartitionFlags,
    /// `@a`: whether the partition is not to be mounted by itself.
    NoAuto,
    /// `@g`: whether the file system grows to the size of its partition.
    GrowFileSystem,
    /// `@r`: whether it is read-only.
    ReadOnly,
    /// `@t`: when it was changed.
    ModificationTime,
    /// `@m`: the mode of the file.
    Mode,
    /// `@s`: how large it is when it is not compressed.
    Size,
    /// `@d`: how often a boot loader has tried it.
    TriesDone,
    /// `@l`: how often a boot loader will still try it.
    TriesLeft,
    /// `@h`: the SHA-256 of the file as it is stored.
    Sha256,
}

/// Every wildcard and its letter.
const LETTERS: [(char, Wildcard); 12] = [
    ('v', Wildcard::Version),
    ('u', Wildcard::PartitionUuid),
    ('f', Wildcard::PartitionFlags),
    ('a', Wildcard::NoAuto),
    ('g', Wildcard::GrowFileSystem),
    ('r', Wildcard::ReadOnly),
    ('t', Wildcard::ModificationTime),
    ('m', Wildcard::Mode),
    ('s', Wildcard::Size),
    ('d', Wildcard::TriesDone),
    ('l', Wildcard::TriesLeft),
    ('h', Wildcard::Sha256),
];

/// Mode bits that a name may give a file.
pub const MODE_BITS: u32 = 0o775;

impl Wildcard {
    /// The wildcard of this letter.
    #[must_use]
    pub fn of(letter: char) -> Option<Wildcard> {
        let mut known = LETTERS.iter();
        known
            .find(|(l, _)| *l == letter)
            .map(|(_, wildcard)| *wildcard)
    }

    fn letter(self) -> char {
        let mut known = LETTERS.iter();
        known
            .find(|(_, w)| *w == self)
            .map_or('?', |(letter, _)| *letter)
    }
}

impl fmt::Display for Wildcard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.letter())
    }
}

/// What a name tells about an instance, besides its version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// UUID of the partition.
    pub uuid: Option<Uuid>,
    /// All flags of the partition.
    pub flags: Option<u64>,
    /// Whether the partition is not to be mounted by itself.
    pub no_auto: Option<bool>,
    /// Whether the file system grows to the size of its partition.
    pub grow_fs: Option<bool>,
    /// Whether it is read-only.
    pub read_only: Option<bool>,
    /// When it was changed, in microseconds since 1970.
    pub mtime: Option<u64>,
    /// Permission bits of the file.
    pub mode: Option<u32>,
    /// Bytes, when it is not compressed.
    pub size: Option<u64>,
    /// How often a boot loader has tried it.
    pub tries_done: Option<u64>,
    /// How often a boot loader will still try it.
    pub tries_left: Option<u64>,
    /// SHA-256 of the file as it is stored.
    pub sha256: Option<[u8; 32]>,
}

/// What a name tells: its fields, while it is being matched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    pub(super) version: Option<Version>,
    pub(super) metadata: Metadata,
}

impl Found {
    /// Takes `text` as the field of `wildcard`; `None` when it is not valid for it.
    pub(super) fn take(&mut self, wildcard: Wildcard, text: &str) -> Option<()> {
        let fields = &mut self.metadata;
        match wildcard {
            Wildcard::Version => self.version = Some(Version::new(text)?),
            Wildcard::PartitionUuid => fields.uuid = Some(Uuid::parse(text)?),
            Wildcard::PartitionFlags => fields.flags = Some(flags(text)?),
            Wildcard::NoAuto => fields.no_auto = Some(boolean(text)?),
            Wildcard::GrowFileSystem => fields.grow_fs = Some(boolean(text)?),
            Wildcard::ReadOnly => fields.read_only = Some(boolean(text)?),
            Wildcard::ModificationTime => fields.mtime = Some(decimal(text)?),
            Wildcard::Mode => fields.mode = Some(mode(text)?),
            Wildcard::Size => fields.size = Some(decimal(text)?),
            Wildcard::TriesDone => fields.tries_done = Some(decimal(text)?),
            Wildcard::TriesLeft => fields.tries_left = Some(decimal(text)?),
            Wildcard::Sha256 => fields.sha256 = Some(from_hex(text.as_bytes())?),
        }
        Some(())
    }
}

/// The field of `wildcard` as it stands in a name; `None` when it is not known.
pub(super) fn written(wildcard: Wildcard, version: &Version, fields: &Metadata) -> Option<String> {
    let bit = |field: Option<bool>| field.map(|is_set| u8::from(is_set).to_string());
    let number = |field: Option<u64>| field.map(|n| n.to_string());
    match wildcard {
        Wildcard::Version => Some(version.to_string()),
        Wildcard::PartitionUuid => fields.uuid.map(|uuid| uuid.plain()),
        Wildcard::PartitionFlags => fields.flags.map(|flags| format!("{flags:x}")),
        Wildcard::NoAuto => bit(fields.no_auto),
        Wildcard::GrowFileSystem => bit(fields.grow_fs),
        Wildcard::ReadOnly => bit(fields.read_only),
        Wildcard::ModificationTime => number(fields.mtime),
        Wildcard::Mode => fields.mode.map(|mode| format!("{mode:03o}")),
        Wildcard::Size => number(fields.size),
        Wildcard::TriesDone => number(fields.tries_done),
        Wildcard::TriesLeft => number(fields.tries_left),
        Wildcard::Sha256 => fields.sha256.map(|digest| to_hex(&digest)),
    }
}

/// Yes or no as systemd writes it, in any case.
#[must_use]
pub fn boolean(text: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is(&["1", "yes", "y", "true", "t", "on"]) {
        Some(true)
    } else if is(&["0", "no", "n", "false", "f", "off"]) {
        Some(false)
    } else {
        None
    }
}

/// A decimal number below 2^64-1, which means "none" elsewhere. Leading zeros are zeros: boot loaders write them.
#[must_use]
pub fn decimal(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_number);
    number.filter(|n| *n < u64::MAX)
}

/// An octal mode without bits outside [`MODE_BITS`].
#[must_use]
pub fn mode(text: &str) -> Option<u32> {
    let is_octal = !text.is_empty() && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| is_octal);
    mode.filter(|mode| mode & !MODE_BITS == 0)
}

/// Up to 16 hexadecimal digits, with `0x` before them or not.
#[must_use]
pub fn flags(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let is_hex = (1..=16).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16).ok().filter(|_| is_hex)
}
