//! SELinux: its policy, the parameters of the kernel, its configuration.

use std::cell::Cell;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{edit, lines};
use crate::boot::Loader;
use crate::sys::failpoint;
use crate::sys::lock::WriteLock;
use crate::transaction::{BootFiles, Open, System};

/// The store of policies, which transactions see live where it is in the running system.
const STORE: &str = "var/lib/selinux";
const CONFIG: &str = "etc/selinux/config";
const POLICY: &str = "selinux-policy-targeted";
const GRUB: &str = "etc/default/grub";
const GRUB_KEY: &str = "GRUB_CMDLINE_LINUX_DEFAULT";
const COMMAND_LINE: &str = "etc/kernel/cmdline";
const PARAMETERS: &[&str] = &["security=selinux", "selinux=1"];
/// The wish for labels of all files, as an installation leaves it, and where it is seen on a read-only root.
const RELABEL: (&str, &str) = (".autorelabel", "etc/selinux/.autorelabel");

/// Makes the store of policies: a policy that is installed into a hidden one would be lost.
pub(super) fn prepare(system: &System, _: &WriteLock) -> Result<()> {
    let store = system.root.join(STORE);
    std::fs::create_dir_all(&store).with_context(|| format!("making {}", store.display()))?;
    Ok(failpoint::hit("store-made")?)
}

pub(super) fn apply(open: &Open<'_>) -> Result<BootFiles> {
    let entries = open.loader()? == Loader::Bls;
    if entries {
        edit(open, COMMAND_LINE, "sdbootutil", |text| {
            format!("{}\n", lines::with_words(text.trim_end(), PARAMETERS))
        })?;
    } else {
        let is_set = Cell::new(false);
        edit(open, GRUB, "grub2", |text| {
            let text = lines::add_words(text, GRUB_KEY, PARAMETERS);
            is_set.set(lines::has_word(&text, GRUB_KEY, PARAMETERS[0]));
            text
        })?;
        if !is_set.get() {
            bail!(
                "{GRUB} has no line {GRUB_KEY}=\"…\" that is understood; add {} to it by hand",
                PARAMETERS.join(" ")
            );
        }
    }
    edit(open, CONFIG, POLICY, |text| {
        let text = lines::set(text, "SELINUX", "enforcing");
        lines::set(&text, "SELINUXTYPE", "targeted")
    })?;
    open.rename(Path::new(RELABEL.0), Path::new(RELABEL.1))?;
    Ok(BootFiles {
        initrd: true,
        grub_cfg: !entries,
        ..BootFiles::default()
    })
}
