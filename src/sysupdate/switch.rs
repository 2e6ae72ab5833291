//! Switching features and components on and off: drop-ins with the names that systemd-sysupdate(8) gives them, so that both programs
//! switch the same thing.

use std::io;
use std::path::{Path, PathBuf};

use crate::sys::{Root, beneath, fs};

/// Name of the drop-in.
const DROP_IN: &str = "50-systemd-sysupdate-enabled.conf";

/// What is switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch<'n> {
    /// A feature, of a component or of none.
    Feature(Option<&'n str>, &'n str),
    /// A component.
    Component(&'n str),
}

impl Switch<'_> {
    /// The directory of its drop-ins, in the system.
    fn dir(self) -> PathBuf {
        let name = match self {
            Switch::Feature(None, feature) => format!("sysupdate.d/{feature}.feature.d"),
            Switch::Feature(Some(component), feature) => {
                format!("sysupdate.{component}.d/{feature}.feature.d")
            }
            Switch::Component(component) => format!("sysupdate.{component}.component.d"),
        };
        Path::new("etc").join(name)
    }

    /// Switches it on or off in the system at `root`, durably: after a power cut it is as it was, or switched. Returns the file that says
    /// so.
    ///
    /// # Errors
    /// When the file cannot be written, or a link is in the way to it.
    pub fn set(self, root: &Root, is_on: bool) -> io::Result<PathBuf> {
        let dir = self.dir();
        let top = beneath::open_root(root.path())?;
        for made in beneath::make_dirs(top, &dir, 0o755)? {
            // a file is there after a power cut only when all directories above it are
            fs::sync_dir(&root.join(made.parent().unwrap_or(Path::new(""))))?;
        }
        let section = match self {
            Switch::Feature(..) => "Feature",
            Switch::Component(_) => "Component",
        };
        let word = if is_on { "yes" } else { "no" };
        let path = root.join(dir.join(DROP_IN));
        let text = format!(
            "# Written by sysupdate; remove this file to go back to what is below it.\n[{section}]\nEnabled={word}\n"
        );
        fs::replace(&path, text.as_bytes())?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysupdate::Specifiers;
    use crate::sysupdate::definition::{Collection, Definitions, component};

    #[test]
    fn what_is_switched_is_read_as_switched() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("usr/lib/sysupdate.d/f.feature", "[Feature]\nEnabled=no\n");
        write(
            "usr/lib/sysupdate.c.d/f.feature",
            "[Feature]\nEnabled=yes\n",
        );
        let (root, specifiers) = (Root::at(dir.path()).unwrap(), Specifiers::default());
        let feature = |collection: &Collection| {
            let found = Definitions::load(&root, collection, &specifiers).unwrap();
            assert_eq!(found.warnings, [""; 0]);
            found.features[0].is_enabled
        };
        let of_component = Collection::Component("c".into());
        for is_on in [true, false, true] {
            let path = Switch::Feature(None, "f").set(&root, is_on).unwrap();
            assert!(
                path.ends_with("etc/sysupdate.d/f.feature.d/50-systemd-sysupdate-enabled.conf")
            );
            assert_eq!(feature(&Collection::Default), is_on);
            let path = Switch::Feature(Some("c"), "f").set(&root, !is_on).unwrap();
            assert!(
                path.ends_with("etc/sysupdate.c.d/f.feature.d/50-systemd-sysupdate-enabled.conf")
            );
            assert_eq!(
                (feature(&of_component), feature(&Collection::Default)),
                (!is_on, is_on)
            );
            let path = Switch::Component("c").set(&root, is_on).unwrap();
            assert!(
                path.ends_with("etc/sysupdate.c.component.d/50-systemd-sysupdate-enabled.conf")
            );
            assert_eq!(
                component(&root, "c", &specifiers).unwrap().0.is_enabled,
                is_on
            );
        }
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["etc", "elsewhere"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        std::os::unix::fs::symlink("../elsewhere", dir.path().join("etc/sysupdate.d")).unwrap();
        let root = Root::at(dir.path()).unwrap();
        assert!(Switch::Feature(None, "f").set(&root, true).is_err());
        assert_eq!(
            std::fs::read_dir(dir.path().join("elsewhere"))
                .unwrap()
                .count(),
            0
        );
    }
}
