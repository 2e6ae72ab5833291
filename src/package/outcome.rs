//! What the end of a run of zypper means.

use super::report::{Report, says_disk_full};
use super::text::clean_line;
use super::{Action, Prompt};

/// Most lines given as details of a failure.
const DETAILS_MAX: usize = 20;

/// A run that did what was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Success {
    /// Whether packages changed; None when zypper did not say, as in an interactive run.
    pub changed: Option<bool>,
    /// Whether zypper says that what changed wants a reboot.
    pub reboot_wanted: bool,
    /// Whether zypper updated itself and wants to be called again for the rest (only `patch`).
    pub run_again: bool,
    /// Repositories that were left out because they could not be refreshed.
    pub skipped_repositories: Vec<String>,
    /// What the user should know all the same.
    pub warnings: Vec<String>,
}

/// Why a run failed. A caller may branch on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureKind {
    /// The solver found no way to do it.
    Unresolvable,
    /// A file system is full.
    DiskFull,
    /// A package or a file that was named does not exist.
    NotFound,
    /// A scriptlet of a package failed.
    Scriptlet {
        /// Name, version and architecture of the package.
        package: String,
        /// The scriptlet, as `%post`; empty when it is not known.
        scriptlet: String,
    },
    /// A signature or a checksum is missing or wrong, or the key is not trusted.
    Signature,
    /// A repository could not be read.
    RepositoryUnavailable,
    /// Another package manager is at work.
    Locked,
    /// A signal, or the user, ended the run.
    Interrupted,
    /// Packages were found, but installing or removing them failed.
    Commit,
    /// Anything else.
    Other,
}

/// A run that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub kind: FailureKind,
    /// The exit code of zypper.
    pub code: i32,
    /// One sentence without a full stop that names the object.
    pub message: String,
    /// What to do about it; empty when there is nothing better to say than the message.
    pub hint: &'static str,
    /// The last lines that explain it, oldest first.
    pub details: Vec<String>,
}

impl Failure {
    /// Whether a signature could not be checked because its key is not known. That is so for good when a key was
    /// accepted by a run whose outcome was thrown away: zypper takes the repository as checked from then on.
    #[must_use]
    pub fn lacks_key(&self) -> bool {
        self.kind == FailureKind::Signature && self.message.contains("public key is not available")
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Says what the end of a run means.
///
/// `code` is the exit status of zypper, or 128 and the number of the signal that ended it. `report` is what was read
/// from its XML (empty for an interactive run), `stderr_tail` the end of its standard error.
///
/// Success is 0, 102 (reboot wanted), 103 (zypper itself was updated) and, except for a dist-upgrade, 106 (a repository
/// was left out). Everything else is a failure, also 107, where packages are installed but a scriptlet
/// failed, and 104, with which `remove` reports an unknown name although it removed the others. A failed scriptlet in
/// the report makes a failure of 102, 103 and 106 too, since zypper has only one exit code for two things to say.
///
/// # Errors
/// [`Failure`] with the cause that the report makes most likely: some codes of zypper have several.
pub fn judge(
    action: Action,
    code: i32,
    report: &Report,
    stderr_tail: &str,
) -> Result<Success, Failure> {
    let run = Run {
        code,
        report,
        stderr: stderr_tail,
    };
    match code {
        0 => Ok(success(action, code, report)),
        102 | 103 if report.scriptlets.is_empty() => Ok(success(action, code, report)),
        106 if report.scriptlets.is_empty() && action != Action::DistUpgrade => {
            Ok(success(action, code, report))
        }
        102 | 103 => Err(run.scriptlet().unwrap_or_else(|| run.other())),
        _ => Err(run.failure()),
    }
}

fn success(action: Action, code: i32, report: &Report) -> Success {
    let mut warnings: Vec<String> = Vec::new();
    for name in &report.skipped_repositories {
        warnings.push(format!(
            "repository '{name}' could not be refreshed and was left out"
        ));
    }
    for failure in &report.scriptlets {
        warnings.push(format!(
            "{} of {} failed: {}",
            failure.scriptlet, failure.package, failure.status
        ));
    }
    warnings.extend(
        report
            .warnings
            .iter()
            .filter(|w| !w.starts_with("Skipping repository"))
            .cloned(),
    );
    Success {
        changed: report.changed(),
        reboot_wanted: code == 102 || report.summary.as_ref().is_some_and(|s| s.need_reboot),
        run_again: code == 103 && action == Action::Patch,
        skipped_repositories: report.skipped_repositories.clone(),
        warnings,
    }
}

/// A failed run, looked at for its cause.
struct Run<'r> {
    code: i32,
    report: &'r Report,
    stderr: &'r str,
}

impl Run<'_> {
    fn failure(&self) -> Failure {
        if self.code == 105 || self.code > 128 || self.stderr.contains("Trying to exit gracefully")
        {
            return self.interrupted();
        }
        if let Some(failure) = self.disk_full() {
            return failure;
        }
        match self.code {
            7 => self.locked(),
            126 | 127 => self.not_started(),
            107 => self.scriptlet().unwrap_or_else(|| self.unknown_scriptlet()),
            8 => self
                .scriptlet()
                .or_else(|| self.signature())
                .unwrap_or_else(|| self.commit()),
            4 => self
                .without_repository()
                .or_else(|| self.unresolvable())
                .unwrap_or_else(|| self.other()),
            3 | 104 => self
                .without_repository()
                .unwrap_or_else(|| self.not_found()),
            6 | 106 => {
                let scriptlet = self.scriptlet().or_else(|| self.without_repository());
                scriptlet.unwrap_or_else(|| self.no_repository())
            }
            _ => self.other(),
        }
    }

