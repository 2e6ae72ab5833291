//! What a package says of its own changes.

use super::header::{Damage, Header, damage, tag};

/// Most entries that a package may have; the longest lists have a few thousand.
const MOST: usize = 1 << 17;

/// An entry of a package's list of changes (tags 1080, 1081, 1082).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangelogEntry {
    /// When, in seconds since 1970.
    pub time: u32,
    /// Who, and often the version.
    pub author: String,
    /// What: lines, as the package has them.
    pub text: String,
}

/// The entries of `new` that came after those of `old`, both newest first: all before the first one that is the newest
/// of `old`. Everything when that one is not there, or `old` has none.
#[must_use]
pub fn changelog_delta<'n>(
    old: &[ChangelogEntry],
    new: &'n [ChangelogEntry],
) -> &'n [ChangelogEntry] {
    let newest = old.first();
    let known = newest.and_then(|newest| new.iter().position(|e| e == newest));
    &new[..known.unwrap_or(new.len())]
}

/// The entries of a header, newest first.
///
/// # Errors
/// When its three lists do not fit each other or cannot be read.
pub(super) fn of(header: &Header<'_>) -> Result<Vec<ChangelogEntry>, Damage> {
    let times = header.u32s(tag::CHANGELOGTIME)?;
    let authors = header.strings(tag::CHANGELOGNAME)?;
    let texts = header.strings(tag::CHANGELOGTEXT)?;
    if authors.len() != times.len() || texts.len() != times.len() {
        return damage("its changes have not one time, one author and one text each");
    }
    if times.len() > MOST {
        return damage(format_args!(
            "it has {} changes, which cannot be",
            times.len()
        ));
    }
    let entries = authors.zip(texts).enumerate().map(|(at, (author, text))| {
        Ok(ChangelogEntry {
            time: times.get(at).unwrap_or_default(),
            author: String::from_utf8_lossy(author?).into_owned(),
            text: String::from_utf8_lossy(text?).into_owned(),
        })
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpmdb::testing::{header, identity, strings, u32s};

    #[test]
    fn the_entries_before_the_old_newest_are_new() {
        let entry = |time: u32| ChangelogEntry {
            time,
            author: "a".into(),
            text: "t".into(),
        };
        let entries = |times: &[u32]| times.iter().map(|t| entry(*t)).collect::<Vec<_>>();
        for (old, new, count) in [
            (&[2, 1][..], &[4, 3, 2, 1][..], 2),
            (&[2, 1], &[2, 1], 0),
            (&[], &[2, 1], 2),
            (&[9], &[2, 1], 2),
            (&[2], &[], 0),
            (&[1], &[1, 2, 1], 0),
        ] {
            let new = entries(new);
            assert_eq!(changelog_delta(&entries(old), &new), &new[..count]);
        }
    }

    #[test]
    fn entries_are_read_in_their_order_with_all_their_lines() {
        let lists = |times: &[u32], texts: &[&str]| {
            let lists = [
                u32s(1080, times),
                strings(1081, &["a <a@b> 2-1", "b"]),
                strings(1082, texts),
            ];
            header(&[identity("a"), lists.to_vec()].concat(), &[])
        };
        let blob = lists(&[9, 7], &["- one\n- two", "- three"]);
        let entries = of(&Header::parse(&blob).unwrap()).unwrap();
        let first = ChangelogEntry {
            time: 9,
            author: "a <a@b> 2-1".into(),
            text: "- one\n- two".into(),
        };
        assert_eq!((&entries[0], entries[1].time), (&first, 7));
        for blob in [lists(&[9], &["x", "y"]), lists(&[9, 7], &["x"])] {
            assert!(of(&Header::parse(&blob).unwrap()).is_err());
        }
        let none = header(&identity("a"), &[]);
        assert!(of(&Header::parse(&none).unwrap()).unwrap().is_empty());
    }
}
