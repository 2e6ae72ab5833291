//! Lines to assignments, assignments to values. Pure text.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::ConfigError;
use super::keys::{File, Word};
use super::{Origin, Value};
use crate::sys::root;

/// Longest line, in bytes.
const LINE_MAX: usize = 64 << 10;

/// What to write in place of shell code.
const NO_SHELL: &str = "this file is data and nothing in it is run; write KEY=value with a fixed value, in quotes when it \
                        has blanks or special characters";

/// A line `KEY=value` or `KEY[index]=value`, without its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) key: String,
    /// What stands in brackets; None without brackets.
    pub(super) index: Option<String>,
    pub(super) value: String,
    pub(super) origin: Origin,
}

/// Where a line is, for errors about it.
#[derive(Debug, Clone, Copy)]
struct At<'a> {
    path: &'a Path,
    line: usize,
    text: &'a str,
}

impl At<'_> {
    fn error(self, problem: &str, remedy: impl Into<String>) -> ConfigError {
        ConfigError::of_line(self.path, self.line, self.text, problem, remedy)
    }
}

/// What a text contains.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) assignments: Vec<Assignment>,
    pub(super) warnings: Vec<String>,
}

/// Reads the text of a file. `path` is what errors call it.
///
/// Both files know comments, `KEY=value`, `KEY="value"` and `KEY='value'`. tukit.conf also knows blanks around the
/// equals sign and section headers; as for libeconf, keys in a section are not the ones without a section, so that they
/// only make a warning.
pub(super) fn parse(file: File, path: &Path, content: &[u8]) -> Result<Read, ConfigError> {
    let mut read = Read::default();
    let mut section: Option<String> = None;
    for (number, bytes) in content.split(|&b| b == b'\n').enumerate() {
        let line = number + 1;
        let lossy = String::from_utf8_lossy(bytes);
        let text = lossy.trim();
        let at = At { path, line, text };
        if bytes.len() > LINE_MAX {
            return Err(at.error("this line is too long", "a line may have 64 KiB"));
        }
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if std::str::from_utf8(bytes).is_err() || text.contains('\0') {
            return Err(at.error("this line is no text", "write it in UTF-8"));
        }
        if file == File::Tukit && text.starts_with('[') {
            section = Some(header(at)?);
            continue;
        }
        let assignment = assignment(file, at)?;
        match &section {
            None => read.assignments.push(assignment),
            Some(name) => {
                let Assignment { key, origin, .. } = assignment;
                read.warnings
                    .push(format!("{origin}: {key} has no effect in section [{name}]"));
            }
        }
    }
    Ok(read)
}

/// Reads one line that somebody typed: `KEY=value`. The shell that it was typed in has taken the quotes away, so
/// that the value is all that follows.
pub(super) fn setting(text: &str) -> Result<Assignment, ConfigError> {
    let error = |problem: &str| {
        let problem = format!("{problem}: {text:?}");
        ConfigError::of_file(Path::new(OPTION), &problem, "write --option=KEY=value")
    };
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| error("this is no assignment"))?;
    let (name, index) = name_and_index(key.trim()).ok_or_else(|| error("this is no key"))?;
    if value.len() > LINE_MAX || value.contains(['\0', '\n']) {
        return Err(error("this value is no line of text"));
    }
    Ok(Assignment {
        key: name.to_owned(),
        index: index.map(str::to_owned),
        value: value.to_owned(),
        origin: Origin::CommandLine,
    })
}

/// What errors of a line that was typed call it.
const OPTION: &str = "--option";

/// A number of seconds that is known to be one.
pub(super) fn seconds(text: &str) -> Duration {
    Duration::from_secs(text.parse().unwrap_or(1))
}

/// The absolute paths of directories in `text`, with blanks between them; `None` when a word is none, or the root itself.
pub(super) fn directories(text: &str) -> Option<Vec<PathBuf>> {
    let words = text.split_ascii_whitespace().map(Path::new);
    words.map(root::below).collect()
}

fn header(at: At<'_>) -> Result<String, ConfigError> {
    let inner = at
        .text
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'));
    match inner {
        Some((name, rest)) if !name.trim().is_empty() && is_comment(rest) => {
            Ok(name.trim().to_owned())
        }
        _ => Err(at.error(
            "this is no section header",
            "write [NAME], or better leave it out",
        )),
    }
}

fn is_comment(rest: &str) -> bool {
    let trimmed = rest.trim_start();
    trimmed.is_empty()
        || (trimmed.starts_with('#') && trimmed.len() < rest.len())
        || rest.is_empty()
}

