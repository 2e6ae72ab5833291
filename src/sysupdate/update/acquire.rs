//! Fetching what is missing of a version, all transfers side by side, until all of it is pending.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Error, Result, anyhow};

use super::Site;
use super::plan::{Item, Plan};
use super::prospect::Prospect;
use crate::sys::{beneath, failpoint, signal};
use crate::sysupdate::definition::{Kind, Location, Transfer};
use crate::sysupdate::fetch::{Client, Facts, Url};
use crate::sysupdate::instance::{Instance, Resource, Spot};
use crate::sysupdate::pipeline::{self, Job, Keep, Sha256, Sink, Source, Verified};
use crate::sysupdate::target::{Attributes, Place};

/// How far a transfer is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'p> {
    /// Which.
    pub transfer: &'p str,
    /// Bytes that came, as they are served.
    pub bytes: u64,
    /// Of how many, where that is known.
    pub total: Option<u64>,
}

/// Told of each piece, from any thread.
pub(super) type Report<'r> = &'r (dyn Fn(Progress<'_>) + Sync);

/// Makes all that `plan` fetches pending, at most `jobs` transfers at a time. `prospects` is what [`super::check`] found.
///
/// # Errors
/// What failed first; all others have ended then, and what they had made pending stays so.
pub fn acquire(
    site: &Site<'_>,
    enabled: &[Resource<'_>],
    plan: &Plan,
    prospects: &[Prospect],
    jobs: usize,
    report: Report<'_>,
) -> Result<()> {
    let all: Vec<_> = plan.acquired().zip(prospects).collect();
    let next = AtomicUsize::new(0);
    let failed: Mutex<Option<Error>> = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, all.len().max(1)) {
            scope.spawn(|| {
                while let Some(((item, source), prospect)) =
                    all.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let resource = &enabled[item.resource];
                    let instance = &resource.source[*source];
                    let about = || format!("{}: {}", resource.transfer.id, instance.shown);
                    let site = Site {
                        spool: site.spool.filter(|_| prospect.is_kept),
                        ..*site
                    };
                    let done = one(&site, resource, item, instance, report).with_context(about);
                    if let Err(e) = done {
                        // whoever ends because another one failed comes after it
                        let mut failed = failed.lock().unwrap_or_else(|e| e.into_inner());
                        failed.get_or_insert(e);
                        site.cancel.cancel();
                        return;
                    }
                }
            });
        }
    });
    signal::check()?;
    match failed.into_inner().unwrap_or_else(|e| e.into_inner()) {
        Some(e) => Err(e),
        None => Ok(()),
    }
}

fn one(
    site: &Site<'_>,
    resource: &Resource<'_>,
    item: &Item,
    instance: &Instance,
    report: Report<'_>,
) -> Result<()> {
    site.cancel.check()?;
    let found = site.ground().make(resource.transfer)?;
    let dir = found.dir.as_ref().context("it has no directory")?;
    let place = Place::new(dir, &found.path, &item.name, site.is_durable)?;
    let progress = |bytes, total| {
        // a test may end the program here
        failpoint::hit("sysupdate-writing").unwrap_or(());
        report(Progress {
            transfer: &resource.transfer.id,
            bytes,
            total,
        });
    };
    let payload = Payload {
        site,
        resource,
        instance,
        progress: &progress,
        partial: place.partial_path().display().to_string(),
    };
    let is_subvolume = resource.transfer.target.kind == Kind::Subvolume;
    match instance.kind {
        Kind::Directory | Kind::Subvolume => {
            let from = payload.local_dir()?;
            let tree = place.partial_dir(is_subvolume)?;
            let copied = pipeline::copied(&from, tree, site.cancel);
            let verified = payload.judge(&place, copied)?;
            pending(&payload, item, verified, |v, attributes| {
                place.tree_pending(v, attributes)
            })
        }
        Kind::UrlTar | Kind::Tar => {
            let verified = payload.take(&place, false, || Ok(place.partial_dir(is_subvolume)?))?;
            pending(&payload, item, verified, |v, attributes| {
                place.tree_pending(v, attributes)
            })
        }
        _ => {
            let goes_on = payload.goes_on();
            let verified = payload.take(&place, true, || Ok(place.partial_file(goes_on)?))?;
            if let Some(size) = item.metadata.size {
                let has = verified.sink().file().metadata()?.len();
                if has != size {
                    place.discard()?;
                    return Err(anyhow!(
                        "it has {has} bytes, and not the {size} of its name"
                    ));
                }
            }
            pending(&payload, item, verified, |v, attributes| {
                place.file_pending(v, attributes)
            })
        }
    }
}

/// The last part: from complete to pending.
fn pending<S, P>(
    payload: &Payload<'_>,
    item: &Item,
    verified: Verified<S>,
    mark: impl FnOnce(Verified<S>, &Attributes) -> Result<P, crate::sys::Failure>,
) -> Result<()> {
    failpoint::hit("sysupdate-verified")?;
    let attributes = Attributes {
        url: verified.facts().map(|_| payload.instance.shown.clone()),
        ..attributes(payload.resource.transfer, item, verified.facts())
    };
    mark(verified, &attributes).map(drop)?;
    Ok(())
}

