//! The initrd: of each kernel in the snapshot, or on the ESP for it.

use std::path::Path;

use anyhow::Result;

use super::{Program, tell};
use crate::boot::{self, Loader};
use crate::sys::cmd::Argv;
use crate::sys::{beneath, out};
use crate::transaction::Open;
use crate::transaction::carry::INITRD_WISHES;

const DRACUT: Program = Program {
    name: "dracut",
    package: "dracut",
};

/// The program in the snapshot that makes the initrd; where it lies on the ESP, the loader's own tool does.
pub(super) fn program(loader: Loader) -> Option<Program> {
    match loader {
        Loader::Grub | Loader::None => Some(DRACUT),
        Loader::Bls => None,
    }
}

/// Makes the initrd when it was asked for, by a command or by a scriptlet whose wish nobody has fulfilled yet.
/// Returns whether it did.
pub(super) fn follow(open: &Open<'_>, asked: bool) -> Result<bool> {
    let requests = beneath::names_below(open.root()?, Path::new(INITRD_WISHES))?;
    if !asked && requests.is_empty() {
        return Ok(false);
    }
    let loader = open.loader()?;
    if !asked && loader == Loader::None && !open.has(DRACUT.name)? {
        out::detail("No initrd was made, which a package asked for: nothing boots it here.");
        return Ok(false);
    }
    let because = if asked {
        "it was asked for"
    } else {
        "a package asked for it"
    };
    tell("initrd", because);
    match loader {
        Loader::Grub | Loader::None => {
            DRACUT.require(open.root()?)?;
            open.call(Argv::new([DRACUT.name, "--force", "--regenerate-all"]))?;
        }
        Loader::Bls => boot::make_initrd(open.id().number())?,
    }
    // fulfilled: the running system need not hear of them
    for name in requests {
        beneath::remove(open.root()?, &Path::new(INITRD_WISHES).join(name))?;
    }
    Ok(true)
}
