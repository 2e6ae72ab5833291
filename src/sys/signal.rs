//! Signals: noticed between steps, passed on to the program that runs, ignored once the switch has begun.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How long a program may take to end after a signal before it is killed with everything it started.
const GRACE: Duration = Duration::from_secs(5);
static PATIENCE: OnceLock<Duration> = OnceLock::new();

static RECEIVED: AtomicI32 = AtomicI32::new(0);
static TARGET: Mutex<Option<Target>> = Mutex::new(None);
static INSTALLED: AtomicBool = AtomicBool::new(false);

#[derive(Clone, Copy, PartialEq, Eq)]
struct Target {
    pid: i32,
    /// The terminal already gave SIGINT to the program, and what it means there is the program's own business.
    interactive: bool,
}

/// The program was asked to end by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted(i32);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Signal::try_from(self.0).map_or("a signal", Signal::as_str);
        write!(f, "interrupted by {name}")
    }
}

impl std::error::Error for Interrupted {}

/// Starts to notice SIGINT, SIGTERM and SIGHUP instead of dying by them. Called once, before the first change.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn install() -> io::Result<()> {
    if INSTALLED.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                receive(signal);
            }
        })?;
    Ok(())
}

/// Gives programs this long to end after a signal; the first call counts.
pub fn set_patience(patience: Duration) {
    PATIENCE.get_or_init(|| patience);
}

/// Does what SIGTERM does: what runs is asked to end, and the next [`check`] fails.
pub fn interrupt() {
    receive(SIGTERM);
}

fn receive(signal: i32) {
    let target = *lock();
    if signal == SIGINT && target.is_some_and(|t| t.interactive) {
        return;
    }
    RECEIVED.store(signal, Ordering::SeqCst);
    let (Some(target), Ok(signal)) = (target, Signal::try_from(signal)) else {
        return;
    };
    pass_on(target, signal);
    // A program that ignores the signal, or that had not yet begun to listen, must not keep us for ever.
    let escalate = std::thread::Builder::new().spawn(move || {
        std::thread::sleep(PATIENCE.get().copied().unwrap_or(GRACE));
        if *lock() == Some(target) {
            pass_on(target, Signal::SIGKILL);
        }
    });
    if escalate.is_err() {
        pass_on(target, Signal::SIGKILL);
    }
}

/// A process that is gone already needs no signal.
fn pass_on(target: Target, signal: Signal) {
    kill(Pid::from_raw(target.pid), signal).unwrap_or(());
}

fn lock() -> std::sync::MutexGuard<'static, Option<Target>> {
    TARGET
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Fails when a signal has arrived; asked before every step that could still be left undone.
///
/// # Errors
/// [`Interrupted`] with the signal.
pub fn check() -> Result<(), Interrupted> {
    match RECEIVED.load(Ordering::SeqCst) {
        0 => Ok(()),
        signal => Err(Interrupted(signal)),
    }
}

/// While this lives, signals are passed on to process `pid`, and SIGKILL after a grace period.
#[derive(Debug)]
#[must_use]
pub struct Forward(());

/// Passes signals on to `pid`. With `interactive`, SIGINT is left to the terminal, which sends it to the whole
/// foreground process group.
pub fn forward_to(pid: u32, interactive: bool) -> Forward {
    *lock() = i32::try_from(pid)
        .ok()
        .map(|pid| Target { pid, interactive });
    // a signal that came before there was anybody to pass it on to
    if let Err(Interrupted(signal)) = check() {
        receive(signal);
    }
    Forward(())
}

impl Drop for Forward {
    fn drop(&mut self) {
        *lock() = None;
    }
}
