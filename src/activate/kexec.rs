//! Loading the kernel of the next system, to be started without going through the firmware.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::sys::cmd::Argv;
use crate::sys::tool::Tool;
use crate::sys::{beneath, fs, root};
use crate::transaction::System;

const LIMIT: Duration = Duration::from_secs(90);
/// Where the entries of the Boot Loader Specification and what they name are, below the root.
const ESP: &str = "boot/efi";
const ENTRIES: &str = "loader/entries";
/// Largest entry that is read, in bytes.
const ENTRY: u64 = 64 << 10;

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
    let text = argv.to_string();
    let done = Tool::new(argv, LIMIT).run()?;
    if done.code != 0 {
        bail!(
            "{text} failed with status {}: {}",
            done.code,
            done.last_words()
        );
    }
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

/// The kernel of the default entry.
fn of_the_loader(system: &System) -> Result<Kernel> {
    let argv = ["sdbootutil", "list-entries", "--only-default"];
    let done = Tool::new(Argv::new(argv), LIMIT).run()?;
    let name = String::from_utf8_lossy(&done.stdout).trim().to_owned();
    if done.code != 0 || name.is_empty() || name.contains(['/', '\n']) {
        bail!(
            "sdbootutil names no default entry (status {}): {}",
            done.code,
            done.last_words()
        );
    }
    let esp = system.root.join(ESP);
    let entry = esp.join(ENTRIES).join(&name);
    let text = fs::read_bounded(&entry, ENTRY).with_context(|| entry.display().to_string())?;
    parse(&String::from_utf8_lossy(&text), &esp)
        .with_context(|| format!("{} names no linux and no initrd", entry.display()))
}

/// Kernel, initrd and command line of an entry: `linux`, `initrd` and `options`, paths from the top of `esp`.
fn parse(entry: &str, esp: &Path) -> Option<Kernel> {
    let lines = || {
        entry
            .lines()
            .filter_map(|line| line.trim().split_once([' ', '\t']))
    };
    let value = |key| lines().find(|(k, _)| *k == key).map(|(_, v)| v.trim());
    let file = |key| value(key).map(|path| esp.join(root::relative(Path::new(path))));
    let options: Vec<&str> = lines()
        .filter(|(k, _)| *k == "options")
        .map(|(_, v)| v.trim())
        .collect();
    Some(Kernel {
        image: file("linux")?,
        initrd: file("initrd")?,
        options: (!options.is_empty()).then(|| options.join(" ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_the_loader_names_kernel_initrd_and_command_line() {
        let entry = "# a comment\ntitle openSUSE\noptions root=UUID=1 rootflags=subvol=@/.snapshots/2/snapshot\n\
                     linux /opensuse/6.4/linux-1\ninitrd\t../opensuse/6.4/initrd-1\n options quiet\n";
        let kernel = parse(entry, Path::new("/boot/efi")).unwrap();
        let words: Vec<String> = kernel
            .argv()
            .iter()
            .map(|w| w.display().to_string())
            .collect();
        assert_eq!(
            words,
            [
                "kexec",
                "--kexec-syscall-auto",
                "-l",
                "/boot/efi/opensuse/6.4/linux-1",
                "--initrd=/boot/efi/opensuse/6.4/initrd-1",
                "--command-line=root=UUID=1 rootflags=subvol=@/.snapshots/2/snapshot quiet",
            ]
        );
        assert_eq!(parse("linux /k\n", Path::new("/esp")), None);
        assert_eq!(parse("", Path::new("/esp")), None);
    }
}
