//! Whether a directory is on a file system that an update boot has: neither network nor automount.

use std::path::Path;

use crate::sys::mount::{FstabEntry, Mount, mount_of};

/// File systems of other machines, by the beginning of their types.
const REMOTE: &[&str] = &[
    "nfs",
    "cifs",
    "smb",
    "9p",
    "ceph",
    "glusterfs",
    "afs",
    "gfs",
    "ocfs",
    "lustre",
    "orangefs",
    "fuse",
    "virtiofs",
];
/// Options of a file system that comes after the network, or when it is first used.
const LATE: &[&str] = &[
    "_netdev",
    "x-systemd.automount",
    "x-systemd.after=network-online.target",
    "x-systemd.requires=network-online.target",
    "x-systemd.after=remote-fs-pre.target",
    "x-systemd.requires=remote-fs-pre.target",
];

/// Why the directory `path` is not there early in every boot; `None` when it is. Both lists are those of the running system.
#[must_use]
pub fn objection(path: &Path, mounts: &[Mount], fstab: &[FstabEntry]) -> Option<String> {
    let is_above = |point: &Path| path.starts_with(point);
    if let Some(mount) = mounts
        .iter()
        .find(|m| m.fs_type == "autofs" && is_above(&m.point))
    {
        return Some(format!(
            "{} is mounted when it is first used",
            mount.point.display()
        ));
    }
    let mount = mount_of(mounts, path)?;
    if REMOTE.iter().any(|name| mount.fs_type.starts_with(name)) {
        return Some(format!(
            "{} is a file system of type {}, which needs more than an update boot has",
            mount.point.display(),
            mount.fs_type
        ));
    }
    let entry = fstab.iter().find(|entry| entry.point == mount.point)?;
    let late = entry.options.iter().find(|o| LATE.contains(&o.as_str()))?;
    Some(format!(
        "{} has the option {late} in fstab",
        mount.point.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::mount::parse_fstab;

    fn mount(point: &str, fs_type: &str) -> Mount {
        Mount {
            device: 0,
            root: "/".into(),
            point: point.into(),
            read_only: false,
            fs_type: fs_type.into(),
            source: std::path::PathBuf::new(),
        }
    }

    #[test]
    fn a_file_system_that_comes_late_or_from_the_network_is_named() {
        let state = Path::new("/var/lib/transactional-update/offline");
        let root = || mount("/", "btrfs");
        for (mounts, fstab, objects) in [
            (vec![root()], "", None),
            (
                vec![root(), mount("/var", "btrfs")],
                "UUID=1 /var btrfs subvol=/@/var,nofail",
                None,
            ),
            (vec![root(), mount("/home", "nfs4")], "", None),
            (
                vec![root(), mount("/proc/sys/fs/binfmt_misc", "autofs")],
                "",
                None,
            ),
            (
                vec![root(), mount("/var", "nfs4")],
                "",
                Some("/var is a file system of type nfs4"),
            ),
            (
                vec![root(), mount("/var/lib", "fuse.sshfs")],
                "",
                Some("fuse.sshfs"),
            ),
            (
                vec![root(), mount("/var", "autofs"), mount("/var", "btrfs")],
                "",
                Some("/var is mounted when it is first used"),
            ),
            (
                vec![root(), mount("/var", "ext4")],
                "/dev/sdb1 /var ext4 _netdev",
                Some("option _netdev"),
            ),
            (
                vec![root(), mount("/var", "ext4")],
                "/dev/sdb1 /var ext4 x-systemd.automount",
                Some("option x-systemd.automount"),
            ),
        ] {
            let found = objection(state, &mounts, &parse_fstab(fstab));
            match objects {
                Some(words) => assert!(
                    found.as_ref().is_some_and(|f| f.contains(words)),
                    "{found:?}"
                ),
                None => assert_eq!(found, None),
            }
        }
    }
}
