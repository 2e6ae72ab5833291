//! `cleanup`, and `update --cleanup=yes`: removes what was installed once and what no transfer owns any more.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::sys::{out, signal};
use crate::sysupdate::cleanup::{self, Plan};
use crate::sysupdate::definition::{self, Collection, Definitions};
use crate::sysupdate::installdb::{self, Database};
use crate::sysupdate::owned::Owned;

use super::Session;
use super::collections::{self, Failures, called};
use super::dry::DryRun;

/// The command. A collection of which no transfer is left is cleaned up as well: somebody asks for it.
pub(super) fn go(session: &Session) -> Result<ExitCode> {
    signal::install()?;
    let _lock = session.lock()?;
    if !session.asked.is_of_all {
        return one(session);
    }
    let components = collections::components(session)?.into_iter();
    let mut names: BTreeSet<String> = components.map(|c| c.name).collect();
    names.extend(installdb::components(&session.root)?);
    let components = names.into_iter().map(Collection::Component);
    let mut failures = Failures::default();
    for collection in std::iter::once(Collection::Default).chain(components) {
        let name = called(&collection);
        failures.take(name, one(&session.with(collection)))?;
    }
    failures.end("Not cleaned up")
}

fn one(session: &Session) -> Result<ExitCode> {
    let definitions = session.definitions()?;
    if session.asked.is_dry_run {
        let mut dry = DryRun::new(session, None);
        show(session, &definitions, &mut dry)?;
        dry.show()?;
    } else {
        run(session, &definitions)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Cleans up one collection.
pub(super) fn run(session: &Session, definitions: &Definitions) -> Result<()> {
    let database = Database::of(&session.root, &session.asked.collection);
    let plan = plan(session, definitions, &database)?;
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
    dry: &mut DryRun<'_>,
) -> Result<()> {
    let database = Database::of(&session.root, &session.asked.collection);
    let plan = plan(session, definitions, &database)?;
    for unowned in &plan.unowned {
        dry.remove_unowned(unowned);
    }
    Ok(())
}

fn plan(session: &Session, definitions: &Definitions, database: &Database<'_>) -> Result<Plan> {
    let survey = session.survey(definitions, true)?;
    let booted = session.booted()?;
    let ground = session.ground();
    cleanup::plan(ground, &survey, booted.as_ref(), others(session)?, database)
}

/// What transfers of all other collections own: one that was moved there takes along what it installed.
fn others(session: &Session) -> Result<Owned> {
    let mut owned = Owned::default();
    let (components, _) = definition::components(&session.root, &session.specifiers)?;
    let components = components.into_iter();
    let components = components.map(|c| Collection::Component(c.name));
    for collection in std::iter::once(Collection::Default).chain(components) {
        if collection == session.asked.collection {
            continue;
        }
        let about = || format!("{}: whether it owns any of that", called(&collection));
        let mut add = || {
            let found = Definitions::load(&session.root, &collection, &session.specifiers)?;
            let survey = session.survey(&found, true)?;
            owned.add(session.ground(), &survey.enabled)
        };
        add().with_context(about)?;
    }
    Ok(owned)
}
