//! Removing instances from the directories of targets.
//!
//! Everything is on descriptors, and no link is followed: whoever may write there can exchange anything at any time.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use super::directory::{LEFT_OVER, PARTIAL};
use crate::sys::{attr, beneath, failpoint, subvolume};

/// Removes `path` below the directory of a target with all that is in it, and the directories above it that are empty then. What
/// keeps even root from changing it is taken away before, also from subvolumes in it. Durable when `is_synced`.
///
/// # Errors
/// When something cannot be removed, or something is mounted there; what was removed before stays removed.
pub fn remove(target: BorrowedFd<'_>, path: &Path, is_synced: bool) -> io::Result<()> {
    whole(target, path)?;
    failpoint::hit("sysupdate-instance-removed")?;
    let mut above = path.parent();
    while let Some(dir) = above {
        match is_synced.then(|| sync(target, dir)) {
            // it went with something else
            Some(Err(e)) if e.kind() == io::ErrorKind::NotFound => {
                above = dir.parent();
                continue;
            }
            Some(Err(e)) => return Err(e),
            _ => {}
        }
        let is_top = dir.as_os_str().is_empty();
        if is_top || !beneath::names_below(target, dir)?.is_empty() {
            break;
        }
        beneath::remove(target, dir)?;
        above = dir.parent();
    }
    Ok(())
}

/// Removes `path` below `dir` with all that is in it, whatever keeps even root from changing it. Missing already is fine.
///
/// # Errors
/// As [`remove`].
pub(super) fn whole(dir: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    match beneath::open_entry(dir, path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        // it goes, so that the flags are not put back
        Ok(entry) => attr::lift(entry.as_fd()).map(drop)?,
        Err(e) => return Err(e),
    }
    match beneath::remove_all(dir, path) {
        Err(e) if e.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            subvolume::make_all_writable(dir, path)?;
            beneath::remove_all(dir, path)
        }
        other => other,
    }
}

fn sync(target: BorrowedFd<'_>, dir: &Path) -> io::Result<()> {
    Ok(nix::unistd::fsync(beneath::open_dir(target, dir)?)?)
}

/// What was begun and left in the directory of a target, by this program or by systemd: names of entries.
///
/// # Errors
/// When the directory cannot be read.
pub fn left_overs(target: BorrowedFd<'_>) -> io::Result<Vec<PathBuf>> {
    let names = beneath::names(beneath::reopen(target)?)?;
    let is_one = |name: &&str| name.starts_with(LEFT_OVER) || name.starts_with(PARTIAL);
    let mut found: Vec<PathBuf> = names
        .iter()
        .filter_map(|n| n.to_str())
        .filter(is_one)
        .map(PathBuf::from)
        .collect();
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn an_instance_goes_with_all_that_is_in_it_and_the_empty_directories_above_it() {
        let tmp = tempfile::tempdir().unwrap();
        let at = |path: &str| tmp.path().join(path);
        fs::create_dir_all(at("t/os_1/sub/deep")).unwrap();
        fs::create_dir_all(at("t/a/b")).unwrap();
        fs::create_dir_all(at("t/c")).unwrap();
        fs::create_dir_all(at("kept")).unwrap();
        for file in [
            "t/os_1/sub/x",
            "t/a/b/os_2",
            "t/c/os_3",
            "t/c/other",
            "kept/x",
        ] {
            fs::write(at(file), "x").unwrap();
        }
        symlink("../../kept", at("t/os_1/link")).unwrap();
        symlink("../kept", at("t/linked")).unwrap();
        let target = beneath::open_root(&at("t")).unwrap();
        for path in ["os_1", "a/b/os_2", "c/os_3", "none", "none/os_4", "linked"] {
            for is_synced in [true, false] {
                remove(target.as_fd(), Path::new(path), is_synced).unwrap();
            }
        }
        let mut left = beneath::names(target).unwrap();
        left.sort();
        assert_eq!(left, ["c"]);
        assert!(at("t/c/other").exists() && at("kept/x").exists());
    }

    #[test]
    fn nothing_is_removed_through_a_link() {
        let tmp = tempfile::tempdir().unwrap();
        fs::create_dir_all(tmp.path().join("t")).unwrap();
        fs::create_dir_all(tmp.path().join("kept")).unwrap();
        fs::write(tmp.path().join("kept/os_1"), "x").unwrap();
        symlink("../kept", tmp.path().join("t/foo_1")).unwrap();
        let target = beneath::open_root(&tmp.path().join("t")).unwrap();
        assert!(remove(target.as_fd(), Path::new("foo_1/os_1"), true).is_err());
        assert!(remove(target.as_fd(), Path::new("../kept/os_1"), true).is_err());
        assert!(tmp.path().join("kept/os_1").exists());
    }

    #[test]
    fn left_overs_are_what_was_begun() {
        let tmp = tempfile::tempdir().unwrap();
        for name in [
            ".#sysupdateos_1.raw0123456789abcdef",
            ".sysupdate.partial.os_2",
            ".sysupdate.pending.os_3",
            "os_4",
            ".hidden",
        ] {
            fs::write(tmp.path().join(name), "").unwrap();
        }
        let target = beneath::open_root(tmp.path()).unwrap();
        let found = left_overs(target.as_fd()).unwrap();
        assert_eq!(
            found,
            [
                ".#sysupdateos_1.raw0123456789abcdef",
                ".sysupdate.partial.os_2"
            ]
            .map(PathBuf::from)
        );
    }
}
