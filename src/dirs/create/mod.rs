//! Making directories by descriptors only, whole or not at all.
//!
//! Owns how a directory is looked at and made: the way there ([`way`]), what is missing ([`tree`]), building it ([`build`]), and
//! what a run that was cut off left behind ([`leftover`]). Must not know where the list comes from, nor change anything that
//! is there.

mod build;
mod leftover;
#[cfg(test)]
mod tests;
mod tree;
mod way;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sys::stat::fstat;
use nix::unistd::syncfs;

use crate::sys::selinux::Labels;
use crate::sys::{Root, beneath, out};
use build::{Builder, Trouble};
use tree::Node;
use way::{End, TRIES, Way};

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
    root: Root,
    way: Way,
    /// Asked for when the first one is made.
    labels: Option<Labels>,
    /// What was made without its label.
    unlabelled: Vec<PathBuf>,
    /// Devices (`st_dev`) on which nothing can be moved without replacing what may be there.
    in_place: BTreeSet<u64>,
    /// A directory on each device on which something was changed.
    changed: BTreeMap<u64, OwnedFd>,
}

impl Maker {
    /// Begins at the root directory.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(root: &Root) -> io::Result<Maker> {
        Ok(Maker {
            way: Way::open(root)?,
            root: root.clone(),
            labels: None,
            unlabelled: Vec::new(),
            in_place: BTreeSet::new(),
            changed: BTreeMap::new(),
        })
    }

    /// What is at `path`, which is of the form of [`Wanted::path`]. Paths that are sorted are faster to look at.
    pub fn look(&mut self, path: &Path) -> Found {
        self.way.find(path).found
    }

    /// Makes those that are missing, and what is missing above them; tells of each, in the order of `wanted`, what became of
    /// it. A path has at most 256 names. Nothing is durable before [`Maker::sync`].
    pub fn make(&mut self, wanted: &[Wanted]) -> Vec<Outcome> {
        let mut order: Vec<usize> = (0..wanted.len()).collect();
        // by names, so that all that is below a directory follows it
        order.sort_by_key(|number| &wanted[*number].path);
        let refused = |w: &Wanted| way::check(&w.path).err().map(Outcome::Failed);
        let mut outcomes: Vec<Option<Outcome>> = wanted.iter().map(refused).collect();
        for (place, number) in order.iter().enumerate() {
            let mut tries = 0;
            while outcomes[*number].is_none() {
                match self.way.find(&wanted[*number].path) {
                    End {
                        at,
                        found: Found::Missing,
                    } => {
                        let open = order[place..].iter().filter(|n| outcomes[**n].is_none());
                        let mut top = Node::plan(at, open.map(|n| (*n, &wanted[*n])));
                        tries += 1;
                        for (number, outcome) in self.make_missing(&mut top, tries == TRIES) {
                            outcomes[number] = Some(outcome);
                        }
                    }
                    End {
                        found: Found::Failed(e),
                        ..
                    } => {
                        outcomes[*number] = Some(Outcome::Failed(e));
                    }
                    End { found, .. } => outcomes[*number] = Some(Outcome::Found(found)),
                }
            }
        }
        if let Some(labels) = &self.labels {
            labels.restore(&std::mem::take(&mut self.unlabelled));
        }
        outcomes
            .into_iter()
            .map(|o| o.unwrap_or(Outcome::Raced))
            .collect()
    }

    /// Makes a missing subtree, and tells what became of those in it that are wanted: of none when it has to be looked at
    /// again, and it is not the last time.
    fn make_missing(&mut self, top: &mut Node, is_last: bool) -> Vec<(usize, Outcome)> {
        let labels = self.labels.get_or_insert_with(|| Labels::of(&self.root));
        let mut builder = Builder {
            labels,
            told: Vec::new(),
            unlabelled: Vec::new(),
        };
        let parent = top.is.path.parent().unwrap_or(Path::new("")).to_owned();
        // gone or exchanged since it was found: look again
        let done = match self.way.go(&parent) {
            Err(_) => Err(Trouble::Again),
            Ok(parent) => make_in(
                parent,
                top,
                &mut builder,
                &mut self.in_place,
                &mut self.changed,
            ),
        };
        let Builder {
            mut told,
            unlabelled,
            ..
        } = builder;
        match done {
            Ok(()) => {
                self.unlabelled.extend(unlabelled);
                top.made(&mut told);
            }
            Err(Trouble::Again | Trouble::InPlace) if !is_last => {
                self.way.forget();
                told.clear();
            }
            Err(Trouble::Again | Trouble::InPlace | Trouble::Raced) => top.raced(&mut told),
            Err(Trouble::Failed(e) | Trouble::Stuck(e)) => top.failed(&e, &mut told),
        }
        told
    }

    /// Removes what runs that were cut off left in the directories above `paths`, which are of the form of [`Wanted::path`];
    /// returns the paths of what was removed. What cannot be removed is told as a warning and stays.
    pub fn remove_leftovers<'p>(
        &mut self,
        paths: impl IntoIterator<Item = &'p Path>,
    ) -> Vec<PathBuf> {
        let above = paths.into_iter().flat_map(|p| p.ancestors().skip(1));
        let places: BTreeSet<&Path> = above.collect();
        let mut removed = Vec::new();
        for place in places {
            let Ok(dir) = self.way.go(place) else {
                continue;
            };
            match leftover::remove(dir) {
                Ok(names) => removed.extend(names.iter().map(|n| place.join(n))),
                Err(e) => out::warn(format_args!(
                    "what an earlier run left in /{} could not be removed: {e}",
                    out::path(place)
                )),
            }
        }
        removed
    }

    /// Makes durable what was made.
    ///
    /// # Errors
    /// The error of syncfs(2), of the first file system that has one; all are tried.
    pub fn sync(&mut self) -> io::Result<()> {
        sync(&mut self.changed)
    }
}

fn sync(changed: &mut BTreeMap<u64, OwnedFd>) -> io::Result<()> {
    let mut result = Ok(());
    for dir in std::mem::take(changed).into_values() {
        result = result.and(syncfs(dir));
    }
    Ok(result?)
}

/// Makes a missing subtree in the open directory `parent`.
fn make_in(
    parent: BorrowedFd<'_>,
    top: &mut Node,
    builder: &mut Builder<'_>,
    in_place: &mut BTreeSet<u64>,
    changed: &mut BTreeMap<u64, OwnedFd>,
) -> Result<(), Trouble> {
    let device = fstat(parent)?.st_dev;
    // each subvolume is a device
    const MOST: usize = 64;
    if changed.len() >= MOST && !changed.contains_key(&device) {
        sync(changed)?;
    }
    if let Entry::Vacant(vacant) = changed.entry(device) {
        vacant.insert(beneath::reopen(parent)?);
    }
    if in_place.contains(&device) {
        return builder.in_place(parent, top);
    }
    let done = builder.aside(parent, top);
    if matches!(done, Err(Trouble::InPlace)) {
        in_place.insert(device);
    }
    done
}
