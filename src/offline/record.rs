//! The directory of the state: reading and writing it, durably, by its descriptor.
//!
//! Invariant: what cannot be understood is an error, never "nothing was armed".

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, fchmod, fstat};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::plan::{self, Plan};
use super::state::{self, Outcome, Record};
use super::{DIRECTORY, MARKER, MOTD};
use crate::sys::root::{descriptor_path, inside};
use crate::sys::{Doing, Failure, Root, beneath, fs};

/// Most bytes of a file that are read: a line for each of some hundred thousand packages.
const MOST: u64 = 32 << 20;

/// Why the state cannot be read or written.
#[derive(Debug)]
pub enum StateError {
    /// The directory is none that only root can write to; the text says what it is.
    Unsafe(String),
    /// This file is not understood; the text says why.
    NotUnderstood(&'static str, String),
    /// A call of the system failed.
    Failed(Failure),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateError::Unsafe(what) => write!(
                f,
                "{} {what}; only root may be able to write there: look at what is in it, move it away, and prepare \
                 the update again",
                path().display()
            ),
            StateError::NotUnderstood(name, why) => write!(
                f,
                "{} is not understood: {why}; if no other version of this program has written it, move the file away",
                path().join(name).display()
            ),
            StateError::Failed(failure) => failure.fmt(f),
        }
    }
}

impl std::error::Error for StateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StateError::Failed(failure) => failure.source(),
            StateError::Unsafe(_) | StateError::NotUnderstood(..) => None,
        }
    }
}

impl From<Failure> for StateError {
    fn from(failure: Failure) -> StateError {
        StateError::Failed(failure)
    }
}

/// Where it is, as the system calls it: also the text of a trigger of ours.
#[must_use]
pub fn path() -> PathBuf {
    inside(Path::new(DIRECTORY))
}

/// The open directory of the state. Only root can write to it.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
    is_in_root: bool,
}

