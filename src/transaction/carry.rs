//! What programs in a transaction left in its /run for the running system.

use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result};
use nix::sys::stat::SFlag;

use super::System;
use crate::sys::{beneath, out};

/// Empty files there name kernels whose initrd is to be made again, or `all` of them.
pub(super) const INITRD_WISHES: &str = "run/regenerate-initrd";
/// Most of them that are carried over.
const LIMIT: usize = 100;

/// Carries the wishes for a new initrd that nobody has fulfilled from the open root of a snapshot, with its mounts,
/// to the running system, whose boot loader's plugins look for them there.
pub(super) fn initrd_wishes(system: &System, snapshot: &OwnedFd) {
    if system.root.is_live()
        && let Err(e) = carry(system, snapshot)
    {
        out::warn(format_args!(
            "the running system does not know which initrd is to be made again: {e:#}"
        ));
    }
}

fn carry(system: &System, snapshot: &OwnedFd) -> Result<()> {
    let wishes = Path::new(INITRD_WISHES);
    for name in beneath::names_below(snapshot, wishes)?.iter().take(LIMIT) {
        let wish =
            beneath::open_dir(snapshot, wishes).and_then(|dir| beneath::stat_at(dir, name))?;
        if beneath::kind(&wish) == SFlag::S_IFREG {
            let place = wishes.join(name);
            let root = beneath::open_root(system.root.path())?;
            beneath::make_dirs(&root, wishes, 0o755)
                .and_then(|_| beneath::make_file(&root, &place))
                .with_context(|| format!("making {}", place.display()))?;
        }
    }
    Ok(())
}
