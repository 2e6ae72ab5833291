//! The database of a root: one face for all formats.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::changelog::{self, ChangelogEntry};
use super::directories::{self, MOST_TEXT};
use super::files::Files;
use super::fingerprint::Fingerprint;
use super::header::{Damage, Header};
use super::locate::{self, Found, Place};
use super::model::{BadPackage, Directories, DirectoryEntry, InstalledPackage, Nevra, Prefix};
use super::ndb::Ndb;
use super::query::Query;
use super::source::{Ask, Blobs, Marks};
#[cfg(feature = "sqlite")]
use super::sqlite::Sqlite;
use super::{Backend, RpmdbError};
use crate::sys::Root;

/// How often a scan is begun at most. A backend gives up earlier.
const ATTEMPTS: u32 = 8;
/// So many packages that cannot be read are no longer some among good ones.
const MOST_BAD: usize = 10_000;

/// How a database is opened.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// The directory below the root that it is in. `None`: where rpm has it.
    pub dir: Option<PathBuf>,
    /// Compare each header that is read with the digest that its package brought; one that differs is read, and reported
    /// as bad. Takes several times as long.
    pub verify_digests: bool,
}

/// An RPM database, open for reading.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    backend: Backend,
    ignored: Vec<(Backend, PathBuf)>,
    verify_digests: bool,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Ndb(Ndb),
    #[cfg(feature = "sqlite")]
    Sqlite(Sqlite),
    /// What only rpm reads.
    Rpm(Query),
}

impl Source {
    /// The headers, or whom to ask where they cannot be had.
    fn headers(&self) -> Result<&dyn Blobs, &Query> {
        match self {
            Source::Ndb(ndb) => Ok(ndb),
            #[cfg(feature = "sqlite")]
            Source::Sqlite(sqlite) => Ok(sqlite),
            Source::Rpm(query) => Err(query),
        }
    }
}

impl Database {
    /// The database of a root; `None` when it has none.
    ///
    /// # Errors
    /// When there is one that cannot be opened.
    pub fn open(root: &Root, options: &OpenOptions) -> Result<Option<Database>, RpmdbError> {
        let Some(Found {
            place,
            file,
            ignored,
        }) = locate::find(root, options.dir.as_deref())?
        else {
            return Ok(None);
        };
        let Place {
            backend,
            path,
            name,
            dir,
            ..
        } = place;
        let source = match backend {
            Backend::Ndb => Source::Ndb(Ndb::new(file, &path)),
            #[cfg(feature = "sqlite")]
            Backend::Sqlite => Source::Sqlite(Sqlite::open(Files::new(dir, name, &path))?),
            #[cfg(not(feature = "sqlite"))]
            Backend::Sqlite => Source::Rpm(Query::new(Files::new(dir, name, &path), backend)),
            Backend::Bdb => Source::Rpm(Query::new(Files::new(dir, name, &path), backend)),
        };
        Ok(Some(Database {
            path,
            backend,
            ignored: ignored.into_iter().map(|p| (p.backend, p.path)).collect(),
            verify_digests: options.verify_digests,
            source,
        }))
    }

    /// The database of ndb in an open file, which is called `path` in messages; nothing is looked for around it.
    #[must_use]
    pub fn of_ndb(file: File, path: &Path) -> Database {
        Database {
            path: path.to_owned(),
            backend: Backend::Ndb,
            ignored: Vec::new(),
            verify_digests: false,
            source: Source::Ndb(Ndb::new(file, path)),
        }
    }

    /// Its format.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The file that holds its packages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Other databases of the root, which are not read.
    #[must_use]
    pub fn ignored(&self) -> &[(Backend, PathBuf)] {
        &self.ignored
    }

    /// Its state, without reading its packages.
    ///
    /// # Errors
    /// When what says it cannot be read.
    pub fn fingerprint(&self) -> Result<Fingerprint, RpmdbError> {
        match &self.source {
            Source::Ndb(ndb) => ndb.fingerprint(),
            #[cfg(feature = "sqlite")]
            Source::Sqlite(sqlite) => sqlite.fingerprint(),
            Source::Rpm(query) => query.fingerprint(),
        }
    }

    /// The directories that packages own below `prefixes`.
    ///
    /// # Errors
    /// When the database cannot be read as a whole. A package that cannot is in [`Directories::bad`], and has no entries.
    pub fn directories(&self, prefixes: &[Prefix]) -> Result<Directories, RpmdbError> {
        let mut found = match self.source.headers() {
            Err(query) => query.directories(prefixes)?,
            Ok(headers) => self.scan_directories(headers, prefixes)?,
        };
        found.entries.sort_by(by_path);
        Ok(found)
    }

    fn scan_directories(
        &self,
        headers: &dyn Blobs,
        prefixes: &[Prefix],
    ) -> Result<Directories, RpmdbError> {
        let fresh = || (Directories::default(), MOST_TEXT);
        let ask = Ask {
            prefixes: Some(prefixes),
            ..Ask::default()
        };
        let ((found, _), bad) = self.scan(headers, ask, fresh, |(found, room), header| {
            let number = found.packages.len();
            let entries = directories::of(header, prefixes, number, room)?;
            if !entries.is_empty() {
                found.packages.push(header.package()?);
                found.entries.extend(entries);
            }
            Ok(())
        })?;
        Ok(Directories { bad, ..found })
    }

