//! What is read, as types.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::sys::root;

/// A format of the database, as rpm names it (`%_db_backend`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Backend {
    /// `Packages.db`.
    Ndb,
    /// `rpmdb.sqlite`.
    Sqlite,
    /// `Packages`: Berkeley DB.
    Bdb,
}

impl Backend {
    /// The one with this name.
    pub(super) fn named(name: &str) -> Option<Backend> {
        match name {
            "ndb" => Some(Backend::Ndb),
            "sqlite" => Some(Backend::Sqlite),
            "bdb" | "bdb_ro" => Some(Backend::Bdb),
            _ => None,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Backend::Ndb => "ndb",
            Backend::Sqlite => "sqlite",
            Backend::Bdb => "bdb",
        })
    }
}

/// Name, epoch, version, release and architecture of a package, as the database spells them (rpm tags 1000, 1003, 1001,
/// 1002, 1022).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nevra {
    /// Name.
    pub name: String,
    /// Epoch; none compares as 0.
    pub epoch: Option<u32>,
    /// Version.
    pub version: String,
    /// Release.
    pub release: String,
    /// Architecture; empty for keys.
    pub arch: String,
}

impl fmt::Display for Nevra {
    /// `name-[epoch:]version-release.arch`, as rpm prints `%{NEVRA}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.name)?;
        if let Some(epoch) = self.epoch {
            write!(f, "{epoch}:")?;
        }
        write!(f, "{}-{}", self.version, self.release)?;
        if !self.arch.is_empty() {
            write!(f, ".{}", self.arch)?;
        }
        Ok(())
    }
}

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledPackage {
    /// What it is.
    pub nevra: Nevra,
    /// Digest of its header in hexadecimal (tag 273, else 279, else 269, else made from the immutable region).
    pub identity: String,
    /// When it was installed, in seconds since 1970 (tag 1008); 0 when the database does not say.
    pub install_time: u32,
    /// The transaction that installed it (tag 1128).
    pub transaction: Option<u32>,
    /// Its vendor (tag 1011).
    pub vendor: Option<String>,
    /// Bytes that it takes (tag 5009, else 1009).
    pub size: u64,
}

/// What rpm did with a file (tag 1029).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileState {
    /// Installed; also when the database says nothing.
    Normal,
    /// Replaced by another package's.
    Replaced,
    /// Not installed.
    NotInstalled,
    /// On a shared file system.
    NetShared,
    /// Of another architecture's colour.
    WrongColour,
    /// A state that this program does not know.
    Unknown(u8),
}

/// A directory in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Its path, byte by byte as the database has it: it may be relative, hold `..`, or be no text.
    pub path: PathBuf,
    /// Permission bits, at most 07777.
    pub mode: u32,
    /// Its owner's name.
    pub user: OsString,
    /// Its group's name.
    pub group: OsString,
    /// Whether the package only owns it, and does not bring it (%ghost).
    pub is_ghost: bool,
    /// What rpm did with it.
    pub state: FileState,
    /// Which package: a place in [`Directories::packages`].
    pub package: usize,
}

/// What a scan for directories found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directories {
    /// Sorted by path, then by package.
    pub entries: Vec<DirectoryEntry>,
    /// The packages of these entries, in the order of the database.
    pub packages: Vec<InstalledPackage>,
    /// What could not be read.
    pub bad: Vec<BadPackage>,
}

/// A package that the database holds in a form that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPackage {
    /// Which: its name when that could be read, else its number in the database.
    pub name: String,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for BadPackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "package {}: {}", self.name, self.why)
    }
}

/// A directory whose contents are asked for: absolute, without a `/` at its end. It holds whole components only and never
/// itself: `/var` has `/var/lib`, but neither `/var` nor `/various`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(PathBuf);

impl Prefix {
    /// The prefix that `path` spells; `/var/` is the same as `/var`.
    ///
    /// # Errors
    /// When it is not absolute, is the root itself, or has `.` or `..` in it.
    pub fn new(path: &Path) -> Result<Prefix, String> {
        root::below(path).map(Prefix).ok_or_else(|| {
            format!(
                "{} is no directory below the root, such as /var",
                path.display()
            )
        })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Whether `path` lies below it, byte by byte.
    #[must_use]
    pub fn holds(&self, path: &[u8]) -> bool {
        let prefix = self.0.as_os_str().as_bytes();
        path.strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix(b"/"))
            .is_some_and(|rest| !rest.is_empty())
    }

    /// Whether what is in the directory `name`, which ends in `/`, lies below it.
    pub(super) fn holds_files_of(&self, name: &[u8]) -> bool {
        let prefix = self.0.as_os_str().as_bytes();
        // most names differ at once: the first letters, before the rest is compared
        name.get(1) == prefix.get(1)
            && name.get(prefix.len()) == Some(&b'/')
            && name.starts_with(prefix)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_holds_whole_components_and_never_itself() {
        let var = Prefix::new(Path::new("/var/")).unwrap();
        assert_eq!(var.path(), Path::new("/var"));
        for (path, held) in [
            ("/var/lib", true),
            ("/var/lib/a", true),
            ("/var", false),
            ("/var/", false),
            ("/various", false),
            ("var/lib", false),
        ] {
            assert_eq!(var.holds(path.as_bytes()), held, "{path}");
        }
        for path in ["", "/", "var", "/var/../etc", ".."] {
            assert!(Prefix::new(Path::new(path)).is_err(), "{path}");
        }
    }
}
