//! Named points at which a test can make the program fail, stop or die, also in the shipped binary.
//!
//! `TU_FAILPOINTS="name=action,…"` in the environment of root: `error` returns an error there, `kill` ends
//! the process at once as SIGKILL does, `signal:TERM` sends it this signal and goes on when the signal was
//! noticed, `sleep:MS` waits, `touch:FILE` leaves a file so that a test knows the point was reached, `wait:FILE` goes
//! on once the test has left one, `log:FILE` adds the name as a line. `name@3=action` means the third time that the
//! process gets there, `*` any point. Steps that change state call [`hit`] by name.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

use super::signal;

/// The variable that arms failpoints.
pub const VARIABLE: &str = "TU_FAILPOINTS";

/// In place of a name: every point.
const ANY: &str = "*";

/// Reaches the failpoint `name`.
///
/// # Errors
/// Only when the environment asks for one.
pub fn hit(name: &str) -> io::Result<()> {
    let Ok(armed) = std::env::var(VARIABLE) else {
        return Ok(());
    };
    if !Uid::effective().is_root() {
        return Ok(());
    }
    let items = armed.split(',').filter_map(|item| item.split_once('='));
    let mut times = None;
    for (point, action) in items {
        let (point, only) = match point.split_once('@') {
            Some((point, number)) => (point, number.parse().ok()),
            None => (point, None),
        };
        if point == name || point == ANY {
            let times = *times.get_or_insert_with(|| count(name));
            if only.is_none_or(|only: u64| only == times) {
                act(name, action)?;
            }
        }
    }
    Ok(())
}

/// How often the process has been at this point, now included.
fn count(name: &str) -> u64 {
    static TIMES: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());
    let mut times = TIMES.lock().unwrap_or_else(|e| e.into_inner());
    let times = times.entry(name.to_owned()).or_default();
    *times += 1;
    *times
}

fn act(name: &str, action: &str) -> io::Result<()> {
    match action.split_once(':').unwrap_or((action, "")) {
        ("error", _) => return Err(io::Error::other(format!("failpoint {name}"))),
        ("kill", _) => kill(Pid::this(), Signal::SIGKILL)?,
        ("signal", signal) => send(signal)?,
        ("sleep", ms) => std::thread::sleep(Duration::from_millis(ms.parse().unwrap_or(0))),
        ("wait", file) => wait_for(name, Path::new(file))?,
        ("touch", file) => std::fs::write(Path::new(file), name)?,
        ("log", file) => {
            let mut log = File::options().create(true).append(true).open(file)?;
            log.write_all(format!("{name}\n").as_bytes())?;
        }
        _ => {
            return Err(io::Error::other(format!(
                "failpoint {name}: unknown action {action}"
            )));
        }
    }
    Ok(())
}

/// Sends this process a signal, and waits until it is noticed or would have ended the process.
fn send(name: &str) -> io::Result<()> {
    let signal: Signal = format!("SIG{name}").parse()?;
    kill(Pid::this(), signal)?;
    let begun = Instant::now();
    while signal::check().is_ok() && begun.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Waits for a file, as long as any test may take.
fn wait_for(name: &str, file: &Path) -> io::Result<()> {
    const LIMIT: Duration = Duration::from_secs(120);
    let begun = Instant::now();
    while !file.exists() {
        if begun.elapsed() > LIMIT {
            let text = format!("failpoint {name}: {} never came", file.display());
            return Err(io::Error::other(text));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
