//! Lists of patterns, and words with C escapes.

use super::{Fields, Pattern};

/// Patterns in the order in which they count: the first one names new instances, the first one that matches a name tells
/// what it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PatternList(Vec<Pattern>);

impl PatternList {
    /// The pattern that names new instances; `None` when the list is empty.
    #[must_use]
    pub fn first(&self) -> Option<&Pattern> {
        self.0.first()
    }

    /// All of them, in their order.
    #[must_use]
    pub fn patterns(&self) -> &[Pattern] {
        &self.0
    }

    /// Adds one to the end.
    pub fn push(&mut self, pattern: Pattern) {
        self.0.push(pattern);
    }

    /// What `name`, a path without a leading slash, tells by the first pattern that matches it, and the number of that pattern.
    #[must_use]
    pub fn matches(&self, name: &str) -> Option<(usize, Fields)> {
        let all = self.0.iter().enumerate();
        all.filter_map(|(number, pattern)| Some((number, pattern.matches(name)?)))
            .next()
    }
}

impl FromIterator<Pattern> for PatternList {
    fn from_iter<I: IntoIterator<Item = Pattern>>(patterns: I) -> PatternList {
        PatternList(patterns.into_iter().collect())
    }
}

/// The words of `text`, with blanks between them. A backslash begins an escape as in C (`\x20`, `\n`, `\040`, `é`) or, as
/// systemd has it, `\s` for a blank; quotes are characters as others.
///
/// # Errors
/// The word with an escape that is none, or that stands for no text.
pub fn words(text: &str) -> Result<Vec<String>, String> {
    let words = text.split_ascii_whitespace();
    words
        .map(|word| unescaped(word).ok_or_else(|| word.to_owned()))
        .collect()
}

fn unescaped(word: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend(before.as_bytes());
        let kind = after.chars().next()?;
        let digits = &after[kind.len_utf8()..];
        let number = |digits: &str, length: usize, radix: u32| {
            let digits = digits.get(..length)?;
            let are_digits = digits.chars().all(|d| d.is_digit(radix));
            u32::from_str_radix(digits, radix)
                .ok()
                .filter(|n| are_digits && *n != 0)
        };
        let character = |length| {
            let c = char::from_u32(number(digits, length, 16)?)?;
            Some((c.to_string().into_bytes(), &digits[length..]))
        };
        let byte = |b: u8| Some((vec![b], digits));
        let (escaped, then) = match kind {
            'a' => byte(7),
            'b' => byte(8),
            't' => byte(b'\t'),
            'n' => byte(b'\n'),
            'v' => byte(11),
            'f' => byte(12),
            'r' => byte(b'\r'),
            's' => byte(b' '),
            '\\' | '"' | '\'' => byte(kind as u8),
            'x' => Some((
                vec![u8::try_from(number(digits, 2, 16)?).ok()?],
                &digits[2..],
            )),
            'u' => character(4),
            'U' => character(8),
            '0'..='7' => Some((vec![u8::try_from(number(after, 3, 8)?).ok()?], &after[3..])),
            _ => None,
        }?;
        bytes.extend(escaped);
        rest = then;
    }
    bytes.extend(rest.as_bytes());
    String::from_utf8(bytes).ok()
}
