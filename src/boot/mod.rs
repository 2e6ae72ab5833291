//! Layer 1: what boots next.
//!
//! Owns the kind of boot loader, the proof that a snapshot can boot, and the switch. Nothing else sets the
//! default subvolume or the default entry.
//!
//! Invariant: what boots next switches once, last, durably, and only to what was shown bootable. Where entries on
//! the ESP decide, that can only be shown after the switch: until then [`Previous`] is the way back.

mod bls;
mod esp;
mod grub;
mod next;
mod sdbootutil;

pub use next::{NextEntry, next_entry};

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::sys::{Root, beneath, failpoint};

/// Where the partitions are mounted that firmware and loader read, as bootctl(1) looks: an extended boot partition holds the entries
/// where there is one. What packages put there is no part of the root.
pub const PLACES: [&str; 3] = ["boot", "efi", "boot/efi"];

/// An error of the layer that does the switch, without tying this one to it.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// How this system finds what to boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loader {
    /// GRUB reads grub.cfg, kernel and initrd from the default subvolume.
    Grub,
    /// systemd-boot, or GRUB with entries of the Boot Loader Specification: each entry names its snapshot, kernel
    /// and initrd lie on the ESP, and sdbootutil puts them there.
    Bls,
    /// No loader was found: a container, or a kernel that is given from outside. The default subvolume boots.
    None,
}

/// Why a snapshot cannot be made the next one.
#[derive(Debug)]
pub enum BootError {
    /// The loader cannot be worked with; the text says why and what to do.
    Unusable(String),
    /// The snapshot lacks what the loader needs; the text names it.
    NotBootable(String),
    /// A file that tells could not be read.
    Unreadable(&'static str, io::Error),
    /// The partition of the loader has no room for another kernel.
    NoRoom {
        /// Where it is mounted.
        path: PathBuf,
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are missing.
        missing: u64,
    },
    /// The switch failed; the previous default is the default again.
    Switch(Cause),
    /// The switch failed, and so did the way back.
    SwitchAndUndo(Cause, Cause),
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BootError::Unusable(why) => f.write_str(why),
            BootError::NotBootable(why) => write!(f, "the snapshot could not boot: {why}"),
            BootError::Unreadable(path, e) => write!(f, "cannot read {path} of the snapshot: {e}"),
            BootError::NoRoom {
                path,
                needed,
                missing,
            } => write!(
                f,
                "{} has no room for another kernel and initrd: {needed} bytes are needed with what sdbootutil keeps \
                 free (ESP_FREE_SPACE), {missing} bytes are missing; remove what is not needed there",
                path.display()
            ),
            BootError::Switch(cause) => {
                write!(f, "what boots next was not changed: {}", chain(cause))
            }
            BootError::SwitchAndUndo(cause, undo) => write!(
                f,
                "changing what boots next failed: {}; going back failed, too: {}; look at the default \
                 subvolume and the boot loader's default entry before the next reboot",
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

/// What [`switch`] is lent to make a snapshot the default subvolume.
pub trait DefaultSubvolume {
    /// Tells who wants to know that the default is about to change.
    fn before(&self);

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

    /// Tells who wants to know that the default has changed; they may add what the loader needs.
    fn after(&self);
}

/// A snapshot that is to be made the next one.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'c> {
    /// Number of the snapshot.
    pub number: u64,
    /// Id of its subvolume.
    pub subvolume: u64,
    /// Its path below the subvolume that holds the whole system, as boot entries name it.
    pub path: &'c Path,
    /// Its open root.
    pub snapshot: BorrowedFd<'c>,
}

/// A subvolume of which everything was shown that can be shown before the switch; made by [`check`] only.
#[derive(Debug)]
#[must_use]
pub struct Bootable {
    subvolume: u64,
    number: u64,
    bls: Option<bls::Bls>,
}

impl Bootable {
    /// Number of the snapshot.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }
}

/// What boots next before a switch, and the way back to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Previous {
    /// Id of the default subvolume.
    subvolume: u64,
    /// Id of the default entry, where entries decide.
    entry: Option<String>,
}

impl Previous {
    /// Asks what boots next, where `subvolume` is the default one. With a loader that has entries this shows that
    /// its tool works.
    ///
    /// # Errors
    /// When that cannot be asked for.
    pub fn ask(loader: Loader, subvolume: u64) -> Result<Previous, BootError> {
        let entry = match loader {
            Loader::Bls => Some(bls::default_entry()?),
            Loader::Grub | Loader::None => None,
        };
        Ok(Previous { subvolume, entry })
    }

