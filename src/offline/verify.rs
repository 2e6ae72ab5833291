//! Whether a plan still fits what is on disk and the system that runs.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::readlinkat;
use nix::sys::stat::SFlag;
use sha2::{Digest, Sha256};

use super::plan::{Base, Plan, SCHEMA};
use super::solution::limited;
use super::{METADATA, PACKAGES};
use crate::sys::beneath;
use crate::sys::hex::to_hex;

/// Most entries of a cache; a distribution has a tenth of them.
const MOST_ENTRIES: usize = 200_000;
/// What the package manager caches of the installed packages, in [`METADATA`]. It is made anew whenever the RPM database
/// is another, so that it is no part of a plan.
pub(super) const INSTALLED: &str = "solv/@System";

/// Why a plan cannot be carried out any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale(Vec<String>);

impl Stale {
    /// The reasons; `None` when there is none.
    #[must_use]
    pub fn by(reasons: Vec<String>) -> Option<Stale> {
        (!reasons.is_empty()).then_some(Stale(limited(reasons)))
    }

    /// The reasons, in words, at least one.
    #[must_use]
    pub fn reasons(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the plan is stale, make it anew with `offline prepare`: ")?;
        f.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for Stale {}

/// Whether everything that `plan` is made of is in `directory`, an open [`super::DIRECTORY`], as it was when the plan was
/// made: each package with its size and SHA-256, each file that the solution depends on, and nothing else that could be
/// taken for one. Reads all of it.
///
/// # Errors
/// [`Stale`], also when something cannot be read.
pub fn verify(plan: &Plan, directory: impl AsFd) -> Result<(), Stale> {
    let directory = directory.as_fd();
    let mut wrong = Vec::new();
    if plan.schema != SCHEMA {
        wrong.push(format!("it is written in the form {}", plan.schema));
    }
    let packages = plan.install.iter();
    let packages = packages.map(|p| (p.file.as_str(), (Some(p.size), p.sha256.as_str())));
    compare(directory, PACKAGES, &packages.collect(), &mut wrong);
    let metadata = plan.metadata.iter();
    let metadata = metadata.map(|(file, sha256)| (file.as_str(), (None, sha256.as_str())));
    compare(directory, METADATA, &metadata.collect(), &mut wrong);
    Stale::by(wrong).map_or(Ok(()), Err)
}

/// Whether `now` is the system that `plan` was made for.
///
/// # Errors
/// [`Stale`], with what is another.
pub fn same_base(plan: &Plan, now: &Base) -> Result<(), Stale> {
    let then = &plan.base;
    let mut wrong = Vec::new();
    if (then.subvolume, &then.uuid) != (now.subvolume, &now.uuid) {
        wrong.push(format!(
            "subvolume {} runs, and it was made for subvolume {}",
            now.subvolume, then.subvolume
        ));
    } else if then.generation != now.generation {
        wrong.push("the running snapshot was changed".into());
    }
    if then.rpmdb != now.rpmdb {
        wrong.push("packages were installed or removed meanwhile".into());
    }
    Stale::by(wrong).map_or(Ok(()), Err)
}

type Wanted<'p> = BTreeMap<&'p str, (Option<u64>, &'p str)>;

/// Compares the files below `place` with those that are wanted.
fn compare(dir: BorrowedFd<'_>, place: &str, wanted: &Wanted<'_>, wrong: &mut Vec<String>) {
    let found = match files(dir, place) {
        Ok(found) => found,
        Err(e) => return wrong.push(format!("{place} cannot be read: {e}")),
    };
    let names: BTreeMap<&str, &Found> = found.iter().map(|f| (f.name.as_str(), f)).collect();
    for name in names.keys().filter(|name| !wanted.contains_key(*name)) {
        wrong.push(format!("{place}/{name} is not part of it"));
    }
    for (name, (size, sha256)) in wanted {
        let Some(found) = names.get(name) else {
            wrong.push(format!("{place}/{name} is missing"));
            continue;
        };
        match found.content(dir, place) {
            Err(e) => wrong.push(format!("{place}/{name} cannot be read: {e}")),
            Ok(found) if size.is_some_and(|size| size != found.size) => {
                wrong.push(format!("{place}/{name} has another size"));
            }
            Ok(found) if found.sha256 != *sha256 => {
                wrong.push(format!("{place}/{name} has another content"));
            }
            Ok(_) => {}
        }
    }
}

/// Size and content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    /// Bytes.
    pub(super) size: u64,
    /// SHA-256 in hexadecimal; of a link `-> ` and its text.
    pub(super) sha256: String,
}

/// A file of a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Its path in the cache.
    pub(super) name: String,
    is_link: bool,
}

impl Found {
    /// A file that is no link.
    #[cfg(test)]
    pub(super) fn plain(name: &str) -> Found {
        Found {
            name: name.to_owned(),
            is_link: false,
        }
    }

