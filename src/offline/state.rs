//! What has become of an offline update: state.json is the truth, result.json has the details.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::plan::PlanId;

/// The file of [`Record`], in [`super::DIRECTORY`].
pub const FILE: &str = "state.json";
/// The file of [`Outcome`], in [`super::DIRECTORY`].
pub const RESULT: &str = "result.json";
/// What is written now.
pub const SCHEMA: u32 = 1;

/// How an update is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// In a new snapshot, which is made what boots next on success: an ordinary transaction.
    NewSnapshot,
    /// In the running root, while a snapshot of what was before boots next until all has succeeded.
    InPlace,
}

/// Where it stands. There is no file when nothing was armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The next boot carries it out.
    Armed,
    /// It was begun.
    Started,
    /// All of it is there.
    Applied,
    /// In place only: what ran before runs again.
    Reverted,
    /// The root was not touched, or a new snapshot was thrown away.
    Failed,
    /// Somebody has seen the result.
    Acknowledged,
}

/// Why it did not come to `applied`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Power, kernel or process ended before it did.
    Interrupted,
    /// The boot that should have carried it out did not begin it.
    NotRun,
    /// The system or the plan is not what it was when the plan was made.
    Stale,
    /// The package manager failed.
    Install,
    /// It ran on battery.
    Power,
    /// A file system had too little room.
    Space,
    /// The trigger could not be removed.
    CannotRemoveTrigger,
    /// Nothing happened for too long.
    Stalled,
    /// The system was shut down meanwhile.
    Shutdown,
    /// A system runs that it does not know.
    UnknownRoot,
}

/// What happens once it has ended, well or badly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndAction {
    /// Reboots.
    #[default]
    Reboot,
    /// Powers off.
    Poweroff,
    /// Starts the new user space under the same kernel, where that is possible; else reboots.
    SoftReboot,
}

/// How far an attempt came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Nothing was changed.
    Begin,
    /// The snapshot is being made.
    Snapshot,
    /// In place only: the snapshot of what was before boots next.
    Protected,
    /// Packages are being installed and removed.
    Install,
    /// They are; all of it is being written to disk and made what boots next.
    Finish,
}

/// A run of user space: it ends with a reboot or a soft-reboot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Userspace {
    /// /proc/sys/kernel/random/boot_id; a soft-reboot keeps it.
    pub boot_id: String,
    /// `UserspaceTimestampMonotonic` of the first process in µs, when it told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<u64>,
    /// `SoftRebootsCount` of the first process, which systemd has since 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft_reboots: Option<u64>,
}

/// A moment in a run of user space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// In UTC as `2026-01-31 13:00:00`.
    pub time: String,
    /// Where it was.
    pub userspace: Userspace,
}

/// A snapshot that an attempt made or used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// The number of the snapshot.
    pub number: u64,
    /// Id of its subvolume, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subvolume: Option<u64>,
}

/// The content of state.json.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The plan.
    pub plan: PlanId,
    /// SHA-256 of its file.
    pub plan_sha256: String,
    /// Where it stands.
    pub state: State,
    /// Why, when it did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// How far it came, once it was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// How it is carried out.
    pub strategy: Strategy,
    /// What comes after it.
    pub end: EndAction,
    /// Whether it is carried out on battery, too.
    #[serde(default)]
    pub allow_battery: bool,
    /// Where the trigger was made: an absolute path, as the system calls it.
    pub trigger: PathBuf,
    /// When it was armed.
    pub armed: Moment,
    /// When it was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Moment>,
    /// Id of the subvolume that ran when it was armed.
    pub base: u64,
    /// The snapshot that it makes: the new one, or in place the one of what was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<Tree>,
    /// How often the update boot was entered from a running system, which carries nothing out.
    #[serde(default)]
    pub live_redirects: u32,
    /// When it ended, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<String>,
}

/// The content of result.json. Readable for everybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The plan.
    pub plan: PlanId,
    /// Applied, reverted or failed.
    pub state: State,
    /// Why, when it did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// What people are told.
    pub text: String,
    /// What has become of each package that was begun: NEVRA and `installed`, `removed` or the error.
    pub packages: Vec<(String, String)>,
    /// What was changed and is not taken back when the root is: mount points.
    pub not_reverted: Vec<PathBuf>,
    /// Ids of the subvolumes: the one that ran, and the snapshot.
    pub subvolumes: Vec<u64>,
    /// When it began and ended, in UTC.
    pub times: [String; 2],
    /// Boot id of its journal.
    pub boot_id: String,
    /// File with what the package manager printed, an absolute path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<PathBuf>,
}
