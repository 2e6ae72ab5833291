//! What a merge is going to do: three trees are read, nothing is changed.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::attribute::{self, Part};
use super::entry::Entry;
use super::rules::{Fate, Kind, Pair, decide};
use super::tree::{Found, Tree, deep, same_trees, told};
use crate::sys::{Doing, Failure};

/// Suffix of the administrator's version of what the new snapshot changed as well. Programs that read all files of
/// a directory skip it, and rpmconfigcheck(8) finds it.
const SAVED: &str = ".rpmsave";
/// Longest name of a file (`NAME_MAX`).
const LONGEST_NAME: usize = 255;
/// Bytes of a path, with the NUL behind it, at most (`PATH_MAX`).
const LONGEST_PATH: usize = 4096;
/// Names that are tried for one copy.
const MOST_COPIES: u32 = 1000;

/// The three states of /etc of a merge.
pub struct Trees {
    /// What the other two come from: the syncpoint.
    pub base: Tree,
    /// The one with the administrator's edits: that of the system that ran before.
    pub ours: Tree,
    /// The new snapshot's, into which is merged.
    pub theirs: Tree,
}

/// A step of a merge. Each leaves the path in its old or in its new state, never between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// The administrator's object, of a directory without what it holds.
    Take(PathBuf),
    /// One more name of what has been taken.
    Link(PathBuf, PathBuf),
    /// The administrator's object with everything in it, under another name.
    Save(PathBuf, PathBuf),
    Remove(PathBuf),
    SetPart(PathBuf, Part),
    SetTime(PathBuf),
}

impl Action {
    /// What it changes in the new /etc: the objects, and the directory that a name of it is in.
    pub(super) fn touches(&self) -> impl Iterator<Item = &Path> {
        let (path, also) = match self {
            Action::Save(_, to) => (to, None),
            Action::Link(path, to) => (path, Some(to.as_path())),
            Action::Take(path)
            | Action::Remove(path)
            | Action::SetPart(path, _)
            | Action::SetTime(path) => (path, None),
        };
        [path.parent(), Some(path.as_path()), also]
            .into_iter()
            .flatten()
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Take(path) => write!(f, "take {}", told(path)),
            Action::Link(path, to) => write!(f, "take {} as a link to {}", told(path), told(to)),
            Action::Save(path, to) => write!(f, "keep {} as {}", told(path), told(to)),
            Action::Remove(path) => write!(f, "remove {}", told(path)),
            Action::SetPart(path, part) => write!(f, "set {} of {}", part.name(), told(path)),
            Action::SetTime(path) => write!(f, "set the time of {}", told(path)),
        }
    }
}

/// What both sides changed. The new snapshot's version is the one that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Relative to /etc.
    pub path: PathBuf,
    /// What became of the administrator's.
    pub kind: ConflictKind,
}

/// What became of the administrator's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConflictKind {
    /// It is kept under this path, relative to /etc.
    Saved(PathBuf),
    /// The administrator had removed it; it is there again.
    Removed,
    /// Attributes of a directory (`mode`, `owner`, names of extended attributes): those of the new snapshot stay.
    Attributes(Vec<String>),
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = told(&self.path);
        match &self.kind {
            ConflictKind::Saved(kept) => write!(
                f,
                "{path} was changed on both sides: the new version stays, yours is {}",
                told(kept)
            ),
            ConflictKind::Removed => write!(
                f,
                "{path}, which you had removed, was changed by the update: it is there again"
            ),
            ConflictKind::Attributes(names) => write!(
                f,
                "{path}: the new version stays of what both sides changed: {}",
                names.join(", ")
            ),
        }
    }
}

/// What a merge is going to do. [`Plan::apply`] does it.
#[derive(Debug, Default)]
pub struct Plan {
    pub(super) actions: Vec<Action>,
    conflicts: Vec<Conflict>,
    foreign: Vec<PathBuf>,
}

impl Plan {
    /// Compares the three trees. A base that has been merged already leaves nothing to do.
    ///
    /// # Errors
    /// When one of them cannot be read; the path is named.
    pub fn of(trees: &Trees) -> Result<Plan, Failure> {
        let mut planner = Planner {
            trees,
            plan: Plan::default(),
            claimed: HashSet::new(),
            links: HashMap::new(),
        };
        if !trees.base.is_merged() {
            deep(|| planner.path(Path::new(""))).doing(|| "starting a thread".into())??;
        }
        Ok(planner.plan)
    }

    /// The steps, each as a line.
    pub fn steps(&self) -> impl Iterator<Item = String> {
        self.actions.iter().map(Action::to_string)
    }

    /// What both sides changed. The same for every repetition of a merge.
    #[must_use]
    pub fn conflicts(&self) -> &[Conflict] {
        &self.conflicts
    }

    /// Mount points and nested subvolumes, and what has a path too long for the kernel: left alone.
    #[must_use]
    pub fn foreign(&self) -> &[PathBuf] {
        &self.foreign
    }
}

