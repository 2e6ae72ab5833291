//! What resources are, and where.

use std::fmt;
use std::path::PathBuf;

use crate::sysupdate::fetch::Url;

/// What a resource is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file behind an address.
    UrlFile,
    /// An archive behind an address.
    UrlTar,
    /// An archive in a directory.
    Tar,
    /// A file in a directory.
    RegularFile,
    /// A directory in a directory.
    Directory,
    /// A subvolume in a directory.
    Subvolume,
    /// A partition of a disk.
    Partition,
}

/// Every kind and its name.
const KINDS: [(&str, Kind); 7] = [
    ("url-file", Kind::UrlFile),
    ("url-tar", Kind::UrlTar),
    ("tar", Kind::Tar),
    ("regular-file", Kind::RegularFile),
    ("directory", Kind::Directory),
    ("subvolume", Kind::Subvolume),
    ("partition", Kind::Partition),
];

impl Kind {
    pub(super) fn parse(text: &str) -> Option<Kind> {
        KINDS
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, kind)| *kind)
    }

    /// Its name in a transfer file.
    #[must_use]
    pub fn name(self) -> &'static str {
        KINDS
            .iter()
            .find(|(_, kind)| *kind == self)
            .map_or("", |(name, _)| name)
    }

    /// Whether it comes from an address, with a manifest.
    #[must_use]
    pub fn is_url(self) -> bool {
        matches!(self, Kind::UrlFile | Kind::UrlTar)
    }

    /// Whether an instance of it in a directory is itself a directory.
    #[must_use]
    pub fn is_tree(self) -> bool {
        matches!(self, Kind::Directory | Kind::Subvolume)
    }

    /// Whether what comes from this source can go to `target`.
    #[must_use]
    pub fn fits(self, target: Kind) -> bool {
        match self {
            Kind::UrlFile | Kind::RegularFile => {
                matches!(target, Kind::Partition | Kind::RegularFile)
            }
            Kind::UrlTar | Kind::Tar | Kind::Directory | Kind::Subvolume => target.is_tree(),
            Kind::Partition => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a path is relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Base {
    /// The root directory.
    #[default]
    Root,
    /// Where the EFI system partition is mounted.
    Esp,
    /// Where the extended boot loader partition is mounted.
    Xbootldr,
    /// Where the extended boot loader partition is mounted, or that of EFI.
    Boot,
    /// The directory of `--transfer-source`.
    Explicit,
}

/// A directory, absolute, and what it is relative to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The path, normalized, with its leading slash.
    pub path: PathBuf,
    /// What it is relative to.
    pub base: Base,
}

/// Where a source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// Behind an address.
    Url(Url),
    /// In a directory.
    Local(Place),
}
