//! The link that makes systemd boot into system-update.target (systemd.offline-updates(7)).
//!
//! Invariant: looked at by lstat(2) and readlink(2) only, never followed; what is not ours is never touched.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::readlinkat;
use nix::sys::stat::SFlag;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::record::{self, sync};
use crate::sys::lock::WriteLock;
use crate::sys::root::inside;
use crate::sys::{Doing, Failure, Root, beneath, failpoint};

/// The name of the link in each place.
const NAME: &str = "system-update";

/// Where a trigger can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the root directory.
    Top,
    /// In /etc, which systemd knows since 254.
    Etc,
}

/// Both, in the order in which systemd looks.
pub const PLACES: [Place; 2] = [Place::Top, Place::Etc];

impl Place {
    /// The directory, below the root.
    #[must_use]
    pub fn parent(self) -> &'static Path {
        Path::new(match self {
            Place::Top => "",
            Place::Etc => "etc",
        })
    }

    /// The path, as the system calls it.
    #[must_use]
    pub fn path(self) -> PathBuf {
        inside(&self.parent().join(NAME))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path().display().fmt(f)
    }
}

/// What is in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// Nothing.
    None,
    /// A link of ours, whether it leads anywhere or not.
    Own,
    /// Something else; the text says what, in the form "a link to …".
    Foreign(String),
}

/// What is in both places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Triggers {
    at: [Trigger; 2],
}

impl Triggers {
    /// What is in `place`.
    #[must_use]
    pub fn at(&self, place: Place) -> &Trigger {
        match place {
            Place::Top => &self.at[0],
            Place::Etc => &self.at[1],
        }
    }

    /// The one that counts for systemd: the first of the two.
    #[must_use]
    pub fn first(&self) -> Option<(Place, &Trigger)> {
        let mut all = PLACES.into_iter().map(|place| (place, self.at(place)));
        all.find(|(_, trigger)| **trigger != Trigger::None)
    }

    /// Where there is one of ours.
    pub fn own(&self) -> impl Iterator<Item = Place> {
        PLACES
            .into_iter()
            .filter(|place| *self.at(*place) == Trigger::Own)
    }

    /// Those of others, as sentences for people.
    pub fn foreign(&self) -> impl Iterator<Item = String> {
        PLACES.into_iter().filter_map(|place| match self.at(place) {
            Trigger::Foreign(what) => Some(format!("{place} is {what}")),
            Trigger::None | Trigger::Own => None,
        })
    }
}

/// What is in both places of the system at `root`.
///
/// # Errors
/// When that cannot be told.
pub fn find(root: &Root) -> Result<Triggers, Failure> {
    let top =
        beneath::open_root(root.path()).doing(|| format!("opening {}", root.path().display()))?;
    let look = |place: Place| look(&top, place).doing(|| format!("looking at {place}"));
    Ok(Triggers {
        at: [look(Place::Top)?, look(Place::Etc)?],
    })
}

fn look(top: &OwnedFd, place: Place) -> io::Result<Trigger> {
    match beneath::open_dir(top, place.parent()) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Trigger::None),
        parent => in_directory(&parent?),
    }
}

fn in_directory(parent: &OwnedFd) -> io::Result<Trigger> {
    let kind = match beneath::stat_at(parent, NAME.as_ref()) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Trigger::None),
        other => beneath::kind(&other?),
    };
    Ok(match kind {
        SFlag::S_IFLNK => {
            let text = readlinkat(parent, NAME)?;
            match record::path().as_os_str() == text.as_os_str() {
                true => Trigger::Own,
                false => Trigger::Foreign(format!("a link to {text:?}")),
            }
        }
        SFlag::S_IFDIR => Trigger::Foreign("a directory".into()),
        SFlag::S_IFREG => Trigger::Foreign("a file".into()),
        _ => Trigger::Foreign("neither a link nor a file".into()),
    })
}

/// Makes a trigger of ours, on disk when this returns. What is there already, of whomever, is not replaced.
///
/// # Errors
/// When something is there, or when it cannot be made; there may be one of ours then.
pub fn make(root: &Root, _lock: &WriteLock, place: Place) -> Result<(), Failure> {
    let doing = || format!("making {place}");
    let top = beneath::open_root(root.path()).doing(doing)?;
    let parent = beneath::open_dir(&top, place.parent()).doing(doing)?;
    // symlinkat(2) and no rename: it fails where something is
    if !beneath::make_link(&parent, Path::new(NAME), &record::path()).doing(doing)? {
        return Err(nix::errno::Errno::EEXIST).doing(doing);
    }
    failpoint::hit("offline-trigger-made").doing(doing)?;
    sync(&parent).doing(doing)
}

