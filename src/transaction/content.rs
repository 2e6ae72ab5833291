//! Files of a snapshot that is being changed, changed by ourselves.

use std::path::Path;

use anyhow::{Context, Result};
use nix::sys::stat::SFlag;

use super::steps::has;
use super::{Open, System};
use crate::sys::{beneath, failpoint};

/// Largest file that is edited, in bytes.
const LIMIT: u64 = 1 << 20;

impl Open<'_> {
    /// The system that is worked on.
    #[must_use]
    pub fn system(&self) -> &System {
        self.system
    }

    /// Changes a text file of the snapshot in place, so that its mode, owner and attributes stay. That is safe, since
    /// nothing of the snapshot counts before it is published. Returns whether the file is there.
    ///
    /// # Errors
    /// When it is a link, no text, too large, or cannot be written.
    pub fn edit(&self, path: &Path, change: impl Fn(&str) -> String) -> Result<bool> {
        let doing = || format!("changing {} of the snapshot", path.display());
        let root = self.root()?;
        let Some(bytes) = beneath::read(root, path, LIMIT + 1).with_context(doing)? else {
            return Ok(false);
        };
        anyhow::ensure!(
            bytes.len() as u64 <= LIMIT,
            "{} is too large",
            path.display()
        );
        let old = String::from_utf8(bytes).with_context(doing)?;
        let new = change(&old);
        if new != old {
            beneath::overwrite(root, path, new.as_bytes()).with_context(doing)?;
            failpoint::hit("file-edited").with_context(doing)?;
        }
        Ok(true)
    }

    /// Moves a regular file of the snapshot, when it is there.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let root = self.root()?;
        let parent = beneath::open_dir(root, from.parent().unwrap_or(Path::new("")));
        let stat =
            parent.and_then(|dir| beneath::stat_at(dir, from.file_name().unwrap_or_default()));
        if !stat.is_ok_and(|stat| beneath::kind(&stat) == SFlag::S_IFREG) {
            return Ok(());
        }
        beneath::rename(root, from, to)
            .with_context(|| format!("moving {} of the snapshot", from.display()))
    }
}

impl System {
    /// Whether the system, not a snapshot, has a program of this name where the system's programs are.
    ///
    /// # Errors
    /// When its root cannot be opened.
    pub fn has_program(&self, name: &str) -> Result<bool> {
        Ok(has(beneath::open_root(self.root.path())?, name))
    }
}