struct Planner<'t> {
    trees: &'t Trees,
    plan: Plan,
    /// Names for copies that are given away: the same ones in each repetition, whatever is there already.
    claimed: HashSet<PathBuf>,
    /// Files of ours with several names, and where theirs has the same content once the plan is done.
    links: HashMap<(u64, u64), PathBuf>,
}

/// What the three have at a path. Holds descriptors: dropped before going on below.
struct Here {
    base: Option<Entry>,
    ours: Option<Entry>,
    theirs: Option<Entry>,
}

fn kind(entry: &Option<Entry>) -> Kind {
    match entry {
        None => Kind::Absent,
        Some(e) if e.is_dir() => Kind::Dir,
        Some(_) => Kind::Leaf,
    }
}

impl Planner<'_> {
    /// Plans a path and what is below; returns whether theirs will have something there.
    fn path(&mut self, path: &Path) -> Result<bool, Failure> {
        let comparing = || format!("comparing {}", told(path));
        let Some(here) = self.look(path).doing(comparing)? else {
            self.plan.foreign.push(path.to_owned());
            return Ok(true);
        };
        let is_there = here.theirs.is_some();
        match self.fate(path, &here).doing(comparing)? {
            Fate::Stay => {
                self.stay(path, &here).doing(comparing)?;
                // a socket is not merged, but it is there
                Ok(is_there || self.trees.theirs.is_used(path))
            }
            Fate::Take => self.take(path, here),
            Fate::Remove => {
                self.plan.actions.push(Action::Remove(path.to_owned()));
                Ok(false)
            }
            Fate::Descend => {
                self.merge_attributes(path, &here).doing(comparing)?;
                drop(here);
                self.below(path)?;
                Ok(true)
            }
            Fate::DescendIntoGone => {
                drop(here);
                self.come_back(path)
            }
            Fate::DescendToRemove => {
                let is_new = differ(&here).doing(comparing)?;
                drop(here);
                self.go(path, is_new)
            }
            Fate::KeepBoth => {
                match self.save(path, &here).doing(comparing)? {
                    Some(kept) => self.conflict(path, ConflictKind::Saved(kept)),
                    None => self.plan.foreign.push(path.to_owned()),
                }
                Ok(is_there)
            }
            Fate::StayChanged => {
                self.conflict(path, ConflictKind::Removed);
                Ok(true)
            }
        }
    }

    /// Plans what any of the three has in a directory; returns whether something will be in theirs.
    fn below(&mut self, dir: &Path) -> Result<bool, Failure> {
        let mut names = BTreeSet::new();
        for tree in [&self.trees.base, &self.trees.ours, &self.trees.theirs] {
            tree.names(dir, &mut names)
                .doing(|| format!("reading the directory {}", told(dir)))?;
        }
        let mut is_used = false;
        for name in names {
            is_used |= self.path(&dir.join(name))?;
        }
        Ok(is_used)
    }

    /// `None` where one of them has another tree.
    fn look(&self, path: &Path) -> io::Result<Option<Here>> {
        let trees = [&self.trees.base, &self.trees.ours, &self.trees.theirs];
        let mut found = Vec::with_capacity(3);
        for tree in trees {
            found.push(match tree.find(path)? {
                Found::Foreign => return Ok(None),
                Found::Absent => None,
                Found::Here(entry) => Some(entry),
            });
        }
        let [base, ours, theirs] =
            <[_; 3]>::try_from(found).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(Some(Here { base, ours, theirs }))
    }

    fn fate(&self, path: &Path, here: &Here) -> io::Result<Fate> {
        let Trees { base, ours, theirs } = self.trees;
        let same = &mut |pair| {
            let ((a, a_entry), (b, b_entry)) = match pair {
                Pair::BaseOurs => ((base, &here.base), (ours, &here.ours)),
                Pair::BaseTheirs => ((base, &here.base), (theirs, &here.theirs)),
                Pair::OursTheirs => ((ours, &here.ours), (theirs, &here.theirs)),
            };
            match (a_entry, b_entry) {
                (Some(x), Some(y)) => same_trees((a, path, x), (b, path, y)),
                _ => Ok(false),
            }
        };
        decide(kind(&here.base), kind(&here.ours), kind(&here.theirs), same)
    }

    /// The time of what nobody changed otherwise, and the first name of a file that has several.
    fn stay(&mut self, path: &Path, here: &Here) -> io::Result<()> {
        let (Some(ours), Some(theirs)) = (&here.ours, &here.theirs) else {
            return Ok(());
        };
        let base = here.base.as_ref();
        let is_touched = base.is_some_and(|b| {
            b.mtime() == theirs.mtime() && b.mtime() != ours.mtime() && !ours.is_dir()
        });
        let is_link = ours.is_file() && ours.stat.st_nlink > 1;
        if (!is_touched && !is_link) || !ours.same(theirs)? {
            return Ok(());
        }
        if is_touched && base.map(|b| b.same(ours)).transpose()? == Some(true) {
            self.plan.actions.push(Action::SetTime(path.to_owned()));
        }
        if is_link {
            self.links
                .entry((ours.stat.st_dev, ours.stat.st_ino))
                .or_insert_with(|| path.to_owned());
        }
        Ok(())
    }

    fn take(&mut self, path: &Path, here: Here) -> Result<bool, Failure> {
        let path = path.to_owned();
        let ours = here.ours.as_ref();
        let is_dir = kind(&here.ours) == Kind::Dir;
        let several = ours.filter(|o| o.is_file() && o.stat.st_nlink > 1);
        let key = several.map(|o| (o.stat.st_dev, o.stat.st_ino));
        drop(here);
        let first = key.and_then(|k| self.links.get(&k).cloned());
        match (first, key) {
            (Some(first), _) => self.plan.actions.push(Action::Link(path, first)),
            (None, key) => {
                self.links.extend(key.map(|k| (k, path.clone())));
                self.plan.actions.push(Action::Take(path.clone()));
                if is_dir {
                    self.below(&path)?;
                }
            }
        }
        Ok(true)
    }

    fn merge_attributes(&mut self, path: &Path, here: &Here) -> io::Result<()> {
        let (Some(ours), Some(theirs)) = (&here.ours, &here.theirs) else {
            return Ok(());
        };
        let base = here.base.as_ref().filter(|b| b.is_dir());
        let (set, both) = attribute::merged(base, ours, theirs)?;
        let set = set.into_iter().map(|p| Action::SetPart(path.to_owned(), p));
        self.plan.actions.extend(set);
        if !both.is_empty() {
            self.conflict(path, ConflictKind::Attributes(both));
        }
        Ok(())
    }

    /// Ours has the directory, theirs removed it: it comes back for what the administrator put or changed there.
    fn come_back(&mut self, path: &Path) -> Result<bool, Failure> {
        let start = self.plan.actions.len();
        let is_used = self.below(path)?;
        let is_needed = self.plan.actions.len() > start;
        if is_needed {
            self.plan
                .actions
                .insert(start, Action::Take(path.to_owned()));
        }
        Ok(is_needed || is_used)
    }

    /// Ours removed the directory, theirs has it.
    fn go(&mut self, path: &Path, is_new: bool) -> Result<bool, Failure> {
        let is_used = self.below(path)? || is_new;
        if !is_used {
            self.plan.actions.push(Action::Remove(path.to_owned()));
        }
        Ok(is_used)
    }

    fn conflict(&mut self, path: &Path, kind: ConflictKind) {
        self.plan.conflicts.push(Conflict {
            path: path.to_owned(),
            kind,
        });
    }

    /// The name that ours is kept under, and the step for it, unless an earlier merge has made it already. Only
    /// names that neither base nor ours have: what those have decides about theirs. `None` when no name is short enough
    /// for the kernel.
    fn save(&mut self, path: &Path, here: &Here) -> io::Result<Option<PathBuf>> {
        let Trees { base, ours, theirs } = self.trees;
        for number in 0..MOST_COPIES {
            let copy = saved_name(path, number);
            if copy.as_os_str().len() >= LONGEST_PATH {
                return Ok(None);
            }
            let is_taken = |tree: &Tree| Ok::<_, io::Error>(!tree.find(&copy)?.is_absent());
            if self.claimed.contains(&copy) || is_taken(base)? || is_taken(ours)? {
                continue;
            }
            match (theirs.find(&copy)?, &here.ours) {
                (Found::Absent, _) if !theirs.is_used(&copy) => {
                    let step = Action::Save(path.to_owned(), copy.clone());
                    self.plan.actions.push(step);
                }
                (Found::Here(there), Some(entry))
                    if same_trees((ours, path, entry), (theirs, &copy, &there))? => {}
                _ => continue,
            }
            self.claimed.insert(copy.clone());
            return Ok(Some(copy));
        }
        Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("there are {MOST_COPIES} files of that name with {SAVED}: remove some"),
        ))
    }
}

/// Whether theirs changed the attributes of a directory.
fn differ(here: &Here) -> io::Result<bool> {
    match (&here.base, &here.theirs) {
        (Some(base), Some(theirs)) => Ok(!base.same(theirs)?),
        _ => Ok(true),
    }
}

/// `name.rpmsave`, then `name.1.rpmsave` and so on, so that the suffix is always the last; a name that would become
/// too long is cut.
fn saved_name(path: &Path, number: u32) -> PathBuf {
    let suffix = match number {
        0 => SAVED.to_owned(),
        n => format!(".{n}{SAVED}"),
    };
    let name = path.file_name().unwrap_or(OsStr::new("etc")).as_bytes();
    let mut name = name[..name.len().min(LONGEST_NAME - suffix.len())].to_vec();
    name.extend(suffix.as_bytes());
    path.with_file_name(OsString::from_vec(name))
}
