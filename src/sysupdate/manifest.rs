//! SHA256SUMS: what a source behind an address has, and until when that counts.
//!
//! Parse only what was verified: nothing here checks a signature.

use std::collections::HashMap;
use std::fmt;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::pattern::{Fields, PatternList};
use crate::sys::hex::from_hex;
use crate::sys::time;

/// Largest manifest, in bytes.
pub const MANIFEST_MAX: u64 = 32 << 20;

/// Hexadecimal digits of a digest.
const DIGITS: usize = 64;

/// Longest name of a file, in bytes.
const NAME_MAX: usize = 255;

/// What the name of a line begins with that says until when the manifest counts.
const BEST_BEFORE: &str = "BEST-BEFORE-";

/// The files of a source, in the order of the manifest, which is that of [`Manifest::names`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    entries: Vec<Entry>,
}

/// A file of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path below the address of the source: relative and normalized.
    pub name: String,
    /// SHA-256 of its bytes as they are served.
    pub digest: [u8; 32],
}

/// Why a manifest is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There is a NUL byte in it.
    Nul,
    /// It is no UTF-8.
    NoText,
    /// A line is no line of a manifest: its number, counted from one.
    Line(usize, Flaw),
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It is too short to have a digest and a name.
    Corrupt,
    /// Its name is escaped.
    Escaped,
    /// It does not begin with a digest.
    NoDigest,
    /// No blank follows the digest.
    NoSpace,
    /// Nothing says whether it is the digest of text.
    NoMarker,
    /// It has no end.
    Truncated,
    /// It has no name.
    NoName,
    /// Its name is no path below the source.
    BadName,
    /// Its name has control characters.
    Control,
    /// Its name has another digest in an earlier line.
    Twice,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, flaw) = match self {
            Refused::Nul => return f.write_str("Manifest file has embedded NUL byte, refusing."),
            Refused::NoText => return f.write_str("Manifest file is not valid UTF-8, refusing."),
            Refused::Line(line, flaw) => (line, flaw),
        };
        let (what, name) = match flaw {
            Flaw::Corrupt => ("Corrupt manifest", ""),
            Flaw::Escaped => ("File names with escapes not supported in manifest", ""),
            Flaw::NoDigest => ("Failed to parse digest", "manifest "),
            Flaw::NoSpace => ("Missing space separator", "manifest "),
            Flaw::NoMarker => ("Missing binary/text input marker", "manifest "),
            Flaw::Truncated => ("Truncated manifest file", ""),
            Flaw::NoName => ("Empty filename specified", "manifest "),
            Flaw::BadName => ("Invalid filename specified", "manifest "),
            Flaw::Control => ("Filename contains control characters", "manifest "),
            Flaw::Twice => ("Two digests for the same filename", "manifest "),
        };
        write!(f, "{what} at {name}line {line}, refusing.")
    }
}

impl std::error::Error for Refused {}

/// Whether a manifest still counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Age {
    /// It does, or says nothing about it.
    Fresh,
    /// It has expired on this day, `YYYY-MM-DD`.
    Expired(String),
    /// It says until when, but the clock cannot be right, so that nobody knows.
    Unknown,
}

/// What a manifest says about until when it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    /// Whether it still does.
    pub age: Age,
    /// What is strange about such lines.
    pub warnings: Vec<String>,
}