/// Removes a trigger of ours, on disk when this returns. Whether there was one; what is not ours stays.
///
/// # Errors
/// When it cannot be removed or the removal not be written to disk.
pub fn remove(root: &Root, _lock: &WriteLock, place: Place) -> Result<bool, Failure> {
    let doing = || format!("removing {place}");
    let top = beneath::open_root(root.path()).doing(doing)?;
    remove_in(&top, place).doing(doing)
}

/// Removes the triggers of ours from the root directory `top` of a snapshot, whose boot they would divert again.
///
/// # Errors
/// As [`remove`].
pub fn strip(top: impl AsFd) -> io::Result<()> {
    let top = beneath::open_dir(top, Path::new(""))?;
    for place in PLACES {
        remove_in(&top, place)?;
    }
    Ok(())
}

fn remove_in(top: &OwnedFd, place: Place) -> io::Result<bool> {
    let parent = match beneath::open_dir(top, place.parent()) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    if in_directory(&parent)? != Trigger::Own {
        return Ok(false);
    }
    unlinkat(&parent, NAME, UnlinkatFlags::NoRemoveDir)?;
    failpoint::hit("offline-trigger-removed")?;
    sync(&parent)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::offline::DIRECTORY;

    fn system() -> (tempfile::TempDir, Root, WriteLock) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        let lock = WriteLock::directory(dir.path()).unwrap();
        let root = Root::at(dir.path()).unwrap();
        (dir, root, lock)
    }

    #[test]
    fn a_trigger_is_made_found_and_removed_in_each_place() {
        let (tmp, root, lock) = system();
        for place in PLACES {
            assert_eq!(find(&root).unwrap().first(), None);
            assert!(!remove(&root, &lock, place).unwrap());
            make(&root, &lock, place).unwrap();
            let path = tmp.path().join(place.parent()).join("system-update");
            let text = std::fs::read_link(path).unwrap();
            assert_eq!(text, Path::new(&format!("/{DIRECTORY}")));
            let found = find(&root).unwrap();
            assert_eq!(found.first(), Some((place, &Trigger::Own)));
            assert_eq!(found.own().collect::<Vec<_>>(), [place]);
            let again = make(&root, &lock, place).unwrap_err();
            assert_eq!(again.cause().kind(), io::ErrorKind::AlreadyExists);
            assert!(remove(&root, &lock, place).unwrap());
        }
        assert_eq!(find(&root).unwrap().first(), None);
    }

    #[test]
    fn what_is_not_ours_byte_for_byte_is_named_and_never_touched() {
        let (tmp, root, lock) = system();
        let path = tmp.path().join("system-update");
        let ours = format!("/{DIRECTORY}");
        for text in [
            "/var/lib/other",
            &ours[1..],
            &format!("{ours}/"),
            &format!("/{ours}"),
            "\u{1b}[2J",
        ] {
            symlink(text, &path).unwrap();
            let found = find(&root).unwrap();
            let foreign: Vec<String> = found.foreign().collect();
            assert_eq!(
                foreign,
                [format!("/system-update is a link to {text:?}")],
                "{text}"
            );
            assert!(!remove(&root, &lock, Place::Top).unwrap());
            assert!(make(&root, &lock, Place::Top).is_err());
            strip(beneath::open_root(tmp.path()).unwrap()).unwrap();
            assert_eq!(std::fs::read_link(&path).unwrap(), Path::new(text));
            std::fs::remove_file(&path).unwrap();
        }
        std::fs::create_dir(&path).unwrap();
        std::fs::write(tmp.path().join("etc/system-update"), "").unwrap();
        let foreign: Vec<String> = find(&root).unwrap().foreign().collect();
        assert_eq!(
            foreign,
            [
                "/system-update is a directory",
                "/etc/system-update is a file"
            ]
        );
        for place in PLACES {
            assert!(!remove(&root, &lock, place).unwrap());
        }
        assert!(path.is_dir());
    }

    #[test]
    fn a_foreign_trigger_in_the_root_directory_counts_before_one_of_ours_in_etc() {
        let (tmp, root, lock) = system();
        make(&root, &lock, Place::Etc).unwrap();
        symlink("x", tmp.path().join("system-update")).unwrap();
        let found = find(&root).unwrap();
        assert!(matches!(
            found.first(),
            Some((Place::Top, Trigger::Foreign(_)))
        ));
        assert_eq!(found.own().collect::<Vec<_>>(), [Place::Etc]);
    }

    #[test]
    fn a_snapshot_is_freed_of_the_triggers_of_ours_in_both_places() {
        let (tmp, root, lock) = system();
        for place in PLACES {
            make(&root, &lock, place).unwrap();
        }
        strip(beneath::open_root(tmp.path()).unwrap()).unwrap();
        assert_eq!(find(&root).unwrap().first(), None);
        std::fs::remove_dir(tmp.path().join("etc")).unwrap();
        strip(beneath::open_root(tmp.path()).unwrap()).unwrap();
        assert_eq!(find(&root).unwrap().first(), None);
    }
}
