//! Whether a snapshot still has the content of its base, for `--drop-if-no-change`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::sys::stat::{FileStat, SFlag};

use crate::snapshot::{COMPARE_WITH, SYNCPOINT};
use crate::sys::beneath;

/// Compares two trees of which one was a snapshot of the other: names, types, modes, owners, sizes, and the
/// change times of everything but directories. Any write and any change of metadata moves a change time, and
/// a snapshot keeps them, so no content has to be read. What belongs to the later merge of /etc is left out. Stops
/// at the first difference.
///
/// # Errors
/// When a directory cannot be read.
pub(super) fn is_same(base: &OwnedFd, snapshot: &OwnedFd) -> io::Result<bool> {
    let mut pending = vec![PathBuf::new()];
    while let Some(path) = pending.pop() {
        let (ours, theirs) = (entries(base, &path)?, entries(snapshot, &path)?);
        if ours.len() != theirs.len() {
            return Ok(false);
        }
        for ((name, a), (other, b)) in ours.iter().zip(&theirs) {
            if name != other || identity(a) != identity(b) {
                return Ok(false);
            }
            // the root of a nested subvolume looks like a directory of another device, and has no counterpart
            if beneath::kind(a) == SFlag::S_IFDIR && a.st_ino != SUBVOLUME_ROOT {
                pending.push(path.join(name));
            }
        }
    }
    Ok(true)
}

/// Inode number of the root of a subvolume, and of its empty stand-in in a snapshot 2.
const SUBVOLUME_ROOT: u64 = 256;

type Identity = (u32, u32, u32, u64, Option<(i64, u64, i64, i64)>);

fn identity(stat: &FileStat) -> Identity {
    let content = (beneath::kind(stat) != SFlag::S_IFDIR).then_some((
        stat.st_size,
        stat.st_nlink,
        stat.st_ctime,
        stat.st_ctime_nsec,
    ));
    (
        stat.st_mode,
        stat.st_uid,
        stat.st_gid,
        stat.st_rdev,
        content,
    )
}

fn entries(root: &OwnedFd, path: &Path) -> io::Result<BTreeMap<OsString, FileStat>> {
    use std::os::unix::ffi::OsStringExt;
    let mut dir = Dir::from_fd(beneath::open_dir(root, path)?)?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    let is_of_merge = |name: &OsString| {
        path.as_os_str().is_empty() && (name == SYNCPOINT || name == COMPARE_WITH)
    };
    let is_database = path == Path::new(DATABASE);
    names
        .into_iter()
        .filter(|name| !is_of_merge(name))
        .map(|name| beneath::stat_at(&dir, &name).map(|stat| (name, stat)))
        .filter(|entry| {
            let holds_nothing = |(name, stat): &(OsString, FileStat)| holds_nothing(name, stat);
            !(is_database && entry.as_ref().is_ok_and(holds_nothing))
        })
        .collect()
}

/// The RPM database.
const DATABASE: &str = "usr/lib/sysimage/rpm";

/// Files that sqlite makes anew whenever somebody only reads the database: the index of its log, and a log in which
/// nothing is (sqlite.org/walformat.html).
fn holds_nothing(name: &OsString, stat: &FileStat) -> bool {
    let name = name.as_encoded_bytes();
    name.ends_with(b".sqlite-shm") || name.ends_with(b".sqlite-wal") && stat.st_size == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_new_name_a_mode_and_a_size_are_differences_and_a_directory_time_is_none() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for dir in [&a, &b] {
            fs::create_dir(dir.path().join("d")).unwrap();
        }
        let same = || {
            is_same(
                &beneath::open_root(a.path()).unwrap(),
                &beneath::open_root(b.path()).unwrap(),
            )
            .unwrap()
        };
        fs::write(b.path().join("d/f"), "1").unwrap();
        assert!(!same());
        fs::remove_file(b.path().join("d/f")).unwrap();
        assert!(same());
        fs::set_permissions(
            b.path().join("d"),
            std::os::unix::fs::PermissionsExt::from_mode(0o700),
        )
        .unwrap();
        assert!(!same());
    }

    #[test]
    fn looking_into_the_rpm_database_is_no_change_and_a_log_that_holds_something_is_one() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |dir: &tempfile::TempDir, name: &str| dir.path().join(DATABASE).join(name);
        for dir in [&a, &b] {
            fs::create_dir_all(at(dir, "")).unwrap();
            fs::write(at(dir, "rpmdb.sqlite-shm"), "index").unwrap();
        }
        let same = || {
            is_same(
                &beneath::open_root(a.path()).unwrap(),
                &beneath::open_root(b.path()).unwrap(),
            )
            .unwrap()
        };
        fs::write(at(&b, "rpmdb.sqlite-shm"), "another index").unwrap();
        fs::write(at(&b, "rpmdb.sqlite-wal"), "").unwrap();
        assert!(same());
        fs::write(at(&b, "rpmdb.sqlite-wal"), "frame").unwrap();
        assert!(!same());
    }
}
