//! `vacuum`: removes versions that are too many, what was never finished, and what disabled transfers have.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use crate::sys::out;
use crate::sysupdate::sweep::{Gone, Sweep, What};
use crate::sysupdate::vacuum::{Plan, Why, Wish, plan};
use crate::sysupdate::{Resource, Survey};

use super::dry::DryRun;
use super::json::{Form, Json};
use super::{Session, collections};

/// The command.
pub(super) fn go(session: &Session) -> Result<ExitCode> {
    let _lock = session.lock()?;
    let definitions = session.transfers(|found| !found.transfers.is_empty())?;
    let survey = session.survey(&definitions, true)?;
    let booted = session.in_use(&survey)?;
    let wish = Wish {
        installing: None,
        booted: booted.as_ref(),
        linked: survey.linked(session.ground())?,
        held: session.held()?.versions,
        instances_max: session.asked.instances_max,
    };
    let disabled = collections::unowned(session, &survey)?;
    let found = plan(&survey.enabled, &disabled, &survey.sets, &wish)?;
    if session.asked.is_dry_run {
        let dry = RefCell::new(DryRun::new(session, None));
        sweep(session, &survey, &disabled, &found, &|gone| {
            dry.borrow_mut().remove(gone)
        })?;
        dry.into_inner().show()?;
        return Ok(ExitCode::SUCCESS);
    }
    out::say("Making room…");
    sweep(session, &survey, &disabled, &found, &tell_gone)?;
    empty_spool(session);
    tell(session, &found)?;
    Ok(ExitCode::SUCCESS)
}

fn sweep(
    session: &Session,
    survey: &Survey<'_>,
    disabled: &[Resource<'_>],
    plan: &Plan,
    told: &dyn Fn(Gone<'_>),
) -> Result<()> {
    let sweep = Sweep {
        ground: session.ground(),
        is_dry: session.asked.is_dry_run,
        told,
    };
    sweep.instances(&survey.enabled, &plan.removals)?;
    sweep.disabled(disabled, &plan.disabled)?;
    let mut all = survey.enabled.iter().chain(&survey.disabled);
    all.try_for_each(|resource| sweep.left_overs(resource, &BTreeSet::new()))
}

/// Tells what goes.
pub(super) fn tell_gone(gone: Gone<'_>) {
    let path = gone.path.display();
    match gone.what {
        What::Instance(instance, why) => {
            let what = match why {
                Why::Old => "old",
                Why::Pending => "old pending",
                Why::Partial => "old partial",
                Why::Disabled => "disabled",
            };
            out::say(format_args!(
                "♻\u{fe0f} Removing {what} '{path}' ({}).",
                instance.kind
            ));
        }
        What::LeftOver => out::say(format_args!("♻\u{fe0f} Removing left-over '{path}'.")),
        What::Link => out::say(format_args!(
            "♻\u{fe0f} Removing link '{path}', which shows to nothing now."
        )),
    }
}

/// What was received of payloads that never came to their end is of no use any more. What cannot be emptied is only told: all else is done.
fn empty_spool(session: &Session) {
    let Some((path, opened)) = session.spool(false) else {
        return;
    };
    if let Err(e) = opened.and_then(|spool| spool.remove_older(Duration::ZERO)) {
        out::warn(format_args!(
            "What was received cannot be removed from {}: {e}",
            out::path(&path)
        ));
    }
}

fn tell(session: &Session, done: &Plan) -> Result<()> {
    if session.asked.form != Form::Table {
        let number = |n: usize| Json::Number(n as u64);
        let counts = vec![
            ("removed", number(done.versions)),
            ("disabledTransfers", number(done.disabled_transfers)),
        ];
        return Ok(out::answer(
            &Json::Object(counts).written(session.asked.form),
        )?);
    }
    tell_removed(done);
    Ok(())
}

/// How much went.
pub(super) fn tell_removed(done: &Plan) {
    out::say(match (done.versions, done.disabled_transfers) {
        (0, 0) => "Found nothing to remove.".to_owned(),
        (versions, 0) => format!("Removed {versions} instances."),
        (0, disabled) => format!("Removed {disabled} disabled transfers."),
        (versions, disabled) => {
            format!("Removed {versions} instances, and {disabled} disabled transfers.")
        }
    });
}
