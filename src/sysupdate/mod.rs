//! A/B updates: what transfer files name is installed beside what is there, whole versions at a time.
//!
//! Owns transfer files, patterns, versions, what is installed and available, and what may go. The files, the marks on
//! disk and the order of versions are those of systemd-sysupdate(8), so that either program can go on where the other one
//! stopped; where that one loses data, this one does otherwise.
//!
//! Tells nothing but warnings, and knows nothing of snapshots or packages. Nothing here follows a link below the directory of a
//! resource.

pub mod archive;
mod boot_partition;
pub mod cancel;
pub mod cleanup;
pub mod decompress;
pub mod definition;
mod direct;
pub mod directory;
pub mod fetch;
pub mod gpt;
pub mod held;
pub mod image;
pub mod installdb;
pub mod instance;
pub mod manifest;
mod note;
pub mod owned;
pub mod partition_type;
pub mod pattern;
pub mod pipeline;
pub mod place;
pub mod remove;
pub mod rollback;
pub mod set;
pub mod signature;
pub mod slots;
pub mod source;
pub mod sparse;
pub mod specifier;
pub mod spool;
pub mod survey;
pub mod sweep;
pub mod switch;
pub mod target;
pub mod update;
pub mod uuid;
pub mod vacuum;
pub mod version;

pub use definition::{Collection, Definitions, Kind, Transfer};
pub use fetch::Url;
pub use instance::{Instance, Resource, Slots, Spot, State};
pub use manifest::Manifest;
pub use partition_type::PartitionType;
pub use pattern::{Fields, Metadata, Pattern, PatternList};
pub use set::{Sets, UpdateSet};
pub use specifier::Specifiers;
pub use survey::Survey;
pub use uuid::Uuid;
pub use version::Version;

#[cfg(test)]
#[path = "../../tests/support/gpg.rs"]
mod gpg;
#[cfg(test)]
#[path = "../../tests/support/http.rs"]
mod http;
#[cfg(test)]
#[path = "../../tests/support/sfdisk.rs"]
mod sfdisk;
#[cfg(test)]
pub(crate) mod testing;
