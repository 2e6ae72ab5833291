//! The registration of the products: another set of them has to be told to the registration server, at the next boot.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context, Result};
use nix::sys::stat::fstat;

use super::tell;
use crate::snapshot::SnapshotId;
use crate::sys::{beneath, failpoint, out};
use crate::transaction::{Open, System};

const VAR: &str = "var";
const PRODUCTS: &str = "etc/products.d";
/// The service of rollback-helper looks for it.
const TRIGGER: &str = "var/lib/rollback/check-registration";

/// What is to be done about the registration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::transaction) enum Registration {
    /// Nothing.
    #[default]
    Unchanged,
    /// The trigger belongs into the running /var.
    Wanted,
    /// It has been put there.
    Asked,
}

impl Registration {
    /// Compares the products with those of the base. Where /var is part of the snapshot, the trigger is put there.
    pub(in crate::transaction) fn of(open: &Open<'_>) -> Result<Registration> {
        if open.lost_base {
            return Ok(Registration::Unchanged);
        }
        let before = products(open.system.store.open_snapshot(open.base())?)?;
        if before == products(open.root()?)? {
            return Ok(Registration::Unchanged);
        }
        tell("registration", "the installed products changed");
        if open.plan.hides(Path::new(TRIGGER)) {
            return Ok(Registration::Wanted);
        }
        put_trigger(open.root()?)?;
        Ok(Registration::Unchanged)
    }

    /// Puts the trigger into the running /var when that is to be done. That is right before the switch, whose commit
    /// takes it along: without an update the service finds everything as it is registered, but a trigger that got
    /// lost would leave the system registered as the old one.
    pub(in crate::transaction) fn ask(&mut self, system: &System) {
        if *self == Registration::Wanted {
            match beneath::open_root(system.root.path())
                .map_err(Into::into)
                .and_then(put_trigger)
            {
                Ok(true) => *self = Registration::Asked,
                Ok(false) => {}
                Err(e) => out::warn(format_args!("{e:#}")),
            }
        }
    }

    /// Takes the trigger away again, when the snapshot does not become what boots next.
    pub(in crate::transaction) fn withdraw(self, system: &System) {
        if self == Registration::Asked
            && let Err(e) = beneath::open_root(system.root.path())
                .and_then(|root| beneath::remove(root, Path::new(TRIGGER)))
        {
            out::warn(format_args!("removing {TRIGGER} again: {e}"));
        }
    }
}

/// Asks for a new registration when snapshot `to`, which is about to be the next system instead of `from`, has other
/// products. Only told when it fails. Where /var is not a file system of its own, there is no place to ask.
pub fn ask_for_registration(system: &System, from: SnapshotId, to: SnapshotId) {
    let asked = || {
        let products = |id| products(system.store.open_snapshot(id)?);
        let root = beneath::open_root(system.root.path())?;
        let var = beneath::stat_at(&root, VAR.as_ref())?;
        if var.st_dev != fstat(&root)?.st_dev && products(from)? != products(to)? {
            tell("registration", "the installed products change");
            put_trigger(root)?;
        }
        anyhow::Ok(())
    };
    asked().unwrap_or_else(|e| out::warn(format_args!("no new registration is asked for: {e:#}")));
}

/// Makes the trigger; says whether it was not there before.
fn put_trigger(root: impl AsFd) -> Result<bool> {
    let path = Path::new(TRIGGER);
    beneath::make_dirs(&root, path.parent().unwrap_or(Path::new("")), 0o755)
        .and_then(|_| beneath::make_file(&root, path))
        .and_then(|is_new| failpoint::hit("trigger-put").map(|()| is_new))
        .context("asking for a new registration")
}

/// The products by the names of their files, with the content of each; what cannot be read has none. A scriptlet may
/// have put anything there, so only as much is looked at as products can be.
fn products(root: impl AsFd) -> Result<BTreeMap<OsString, Option<Vec<u8>>>> {
    const MOST: usize = 1000;
    const LIMIT: u64 = 64 << 10;
    let dir = Path::new(PRODUCTS);
    let mut names = beneath::names_below(&root, dir)?;
    names.sort();
    names.truncate(MOST);
    let product = |name: OsString| {
        let content = beneath::read(&root, &dir.join(&name), LIMIT);
        (name, content.ok().flatten())
    };
    Ok(names.into_iter().map(product).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn products_differ_by_name_and_content_and_nothing_strange_stops_the_comparison() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let same = || {
            let of = |dir: &tempfile::TempDir| products(fs::File::open(dir.path()).unwrap());
            of(&a).unwrap() == of(&b).unwrap()
        };
        let dir = b.path().join(PRODUCTS);
        assert!(same());
        fs::create_dir_all(&dir).unwrap();
        assert!(same(), "no directory and an empty one are the same");
        for dir in [&a, &b] {
            fs::create_dir_all(dir.path().join(PRODUCTS).join("d")).unwrap();
            std::os::unix::fs::symlink("l", dir.path().join(PRODUCTS).join("l")).unwrap();
            fs::write(dir.path().join(PRODUCTS).join("p.prod"), "1").unwrap();
        }
        assert!(same());
        fs::write(dir.join("p.prod"), "2").unwrap();
        assert!(!same());
        fs::remove_file(dir.join("p.prod")).unwrap();
        assert!(!same());
    }
}
