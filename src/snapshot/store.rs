//! The directory `.snapshots`: reading it, and the few changes that are made to it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, DirEntryExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{RenameFlags, renameat2};

use super::search::{Subvolume, Subvolumes};
use super::{
    Event, Info, Inventory, Metadata, Plugins, Snapshot, SnapshotId, Syncpoint, btrfs, info,
};
use crate::sys::lock::WriteLock;
use crate::sys::{Doing, Failure, Root, beneath, failpoint, out};

/// Where the snapshots are, below the root.
pub const SNAPSHOTS: &str = ".snapshots";
pub(super) const SUBVOLUME: &str = "snapshot";
pub(super) const INFO: &str = "info.xml";
/// Directory of a snapshot that has no number yet, or no more; no other program looks at this name.
pub(super) const UNBORN: &str = ".transactional-update-new";

/// Why a system has no snapshots to work with.
#[derive(Debug)]
pub enum LayoutError {
    /// The root is not on btrfs.
    NotBtrfs(PathBuf),
    /// There is no `.snapshots`, or it is no subvolume.
    NoSnapshots(PathBuf),
    /// The root is on btrfs, but no snapshot of `.snapshots`.
    RootIsNoSnapshot(PathBuf),
    /// Something could not be read.
    Failed(Failure),
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayoutError::NotBtrfs(root) => write!(
                f,
                "{} is not on btrfs; transactional updates need a root file system of type btrfs",
                root.display()
            ),
            LayoutError::NoSnapshots(dir) => write!(
                f,
                "{} is not a btrfs subvolume; the system needs one that holds the snapshots, mounted there \
                 (openSUSE layout: @/.snapshots)",
                dir.display()
            ),
            LayoutError::RootIsNoSnapshot(root) => write!(
                f,
                "{} is not a snapshot of {SNAPSHOTS}; the root must be the subvolume {SNAPSHOTS}/N/{SUBVOLUME} \
                 (openSUSE layout)",
                root.display()
            ),
            LayoutError::Failed(failure) => write!(f, "{failure}: {}", failure.cause()),
        }
    }
}

impl std::error::Error for LayoutError {}

impl From<Failure> for LayoutError {
    fn from(failure: Failure) -> LayoutError {
        LayoutError::Failed(failure)
    }
}

/// Id of the subvolume that the root directory of `root` is in. Anybody may ask for it.
///
/// # Errors
/// When it is not on btrfs.
pub fn running_subvolume(root: &Root) -> Result<u64, Failure> {
    let doing = || format!("looking at {}", root.path().display());
    let top = beneath::open_root(root.path()).doing(doing)?;
    btrfs::subvolume_id(top).doing(doing)
}

/// The snapshots of a system.
#[derive(Debug)]
pub struct Store {
    pub(super) root: Root,
    pub(super) dir: PathBuf,
    /// Open from the beginning: syncfs(2) reports a write error once to each descriptor that was open when it
    /// happened. Writable also where the root itself is mounted read-only.
    pub(super) fd: OwnedFd,
    pub(super) plugins: Plugins,
}

