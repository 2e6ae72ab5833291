//! Directory trees: from an archive, or copied from a directory.
//!
//! Invariant: everything is made below the directory of the tree, with openat2(2) and without following a link: a name with `..`
//! is refused, the slash that one begins with is taken away, and a member whose way leads through a link of the archive is refused.
//! Hard links lead only to what is in the tree. Until all of it is there and has its owner only we can enter the tree, so nobody exchanges
//! anything.

mod acl;
mod copy;
mod map;
mod tar;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, BufRead};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, makedev, mkdirat, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat, linkat, symlinkat};

pub(super) use self::copy::copy;
use self::tar::{Kind, Member, Members};
use super::pipeline::Sink;
use super::sparse::SparseFile;
use crate::sys::root::descriptor_path;
use crate::sys::{beneath, out, xattr};

/// Of directories that no member stands for.
const DIR_MODE: u32 = 0o755;
/// Most members of a tree.
const MOST: usize = 4_000_000;
/// Most bytes that are remembered of the directories of a tree: some hundred thousand are fewer.
const MOST_REMEMBERED: usize = 64 << 20;

/// A directory that is filled.
#[derive(Debug)]
pub struct Tree {
    dir: OwnedFd,
    /// Whether it was told that an attribute is missing: once is enough for all of them.
    is_told: Cell<bool>,
    /// The same of an ACL that is of use only elsewhere.
    is_acl_told: Cell<bool>,
}

/// What an object is to be, besides its content.
#[derive(Debug)]
struct Looks {
    mode: u32,
    uid: u32,
    gid: u32,
    modified: (i64, u32),
    /// In the kernel's form.
    xattrs: Vec<(CString, Vec<u8>)>,
}

impl Tree {
    /// `dir` is empty, or holds what is not wanted any more, and nobody else can enter it.
    #[must_use]
    pub fn new(dir: OwnedFd) -> Tree {
        Tree {
            dir,
            is_told: Cell::new(false),
            is_acl_told: Cell::new(false),
        }
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &OwnedFd {
        &self.dir
    }

    /// Removes all that is in it. Nobody else can enter it then, also when it was complete once.
    fn empty(&self) -> io::Result<()> {
        if Uid::effective().is_root() {
            fchown(&self.dir, Some(Uid::effective()), Some(Gid::effective()))?;
        }
        fs::set_permissions(
            descriptor_path(self.dir.as_fd()),
            Permissions::from_mode(0o700),
        )?;
        for name in beneath::names(beneath::reopen(&self.dir)?)? {
            beneath::remove_all(&self.dir, name.as_ref())?;
        }
        Ok(())
    }

    fn unpack(&self, from: &mut dyn BufRead) -> io::Result<()> {
        let mut members = Members::new(from);
        // a directory gets its time and mode when all is in it
        let mut dirs = BTreeMap::new();
        let (mut count, mut remembered) = (0, 0);
        while let Some(member) = members.next()? {
            count += 1;
            if count > MOST {
                return Err(refused(&member.path, "there are too many members"));
            }
            let looks = self.looks(&member);
            if member.kind == Kind::Directory {
                // a name has a block of memory of its own, however short it is
                let xattrs = looks.xattrs.iter();
                let xattrs = xattrs.map(|(name, value)| {
                    size_of_val(name) + size_of_val(value) + name.count_bytes() + value.len()
                });
                remembered +=
                    size_of::<(PathBuf, Looks)>() + member.path.len() + xattrs.sum::<usize>();
            }
            if remembered > MOST_REMEMBERED {
                return Err(refused(&member.path, "there are too many directories"));
            }
            let path = below(&member.path)?;
            let why = |e: io::Error| io::Error::new(cause(&e), format!("{}: {e}", path.display()));
            let Some(name) = path.file_name() else {
                if member.kind != Kind::Directory {
                    return Err(refused(&member.path, "it has no name"));
                }
                dirs.insert(path, looks);
                continue;
            };
            let parent = self.parent(&path).map_err(why)?;
            clear(&parent, name, member.kind).map_err(why)?;
            if member.kind == Kind::Directory {
                make_dir(&parent, name).map_err(why)?;
                dirs.insert(path, looks);
                continue;
            }
            self.make(&parent, name, &member, &mut members)
                .map_err(why)?;
            if member.kind != Kind::HardLink {
                self.give(&parent, name, member.kind == Kind::Symlink, &looks)
                    .map_err(why)?;
            }
        }
        self.finish(dirs)
    }

    /// Gives the directories, by their paths, what they are to be. What is below is done before, for a mode may keep it from being
    /// reached by who is not root. The tree itself is the last: nobody enters it before.
    fn finish(&self, dirs: BTreeMap<PathBuf, Looks>) -> io::Result<()> {
        let has_top = dirs.contains_key(Path::new(""));
        for (path, looks) in dirs.into_iter().rev() {
            let (parent, name) = match path.file_name() {
                Some(name) => (self.parent(&path)?, name),
                None => (beneath::reopen(&self.dir)?, OsStr::new(".")),
            };
            self.give(&parent, name, false, &looks)?;
        }
        if !has_top {
            let mode = Permissions::from_mode(DIR_MODE);
            fs::set_permissions(descriptor_path(self.dir.as_fd()), mode)?;
        }
        Ok(())
    }

    /// The directory that `path` is in. Those that are missing are made.
    fn parent(&self, path: &Path) -> io::Result<OwnedFd> {
        let parent = path.parent().unwrap_or(Path::new(""));
        match beneath::open_dir(&self.dir, parent) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                beneath::make_dirs(&self.dir, parent, DIR_MODE)?;
                beneath::open_dir(&self.dir, parent)
            }
            other => other,
        }
    }

    fn make(
        &self,
        parent: &OwnedFd,
        name: &OsStr,
        member: &Member,
        members: &mut Members<'_>,
    ) -> io::Result<()> {
        let node = |kind: SFlag, device| mknodat(parent, name, kind, Mode::S_IRUSR, device);
        let device = makedev(member.device.0, member.device.1);
        match member.kind {
            Kind::File => {
                let mut file = SparseFile::new(create(parent, name)?);
                let content = &mut members.content();
                match &member.map {
                    Some(map) => file.take_pieces(content, &map.pieces, map.size)?,
                    None => file.take(content)?,
                }
                if file.file().metadata()?.len() != member.size {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Kind::HardLink => {
                let nothing = || refused(&member.link, "a hard link leads to no file before it");
                let target = below(&member.link)?;
                let target_name = target.file_name().ok_or_else(nothing)?;
                let at = target.parent().unwrap_or(Path::new(""));
                let at = match beneath::open_dir(&self.dir, at) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(nothing()),
                    other => other?,
                };
                match beneath::stat_at(&at, target_name) {
                    Ok(stat) if beneath::kind(&stat) == SFlag::S_IFDIR => return Err(nothing()),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(nothing()),
                    other => other?,
                };
                linkat(&at, target_name, parent, name, AtFlags::empty())?;
            }
            Kind::Symlink if member.link.is_empty() || member.link.contains(&0) => {
                return Err(refused(&member.path, "it is a link to no name"));
            }
            Kind::Symlink => symlinkat(OsStr::from_bytes(&member.link), parent, name)?,
            Kind::Character => node(SFlag::S_IFCHR, device)?,
            Kind::Block => node(SFlag::S_IFBLK, device)?,
            Kind::Fifo => node(SFlag::S_IFIFO, 0)?,
            Kind::Directory => make_dir(parent, name)?,
        }
        Ok(())
    }
}

