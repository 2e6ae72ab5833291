//! What a snapshot holds, file by file, as tests/fixture/oracle.py says it: path, type, mode, owner, size, links, time, xattrs,
//! target and content. Other subvolumes in it, as that of /etc, belong to it.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::chunks::{Extents, Untouched, extents};

/// What files with these extents hold.
pub(crate) type Known = HashMap<Extents, u64>;

/// The bytes of its files may differ where its content does not: that is compared with `rpm -qa`.
const DATABASE: &str = "usr/lib/sysimage/rpm";

/// A tree as a number for each path; paths are relative to its top.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    files: BTreeMap<PathBuf, u64>,
    /// All bytes of the RPM database.
    pub(crate) database: u64,
}

impl Tree {
    /// One number for all of it.
    pub(crate) fn sum(&self) -> u64 {
        let mut all = DefaultHasher::new();
        self.files.hash(&mut all);
        all.finish()
    }

    /// Whether all but the database is the same.
    pub(crate) fn is_like(&self, other: &Tree) -> bool {
        self.files == other.files
    }

    /// The same without a path.
    pub(crate) fn without(mut self, path: &Path) -> Tree {
        self.files.remove(path);
        self
    }

    /// How many paths differ, and the first of them.
    pub(crate) fn difference(&self, other: &Tree) -> String {
        let paths: Vec<_> = self
            .files
            .iter()
            .filter(|(path, sum)| other.files.get(*path) != Some(sum))
            .map(|(path, _)| path)
            .chain(other.files.keys().filter(|p| !self.files.contains_key(*p)))
            .collect();
        let first: Vec<_> = paths
            .iter()
            .take(3)
            .map(|p| p.display().to_string())
            .collect();
        format!("{} paths differ: {}", paths.len(), first.join(" "))
    }

    /// How many paths there are.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }
}

/// Reads trees; what lies in sectors that were never written is read once.
pub(crate) struct Reader {
    untouched: Untouched,
    known: Mutex<Known>,
    /// Whether a directory's time belongs to it.
    pub(crate) times_of_directories: bool,
}

impl Reader {
    pub(crate) fn new(untouched: Untouched, times_of_directories: bool) -> Reader {
        let known = Mutex::default();
        Reader {
            untouched,
            known,
            times_of_directories,
        }
    }

    /// One that knows nothing: for disks that were written to since.
    pub(crate) fn fresh(&self) -> Reader {
        Reader::new(Untouched::none(), self.times_of_directories)
    }

    /// Reads the tree at `top`. What cannot be read is part of the result. `here` knows what was read of the same disk
    /// before, and with `all` nothing else is taken as known.
    pub(crate) fn read(&self, top: &Path, all: bool, here: &mut Known) -> Tree {
        let mut tree = Tree::default();
        let mut database = BTreeMap::new();
        let mut left = vec![PathBuf::new()];
        while let Some(path) = left.pop() {
            let full = top.join(&path);
            let mut sum = DefaultHasher::new();
            match self.entry(&full, all, here, &mut sum) {
                Ok(false) => {}
                Ok(true) => match names(&full) {
                    Ok(names) => left.extend(names.iter().map(|n| path.join(n))),
                    Err(e) => e.raw_os_error().hash(&mut sum),
                },
                Err(e) => e.raw_os_error().hash(&mut sum),
            }
            if path.starts_with(DATABASE) && path != Path::new(DATABASE) {
                database.insert(path, sum.finish());
            } else {
                tree.files.insert(path, sum.finish());
            }
        }
        let mut all = DefaultHasher::new();
        database.hash(&mut all);
        tree.database = all.finish();
        tree
    }

    /// Adds an entry to `sum`; returns whether it is a directory.
    fn entry(
        &self,
        path: &Path,
        all: bool,
        here: &mut Known,
        sum: &mut DefaultHasher,
    ) -> io::Result<bool> {
        let found = path.symlink_metadata()?;
        (found.mode(), found.uid(), found.gid()).hash(sum);
        if !found.is_dir() {
            (found.size(), found.nlink()).hash(sum);
        }
        if !found.is_dir() || self.times_of_directories {
            (found.mtime(), found.mtime_nsec()).hash(sum);
        }
        for (name, value) in attributes(path)? {
            (name, value).hash(sum);
        }
        if found.is_symlink() {
            std::fs::read_link(path)?.hash(sum);
        } else if found.is_file() {
            self.content(path, found.size(), all, here)?.hash(sum);
        }
        Ok(found.is_dir())
    }

    fn content(&self, path: &Path, size: u64, all: bool, here: &mut Known) -> io::Result<u64> {
        let mut file = File::open(path)?;
        let extents = extents(&file, size)?;
        if let Some(sum) = extents.as_ref().and_then(|e| here.get(e)) {
            return Ok(*sum);
        }
        let lasting = extents.as_ref().is_some_and(|e| self.untouched.has(e));
        if lasting && !all {
            let known = self.known.lock().unwrap();
            if let Some(sum) = extents.as_ref().and_then(|e| known.get(e)) {
                return Ok(*sum);
            }
        }
        let mut sum = DefaultHasher::new();
        let mut buffer = vec![0; 1 << 18];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                n => sum.write(&buffer[..n]),
            }
        }
        let sum = sum.finish();
        if let Some(extents) = extents {
            if lasting {
                let before = self.known.lock().unwrap().insert(extents.clone(), sum);
                let same = before.is_none_or(|before| before == sum);
                assert!(same, "{} is not what its extents say", path.display());
            }
            here.insert(extents, sum);
        }
        Ok(sum)
    }
}

/// The names in a directory, in order.
pub(crate) fn names(directory: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let entries = std::fs::read_dir(directory)?;
    let mut names: Vec<_> = entries
        .map(|e| Ok(e?.file_name()))
        .collect::<io::Result<_>>()?;
    names.sort();
    Ok(names)
}

/// The extended attributes of a path itself, in the order of their names.
fn attributes(path: &Path) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut list = vec![0; 1 << 12];
    let length = rustix::fs::llistxattr(path, &mut list[..])?;
    let names = list[..length].split(|b| *b == 0).filter(|n| !n.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 1 << 16];
            let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..])?;
            value.truncate(length);
            Ok((name.to_vec(), value))
        })
        .collect()
}
