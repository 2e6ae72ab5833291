//! Giving what is pending its name, strictly in the order of the transfer files, and pointing the links to it.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

use super::Site;
use super::acquire::attributes;
use super::plan::{Item, Plan, Step};
use crate::sys::{beneath, failpoint, root};
use crate::sysupdate::definition::{Kind, Transfer};
use crate::sysupdate::instance::{Resource, Spot};
use crate::sysupdate::place::{Directory, Ground};
use crate::sysupdate::slots;
use crate::sysupdate::target::{Place, point_link};

/// Installs all that is pending of a version, each durable before the next, and the link of each transfer after its instance. `told` is
/// given the path of each.
///
/// # Errors
/// The first step that failed; what comes after it is still pending.
pub fn install(
    site: &Site<'_>,
    enabled: &[Resource<'_>],
    plan: &Plan,
    told: &dyn Fn(&Path),
) -> Result<()> {
    for item in &plan.items {
        let transfer = enabled[item.resource].transfer;
        one(site.ground(), transfer, item, told).with_context(|| transfer.id.clone())?;
    }
    Ok(())
}

fn one(ground: Ground<'_>, transfer: &Transfer, item: &Item, told: &dyn Fn(&Path)) -> Result<()> {
    if transfer.target.kind == Kind::Partition {
        return to_slot(ground, transfer, item, told);
    }
    let found = ground.make(transfer)?;
    let dir = found.dir.as_ref().context("it has no directory")?;
    if item.step != Step::Nothing {
        let place = Place::new(dir, &found.path, &item.name, ground.is_durable)?;
        let pending = place
            .found_pending()
            .ok()
            .with_context(|| format!("{} is not pending any more", item.name.display()))?;
        pending.install(&attributes(transfer, item, None))?;
        told(&found.path.join(&item.name));
    }
    link(ground, transfer, &found, &item.name)
}

fn to_slot(
    ground: Ground<'_>,
    transfer: &Transfer,
    item: &Item,
    told: &dyn Fn(&Path),
) -> Result<()> {
    let disk = ground.disk(transfer, item.step != Step::Nothing)?;
    let number = item.slot.context("it has no slot")?;
    let path = PathBuf::from(disk.partition(number));
    if item.step != Step::Nothing {
        let label = item.name.to_string_lossy();
        let place = slots::Place::new(disk, number, &transfer.target, &label);
        place.found_pending().install(&item.metadata)?;
        failpoint::hit("sysupdate-slot-installed")?;
        told(&path);
    }
    link_in_root(ground, transfer, &path)
}

/// Lets the link of a transfer, if it has one, show to the instance of its target that is at `path`, or in the slot that is called so.
///
/// # Errors
/// When it cannot be made; the old one is still there then.
pub fn link_to(ground: Ground<'_>, transfer: &Transfer, spot: &Spot) -> Result<()> {
    match spot {
        Spot::Path(path) => link(ground, transfer, &ground.make(transfer)?, path),
        Spot::Partition { number, .. } => {
            let disk = ground.disk(transfer, false)?;
            link_in_root(ground, transfer, Path::new(&disk.partition(*number)))
        }
    }
}

/// The same for the instance `name` in the target, the directory `found`.
fn link(ground: Ground<'_>, transfer: &Transfer, found: &Directory, name: &Path) -> Result<()> {
    let relative = transfer.target.current_symlink.as_ref();
    let Some(link) = relative.filter(|link| !link.is_absolute()) else {
        return link_in_root(ground, transfer, &found.path.join(name));
    };
    let dir = found.dir.as_ref().context("it has no directory")?;
    let text = way(link, name);
    point_link(dir, &found.path, link, &text, ground.is_durable)?;
    Ok(failpoint::hit("sysupdate-linked")?)
}

/// The same for a link that is absolute, inside of the root.
fn link_in_root(ground: Ground<'_>, transfer: &Transfer, to: &Path) -> Result<()> {
    let Some(link) = &transfer.target.current_symlink else {
        return Ok(());
    };
    let link = root::relative(link);
    let to = ground.root.strip(to).unwrap_or(to);
    let shown = ground.root.path();
    let text = way(&link, &root::relative(to));
    point_link(
        beneath::open_root(shown)?,
        shown,
        &link,
        &text,
        ground.is_durable,
    )?;
    Ok(failpoint::hit("sysupdate-linked")?)
}

/// The way from the directory of `link` to `to`, both below one directory.
fn way(link: &Path, to: &Path) -> PathBuf {
    let parent: Vec<Component<'_>> = link
        .parent()
        .unwrap_or(Path::new(""))
        .components()
        .collect();
    let to: Vec<Component<'_>> = to.components().collect();
    let same = parent.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = parent[same..].iter().map(|_| Component::ParentDir);
    up.chain(to[same..].iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_link_leads_from_its_directory_to_the_instance() {
        for (link, to, text) in [
            ("current", "os_1", "os_1"),
            ("links/current", "os_1", "../os_1"),
            ("links/os", "var/images/os_1", "../var/images/os_1"),
            ("var/images/current", "var/images/os_1", "os_1"),
            ("var/current", "var/images/os_1", "images/os_1"),
        ] {
            assert_eq!(way(link.as_ref(), to.as_ref()), Path::new(text), "{link}");
        }
    }
}
