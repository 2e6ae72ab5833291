//! One payload, from where it is to where it goes.

use std::fs::File;
use std::io::{self, BufRead, Seek};

use anyhow::{Context, Error, Result, anyhow};

use super::Site;
use crate::sys::{beneath, out};
use crate::sysupdate::definition::Location;
use crate::sysupdate::fetch::{Client, Url};
use crate::sysupdate::instance::{Instance, Resource, Spot};
use crate::sysupdate::pipeline::{self, Job, Keep, Sha256, Sink, Source, Spooled, Verified};

/// A payload on its way to its place.
pub(super) struct Payload<'p> {
    pub(super) site: &'p Site<'p>,
    pub(super) resource: &'p Resource<'p>,
    pub(super) instance: &'p Instance,
    pub(super) progress: &'p (dyn Fn(u64, Option<u64>) + Sync),
    /// The path of the unfinished file that can keep what is not compressed; of a tree, or of a slot, there is none.
    pub(super) partial: Option<String>,
    /// Most bytes once it is decompressed.
    pub(super) limit: u64,
    /// Removes what has been taken and is of no use.
    pub(super) discard: &'p (dyn Fn() -> Result<()> + Sync),
}

impl Payload<'_> {
    fn digest(&self) -> Option<Sha256> {
        self.instance.metadata.sha256.map(Sha256)
    }

    fn path(&self) -> Result<&std::path::Path> {
        match &self.instance.spot {
            Spot::Path(path) => Ok(path),
            Spot::Partition { .. } => Err(anyhow!("a partition is no source")),
        }
    }

    /// Whether the spool knows that the unfinished file holds the first bytes of this payload.
    pub(super) fn goes_on(&self) -> bool {
        let record = self.site.spool.zip(self.digest());
        let record = record.and_then(|(spool, digest)| spool.record(&digest));
        record.is_some_and(|record| record.partial.is_some() && record.partial == self.partial)
    }

    fn directory(&self) -> Result<std::os::fd::OwnedFd> {
        let Location::Local(place) = &self.resource.transfer.source.location else {
            return Err(anyhow!("it is behind an address"));
        };
        let found = self.site.bases.open(self.site.root, place)?;
        found.dir.context("its directory is gone")
    }

    pub(super) fn local_dir(&self) -> Result<std::os::fd::OwnedFd> {
        let opened = beneath::open_dir(self.directory()?, self.path()?);
        opened.context("the source cannot be read")
    }

    /// Takes it into what `sink` makes: from a file, from the spool when all of it is there, or from the first of the addresses that
    /// gives it.
    pub(super) fn take<S: Sink>(&self, sink: impl Fn() -> Result<S>) -> Result<Verified<S>> {
        self.take_staged(None, sink)
    }

    /// The same of what this process has staged. Its digest is made again only when somebody has changed it.
    pub(super) fn take_staged<S: Sink>(
        &self,
        staged: Option<Spooled>,
        sink: impl Fn() -> Result<S>,
    ) -> Result<Verified<S>> {
        let keep = match (self.site.spool, &self.partial) {
            (None, _) => Keep::Nowhere,
            (Some(spool), None) => Keep::Spool(spool),
            (Some(spool), Some(path)) => Keep::Partial(spool, path),
        };
        self.take_and(keep, staged, sink)
    }

    /// Fetches all of it into the spool, durably, or only reads it where it is local.
    pub(super) fn stage(&self) -> Result<Staged> {
        let keep = self.site.spool.map_or(Keep::Nowhere, Keep::Stage);
        let mut verified = self.take_and(keep, None, || Ok(Counter(0)))?;
        let mut spooled = verified.spooled();
        // the old version goes only when what replaces it survives a power cut
        if let Some((spool, digest)) = self.site.spool.zip(self.digest())
            && spooled.is_some()
            && self.site.is_durable
            && let Err(e) = spool.settle(&digest)
        {
            out::warn(format_args!("a payload cannot be kept: {e}"));
            self.unstage();
            spooled = None;
        }
        Ok(Staged {
            bytes: verified.into_sink().0,
            is_local: matches!(self.resource.transfer.source.location, Location::Local(_)),
            spooled,
        })
    }

    fn take_and<S: Sink>(
        &self,
        keep: Keep<'_>,
        staged: Option<Spooled>,
        sink: impl Fn() -> Result<S>,
    ) -> Result<Verified<S>> {
        let Location::Url(_) = &self.resource.transfer.source.location else {
            let opened = beneath::open_file(self.directory()?, self.path()?);
            let mut file = opened.context("the source cannot be read")?;
            let taken = pipeline::take(self.job(Source::File(&mut file), Keep::Nowhere), sink()?);
            return self.judge(taken);
        };
        let stays = matches!(keep, Keep::Stage(_));
        let taken = match staged {
            Some(spooled) if spooled.is_unchanged() => {
                let source = Source::Spooled(&spooled);
                Some(pipeline::take(self.job(source, Keep::Nowhere), sink()?))
            }
            // what somebody has changed is looked at as anything else
            other => match other.map(Spooled::into_file).or_else(|| self.staged()) {
                Some(mut file) => {
                    file.rewind().context("the spool cannot be read")?;
                    let keep = if stays { keep } else { Keep::Nowhere };
                    let source = Source::File(&mut file);
                    Some(pipeline::take(self.job(source, keep), sink()?))
                }
                None => None,
            },
        };
        match taken {
            None => {}
            // it is fetched again
            Some(Err(
                pipeline::Error::Digest { .. }
                | pipeline::Error::Damaged(_)
                | pipeline::Error::Reading(_),
            )) => self.unstage(),
            Some(taken) => {
                let verified = self.judge(taken)?;
                if !stays {
                    self.unstage();
                }
                return Ok(verified);
            }
        }
        self.fetch(keep, sink)
    }

    /// Takes it from the first of the addresses that gives it. Where none does, the first failure is told, since that address is the main
    /// one; what stays is what the last one left.
    fn fetch<S: Sink>(&self, keep: Keep<'_>, sink: impl Fn() -> Result<S>) -> Result<Verified<S>> {
        let name = self.path()?.to_str().context("its name is no text")?;
        let mut client = Client::new(self.site.policy.clone(), self.site.cancel.clone());
        let bases = self.site.manifests.bases(self.resource.transfer);
        let addresses: Vec<Url> = bases.iter().map(|base| base.join(name)).collect();
        let (mut first, mut stays) = (None, false);
        for url in &addresses {
            let taken = pipeline::take(self.job(Source::Url(&mut client, url), keep), sink()?);
            match taken {
                Err(e) if may_be_elsewhere(&e) => {
                    stays = self.stays(&e);
                    first = first.or(Some(e));
                }
                other => return self.judge(other),
            }
        }
        match first {
            Some(e) => self.give_up(e, stays),
            None => Err(anyhow!("it has no address")),
        }
    }

    /// What the spool has of it, when that is all.
    fn staged(&self) -> Option<File> {
        let (spool, digest) = self.site.spool.zip(self.digest())?;
        let record = spool.record(&digest)?;
        let length = record.facts.length.filter(|_| record.partial.is_none())?;
        (length == spool.length(&digest)).then(|| spool.bytes(&digest).ok())?
    }

    fn unstage(&self) {
        pipeline::drop_kept(self.site.spool.zip(self.digest()));
    }

    fn job<'j>(&'j self, source: Source<'j>, keep: Keep<'j>) -> Job<'j> {
        Job {
            source,
            expected: self.digest(),
            keep,
            limit: self.limit,
            cancel: self.site.cancel,
            progress: self.progress,
        }
    }

    /// What was not taken whole goes, unless the next run can go on with it.
    pub(super) fn judge<S>(
        &self,
        taken: Result<Verified<S>, pipeline::Error>,
    ) -> Result<Verified<S>> {
        taken.or_else(|e| {
            let stays = self.stays(&e);
            self.give_up(e, stays)
        })
    }

    /// Whether the next run can go on with what was taken until this failed.
    fn stays(&self, e: &pipeline::Error) -> bool {
        let is_kept = || {
            let kept = self.site.spool.zip(self.digest());
            kept.is_some_and(|(spool, digest)| spool.record(&digest).is_some())
        };
        match e {
            pipeline::Error::Ended(_) => true,
            pipeline::Error::Fetch(_) => is_kept(),
            _ => false,
        }
    }

    fn give_up<T>(&self, e: pipeline::Error, stays: bool) -> Result<T> {
        let e = explained(e);
        match stays {
            true => Err(e),
            false => self.keep_if(Err(e)),
        }
    }

    /// What was taken of it goes when it is not `good`. Both errors are told when that fails.
    pub(super) fn keep_if<T>(&self, good: Result<T>) -> Result<T> {
        good.map_err(|e| match (self.discard)() {
            Ok(()) => e,
            Err(undo) => e.context(format!(
                "what was taken could not be removed ({undo:#}); the next update does that; the first failure was"
            )),
        })
    }
}

