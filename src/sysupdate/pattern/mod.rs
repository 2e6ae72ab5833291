//! Patterns: which names are versions of a resource, and what a new version is called.
//!
//! A pattern is literals and wildcards in one or more parts with slashes between. Matching is one pass from left to right
//! without going back: a wildcard takes all up to the first place where the literal after it stands.

mod field;
mod list;

use std::fmt;

pub use field::{Found, MODE_BITS, Metadata, Wildcard, boolean, decimal, flags, mode};
pub use list::{PatternList, words};

use super::Version;

/// What stands before a pattern that counts for a name at any depth.
const ANY_DEPTH: &str = "**/";

/// Longest name of a file, in bytes.
const NAME_MAX: usize = 255;

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    is_any_depth: bool,
    /// What is between the slashes.
    parts: Vec<Vec<Element>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Element {
    Literal(String),
    Field(Wildcard),
}

/// What a name that matches tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// The version.
    pub version: Version,
    /// Everything else.
    pub metadata: Metadata,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It has no `@v`.
    NoVersion,
    /// A wildcard stands in it twice.
    Twice(Wildcard),
    /// Between two wildcards is nothing.
    Adjacent(Wildcard, Wildcard),
    /// A letter that is no wildcard; none at the end.
    Unknown(Option<char>),
    /// A character that may not stand in a pattern.
    Character(char),
    /// After `**/` comes another slash.
    Depth,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::NoVersion => f.write_str("it has no @v, for the version"),
            Refused::Twice(wildcard) => write!(f, "{wildcard} stands in it twice"),
            Refused::Adjacent(a, b) => write!(f, "nothing tells where {a} ends and {b} begins"),
            Refused::Unknown(Some(letter)) => {
                write!(f, "there is no wildcard @{}", letter.escape_debug())
            }
            Refused::Unknown(None) => {
                f.write_str("@ is its last character; write @@ for the character itself")
            }
            Refused::Character(c) => write!(f, "{:?} may not stand in it", c),
            Refused::Depth => f.write_str("**/ may stand only before a name without another slash"),
        }
    }
}

/// Why a version has no name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nameless {
    /// The pattern has a field that is not known.
    Missing(Wildcard),
    /// It would be longer than a file name may be.
    Long(String),
    /// The pattern would not match it, or tell another version.
    Unrecognized(String),
    /// The pattern stands for any depth, and does not say for which.
    AnyDepth,
}

impl fmt::Display for Nameless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Nameless::Missing(wildcard) => write!(
                f,
                "nothing tells its {wildcard}; set it in the transfer file, or put it into the pattern of the source"
            ),
            Nameless::Long(name) => write!(
                f,
                "{name} would be longer than the {NAME_MAX} bytes of a file name"
            ),
            Nameless::Unrecognized(name) => {
                write!(f, "{name} would not be found again by the same pattern")
            }
            Nameless::AnyDepth => f.write_str("a pattern for any depth names nothing"),
        }
    }
}

impl Pattern {
    /// Reads one pattern.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Pattern, Refused> {
        let (is_any_depth, rest) = match text.strip_prefix(ANY_DEPTH) {
            Some(rest) if rest.contains('/') => return Err(Refused::Depth),
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let parts = rest.split('/').map(part).collect::<Result<Vec<_>, _>>()?;
        let pattern = Pattern {
            text: text.to_owned(),
            is_any_depth,
            parts,
        };
        let all: Vec<Wildcard> = pattern.wildcards().collect();
        for (at, wildcard) in all.iter().enumerate() {
            if all[..at].contains(wildcard) {
                return Err(Refused::Twice(*wildcard));
            }
        }
        match all.contains(&Wildcard::Version) {
            true => Ok(pattern),
            false => Err(Refused::NoVersion),
        }
    }

    /// The pattern as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its wildcards, in the order in which they stand.
    pub fn wildcards(&self) -> impl Iterator<Item = Wildcard> {
        self.parts
            .iter()
            .flatten()
            .filter_map(|element| match element {
                Element::Field(wildcard) => Some(*wildcard),
                Element::Literal(_) => None,
            })
    }

    /// Whether it counts for a name at any depth, and not only where its slashes say.
    #[must_use]
    pub fn is_any_depth(&self) -> bool {
        self.is_any_depth
    }

