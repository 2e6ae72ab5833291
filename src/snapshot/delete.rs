//! Deleting snapshots, so that what is left of a deletion that was cut off says whose it is at every moment.
//!
//! The order: the mark in info.xml, committed; the subvolumes, innermost first, committed; what others keep for the
//! snapshot; its number; info.xml. For the last ones nobody waits: a power cut takes any number of them back, beginning
//! with the last, never one in the middle.
//!
//! The first commit is what makes that so. What fsync(2) wrote of a directory since the last commit lies in btrfs's log, and
//! Linux 6.18 goes on to note there what leaves the directory, but not that a subvolume in it was deleted: after a cut
//! the snapshot was there without its info.xml, and where the directory was renamed as well, the log could not be
//! replayed, and the file system did not mount at all. A committed directory is in no log. The second commit is for
//! the directory of all snapshots, where other programs write as well.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{RenameFlags, renameat2};

use super::nested::NESTING;
use super::store::{INFO, SUBVOLUME, UNBORN};
use super::{Event, Inventory, Metadata, SnapshotId, Store, btrfs, key};
use crate::sys::fs::is_temporary;
use crate::sys::lock::{LockError, WriteLock};
use crate::sys::{Doing, Failure, beneath, failpoint, out};

impl Store {
    /// Deletes a snapshot that was complete, with its /etc, as [`Store::delete`] does. One that holds other subvolumes
    /// stays. Where snapper was told never to give a number twice, the empty directory of the highest number stays, as
    /// snapper leaves it: the next number is counted from it.
    ///
    /// # Errors
    /// Names the subvolumes that are in the way; else as [`Store::delete`].
    pub fn retire(
        &self,
        lock: &WriteLock,
        id: SnapshotId,
        forget: impl FnOnce(),
    ) -> Result<(), Failure> {
        let others = match self.not_understood(id) {
            // the rest of a deletion that was cut off
            Err(e) if e.cause().kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        if !others.is_empty() {
            let why = format!(
                "it holds the subvolumes {}, which are not part of a system; delete them (btrfs subvolume delete) \
                 or move them, then the snapshot (snapper delete {id})",
                others.join(", ")
            );
            return Err(Failure::new(
                format!("deleting snapshot {id}"),
                io::Error::other(why),
            ));
        }
        let keeps_number = self.has_unique_numbers() && self.is_highest(id)?;
        self.delete_all_of(lock, id, forget, keeps_number)
    }

    /// Deletes a snapshot that somebody of ours was making, or that was complete, with everything that was made inside
    /// of it. It is marked as unfinished before, so that recovery goes on with a deletion that was cut off. `forget` is
    /// called when the subvolume is gone, to remove what is kept for the snapshot elsewhere. Files of other programs
    /// in the directory stay.
    ///
    /// # Errors
    /// When it runs or boots next, of which nothing is deleted; else the first step that failed.
    pub fn delete(
        &self,
        lock: &WriteLock,
        id: SnapshotId,
        forget: impl FnOnce(),
    ) -> Result<(), Failure> {
        self.delete_all_of(lock, id, forget, false)
    }

    fn delete_all_of(
        &self,
        lock: &WriteLock,
        id: SnapshotId,
        forget: impl FnOnce(),
        keeps_number: bool,
    ) -> Result<(), Failure> {
        self.not_in_use(id)?;
        let keeps_number = self.mark_unfinished(lock, id, keeps_number);
        let doing = || format!("deleting snapshot {id}");
        failpoint::hit("delete-marked").doing(doing)?;
        self.commit()?;
        let parent = beneath::open_root(&self.dir(id)).doing(doing)?;
        // what never came to be was not told of, either
        let is_there = beneath::stat_at(&parent, SUBVOLUME.as_ref()).is_ok();
        if is_there {
            self.plugins.before(Event::Delete, id);
        }
        self.drop_etc(id).doing(doing)?;
        match btrfs::delete_recursively(&parent, SUBVOLUME) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            other => other.doing(doing)?,
        }
        // whoever else syncs something in the directory above just now may have it in the log
        self.commit()?;
        failpoint::hit("deleted-subvolume").doing(doing)?;
        if is_there {
            self.plugins.after(Event::Delete, id);
        }
        forget();
        failpoint::hit("deleted-entries").doing(doing)?;
        self.remove_description(lock, id, keeps_number)
    }

    /// Removes info.xml and, unless it is kept, the directory of the number. An empty directory would say of nobody
    /// that it is his, so the name goes first, where there is space for that; else its description goes last, and a
    /// death right after that leaves a number to which nothing belongs, which is in nobody's way.
    fn remove_description(
        &self,
        lock: &WriteLock,
        id: SnapshotId,
        keeps_number: bool,
    ) -> Result<(), Failure> {
        let doing = || format!("deleting snapshot {id}");
        let dir = PathBuf::from(id.to_string());
        let is_own = |name: &OsString| {
            name == INFO || name == NESTING || is_temporary(&name.to_string_lossy())
        };
        let names = beneath::names_below(&self.fd, &dir).doing(doing)?;
        let (mut own, others): (Vec<_>, Vec<_>) = names.into_iter().partition(is_own);
        let goes = !keeps_number && others.is_empty();
        if goes {
            self.remove_unborn(lock)?;
            let flags = RenameFlags::RENAME_NOREPLACE;
            match renameat2(&self.fd, &dir, &self.fd, UNBORN, flags) {
                // btrfs has a reserve for what removes, but none for a rename
                Err(Errno::ENOSPC | Errno::EDQUOT) => {}
                other => {
                    other.doing(doing)?;
                    failpoint::hit("delete-unnumbered").doing(doing)?;
                    return self.remove_unborn(lock).map(drop);
                }
            }
        }
        own.sort_by_key(|name| name == INFO);
        for name in own {
            beneath::remove(&self.fd, &dir.join(name)).doing(doing)?;
        }
        failpoint::hit("delete-undescribed").doing(doing)?;
        match goes {
            true => beneath::remove(&self.fd, &dir).doing(doing),
            false => Ok(()),
        }
    }

