//! What the last run left for the next one, so that a boot at which nothing has changed need not read the database.
//!
//! It is only ever a shortcut: whatever is wrong with it, the database is scanned. Everything in it is checked against what
//! is there now.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::dir::{Dir, Type};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Request;
use super::owner::Accounts;
use super::places::{Identity, Place};
use super::report::Reason;
use super::select::Selected;
use crate::rpmdb::{Fingerprint, Prefix};
use crate::sys::root::{INSIDE, descriptor_path, inside};
use crate::sys::{beneath, fs};

/// Its directory, below the root.
const DIRECTORY: &str = "var/lib/transactional-update";
/// Its name there.
const NAME: &str = "create-dirs.json";
/// What is written now; another number is one of another program version.
const FORMAT: u32 = 1;
/// Most bytes that are read: more than a hundred thousand directories.
const MOST: u64 = 32 << 20;

/// A path or a name: text where it is, else its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name(pub(super) OsString);

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Some(text) => serializer.serialize_str(text),
            None => serializer.collect_seq(self.0.as_bytes()),
        }
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        struct TextOrBytes;
        impl<'de> Visitor<'de> for TextOrBytes {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, or a list of bytes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Name, E> {
                Ok(Name(text.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Name, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = list.next_element()? {
                    bytes.push(byte);
                }
                Ok(Name(OsString::from_vec(bytes)))
            }
        }
        deserializer.deserialize_any(TextOrBytes)
    }
}

impl Name {
    /// That of the user and the group 0.
    fn root() -> Name {
        Name("root".into())
    }

    fn is_root(&self) -> bool {
        self.0 == "root"
    }

    /// As a path.
    pub(super) fn path(&self) -> &Path {
        Path::new(&self.0)
    }
}

/// What must be the same for a stamp to count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Basis {
    format: u32,
    root: Option<Identity>,
    database: Fingerprint,
    options: Options,
}

/// What was asked for, as far as it decides which directories are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Options {
    prefixes: Vec<Name>,
    excluded: Vec<Name>,
    ghosts: bool,
    database: Option<Name>,
    digests: bool,
}

impl Basis {
    /// As it is now.
    pub(super) fn new(top: &OwnedFd, database: Fingerprint, request: &Request) -> Basis {
        let names = |prefixes: &[Prefix]| {
            let mut paths: Vec<_> = prefixes.iter().map(Prefix::path).collect();
            paths.sort();
            paths.dedup();
            paths.into_iter().map(|p| Name(p.into())).collect()
        };
        Basis {
            format: FORMAT,
            root: Identity::of(top, Path::new("")),
            database,
            options: Options {
                prefixes: names(&request.prefixes),
                excluded: names(&request.excluded),
                ghosts: request.with_ghosts,
                database: request.database.as_ref().map(|d| Name(d.into())),
                digests: request.verify_digests,
            },
        }
    }
}

/// How a wanted directory was left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// It is not there, for this reason.
    pub(super) pending: Option<Reason>,
    /// This symbolic link, a path below the root, stands for it or for something above it.
    pub(super) link: Option<PathBuf>,
}

impl Standing {
    /// Not there, for this reason.
    pub(super) fn pending(reason: Reason) -> Standing {
        Standing {
            pending: Some(reason),
            link: None,
        }
    }
}

/// A directory that is wanted or was refused, and how it was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Listed {
    path: Name,
    mode: u32,
    // most belong to root: what is not written need not be read at each boot
    #[serde(default = "Name::root", skip_serializing_if = "Name::is_root")]
    user: Name,
    #[serde(default = "Name::root", skip_serializing_if = "Name::is_root")]
    group: Name,
    /// Places in the stamp's list of packages.
    packages: Vec<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending: Option<Reason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link: Option<Name>,
}

impl Listed {
    /// Whether it is not as it should be and as it was left.
    fn is_due(&self, top: &OwnedFd) -> bool {
        self.pending.is_some()
            || match &self.link {
                Some(link) => !is(top, SFlag::S_IFLNK, link.path()),
                None => !is(top, SFlag::S_IFDIR, self.path.path()),
            }
    }
}

/// Whether `path` is of this kind. Only looked at: nothing is done on account of what a link on the way leads to.
fn is(top: &OwnedFd, kind: SFlag, path: &Path) -> bool {
    let rel = path.strip_prefix(INSIDE).unwrap_or(path);
    let stat = beneath::stat_at(top, rel.as_os_str());
    stat.is_ok_and(|stat| beneath::kind(&stat) == kind)
}

/// Whether each of `names`, sorted, is a directory in `dir`. One listing tells that of many, where not much else is there:
/// at a boot with nothing to do, asking for each would take most of the time.
fn holds(top: &OwnedFd, dir: &Path, names: &[&OsStr]) -> bool {
    const WORTH_A_LISTING: usize = 8;
    let listed = || -> nix::Result<usize> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOATIME | OFlag::O_CLOEXEC;
        let rel = dir.strip_prefix(INSIDE).unwrap_or(dir);
        let mut dir = Dir::openat(top, rel, flags, Mode::empty())?;
        let entries = dir.iter().take(2 * names.len()).flatten();
        let wanted = entries.filter(|entry| {
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            entry.file_type() == Some(Type::Directory) && names.binary_search(&name).is_ok()
        });
        Ok(wanted.count())
    };
    (names.len() >= WORTH_A_LISTING && listed() == Ok(names.len()))
        || names
            .iter()
            .all(|name| is(top, SFlag::S_IFDIR, &dir.join(name)))
}

