//! The install database: which patterns something was ever installed by, so that files are found again when no transfer names them.
//!
//! An entry is a symbolic link with the text `PATH/./PATTERN`, called by the SHA-256 of that text; the path is that of the running system,
//! whatever the root. systemd has the same database for what it finds in the system. What `--definitions` installs is kept apart for each
//! directory, so that cleaning up for one never takes what another one installed. No link on the way to the database is followed.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::sys::stat::SFlag;
use sha2::{Digest, Sha256};

use super::definition::{Collection, Kind, Transfer, is_component_name};
use super::pattern::Pattern;
use super::place::Ground;
use crate::sys::hex::to_hex;
use crate::sys::{Root, beneath, failpoint, out, root};

/// Where the databases are that systemd has as well.
const SHARED: &str = "var/lib/systemd/sysupdate";
/// Where those are that systemd does not have.
const OURS: &str = "var/lib/transactional-update/sysupdate";
/// What their names begin with.
const NAME: &str = "installdb";
/// Between the path and the pattern of an entry.
const BETWEEN: &[u8] = b"/./";
/// Most entries of a database; each is looked for in a directory.
const MOST: usize = 4096;

/// The database of a collection.
#[derive(Debug)]
pub struct Database<'r> {
    root: &'r Root,
    /// Its path in the root.
    dir: PathBuf,
}

/// An entry.
#[derive(Debug)]
pub struct Entry {
    /// What it is called in the database.
    pub name: OsString,
    /// What it says; `None` when it cannot have been written by anybody who installed something.
    pub place: Option<Place>,
}

/// Where something may have been installed.
#[derive(Debug)]
pub struct Place {
    /// The directory: absolute, without the root.
    pub dir: PathBuf,
    /// What it is called there.
    pub pattern: Pattern,
}

impl<'r> Database<'r> {
    /// The database of `collection` in the system at `root`.
    #[must_use]
    pub fn of(root: &'r Root, collection: &Collection) -> Database<'r> {
        let dir = match collection {
            Collection::Default => Path::new(SHARED).join(NAME),
            Collection::Component(name) => Path::new(SHARED).join(format!("{NAME}.{name}")),
            Collection::Directory(dir) => {
                // of one that is gone, the path is all that is known
                let real = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.clone());
                let digest = digest(real.as_os_str());
                Path::new(OURS).join(format!("{NAME}-{digest}"))
            }
        };
        Database { root, dir }
    }

    /// Its path, with that of the root.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.root.join(&self.dir)
    }

    /// Has an entry for each pattern of the target of a transfer, durably where `ground` is; what is there stays.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn record(&self, ground: Ground<'_>, transfer: &Transfer) -> Result<()> {
        if transfer.target.kind == Kind::Partition {
            return Ok(());
        }
        let path = ground.open(transfer)?.path;
        let path = path.strip_prefix(self.root.path()).unwrap_or(&path);
        // files in the root directory itself are never cleaned up
        let Some(path) = root::below(&root::inside(path)) else {
            return Ok(());
        };
        let patterns = transfer.target.patterns.patterns().iter();
        // one for any depth would match what nobody installed
        let texts = patterns.filter(|p| !p.is_any_depth()).map(|pattern| {
            let parts = [
                path.as_os_str().as_bytes(),
                BETWEEN,
                pattern.as_str().as_bytes(),
            ];
            OsString::from_vec(parts.concat())
        });
        let texts: Vec<OsString> = texts.collect();
        self.write(&texts, ground.is_durable).with_context(|| {
            format!(
                "writing to the install database {}",
                out::path(&self.path())
            )
        })
    }

    fn write(&self, texts: &[OsString], is_durable: bool) -> io::Result<()> {
        let top = beneath::open_root(self.root.path())?;
        for made in beneath::make_dirs(&top, &self.dir, 0o755)? {
            if is_durable {
                let above = made.parent().unwrap_or(Path::new(""));
                File::from(beneath::open_dir(&top, above)?).sync_all()?;
            }
        }
        let dir = beneath::open_dir(&top, &self.dir)?;
        for text in texts {
            let name = digest(text);
            let name = Path::new(&name);
            if beneath::make_link(&dir, name, Path::new(text))? {
                continue;
            }
            let other = beneath::read_link(&dir, name);
            if !other.is_ok_and(|other| other.as_os_str() == text) {
                beneath::remove(&dir, name)?;
                beneath::make_link(&dir, name, Path::new(text))?;
            }
        }
        if is_durable {
            // also what a run that was cut off wrote last
            File::from(dir).sync_all()?;
        }
        failpoint::hit("sysupdate-recorded")
    }

    /// Its entries, by their names. What is no link is told, and none.
    ///
    /// # Errors
    /// When it cannot be read, or has more than 4096 of them.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let shown = self.path();
        let about = || format!("reading the install database {}", out::path(&shown));
        let Some(dir) = self.open().with_context(about)? else {
            return Ok(Vec::new());
        };
        let mut names = beneath::names(beneath::reopen(&dir)?).with_context(about)?;
        ensure!(
            names.len() <= MOST,
            "the install database {} has more than {MOST} entries; remove those that are not needed",
            out::path(&shown)
        );
        names.sort();
        let mut entries = Vec::new();
        for name in names {
            let stat = beneath::stat_at(&dir, &name).with_context(about)?;
            if beneath::kind(&stat) != SFlag::S_IFLNK {
                let other = out::path(&shown.join(&name));
                out::warn(format_args!("{other} is no entry of the install database."));
                continue;
            }
            let text = beneath::read_link(&dir, Path::new(&name)).with_context(about)?;
            entries.push(Entry {
                place: Place::read(&name, text.as_os_str()),
                name,
            });
        }
        Ok(entries)
    }

    fn open(&self) -> io::Result<Option<OwnedFd>> {
        match beneath::open_dir(beneath::open_root(self.root.path())?, &self.dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// Removes entries, durably when `is_durable`. Missing already is fine.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn forget(&self, names: &[OsString], is_durable: bool) -> Result<()> {
        let remove = || {
            let Some(dir) = self.open()?.filter(|_| !names.is_empty()) else {
                return Ok(());
            };
            for name in names {
                beneath::remove(&dir, Path::new(name))?;
                failpoint::hit("sysupdate-cleanup-forgotten")?;
            }
            match is_durable {
                true => File::from(dir).sync_all(),
                false => Ok(()),
            }
        };
        remove().with_context(|| {
            format!(
                "removing entries of the install database {}",
                out::path(&self.path())
            )
        })
    }
}

