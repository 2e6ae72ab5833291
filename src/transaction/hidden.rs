//! What a transaction wrote to places where the running system shows another file system.
//!
//! Those files are in the snapshot, but nobody will see them once it runs: the user is told each one.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::sys::stat::{FileStat, SFlag};

use crate::sys::beneath;

/// Most entries that are looked at below the excluded places of a snapshot.
const LIMIT: usize = 200_000;

/// What package managers put there in every transaction and nobody misses.
const HARMLESS: [&str; 3] = [
    "var/lib/YaST2/cookies",
    "var/lib/systemd/migrated",
    "var/lib/rpm",
];

/// A file that will be hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HiddenFile {
    /// Its path, absolute.
    pub path: PathBuf,
    /// The packages that own it; none for what a scriptlet wrote.
    pub owners: Vec<String>,
    /// Whether it is a regular file.
    pub is_regular: bool,
}

/// The entries below the excluded places of a snapshot at one moment.
#[derive(Debug, Default)]
pub(super) struct Content(BTreeMap<PathBuf, Stamp>);

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
struct Stamp {
    kind: u32,
    inode: u64,
    size: i64,
    changed: (i64, i64),
}

impl Content {
    /// Looks at and below `excluded` in the snapshot whose root is open. What is mounted there is not entered.
    ///
    /// # Errors
    /// When a directory cannot be read or there are very many entries.
    pub(super) fn read(snapshot: impl AsFd, excluded: &[PathBuf]) -> io::Result<Content> {
        let mut content = Content::default();
        let mut add = |path: &Path, stat: &FileStat| {
            let harmless = HARMLESS.iter().any(|h| path.starts_with(h));
            if beneath::kind(stat) != SFlag::S_IFDIR && !harmless {
                content.0.insert(path.to_owned(), Stamp::of(stat));
            }
        };
        for place in excluded {
            // the place itself, too: a link there would lead the mount astray
            let parent = beneath::open_dir(&snapshot, place.parent().unwrap_or(Path::new("")));
            if let (Ok(parent), Some(name)) = (parent, place.file_name())
                && let Ok(stat) = beneath::stat_at(parent, name)
            {
                add(place, &stat);
            }
            beneath::walk(&snapshot, place, LIMIT, &mut add)?;
        }
        Ok(content)
    }

    /// The files that are new or different since `before`, and whether each is a regular one.
    pub(super) fn since<'c>(
        &'c self,
        before: &'c Content,
    ) -> impl Iterator<Item = (&'c Path, bool)> {
        let changed = self
            .0
            .iter()
            .filter(|(path, stamp)| before.0.get(*path) != Some(stamp));
        changed.map(|(path, stamp)| (path.as_path(), stamp.kind == SFlag::S_IFREG.bits()))
    }
}

impl Stamp {
    fn of(stat: &FileStat) -> Stamp {
        Stamp {
            kind: beneath::kind(stat).bits(),
            inode: stat.st_ino,
            size: stat.st_size,
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_files_that_are_new_or_changed_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let at = |p: &str| dir.path().join(p);
        fs::create_dir_all(at("srv/www")).unwrap();
        fs::create_dir_all(at("usr")).unwrap();
        fs::write(at("srv/old"), "1").unwrap();
        fs::write(at("srv/changed"), "1").unwrap();
        let fd = beneath::open_root(dir.path()).unwrap();
        let excluded = [PathBuf::from("srv"), PathBuf::from("var")];
        let before = Content::read(&fd, &excluded).unwrap();
        fs::write(at("srv/changed"), "22").unwrap();
        fs::write(at("srv/www/new"), "1").unwrap();
        fs::write(at("usr/new"), "1").unwrap();
        fs::create_dir_all(at("var/lib/YaST2/cookies")).unwrap();
        fs::write(at("var/lib/YaST2/cookies/c"), "1").unwrap();
        std::os::unix::fs::symlink("x", at("var/link")).unwrap();
        let after = Content::read(&fd, &excluded).unwrap();
        let told: Vec<_> = after.since(&before).collect();
        assert_eq!(
            told,
            [
                (Path::new("srv/changed"), true),
                (Path::new("srv/www/new"), true),
                (Path::new("var/link"), false)
            ]
        );
    }
}
