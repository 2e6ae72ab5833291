//! The boot loader itself.

use anyhow::Result;

use super::{Program, tell};
use crate::boot::{self, Loader};
use crate::sys::cmd::Argv;
use crate::transaction::Open;

const PBL: Program = Program {
    name: "pbl",
    package: "perl-Bootloader",
};

/// The program in the snapshot that installs the loader.
pub(super) fn program(loader: Loader) -> Option<Program> {
    match loader {
        Loader::Grub | Loader::None => Some(PBL),
        Loader::Bls => None,
    }
}

/// Installs the loader anew from the snapshot.
pub(super) fn install(open: &Open<'_>) -> Result<()> {
    tell("bootloader", "it was asked for");
    match open.loader()? {
        Loader::Grub | Loader::None => {
            PBL.require(open.root()?)?;
            open.call(Argv::new([PBL.name, "--install"]))
        }
        Loader::Bls => Ok(boot::install_loader(open.id().number())?),
    }
}
