//! What lies on the partition that the boot loader reads: entries of the Boot Loader Specification, kernels, initrds.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::sys::stat::fstat;

use super::{BootError, PLACES};
use crate::sys::{Root, beneath};

const ENTRIES: &str = "loader/entries";
/// Bounds of what is read: of an entry, in bytes, and of their number.
const ENTRY_LIMIT: u64 = 64 << 10;
const MOST_ENTRIES: usize = 4096;

/// The mounted partition with the entries.
#[derive(Debug)]
pub(super) struct Esp {
    /// Where it is mounted.
    pub(super) path: PathBuf,
    /// Open from the beginning: syncfs(2) reports a write error to each descriptor that was open when it happened.
    pub(super) fd: OwnedFd,
}

/// An entry, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// Name of its file.
    pub(super) file: String,
    /// The subvolume that rootflags= names.
    pub(super) subvolume: Option<PathBuf>,
    /// Path of the kernel, relative to the partition.
    pub(super) kernel: PathBuf,
    /// Paths of the initrds.
    pub(super) initrds: Vec<PathBuf>,
    /// The kernel's command line.
    pub(super) options: String,
}

impl Entry {
    fn parse(file: &str, text: &str) -> Entry {
        let mut entry = Entry {
            file: file.to_owned(),
            ..Entry::default()
        };
        for line in text.lines() {
            let Some((key, value)) = line.trim().split_once(char::is_whitespace) else {
                continue;
            };
            let path = || crate::sys::root::relative(Path::new(value.trim()));
            match key {
                "linux" => entry.kernel = path(),
                "initrd" => entry.initrds.push(path()),
                "options" => {
                    let gap = if entry.options.is_empty() { "" } else { " " };
                    entry.options = format!("{}{gap}{}", entry.options, value.trim());
                }
                _ => {}
            }
        }
        entry.subvolume = subvolume(&entry.options);
        entry
    }

    /// Whether this is the entry `id`: its name without case, suffix and the counters of boot attempts.
    pub(super) fn is(&self, id: &str) -> bool {
        let bare = |name: &str| {
            let name = name.to_ascii_lowercase();
            let name = name.strip_suffix(".conf").unwrap_or(&name);
            let counted = name.rsplit_once('+').filter(|(_, count)| {
                !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit() || b == b'-')
            });
            counted.map_or(name, |(name, _)| name).to_owned()
        };
        bare(&self.file) == bare(id)
    }

    /// Whether it boots the snapshot at `path` (`.snapshots/N/snapshot`), whatever lies above that.
    pub(super) fn boots(&self, path: &Path) -> bool {
        self.subvolume.as_ref().is_some_and(|s| s.ends_with(path))
    }

    /// The version of the kernel, which names its directory.
    pub(super) fn version(&self) -> Option<&OsStr> {
        self.kernel.parent()?.file_name()
    }

    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.initrds.iter().chain([&self.kernel])
    }
}

/// The value of `subvol=` in the last `rootflags=` of a kernel command line.
fn subvolume(options: &str) -> Option<PathBuf> {
    let flags = options
        .split_whitespace()
        .rev()
        .find_map(|word| word.strip_prefix("rootflags="))?;
    let name = flags
        .split(',')
        .find_map(|flag| flag.strip_prefix("subvol="))?;
    Some(crate::sys::root::relative(Path::new(name)))
}

/// Whether one of the places has entries, as seen from the open directory `root`.
pub(super) fn is_mounted(root: impl AsFd) -> bool {
    PLACES
        .iter()
        .any(|place| beneath::open_dir(&root, &Path::new(place).join(ENTRIES)).is_ok())
}