/// What an instance gets when it is complete.
pub(super) fn attributes(transfer: &Transfer, item: &Item, facts: Option<&Facts>) -> Attributes {
    let metadata = &item.metadata;
    let told = facts
        .and_then(Facts::modified)
        .and_then(|s| u64::try_from(s).ok());
    let modified = metadata.mtime.map(Duration::from_micros);
    let modified = modified.or(told.map(Duration::from_secs));
    Attributes {
        mode: metadata.mode,
        modified: modified.and_then(|since| UNIX_EPOCH.checked_add(since)),
        read_only: metadata.read_only == Some(true),
        is_subvolume: transfer.target.kind == Kind::Subvolume,
        url: None,
        etag: facts.and_then(|facts| facts.etag.clone()),
    }
}

/// A payload on its way to its place.
struct Payload<'p> {
    site: &'p Site<'p>,
    resource: &'p Resource<'p>,
    instance: &'p Instance,
    progress: &'p (dyn Fn(u64, Option<u64>) + Sync),
    /// The path of the unfinished file.
    partial: String,
}

impl Payload<'_> {
    fn digest(&self) -> Option<Sha256> {
        self.instance.metadata.sha256.map(Sha256)
    }

    fn path(&self) -> Result<&std::path::Path> {
        match &self.instance.spot {
            Spot::Path(path) => Ok(path),
            Spot::Partition(_) => Err(anyhow!("a partition is no source")),
        }
    }

    /// Whether the spool knows that the unfinished file holds the first bytes of this payload.
    fn goes_on(&self) -> bool {
        let record = self.site.spool.zip(self.digest());
        let record = record.and_then(|(spool, digest)| spool.record(&digest));
        record.is_some_and(|record| record.partial.as_deref() == Some(&self.partial))
    }

    fn directory(&self) -> Result<std::os::fd::OwnedFd> {
        let Location::Local(place) = &self.resource.transfer.source.location else {
            return Err(anyhow!("it is behind an address"));
        };
        let found = self.site.bases.open(self.site.root, place)?;
        found.dir.context("its directory is gone")
    }

    fn local_dir(&self) -> Result<std::os::fd::OwnedFd> {
        let opened = beneath::open_dir(self.directory()?, self.path()?);
        opened.context("the source cannot be read")
    }

    /// Takes it into what `sink` makes: from a file, or from the first of the addresses that gives it.
    fn take<S: Sink>(
        &self,
        place: &Place,
        is_file: bool,
        sink: impl Fn() -> Result<S>,
    ) -> Result<Verified<S>> {
        let Location::Url(_) = &self.resource.transfer.source.location else {
            let opened = beneath::open_file(self.directory()?, self.path()?);
            let mut file = opened.context("the source cannot be read")?;
            let taken = pipeline::take(self.job(Source::File(&mut file), Keep::Nowhere), sink()?);
            return self.judge(place, taken);
        };
        let name = self.path()?.to_str().context("its name is no text")?;
        let keep = match (self.site.spool, is_file) {
            (None, _) => Keep::Nowhere,
            (Some(spool), false) => Keep::Spool(spool),
            (Some(spool), true) => Keep::Partial(spool, &self.partial),
        };
        let mut client = Client::new(self.site.policy.clone(), self.site.cancel.clone());
        let bases = self.site.manifests.bases(self.resource.transfer);
        let addresses: Vec<Url> = bases.iter().map(|base| base.join(name)).collect();
        let mut first = None;
        for url in &addresses {
            let taken = pipeline::take(self.job(Source::Url(&mut client, url), keep), sink()?);
            match taken {
                // another address may have it
                Err(e @ (pipeline::Error::Fetch(_) | pipeline::Error::Digest { .. })) => {
                    first = first.or(Some(e));
                }
                other => return self.judge(place, other),
            }
        }
        match first {
            Some(e) => self.judge(place, Err(e)),
            None => Err(anyhow!("it has no address")),
        }
    }

    fn job<'j>(&'j self, source: Source<'j>, keep: Keep<'j>) -> Job<'j> {
        Job {
            source,
            expected: self.digest(),
            keep,
            limit: self.instance.metadata.size.unwrap_or(u64::MAX),
            cancel: self.site.cancel,
            progress: self.progress,
        }
    }

    /// What was not taken whole goes, unless the next run can go on with it.
    fn judge<S>(
        &self,
        place: &Place,
        taken: Result<Verified<S>, pipeline::Error>,
    ) -> Result<Verified<S>> {
        let e = match taken {
            Ok(verified) => return Ok(verified),
            Err(e) => e,
        };
        let is_kept = || {
            let kept = self.site.spool.zip(self.digest());
            kept.is_some_and(|(spool, digest)| spool.record(&digest).is_some())
        };
        let stays = match &e {
            pipeline::Error::Ended(_) => true,
            pipeline::Error::Fetch(_) => is_kept(),
            _ => false,
        };
        if !stays {
            place.discard()?;
        }
        Err(explained(e))
    }
}

/// The same, with its cause once, so that whoever tells it finds an error of the system there.
fn explained(e: pipeline::Error) -> Error {
    match e {
        pipeline::Error::Reading(e) => Error::new(e).context("the source cannot be read"),
        pipeline::Error::Writing(e) => Error::new(e).context("the payload cannot be written"),
        pipeline::Error::Ended(e) => Error::new(e),
        other => Error::msg(other.to_string()),
    }
}