    fn build(&self, kind: FailureKind, message: impl Into<String>, hint: &'static str) -> Failure {
        Failure {
            kind,
            code: self.code,
            message: message.into(),
            hint,
            details: self.details(),
        }
    }

    /// Lines that explain: what the failed scriptlet said, else what rpm said about the last package and the errors;
    /// then the end of standard error.
    fn details(&self) -> Vec<String> {
        let report = self.report;
        let mut lines = match report.scriptlets.last() {
            Some(failure) => failure.output.clone(),
            None if report.current.is_some() || report.errors.is_empty() => report.last_lines(),
            None => Vec::new(),
        };
        if report.scriptlets.is_empty() {
            let errors = report.errors.iter().flat_map(|e| e.lines());
            lines.extend(errors.filter(|line| !says_nothing(line)).map(clean_line));
        }
        lines.extend(self.stderr.lines().map(clean_line));
        lines.retain(|line| !line.trim().is_empty());
        lines.drain(..lines.len().saturating_sub(DETAILS_MAX));
        lines
    }

    /// The first error of the report in one line, or the last line of standard error. A line that ends with a colon gets
    /// the next one added.
    fn first_error(&self) -> Option<String> {
        let from_report = self.report.errors.first().and_then(|error| {
            let mut lines = error.lines().map(str::trim);
            let mut lines = lines.by_ref().filter(|l| !l.is_empty() && !says_nothing(l));
            let first = lines.next()?;
            Some(match lines.next() {
                Some(second) if first.ends_with(':') => clean_line(&format!("{first} {second}")),
                _ => clean_line(first),
            })
        });
        let from_stderr = || {
            self.stderr
                .lines()
                .map(str::trim)
                .rev()
                .find(|l| !l.is_empty())
                .map(clean_line)
        };
        let error = from_report.or_else(from_stderr);
        error.map(|e| decapitalised(e.trim_end_matches(['.', ':'])))
    }

    fn interrupted(&self) -> Failure {
        let at = match &self.report.current {
            Some(package) => format!(" while it worked on {package}"),
            None => String::new(),
        };
        match self.code {
            // SIGBUS: a file that zypper has mapped could not grow.
            135 => self.build(
                FailureKind::Other,
                format!("zypper crashed with signal 7{at}"),
                "A full file system makes zypper crash like this: look at the free space.",
            ),
            // SIGILL, SIGABRT, SIGFPE, SIGSEGV: nobody asked for these.
            132 | 134 | 136 | 139 => self.build(
                FailureKind::Other,
                format!("zypper crashed with signal {}{at}", self.code - 128),
                "See /var/log/zypper.log; this is a fault of the package manager.",
            ),
            137 => self.build(
                FailureKind::Interrupted,
                format!("zypper was killed{at}"),
                "If nobody killed it, the system may have run out of memory: see the kernel's messages.",
            ),
            _ => self.build(FailureKind::Interrupted, format!("zypper was interrupted{at}"), ""),
        }
    }

    fn disk_full(&self) -> Option<Failure> {
        // rpm often does not tell which it is
        const HINT: &str = "Remove old snapshots or other data, or raise the limit of their quota group, where they have one, \
             then try again.";
        let stderr = || {
            self.stderr
                .lines()
                .find(|line| says_disk_full(line))
                .map(clean_line)
        };
        if let Some(line) = self.report.disk_full.clone().or_else(stderr) {
            return Some(self.build(
                FailureKind::DiskFull,
                format!("no space left: {}", line.trim()),
                HINT,
            ));
        }
        let line = self.report.write_failed.as_ref()?;
        let message = format!(
            "a file could not be written, most likely because the file system is full: {line}"
        );
        Some(self.build(FailureKind::DiskFull, message, HINT))
    }

