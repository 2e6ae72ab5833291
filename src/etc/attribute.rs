//! What belongs to a directory besides what it holds, in parts that the kernel changes in one step each.
//!
//! A file is replaced as a whole, a directory cannot be. So that a merge that was cut off can be repeated, each part
//! here is either the old or the new one at any moment: then it is one that only one side changed, also the second
//! time.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;

use nix::fcntl::AtFlags;
use nix::unistd::{Gid, Uid, fchownat};

use super::entry::Entry;
use super::rules::{Attribute, decide_attribute};
use crate::sys::root::descriptor_path;
use crate::sys::xattr::{self, ACCESS_ACL, Xattrs};

/// A part, with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Owner(u32),
    Group(u32),
    /// The bits above the permissions: set-group-ID and sticky.
    Special(u32),
    /// The nine bits and the ACL that says more than they do. Setting such an ACL sets the bits, too.
    Access(u32, Option<Vec<u8>>),
    /// Another extended attribute, or that there is none of this name.
    Xattr(CString, Option<Vec<u8>>),
}

impl Part {
    /// What it is called.
    pub(super) fn name(&self) -> String {
        match self {
            Part::Owner(_) => "owner".into(),
            Part::Group(_) => "group".into(),
            Part::Special(_) | Part::Access(..) => "mode".into(),
            Part::Xattr(name, _) => name.to_string_lossy().into_owned(),
        }
    }

    /// Gives it to a directory, in one step.
    pub(super) fn set(&self, dir: &Entry) -> io::Result<()> {
        match self {
            Part::Owner(uid) => chown(dir, Some(*uid), None),
            Part::Group(gid) => chown(dir, None, Some(*gid)),
            Part::Special(bits) => chmod(dir, bits | (dir.mode() & 0o777)),
            Part::Access(_, Some(acl)) => xattr::set(dir, ACCESS_ACL, acl),
            // an ACL that says no more than the bits makes the kernel drop it and set the bits, in one step
            Part::Access(bits, None) if dir.xattrs()?.contains_key(ACCESS_ACL) => {
                xattr::set(dir, ACCESS_ACL, &plain_acl(*bits))
            }
            Part::Access(bits, None) => chmod(dir, bits | (dir.mode() & 0o7000)),
            Part::Xattr(name, Some(value)) => xattr::set(dir, name, value),
            Part::Xattr(name, None) => xattr::remove(dir, name),
        }
    }
}

/// The parts of a directory of `ours` that `theirs` gets, and the names of those that both changed. Without a
/// directory in `base`, theirs stay.
pub(super) fn merged(
    base: Option<&Entry>,
    ours: &Entry,
    theirs: &Entry,
) -> io::Result<(Vec<Part>, Vec<String>)> {
    let (ours, theirs) = (Parts::of(ours)?, Parts::of(theirs)?);
    let base = base.map(Parts::of).transpose()?;
    let (mut set, mut both) = (Vec::new(), Vec::new());
    for (part, before, after) in ours.beside(base.as_ref(), &theirs) {
        // "no base" equals neither side
        match decide_attribute(before.as_ref(), Some(&part), Some(&after)) {
            Attribute::Stay => {}
            Attribute::Set(_) => set.push(part),
            Attribute::BothChanged => both.push(part.name()),
        }
    }
    Ok((set, both))
}

struct Parts {
    uid: u32,
    gid: u32,
    mode: u32,
    acl: Option<Vec<u8>>,
    xattrs: Xattrs,
}

impl Parts {
    fn of(dir: &Entry) -> io::Result<Parts> {
        let mut xattrs = dir.xattrs()?;
        Ok(Parts {
            uid: dir.stat.st_uid,
            gid: dir.stat.st_gid,
            mode: dir.mode(),
            acl: xattrs.remove(ACCESS_ACL),
            xattrs,
        })
    }

    /// Each part, with the same one of a base and of theirs.
    fn beside(&self, base: Option<&Parts>, theirs: &Parts) -> Vec<(Part, Option<Part>, Part)> {
        let part = |of: &dyn Fn(&Parts) -> Part| (of(self), base.map(of), of(theirs));
        let mut parts = vec![
            part(&|p| Part::Owner(p.uid)),
            part(&|p| Part::Group(p.gid)),
            part(&|p| Part::Special(p.mode & 0o7000)),
            part(&|p| Part::Access(p.mode & 0o777, p.acl.clone())),
        ];
        let mut names: Vec<_> = self.xattrs.keys().chain(theirs.xattrs.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let xattr = |p: &Parts| Part::Xattr(name.clone(), p.xattrs.get(name).cloned());
            parts.push(part(&xattr));
        }
        parts
    }
}

/// Makes a new object be as `from` in everything but content and times.
pub(super) fn copy(from: &Entry, to: &Entry) -> io::Result<()> {
    // first the owner: changing it takes capabilities and set-user-ID away
    chown(to, Some(from.stat.st_uid), Some(from.stat.st_gid))?;
    let (wanted, there) = (from.xattrs()?, to.xattrs()?);
    for name in there.keys().filter(|n| !wanted.contains_key(*n)) {
        // a label that the kernel gave to a new object; there is no object without one then
        if name.as_c_str() != c"security.selinux" {
            xattr::remove(to, name)?;
        }
    }
    for (name, value) in wanted.iter().filter(|(n, v)| there.get(*n) != Some(v)) {
        xattr::set(to, name, value)?;
    }
    match from.is_link() {
        true => Ok(()),
        false => chmod(to, from.mode()),
    }
}

fn chmod(object: &Entry, mode: u32) -> io::Result<()> {
    fs::set_permissions(
        descriptor_path(object.as_fd()),
        fs::Permissions::from_mode(mode),
    )
}

fn chown(object: &Entry, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
    Ok(fchownat(object, c"", uid, gid, AtFlags::AT_EMPTY_PATH)?)
}

/// The nine bits as an ACL in the form of the kernel (`linux/posix_acl_xattr.h`): version 2, then tag, permissions
/// and an unused id for the owner, the group and the others.
fn plain_acl(bits: u32) -> Vec<u8> {
    let mut acl = 2u32.to_le_bytes().to_vec();
    for (tag, shift) in [(0x01u16, 6), (0x04, 3), (0x20, 0)] {
        acl.extend(tag.to_le_bytes());
        acl.extend((((bits >> shift) & 7) as u16).to_le_bytes());
        acl.extend(u32::MAX.to_le_bytes());
    }
    acl
}

/// Makes the attributes and entries of a directory durable.
pub(super) fn sync(dir: &Entry) -> io::Result<()> {
    File::open(descriptor_path(dir.as_fd()))?.sync_all()
}
