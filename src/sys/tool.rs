//! A program of the system that runs outside of a transaction: no terminal, no input, and an end in any case.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, ChildStdout, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::cmd::{self, Argv};
use super::signal;

/// Most output that is kept of each stream, in bytes; what comes after it is read and dropped.
const KEPT: usize = 1 << 20;
/// How long a stream may stay open after the program has ended, because something it started holds it.
const LINGER: Duration = Duration::from_secs(1);
/// How often to look whether a signal asked us to end.
const LOOK: Duration = Duration::from_millis(100);
/// How long a program that is asked to end may take for that.
const GRACE: Duration = Duration::from_secs(5);

static PLUGIN_LIMIT: OnceLock<Duration> = OnceLock::new();

/// Sets how long a program may take that others hook into our work; the first call counts.
pub fn set_plugin_limit(limit: Duration) {
    PLUGIN_LIMIT.get_or_init(|| limit);
}

/// How long such a program may take.
#[must_use]
pub fn plugin_limit() -> Duration {
    const USUAL: Duration = Duration::from_secs(300);
    PLUGIN_LIMIT.get().copied().unwrap_or(USUAL)
}

/// A program that is called with a time limit.
#[derive(Debug, Clone)]
pub struct Tool {
    argv: Argv,
    env: Vec<(OsString, OsString)>,
    limit: Duration,
    heeds_signals: bool,
}

/// How it ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// What was called.
    pub argv: Argv,
    /// Its exit code; 128 and the signal's number when a signal ended it.
    pub code: u8,
    /// What it printed, at most 1 MiB.
    pub stdout: Vec<u8>,
    /// What it complained of, at most 1 MiB.
    pub stderr: Vec<u8>,
}

impl Done {
    /// Takes any end but success for an error.
    ///
    /// # Errors
    /// [`ToolError::Failed`], with what was called, how it ended and its last words.
    pub fn succeeded(self) -> Result<Done, ToolError> {
        match self.code {
            0 => Ok(self),
            code => {
                let words = self.last_words();
                Err(ToolError::Failed(self.argv, code, words))
            }
        }
    }

    /// Whether SIGTERM ended it and reached this process as well, as it does when the system goes down.
    #[must_use]
    pub fn went_down(&self) -> bool {
        const TERMINATED: u8 = 128 + 15;
        self.code == TERMINATED && super::signal::check().is_err()
    }

    /// The last line that says something: of the complaints, else of the output; empty when there is none.
    #[must_use]
    pub fn last_words(&self) -> String {
        let last = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let line = text.lines().rev().map(str::trim).find(|l| !l.is_empty());
            line.map(str::to_owned)
        };
        last(&self.stderr)
            .or_else(|| last(&self.stdout))
            .unwrap_or_default()
    }
}

/// Why there is no [`Done`], or none that counts. The text names the program.
#[derive(Debug)]
pub enum ToolError {
    /// There is no such program.
    NotFound(String),
    /// It could not be started, or not be waited for.
    NotRun(String, io::Error),
    /// It was killed after this time.
    TimedOut(String, Duration),
    /// It ended with this code and these last words.
    Failed(Argv, u8, String),
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ToolError::NotFound(name) => write!(f, "{name}: there is no such program"),
            ToolError::NotRun(name, e) => write!(f, "{name} could not be run: {e}"),
            ToolError::TimedOut(name, limit) => write!(
                f,
                "{name} did not end within {} seconds and was killed",
                limit.as_secs_f32()
            ),
            ToolError::Failed(argv, code, words) => {
                write!(f, "`{argv}` failed with status {code}")?;
                match words.as_str() {
                    "" => Ok(()),
                    words => write!(f, ": {words}"),
                }
            }
        }
    }
}

impl std::error::Error for ToolError {}

impl Tool {
    /// `argv`, looked up in the system's directories only, which is killed with its process group when it has
    /// not ended after `limit`. It is not disturbed by the interrupt key, nor by signals that ask us to end.
    #[must_use]
    pub fn new(argv: Argv, limit: Duration) -> Tool {
        Tool {
            argv,
            env: Vec::new(),
            limit,
            heeds_signals: false,
        }
    }

    /// Asks it to end when a signal asks us to, for [`Tool::stream`]; after that it has 5 seconds.
    #[must_use]
    pub fn heeding_signals(mut self) -> Tool {
        self.heeds_signals = true;
        self
    }

    /// Sets a variable in addition to our own environment.
    #[must_use]
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Tool {
        self.env.push((key.into(), value.into()));
        self
    }

    /// Runs it and waits for its end.
    ///
    /// # Errors
    /// When it could not be started or did not end; a program that fails is no error.
    pub fn run(&self) -> Result<Done, ToolError> {
        let mut running = self.start()?;
        let stdout = Stream::collect(running.stdout.take());
        let stderr = Stream::collect(running.stderr.take());
        let code = running.wait()?;
        Ok(self.done(code, stdout.take(), stderr.take()))
    }

