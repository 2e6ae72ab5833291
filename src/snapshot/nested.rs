//! /etc as a subvolume inside a snapshot, and the state of /etc that is kept inside of it.
//!
//! MicroOS has it so: the root is read-only, `N/snapshot/etc` is not. A snapshot of the root has an empty
//! directory in the place of a nested subvolume, so whoever makes or deletes a snapshot has to see to /etc.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sys::stat::SFlag;

use super::search::{Subvolume, Subvolumes};
use super::store::SUBVOLUME;
use super::{SnapshotId, Store, btrfs};
use crate::sys::lock::WriteLock;
use crate::sys::mount::{self, Mount};
use crate::sys::{Doing, Failure, beneath, failpoint, fs};

/// The configuration of a system, below its root.
pub(super) const ETC: &str = "etc";
/// The state of /etc that a later merge compares with, a subvolume in /etc.
pub const SYNCPOINT: &str = "etc.syncpoint";
/// File in the syncpoint with the number of the snapshot whose /etc is merged in at the first boot.
pub const COMPARE_WITH: &str = "transactional-update.comparewith";
const FSTAB: &str = "etc/fstab";
/// File beside the snapshot of another program for as long as it is given its /etc; what it holds when the snapshot is to
/// be read-only in the end.
pub(super) const NESTING: &str = ".transactional-update-etc";
const READ_ONLY: &[u8] = b"read-only\n";
/// Inode of the directory that stands in a snapshot for a subvolume nested in its source.
const STAND_IN: u64 = 2;
/// Inode of the root of a subvolume.
const SUBVOLUME_ROOT: u64 = 256;

/// How /etc belongs to a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EtcLayout {
    /// A directory of the snapshot.
    Plain,
    /// A subvolume inside the snapshot.
    Nested,
    /// An overlay file system over the directory of the snapshot, as MicroOS had it before.
    Overlay,
    /// Another file system of this type, outside of the snapshot.
    Elsewhere(String),
    /// Nothing: it was a subvolume, and whoever made the snapshot left it out.
    LeftOut,
}

/// What /etc of a new snapshot will be compared with when it first runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syncpoint {
    /// The same as /etc of the base, if that has any.
    OfBase,
    /// With itself as it is now, being the state of this running snapshot.
    OfNew(SnapshotId),
    /// With the running /etc as it is now, being that of this snapshot. The new /etc does not have its state yet.
    OfRunning(SnapshotId),
}

impl Store {
    /// How /etc belongs to snapshot `id`, which may be the running one.
    ///
    /// # Errors
    /// When there is no /etc, or what tells cannot be read.
    pub fn etc_layout(&self, id: SnapshotId) -> Result<EtcLayout, Failure> {
        let doing = || format!("looking at the etc of snapshot {id}");
        let snapshot = self.open_snapshot(id)?;
        let stat = beneath::stat_at(&snapshot, ETC.as_ref()).doing(doing)?;
        let fstab = beneath::read(&snapshot, Path::new(FSTAB), 1 << 20).doing(doing)?;
        let fstab = mount::parse_fstab(&String::from_utf8_lossy(&fstab.unwrap_or_default()));
        let point = self.root.join(ETC);
        let mounts = mount::mounts().doing(doing)?;
        let mounted = mounts.iter().rev().find(|m| m.point == point);
        let is_overlay = fstab
            .iter()
            .any(|e| e.fs_type == "overlay" && e.point.ends_with(ETC));
        Ok(layout(
            beneath::kind(&stat) == SFlag::S_IFDIR,
            stat.st_ino,
            is_overlay,
            mounted,
        ))
    }

