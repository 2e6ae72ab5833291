//! Systems whose entries name the snapshot: kernel, initrd and entry lie on the ESP, and sdbootutil puts them there.
//!
//! Snapper's plugin of sdbootutil ignores errors, so a full ESP looks like success. Here the result is looked at,
//! and what is not as it should be is done once more, with errors that count.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::esp::{self, Entry, Esp};
use super::{BootError, Candidate, sdbootutil};
use crate::sys::{Root, beneath, failpoint, out};

const MODULES: &str = "usr/lib/modules";
/// Names of the kernel in its modules directory; the first one there is counts.
const IMAGES: [&str; 2] = ["vmlinuz", "Image"];
const INITRD: &str = "initrd";

/// A snapshot that can be given entries, and the partition they go to.
#[derive(Debug)]
pub(super) struct Bls {
    number: u64,
    /// `.snapshots/N/snapshot`, as the entries name it.
    path: PathBuf,
    snapshot: OwnedFd,
    kernels: Vec<Kernel>,
    esp: Esp,
    /// What sdbootutil keeps free there, in percent.
    reserve: u64,
}

/// A kernel inside a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kernel {
    version: String,
    /// Its path in the snapshot.
    image: PathBuf,
    size: u64,
    /// Size of the initrd that the snapshot brings along; 0 when one is made.
    initrd: u64,
}

impl Bls {
    /// Shows that `snapshot` has what the entries will need, and that there is a place for them.
    ///
    /// # Errors
    /// Names what is missing.
    pub(super) fn new(root: &Root, candidate: &Candidate<'_>) -> Result<Bls, BootError> {
        let snapshot = candidate.snapshot;
        let kernels = kernels(snapshot)?;
        if kernels.is_empty() {
            return Err(BootError::NotBootable(format!(
                "it has no kernel ({MODULES}/*/{})",
                IMAGES[0]
            )));
        }
        for kernel in &kernels {
            let path = Path::new(MODULES).join(&kernel.version);
            if kernel.size == 0 {
                return Err(BootError::NotBootable(format!(
                    "the kernel in {} is empty",
                    path.display()
                )));
            }
            if beneath::resolve(snapshot, &path.join("modules.dep")).is_err() {
                return Err(BootError::NotBootable(format!(
                    "there are no modules for its kernel {} ({})",
                    kernel.version,
                    path.display()
                )));
            }
        }
        Ok(Bls {
            number: candidate.number,
            path: candidate.path.to_owned(),
            snapshot: snapshot
                .try_clone_to_owned()
                .map_err(|e| BootError::Unreadable(MODULES, e))?,
            kernels,
            esp: Esp::open(root)?,
            reserve: sdbootutil::reserve(root),
        })
    }

    /// Makes sure that the default entry boots the snapshot and that all of it is on disk: what plugins have
    /// done before is enough when it is whole, else the same is done here.
    ///
    /// # Errors
    /// What stays wrong, with the bytes that are missing where the partition is full.
    pub(super) fn settle(&self) -> Result<(), String> {
        if self.show(true).is_err() {
            self.install().map_err(|e| self.with_missing_bytes(e))?;
            self.show(false).map_err(|e| self.with_missing_bytes(e))?;
        }
        self.sync()
    }

    fn install(&self) -> Result<(), String> {
        // going back to what is there needs no room
        if self.all_kernels(&self.entries()?).is_err() {
            sdbootutil::add_kernels(self.number)?;
            failpoint::hit("kernels-added").map_err(|e| e.to_string())?;
        }
        if self.entries()?.iter().any(|e| self.is_stale(e)) {
            sdbootutil::clean_up(self.number)?;
            failpoint::hit("entries-cleaned").map_err(|e| e.to_string())?;
        }
        sdbootutil::set_default_snapshot(self.number)?;
        // a plugin may have seen to that, but here there is perhaps none; a passphrase can still be typed
        if let Err(e) = sdbootutil::update_predictions() {
            out::warn(format_args!(
                "the next boot may ask for a recovery key: {e}"
            ));
        }
        Ok(())
    }

