//! Which file systems stand where directories are made, and which should and do not.
//!
//! Reads only.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::sys::stat::fstat;
use nix::sys::statvfs::fstatvfs;
use serde::{Deserialize, Serialize};

use super::select::is_below;
use super::stamp::Name;
use crate::rpmdb::Prefix;
use crate::sys::mount::{self, FstabEntry, Mount};
use crate::sys::root::{inside, relative};
use crate::sys::{Root, beneath};

/// A file or directory, told apart from any other over reboots: the device number is not, on btrfs it depends on the order
/// in which file systems are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// The identity of the file system (statfs(2)); on btrfs each subvolume has its own.
    file_system: u64,
    inode: u64,
}

impl Identity {
    /// Of the directory `rel` below `top`; `None` when there is none, or a symbolic link on the way to it.
    pub(super) fn of(top: &OwnedFd, rel: &Path) -> Option<Identity> {
        let place = beneath::open_place(top, rel).ok()?;
        Some(Identity {
            file_system: fstatvfs(&place).ok()?.filesystem_id(),
            inode: fstat(&place).ok()?.st_ino,
        })
    }
}

/// A directory whose file system matters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// Absolute, as the system calls it.
    path: Name,
    /// What is there.
    identity: Option<Identity>,
}

impl Place {
    /// As it is now.
    pub(super) fn of(top: &OwnedFd, path: &Path) -> Place {
        Place {
            identity: Identity::of(top, &relative(path)),
            path: Name(path.into()),
        }
    }

    /// Whether the same is still there.
    pub(super) fn is_unchanged(&self, top: &OwnedFd) -> bool {
        Identity::of(top, &relative(Path::new(&self.path.0))) == self.identity
    }

    /// The same place; what is there now when nothing was. Where one of `points` was not mounted it stays the same: what has
    /// been mounted there meanwhile was not looked at, and shows at the next run.
    pub(super) fn or_new(self, top: &OwnedFd, points: &Points) -> Place {
        let is_it = |point: &Prefix| point.path() == self.path.path();
        match self.identity {
            None if !points.unmounted.iter().any(is_it) => Place::of(top, self.path.path()),
            _ => self,
        }
    }
}

/// The mount points that fstab names, or autofs waits at, and that have to do with what lies below the prefixes: all of them,
/// and those on which nothing is mounted.
#[derive(Debug, Default)]
pub(super) struct Points {
    pub(super) all: Vec<Prefix>,
    pub(super) unmounted: Vec<Prefix>,
}

impl Points {
    /// Asks etc/fstab of the system at `root`, whose root directory `top` is, and the kernel. Where one of them does not
    /// answer, everything counts as mounted, and a warning says so.
    pub(super) fn of(
        root: &Root,
        top: &OwnedFd,
        prefixes: &[Prefix],
        warnings: &mut Vec<String>,
    ) -> Points {
        let asked = beneath::read(top, Path::new("etc/fstab"), 1 << 20).and_then(|text| {
            let text = text.unwrap_or_default();
            let fstab = mount::parse_fstab(&String::from_utf8_lossy(&text));
            Ok((fstab, mount::mounts()?))
        });
        match asked {
            Ok((fstab, mounts)) => points(root, &fstab, &mounts, prefixes),
            Err(e) => {
                warnings.push(format!(
                    "whether all is mounted that etc/fstab names cannot be told: {e}"
                ));
                Points::default()
            }
        }
    }

    /// The prefixes and the mount points, as they are now. Those below something that is not mounted are not looked at: where
    /// autofs waits, that would mount it, and when it is mounted that place shows it.
    pub(super) fn places(&self, top: &OwnedFd, prefixes: &[Prefix]) -> Vec<Place> {
        let paths: BTreeSet<&Path> = prefixes.iter().chain(&self.all).map(Prefix::path).collect();
        let can_be_seen = |path: &&Path| !is_below(path, &self.unmounted);
        let paths = paths.into_iter().filter(can_be_seen);
        paths.map(|path| Place::of(top, path)).collect()
    }
}

