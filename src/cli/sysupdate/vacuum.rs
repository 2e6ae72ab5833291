//! `vacuum`: removes versions that are too many, what was never finished, and what disabled transfers have.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::sys::lock::WriteLock;
use crate::sys::{beneath, out, root};
use crate::sysupdate::spool::Spool;
use crate::sysupdate::vacuum::{Plan, Removal, Why, Wish, plan};
use crate::sysupdate::{Resource, Spot, directory, remove};

use super::json::{Form, Json};
use super::{LOCK_FILE, Session};

/// The command.
pub(super) fn go(session: &Session) -> Result<ExitCode> {
    let _lock = WriteLock::file(&session.root.join(LOCK_FILE))?;
    let definitions = session.transfers(|found| !found.transfers.is_empty())?;
    let survey = session.survey(&definitions, true)?;
    let booted = session.booted()?;
    let wish = Wish {
        installing: None,
        booted: booted.as_ref(),
        linked: survey.linked(&session.root, &session.bases)?,
        instances_max: session.asked.instances_max,
    };
    let found = plan(&survey.enabled, &survey.disabled, &survey.sets, &wish)?;
    out::say("Making room…");
    for removal in &found.removals {
        remove_one(session, &survey.enabled, removal)?;
    }
    let links = survey.disabled.iter().map(|r| link(session, r));
    let links: Vec<Link> = links.filter_map(Result::transpose).collect::<Result<_>>()?;
    for removal in &found.disabled {
        remove_one(session, &survey.disabled, removal)?;
    }
    for link in links {
        link.remove_if_dangling(session)?;
    }
    for resource in survey.enabled.iter().chain(&survey.disabled) {
        remove_left_overs(session, resource, &BTreeSet::new())?;
    }
    empty_spool(session)?;
    tell(session, &found)?;
    Ok(ExitCode::SUCCESS)
}

/// Removes one instance, and tells it.
pub(super) fn remove_one(
    session: &Session,
    resources: &[Resource<'_>],
    removal: &Removal,
) -> Result<()> {
    let resource = &resources[removal.resource];
    let instance = &resource.target[removal.instance];
    let what = match removal.why {
        Why::Old => "old",
        Why::Pending => "old pending",
        Why::Partial => "old partial",
        Why::Disabled => "disabled",
    };
    out::say(format_args!(
        "♻\u{fe0f} Removing {what} '{}' ({}).",
        instance.shown, instance.kind
    ));
    let Spot::Path(path) = &instance.spot else {
        bail!("{}: slots cannot be emptied yet", instance.shown);
    };
    take_away(session, resource, path).with_context(|| format!("removing {}", instance.shown))
}

/// The link of a disabled transfer to what it has installed. (Versions that links of the others show to stay.)
struct Link {
    dir: OwnedFd,
    /// Below that directory.
    path: PathBuf,
    /// In the root.
    inside: PathBuf,
}

/// The link that a transfer keeps, where it is there and leads somewhere.
fn link(session: &Session, resource: &Resource<'_>) -> Result<Option<Link>> {
    let target = &resource.transfer.target;
    let Some((path, place)) = target.current_symlink.as_ref().zip(target.place.as_ref()) else {
        return Ok(None);
    };
    let top = beneath::open_root(session.root.path())?;
    let found = match path.is_absolute() {
        true => Some((top, root::relative(path), root::relative(path))),
        false => {
            let found = session.bases.open(&session.root, place)?;
            let above = session.root.strip(&found.path).map(Path::to_owned);
            let with_path = found.dir.zip(above);
            with_path.map(|(dir, above)| (dir, path.clone(), above.join(path)))
        }
    };
    let link = found.map(|(dir, path, inside)| Link { dir, path, inside });
    let is_link = |link: &Link| beneath::read_link(&link.dir, &link.path).is_ok();
    let leads = |link: &Link| link.leads(session).unwrap_or(false);
    Ok(link.filter(|link| is_link(link) && leads(link)))
}

impl Link {
    /// Whether there is something where it shows to.
    fn leads(&self, session: &Session) -> io::Result<bool> {
        let top = beneath::open_root(session.root.path())?;
        match beneath::resolve(top, &self.inside) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            other => other.map(|_| true),
        }
    }

    fn remove_if_dangling(&self, session: &Session) -> Result<()> {
        let shown = session.root.join(&self.inside);
        let about = || format!("removing the link {}", shown.display());
        if self.leads(session).with_context(about)? {
            return Ok(());
        }
        out::say(format_args!(
            "♻\u{fe0f} Removing link '{}', which shows to nothing now.",
            shown.display()
        ));
        remove::remove(self.dir.as_fd(), &self.path, session.asked.is_synced).with_context(about)
    }
}

/// Removes what was begun in a target by somebody who never finished it, but for the paths in `keep`, and directories whose instance
/// is gone.
pub(super) fn remove_left_overs(
    session: &Session,
    resource: &Resource<'_>,
    keep: &BTreeSet<PathBuf>,
) -> Result<()> {
    let target = &resource.transfer.target;
    let Some(place) = &target.place else {
        return Ok(());
    };
    let found = session.bases.open(&session.root, place)?;
    let Some(dir) = found.dir else { return Ok(()) };
    let mut all = directory::deserted(&dir, &found.path, &target.patterns, target.kind)?;
    if target.remove_temporary {
        all.extend(remove::left_overs(dir.as_fd())?);
    }
    for name in all {
        let shown = found.path.join(&name);
        if keep.contains(&shown) {
            continue;
        }
        out::say(format_args!(
            "♻\u{fe0f} Removing left-over '{}'.",
            shown.display()
        ));
        let removed = remove::remove(dir.as_fd(), &name, session.asked.is_synced);
        removed.with_context(|| format!("removing {}", shown.display()))?;
    }
    Ok(())
}

/// What was received of payloads that never came to their end is of no use any more.
fn empty_spool(session: &Session) -> Result<()> {
    let Some(path) = session.spool().filter(|path| path.is_dir()) else {
        return Ok(());
    };
    let emptied = Spool::open(&path).and_then(|spool| spool.remove_older(Duration::ZERO));
    emptied.with_context(|| format!("emptying {}", path.display()))
}

fn take_away(session: &Session, resource: &Resource<'_>, path: &Path) -> Result<()> {
    let Some(place) = &resource.transfer.target.place else {
        return Ok(());
    };
    let found = session.bases.open(&session.root, place)?;
    let Some(dir) = found.dir else { return Ok(()) };
    Ok(remove::remove(dir.as_fd(), path, session.asked.is_synced)?)
}

fn tell(session: &Session, done: &Plan) -> Result<()> {
    if session.asked.form != Form::Table {
        let number = |n: usize| Json::Number(n as u64);
        let counts = vec![
            ("removed", number(done.versions)),
            ("disabledTransfers", number(done.disabled_transfers)),
        ];
        return Ok(out::answer(
            &Json::Object(counts).written(session.asked.form),
        )?);
    }
    if done.versions > 0 {
        out::say(format_args!("Removed {} instances.", done.versions));
    }
    if done.disabled_transfers > 0 {
        out::say(format_args!(
            "Removed {} disabled transfers.",
            done.disabled_transfers
        ));
    }
    if done.versions == 0 && done.disabled_transfers == 0 {
        out::say("Found nothing to remove.");
    }
    Ok(())
}
