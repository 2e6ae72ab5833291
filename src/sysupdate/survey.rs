//! What is installed, and what sources have.

use anyhow::{Context, Result};

use super::definition::{Definitions, Kind, Location, Place, Transfer};
use super::directory::{self, Side};
use super::gpt::{Disk, DiskId, Table};
use super::instance::{Instance, Resource, Slot, Slots, Spot};
use super::owned::Owned;
use super::partition_type::PartitionType;
use super::pattern::PatternList;
use super::place::{Bases, Ground};
use super::set::Sets;
use super::slots;
use super::source::Manifests;
use super::version::Version;
use crate::sys::{Root, out};

/// Everything that is known of the transfers of a collection.
#[derive(Debug, Clone)]
pub struct Survey<'d> {
    /// Those that take part, in the order in which they are installed.
    pub enabled: Vec<Resource<'d>>,
    /// Those that take no part, with what is in their targets.
    pub disabled: Vec<Resource<'d>>,
    /// The sets of those that take part.
    pub sets: Sets,
}

impl<'d> Survey<'d> {
    /// Looks into the targets of all transfers, and into the sources of those that take part; without `manifests` into no source.
    ///
    /// # Errors
    /// When one of them cannot be read, named by its transfer.
    pub fn of(
        root: &Root,
        definitions: &'d Definitions,
        bases: &Bases,
        manifests: Option<&Manifests>,
    ) -> Result<Survey<'d>> {
        let (mut enabled, mut disabled) = (Vec::new(), Vec::new());
        let ground = Ground {
            root,
            bases,
            is_durable: false,
        };
        let mut disks = Disks::default();
        for transfer in &definitions.transfers {
            let about =
                |what: &str| format!("{}: looking into its {what}", transfer.path.display());
            let source = match manifests {
                Some(manifests) if transfer.is_enabled => source(root, transfer, bases, manifests),
                _ => Ok(Vec::new()),
            };
            let source = source.with_context(|| about("source"))?;
            let found = match transfer.target.kind {
                Kind::Partition => disks.look(ground, transfer),
                _ => target(root, transfer, bases).map(|target| (target, None, Vec::new())),
            };
            let (target, slots, room) = found.with_context(|| about("target"))?;
            let resource = Resource {
                transfer,
                source,
                target,
                slots,
                room,
            };
            match transfer.is_enabled {
                true => enabled.push(resource),
                false => disabled.push(resource),
            }
        }
        let sets = Sets::of(&enabled);
        Ok(Survey {
            enabled,
            disabled,
            sets,
        })
    }

    /// Those that take no part, with what of theirs can go: nothing that somebody owns, or in a slot that cannot be changed, so that this keeps
    /// no update of the others from being installed. Such a slot is told.
    ///
    /// # Errors
    /// When a target cannot be read, named by its transfer.
    pub fn unowned(&self, ground: Ground<'_>, owned: &Owned) -> Result<Vec<Resource<'d>>> {
        let mut all = Vec::new();
        for resource in &self.disabled {
            let about = || {
                format!(
                    "{}: looking into its target",
                    resource.transfer.path.display()
                )
            };
            let mut left = owned.without(ground, resource).with_context(about)?;
            if left.slots.is_some() && !left.target.is_empty() {
                let disk = ground.disk(left.transfer, false).with_context(about)?;
                let is_changeable = |instance: &Instance| match instance.spot {
                    Spot::Partition { number, .. } => disk.changeable(number).map_err(|e| {
                        out::warn(format_args!("{}: {e}", resource.transfer.id));
                    }),
                    Spot::Path(_) => Ok(()),
                };
                left.target
                    .retain(|instance| is_changeable(instance).is_ok());
            }
            all.push(left);
        }
        Ok(all)
    }

    /// The version whose root the system that is worked on is mounted from, when that is in the image of a disk.
    ///
    /// # Errors
    /// When a disk cannot be opened.
    pub fn mounted(&self, ground: Ground<'_>) -> Result<Option<Version>> {
        let all = self.enabled.iter().chain(&self.disabled);
        let all = all.filter(|_| ground.bases.image_root.is_some());
        for resource in all.filter(|resource| resource.slots.is_some()) {
            let mounted = ground.disk(resource.transfer, false)?.mounted();
            let is_it = |instance: &&Instance| match instance.spot {
                Spot::Partition { number, .. } => mounted == Some(number),
                Spot::Path(_) => false,
            };
            if let Some(instance) = resource.target.iter().find(is_it) {
                return Ok(Some(instance.version.clone()));
            }
        }
        Ok(None)
    }

    /// The versions that links of the targets show to.
    ///
    /// # Errors
    /// When a link is there and cannot be read.
    pub fn linked(&self, ground: Ground<'_>) -> Result<Vec<Version>> {
        let mut found = Vec::new();
        for resource in &self.enabled {
            let at = ground.linked(resource)?;
            found.extend(at.map(|at| resource.target[at].version.clone()));
        }
        Ok(found)
    }
}

fn source(
    root: &Root,
    transfer: &Transfer,
    bases: &Bases,
    manifests: &Manifests,
) -> Result<Vec<Instance>> {
    let source = &transfer.source;
    match &source.location {
        Location::Url(_) => Ok(manifests.instances(transfer)),
        Location::Local(place) => {
            let (patterns, kind) = (&source.patterns, source.kind);
            listed(root, bases, place, patterns, kind, Side::Source)
        }
    }
}

fn target(root: &Root, transfer: &Transfer, bases: &Bases) -> Result<Vec<Instance>> {
    let target = &transfer.target;
    let place = target.place.as_ref().context("it has no path")?;
    let (patterns, kind) = (&target.patterns, target.kind);
    listed(root, bases, place, patterns, kind, Side::Target)
}

