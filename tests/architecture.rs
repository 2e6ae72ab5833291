//! The house rules that a compiler does not know: who may use what, and where absolute paths and prints may be.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The import table of ARCHITECTURE.md: a module and what it may use of this crate.
const ALLOWED: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("config", &["sys"]),
    ("snapshot", &["sys"]),
    ("boot", &["sys"]),
    ("sandbox", &["sys"]),
    ("package", &[]),
    ("rpmdb", &["sys"]),
    ("etc", &["sys"]),
    ("dirs", &["rpmdb", "config", "sys"]),
    (
        "transaction",
        &[
            "snapshot", "boot", "sandbox", "package", "etc", "config", "sys",
        ],
    ),
    (
        "manage",
        &["transaction", "snapshot", "boot", "etc", "config", "sys"],
    ),
    (
        "activate",
        &["transaction", "snapshot", "boot", "etc", "config", "sys"],
    ),
    (
        "setup",
        &["transaction", "snapshot", "boot", "etc", "config", "sys"],
    ),
    ("report", &["snapshot", "boot", "etc", "config", "sys"]),
    (
        "offline",
        &[
            "transaction",
            "snapshot",
            "boot",
            "sandbox",
            "package",
            "rpmdb",
            "config",
            "sys",
        ],
    ),
    ("sysupdate", &["config", "sys"]),
    (
        "cli",
        &[
            "sysupdate",
            "report",
            "sysupdate",
            "dirs",
            "offline",
            "rpmdb",
            "activate",
            "setup",
            "manage",
            "transaction",
            "snapshot",
            "boot",
            "sandbox",
            "package",
            "etc",
            "config",
            "sys",
        ],
    ),
];

/// Outside crates that only one module may use, so that a change of one of them has one place.
const OWNERS: &[(&str, &[&str])] = &[
    ("btrfsutil_sys", &["snapshot"]),
    ("quick_xml", &["snapshot", "package"]),
    ("clap", &["cli"]),
    ("indicatif", &["cli"]),
    ("tracing_subscriber", &["sys"]),
    ("tracing_journald", &["sys"]),
    ("signal_hook", &["sys", "sandbox"]),
    ("tempfile", &["sys"]),
    ("rustix", &["sys"]),
    ("rusqlite", &["rpmdb"]),
    ("rpm_version", &["rpmdb"]),
    ("sha2", &["rpmdb", "offline", "sysupdate"]),
    ("curl_sys", &["sysupdate"]),
    ("bzip2", &["sysupdate"]),
    ("flate2", &["sysupdate"]),
    ("liblzma", &["sysupdate"]),
    ("lz4_flex", &["sysupdate"]),
    ("zstd", &["sysupdate"]),
    ("gptman", &["sysupdate"]),
    ("hmac", &["sysupdate"]),
    ("libloading", &["sys"]),
    (
        "anyhow",
        &[
            "transaction",
            "dirs",
            "manage",
            "activate",
            "setup",
            "report",
            "offline",
            "sysupdate",
            "cli",
        ],
    ),
    (
        "serde_json",
        &["transaction", "dirs", "offline", "sysupdate", "cli"],
    ),
];

struct Source {
    module: String,
    path: PathBuf,
    /// The lines before the unit tests, numbered from 1, without comments.
    code: Vec<(usize, String)>,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut pending = vec![root.clone()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(dir).expect("src is readable") {
            let path = entry.expect("src is readable").path();
            if path.is_dir() {
                // of tests that are in several files
                if path.file_name().is_some_and(|n| n != "tests") {
                    pending.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "rs")
                && path.file_name().is_some_and(|n| n != "tests.rs")
            {
                let text = fs::read_to_string(&path).expect("a source is text");
                let rel = path.strip_prefix(&root).expect("below src");
                let module = rel
                    .iter()
                    .next()
                    .expect("a name")
                    .to_string_lossy()
                    .replace(".rs", "");
                found.push(Source {
                    module,
                    code: code(&text),
                    path: rel.to_owned(),
                });
            }
        }
    }
    assert!(found.len() > 30, "the sources were not found");
    found
}

fn code(text: &str) -> Vec<(usize, String)> {
    let before_tests = text.lines().take_while(|l| l.trim() != "#[cfg(test)]");
    let lines = before_tests
        .enumerate()
        .map(|(i, l)| (i + 1, l.trim().to_owned()));
    lines.filter(|(_, l)| !l.starts_with("//")).collect()
}

fn complain(broken: Vec<String>) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

/// Names that follow `prefix` in a line, also in a group: `crate::{a, b::c}`.
fn names_after(line: &str, prefix: &str) -> Vec<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut names = Vec::new();
    for (at, _) in line.match_indices(prefix) {
        if line[..at]
            .chars()
            .next_back()
            .is_some_and(|c| is_word(c) || c == '$')
        {
            continue;
        }
        let rest = &line[at + prefix.len()..];
        let mut depth = 0;
        let mut word = String::new();
        let mut first = true;
        for c in rest.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                c if is_word(c) => {
                    word.push(c);
                    continue;
                }
                _ => {}
            }
            if !word.is_empty() && first {
                names.push(std::mem::take(&mut word));
            }
            word.clear();
            first = depth == 1 && (c == ',' || c == '{' || (first && c == ' '));
            if depth == 0 {
                break;
            }
        }
    }
    names
}