    /// The default subvolume.
    #[must_use]
    pub fn subvolume(&self) -> u64 {
        self.subvolume
    }

    /// Whether the switch is not over with the default subvolume: a cut behind it has to be made good.
    #[must_use]
    pub fn needs_proof(&self) -> bool {
        self.entry.is_some()
    }

    /// Makes the entry that boots next the previous one again where it boots the snapshot at `path`: for a
    /// switch that was cut off on its way back.
    ///
    /// # Errors
    /// When the boot loader's tool fails.
    pub fn put_entry_back_from(&self, root: &Root, path: &Path) -> Result<(), Cause> {
        match next_entry(root)? {
            Some(entry) if entry.boots(path) => self.put_entry_back(root),
            _ => Ok(()),
        }
    }

    fn put_entry_back(&self, root: &Root) -> Result<(), Cause> {
        match &self.entry {
            Some(entry) => bls::put_back(root, entry).map_err(Cause::from),
            None => Ok(()),
        }
    }

    fn put_back(&self, root: &Root, fs: &impl DefaultSubvolume) -> Result<(), Cause> {
        // what the entry says boots, so it is first; the other one is put back all the same
        let entry = self.put_entry_back(root);
        let entry = entry.and_then(|()| Ok(failpoint::hit("entry-back")?));
        let subvolume = fs
            .set(self.subvolume)
            .and_then(|()| Ok(failpoint::hit("default-back")?))
            .and_then(|()| fs.commit());
        match (entry, subvolume) {
            (Err(entry), Err(subvolume)) => {
                Err(format!("{}; {}", chain(&entry), chain(&subvolume)).into())
            }
            (entry, subvolume) => entry.and(subvolume),
        }
    }
}

impl fmt::Display for Previous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.entry.as_deref().unwrap_or_default();
        write!(f, "{}:{entry}", self.subvolume)
    }
}

impl FromStr for Previous {
    type Err = String;

    fn from_str(text: &str) -> Result<Previous, String> {
        let wrong = || format!("{text:?} does not tell what booted before");
        let (subvolume, entry) = text.split_once(':').ok_or_else(wrong)?;
        Ok(Previous {
            subvolume: subvolume.parse().map_err(|_| wrong())?,
            entry: Some(entry.to_owned()).filter(|e| !e.is_empty()),
        })
    }
}

/// Has the tool of a loader with entries make the initrds of snapshot `number` anew.
///
/// # Errors
/// [`BootError::Unusable`] when it fails.
pub fn make_initrd(number: u64) -> Result<(), BootError> {
    sdbootutil::make_initrd(number).map_err(BootError::Unusable)
}

/// Has the tool of a loader with entries install the loader of snapshot `number`.
///
/// # Errors
/// [`BootError::Unusable`] when it fails.
pub fn install_loader(number: u64) -> Result<(), BootError> {
    sdbootutil::update(number).map_err(BootError::Unusable)
}

/// Which loader the system in the open directory `root` uses, by what is installed in it.
///
/// # Errors
/// When a file that tells cannot be read.
pub fn detect(root: impl AsFd) -> Result<Loader, BootError> {
    const SYSCONFIG: &str = "etc/sysconfig/bootloader";
    let sysconfig = beneath::read(&root, Path::new(SYSCONFIG), 1 << 20)
        .map_err(|e| BootError::Unreadable(SYSCONFIG, e))?;
    let sysconfig = String::from_utf8_lossy(sysconfig.as_deref().unwrap_or_default()).into_owned();
    let kind = sysconfig
        .lines()
        .rev()
        .find_map(|l| l.trim().strip_prefix("LOADER_TYPE="));
    let kind = kind.map(|k| k.trim_matches(['"', '\'']));
    let is_there = |path: &str| beneath::resolve(&root, Path::new(path)).is_ok();
    Ok(match kind {
        Some("systemd-boot" | "grub2-bls") => Loader::Bls,
        _ if is_there(grub::CONFIG) => Loader::Grub,
        // nothing was written down: sdbootutil itself takes one of its two loaders then
        None | Some("") if is_there(sdbootutil::PATH) && esp::is_mounted(&root) => Loader::Bls,
        _ => Loader::None,
    })
}

