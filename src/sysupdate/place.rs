//! Where the directories of transfers are.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::boot_partition;
use super::definition::{Base, Place, Transfer};
use super::directory;
use super::gpt::{Disk, NoDisk};
use super::instance::Resource;
use crate::sys::{Root, beneath, root};

/// Directories that somebody named; the boot partitions are mounted there. Where nobody did, bootctl(1) shows where to look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bases {
    /// The EFI system partition (`SYSTEMD_ESP_PATH`).
    pub esp: Option<PathBuf>,
    /// The extended boot loader partition (`SYSTEMD_XBOOTLDR_PATH`).
    pub xbootldr: Option<PathBuf>,
    /// Of `PathRelativeTo=explicit`, on the running system (`--transfer-source`).
    pub explicit: Option<PathBuf>,
    /// The disk of the system, when that is in an image (`--image`), on the running system.
    pub image: Option<PathBuf>,
    /// The number of the partition of it that the system is mounted from.
    pub image_root: Option<u32>,
}

/// Why a directory of a transfer is not known.
#[derive(Debug)]
pub enum Unknown {
    /// That partition is mounted nowhere.
    Boot,
    /// A link is on the way in a boot partition.
    Linked(PathBuf),
    /// Nobody says what an explicit path is relative to.
    Explicit,
    /// It cannot be read.
    Unreadable(PathBuf, io::Error),
    /// It is missing, and cannot be made.
    NotMade(PathBuf, io::Error),
    /// It is a disk, which has no directories.
    Disk,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unknown::Boot => f.write_str(
                "Failed to resolve $BOOT: Required key not available\nNo boot partition is mounted; SYSTEMD_ESP_PATH or SYSTEMD_XBOOTLDR_PATH can say where it is.",
            ),
            Unknown::Linked(path) => write!(f, "{}: a symbolic link is on the way, which is not followed in a boot partition", path.display()),
            Unknown::Explicit => f.write_str("PathRelativeTo=explicit requires --transfer-source= to be specified."),
            Unknown::Unreadable(path, e) => write!(f, "{} cannot be read: {e}", path.display()),
            Unknown::NotMade(path, e) => write!(f, "{} cannot be made: {e}", path.display()),
            Unknown::Disk => f.write_str("partitions of a disk are in no directory"),
        }
    }
}

impl std::error::Error for Unknown {}

/// A directory of a transfer.
#[derive(Debug)]
pub struct Directory {
    /// Its path, with that of the root.
    pub path: PathBuf,
    /// The directory; `None` when there is none.
    pub dir: Option<OwnedFd>,
}

impl Bases {
    /// Opens the directory that `place` is in the system at `root`.
    ///
    /// # Errors
    /// When it is not known where it is, or it cannot be read.
    pub fn open(&self, root: &Root, place: &Place) -> Result<Directory, Unknown> {
        let Some(boot) = self.boot(root, place.base)? else {
            let (root, path) = self.find(root, place)?;
            return open(&root, path);
        };
        let found = open(root, boot)?;
        let rel = root::relative(&place.path);
        let path = found.path.join(&rel);
        let Some(mounted) = found.dir else {
            return Ok(Directory { path, dir: None });
        };
        // what is there others may have written, on any machine
        let dir = match beneath::open_dir(mounted, &rel) {
            Ok(dir) => Some(dir),
            Err(e) if e.raw_os_error() == Some(Errno::ELOOP as i32) => {
                return Err(Unknown::Linked(path));
            }
            Err(e) if beneath::is_no_directory(&e) => None,
            Err(e) => return Err(Unknown::Unreadable(path, e)),
        };
        Ok(Directory { path, dir })
    }

    /// Where the boot partition of this name is; `None` when the name is of none.
    fn boot(&self, root: &Root, base: Base) -> Result<Option<PathBuf>, Unknown> {
        if matches!(base, Base::Root | Base::Explicit) {
            return Ok(None);
        }
        let [esp, xbootldr] = self.boot_partitions(root)?;
        let found = match base {
            Base::Esp => esp,
            Base::Xbootldr => xbootldr,
            _ => xbootldr.or(esp),
        };
        found.map(Some).ok_or(Unknown::Boot)
    }

    /// Where the EFI system partition and the extended boot loader partition are.
    fn boot_partitions(&self, root: &Root) -> Result<[Option<PathBuf>; 2], Unknown> {
        let named = [self.esp.clone(), self.xbootldr.clone()];
        if named.iter().all(Option::is_some) {
            return Ok(named);
        }
        let found = boot_partition::find(root);
        let [esp, xbootldr] = found.map_err(|e| Unknown::Unreadable(root.path().to_owned(), e))?;
        let [named_esp, named_xbootldr] = named;
        // one place is not both
        let other = xbootldr.filter(|place| {
            named_esp.as_ref().map(|p| root::relative(p)) != Some(root::relative(place))
        });
        Ok([named_esp.or(esp), named_xbootldr.or(other)])
    }

