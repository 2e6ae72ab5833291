//! Whether a trigger would lead to the update, and where one can be made.

use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, readlinkat};
use nix::sys::stat::SFlag;
use nix::unistd::{AccessFlags, faccessat};

use super::generator::{Generator, MASKS, NAME, THEIRS, UNITS};
use super::systemd::{Manager, TARGET};
use super::trigger::Place;
use super::words::UNIT;
use crate::sys::root::{self, inside};
use crate::sys::{Root, beneath};

/// Where the trigger belongs: in the root directory, or where that cannot be written, in /etc.
///
/// # Errors
/// When neither can be, with the reasons.
pub fn place(root: &Root, manager: &Manager) -> Result<Place> {
    if is_writable(root, Place::Top)? {
        return Ok(Place::Top);
    }
    if !is_writable(root, Place::Etc)? {
        bail!(
            "neither {} nor {} can be made: both directories are read-only",
            Place::Top,
            Place::Etc
        );
    }
    let ours = Generator::find(root, NAME);
    if !manager.is_254() && !matches!(ours, Generator::There { .. }) {
        bail!(
            "the root is read-only, and systemd before 254 does not look for {}; {NAME} does, but it is not installed or \
             is masked",
            Place::Etc
        );
    }
    Ok(Place::Etc)
}

/// Whether a link can be made there, by the mount, the subvolume and the attributes of the directory.
fn is_writable(root: &Root, place: Place) -> Result<bool> {
    let doing = || format!("looking at {}", inside(place.parent()).display());
    let top = beneath::open_root(root.path()).with_context(doing)?;
    let parent = beneath::open_dir(&top, place.parent()).with_context(doing)?;
    match faccessat(&parent, ".", AccessFlags::W_OK, AtFlags::AT_EACCESS) {
        Ok(()) => Ok(true),
        Err(Errno::EROFS | Errno::EPERM | Errno::EACCES) => Ok(false),
        Err(e) => Err(e).with_context(doing),
    }
}

/// Checks that the first process would divert the boot for a trigger in `place`, and start our unit in it.
///
/// # Errors
/// What is missing or masked.
pub fn check(root: &Root, place: Place) -> Result<()> {
    let wants = format!("{UNITS}/{TARGET}.wants/{UNIT}");
    for path in [
        format!("{UNITS}/{UNIT}"),
        wants,
        format!("{UNITS}/{TARGET}"),
    ] {
        let path = Path::new(&path);
        if is_masked(root, path).with_context(|| inside(path).display().to_string())? != Some(false)
        {
            bail!(
                "{} is missing: the update boot would not carry the update out; install the package again",
                inside(path).display()
            );
        }
    }
    for unit in [UNIT, TARGET] {
        for dir in MASKS {
            let path = Path::new(dir).join(unit);
            if is_masked(root, &path)? == Some(true) {
                bail!(
                    "{unit} is masked ({}); `systemctl unmask {unit}` takes that back",
                    inside(&path).display()
                );
            }
        }
    }
    let theirs = Generator::find(root, THEIRS);
    let ours = Generator::find(root, NAME);
    match (theirs, ours) {
        (Generator::Masked, _) => bail!(
            "{THEIRS} is masked, so no boot may be diverted to an update; remove the mask to allow it"
        ),
        (Generator::There { knows_etc }, _) if knows_etc || place == Place::Top => Ok(()),
        (_, Generator::There { .. }) => Ok(()),
        (_, Generator::Masked) => bail!("nothing diverts the boot for {place}: {NAME} is masked"),
        (_, Generator::Missing) => {
            bail!(
                "nothing diverts the boot for {place}: neither {THEIRS} nor {NAME} is there for it"
            )
        }
    }
}