impl Manifest {
    /// Reads a whole manifest, in time that grows with its length.
    ///
    /// # Errors
    /// At the first line that is none; nothing of such a manifest counts.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, Refused> {
        if bytes.contains(&0) {
            return Err(Refused::Nul);
        }
        let mut rest = std::str::from_utf8(bytes).map_err(|_| Refused::NoText)?;
        let mut manifest = Manifest::default();
        let mut digests = HashMap::new();
        let mut number = 1;
        while !rest.is_empty() {
            let refuse = |flaw| Refused::Line(number, flaw);
            let (entry, then) = line(rest).map_err(refuse)?;
            match digests.insert(entry.name.clone(), entry.digest) {
                None => manifest.entries.push(entry),
                Some(before) if before == entry.digest => {}
                Some(_) => return Err(refuse(Flaw::Twice)),
            }
            rest = then;
            number += 1;
        }
        Ok(manifest)
    }

    /// Its files, each once.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The files that `patterns` match, each with the number of the pattern and what its name tells. A file whose name tells another digest
    /// than the manifest is none of them.
    pub fn instances<'m>(
        &'m self,
        patterns: &'m PatternList,
    ) -> impl Iterator<Item = (&'m Entry, usize, Fields)> {
        self.entries.iter().filter_map(move |entry| {
            let (number, mut fields) = patterns.matches(&entry.name)?;
            let told = fields.metadata.sha256.replace(entry.digest);
            told.is_none_or(|told| told == entry.digest)
                .then_some((entry, number, fields))
        })
    }

    /// Whether it still counts at `now`. Every line that says until when counts; on the day that it names, it has expired.
    #[must_use]
    pub fn freshness(&self, now: SystemTime) -> Freshness {
        let now = time::utc(now);
        let today = &now[..DATE.len()];
        let nothing: [u8; 32] = Sha256::digest([]).into();
        let mut freshness = Freshness {
            age: Age::Fresh,
            warnings: Vec::new(),
        };
        let mut first: Option<String> = None;
        let mut warn =
            |entry: &Entry, why: &str| freshness.warnings.push(format!("{}: {why}", entry.name));
        for entry in &self.entries {
            let Some((above, base)) = split(&entry.name) else {
                continue;
            };
            let Some(date) = base.strip_prefix(BEST_BEFORE) else {
                continue;
            };
            if !above.is_empty() {
                warn(entry, "it is in a subdirectory, ignoring.");
                continue;
            }
            let Some(date) = day(date) else {
                warn(entry, "this is no date, ignoring.");
                continue;
            };
            if entry.digest != nothing {
                warn(entry, "its digest is not that of an empty file.");
            }
            if first.as_ref().is_none_or(|f| date < *f) {
                first = Some(date);
            }
        }
        freshness.age = match first {
            Some(_) if today < EARLIEST => Age::Unknown,
            Some(day) if *day <= *today => Age::Expired(day),
            _ => Age::Fresh,
        };
        freshness
    }
}

/// A clock before this day was never set: this program is younger.
const EARLIEST: &str = "2020-01-01";

/// How a date is written.
const DATE: &str = "YYYY-MM-DD";

/// The directory of a path, and its last name.
fn split(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once('/').or(Some(("", name)))
}

