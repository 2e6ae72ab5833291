//! Which directories of this machine zypp's repository files point to.
//!
//! Inside a transaction most of the running system's directories are hidden, so that a repository in one of them has to
//! be made visible.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::text::local_uri_path;

/// Longest repository file that is looked at, in bytes; the rest is ignored.
const FILE_MAX: usize = 1 << 20;

/// Most addresses of one repository that are looked at.
const URLS_MAX: usize = 100;

/// A repository as far as it matters here.
#[derive(Debug, Default)]
struct Repository {
    enabled: Option<bool>,
    urls: Vec<String>,
}

/// The directories that the enabled repositories of a `.repo` file (the text of it) point to, absolute, in file order.
///
/// Looked at are `baseurl` (also over several lines, as yum writes it) and `mirrorlist`, when they are `dir:` or `file:`
/// URIs. zypp's options after `?` are cut and percent signs decoded. A repository without an `enabled` line
/// is enabled. Addresses that contain a variable (`$releasever`) are left out: only zypp knows its value.
pub fn local_repositories(text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut current = Repository::default();
    let mut in_list = false;
    for line in bounded(text).lines() {
        let trimmed = line.trim();
        if trimmed.starts_with(['#', ';']) {
            continue;
        }
        if trimmed.starts_with('[') {
            std::mem::take(&mut current).give(&mut found);
            in_list = false;
        } else if let Some((key, value)) = key_value(line) {
            in_list = matches!(key, "baseurl" | "mirrorlist");
            match key {
                "enabled" => current.enabled = Some(is_true(value)),
                _ if in_list => current.add(value),
                _ => {}
            }
        } else if in_list {
            current.add(trimmed);
        }
    }
    current.give(&mut found);
    found
}

impl Repository {
    fn add(&mut self, value: &str) {
        let urls = value.split([' ', '\t', ',']).filter(|url| !url.is_empty());
        let room = URLS_MAX.saturating_sub(self.urls.len());
        self.urls.extend(urls.take(room).map(str::to_owned));
    }

    fn give(self, found: &mut Vec<PathBuf>) {
        if self.enabled == Some(false) {
            return;
        }
        for url in self.urls.iter().filter(|url| !url.contains('$')) {
            if let Some(path) = local_uri_path(url.as_bytes()) {
                let path = PathBuf::from(OsString::from_vec(path));
                if !found.contains(&path) {
                    found.push(path);
                }
            }
        }
    }
}

fn bounded(text: &str) -> &str {
    let mut end = text.len().min(FILE_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A line `key = value` whose key is a word, so that an indented URL with `=` in it is none.
fn key_value(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    let key = key.trim();
    let is_word = !key.is_empty()
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    is_word.then(|| (key, value.trim()))
}

fn is_true(value: &str) -> bool {
    ["1", "yes", "true", "on", "always", "+"]
        .iter()
        .any(|word| value.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        local_repositories(text)
            .iter()
            .map(|p| p.display().to_string())
            .collect()
    }

    #[test]
    fn enabled_local_repositories_are_found() {
        let text = "[a]\nenabled=1\nbaseurl=dir:///srv/a?mandir=x\n[b]\nenabled=0\nbaseurl=dir:/srv/b\n\
                    [c]\nname=c\nbaseurl = file:/srv/c%20d\n[d]\nbaseurl=https://example.org/d\n";
        assert_eq!(found(text), ["/srv/a", "/srv/c d"]);
    }

    #[test]
    fn enabled_may_come_after_the_address() {
        assert!(found("[a]\nbaseurl=dir:/a\nenabled=0\n").is_empty());
    }

    #[test]
    fn an_address_may_have_several_lines() {
        let text = "[a]\nbaseurl=https://example.org/\n   dir:/a\n   dir:/b?x=y\ntype=rpm-md\n   dir:/no\n";
        assert_eq!(found(text), ["/a", "/b"]);
    }

    #[test]
    fn keys_and_variables_are_respected() {
        let text = "[a]\n# baseurl=dir:/x\nbaseurl=dir:/a/$releasever\ngpgkey=file:///usr/k.asc\n\
                    mirrorlist=file:///srv/m1, file:///srv/m2\n";
        assert_eq!(found(text), ["/srv/m1", "/srv/m2"]);
    }

    #[test]
    fn anything_else_finds_nothing() {
        assert!(found("").is_empty());
        assert!(found("no = repository\n]]]\n[\nbaseurl\nbaseurl=\nbaseurl=dir:\n").is_empty());
        assert!(found(&"ä".repeat(FILE_MAX)).is_empty());
    }
}
