//! Layer 1: running a program in a snapshot.
//!
//! Owns the mount plan and the processes of a transaction. Decides nothing about what is run or what becomes
//! of the snapshot.
//!
//! Invariants: mounts live in a namespace of this process and go with it, however it ends. Every process of a
//! run lives in a pid namespace whose first process is ours and dies with us, so that after a run, or after
//! SIGKILL, none of them is left. A run beside the snapshot has the system's own numbers, because systemd answers to
//! no other; there the first process takes in orphans, and ends all of them when it or we end.

mod family;
mod init;
mod mounts;
mod plan;
mod run;

pub use init::run_if_asked;
pub use mounts::Mounts;
pub use plan::{Facts, Plan, Shown, What};
pub use run::{Exit, Output, Run, RunError};
