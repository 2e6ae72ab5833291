//! What programs in a transaction left in its /run for the running system.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use anyhow::{Context, Result};
use nix::dir::Dir;
use nix::sys::stat::SFlag;

use super::System;
use crate::sys::{beneath, out};

/// Empty files there name kernels whose initrd is to be made again, or `all` of them.
const INITRD: &str = "run/regenerate-initrd";
/// Most of them that are carried over.
const LIMIT: usize = 100;

/// Carries the wishes for a new initrd from the open root of a snapshot, with its mounts, to the running system,
/// whose boot loader's plugins look for them there.
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
    let wished = Path::new(INITRD);
    let Ok(dir) = beneath::open_dir(snapshot, wished) else {
        return Ok(()); // nobody wished for anything
    };
    let mut dir = Dir::from_fd(dir)?;
    let mut names = Vec::new();
    for entry in dir.iter().take(LIMIT) {
        names.push(OsString::from_vec(entry?.file_name().to_bytes().to_vec()));
    }
    let root = beneath::open_root(system.root.path())?;
    for name in names {
        let is_wish = beneath::kind(&beneath::stat_at(&dir, &name)?) == SFlag::S_IFREG;
        if is_wish {
            let place = wished.join(&name);
            beneath::make_dirs(&root, wished, 0o755)
                .and_then(|_| beneath::make_file(&root, &place))
                .with_context(|| format!("making {}", place.display()))?;
        }
    }
    Ok(())
}