    /// As [`Bases::open`], but it is made, with the directories above it, when there is none; durably when `is_durable`.
    ///
    /// # Errors
    /// As [`Bases::open`], and when it cannot be made.
    pub fn make(&self, root: &Root, place: &Place, is_durable: bool) -> Result<Directory, Unknown> {
        let found = self.open(root, place)?;
        if found.dir.is_some() {
            return Ok(found);
        }
        let (top, path) = self.above(root, place)?;
        let make = || {
            for made in beneath::make_dirs(&top, &path, 0o755)? {
                if is_durable {
                    let above = made.parent().unwrap_or(Path::new(""));
                    File::from(beneath::open_dir(&top, above)?).sync_all()?;
                }
            }
            beneath::open_dir(&top, &path)
        };
        match make() {
            Ok(dir) => Ok(Directory {
                path: found.path,
                dir: Some(dir),
            }),
            Err(e) => Err(Unknown::NotMade(found.path, e)),
        }
    }

    /// Whether [`Bases::make`] could make it, as far as what is there tells that.
    ///
    /// # Errors
    /// As [`Bases::make`].
    pub fn can_make(&self, root: &Root, place: &Place) -> Result<(), Unknown> {
        let (top, path) = self.above(root, place)?;
        let not_made = |e| Unknown::NotMade(root.join(&place.path), e);
        beneath::can_make_dirs(top, &path).map_err(not_made)
    }

    /// A directory on the way to a place, with all that is missing below it. Links lead to it, as to a place that is there: not in a boot
    /// partition.
    fn above(&self, root: &Root, place: &Place) -> Result<(OwnedFd, PathBuf), Unknown> {
        if let Some(boot) = self.boot(root, place.base)?
            && let Some(mounted) = open(root, boot)?.dir
        {
            return Ok((mounted, root::relative(&place.path)));
        }
        let (root, path) = self.find(root, place)?;
        for above in path.ancestors() {
            if let Some(dir) = open(&root, above.to_owned())?.dir {
                let below = path.strip_prefix(above).unwrap_or(&path);
                return Ok((dir, below.to_owned()));
            }
        }
        let missing = io::Error::from(ErrorKind::NotFound);
        Err(Unknown::Unreadable(root.path().to_owned(), missing))
    }

    /// The root that a place is in, and where it is there.
    fn find(&self, root: &Root, place: &Place) -> Result<(Root, PathBuf), Unknown> {
        let rel = root::relative(&place.path);
        if let Some(boot) = self.boot(root, place.base)? {
            return Ok((root.clone(), root::relative(&boot).join(rel)));
        }
        Ok(match place.base {
            Base::Explicit => {
                let dir = self.explicit.as_ref().ok_or(Unknown::Explicit)?;
                (Root::live(), dir.join(rel))
            }
            _ => (root.clone(), rel),
        })
    }
}

/// A system whose targets are looked at or changed.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'g> {
    /// The system.
    pub root: &'g Root,
    /// Where directories are.
    pub bases: &'g Bases,
    /// Whether each step is on disk before the next.
    pub is_durable: bool,
}

/// The place of the link of a transfer.
#[derive(Debug)]
pub struct LinkPlace {
    /// An open directory above it.
    pub dir: OwnedFd,
    /// Where it is below that.
    pub path: PathBuf,
    /// Its path, with that of the root.
    pub shown: PathBuf,
}

impl Ground<'_> {
    /// The directory that a transfer writes to.
    ///
    /// # Errors
    /// As [`Bases::open`].
    pub fn open(&self, transfer: &Transfer) -> Result<Directory, Unknown> {
        match &transfer.target.place {
            Some(place) => self.bases.open(self.root, place),
            None => Err(Unknown::Disk),
        }
    }

    /// The same, made when it is missing.
    ///
    /// # Errors
    /// As [`Bases::make`].
    pub fn make(&self, transfer: &Transfer) -> Result<Directory, Unknown> {
        match &transfer.target.place {
            Some(place) => self.bases.make(self.root, place, self.is_durable),
            None => Err(Unknown::Disk),
        }
    }

    /// The disk whose partitions a transfer writes: the one that is named, or that the root directory is on.
    ///
    /// # Errors
    /// As [`Disk::open`].
    pub fn disk(&self, transfer: &Transfer, writable: bool) -> Result<Disk, NoDisk> {
        let named = transfer.target.place.as_ref().map(|place| &*place.path);
        let path = named.unwrap_or(Path::new(root::INSIDE));
        match &self.bases.image {
            // every directory of it is on this disk
            Some(image) if self.root.join(path).is_dir() => {
                let disk = Disk::open(&Root::live(), image, writable)?;
                Ok(disk.with_mounted(self.bases.image_root))
            }
            _ if named.is_none() => Disk::of_root(self.root, writable),
            _ => Disk::open(self.root, path, writable),
        }
    }

    /// The place of the link that a transfer keeps; `None` when it keeps none, or when that has no directory.
    ///
    /// # Errors
    /// When it is not known where it is.
    pub fn link(&self, transfer: &Transfer) -> Result<Option<LinkPlace>, Unknown> {
        let target = &transfer.target;
        let Some(link) = &target.current_symlink else {
            return Ok(None);
        };
        if link.is_absolute() {
            let root = self.root.path();
            let unreadable = |e| Unknown::Unreadable(root.to_owned(), e);
            return Ok(Some(LinkPlace {
                dir: beneath::open_root(root).map_err(unreadable)?,
                path: root::relative(link),
                shown: self.root.join(link),
            }));
        }
        let found = self.open(transfer)?;
        Ok(found.dir.map(|dir| LinkPlace {
            dir,
            path: link.clone(),
            shown: found.path.join(link),
        }))
    }

    /// The instance that the link of a transfer shows to: its number in the target.
    ///
    /// # Errors
    /// When the link is there and cannot be read.
    pub fn linked(&self, resource: &Resource<'_>) -> Result<Option<usize>, Unknown> {
        let Some(to) = self.shown_to(resource.transfer)? else {
            return Ok(None);
        };
        let mut all = resource.target.iter();
        Ok(all.position(|instance| Path::new(&instance.shown) == to))
    }

    /// What the link of a transfer shows to, whatever that is: a path, with that of the root.
    ///
    /// # Errors
    /// When the link is there and cannot be read.
    pub fn shown_to(&self, transfer: &Transfer) -> Result<Option<PathBuf>, Unknown> {
        let Some(link) = self.link(transfer)? else {
            return Ok(None);
        };
        let text = match beneath::read_link(&link.dir, &link.path) {
            // there is none, or something else
            Err(e) if beneath::is_no_directory(&e) || e.kind() == ErrorKind::InvalidInput => {
                return Ok(None);
            }
            other => other.map_err(|e| Unknown::Unreadable(link.shown.clone(), e))?,
        };
        Ok(Some(match text.is_absolute() {
            true => self.root.join(&text),
            false => root::inside(&link.shown.parent().unwrap_or(Path::new("")).join(&text)),
        }))
    }
}