/// Refuses what cannot be switched: entries belong to the running system, and only its own tool knows them.
///
/// # Errors
/// [`BootError::Unusable`] says what is missing.
pub fn usable(loader: Loader, root: &Root) -> Result<(), BootError> {
    if loader != Loader::Bls {
        return Ok(());
    }
    if !root.is_live() {
        return Err(BootError::Unusable(format!(
            "the system at {} boots by entries on its ESP; what boots next there can only be changed while it runs",
            root.path().display()
        )));
    }
    if !root.join(sdbootutil::PATH).exists() {
        return Err(BootError::Unusable(format!(
            "this system boots by entries on the ESP, but {} is missing; install the package sdbootutil",
            root.join(sdbootutil::PATH).display()
        )));
    }
    Ok(())
}

/// Refuses when the loader's partition has no room for what a transaction on `base` adds: a kernel and an initrd.
/// `kept` is the path of a snapshot whose entries stay in any case.
///
/// # Errors
/// [`BootError::NoRoom`], or why that cannot be told.
pub fn room(
    loader: Loader,
    root: &Root,
    base: impl AsFd,
    kept: Option<&Path>,
) -> Result<(), BootError> {
    match loader {
        Loader::Bls => bls::room(root, base, kept),
        Loader::Grub | Loader::None => Ok(()),
    }
}

/// Removes entries and kernels of a snapshot that is gone from the loader's partition, where others have not done
/// that.
///
/// # Errors
/// When they stay.
pub fn forget(loader: Loader, root: &Root, number: u64, path: &Path) -> Result<(), Cause> {
    match loader {
        Loader::Bls => Ok(bls::forget(root, number, path)?),
        Loader::Grub | Loader::None => Ok(()),
    }
}

/// Shows that `candidate` can boot with `loader`, as far as that can be seen before it is the next one.
///
/// # Errors
/// [`BootError::NotBootable`] names what is missing.
pub fn check(
    loader: Loader,
    root: &Root,
    candidate: &Candidate<'_>,
) -> Result<Bootable, BootError> {
    usable(loader, root)?;
    let bls = match loader {
        Loader::Grub => grub::check(candidate.snapshot).map(|()| None)?,
        Loader::Bls => Some(bls::Bls::new(root, candidate)?),
        Loader::None => None,
    };
    Ok(Bootable {
        subvolume: candidate.subvolume,
        number: candidate.number,
        bls,
    })
}

/// Makes `next` what boots next and returns when that is on disk and was shown to boot. On failure what was
/// `previous` boots next again.
///
/// # Errors
/// [`BootError::Switch`], or [`BootError::SwitchAndUndo`] when the way back failed as well.
pub fn switch(
    root: &Root,
    fs: &impl DefaultSubvolume,
    previous: &Previous,
    next: Bootable,
) -> Result<(), BootError> {
    fs.before();
    let switched = failpoint::hit("before-set-default")
        .map_err(Cause::from)
        .and_then(|()| fs.set(next.subvolume))
        .and_then(|()| failpoint::hit("after-set-default").map_err(Cause::from))
        .and_then(|()| fs.commit())
        .and_then(|()| failpoint::hit("committed").map_err(Cause::from))
        .and_then(|()| settle(fs, &next));
    switched.map_err(|cause| undo(root, fs, previous, cause))
}

/// Does what is left of a switch to `next` that was cut off when it was the default subvolume already.
///
/// # Errors
/// When it cannot be shown to boot; [`undo`] is what to do then.
pub fn finish(fs: &impl DefaultSubvolume, next: &Bootable) -> Result<(), Cause> {
    // whether the cut came before the change was on disk is not known
    fs.commit()?;
    settle(fs, next)
}

/// Goes back to what was `previous` because of `cause`.
pub fn undo(
    root: &Root,
    fs: &impl DefaultSubvolume,
    previous: &Previous,
    cause: Cause,
) -> BootError {
    match previous.put_back(root, fs) {
        Ok(()) => BootError::Switch(cause),
        Err(undo) => BootError::SwitchAndUndo(cause, undo),
    }
}

