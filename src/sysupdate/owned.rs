//! What transfers that take part have in their targets, so that nobody else takes it.
//!
//! A path is the same whatever leads to it: directories are known by where they are without links, and files by their inode as well.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::definition::Transfer;
use super::gpt::DiskId;
use super::instance::{Instance, Resource, Spot};
use super::place::Ground;
use crate::sys::{beneath, root};

/// What is owned.
#[derive(Debug, Clone, Default)]
pub struct Owned {
    /// Paths that are owned with all that is below them.
    paths: BTreeSet<PathBuf>,
    /// Paths above which nothing goes.
    places: BTreeSet<PathBuf>,
    /// The same files, by device and inode: one file system may be mounted twice.
    ids: BTreeSet<(u64, u64)>,
    /// Partitions, by disk and number.
    slots: BTreeSet<(DiskId, u32)>,
    /// What links of transfers show to, with the root.
    linked: Vec<PathBuf>,
}

impl Owned {
    /// Adds all that is in the targets of `resources`, and what their links show to.
    ///
    /// # Errors
    /// When a target cannot be read, named by its transfer.
    pub fn add(&mut self, ground: Ground<'_>, resources: &[Resource<'_>]) -> Result<()> {
        for resource in resources {
            let about = || {
                format!(
                    "{}: looking for what it owns",
                    resource.transfer.path.display()
                )
            };
            self.add_one(ground, resource).with_context(about)?;
        }
        Ok(())
    }

    fn add_one(&mut self, ground: Ground<'_>, resource: &Resource<'_>) -> Result<()> {
        self.add_link(ground, resource.transfer)?;
        if resource.slots.is_some() {
            let disk = ground.disk(resource.transfer, false)?.id();
            let numbers = resource.target.iter().filter_map(number);
            self.slots.extend(numbers.map(|number| (disk, number)));
            return Ok(());
        }
        let Some(dir) = ground.open(resource.transfer)?.dir else {
            return Ok(());
        };
        let real = real_path(&dir)?;
        for path in resource.target.iter().filter_map(path) {
            self.ids.extend(id(&dir, path)?);
            let path = real.join(path);
            self.places.insert(path.clone());
            self.paths.insert(path);
        }
        self.places.insert(real);
        Ok(())
    }

    /// Adds what the link of a transfer shows to.
    ///
    /// # Errors
    /// When the link is there and cannot be read.
    pub fn add_link(&mut self, ground: Ground<'_>, transfer: &Transfer) -> Result<()> {
        self.linked.extend(ground.shown_to(transfer)?);
        Ok(())
    }

    /// Nothing above `place`, a path without links, goes either.
    pub fn keep(&mut self, place: PathBuf) {
        self.places.insert(place);
    }

    /// Whether `path`, which has no links, is owned, in something that is, or above it; `id` says which file it is.
    #[must_use]
    pub fn has(&self, path: &Path, id: (u64, u64)) -> bool {
        let is_in_one = path.ancestors().any(|above| self.paths.contains(above));
        // what is below a path follows it in the order of paths
        let next = self.places.range(path.to_owned()..).next();
        let holds_one = next.is_some_and(|place| place.starts_with(path));
        self.ids.contains(&id) || is_in_one || holds_one
    }

    /// Whether the link of a transfer shows to `path`, which is with the root, or to something in it.
    #[must_use]
    pub fn is_shown(&self, path: &Path) -> bool {
        self.linked.iter().any(|to| to.starts_with(path))
    }

    /// What `resource` has and nobody owns.
    ///
    /// # Errors
    /// When its target cannot be read.
    pub fn without<'d>(&self, ground: Ground<'_>, resource: &Resource<'d>) -> Result<Resource<'d>> {
        let mut resource = resource.clone();
        let all = std::mem::take(&mut resource.target);
        if all.is_empty() {
            return Ok(resource);
        }
        if resource.slots.is_some() {
            let disk = ground.disk(resource.transfer, false)?.id();
            let is_owned = |at| self.slots.contains(&(disk, at));
            let unowned = all.into_iter().filter(|i| !number(i).is_some_and(is_owned));
            resource.target = unowned.collect();
            return Ok(resource);
        }
        let Some(dir) = ground.open(resource.transfer)?.dir else {
            return Ok(resource);
        };
        let real = real_path(&dir)?;
        for instance in all {
            let Some(path) = path(&instance) else {
                continue;
            };
            // it went in the meantime
            let Some(id) = id(&dir, path)? else { continue };
            if !self.has(&real.join(path), id) && !self.is_shown(Path::new(&instance.shown)) {
                resource.target.push(instance);
            }
        }
        Ok(resource)
    }
}

fn number(instance: &Instance) -> Option<u32> {
    match instance.spot {
        Spot::Partition { number, .. } => Some(number),
        Spot::Path(_) => None,
    }
}

fn path(instance: &Instance) -> Option<&Path> {
    match &instance.spot {
        Spot::Path(path) => Some(path),
        Spot::Partition { .. } => None,
    }
}

/// Where an open directory is, without links.
///
/// # Errors
/// That of readlink(2).
pub fn real_path(dir: &OwnedFd) -> io::Result<PathBuf> {
    std::fs::read_link(root::descriptor_path(dir.as_fd()))
}

/// The device and the inode of `path` below `dir`; `None` when there is nothing.
///
/// # Errors
/// As [`beneath::open_dir`] and fstatat(2).
pub fn id(dir: &OwnedFd, path: &Path) -> io::Result<Option<(u64, u64)>> {
    let parent = path.parent().unwrap_or(Path::new(""));
    let name = path.file_name().unwrap_or_default();
    let stat = beneath::open_dir(dir, parent).and_then(|dir| beneath::stat_at(dir, name));
    match stat {
        Err(e) if beneath::is_no_directory(&e) => Ok(None),
        other => other.map(|stat| Some((stat.st_dev, stat.st_ino))),
    }
}
