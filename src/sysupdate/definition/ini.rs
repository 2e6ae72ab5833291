//! The syntax of the files: sections with assignments, as systemd reads them (systemd.syntax(7)).

use std::path::{Path, PathBuf};

use super::Refusal;

/// An assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Name of the section; empty before the first one.
    pub(super) section: String,
    pub(super) key: String,
    pub(super) value: String,
    pub(super) at: At,
}

/// Where an assignment stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At {
    pub(super) path: PathBuf,
    /// Counted from one; of several that were joined, the last.
    pub(super) line: usize,
}

impl At {
    /// What is wrong here, as an error.
    pub(super) fn refuse(&self, problem: impl Into<String>) -> Refusal {
        Refusal {
            path: self.path.clone(),
            line: self.line,
            problem: problem.into(),
        }
    }

    /// What is strange here, for a list of warnings.
    pub(super) fn warning(&self, problem: impl Into<String>) -> String {
        self.refuse(problem).to_string()
    }
}

/// Reads the text of a file, which errors call `path`. What is strange goes to `warnings`.
///
/// # Errors
/// When a line begins as a section and is none.
pub(super) fn parse(
    path: &Path,
    bytes: &[u8],
    warnings: &mut Vec<String>,
) -> Result<Vec<Line>, Refusal> {
    let mut lines = Vec::new();
    let mut section = String::new();
    let mut joined = String::new();
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let count = bytes.split(|b| *b == b'\n').count();
    for (number, bytes) in bytes.split(|b| *b == b'\n').enumerate() {
        let at = At {
            path: path.to_owned(),
            line: number + 1,
        };
        let Ok(text) = std::str::from_utf8(bytes) else {
            warnings.push(at.warning("Line is not valid UTF-8, ignoring."));
            continue;
        };
        let text = text.trim();
        if text.starts_with(['#', ';']) {
            continue;
        }
        joined.push_str(text);
        if joined.ends_with('\\') && number + 1 < count {
            joined.pop();
            joined.push(' ');
            continue;
        }
        let whole = std::mem::take(&mut joined);
        let whole = whole.trim();
        if whole.is_empty() {
            continue;
        }
        if let Some(rest) = whole.strip_prefix('[') {
            let name = rest.strip_suffix(']').filter(|name| !name.is_empty());
            section = name
                .ok_or_else(|| at.refuse(format!("Invalid section header '{whole}'")))?
                .to_owned();
            continue;
        }
        match whole.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => lines.push(Line {
                section: section.clone(),
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
                at,
            }),
            Some(_) => warnings.push(at.warning("Missing key name before '=', ignoring line.")),
            None => warnings.push(at.warning("Missing '=', ignoring line.")),
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::type_complexity)] // section, key, value and line
    fn read(text: &[u8]) -> (Vec<(String, String, String, usize)>, Vec<String>) {
        let mut warnings = Vec::new();
        let lines = parse(Path::new("f"), text, &mut warnings).unwrap();
        let lines = lines
            .into_iter()
            .map(|l| (l.section, l.key, l.value, l.at.line));
        (lines.collect(), warnings)
    }

    #[test]
    fn sections_comments_blanks_and_joined_lines_are_read_as_systemd_reads_them() {
        let text =
            "\u{feff}# c\n; c\nA=0\n[ S ]\n A = b c \\\n# in between\n  d\n\nB=\n[T]\nC=x=y\r\n";
        let (lines, warnings) = read(text.as_bytes());
        let line = |s: &str, k: &str, v: &str, n| (s.into(), k.into(), v.into(), n);
        assert_eq!(
            lines,
            [
                line("", "A", "0", 3),
                line(" S ", "A", "b c  d", 7),
                line(" S ", "B", "", 9),
                line("T", "C", "x=y", 11)
            ]
        );
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn a_line_that_is_nothing_is_told_and_a_section_that_is_none_refuses_the_file() {
        let (lines, warnings) = read(b"[S]\nword\n=x\n\xff=1\nA=1\\");
        assert_eq!(lines.len(), 1);
        assert_eq!(
            warnings,
            [
                "f:2: Missing '=', ignoring line.",
                "f:3: Missing key name before '=', ignoring line.",
                "f:4: Line is not valid UTF-8, ignoring."
            ]
        );
        for bad in ["[S", "[]"] {
            let e = parse(Path::new("f"), bad.as_bytes(), &mut Vec::new()).unwrap_err();
            assert!(
                e.to_string().starts_with("f:1: Invalid section header"),
                "{e}"
            );
        }
    }
}
