//! `setup-fips`, `setup-selinux`, `setup-kdump`: installs what is missing and switches it on.

use anyhow::Result;

use super::pkg;
use super::session::{Session, Worked};
use crate::package::Action;
use crate::setup::Setup;
use crate::transaction::{BootFiles, Open, System};

/// Sets it up in the snapshot; says which boot files have to be made anew.
pub(super) fn set_up(
    session: &Session,
    setup: &Setup,
    system: &System,
    open: &Open<'_>,
) -> Result<(Worked, BootFiles)> {
    let missing = setup.missing(open)?;
    if !missing.is_empty() {
        let missing = missing.into_iter().map(Into::into).collect();
        let job = pkg::Job::new(Action::Install, missing, session.is_interactive(false))?;
        if let failed @ Worked::Failed(..) = job.work(system, open)? {
            return Ok((failed, BootFiles::default()));
        }
    }
    Ok((Worked::Publish, setup.apply(open)?))
}