/// What was fetched or read before the slot that it comes into is emptied.
#[derive(Debug)]
pub struct Staged {
    /// Its bytes once it is decompressed.
    pub(super) bytes: u64,
    is_local: bool,
    /// The file of the spool; `None` when it cannot be kept.
    pub(super) spooled: Option<Spooled>,
}

impl Staged {
    /// Whether it can be taken without a server.
    pub(super) fn is_here(&self) -> bool {
        self.is_local || self.spooled.is_some()
    }
}

/// Counts bytes, and keeps none.
struct Counter(u64);

impl Sink for Counter {
    fn take(&mut self, from: &mut dyn BufRead) -> io::Result<()> {
        self.0 = 0;
        loop {
            let length = from.fill_buf()?.len();
            if length == 0 {
                return Ok(());
            }
            from.consume(length);
            self.0 += length as u64;
        }
    }
}

/// Whether another address may have what this one did not give.
fn may_be_elsewhere(e: &pipeline::Error) -> bool {
    match e {
        pipeline::Error::Fetch(_) | pipeline::Error::Digest { .. } => true,
        // a decoder, or the limit, finds other bytes before the digest does
        pipeline::Error::Damaged(_) => true,
        _ => false,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysupdate::testing;

    #[test]
    fn when_what_was_taken_cannot_be_removed_both_failures_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let place = testing::Nothing::at(dir.path());
        let site = place.site();
        let transfer = testing::transfer("a");
        let resource = testing::resource(&transfer, "", "1");
        let told = |discard: &(dyn Fn() -> Result<()> + Sync)| {
            let payload = Payload {
                site: &site,
                resource: &resource,
                instance: &resource.source[0],
                progress: &|_, _| {},
                partial: None,
                limit: 0,
                discard,
            };
            let damaged = pipeline::Error::Damaged(io::Error::other("cut off"));
            format!("{:#}", payload.judge::<()>(Err(damaged)).unwrap_err())
        };
        assert_eq!(told(&|| Ok(())), "the payload is damaged: cut off");
        let both = told(&|| Err(anyhow!("removing x").context("no")));
        assert_eq!(
            both,
            "what was taken could not be removed (no: removing x); the next update does that; the first failure was: \
             the payload is damaged: cut off"
        );
    }
}
