//! Finding out what an update changes, and downloading it, while the system runs.
//!
//! Invariant: plan.json is there only when all that it speaks of is on disk. It is removed before anything else and written last;
//! what was cut off leaves none, and the next call begins anew.
//!
//! Nothing of the running system changes, but for the log of the package manager and what that keeps of itself in /var. Its caches
//! are of our own, so that nobody else empties or refreshes them until the update.
//!
//! What is trusted: the package manager checks the signatures of repositories and packages as they are set up, with the keys that
//! the system has; none is imported here. What it accepts is accepted, so that a repository with `gpgcheck=0` needs no signature, as
//! for any other installation. Beyond that each file has to fit its own digests, and its signature when the key is
//! known. The update itself then only trusts the sizes and digests in the plan.

mod archives;
pub(super) mod call;

use std::path::Path;

use anyhow::{Error, Result, bail};

use super::base;
use super::plan::{self, Base, Plan, PlanId, SCHEMA};
use super::record::{self, Directory};
use super::solution::{Changes, of_command};
use super::state::Strategy;
use super::verify::{INSTALLED, files};
use super::view::View;
use super::{METADATA, PACKAGES};
use crate::package::cached::{self, Caches, Extent};
use crate::package::{Action, Event, Failure, FailureKind, Request, Success};
use crate::sys::cmd::Argv;
use crate::sys::hex::to_hex;
use crate::sys::lock::WriteLock;
use crate::sys::{Doing, beneath, failpoint, fs, signal, time};
use crate::transaction::{System, not_inside_another};

/// What is to be prepared.
#[derive(Debug)]
pub struct Wish<'r> {
    /// What the package manager is to do. It asks nothing and imports no keys, whatever the request says.
    pub request: &'r Request,
    /// How it is carried out; `None`: as it suits the system.
    pub strategy: Option<Strategy>,
}

/// What came of it.
#[derive(Debug)]
pub struct Prepared {
    /// The plan, which is on disk; `None` when there is nothing to do.
    pub plan: Option<Plan>,
    /// What the package manager said beyond that.
    pub success: Success,
}

/// Prepares an update of the running system. An earlier plan goes, unless it is armed or being carried out, which is refused.
/// `take` is told of what the package manager does.
///
/// # Errors
/// Whatever stands in the way; once the earlier plan is gone, no plan is left.
pub fn prepare(
    system: &System,
    lock: &WriteLock,
    wish: &Wish<'_>,
    take: &mut (dyn FnMut(&Event) + Send),
) -> Result<Prepared> {
    not_inside_another()?;
    let mut view = View::of(system)?;
    view.settle(lock)?;
    if view.is_waiting() {
        bail!(
            "an update is armed or has not ended; `offline status` shows where it stands, and `offline cancel` calls it off"
        );
    }
    let command = cached::command(wish.request)?;
    let (base, suits) = base::running(system)?;
    let strategy = wish.strategy.unwrap_or(suits);
    base::allows(system, strategy, suits)?;
    let directory = Directory::make(&system.root)?;
    view.acknowledge(lock)?;
    clear(&directory)?;
    let job = Job {
        system,
        directory: &directory,
        command,
        action: wish.request.action,
        strategy,
        is_read_only: suits == Strategy::NewSnapshot,
        base,
    };
    let made = job.make(take);
    if matches!(&made, Ok(prepared) if prepared.plan.is_some()) {
        return made;
    }
    match (made, clear(&directory)) {
        (Err(e), Err(clearing)) => Err(e.context(format!(
            "what was downloaded could not be removed: {clearing:#}; the failure was"
        ))),
        (Ok(_), Err(clearing)) => Err(clearing),
        (made, Ok(())) => made,
    }
}

/// Removes a plan, whole or not, and then what it is made of.
fn clear(directory: &Directory) -> Result<()> {
    directory.remove(plan::FILE)?;
    directory.remove_temporaries()?;
    failpoint::hit("offline-plan-removed")?;
    for cache in [PACKAGES, METADATA] {
        let doing = || format!("removing {}", record::path().join(cache).display());
        beneath::remove_all(directory.fd(), cache.as_ref()).doing(doing)?;
    }
    failpoint::hit("offline-caches-removed")?;
    Ok(())
}

struct Job<'s> {
    system: &'s System,
    directory: &'s Directory,
    command: Vec<String>,
    action: Action,
    strategy: Strategy,
    is_read_only: bool,
    base: Base,
}