    fn locked(&self) -> Failure {
        let message = match self.first_error() {
            Some(error) => format!("the package manager is locked: {error}"),
            None => "another package manager is running".to_owned(),
        };
        self.build(
            FailureKind::Locked,
            message,
            "Wait until it is done, or end it, then try again.",
        )
    }

    fn not_started(&self) -> Failure {
        self.build(
            FailureKind::Other,
            "zypper could not be started in the new snapshot",
            "Check that the package 'zypper' is installed and complete.",
        )
    }

    fn scriptlet(&self) -> Option<Failure> {
        let failure = self.report.scriptlets.last()?;
        let kind = FailureKind::Scriptlet {
            package: failure.package.clone(),
            scriptlet: failure.scriptlet.clone(),
        };
        let message = format!(
            "the {} scriptlet of {} failed: {}",
            failure.scriptlet, failure.package, failure.status
        );
        Some(self.build(kind, message, SCRIPTLET_HINT))
    }

    fn unknown_scriptlet(&self) -> Failure {
        let package = self.report.current.clone().unwrap_or_default();
        let message = match package.as_str() {
            "" => "a scriptlet of a package failed".to_owned(),
            name => format!("a scriptlet failed; the last package worked on was {name}"),
        };
        self.build(
            FailureKind::Scriptlet {
                package,
                scriptlet: String::new(),
            },
            message,
            SCRIPTLET_HINT,
        )
    }

    /// A cause that lies in a repository.
    fn without_repository(&self) -> Option<Failure> {
        self.signature().or_else(|| self.repository())
    }

    fn signature(&self) -> Option<Failure> {
        let repository = self.report.skipped_repositories.first();
        let asked = |id| self.report.prompts.iter().any(|p| p.id == id);
        if let Some(key) = &self.report.unknown_key
            && (asked(13) || asked(14))
        {
            let repository = repository.map_or("a repository", String::as_str);
            let message = format!("'{repository}' is signed with a key that is not trusted: {key}");
            let hint = "If the key is right, import it with `transactional-update run rpm --import - < FILE`, or set \
                        ZYPPER_AUTO_IMPORT_KEYS=1.";
            return Some(self.build(FailureKind::Signature, message, hint));
        }
        let line = self.report.unverified.as_ref()?;
        Some(match repository {
            Some(name) => self.build(
                FailureKind::Signature,
                format!("repository '{name}' could not be verified: {line}"),
                "Try again later, or ask whoever provides the repository; do not switch the check off.",
            ),
            None if line.contains("File is unsigned") => self.build(
                FailureKind::Signature,
                line.as_str(),
                "Install a signed package, or add --allow-unsigned-rpm for a local file whose origin you know.",
            ),
            None => self.build(
                FailureKind::Signature,
                line.as_str(),
                "The package was changed after it was signed, was damaged on its way, or its key is not known.",
            ),
        })
    }

    fn repository(&self) -> Option<Failure> {
        let names = &self.report.skipped_repositories;
        if names.is_empty() && !self.report.refused_dup {
            return None;
        }
        let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
        let mut message = match quoted.as_slice() {
            [] => "a repository could not be refreshed".to_owned(),
            [one] => format!("repository {one} could not be refreshed"),
            several => format!("repositories {} could not be refreshed", several.join(", ")),
        };
        if self.code == 104
            && let Some(error) = self.report.errors.last()
        {
            message = format!(
                "{message}; {}",
                decapitalised(error.trim().trim_end_matches('.'))
            );
        }
        let hint = "Check the network and the address of the repository, or disable it.";
        Some(self.build(FailureKind::RepositoryUnavailable, message, hint))
    }

    fn no_repository(&self) -> Failure {
        let hint = "See `zypper repos` and `zypper refresh`.";
        self.build(
            FailureKind::RepositoryUnavailable,
            "a repository is missing or could not be refreshed",
            hint,
        )
    }

    fn not_found(&self) -> Failure {
        let provider = self
            .report
            .errors
            .iter()
            .find(|e| e.starts_with("No provider of "));
        let message = provider.map(|e| decapitalised(&clean_line(e.trim_end_matches('.'))));
        let message = message.or_else(|| self.missing_file());
        let message = message.or_else(|| self.first_error());
        let message =
            message.unwrap_or_else(|| "a package that was named does not exist".to_owned());
        let hint = if self.code == 104 {
            "Check the spelling with `zypper search`, and that its repository is enabled."
        } else {
            "Check the arguments; a local file has to be readable."
        };
        self.build(FailureKind::NotFound, message, hint)
    }

