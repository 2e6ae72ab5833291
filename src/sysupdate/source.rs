//! Sources behind addresses: their manifests, each fetched once, checked before it is read.
//!
//! Invariant: no byte of a manifest is parsed before its signature is good, and no payload is asked for before all manifests are.

use std::ffi::OsString;
use std::thread;
use std::time::SystemTime;

use anyhow::{Context, Error, Result, anyhow};

use super::cancel::Cancel;
use super::definition::{Definitions, Location, Transfer};
use super::fetch::{Client, Policy, Url};
use super::instance::{Instance, Spot, State};
use super::manifest::{Age, Manifest};
use super::signature::{self, Keyrings};
use crate::sys::Root;

/// How sources behind addresses are asked.
#[derive(Debug, Clone)]
pub struct Asking {
    /// How patient.
    pub policy: Policy,
    /// Asks to end early.
    pub cancel: Cancel,
    /// The keyring that is trusted instead of those of the system ([`signature::VARIABLE`]).
    pub keyring: Option<OsString>,
    /// Whether a manifest that has expired is refused, and not only told.
    pub needs_fresh: bool,
}

/// One manifest, and where it is from.
#[derive(Debug, Clone)]
struct Found {
    bases: Vec<Url>,
    is_verified: bool,
    /// Which of the bases gave it.
    from: usize,
    manifest: Manifest,
}

/// The manifests of a collection.
#[derive(Debug, Clone, Default)]
pub struct Manifests {
    found: Vec<Found>,
    /// What is strange about them.
    pub warnings: Vec<String>,
}

/// Where a source and its mirrors are; nothing for a local one.
fn bases(transfer: &Transfer) -> Vec<Url> {
    match &transfer.source.location {
        Location::Url(url) => [url]
            .into_iter()
            .chain(&transfer.source.mirrors)
            .cloned()
            .collect(),
        Location::Local(_) => Vec::new(),
    }
}

impl Manifests {
    /// Fetches those of all transfers that take part, side by side, each once.
    ///
    /// # Errors
    /// The first that cannot be had, is not signed as it has to be, has expired, or is no manifest.
    pub fn fetch(definitions: &Definitions, asking: &Asking) -> Result<Manifests> {
        let mut wanted: Vec<(Vec<Url>, bool)> = Vec::new();
        for transfer in definitions.enabled() {
            let one = (bases(transfer), transfer.verify);
            if !one.0.is_empty() && !wanted.contains(&one) {
                wanted.push(one);
            }
        }
        // where nothing needs a signature, keys are not asked for
        let keyrings = match wanted.iter().any(|(_, is_verified)| *is_verified) {
            // what is worked on does not say whom to trust
            true => Some(Keyrings::find(&Root::live(), asking.keyring.as_deref())?),
            false => None,
        };
        let results: Vec<Result<(Found, Vec<String>)>> = thread::scope(|scope| {
            let start = |(bases, is_verified): (Vec<Url>, bool)| {
                let keyrings = keyrings.as_ref().filter(|_| is_verified);
                scope.spawn(move || first_good(bases, keyrings, asking))
            };
            let started: Vec<_> = wanted.into_iter().map(start).collect();
            let ended = started.into_iter().map(thread::ScopedJoinHandle::join);
            ended
                .map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        let mut manifests = Manifests::default();
        for result in results {
            let (found, warnings) = result?;
            manifests.found.push(found);
            manifests.warnings.extend(warnings);
        }
        Ok(manifests)
    }

    fn of(&self, transfer: &Transfer) -> Option<&Found> {
        let wanted = bases(transfer);
        let fits = |found: &&Found| found.bases == wanted && found.is_verified == transfer.verify;
        self.found.iter().find(fits)
    }

    /// What the source of a transfer has.
    #[must_use]
    pub fn instances(&self, transfer: &Transfer) -> Vec<Instance> {
        let Some(found) = self.of(transfer) else {
            return Vec::new();
        };
        let named = found.manifest.instances(&transfer.source.patterns);
        named
            .map(|(entry, pattern, fields)| Instance {
                version: fields.version,
                state: State::Installed,
                kind: transfer.source.kind,
                spot: Spot::Path(entry.name.clone().into()),
                shown: found.bases[found.from].join(&entry.name).to_string(),
                pattern,
                metadata: fields.metadata,
            })
            .collect()
    }

    /// Where payloads of a transfer are: first where its manifest is from.
    #[must_use]
    pub fn bases(&self, transfer: &Transfer) -> Vec<Url> {
        let Some(found) = self.of(transfer) else {
            return bases(transfer);
        };
        let first = found.bases[found.from].clone();
        let others = found.bases.iter().filter(|url| **url != first).cloned();
        [first.clone()].into_iter().chain(others).collect()
    }
}

/// The manifest of the first of `bases` that gives one that counts.
fn first_good(
    bases: Vec<Url>,
    keyrings: Option<&Keyrings>,
    asking: &Asking,
) -> Result<(Found, Vec<String>)> {
    let mut client = Client::new(asking.policy.clone(), asking.cancel.clone());
    let mut first: Option<Error> = None;
    for (from, base) in bases.iter().enumerate() {
        match one(&mut client, base, keyrings, asking) {
            Ok((manifest, warnings)) => {
                let found = Found {
                    bases,
                    is_verified: keyrings.is_some(),
                    from,
                    manifest,
                };
                return Ok((found, warnings));
            }
            // of several the main one is told
            Err(e) => first = first.or(Some(e)),
        }
        asking.cancel.check()?;
    }
    Err(first.unwrap_or_else(|| anyhow!("the source has no address")))
}

fn one(
    client: &mut Client,
    base: &Url,
    keyrings: Option<&Keyrings>,
    asking: &Asking,
) -> Result<(Manifest, Vec<String>)> {
    let authentic = signature::manifest(client, base, keyrings)?;
    let name = || base.join(signature::MANIFEST);
    let manifest = Manifest::parse(authentic.bytes()).with_context(|| name().to_string())?;
    let freshness = manifest.freshness(SystemTime::now());
    let mut warnings = freshness.warnings;
    let stale = match freshness.age {
        Age::Fresh => return Ok((manifest, warnings)),
        Age::Expired(day) => format!("{}: the manifest has expired on {day}", name()),
        Age::Unknown => format!(
            "{}: the manifest says until when it counts, but the clock of this machine was never set",
            name()
        ),
    };
    if asking.needs_fresh {
        return Err(anyhow!("{stale}, refusing."));
    }
    warnings.push(format!("{stale}, ignoring."));
    Ok((manifest, warnings))
}
