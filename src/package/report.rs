//! What is remembered of a run of zypper, so that its end can be explained.

use std::collections::VecDeque;

use super::event::{Event, FileConflict, Level, Prompt, Summary, Task};
use super::text::clean_line;

/// Most entries of each list that are kept.
const LIST_MAX: usize = 100;

/// Most lines kept of what a package's scriptlets said.
const LINES_MAX: usize = 20;

/// A scriptlet that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptletFailure {
    /// Name, version and architecture of the package.
    pub package: String,
    /// The scriptlet, as `%post`.
    pub scriptlet: String,
    /// How it ended, in rpm's words: `exit status 1`.
    pub status: String,
    /// The last lines that were printed before, oldest first.
    pub output: Vec<String>,
}

/// Collects events over one run. Every list in it is bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Messages of level error, oldest first.
    pub errors: Vec<String>,
    /// Messages of level warning, oldest first.
    pub warnings: Vec<String>,
    /// The last summary.
    pub summary: Option<Summary>,
    /// Questions beyond "Continue?"; zypper answered them with the default, which mostly is to give up.
    pub prompts: Vec<Prompt>,
    /// Files that two packages have.
    pub conflicts: Vec<FileConflict>,
    /// Scriptlets that failed.
    pub scriptlets: Vec<ScriptletFailure>,
    /// Repositories that zypper left out because of an error.
    pub skipped_repositories: Vec<String>,
    /// The first line that says that a file system is full.
    pub disk_full: Option<String>,
    /// The first line that says that a file could not be written, without a reason; mostly the disk is full.
    pub write_failed: Option<String>,
    /// The first line that says that a package or metadata could not be verified.
    pub unverified: Option<String>,
    /// The name of the last signing key that zypper asked about.
    pub unknown_key: Option<String>,
    /// Whether zypper refused a dist-upgrade because a repository could not be refreshed.
    pub refused_dup: bool,
    /// The package that was worked on last.
    pub current: Option<String>,
    /// The last lines of rpm and of scriptlets about that package, oldest first.
    pub recent: VecDeque<String>,
    /// How many packages were installed.
    pub installed: u32,
    /// How many packages were removed.
    pub removed: u32,
    /// Whether some summary of the run wanted package changes.
    wanted: bool,
}

impl Report {
    /// A report of a run in which nothing happened yet.
    pub fn new() -> Report {
        Report::default()
    }

    /// A report of a whole run.
    pub fn of(events: impl IntoIterator<Item = Event>) -> Report {
        let mut report = Report::new();
        for event in events {
            report.take(&event);
        }
        report
    }

    /// Remembers what matters of an event.
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::Message { level, text } => self.take_message(*level, text),
            Event::Progress(progress) => {
                if let Task::Install { package }
                | Task::Remove { package }
                | Task::Script { package, .. } = &progress.task
                {
                    self.work_on(package);
                }
                if progress.done && !progress.failed {
                    match progress.task {
                        Task::Install { .. } => self.installed = self.installed.saturating_add(1),
                        Task::Remove { .. } => self.removed = self.removed.saturating_add(1),
                        _ => {}
                    }
                }
            }
            Event::Retrieve(_) | Event::Download(_) => {}
            Event::Summary(summary) => {
                self.wanted |= summary.complete && !summary.is_empty();
                self.summary = Some(summary.clone());
            }
            Event::Prompt(prompt) if prompt.id == Prompt::CONTINUE => {}
            Event::Prompt(prompt) => push(&mut self.prompts, prompt.clone()),
            Event::FileConflict(conflict) => push(&mut self.conflicts, conflict.clone()),
        }
    }

    /// Whether the run wanted to change packages; None when no summary was read to its end.
    pub fn changed(&self) -> Option<bool> {
        match &self.summary {
            _ if self.wanted => Some(true),
            Some(summary) if summary.complete => Some(false),
            _ => None,
        }
    }

    /// The last lines about the package that was worked on last.
    pub fn last_lines(&self) -> Vec<String> {
        self.recent.iter().cloned().collect()
    }

    fn work_on(&mut self, package: &str) {
        if self.current.as_deref() != Some(package) {
            self.current = Some(package.to_owned());
            self.recent.clear();
        }
    }

    fn take_message(&mut self, level: Level, text: &str) {
        match level {
            Level::Error => push(&mut self.errors, text.to_owned()),
            Level::Warning => push(&mut self.warnings, text.to_owned()),
            Level::Info => {}
        }
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            self.take_line(level, line);
        }
    }

    fn take_line(&mut self, level: Level, line: &str) {
        if self.disk_full.is_none() && says_disk_full(line) {
            self.disk_full = Some(clean_line(line));
        }
        if self.write_failed.is_none() && says_write_failed(line) {
            self.write_failed = Some(clean_line(line.trim_start_matches("- ")));
        }
        if self.unverified.is_none() && says_unverified(line) {
            self.unverified = Some(clean_line(
                line.trim_start_matches("- ").trim_end_matches('.'),
            ));
        }
        if let Some(name) = between(line, "<key-name>", "</key-name>") {
            self.unknown_key = Some(
                name.replace("&lt;", "<")
                    .replace("&gt;", ">")
                    .replace("&amp;", "&"),
            );
        }
        match level {
            // a warning while it goes on without the repository, an error of a refresh
            Level::Warning | Level::Error => {
                if let Some(name) = between(line, "Skipping repository '", "' because of") {
                    push(&mut self.skipped_repositories, name.to_owned());
                }
            }
            Level::Info => {
                self.refused_dup |=
                    line.starts_with("dist-upgrade: Due to the treatment of orphaned packages");
                if let Some(package) = posttrans_header(line) {
                    self.work_on(package);
                } else if let Some((scriptlet, package, status)) = scriptlet_failure(line) {
                    self.fail_scriptlet(scriptlet, package, status);
                } else {
                    if self.recent.len() == LINES_MAX {
                        self.recent.pop_front();
                    }
                    self.recent.push_back(clean_line(line));
                }
            }
        }
    }

    fn fail_scriptlet(&mut self, scriptlet: String, package: &str, status: &str) {
        let failure = ScriptletFailure {
            package: package.to_owned(),
            scriptlet,
            status: status.to_owned(),
            output: self.last_lines(),
        };
        push(&mut self.scriptlets, failure);
    }
}