impl Sink for Tree {
    fn take(&mut self, from: &mut dyn BufRead) -> io::Result<()> {
        self.empty()?;
        self.unpack(from)
    }
}

fn create(parent: &OwnedFd, name: &OsStr) -> io::Result<File> {
    let flags =
        OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    Ok(File::from(openat(parent, name, flags, mode)?))
}

/// Missing only: one that is there is gone on with.
fn make_dir(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match mkdirat(parent, name, Mode::S_IRWXU) {
        Err(Errno::EEXIST) => Ok(()),
        other => Ok(other?),
    }
}

/// Removes what an earlier member of this name has left, unless both are directories.
fn clear(parent: &OwnedFd, name: &OsStr, kind: Kind) -> io::Result<()> {
    match beneath::stat_at(parent, name) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
        Ok(stat) => match (
            beneath::kind(&stat) == SFlag::S_IFDIR,
            kind == Kind::Directory,
        ) {
            (true, true) => Ok(()),
            (true, false) => Err(refused(name.as_bytes(), "a directory has this name")),
            (false, _) => beneath::remove(parent, name.as_ref()),
        },
    }
}

fn refused(path: &[u8], why: &str) -> io::Error {
    let path = String::from_utf8_lossy(path).into_owned();
    let text = format!("the archive is refused because of {path:?}: {why}");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// What an error for a member comes from. In the tree there is only what the archive has, so that names of which one is in the way of
/// another, or which are too long, are its fault; what a file system cannot do is not.
fn cause(e: &io::Error) -> io::ErrorKind {
    match e.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOTDIR | Errno::ELOOP | Errno::ENAMETOOLONG) => io::ErrorKind::InvalidData,
        _ => e.kind(),
    }
}

