//! Removing what a plan says, and what was begun and left.
//!
//! Owns the order and the words of what goes, and not which versions: [`vacuum`](super::vacuum) decides that before. With `is_dry`
//! everything is found as it would be, and stays.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::definition::Kind;
use super::instance::{Instance, Resource, Spot, State};
use super::place::Ground;
use super::vacuum::{Removal, Why};
use super::{directory, remove, slots};

/// Something that goes.
#[derive(Debug, Clone, Copy)]
pub struct Gone<'g> {
    /// The transfer in whose target it is.
    pub transfer: &'g str,
    /// Its path.
    pub path: &'g Path,
    /// What it is.
    pub what: What<'g>,
}

/// What goes.
#[derive(Debug, Clone, Copy)]
pub enum What<'g> {
    /// An instance, and why.
    Instance(&'g Instance, Why),
    /// What was begun by somebody who never finished it, or a directory that an instance left.
    LeftOver,
    /// The link of a disabled transfer, which would show to nothing.
    Link,
}

/// Removes.
pub struct Sweep<'s> {
    /// Where.
    pub ground: Ground<'s>,
    /// Whether it is only told.
    pub is_dry: bool,
    /// Told of each before it goes.
    pub told: &'s dyn Fn(Gone<'_>),
}

impl Sweep<'_> {
    /// Removes these instances in their order, and none when there is a slot among them that cannot be emptied.
    ///
    /// # Errors
    /// The first that cannot be removed.
    pub fn instances(&self, resources: &[Resource<'_>], removals: &[Removal]) -> Result<()> {
        for removal in removals {
            let resource = &resources[removal.resource];
            if let Spot::Partition { number, .. } = resource.target[removal.instance].spot {
                let disk = self.ground.disk(resource.transfer, false)?;
                disk.changeable(number)?;
            }
        }
        for removal in removals {
            let resource = &resources[removal.resource];
            self.instance(resource, &resource.target[removal.instance], removal.why)?;
        }
        Ok(())
    }

    /// Removes these instances of disabled transfers, and the links that show to them. (Versions that links of the others show to stay.)
    ///
    /// # Errors
    /// As [`Sweep::instances`].
    pub fn disabled(&self, resources: &[Resource<'_>], removals: &[Removal]) -> Result<()> {
        let mut links = Vec::new();
        for (number, resource) in resources.iter().enumerate() {
            let shown = self.ground.linked(resource)?;
            let goes = |at| {
                removals
                    .iter()
                    .any(|r| (r.resource, r.instance) == (number, at))
            };
            if shown.is_some_and(goes) {
                links.push(resource);
            }
        }
        self.instances(resources, removals)?;
        links
            .into_iter()
            .try_for_each(|resource| self.link(resource))
    }

    /// Removes what was begun of a version and is in the way.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn stray(&self, resource: &Resource<'_>, instance: &Instance) -> Result<()> {
        let why = match instance.state {
            State::Partial => Why::Partial,
            _ => Why::Pending,
        };
        self.instance(resource, instance, why)
    }

    fn instance(&self, resource: &Resource<'_>, instance: &Instance, why: Why) -> Result<()> {
        let what = What::Instance(instance, why);
        self.tell(resource, Path::new(&instance.shown), what);
        let path = match &instance.spot {
            Spot::Path(path) => path,
            Spot::Partition { .. } if self.is_dry => return Ok(()),
            Spot::Partition { number, .. } => {
                let disk = self.ground.disk(resource.transfer, true)?;
                slots::empty(&disk, *number, &resource.transfer.target, instance)?;
                return Ok(());
            }
        };
        let found = self.ground.open(resource.transfer)?;
        let Some(dir) = found.dir.filter(|_| !self.is_dry) else {
            return Ok(());
        };
        let removed = remove::remove(dir.as_fd(), path, self.ground.is_durable);
        removed.with_context(|| format!("removing {}", instance.shown))
    }

    fn link(&self, resource: &Resource<'_>) -> Result<()> {
        let Some(link) = self.ground.link(resource.transfer)? else {
            return Ok(());
        };
        self.tell(resource, &link.shown, What::Link);
        if self.is_dry {
            return Ok(());
        }
        let removed = remove::remove(link.dir.as_fd(), &link.path, self.ground.is_durable);
        removed.with_context(|| format!("removing the link {}", link.shown.display()))
    }

    /// Removes what was begun in a target by somebody who never finished it, but for the paths in `keep`, and directories whose instance
    /// is gone.
    ///
    /// # Errors
    /// The first that cannot be found or removed.
    pub fn left_overs(&self, resource: &Resource<'_>, keep: &BTreeSet<PathBuf>) -> Result<()> {
        let target = &resource.transfer.target;
        if target.kind == Kind::Partition {
            // what was begun in a slot has a version
            return Ok(());
        }
        let found = self.ground.open(resource.transfer)?;
        let Some(dir) = found.dir else { return Ok(()) };
        let mut all = directory::deserted(&dir, &found.path, &target.patterns, target.kind)?;
        if target.remove_temporary {
            let is_instance = |name: &PathBuf| {
                let is_it = |i: &Instance| i.spot == Spot::Path(name.clone());
                self.is_dry && resource.target.iter().any(is_it)
            };
            let left = remove::left_overs(dir.as_fd())?;
            // an instance has gone before, and would be told twice
            all.extend(left.into_iter().filter(|name| !is_instance(name)));
        }
        for name in all {
            let shown = found.path.join(&name);
            if keep.contains(&shown) {
                continue;
            }
            self.tell(resource, &shown, What::LeftOver);
            if !self.is_dry {
                let removed = remove::remove(dir.as_fd(), &name, self.ground.is_durable);
                removed.with_context(|| format!("removing {}", shown.display()))?;
            }
        }
        Ok(())
    }

    fn tell(&self, resource: &Resource<'_>, path: &Path, what: What<'_>) {
        (self.told)(Gone {
            transfer: &resource.transfer.id,
            path,
            what,
        });
    }
}