/// What the package manager would do, and has downloaded.
struct Downloaded {
    changes: Changes,
    /// By how many bytes the system grows at least.
    space: u64,
    success: Success,
    /// A failure that counts only when something is missing.
    doubt: Option<Error>,
}

impl Job<'_> {
    fn make(&self, take: &mut (dyn FnMut(&Event) + Send)) -> Result<Prepared> {
        let Downloaded {
            changes,
            space,
            success,
            doubt,
        } = self.download(take)?;
        if changes.is_empty() {
            return Ok(Prepared {
                plan: None,
                success,
            });
        }
        failpoint::hit("offline-downloaded")?;
        let install = archives::checked(self.directory, &changes);
        let install = install.map_err(|e| doubt.unwrap_or(e))?;
        let plan = Plan {
            schema: SCHEMA,
            id: PlanId(to_hex(&fs::random().doing(|| "making a name".into())?)),
            strategy: self.strategy,
            base: self.base.clone(),
            command: self.command.clone(),
            install,
            remove: changes.removed(),
            metadata: self.metadata()?,
            space,
            created: time::utc(std::time::SystemTime::now()),
        };
        signal::check()?;
        if base::running(self.system)?.0 != self.base {
            bail!("the system was changed while the update was prepared; prepare it again");
        }
        nix::unistd::syncfs(self.directory.fd())
            .doing(|| format!("writing {} to disk", record::path().display()))?;
        failpoint::hit("offline-plan-begins")?;
        self.directory.write_plan(&plan)?;
        Ok(Prepared {
            plan: Some(plan),
            success,
        })
    }

    /// Reads the repositories, solves and downloads.
    fn download(&self, take: &mut (dyn FnMut(&Event) + Send)) -> Result<Downloaded> {
        let path = record::path();
        for cache in [PACKAGES, METADATA] {
            let doing = || format!("making {}", path.join(cache).display());
            beneath::make_dirs(self.directory.fd(), cache.as_ref(), 0o755).doing(doing)?;
        }
        let (metadata, packages) = (path.join(METADATA), path.join(PACKAGES));
        let caches = Caches {
            metadata: &metadata,
            packages: &packages,
        };
        let refresh = Argv::new(cached::refresh_argv(caches));
        call::package_manager(self.action, &refresh, take)?;
        let mut call = |extent| {
            let argv = of_command(&self.command, &path, extent);
            call::package_manager(self.action, &argv, take)
        };
        let mut doubt = None;
        let (report, success) = match call(Extent::Download) {
            // a zypper that works in single transactions tries this one out when all is downloaded, and to rpm there is no room on
            // what is mounted read-only
            Err(e) if self.is_read_only && is_of_room(&e) => {
                doubt = Some(e);
                call(Extent::Solution)?
            }
            called => called?,
        };
        if let Some(name) = success.skipped_repositories.first() {
            bail!(
                "repository '{name}' could not be read, and without it another update would come out; try again later, or                  switch it off (zypper modifyrepo --disable)"
            );
        }
        let Some(summary) = report.summary else {
            return Ok(Downloaded {
                changes: Changes::default(),
                space: 0,
                success,
                doubt,
            });
        };
        let changes = Changes::of(&summary).map_err(Error::msg)?;
        let space = u64::try_from(summary.space_usage_diff).unwrap_or(0);
        Ok(Downloaded {
            changes,
            space,
            success,
            doubt,
        })
    }

    /// What the solution depends on.
    fn metadata(&self) -> Result<Vec<(String, String)>> {
        let fd = self.directory.fd();
        let place = record::path().join(METADATA);
        let installed = Path::new(METADATA).join(INSTALLED);
        beneath::remove_all(fd, &installed)
            .doing(|| format!("removing {}", place.join(INSTALLED).display()))?;
        let found = files(fd, METADATA).doing(|| format!("reading {}", place.display()))?;
        if found.is_empty() {
            bail!(
                "the package manager has left nothing in {}",
                place.display()
            );
        }
        let hashed = found.into_iter().map(|file| {
            let content = file.content(fd, METADATA);
            let content =
                content.doing(|| format!("reading {}", place.join(&file.name).display()))?;
            Ok((file.name, content.sha256))
        });
        hashed.collect()
    }
}

/// Whether the package manager found too little room.
fn is_of_room(error: &Error) -> bool {
    let failure = error.downcast_ref::<Failure>();
    failure.is_some_and(|failure| failure.kind == FailureKind::DiskFull)
}
