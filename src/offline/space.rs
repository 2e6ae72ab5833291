//! Whether there is room for what a plan needs.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sys::stat::SFlag;
use nix::sys::statvfs::fstatvfs;

use super::plan::Plan;
use crate::boot;
use crate::sys::root::inside;
use crate::sys::{Doing, Failure, Root, beneath, mount};

/// How the names of kernels and of initrds begin there.
const KERNELS: &[&str] = &["vmlinuz", "vmlinux", "Image", "zImage", "bzImage", "linux"];
const INITRDS: &[&str] = &["initrd", "initramfs"];
/// Most files that are looked at in one of them.
const MOST: usize = 20_000;

/// Free space below which nothing is begun, in bytes: a snapshot and its metadata fit into it.
const LEAST: u64 = 64 << 20;

/// What is missing on the root file system for `plan`, in bytes, with a tenth more than the package manager said; 0 when
/// there is enough.
///
/// # Errors
/// The error of statvfs(3).
pub fn missing(root: &Root, plan: &Plan) -> Result<u64, Failure> {
    let top = open(root, Path::new(""))?;
    Ok(needed(plan.space).saturating_sub(free(&top, root.path())?))
}

/// A file system of its own that has no room for another kernel and initrd, as large as the largest that are in it and a tenth more;
/// with the bytes that are missing there. No plan says how large the new ones are.
///
/// # Errors
/// When it cannot be read.
pub fn missing_to_boot(root: &Root) -> Result<Option<(PathBuf, u64)>, Failure> {
    let mounts = mount::mounts().doing(|| "reading the list of mounts".into())?;
    for place in boot::PLACES {
        let point = root.join(place);
        if !mounts.iter().any(|mount| mount.point == point) {
            continue;
        }
        let dir = open(root, Path::new(place))?;
        let size = another(&dir).doing(|| format!("reading {}", point.display()))?;
        match with_a_tenth(size).saturating_sub(free(&dir, &point)?) {
            0 => {}
            missing => return Ok(Some((inside(Path::new(place)), missing))),
        }
    }
    Ok(None)
}

/// The size of the largest kernel and of the largest initrd in `dir`.
fn another(dir: &OwnedFd) -> std::io::Result<u64> {
    let (mut kernel, mut initrd) = (0, 0);
    beneath::walk(dir.as_fd(), Path::new(""), MOST, &mut |path, stat| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let begins = |words: &[&str]| words.iter().any(|word| name.starts_with(word));
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        match beneath::kind(stat) {
            SFlag::S_IFREG if begins(KERNELS) => kernel = size.max(kernel),
            SFlag::S_IFREG if begins(INITRDS) => initrd = size.max(initrd),
            _ => {}
        }
    })?;
    Ok(kernel.saturating_add(initrd))
}

fn open(root: &Root, place: &Path) -> Result<OwnedFd, Failure> {
    let doing = || format!("looking at {}", root.join(place).display());
    let top = beneath::open_root(root.path()).doing(doing)?;
    beneath::open_dir(&top, place).doing(doing)
}

/// Free bytes of the file system of `dir`.
fn free(dir: &OwnedFd, path: &Path) -> Result<u64, Failure> {
    let stat =
        fstatvfs(dir).doing(|| format!("asking for the free space of {}", path.display()))?;
    Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
}

fn needed(space: u64) -> u64 {
    with_a_tenth(space).max(LEAST)
}

fn with_a_tenth(space: u64) -> u64 {
    space.saturating_add(space.div_ceil(10))
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

    #[test]
    fn the_largest_kernel_and_initrd_are_what_another_one_may_need() {
        let dir = tempfile::tempdir().unwrap();
        let fd = beneath::open_root(dir.path()).unwrap();
        assert_eq!(another(&fd).unwrap(), 0);
        std::fs::create_dir_all(dir.path().join("EFI/os/6.4")).unwrap();
        for (name, size) in [
            ("vmlinuz-6.3", 10),
            ("EFI/os/6.4/linux-x", 30),
            ("initrd-6.3", 500),
            ("EFI/os/6.4/initramfs", 400),
            ("System.map-6.4", 9000),
        ] {
            std::fs::write(dir.path().join(name), vec![0; size]).unwrap();
        }
        std::os::unix::fs::symlink("System.map-6.4", dir.path().join("vmlinuz")).unwrap();
        assert_eq!(another(&fd).unwrap(), 530);
    }
}