    fn missing_file(&self) -> Option<String> {
        let about_file = |e: &String| {
            let rest = e.strip_prefix("Problem with the RPM file specified as '")?;
            Some(clean_line(rest.strip_suffix("', skipping.")?))
        };
        let path = self.report.errors.iter().find_map(about_file)?;
        Some(format!("the file '{path}' does not exist or is no package"))
    }

    /// The solver's problem; None when the report says that something else went wrong.
    fn unresolvable(&self) -> Option<Failure> {
        let mut prompts = self.report.prompts.iter();
        let Some(prompt) = prompts.find(|p| p.id == Prompt::RESOLVE) else {
            let message = "the dependencies of the packages cannot be resolved";
            let failure = || {
                self.build(
                    FailureKind::Unresolvable,
                    message,
                    "See /var/log/zypper.log.",
                )
            };
            return self.report.errors.is_empty().then(failure);
        };
        let lines = || {
            prompt
                .description
                .lines()
                .map(str::trim)
                .filter(|l| !l.is_empty())
        };
        let problem = lines().next().unwrap_or_default();
        let problem = problem.strip_prefix("Problem: ").unwrap_or(problem);
        let problem = match problem.split_once(": ") {
            Some((number, rest)) if number.bytes().all(|b| b.is_ascii_digit()) => rest,
            _ => problem,
        };
        let mut failure = self.build(
            FailureKind::Unresolvable,
            format!(
                "the dependencies cannot be resolved: {}",
                clean_line(problem)
            ),
            "Run the same command with --interactive to choose one of the solutions.",
        );
        failure.details = lines().map(clean_line).take(DETAILS_MAX).collect();
        Some(failure)
    }

    fn commit(&self) -> Failure {
        if let Some(conflict) = self.report.conflicts.first() {
            let message = format!(
                "{} is in more than one package: {}",
                conflict.file,
                conflict.packages.join(", ")
            );
            let hint = "Remove one of the packages, or add --replacefiles to let the last one win.";
            return self.build(FailureKind::Commit, message, hint);
        }
        if let Some(error) = self.report.errors.iter().find(|e| says_download_failed(e)) {
            let line = error
                .lines()
                .next()
                .unwrap_or_default()
                .trim_end_matches([':', '.']);
            let line = decapitalised(&clean_line(line));
            let hint = "Check the network and the repository, then try again.";
            return self.build(FailureKind::RepositoryUnavailable, line, hint);
        }
        if self.report.prompts.iter().any(|p| p.id == Prompt::LICENCE) {
            let hint =
                "Run the same command with --interactive, or add --auto-agree-with-licenses.";
            return self.build(
                FailureKind::Commit,
                "a package wants its licence to be accepted",
                hint,
            );
        }
        let message = match (self.first_error(), &self.report.current) {
            (Some(error), _) => error,
            (None, Some(package)) => format!("installing or removing {package} failed"),
            (None, None) => "installing or removing packages failed".to_owned(),
        };
        self.build(FailureKind::Commit, message, "See /var/log/zypper.log.")
    }

    fn other(&self) -> Failure {
        let message = match self.first_error() {
            Some(error) => format!("zypper failed with exit code {}: {error}", self.code),
            None => format!("zypper failed with exit code {}", self.code),
        };
        let hint = if self.code == 2 {
            "See `zypper help` for the options of the command."
        } else {
            ""
        };
        self.build(FailureKind::Other, message, hint)
    }
}

const SCRIPTLET_HINT: &str = "The package is faulty, or its scriptlet wants to change something outside of the \
                              new snapshot; report it to whoever provides the package.";

fn says_download_failed(error: &str) -> bool {
    [
        "Download (",
        "Failed to provide ",
        "Can't provide file",
        "not found on medium",
    ]
    .iter()
    .any(|t| error.contains(t))
}

/// Lines of zypper that stand around what went wrong.
fn says_nothing(line: &str) -> bool {
    [
        "Problem occurred during or after installation or removal of packages:",
        "Installation has been aborted as directed.",
        "Installation has completed with error.",
        "Please see the above error message for a hint.",
        "Please file a bug report about this.",
        "See http://en.opensuse.org/Zypper/Troubleshooting for instructions.",
        "Unexpected exception.",
        "History:",
        "- ABORT request:",
    ]
    .contains(&line.trim())
}

/// The text with a small first letter, unless the first word has more capitals (`RPM`).
fn decapitalised(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}