    /// Runs it, hands out what it prints as it comes, in pieces of any length and without a limit, and waits for its end.
    /// `stdout` of the result is empty.
    ///
    /// # Errors
    /// As [`Tool::run`]; when `take` fails, which ends the program; when a signal asked us to end, where that was to be heeded.
    pub fn stream(&self, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<Done, ToolError> {
        let mut running = self.start()?;
        let stderr = Stream::collect(running.stderr.take());
        let pieces = pieces(running.stdout.take());
        loop {
            let mut wait = running.left();
            if self.heeds_signals {
                signal::check().map_err(|e| running.ask_to_end(e))?;
                wait = wait.min(LOOK);
            }
            match pieces.recv_timeout(wait) {
                Ok(piece) => take(&piece).map_err(|e| running.stop(e))?,
                Err(RecvTimeoutError::Timeout) if !running.left().is_zero() => {}
                Err(RecvTimeoutError::Timeout) => return Err(running.too_late()),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let code = running.wait()?;
        Ok(self.done(code, Vec::new(), stderr.take()))
    }

    fn start(&self) -> Result<Running, ToolError> {
        let name = self.argv.program().display().to_string();
        tracing::info!("calling {}", self.argv);
        let mut child = match self.command().spawn() {
            Ok(child) => child,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(ToolError::NotFound(name)),
            Err(e) => return Err(ToolError::NotRun(name, e)),
        };
        Ok(Running {
            name,
            group: i32::try_from(child.id()).map_or(Pid::from_raw(0), Pid::from_raw),
            begun: Instant::now(),
            limit: self.limit,
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            ended: waited(child),
        })
    }

    fn done(&self, code: u8, stdout: Vec<u8>, stderr: Vec<u8>) -> Done {
        for line in String::from_utf8_lossy(&stderr).lines() {
            tracing::info!("{}: {line}", self.argv.program().display());
        }
        Done {
            argv: self.argv.clone(),
            code,
            stdout,
            stderr,
        }
    }

    fn command(&self) -> std::process::Command {
        let mut command = cmd::command(&self.argv, true);
        command
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        command
    }
}

/// A program that was started.
struct Running {
    name: String,
    group: Pid,
    begun: Instant,
    limit: Duration,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    ended: Receiver<io::Result<ExitStatus>>,
}

impl Running {
    /// How long it may still take.
    fn left(&self) -> Duration {
        self.limit.saturating_sub(self.begun.elapsed())
    }

    /// Its exit code, as soon as it has one.
    fn wait(&self) -> Result<u8, ToolError> {
        match self.ended.recv_timeout(self.left()) {
            Ok(Ok(status)) => Ok(code(status)),
            Ok(Err(e)) => Err(ToolError::NotRun(self.name.clone(), e)),
            Err(RecvTimeoutError::Timeout) => Err(self.too_late()),
            Err(RecvTimeoutError::Disconnected) => Err(self.stop(io::ErrorKind::Other.into())),
        }
    }

    fn too_late(&self) -> ToolError {
        self.end();
        ToolError::TimedOut(self.name.clone(), self.limit)
    }

    fn ask_to_end(&self, why: signal::Interrupted) -> ToolError {
        if self.ended.try_recv().is_err() && self.group.as_raw() > 1 {
            killpg(self.group, Signal::SIGTERM).unwrap_or(()); // it may have ended just now
            if self.ended.recv_timeout(GRACE).is_err() {
                end(self.group);
            }
        }
        ToolError::NotRun(self.name.clone(), io::Error::other(why))
    }

    fn stop(&self, e: io::Error) -> ToolError {
        self.end();
        ToolError::NotRun(self.name.clone(), e)
    }

    /// Kills it with what it started; once it has ended, its number may be another's.
    fn end(&self) {
        if self.ended.try_recv().is_err() {
            end(self.group);
        }
    }
}

/// Kills the process group `group`, which a program made that has not been waited for, so the number is its own.
fn end(group: Pid) {
    if group.as_raw() > 1 {
        killpg(group, Signal::SIGKILL).unwrap_or(()); // it may have ended just now
    }
}

/// Waits in a thread of its own, which goes on until the child is reaped.
fn waited(mut child: Child) -> Receiver<io::Result<ExitStatus>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    std::thread::spawn(move || sender.send(child.wait()).unwrap_or(()));
    receiver
}

/// A stream that is read in a thread of its own.
struct Stream {
    kept: Arc<Mutex<Vec<u8>>>,
    ended: Receiver<()>,
}

impl Stream {
    /// Reads `stream` to its end, which may be after the end of the program.
    fn collect(mut stream: Option<impl Read + Send + 'static>) -> Stream {
        let (sender, ended) = mpsc::sync_channel(1);
        let kept = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&kept);
        std::thread::spawn(move || {
            let mut buffer = [0; 8 << 10];
            // a stream that breaks off is no failure of its own: the exit status says what happened
            while let Some(read @ 1..) = read_some(stream.as_mut(), &mut buffer) {
                let mut into = into.lock().unwrap_or_else(PoisonError::into_inner);
                let room = KEPT.saturating_sub(into.len()).min(read);
                into.extend_from_slice(&buffer[..room]);
            }
            sender.send(()).unwrap_or(());
        });
        Stream { kept, ended }
    }

    /// What was read, when it has ended or a moment has passed.
    fn take(self) -> Vec<u8> {
        self.ended.recv_timeout(LINGER).unwrap_or(());
        std::mem::take(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What comes out of `stream`, read in a thread of its own that waits when nobody takes it.
fn pieces(mut stream: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::sync_channel(4);
    std::thread::spawn(move || {
        let mut buffer = [0; 64 << 10];
        while let Some(read @ 1..) = read_some(stream.as_mut(), &mut buffer) {
            if sender.send(buffer[..read].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

fn read_some(stream: Option<&mut impl Read>, buffer: &mut [u8]) -> Option<usize> {
    let stream = stream?;
    loop {
        match stream.read(buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other.ok(),
        }
    }
}

fn code(status: ExitStatus) -> u8 {
    let by_signal = || status.signal().map(|s| 128 + s);
    let code = status.code().or_else(by_signal).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, seconds: u64) -> Result<Done, ToolError> {
        let argv = Argv::new(["sh", "-c", script]);
        Tool::new(argv, Duration::from_secs(seconds)).run()
    }

    #[test]
    fn what_a_program_prints_and_how_it_ends_is_told() {
        let done = sh("echo out; echo first >&2; echo last words >&2; exit 3", 60).unwrap();
        assert_eq!((done.code, &*done.stdout), (3, &b"out\n"[..]));
        assert_eq!(done.last_words(), "last words");
        let error = done.succeeded().unwrap_err().to_string();
        assert!(
            error.ends_with("exit 3'` failed with status 3: last words"),
            "{error}"
        );
        let error = sh("exit 3", 60).and_then(Done::succeeded).unwrap_err();
        assert_eq!(error.to_string(), "`sh -c 'exit 3'` failed with status 3");
        assert!(sh("true", 60).and_then(Done::succeeded).is_ok());
        assert_eq!(sh("kill -TERM $$", 60).unwrap().code, 128 + 15);
    }

    #[test]
    fn a_program_has_nothing_to_read_and_the_variables_it_was_given() {
        let argv = Argv::new(["sh", "-c", "cat; echo $TOOL_TEST"]);
        let tool = Tool::new(argv, Duration::from_secs(60)).env("TOOL_TEST", "yes");
        assert_eq!(tool.run().unwrap().stdout, b"yes\n");
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_all_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let pids = dir.path().join("pids");
        let script = format!("sleep 1000 & echo $! $$ > {}; wait", pids.display());
        assert!(matches!(sh(&script, 1), Err(ToolError::TimedOut(..))));
        let pids = std::fs::read_to_string(pids).unwrap();
        let is_alive = |pid: &str| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            stat.is_ok_and(|s| !s.contains(") Z "))
        };
        for _ in 0..100 {
            if !pids.split_whitespace().any(is_alive) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("still alive: {pids}");
    }

    #[test]
    fn what_holds_the_output_open_does_not_hold_us() {
        let done = sh("setsid sleep 5 & echo ready", 60).unwrap();
        assert_eq!((done.code, &*done.stdout), (0, &b"ready\n"[..]));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let missing = Tool::new(Argv::new(["no-such-program"]), Duration::from_secs(1)).run();
        assert!(
            missing
                .unwrap_err()
                .to_string()
                .starts_with("no-such-program: ")
        );
    }

    #[test]
    fn more_output_than_is_kept_is_read_to_its_end() {
        let done = sh("head -c 3000000 /dev/zero; echo end >&2", 60).unwrap();
        assert_eq!((done.stdout.len(), done.last_words()), (KEPT, "end".into()));
    }

    #[test]
    fn a_stream_is_handed_out_whole_however_long_it_is() {
        let argv = Argv::new([
            "sh",
            "-c",
            "head -c 30000000 /dev/zero; echo end >&2; exit 3",
        ]);
        let mut got = 0;
        let tool = Tool::new(argv, Duration::from_secs(60));
        let done = tool.stream(&mut |piece| {
            got += piece.len();
            Ok(())
        });
        let done = done.unwrap();
        assert_eq!(
            (got, done.code, done.last_words()),
            (30_000_000, 3, "end".into())
        );
    }

    #[test]
    fn a_stream_that_is_refused_or_hangs_ends_the_program() {
        let endless = Tool::new(Argv::new(["cat", "/dev/zero"]), Duration::from_secs(60));
        let refused = endless.stream(&mut |_| Err(io::Error::other("enough")));
        assert!(refused.unwrap_err().to_string().contains("enough"));
        let argv = Argv::new(["sh", "-c", "echo; exec sleep 1000"]);
        let hangs = Tool::new(argv, Duration::from_millis(200)).stream(&mut |_| Ok(()));
        assert!(matches!(hangs, Err(ToolError::TimedOut(..))));
    }
}
