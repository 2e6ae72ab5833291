//! Layer 3: how the next system comes to run.
//!
//! Owns the methods of rebooting. What boots next is decided below, and is on disk before anything here is called.

mod apply;
mod kexec;
mod nextroot;
mod reboot;

pub use apply::apply;
pub use nextroot::prepare_next_root;
pub use reboot::{is_wanted, reboot, reboot_to_image};
