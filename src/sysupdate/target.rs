//! Files and directory trees where they are installed: partial, pending, installed, each under a name of its own.
//!
//! Invariant: the three names are in one directory, and each step is one rename that is durable before the next: after a crash
//! an instance is in exactly one of the states, and only a [`Verified`] payload becomes pending. Names are reached from the
//! descriptor of the target directory, and no link is followed; a link with the final name is replaced.

use std::ffi::{CStr, OsStr, OsString};
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, SFlag, mkdirat};
use nix::unistd::{UnlinkatFlags, symlinkat, syncfs, unlinkat};

use super::archive::Tree;
use super::directory::{PARTIAL, PENDING};
use super::pipeline::Verified;
use super::remove;
use super::sparse::SparseFile;
use crate::sys::{Doing, Failure, attr, beneath, failpoint as point, out, subvolume, xattr};

/// Before the name of what is in the way of a directory that is installed; removed with other left-overs.
const REPLACED: &str = ".#sysupdate.";
/// Notes of a tree that is pending that nobody may write to it once it is installed: the run that installs it may not know its source.
const READ_ONLY: &CStr = c"user.sysupdate_read_only";
/// Of directories that are made on the way to a name.
const DIR_MODE: u32 = 0o755;

/// What a file or directory gets before it is pending.
#[derive(Debug, Clone, Default)]
pub struct Attributes {
    /// Permission bits of a file.
    pub mode: Option<u32>,
    /// Time of the last change of a file.
    pub modified: Option<SystemTime>,
    /// Nobody may write: of a file no permission to, a directory is immutable once it is installed, and a subvolume read-only.
    /// `None`: as it was when it became pending.
    pub read_only: Option<bool>,
    /// A tree is a subvolume where the file system has such.
    pub is_subvolume: bool,
    /// Where it is from, without secrets; kept as `user.source_url`.
    pub url: Option<String>,
    /// What its server called this version; kept as `user.source_etag`.
    pub etag: Option<String>,
}

/// The place of one instance.
#[derive(Debug)]
pub struct Place {
    /// The directory that it is in.
    dir: OwnedFd,
    name: OsString,
    /// For words.
    shown: PathBuf,
    durable: bool,
}

/// A complete instance that waits.
#[derive(Debug)]
#[must_use]
pub struct Pending(Place);

impl Place {
    /// The place `rel` below the open directory `target`, which is called `path`. Directories on the way are made. Without `durable`
    /// nothing is waited for.
    ///
    /// # Errors
    /// For a name that is not one or more plain names, or too long; a link on the way; the error of mkdirat(2).
    pub fn new(
        target: impl AsFd,
        path: &Path,
        rel: &Path,
        durable: bool,
    ) -> Result<Place, Failure> {
        let shown = path.join(rel);
        let doing = || format!("finding the place of {}", shown.display());
        let is_plain = rel.components().all(|c| matches!(c, Component::Normal(_)));
        let Some(name) = rel.file_name().filter(|_| is_plain) else {
            return Err(Failure::new(doing(), io::ErrorKind::InvalidFilename));
        };
        let parent = rel.parent().unwrap_or(Path::new(""));
        let made = beneath::make_dirs(target.as_fd(), parent, DIR_MODE).doing(doing)?;
        if durable {
            for new in &made {
                let above = new.parent().unwrap_or(Path::new(""));
                let above = beneath::open_dir(target.as_fd(), above).doing(doing)?;
                File::from(above).sync_all().doing(doing)?;
            }
        }
        Ok(Place {
            dir: beneath::open_dir(target, parent).doing(doing)?,
            name: name.to_owned(),
            shown,
            durable,
        })
    }

    fn named(&self, prefix: &str) -> OsString {
        let mut name = OsString::from(prefix);
        name.push(&self.name);
        name
    }

    fn doing(&self, what: &str) -> String {
        format!("{what} {}", self.shown.display())
    }

    /// The path of the unfinished file, as a record of the spool has it.
    #[must_use]
    pub fn partial_path(&self) -> PathBuf {
        self.shown.with_file_name(self.named(PARTIAL))
    }

    /// The file that a payload is written into. With `go_on`, one that an earlier run left is gone on with; else it is replaced.
    ///
    /// # Errors
    /// The error of openat(2) or unlinkat(2).
    pub fn partial_file(&self, go_on: bool) -> Result<SparseFile, Failure> {
        let doing = || self.doing("making the unfinished");
        let name = self.named(PARTIAL);
        let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        if go_on && let Ok(there) = openat(&self.dir, name.as_os_str(), flags, Mode::empty()) {
            let file = File::from(there);
            // one name only: nobody else has it
            if file.metadata().is_ok_and(|m| m.is_file() && m.nlink() == 1) {
                return Ok(SparseFile::new(file));
            }
        }
        beneath::remove_all(&self.dir, name.as_ref()).doing(doing)?;
        let flags = flags | OFlag::O_CREAT | OFlag::O_EXCL;
        let mode = Mode::from_bits_truncate(0o600);
        let file = File::from(openat(&self.dir, name.as_os_str(), flags, mode).doing(doing)?);
        self.sync_dir().doing(doing)?;
        point::hit("sysupdate-partial").doing(doing)?;
        Ok(SparseFile::new(file))
    }

