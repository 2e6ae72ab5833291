//! Paths inside trees that package scriptlets and service users can write.
//!
//! Invariant: nothing here follows a symbolic link or leaves the directory it was given: openat2(2) with
//! RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, then calls on descriptors. [`resolve`] is the one exception: it
//! reads, never writes, and follows links as a process chrooted there would.

use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, RenameFlags, ResolveFlag, open, openat2, renameat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat, mkdirat};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};

/// Opens a directory by a trusted path, as the start for the other calls.
///
/// # Errors
/// The error of open(2).
pub fn open_root(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(
        path,
        OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?)
}

/// Opens the directory `rel` below `dir`; an empty `rel` opens `dir` again.
///
/// # Errors
/// `ELOOP` for a symbolic link on the way, `EXDEV` for a way out, else the error of openat2(2).
pub fn open_dir(dir: impl AsFd, rel: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(
        dir,
        rel,
        flags,
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS,
    )
}

/// As [`open_dir`], but not through a mount.
///
/// # Errors
/// As there; `EXDEV` where something is mounted on the way.
pub fn open_unmounted(dir: impl AsFd, rel: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    openat(dir, rel, flags, resolve)
}

/// Opens what `rel` names below `dir`, of any type, as a place to mount something on.
///
/// # Errors
/// As [`open_dir`].
pub fn open_place(dir: impl AsFd, rel: &Path) -> io::Result<OwnedFd> {
    openat(
        dir,
        rel,
        OFlag::O_PATH | OFlag::O_CLOEXEC,
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS,
    )
}

/// Opens what `rel` names below `dir`, of any type and a symbolic link itself too, to look at it (`O_PATH`). Does
/// not enter what is mounted there.
///
/// # Errors
/// As [`open_dir`]; `EXDEV` also for a mount point.
pub fn open_entry(dir: impl AsFd, rel: &Path) -> io::Result<OwnedFd> {
    openat(
        dir,
        rel,
        OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
        ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_SYMLINKS
            | ResolveFlag::RESOLVE_NO_XDEV,
    )
}

/// Opens the regular file `rel` below `dir` for reading.
///
/// # Errors
/// As [`open_dir`], also for a link; `InvalidInput` for what is no regular file.
pub fn open_file(dir: impl AsFd, rel: &Path) -> io::Result<File> {
    // O_NONBLOCK: a FIFO is opened, and refused, instead of waited for
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let inside = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
    let file = File::from(openat(dir, rel, flags, inside)?);
    if !file.metadata()?.is_file() {
        let kind = io::ErrorKind::InvalidInput;
        return Err(io::Error::new(kind, "it is no regular file"));
    }
    Ok(file)
}

/// Opens the directory `name` in `dir`, one name and no path, as a place to go on from (`O_PATH`). Needs no openat2(2), which
/// kernels before 5.6 do not have: of a single name, `O_NOFOLLOW` refuses all that RESOLVE_NO_SYMLINKS does, and only `..`
/// leads out.
///
/// # Errors
/// `ENOTDIR` also for a symbolic link, `InvalidFilename` for what is no single name, else the error of openat(2).
pub fn step(dir: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    open_name(dir, name, OFlag::O_PATH)
}

/// As [`step`], to read the directory or to change what belongs to it.
///
/// # Errors
/// As there.
pub fn enter(dir: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    open_name(dir, name, OFlag::O_RDONLY)
}

fn open_name(dir: impl AsFd, name: &OsStr, how: OFlag) -> io::Result<OwnedFd> {
    if Path::new(name).file_name() != Some(name) {
        return Err(io::Error::from(io::ErrorKind::InvalidFilename));
    }
    let flags = how | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(nix::fcntl::openat(dir, name, flags, Mode::empty())?)
}

/// Opens an open directory once more, to read it.
///
/// # Errors
/// The error of openat(2).
pub fn reopen(dir: impl AsFd) -> io::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(nix::fcntl::openat(dir, ".", flags, Mode::empty())?)
}

/// Opens a file for reading as a process chrooted into `dir` would find it: links are followed inside `dir`.
///
/// # Errors
/// The error of openat2(2).
pub fn resolve(dir: impl AsFd, rel: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    openat(
        dir,
        rel,
        flags,
        ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS,
    )
}

