//! `pkg`, `dup`, `up` and `patch`: the package manager in the new snapshot.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Error, Result, anyhow, bail};

use super::args::Pkg;
use super::progress::Progress;
use super::session::{Session, Worked};
use crate::package::rpm::Fingerprint;
use crate::package::{Action, Failure, FailureKind, Report, Request, Success, judge, repos, rpm};
use crate::sandbox::{Output, Shown};
use crate::sys::cmd::Argv;
use crate::sys::{fs, out};
use crate::transaction::{Open, Step, System, call_package_manager};

/// How often the package manager may ask to be called again after it updated itself.
const ROUNDS: usize = 3;

/// What the package manager is to do, checked as far as that is possible without a snapshot.
#[derive(Debug)]
pub(super) struct Job {
    request: Request,
}

/// Installs, removes or updates packages by name.
pub(super) fn pkg(session: &Session, action: Pkg) -> Result<Job> {
    let (action, args) = match action {
        Pkg::Install(packages) => (Action::Install, packages.args),
        Pkg::Remove(packages) => (Action::Remove, packages.args),
        Pkg::Update(packages) => (Action::Update, packages.args),
    };
    Job::new(action, args, session.is_interactive(true))
}

/// Updates the whole system.
pub(super) fn upgrade(session: &Session, action: Action) -> Result<Job> {
    Job::new(action, Vec::new(), session.is_interactive(false))
}

/// That a dialogue is not possible.
pub(super) fn nobody_answers() -> Error {
    anyhow!(
        "the package manager asks questions, and there is no terminal to answer them; add --non-interactive before the command"
    )
}

impl Job {
    /// A call of the package manager.
    pub(super) fn new(action: Action, args: Vec<OsString>, interactive: bool) -> Result<Job> {
        let agreed = args.iter().any(|arg| arg == "-y" || arg == "--no-confirm");
        if interactive && !agreed && !out::is_answered() {
            return Err(nobody_answers());
        }
        let mut request = Request::new(action, args);
        if action != Action::Remove {
            request.args = request.args.into_iter().flat_map(packages_in).collect();
        }
        let mut request = request.with_absolute_paths(located);
        request.interactive = interactive;
        Ok(Job { request })
    }

    /// What it does.
    pub(super) fn action(&self) -> Action {
        self.request.action
    }

    /// Whether a person answers its questions.
    pub(super) fn is_interactive(&self) -> bool {
        self.request.interactive
    }

    /// The package files that the transaction has to see.
    pub(super) fn shown(&self) -> Vec<Shown> {
        let paths = self.request.local_paths().map(|path| path.into_owned());
        let files = paths.filter(|path| is_package(path)).map(|path| Shown {
            source: path.clone(),
            path,
            over_own: true,
        });
        files.collect()
    }

    /// Does it in the snapshot of `open`.
    pub(super) fn work(&self, system: &System, open: &Open<'_>) -> Result<Worked> {
        let mut request = self.request.clone();
        request.import_keys = system.config.import_keys.value;
        work(open, &request)
    }
}

fn work(open: &Open<'_>, request: &Request) -> Result<Worked> {
    let before = if request.interactive {
        Some(fingerprint(open)?)
    } else {
        None
    };
    let mut changed = false;
    let mut may_refresh = request.import_keys;
    for _ in 0..ROUNDS {
        let success = match once(open, request) {
            Err(e) if may_refresh && lacks_key(&e) => {
                may_refresh = false;
                open.read_repositories()?;
                continue;
            }
            other => other?,
        };
        changed |= success.changed.unwrap_or(before.is_none());
        if success.run_again {
            out::say("The package manager was updated; it runs again for the rest.");
            continue;
        }
        if let Some(before) = before {
            changed = fingerprint(open)? != before;
        }
        if !changed {
            return Ok(Worked::Nothing);
        }
        open.purge_kernels()?;
        return Ok(Worked::Publish);
    }
    bail!(
        "the package manager wanted to run again {ROUNDS} times; call this command once more after a reboot"
    )
}

fn lacks_key(error: &Error) -> bool {
    error
        .downcast_ref::<Failure>()
        .is_some_and(Failure::lacks_key)
}

/// One run of the package manager.
fn once(open: &Open<'_>, request: &Request) -> Result<Success> {
    let argv = Argv::new(request.argv());
    let call = |output: Output<'_>| {
        let run = || open.run(argv.clone(), true, request.interactive, output);
        open.step(Step::CallExt, &argv, run)
    };
    let success = if request.interactive {
        let exit = call(Output::Inherit)?;
        judge(request.action, exit.code.into(), &Report::new(), "").map_err(after_dialogue)?
    } else {
        let mut progress = Progress::new();
        call_package_manager(request.action, &mut |event| progress.take(event), call)?
    };
    for warning in &success.warnings {
        out::warn(warning);
    }
    Ok(success)
}

/// The exit status is all that is known of a dialogue, and zypper ends alike when the answer was no.
fn after_dialogue(failure: Failure) -> Failure {
    match failure.kind {
        FailureKind::Unresolvable => Failure {
            message:
                "the package manager changed nothing: the answer was no, or it found no solution"
                    .into(),
            hint: "",
            ..failure
        },
        _ => failure,
    }
}

/// The package files in a directory that was named with a slash; anything else stays as it is, since a
/// directory is a capability, too.
fn packages_in(arg: OsString) -> Vec<OsString> {
    let dir = Path::new(&arg);
    let named = arg.as_encoded_bytes().contains(&b'/') && !arg.as_encoded_bytes().starts_with(b"-");
    let entries = named
        .then(|| std::fs::read_dir(dir).ok())
        .flatten()
        .into_iter()
        .flatten()
        .flatten();
    let mut files: Vec<OsString> = entries
        .map(|e| e.path())
        .filter(|p| is_package(p))
        .map(PathBuf::into)
        .collect();
    files.sort();
    if files.is_empty() { vec![arg] } else { files }
}

/// Whether it is a package file, as zypper tells them: by the end of the name.
fn is_package(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "rpm") && path.is_file()
}

/// The absolute path of a package file without links on the way, so that it can be shown at the same place.
/// Other paths are capabilities (`/bin/sh`) and must stay as they were typed.
fn located(path: &Path) -> Option<PathBuf> {
    let name = path.file_name().filter(|_| is_package(path))?;
    let dir = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    Some(dir.canonicalize().ok()?.join(name))
}

/// The packages that are installed, in a form that differs when any of them does.
fn fingerprint(open: &Open<'_>) -> Result<Fingerprint> {
    let (exit, output) = open.capture(Argv::new(rpm::fingerprint_argv()))?;
    match exit.code {
        0 => Ok(Fingerprint::parse(&output)),
        code => bail!(
            "the RPM database of snapshot {} cannot be read (rpm -qa ended with status {code})",
            open.id()
        ),
    }
}

/// Repositories that are directories of the running system: a transaction would not see most of them, whoever calls
/// the package manager in it.
pub(super) fn local_repositories(system: &System) -> Vec<Shown> {
    const LIMIT: u64 = 1 << 20;
    let dir = system.root.join("etc/zypp/repos.d");
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let files = entries
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "repo"));
    let texts = files.filter_map(|path| fs::read_bounded(&path, LIMIT).ok());
    let paths = texts.flat_map(|text| repos::local_repositories(&String::from_utf8_lossy(&text)));
    paths
        .map(|path| Shown {
            source: system.root.join(&path),
            path,
            over_own: false,
        })
        .filter(|s| Path::new(&s.source).exists())
        .collect()
}
