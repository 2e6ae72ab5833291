//! `update` and `acquire`: one version from its sources to its names.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::sys::{failpoint, notify, out, signal};
use crate::sysupdate::cancel::Cancel;
use crate::sysupdate::definition::Definitions;
use crate::sysupdate::fetch::Policy;
use crate::sysupdate::held::Held;
use crate::sysupdate::installdb::Database;
use crate::sysupdate::rollback;
use crate::sysupdate::set::UpdateSet;
use crate::sysupdate::source::Manifests;
use crate::sysupdate::spool::{self, Spool};
use crate::sysupdate::sweep::{Gone, Sweep};
use crate::sysupdate::update::{
    self, AllStaged, Checked, Choice, Chosen, Erase, Fetching, Item, Plan, Progress, Prospect,
    Report, Site, Step, unfinished,
};
use crate::sysupdate::vacuum::Wish;
use crate::sysupdate::{Resource, Survey, Version};

use super::dry::DryRun;
use super::progress::Shown;
use super::rollback as back;
use super::{Session, cleanup, collections, vacuum};

/// Transfers at a time, when nothing is said.
const JOBS: usize = 4;

/// The command: `until_pending` for `acquire`.
pub(super) fn go(
    session: &Session,
    version: Option<&str>,
    until_pending: bool,
) -> Result<ExitCode> {
    signal::install()?;
    let _lock = session.lock()?;
    failpoint::hit("sysupdate-locked")?;
    collections::each(session, |session, definitions| {
        one(session, definitions, version, until_pending)
    })
}

/// One collection.
fn one(
    session: &Session,
    definitions: &Definitions,
    version: Option<&str>,
    until_pending: bool,
) -> Result<ExitCode> {
    let booted = match session.asked.has_reboot {
        true => Some(session.known_booted()?),
        false => None,
    };
    let cancel = Cancel::default();
    let manifests = match session.asked.is_offline {
        true => None,
        false => Some(session.manifests(definitions, &cancel)?),
    };
    let none = Manifests::default();
    let survey = Survey::of(
        &session.root,
        definitions,
        &session.bases,
        manifests.as_ref(),
    )?;
    signal::check()?;
    failpoint::hit("sysupdate-loaded")?;
    let spool = match session.asked.is_dry_run {
        true => None,
        false => open_spool(session),
    };
    let run = Run {
        session,
        definitions,
        survey: &survey,
        held: session.held()?,
        site: Site {
            root: &session.root,
            bases: &session.bases,
            manifests: manifests.as_ref().unwrap_or(&none),
            spool: spool.as_ref(),
            policy: &Policy::default(),
            cancel: &cancel,
            is_durable: session.asked.is_synced,
        },
    };
    let held = &run.held.versions;
    match update::choose(&survey.sets, &survey.enabled, held, version, until_pending)? {
        Choice::Nothing => {
            run.finish()?;
            run.nothing("No update needed.")
        }
        Choice::Installed(set) if run.held.has(&set.version) && !until_pending => {
            let version = &set.version;
            out::say(format_args!(
                "Selected update '{version}' is already installed. It is not held any more."
            ));
            if !session.asked.is_dry_run {
                run.use_again(version)?;
            }
            run.clean_up()?;
            Ok(ExitCode::SUCCESS)
        }
        Choice::Installed(set) => {
            run.finish()?;
            let version = &set.version;
            run.nothing(&format!(
                "Selected update '{version}' is already installed. Skipping update."
            ))
        }
        Choice::Acquired(set) => run.nothing(&format!(
            "Selected update '{}' is already acquired and pending installation.",
            set.version
        )),
        Choice::Update(chosen) => {
            let code = run.update(chosen, until_pending)?;
            // what cannot be cleaned up keeps nobody from what is installed
            let cleaned_up = run.clean_up();
            if let Some(booted) = booted.filter(|_| !session.asked.is_dry_run) {
                reboot_after(&chosen, &booted)?;
            }
            cleaned_up.and(Ok(code))
        }
    }
}