/// The stamp.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    basis: Basis,
    places: Vec<Place>,
    /// When something waits for a user or a group.
    accounts: Option<Accounts>,
    /// Whether systemd-tmpfiles has done its part.
    tmpfiles: bool,
    packages: Vec<String>,
    directories: Vec<Listed>,
}

impl Stamp {
    /// One that says how `directories`, sorted by path, were left.
    pub(super) fn new(
        basis: Basis,
        places: Vec<Place>,
        accounts: Accounts,
        tmpfiles: bool,
        directories: &[(Selected, Standing)],
    ) -> Stamp {
        let mut numbers = BTreeMap::new();
        let mut packages = Vec::new();
        let mut number = |name: &String| {
            *numbers.entry(name.clone()).or_insert_with(|| {
                packages.push(name.clone());
                u32::try_from(packages.len() - 1).unwrap_or(u32::MAX)
            })
        };
        let list = |(wanted, left): &(Selected, Standing)| Listed {
            path: Name(wanted.path.clone().into()),
            mode: wanted.mode,
            user: Name(wanted.user.clone()),
            group: Name(wanted.group.clone()),
            packages: wanted.packages.iter().map(&mut number).collect(),
            pending: left.pending,
            link: left.link.clone().map(|link| Name(link.into())),
        };
        let directories: Vec<Listed> = directories.iter().map(list).collect();
        let waits = |d: &Listed| d.pending.is_some_and(Reason::is_waiting);
        Stamp {
            accounts: directories.iter().any(waits).then_some(accounts),
            basis,
            places,
            tmpfiles,
            packages,
            directories,
        }
    }

    /// The stamp of the last run in the system whose root directory `top` is, when all is as it was then but for the
    /// directories themselves. Otherwise `None`, and why that is goes to the log.
    pub(super) fn read(top: &OwnedFd, basis: &Basis) -> Option<Stamp> {
        let stamp = bytes(top).and_then(|b| Ok(serde_json::from_slice::<Stamp>(&b)?));
        match stamp {
            Err(e) => tracing::debug!("there is no stamp that can be read: {e}"),
            Ok(stamp) if stamp.basis != *basis => tracing::debug!("the stamp is of another state"),
            Ok(stamp) if !stamp.places.iter().all(|place| place.is_unchanged(top)) => {
                tracing::debug!("something else is mounted since the stamp was made");
            }
            Ok(stamp) => return Some(stamp),
        }
        None
    }

    /// Whether something is to be done.
    pub(super) fn is_due(&self, top: &OwnedFd) -> bool {
        let mut below: BTreeMap<&Path, Vec<&OsStr>> = BTreeMap::new();
        for listed in &self.directories {
            let path = listed.path.path();
            match (path.parent(), path.file_name()) {
                (Some(parent), Some(name)) if listed.link.is_none() && listed.pending.is_none() => {
                    below.entry(parent).or_default().push(name);
                }
                _ if listed.is_due(top) => return true,
                _ => {}
            }
        }
        below.iter().any(|(dir, names)| !holds(top, dir, names))
    }

    /// The directories, sorted by path, and whether each is to be worked on.
    pub(super) fn directories(&self, top: &OwnedFd) -> Vec<(Selected, Standing, bool)> {
        let package = |number: &u32| self.packages.get(usize::try_from(*number).ok()?).cloned();
        let unlist = |d: &Listed| {
            let wanted = Selected {
                path: d.path.path().to_owned(),
                mode: d.mode,
                user: d.user.0.clone(),
                group: d.group.0.clone(),
                packages: d.packages.iter().filter_map(package).collect(),
                skip: None,
            };
            let standing = Standing {
                pending: d.pending,
                link: d.link.as_ref().map(|link| link.path().to_owned()),
            };
            (wanted, standing, d.is_due(top))
        };
        self.directories.iter().map(unlist).collect()
    }

    /// Whether systemd-tmpfiles has done its part.
    pub(super) fn has_tmpfiles(&self) -> bool {
        self.tmpfiles
    }

    /// The places whose file systems it depends on.
    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    /// The state of the users and groups for which something waited.
    pub(super) fn accounts(&self) -> Option<&Accounts> {
        self.accounts.as_ref()
    }

    /// Makes it the one that the next run finds in the system whose root directory `top` is.
    pub(super) fn write(&self, top: &OwnedFd) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        beneath::make_dirs(top, Path::new(DIRECTORY), 0o755)?;
        let dir = beneath::open_dir(top, Path::new(DIRECTORY))?;
        fs::replace(&descriptor_path(dir.as_fd()).join(NAME), &text)
    }
}

/// Where it is, as the system calls it.
pub(super) fn path() -> PathBuf {
    inside(&Path::new(DIRECTORY).join(NAME))
}

/// Removes what a run that was cut off left of a stamp. No other run may be going on.
pub(super) fn remove_temporaries(top: &OwnedFd) -> io::Result<()> {
    match beneath::open_dir(top, Path::new(DIRECTORY)) {
        Err(e) if beneath::is_no_directory(&e) => Ok(()),
        dir => fs::remove_temporaries(&descriptor_path(dir?.as_fd()).join(NAME)),
    }
}

fn bytes(top: &OwnedFd) -> io::Result<Vec<u8>> {
    let dir = beneath::open_dir(top, Path::new(DIRECTORY))?;
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = File::from(openat(&dir, NAME, flags, Mode::empty())?);
    let stat = file.metadata()?;
    if !stat.is_file() || stat.len() > MOST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(stat.len()).unwrap_or(0) + 1);
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
