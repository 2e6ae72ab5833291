//! Versions and their order.
//!
//! The order is that of the Version Format Specification (UAPI.10), as `systemd-analyze compare-versions` has it.

use std::cmp::Ordering;
use std::fmt;

/// Longest version, in bytes: it is part of a file name.
const MOST: usize = 255;

/// A version as it stands in a name.
///
/// `==` and `<` follow the order of versions, in which different texts can be the same version (`1.01` and `1.1`): such are one
/// version of a resource. Where the text itself counts, as for what is typed and for what is protected, [`Version::is_text`] asks
/// for it.
#[derive(Debug, Clone)]
pub struct Version(String);

impl Version {
    /// The version that `text` is; `None` when it is empty, longer than 255 bytes, `.`, `..`, or has other characters than ASCII
    /// letters, digits and `.~^_+-`.
    #[must_use]
    pub fn new(text: &str) -> Option<Version> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b".~^_+-".contains(&b);
        let is_name = !matches!(text, "" | "." | "..") && text.len() <= MOST;
        (is_name && text.bytes().all(is_plain)).then(|| Version(text.to_owned()))
    }

    /// The text as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is exactly the text `text`, and not only the same version.
    #[must_use]
    pub fn is_text(&self, text: &str) -> bool {
        self.0 == text
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Version) -> Ordering {
        compare(&self.0, &other.0)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Version) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Version) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

/// Which of two texts is the newer version; `Less` when `b` is. Any text has a place in the order, also one that is no
/// [`Version`].
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        (a, b) = (without_separators(a), without_separators(b));
        // what is before a release is older than its end
        if let Some(order) = mark(&mut a, &mut b, b'~') {
            return order;
        }
        match (a, b) {
            ([], []) => return Ordering::Equal,
            ([], _) => return Ordering::Less,
            (_, []) => return Ordering::Greater,
            _ => {}
        }
        // a package release, a patch, a next component: older than what goes on without it
        for sign in [b'-', b'^', b'.'] {
            if let Some(order) = mark(&mut a, &mut b, sign) {
                return order;
            }
        }
        let is_number = |text: &[u8]| text.first().is_some_and(u8::is_ascii_digit);
        let order = if is_number(a) || is_number(b) {
            let (x, y) = (
                run(&mut a, u8::is_ascii_digit),
                run(&mut b, u8::is_ascii_digit),
            );
            numbers(x, y)
        } else {
            let is_letter = u8::is_ascii_alphabetic;
            run(&mut a, is_letter).cmp(run(&mut b, is_letter))
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Steps over `sign` where both begin with it; the order, when only one does.
fn mark(a: &mut &[u8], b: &mut &[u8], sign: u8) -> Option<Ordering> {
    match (a.strip_prefix(&[sign]), b.strip_prefix(&[sign])) {
        (Some(rest_a), Some(rest_b)) => {
            (*a, *b) = (rest_a, rest_b);
            None
        }
        (Some(_), None) => Some(Ordering::Less),
        (None, Some(_)) => Some(Ordering::Greater),
        (None, None) => None,
    }
}

fn without_separators(text: &[u8]) -> &[u8] {
    let counts = |b: &u8| b.is_ascii_alphanumeric() || b"~-^.".contains(b);
    &text[text.iter().position(counts).unwrap_or(text.len())..]
}

/// The bytes at the beginning that are `of_kind`, taken off.
fn run<'t>(text: &mut &'t [u8], of_kind: fn(&u8) -> bool) -> &'t [u8] {
    let end = text.iter().position(|b| !of_kind(b));
    let (run, rest) = text.split_at(end.unwrap_or(text.len()));
    *text = rest;
    run
}

/// The order of two runs of digits of any length. No number is older than every number.
fn numbers(a: &[u8], b: &[u8]) -> Ordering {
    if a.is_empty() || b.is_empty() {
        return a.len().cmp(&b.len());
    }
    let significant = |run: &[u8]| run.iter().position(|d| *d != b'0').unwrap_or(run.len());
    let (a, b) = (&a[significant(a)..], &b[significant(b)..]);
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_have_the_order_that_systemd_gives_them_in_both_directions() {
        let table = include_str!("../../tests/data/sysupdate/version-compare.tsv");
        let mut rows = 0;
        for line in table.lines().skip(1) {
            let [a, b, expected] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{line:?}");
            };
            let expected = match expected {
                "<" => Ordering::Less,
                "=" => Ordering::Equal,
                ">" => Ordering::Greater,
                other => panic!("{other:?}"),
            };
            assert_eq!(compare(a, b), expected, "{a:?} {b:?}");
            assert_eq!(compare(b, a), expected.reverse(), "{b:?} {a:?}");
            rows += 1;
        }
        assert_eq!(rows, 397);
    }

    #[test]
    fn a_chain_of_versions_holds_between_all_of_its_members() {
        let chain = [
            "~1",
            "",
            "ab",
            "abb",
            "abc",
            "0001",
            "002",
            "12",
            "122",
            "122.9",
            "123~rc1",
            "123",
            "123-a",
            "123-a.1",
            "123-a1",
            "123-a1.1",
            "123-3",
            "123-3.1",
            "123^patch1",
            "123^1",
            "123.a-1",
            "123.1-1",
            "123a-1",
            "124",
        ];
        for (i, a) in chain.iter().enumerate() {
            for (j, b) in chain.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn equal_versions_with_different_texts_are_one_version_and_two_texts() {
        let (a, b) = (Version::new("1.01").unwrap(), Version::new("1.1").unwrap());
        assert_eq!(a, b);
        assert!(a.is_text("1.01") && !a.is_text("1.1"));
        assert_eq!([a.to_string(), b.to_string()], ["1.01", "1.1"]);
    }

    #[test]
    fn a_version_has_only_characters_of_versions_and_is_no_way_to_another_directory() {
        let longest = "1".repeat(255);
        for good in ["1", "1~rc1", "1^git1", "1+b1", "1_2", "...", "~", &longest] {
            assert!(Version::new(good).is_some(), "{good}");
        }
        let longer = "1".repeat(256);
        for bad in [
            "", ".", "..", "1,2", "1:2", "1 2", "1/2", "1é", "1\0", &longer,
        ] {
            assert!(Version::new(bad).is_none(), "{bad}");
        }
    }

    fn texts() -> impl Strategy<Value = String> {
        // few different characters, so that much is equal
        "[aBz019~^._+é-]{0,7}"
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn the_order_of_versions_is_total(a in texts(), b in texts(), c in texts()) {
            prop_assert_eq!(compare(&a, &a), Ordering::Equal);
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            if compare(&a, &b).is_le() && compare(&b, &c).is_le() {
                prop_assert!(compare(&a, &c).is_le(), "{:?} {:?} {:?}", a, b, c);
            }
            if compare(&a, &b).is_eq() {
                prop_assert_eq!(compare(&a, &c), compare(&b, &c), "{:?} {:?} {:?}", a, b, c);
            }
        }
    }
}
