//! Atomic updates for systems with a package manager on btrfs.
//!
//! The library is a stack of layers; a module uses only those below it (ARCHITECTURE.md has the table, and
//! `tests/architecture.rs` enforces it):
//!
//! - [`sys`]: the outside world: processes, files, mounts, locks, signals, the root, output
//! - [`config`]: configuration files, merged and typed, each value with its origin
//! - [`snapshot`]: btrfs subvolumes, snapper's metadata, the inventory
//! - [`boot`]: what boots next: the loader, the switch, what makes a snapshot bootable
//! - [`sandbox`]: the mount plan, and running a program in a snapshot
//! - [`package`]: what to ask zypper, what its answers mean
//! - [`rpmdb`]: reading the RPM database
//! - [`etc`]: the three-way merge of /etc, and what was changed in it
//! - [`transaction`]: open, seal, publish or abort; base, recovery
//! - [`dirs`]: directories that packages own in /var, /srv and /opt, tmpfiles
//! - [`manage`]: rollback, discard, retention
//! - [`activate`]: apply, reboot methods
//! - [`offline`]: updates in a boot of their own
//! - [`setup`]: FIPS, kdump, SELinux, registration, migration
//! - [`report`]: status and list
//! - [`sysupdate`]: A/B updates from transfer files
//! - [`cli`]: arguments, exit codes, words, progress; one file per command

#[cfg(all(feature = "publish-early", not(debug_assertions)))]
compile_error!(
    "publish-early is a mistake on purpose, for tests of power cuts; it is never shipped"
);

pub mod activate;
pub mod boot;
pub mod cli;
pub mod config;
pub mod dirs;
pub mod etc;
pub mod manage;
pub mod offline;
pub mod package;
pub mod report;
pub mod rpmdb;
pub mod sandbox;
pub mod setup;
pub mod snapshot;
pub mod sys;
pub mod sysupdate;
pub mod transaction;
