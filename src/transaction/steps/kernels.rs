//! Kernels that are no longer kept.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::Result;

use super::tell;
use crate::sys::cmd::Argv;
use crate::sys::{beneath, out, signal};
use crate::transaction::Open;

/// Where the modules of each kernel have a directory, in the order of preference.
const MODULES: [&str; 2] = ["usr/lib/modules", "lib/modules"];
const ZYPPER: &str = "zypper";

pub(super) fn purge(open: &Open<'_>) -> Result<()> {
    let before = of(open.system.store.open_snapshot(open.base())?)?;
    let after = of(open.root()?)?;
    if before == after || !open.has(ZYPPER)? {
        return Ok(());
    }
    tell("purge-kernels", "the installed kernels changed");
    let argv = Argv::new([ZYPPER, "--non-interactive", "purge-kernels"]);
    if let Err(e) = open.call(argv) {
        signal::check()?;
        out::warn(format_args!("old kernels were not removed: {e:#}"));
    }
    Ok(())
}

/// The versions of the kernels in the snapshot whose root is open.
fn of(root: impl AsFd) -> Result<BTreeSet<OsString>> {
    for dir in MODULES {
        let names = beneath::names_below(&root, Path::new(dir))?;
        if !names.is_empty() {
            return Ok(names.into_iter().collect());
        }
    }
    Ok(BTreeSet::new())
}