impl Directory {
    /// Opens it; `None` when it was never made.
    ///
    /// # Errors
    /// When others than root could have written what is in it, or when it cannot be opened.
    pub fn open(root: &Root) -> Result<Option<Directory>, StateError> {
        let top = open_top(root)?;
        match beneath::open_dir(&top, Path::new(DIRECTORY)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) if beneath::is_no_directory(&e) => Err(StateError::Unsafe(
                "is no directory, or a link leads there".into(),
            )),
            other => Directory::checked(&top, other.doing(opening)?).map(Some),
        }
    }

    /// The directory that the root `tree`, a snapshot of the running one, has for itself; `None` when the state is no part of the
    /// root, so that each root finds this one.
    ///
    /// # Errors
    /// As [`Directory::open`], and when it is missing there.
    pub fn in_tree(&self, tree: &OwnedFd) -> Result<Option<Directory>, StateError> {
        if !self.is_in_root {
            return Ok(None);
        }
        let dir = beneath::open_dir(tree, Path::new(DIRECTORY));
        let dir = dir.doing(|| format!("opening {} in the snapshot", path().display()))?;
        Directory::checked(tree, dir).map(Some)
    }

    /// Whether it is in the subvolume of the root, so that each snapshot of the root has one of its own.
    #[must_use]
    pub fn is_in_root(&self) -> bool {
        self.is_in_root
    }

    /// Opens it, and makes it when it is missing: readable for everybody, since results are for everybody.
    ///
    /// # Errors
    /// As [`Directory::open`] and mkdirat(2).
    pub fn make(root: &Root) -> Result<Directory, StateError> {
        let top = open_top(root)?;
        let made = match beneath::make_dirs(&top, Path::new(DIRECTORY), 0o755) {
            Err(e) if beneath::is_no_directory(&e) => {
                return Err(StateError::Unsafe(
                    "is no directory, or a link leads there".into(),
                ));
            }
            other => other.doing(|| format!("making {}", path().display()))?,
        };
        for dir in &made {
            let doing = || format!("making {}", inside(dir).display());
            let fd = beneath::open_dir(&top, dir).doing(doing)?;
            // whatever the umask is
            fchmod(&fd, Mode::from_bits_truncate(0o755)).doing(doing)?;
            let parent = dir.parent().unwrap_or(Path::new(""));
            let parent = beneath::open_dir(&top, parent).doing(doing)?;
            sync(&parent).doing(doing)?;
        }
        let dir = beneath::open_dir(&top, Path::new(DIRECTORY)).doing(opening)?;
        Directory::checked(&top, dir)
    }

    fn checked(top: &OwnedFd, fd: OwnedFd) -> Result<Directory, StateError> {
        let stat = fstat(&fd).doing(opening)?;
        if stat.st_uid != 0 {
            let owner = stat.st_uid;
            return Err(StateError::Unsafe(format!("belongs to user {owner}")));
        }
        if stat.st_mode & 0o022 != 0 {
            let mode = stat.st_mode & 0o7777;
            return Err(StateError::Unsafe(format!(
                "has mode {mode:04o}, so others than root can write to it"
            )));
        }
        // each subvolume is a device of its own
        let is_in_root = fstat(top).doing(opening)?.st_dev == stat.st_dev;
        Ok(Directory { fd, is_in_root })
    }

    /// The directory, to work below it.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// What has become of an update; `None` when nothing was armed.
    ///
    /// # Errors
    /// When there is something and it is not understood.
    pub fn record(&self) -> Result<Option<Record>, StateError> {
        let record: Option<Record> = self.read(state::FILE)?;
        match &record {
            Some(Record { schema, .. }) if *schema != state::SCHEMA => {
                Err(other_schema(state::FILE, *schema))
            }
            _ => Ok(record),
        }
    }

    /// What is to be done; `None` when nothing was prepared.
    ///
    /// # Errors
    /// As [`Directory::record`].
    pub fn plan(&self) -> Result<Option<Plan>, StateError> {
        self.read(plan::FILE)
    }

    /// The details of the last attempt.
    ///
    /// # Errors
    /// As [`Directory::record`].
    pub fn outcome(&self) -> Result<Option<Outcome>, StateError> {
        let outcome: Option<Outcome> = self.read(state::RESULT)?;
        match &outcome {
            Some(Outcome { schema, .. }) if *schema != state::SCHEMA => {
                Err(other_schema(state::RESULT, *schema))
            }
            _ => Ok(outcome),
        }
    }

    /// Writes what has become of an update; on disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written; what was there before is still there.
    pub fn write_record(&self, record: &Record) -> Result<(), StateError> {
        self.write(state::FILE, record)
    }

    /// Writes what is to be done; on disk when this returns.
    ///
    /// # Errors
    /// As [`Directory::write_record`].
    pub fn write_plan(&self, plan: &Plan) -> Result<(), StateError> {
        self.write(plan::FILE, plan)
    }

    /// Writes the details of an attempt; on disk when this returns.
    ///
    /// # Errors
    /// As [`Directory::write_record`].
    pub fn write_outcome(&self, outcome: &Outcome) -> Result<(), StateError> {
        self.write(state::RESULT, outcome)
    }

    /// Writes what is shown at login; on disk when this returns.
    ///
    /// # Errors
    /// As [`Directory::write_record`].
    pub fn write_motd(&self, text: &str) -> Result<(), StateError> {
        self.replace(MOTD, text.as_bytes())
    }

    /// Removes a file, durably. Missing already is fine.
    ///
    /// # Errors
    /// The error of unlinkat(2) or fsync(2).
    pub fn remove(&self, name: &str) -> Result<(), StateError> {
        let doing = || format!("removing {}", path().join(name).display());
        beneath::remove(&self.fd, Path::new(name)).doing(doing)?;
        sync(&self.fd).doing(doing)?;
        Ok(())
    }

    /// Makes the marker, durably.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn mark(&self) -> Result<(), StateError> {
        self.replace(MARKER, b"")
    }

    /// Whether the marker is there.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn is_marked(&self) -> Result<bool, StateError> {
        match beneath::stat_at(&self.fd, MARKER.as_ref()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            other => {
                other.doing(|| format!("looking at {}", path().join(MARKER).display()))?;
                Ok(true)
            }
        }
    }

    /// A file of at most 32 MiB; `None` when it is missing.
    ///
    /// # Errors
    /// When it is there and cannot be read, is larger or no regular file.
    pub fn bytes(&self, name: &'static str) -> Result<Option<Vec<u8>>, StateError> {
        let doing = || format!("reading {}", path().join(name).display());
        let file = match beneath::open_file(&self.fd, Path::new(name)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) if e.kind() == io::ErrorKind::InvalidInput || beneath::is_no_directory(&e) => {
                let why = "it is no regular file".to_owned();
                return Err(StateError::NotUnderstood(name, why));
            }
            other => other.doing(doing)?,
        };
        let mut bytes = Vec::new();
        file.take(MOST + 1).read_to_end(&mut bytes).doing(doing)?;
        if bytes.len() as u64 > MOST {
            let why = format!("it is larger than {MOST} bytes");
            return Err(StateError::NotUnderstood(name, why));
        }
        Ok(Some(bytes))
    }

    /// Removes what writing that was cut off left. Nobody else may be writing now.
    ///
    /// # Errors
    /// The error of opendir(3) or unlink(2).
    pub fn remove_temporaries(&self) -> Result<(), StateError> {
        let dir = descriptor_path(self.fd());
        for name in [plan::FILE, state::FILE, state::RESULT, MOTD, MARKER] {
            let doing = || format!("clearing up {}", path().display());
            fs::remove_temporaries(&dir.join(name)).doing(doing)?;
        }
        Ok(())
    }

    fn read<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, StateError> {
        let Some(bytes) = self.bytes(name)? else {
            return Ok(None);
        };
        let schema = serde_json::from_slice::<Schema>(&bytes).map(|s| s.schema);
        match serde_json::from_slice(&bytes) {
            Ok(content) => Ok(Some(content)),
            Err(_) if schema.as_ref().is_ok_and(|s| *s != state::SCHEMA) => {
                Err(other_schema(name, schema.unwrap_or_default()))
            }
            Err(e) => Err(StateError::NotUnderstood(name, e.to_string())),
        }
    }

    fn write(&self, name: &'static str, content: &impl Serialize) -> Result<(), StateError> {
        let mut text = serde_json::to_vec_pretty(content)
            .map_err(|e| StateError::NotUnderstood(name, e.to_string()))?;
        text.push(b'\n');
        self.replace(name, &text)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let written = fs::replace(&descriptor_path(self.fd()).join(name), bytes);
        written.doing(|| format!("writing {}", path().join(name).display()))?;
        Ok(())
    }
}