fn assignment(file: File, at: At<'_>) -> Result<Assignment, ConfigError> {
    let Some((left, right)) = at.text.split_once('=') else {
        return Err(at.error("this is no assignment", NO_SHELL));
    };
    let (key, right) = match file {
        File::Tukit => (left.trim_end(), right.trim_start()),
        File::TransactionalUpdate => (left, right),
    };
    let Some((name, index)) = name_and_index(key) else {
        let words: Vec<&str> = key.split_whitespace().collect();
        return Err(match words.as_slice() {
            [
                "export" | "declare" | "local" | "readonly" | "typeset",
                ..,
                name,
            ] if is_name(name) => {
                at.error("this is shell code", format!("write {name}=value alone"))
            }
            [name] if is_name(name) => at.error(
                "there is a blank before the equals sign",
                "write KEY=value without it",
            ),
            _ => at.error("this is no assignment", NO_SHELL),
        });
    };
    if right.starts_with([' ', '\t']) && !is_comment(right) {
        return Err(at.error(
            "there is a blank after the equals sign",
            "write KEY=value without it",
        ));
    }
    Ok(Assignment {
        key: name.to_owned(),
        index: index.map(str::to_owned),
        value: value(at, right)?,
        origin: Origin::File {
            path: at.path.to_owned(),
            line: at.line,
        },
    })
}

/// `KEY`, `KEY[]`, `KEY[12]` or `KEY[name]`.
fn name_and_index(key: &str) -> Option<(&str, Option<&str>)> {
    let (name, index) = match key.strip_suffix(']') {
        Some(rest) => {
            let (name, index) = rest.split_once('[')?;
            (name, Some(index))
        }
        None => (key, None),
    };
    let is_word = |i: &str| {
        i.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    };
    (is_name(name) && index.is_none_or(is_word)).then_some((name, index))
}

fn is_name(name: &str) -> bool {
    let is_word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_word && name.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

/// The value of an assignment: one word, or one text in quotes, and perhaps a comment.
fn value(at: At<'_>, right: &str) -> Result<String, ConfigError> {
    let (value, rest) = match right.chars().next() {
        Some('\'') => {
            let unterminated = || {
                at.error(
                    "the quote has no end",
                    "add the closing quote to the same line",
                )
            };
            let (value, rest) = right[1..].split_once('\'').ok_or_else(unterminated)?;
            (value.to_owned(), rest)
        }
        Some('"') => in_double_quotes(at, &right[1..])?,
        _ => {
            let end = right.find([' ', '\t']).unwrap_or(right.len());
            let (word, rest) = right.split_at(end);
            if let Some(special) = word.chars().find(|c| "$`;&|<>()\\\"'~".contains(*c)) {
                let problem = format!("{special} has a meaning for a shell");
                return Err(at.error(&problem, NO_SHELL));
            }
            (word.to_owned(), rest)
        }
    };
    if !is_comment(rest) {
        return Err(at.error("there is something after the value", NO_SHELL));
    }
    Ok(value)
}

/// Text up to the closing double quote, and what follows. A backslash protects `"`, `\`, `$` and a backtick.
fn in_double_quotes<'t>(at: At<'_>, text: &'t str) -> Result<(String, &'t str), ConfigError> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((place, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[place + 1..])),
            '$' | '`' => return Err(at.error(&format!("{c} has a meaning for a shell"), NO_SHELL)),
            '\\' => match chars.next() {
                Some((_, escaped @ ('"' | '\\' | '$' | '`'))) => value.push(escaped),
                Some((_, other)) => value.extend(['\\', other]),
                None => break,
            },
            c => value.push(c),
        }
    }
    Err(at.error(
        "the quote has no end",
        "add the closing quote to the same line",
    ))
}

impl Assignment {
    /// A value with the origin of this line.
    pub(super) fn with<T>(&self, value: T) -> Value<T> {
        Value {
            value,
            origin: self.origin.clone(),
        }
    }

    /// The value as one of the words of its key; no value means the default.
    pub(super) fn word<W: Word>(&self, default: W) -> Result<Value<W>, ConfigError> {
        if self.value.is_empty() {
            return Ok(self.with(default));
        }
        let unknown = || {
            let words: Vec<&str> = W::WORDS.iter().map(|(word, _)| *word).collect();
            self.error(
                "does not know this value",
                format!("write one of {}", words.join(", ")),
            )
        };
        W::of(&self.value)
            .map(|word| self.with(word))
            .ok_or_else(unknown)
    }

