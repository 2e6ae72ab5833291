//! The registration of the products: another set of them has to be told to the registration server, at the next boot.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context, Result};

use super::tell;
use crate::sys::beneath;
use crate::transaction::{Open, System};

const PRODUCTS: &str = "etc/products.d";
/// The service of rollback-helper looks for it.
const TRIGGER: &str = "var/lib/rollback/check-registration";

/// What is to be done about the registration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::transaction) enum Registration {
    /// Nothing.
    #[default]
    Unchanged,
    /// The trigger belongs into the running /var, once the snapshot is what boots next.
    AfterPublishing,
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
        if open.hides(Path::new(TRIGGER)) {
            return Ok(Registration::AfterPublishing);
        }
        put_trigger(open.root()?).context("asking for a new registration")?;
        Ok(Registration::Unchanged)
    }

    /// Puts the trigger into the running /var when that is to be done.
    pub(in crate::transaction) fn after_publishing(self, system: &System) -> Result<()> {
        match self {
            Registration::Unchanged => Ok(()),
            Registration::AfterPublishing => put_trigger(beneath::open_root(system.root.path())?)
                .context("asking for a new registration"),
        }
    }
}

fn put_trigger(root: impl AsFd) -> Result<()> {
    let path = Path::new(TRIGGER);
    beneath::make_dirs(&root, path.parent().unwrap_or(Path::new("")), 0o755)?;
    beneath::make_file(&root, path)?;
    Ok(())
}

/// The products by the names of their files, with the content of each.
fn products(root: impl AsFd) -> Result<BTreeMap<OsString, Option<Vec<u8>>>> {
    const LIMIT: u64 = 1 << 20;
    let dir = Path::new(PRODUCTS);
    let names = beneath::names_below(&root, dir)?;
    let product = |name: OsString| {
        let content = beneath::read(&root, &dir.join(&name), LIMIT)?;
        Ok((name, content))
    };
    names.into_iter().map(product).collect()
}