/// What follows the default subvolume: others add what the loader needs, and it is looked at.
fn settle(fs: &impl DefaultSubvolume, next: &Bootable) -> Result<(), Cause> {
    fs.after();
    failpoint::hit("told")?;
    if let Some(bls) = &next.bls {
        bls.settle()?;
        failpoint::hit("shown")?;
    }
    Ok(())
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
        fn before(&self) {
            self.call("before".into()).unwrap_or(());
        }
        fn after(&self) {
            self.call("after".into()).unwrap_or(());
        }
        fn set(&self, subvolume: u64) -> Result<(), Cause> {
            self.call(format!("set {subvolume}"))
        }
        fn commit(&self) -> Result<(), Cause> {
            self.call("commit".into())
        }
    }

    fn to_300(fs: &Recorder) -> Result<(), BootError> {
        let previous = Previous {
            subvolume: 256,
            entry: None,
        };
        let next = Bootable {
            subvolume: 300,
            number: 2,
            bls: None,
        };
        switch(&Root::live(), fs, &previous, next)
    }

    #[test]
    fn a_switch_is_set_and_then_committed() {
        let fs = Recorder::default();
        to_300(&fs).unwrap();
        assert_eq!(*fs.calls.borrow(), ["before", "set 300", "commit", "after"]);
    }

    #[test]
    fn a_switch_that_fails_puts_the_previous_default_back() {
        let fs = Recorder {
            fail: vec!["set 300"],
            ..Recorder::default()
        };
        let error = to_300(&fs).unwrap_err();
        assert!(matches!(error, BootError::Switch(_)), "{error}");
        assert_eq!(
            *fs.calls.borrow(),
            ["before", "set 300", "set 256", "commit"]
        );
    }

    #[test]
    fn both_causes_are_kept_when_the_way_back_fails_too() {
        let fs = Recorder {
            fail: vec!["commit"],
            ..Recorder::default()
        };
        let error = to_300(&fs).unwrap_err();
        assert!(matches!(error, BootError::SwitchAndUndo(..)), "{error}");
        assert_eq!(
            error.to_string().matches("commit failed").count(),
            2,
            "{error}"
        );
    }

    fn found(sysconfig: &str, files: &[&str]) -> Loader {
        let dir = tempfile::tempdir().unwrap();
        let files = files.iter().map(|f| (*f, "x"));
        for (file, text) in files.chain([("etc/sysconfig/bootloader", sysconfig)]) {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        detect(beneath::open_root(dir.path()).unwrap()).unwrap()
    }

    #[test]
    fn the_loader_is_what_was_written_down_else_what_is_installed() {
        let (grub, tool) = ("boot/grub2/grub.cfg", "usr/bin/sdbootutil");
        let bls = "# c\nLOADER_TYPE=\"systemd-boot\"\n";
        assert_eq!(found(bls, &[grub]), Loader::Bls);
        assert_eq!(found("LOADER_TYPE='grub2-bls'", &[]), Loader::Bls);
        assert_eq!(
            found("LOADER_TYPE=\"grub2-efi\"", &[grub, tool]),
            Loader::Grub
        );
        assert_eq!(found("LOADER_TYPE=\"grub2-efi\"", &[tool]), Loader::None);
        let entry = "boot/efi/loader/entries/x.conf";
        assert_eq!(found("LOADER_TYPE=\"\"", &[tool, entry]), Loader::Bls);
        assert_eq!(found("", &[tool]), Loader::None);
        assert_eq!(found("", &[grub, tool]), Loader::Grub);
        assert_eq!(found("", &[]), Loader::None);
    }

    #[test]
    fn what_booted_before_is_read_as_it_was_written() {
        for entry in [
            None,
            Some("opensuse-6.4.0-1-default-3.conf".to_owned()),
            Some("a:b".into()),
        ] {
            let previous = Previous {
                subvolume: 256,
                entry,
            };
            assert_eq!(previous.to_string().parse(), Ok(previous));
        }
        for text in ["", "256", "x:y", ":y"] {
            assert!(text.parse::<Previous>().is_err(), "{text}");
        }
    }
}
