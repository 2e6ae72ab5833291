//! What GRUB with btrfs support needs inside a snapshot: grub.cfg, and kernel, initrd and modules of one version.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::BootError;
use crate::sys::beneath;

/// The configuration that GRUB reads from the default subvolume.
pub(super) const CONFIG: &str = "boot/grub2/grub.cfg";
const KERNEL: &str = "boot/vmlinuz";
const INITRD: &str = "boot/initrd";
const MODULES: [&str; 2] = ["usr/lib/modules", "lib/modules"];

/// Shows that GRUB finds in `snapshot` everything it loads, and the kernel everything it needs next.
pub(super) fn check(snapshot: impl AsFd) -> Result<(), BootError> {
    filled(&snapshot, CONFIG)?;
    filled(&snapshot, KERNEL)?;
    filled(&snapshot, INITRD)?;
    let kernel = version(&snapshot, KERNEL, "vmlinuz-")?;
    let initrd = version(&snapshot, INITRD, "initrd-")?;
    let (Some(kernel), Some(initrd)) = (kernel, initrd) else {
        return Ok(()); // plain files without a version in their names: nothing to compare
    };
    if kernel != initrd {
        return Err(BootError::NotBootable(format!(
            "the kernel is {kernel}, but the initrd is {initrd}"
        )));
    }
    let has_modules = |dir: &&str| {
        beneath::resolve(&snapshot, &Path::new(dir).join(&kernel).join("modules.dep")).is_ok()
    };
    if MODULES.iter().any(has_modules) {
        Ok(())
    } else {
        Err(BootError::NotBootable(format!(
            "there are no modules for its kernel {kernel} ({}/{kernel})",
            MODULES[0]
        )))
    }
}

fn filled(snapshot: &impl AsFd, path: &'static str) -> Result<OwnedFd, BootError> {
    let fd = beneath::resolve(snapshot, Path::new(path))
        .map_err(|e| BootError::NotBootable(format!("{path} cannot be read: {e}")))?;
    let stat = nix::sys::stat::fstat(&fd).map_err(|e| BootError::Unreadable(path, e.into()))?;
    if stat.st_size == 0 {
        return Err(BootError::NotBootable(format!("{path} is empty")));
    }
    Ok(fd)
}

/// The version that the target of the link `path` carries in its name.
fn version(
    snapshot: &impl AsFd,
    path: &'static str,
    prefix: &str,
) -> Result<Option<String>, BootError> {
    let path = Path::new(path);
    let dir = beneath::resolve(snapshot, path.parent().unwrap_or(Path::new("")))
        .map_err(|e| BootError::NotBootable(format!("{} cannot be read: {e}", path.display())))?;
    let name = path.file_name().expect("a constant path of a file");
    let Ok(target) = nix::fcntl::readlinkat(&dir, name) else {
        return Ok(None);
    };
    let target = PathBuf::from(target);
    let file = target
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default();
    if let Some(version) = file.strip_prefix(prefix) {
        return Ok(Some(version.to_owned()));
    }
    // merged /usr: boot/vmlinuz -> ../usr/lib/modules/VERSION/vmlinuz
    let parent = target.parent();
    let in_modules = parent
        .and_then(Path::parent)
        .is_some_and(|p| p.ends_with("lib/modules"));
    Ok(parent
        .filter(|_| in_modules)
        .and_then(Path::file_name)
        .and_then(|n| n.to_str())
        .map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn system(kernel: &str, initrd: &str, modules: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let at = |p: &str| dir.path().join(p);
        fs::create_dir_all(at("boot/grub2")).unwrap();
        fs::create_dir_all(at("usr/lib/modules").join(modules)).unwrap();
        fs::write(at("usr/lib/modules").join(modules).join("modules.dep"), "").unwrap();
        fs::write(at(CONFIG), "menuentry").unwrap();
        fs::write(at("boot").join(format!("vmlinuz-{kernel}")), "k").unwrap();
        fs::write(at("boot").join(format!("initrd-{initrd}")), "i").unwrap();
        symlink(format!("vmlinuz-{kernel}"), at(KERNEL)).unwrap();
        symlink(format!("initrd-{initrd}"), at(INITRD)).unwrap();
        dir
    }

    fn result(dir: &tempfile::TempDir) -> Result<(), String> {
        check(beneath::open_root(dir.path()).unwrap()).map_err(|e| e.to_string())
    }

    #[test]
    fn one_version_of_kernel_initrd_and_modules_boots() {
        assert_eq!(
            result(&system(
                "6.4.0-1-default",
                "6.4.0-1-default",
                "6.4.0-1-default"
            )),
            Ok(())
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let no_modules = result(&system("6.4", "6.4", "6.3")).unwrap_err();
        assert!(no_modules.contains("usr/lib/modules/6.4"), "{no_modules}");
        let mixed = result(&system("6.4", "6.3", "6.4")).unwrap_err();
        assert!(mixed.contains("6.4") && mixed.contains("6.3"), "{mixed}");
        for path in [CONFIG, "boot/vmlinuz-6.4", "boot/initrd-6.4"] {
            let gone = system("6.4", "6.4", "6.4");
            fs::remove_file(gone.path().join(path)).unwrap();
            assert!(result(&gone).is_err(), "{path}");
            let empty = system("6.4", "6.4", "6.4");
            fs::write(empty.path().join(path), "").unwrap();
            assert!(result(&empty).unwrap_err().contains("is empty"), "{path}");
        }
    }

    #[test]
    fn a_kernel_linked_into_its_modules_directory_is_understood() {
        let dir = system("6.4", "6.4", "6.4");
        fs::remove_file(dir.path().join(KERNEL)).unwrap();
        fs::write(dir.path().join("usr/lib/modules/6.4/vmlinuz"), "k").unwrap();
        symlink("../usr/lib/modules/6.4/vmlinuz", dir.path().join(KERNEL)).unwrap();
        assert_eq!(result(&dir), Ok(()));
        fs::remove_file(dir.path().join(INITRD)).unwrap();
        symlink("initrd-6.3", dir.path().join(INITRD)).unwrap();
        fs::write(dir.path().join("boot/initrd-6.3"), "i").unwrap();
        assert!(result(&dir).is_err());
    }
}
