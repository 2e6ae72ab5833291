//! The root directory that every path is relative to, and the few absolute paths of the kernel.
//!
//! Invariant: no other module of the library holds a literal absolute path. `--root DIR` therefore works
//! for rescue systems, image builds and tests alike.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Component, Path, PathBuf};

/// Mounts of the calling thread's mount namespace (proc_pid_mountinfo(5)).
pub(crate) const THREAD_MOUNTINFO: &str = "/proc/thread-self/mountinfo";
/// The mount namespace of the calling thread (namespaces(7)).
pub(crate) const THREAD_MOUNT_NAMESPACE: &str = "/proc/thread-self/ns/mnt";
/// The mount namespace of the first process: that of the system.
pub(crate) const FIRST_MOUNT_NAMESPACE: &str = "/proc/1/ns/mnt";
/// Identity of this boot (random(4)).
pub(crate) const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Bytes that nobody can guess (random(4)).
pub(crate) const RANDOM: &str = "/dev/urandom";
/// Seconds since the kernel started (proc_uptime(5)).
pub(crate) const UPTIME: &str = "/proc/uptime";
/// What runs since the boot; made anew at each (file-hierarchy(7)).
pub(crate) const RUN: &str = "/run";
/// Where the journal takes records with fields (systemd-journald.service(8)).
pub(crate) const JOURNAL: &str = "/run/systemd/journal/socket";
/// Directory of processes (proc(5)).
pub(crate) const PROC: &str = "/proc";
/// This very program, also after its file was replaced (proc_pid_exe(5)).
pub(crate) const SELF_EXE: &str = "/proc/self/exe";
/// The terminal that controls the process (tty(4)).
pub(crate) const TERMINAL: &str = "/dev/tty";
/// What swallows everything (null(4)); a link to it masks a file.
pub(crate) const NULL: &str = "/dev/null";
/// Log of the kernel, which takes lines before the journal does (kmsg(4)).
pub(crate) const KERNEL_LOG: &str = "/dev/kmsg";
/// Says whether SELinux refuses or only tells; there only when it is on (selinux(8)).
pub(crate) const SELINUX: &str = "/sys/fs/selinux/enforce";
/// The label that the calling thread's new files get (proc_pid_attr(5)).
pub(crate) const CREATE_LABEL: &str = "/proc/thread-self/attr/fscreate";
/// Directories for temporary files, and for those that are still there after a boot (file-hierarchy(7)).
pub(crate) const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];
/// What the kernel was started with (proc_cmdline(5)).
pub(crate) const COMMAND_LINE: &str = "/proc/cmdline";
/// What reboots and is asked by inhibitors, on the system bus: no file (org.freedesktop.login1(5)).
pub(crate) const LOGIN: &str = "/org/freedesktop/login1";
/// Where devices are (file-hierarchy(7)).
pub(crate) const DEVICES: &str = "/dev";
/// What the kernel knows of block devices, by their numbers (sysfs(5)).
pub(crate) const BLOCK_DEVICES: &str = "/sys/dev/block";
/// The btrfs file systems that are mounted anywhere, each with its devices (btrfs(5), sysfs).
pub(crate) const BTRFS: &str = "/sys/fs/btrfs";
/// A link to the device of a root that was replaced by one in memory or by an overlay, where that was done (systemd-volatile-root.service(8)).
pub(crate) const VOLATILE_ROOT: &str = "/run/systemd/volatile-root";
/// Where memory is swapped to (proc_swaps(5)).
pub(crate) const SWAPS: &str = "/proc/swaps";
/// Search path of every program that is started on behalf of the system.
pub(crate) const SEARCH_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// What a root directory is called from inside.
pub(crate) const INSIDE: &str = "/";

/// The magic link of an open descriptor (proc_pid_fd(5)): a mount target that cannot be exchanged under us.
pub(crate) fn descriptor_path(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// The system to work on: `/` of the running one, or the directory where another one is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    path: PathBuf,
}

impl Root {
    /// The running system.
    #[must_use]
    pub fn live() -> Root {
        Root {
            path: PathBuf::from(INSIDE),
        }
    }

    /// The system that is mounted at `dir`; links are resolved, so `--root /` is the running system.
    ///
    /// # Errors
    /// When `dir` does not exist or is no directory.
    pub fn at(dir: &Path) -> io::Result<Root> {
        let path = dir.canonicalize()?;
        if !path.is_dir() {
            return Err(io::Error::from(io::ErrorKind::NotADirectory));
        }
        Ok(Root { path })
    }

    /// Whether this is the running system and not one mounted somewhere.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.path == Path::new(INSIDE)
    }

    /// Where the root directory itself is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `rel` below this root. A leading `/` is taken as "of this root"; `..` does not lead out of it.
    #[must_use]
    pub fn join(&self, rel: impl AsRef<Path>) -> PathBuf {
        let mut path = self.path.clone();
        path.push(relative(rel.as_ref()));
        path
    }

    /// The path that `path` has inside this root, without a leading `/`; `None` when it lies outside.
    #[must_use]
    pub fn strip<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        path.strip_prefix(&self.path).ok()
    }
}

/// `path` as it is called inside a root: absolute, from a relative or absolute spelling.
#[must_use]
pub fn inside(path: &Path) -> PathBuf {
    Path::new(INSIDE).join(relative(path))
}

/// `path` without needless slashes, when it is an absolute one of something below the root directory that no `..` leads out of.
#[must_use]
pub fn below(path: &Path) -> Option<PathBuf> {
    let mut parts = path.components();
    let is_absolute = parts.next() == Some(Component::RootDir);
    let is_plain = parts.clone().all(|p| matches!(p, Component::Normal(_)));
    (is_absolute && is_plain && parts.next().is_some()).then(|| path.components().collect())
}

/// `path` without its leading `/`, with `.` and `..` folded so that it stays below where it starts.
#[must_use]
pub fn relative(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_absolute_path_of_something_in_the_root_directory_is_below_it() {
        for (path, wanted) in [
            ("/var", Some("/var")),
            ("//var/./lib//", Some("/var/lib")),
            ("/", None),
            ("/.", None),
            ("", None),
            ("var", None),
            ("/var/../etc", None),
            ("/..", None),
        ] {
            assert_eq!(below(path.as_ref()), wanted.map(PathBuf::from), "{path}");
        }
    }

    #[test]
    fn a_path_never_leads_out_of_its_root() {
        let root = Root {
            path: PathBuf::from("/mnt/system"),
        };
        assert_eq!(root.join("/etc/fstab"), Path::new("/mnt/system/etc/fstab"));
        assert_eq!(root.join("../../etc"), Path::new("/mnt/system/etc"));
        assert_eq!(root.join(""), Path::new("/mnt/system/"));
        assert_eq!(
            root.strip(Path::new("/mnt/system/usr/bin")),
            Some(Path::new("usr/bin"))
        );
        assert_eq!(root.strip(Path::new("/usr")), None);
    }

    #[test]
    fn the_root_directory_itself_is_the_running_system() {
        assert!(Root::at(Path::new("/usr/..")).unwrap().is_live());
        assert!(Root::at(Path::new("/dev/null")).is_err());
    }
}
