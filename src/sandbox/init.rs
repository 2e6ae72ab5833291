//! The first process of a run: this very program, started again inside the new pid namespace.
//!
//! It is not chrooted, so that programs which compare their root with that of process 1 (as systemctl does)
//! see that they are in a chroot. It mounts /proc, starts the program chrooted, passes signals on, and when
//! the program has ended notes what it left behind. When it ends itself, the kernel ends all the others. For a
//! program that runs beside the snapshot there is no such namespace, and it ends them itself.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, chroot, setsid};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use super::family;
use super::run::{Exit, Run, RunError};
use crate::sys::cmd::{self, Argv};
use crate::sys::root::{INSIDE, PROC};
use crate::sys::{beneath, mount, out};

/// First argument that gives the program this role.
const ROLE: &str = "--first-process-of-a-run";
/// Most left-over processes or mounts that are named.
const NAMED: usize = 20;

/// Takes the role of the first process when the arguments ask for it; otherwise `None`, and the program goes
/// on as itself. Called first thing in every program that runs something in a snapshot.
#[must_use]
pub fn run_if_asked() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next()? != ROLE {
        return None;
    }
    let Some(task) = Task::parse(args) else {
        return Some(ExitCode::FAILURE);
    };
    Some(task.run())
}

/// What the first process does, passed as its arguments.
struct Task {
    top: PathBuf,
    report: PathBuf,
    cwd: PathBuf,
    interactive: bool,
    trusted_path: bool,
    chrooted: bool,
    argv: Argv,
}

/// The arguments with which this program becomes the first process of `run` in the mounts at `top`.
pub(super) fn arguments(run: &Run, top: &Path, report: &Report) -> Vec<OsString> {
    let flag = |on: bool| OsString::from(if on { "1" } else { "0" });
    let mut args = vec![
        ROLE.into(),
        top.into(),
        report.path().into(),
        run.cwd.clone().into(),
    ];
    args.extend([run.interactive, run.trusted_path, run.chrooted].map(flag));
    args.extend(run.argv.words().iter().cloned());
    args
}

impl Task {
    fn parse(mut args: impl Iterator<Item = OsString>) -> Option<Task> {
        let (top, report, cwd) = (
            args.next()?.into(),
            args.next()?.into(),
            args.next()?.into(),
        );
        let (interactive, trusted_path) = (args.next()? == "1", args.next()? == "1");
        let chrooted = args.next()? == "1";
        Some(Task {
            top,
            report,
            cwd,
            interactive,
            trusted_path,
            chrooted,
            argv: Argv::new(args),
        })
    }

    fn run(&self) -> ExitCode {
        // Dies with the process that started it. When that is dead already, its descriptor is gone, too.
        let death = if self.chrooted {
            Signal::SIGKILL
        } else {
            Signal::SIGUSR1
        };
        let report = nix::sys::prctl::set_pdeathsig(death)
            .map_err(io::Error::from)
            .and_then(|()| File::options().append(true).open(&self.report));
        let Ok(mut report) = report else {
            return ExitCode::FAILURE;
        };
        let text = match self.watch() {
            Ok((code, left)) => left
                .iter()
                .map(|l| format!("left {l}\n"))
                .chain([format!("exit {code}\n")])
                .collect::<String>(),
            Err((step, e)) => format!("failed {} {step}\n", e.raw_os_error().unwrap_or(0)),
        };
        match report.write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        }
    }

    /// Starts the program and waits for it: its exit code and what it left behind.
    fn watch(&self) -> Result<(u8, Vec<String>), (&'static str, io::Error)> {
        let at = |step: &'static str| move |e: io::Error| (step, e);
        let top = beneath::open_root(&self.top).map_err(at("opening the snapshot"))?;
        let proc = beneath::open_place(&top, Path::new("proc"))
            .map_err(at("opening proc in the snapshot"))?;
        mount::proc(&proc).map_err(at("mounting proc"))?;
        if !self.chrooted {
            family::take_in_orphans().map_err(at("taking in orphans"))?;
        }
        if !self.interactive {
            setsid().map_err(|e| at("starting a session")(e.into()))?;
        }
        let before = mount_points();
        let mut signals = Signals::new([SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1])
            .map_err(at("listening to signals"))?;
        let program = self.spawn()?;
        let has_terminal = self.interactive && out::is_answered();
        for signal in signals.forever() {
            match signal {
                SIGCHLD => {
                    if let Some(code) = reap(program) {
                        let left = self.left_behind(&before);
                        if !self.chrooted {
                            family::end();
                        }
                        return Ok((code, left));
                    }
                }
                SIGINT if has_terminal => {} // the terminal has sent it to the program as well
                // who started us is dead
                SIGUSR1 if !self.chrooted => {
                    family::end();
                    break;
                }
                other => self.pass_on(other),
            }
        }
        Err(("waiting", io::Error::from(io::ErrorKind::Interrupted)))
    }

    /// Starts the program, chrooted when it is to be: the root directory is that of a thread of its own.
    fn spawn(&self) -> Result<Pid, (&'static str, io::Error)> {
        let started = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                unshare(CloneFlags::CLONE_FS)
                    .map_err(|e| ("separating the root directory", e.into()))?;
                if self.chrooted {
                    chroot(&self.top).map_err(|e| ("changing the root directory", e.into()))?;
                }
                let cwd = if nix::unistd::chdir(&self.cwd).is_ok() {
                    Ok(())
                } else {
                    nix::unistd::chdir(INSIDE)
                };
                cwd.map_err(|e| ("changing the working directory", e.into()))?;
                let child = cmd::command(&self.argv, self.trusted_path)
                    .spawn()
                    .map_err(|e| (NO_START, e))?;
                i32::try_from(child.id())
                    .map_err(|_| ("numbering a process", io::ErrorKind::InvalidData.into()))
            });
            thread
                .join()
                .unwrap_or_else(|_| Err(("starting a thread", io::ErrorKind::Other.into())))
        });
        started.map(Pid::from_raw)
    }

    /// To every process of the run but ourselves; that there is none is fine.
    fn pass_on(&self, signal: i32) {
        match Signal::try_from(signal) {
            Ok(signal) if self.chrooted => kill(Pid::from_raw(-1), signal).unwrap_or(()),
            // the system's own processes are none of ours
            Ok(signal) => family::pass_on(signal),
            Err(_) => {}
        }
    }

    /// Processes that still run and mounts that were not there before; both are gone as soon as we are.
    fn left_behind(&self, before: &[PathBuf]) -> Vec<String> {
        let names = if self.chrooted {
            self.others()
        } else {
            family::names()
        };
        let mut left: Vec<String> = names
            .iter()
            .map(|name| format!("process {}", name.trim().replace('\n', " ")))
            .take(NAMED)
            .collect();
        let mounts = mount_points();
        let new = mounts
            .iter()
            .filter(|p| !before.contains(p))
            .filter_map(|p| p.strip_prefix(&self.top).ok());
        left.extend(
            new.take(NAMED).map(|p| {
                format!("mount {}", Path::new(INSIDE).join(p).display()).replace('\n', " ")
            }),
        );
        left
    }
}

