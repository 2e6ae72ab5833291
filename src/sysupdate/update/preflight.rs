//! What would keep an update from succeeding, asked before anything is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::sys::statfs::{FsType, MSDOS_SUPER_MAGIC, statfs};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, access};

use super::Site;
use super::assign::{Assigned, assign};
use super::plan::{Item, Plan};
use super::prospect::Prospect;
use crate::sys::{beneath, fs as sysfs, out};
use crate::sysupdate::decompress::Size;
use crate::sysupdate::definition::{Kind, Location};
use crate::sysupdate::fetch::Client;
use crate::sysupdate::instance::{Resource, Spot};
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

/// When a slot is emptied that a new version needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Erase {
    /// When what comes into it is complete and verified; where there is no room for that, before it comes.
    #[default]
    Auto,
    /// Only when what comes into it is complete and verified.
    Late,
    /// Before it comes.
    Early,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Checked {
    /// What is known of each of [`Plan::acquired`].
    pub prospects: Vec<Prospect>,
    /// The slots of transfers to disks, by their number.
    pub slots: BTreeMap<usize, Assigned>,
    /// Those of them whose payload is fetched before their slot is emptied.
    pub staged: BTreeSet<usize>,
    /// How that was asked for.
    pub erase: Erase,
    /// Everything that is wrong.
    pub problems: Vec<String>,
}

