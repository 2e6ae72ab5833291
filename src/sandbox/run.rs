//! Running one program in the mounts of a transaction.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, SyncSender};

use nix::sched::{CloneFlags, unshare};

use super::init;
use super::mounts::Mounts;
use crate::sys::cmd::{self, Argv};
use crate::sys::{out, signal};

/// A program to run in a snapshot.
#[derive(Debug)]
pub struct Run {
    /// The program and its arguments.
    pub argv: Argv,
    /// Variables that are set in addition to the caller's.
    pub env: Vec<(&'static str, OsString)>,
    /// Working directory inside the snapshot; the root when it is not there.
    pub cwd: PathBuf,
    /// Whether a person answers: the terminal stays the program's. Otherwise it has no terminal and nothing to
    /// read, so that nothing can wait for an answer that never comes.
    pub interactive: bool,
    /// Looks the program up in the system's directories only, not in the caller's PATH.
    pub trusted_path: bool,
    /// Whether the snapshot is its root directory. Otherwise it works on the snapshot from outside, among the
    /// processes of the system.
    pub chrooted: bool,
}

/// Where the output of a program goes.
pub enum Output<'h> {
    /// To our own standard output and error.
    Inherit,
    /// To two functions: one reads standard output to its end, the other gets each line of standard error.
    Read {
        /// Reads standard output.
        stdout: &'h mut (dyn FnMut(&mut dyn BufRead) + Send),
        /// Takes a line of standard error, without its end.
        stderr: &'h mut (dyn FnMut(&str) + Send),
    },
}

impl fmt::Debug for Output<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Output::Inherit) {
            "Inherit"
        } else {
            "Read"
        })
    }
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code; 128 and the signal's number when a signal ended it.
    pub code: u8,
    /// What it left behind and what was ended or taken away after it: processes and mounts, for people.
    pub left_behind: Vec<String>,
}

/// Why a program was not run.
#[derive(Debug)]
pub enum RunError {
    /// There is no such program in the snapshot.
    NotFound(String),
    /// There is one, but the system does not execute it.
    NotExecutable(String, io::Error),
    /// It could not be started; the text says at which step.
    NotStarted(String, io::Error),
    /// The process that was to watch it died.
    Lost(String),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::NotFound(program) => {
                write!(f, "{program}: there is no such program in the snapshot")
            }
            RunError::NotExecutable(program, e) => write!(f, "{program} cannot be executed: {e}"),
            RunError::NotStarted(step, e) => write!(f, "{step}: {e}"),
            RunError::Lost(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for RunError {}

impl RunError {
    /// The status with which a shell ends for it; none when it is not the program's fault.
    #[must_use]
    pub fn code(&self) -> Option<u8> {
        match self {
            RunError::NotFound(_) => Some(127),
            RunError::NotExecutable(..) => Some(126),
            RunError::NotStarted(..) | RunError::Lost(_) => None,
        }
    }
}

/// Longest line of standard error that is kept, in bytes.
const LINE: u64 = 16 << 10;

impl Run {
    /// Runs the program, chrooted into `mounts` or beside them, and waits for its end and that of everything it
    /// started.
    ///
    /// # Errors
    /// When it could not be started; a program that fails is no error here.
    pub fn go(&self, mounts: &Mounts, output: Output<'_>) -> Result<Exit, RunError> {
        let report = init::Report::new().map_err(self.failed("making a report"))?;
        let mut command = self.command(mounts, &report);
        if matches!(output, Output::Read { .. }) {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        // Namespaces are per thread, and the first process of one is killed when the thread that started it
        // ends: so this thread does nothing but start it and wait for it. It could not start threads itself,
        // since they would have to be in the new pid namespace.
        let status = std::thread::scope(|scope| {
            let (started, streams) = mpsc::sync_channel(1);
            let waiter = scope.spawn(move || self.start_and_wait(command, &started));
            if let Ok(Streams {
                pid,
                stdout,
                stderr,
            }) = streams.recv()
            {
                let _forward = signal::forward_to(pid, self.interactive && out::is_answered());
                if let Output::Read {
                    stdout: take_out,
                    stderr: take_err,
                } = output
                {
                    read(stdout, stderr, take_out, take_err);
                }
                // until it has ended, signals are passed on
                return waiter.join();
            }
            waiter.join()
        });
        report.result(
            &self.argv,
            status.unwrap_or_else(|_| Err(RunError::Lost("running a program panicked".into())))?,
        )
    }

    fn command(&self, mounts: &Mounts, report: &init::Report) -> Command {
        let mut command = cmd::this_program();
        command.args(init::arguments(self, mounts.top(), report));
        command.stdin(if self.interactive {
            Stdio::inherit()
        } else {
            Stdio::null()
        });
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        command
    }

    fn start_and_wait(
        &self,
        mut command: Command,
        started: &SyncSender<Streams>,
    ) -> Result<ExitStatus, RunError> {
        let own_numbers = if self.chrooted {
            CloneFlags::CLONE_NEWPID
        } else {
            CloneFlags::empty()
        };
        unshare(CloneFlags::CLONE_NEWNS | own_numbers)
            .map_err(|e| self.failed("making namespaces")(e.into()))?;
        let mut child = command
            .spawn()
            .map_err(self.failed("starting the first process"))?;
        let streams = Streams {
            pid: child.id(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
        };
        if started.send(streams).is_err() {
            return Err(RunError::Lost(
                "nobody reads what the program prints".into(),
            ));
        }
        child.wait().map_err(self.failed("waiting"))
    }

    fn failed(&self, step: &str) -> impl FnOnce(io::Error) -> RunError {
        let step = format!("{step} for {}", self.argv);
        move |e| RunError::NotStarted(step, e)
    }
}

/// What a started program is watched by.
struct Streams {
    pid: u32,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
}

/// Reads both streams to their ends, which come when the last process of the run is gone.
fn read(
    out: Option<ChildStdout>,
    err: Option<ChildStderr>,
    stdout: &mut (dyn FnMut(&mut dyn BufRead) + Send),
    stderr: &mut (dyn FnMut(&str) + Send),
) {
    std::thread::scope(|scope| {
        scope.spawn(move || lines(err.into_iter().map(BufReader::new), stderr));
        if let Some(out) = out {
            let mut out = BufReader::new(out);
            stdout(&mut out);
            // a reader that gave up early must not leave the program with a closed pipe
            io::copy(&mut out, &mut io::sink()).unwrap_or(0);
        }
    });
}

fn lines(streams: impl Iterator<Item = impl BufRead>, take: &mut dyn FnMut(&str)) {
    for mut stream in streams {
        let mut line = Vec::new();
        while matches!(
            stream.by_ref().take(LINE).read_until(b'\n', &mut line),
            Ok(1..)
        ) {
            take(String::from_utf8_lossy(&line).trim_end_matches('\n'));
            line.clear();
        }
    }
}
