//! What `--json` prints.

use std::ffi::OsStr;
use std::path::Path;

use serde::Serialize;

use crate::dirs::{Entry, Report, Summary};
use crate::sys::out;

/// Raised when a field changes its meaning or goes away.
const VERSION: u32 = 1;

/// A report as JSON.
#[derive(Debug, Serialize)]
pub struct Answer {
    version: u32,
    root: String,
    database: Option<Database>,
    status: &'static str,
    dry_run: bool,
    summary: Summary,
    bad_packages: Vec<Bad>,
    warnings: Vec<String>,
    entries: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Database {
    path: String,
    backend: String,
}

#[derive(Debug, Serialize)]
struct Bad {
    name: String,
    error: String,
}

#[derive(Debug, Serialize)]
struct Line {
    path: String,
    action: &'static str,
    reason: Option<&'static str>,
    mode: String,
    user: String,
    group: String,
    packages: Vec<String>,
    error: Option<String>,
}

impl Answer {
    /// What `report` is as JSON.
    #[must_use]
    pub fn of(report: &Report) -> Answer {
        let bad = report.bad.iter().map(|bad| Bad {
            name: bad.name.clone(),
            error: bad.why.clone(),
        });
        Answer {
            version: VERSION,
            root: text(report.root.as_os_str()),
            database: report.database.as_ref().map(|source| Database {
                path: text(source.path.as_os_str()),
                backend: source.backend.clone(),
            }),
            status: report.status.word(),
            dry_run: report.dry_run,
            summary: report.summary(),
            bad_packages: bad.collect(),
            warnings: report.warnings.clone(),
            entries: report.entries.iter().map(Line::of).collect(),
        }
    }
}

impl Line {
    fn of(entry: &Entry) -> Line {
        Line {
            path: text(entry.path.as_os_str()),
            action: entry.action.word(),
            reason: entry.reason.map(|reason| reason.word()),
            mode: format!("{:04o}", entry.mode),
            user: text(&entry.user),
            group: text(&entry.group),
            packages: entry.packages.clone(),
            error: entry.error.clone(),
        }
    }
}

/// `name` as it is; escaped when it is no text.
fn text(name: &OsStr) -> String {
    match name.to_str() {
        Some(text) => text.to_owned(),
        None => out::path(Path::new(name)),
    }
}
