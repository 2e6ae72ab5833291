//! `cleanup`, and `update --cleanup=yes`: removes what was installed once and what no transfer owns any more.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Result;

use crate::sys::{out, signal};
use crate::sysupdate::cleanup::{self, Plan};
use crate::sysupdate::definition::{Collection, Definitions};
use crate::sysupdate::installdb::{self, Database};
use crate::sysupdate::owned::Owned;

use super::Session;
use super::collections::{self, Failures, called};
use super::dry::DryRun;

/// The command. A collection of which no transfer is left is cleaned up as well: somebody asks for it.
pub(super) fn go(session: &Session) -> Result<ExitCode> {
    signal::install()?;
    let _lock = session.lock()?;
    let owned = collections::owned(session)?;
    if !session.asked.is_of_all {
        return one(session, &owned);
    }
    let components = collections::components(session)?.into_iter();
    let mut names: BTreeSet<String> = components.map(|c| c.name).collect();
    names.extend(installdb::components(&session.root)?);
    let components = names.into_iter().map(Collection::Component);
    let mut failures = Failures::default();
    for collection in std::iter::once(Collection::Default).chain(components) {
        let name = called(&collection);
        failures.take(name, one(&session.with(collection), &owned))?;
    }
    failures.end("Not cleaned up")
}

fn one(session: &Session, owned: &Owned) -> Result<ExitCode> {
    let definitions = session.definitions()?;
    if session.asked.is_dry_run {
        let mut dry = DryRun::new(session, None);
        show(session, &definitions, owned, &mut dry)?;
        dry.show()?;
    } else {
        run(session, &definitions, owned)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Cleans up one collection.
pub(super) fn run(session: &Session, definitions: &Definitions, owned: &Owned) -> Result<()> {
    let database = Database::of(&session.root, &session.asked.collection);
    let plan = plan(session, definitions, owned, &database)?;
    cleanup::execute(session.ground(), &plan, &database, &|unowned| {
        out::say(format_args!(
            "Successfully removed '{}' which is no longer owned by any transfer files.",
            unowned.shown.display()
        ));
    })
}

/// Tells what would go.
pub(super) fn show(
    session: &Session,
    definitions: &Definitions,
    owned: &Owned,
    dry: &mut DryRun<'_>,
) -> Result<()> {
    let database = Database::of(&session.root, &session.asked.collection);
    let plan = plan(session, definitions, owned, &database)?;
    for unowned in &plan.unowned {
        dry.remove_unowned(unowned);
    }
    Ok(())
}

fn plan(
    session: &Session,
    definitions: &Definitions,
    owned: &Owned,
    database: &Database<'_>,
) -> Result<Plan> {
    let survey = session.survey(definitions, true)?;
    let in_use = session.in_use(&survey)?;
    let ground = session.ground();
    cleanup::plan(ground, &survey, in_use.as_ref(), owned.clone(), database)
}