/// Without one, a transfer that breaks off begins anew the next time; that is no reason not to begin it.
fn open_spool(session: &Session) -> Option<Spool> {
    let (path, opened) = session.spool(true)?;
    let opened = opened.and_then(|spool| {
        spool.remove_older(spool::KEPT_FOR)?;
        Ok(spool)
    });
    opened
        .inspect_err(|e| {
            out::warn(format_args!(
                "What is received cannot be kept in {}: {e}",
                out::path(&path)
            ))
        })
        .ok()
}

struct Run<'r> {
    session: &'r Session,
    definitions: &'r Definitions,
    survey: &'r Survey<'r>,
    held: Held,
    site: Site<'r>,
}

impl Run<'_> {
    fn nothing(&self, text: &str) -> Result<ExitCode> {
        out::say(text);
        if self.session.asked.is_dry_run {
            self.show(DryRun::new(self.session, None))?;
        }
        self.clean_up()?;
        Ok(ExitCode::SUCCESS)
    }

    /// Removes what no transfer owns any more, when that is asked for: only here, after the definitions were found and the rest is done.
    fn clean_up(&self) -> Result<()> {
        match self.session.asked.has_cleanup && !self.session.asked.is_dry_run {
            true => {
                let owned = collections::owned(self.session)?;
                cleanup::run(self.session, self.definitions, &owned)
            }
            false => Ok(()),
        }
    }

    /// Ends the plan of a dry run with what would be cleaned up.
    fn show(&self, mut dry: DryRun<'_>) -> Result<()> {
        if self.session.asked.has_cleanup {
            let owned = collections::owned(self.session)?;
            cleanup::show(self.session, self.definitions, &owned, &mut dry)?;
        }
        dry.show()
    }

    /// Whether a version was gone back from: it is held, or was until a run that was cut off.
    fn is_to_be_used_again(&self, version: &Version) -> bool {
        self.held.has(version) || self.held.becoming.as_ref() == Some(version)
    }

    /// Lets a version be used again that was gone back from, and is all there now.
    fn use_again(&self, version: &Version) -> Result<()> {
        let survey = self.session.survey(self.definitions, true)?;
        let mut all = survey.sets.all().iter();
        let set = all.find(|set| set.version == *version && set.is_complete());
        let set = set.with_context(|| format!("version '{version}' is not whole any more"))?;
        let plan = rollback::Plan::of(&survey.enabled, set, &self.held.versions)?;
        back::make_current(self.session, &survey, &plan)
    }

    /// Does the rest of what a run that was cut off did to the version that is used: its links, and names of files.
    fn finish(&self) -> Result<()> {
        let session = self.session;
        let collection = &session.asked.collection;
        if session.asked.is_dry_run {
            return Ok(());
        }
        let is_becoming = |set: &&UpdateSet| self.held.becoming.as_ref() == Some(&set.version);
        let becoming = self.survey.sets.all().iter().find(is_becoming);
        if let Some(set) = becoming.filter(|set| set.is_complete()) {
            let plan = rollback::Plan::of(&self.survey.enabled, set, &self.held.versions)?;
            return back::make_current(session, self.survey, &plan);
        }
        let noted = unfinished::noted(&session.root, collection)
            .context("reading what was being installed")?;
        let Some(version) = noted else { return Ok(()) };
        let set = self
            .survey
            .sets
            .all()
            .iter()
            .find(|set| set.version == version);
        // a file system may bring back a note that was forgotten when somebody went back from its version
        let is_wanted = |set: &&UpdateSet| set.is_complete() && !self.held.has(&set.version);
        if let Some(set) = set.filter(is_wanted) {
            for (resource, instances) in self.survey.enabled.iter().zip(&set.target) {
                if let Some(at) = instances.first() {
                    let spot = &resource.target[*at].spot;
                    update::link_to(self.site.ground(), resource.transfer, spot)?;
                }
            }
        }
        Ok(unfinished::forget(&session.root, collection)?)
    }

    fn update(&self, chosen: Chosen<'_>, until_pending: bool) -> Result<ExitCode> {
        let set = chosen.set;
        let version = &set.version;
        tell_choice(&chosen, self.session.asked.is_offline);
        if !self.session.asked.is_dry_run {
            notify::send(&format!(
                "READY=1\nX_SYSUPDATE_VERSION={version}\nSTATUS=Installing version {version}"
            ));
        }
        let disabled = collections::unowned(self.session, self.survey)?;
        let mut plan = self.plan(set, &disabled)?;
        failpoint::hit("sysupdate-named")?;
        let erase = match self.session.asked.is_dry_run {
            true => Erase::Early,
            false => self.session.asked.erase,
        };
        let checked = update::check(&self.site, &self.survey.enabled, &plan, erase)?;
        if !checked.problems.is_empty() {
            checked.problems.iter().for_each(out::error);
            bail!("Update '{version}' cannot be installed; nothing has changed.");
        }
        plan.assign(&checked.slots);
        if self.session.asked.is_dry_run {
            self.show_plan(&plan, &disabled, &checked.prospects)?;
            return Ok(ExitCode::SUCCESS);
        }
        failpoint::hit("sysupdate-checked")?;
        let staged = self.stage(&plan, &checked)?;
        self.make_room(&plan, &disabled)?;
        failpoint::hit("sysupdate-vacuumed")?;
        self.acquire(&plan, &checked, staged)?;
        failpoint::hit("sysupdate-acquired")?;
        if until_pending {
            out::say(format_args!("✨ Successfully acquired update '{version}'."));
            return Ok(ExitCode::SUCCESS);
        }
        self.install(&plan)?;
        if self.is_to_be_used_again(version) {
            self.use_again(version)?;
        }
        out::say(format_args!(
            "✨ Successfully installed update '{version}'."
        ));
        Ok(ExitCode::SUCCESS)
    }

    fn plan(&self, set: &UpdateSet, disabled: &[Resource<'_>]) -> Result<Plan> {
        let session = self.session;
        let booted = session.in_use(self.survey)?;
        let wish = Wish {
            installing: Some(&set.version),
            booted: booted.as_ref(),
            linked: self.survey.linked(session.ground())?,
            held: self.held.versions.clone(),
            instances_max: session.asked.instances_max,
        };
        let survey = self.survey;
        let made = Plan::of(&survey.enabled, disabled, &survey.sets, set, &wish);
        made.or_else(|problems| {
            problems.iter().for_each(out::error);
            bail!(
                "Update '{}' cannot be installed; nothing has changed.",
                set.version
            )
        })
    }

    /// Executes what the plan says of what goes, and then removes what others left.
    fn make_room(&self, plan: &Plan, disabled: &[Resource<'_>]) -> Result<()> {
        // nobody asks for room for what is there already
        let is_told = plan.acquired().next().is_some() || !plan.vacuum.is_empty();
        if is_told {
            out::say("Making room for 1 updates…");
        }
        self.sweep(plan, disabled, false, &vacuum::tell_gone)?;
        if is_told {
            vacuum::tell_removed(&plan.vacuum);
        }
        Ok(())
    }

    fn sweep(
        &self,
        plan: &Plan,
        disabled: &[Resource<'_>],
        is_dry: bool,
        told: &dyn Fn(Gone<'_>),
    ) -> Result<()> {
        let enabled = &self.survey.enabled;
        let sweep = Sweep {
            ground: self.site.ground(),
            is_dry,
            told,
        };
        for (resource, instance) in &plan.strays {
            let resource = &enabled[*resource];
            sweep.stray(resource, &resource.target[*instance])?;
        }
        sweep.instances(enabled, &plan.vacuum.removals)?;
        sweep.disabled(disabled, &plan.vacuum.disabled)?;
        let keep = self.unfinished(plan)?;
        enabled
            .iter()
            .try_for_each(|resource| sweep.left_overs(resource, &keep))
    }

    /// The paths of unfinished files that are gone on with or replaced.
    fn unfinished(&self, plan: &Plan) -> Result<BTreeSet<PathBuf>> {
        let mut found = BTreeSet::new();
        for (item, _) in plan.acquired().filter(|(item, _)| item.slot.is_none()) {
            let transfer = self.survey.enabled[item.resource].transfer;
            let dir = self.site.ground().open(transfer)?.path;
            found.insert(dir.join(item.partial()));
        }
        Ok(found)
    }

    /// How far each payload is, for who watches.
    fn shown(&self, plan: &Plan, checked: &Checked, is_in: impl Fn(&Item) -> bool) -> Shown {
        let transfers = plan.acquired().zip(&checked.prospects);
        let transfers = transfers.filter(|((item, _), _)| is_in(item));
        let transfers = transfers.map(|((item, _), prospect)| {
            let id = self.survey.enabled[item.resource].transfer.id.as_str();
            (id, prospect.bytes)
        });
        let transfers: Vec<_> = transfers.collect();
        let form = self.session.asked.progress;
        Shown::new(form, plan.version.to_string(), &transfers)
    }

    /// What comes into a slot that has a version is complete before that goes.
    fn stage(&self, plan: &Plan, checked: &Checked) -> Result<AllStaged> {
        if checked.staged.is_empty() {
            return Ok(AllStaged::new());
        }
        out::say("Fetching what comes into slots that are not empty…");
        let shown = self.shown(plan, checked, |item| {
            checked.staged.contains(&item.resource)
        });
        let report = |progress: Progress<'_>| shown.tell(progress);
        self.fetching(plan, checked, &report).stage()
    }

    fn fetching<'f>(
        &'f self,
        plan: &'f Plan,
        checked: &'f Checked,
        report: Report<'f>,
    ) -> Fetching<'f> {
        Fetching {
            site: &self.site,
            enabled: &self.survey.enabled,
            plan,
            checked,
            jobs: self.session.asked.jobs.unwrap_or(JOBS),
            report,
        }
    }

    fn acquire(&self, plan: &Plan, checked: &Checked, staged: AllStaged) -> Result<()> {
        let enabled = &self.survey.enabled;
        let shown = self.shown(plan, checked, |_| true);
        for (item, source) in plan.acquired() {
            let resource = &enabled[item.resource];
            out::say(format_args!(
                "⤵\u{fe0f} Acquiring {} → {}...",
                resource.source[source].shown,
                item.name.display()
            ));
        }
        let report = |progress: Progress<'_>| shown.tell(progress);
        self.fetching(plan, checked, &report).acquire(staged)
    }

    fn install(&self, plan: &Plan) -> Result<()> {
        let session = self.session;
        signal::check()?;
        self.lift(&plan.version)?;
        failpoint::hit("sysupdate-lifted")?;
        let has_links = self
            .definitions
            .enabled()
            .any(|transfer| transfer.target.current_symlink.is_some());
        if has_links {
            unfinished::note(&session.root, &session.asked.collection, &plan.version)
                .context("noting what is being installed")?;
        }
        failpoint::hit("sysupdate-noted")?;
        // whatever was installed is found again
        let database = Database::of(&session.root, &session.asked.collection);
        for item in plan.items.iter().filter(|item| item.step != Step::Nothing) {
            let transfer = self.survey.enabled[item.resource].transfer;
            database.record(self.site.ground(), transfer)?;
        }
        let done = Cell::new(0);
        update::install(&self.site, &self.survey.enabled, plan, &|path| {
            out::say(format_args!("Installed '{}'.", path.display()));
            done.set(done.get() + 1);
            let all = plan.items.iter().filter(|item| item.step != Step::Nothing);
            let left = all.count().saturating_sub(done.get());
            notify::send(&format!(
                "X_SYSUPDATE_TRANSFERS_DONE={}\nX_SYSUPDATE_TRANSFERS_LEFT={left}",
                done.get()
            ));
        })?;
        failpoint::hit("sysupdate-complete-set")?;
        unfinished::forget(&session.root, &session.asked.collection)
            .context("forgetting what was being installed")
    }

    /// A version that is installed is not held any more, and no other one is on the way to be used. Of one that was held, names that were
    /// changed when it was gone back from are to be changed again.
    fn lift(&self, version: &Version) -> Result<()> {
        let mut held = self.held.clone();
        held.becoming = self.is_to_be_used_again(version).then(|| version.clone());
        held.versions.retain(|other| other != version);
        match held == self.held {
            true => Ok(()),
            false => held.save(&self.session.root, &self.session.asked.collection),
        }
    }

    /// What would be done.
    fn show_plan(
        &self,
        plan: &Plan,
        disabled: &[Resource<'_>],
        prospects: &[Prospect],
    ) -> Result<()> {
        let enabled = &self.survey.enabled;
        let dry = RefCell::new(DryRun::new(self.session, Some(&plan.version)));
        self.sweep(plan, disabled, true, &|gone| dry.borrow_mut().remove(gone))?;
        let mut dry = dry.into_inner();
        for ((item, source), prospect) in plan.acquired().zip(prospects) {
            let resource = &enabled[item.resource];
            let source = &resource.source[source].shown;
            let target = self.path(resource, item);
            dry.acquire(&resource.transfer.id, source, &target, prospect.bytes);
        }
        for item in plan.items.iter().filter(|item| item.step != Step::Nothing) {
            let resource = &enabled[item.resource];
            dry.install(&resource.transfer.id, &self.path(resource, item));
        }
        self.show(dry)
    }

    /// A path in the target of a transfer, for a person.
    fn path(&self, resource: &Resource<'_>, item: &Item) -> PathBuf {
        if let Some(number) = item.slot {
            let disk = self.site.ground().disk(resource.transfer, false);
            return disk.map_or(PathBuf::new(), |disk| disk.partition(number).into());
        }
        let found = self.site.ground().open(resource.transfer).ok();
        let dir = found.map_or(PathBuf::new(), |found| found.path);
        dir.join(&item.name)
    }
}

fn tell_choice(chosen: &Chosen<'_>, is_offline: bool) {
    let version = &chosen.set.version;
    // without the sources it is what is asked for
    if chosen.is_acquired && !is_offline {
        out::say(format_args!(
            "Selected update '{version}' is already acquired and pending installation."
        ));
    }
    if chosen.is_repair {
        out::say(format_args!(
            "Selected update '{version}' is already installed, but incomplete. Repairing."
        ));
    } else if chosen.is_passed {
        out::say(format_args!(
            "Selected update '{version}' is not the newest, proceeding anyway."
        ));
    }
    if chosen.is_older {
        out::say(format_args!(
            "Selected update '{version}' is older than newest installed version, proceeding anyway."
        ));
    }
    out::say(format_args!("Selected update '{version}' for install."));
}

/// Reboots after an update, when that makes a difference.
fn reboot_after(installed: &Chosen<'_>, booted: &Version) -> Result<()> {
    let version = &installed.set.version;
    match version.cmp(booted) {
        Ordering::Greater => out::say(format_args!(
            "Version '{version}' is newer than booted version '{booted}'."
        )),
        Ordering::Equal if installed.is_repair => {
            out::say(format_args!("Booted version '{booted}' was repaired."));
        }
        _ => {
            out::say(format_args!(
                "Version '{version}' is not newer than booted version '{booted}': no reboot."
            ));
            return Ok(());
        }
    }
    super::reboot()
}
