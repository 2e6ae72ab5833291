//! A directory tree copied from another one, in the same manner as from an archive.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{AtFlags, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, mknodat};
use nix::unistd::{linkat, symlinkat};

use super::{Looks, MOST, Tree, create, make_dir, sorted_names};
use crate::sys::fs::share;
use crate::sys::{beneath, xattr};
use crate::sysupdate::cancel::Cancel;

/// Copies all that is in `from` into the tree. What is mounted in it is refused.
///
/// # Errors
/// The error of the system with the path; when `cancel` says so.
pub(in crate::sysupdate) fn copy(from: &OwnedFd, tree: &Tree, cancel: &Cancel) -> io::Result<()> {
    tree.empty()?;
    let mut run = Run {
        from,
        tree,
        cancel,
        linked: BTreeMap::new(),
        dirs: BTreeMap::new(),
        count: 0,
    };
    let looks = looks_of(from, &fstat(from)?)?;
    run.dirs.insert(PathBuf::new(), looks);
    let mut pending = vec![PathBuf::new()];
    while let Some(dir) = pending.pop() {
        for name in sorted_names(&beneath::open_dir(from, &dir)?)? {
            let path = dir.join(name);
            let why = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
            if run.entry(&path).map_err(why)? {
                pending.push(path);
            }
        }
    }
    tree.finish(run.dirs)
}

struct Run<'a> {
    from: &'a OwnedFd,
    tree: &'a Tree,
    cancel: &'a Cancel,
    /// Files with several names, by device and inode: the name that was copied.
    linked: BTreeMap<(u64, u64), PathBuf>,
    dirs: BTreeMap<PathBuf, Looks>,
    count: usize,
}

impl Run<'_> {
    /// Copies one object; returns whether it is a directory.
    fn entry(&mut self, path: &Path) -> io::Result<bool> {
        self.cancel.check()?;
        self.count += 1;
        if self.count > MOST {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        let object = beneath::open_entry(self.from, path)?;
        let stat = fstat(&object)?;
        let kind = beneath::kind(&stat);
        let name = path.file_name().unwrap_or_default();
        let parent = self.tree.parent(path)?;
        let is_dir = kind == SFlag::S_IFDIR;
        if is_dir {
            make_dir(&parent, name)?;
            self.dirs.insert(path.to_owned(), looks_of(&object, &stat)?);
            return Ok(true);
        }
        if stat.st_nlink > 1 {
            let id = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.linked.get(&id) {
                let at = self.tree.parent(first)?;
                let first = first.file_name().unwrap_or_default();
                linkat(&at, first, &parent, name, AtFlags::empty())?;
                return Ok(false);
            }
            self.linked.insert(id, path.to_owned());
        }
        match kind {
            SFlag::S_IFREG => self.file(path, &parent, name)?,
            SFlag::S_IFLNK => {
                let text = readlinkat(&object, "")?;
                symlinkat(text.as_os_str(), &parent, name)?;
            }
            // a socket is of a program that runs
            SFlag::S_IFSOCK => return Ok(false),
            kind => mknodat(&parent, name, kind, Mode::S_IRUSR, stat.st_rdev)?,
        }
        self.tree.give(
            &parent,
            name,
            kind == SFlag::S_IFLNK,
            &looks_of(&object, &stat)?,
        )?;
        Ok(false)
    }

    /// Shares the blocks where the file system can, and keeps holes.
    fn file(&self, path: &Path, parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
        let mut from = beneath::open_file(self.from, path)?;
        let mut to = create(parent, name)?;
        let length = from.metadata()?.len();
        if share(&to, &from).is_ok() {
            return Ok(());
        }
        self.pieces(&mut from, &mut to, length)
    }

    /// Copies what is no hole of a file that has `length` bytes.
    fn pieces(&self, from: &mut File, to: &mut File, length: u64) -> io::Result<()> {
        // what is missing would be zeros
        let shorter = || {
            let text = "it became shorter while it was copied; try again when nothing writes to it";
            io::Error::new(io::ErrorKind::UnexpectedEof, text)
        };
        let mut at = 0;
        while at < length {
            self.cancel.check()?;
            let Some((start, end)) = data(from, at, length)? else {
                break;
            };
            from.seek(SeekFrom::Start(start))?;
            to.seek(SeekFrom::Start(start))?;
            let piece = (end - start).min(64 << 20);
            let copied = io::copy(&mut io::Read::take(&mut *from, piece), to)?;
            if copied == 0 {
                return Err(shorter());
            }
            at = start + copied;
        }
        match from.metadata()?.len() < length {
            true => Err(shorter()),
            false => to.set_len(length),
        }
    }
}

/// Where the next bytes that are no hole begin and end.
fn data(file: &File, at: u64, length: u64) -> io::Result<Option<(u64, u64)>> {
    use nix::unistd::{Whence, lseek};
    let offset = |at: u64| i64::try_from(at).map_err(io::Error::other);
    let start = match lseek(file.as_fd(), offset(at)?, Whence::SeekData) {
        Err(nix::errno::Errno::ENXIO) => return Ok(None),
        other => other?,
    };
    // what is behind the end came since
    if start as u64 >= length {
        return Ok(None);
    }
    let end = lseek(file.as_fd(), start, Whence::SeekHole)?;
    Ok(Some((start as u64, (end as u64).min(length))))
}

fn looks_of(object: &OwnedFd, stat: &FileStat) -> io::Result<Looks> {
    Ok(Looks {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        modified: (
            stat.st_mtime,
            u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        ),
        xattrs: xattr::all(object)?.into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_file_that_becomes_shorter_while_it_is_copied_is_an_error() {
        let file = || tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let top = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let top = beneath::open_root(top.path()).unwrap();
        let tree = Tree::new(top.try_clone().unwrap());
        let run = Run {
            from: &top,
            tree: &tree,
            cancel: &Cancel::default(),
            linked: BTreeMap::new(),
            dirs: BTreeMap::new(),
            count: 0,
        };
        let mut from = file();
        from.write_all_at(b"content", 0).unwrap();
        from.set_len(1 << 20).unwrap();
        let mut to = file();
        run.pieces(&mut from, &mut to, 1 << 20).unwrap();
        assert_eq!(to.metadata().unwrap().len(), 1 << 20);
        // one that becomes longer is copied as it was
        from.write_all_at(b"more", 3 << 20).unwrap();
        run.pieces(&mut from, &mut to, 1 << 20).unwrap();
        assert_eq!(to.metadata().unwrap().len(), 1 << 20);
        for left in [1_000_000, 7, 3, 0] {
            from.set_len(left).unwrap();
            let e = run.pieces(&mut from, &mut file(), 1 << 20).unwrap_err();
            assert_eq!(e.kind(), io::ErrorKind::UnexpectedEof, "{left}");
        }
    }
}