    /// Reads it, a file of the cache `place` in `dir`; no link is followed.
    pub(super) fn content(&self, dir: BorrowedFd<'_>, place: &str) -> io::Result<Content> {
        let rel = Path::new(place).join(&self.name);
        if !self.is_link {
            return digest(dir, &rel);
        }
        let parent = beneath::open_dir(dir, rel.parent().unwrap_or(Path::new("")))?;
        let text = readlinkat(parent, rel.file_name().unwrap_or_default())?;
        Ok(Content {
            size: text.len() as u64,
            sha256: format!("-> {}", text.display()),
        })
    }
}

/// The files below `place` in `dir` that count, sorted. Anything else than files and directories is refused, and a name that
/// is no text; among metadata links are possible, with which zypper notes something.
pub(super) fn files(dir: BorrowedFd<'_>, place: &str) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut odd: Option<PathBuf> = None;
    beneath::walk(dir, Path::new(place), MOST_ENTRIES, &mut |path, stat| {
        let rel = path.strip_prefix(place).unwrap_or(path);
        if place == METADATA && rel.starts_with(INSTALLED) {
            return;
        }
        let kind = beneath::kind(stat);
        let is_link = kind == SFlag::S_IFLNK;
        match rel.to_str() {
            Some(_) if kind == SFlag::S_IFDIR => {}
            Some(name) if kind == SFlag::S_IFREG || (is_link && place == METADATA) => {
                found.push(Found {
                    name: name.to_owned(),
                    is_link,
                });
            }
            _ => odd = Some(rel.to_owned()),
        }
    })?;
    if let Some(odd) = odd {
        let text = format!("{} is no plain file", odd.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Reads the file `rel` below `dir`; no link is followed.
pub(super) fn digest(dir: BorrowedFd<'_>, rel: &Path) -> io::Result<Content> {
    let mut file: File = beneath::open_file(dir, rel)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    let mut size = 0;
    loop {
        let read = match file.read(&mut buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        size += read as u64;
    }
    Ok(Content {
        size,
        sha256: to_hex(&hash.finalize()),
    })
}

/// SHA-256 of `bytes`, in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    to_hex(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::symlink;

    use super::super::testing;
    use super::*;
    use crate::package::archive::Identity;

    /// A directory with a plan that fits: one package, one file of metadata.
    fn directory() -> (tempfile::TempDir, Plan) {
        let dir = tempfile::tempdir().unwrap();
        for (place, file) in [(PACKAGES, "r/a.rpm"), (METADATA, "raw/r/repomd.xml")] {
            let path = dir.path().join(place).join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file).unwrap();
        }
        let identity = Identity {
            name: "a".into(),
            arch: "noarch".into(),
            evr: "1-1".into(),
        };
        let mut plan = testing::plan();
        let mut package = testing::package(&identity, None);
        let fd = beneath::open_root(dir.path()).unwrap();
        let content = digest(fd.as_fd(), Path::new("packages/r/a.rpm")).unwrap();
        package.file = "r/a.rpm".into();
        (package.size, package.sha256) = (content.size, content.sha256);
        plan.install.push(package);
        let content = digest(fd.as_fd(), Path::new("metadata/raw/r/repomd.xml")).unwrap();
        plan.metadata
            .push(("raw/r/repomd.xml".into(), content.sha256));
        (dir, plan)
    }

    fn open(dir: &tempfile::TempDir) -> OwnedFd {
        beneath::open_root(dir.path()).unwrap()
    }

    #[test]
    fn a_digest_is_written_as_sha256sum_writes_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "abc").unwrap();
        let content = digest(open(&dir).as_fd(), Path::new("f")).unwrap();
        assert_eq!(content.size, 3);
        assert_eq!(
            content.sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn what_is_as_it_was_fits_also_with_a_new_cache_of_what_is_installed() {
        let (dir, plan) = directory();
        verify(&plan, open(&dir)).unwrap();
        let installed = dir.path().join(METADATA).join(INSTALLED);
        std::fs::create_dir_all(&installed).unwrap();
        std::fs::write(installed.join("solv"), "x").unwrap();
        verify(&plan, open(&dir)).unwrap();
    }

    #[test]
    fn a_link_among_the_metadata_is_compared_by_its_text() {
        let (dir, mut plan) = directory();
        let note = dir.path().join("metadata/raw/r/.repo_gpgcheck");
        symlink("./accepted", &note).unwrap();
        plan.metadata
            .push(("raw/r/.repo_gpgcheck".into(), "-> ./accepted".into()));
        verify(&plan, open(&dir)).unwrap();
        for spoil in [
            |p: &Path| symlink("./x", p),
            |p: &Path| std::fs::write(p, "-> ./accepted"),
        ] {
            std::fs::remove_file(&note).unwrap();
            spoil(&note).unwrap();
            let stale = verify(&plan, open(&dir)).unwrap_err();
            assert_eq!(
                stale.reasons(),
                ["metadata/raw/r/.repo_gpgcheck has another content"]
            );
        }
    }

    type Spoil = fn(&Path);

    #[test]
    fn whatever_is_missing_changed_or_added_is_named() {
        let cases: [(&str, Spoil); 9] = [
            ("packages/r/a.rpm is missing", |d| {
                std::fs::remove_file(d.join("packages/r/a.rpm")).unwrap();
            }),
            ("packages/r/a.rpm is missing", |d| {
                std::fs::rename(d.join("packages"), d.join("elsewhere")).unwrap();
            }),
            ("packages/r/a.rpm has another content", |d| {
                std::fs::write(d.join("packages/r/a.rpm"), "R/A.RPM").unwrap();
            }),
            ("packages/r/a.rpm has another size", |d| {
                std::fs::write(d.join("packages/r/a.rpm"), "").unwrap();
            }),
            ("packages/r/b.rpm is not part of it", |d| {
                std::fs::write(d.join("packages/r/b.rpm"), "").unwrap();
            }),
            ("metadata/raw/r/repomd.xml has another content", |d| {
                std::fs::write(d.join("metadata/raw/r/repomd.xml"), "x").unwrap();
            }),
            ("metadata/raw/r/repomd.xml is missing", |d| {
                std::fs::remove_file(d.join("metadata/raw/r/repomd.xml")).unwrap();
            }),
            ("metadata/raw/s is not part of it", |d| {
                std::fs::write(d.join("metadata/raw/s"), "x").unwrap();
            }),
            ("packages cannot be read: r/a.rpm is no plain file", |d| {
                let file = d.join("packages/r/a.rpm");
                std::fs::rename(&file, d.join("a")).unwrap();
                symlink(d.join("a"), file).unwrap();
            }),
        ];
        for (words, spoil) in cases {
            let (dir, plan) = directory();
            spoil(dir.path());
            let stale = verify(&plan, open(&dir)).unwrap_err();
            assert_eq!(stale.reasons(), [words]);
        }
    }

    #[test]
    fn a_link_in_place_of_a_directory_is_not_followed() {
        let (dir, plan) = directory();
        std::fs::rename(dir.path().join("packages"), dir.path().join("p")).unwrap();
        symlink("p", dir.path().join("packages")).unwrap();
        let stale = verify(&plan, open(&dir)).unwrap_err();
        assert_eq!(stale.reasons(), ["packages/r/a.rpm is missing"]);
    }

    #[test]
    fn a_plan_of_another_version_of_the_program_does_not_fit() {
        let (dir, mut plan) = directory();
        plan.schema += 1;
        assert_eq!(verify(&plan, open(&dir)).unwrap_err().reasons().len(), 1);
    }

    #[test]
    fn another_system_is_told_apart_by_what_is_another() {
        let plan = testing::plan();
        let same = testing::base();
        assert_eq!(same_base(&plan, &same), Ok(()));
        let other = |change: fn(&mut Base)| {
            let mut now = testing::base();
            change(&mut now);
            same_base(&plan, &now).unwrap_err().reasons().join("; ")
        };
        assert!(other(|b| b.subvolume = 257).contains("subvolume 257 runs"));
        assert!(other(|b| b.uuid.clear()).contains("it was made for subvolume 256"));
        assert!(other(|b| b.rpmdb.clear()).contains("installed or removed"));
        assert!(other(|b| b.generation = None).contains("was changed"));
        assert!(other(|b| b.generation = Some(8)).contains("was changed"));
    }
}
