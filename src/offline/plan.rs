//! What an offline update will do, found out and downloaded while the system runs.

use serde::{Deserialize, Serialize};

use super::state::Strategy;
use crate::package::Action;

/// The file, in [`super::DIRECTORY`].
pub const FILE: &str = "plan.json";
/// What is written now; a plan with another number is of another version of the program, and is not carried out.
pub const SCHEMA: u32 = 1;

/// The name of a plan: 128 random bits, 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanId(pub String);

/// A plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Its name.
    pub id: PlanId,
    /// How it is carried out.
    pub strategy: Strategy,
    /// The system that it was made for.
    pub base: Base,
    /// The arguments of the package manager after its name, as they are in the update boot, without those that choose caches and
    /// output.
    pub command: Vec<String>,
    /// The packages that come, sorted by name and architecture; upgrades and downgrades too.
    pub install: Vec<Package>,
    /// The packages that go without a successor, sorted by name and architecture.
    pub remove: Vec<Removed>,
    /// SHA-256 of each file below [`super::METADATA`] that the solution depends on, of a link `-> ` and its text: paths relative
    /// to it, sorted.
    pub metadata: Vec<(String, String)>,
    /// Bytes that are used more on the root file system afterwards, by the package manager's word; at least 0.
    pub space: u64,
    /// When it was made, in UTC as `2026-01-31 13:00:00`.
    pub created: String,
}

impl Plan {
    /// What the package manager does; `None` when its command is not understood.
    #[must_use]
    pub fn action(&self) -> Option<Action> {
        Action::of(self.command.iter().map(String::as_str))
    }
}

/// The system that a plan was made for. It is stale for any other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Id of the booted subvolume.
    pub subvolume: u64,
    /// Its UUID.
    pub uuid: String,
    /// State of its RPM database (`rpmdb::Fingerprint` as JSON).
    pub rpmdb: String,
    /// btrfs generation of the subvolume, where its root is read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

/// A package that comes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its architecture.
    pub arch: String,
    /// `[epoch:]version-release`.
    pub evr: String,
    /// `[epoch:]version-release` of the one that it takes the place of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Its file, a path below [`super::PACKAGES`].
    pub file: String,
    /// Size of the file in bytes.
    pub size: u64,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// A package that goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Removed {
    /// Its name.
    pub name: String,
    /// Its architecture.
    pub arch: String,
    /// `[epoch:]version-release`.
    pub evr: String,
}