impl Esp {
    /// Opens the partition with the entries of the running system.
    ///
    /// # Errors
    /// When none is mounted.
    pub(super) fn open(root: &Root) -> Result<Esp, BootError> {
        let unreadable =
            |e: io::Error| BootError::Unusable(format!("cannot look for the ESP: {e}"));
        let top = beneath::open_root(root.path()).map_err(unreadable)?;
        let device = |fd: &OwnedFd| fstat(fd).map(|s| s.st_dev);
        let own = device(&top).map_err(|e| unreadable(e.into()))?;
        for place in PLACES {
            let Ok(fd) = beneath::open_dir(&top, Path::new(place)) else {
                continue;
            };
            if device(&fd).is_ok_and(|d| d != own)
                && beneath::open_dir(&fd, Path::new(ENTRIES)).is_ok()
            {
                let path = root.join(place);
                return Ok(Esp { path, fd });
            }
        }
        Err(BootError::Unusable(format!(
            "no partition with boot loader entries ({ENTRIES}) is mounted at {}; mount the ESP",
            PLACES
                .map(|p| root.join(p).display().to_string())
                .join(", ")
        )))
    }

    /// All entries, by name.
    ///
    /// # Errors
    /// When the directory or one of them cannot be read.
    pub(super) fn entries(&self) -> io::Result<Vec<Entry>> {
        let dir = beneath::open_dir(&self.fd, Path::new(ENTRIES))?;
        let mut entries = Vec::new();
        for found in Dir::from_fd(dir.try_clone()?)?.iter() {
            let found = found?;
            let Some(name) = found
                .file_name()
                .to_str()
                .ok()
                .filter(|n| n.ends_with(".conf"))
            else {
                continue;
            };
            if entries.len() == MOST_ENTRIES {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            let text = beneath::read(&dir, Path::new(name), ENTRY_LIMIT)?.unwrap_or_default();
            entries.push(Entry::parse(name, &String::from_utf8_lossy(&text)));
        }
        entries.sort_by(|a, b| a.file.cmp(&b.file));
        Ok(entries)
    }

    /// Size of a file in bytes; 0 when it is not there.
    pub(super) fn size(&self, path: &Path) -> u64 {
        size(&self.fd, path)
    }

    /// Whether the file `path` has the same content as the file `other` below `dir`.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub(super) fn holds(&self, path: &Path, dir: impl AsFd, other: &Path) -> Result<bool, String> {
        let open = |dir: BorrowedFd<'_>, path: &Path| beneath::resolve(dir, path).map(File::from);
        let same = open(self.fd.as_fd(), path)
            .and_then(|ours| same_content(ours, open(dir.as_fd(), other)?));
        same.map_err(|e| format!("cannot compare {}: {e}", self.path.join(path).display()))
    }

    /// Free bytes.
    ///
    /// # Errors
    /// As fstatvfs(3).
    pub(super) fn free(&self) -> io::Result<u64> {
        let stat = nix::sys::statvfs::fstatvfs(&self.fd)?;
        Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
    }

    /// Bytes that sdbootutil keeps free, which is `percent` of the partition.
    ///
    /// # Errors
    /// As fstatvfs(3).
    pub(super) fn reserve(&self, percent: u64) -> io::Result<u64> {
        let stat = nix::sys::statvfs::fstatvfs(&self.fd)?;
        let size = stat.blocks().saturating_mul(stat.fragment_size());
        Ok(size / 100 * percent)
    }

    /// Bytes that sdbootutil gives free when it needs room: of files that neither the default entry uses nor one
    /// that boots the snapshot `kept`.
    pub(super) fn can_be_freed(
        &self,
        entries: &[Entry],
        default: Option<&str>,
        kept: Option<&Path>,
    ) -> u64 {
        let is_kept = |e: &&Entry| {
            e.subvolume.is_none()
                || default.is_some_and(|id| e.is(id))
                || kept.is_some_and(|path| e.boots(path))
        };
        let needed: BTreeSet<&PathBuf> = entries
            .iter()
            .filter(is_kept)
            .flat_map(Entry::files)
            .collect();
        let old: BTreeSet<&PathBuf> = entries.iter().flat_map(Entry::files).collect();
        old.difference(&needed).map(|path| self.size(path)).sum()
    }

    /// Writes everything to the partition.
    ///
    /// # Errors
    /// When something could not be written since it was opened.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(nix::unistd::syncfs(&self.fd)?)
    }
}