/// Whether a unit file is masked: a link to /dev/null, or an empty file. `None` when it is not there.
///
/// # Errors
/// When that cannot be told.
fn is_masked(root: &Root, path: &Path) -> io::Result<Option<bool>> {
    let top = beneath::open_root(root.path())?;
    let parent = match beneath::open_dir(top, path.parent().unwrap_or(Path::new(""))) {
        Err(e) if beneath::is_no_directory(&e) => return Ok(None),
        other => other?,
    };
    let name = path.file_name().unwrap_or_default();
    let stat = match beneath::stat_at(&parent, name) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let kind = beneath::kind(&stat);
    if kind == SFlag::S_IFLNK {
        let text = readlinkat(&parent, name)?;
        return Ok(Some(inside(Path::new(&text)) == Path::new(root::NULL)));
    }
    Ok(Some(stat.st_size == 0))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const GENERATORS: &str = "usr/lib/systemd/system-generators";

    fn system() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for path in [
            &format!("{UNITS}/{TARGET}.wants"),
            GENERATORS,
            MASKS[0],
            "run/systemd/system",
            "etc/systemd/system-generators",
        ] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        for unit in [UNIT, TARGET] {
            fs::write(dir.path().join(UNITS).join(unit), "[Unit]\n").unwrap();
        }
        let wants = dir
            .path()
            .join(UNITS)
            .join(format!("{TARGET}.wants"))
            .join(UNIT);
        symlink(format!("../{UNIT}"), wants).unwrap();
        let root = Root::at(dir.path()).unwrap();
        (dir, root)
    }

    fn install(dir: &Path, generator: &str, text: &str) {
        let path = dir.join(GENERATORS).join(generator);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn refusal(root: &Root, place: Place) -> String {
        check(root, place).unwrap_err().to_string()
    }

    #[test]
    fn a_trigger_leads_to_the_update_by_a_generator_that_knows_its_place() {
        let (tmp, root) = system();
        for place in [Place::Top, Place::Etc] {
            assert!(refusal(&root, place).contains("neither"));
        }
        install(tmp.path(), THEIRS, "old: /system-update");
        check(&root, Place::Top).unwrap();
        assert!(refusal(&root, Place::Etc).contains("/etc/system-update"));
        install(tmp.path(), NAME, "ours");
        check(&root, Place::Etc).unwrap();
        let mask = tmp.path().join("etc/systemd/system-generators");
        symlink("/dev/null", mask.join(NAME)).unwrap();
        assert!(refusal(&root, Place::Etc).contains("masked"));
        install(tmp.path(), THEIRS, "new: /etc/system-update");
        check(&root, Place::Etc).unwrap();
        symlink("/dev/null", mask.join(THEIRS)).unwrap();
        for place in [Place::Top, Place::Etc] {
            assert!(refusal(&root, place).contains("may be diverted"));
        }
    }

    #[test]
    fn units_that_are_missing_or_masked_are_named() {
        let (tmp, root) = system();
        install(tmp.path(), THEIRS, "/system-update");
        check(&root, Place::Top).unwrap();
        for unit in [UNIT, TARGET] {
            for (dir, is_empty) in [(MASKS[0], false), (MASKS[1], true)] {
                let path = tmp.path().join(dir).join(unit);
                match is_empty {
                    true => fs::write(&path, "").unwrap(),
                    false => symlink("/dev/null", &path).unwrap(),
                }
                assert!(refusal(&root, Place::Top).contains(&format!("unmask {unit}")));
                fs::remove_file(&path).unwrap();
            }
        }
        for path in [format!("{TARGET}.wants/{UNIT}"), UNIT.into(), TARGET.into()] {
            let path = tmp.path().join(UNITS).join(path);
            fs::rename(&path, tmp.path().join("away")).unwrap();
            let refusal = refusal(&root, Place::Top);
            let name = path.strip_prefix(tmp.path()).unwrap().display().to_string();
            assert!(
                refusal.contains(&format!("/{name} is missing")),
                "{refusal}"
            );
            fs::rename(tmp.path().join("away"), &path).unwrap();
        }
        check(&root, Place::Top).unwrap();
    }

    #[test]
    fn what_is_masked_is_told_from_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path()).unwrap();
        let look = |name: &str| is_masked(&root, Path::new(name)).unwrap();
        assert_eq!((look("none/x"), look("x")), (None, None));
        for (name, masked) in [("/dev/null", true), ("/dev/zero", false)] {
            symlink(name, dir.path().join("x")).unwrap();
            assert_eq!(look("x"), Some(masked));
            fs::remove_file(dir.path().join("x")).unwrap();
        }
        fs::write(dir.path().join("x"), "").unwrap();
        assert_eq!(look("x"), Some(true));
        fs::write(dir.path().join("x"), "[Unit]").unwrap();
        assert_eq!(look("x"), Some(false));
    }
}
