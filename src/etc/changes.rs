//! What differs between two states of /etc.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::tree::{Found, Tree, deep, told};
use crate::sys::{Doing, Failure};

/// How a path differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is there now and was not.
    Added,
    /// Its content, type, mode, owner or attributes are others. Times do not count, nor what a directory holds.
    Changed,
    /// It was there and is not any more.
    Removed,
}

/// A path that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Relative to the directory. Of a directory that was added or removed only its own path.
    pub path: PathBuf,
    /// In what way.
    pub kind: ChangeKind,
}

/// What was changed from `base` to `now` (what an administrator did since a snapshot was made), in the order of the
/// paths. The syncpoint, mount points and nested subvolumes are left out.
///
/// # Errors
/// When one of them cannot be read; the path is named.
pub fn changes(base: &Tree, now: &Tree) -> Result<Vec<Change>, Failure> {
    let mut found = Vec::new();
    deep(|| below(base, now, Path::new(""), &mut found)).doing(|| "starting a thread".into())??;
    Ok(found)
}

fn below(base: &Tree, now: &Tree, dir: &Path, found: &mut Vec<Change>) -> Result<(), Failure> {
    let reading = || format!("reading the directory {}", told(dir));
    let mut names = BTreeSet::new();
    base.names(dir, &mut names).doing(reading)?;
    now.names(dir, &mut names).doing(reading)?;
    for name in names {
        let path = dir.join(name);
        let comparing = || format!("comparing {}", told(&path));
        let before = base.find(&path).doing(comparing)?;
        let after = now.find(&path).doing(comparing)?;
        let kind = match (&before, &after) {
            (Found::Foreign, _) | (_, Found::Foreign) | (Found::Absent, Found::Absent) => continue,
            (Found::Absent, Found::Here(_)) => Some(ChangeKind::Added),
            (Found::Here(_), Found::Absent) => Some(ChangeKind::Removed),
            (Found::Here(a), Found::Here(b)) => {
                let same = a.same(b).doing(comparing)?;
                (!same).then_some(ChangeKind::Changed)
            }
        };
        let is_dir = |f: &Found| matches!(f, Found::Here(e) if e.is_dir());
        let both_hold_more = is_dir(&before) && is_dir(&after);
        drop((before, after));
        if let Some(kind) = kind {
            found.push(Change {
                path: path.clone(),
                kind,
            });
        }
        if both_hold_more {
            below(base, now, &path, found)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{COMPARE_WITH, SYNCPOINT};
    use super::*;
    use crate::sys::xattr;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    /// The changes between two directories, as `+a`, `!a`, `-a`.
    fn told_changes(base: &Path, now: &Path) -> Vec<String> {
        let (base, now) = (Tree::open(base).unwrap(), Tree::open(now).unwrap());
        let changes = changes(&base, &now).unwrap().into_iter();
        let told = changes.map(|c| {
            let sign = match c.kind {
                ChangeKind::Added => '+',
                ChangeKind::Changed => '!',
                ChangeKind::Removed => '-',
            };
            format!("{sign}{}", c.path.display())
        });
        told.collect()
    }

    fn two() -> [tempfile::TempDir; 2] {
        // not in /tmp: user attributes need a file system that keeps them
        [(); 2].map(|()| tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap())
    }

    #[test]
    fn each_kind_of_change_is_found_and_nothing_else() {
        let [base, now] = two();
        for dir in [base.path(), now.path()] {
            for name in ["same", "content", "mode", "attribute", "gone", "kind"] {
                fs::write(dir.join(name), "one").unwrap();
            }
            for name in ["d/deep", "d2"] {
                fs::create_dir_all(dir.join(name)).unwrap();
            }
            symlink("a", dir.join("link")).unwrap();
        }
        let at = |name: &str| now.path().join(name);
        fs::write(at("content"), "two").unwrap();
        fs::set_permissions(at("mode"), fs::Permissions::from_mode(0o600)).unwrap();
        xattr::set(fs::File::open(at("attribute")).unwrap(), c"user.x", b"\0").unwrap();
        fs::remove_file(at("gone")).unwrap();
        fs::remove_file(at("kind")).unwrap();
        fs::create_dir(at("kind")).unwrap();
        fs::write(at("kind/below"), "").unwrap();
        fs::remove_file(at("link")).unwrap();
        symlink("b", at("link")).unwrap();
        fs::write(at("d/deep/new"), "").unwrap();
        fs::remove_dir(at("d2")).unwrap();
        fs::create_dir(at("new")).unwrap();
        fs::write(at("new/file"), "").unwrap();
        let wanted = [
            "!attribute",
            "!content",
            "+d/deep/new",
            "-d2",
            "-gone",
            "!kind",
            "!link",
            "!mode",
            "+new",
        ];
        assert_eq!(told_changes(base.path(), now.path()), wanted);
    }

    #[test]
    fn the_same_size_and_the_same_times_do_not_hide_a_change() {
        let [base, now] = two();
        for (dir, text) in [(&base, "one"), (&now, "two")] {
            let file = fs::File::create(dir.path().join("f")).unwrap();
            fs::write(dir.path().join("f"), text).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
        }
        assert_eq!(told_changes(base.path(), now.path()), ["!f"]);
    }

    #[test]
    fn what_belongs_to_the_merge_and_what_cannot_be_kept_is_left_out() {
        let [base, now] = two();
        for name in [SYNCPOINT, "sub"] {
            fs::create_dir(now.path().join(name)).unwrap();
            fs::write(now.path().join(name).join("x"), "").unwrap();
        }
        fs::create_dir(base.path().join("sub")).unwrap();
        fs::write(base.path().join("sub/x"), "").unwrap();
        fs::write(base.path().join(COMPARE_WITH), "1\n").unwrap();
        fs::write(now.path().join(".fstab.x.tu-new"), "").unwrap();
        drop(UnixListener::bind(now.path().join("socket")).unwrap());
        assert_eq!(told_changes(base.path(), now.path()), [""; 0]);
    }
}
