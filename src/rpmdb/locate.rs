//! Which database a root has.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Backend, RpmdbError};
use crate::sys::{Root, beneath};

/// Where rpm has its database, the newer place first: /var may not be mounted, and in snapshots the second is a link.
const DIRS: [&str; 2] = ["usr/lib/sysimage/rpm", "var/lib/rpm"];
/// The files that hold the packages, most usual first.
const FILES: [(Backend, &str); 3] = [
    (Backend::Ndb, "Packages.db"),
    (Backend::Sqlite, "rpmdb.sqlite"),
    (Backend::Bdb, "Packages"),
];
/// What rpm itself says, and the directory with what the administrator says.
const MACROS: &str = "usr/lib/rpm/macros";
const MACROS_DIR: &str = "etc/rpm";
const MOST_MACROS: u64 = 1 << 20;
/// Files of that directory that rpm takes for leftovers.
const LEFTOVERS: [&str; 4] = ["~", ".rpmnew", ".rpmorig", ".rpmsave"];

/// A database.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) backend: Backend,
    /// The file that holds the packages, for messages.
    pub(super) path: PathBuf,
    /// Its name in its directory.
    pub(super) name: &'static str,
    rel: PathBuf,
    /// Its directory, links resolved inside the root.
    pub(super) dir: OwnedFd,
}

/// What was found: the database to read, and those that are not.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) place: Place,
    /// The file that holds the packages.
    pub(super) file: File,
    pub(super) ignored: Vec<Place>,
}

/// Looks into `dir` below the root, or into the two directories that rpm uses. A link is followed as a process in the root
/// would. Of several databases the one of the backend that rpm is told to use is taken, else the first: by directory, then
/// by format.
///
/// # Errors
/// When the one that is taken, or its directory, cannot be opened, or is no file.
pub(super) fn find(root: &Root, dir: Option<&Path>) -> Result<Option<Found>, RpmdbError> {
    let top = beneath::open_root(root.path()).map_err(RpmdbError::read(root.path()))?;
    let dirs = dir.map_or_else(|| DIRS.map(Path::new).to_vec(), |d| vec![d]);
    let mut found = Vec::new();
    let mut seen = Vec::new();
    for rel in dirs {
        let opened = there(beneath::resolve(&top, rel)).map_err(RpmdbError::read(&root.join(rel)));
        let opened = match opened {
            // what is found already is not lost for another place that cannot be looked at
            Err(_) if !found.is_empty() => None,
            other => other?,
        };
        let Some(fd) = opened else { continue };
        let dir = File::from(fd);
        let stat = dir.metadata().map_err(RpmdbError::read(&root.join(rel)))?;
        let identity = (stat.dev(), stat.ino());
        // one is usually a link to the other
        if !seen.contains(&identity) {
            seen.push(identity);
            databases_in(root, &top, rel, &dir, &mut found)?;
        }
    }
    let configured = match found.len() {
        0 => return Ok(None),
        1 => None,
        _ => configured(&top).map_err(RpmdbError::read(&root.join(MACROS_DIR)))?,
    };
    let is_wanted = |place: &Place| Some(place.backend) == configured;
    let place = found.remove(found.iter().position(is_wanted).unwrap_or(0));
    let file = place.open(&top).map_err(RpmdbError::read(&place.path))?;
    Ok(Some(Found {
        place,
        file,
        ignored: found,
    }))
}

/// Adds the databases in the directory `rel` below `top`, which is open as `dir`.
fn databases_in(
    root: &Root,
    top: &OwnedFd,
    rel: &Path,
    dir: &File,
    found: &mut Vec<Place>,
) -> Result<(), RpmdbError> {
    for (backend, name) in FILES {
        let rel = rel.join(name);
        let path = root.join(&rel);
        let is_there = match there(beneath::resolve(top, &rel)) {
            Ok(file) => file.is_some(),
            // told when it is the one that is taken
            Err(_) => true,
        };
        if is_there {
            let dir = dir.try_clone().map_err(RpmdbError::read(&path))?;
            found.push(Place {
                backend,
                path,
                name,
                rel,
                dir: dir.into(),
            });
        }
    }
    Ok(())
}

impl Place {
    fn open(&self, top: &OwnedFd) -> io::Result<File> {
        let file = File::from(beneath::resolve(top, &self.rel)?);
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::other("it is no regular file")),
        }
    }
}

/// `None` for what is not there.
fn there(opened: io::Result<OwnedFd>) -> io::Result<Option<OwnedFd>> {
    match opened {
        Err(e) => match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
            _ => Err(e),
        },
        Ok(fd) => Ok(Some(fd)),
    }
}

/// The backend that rpm is told to use: the last plain word that is given for it. rpm's own file comes first, then those
/// of the administrator by name, then the one without a name.
fn configured(top: &OwnedFd) -> io::Result<Option<Backend>> {
    let names = match there(beneath::resolve(top, Path::new(MACROS_DIR)))? {
        None => Vec::new(),
        Some(dir) => beneath::names(dir)?,
    };
    let is_macros = |name: &&str| {
        name.starts_with("macros.") && !LEFTOVERS.iter().any(|end| name.ends_with(end))
    };
    let mut names: Vec<&str> = names
        .iter()
        .filter_map(|n| n.to_str())
        .filter(is_macros)
        .collect();
    names.sort_unstable();
    names.push("macros");
    let files = names.iter().map(|n| Path::new(MACROS_DIR).join(n));
    let mut backend = None;
    for file in std::iter::once(PathBuf::from(MACROS)).chain(files) {
        let text = beneath::read(top, &file, MOST_MACROS)?.unwrap_or_default();
        backend = backend_in(&text).or(backend);
    }
    Ok(backend)
}

/// The last backend that a file of macros names.
fn backend_in(macros: &[u8]) -> Option<Backend> {
    let text = String::from_utf8_lossy(macros);
    text.lines().rev().find_map(|line| {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("%_db_backend"), Some(value), None) => Backend::named(value),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests;
