//! Whether there is room for what a plan needs.

use nix::sys::statvfs::fstatvfs;

use super::plan::Plan;
use crate::sys::{Doing, Failure, Root, beneath};

/// Free space below which nothing is begun, in bytes: a snapshot and its metadata fit into it.
const LEAST: u64 = 64 << 20;

/// What is missing on the root file system for `plan`, in bytes, with a tenth more than the package manager said; 0 when
/// there is enough.
///
/// # Errors
/// The error of statvfs(3).
pub fn missing(root: &Root, plan: &Plan) -> Result<u64, Failure> {
    let doing = || format!("asking for the free space of {}", root.path().display());
    let top = beneath::open_root(root.path()).doing(doing)?;
    let stat = fstatvfs(&top).doing(doing)?;
    let free = stat.blocks_available().saturating_mul(stat.fragment_size());
    Ok(needed(plan.space).saturating_sub(free))
}

fn needed(space: u64) -> u64 {
    space.saturating_add(space.div_ceil(10)).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_more_is_needed_than_was_said_and_never_next_to_nothing() {
        assert_eq!(needed(0), LEAST);
        assert_eq!(needed(1 << 30), (1 << 30) + (1u64 << 30).div_ceil(10));
        assert_eq!(needed(u64::MAX), u64::MAX);
    }
}
