//! `offline prepare`: what an update changes, on disk before the system boots into it.

use std::process::ExitCode;

use anyhow::{Result, bail};

use super::super::args::{Prepare, Strategy};
use super::super::chain;
use super::super::progress::Progress;
use super::super::session::Session;
use crate::offline;
use crate::offline::prepare::{Wish, prepare as make};
use crate::package::{Action, Request};
use crate::sys::out;

/// Prepares an update and says what came of it.
pub(super) fn prepare(
    session: &Session,
    strategy: Option<Strategy>,
    update: Option<Prepare>,
) -> Result<ExitCode> {
    if session.options.interactive {
        bail!("`offline prepare` asks nothing: leave --interactive out");
    }
    let system = session.system_to_change()?;
    let (action, args) = match update {
        Some(Prepare::Dup) => (Action::DistUpgrade, Vec::new()),
        Some(Prepare::Up) => (Action::Update, Vec::new()),
        Some(Prepare::Patch) => (Action::Patch, Vec::new()),
        Some(Prepare::Install(packages)) => (Action::Install, packages.args),
        Some(Prepare::Remove(packages)) => (Action::Remove, packages.args),
        None => (chain::configured_action(&system)?, Vec::new()),
    };
    let wish = Wish {
        request: &Request::new(action, args),
        strategy: strategy.map(Into::into),
    };
    let lock = system.lock()?;
    let mut progress = Progress::new();
    let prepared = make(&system, &lock, &wish, &mut |event| progress.take(event))?;
    for warning in &prepared.success.warnings {
        out::warn(warning);
    }
    let Some(plan) = prepared.plan else {
        out::say("Nothing to do: no update was prepared.");
        return Ok(ExitCode::SUCCESS);
    };
    if prepared.success.run_again {
        out::say("This updates the package manager only; prepare the rest once that is done.");
    }
    out::say(format_args!(
        "The update is prepared: {} packages to install and {} to remove, {}. `offline arm` makes the next boot carry it out.",
        plan.install.len(),
        plan.remove.len(),
        match plan.strategy {
            offline::Strategy::NewSnapshot => "in a new snapshot",
            offline::Strategy::InPlace => "in the running root",
        }
    ));
    Ok(ExitCode::SUCCESS)
}

impl From<Strategy> for offline::Strategy {
    fn from(strategy: Strategy) -> offline::Strategy {
        match strategy {
            Strategy::NewSnapshot => offline::Strategy::NewSnapshot,
            Strategy::InPlace => offline::Strategy::InPlace,
        }
    }
}
