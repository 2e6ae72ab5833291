//! What lines have in common, whatever they are about.

use std::collections::BTreeSet;
use std::fmt;

use super::Refusal;
use super::ini::Line;
use crate::sysupdate::pattern::{self, Pattern};
use crate::sysupdate::specifier::{Specifiers, Unknown};

/// What lines are read with.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) specifiers: &'a Specifiers,
    pub(super) warnings: &'a mut Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(specifiers: &'a Specifiers, warnings: &'a mut Vec<String>) -> Reader<'a> {
        Reader {
            specifiers,
            warnings,
        }
    }

    /// The lines of known sections; each other section is told once.
    pub(super) fn known_section<'l>(&mut self, lines: &'l [Line], known: &[&str]) -> Vec<&'l Line> {
        let mut told = BTreeSet::new();
        let mut found = Vec::new();
        for line in lines {
            let section = line.section.as_str();
            if known.contains(&section) {
                found.push(line);
            } else if !section.starts_with(OWN) && told.insert(section) {
                let problem = match section {
                    "" => "Assignment outside of section. Ignoring.".to_owned(),
                    _ => format!("Unknown section '{section}'. Ignoring."),
                };
                self.warn(line, problem);
            }
        }
        found
    }

    pub(super) fn warn(&mut self, line: &Line, problem: String) {
        self.warnings.push(line.at.warning(problem));
    }

    /// Tells of a key that is not known, unless it is somebody's own.
    pub(super) fn unknown(&mut self, line: &Line) {
        if !line.key.starts_with(OWN) {
            self.warn(
                line,
                format!(
                    "Unknown key '{}' in section [{}], ignoring.",
                    line.key, line.section
                ),
            );
        }
    }

    /// Tells of a value that is not understood.
    pub(super) fn invalid(&mut self, line: &Line) {
        self.warn(
            line,
            format!(
                "Failed to parse {}= value, ignoring: {}",
                line.key, line.value
            ),
        );
    }

    /// `text` with its specifiers expanded; `None`, and it is told, when one is unknown.
    pub(super) fn expand(&mut self, line: &Line, text: &str) -> Option<String> {
        match self.specifiers.expand(text) {
            Ok(text) => Some(text),
            Err(Unknown(letter)) => {
                let problem = format!(
                    "Unknown specifier %{} in {}=, ignoring: {text}",
                    letter.escape_debug(),
                    line.key
                );
                self.warn(line, problem);
                None
            }
        }
    }

    /// Sets a switch.
    pub(super) fn set(&mut self, line: &Line, switch: &mut bool) {
        match pattern::boolean(&line.value) {
            Some(is_on) => *switch = is_on,
            None => self.invalid(line),
        }
    }

    /// Sets a switch that can also be unset.
    pub(super) fn set_or_unset(&mut self, line: &Line, switch: &mut Option<bool>) {
        self.parsed(line, switch, pattern::boolean);
    }

    /// Sets a value; without one it is unset.
    pub(super) fn parsed<T>(
        &mut self,
        line: &Line,
        value: &mut Option<T>,
        parse: impl Fn(&str) -> Option<T>,
    ) {
        match parse(&line.value) {
            _ if line.value.is_empty() => *value = None,
            Some(parsed) => *value = Some(parsed),
            None => self.invalid(line),
        }
    }

    /// Adds addresses to a list; without one the list is emptied.
    pub(super) fn urls(&mut self, line: &Line, urls: &mut Vec<String>) {
        if line.value.is_empty() {
            urls.clear();
        }
        for word in line.value.split_ascii_whitespace() {
            let Some(text) = self.expand(line, word) else {
                continue;
            };
            let is_http = text.starts_with("http://") || text.starts_with("https://");
            let is_plain = text.chars().all(|c| !c.is_control() && !c.is_whitespace());
            match is_http && is_plain {
                true => urls.push(text),
                false => self.warn(
                    line,
                    format!(
                        "{}= is not a valid HTTP or HTTPS URL, ignoring: {text}",
                        line.key
                    ),
                ),
            }
        }
    }

    /// The patterns of a line.
    pub(super) fn patterns(&mut self, line: &Line) -> Result<Vec<Pattern>, Refusal> {
        let refuse = |word: &str, why: &dyn fmt::Display| {
            line.at.refuse(format!(
                "MatchPattern= string is not valid, refusing: {word} ({why})"
            ))
        };
        let words = pattern::words(&line.value);
        let words =
            words.map_err(|word| refuse(&word, &"a backslash in it begins no escape of C"))?;
        let mut found = Vec::new();
        for word in words {
            if let Some(text) = self.expand(line, &word) {
                found.push(Pattern::parse(&text).map_err(|why| refuse(&text, &why))?);
            }
        }
        Ok(found)
    }
}

/// What keys and sections begin with that systemd leaves to others.
const OWN: &str = "X-";

/// Adds words to a list; without one the list is emptied.
pub(super) fn words(line: &Line, list: &mut Vec<String>) {
    if line.value.is_empty() {
        list.clear();
    }
    list.extend(line.value.split_ascii_whitespace().map(str::to_owned));
}

/// Leaves the first of each.
pub(super) fn unique(list: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    list.retain(|item| seen.insert(item.clone()));
}
