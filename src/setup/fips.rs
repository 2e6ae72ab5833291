//! FIPS mode (fips-mode-setup(8)).

use anyhow::Result;

use crate::sys::cmd::Argv;
use crate::transaction::{BootFiles, Open};

pub(super) fn apply(open: &Open<'_>) -> Result<BootFiles> {
    // its warning wants an answer, which nobody is there to give
    let quiet = "FIPS_MODE_SETUP_SKIP_WARNING=1";
    open.call(Argv::new(["env", quiet, "fips-mode-setup", "--enable"]))?;
    Ok(BootFiles {
        initrd: true,
        ..BootFiles::default()
    })
}
