//! `enable-feature`, `disable-feature`, `enable-component`, `disable-component`.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::sys::out;
use crate::sysupdate::definition::{self, Collection};
use crate::sysupdate::switch::Switch;

use super::Session;
use super::args::{Chosen, Thing};

/// The command.
pub(super) fn go(
    session: &Session,
    thing: Thing,
    chosen: &Chosen,
    is_on: bool,
) -> Result<ExitCode> {
    let names = match thing {
        Thing::Feature => features(session)?,
        Thing::Component => components(session)?,
    };
    let names: Vec<&String> = match chosen {
        Chosen::All => names.iter().map(|(name, _)| name).collect(),
        Chosen::Suggested => {
            let suggested = names
                .iter()
                .filter(|(_, is_suggested)| *is_suggested == Some(true));
            suggested.map(|(name, _)| name).collect()
        }
        Chosen::Named(wanted) => {
            // all of them before the first one is switched
            for name in wanted {
                if !names.iter().any(|(known, _)| known == name) {
                    bail!("{} not found: {name}", thing.word());
                }
            }
            wanted.iter().collect()
        }
    };
    if names.is_empty() {
        out::say(format_args!(
            "There is no {} to switch.",
            thing.word().to_lowercase()
        ));
    }
    for name in names {
        let switch = match (thing, &session.asked.collection) {
            (Thing::Component, _) => Switch::Component(name),
            (Thing::Feature, Collection::Component(component)) => {
                Switch::Feature(Some(component), name)
            }
            (Thing::Feature, _) => Switch::Feature(None, name),
        };
        let word = if is_on { "enabled" } else { "disabled" };
        let path = switch
            .set(&session.root, is_on)
            .with_context(|| format!("switching {name}"))?;
        out::say(format_args!(
            "{} {name} is {word}: {}",
            thing.word(),
            out::path(&path)
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// The features of the collection, and whether they are suggested.
fn features(session: &Session) -> Result<Vec<(String, Option<bool>)>> {
    let found = session.definitions()?;
    let command_line = super::command_line();
    let here = session.here(&command_line);
    let all = found
        .features
        .iter()
        .map(|f| (f.name.clone(), f.suggestion.holds(&here)));
    Ok(all.collect())
}

/// The components, and whether they are suggested.
fn components(session: &Session) -> Result<Vec<(String, Option<bool>)>> {
    let (found, warnings) = definition::components(&session.root, &session.specifiers)?;
    warnings.iter().for_each(out::warn);
    let command_line = super::command_line();
    let here = session.here(&command_line);
    let all = found
        .iter()
        .map(|c| (c.name.clone(), c.suggestion.holds(&here)));
    Ok(all.collect())
}
