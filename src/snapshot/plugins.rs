//! Telling snapper's plugins what happens to snapshots: the executables of usr/lib/snapper/plugins, called with
//! the words that snapper itself gives them (snapper(8), PLUGINS), since boot loaders depend on them.
//!
//! As with snapper, a plugin that fails stops nothing; unlike there, the user is told.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::SnapshotId;
use crate::sys::cmd::Argv;
use crate::sys::root::INSIDE;
use crate::sys::tool::{Done, Tool, ToolError, plugin_limit};
use crate::sys::{Root, out};

/// The variable that tells a plugin of ours that it is we who call it, and not a snapper that works by itself.
pub const CALLER_VARIABLE: &str = "TU_SNAPPER_PLUGINS";
const DIRECTORY: &str = "usr/lib/snapper/plugins";
/// The plugin of this project, also in its older form: it does for snapper what we do ourselves.
const OWN: &str = "50-etc";
const GRUB: &str = "grub";
const ROLLBACK: &str = "rollback";

/// What happens to a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It is made.
    Create,
    /// Its info.xml changes.
    Modify,
    /// It is deleted.
    Delete,
    /// Its read-only property is set or cleared.
    SetReadOnly,
    /// It becomes the default.
    SetDefault,
}

impl Event {
    fn name(self) -> &'static str {
        match self {
            Event::Create => "create-snapshot",
            Event::Modify => "modify-snapshot",
            Event::Delete => "delete-snapshot",
            Event::SetReadOnly => "set-read-only",
            Event::SetDefault => "set-default-snapshot",
        }
    }

    /// The stages after it: the older name first, which is without a suffix; the youngest event has none.
    fn stages_after(self) -> Vec<String> {
        let post = format!("{}-post", self.name());
        match self {
            Event::SetReadOnly => vec![post],
            _ => vec![self.name().to_owned(), post],
        }
    }
}

/// The plugins of a system. Only those of the running one are ever called: a system that is merely mounted has
/// no say on this one.
#[derive(Debug)]
pub struct Plugins {
    dir: PathBuf,
    is_live: bool,
    /// What cannot be executed was named once.
    named: Mutex<BTreeSet<PathBuf>>,
}

impl Plugins {
    pub(super) fn of(root: &Root) -> Plugins {
        Plugins {
            dir: root.join(DIRECTORY),
            is_live: root.is_live(),
            named: Mutex::default(),
        }
    }

    /// Calls the plugins right before `event` happens to `id`.
    pub fn before(&self, event: Event, id: SnapshotId) {
        self.call_all(&format!("{}-pre", event.name()), &[id]);
    }

    /// Calls the plugins right after `event` happened to `id`.
    pub fn after(&self, event: Event, id: SnapshotId) {
        if event != Event::SetDefault {
            self.call_script(GRUB, vec!["--refresh".into()]);
        }
        for stage in event.stages_after() {
            self.call_all(&stage, &[id]);
        }
    }

    /// Calls the plugins after going back from what `old` holds to `new`, which is the default now; the two
    /// subvolumes are `old_path` and `new_path`.
    pub fn rolled_back(&self, old: (SnapshotId, &Path), new: (SnapshotId, &Path)) {
        self.call_script(ROLLBACK, vec![old.1.into(), new.1.into()]);
        for stage in ["rollback", "rollback-post"] {
            self.call_all(stage, &[old.0, new.0]);
        }
    }

    /// Whether there is nobody to call.
    fn is_idle(&self) -> bool {
        if self.is_live {
            return false;
        }
        if self.dir.is_dir() && self.is_new(&self.dir) {
            out::detail(format_args!(
                "The plugins in {} are not called: that system does not run.",
                self.dir.display()
            ));
        }
        true
    }

    fn call_all(&self, stage: &str, ids: &[SnapshotId]) {
        if self.is_idle() {
            return;
        }
        let names = match names(&self.dir) {
            Ok(names) => names,
            Err(e) => {
                return out::warn(format_args!("cannot read {}: {e}", self.dir.display()));
            }
        };
        for name in names {
            let mut words: Vec<OsString> = vec![stage.into(), INSIDE.into(), "btrfs".into()];
            words.extend(ids.iter().map(|id| id.to_string().into()));
            self.call(&self.dir.join(name), words);
        }
    }

    /// One of the two scripts that snapper knows by name, and calls only when they are executable.
    fn call_script(&self, name: &str, words: Vec<OsString>) {
        if self.is_idle() {
            return;
        }
        let path = self.dir.join(name);
        if is_executable(&path) {
            self.call(&path, words);
        }
    }

    fn call(&self, path: &Path, words: Vec<OsString>) {
        if !is_executable(path) {
            if self.is_new(path) {
                out::warn(format_args!(
                    "the snapper plugin {} cannot be executed and is passed over",
                    path.display()
                ));
            }
            return;
        }
        let argv = Argv::new([vec![path.into()], words].concat());
        let tool = Tool::new(argv.clone(), plugin_limit())
            .env("LC_ALL", "C")
            .env("LANGUAGE", "C")
            .env(CALLER_VARIABLE, "yes");
        match tool.run().and_then(Done::succeeded) {
            Ok(_) => {}
            Err(e @ ToolError::Failed(..)) => out::warn(format_args!("the snapper plugin {e}")),
            Err(e) => out::warn(format_args!("the snapper plugin `{argv}` failed: {e}")),
        }
    }

    fn is_new(&self, path: &Path) -> bool {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        named.insert(path.to_owned())
    }
}

/// Names that begin with a digit, but our own, in the order of their bytes; none where there is no such directory.
fn names(dir: &Path) -> io::Result<Vec<OsString>> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        if name.as_bytes().first().is_some_and(u8::is_ascii_digit) && name != OWN {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_with_a_digit_but_our_own_are_plugins_and_their_order_is_that_of_the_bytes() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["50-etc", "10-a", "5", "grub", ".1", "10-a.rpmnew"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let order = names(dir.path()).unwrap();
        assert_eq!(order, ["10-a", "10-a.rpmnew", "5"]);
        assert_eq!(names(&dir.path().join("none")).unwrap().len(), 0);
    }
}
