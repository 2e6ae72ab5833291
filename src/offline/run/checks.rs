//! What is checked once more before anything is changed: a boot lies between arming and now.

use anyhow::{Context, Error, Result, anyhow};

use crate::offline::plan::{self, Plan};
use crate::offline::state::{Cause, Record};
use crate::offline::{Directory, arm, base, power, space, verify};
use crate::sys::signal;
use crate::transaction::System;

/// The plan of `record`, when it can still be carried out.
///
/// # Errors
/// Why not, and the cause that is written down for it.
pub(super) fn plan(
    system: &System,
    directory: &Directory,
    record: &Record,
) -> Result<Plan, (Cause, Error)> {
    let plan = read(directory, record).map_err(stale)?;
    verify::verify(&plan, directory.fd()).map_err(stale)?;
    let (now, _) = base::running(system).map_err(stale)?;
    verify::same_base(&plan, &now).map_err(stale)?;
    // where nothing tells, there is no battery that could
    if !record.allow_battery && power::is_on_battery(&system.root).unwrap_or(false) {
        let why = "the machine runs on battery; connect it and arm the update again";
        return Err((Cause::Power, anyhow!(why)));
    }
    match space::missing(&system.root, &plan) {
        Ok(0) => {}
        Ok(missing) => {
            let why = anyhow!(
                "{missing} bytes are missing on the root file system; delete snapshots or files, and arm the update again"
            );
            return Err((Cause::Space, why));
        }
        Err(e) => return Err((Cause::Space, e.into())),
    }
    if arm::touches_boot(&plan) {
        let inventory = system.store.inventory();
        let booted = inventory.map_err(stale)?.booted;
        let booted = booted.ok_or_else(|| stale(anyhow!("the running system is no snapshot")))?;
        arm::has_room_to_boot(system, booted).map_err(|e| (Cause::Space, e))?;
    }
    signal::check().map_err(|e| (Cause::Shutdown, e.into()))?;
    Ok(plan)
}

fn stale(why: impl Into<Error>) -> (Cause, Error) {
    (Cause::Stale, why.into())
}

fn read(directory: &Directory, record: &Record) -> Result<Plan> {
    let bytes = directory.bytes(plan::FILE)?;
    let bytes = bytes.with_context(|| format!("{} is gone", plan::FILE))?;
    if verify::sha256(&bytes) != record.plan_sha256 {
        return Err(anyhow!(
            "{} is not the one that was armed; prepare and arm the update again",
            plan::FILE
        ));
    }
    serde_json::from_slice(&bytes).with_context(|| format!("reading {}", plan::FILE))
}
