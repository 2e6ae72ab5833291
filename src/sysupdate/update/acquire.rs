//! Fetching what is missing of a version, all transfers side by side, until all of it is pending.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Error, Result, bail};

use super::Site;
use super::assign::Assigned;
use super::payload::{Payload, Staged};
use super::plan::{Item, Plan};
use super::preflight::{Checked, Erase};
use crate::sys::{failpoint, signal};
use crate::sysupdate::definition::{Kind, Transfer};
use crate::sysupdate::fetch::Facts;
use crate::sysupdate::instance::{Instance, Resource};
use crate::sysupdate::pipeline::{self, Verified};
use crate::sysupdate::slots;
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
pub type Report<'r> = &'r (dyn Fn(Progress<'_>) + Sync);

/// What is fetched, and how.
#[derive(Clone, Copy)]
pub struct Fetching<'f> {
    /// What it works with.
    pub site: &'f Site<'f>,
    /// The transfers.
    pub enabled: &'f [Resource<'f>],
    /// What is to be fetched.
    pub plan: &'f Plan,
    /// What [`super::check`] found.
    pub checked: &'f Checked,
    /// Most transfers at a time.
    pub jobs: usize,
    /// Told of each piece, from any thread.
    pub report: Report<'f>,
}

impl fmt::Debug for Fetching<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetching").finish_non_exhaustive()
    }
}

/// What was staged, by the number of its transfer.
pub type AllStaged = BTreeMap<usize, Staged>;

impl Fetching<'_> {
    /// Fetches into the spool what is to be complete before its slot is emptied.
    ///
    /// # Errors
    /// As [`Fetching::acquire`]; nothing has changed but the spool.
    pub fn stage(&self) -> Result<AllStaged> {
        let all = Mutex::new(AllStaged::new());
        self.each(|work| {
            let number = work.item.resource;
            let slot = self.checked.slots.get(&number);
            if let Some(slot) = slot.filter(|_| self.checked.staged.contains(&number)) {
                let staged = work.stage(*slot, self.checked.erase)?;
                locked(&all).insert(number, staged);
            }
            Ok(())
        })?;
        Ok(std::mem::take(&mut *locked(&all)))
    }

    /// Makes all that the plan fetches pending; what was `staged` is taken from there.
    ///
    /// # Errors
    /// What failed first; all others have ended then, and what they had made pending stays so.
    pub fn acquire(&self, staged: AllStaged) -> Result<()> {
        let staged = Mutex::new(staged);
        self.each(|work| {
            let number = work.item.resource;
            let staged = locked(&staged).remove(&number);
            work.go(self.checked.slots.get(&number).copied(), staged)
        })
    }

    /// Does `what` for all that is fetched, side by side.
    fn each(&self, what: impl Fn(&Work<'_>) -> Result<()> + Sync) -> Result<()> {
        let all: Vec<_> = self.plan.acquired().zip(&self.checked.prospects).collect();
        let next = AtomicUsize::new(0);
        let failed: Mutex<Option<Error>> = Mutex::new(None);
        thread::scope(|scope| {
            for _ in 0..self.jobs.clamp(1, all.len().max(1)) {
                scope.spawn(|| {
                    while let Some(((item, source), prospect)) =
                        all.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        let resource = &self.enabled[item.resource];
                        let instance = &resource.source[*source];
                        let about = || format!("{}: {}", resource.transfer.id, instance.shown);
                        let site = Site {
                            spool: self.site.spool.filter(|_| prospect.is_kept),
                            ..*self.site
                        };
                        let work = Work {
                            site: &site,
                            resource,
                            item,
                            instance,
                            report: self.report,
                        };
                        if let Err(e) = what(&work).with_context(about) {
                            // whoever ends because another one failed comes after it
                            locked(&failed).get_or_insert(e);
                            self.site.cancel.cancel();
                            return;
                        }
                    }
                });
            }
        });
        signal::check()?;
        match locked(&failed).take() {
            Some(e) => Err(e),
            None => Ok(()),
        }
    }
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(|e| e.into_inner())
}

/// What one transfer works with.
struct Work<'w> {
    site: &'w Site<'w>,
    resource: &'w Resource<'w>,
    item: &'w Item,
    instance: &'w Instance,
    report: Report<'w>,
}