#[test]
fn a_module_uses_only_what_its_row_allows() {
    let table: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let mut broken = Vec::new();
    for source in sources()
        .iter()
        .filter(|s| !["lib", "bin"].contains(&s.module.as_str()))
    {
        let Some(allowed) = table.get(source.module.as_str()) else {
            broken.push(format!("{} has no row in the table", source.module));
            continue;
        };
        for (number, line) in &source.code {
            for name in names_after(line, "crate::") {
                let known = table.contains_key(name.as_str());
                if known && name != source.module && !allowed.contains(&name.as_str()) {
                    broken.push(format!(
                        "src/{}:{number}: {} must not use {name}",
                        source.path.display(),
                        source.module
                    ));
                }
            }
        }
    }
    complain(broken);
}

#[test]
fn outside_crates_are_used_where_they_belong() {
    let mut broken = Vec::new();
    for source in sources() {
        for (number, line) in &source.code {
            for (name, owners) in OWNERS {
                let used =
                    line.contains(&format!("{name}::")) || line.starts_with(&format!("use {name}"));
                if used && !owners.contains(&source.module.as_str()) {
                    broken.push(format!(
                        "src/{}:{number}: {name} belongs to {owners:?}",
                        source.path.display()
                    ));
                }
            }
        }
    }
    complain(broken);
}

#[test]
fn absolute_paths_are_written_in_one_place_only() {
    let mut broken = Vec::new();
    for source in sources()
        .iter()
        .filter(|s| s.module != "bin" && s.path != Path::new("sys/root.rs"))
    {
        for (number, line) in &source.code {
            let parts: Vec<&str> = line.split('"').collect();
            let literal = parts.windows(2).step_by(2).any(|pair| {
                let mut chars = pair[1].chars();
                let is_path = chars.next() == Some('/')
                    && chars.next().is_none_or(|c| c.is_ascii_lowercase());
                // a sentence that begins with a path is words, a byte string is syntax of a format
                is_path && !pair[1].contains(' ') && !pair[0].ends_with('b')
            });
            if literal {
                broken.push(format!("src/{}:{number}: {line}", source.path.display()));
            }
        }
    }
    complain(broken);
}

#[test]
fn only_boot_switches_the_default_and_only_six_files_are_unsafe() {
    const UNSAFE: [&str; 6] = [
        "snapshot/btrfs.rs",
        "rpmdb/map.rs",
        "sys/selinux.rs",
        "sys/subvolume.rs",
        "sys/zone.rs",
        "sysupdate/fetch/easy.rs",
    ];
    let mut broken = Vec::new();
    for source in sources() {
        for (number, line) in &source.code {
            let at = format!("src/{}:{number}", source.path.display());
            if line.contains(".set_default(") && source.path != Path::new("transaction/switch.rs") {
                broken.push(format!(
                    "{at}: only the switch that is lent to `boot` sets the default"
                ));
            }
            if line.contains("allow(unsafe_code)")
                && !UNSAFE.iter().any(|p| source.path == Path::new(p))
            {
                broken.push(format!("{at}: unsafe code belongs into {UNSAFE:?}"));
            }
        }
    }
    complain(broken);
}

#[test]
fn binaries_are_three_lines() {
    for source in sources().iter().filter(|s| s.module == "bin") {
        let lines = source.code.iter().filter(|(_, l)| !l.is_empty()).count();
        assert!(
            lines <= 3,
            "src/{} has {lines} lines",
            source.path.display()
        );
    }
}

#[test]
fn a_group_of_imports_is_seen_name_by_name() {
    assert_eq!(
        names_after("use crate::sys::{Root, out};", "crate::"),
        ["sys"]
    );
    assert_eq!(
        names_after("use crate::{sys, package::rpm};", "crate::"),
        ["sys", "package"]
    );
    assert_eq!(
        names_after("let a = crate::boot::detect(crate::cli::x);", "crate::"),
        ["boot", "cli"]
    );
}