    /// The snapshot whose /etc is merged into that of snapshot `id` at its first boot; `None` when nothing is.
    ///
    /// # Errors
    /// When the file that tells cannot be read or names no snapshot.
    pub fn compare_with(&self, id: SnapshotId) -> Result<Option<SnapshotId>, Failure> {
        let doing = || format!("reading what the etc of snapshot {id} is compared with");
        let Some(point) = self.open_syncpoint(id)? else {
            return Ok(None);
        };
        let Some(text) = beneath::read(point, Path::new(COMPARE_WITH), 64).doing(doing)? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&text);
        let invalid = |why| Failure::new(doing(), io::Error::new(io::ErrorKind::InvalidData, why));
        text.trim().parse().map(Some).map_err(invalid)
    }

    /// Opens /etc of snapshot `id` where it is a subvolume of its own; `None` elsewhere.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_etc(&self, id: SnapshotId) -> Result<Option<OwnedFd>, Failure> {
        nested(self.open_snapshot(id)?, ETC).doing(|| format!("opening the etc of snapshot {id}"))
    }

    /// Opens the syncpoint in /etc of snapshot `id`; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_syncpoint(&self, id: SnapshotId) -> Result<Option<OwnedFd>, Failure> {
        let Some(etc) = self.open_etc(id)? else {
            return Ok(None);
        };
        nested(etc, SYNCPOINT).doing(|| format!("opening the syncpoint of snapshot {id}"))
    }

    /// As [`Store::nest_etc`], for a snapshot that another program made and that may be read-only. It is noted beside
    /// it before whether it is, and it is so again afterwards; the note stays until [`Store::forget_nesting`], so that
    /// recovery finds what was cut off. Nobody is told of that.
    ///
    /// # Errors
    /// As there, and when the property cannot be set or not be noted.
    pub fn nest_etc_in_sealed(
        &self,
        lock: &WriteLock,
        id: SnapshotId,
        base: SnapshotId,
        syncpoint: Syncpoint,
    ) -> Result<(), Failure> {
        let doing = || format!("making snapshot {id} read-write for its etc");
        let snapshot = self.open_snapshot(id)?;
        let read_only = match self.nesting_noted(id)? {
            Some(noted) => noted,
            None => btrfs::is_read_only(&snapshot).doing(doing)?,
        };
        let note = if read_only { READ_ONLY } else { b"" };
        fs::replace(&self.dir(id).join(NESTING), note).doing(doing)?;
        failpoint::hit("nesting-noted").doing(doing)?;
        btrfs::set_read_only(&snapshot, false).doing(doing)?;
        failpoint::hit("etc-unsealed").doing(doing)?;
        let nested = self.nest_etc(lock, id, base, syncpoint);
        let sealed = btrfs::set_read_only(&snapshot, read_only);
        nested.and(sealed.doing(|| format!("making snapshot {id} read-only again")))?;
        failpoint::hit("etc-sealed").doing(doing)
    }

    /// Whether giving snapshot `id` its /etc was begun and not ended, and whether it is to be read-only then.
    ///
    /// # Errors
    /// When that is not known.
    pub fn nesting_noted(&self, id: SnapshotId) -> Result<Option<bool>, Failure> {
        let note = PathBuf::from(id.to_string()).join(NESTING);
        match beneath::read(self.fd(), &note, 64) {
            Err(e) if beneath::is_no_directory(&e) => Ok(None),
            other => Ok(other
                .doing(|| format!("reading {} of snapshot {id}", NESTING))?
                .map(|text| text == READ_ONLY)),
        }
    }

    /// What [`Store::nest_etc_in_sealed`] began has ended, and is on disk: a note that came back would let recovery
    /// replace what the snapshot has by what its source has then.
    ///
    /// # Errors
    /// When the note cannot be removed.
    pub fn forget_nesting(&self, _lock: &WriteLock, id: SnapshotId) -> Result<(), Failure> {
        if self.nesting_noted(id)?.is_none() {
            return Ok(());
        }
        let note = PathBuf::from(id.to_string()).join(NESTING);
        beneath::remove(self.fd(), &note)
            .doing(|| format!("removing {} of snapshot {id}", NESTING))?;
        failpoint::hit("nesting-forgotten").doing(|| format!("giving snapshot {id} its etc"))?;
        self.commit()
    }

    /// Gives the new snapshot `id` the nested /etc of its base, when that has one, with a syncpoint.
    ///
    /// # Errors
    /// The first step that failed; what was made before is there.
    pub fn nest_etc(
        &self,
        _lock: &WriteLock,
        id: SnapshotId,
        base: SnapshotId,
        syncpoint: Syncpoint,
    ) -> Result<(), Failure> {
        let doing = || format!("creating the etc of snapshot {id} from that of snapshot {base}");
        let Some(source) = nested(self.open_snapshot(base)?, ETC).doing(doing)? else {
            return Ok(());
        };
        let etc = nest(self.open_snapshot(id)?, &source, ETC).doing(doing)?;
        failpoint::hit("nested-etc").doing(doing)?;
        let compare_with = match syncpoint {
            Syncpoint::OfBase => {
                let of_base = nested(&source, SYNCPOINT).doing(doing)?;
                beneath::remove(&etc, Path::new(SYNCPOINT)).doing(doing)?;
                return of_base.map_or(Ok(()), |of_base| {
                    nest(&etc, &of_base, SYNCPOINT).map(drop).doing(doing)
                });
            }
            Syncpoint::OfNew(compare_with) => {
                // before the copy, which would have it as well
                beneath::remove(&etc, Path::new(SYNCPOINT)).doing(doing)?;
                nest(&etc, &etc, SYNCPOINT).doing(doing)?;
                compare_with
            }
            Syncpoint::OfRunning(compare_with) => {
                let running = beneath::open_root(&self.root.join(ETC)).doing(doing)?;
                let point = nest(&etc, &running, SYNCPOINT).doing(doing)?;
                failpoint::hit("syncpoint-copied").doing(doing)?;
                beneath::remove(point, Path::new(SYNCPOINT)).doing(doing)?;
                compare_with
            }
        };
        failpoint::hit("nested-syncpoint").doing(doing)?;
        let file = self.path(id).join(ETC).join(SYNCPOINT).join(COMPARE_WITH);
        fs::replace(&file, format!("{compare_with}\n").as_bytes()).doing(doing)
    }

    /// Deletes the subvolumes that belong to /etc of snapshot `id`, innermost first, for a program that is about to
    /// delete the snapshot and can only do that to one without.
    ///
    /// # Errors
    /// The first step that failed, as `ENOTEMPTY` where /etc holds another subvolume.
    pub fn unnest_etc(&self, _lock: &WriteLock, id: SnapshotId) -> Result<(), Failure> {
        let doing = || format!("deleting the etc of snapshot {id}");
        let snapshot = self.open_snapshot(id)?;
        let Some(etc) = nested(&snapshot, ETC).doing(doing)? else {
            return Ok(());
        };
        unseal(&snapshot, &etc).doing(doing)?;
        if nested(&etc, SYNCPOINT).doing(doing)?.is_some() {
            btrfs::delete(&etc, SYNCPOINT).doing(doing)?;
            failpoint::hit("deleted-syncpoint").doing(doing)?;
        }
        btrfs::delete(&snapshot, ETC).doing(doing)?;
        failpoint::hit("deleted-etc").doing(doing)
    }

    /// Deletes the nested /etc of snapshot `id`, when there is one, with everything in it.
    pub(super) fn drop_etc(&self, id: SnapshotId) -> io::Result<()> {
        if let Some(snapshot) = nested(beneath::open_root(&self.dir(id))?, SUBVOLUME)?
            && let Some(etc) = nested(&snapshot, ETC)?
        {
            unseal(&snapshot, &etc)?;
            if nested(&etc, SYNCPOINT)?.is_some() {
                btrfs::delete_recursively(&etc, SYNCPOINT)?;
                failpoint::hit("deleted-syncpoint")?;
            }
            btrfs::delete_recursively(&snapshot, ETC)?;
            failpoint::hit("deleted-etc")?;
        }
        Ok(())
    }

    /// Paths, from the top of the file system, of the subvolumes inside snapshot `id` that do not belong to /etc:
    /// somebody made them there, and only he knows what they are for.
    ///
    /// # Errors
    /// When the list of subvolumes cannot be read.
    pub fn not_understood(&self, id: SnapshotId) -> Result<Vec<String>, Failure> {
        let doing = || format!("looking for subvolumes in snapshot {id}");
        let all = Subvolumes::read(self.fd()).doing(doing)?;
        let ids = strangers(&all, self.subvolume_id(id)?);
        let path = |id| btrfs::subvolume_path(self.fd(), id).doing(doing);
        ids.into_iter().map(path).collect()
    }
}