fn same_content(ours: File, theirs: File) -> io::Result<bool> {
    const PIECE: usize = 1 << 20;
    let (mut ours, mut theirs) = (
        BufReader::with_capacity(PIECE, ours),
        BufReader::with_capacity(PIECE, theirs),
    );
    loop {
        let (a, b) = (ours.fill_buf()?, theirs.fill_buf()?);
        let length = a.len().min(b.len());
        if length == 0 {
            return Ok(a.len() == b.len());
        }
        if a[..length] != b[..length] {
            return Ok(false);
        }
        ours.consume(length);
        theirs.consume(length);
    }
}

/// Names of the directories in the directory `path` below `dir`, in order; none where there is no such.
///
/// # Errors
/// When it cannot be read.
pub(super) fn directories(dir: impl AsFd, path: &Path) -> io::Result<Vec<String>> {
    let Ok(found) = beneath::open_dir(&dir, path) else {
        return Ok(Vec::new());
    };
    let mut names = Vec::new();
    for entry in Dir::from_fd(found)?.iter() {
        let entry = entry?;
        if let Ok(name) = entry.file_name().to_str()
            && !name.starts_with('.')
            && beneath::open_dir(&dir, &path.join(name)).is_ok()
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Size of the file `path` below `dir` in bytes, links followed inside; 0 when it is not there.
pub(super) fn size(dir: impl AsFd, path: &Path) -> u64 {
    let stat = beneath::resolve(dir, path).and_then(|fd| Ok(fstat(&fd)?));
    stat.map_or(0, |s| u64::try_from(s.st_size).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Boot Loader Specification type#1 entry\ntitle      openSUSE MicroOS\nversion    3@6.4.0-1-default\n\
        options    quiet root=UUID=x rootflags=ro,subvol=@/.snapshots/3/snapshot\n\
        linux      /opensuse/6.4.0-1-default/linux-abc\ninitrd     /opensuse/6.4.0-1-default/initrd-def\n";

    #[test]
    fn an_entry_tells_its_snapshot_its_kernel_and_its_initrds() {
        let entry = Entry::parse("opensuse-6.4.0-1-default-3+3-0.conf", TEXT);
        assert!(entry.boots(Path::new(".snapshots/3/snapshot")));
        for other in [".snapshots/13/snapshot", ".snapshots/1/snapshot"] {
            assert!(!entry.boots(Path::new(other)), "{other}");
        }
        assert_eq!(entry.version(), Some(OsStr::new("6.4.0-1-default")));
        assert_eq!(entry.initrds.len(), 1);
        for id in [
            "opensuse-6.4.0-1-default-3.conf",
            "OPENSUSE-6.4.0-1-default-3",
        ] {
            assert!(entry.is(id), "{id}");
        }
        assert!(!entry.is("opensuse-6.4.0-1-default-13.conf"));
    }

    #[test]
    fn files_are_the_same_only_to_their_end() {
        let dir = tempfile::tempdir().unwrap();
        let same = |a: &[u8], b: &[u8]| {
            let file = |name: &str, bytes: &[u8]| {
                std::fs::write(dir.path().join(name), bytes).unwrap();
                File::open(dir.path().join(name)).unwrap()
            };
            same_content(file("a", a), file("b", b)).unwrap()
        };
        let long = vec![7; (1 << 20) + 1];
        let mut other = long.clone();
        other[1 << 20] = 8;
        assert!(same(b"", b"") && same(b"x", b"x") && same(&long, &long));
        for (a, b) in [
            (&b""[..], &b"x"[..]),
            (b"x", b""),
            (b"x", b"y"),
            (&long, &other),
            (&long, &long[1..]),
        ] {
            assert!(!same(a, b));
        }
    }

    #[test]
    fn an_entry_that_names_no_snapshot_boots_none() {
        for text in [
            "",
            "options",
            "options root=x\n",
            "options rootflags=subvol\n",
            "\u{0}\n",
        ] {
            let entry = Entry::parse("x.conf", text);
            assert!(!entry.boots(Path::new(".snapshots/3/snapshot")), "{text:?}");
        }
    }
}
