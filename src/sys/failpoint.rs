//! Named points at which a test can make the program fail, stop or die, also in the shipped binary.
//!
//! `TU_FAILPOINTS="name=action,…"` in the environment of root: `error` returns an error there, `kill` ends
//! the process at once as SIGKILL does, `sleep:MS` waits, `touch:FILE` leaves a file so that a test knows the
//! point was reached. Steps that change state call [`hit`] by name.

use std::io;
use std::path::Path;
use std::time::Duration;

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
    for (point, action) in armed.split(',').filter_map(|item| item.split_once('=')) {
        if point == name {
            act(name, action)?;
        }
    }
    Ok(())
}

fn act(name: &str, action: &str) -> io::Result<()> {
    match action.split_once(':').unwrap_or((action, "")) {
        ("error", _) => return Err(io::Error::other(format!("failpoint {name}"))),
        ("kill", _) => {
            nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL)?
        }
        ("sleep", ms) => std::thread::sleep(Duration::from_millis(ms.parse().unwrap_or(0))),
        ("touch", file) => std::fs::write(Path::new(file), name)?,
        _ => {
            return Err(io::Error::other(format!(
                "failpoint {name}: unknown action {action}"
            )));
        }
    }
    Ok(())
}
