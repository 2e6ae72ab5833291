//! Layer 1: what boots next.
//!
//! Owns the kind of boot loader, the check that a snapshot can boot, and the switch. Nothing else sets the
//! default subvolume.
//!
//! Invariant: what boots next switches once, last, durably, and only to what was shown bootable.

mod grub;

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use crate::sys::{beneath, failpoint};

/// An error of the layer that does the switch, without tying this one to it.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// How this system finds what to boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loader {
    /// GRUB reads grub.cfg, kernel and initrd from the default subvolume.
    Grub,
    /// No loader was found: a container, or a kernel that is given from outside. The default subvolume boots.
    None,
}

/// Why a snapshot cannot be made the next one.
#[derive(Debug)]
pub enum BootError {
    /// The loader takes kernel and initrd from the ESP by entries of its own.
    UnsupportedLoader(String),
    /// The snapshot lacks what the loader needs; the text names it.
    NotBootable(String),
    /// A file that tells could not be read.
    Unreadable(&'static str, io::Error),
    /// The switch failed; the previous default is the default again.
    Switch(Cause),
    /// The switch failed, and so did the way back.
    SwitchAndUndo(Cause, Cause),
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BootError::UnsupportedLoader(name) => write!(
                f,
                "this system boots with {name}, whose entries name the snapshot; only GRUB with snapshots in \
                 the default subvolume is supported so far"
            ),
            BootError::NotBootable(why) => write!(f, "the snapshot could not boot: {why}"),
            BootError::Unreadable(path, e) => write!(f, "cannot read {path} of the snapshot: {e}"),
            BootError::Switch(cause) => {
                write!(f, "what boots next was not changed: {}", chain(cause))
            }
            BootError::SwitchAndUndo(cause, undo) => write!(
                f,
                "changing what boots next failed: {}; going back failed, too: {}; look at the default \
                 subvolume before the next reboot",
                chain(cause),
                chain(undo)
            ),
        }
    }
}

impl std::error::Error for BootError {}

fn chain(cause: &Cause) -> String {
    let mut text = cause.to_string();
    let mut next = cause.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

/// The default subvolume of a file system, as [`switch`] needs it.
pub trait DefaultSubvolume {
    /// Makes `subvolume` the default; need not be durable.
    ///
    /// # Errors
    /// When the file system refuses.
    fn set(&self, subvolume: u64) -> Result<(), Cause>;

    /// Returns when the last change is on disk.
    ///
    /// # Errors
    /// When it could not be written.
    fn commit(&self) -> Result<(), Cause>;
}

/// A subvolume that was shown to be bootable; made by [`check`] only.
#[derive(Debug)]
#[must_use]
pub struct Bootable {
    subvolume: u64,
}

/// Which loader the system in the open directory `root` uses, by what is installed in it.
///
/// # Errors
/// [`BootError::UnsupportedLoader`] for one whose entries name the snapshot.
pub fn detect(root: impl AsFd) -> Result<Loader, BootError> {
    const SYSCONFIG: &str = "etc/sysconfig/bootloader";
    let sysconfig = beneath::read(&root, Path::new(SYSCONFIG), 1 << 20)
        .map_err(|e| BootError::Unreadable(SYSCONFIG, e))?;
    let sysconfig = String::from_utf8_lossy(sysconfig.as_deref().unwrap_or_default()).into_owned();
    let kind = sysconfig
        .lines()
        .rev()
        .find_map(|l| l.trim().strip_prefix("LOADER_TYPE="));
    if let Some(kind @ ("systemd-boot" | "grub2-bls")) = kind.map(|k| k.trim_matches(['"', '\''])) {
        return Err(BootError::UnsupportedLoader(kind.to_owned()));
    }
    let grub = beneath::resolve(&root, Path::new(grub::CONFIG)).is_ok();
    Ok(if grub { Loader::Grub } else { Loader::None })
}

/// Shows that the system in the open directory `snapshot`, whose subvolume has the id `subvolume`, can boot
/// with `loader`.
///
/// # Errors
/// [`BootError::NotBootable`] names what is missing.
pub fn check(loader: Loader, snapshot: impl AsFd, subvolume: u64) -> Result<Bootable, BootError> {
    match loader {
        Loader::Grub => grub::check(snapshot)?,
        Loader::None => {}
    }
    Ok(Bootable { subvolume })
}

/// Makes `next` what boots next and returns when that is on disk. On failure the subvolume `previous` is the
/// default again.
///
/// # Errors
/// [`BootError::Switch`], or [`BootError::SwitchAndUndo`] when the way back failed as well.
pub fn switch(fs: &impl DefaultSubvolume, previous: u64, next: Bootable) -> Result<(), BootError> {
    let switched = failpoint::hit("before-set-default")
        .map_err(Cause::from)
        .and_then(|()| fs.set(next.subvolume))
        .and_then(|()| failpoint::hit("after-set-default").map_err(Cause::from))
        .and_then(|()| fs.commit());
    switched.map_err(|cause| match fs.set(previous).and_then(|()| fs.commit()) {
        Ok(()) => BootError::Switch(cause),
        Err(undo) => BootError::SwitchAndUndo(cause, undo),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[derive(Default)]
    struct Recorder {
        calls: RefCell<Vec<String>>,
        fail: Vec<&'static str>,
    }

    impl Recorder {
        fn call(&self, what: String) -> Result<(), Cause> {
            let fails = self.fail.contains(&what.as_str());
            self.calls.borrow_mut().push(what.clone());
            if fails {
                Err(format!("{what} failed").into())
            } else {
                Ok(())
            }
        }
    }

    impl DefaultSubvolume for Recorder {
        fn set(&self, subvolume: u64) -> Result<(), Cause> {
            self.call(format!("set {subvolume}"))
        }
        fn commit(&self) -> Result<(), Cause> {
            self.call("commit".into())
        }
    }

    #[test]
    fn a_switch_is_set_and_then_committed() {
        let fs = Recorder::default();
        switch(&fs, 256, Bootable { subvolume: 300 }).unwrap();
        assert_eq!(*fs.calls.borrow(), ["set 300", "commit"]);
    }

    #[test]
    fn a_switch_that_fails_puts_the_previous_default_back() {
        let fs = Recorder {
            fail: vec!["set 300"],
            ..Recorder::default()
        };
        let error = switch(&fs, 256, Bootable { subvolume: 300 }).unwrap_err();
        assert!(matches!(error, BootError::Switch(_)), "{error}");
        assert_eq!(*fs.calls.borrow(), ["set 300", "set 256", "commit"]);
    }

    #[test]
    fn both_causes_are_kept_when_the_way_back_fails_too() {
        let fs = Recorder {
            fail: vec!["commit"],
            ..Recorder::default()
        };
        let error = switch(&fs, 256, Bootable { subvolume: 300 }).unwrap_err();
        assert!(matches!(error, BootError::SwitchAndUndo(..)), "{error}");
        assert_eq!(
            error.to_string().matches("commit failed").count(),
            2,
            "{error}"
        );
    }

    #[test]
    fn a_loader_with_entries_of_its_own_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc/sysconfig")).unwrap();
        std::fs::write(
            dir.path().join("etc/sysconfig/bootloader"),
            "# c\nLOADER_TYPE=\"systemd-boot\"\n",
        )
        .unwrap();
        let root = beneath::open_root(dir.path()).unwrap();
        assert!(
            detect(&root)
                .unwrap_err()
                .to_string()
                .contains("systemd-boot")
        );
    }
}
