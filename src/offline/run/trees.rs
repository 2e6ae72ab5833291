//! The roots that have to know what becomes of an update.
//!
//! Where the state is part of the root, each root has its own, and who boots finds that one only. So all is written twice from the
//! moment on at which there is a snapshot that may boot.
//!
//! Invariant: the root that does not run is written first. What boots next is switched only when both hold the same.

use std::iter;

use crate::offline::Directory;
use crate::offline::state::Tree;

/// A snapshot that an attempt made: the new root, or what was before.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) tree: Tree,
    /// Its own directory of the state, when it has one.
    pub(super) directory: Option<Directory>,
}

/// The directories that an update is written down in.
#[derive(Debug)]
pub(super) struct Trees<'d> {
    running: &'d Directory,
    other: Option<Directory>,
}

impl<'d> Trees<'d> {
    /// Only that of the running root.
    pub(super) fn of(running: &'d Directory) -> Trees<'d> {
        Trees {
            running,
            other: None,
        }
    }

    /// That of the running root, where all is found that was there before.
    pub(super) fn running(&self) -> &'d Directory {
        self.running
    }

    /// From now on that of another root as well, when it has one.
    pub(super) fn join(&mut self, other: Option<Directory>) {
        self.other = other;
    }

    /// The other root is gone, or will be.
    pub(super) fn part(&mut self) {
        self.other = None;
    }

    /// All of them, in the order in which they have to be written.
    pub(super) fn each(&self) -> impl Iterator<Item = &Directory> {
        self.other.iter().chain(iter::once(self.running))
    }
}