/// The text of the symbolic link `rel`, which itself is not followed; the way to it is, as [`resolve`] does.
///
/// # Errors
/// The error of openat2(2); `InvalidInput` for what is no link.
pub fn read_link(dir: impl AsFd, rel: &Path) -> io::Result<PathBuf> {
    let name = rel
        .file_name()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
    let parent = resolve(dir, rel.parent().unwrap_or(Path::new("")))?;
    Ok(PathBuf::from(nix::fcntl::readlinkat(&parent, name)?))
}

fn openat(dir: impl AsFd, rel: &Path, flags: OFlag, resolve: ResolveFlag) -> io::Result<OwnedFd> {
    let rel = if rel.as_os_str().is_empty() {
        Path::new(".")
    } else {
        rel
    };
    let how = OpenHow::new().flags(flags).resolve(resolve);
    // EAGAIN: something was renamed meanwhile and the kernel could not prove that the way stays inside
    for _ in 0..16 {
        match openat2(dir.as_fd(), rel, how) {
            Err(Errno::EAGAIN) => {}
            other => return Ok(other?),
        }
    }
    Err(Errno::EAGAIN.into())
}

/// Makes the directory `rel` below `dir`, and those above it, with `mode` for the new ones; returns the ones
/// that were made, outermost first.
///
/// # Errors
/// As [`open_dir`] and mkdirat(2); what was made before stays.
pub fn make_dirs(dir: impl AsFd, rel: &Path, mode: u32) -> io::Result<Vec<PathBuf>> {
    let mut made = Vec::new();
    let mut parent = open_dir(dir.as_fd(), Path::new(""))?;
    let mut so_far = PathBuf::new();
    for name in rel.iter() {
        so_far.push(name);
        match mkdirat(&parent, name, Mode::from_bits_truncate(mode)) {
            Ok(()) => made.push(so_far.clone()),
            Err(Errno::EEXIST) => {}
            Err(e) => return Err(e.into()),
        }
        parent = open_dir(&parent, Path::new(name))?;
    }
    Ok(made)
}

/// Whether [`make_dirs`] could make `rel` below `dir`, as far as what is there tells that.
///
/// # Errors
/// What is in the way: ELOOP for a link, ENOTDIR for what is no directory.
pub fn can_make_dirs(dir: impl AsFd, rel: &Path) -> io::Result<()> {
    for above in rel.ancestors() {
        match open_dir(dir.as_fd(), above) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            other => return other.map(drop),
        }
    }
    Ok(())
}

