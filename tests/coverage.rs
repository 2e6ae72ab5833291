//! tests/coverage/*.tsv name the test of each row of the specification. Both ways: what is named exists, and each
//! integration test is there for a row.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Names of the functions below `#[test]`.
fn tests_of(source: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(source).unwrap_or_else(|e| panic!("{}: {e}", source.display()));
    let mut lines = text.lines();
    let mut found = BTreeSet::new();
    while let Some(line) = lines.next() {
        if line.trim() != "#[test]" {
            continue;
        }
        let function = lines.by_ref().find_map(|l| l.trim().strip_prefix("fn "));
        let name = function
            .and_then(|f| f.split_once('('))
            .map(|(name, _)| name);
        found.extend(name.filter(|n| !n.contains('$')).map(str::to_owned));
    }
    found
}

struct Row {
    at: String,
    row: String,
    test: String,
}

/// All rows of all tables, and what is wrong with their form.
fn rows() -> (Vec<Row>, Vec<String>) {
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    let tables = files(&here("tests/coverage"), "tsv");
    assert!(!tables.is_empty(), "no table in tests/coverage");
    for table in tables {
        let name = table
            .file_name()
            .expect("a file")
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(&table).expect("a table is text");
        let mut lines = text.lines();
        if lines.next() != Some("row\ttest") {
            wrong.push(format!("{name}: the first line is not \"row\\ttest\""));
        }
        let mut seen = BTreeSet::new();
        for (number, line) in lines.enumerate().map(|(i, l)| (i + 2, l)) {
            let at = format!("{name}:{number}");
            match line.split('\t').map(str::trim).collect::<Vec<_>>()[..] {
                [row, test] if !row.is_empty() && !test.is_empty() => {
                    rows.push(Row {
                        at: at.clone(),
                        row: row.into(),
                        test: test.into(),
                    });
                }
                _ => wrong.push(format!("{at}: not two filled cells: {line:?}")),
            }
            if !seen.insert(line) {
                wrong.push(format!("{at}: a second time: {line}"));
            }
        }
    }
    (rows, wrong)
}

/// The file that holds the test `path::name` (`src/…` from the top, `powercut/…` in tests, else in tests/it), and the test's name.
fn locate(test: &str) -> Option<(PathBuf, &str)> {
    let (path, name) = test.rsplit_once("::")?;
    let file = match path.strip_prefix("src/") {
        Some(_) => here(path.strip_suffix(".rs").unwrap_or(path)).with_extension("rs"),
        None if path.starts_with("powercut/") => here("tests").join(path).with_extension("rs"),
        None => here("tests/it").join(path).with_extension("rs"),
    };
    Some((file, name))
}

#[test]
fn every_row_names_a_test_that_exists() {
    let (rows, mut wrong) = rows();
    for Row { at, row, test } in &rows {
        match locate(test) {
            Some((file, name)) if file.exists() && tests_of(&file).contains(name) => {}
            _ => wrong.push(format!("{at}: there is no test {test} (for: {row})")),
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn every_integration_test_is_there_for_a_row() {
    let (rows, _) = rows();
    let named: BTreeSet<&str> = rows.iter().map(|r| r.test.as_str()).collect();
    let mut missing = Vec::new();
    let (it, powercut) = (here("tests/it"), here("tests/powercut"));
    let all = [("", it), ("powercut/", powercut)];
    let all = all.map(|(prefix, dir)| files(&dir, "rs").into_iter().map(move |f| (prefix, f)));
    for (prefix, file) in all.into_iter().flatten() {
        let module = format!("{prefix}{}", file.file_stem().expect("a file").display());
        let tests = tests_of(&file);
        let tests = tests.iter().map(|name| format!("{module}::{name}"));
        missing.extend(tests.filter(|test| !named.contains(test.as_str())));
    }
    assert!(
        missing.is_empty(),
        "no row of tests/coverage/*.tsv names\n{}\n",
        missing.join("\n")
    );
}