/// The path of a member below the tree.
fn below(path: &[u8]) -> io::Result<PathBuf> {
    if path.contains(&0) {
        return Err(refused(path, "a name with a NUL byte"));
    }
    let mut below = PathBuf::new();
    for part in Path::new(OsStr::from_bytes(path)).components() {
        match part {
            Component::Normal(name) => below.push(name),
            Component::ParentDir => return Err(refused(path, "it leads upwards")),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Ok(below)
}

impl Looks {
    /// What it is until its ACL is set, which gives the group the bits of its mask: where none can be set it may do no more.
    fn bare_mode(&self) -> u32 {
        let mut xattrs = self.xattrs.iter();
        let acl = xattrs.find(|(name, _)| **name == *xattr::ACCESS_ACL);
        let group = acl.and_then(|(_, value)| acl::group(value));
        group.map_or(self.mode, |group| without_acl(self.mode, group))
    }
}

/// A mode of which the group may only do what it may without an ACL.
fn without_acl(mode: u32, group: u32) -> u32 {
    mode & (!0o070 | group << 3)
}

impl Tree {
    fn looks(&self, member: &Member) -> Looks {
        let (mut xattrs, mut mode) = (Vec::new(), member.mode);
        for (key, value) in &member.extra {
            let acl = || {
                let text = String::from_utf8_lossy(value);
                acl::to_xattr(&text).ok_or(acl::group_of_text(&text))
            };
            let found = match &key[..] {
                b"SCHILY.acl.access" => match acl() {
                    Ok(value) => Some((xattr::ACCESS_ACL.to_owned(), value)),
                    Err(group) => {
                        mode = without_acl(mode, group);
                        self.tell_of_acl(&member.path)
                    }
                },
                b"SCHILY.acl.default" => match acl() {
                    Ok(value) => Some((c"system.posix_acl_default".to_owned(), value)),
                    Err(_) => self.tell_of_acl(&member.path),
                },
                // the label as GNU tar has it without other attributes; these come later and count
                b"RHT.security.selinux" => Some((c"security.selinux".to_owned(), value.clone())),
                key => {
                    let name = key.strip_prefix(b"SCHILY.xattr.");
                    let name = name.and_then(|n| CString::new(n).ok());
                    name.map(|name| (name, value.clone()))
                }
            };
            xattrs.extend(found);
        }
        Looks {
            mode,
            uid: member.uid,
            gid: member.gid,
            modified: member.modified,
            xattrs,
        }
    }

    /// That it is there without it.
    fn tell_of_acl<T>(&self, path: &[u8]) -> Option<T> {
        if !self.is_acl_told.replace(true) {
            let path = String::from_utf8_lossy(path);
            out::warn(format_args!(
                "the ACL of {path:?}, and maybe of others, names somebody who is not known here, and is left out; in an archive with \
                numbers for names it is kept"
            ));
        }
        None
    }

    /// Gives an object that was just made its owner, attributes, mode and time, in the order in which none takes away another.
    fn give(&self, parent: &OwnedFd, name: &OsStr, is_link: bool, looks: &Looks) -> io::Result<()> {
        // others may not give anything away
        if Uid::effective().is_root() {
            let (uid, gid) = (Uid::from_raw(looks.uid), Gid::from_raw(looks.gid));
            fchownat(
                parent,
                name,
                Some(uid),
                Some(gid),
                AtFlags::AT_SYMLINK_NOFOLLOW,
            )?;
        }
        let object = beneath::open_entry(parent, name.as_ref())?;
        let is_acl = |name: &CString| name.to_bytes().starts_with(b"system.posix_acl_");
        let (acls, others): (Vec<_>, Vec<_>) =
            looks.xattrs.iter().partition(|(name, _)| is_acl(name));
        for (name, value) in others {
            self.set_xattr(&object, name, value)?;
        }
        if !is_link {
            let mode = Permissions::from_mode(looks.bare_mode() & 0o7777);
            fs::set_permissions(descriptor_path(object.as_fd()), mode)?;
            for (name, value) in acls {
                self.set_xattr(&object, name, value)?;
            }
        }
        let (seconds, nanos) = looks.modified;
        let time = TimeSpec::new(seconds, nanos.into());
        Ok(utimensat(
            parent,
            name,
            &time,
            &time,
            UtimensatFlags::NoFollowSymlink,
        )?)
    }

    /// Where there are none, or this one may not be set here, the file is there without it.
    fn set_xattr(&self, object: &OwnedFd, name: &CString, value: &[u8]) -> io::Result<()> {
        match xattr::set(object, name, value) {
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
                ) =>
            {
                if !self.is_told.replace(true) {
                    out::warn(format_args!(
                        "the attribute {name:?}, and maybe others, cannot be set: {e}"
                    ));
                }
                Ok(())
            }
            // none that the kernel knows, or none of this form
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => {
                let text = format!("the attribute {name:?} is not valid: {e}");
                Err(io::Error::new(io::ErrorKind::InvalidData, text))
            }
            other => other,
        }
    }
}

/// Names in a directory, in the order of their bytes.
fn sorted_names(dir: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = beneath::names(beneath::reopen(dir)?)?;
    names.sort_unstable();
    Ok(names)
}