    fn is_highest(&self, id: SnapshotId) -> Result<bool, Failure> {
        let doing = || format!("reading {}", self.dir.display());
        let number = |n: fs::DirEntry| n.file_name().to_str()?.parse::<SnapshotId>().ok();
        let entries = fs::read_dir(&self.dir).doing(doing)?;
        let highest = entries.filter_map(Result::ok).filter_map(number).max();
        Ok(highest.is_none_or(|highest| highest <= id))
    }

    /// Refuses what the system runs from, and the default subvolume: the kernel refuses that as well, but only when
    /// /etc inside of it is gone.
    fn not_in_use(&self, id: SnapshotId) -> Result<(), Failure> {
        let doing = || format!("deleting snapshot {id}");
        let subvolume = match beneath::open_root(&self.path(id)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.and_then(btrfs::subvolume_id).doing(doing)?,
        };
        let running = |place| self.subvolume_of(Path::new(place));
        let used = [self.default_subvolume()?, running("")?, running("usr")?];
        let why = "it runs or boots next";
        match used.contains(&subvolume) {
            true => Err(io::Error::other(why)).doing(doing),
            false => Ok(()),
        }
    }

    /// Says in the metadata of a snapshot that was complete, kept or open that it is about to go, so that recovery
    /// may finish it, and whether its number is to stay, which is returned: recovery does not know. A disk that is too
    /// full for that must not stop what gives it space.
    fn mark_unfinished(&self, lock: &WriteLock, id: SnapshotId, keeps_number: bool) -> bool {
        let Metadata::Good(mut info) = self.metadata(id) else {
            return keeps_number;
        };
        let keeps_number = keeps_number || info.userdata.contains_key(key::NUMBER_STAYS);
        if !info.in_progress() || info.is_open() {
            info.begin_transaction();
            info.userdata.remove(key::KEPT);
            if keeps_number {
                info.userdata.insert(key::NUMBER_STAYS.into(), "yes".into());
            }
            if let Err(e) = self.write_info(lock, id, &info) {
                out::detail(format_args!("{e}: {}", e.cause()));
            }
        }
        keeps_number
    }

    /// Removes the directory of a snapshot that has no number: what is left of a [`Store::reserve`] or of a deletion
    /// that was cut off. Says where it was.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn remove_unborn(&self, _lock: &WriteLock) -> Result<Option<PathBuf>, Failure> {
        let path = self.dir.join(UNBORN);
        let doing = || format!("removing {}", path.display());
        match beneath::stat_at(&self.fd, UNBORN.as_ref()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.doing(doing)?,
        };
        let unborn = Path::new(UNBORN);
        for name in beneath::names_below(&self.fd, unborn).doing(doing)? {
            beneath::remove_all(&self.fd, &unborn.join(name)).doing(doing)?;
            failpoint::hit("unborn-emptied").doing(doing)?;
        }
        beneath::remove_all(&self.fd, unborn).doing(doing)?;
        Ok(Some(path))
    }

    /// Removes the temporary files that writes of metadata which were cut off left beside it. Where snapper's plugin is at
    /// work they are its own. A directory that cannot be read has none.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn remove_temporaries(
        &self,
        _lock: &WriteLock,
        inventory: &Inventory,
    ) -> Result<(), Failure> {
        for id in inventory.snapshots.keys() {
            if self.temporaries(*id).is_empty() {
                continue;
            }
            match WriteLock::directory(&self.dir(*id)) {
                Err(LockError::Held(..)) => {}
                other => {
                    let lock = other.map_err(io::Error::other);
                    let doing = || format!("removing temporary files of snapshot {id}");
                    self.remove_temporaries_of(&lock.doing(doing)?, *id)?;
                }
            }
        }
        Ok(())
    }

    /// The same beside snapshot `id`, with the right to change that one.
    ///
    /// # Errors
    /// As there.
    pub fn remove_temporaries_of(&self, _lock: &WriteLock, id: SnapshotId) -> Result<(), Failure> {
        for name in self.temporaries(id) {
            let doing = || format!("removing {}", self.dir(id).join(&name).display());
            let path = PathBuf::from(id.to_string()).join(&name);
            beneath::remove(&self.fd, &path).doing(doing)?;
            failpoint::hit("temporary-removed").doing(doing)?;
        }
        Ok(())
    }

    fn temporaries(&self, id: SnapshotId) -> Vec<OsString> {
        let names = beneath::names_below(&self.fd, Path::new(&id.to_string()));
        let mut names = names.unwrap_or_default();
        names.retain(|n| is_temporary(&n.to_string_lossy()));
        names
    }
}