    /// The packages, in the order of the database, and those that cannot be read.
    ///
    /// # Errors
    /// When the database cannot be read as a whole.
    pub fn nevras(&self) -> Result<(Vec<InstalledPackage>, Vec<BadPackage>), RpmdbError> {
        self.nevras_of(None)
    }

    /// As [`Database::nevras`], and only packages with these numbers have to be there.
    pub(super) fn nevras_of(
        &self,
        numbers: Option<&BTreeSet<u64>>,
    ) -> Result<(Vec<InstalledPackage>, Vec<BadPackage>), RpmdbError> {
        let headers = match self.source.headers() {
            Err(query) => return query.packages(),
            Ok(headers) => headers,
        };
        let ask = Ask {
            numbers,
            ..Ask::default()
        };
        self.scan(headers, ask, Vec::new, |found, header| {
            found.push(header.package()?);
            Ok(())
        })
    }

    /// What a package says of its changes, newest first; nothing when there is no such package.
    ///
    /// # Errors
    /// When the database, or that package in it, cannot be read.
    pub fn changelog(&self, nevra: &Nevra) -> Result<Vec<ChangelogEntry>, RpmdbError> {
        let headers = match self.source.headers() {
            Err(query) => return query.changelog(nevra),
            Ok(headers) => headers,
        };
        let marks = self.marks()?;
        let named = marks.as_ref().and_then(|m| m.get(nevra.name.as_bytes()));
        let numbers: Option<BTreeSet<_>> = named.map(|of| of.iter().map(|(_, n)| *n).collect());
        let ask = Ask {
            numbers: numbers.as_ref(),
            ..Ask::default()
        };
        let (found, _) = self.scan(
            headers,
            ask,
            || None,
            |found, header| {
                if header.nevra()? == *nevra {
                    *found = Some(changelog::of(header));
                }
                Ok(())
            },
        )?;
        let read = found.unwrap_or(Ok(Vec::new()));
        read.map_err(|damage| RpmdbError::format(&self.path, format!("package {nevra}: {damage}")))
    }

    /// What tells the packages apart without their headers; `None` where that cannot be had.
    pub(super) fn marks(&self) -> Result<Option<Marks>, RpmdbError> {
        match &self.source {
            #[cfg(feature = "sqlite")]
            Source::Sqlite(sqlite) => sqlite.marks(),
            Source::Ndb(_) | Source::Rpm(_) => Ok(None),
        }
    }

    /// Calls `each` for every header with what `fresh` made, until a scan is through that nobody disturbed; returns what was
    /// made, and what could not be read.
    fn scan<T>(
        &self,
        blobs: &dyn Blobs,
        ask: Ask<'_>,
        fresh: impl Fn() -> T,
        each: impl Fn(&mut T, &Header<'_>) -> Result<(), Damage>,
    ) -> Result<(T, Vec<BadPackage>), RpmdbError> {
        for attempt in 0..ATTEMPTS {
            let mut made = fresh();
            let mut bad = Bad::default();
            let scanned = blobs.for_each(Ask { attempt, ..ask }, &mut |blob| {
                let header = blob
                    .bytes
                    .and_then(|bytes| Header::parse(bytes).map_err(|damage| damage.to_string()));
                match header {
                    Err(why) => bad.add(blob.number, None, why),
                    Ok(header) => {
                        let verified = if self.verify_digests {
                            header.verify()
                        } else {
                            Ok(())
                        };
                        for damage in [verified, each(&mut made, &header)]
                            .into_iter()
                            .filter_map(Result::err)
                        {
                            bad.add(blob.number, Some(&header), damage.to_string());
                        }
                    }
                }
            });
            match scanned {
                Err(RpmdbError::Changed(_)) => {}
                Err(e) => return Err(e),
                Ok(()) if bad.count > MOST_BAD => {
                    let why = format!("{} of its packages cannot be read", bad.count);
                    return Err(RpmdbError::Format(self.path.clone(), why));
                }
                Ok(()) => return Ok((made, bad.packages)),
            }
        }
        Err(RpmdbError::Busy(self.path.clone()))
    }
}

/// The bad packages of a scan.
#[derive(Default)]
struct Bad {
    count: usize,
    /// Not more of them than are told.
    packages: Vec<BadPackage>,
}

impl Bad {
    fn add(&mut self, number: u64, header: Option<&Header<'_>>, why: String) {
        self.count += 1;
        if self.count <= MOST_BAD {
            let nevra = header.and_then(|h| h.nevra().ok());
            let name = nevra.map_or_else(|| format!("number {number}"), |n| n.to_string());
            self.packages.push(BadPackage { name, why });
        }
    }
}

/// Byte by byte: paths are compared part by part else, and `a//b` is then equal to `a/b`.
fn by_path(a: &DirectoryEntry, b: &DirectoryEntry) -> Ordering {
    let paths = a.path.as_os_str().cmp(b.path.as_os_str());
    paths.then(a.package.cmp(&b.package))
}

#[cfg(test)]
mod tests;