/// Subvolumes directly in `top`, or in its /etc, that are not /etc and its syncpoint. What lies in these is not
/// named: it goes or stays with them.
fn strangers(all: &Subvolumes, top: u64) -> Vec<u64> {
    let inside = |parent: u64| all.by_id.values().filter(move |s| s.parent == parent);
    let is = |s: &Subvolume, name| s.name == name && s.directory == SUBVOLUME_ROOT;
    let mut found = Vec::new();
    for subvolume in inside(top) {
        if !is(subvolume, ETC) {
            found.push(subvolume.id);
            continue;
        }
        for inner in inside(subvolume.id) {
            let is_empty = inside(inner.id).next().is_none();
            if !is(inner, SYNCPOINT) || !is_empty {
                found.push(inner.id);
            }
        }
    }
    found
}

fn layout(is_dir: bool, inode: u64, is_overlay: bool, mounted: Option<&Mount>) -> EtcLayout {
    let own = Path::new(SUBVOLUME).join(ETC);
    match mounted {
        Some(m) if m.fs_type == "overlay" => EtcLayout::Overlay,
        _ if is_overlay => EtcLayout::Overlay,
        // mounted on itself: `…/N/snapshot/etc`
        Some(m) if m.fs_type != "btrfs" || !m.root.ends_with(&own) => {
            EtcLayout::Elsewhere(m.fs_type.clone())
        }
        _ if inode == STAND_IN || !is_dir => EtcLayout::LeftOut,
        _ if inode == SUBVOLUME_ROOT => EtcLayout::Nested,
        _ => EtcLayout::Plain,
    }
}