fn push<T>(list: &mut Vec<T>, item: T) {
    if list.len() < LIST_MAX {
        list.push(item);
    }
}

/// What stands between two marks.
fn between<'t>(line: &'t str, before: &str, after: &str) -> Option<&'t str> {
    let (_, rest) = line.split_once(before)?;
    Some(rest.split_once(after)?.0)
}

/// The package in `%posttrans(NAME) script output:`, which libzypp prints before what a late scriptlet said.
fn posttrans_header(line: &str) -> Option<&str> {
    let (_, rest) = line.strip_prefix('%')?.split_once('(')?;
    rest.strip_suffix(") script output:")
}

/// Scriptlet, package and status in rpm's `warning: %post(NAME) scriptlet failed, exit status 1`.
fn scriptlet_failure(line: &str) -> Option<(String, &str, &str)> {
    let line = line
        .strip_prefix("error: ")
        .or_else(|| line.strip_prefix("warning: "))
        .unwrap_or(line);
    let (name, rest) = line.strip_prefix('%')?.split_once('(')?;
    let (package, rest) = rest.split_once(") scriptlet failed")?;
    let name = match name {
        "prein" => "pre",
        "postin" => "post",
        other => other,
    };
    Some((
        format!("%{name}"),
        package,
        rest.trim_start_matches([',', ' ']),
    ))
}

/// Whether a line says that there is no room: of the kernel, of sqlite, of rpm's own estimate, or of a quota.
pub(super) fn says_disk_full(line: &str) -> bool {
    let has = |text: &str| line.contains(text);
    has("No space left on device")
        || has("disk I/O error")
        || has("database or disk is full")
        || has("Disk quota exceeded")
        || (has(" needs ") && (has(" more space on the ") || has(" more inodes on the ")))
}

/// Whether a line says that writing failed. rpm loses the reason (a full disk gives "No such file or directory").
fn says_write_failed(line: &str) -> bool {
    line.contains("cpio: write failed") || line.starts_with("- Can't hardlink/copy ")
}

/// Whether a line of zypper or rpm says that a check of a signature or a checksum failed.
fn says_unverified(line: &str) -> bool {
    line.contains("Signature verification failed")
        || line.starts_with("Digest verification failed for file ")
        || (line.starts_with("package ") && line.contains(" does not verify: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &[&str]) -> Report {
        Report::of(lines.iter().map(|l| Event::Message {
            level: Level::Info,
            text: (*l).to_owned(),
        }))
    }

    #[test]
    fn a_failed_scriptlet_is_kept_with_what_it_said() {
        let report = said(&[
            "%posttrans(a-1-1.noarch) script output:",
            "one",
            "two\nthree",
            "warning: %posttrans(a-1-1.noarch) scriptlet failed, exit status 3",
        ]);
        let failure = &report.scriptlets[0];
        assert_eq!(
            (failure.package.as_str(), failure.scriptlet.as_str()),
            ("a-1-1.noarch", "%posttrans")
        );
        assert_eq!(failure.status, "exit status 3");
        assert_eq!(failure.output, ["one", "two", "three"]);
    }

    #[test]
    fn rpms_longer_names_of_scriptlets_are_shortened() {
        let report = said(&["error: %prein(a-1-1.noarch) scriptlet failed, signal 9"]);
        assert_eq!(report.scriptlets[0].scriptlet, "%pre");
        assert_eq!(report.scriptlets[0].status, "signal 9");
    }

    #[test]
    fn only_the_last_lines_of_a_package_are_kept() {
        let lines: Vec<String> = (0..50).map(|n| format!("line {n}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let report = said(&lines);
        assert_eq!(report.recent.len(), LINES_MAX);
        assert_eq!(report.recent.back().map(String::as_str), Some("line 49"));
    }

    #[test]
    fn a_summary_without_an_end_leaves_open_whether_something_changed() {
        let summary = Summary {
            packages_to_change: Some(0),
            ..Summary::default()
        };
        assert_eq!(
            Report::of([Event::Summary(summary.clone())]).changed(),
            None
        );
        let whole = Summary {
            complete: true,
            ..summary
        };
        assert_eq!(
            Report::of([Event::Summary(whole.clone())]).changed(),
            Some(false)
        );
        let more = Summary {
            packages_to_change: Some(2),
            ..whole.clone()
        };
        assert_eq!(
            Report::of([Event::Summary(more), Event::Summary(whole)]).changed(),
            Some(true)
        );
        assert_eq!(Report::new().changed(), None);
    }

    #[test]
    fn lines_about_a_full_disk_are_known() {
        assert!(says_disk_full(
            "installing package a needs 190MB more space on the /usr filesystem"
        ));
        assert!(says_disk_full(
            "error: sqlite failure: CREATE TABLE: disk I/O error"
        ));
        assert!(!says_disk_full("the plot needs more space"));
    }
}