fn points(root: &Root, fstab: &[FstabEntry], mounts: &[Mount], prefixes: &[Prefix]) -> Points {
    // autofs mounts when somebody enters: at boot what is mounted may need what waits for this program (the network)
    let (waiting, there): (Vec<Mount>, Vec<Mount>) =
        mounts.iter().cloned().partition(|m| m.fs_type == "autofs");
    let mounted = mount::points_below(&there, root);
    let waiting = mount::points_below(&waiting, root);
    let mut found = Points::default();
    for point in fstab.iter().map(|entry| &entry.point).chain(&waiting) {
        // the root itself makes no prefix
        let Ok(point) = Prefix::new(&inside(point)) else {
            continue;
        };
        let concerns = |prefix: &Prefix| {
            prefix.path().starts_with(point.path()) || point.path().starts_with(prefix.path())
        };
        if !prefixes.iter().any(concerns) || found.all.contains(&point) {
            continue;
        }
        let rel: PathBuf = relative(point.path());
        if mounted.binary_search(&rel).is_err() {
            found.unmounted.push(point.clone());
        }
        found.all.push(point);
    }
    found
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn prefixes(paths: &[&str]) -> Vec<Prefix> {
        let new = |p: &&str| Prefix::new(Path::new(p)).unwrap();
        paths.iter().map(new).collect()
    }

    fn mounted(points: &[&str]) -> Vec<Mount> {
        let new = |p: &&str| Mount {
            device: 0,
            root: "/".into(),
            point: p.into(),
            read_only: false,
            fs_type: "btrfs".into(),
            source: PathBuf::new(),
        };
        points.iter().map(new).collect()
    }

    #[test]
    fn mount_points_of_fstab_at_above_and_below_a_prefix_count_when_nothing_is_mounted_there() {
        let fstab = mount::parse_fstab(
            "d / btrfs\nd /var btrfs\nd /var/log/ btrfs\nd /usr btrfs\nd /home btrfs\nd /srv btrfs\nd /srv btrfs\n\
             d none swap\nd /various btrfs\n",
        );
        let asked = prefixes(&["/var", "/srv", "/usr/local"]);
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path()).unwrap();
        let at = |rel: &str| root.join(rel).display().to_string();
        let there = mounted(&["/srv", "/var/log", &at("var"), &at("usr")]);
        let found = points(&root, &fstab, &there, &asked);
        assert_eq!(found.all, prefixes(&["/var", "/var/log", "/usr", "/srv"]));
        assert_eq!(found.unmounted, prefixes(&["/var/log", "/srv"]));
        let live = points(&Root::live(), &fstab, &there, &asked);
        assert_eq!(live.unmounted, prefixes(&["/var", "/usr"]));
    }

    #[test]
    fn where_autofs_waits_nothing_is_mounted_until_something_is() {
        let asked = prefixes(&["/var", "/srv"]);
        let mut there = mounted(&["/srv", "/var/a", "/proc/b", "/var/a"]);
        for waiting in &mut there[..3] {
            waiting.fs_type = "autofs".into();
        }
        let fstab = mount::parse_fstab("d /srv nfs\nd /srv/below nfs\n");
        let found = points(&Root::live(), &fstab, &there, &asked);
        assert_eq!(found.all, prefixes(&["/srv", "/srv/below", "/var/a"]));
        assert_eq!(found.unmounted, prefixes(&["/srv", "/srv/below"]));
        let dir = tempfile::tempdir().unwrap();
        let top = beneath::open_root(dir.path()).unwrap();
        let places = found.places(&top, &asked);
        let paths: Vec<_> = places.iter().map(|place| place.path.path()).collect();
        let seen = ["/srv", "/var", "/var/a"].map(Path::new);
        assert_eq!(paths, seen, "nothing behind it is looked at");
    }

    #[test]
    fn what_is_mounted_while_a_run_is_at_work_shows_at_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let top = beneath::open_root(dir.path()).unwrap();
        let none = Place::of(&top, Path::new("/srv"));
        fs::create_dir(dir.path().join("srv")).unwrap();
        let points = Points {
            unmounted: prefixes(&["/srv"]),
            ..Points::default()
        };
        assert!(!none.or_new(&top, &points).is_unchanged(&top));
    }

    #[test]
    fn another_directory_in_the_same_place_is_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let top = beneath::open_root(dir.path()).unwrap();
        let srv = dir.path().join("srv");
        let none = Place::of(&top, Path::new("/srv"));
        fs::create_dir(&srv).unwrap();
        assert!(!none.is_unchanged(&top));
        let place = none.or_new(&top, &Points::default());
        assert!(place.is_unchanged(&top));
        fs::rename(&srv, dir.path().join("moved")).unwrap();
        assert!(!place.is_unchanged(&top));
        fs::create_dir(&srv).unwrap();
        assert!(!place.is_unchanged(&top));
        assert_eq!(place.clone().or_new(&top, &Points::default()), place);
        fs::remove_dir(&srv).unwrap();
        symlink("moved", &srv).unwrap();
        assert!(!place.is_unchanged(&top), "a link is not followed");
    }
}
