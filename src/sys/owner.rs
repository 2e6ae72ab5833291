//! Who owns a transaction: a process of a boot, told apart from a later process with the same number.

use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use super::root::{BOOT_ID, PROC};

/// Identity of a process: boot id, process number and start time in clock ticks since boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    boot: String,
    pid: u32,
    start: u64,
}

impl Owner {
    /// The calling process.
    #[must_use]
    pub fn this() -> Owner {
        let pid = std::process::id();
        Owner {
            boot: boot_id(),
            pid,
            start: start_time(pid).unwrap_or(0),
        }
    }

    /// Whether this process still runs: same boot, and a process of that number with that start time.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.boot == boot_id() && start_time(self.pid) == Some(self.start)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.boot, self.pid, self.start)
    }
}

impl FromStr for Owner {
    type Err = ();

    fn from_str(text: &str) -> Result<Owner, ()> {
        let mut parts = text.split(':');
        let (Some(boot), Some(pid), Some(start), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(());
        };
        Ok(Owner {
            boot: boot.to_owned(),
            pid: pid.parse().map_err(|_| ())?,
            start: start.parse().map_err(|_| ())?,
        })
    }
}

/// The identity of the running boot; empty where /proc does not tell, which equals no recorded one.
#[must_use]
pub fn boot_id() -> String {
    fs::read_to_string(BOOT_ID)
        .map(|s| s.trim().to_owned())
        .unwrap_or_default()
}

/// Field 22 of proc_pid_stat(5); the program's name, field 2, may hold blanks and parentheses.
pub(super) fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(Path::new(PROC).join(pid.to_string()).join("stat")).ok()?;
    stat.rsplit_once(')')?
        .1
        .split_ascii_whitespace()
        .nth(19)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_a_later_one_with_its_number_is_not() {
        let me = Owner::this();
        assert!(me.is_alive());
        assert_eq!(me.to_string().parse(), Ok(me.clone()));
        assert!(
            !Owner {
                start: me.start + 1,
                ..me.clone()
            }
            .is_alive()
        );
        assert!(
            !Owner {
                boot: "another".into(),
                ..me
            }
            .is_alive()
        );
    }

    #[test]
    fn text_of_another_form_is_no_owner() {
        for text in ["", "open", "a:b:c", "a:1", "a:1:2:3"] {
            assert!(text.parse::<Owner>().is_err(), "{text}");
        }
    }
}
