//! Mounts: what is mounted, what fstab asks for, and making mounts on descriptors.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::makedev;
use nix::unistd::{chroot, fchdir};

use super::Root;
use super::root::{
    FIRST_MOUNT_NAMESPACE, INSIDE, THREAD_MOUNT_NAMESPACE, THREAD_MOUNTINFO, descriptor_path,
    relative,
};

/// A mount of this namespace (proc_pid_mountinfo(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The device of the file system, as stat(2) numbers it; on btrfs, and where it is on no device, a number that is no device's.
    pub device: u64,
    /// The directory of the file system that is seen at the mount point; on btrfs it begins with the subvolume.
    pub root: PathBuf,
    /// Where it is mounted.
    pub point: PathBuf,
    /// Whether this mount, or its file system, is read-only.
    pub read_only: bool,
    /// Type of the file system, as `btrfs`.
    pub fs_type: String,
    /// What it is of, as its type calls it: often a device.
    pub source: PathBuf,
}

/// A line of fstab(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FstabEntry {
    /// Where it is mounted, absolute.
    pub point: PathBuf,
    /// Type of the file system.
    pub fs_type: String,
    /// Options, split at commas.
    pub options: Vec<String>,
}

/// The mounts that the calling thread sees, in the kernel's order: a later one on the same point hides the
/// earlier one.
///
/// # Errors
/// When /proc cannot be read.
pub fn mounts() -> io::Result<Vec<Mount>> {
    Ok(parse_mountinfo(&fs::read(THREAD_MOUNTINFO)?))
}

pub(super) fn parse_mountinfo(info: &[u8]) -> Vec<Mount> {
    // any user may mount with FUSE, on a directory whose name is no text: that must not hide the other mounts
    let text = String::from_utf8_lossy(info);
    text.lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut fields = before.split(' ').skip(2);
            let (device, root) = (fields.next()?, fields.next()?);
            let (point, options) = (fields.next()?, fields.next()?);
            let mut rest = after.split(' ');
            let (fs_type, source) = (rest.next()?, rest.next()?);
            let super_options = rest.next().unwrap_or("");
            let has_ro = |list: &str| list.split(',').any(|o| o == "ro");
            Some(Mount {
                device: device_number(device).unwrap_or(0),
                root: unescape(root),
                point: unescape(point),
                read_only: has_ro(options) || has_ro(super_options),
                fs_type: fs_type.to_owned(),
                source: unescape(source),
            })
        })
        .collect()
}

/// A number like `8:1`.
fn device_number(text: &str) -> Option<u64> {
    let (major, minor) = text.split_once(':')?;
    Some(makedev(major.parse().ok()?, minor.parse().ok()?))
}

/// Reads `etc/fstab` below `dir`; a missing file has no entries.
///
/// # Errors
/// When the file cannot be read or is larger than 1 MiB.
pub fn fstab(dir: &Root) -> io::Result<Vec<FstabEntry>> {
    match super::fs::read_bounded(&dir.join("etc/fstab"), 1 << 20) {
        Ok(bytes) => Ok(parse_fstab(&String::from_utf8_lossy(&bytes))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// The lines of a file in the format of fstab(5) that mount something.
pub fn parse_fstab(text: &str) -> Vec<FstabEntry> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            let (point, fs_type) = (fields.next()?, fields.next()?);
            let options = fields
                .next()
                .unwrap_or("defaults")
                .split(',')
                .map(str::to_owned)
                .collect();
            Some(FstabEntry {
                point: unescape(point),
                fs_type: fs_type.to_owned(),
                options,
            })
        })
        .filter(|entry| entry.point.is_absolute())
        .collect()
}

/// Octal escapes of blanks and the like, as the kernel and fstab(5) write them.
fn unescape(field: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let bytes = field.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let octal = bytes
            .get(i + 1..i + 4)
            .and_then(|d| std::str::from_utf8(d).ok());
        match octal.and_then(|d| u8::from_str_radix(d, 8).ok()) {
            Some(byte) if bytes[i] == b'\\' => {
                out.push(byte);
                i += 4;
            }
            _ => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

/// Gives the calling thread a mount namespace of its own. What the system mounts or unmounts still arrives
/// there, nothing made there leaves it, and all of it goes with the last process in it, however that ends.
///
/// # Errors
/// The error of unshare(2) or mount(2).
pub fn private_namespace() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    Ok(mount(
        None::<&str>,
        INSIDE,
        None::<&str>,
        MsFlags::MS_SLAVE | MsFlags::MS_REC,
        None::<&str>,
    )?)
}

/// Whether the calling thread sees the mounts of the system itself, and not a copy that a service manager or a
/// container runtime made for it.
///
/// # Errors
/// When /proc cannot be read.
pub fn is_namespace_of_system() -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let ours = fs::metadata(THREAD_MOUNT_NAMESPACE)?;
    let first = fs::metadata(FIRST_MOUNT_NAMESPACE)?;
    Ok((ours.dev(), ours.ino()) == (first.dev(), first.ino()))
}

/// A mount namespace and the root directory in it, to come back to. The two differ in a chroot.
#[derive(Debug)]
pub struct Namespace {
    namespace: fs::File,
    root: fs::File,
}

impl Namespace {
    /// The one of the calling thread.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn here() -> io::Result<Namespace> {
        Ok(Namespace {
            namespace: fs::File::open(THREAD_MOUNT_NAMESPACE)?,
            root: fs::File::open(INSIDE)?,
        })
    }

    /// Brings the calling thread, which has made one of its own since, back into it, to its root directory.
    ///
    /// # Errors
    /// The error of setns(2) or chroot(2).
    pub fn enter(&self) -> io::Result<()> {
        setns(&self.namespace, CloneFlags::CLONE_NEWNS)?;
        fchdir(&self.root)?;
        Ok(chroot(".")?)
    }
}

