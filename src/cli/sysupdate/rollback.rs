//! `rollback`: an older version becomes the current one, and what is newer is not taken again unless somebody asks for it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::sys::{failpoint, out, signal};
use crate::sysupdate::held::Held;
use crate::sysupdate::rollback::{self, Plan, Step};
use crate::sysupdate::update::unfinished;
use crate::sysupdate::{Survey, Transfer};

use super::Session;
use super::dry::DryRun;

/// The command.
pub(super) fn go(session: &Session, version: Option<&str>) -> Result<ExitCode> {
    signal::install()?;
    let asked = &session.asked;
    let _lock = session.lock()?;
    let definitions = session.enabled()?;
    let booted = match asked.has_reboot {
        true => Some(session.known_booted()?),
        false => None,
    };
    let survey = session.survey(&definitions, true)?;
    let held = session.held()?;
    let set = rollback::choose(&survey.sets, &held, version)?;
    let plan = Plan::back(&survey.enabled, &survey.sets, set, &held)?;
    if asked.is_dry_run {
        show(session, &survey, &plan)?;
        return Ok(ExitCode::SUCCESS);
    }
    signal::check()?;
    make_current(session, &survey, &plan)?;
    for version in &plan.held {
        out::say(format_args!(
            "Version '{version}' is held: `sysupdate update {version}` lets it be used again."
        ));
    }
    let version = &plan.version;
    out::say(format_args!("Version '{version}' is the current one."));
    match booted {
        Some(booted) if booted != *version => super::reboot()?,
        Some(_) => out::say("It is the booted one: no reboot."),
        None => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes a version the current one. What is cut off is gone on with by the next update or rollback.
pub(super) fn make_current(session: &Session, survey: &Survey<'_>, plan: &Plan) -> Result<()> {
    let (root, collection) = (&session.root, &session.asked.collection);
    let mut held = Held {
        versions: plan.held.clone(),
        becoming: Some(plan.version.clone()),
    };
    held.save(root, collection)?;
    failpoint::hit("sysupdate-back-noted")?;
    // of an update that was cut off: its links would lead elsewhere
    unfinished::forget(root, collection).context("forgetting what was being installed")?;
    failpoint::hit("sysupdate-back-begun")?;
    rollback::execute(session.ground(), &survey.enabled, &plan.steps, &tell)?;
    failpoint::hit("sysupdate-back-done")?;
    held.becoming = None;
    held.save(root, collection)
}

fn tell(transfer: &Transfer, dir: &Path, step: &Step) {
    match step {
        Step::Link(_, path) => {
            let link = transfer.target.current_symlink.as_deref();
            out::say(format_args!(
                "{} shows to '{}' now.",
                link.unwrap_or(Path::new("")).display(),
                path.display()
            ));
        }
        Step::Rename(from, to) => out::say(format_args!(
            "'{}' is called '{}' now.",
            dir.join(from).display(),
            to.display()
        )),
    }
}

/// What would be done.
fn show(session: &Session, survey: &Survey<'_>, plan: &Plan) -> Result<()> {
    let mut dry = DryRun::new(session, Some(&plan.version));
    let ground = session.ground();
    for (number, step) in &plan.steps {
        let transfer = survey.enabled[*number].transfer;
        match step {
            Step::Link(_, path) => {
                if let Some(link) = ground.link(transfer)? {
                    dry.link(&transfer.id, &link.shown, path);
                }
            }
            Step::Rename(from, to) => {
                let dir = ground.open(transfer)?.path;
                dry.rename(&transfer.id, &dir.join(from), &dir.join(to));
            }
        }
    }
    dry.hold(&plan.held);
    dry.show()
}
