//! Layer 0: the outside world.
//!
//! Owns processes, files, mounts, locks, signals, the root directory everything is relative to, the log and
//! what is printed. Knows nothing of snapshots or packages.

pub mod attr;
pub mod beneath;
pub mod block;
pub mod cmd;
pub mod failpoint;
pub mod failure;
pub mod fs;
pub mod hex;
pub mod journal;
pub mod lock;
pub mod log;
pub mod mount;
pub mod notify;
pub mod out;
pub mod owner;
pub mod root;
pub mod selinux;
pub mod signal;
pub mod subvolume;
pub mod time;
pub mod tool;
pub mod xattr;
pub mod zone;

pub use failure::{Doing, Failure};
pub use root::Root;