impl Place {
    /// What an entry says.
    fn read(name: &OsStr, text: &OsStr) -> Option<Place> {
        if *name != *digest(text) {
            return None;
        }
        let bytes = text.as_bytes();
        let at = bytes.windows(BETWEEN.len()).position(|w| w == BETWEEN)?;
        let dir = Path::new(OsStr::from_bytes(&bytes[..at]));
        let pattern = std::str::from_utf8(&bytes[at + BETWEEN.len()..]).ok()?;
        let pattern = Pattern::parse(pattern).ok()?;
        let is_normal = root::below(dir).is_some_and(|b| b.as_os_str() == dir.as_os_str());
        let is_one = is_normal && pattern.can_match() && !pattern.is_any_depth();
        is_one.then(|| Place {
            dir: dir.to_owned(),
            pattern,
        })
    }
}

/// The components that have a database in the system at `root`.
///
/// # Errors
/// When the directory of the databases cannot be read.
pub fn components(root: &Root) -> Result<BTreeSet<String>> {
    let about = || format!("reading {}", out::path(&root.join(SHARED)));
    let top = beneath::open_root(root.path()).with_context(about)?;
    let names = beneath::names_below(top, Path::new(SHARED)).with_context(about)?;
    let component = |name: &OsString| {
        let name = name.to_str()?.strip_prefix(NAME)?.strip_prefix('.')?;
        is_component_name(name).then(|| name.to_owned())
    };
    Ok(names.iter().filter_map(component).collect())
}

fn digest(text: &OsStr) -> String {
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    to_hex(&digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Option<(String, String)> {
        let text = OsStr::from_bytes(text);
        let place = Place::read(digest(text).as_ref(), text)?;
        Some((place.dir.display().to_string(), place.pattern.to_string()))
    }

    #[test]
    fn an_entry_is_a_path_and_a_pattern_and_nothing_that_leads_elsewhere() {
        let good = Some(("/var/images".to_owned(), "sub/os_@v.raw".to_owned()));
        assert_eq!(read(b"/var/images/./sub/os_@v.raw"), good);
        let long = [b"/images/./".as_slice(), &[b'x'; 5000]].concat();
        let bad: [&[u8]; 16] = [
            b"",
            b"/images/os_@v",
            b"images/./os_@v",
            b"/./os_@v",
            b"//images/./os_@v",
            b"/images//./os_@v",
            b"/images/../etc/./os_@v",
            b"/images/./../etc/os_@v",
            b"/images/.//etc/os_@v",
            b"/images/././os_@v",
            b"/images/./**/os_@v",
            b"/images/./os",
            b"/images/./os_@v/",
            b"/images/./os_@v*",
            b"/images/./os_\xff@v",
            &long,
        ];
        for text in bad {
            assert_eq!(read(text), None, "{}", String::from_utf8_lossy(text));
        }
        let text = OsStr::new("/images/./os_@v");
        assert!(Place::read(digest(OsStr::new("/images/./os-@v")).as_ref(), text).is_none());
    }
}
