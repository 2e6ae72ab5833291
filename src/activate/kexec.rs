//! Loading the kernel of the next system, to be started without going through the firmware.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::boot;
use crate::sys::cmd::Argv;
use crate::sys::tool::Tool;
use crate::sys::{beneath, root};
use crate::transaction::System;

const LIMIT: Duration = Duration::from_secs(90);

/// What is loaded.
#[derive(Debug, PartialEq, Eq)]
struct Kernel {
    image: PathBuf,
    initrd: PathBuf,
    /// Its command line; the one of the running kernel when there is none.
    options: Option<String>,
}

/// Loads the kernel that boots next.
///
/// # Errors
/// When it is not found or not accepted.
pub(super) fn load(system: &System) -> Result<()> {
    let argv = Argv::new(kernel(system)?.argv());
    Tool::new(argv, LIMIT).run()?.succeeded()?;
    Ok(())
}

impl Kernel {
    fn argv(&self) -> Vec<OsString> {
        let mut argv: Vec<OsString> = ["kexec", "--kexec-syscall-auto", "-l"]
            .map(Into::into)
            .into();
        argv.push(self.image.clone().into());
        let mut initrd = OsString::from("--initrd=");
        initrd.push(&self.initrd);
        argv.push(initrd);
        argv.push(match &self.options {
            // the running kernel's names the running snapshot
            Some(options) => format!("--command-line={options}").into(),
            None => "--reuse-cmdline".into(),
        });
        argv
    }
}

/// The kernel in the default snapshot, or the one that the loader's default entry names.
fn kernel(system: &System) -> Result<Kernel> {
    let default = system.store.inventory()?.default;
    let default = default.context("the default subvolume is no snapshot")?;
    let snapshot = system.store.open_snapshot(default)?;
    match (
        located(&snapshot, "boot/vmlinuz"),
        located(&snapshot, "boot/initrd"),
    ) {
        (Ok(image), Ok(initrd)) => Ok(Kernel {
            image,
            initrd,
            options: None,
        }),
        _ => of_the_loader(system)
            .with_context(|| format!("snapshot {default} has no boot/vmlinuz and boot/initrd")),
    }
}

/// The path of a file of the snapshot without links on the way: those are the snapshot's own, and would lead a
/// program outside of it astray.
fn located(snapshot: impl AsFd, path: &str) -> Result<PathBuf> {
    let fd = beneath::resolve(snapshot, Path::new(path))?;
    Ok(std::fs::read_link(root::descriptor_path(fd.as_fd()))?)
}

/// The kernel of the default entry. kexec(8) takes one initrd; sdbootutil makes one.
fn of_the_loader(system: &System) -> Result<Kernel> {
    let entry = boot::next_entry(&system.root)?;
    let entry = entry.context("the boot loader names no default entry that is there")?;
    let initrd = entry.initrds.into_iter().next();
    Ok(Kernel {
        image: entry.kernel,
        initrd: initrd.with_context(|| format!("the entry {} names no initrd", entry.id))?,
        options: Some(entry.options),
    })
}
