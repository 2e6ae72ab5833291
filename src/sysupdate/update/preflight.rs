//! What would keep an update from succeeding, asked before anything is changed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, access};

use super::Site;
use super::plan::Plan;
use crate::sys::beneath;
use crate::sysupdate::definition::Location;
use crate::sysupdate::fetch::Client;
use crate::sysupdate::instance::{Instance, Resource, Spot};

/// A file system that is written to.
#[derive(Debug, Default)]
struct Room {
    shown: String,
    available: u64,
    needed: u64,
}

/// How many bytes, as they are served, each of [`Plan::acquired`] has, where that is known; and everything that is wrong.
///
/// # Errors
/// When a signal came.
pub fn check(
    site: &Site<'_>,
    enabled: &[Resource<'_>],
    plan: &Plan,
) -> Result<(Vec<Option<u64>>, Vec<String>)> {
    let mut client = Client::new(site.policy.clone(), site.cancel.clone());
    let (mut sizes, mut problems) = (Vec::new(), Vec::new());
    let mut rooms: BTreeMap<u64, Room> = BTreeMap::new();
    for (item, source) in plan.acquired() {
        site.cancel.check()?;
        let resource = &enabled[item.resource];
        let instance = &resource.source[source];
        let id = &resource.transfer.id;
        let bytes = match size(site, &mut client, resource, instance) {
            Ok(bytes) => bytes,
            Err(e) => {
                problems.push(format!("{id}: {}: {e:#}", instance.shown));
                None
            }
        };
        sizes.push(bytes);
        let needed = item.metadata.size.or(bytes).unwrap_or(0);
        if let Err(e) = writable(site, resource, needed, &mut rooms) {
            problems.push(format!("{id}: {e:#}"));
        }
    }
    site.cancel.check()?;
    for item in &plan.items {
        problems.extend(link(site, &enabled[item.resource]));
    }
    for removal in &plan.vacuum.removals {
        let instance = &enabled[removal.resource].target[removal.instance];
        let Ok(there) = fs::symlink_metadata(&instance.shown) else {
            continue;
        };
        if let Some(room) = rooms.get_mut(&there.dev()) {
            let path = Path::new(&instance.shown);
            room.available = room.available.saturating_add(used(path, &there));
        }
    }
    let crowded = rooms.values().filter(|room| room.needed > room.available);
    problems.extend(crowded.map(|room| {
        format!(
            "{}: {} bytes are needed, and only {} are free; make room there",
            room.shown, room.needed, room.available
        )
    }));
    Ok((sizes, problems))
}

/// How much room something has with all that is in it, for an estimate: what cannot be looked at does not count.
fn used(path: &Path, there: &fs::Metadata) -> u64 {
    let mut sum = there.blocks() * 512;
    let mut pending = vec![path.to_owned()];
    while let Some(dir) = pending.pop() {
        // a file is no directory, and a link is not followed
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if let Ok(there) = entry.metadata() {
                sum += there.blocks() * 512;
                if there.is_dir() {
                    pending.push(entry.path());
                }
            }
        }
    }
    sum
}

/// Asks for the length of a payload, which says as well whether it is there.
fn size(
    site: &Site<'_>,
    client: &mut Client,
    resource: &Resource<'_>,
    instance: &Instance,
) -> Result<Option<u64>> {
    let Spot::Path(path) = &instance.spot else {
        return Ok(None);
    };
    match &resource.transfer.source.location {
        Location::Local(_) if instance.kind.is_tree() => Ok(None),
        Location::Local(place) => {
            let dir = site.bases.open(site.root, place)?.dir;
            let file = beneath::open_file(dir.context("its directory is gone")?, path)?;
            Ok(Some(file.metadata()?.len()))
        }
        Location::Url(_) => {
            let name = path.to_str().context("its name is no text")?;
            let mut first = None;
            for base in site.manifests.bases(resource.transfer) {
                match client.probe(&base.join(name)) {
                    Ok(facts) => return Ok(facts.length),
                    Err(e) => first = first.or(Some(e)),
                }
                site.cancel.check()?;
            }
            first.map_or(Ok(None), |e| Err(e.into()))
        }
    }
}

/// Whether the target can be written to; what is needed is added up.
fn writable(
    site: &Site<'_>,
    resource: &Resource<'_>,
    needed: u64,
    rooms: &mut BTreeMap<u64, Room>,
) -> Result<()> {
    let Some(place) = &resource.transfer.target.place else {
        return Ok(());
    };
    let found = site.bases.open(site.root, place)?;
    // of one that is made later, what is above it
    let there = found.path.ancestors().find(|path| path.is_dir());
    let there = there.unwrap_or(site.root.path());
    let about = || format!("{} cannot be written to", there.display());
    access(there, AccessFlags::W_OK).with_context(about)?;
    let system = statvfs(there).with_context(about)?;
    if system.flags().contains(FsFlags::ST_RDONLY) {
        return Err(std::io::Error::from(std::io::ErrorKind::ReadOnlyFilesystem))
            .with_context(about);
    }
    let room = rooms.entry(fs::metadata(there)?.dev()).or_default();
    room.shown = there.display().to_string();
    room.available = system.blocks_available() * system.fragment_size();
    room.needed = room.needed.saturating_add(needed);
    Ok(())
}

/// What is in the way of a link.
fn link(site: &Site<'_>, resource: &Resource<'_>) -> Option<String> {
    let transfer = resource.transfer;
    let link = transfer.target.current_symlink.as_ref()?;
    let path = match link.is_absolute() {
        true => site.root.join(link),
        false => {
            let found = site
                .bases
                .open(site.root, transfer.target.place.as_ref()?)
                .ok()?;
            found.path.join(link)
        }
    };
    let is_dir = |path: &Path| fs::symlink_metadata(path).is_ok_and(|there| there.is_dir());
    is_dir(&path).then(|| {
        let id = &transfer.id;
        format!(
            "{id}: CurrentSymlink= cannot replace the directory {}",
            path.display()
        )
    })
}
