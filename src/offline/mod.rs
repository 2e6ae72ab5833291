//! Layer 3: updates in a boot in which almost nothing else runs (systemd.offline-updates(7)).
//!
//! Owns the way from a plan to its result: [`plan`] is what is to be done, [`state`] what has become of it, a trigger the
//! link that makes systemd boot into system-update.target.
//!
//! Invariant: no reboot loop. The trigger is removed before anything is begun, and only what removed it can begin.

pub mod arm;
pub mod base;
pub mod cancel;
pub mod claim;
pub mod generator;
pub mod journal;
pub mod local;
pub mod log;
pub mod plan;
pub mod power;
pub mod prepare;
pub mod reach;
pub mod reconcile;
pub mod record;
pub mod run;
pub mod solution;
pub mod space;
pub mod state;
pub mod status;
pub mod systemd;
#[cfg(test)]
mod testing;
pub mod trigger;
pub mod verify;
pub mod view;
pub mod words;

pub use arm::{Armed, arm};
pub use cancel::{Cancelled, cancel};
pub use claim::{Claimed, Request};
pub use plan::{Plan, PlanId};
pub use reconcile::Situation;
pub use record::Directory;
pub use state::{Cause, EndAction, State, Strategy};
pub use status::Status;
pub use verify::{Stale, same_base, verify};
pub use view::{View, is_waiting};

/// Everything about offline updates is kept here, below the root. The text of a trigger is this path, absolute.
pub const DIRECTORY: &str = "var/lib/transactional-update/offline";
/// In [`DIRECTORY`]: there while an update is armed. No other tool uses this name.
pub const MARKER: &str = ".transactional-update-armed";
/// In [`DIRECTORY`]: what is shown at login, a link in motd.d points to it.
pub const MOTD: &str = "motd";
/// In [`DIRECTORY`]: the packages, as the package manager caches them.
pub const PACKAGES: &str = "packages";
/// In [`DIRECTORY`]: the package manager's own cache of the repositories, as of the time of the plan.
pub const METADATA: &str = "metadata";