    /// How many names stand one below the other in what it matches.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.parts.len()
    }

    /// The same pattern without `**/`.
    #[must_use]
    pub fn without_depth(&self) -> Pattern {
        let text = self.text.strip_prefix(ANY_DEPTH).unwrap_or(&self.text);
        Pattern {
            text: text.to_owned(),
            is_any_depth: false,
            parts: self.parts.clone(),
        }
    }

    /// Whether a name can match at all: not when a part is empty, `.` or `..`.
    #[must_use]
    pub fn can_match(&self) -> bool {
        let is_name = |part: &Vec<Element>| match &part[..] {
            [] => false,
            [Element::Literal(literal)] => !matches!(literal.as_str(), "." | ".."),
            _ => true,
        };
        self.parts.iter().all(is_name)
    }

    /// What `name`, a path without a leading slash, tells; `None` when it does not match.
    #[must_use]
    pub fn matches(&self, name: &str) -> Option<Fields> {
        let base = |name: &str| {
            name.rsplit_once('/')
                .map_or(0, |(above, _)| above.len() + 1)
        };
        let name = if self.is_any_depth {
            &name[base(name)..]
        } else {
            name
        };
        let mut found = Found::default();
        let mut parts = 0;
        for text in name.split('/') {
            self.matches_part(parts, text, &mut found)?;
            parts += 1;
        }
        (parts == self.parts.len()).then(|| found.fields())?
    }

    /// Matches one name of a path, the one after `part` others, and adds what it tells to `found`; `None` when it does not
    /// match, and `found` is then of no use.
    #[must_use]
    pub fn matches_part(&self, part: usize, name: &str, found: &mut Found) -> Option<()> {
        let elements = self.parts.get(part)?;
        // no version is in another directory than its own
        if matches!(name, "" | "." | "..") {
            return None;
        }
        let mut rest = name;
        let mut elements = elements.iter().peekable();
        while let Some(element) = elements.next() {
            match element {
                Element::Literal(literal) => rest = rest.strip_prefix(literal.as_str())?,
                Element::Field(wildcard) => {
                    let end = match elements.peek() {
                        Some(Element::Literal(next)) => rest.find(next.as_str())?,
                        _ => rest.len(),
                    };
                    found.take(*wildcard, &rest[..end])?;
                    rest = &rest[end..];
                }
            }
        }
        rest.is_empty().then_some(())
    }

    /// What `version` with `metadata` is called. The pattern matches the name, and tells the same version.
    ///
    /// # Errors
    /// Why it has no name.
    pub fn format(&self, version: &Version, metadata: &Metadata) -> Result<String, Nameless> {
        if self.is_any_depth {
            return Err(Nameless::AnyDepth);
        }
        let mut name = String::new();
        for (number, part) in self.parts.iter().enumerate() {
            if number > 0 {
                name.push('/');
            }
            for element in part {
                match element {
                    Element::Literal(literal) => name.push_str(literal),
                    Element::Field(wildcard) => {
                        let text = field::written(*wildcard, version, metadata);
                        name.push_str(&text.ok_or(Nameless::Missing(*wildcard))?);
                    }
                }
            }
        }
        if name.split('/').any(|part| part.len() > NAME_MAX) {
            return Err(Nameless::Long(name));
        }
        let is_known = |fields: Fields| {
            let is_same = |w: Wildcard| {
                let told = field::written(w, &fields.version, &fields.metadata);
                told == field::written(w, version, metadata)
            };
            self.wildcards().all(is_same)
        };
        match self.matches(&name).is_some_and(is_known) {
            true => Ok(name),
            false => Err(Nameless::Unrecognized(name)),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Found {
    /// Whether a version is known already.
    #[must_use]
    pub fn has_version(&self) -> bool {
        self.version.is_some()
    }

    /// What a whole name told; `None` when no version was in it.
    #[must_use]
    pub fn fields(self) -> Option<Fields> {
        Some(Fields {
            version: self.version?,
            metadata: self.metadata,
        })
    }
}

/// What stands between two slashes.
fn part(text: &str) -> Result<Vec<Element>, Refused> {
    let mut elements = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let literal = match c {
            '@' => match chars.next() {
                Some('@') => '@',
                letter => {
                    let wildcard = letter
                        .and_then(Wildcard::of)
                        .ok_or(Refused::Unknown(letter))?;
                    if let Some(Element::Field(before)) = elements.last() {
                        return Err(Refused::Adjacent(*before, wildcard));
                    }
                    elements.push(Element::Field(wildcard));
                    continue;
                }
            },
            c if c.is_ascii_control() || "$*?[]!\\|".contains(c) => {
                return Err(Refused::Character(c));
            }
            c => c,
        };
        match elements.last_mut() {
            Some(Element::Literal(before)) => before.push(literal),
            _ => elements.push(Element::Literal(literal.to_string())),
        }
    }
    Ok(elements)
}

#[cfg(test)]
mod tests;