    /// The directory that a tree is put into, a subvolume where that is wanted and possible; one that an earlier run left is removed.
    ///
    /// # Errors
    /// The error of mkdirat(2), of making a subvolume, or of removing.
    pub fn partial_dir(&self, is_subvolume: bool) -> Result<Tree, Failure> {
        let doing = || self.doing("making the unfinished");
        let name = self.named(PARTIAL);
        self.discard_at(&name).doing(doing)?;
        if !(is_subvolume && subvolume::create(&self.dir, &name).doing(doing)?) {
            mkdirat(&self.dir, name.as_os_str(), Mode::S_IRWXU).doing(doing)?;
        }
        let dir = beneath::enter(&self.dir, &name).doing(doing)?;
        // nobody enters it before it is complete
        nix::sys::stat::fchmod(&dir, Mode::S_IRWXU).doing(doing)?;
        self.sync_dir().doing(doing)?;
        point::hit("sysupdate-partial").doing(doing)?;
        Ok(Tree::new(dir))
    }

    /// Makes a complete file pending, durably.
    ///
    /// # Errors
    /// The first step that failed; it is still partial then.
    pub fn file_pending(
        self,
        verified: Verified<SparseFile>,
        attributes: &Attributes,
    ) -> Result<Pending, Failure> {
        let doing = || self.doing("completing");
        let sparse = verified.into_sink();
        let file = sparse.file();
        set_source(file, attributes, &self.shown);
        if let Some(mode) = attributes.mode {
            let mode = match attributes.read_only {
                Some(true) => mode & !0o222,
                _ => mode,
            };
            file.set_permissions(Permissions::from_mode(mode))
                .doing(doing)?;
        }
        if let Some(modified) = attributes.modified {
            file.set_modified(modified).doing(doing)?;
        }
        if self.durable {
            file.sync_all().doing(doing)?;
        }
        self.pending()
    }

    /// Makes a complete tree pending, durably.
    ///
    /// # Errors
    /// As [`Place::file_pending`].
    pub fn tree_pending(
        self,
        verified: Verified<Tree>,
        attributes: &Attributes,
    ) -> Result<Pending, Failure> {
        let doing = || self.doing("completing");
        let tree = verified.into_sink();
        set_source(tree.dir(), attributes, &self.shown);
        self.note_read_only(&tree, attributes).doing(doing)?;
        if self.durable {
            syncfs(tree.dir()).doing(doing)?;
        }
        self.pending()
    }

    /// Notes that nobody may write to a tree, or takes away such a note that came with it: only who installs it decides that.
    fn note_read_only(&self, tree: &Tree, attributes: &Attributes) -> io::Result<()> {
        if attributes.read_only != Some(true) {
            // what cannot be read says nothing to who installs it either
            let is_there = xattr::all(tree.dir()).is_ok_and(|all| all.contains_key(READ_ONLY));
            return match is_there {
                true => xattr::remove(tree.dir(), READ_ONLY),
                false => Ok(()),
            };
        }
        if let Err(e) = xattr::set(tree.dir(), READ_ONLY, b"1") {
            out::warn(format_args!(
                "{}: it cannot be noted that nobody may write to it: {e}; a run that installs it and does not know its source would leave it writable",
                self.shown.display()
            ));
        }
        Ok(())
    }

    fn pending(self) -> Result<Pending, Failure> {
        let doing = || self.doing("marking as pending");
        point::hit("sysupdate-complete").doing(doing)?;
        // what is left of an earlier one would be in the way of a directory
        self.discard_at(&self.named(PENDING)).doing(doing)?;
        self.rename(&self.named(PARTIAL), &self.named(PENDING))
            .doing(doing)?;
        point::hit("sysupdate-pending").doing(doing)?;
        Ok(Pending(self))
    }

    /// The instance as an earlier run left it, when it is pending.
    ///
    /// # Errors
    /// This place again, when it is not.
    pub fn found_pending(self) -> Result<Pending, Place> {
        match beneath::stat_at(&self.dir, &self.named(PENDING)) {
            Ok(stat) if [SFlag::S_IFREG, SFlag::S_IFDIR].contains(&beneath::kind(&stat)) => {
                Ok(Pending(self))
            }
            _ => Err(self),
        }
    }

    /// Removes what is partial or pending here. Missing already is fine.
    ///
    /// # Errors
    /// What could not be removed.
    pub fn discard(&self) -> Result<(), Failure> {
        let doing = || self.doing("removing the unfinished");
        self.discard_at(&self.named(PARTIAL)).doing(doing)?;
        self.discard_at(&self.named(PENDING)).doing(doing)?;
        self.sync_dir().doing(doing)
    }

    fn discard_at(&self, name: &OsStr) -> io::Result<()> {
        remove::whole(self.dir.as_fd(), name.as_ref())
    }

