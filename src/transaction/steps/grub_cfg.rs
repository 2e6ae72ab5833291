//! The configuration of GRUB, which names the system in its menu.

use std::path::Path;

use anyhow::{Context, Result};

use super::{Program, tell};
use crate::boot::Loader;
use crate::sys::cmd::Argv;
use crate::sys::{beneath, out, root, selinux, xattr};
use crate::transaction::Open;

const CONFIG: &str = "boot/grub2/grub.cfg";
const OS_RELEASE: &str = "etc/os-release";

const MKCONFIG: Program = Program {
    name: "grub2-mkconfig",
    package: "grub2",
};

/// The program in the snapshot that makes the configuration; loaders that read entries have none.
pub(super) fn program(loader: Loader) -> Option<Program> {
    match loader {
        Loader::Grub | Loader::None => Some(MKCONFIG),
        Loader::Bls => None,
    }
}

/// Makes it when a command asked for it, or when the name of the system changed.
pub(super) fn follow(open: &Open<'_>, asked: bool) -> Result<()> {
    if !asked && !open.differs(OS_RELEASE)? {
        return Ok(());
    }
    match open.loader()? {
        Loader::Grub => {}
        Loader::None if asked => {}
        Loader::None => return Ok(()),
        Loader::Bls => {
            if asked {
                out::say("No grub.cfg was made: this boot loader reads entries.");
            }
            return Ok(());
        }
    }
    if !asked && !open.has(MKCONFIG.name)? {
        out::detail("grub.cfg keeps the old name of the system: there is no grub2-mkconfig.");
        return Ok(());
    }
    let because = if asked {
        "it was asked for"
    } else {
        "os-release changed"
    };
    tell("grub.cfg", because);
    MKCONFIG.require(open.root()?)?;
    let output = format!("--output={}", root::inside(Path::new(CONFIG)).display());
    open.call(Argv::new([MKCONFIG.name, &output]))?;
    keep_label(open).context("labelling grub.cfg for SELinux")
}

/// Gives the new file the label that it has in the base: made in a chroot, it has the one of its directory.
fn keep_label(open: &Open<'_>) -> Result<()> {
    let base = open.system.store.open_snapshot(open.base())?;
    let path = Path::new(CONFIG);
    if let Ok(old) = beneath::resolve(base, path)
        && let Some(label) = xattr::all(&old)?.get(selinux::LABEL)
    {
        xattr::set(beneath::resolve(open.root()?, path)?, selinux::LABEL, label)?;
    }
    Ok(())
}
