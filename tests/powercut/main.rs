//! The power fails: a recorded command is cut off after each of its writes, and what is on the disk then has to be the
//! old system or the new one, to boot, and to be recovered.
//!
//! `POWERCUT=all` in the environment judges every prefix of the log and 20 caches that lose power in each epoch;
//! otherwise it is a sample. `POWERCUT_SEED` chooses the sample (see `scenarios.rs`). Needs root, loop devices, FUSE and btrfs.

#![allow(clippy::unwrap_used)] // in a test it says where

mod chunks;
mod directories;
#[allow(dead_code)] // the other tests use more of it
#[path = "../it/fx.rs"]
mod fx;
mod judge;
mod log;
mod offline;
mod record;
mod replay;
mod scenario;
mod scenarios;
mod sweep;
mod tree;