    /// An immutable directory can neither be removed nor get another name.
    fn lift(&self, name: &OsStr) -> io::Result<()> {
        match beneath::open_entry(&self.dir, name.as_ref()) {
            Ok(there) => attr::lift(there.as_fd()).map(|_lifted| ()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        renameat(&self.dir, from, &self.dir, to)?;
        self.sync_dir()
    }

    fn sync_dir(&self) -> io::Result<()> {
        if self.durable {
            File::from(beneath::reopen(&self.dir)?).sync_all()?;
        }
        Ok(())
    }
}

impl Pending {
    /// Gives it its final name, durably. What is there with this name is replaced.
    ///
    /// # Errors
    /// The first step that failed; it is pending or installed then.
    pub fn install(self, attributes: &Attributes) -> Result<(), Failure> {
        let place = self.0;
        let doing = || place.doing("installing");
        let pending = place.named(PENDING);
        place.lift(&place.name).doing(doing)?;
        match place.rename(&pending, &place.name) {
            // a directory replaces only an empty one, and a file no directory
            Err(e) if in_the_way(&e) => {
                let replaced = place.named(REPLACED);
                place.discard_at(&replaced).doing(doing)?;
                place.rename(&place.name, &replaced).doing(doing)?;
                point::hit("sysupdate-moved-away").doing(doing)?;
                place.rename(&pending, &place.name).doing(doing)?;
                place.discard_at(&replaced).doing(doing)?;
            }
            other => other.doing(doing)?,
        }
        point::hit("sysupdate-installed").doing(doing)?;
        let was_noted = place.take_note();
        if attributes.read_only.unwrap_or(was_noted) {
            place.lock(attributes.is_subvolume);
        }
        Ok(())
    }
}

fn in_the_way(e: &io::Error) -> bool {
    let errno = e.raw_os_error().map(Errno::from_raw);
    matches!(
        errno,
        Some(Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOTDIR | Errno::EISDIR)
    )
}

impl Place {
    /// Whether it is noted that nobody may write to the tree, which says nothing any more once it is installed.
    fn take_note(&self) -> bool {
        let taken = || {
            let dir = beneath::enter(&self.dir, &self.name)?;
            let is_there = xattr::all(&dir)?.contains_key(READ_ONLY);
            if is_there {
                xattr::remove(&dir, READ_ONLY)?;
            }
            Ok::<_, io::Error>(is_there)
        };
        // a file has no such note
        taken().unwrap_or(false)
    }

    /// Keeps a tree from being changed. A file system that cannot do that is only told.
    fn lock(&self, is_subvolume: bool) {
        let set = || {
            let dir = beneath::enter(&self.dir, &self.name)?;
            if !is_subvolume {
                return attr::make_immutable(dir.as_fd());
            }
            match subvolume::make_read_only(&dir)? {
                true => Ok(()),
                false => Err(io::Error::other("it is no subvolume")),
            }
        };
        let is_dir = beneath::stat_at(&self.dir, &self.name)
            .is_ok_and(|stat| beneath::kind(&stat) == SFlag::S_IFDIR);
        if is_dir && let Err(e) = set() {
            out::warn(format_args!(
                "{} cannot be made read-only: {e}",
                self.shown.display()
            ));
        }
    }
}

/// Notes where it is from. A file system without extended attributes is no failure.
fn set_source(object: impl AsFd, attributes: &Attributes, shown: &Path) {
    let wanted = [
        (c"user.source_url", &attributes.url),
        (c"user.source_etag", &attributes.etag),
    ];
    for (name, value) in wanted {
        if let Some(value) = value {
            note(&object, name, value.as_bytes(), shown);
        }
    }
}

fn note(object: impl AsFd, name: &CStr, value: &[u8], shown: &Path) {
    if let Err(e) = xattr::set(object, name, value) {
        tracing::debug!("{}: {name:?} is not kept: {e}", shown.display());
    }
}

/// Makes `rel` below the open directory `dir`, which is called `path`, a link with this text, atomically and durably. What is there is replaced, unless it
/// is a directory. Directories on the way are made.
///
/// # Errors
/// The first step that failed; the old link is still there then.
pub fn point_link(
    dir: impl AsFd,
    path: &Path,
    rel: &Path,
    text: &Path,
    durable: bool,
) -> Result<(), Failure> {
    let doing = || format!("making the link {}", path.join(rel).display());
    let place = Place::new(dir, path, rel, durable)?;
    let new = place.named(REPLACED);
    let current = nix::fcntl::readlinkat(&place.dir, place.name.as_os_str());
    if current.is_ok_and(|current| current == text) {
        return Ok(());
    }
    place.discard_at(&new).doing(doing)?;
    match symlinkat(text, &place.dir, new.as_os_str()) {
        Err(e @ (Errno::EPERM | Errno::ENOSYS | Errno::EOPNOTSUPP)) => {
            let doing = format!("{}; its file system has no symbolic links", doing());
            return Err(Failure::new(doing, e));
        }
        other => other.doing(doing)?,
    }
    point::hit("sysupdate-link").doing(doing)?;
    let renamed = place.rename(&new, &place.name);
    if renamed.is_err() {
        unlinkat(&place.dir, new.as_os_str(), UnlinkatFlags::NoRemoveDir).unwrap_or(());
    }
    renamed.doing(doing)
}

#[cfg(test)]
mod tests;