/// Makes both read-write: nothing can be taken out of a subvolume that is not.
fn unseal(snapshot: impl AsFd, etc: impl AsFd) -> io::Result<()> {
    btrfs::set_read_only(snapshot, false)?;
    failpoint::hit("unsealed")?;
    btrfs::set_read_only(etc, false)
}

/// Opens the subvolume `name` in `dir`; `None` when there is none: nothing, or an ordinary directory.
fn nested(dir: impl AsFd, name: &str) -> io::Result<Option<OwnedFd>> {
    match beneath::open_dir(dir, Path::new(name)) {
        Err(e) if beneath::is_no_directory(&e) => Ok(None),
        Err(e) => Err(e),
        Ok(fd) => Ok(btrfs::is_subvolume(&fd)?.then_some(fd)),
    }
}

/// Makes a read-write snapshot of `source` as `name` in `dir`, in the place of the empty directory that stands
/// there, and opens it.
fn nest(dir: impl AsFd, source: impl AsFd, name: &str) -> io::Result<OwnedFd> {
    beneath::remove(dir.as_fd(), Path::new(name))?;
    failpoint::hit("nest-cleared")?;
    btrfs::snapshot(source, dir.as_fd(), name, false, None)?;
    beneath::open_dir(dir, Path::new(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounted(root: &str, fs_type: &str) -> Mount {
        Mount {
            device: 0,
            root: root.into(),
            point: "/etc".into(),
            read_only: false,
            fs_type: fs_type.into(),
            source: PathBuf::new(),
        }
    }

    #[test]
    fn the_layout_is_told_from_the_directory_the_mount_and_fstab() {
        let own = mounted("/@/.snapshots/4/snapshot/etc", "btrfs");
        let all = [
            (257, false, None, EtcLayout::Plain),
            (257, false, Some(own.clone()), EtcLayout::Plain),
            (256, false, Some(own.clone()), EtcLayout::Nested),
            (256, false, None, EtcLayout::Nested),
            (257, true, None, EtcLayout::Overlay),
            (
                257,
                false,
                Some(mounted("/", "overlay")),
                EtcLayout::Overlay,
            ),
            (
                257,
                false,
                Some(mounted("/", "ext4")),
                EtcLayout::Elsewhere("ext4".into()),
            ),
            (
                257,
                false,
                Some(mounted("/@/etc", "btrfs")),
                EtcLayout::Elsewhere("btrfs".into()),
            ),
            (2, false, Some(own), EtcLayout::LeftOut),
        ];
        for (inode, overlay, mounted, wanted) in all {
            let found = layout(true, inode, overlay, mounted.as_ref());
            assert_eq!(found, wanted, "{inode} {overlay} {mounted:?}");
        }
    }

    #[test]
    fn only_etc_and_its_syncpoint_in_their_places_are_understood() {
        let mut all = Subvolumes::default();
        let mut add = |id, parent, directory, name: &str| {
            let subvolume = Subvolume {
                id,
                parent,
                directory,
                name: name.into(),
                ..Subvolume::default()
            };
            all.by_id.insert(id, subvolume);
        };
        add(300, 260, 400, "snapshot");
        add(301, 300, 256, "etc");
        add(302, 301, 256, "etc.syncpoint");
        add(303, 299, 256, "of another snapshot");
        add(304, 300, 999, "etc"); // usr/etc, say
        add(305, 301, 777, "etc.syncpoint");
        add(306, 300, 256, "machines");
        add(307, 306, 256, "inside");
        assert_eq!(strangers(&all, 300), [305, 304, 306]);
        all.by_id.retain(|id, _| *id < 304);
        assert!(strangers(&all, 300).is_empty());
    }
}
