//! Making directories by descriptors only, whole or not at all.

use std::io;
use std::path::PathBuf;

use crate::sys::Root;

/// A directory that is to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its path below the root, without a `/` before it and without `.` or `..`.
    pub path: PathBuf,
    /// Permission bits, at most 07777.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What is there now.
#[derive(Debug)]
pub enum Found {
    /// Nothing, and it can be made: what is there of its path is directories.
    Missing,
    /// A directory, with these attributes.
    Directory {
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// A symbolic link there or on the way, at this path below the root: somebody moved it elsewhere.
    Redirected(PathBuf),
    /// Something else that is no directory, at this path below the root.
    Blocked(PathBuf),
    /// It cannot be looked at.
    Failed(io::Error),
}

/// What became of a directory that was missing.
#[derive(Debug)]
pub enum Outcome {
    /// Made, with everything as wanted; and these above it (paths below the root), which no package owns, root:root 0755.
    Made {
        /// Outermost first.
        implied: Vec<PathBuf>,
    },
    /// It was there in the end, made by somebody else or in the way; as [`Found`] says.
    Found(Found),
    /// Somebody interfered while it was made; nothing of it was used.
    Raced,
    /// It could not be made, or what is above it could not.
    Failed(io::Error),
}

/// Looks at directories of a root and makes them.
#[derive(Debug)]
pub struct Maker {
    _root: Root,
}