fn open(root: &Root, path: PathBuf) -> Result<Directory, Unknown> {
    let shown = root.join(&path);
    match directory::open(root, &path) {
        Ok(dir) => Ok(Directory { path: shown, dir }),
        Err(e) => Err(Unknown::Unreadable(shown, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_below_what_it_is_relative_to() {
        let tmp = tempfile::tempdir().unwrap();
        for dir in ["efi/EFI", "xboot/EFI", "EFI", "src/EFI"] {
            std::fs::create_dir_all(tmp.path().join(dir)).unwrap();
        }
        let root = Root::at(tmp.path()).unwrap();
        let bases = Bases {
            esp: Some("/efi".into()),
            xbootldr: None,
            explicit: Some(root.join("src")),
            ..Bases::default()
        };
        let path = |bases: &Bases, base| {
            let place = Place {
                path: "/EFI".into(),
                base,
            };
            let found = bases.open(&root, &place).map_err(|e| e.to_string())?;
            assert!(found.dir.is_some());
            Ok::<_, String>(
                found
                    .path
                    .strip_prefix(root.path())
                    .unwrap()
                    .display()
                    .to_string(),
            )
        };
        assert_eq!(path(&bases, Base::Root).unwrap(), "EFI");
        assert_eq!(path(&bases, Base::Esp).unwrap(), "efi/EFI");
        assert_eq!(path(&bases, Base::Boot).unwrap(), "efi/EFI");
        assert_eq!(path(&bases, Base::Explicit).unwrap(), "src/EFI");
        assert!(
            path(&bases, Base::Xbootldr)
                .unwrap_err()
                .starts_with("Failed to resolve $BOOT: Required key not available")
        );
        let both = Bases {
            xbootldr: Some("/xboot".into()),
            ..bases
        };
        assert_eq!(path(&both, Base::Boot).unwrap(), "xboot/EFI");
        assert_eq!(
            path(&Bases::default(), Base::Explicit).unwrap_err(),
            "PathRelativeTo=explicit requires --transfer-source= to be specified."
        );
    }

    #[test]
    fn no_link_is_followed_in_a_boot_partition_and_it_may_be_behind_one() {
        let tmp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(tmp.path().join("esp/EFI/Linux")).unwrap();
        std::fs::create_dir_all(tmp.path().join("elsewhere")).unwrap();
        let link = |to: &str, at: &str| {
            std::os::unix::fs::symlink(to, tmp.path().join(at)).unwrap();
        };
        link("esp", "efi");
        link("../../elsewhere", "esp/EFI/away");
        link("Linux", "esp/EFI/beside");
        let root = Root::at(tmp.path()).unwrap();
        let bases = Bases {
            esp: Some("/efi".into()),
            ..Bases::default()
        };
        let open = |path: &str| {
            let place = Place {
                path: path.into(),
                base: Base::Esp,
            };
            let found = bases.open(&root, &place);
            found.map(|f| f.dir.is_some()).map_err(|e| e.to_string())
        };
        assert_eq!(open("/EFI/Linux"), Ok(true));
        assert_eq!(open("/EFI/none"), Ok(false));
        for path in ["/EFI/away", "/EFI/beside"] {
            assert!(
                open(path)
                    .unwrap_err()
                    .contains("a symbolic link is on the way"),
                "{path}"
            );
        }
    }
}