/// Looks at all that [`Plan::acquired`] needs.
///
/// # Errors
/// When a signal came.
pub fn check(
    site: &Site<'_>,
    enabled: &[Resource<'_>],
    plan: &Plan,
    erase: Erase,
) -> Result<Checked> {
    let mut client = Client::new(site.policy.clone(), site.cancel.clone());
    let (mut prospects, mut problems) = (Vec::new(), Vec::new());
    let mut rooms = Rooms::new();
    let mut needs = Vec::new();
    for (item, source) in plan.acquired() {
        site.cancel.check()?;
        let resource = &enabled[item.resource];
        let instance = &resource.source[source];
        let id = &resource.transfer.id;
        let named = item.metadata.size;
        let prospect = Prospect::of(site, &mut client, resource, instance, named);
        let prospect = prospect.unwrap_or_else(|e| {
            problems.push(format!("{id}: {}: {e:#}", instance.shown));
            Prospect::UNKNOWN
        });
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
        needs.push(needed);
        let writable = match resource.transfer.target.kind {
            Kind::Partition => slot_writable(site, resource),
            _ => writable(site, resource, item, needed, &mut rooms),
        };
        if let Err(e) = writable {
            problems.push(format!("{id}: {e:#}"));
        }
        prospects.push(prospect);
    }
    site.cancel.check()?;
    let slots = assign(enabled, plan, &needs).unwrap_or_else(|failed| {
        problems.extend(failed.iter().map(ToString::to_string));
        BTreeMap::new()
    });
    problems.extend(unchangeable(site, enabled, plan, &slots));
    for item in &plan.items {
        problems.extend(link(site, &enabled[item.resource], &LINKLESS));
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
    let occupied = slots.iter().filter(|(_, slot)| slot.is_occupied);
    let mut checked = Checked {
        staged: occupied.map(|(resource, _)| *resource).collect(),
        prospects,
        slots,
        erase,
        problems,
    };
    if erase == Erase::Early {
        checked.staged.clear();
    }
    if checked.problems.is_empty() {
        choose_kept(site.spool, enabled, plan, erase, &mut checked, &mut rooms);
    }
    Ok(checked)
}

/// What does not fit into the spool is not kept there, nor is its slot emptied late.
fn choose_kept(
    spool: Option<&Spool>,
    enabled: &[Resource<'_>],
    plan: &Plan,
    erase: Erase,
    checked: &mut Checked,
    rooms: &mut Rooms,
) {
    let mut room = spool.and_then(|spool| {
        // what cannot be asked is found when it is written
        let (device, free) = spool.room().ok()?;
        let room = rooms.entry(device).or_insert_with(|| Room {
            available: free,
            ..Room::default()
        });
        Some((spool, room))
    });
    for ((item, source), prospect) in plan.acquired().zip(&mut checked.prospects) {
        let resource = &enabled[item.resource];
        let instance = &resource.source[source];
        let is_in_place = prospect.is_raw && resource.transfer.target.kind == Kind::RegularFile;
        let is_local = matches!(resource.transfer.source.location, Location::Local(_));
        if is_in_place || is_local {
            continue;
        }
        let is_staged = checked.staged.contains(&item.resource);
        let fits = match (&mut room, prospect.bytes) {
            (Some((spool, room)), Some(bytes)) => {
                let digest = instance.metadata.sha256.map(Sha256);
                let there = digest.map_or(0, |digest| spool.length(&digest));
                let needed = room.needed.saturating_add(bytes.saturating_sub(there));
                let fits = needed <= room.available;
                if fits {
                    room.needed = needed;
                }
                fits
            }
            // without a length it is tried, but not relied upon
            (Some(_), None) => !is_staged,
            (None, _) => false,
        };
        prospect.is_kept = fits;
        let about = format!("{}: {}", resource.transfer.id, instance.shown);
        match (is_staged && !fits, erase) {
            (true, Erase::Late) => checked.problems.push(format!(
                "{about}: there is no room to keep it until its slot is emptied; make room for the spool, or allow --erase=early"
            )),
            (true, _) => {
                checked.staged.remove(&item.resource);
                out::warn(format_args!(
                    "{about}: there is no room to keep it; its slot is emptied before it comes"
                ));
            }
            (false, _) if !fits && spool.is_some() => out::warn(format_args!(
                "{about}: there is no room to go on with it when it breaks off; it would begin anew"
            )),
            _ => {}
        }
    }
}

/// Slots that would be emptied or written, and cannot be: somebody uses them, or their table has no room.
fn unchangeable(
    site: &Site<'_>,
    enabled: &[Resource<'_>],
    plan: &Plan,
    slots: &BTreeMap<usize, Assigned>,
) -> Vec<String> {
    let removals = plan.vacuum.removals.iter();
    let removals = removals.map(|removal| (removal.resource, removal.instance));
    let removed = removals.chain(plan.strays.iter().copied());
    let emptied =
        removed.filter_map(
            |(resource, instance)| match enabled[resource].target[instance].spot {
                Spot::Partition { number, .. } => Some((resource, number)),
                Spot::Path(_) => None,
            },
        );
    let written = slots
        .iter()
        .map(|(resource, slot)| (*resource, slot.number));
    let all: BTreeSet<(usize, u32)> = emptied.chain(written).collect();
    let problems = all.into_iter().filter_map(|(resource, number)| {
        let transfer = enabled[resource].transfer;
        let disk = site.ground().disk(transfer, false);
        let why = disk.and_then(|disk| disk.changeable(number)).err()?;
        Some(format!("{}: {why}", transfer.id))
    });
    problems.collect()
}

/// Whether the disk of a transfer can be written to.
fn slot_writable(site: &Site<'_>, resource: &Resource<'_>) -> Result<()> {
    let transfer = resource.transfer;
    let disk = site.ground().disk(transfer, true)?;
    if disk.is_image() && transfer.target.current_symlink.is_some() {
        bail!("CurrentSymlink= cannot show to a partition in the image of a disk");
    }
    Ok(())
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
    if found.dir.is_none() {
        site.bases.can_make(site.root, place)?;
    }
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
            available: sysfs::available(&system),
            needed: 0,
        });
    room.needed = room.needed.saturating_add(needed);
    // it is gone on with, or replaced
    give_back(&found.path.join(item.partial()), rooms);
    Ok(())
}

/// What is in the way of a link; file systems of the types `linkless` have none.
fn link(site: &Site<'_>, resource: &Resource<'_>, linkless: &[FsType]) -> Option<String> {
    let transfer = resource.transfer;
    let link = transfer.target.current_symlink.as_ref()?;
    let ground = site.ground();
    let place = ground.link(transfer).ok()?;
    let path = match &place {
        Some(place) => place.shown.clone(),
        // in a directory that is made later nothing is in the way, but its file system is there
        None => ground.open(transfer).ok()?.path.join(link),
    };
    let id = &transfer.id;
    let shown = path.display();
    let made = place.map_or(Ok(()), |place| {
        let parent = place.path.parent().unwrap_or(Path::new(""));
        beneath::can_make_dirs(&place.dir, parent)
    });
    if let Err(e) = made {
        return Some(format!(
            "{id}: CurrentSymlink= {shown}: no link is followed on the way to it, and nothing else than a directory: {e}"
        ));
    }
    if fs::symlink_metadata(&path).is_ok_and(|there| there.is_dir()) {
        return Some(format!(
            "{id}: CurrentSymlink= cannot replace the directory {shown}"
        ));
    }
    let there = path.ancestors().skip(1).find(|path| path.is_dir())?;
    let system = statfs(there).ok()?;
    linkless
        .contains(&system.filesystem_type())
        .then(|| format!("{id}: CurrentSymlink= {shown}: its file system has no symbolic links"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysupdate::testing;

    #[test]
    fn a_file_system_without_links_is_found_also_below_a_directory_that_is_made_later() {
        let dir = tempfile::tempdir().unwrap();
        let place = testing::Nothing::at(dir.path());
        let site = place.site();
        let here = statfs(dir.path()).unwrap().filesystem_type();
        let mut transfer = testing::transfer("a");
        let mut told = |text: Option<&str>, linkless: &[FsType]| {
            transfer.target.current_symlink = text.map(Into::into);
            link(&site, &testing::resource(&transfer, "", "1"), linkless)
        };
        for is_there in [false, true] {
            if is_there {
                fs::create_dir(dir.path().join("dst")).unwrap();
            }
            for text in ["current", "deep/current", "/dst/current"] {
                let why = told(Some(text), &[here]).unwrap_or_default();
                assert!(
                    why.contains("current: its file system has no symbolic links"),
                    "{text}: {why}"
                );
                assert_eq!(told(Some(text), &[]), None);
            }
            assert_eq!(told(None, &[here]), None);
        }
    }
}