/// Disks that were looked at.
#[derive(Default)]
struct Disks {
    /// Each once, however often it is named.
    read: Vec<(Disk, Table)>,
    /// Transfers to the same type on the same disk share their slots.
    pools: Vec<(DiskId, PartitionType)>,
}

impl Disks {
    fn look(
        &mut self,
        ground: Ground<'_>,
        transfer: &Transfer,
    ) -> Result<(Vec<Instance>, Option<Slots>, Vec<Slot>)> {
        let disk = ground.disk(transfer, false)?;
        let id = disk.id();
        let at = match self.read.iter().position(|(disk, _)| disk.id() == id) {
            Some(at) => at,
            None => {
                let table = disk.table()?;
                if let Some(warning) = table.warning() {
                    out::warn(format_args!("{}: {warning}", disk.path().display()));
                }
                self.read.push((disk, table));
                self.read.len() - 1
            }
        };
        let (disk, table) = &self.read[at];
        let (instances, room) = slots::look(disk, table, &transfer.target);
        let pool = (id, transfer.target.partition_type);
        let number = self.pools.iter().position(|known| *known == pool);
        let number = number.unwrap_or_else(|| {
            self.pools.push(pool);
            self.pools.len() - 1
        });
        let slots = Slots {
            pool: number,
            free: room.iter().filter(|slot| slot.is_empty).count(),
        };
        Ok((instances, Some(slots), room))
    }
}

/// The instances in a directory; none when it is missing.
fn listed(
    root: &Root,
    bases: &Bases,
    place: &Place,
    patterns: &PatternList,
    kind: Kind,
    side: Side,
) -> Result<Vec<Instance>> {
    let found = bases.open(root, place)?;
    let Some(dir) = found.dir else {
        return Ok(Vec::new());
    };
    Ok(directory::list(dir, &found.path, patterns, kind, side)?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::sysupdate::Specifiers;
    use crate::sysupdate::definition::Collection;

    /// A system with this transfer and these files.
    fn system(transfer: &str, files: &[&str]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("etc/sysupdate.d")).unwrap();
        fs::write(dir.path().join("etc/sysupdate.d/a.transfer"), transfer).unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let root = Root::at(dir.path()).unwrap();
        (dir, root)
    }

    fn load(root: &Root) -> Definitions {
        Definitions::load(root, &Collection::Default, &Specifiers::default()).unwrap()
    }

    const FILES: &str = "[Source]\nType=regular-file\nPath=/src\nMatchPattern=os_@v\n[Target]\nPath=/dst\nMatchPattern=os_@v\n";

    #[test]
    fn sources_are_looked_into_unless_that_is_not_wanted() {
        let (_dir, root) = system(
            FILES,
            &[
                "src/os_2",
                "src/.sysupdate.partial.os_3",
                "dst/os_1",
                "dst/.sysupdate.pending.os_2",
            ],
        );
        let definitions = load(&root);
        let words = |is_offline: bool| {
            let manifests = (!is_offline).then(Manifests::default);
            let survey =
                Survey::of(&root, &definitions, &Bases::default(), manifests.as_ref()).unwrap();
            let sets = survey
                .sets
                .all()
                .iter()
                .map(|s| format!("{} {} {}", s.version, s.assessment(), s.is_available));
            sets.collect::<Vec<_>>()
        };
        assert_eq!(
            words(false),
            ["2 current+pending true", "1 installed false"]
        );
        assert_eq!(
            words(true),
            ["2 current+pending false", "1 installed false"]
        );
    }

    #[test]
    fn a_disabled_transfer_takes_part_in_no_set_and_what_it_has_is_known() {
        let (_dir, root) = system(
            &format!("[Transfer]\nFeatures=off\n{FILES}"),
            &["src/os_2", "dst/os_1"],
        );
        let definitions = load(&root);
        let survey = Survey::of(
            &root,
            &definitions,
            &Bases::default(),
            Some(&Manifests::default()),
        )
        .unwrap();
        assert!(survey.sets.all().is_empty() && survey.enabled.is_empty());
        assert_eq!(
            (
                survey.disabled[0].target.len(),
                survey.disabled[0].source.len()
            ),
            (1, 0)
        );
    }

    #[test]
    fn a_link_shows_to_a_version_wherever_it_is() {
        for (link, at, text) in [
            ("current", "dst/current", "os_2"),
            ("links/current", "dst/links/current", "../os_2"),
            ("/links/os", "links/os", "../dst/os_2"),
            ("/links/os", "links/os", "/dst/os_2"),
        ] {
            let (dir, root) = system(
                &format!("{FILES}CurrentSymlink={link}\n"),
                &["dst/os_1", "dst/os_2", "dst/links/x", "links/x"],
            );
            let definitions = load(&root);
            let linked = || {
                let survey = Survey::of(&root, &definitions, &Bases::default(), None).unwrap();
                let ground = Ground {
                    root: &root,
                    bases: &Bases::default(),
                    is_durable: false,
                };
                let found = survey.linked(ground).unwrap();
                found.iter().map(|v| v.to_string()).collect::<Vec<_>>()
            };
            assert_eq!(linked(), [""; 0]);
            symlink(text, dir.path().join(at)).unwrap();
            assert_eq!(linked(), ["2"], "{link} {text}");
            fs::remove_file(dir.path().join(at)).unwrap();
            symlink("os_7", dir.path().join(at)).unwrap();
            assert_eq!(linked(), [""; 0]);
        }
    }
}
