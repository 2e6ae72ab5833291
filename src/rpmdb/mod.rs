//! Reading the RPM database, without librpm and without running a program where the format is known.
//!
//! Owns where the database of a root is, its formats (ndb, sqlite; anything else through `rpm -qa`), and what its headers
//! say. Reads only: it never writes, never opens a database for writing, holds no lock longer than a scan, and decides
//! nothing about what is found.

mod changelog;
mod database;
mod diff;
mod directories;
mod error;
mod files;
mod fingerprint;
mod header;
mod locate;
mod map;
mod model;
mod ndb;
pub mod order;
mod query;
pub mod raw;
mod source;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(test)]
mod testing;

pub use changelog::{ChangelogEntry, changelog_delta};
pub use database::{Database, OpenOptions};
pub use diff::{Change, Diff, Transaction, diff};
pub use error::RpmdbError;
pub use fingerprint::{FileStamp, Fingerprint};
pub use model::{
    Backend, BadPackage, Directories, DirectoryEntry, FileState, InstalledPackage, Nevra, Prefix,
};
