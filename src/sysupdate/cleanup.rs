//! Removing what was installed once, and what no transfer that takes part owns any more.
//!
//! The plan is made before anything goes, and one thing that cannot be read keeps all. Invariant: nothing goes that an enabled transfer
//! of any collection owns, by whatever path, that holds such a thing or is in one; nor a version that is protected, that runs, or that a
//! link shows to. No link is followed on the way to what goes.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;

use super::definition::Kind;
use super::directory::{self, Side};
use super::installdb::{Database, Entry, Place};
use super::instance::{Instance, Resource, Spot};
use super::owned::{Owned, id, real_path};
use super::pattern::PatternList;
use super::place::Ground;
use super::remove;
use super::survey::Survey;
use super::version::Version;
use crate::sys::{beneath, out, root, signal};

/// Something that goes.
#[derive(Debug, Clone)]
pub struct Unowned {
    /// Its version.
    pub version: Version,
    /// Its path, with that of the root.
    pub shown: PathBuf,
    /// The directory in which it was looked for, in the root.
    dir: PathBuf,
    /// Where it is below that.
    path: PathBuf,
}

/// What goes, and which entries are of no use then.
#[derive(Debug, Default)]
pub struct Plan {
    /// What goes, by its paths.
    pub unowned: Vec<Unowned>,
    /// Names of entries.
    forgotten: Vec<OsString>,
}

/// What has been found by an entry.
struct Candidate {
    entry: usize,
    found: Unowned,
    real: PathBuf,
    id: (u64, u64),
}

/// What goes by the entries of `database`, of what is not `owned` by enabled transfers of any collection; `survey` is of the one that is
/// cleaned up, and `booted` the version that is in use. Entries that are none are told.
///
/// # Errors
/// When anything cannot be read.
pub fn plan(
    ground: Ground<'_>,
    survey: &Survey<'_>,
    booted: Option<&Version>,
    mut owned: Owned,
    database: &Database<'_>,
) -> Result<Plan> {
    let entries = database.entries()?;
    for resource in &survey.disabled {
        owned.add_link(ground, resource.transfer)?;
    }
    let mut plan = Plan::default();
    let mut candidates = Vec::new();
    let mut is_useful = vec![false; entries.len()];
    for (number, Entry { name, place }) in entries.iter().enumerate() {
        let Some(place) = place else {
            let shown = out::path(&database.path().join(name));
            out::warn(format_args!(
                "Malformed install database entry {shown}, expunging."
            ));
            continue;
        };
        let about = || format!("looking for {} in {}", place.pattern, out::path(&place.dir));
        let found = candidates_of(ground, number, place).with_context(about)?;
        match found {
            Some(found) => candidates.extend(found),
            None => is_useful[number] = true,
        }
    }
    let kept = kept_versions(ground, survey, booted, &owned, &candidates)?;
    let protected: Vec<&String> = all(survey).flat_map(|r| &r.transfer.protected).collect();
    let stays = |candidate: &Candidate| {
        let version = &candidate.found.version;
        kept.contains(version) || protected.iter().any(|text| version.is_text(text))
    };
    // before the others: what is in one that goes would go with it
    let stay = candidates.iter().filter(|c| stays(c));
    stay.for_each(|c| owned.keep(c.real.clone()));
    for candidate in candidates {
        if owned.has(&candidate.real, candidate.id) || stays(&candidate) {
            // what is owned needs its entry for the time when it is not
            is_useful[candidate.entry] = true;
        } else {
            plan.unowned.push(candidate.found);
        }
    }
    plan.unowned.sort_by(|a, b| a.shown.cmp(&b.shown));
    plan.unowned.dedup_by(|a, b| a.shown == b.shown);
    let useless = entries.into_iter().zip(is_useful).filter(|(_, is)| !is);
    plan.forgotten = useless.map(|(entry, _)| entry.name).collect();
    Ok(plan)
}

/// Removes what `plan` says, each durable before the next where `ground` is, and then the entries. `told` is given each once it is gone.
///
/// # Errors
/// The first that cannot be removed; its entry is still there, so that the next call goes on.
pub fn execute(
    ground: Ground<'_>,
    plan: &Plan,
    database: &Database<'_>,
    told: &dyn Fn(&Unowned),
) -> Result<()> {
    for unowned in &plan.unowned {
        signal::check()?;
        let about = || format!("removing {}", out::path(&unowned.shown));
        if let Some(dir) = open(ground, &unowned.dir).with_context(about)? {
            remove::remove(dir.as_fd(), &unowned.path, ground.is_durable).with_context(about)?;
        }
        told(unowned);
    }
    database.forget(&plan.forgotten, ground.is_durable)
}

/// Opens a directory of the system without following a link; `None` when there is none.
fn open(ground: Ground<'_>, dir: &Path) -> io::Result<Option<OwnedFd>> {
    match beneath::open_dir(
        beneath::open_root(ground.root.path())?,
        &root::relative(dir),
    ) {
        Err(e) if is_link(&e) => Err(e),
        Err(e) if beneath::is_no_directory(&e) => Ok(None),
        other => other.map(Some),
    }
}

fn is_link(e: &io::Error) -> bool {
    e.raw_os_error() == Some(Errno::ELOOP as i32)
}

/// What is there of an entry; `None` when it is behind a link.
fn candidates_of(
    ground: Ground<'_>,
    entry: usize,
    place: &Place,
) -> Result<Option<Vec<Candidate>>> {
    let shown = ground.root.join(&place.dir);
    let dir = match open(ground, &place.dir) {
        Err(e) if is_link(&e) => {
            let pattern = &place.pattern;
            out::warn(format_args!(
                "{}: a symbolic link is on the way, which is not followed; what {pattern} matches there stays.",
                out::path(&shown)
            ));
            return Ok(None);
        }
        other => other?,
    };
    let Some(dir) = dir else {
        return Ok(Some(Vec::new()));
    };
    let real = real_path(&dir)?;
    let patterns: PatternList = [place.pattern.clone()].into_iter().collect();
    let mut found = Vec::new();
    // an entry does not tell which of them it was
    for kind in [Kind::RegularFile, Kind::Directory] {
        for instance in directory::list(&dir, &shown, &patterns, kind, Side::Target)? {
            let Instance {
                spot: Spot::Path(path),
                version,
                ..
            } = instance
            else {
                continue;
            };
            // it went in the meantime
            let Some(id) = id(&dir, &path)? else { continue };
            found.push(Candidate {
                entry,
                real: real.join(&path),
                id,
                found: Unowned {
                    version,
                    shown: shown.join(&path),
                    dir: place.dir.clone(),
                    path,
                },
            });
        }
    }
    Ok(Some(found))
}

fn all<'s, 'd>(survey: &'s Survey<'d>) -> impl Iterator<Item = &'s Resource<'d>> {
    survey.enabled.iter().chain(&survey.disabled)
}

/// The versions that run, or that links of transfers show to, whether these take part or not.
fn kept_versions(
    ground: Ground<'_>,
    survey: &Survey<'_>,
    booted: Option<&Version>,
    owned: &Owned,
    candidates: &[Candidate],
) -> Result<Vec<Version>> {
    let mut kept: Vec<Version> = booted.cloned().into_iter().collect();
    for resource in all(survey) {
        let at = ground.linked(resource)?;
        kept.extend(at.map(|at| resource.target[at].version.clone()));
    }
    // a link may still show to what its transfer does not know any more
    let shown = candidates.iter().filter(|c| owned.is_shown(&c.found.shown));
    kept.extend(shown.map(|candidate| candidate.found.version.clone()));
    Ok(kept)
}
