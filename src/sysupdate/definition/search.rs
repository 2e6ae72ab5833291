//! Which files there are, and which of several with one name counts.
//!
//! Links are followed as a process in the root directory would follow them; nothing outside of it is read.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::ini::{self, Line};
use super::{Collection, Refusal};
use crate::sys::{Root, beneath, root};

/// Directories in which those of definitions are; what is in an earlier one wins.
pub(super) const BASES: [&str; 4] = ["etc", "run", "usr/local/lib", "usr/lib"];

/// Largest file, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// Most files in one directory.
const FILES_MAX: usize = 1000;

/// Directories in which definitions are looked for, the one that wins first.
#[derive(Debug)]
pub(super) struct Search<'r> {
    root: &'r Root,
    dir: OwnedFd,
    places: Vec<PathBuf>,
}

/// A file and its drop-ins.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) path: PathBuf,
    /// All assignments, in the order in which they count.
    pub(super) lines: Vec<Line>,
}

/// A file as it is on disk.
enum Content {
    /// It is not there, or leads nowhere.
    Missing,
    /// It hides others of its name.
    Mask,
    /// Its bytes.
    Bytes(Vec<u8>),
}

impl<'r> Search<'r> {
    /// Where `collection` has its definitions.
    pub(super) fn of(root: &'r Root, collection: &Collection) -> Result<Search<'r>, Refusal> {
        let places = match collection {
            Collection::Default => BASES.map(|base| Path::new(base).join("sysupdate.d")).into(),
            Collection::Component(name) => BASES
                .map(|base| Path::new(base).join(format!("sysupdate.{name}.d")))
                .into(),
            Collection::Directory(dir) => vec![root::relative(dir)],
        };
        Search::at(root, places)
    }

    /// Looks in `places`, directories of the root.
    pub(super) fn at(root: &'r Root, places: Vec<PathBuf>) -> Result<Search<'r>, Refusal> {
        let unreadable =
            |e: io::Error| Refusal::of_path(root.path(), format!("cannot be read: {e}"));
        let dir = beneath::open_root(root.path()).map_err(unreadable)?;
        Ok(Search { root, dir, places })
    }

    /// The files whose names end in `.EXTENSION`, by their names.
    pub(super) fn files(
        &self,
        extension: &str,
        warnings: &mut Vec<String>,
    ) -> Result<BTreeMap<OsString, Definition>, Refusal> {
        let mut found = BTreeMap::new();
        for (name, content) in self.layered(Path::new(""), extension)? {
            if let Some((path, bytes)) = content {
                let mut lines = ini::parse(&path, &bytes, warnings)?;
                lines.extend(self.drop_ins(&name, warnings)?);
                found.insert(name, Definition { path, lines });
            }
        }
        Ok(found)
    }

    /// The assignments of one file, which need not be there, and of its drop-ins.
    pub(super) fn file(
        &self,
        name: &OsStr,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<Line>, Refusal> {
        let mut lines = match self.first(Path::new(name))? {
            Some((path, bytes)) => ini::parse(&path, &bytes, warnings)?,
            None => Vec::new(),
        };
        lines.extend(self.drop_ins(name, warnings)?);
        Ok(lines)
    }

    fn drop_ins(&self, name: &OsStr, warnings: &mut Vec<String>) -> Result<Vec<Line>, Refusal> {
        let mut dir = name.to_owned();
        dir.push(".d");
        let mut lines = Vec::new();
        for (path, bytes) in self
            .layered(Path::new(&dir), "conf")?
            .into_values()
            .flatten()
        {
            lines.extend(ini::parse(&path, &bytes, warnings)?);
        }
        Ok(lines)
    }

    /// Of each name with the extension in `below` of the places, the file that counts; `None` when it is masked.
    #[allow(clippy::type_complexity)] // a path and bytes
    fn layered(
        &self,
        below: &Path,
        extension: &str,
    ) -> Result<BTreeMap<OsString, Option<(PathBuf, Vec<u8>)>>, Refusal> {
        let suffix = format!(".{extension}");
        let mut found = BTreeMap::new();
        for place in &self.places {
            let dir = place.join(below);
            for name in self.names(&dir)? {
                let bytes = name.as_bytes();
                let is_meant = bytes.ends_with(suffix.as_bytes()) && !bytes.starts_with(b".");
                if is_meant && !found.contains_key(&name) {
                    let file = self.first(&below.join(&name))?;
                    found.insert(name, file);
                }
                if found.len() > FILES_MAX {
                    let problem = format!(
                        "has more than {FILES_MAX} files; remove those that are not needed"
                    );
                    return Err(Refusal::of_path(&self.root.join(dir), problem));
                }
            }
        }
        Ok(found)
    }

    /// The first file of this name in the places; `None` also when it is a mask.
    fn first(&self, rel: &Path) -> Result<Option<(PathBuf, Vec<u8>)>, Refusal> {
        for place in &self.places {
            let path = place.join(rel);
            let shown = self.root.join(&path);
            match self.content(&path) {
                Ok(Content::Missing) => {}
                Ok(Content::Mask) => return Ok(None),
                Ok(Content::Bytes(bytes)) => return Ok(Some((shown, bytes))),
                Err(e) => return Err(Refusal::of_path(&shown, format!("cannot be read: {e}"))),
            }
        }
        Ok(None)
    }

    fn content(&self, rel: &Path) -> io::Result<Content> {
        // in another root, that device need not be there
        let link = beneath::read_link(&self.dir, rel);
        if link.is_ok_and(|target| target == Path::new(root::NULL)) {
            return Ok(Content::Mask);
        }
        let file = match beneath::resolve(&self.dir, rel) {
            Err(e) if beneath::is_no_directory(&e) => return Ok(Content::Missing),
            other => File::from(other?),
        };
        let kind = file.metadata()?.file_type();
        if kind.is_char_device() {
            return Ok(Content::Mask);
        }
        if !kind.is_file() {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "it is no regular file",
            ));
        }
        let mut bytes = Vec::new();
        file.take(FILE_MAX + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 {
            0 => Ok(Content::Mask),
            length if length > FILE_MAX => Err(io::Error::new(
                ErrorKind::FileTooLarge,
                format!("it is larger than {FILE_MAX} bytes"),
            )),
            _ => Ok(Content::Bytes(bytes)),
        }
    }

    /// Whether there is a directory at this path of the root.
    pub(super) fn is_directory(&self, rel: &Path) -> bool {
        let found = beneath::resolve(&self.dir, rel).map(File::from);
        found
            .and_then(|file| file.metadata())
            .is_ok_and(|m| m.is_dir())
    }

    /// The names in a directory of the root; none when it is not there.
    pub(super) fn names(&self, rel: &Path) -> Result<Vec<OsString>, Refusal> {
        let unreadable =
            |e: io::Error| Refusal::of_path(&self.root.join(rel), format!("cannot be read: {e}"));
        let dir = match beneath::resolve(&self.dir, rel) {
            Err(e) if beneath::is_no_directory(&e) => return Ok(Vec::new()),
            other => other.map_err(unreadable)?,
        };
        match beneath::names(dir) {
            Err(e) if beneath::is_no_directory(&e) => Ok(Vec::new()),
            other => other.map_err(unreadable),
        }
    }
}