/// A date in the form of [`DATE`], from one that may lack leading zeros; `None` when there is no such day.
fn day(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else {
        return None;
    };
    let number = |text: &str, most: usize| {
        let is_number =
            (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u32>().ok().filter(|_| is_number)
    };
    let (year, month, day) = (
        number(year, 4).filter(|_| year.len() == 4)?,
        number(month, 2)?,
        number(day, 2)?,
    );
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (year >= 1970 && (1..=days).contains(&day)).then(|| format!("{year:04}-{month:02}-{day:02}"))
}

/// The first line of `text`, and what follows it.
fn line(text: &str) -> Result<(Entry, &str), Flaw> {
    // digest, blank, marker and at least one byte
    if text.len() < DIGITS + 3 {
        return Err(Flaw::Corrupt);
    }
    if text.starts_with('\\') {
        return Err(Flaw::Escaped);
    }
    let digest = text
        .as_bytes()
        .get(..DIGITS)
        .and_then(from_hex)
        .ok_or(Flaw::NoDigest)?;
    // digits are single bytes, so that this is a border of characters
    let rest = text[DIGITS..].strip_prefix(' ').ok_or(Flaw::NoSpace)?;
    let rest = rest.strip_prefix([' ', '*']).ok_or(Flaw::NoMarker)?;
    let (name, then) = rest.split_once('\n').ok_or(Flaw::Truncated)?;
    if name.is_empty() {
        return Err(Flaw::NoName);
    }
    if name.bytes().any(|b| b.is_ascii_control()) {
        return Err(Flaw::Control);
    }
    let is_name = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= NAME_MAX;
    if name.contains('%') || !name.split('/').all(is_name) {
        return Err(Flaw::BadName);
    }
    let entry = Entry {
        name: name.to_owned(),
        digest,
    };
    Ok((entry, then))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;

    use super::*;
    use crate::sys::hex::to_hex;
    use crate::sysupdate::pattern::Pattern;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "BbBbBbBbBbBbBbBbBbBbBbBbBbBbBbBbBbBbBbBbBbBbBbBbBbBbBbBbBbBbBbBb";
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn lines_of_a_manifest_are_digests_and_names() {
        let text = format!("{A}  os_1.raw\n{B} *sub/é 2.raw\n{A}  os_1.raw\n");
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        let read: Vec<(&str, String)> = manifest
            .entries()
            .iter()
            .map(|e| (e.name.as_str(), to_hex(&e.digest)))
            .collect();
        assert_eq!(
            read,
            [("os_1.raw", A.into()), ("sub/é 2.raw", B.to_lowercase())]
        );
        assert_eq!(Manifest::parse(b"").unwrap(), Manifest::default());
    }

    #[test]
    fn one_bad_line_refuses_the_whole_manifest_with_its_number() {
        let good = format!("{A}  f\n");
        let long = "x".repeat(256);
        for (line, text) in [
            (format!("{A} \n"), "Corrupt manifest at line 2, refusing."),
            ("x\n".into(), "Corrupt manifest at line 2, refusing."),
            ("\n".into(), "Corrupt manifest at line 2, refusing."),
            (
                format!("\\{A}  a\\nb\n"),
                "File names with escapes not supported in manifest at line 2, refusing.",
            ),
            (
                format!("g{}  f\n", &A[1..]),
                "Failed to parse digest at manifest line 2, refusing.",
            ),
            (
                format!("\n{A}  f\n"),
                "Failed to parse digest at manifest line 2, refusing.",
            ),
            (
                format!("# {A}  f\n"),
                "Failed to parse digest at manifest line 2, refusing.",
            ),
            (
                format!("\u{feff}{A}  f\n"),
                "Failed to parse digest at manifest line 2, refusing.",
            ),
            (
                format!("{A}\tf  \n"),
                "Missing space separator at manifest line 2, refusing.",
            ),
            (
                format!("{A}a  f\n"),
                "Missing space separator at manifest line 2, refusing.",
            ),
            (
                format!("{A} f  \n"),
                "Missing binary/text input marker at manifest line 2, refusing.",
            ),
            (
                format!("{A}  file"),
                "Truncated manifest file at line 2, refusing.",
            ),
            (
                format!("{A}  \n"),
                "Empty filename specified at manifest line 2, refusing.",
            ),
            (
                format!("{A}  /x\n"),
                "Invalid filename specified at manifest line 2, refusing.",
            ),
            (
                format!("{A}  ../x\n"),
                "Invalid filename specified at manifest line 2, refusing.",
            ),
            (
                format!("{A}  ./x\n"),
                "Invalid filename specified at manifest line 2, refusing.",
            ),
            (
                format!("{A}  a//x\n"),
                "Invalid filename specified at manifest line 2, refusing.",
            ),
            (
                format!("{A}  a/\n"),
                "Invalid filename specified at manifest line 2, refusing.",
            ),
            (
                format!("{A}  .\n"),
                "Invalid filename specified at manifest line 2, refusing.",
            ),
            (
                format!("{A}  a%b\n"),
                "Invalid filename specified at manifest line 2, refusing.",
            ),
            (
                format!("{A}  {long}\n"),
                "Invalid filename specified at manifest line 2, refusing.",
            ),
            (
                format!("{A}  f\r\n"),
                "Filename contains control characters at manifest line 2, refusing.",
            ),
            (
                format!("{A}  f\u{1}\n"),
                "Filename contains control characters at manifest line 2, refusing.",
            ),
            (
                format!("{A}  f\u{7f}\n"),
                "Filename contains control characters at manifest line 2, refusing.",
            ),
            (
                format!("{B}  f\n"),
                "Two digests for the same filename at manifest line 2, refusing.",
            ),
            (
                format!("{A}  f\0\n"),
                "Manifest file has embedded NUL byte, refusing.",
            ),
        ] {
            let e = Manifest::parse((good.clone() + &line).as_bytes()).unwrap_err();
            assert_eq!(e.to_string(), text, "{line:?}");
        }
        let mut bytes = good.into_bytes();
        bytes.extend(b"\xff\n");
        assert_eq!(
            Manifest::parse(&bytes).unwrap_err().to_string(),
            "Manifest file is not valid UTF-8, refusing."
        );
    }

    #[test]
    fn a_file_whose_name_tells_another_digest_is_no_instance() {
        let text = format!("{A}  os_1_{A}.raw\n{A}  os_2_{B}.raw\n{A}  os_3.raw\n{A}  other\n");
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        let patterns: PatternList = ["os_@v_@h.raw", "os_@v.raw"]
            .map(|p| Pattern::parse(p).unwrap())
            .into_iter()
            .collect();
        let found: Vec<(&str, usize, String)> = manifest
            .instances(&patterns)
            .map(|(entry, number, fields)| {
                assert_eq!(fields.metadata.sha256, Some(entry.digest));
                (entry.name.as_str(), number, fields.version.to_string())
            })
            .collect();
        assert_eq!(
            found,
            [
                (format!("os_1_{A}.raw").as_str(), 0, "1".into()),
                ("os_3.raw", 1, "3".into())
            ]
        );
    }

    /// A day as the clock gives it.
    fn at(days: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(days * 86_400)
    }

    fn freshness(names: &[&str], digest: &str, now: SystemTime) -> (Option<String>, usize) {
        let lines: String = names
            .iter()
            .map(|name| format!("{digest}  {name}\n"))
            .collect();
        let found = Manifest::parse(lines.as_bytes()).unwrap().freshness(now);
        let day = match found.age {
            Age::Fresh => None,
            Age::Expired(day) => Some(day),
            Age::Unknown => Some("unknown".into()),
        };
        (day, found.warnings.len())
    }

    #[test]
    fn a_manifest_has_expired_on_the_day_that_it_names() {
        // 2024-05-01
        let now = at(19_844);
        let expired = |name: &str| freshness(&[name], EMPTY, now);
        for (name, day) in [
            ("BEST-BEFORE-2024-05-01", Some("2024-05-01")),
            ("BEST-BEFORE-2024-5-1", Some("2024-05-01")),
            ("BEST-BEFORE-2024-05-02", None),
            ("BEST-BEFORE-2099-1-1", None),
            ("BEST-BEFORE-2024-02-29", Some("2024-02-29")),
            ("BEST-BEFORE-1970-01-01", Some("1970-01-01")),
            ("best-before-2020-01-01", None),
        ] {
            assert_eq!(expired(name), (day.map(str::to_owned), 0), "{name}");
        }
        assert_eq!(
            freshness(
                &["BEST-BEFORE-2024-05-02"],
                EMPTY,
                now + Duration::from_secs(86_399)
            ),
            (None, 0)
        );
        let two = [
            "BEST-BEFORE-2099-01-01",
            "BEST-BEFORE-2024-04-30",
            "BEST-BEFORE-2024-03-30",
        ];
        assert_eq!(freshness(&two, EMPTY, now), (Some("2024-03-30".into()), 0));
        // a clock that was never set makes nothing fresh
        assert_eq!(
            freshness(&two[..1], EMPTY, at(0)),
            (Some("unknown".into()), 0)
        );
        assert_eq!(freshness(&["f"], EMPTY, at(0)), (None, 0));
    }

    #[test]
    fn a_marker_that_is_none_is_told() {
        let now = at(19_844);
        for name in [
            "BEST-BEFORE-2099-13-01",
            "BEST-BEFORE-2023-02-29",
            "BEST-BEFORE-2099-01-01 12:00:00",
            "BEST-BEFORE-99-01-01",
            "BEST-BEFORE-2020-01",
            "BEST-BEFORE-2020-00-01",
            "BEST-BEFORE-",
            "sub/BEST-BEFORE-2020-01-01",
        ] {
            assert_eq!(freshness(&[name], EMPTY, now), (None, 1), "{name}");
        }
        assert_eq!(
            freshness(&["BEST-BEFORE-2020-01-01"], A, now),
            (Some("2020-01-01".into()), 1)
        );
    }

    #[test]
    fn a_hundred_thousand_lines_are_read_and_matched() {
        let count = 100_000;
        let lines: String = (0..count).map(|n| format!("{A}  os_{n}.raw\n")).collect();
        let patterns: PatternList = [Pattern::parse("os_@v.raw").unwrap()].into_iter().collect();
        let manifest = Manifest::parse(lines.as_bytes()).unwrap();
        assert_eq!(manifest.instances(&patterns).count(), count);
        let long = format!("{A}  {}\n", "x".repeat(70_000));
        let e = Manifest::parse((lines + &long).as_bytes()).unwrap_err();
        assert_eq!(e, Refused::Line(100_001, Flaw::BadName));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn no_bytes_make_a_manifest_panic(changes in proptest::collection::vec((0..200_usize, any::<u8>()), 0..4), cut in 0..200_usize) {
            let mut bytes = format!("{A}  os_1.raw\n{B} *BEST-BEFORE-2024-05-01\n").into_bytes();
            for (at, byte) in changes {
                let length = bytes.len();
                bytes[at % length] = byte;
            }
            bytes.truncate(cut.max(60));
            if let Ok(manifest) = Manifest::parse(&bytes) {
                for entry in manifest.entries() {
                    prop_assert!(!entry.name.starts_with('/') && entry.name.split('/').all(|p| p != ".." && !p.is_empty()));
                }
                prop_assert!(manifest.freshness(SystemTime::now()).warnings.len() <= manifest.entries().len());
            }
        }
    }
}