/// The one field that every version has.
#[derive(serde::Deserialize)]
struct Schema {
    schema: u32,
}

fn other_schema(name: &'static str, schema: u32) -> StateError {
    let ours = state::SCHEMA;
    StateError::NotUnderstood(
        name,
        format!("it has schema {schema}, and this version knows {ours}"),
    )
}

fn open_top(root: &Root) -> Result<OwnedFd, Failure> {
    beneath::open_root(root.path()).doing(|| format!("opening {}", root.path().display()))
}

fn opening() -> String {
    format!("opening {}", path().display())
}

/// Writes the entries of an open directory to disk.
pub(super) fn sync(dir: &OwnedFd) -> io::Result<()> {
    File::from(dir.try_clone()?).sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::offline::reconcile::tests::{outcome, record};
    use crate::offline::state::State;

    fn root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn what_was_written_is_read_again_by_everybody_and_nothing_else_is_left() {
        let (tmp, root) = root();
        assert!(Directory::open(&root).unwrap().is_none());
        let dir = Directory::make(&root).unwrap();
        assert_eq!(dir.record().unwrap(), None);
        assert_eq!(dir.outcome().unwrap(), None);
        let (record, outcome) = (record(State::Started), outcome());
        dir.write_record(&record).unwrap();
        dir.write_outcome(&outcome).unwrap();
        dir.write_motd("text\n").unwrap();
        dir.mark().unwrap();
        let dir = Directory::open(&root).unwrap().unwrap();
        assert_eq!(dir.record().unwrap(), Some(record));
        assert_eq!(dir.outcome().unwrap(), Some(outcome));
        assert!(dir.is_marked().unwrap());
        let path = tmp.path().join(DIRECTORY);
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&path), 0o755);
        assert_eq!(mode(&path.join(state::FILE)), 0o644);
        for name in [state::FILE, state::RESULT, MOTD, MARKER, MARKER] {
            dir.remove(name).unwrap();
        }
        assert_eq!(path.read_dir().unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_others_could_have_written_is_refused() {
        let (tmp, root) = root();
        drop(Directory::make(&root).unwrap());
        let path = tmp.path().join(DIRECTORY);
        let refused = |what: &str| {
            let opened = Directory::open(&root).unwrap_err();
            assert!(matches!(opened, StateError::Unsafe(_)), "{opened}");
            assert!(opened.to_string().contains(what), "{opened}");
            assert!(matches!(
                Directory::make(&root).unwrap_err(),
                StateError::Unsafe(_)
            ));
        };
        for mode in [0o775, 0o757, 0o777] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            refused(&format!("mode 0{mode:o}"));
        }
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        std::os::unix::fs::chown(&path, Some(7), None).unwrap();
        refused("user 7");
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        refused("no directory");
        std::fs::remove_file(&path).unwrap();
        symlink(tmp.path(), &path).unwrap();
        refused("link");
    }

    #[test]
    fn where_the_state_is_part_of_the_root_each_root_has_its_own() {
        let ((_tmp, root), (tmp, other)) = (root(), root());
        let dir = Directory::make(&root).unwrap();
        assert!(dir.is_in_root());
        let tree = beneath::open_root(other.path()).unwrap();
        // never that of the running root instead
        assert!(dir.in_tree(&tree).is_err());
        drop(Directory::make(&other).unwrap());
        let twin = dir.in_tree(&tree).unwrap().unwrap();
        twin.write_record(&record(State::Started)).unwrap();
        assert_eq!(dir.record().unwrap(), None);
        let there = Directory::open(&other).unwrap().unwrap();
        assert_eq!(there.record().unwrap(), Some(record(State::Started)));
        let path = tmp.path().join(DIRECTORY);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
        assert!(matches!(dir.in_tree(&tree), Err(StateError::Unsafe(_))));
        there.remove(state::FILE).unwrap();
        std::fs::remove_dir(&path).unwrap();
        symlink(root.path().join(DIRECTORY), &path).unwrap();
        assert!(dir.in_tree(&tree).is_err());
    }

    #[test]
    fn a_file_that_is_not_understood_is_an_error_that_names_it_and_never_nothing() {
        let (tmp, root) = root();
        let dir = Directory::make(&root).unwrap();
        let path = tmp.path().join(DIRECTORY);
        let mut other = serde_json::to_value(record(State::Armed)).unwrap();
        other["schema"] = 2.into();
        for (text, why) in [
            (String::new(), "EOF"),
            ("{".into(), "EOF"),
            ("{\"schema\":9,\"new\":1}".into(), "schema 9"),
            (other.to_string(), "schema 2"),
            ("{\"schema\":1}".into(), "missing field"),
        ] {
            for name in [state::FILE, state::RESULT] {
                std::fs::write(path.join(name), &text).unwrap();
            }
            let error = dir.record().unwrap_err().to_string();
            assert!(
                error.contains(state::FILE) && error.contains(why),
                "{error}"
            );
            assert!(dir.outcome().is_err(), "{text}");
        }
        for name in [state::FILE, state::RESULT] {
            std::fs::remove_file(path.join(name)).unwrap();
        }
        symlink("result.json", path.join(state::FILE)).unwrap();
        std::fs::create_dir(path.join(state::RESULT)).unwrap();
        assert!(dir.record().is_err() && dir.outcome().is_err());
    }
}