    /// Shows that the default entry is one of this snapshot and that the files it names are whole; with
    /// `all_kernels` also that no kernel of the snapshot lacks an entry.
    fn show(&self, all_kernels: bool) -> Result<(), String> {
        sdbootutil::is_bootable(self.number)?;
        let id = sdbootutil::default_entry()?;
        let entries = self.entries()?;
        let default = entries.iter().find(|e| e.is(&id)).ok_or_else(|| {
            format!(
                "the default entry {id} is not in {}",
                self.esp.path.display()
            )
        })?;
        if !default.boots(&self.path) {
            return Err(format!("the default entry {id} boots another system"));
        }
        self.whole(default)?;
        if all_kernels {
            self.all_kernels(&entries)?;
        }
        Ok(())
    }

    /// Shows that each kernel of the snapshot has an entry whose files are whole.
    fn all_kernels(&self, entries: &[Entry]) -> Result<(), String> {
        match self.kernels.iter().find(|k| !self.has(k, entries)) {
            Some(kernel) => Err(format!("the kernel {} has no entry", kernel.version)),
            None => Ok(()),
        }
    }

    fn has(&self, kernel: &Kernel, entries: &[Entry]) -> bool {
        entries.iter().any(|e| {
            e.boots(&self.path)
                && e.version() == Some(kernel.version.as_ref())
                && self.whole(e).is_ok()
        })
    }

    /// Shows that kernel and initrds of an entry are on the partition.
    fn whole(&self, entry: &Entry) -> Result<(), String> {
        let kernel = self.kernel_of(entry).ok_or_else(|| {
            format!(
                "the default entry {} starts a kernel that is not in the snapshot",
                entry.file
            )
        })?;
        let is = self.esp.size(&entry.kernel);
        if is != kernel.size {
            return Err(format!(
                "{} has {is} bytes, the kernel in the snapshot has {}",
                self.esp.path.join(&entry.kernel).display(),
                kernel.size
            ));
        }
        // a file that an earlier cut left half written has its name already, and would be used again
        if !self
            .esp
            .holds(&entry.kernel, &self.snapshot, &kernel.image)?
        {
            return Err(format!(
                "{} is not the kernel of the snapshot; remove it",
                self.esp.path.join(&entry.kernel).display()
            ));
        }
        let empty = entry.initrds.iter().find(|i| self.esp.size(i) == 0);
        match (entry.initrds.is_empty(), empty) {
            (true, _) => Err(format!("the entry {} has no initrd", entry.file)),
            (_, Some(path)) => Err(format!(
                "the initrd {} is missing or empty",
                self.esp.path.join(path).display()
            )),
            _ => Ok(()),
        }
    }

    fn kernel_of(&self, entry: &Entry) -> Option<&Kernel> {
        let version = entry.version()?.to_str()?;
        self.kernels.iter().find(|k| k.version == version)
    }

    fn is_stale(&self, entry: &Entry) -> bool {
        entry.boots(&self.path) && self.kernel_of(entry).is_none()
    }

    fn entries(&self) -> Result<Vec<Entry>, String> {
        let doing = |e| {
            format!(
                "cannot read the entries in {}: {e}",
                self.esp.path.display()
            )
        };
        self.esp.entries().map_err(doing)
    }

    /// Adds to the reason of a failure what a kernel of this snapshot that has no entry lacks of room.
    fn with_missing_bytes(&self, why: String) -> String {
        let (Ok(free), Ok(entries)) = (self.esp.free(), self.esp.entries()) else {
            return why;
        };
        let estimate = estimate(&self.esp, &entries);
        let lacking = self.kernels.iter().filter(|k| !self.has(k, &entries));
        let needed = lacking.map(|k| k.room(estimate)).max();
        let needed = needed.map_or(0, |n| {
            n.saturating_add(self.esp.reserve(self.reserve).unwrap_or(0))
        });
        if needed <= free {
            return why;
        }
        format!(
            "{why}; {} has no room: {} bytes are missing for kernel and initrd, with the {} % that sdbootutil keeps free",
            self.esp.path.display(),
            needed - free,
            self.reserve
        )
    }

    /// Writes the partition to disk.
    pub(super) fn sync(&self) -> Result<(), String> {
        sync(&self.esp)
    }
}

fn sync(esp: &Esp) -> Result<(), String> {
    esp.sync()
        .map_err(|e| format!("writing {} to disk: {e}", esp.path.display()))
}

