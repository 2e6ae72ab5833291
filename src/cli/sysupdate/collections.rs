//! What is done with one collection, or with each that takes part.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::sys::{out, signal};
use crate::sysupdate::definition::{self, Collection, Component, Definitions};
use crate::sysupdate::owned::Owned;
use crate::sysupdate::{Resource, Survey};

use super::super::error;
use super::{NO_DEFINITIONS, Session};

/// Does something with the collection that is asked for; with --component-all first with what has no component, if anything has none,
/// and then with each component that is enabled. One that fails does not keep the others from being tried.
pub(super) fn each(
    session: &Session,
    take: impl Fn(&Session, &Definitions) -> Result<ExitCode>,
) -> Result<ExitCode> {
    match (session.asked.is_of_all, &session.asked.collection) {
        (true, _) => all(session, take),
        (false, Collection::Component(name)) if !is_enabled(session, name)? => {
            bail!("Component is disabled.")
        }
        (false, _) => take(session, &session.enabled()?),
    }
}

fn is_enabled(session: &Session, component: &str) -> Result<bool> {
    let (component, _) = definition::component(&session.root, component, &session.specifiers)?;
    Ok(component.is_enabled)
}

/// A session for what has no component, if anything has none, and one for each component that is enabled.
pub(super) fn sessions(session: &Session) -> Result<Vec<Session>> {
    let own = Definitions::load(&session.root, &Collection::Default, &session.specifiers)?;
    let own = (!own.transfers.is_empty()).then(|| session.clone());
    let enabled = components(session)?.into_iter().filter(|c| c.is_enabled);
    let of_each = enabled.map(|c| session.with(Collection::Component(c.name)));
    Ok(own.into_iter().chain(of_each).collect())
}

/// All components; what is strange in them is told.
pub(super) fn components(session: &Session) -> Result<Vec<Component>> {
    let (components, warnings) = definition::components(&session.root, &session.specifiers)?;
    warnings.iter().for_each(out::warn);
    Ok(components)
}

/// What enabled transfers of all collections own: one that was moved to another takes along what it installed.
///
/// # Errors
/// When one of them cannot be read: it might own anything.
pub(super) fn owned(session: &Session) -> Result<Owned> {
    let mut owned = Owned::default();
    let (components, _) = definition::components(&session.root, &session.specifiers)?;
    let components = components
        .into_iter()
        .map(|c| Collection::Component(c.name));
    let mut all: Vec<Collection> = std::iter::once(Collection::Default)
        .chain(components)
        .collect();
    if !all.contains(&session.asked.collection) {
        all.push(session.asked.collection.clone());
    }
    for collection in all {
        let about = || format!("{}: looking for what it owns", called(&collection));
        let mut add = || {
            let found = Definitions::load(&session.root, &collection, &session.specifiers)?;
            let survey = session.survey(&found, true)?;
            owned.add(session.ground(), &survey.enabled)
        };
        add().with_context(about)?;
    }
    Ok(owned)
}

/// The disabled transfers of a collection, with what of theirs can go. When it is not known what others own, that is nothing, which is told.
pub(super) fn unowned<'d>(session: &Session, survey: &Survey<'d>) -> Result<Vec<Resource<'d>>> {
    if survey.disabled.iter().all(|r| r.target.is_empty()) {
        return Ok(survey.disabled.clone());
    }
    match owned(session) {
        Ok(owned) => survey.unowned(session.ground(), &owned),
        Err(e) => {
            signal::check()?;
            out::warn(format_args!("what disabled transfers have stays: {e:#}"));
            Ok(Vec::new())
        }
    }
}

/// What a collection is called in texts.
pub(super) fn called(collection: &Collection) -> String {
    match collection {
        Collection::Component(name) => format!("component '{name}'"),
        Collection::Default => "what has no component".to_owned(),
        Collection::Directory(dir) => out::path(dir),
    }
}

/// The collections with which something failed, while the others are still tried.
#[derive(Default)]
pub(super) struct Failures(Vec<String>);

impl Failures {
    /// Tells of the failure, if it is one.
    ///
    /// # Errors
    /// When the end was asked for: whoever does that means all of it.
    pub(super) fn take<T>(&mut self, name: String, done: Result<T>) -> Result<()> {
        if let Err(e) = done {
            signal::check()?;
            error::report_alone(&super::told_by_systemd(e));
            self.0.push(name);
        }
        Ok(())
    }

    /// # Errors
    /// The names of all that failed, after `not_done`.
    pub(super) fn end(self, not_done: &str) -> Result<ExitCode> {
        match self.0.is_empty() {
            true => Ok(ExitCode::SUCCESS),
            false => bail!("{not_done}: {}.", self.0.join(", ")),
        }
    }
}

fn all(
    session: &Session,
    take: impl Fn(&Session, &Definitions) -> Result<ExitCode>,
) -> Result<ExitCode> {
    let mut failures = Failures::default();
    let default = session.definitions().and_then(|found| {
        if found.enabled().next().is_none() {
            out::say(NO_DEFINITIONS);
            return Ok(ExitCode::SUCCESS);
        }
        take(session, &found)
    });
    failures.take(called(&Collection::Default), default)?;
    for component in components(session)? {
        let collection = Collection::Component(component.name);
        let name = called(&collection);
        if !component.is_enabled {
            out::say(format_args!("Skipping {name}: it is disabled."));
            continue;
        }
        out::say(format_args!("Updating {name}."));
        let session = session.with(collection);
        let done = session.enabled().and_then(|found| take(&session, &found));
        failures.take(name, done)?;
    }
    failures.end("Not updated")
}