impl Work<'_> {
    /// Fetches it into the spool, so that its slot is emptied only when all of it is here.
    fn stage(&self, slot: Assigned, erase: Erase) -> Result<Staged> {
        let progress = self.progress();
        let limit = self.limit().min(slot.length);
        let payload = self.payload(&progress, None, limit, &|| Ok(()));
        let staged = payload.stage()?;
        self.has_its_size(staged.bytes)?;
        if erase == Erase::Late && !staged.is_here() {
            bail!(
                "it cannot be kept until its slot is emptied; make room for the spool, or allow --erase=early"
            );
        }
        failpoint::hit("sysupdate-slot-staged")?;
        Ok(staged)
    }

    fn go(&self, slot: Option<Assigned>, staged: Option<Staged>) -> Result<()> {
        self.site.cancel.check()?;
        match slot {
            Some(slot) => self.to_slot(slot, staged),
            None => self.to_directory(),
        }
    }

    fn to_directory(&self) -> Result<()> {
        let transfer = self.resource.transfer;
        let found = self.site.ground().make(transfer)?;
        let dir = found.dir.as_ref().context("it has no directory")?;
        let place = Place::new(dir, &found.path, &self.item.name, self.site.is_durable)?;
        let discard = || Ok(place.discard()?);
        let progress = self.progress();
        let is_subvolume = transfer.target.kind == Kind::Subvolume;
        let is_tree = self.instance.kind.is_tree() || transfer.target.kind.is_tree();
        let partial = (!is_tree).then(|| place.partial_path().display().to_string());
        let payload = self.payload(&progress, partial, self.limit(), &discard);
        match self.instance.kind {
            Kind::Directory | Kind::Subvolume => {
                let from = payload.local_dir()?;
                let tree = place.partial_dir(is_subvolume)?;
                let verified = payload.judge(pipeline::copied(&from, tree, self.site.cancel))?;
                let attributes = self.attributes(&verified)?;
                place.tree_pending(verified, &attributes).map(drop)?;
            }
            Kind::UrlTar | Kind::Tar => {
                let verified = payload.take(|| Ok(place.partial_dir(is_subvolume)?))?;
                let attributes = self.attributes(&verified)?;
                place.tree_pending(verified, &attributes).map(drop)?;
            }
            _ => {
                // asked anew for each address: the next one goes on with what the last one gave
                let verified = payload.take(|| Ok(place.partial_file(payload.goes_on())?))?;
                let has = verified.sink().file().metadata()?.len();
                payload.keep_if(self.has_its_size(has))?;
                let attributes = self.attributes(&verified)?;
                place.file_pending(verified, &attributes).map(drop)?;
            }
        }
        Ok(())
    }

    fn to_slot(&self, slot: Assigned, staged: Option<Staged>) -> Result<()> {
        let transfer = self.resource.transfer;
        let disk = self.site.ground().disk(transfer, true)?;
        let label = self.item.name.to_string_lossy();
        let place = slots::Place::new(disk, slot.number, &transfer.target, &label);
        let discard = || Ok(place.discard()?);
        let progress = self.progress();
        let limit = self.limit().min(slot.length);
        let payload = self.payload(&progress, None, limit, &discard);
        let begin = || {
            let slice = place.begin()?;
            failpoint::hit("sysupdate-slot-partial")?;
            Ok(slice)
        };
        let verified = payload.take_staged(staged.and_then(|staged| staged.spooled), begin)?;
        payload.keep_if(self.has_its_size(verified.sink().has()))?;
        failpoint::hit("sysupdate-slot-verified")?;
        place.pending(verified, &self.item.metadata).map(drop)?;
        Ok(failpoint::hit("sysupdate-slot-pending")?)
    }

    /// Most bytes that it may have once it is decompressed.
    fn limit(&self) -> u64 {
        self.item.metadata.size.unwrap_or(u64::MAX)
    }

    /// What its name tells is what came.
    fn has_its_size(&self, has: u64) -> Result<()> {
        match self.item.metadata.size {
            Some(size) if size != has => {
                bail!("it has {has} bytes, and not the {size} of its name")
            }
            _ => Ok(()),
        }
    }

    fn progress(&self) -> impl Fn(u64, Option<u64>) + Sync {
        |bytes, total| {
            // a test may end the program here
            failpoint::hit("sysupdate-writing").unwrap_or(());
            (self.report)(Progress {
                transfer: &self.resource.transfer.id,
                bytes,
                total,
            });
        }
    }

    fn payload<'p>(
        &'p self,
        progress: &'p (dyn Fn(u64, Option<u64>) + Sync),
        partial: Option<String>,
        limit: u64,
        discard: &'p (dyn Fn() -> Result<()> + Sync),
    ) -> Payload<'p> {
        Payload {
            site: self.site,
            resource: self.resource,
            instance: self.instance,
            progress,
            partial,
            limit,
            discard,
        }
    }

    /// What it gets when it is complete.
    fn attributes<S>(&self, verified: &Verified<S>) -> Result<Attributes> {
        failpoint::hit("sysupdate-verified")?;
        Ok(Attributes {
            url: verified.facts().map(|_| self.instance.shown.clone()),
            ..attributes(self.resource.transfer, self.item, verified.facts())
        })
    }
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
        read_only: metadata.read_only,
        is_subvolume: transfer.target.kind == Kind::Subvolume,
        url: None,
        etag: facts.and_then(|facts| facts.etag.clone()),
    }
}