impl Store {
    /// Opens the snapshots of the system at `root` and checks its layout.
    ///
    /// # Errors
    /// What is missing.
    pub fn open(root: &Root) -> Result<Store, LayoutError> {
        let root_fd = beneath::open_root(root.path())
            .doing(|| format!("opening {}", root.path().display()))?;
        let kind = nix::sys::statfs::fstatfs(&root_fd)
            .doing(|| format!("asking for the type of {}", root.path().display()))?;
        if kind.filesystem_type() != nix::sys::statfs::BTRFS_SUPER_MAGIC {
            return Err(LayoutError::NotBtrfs(root.path().to_owned()));
        }
        let dir = root.join(SNAPSHOTS);
        let fd = match beneath::open_root(&dir) {
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Err(LayoutError::NoSnapshots(dir));
            }
            other => other.doing(|| format!("opening {}", dir.display()))?,
        };
        if !btrfs::is_subvolume(&fd).doing(|| format!("looking at {}", dir.display()))? {
            return Err(LayoutError::NoSnapshots(dir));
        }
        Ok(Store {
            root: root.clone(),
            dir,
            fd,
            plugins: Plugins::of(root),
        })
    }

    /// The open directory of the snapshots.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Who is told what happens to snapshots.
    #[must_use]
    pub fn plugins(&self) -> &Plugins {
        &self.plugins
    }

    /// The directory of snapshot `id`.
    #[must_use]
    pub fn dir(&self, id: SnapshotId) -> PathBuf {
        self.dir.join(id.to_string())
    }

    /// The subvolume of snapshot `id`.
    #[must_use]
    pub fn path(&self, id: SnapshotId) -> PathBuf {
        self.dir(id).join(SUBVOLUME)
    }

    /// The subvolume of snapshot `id`, from the top of the system, as boot entries name it.
    #[must_use]
    pub fn path_inside(&self, id: SnapshotId) -> PathBuf {
        Path::new(SNAPSHOTS).join(id.to_string()).join(SUBVOLUME)
    }

    /// Opens the subvolume of snapshot `id`.
    ///
    /// # Errors
    /// When there is none.
    pub fn open_snapshot(&self, id: SnapshotId) -> Result<OwnedFd, Failure> {
        beneath::open_root(&self.path(id)).doing(|| format!("opening snapshot {id}"))
    }

    /// All snapshots: one search of the file system's root tree and one small file for each snapshot.
    ///
    /// # Errors
    /// When the tree or the directory cannot be read; a snapshot that cannot be understood is none.
    pub fn inventory(&self) -> Result<Inventory, LayoutError> {
        let all = Subvolumes::read(&self.fd).doing(|| "reading the list of subvolumes".into())?;
        let parent =
            btrfs::subvolume_id(&self.fd).doing(|| format!("looking at {}", self.dir.display()))?;
        let in_directory: BTreeMap<u64, Subvolume> = all
            .by_id
            .into_values()
            .filter(|s| s.parent == parent && s.name == SUBVOLUME)
            .map(|s| (s.directory, s))
            .collect();
        let mut inventory = Inventory::default();
        let entries =
            fs::read_dir(&self.dir).doing(|| format!("reading {}", self.dir.display()))?;
        for entry in entries {
            let entry = entry.doing(|| format!("reading {}", self.dir.display()))?;
            let Some(id) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
                continue;
            };
            let subvolume = in_directory.get(&entry.ino()).cloned();
            inventory.snapshots.insert(
                id,
                Snapshot {
                    id,
                    subvolume,
                    metadata: self.metadata(id),
                },
            );
        }
        let with_id = |wanted: u64| {
            let found = inventory
                .snapshots
                .values()
                .find(|s| s.subvolume.as_ref().is_some_and(|v| v.id == wanted));
            found.map(|s| s.id)
        };
        let at_root = with_id(self.subvolume_of(Path::new(""))?);
        inventory.current = with_id(self.subvolume_of(Path::new("usr"))?).or(at_root);
        inventory.default = with_id(all.default);
        inventory.booted = at_root.filter(|_| self.root.is_live());
        if at_root.is_none() {
            return Err(LayoutError::RootIsNoSnapshot(self.root.path().to_owned()));
        }
        Ok(inventory)
    }

    pub(super) fn subvolume_of(&self, rel: &Path) -> Result<u64, Failure> {
        let path = self.root.join(rel);
        let id = beneath::open_root(&path).and_then(btrfs::subvolume_id);
        match id {
            Err(e) if rel.as_os_str().is_empty() || e.kind() != io::ErrorKind::NotFound => {
                Err(Failure::new(format!("looking at {}", path.display()), e))
            }
            other => Ok(other.unwrap_or(0)),
        }
    }

    /// What is known of snapshot `id`.
    #[must_use]
    pub fn metadata(&self, id: SnapshotId) -> Metadata {
        let bytes = match crate::sys::fs::read_bounded(&self.dir(id).join(INFO), info::LIMIT) {
            Ok(bytes) => bytes,
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Metadata::Missing;
            }
            Err(e) => return Metadata::Bad(e.to_string()),
        };
        let parsed = String::from_utf8(bytes)
            .map_err(|e| e.to_string())
            .and_then(|text| Info::parse(&text));
        match parsed {
            Ok(info) if info.number == id.number() => Metadata::Good(info),
            Ok(info) => Metadata::Bad(format!("it says it describes snapshot {}", info.number)),
            Err(why) => Metadata::Bad(why),
        }
    }

    /// Takes a free number: its directory appears together with the metadata that `describe` gives for the
    /// number, so that there is no moment at which it does not say whose it is. A number that another program
    /// takes meanwhile is passed over.
    ///
    /// # Errors
    /// When the directory cannot be made, as on a file system that is read-only or full.
    pub fn reserve(
        &self,
        lock: &WriteLock,
        inventory: &Inventory,
        describe: impl Fn(SnapshotId) -> Info,
    ) -> Result<SnapshotId, Failure> {
        self.remove_unborn(lock)?;
        let reserved = self.make_number(inventory, describe);
        if reserved.is_err()
            && let Err(e) = self.remove_unborn(lock)
        {
            out::warn(format_args!(
                "{e}: {}; the next command removes it",
                e.cause()
            ));
        }
        reserved
    }

    fn make_number(
        &self,
        inventory: &Inventory,
        describe: impl Fn(SnapshotId) -> Info,
    ) -> Result<SnapshotId, Failure> {
        let doing = || format!("making a snapshot in {}", self.dir.display());
        let unborn = self.dir.join(UNBORN);
        DirBuilder::new().mode(0o755).create(&unborn).doing(doing)?;
        failpoint::hit("unborn-made").doing(doing)?;
        let first = inventory
            .snapshots
            .last_key_value()
            .and_then(|(id, _)| id.next());
        let mut id = first.or(SnapshotId::new(1)).expect("1 is a number");
        loop {
            let text = describe(id).to_xml();
            crate::sys::fs::replace(&unborn.join(INFO), text.as_bytes()).doing(doing)?;
            failpoint::hit("reserved-unborn").doing(doing)?;
            let name = id.to_string();
            match renameat2(
                &self.fd,
                UNBORN,
                &self.fd,
                name.as_str(),
                RenameFlags::RENAME_NOREPLACE,
            ) {
                Err(Errno::EEXIST) => {
                    id = id
                        .next()
                        .ok_or_else(|| Failure::new(doing(), Errno::EOVERFLOW))?
                }
                other => return other.map(|()| id).doing(doing),
            }
        }
    }

    /// Writes the metadata of a snapshot, durably.
    ///
    /// # Errors
    /// When it cannot be written; the old metadata is there then.
    pub fn write_info(
        &self,
        _lock: &WriteLock,
        id: SnapshotId,
        info: &Info,
    ) -> Result<(), Failure> {
        crate::sys::fs::replace(&self.dir(id).join(INFO), info.to_xml().as_bytes())
            .doing(|| format!("writing {}", self.dir(id).join(INFO).display()))
    }

    /// Writes the metadata of a snapshot without a note that does no harm when a power cut brings it back: on disk at
    /// some later time.
    ///
    /// # Errors
    /// When it cannot be written; the old metadata is there then.
    pub fn drop_note(&self, _lock: &WriteLock, id: SnapshotId, info: &Info) -> Result<(), Failure> {
        let path = self.dir(id).join(INFO);
        crate::sys::fs::replace_some_time(&path, info.to_xml().as_bytes())
            .doing(|| format!("writing {}", path.display()))
    }

    /// Writes the metadata of a snapshot as [`Store::write_info`] does, and tells snapper's plugins that it was
    /// modified.
    ///
    /// # Errors
    /// When it cannot be written; the old metadata is there then.
    pub fn modify(&self, lock: &WriteLock, id: SnapshotId, info: &Info) -> Result<(), Failure> {
        self.plugins.before(Event::Modify, id);
        self.write_info(lock, id, info)?;
        self.plugins.after(Event::Modify, id);
        Ok(())
    }

    /// Makes the subvolume of the reserved number `id` as a snapshot of `base`, read-write, and in it /etc with
    /// `syncpoint` where that is a subvolume of its own; on disk when this returns. It is in the quota group that
    /// snapper's configuration names, when that exists.
    ///
    /// # Errors
    /// As BTRFS_IOC_SNAP_CREATE_V2.
    pub fn create(
        &self,
        lock: &WriteLock,
        id: SnapshotId,
        base: SnapshotId,
        syncpoint: Syncpoint,
    ) -> Result<(), Failure> {
        let doing = || format!("creating snapshot {id} of snapshot {base}");
        let source = self.open_snapshot(base)?;
        let parent = File::open(self.dir(id)).doing(doing)?;
        let qgroup = self.qgroup();
        self.plugins.before(Event::Create, id);
        match btrfs::snapshot(&source, &parent, SUBVOLUME, false, qgroup) {
            // quota groups only count: a snapshot in none is better than no update
            Err(e) if qgroup.is_some() && e.kind() == io::ErrorKind::NotFound => {
                out::warn(format_args!(
                    "the quota group that QGROUP in {} names does not exist; snapshot {id} is in none",
                    self.root.join(SNAPPER_CONFIG).display()
                ));
                btrfs::snapshot(&source, &parent, SUBVOLUME, false, None).doing(doing)?;
            }
            other => other.doing(doing)?,
        }
        failpoint::hit("created-subvolume").doing(doing)?;
        self.nest_etc(lock, id, base, syncpoint)?;
        self.plugins.after(Event::Create, id);
        Ok(())
    }

    /// Sets or clears the read-only property of snapshot `id`.
    ///
    /// # Errors
    /// As BTRFS_IOC_SUBVOL_SETFLAGS.
    pub fn set_read_only(
        &self,
        _lock: &WriteLock,
        id: SnapshotId,
        read_only: bool,
    ) -> Result<(), Failure> {
        let fd = self.open_snapshot(id)?;
        self.plugins.before(Event::SetReadOnly, id);
        btrfs::set_read_only(fd, read_only).doing(|| format!("making snapshot {id} read-only"))?;
        self.plugins.after(Event::SetReadOnly, id);
        Ok(())
    }

    /// Writes everything of the file system to disk. The result counts: a write error shows here and nowhere
    /// else, and only once.
    ///
    /// # Errors
    /// When something could not be written since the store was opened.
    pub fn sync(&self) -> Result<(), Failure> {
        nix::unistd::syncfs(&self.fd)
            .doing(|| format!("writing the file system of {} to disk", self.dir.display()))
    }

    /// Id of the subvolume of snapshot `id`.
    ///
    /// # Errors
    /// When there is none.
    pub fn subvolume_id(&self, id: SnapshotId) -> Result<u64, Failure> {
        btrfs::subvolume_id(self.open_snapshot(id)?).doing(|| format!("looking at snapshot {id}"))
    }

    /// Id of the default subvolume.
    ///
    /// # Errors
    /// When it cannot be asked for.
    pub fn default_subvolume(&self) -> Result<u64, Failure> {
        btrfs::default_subvolume(&self.fd).doing(|| "asking for the default subvolume".into())
    }

    /// Makes a subvolume the default; for [`crate::boot`] only. Durable after [`Store::commit`].
    ///
    /// # Errors
    /// As BTRFS_IOC_DEFAULT_SUBVOL.
    pub fn set_default(&self, _lock: &WriteLock, subvolume: u64) -> Result<(), Failure> {
        btrfs::set_default(&self.fd, subvolume)
            .doing(|| format!("making subvolume {subvolume} the default"))
    }

    /// Commits the btrfs transaction that holds the last changes and waits until it is on disk.
    ///
    /// # Errors
    /// When it could not be written.
    pub fn commit(&self) -> Result<(), Failure> {
        btrfs::commit(&self.fd).doing(|| "committing the change to disk".into())
    }

    /// The quota group that snapper's configuration of the root names, as btrfs numbers them.
    fn qgroup(&self) -> Option<u64> {
        parse_qgroup(&setting(&self.snapper_config(), "QGROUP")?)
    }

    /// Whether snapper was told never to give a number twice (snapper-configs(5)).
    pub(super) fn has_unique_numbers(&self) -> bool {
        setting(&self.snapper_config(), "UNIQUE_NUMBERS").is_some_and(|value| value == "yes")
    }

    fn snapper_config(&self) -> String {
        let path = self.root.join(SNAPPER_CONFIG);
        let text = crate::sys::fs::read_bounded(&path, 1 << 20).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }
}

const SNAPPER_CONFIG: &str = "etc/snapper/configs/root";

/// The last value of `KEY="value"`.
fn setting(text: &str, key: &str) -> Option<String> {
    let mut lines = text.lines().rev();
    let value = lines.find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}

fn parse_qgroup(value: &str) -> Option<u64> {
    let (level, id) = value.split_once('/')?;
    let (level, id): (u16, u64) = (level.parse().ok()?, id.parse().ok()?);
    (id < 1 << 48).then_some(u64::from(level) << 48 | id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quota_group_of_snappers_configuration_is_numbered_as_btrfs_does() {
        let qgroup = |text| setting(text, "QGROUP").and_then(|value| parse_qgroup(&value));
        assert_eq!(qgroup("SUBVOLUME=\"/\"\nQGROUP=\"1/0\"\n"), Some(1 << 48));
        assert_eq!(qgroup("QGROUP='2/7'"), Some((2 << 48) | 7));
        for none in [
            "",
            "QGROUP=\"\"",
            "#QGROUP=\"1/0\"",
            "QGROUP=\"x/0\"",
            "QGROUP=\"1/281474976710656\"",
        ] {
            assert_eq!(qgroup(none), None, "{none}");
        }
    }
}