impl Task {
    /// The names of the other processes of the namespace.
    fn others(&self) -> Vec<String> {
        let processes = fs::read_dir(self.top.join("proc"))
            .into_iter()
            .flatten()
            .flatten();
        processes
            .filter_map(|entry| {
                let pid = entry.file_name().to_str()?.parse::<u32>().ok()?;
                Some((pid, entry.path()))
            })
            .filter(|(pid, dir)| *pid != 1 && !is_zombie(dir))
            .filter_map(|(_, dir)| fs::read_to_string(dir.join("comm")).ok())
            .collect()
    }
}

const NO_START: &str = "starting the program";

fn mount_points() -> Vec<PathBuf> {
    mount::mounts()
        .unwrap_or_default()
        .into_iter()
        .map(|m| m.point)
        .collect()
}

/// A process that has ended and only waits to be noticed has nothing left that could be ended.
fn is_zombie(proc: &Path) -> bool {
    let stat = fs::read_to_string(proc.join("stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

/// Collects every process that has ended; the exit code when `program` is among them.
fn reap(program: Pid) -> Option<u8> {
    let mut code = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == program => code = Some(status as u8),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == program => {
                code = Some(128 + signal as u8)
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return code,
            Ok(_) => {}
            Err(_) => return code,
        }
    }
}

/// What the first process tells: memory that both have open.
#[derive(Debug)]
pub(super) struct Report(File);

impl Report {
    pub(super) fn new() -> io::Result<Report> {
        Ok(Report(File::from(memfd_create(
            c"report",
            MFdFlags::MFD_CLOEXEC,
        )?)))
    }

    /// How another process calls it, as long as this one lives.
    fn path(&self) -> PathBuf {
        Path::new(PROC)
            .join(std::process::id().to_string())
            .join("fd")
            .join(self.0.as_raw_fd().to_string())
    }

    /// Reads it after the first process has ended with `status`.
    pub(super) fn result(mut self, argv: &Argv, status: ExitStatus) -> Result<Exit, RunError> {
        let mut text = String::new();
        let read = self
            .0
            .rewind()
            .and_then(|()| self.0.take(1 << 20).read_to_string(&mut text));
        read.map_err(|e| RunError::NotStarted(format!("reading how {argv} ended"), e))?;
        let mut exit = None;
        let mut left_behind = Vec::new();
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("left", what)) => left_behind.push(what.to_owned()),
                Some(("exit", code)) => exit = code.parse().ok(),
                Some(("failed", rest)) => return Err(failure(argv, rest)),
                _ => {}
            }
        }
        exit.map(|code| Exit { code, left_behind }).ok_or_else(|| {
            RunError::Lost(format!(
                "the process that watched {argv} was ended ({status})"
            ))
        })
    }
}

fn failure(argv: &Argv, rest: &str) -> RunError {
    let (errno, step) = rest.split_once(' ').unwrap_or(("0", rest));
    let error = io::Error::from_raw_os_error(errno.parse().unwrap_or(0));
    let program = argv.program().display();
    match step {
        NO_START if error.kind() == io::ErrorKind::NotFound => {
            RunError::NotFound(program.to_string())
        }
        NO_START => RunError::NotExecutable(program.to_string(), error),
        _ => RunError::NotStarted(format!("{step} {program}"), error),
    }
}
