//! Named points at which a test can make the program fail, stop or die, also in the shipped binary.
//!
//! `TU_FAILPOINTS="name=action,…"` in the environment of root: `error` returns an error there, `kill` ends
//! the process at once as SIGKILL does, `sleep:MS` waits, `touch:FILE` leaves a file so that a test knows the
//! point was reached, `wait:FILE` goes on once the test has left one. `name@3=action` means the third time that the process gets there. Steps that change state call
//! [`hit`] by name.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The variable that arms failpoints.
pub const VARIABLE: &str = "TU_FAILPOINTS";

/// Reaches the failpoint `name`.
///
/// # Errors
/// Only when the environment asks for one.
pub fn hit(name: &str) -> io::Result<()> {
    let Ok(armed) = std::env::var(VARIABLE) else {
        return Ok(());
    };
    if !nix::unistd::Uid::effective().is_root() {
        return Ok(());
    }
    let items = armed.split(',').filter_map(|item| item.split_once('='));
    let mut times = None;
    for (point, action) in items {
        let (point, only) = match point.split_once('@') {
            Some((point, number)) => (point, number.parse().ok()),
            None => (point, None),
        };
        if point == name {
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
        ("kill", _) => {
            nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL)?
        }
        ("sleep", ms) => std::thread::sleep(Duration::from_millis(ms.parse().unwrap_or(0))),
        ("wait", file) => wait_for(name, Path::new(file))?,
        ("touch", file) => std::fs::write(Path::new(file), name)?,
        _ => {
            return Err(io::Error::other(format!(
                "failpoint {name}: unknown action {action}"
            )));
        }
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