/// Makes an empty file `rel` below `dir` when nothing is there; returns whether it made one.
///
/// # Errors
/// As [`open_dir`] and openat(2).
pub fn make_file(dir: impl AsFd, rel: &Path) -> io::Result<bool> {
    let parent = open_dir(dir, rel.parent().unwrap_or(Path::new("")))?;
    let name = rel
        .file_name()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
    let flags =
        OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match nix::fcntl::openat(&parent, name, flags, Mode::from_bits_truncate(0o600)) {
        Ok(_) => Ok(true),
        Err(Errno::EEXIST) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Makes the symbolic link `rel` to `target` below `dir` when nothing is there; returns whether it made one.
///
/// # Errors
/// As [`open_dir`] and symlinkat(2).
pub fn make_link(dir: impl AsFd, rel: &Path, target: &Path) -> io::Result<bool> {
    let parent = open_dir(dir, rel.parent().unwrap_or(Path::new("")))?;
    let name = rel
        .file_name()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
    match symlinkat(target, &parent, name) {
        Ok(()) => Ok(true),
        Err(Errno::EEXIST) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Sets the times of the directory `rel` below `dir` to now.
///
/// # Errors
/// As [`open_dir`] and futimens(3).
pub fn touch(dir: impl AsFd, rel: &Path) -> io::Result<()> {
    let dir = open_dir(dir, rel)?;
    Ok(nix::sys::stat::futimens(
        &dir,
        &TimeSpec::UTIME_NOW,
        &TimeSpec::UTIME_NOW,
    )?)
}

/// Reads the first `limit` bytes of a file as [`resolve`] finds it; `None` when it is not there.
///
/// # Errors
/// When it is there and cannot be read.
pub fn read(dir: impl AsFd, rel: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    match resolve(dir, rel) {
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(e) => Err(e),
        Ok(fd) => {
            let mut bytes = Vec::new();
            File::from(fd).take(limit).read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        }
    }
}

/// Replaces what is in the regular file `rel` below `dir`, which keeps everything else. Not atomic, and not durable.
///
/// # Errors
/// As [`open_dir`], also for a link; `InvalidInput` for what is no regular file.
pub fn overwrite(dir: impl AsFd, rel: &Path, bytes: &[u8]) -> io::Result<()> {
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let inside = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
    let mut file = File::from(openat(dir, rel, flags, inside)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    file.set_len(0)?;
    file.write_all(bytes)
}

/// Moves `from` to `to`, both below `dir`; what is there already is replaced.
///
/// # Errors
/// As [`open_dir`] and renameat(2).
pub fn rename(dir: impl AsFd, from: &Path, to: &Path) -> io::Result<()> {
    rename_by(dir, from, to, RenameFlags::empty())
}

/// The same, but it fails when something is there already.
///
/// # Errors
/// As [`rename`].
pub fn rename_new(dir: impl AsFd, from: &Path, to: &Path) -> io::Result<()> {
    rename_by(dir, from, to, RenameFlags::RENAME_NOREPLACE)
}

fn rename_by(dir: impl AsFd, from: &Path, to: &Path, how: RenameFlags) -> io::Result<()> {
    let parent = |path: &Path| open_dir(&dir, path.parent().unwrap_or(Path::new("")));
    let name = |path: &Path| path.file_name().map(OsStr::to_owned).unwrap_or_default();
    let (from_dir, to_dir) = (parent(from)?, parent(to)?);
    let names = (name(from), name(to));
    Ok(renameat2(
        from_dir,
        names.0.as_os_str(),
        to_dir,
        names.1.as_os_str(),
        how,
    )?)
}

/// Removes the empty directory or the file `rel` below `dir`. Missing already is fine, and a directory that
/// is no longer empty stays.
///
/// # Errors
/// As [`open_dir`] and unlinkat(2).
pub fn remove(dir: impl AsFd, rel: &Path) -> io::Result<()> {
    let Some((parent, name, is_dir)) = to_remove(dir, rel)? else {
        return Ok(());
    };
    let flag = if is_dir {
        UnlinkatFlags::RemoveDir
    } else {
        UnlinkatFlags::NoRemoveDir
    };
    match unlinkat(&parent, name, flag) {
        Ok(()) | Err(Errno::ENOENT | Errno::ENOTEMPTY | Errno::EEXIST) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// The open directory that `rel` is in, its name there, and whether it is a directory; `None` when it is missing.
fn to_remove(dir: impl AsFd, rel: &Path) -> io::Result<Option<(OwnedFd, &OsStr, bool)>> {
    let parent = match open_dir(dir, rel.parent().unwrap_or(Path::new(""))) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let name = rel
        .file_name()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
    match stat_at(&parent, name) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        other => {
            let is_dir = kind(&other?) == SFlag::S_IFDIR;
            Ok(Some((parent, name, is_dir)))
        }
    }
}

/// Removes `rel` below `dir` and, of a directory, everything in it. Missing already is fine. What is mounted
/// there is not entered and makes it fail; a nested subvolume that is empty in the end is removed.
///
/// # Errors
/// As [`open_dir`] and unlinkat(2); what was removed before stays removed.
pub fn remove_all(dir: impl AsFd, rel: &Path) -> io::Result<()> {
    let Some((parent, name, is_dir)) = to_remove(dir, rel)? else {
        return Ok(());
    };
    if !is_dir {
        return unlink(&parent, name, false);
    }
    // paths instead of open directories: however deep it is, few descriptors are open
    let mut pending = vec![PathBuf::from(name)];
    let mut moved = 0;
    while let Some(path) = pending.last().cloned() {
        let subdirs = remove_files(&parent, &path)?;
        if subdirs.is_empty() {
            // by the directory that it is in: a path would lead through a link that takes the place of one above it
            let above = open_dir(&parent, path.parent().unwrap_or(Path::new("")))?;
            unlink(above, path.file_name().unwrap_or_default(), true)?;
            pending.pop();
        }
        for subdir in subdirs {
            // a path that became too long for the kernel could not be removed: what is deep is moved up before
            if subdir.as_os_str().len() < LONG {
                pending.push(subdir);
            } else {
                moved += 1;
                move_up(&parent, &subdir, &pending[0], moved)?;
            }
        }
    }
    Ok(())
}

/// Bytes of a path after which [`remove_all`] goes on from the top.
const LONG: usize = 2048;

/// Moves the directory `rel` to the top of the tree that is being removed.
fn move_up(dir: &OwnedFd, rel: &Path, top: &Path, number: u32) -> io::Result<()> {
    let from = open_dir(dir, rel.parent().unwrap_or(Path::new("")))?;
    let name = rel.file_name().unwrap_or_default();
    let to = open_dir(dir, top)?;
    let flags = RenameFlags::RENAME_NOREPLACE;
    Ok(renameat2(
        from,
        name,
        to,
        format!(".deep.{number}").as_str(),
        flags,
    )?)
}

/// Removes what is no directory from the directory `rel`; returns the paths of the directories in it.
fn remove_files(dir: &OwnedFd, rel: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = open_unmounted(dir, rel)?;
    let mut subdirs = Vec::new();
    for name in names(entries.try_clone()?)? {
        match stat_at(&entries, &name) {
            Ok(stat) if kind(&stat) == SFlag::S_IFDIR => subdirs.push(rel.join(name)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Ok(_) => unlink(&entries, &name, false)?,
            Err(e) => return Err(e),
        }
    }
    Ok(subdirs)
}

fn unlink(dir: impl AsFd, name: &OsStr, is_dir: bool) -> io::Result<()> {
    let flag = match is_dir {
        true => UnlinkatFlags::RemoveDir,
        false => UnlinkatFlags::NoRemoveDir,
    };
    match unlinkat(dir, name, flag) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// The names in an open directory, without `.` and `..`.
///
/// # Errors
/// The error of getdents(2); `FileTooLarge` when there are so many that they would take the memory of the machine.
pub fn names(dir: OwnedFd) -> io::Result<Vec<OsString>> {
    const MOST: usize = 1_000_000;
    let mut found = Vec::new();
    for entry in Dir::from_fd(dir)?.iter() {
        let entry = entry?;
        if !is_dots(entry.file_name()) {
            found.push(OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
        }
        if found.len() > MOST {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("more than {MOST} entries in a directory"),
            ));
        }
    }
    Ok(found)
}

/// The names in the directory `rel` below `dir`; none when it is missing or no directory.
///
/// # Errors
/// As [`open_dir`] and [`names`].
pub fn names_below(dir: impl AsFd, rel: &Path) -> io::Result<Vec<OsString>> {
    match open_dir(dir, rel) {
        Err(e) if is_no_directory(&e) => Ok(Vec::new()),
        other => names(other?),
    }
}

/// lstat(2) of one name in an open directory.
///
/// # Errors
/// The error of fstatat(2).
pub fn stat_at(dir: impl AsFd, name: &OsStr) -> io::Result<FileStat> {
    Ok(fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)?)
}

/// File type bits of a stat result.
#[must_use]
pub fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

/// Calls `visit` with the path (relative to `dir`) and the lstat(2) result of everything below `dir/rel`, a
/// directory before what it holds. Other file systems and subvolumes are named but not entered. A `rel` that
/// is missing, a link or a file has nothing below it. Stops with an error after `limit` entries, so that no tree,
/// however large, takes the memory of the machine.
///
/// # Errors
/// As [`open_dir`], and `FileTooLarge` at the limit.
pub fn walk(
    dir: impl AsFd,
    rel: &Path,
    limit: usize,
    visit: &mut dyn FnMut(&Path, &FileStat),
) -> io::Result<()> {
    let start = match open_dir(dir.as_fd(), rel) {
        Err(e) if is_no_directory(&e) => return Ok(()),
        other => other?,
    };
    let device = nix::sys::stat::fstat(&start)?.st_dev;
    let mut pending = vec![rel.to_owned()];
    let mut left = limit;
    while let Some(path) = pending.pop() {
        let mut entries = Dir::from_fd(open_dir(dir.as_fd(), &path)?)?;
        let mut found = Vec::new();
        for entry in entries.iter() {
            let entry = entry?;
            if !is_dots(entry.file_name()) {
                found.push(OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
            }
            left = left.checked_sub(1).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    format!("more than {limit} entries below {}", rel.display()),
                )
            })?;
        }
        for name in found {
            let stat = stat_at(&entries, &name)?;
            let child = path.join(&name);
            visit(&child, &stat);
            if kind(&stat) == SFlag::S_IFDIR && stat.st_dev == device {
                pending.push(child);
            }
        }
    }
    Ok(())
}

/// Whether [`open_dir`] failed because there is no directory: nothing, or something else.
#[must_use]
pub fn is_no_directory(e: &io::Error) -> bool {
    let kinds = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
    kinds.contains(&e.kind()) || e.raw_os_error() == Some(Errno::ELOOP as i32)
}

fn is_dots(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

#[cfg(test)]
mod tests;