impl Kernel {
    /// Bytes that it needs on the partition, when an initrd is as large as `estimate`.
    fn room(&self, estimate: u64) -> u64 {
        let initrd = if self.initrd == 0 {
            estimate
        } else {
            self.initrd
        };
        self.size.saturating_add(initrd)
    }
}

/// An initrd that has still to be made is taken to be as large as the largest one there is.
fn estimate(esp: &Esp, entries: &[Entry]) -> u64 {
    let all = entries.iter().flat_map(|e| &e.initrds);
    all.map(|path| esp.size(path)).max().unwrap_or(0)
}

/// The entry that boots next, and with it that sdbootutil works.
///
/// # Errors
/// When it does not answer.
pub(super) fn default_entry() -> Result<String, BootError> {
    sdbootutil::default_entry().map_err(BootError::Unusable)
}

/// Makes `entry` the one that boots next again, and shows that it is.
///
/// # Errors
/// When it is not.
pub(super) fn put_back(root: &Root, entry: &str) -> Result<(), String> {
    // what does not answer may still obey
    if !sdbootutil::default_entry().is_ok_and(|now| now.eq_ignore_ascii_case(entry)) {
        sdbootutil::set_default_entry(entry)?;
        let now = sdbootutil::default_entry()?;
        if !now.eq_ignore_ascii_case(entry) {
            return Err(format!("the default entry is {now}, not {entry}"));
        }
    }
    Esp::open(root)
        .map_err(|e| e.to_string())
        .and_then(|esp| sync(&esp))
}

/// Removes what is left of snapshot `number` at `path`, which is gone.
///
/// # Errors
/// When it stays.
pub(super) fn forget(root: &Root, number: u64, path: &Path) -> Result<(), String> {
    let esp = Esp::open(root).map_err(|e| e.to_string())?;
    let entries = esp.entries().map_err(|e| e.to_string())?;
    if entries.iter().any(|e| e.boots(path)) {
        sdbootutil::clean_up(number)?;
    }
    Ok(())
}

/// Refuses when the partition has no room for a kernel and an initrd as large as those of `base`, which
/// sdbootutil asks for with every new snapshot, whether it shares them with another or not. What it would
/// remove to make room counts as free; `kept` is the snapshot whose entries stay.
///
/// # Errors
/// [`BootError::NoRoom`] names the bytes that are missing.
pub(super) fn room(root: &Root, base: impl AsFd, kept: Option<&Path>) -> Result<(), BootError> {
    let esp = Esp::open(root)?;
    let unreadable = |e| BootError::Unusable(format!("cannot read {}: {e}", esp.path.display()));
    let entries = esp.entries().map_err(unreadable)?;
    let estimate = estimate(&esp, &entries);
    let largest = kernels(&base)?.iter().map(|k| k.room(estimate)).max();
    let reserve = sdbootutil::reserve(root);
    let needed = largest
        .unwrap_or(0)
        .saturating_add(esp.reserve(reserve).map_err(unreadable)?);
    let default = super::next_entry(root)?.map(|e| e.id);
    let free =
        esp.free().map_err(unreadable)? + esp.can_be_freed(&entries, default.as_deref(), kept);
    if free < needed {
        return Err(BootError::NoRoom {
            path: esp.path,
            needed,
            missing: needed - free,
        });
    }
    Ok(())
}

/// The kernels of the system in the open directory `snapshot`.
fn kernels(snapshot: impl AsFd) -> Result<Vec<Kernel>, BootError> {
    let versions = esp::directories(&snapshot, Path::new(MODULES))
        .map_err(|e| BootError::Unreadable(MODULES, e))?;
    let mut found = Vec::new();
    for version in versions {
        let at = Path::new(MODULES).join(&version);
        let mut images = IMAGES.iter().map(|name| at.join(name));
        if let Some(image) = images.find(|p| beneath::resolve(&snapshot, p).is_ok()) {
            found.push(Kernel {
                size: esp::size(&snapshot, &image),
                initrd: esp::size(&snapshot, &at.join(INITRD)),
                version,
                image,
            });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_claims_to_be_as_large_as_a_file_can_be_has_no_room() {
        let kernel = Kernel {
            version: String::new(),
            image: PathBuf::new(),
            size: u64::MAX - 1,
            initrd: 0,
        };
        assert_eq!(kernel.room(7), u64::MAX);
    }
}
