//! What would keep an update from succeeding, asked before anything is changed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use nix::sys::statfs::{FsType, MSDOS_SUPER_MAGIC, statfs};
use nix::sys::statvfs::{FsFlags, Statvfs, statvfs};
use nix::unistd::{AccessFlags, access};

use super::Site;
use super::plan::{Item, Plan};
use super::prospect::Prospect;
use crate::sys::out;
use crate::sysupdate::decompress::Size;
use crate::sysupdate::definition::Location;
use crate::sysupdate::fetch::Client;
use crate::sysupdate::instance::Resource;
use crate::sysupdate::pipeline::Sha256;
use crate::sysupdate::spool::Spool;

/// File systems without symbolic links: FAT, exFAT (linux/magic.h). Others say so when a link is made.
const LINKLESS: [FsType; 2] = [MSDOS_SUPER_MAGIC, FsType(0x2011_bab0)];

/// A file system that is written to.
#[derive(Debug, Default)]
struct Room {
    shown: String,
    available: u64,
    needed: u64,
}

/// By device.
type Rooms = BTreeMap<u64, Room>;

/// What is known of each of [`Plan::acquired`], and everything that is wrong.
///
/// # Errors
/// When a signal came.
pub fn check(
    site: &Site<'_>,
    enabled: &[Resource<'_>],
    plan: &Plan,
) -> Result<(Vec<Prospect>, Vec<String>)> {
    let mut client = Client::new(site.policy.clone(), site.cancel.clone());
    let (mut prospects, mut problems) = (Vec::new(), Vec::new());
    let mut rooms = Rooms::new();
    for (item, source) in plan.acquired() {
        site.cancel.check()?;
        let resource = &enabled[item.resource];
        let instance = &resource.source[source];
        let id = &resource.transfer.id;
        let prospect = Prospect::of(site, &mut client, resource, instance);
        let prospect = prospect.unwrap_or_else(|e| {
            problems.push(format!("{id}: {}: {e:#}", instance.shown));
            Prospect::UNKNOWN
        });
        let named = item.metadata.size;
        match (named, prospect.size) {
            (Some(size), Size::Exactly(has)) if has != size => problems.push(format!(
                "{id}: {}: it has {has} bytes, and not the {size} of its name",
                instance.shown
            )),
            (None, Size::Unknown) if prospect.bytes.is_some() => out::warn(format_args!(
                "{id}: {}: how long it is cannot be known before it is unpacked; {} bytes at least",
                instance.shown,
                prospect.at_least()
            )),
            _ => {}
        }
        let needed = named.unwrap_or(prospect.at_least());
        if let Err(e) = writable(site, resource, item, needed, &mut rooms) {
            problems.push(format!("{id}: {e:#}"));
        }
        prospects.push(prospect);
    }
    site.cancel.check()?;
    for item in &plan.items {
        problems.extend(link(site, &enabled[item.resource]));
    }
    let removed = plan
        .vacuum
        .removals
        .iter()
        .map(|r| (r.resource, r.instance));
    for (resource, instance) in removed.chain(plan.strays.iter().copied()) {
        give_back(
            Path::new(&enabled[resource].target[instance].shown),
            &mut rooms,
        );
    }
    let crowded = rooms.values().filter(|room| room.needed > room.available);
    problems.extend(crowded.map(|room| {
        format!(
            "{}: {} bytes are needed, and only {} are free; make room there",
            room.shown, room.needed, room.available
        )
    }));
    if let Some(spool) = site.spool.filter(|_| problems.is_empty()) {
        choose_kept(spool, enabled, plan, &mut prospects, &mut rooms);
    }
    Ok((prospects, problems))
}

/// What does not fit into the spool is not kept there.
fn choose_kept(
    spool: &Spool,
    enabled: &[Resource<'_>],
    plan: &Plan,
    prospects: &mut [Prospect],
    rooms: &mut Rooms,
) {
    // what cannot be asked is found when it is written
    let Ok((device, free)) = spool.room() else {
        return;
    };
    let room = rooms.entry(device).or_insert_with(|| Room {
        available: free,
        ..Room::default()
    });
    for ((item, source), prospect) in plan.acquired().zip(prospects) {
        let resource = &enabled[item.resource];
        let instance = &resource.source[source];
        let is_in_place = prospect.is_raw && !resource.transfer.target.kind.is_tree();
        let is_local = matches!(resource.transfer.source.location, Location::Local(_));
        let Some(bytes) = prospect.bytes.filter(|_| !is_in_place && !is_local) else {
            continue;
        };
        let digest = instance.metadata.sha256.map(Sha256);
        let there = digest.map_or(0, |digest| spool.length(&digest));
        let needed = room.needed.saturating_add(bytes.saturating_sub(there));
        prospect.is_kept = needed <= room.available;
        if prospect.is_kept {
            room.needed = needed;
        } else {
            out::warn(format_args!(
                "{}: {}: there is no room for {bytes} bytes to go on with when it breaks off; it would begin anew",
                resource.transfer.id, instance.shown
            ));
        }
    }
}

/// Bytes that are free. A file system that has no size, as one of memory, is not known to be full.
pub(in crate::sysupdate) fn available(system: &Statvfs) -> u64 {
    match system.blocks() {
        0 => u64::MAX,
        _ => system.blocks_available() * system.fragment_size(),
    }
}

/// Something is removed before anything is written.
fn give_back(path: &Path, rooms: &mut Rooms) {
    let Ok(there) = fs::symlink_metadata(path) else {
        return;
    };
    if let Some(room) = rooms.get_mut(&there.dev()) {
        room.available = room.available.saturating_add(used(path, &there));
    }
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

/// Whether the target can be written to; what is needed is added up.
fn writable(
    site: &Site<'_>,
    resource: &Resource<'_>,
    item: &Item,
    needed: u64,
    rooms: &mut Rooms,
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
    let room = rooms
        .entry(fs::metadata(there)?.dev())
        .or_insert_with(|| Room {
            shown: there.display().to_string(),
            available: available(&system),
            needed: 0,
        });
    room.needed = room.needed.saturating_add(needed);
    // it is gone on with, or replaced
    give_back(&found.path.join(item.partial()), rooms);
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
    let id = &transfer.id;
    let shown = path.display();
    if fs::symlink_metadata(&path).is_ok_and(|there| there.is_dir()) {
        return Some(format!(
            "{id}: CurrentSymlink= cannot replace the directory {shown}"
        ));
    }
    let there = path.ancestors().skip(1).find(|path| path.is_dir())?;
    let system = statfs(there).ok()?;
    LINKLESS
        .contains(&system.filesystem_type())
        .then(|| format!("{id}: CurrentSymlink= {shown}: its file system has no symbolic links"))
}