    /// The value as yes or no; no value means the default.
    pub(super) fn boolean(&self, default: bool) -> Result<Value<bool>, ConfigError> {
        match self.value.to_ascii_lowercase().as_str() {
            "" => Ok(self.with(default)),
            "1" | "yes" | "true" => Ok(self.with(true)),
            "0" | "no" | "false" => Ok(self.with(false)),
            _ => Err(self.error(
                "is either on or off",
                "write 1 or 0, yes or no, true or false".to_owned(),
            )),
        }
    }

    /// The value as a number of seconds, at least `least`; no value means the default.
    pub(super) fn seconds(
        &self,
        least: u64,
        default: Duration,
    ) -> Result<Value<Duration>, ConfigError> {
        if self.value.is_empty() {
            return Ok(self.with(default));
        }
        match self.value.parse() {
            Ok(seconds) if (least..=86_400).contains(&seconds) => {
                Ok(self.with(Duration::from_secs(seconds)))
            }
            _ => Err(self.error(
                "is a number of seconds",
                format!("write a whole number from {least} to 86400"),
            )),
        }
    }

    /// The value as an absolute path of something in the root directory; no value means the default.
    pub(super) fn path(&self, default: PathBuf) -> Result<Value<PathBuf>, ConfigError> {
        if self.value.is_empty() {
            return Ok(self.with(default));
        }
        let path = Path::new(&self.value);
        if root::below(path).is_some() {
            return Ok(self.with(path.to_owned()));
        }
        Err(self.error(
            "needs an absolute path",
            "write one that begins with a slash and has no .. in it".to_owned(),
        ))
    }

    /// The value as absolute paths of directories; no value means the default.
    pub(super) fn directories(
        &self,
        default: Vec<PathBuf>,
    ) -> Result<Value<Vec<PathBuf>>, ConfigError> {
        if self.value.is_empty() {
            return Ok(self.with(default));
        }
        let paths = directories(&self.value).ok_or_else(|| {
            let remedy =
                "write ones that begin with a slash and have no .. in them, with blanks between";
            self.error("needs absolute paths", remedy.to_owned())
        })?;
        Ok(self.with(paths))
    }

    fn error(&self, problem: &str, remedy: String) -> ConfigError {
        let problem = format!("{} {problem}", self.key);
        match &self.origin {
            Origin::File { path, line } => {
                ConfigError::of_line(path, *line, &self.value, &problem, remedy)
            }
            Origin::Default | Origin::Environment(_) | Origin::CommandLine => {
                ConfigError::of_file(Path::new(&self.key), &problem, &remedy)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What bash makes of `line` alone: the value of `A`, when nothing else happened.
    #[allow(clippy::disallowed_methods)] // tests start programs as a person does
    fn in_bash(line: &str) -> Option<String> {
        let script = "unset A; eval \"$1\" || exit; printf %s. \"${A-unset}\"";
        let out = std::process::Command::new("/bin/bash")
            .args(["-rc", script, "bash", line])
            .env_clear()
            .env("PATH", "")
            .env("HOME", "home")
            .current_dir(std::env::temp_dir())
            .output()
            .expect("bash is there");
        let is_clean = out.status.success() && out.stderr.is_empty();
        let text = String::from_utf8(out.stdout).ok()?;
        text.strip_suffix('.')
            .filter(|_| is_clean)
            .map(str::to_owned)
    }

    fn ours(line: &str) -> Result<Read, ConfigError> {
        let path = Path::new("file");
        parse(
            File::TransactionalUpdate,
            path,
            format!("\n{line}\n").as_bytes(),
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn a_line_means_what_a_shell_takes_it_for_or_is_an_error_with_file_and_line(
            pieces in proptest::collection::vec(
                prop_oneof![
                    4 => "[ab1~=#!*?{}\\[\\]:,.%^@+ \t-]{1,4}",
                    3 => proptest::sample::select(vec!["$a", "$(a)", "`a`", "\"", "'", "\\", "\\\"", ";", "&", "|", "(a)"])
                        .prop_map(str::to_owned),
                    1 => "\"[ab $;#'~]{0,4}\"",
                    1 => "'[ab $;#`~\\\\]{0,4}'",
                ],
                0..4,
            ),
            before in prop_oneof![9 => Just("A="), 1 => Just("export A="), 1 => Just("A+="), 1 => Just("a; A=")],
        ) {
            let line = format!("{before}{}", pieces.concat());
            match ours(&line) {
                Ok(read) => {
                    prop_assert_eq!(read.assignments.len(), 1, "{}", line);
                    let value = &read.assignments[0].value;
                    prop_assert_eq!(Some(value.clone()), in_bash(&line), "{}", line);
                }
                Err(e) => prop_assert!(e.to_string().starts_with("file:2: "), "{}", e),
            }
        }
    }
}