/// Mounts `source` on the open place `target`, with what is mounted below it when `recursive`.
///
/// # Errors
/// The error of mount(2).
pub fn bind(source: &Path, target: impl AsFd, recursive: bool) -> io::Result<()> {
    let flags = if recursive {
        MsFlags::MS_BIND | MsFlags::MS_REC
    } else {
        MsFlags::MS_BIND
    };
    Ok(mount(
        Some(source),
        &descriptor_path(target.as_fd()),
        None::<&str>,
        flags,
        None::<&str>,
    )?)
}

/// Keeps the mount at `point` and all below it apart from those that show the same: what is mounted or unmounted there is not here.
///
/// # Errors
/// The error of mount(2).
pub fn make_private(point: &Path) -> io::Result<()> {
    Ok(mount(
        None::<&str>,
        point,
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )?)
}

/// Makes the mount at `point` read-only for this namespace only.
///
/// # Errors
/// The error of mount(2).
pub fn make_read_only(point: &Path) -> io::Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    Ok(mount(
        None::<&str>,
        point,
        None::<&str>,
        flags,
        None::<&str>,
    )?)
}

/// Mounts an empty tmpfs of that mode (octal digits) on the open place `target`.
///
/// # Errors
/// The error of mount(2).
pub fn tmpfs(target: impl AsFd, mode: &str) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let options = format!("mode={mode}");
    Ok(mount(
        Some("tmpfs"),
        &descriptor_path(target.as_fd()),
        Some("tmpfs"),
        flags,
        Some(options.as_str()),
    )?)
}

/// Mounts the proc of the calling process's pid namespace on the open place `target`.
///
/// # Errors
/// The error of mount(2).
pub fn proc(target: impl AsFd) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    Ok(mount(
        Some("proc"),
        &descriptor_path(target.as_fd()),
        Some("proc"),
        flags,
        None::<&str>,
    )?)
}

/// Takes away the mount at `point` and everything mounted below it. Nothing runs in it any more when this is
/// called, so detaching cannot hide a writer.
///
/// # Errors
/// The error of umount2(2).
pub fn detach(point: &Path) -> io::Result<()> {
    Ok(umount2(
        point,
        MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW,
    )?)
}

/// The mount that shows `path`: the one with the longest mount point above it, the last of equals.
#[must_use]
pub fn mount_of<'m>(mounts: &'m [Mount], path: &Path) -> Option<&'m Mount> {
    let mut best: Option<&Mount> = None;
    for mount in mounts.iter().filter(|m| path.starts_with(&m.point)) {
        if best.is_none_or(|b| mount.point.components().count() >= b.point.components().count()) {
            best = Some(mount);
        }
    }
    best
}

/// Mount points below `root`, without `root` itself and as relative paths, sorted and each once.
#[must_use]
pub fn points_below(mounts: &[Mount], root: &Root) -> Vec<PathBuf> {
    let mut points: Vec<PathBuf> = mounts
        .iter()
        .filter_map(|m| root.strip(&m.point))
        .filter(|p| !p.as_os_str().is_empty())
        .map(relative)
        .collect();
    points.sort();
    points.dedup();
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "\
24 1 0:20 /@/.snapshots/1/snapshot / ro,relatime - btrfs /dev/loop0 rw,space_cache=v2
25 24 0:20 /@/var /var rw - btrfs /dev/loop0 rw
26 24 0:21 / /mnt/a\\040b rw shared:3 master:1 - tmpfs none ro
";

    #[test]
    fn a_mount_point_that_is_no_text_does_not_hide_the_others() {
        let odd = b"23 24 0:9 / /tmp/\xff rw - fuse x rw\n";
        let mounts = parse_mountinfo(&[&odd[..], INFO.as_bytes()].concat());
        assert_eq!(mounts[1..], parse_mountinfo(INFO.as_bytes()));
    }

    #[test]
    fn mountinfo_is_read_with_subvolume_escapes_and_read_only_flag() {
        let mounts = parse_mountinfo(INFO.as_bytes());
        assert_eq!(mounts.len(), 3);
        assert_eq!(mounts[0].root, Path::new("/@/.snapshots/1/snapshot"));
        assert!(mounts[0].read_only && !mounts[1].read_only && mounts[2].read_only);
        assert_eq!(mounts[2].point, Path::new("/mnt/a b"));
        assert_eq!(mounts[2].device, makedev(0, 21));
        assert_eq!(
            mount_of(&mounts, Path::new("/var/log")).unwrap().point,
            Path::new("/var")
        );
        assert_eq!(
            points_below(&mounts, &Root::live()),
            [Path::new("mnt/a b"), Path::new("var")]
        );
    }

    #[test]
    fn fstab_lines_that_are_no_mounts_are_left_out() {
        let text = "# c\nUUID=1 / btrfs ro 0 0\nUUID=1 /var btrfs subvol=/@/var,nofail\nswap none swap\n\nbroken\n";
        let entries = parse_fstab(text);
        assert_eq!(
            entries
                .iter()
                .map(|e| e.point.to_str().unwrap())
                .collect::<Vec<_>>(),
            ["/", "/var"]
        );
        assert_eq!(entries[1].options, ["subvol=/@/var", "nofail"]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_readers_fail(text in "\\PC*") {
            parse_mountinfo(text.as_bytes());
            parse_fstab(&text);
            unescape(&text);
        }
    }
}
