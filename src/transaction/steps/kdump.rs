//! The initrd that saves the memory of a crashed kernel. It is part of the snapshot only with fadump; otherwise it is
//! made at boot.

use std::path::Path;

use anyhow::{Context, Result};

use super::{Program, tell};
use crate::sys::beneath;
use crate::sys::cmd::Argv;
use crate::sys::out;
use crate::transaction::Open;

const CONFIG: &str = "etc/sysconfig/kdump";
const MKDUMPRD: Program = Program {
    name: "mkdumprd",
    package: "kdump",
};

/// Makes it when fadump and the service are switched on, and either a command asked for it or what goes into it
/// changed.
pub(super) fn follow(open: &Open<'_>, asked: bool, changed: bool) -> Result<()> {
    if !asked && !changed {
        return Ok(());
    }
    if !is_needed(open)? {
        if asked {
            out::say("No initrd for kdump was made: only fadump has one before the next boot.");
        }
        return Ok(());
    }
    tell("kdump", "fadump has an initrd of its own");
    MKDUMPRD.require(open.root()?)?;
    open.call(Argv::new([MKDUMPRD.name]))
}

fn is_needed(open: &Open<'_>) -> Result<bool> {
    let config = beneath::read(open.root()?, Path::new(CONFIG), 1 << 20)
        .with_context(|| format!("reading {CONFIG} of the snapshot"))?;
    if !config.is_some_and(|text| has_fadump(&String::from_utf8_lossy(&text))) {
        return Ok(false);
    }
    let argv = Argv::new(["systemctl", "--quiet", "is-enabled", "kdump.service"]);
    Ok(open.capture(argv)?.0.code == 0)
}

/// Whether the last assignment of the configuration switches fadump on.
fn has_fadump(config: &str) -> bool {
    let mut values = config
        .lines()
        .filter_map(|line| line.trim().strip_prefix("KDUMP_FADUMP="));
    values.next_back().is_some_and(|value| {
        let value = value.trim().trim_matches(['"', '\'']);
        ["true", "yes", "1"].contains(&value.to_ascii_lowercase().as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_assignment_says_whether_fadump_is_on() {
        assert!(has_fadump(
            "KDUMP_FADUMP=\"false\"\n KDUMP_FADUMP=\"true\"\n"
        ));
        assert!(has_fadump("KDUMP_FADUMP=yes"));
        for off in [
            "",
            "# KDUMP_FADUMP=true",
            "KDUMP_FADUMP=true\nKDUMP_FADUMP=''",
        ] {
            assert!(!has_fadump(off), "{off}");
        }
    }
}
