//! Which of the directories in the database are wanted, and with which attributes.
//!
//! Pure: it looks at nothing but what it is given, and the order of the packages in the database has no influence on the
//! result.

use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::report::Reason;
use crate::rpmdb::{Directories, DirectoryEntry, FileState, Nevra, Prefix, order};
use crate::sys::out;

/// Most bytes of a path that the kernel takes, without the NUL at its end (path_resolution(7)).
const LONGEST: usize = 4095;

/// Places that are made anew at each boot, below the root; two are links into the third (file-hierarchy(7)).
const VOLATILE: [&[u8]; 3] = [b"var/run", b"var/lock", b"run"];

/// What decides beside the database.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'a> {
    /// Below one of these.
    pub(super) prefixes: &'a [Prefix],
    /// Not below one of these.
    pub(super) excluded: &'a [Prefix],
    /// Whether those that packages only own are wanted.
    pub(super) with_ghosts: bool,
    /// Not below one of these mount points.
    pub(super) unmounted: &'a [Prefix],
}

/// A directory of packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selected {
    /// As the database has it.
    pub(super) path: PathBuf,
    /// Permission bits.
    pub(super) mode: u32,
    /// Owner.
    pub(super) user: OsString,
    /// Group.
    pub(super) group: OsString,
    /// The packages it belongs to, first the one whose wishes count.
    pub(super) packages: Vec<String>,
    /// Why it is not wanted; `None` when it is.
    pub(super) skip: Option<Reason>,
}

/// The directories below the prefixes, each once and sorted by path, with those that are not wanted; and a sentence for
/// each that packages disagree about.
pub(super) fn select(found: &Directories, rules: Rules<'_>) -> (Vec<Selected>, Vec<String>) {
    let mut claims: Vec<Claim<'_>> = found
        .entries
        .iter()
        .filter(|entry| is_below(&entry.path, rules.prefixes))
        .filter_map(|entry| Claim::of(entry, found))
        .collect();
    claims.sort_by(|a, b| by_path(&a.entry.path, &b.entry.path).then_with(|| b.rank(a)));
    let mut warnings = Vec::new();
    let same_path =
        |a: &Claim<'_>, b: &Claim<'_>| a.entry.path.as_os_str() == b.entry.path.as_os_str();
    let selected = claims
        .chunk_by(same_path)
        .filter_map(|same| choose(same, rules, &mut warnings))
        .collect();
    (selected, warnings)
}

/// What one package says about a directory.
#[derive(Debug, Clone, Copy)]
struct Claim<'a> {
    entry: &'a DirectoryEntry,
    nevra: &'a Nevra,
    installed: (u32, Option<u32>),
}

impl<'a> Claim<'a> {
    fn of(entry: &'a DirectoryEntry, found: &'a Directories) -> Option<Claim<'a>> {
        let package = found.packages.get(entry.package)?;
        Some(Claim {
            entry,
            nevra: &package.nevra,
            installed: (package.install_time, package.transaction),
        })
    }

    /// The highest counts: it was installed last, and is what rpm left on disk. The rest only makes that one certain; of two
    /// versions that came in one second it is the newer one.
    fn rank(&self, other: &Self) -> Ordering {
        let versions = || order::versions(self.nevra, other.nevra);
        let rest = |c: &Claim<'a>| (c.nevra, c.entry.mode, &c.entry.user, &c.entry.group);
        (self.installed, &self.nevra.name)
            .cmp(&(other.installed, &other.nevra.name))
            .then_with(versions)
            .then_with(|| rest(self).cmp(&rest(other)))
    }

    fn wishes(&self) -> Wishes<'a> {
        Wishes {
            mode: self.entry.mode,
            user: &self.entry.user,
            group: &self.entry.group,
        }
    }
}

/// What a directory is to be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wishes<'a> {
    pub(super) mode: u32,
    pub(super) user: &'a OsStr,
    pub(super) group: &'a OsStr,
}

impl fmt::Display for Wishes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [user, group] = [self.user, self.group].map(|name| out::path(Path::new(name)));
        write!(f, "{:04o} {user}:{group}", self.mode)
    }
}

/// What becomes of a directory that these claims, highest first, are about.
fn choose(claims: &[Claim<'_>], rules: Rules<'_>, warnings: &mut Vec<String>) -> Option<Selected> {
    let is_there = |c: &&Claim<'_>| c.entry.state == FileState::Normal;
    let brought: Vec<_> = claims
        .iter()
        .filter(is_there)
        .filter(|c| !c.entry.is_ghost)
        .collect();
    let ghosts: Vec<_> = claims
        .iter()
        .filter(is_there)
        .filter(|c| c.entry.is_ghost)
        .collect();
    let path = &claims.first()?.entry.path;
    let refused = refusal(path, rules);
    // rpm makes no ghosts, so what a package brings counts even when another one's ghost came later
    let (counting, skip) = match (brought.is_empty(), ghosts.is_empty()) {
        (false, _) => (brought, refused),
        (true, false) if rules.with_ghosts => (ghosts, refused),
        (true, false) => (ghosts, refused.or(Some(Reason::Ghost))),
        (true, true) => {
            let state = claims.first()?.entry.state;
            (claims.iter().collect(), refused.or(absence(state)))
        }
    };
    let winner = *counting.first()?;
    if skip.is_none() {
        warnings.extend(conflict(path, winner, &counting));
    }
    let mut packages = vec![winner.nevra.to_string()];
    for claim in &counting {
        let name = claim.nevra.to_string();
        if !packages.contains(&name) {
            packages.push(name);
        }
    }
    packages[1..].sort();
    Some(Selected {
        path: path.clone(),
        mode: winner.entry.mode,
        user: winner.entry.user.clone(),
        group: winner.entry.group.clone(),
        packages,
        skip,
    })
}

/// A sentence about the packages that wish something else than the one that counts.
fn conflict(path: &Path, winner: &Claim<'_>, claims: &[&Claim<'_>]) -> Option<String> {
    let counts = winner.wishes();
    let mut others: Vec<String> = claims
        .iter()
        .filter(|claim| claim.wishes() != counts)
        .map(|claim| format!("{} wants {}", claim.nevra, claim.wishes()))
        .collect();
    others.sort();
    others.dedup();
    (!others.is_empty()).then(|| {
        format!(
            "{}: {} was installed last and counts with {counts}, but {}",
            out::path(path),
            winner.nevra,
            others.join(", and ")
        )
    })
}

/// Why a directory of that state is not on disk.
fn absence(state: FileState) -> Option<Reason> {
    match state {
        FileState::Normal => None,
        FileState::Replaced => Some(Reason::Replaced),
        FileState::NotInstalled => Some(Reason::NotInstalled),
        FileState::NetShared => Some(Reason::NetShared),
        FileState::WrongColour => Some(Reason::WrongColour),
        FileState::Unknown(_) => Some(Reason::UnknownState),
    }
}

/// Why nothing is made at that path, whoever wants it.
pub(super) fn refusal(path: &Path, rules: Rules<'_>) -> Option<Reason> {
    let bytes = path.as_os_str().as_bytes();
    let Some(rel) = bytes.strip_prefix(b"/") else {
        return Some(Reason::UnsafePath);
    };
    let is_odd = |part: &[u8]| matches!(part, b"" | b"." | b"..") || part.contains(&0);
    match () {
        () if bytes.len() > LONGEST || rel.split(|b| *b == b'/').any(is_odd) => {
            Some(Reason::UnsafePath)
        }
        () if VOLATILE.iter().any(|top| is_or_is_in(rel, top)) => Some(Reason::Volatile),
        () if is_below(path, rules.excluded) => Some(Reason::Excluded),
        () if is_below(path, rules.unmounted) => Some(Reason::NotMounted),
        () => None,
    }
}

/// Whether `path` lies below one of the prefixes.
pub(super) fn is_below(path: &Path, prefixes: &[Prefix]) -> bool {
    let bytes = path.as_os_str().as_bytes();
    prefixes.iter().any(|prefix| prefix.holds(bytes))
}

fn is_or_is_in(rel: &[u8], top: &[u8]) -> bool {
    rel.strip_prefix(top)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Paths compare by components, so that what lies in a directory follows it directly; those of the same components by
/// their bytes.
fn by_path(a: &Path, b: &Path) -> Ordering {
    a.cmp(b).then_with(|| a.as_os_str().cmp(b.as_os_str()))
}

#[cfg(test)]
mod tests;
