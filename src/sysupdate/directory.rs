//! Resources that are directories: which instances are in one.
//!
//! Invariant: no link below the directory is followed. The directory itself may be one, inside the root.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sys::stat::{FileStat, SFlag};

use super::definition::Kind;
use super::instance::{Instance, Spot, State};
use super::pattern::{Fields, Found, MODE_BITS, PatternList};
use crate::sys::{Root, beneath, root};

/// What the name of something begins with that is being written.
pub const PARTIAL: &str = ".sysupdate.partial.";

/// What the name of something begins with that is complete, but not installed.
pub const PENDING: &str = ".sysupdate.pending.";

/// What names of left-overs of systemd before 260 begin with.
pub const LEFT_OVER: &str = ".#";

/// Most entries that are looked at.
const MOST: usize = 1_000_000;

/// Most directories one below the other that are looked into.
const DEEPEST: usize = 64;

/// On which side of a transfer a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Versions come from it: what is not finished there is nothing.
    Source,
    /// Versions go to it: what is not finished belongs to its version.
    Target,
}

/// Opens the directory `path` of the system at `root`; `None` when there is none.
///
/// # Errors
/// When it is there and cannot be read.
pub fn open(root: &Root, path: &Path) -> io::Result<Option<OwnedFd>> {
    let top = beneath::open_root(root.path())?;
    match beneath::resolve(top, &root::relative(path)) {
        Err(e) if beneath::is_no_directory(&e) => Ok(None),
        Ok(dir) if std::fs::File::from(dir.try_clone()?).metadata()?.is_dir() => Ok(Some(dir)),
        Ok(_) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The instances in `dir`, which is called `shown`, in the order of their paths.
///
/// # Errors
/// When a directory cannot be read, or there are more than a million entries.
pub fn list(
    dir: impl AsFd,
    shown: &Path,
    patterns: &PatternList,
    kind: Kind,
    side: Side,
) -> io::Result<Vec<Instance>> {
    Ok(look(dir, shown, patterns, kind, side)?.found)
}

/// Directories of instances in the directory of a target that have nothing in them any more, below it.
///
/// # Errors
/// As [`list`].
pub fn deserted(
    dir: impl AsFd,
    shown: &Path,
    patterns: &PatternList,
    kind: Kind,
) -> io::Result<Vec<PathBuf>> {
    Ok(look(dir, shown, patterns, kind, Side::Target)?.deserted)
}

fn look<'l>(
    dir: impl AsFd,
    shown: &'l Path,
    patterns: &'l PatternList,
    kind: Kind,
    side: Side,
) -> io::Result<Listing<'l>> {
    let mut listing = Listing {
        dir: beneath::reopen(dir)?,
        shown,
        patterns,
        kind,
        side,
        left: MOST,
        found: Vec::new(),
        deserted: Vec::new(),
    };
    let all = 0..patterns.patterns().len();
    let start = all.map(|number| Way {
        number,
        part: 0,
        found: Found::default(),
    });
    listing.look(&mut vec![(PathBuf::new(), start.collect())])?;
    listing.found.sort_by(|a, b| a.shown.cmp(&b.shown));
    listing.deserted.sort();
    Ok(listing)
}

/// A pattern of which the first parts have matched.
#[derive(Debug, Clone)]
struct Way {
    number: usize,
    part: usize,
    found: Found,
}

struct Listing<'l> {
    dir: OwnedFd,
    shown: &'l Path,
    patterns: &'l PatternList,
    kind: Kind,
    side: Side,
    left: usize,
    found: Vec<Instance>,
    deserted: Vec<PathBuf>,
}

impl Listing<'_> {
    fn look(&mut self, pending: &mut Vec<(PathBuf, Vec<Way>)>) -> io::Result<()> {
        while let Some((path, ways)) = pending.pop() {
            let dir = match beneath::open_dir(&self.dir, &path) {
                // it went, or something else took its place
                Err(e) if beneath::is_no_directory(&e) => continue,
                other => other?,
            };
            let names = beneath::names(beneath::reopen(&dir)?)?;
            // what only leads to versions may be there for another reason
            if names.is_empty() && ways.iter().any(|way| way.found.has_version()) {
                self.deserted.push(path.clone());
            }
            for name in names {
                self.left = self.left.checked_sub(1).ok_or_else(|| {
                    let problem =
                        format!("more than {MOST} entries below {}", self.shown.display());
                    io::Error::new(io::ErrorKind::FileTooLarge, problem)
                })?;
                let below = self.entry(&dir, &path, &name, &ways)?;
                if !below.is_empty() && path.iter().count() < DEEPEST {
                    pending.push((path.join(&name), below));
                }
            }
        }
        Ok(())
    }

    /// What the first pattern that matches tells of an entry, and the ways that lead on below it.
    fn matching(
        &self,
        text: &str,
        plain: &str,
        ways: &[Way],
    ) -> (Option<(usize, Fields)>, Vec<Way>) {
        let mut first = None;
        let mut below = Vec::new();
        for way in ways {
            let pattern = &self.patterns.patterns()[way.number];
            let mut found = way.found.clone();
            let is_last = way.part + 1 == pattern.depth();
            // only the last name of an instance has a mark
            let wanted = if is_last { plain } else { text };
            let is_match = pattern.matches_part(way.part, wanted, &mut found).is_some();
            if pattern.is_any_depth() {
                below.push(way.clone());
            }
            match (is_match, is_last) {
                (true, true) if first.is_none() => {
                    first = found.fields().map(|fields| (way.number, fields));
                }
                (true, false) => below.push(Way {
                    part: way.part + 1,
                    found,
                    ..way.clone()
                }),
                _ => {}
            }
        }
        (first, below)
    }

    /// Looks at one entry; the ways that lead on below it.
    fn entry(
        &mut self,
        dir: &OwnedFd,
        above: &Path,
        name: &OsStr,
        ways: &[Way],
    ) -> io::Result<Vec<Way>> {
        let Some(text) = name.to_str() else {
            return Ok(Vec::new());
        };
        let Some((state, plain)) = self.state(text) else {
            return Ok(Vec::new());
        };
        let (first, below) = self.matching(text, plain, ways);
        if first.is_none() && below.is_empty() {
            return Ok(below);
        }
        let stat = match beneath::stat_at(dir, name) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let is_dir = beneath::kind(&stat) == SFlag::S_IFDIR;
        let is_ours = match self.kind.is_tree() {
            true => is_dir,
            false => beneath::kind(&stat) == SFlag::S_IFREG,
        };
        if let Some((number, fields)) = first.filter(|_| is_ours) {
            let path = above.join(name);
            let mut metadata = fields.metadata;
            metadata.mtime = metadata.mtime.or(mtime(&stat));
            metadata.mode = metadata.mode.or(Some(stat.st_mode & MODE_BITS));
            self.found.push(Instance {
                version: fields.version,
                state,
                kind: self.kind,
                shown: self.shown.join(&path).display().to_string(),
                spot: Spot::Path(path),
                pattern: number,
                metadata,
            });
            // what is an instance is not also a way to others
            return Ok(Vec::new());
        }
        Ok(if is_dir { below } else { Vec::new() })
    }

    /// How far an entry of this name is, and what it is called without the mark of that; `None` for what is nothing here.
    fn state<'n>(&self, name: &'n str) -> Option<(State, &'n str)> {
        if name.starts_with(LEFT_OVER) {
            return None;
        }
        let marked = match (name.strip_prefix(PARTIAL), name.strip_prefix(PENDING)) {
            (Some(plain), _) => (State::Partial, plain),
            (_, Some(plain)) => (State::Pending, plain),
            _ => return Some((State::Installed, name)),
        };
        (self.side == Side::Target).then_some(marked)
    }
}

/// Microseconds since 1970; `None` for what is older.
fn mtime(stat: &FileStat) -> Option<u64> {
    let seconds = u64::try_from(stat.st_mtime).ok()?;
    let micros = u64::try_from(stat.st_mtime_nsec / 1000).ok()?;
    seconds.checked_mul(1_000_000)?.checked_add(micros)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::sysupdate::pattern::Pattern;

    fn tree(entries: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for entry in entries {
            let path = dir.path().join(entry);
            match entry.strip_suffix('/') {
                Some(_) => fs::create_dir_all(path).unwrap(),
                None => {
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(path, "x").unwrap();
                }
            }
        }
        dir
    }

    /// Path, version and state of each instance.
    fn found(dir: &Path, patterns: &str, kind: Kind, side: Side) -> Vec<String> {
        let patterns: PatternList = patterns
            .split(' ')
            .map(|p| Pattern::parse(p).unwrap())
            .collect();
        let open = open(&Root::live(), dir).unwrap().unwrap();
        let instances = list(open, dir, &patterns, kind, side).unwrap();
        let lines = instances.iter().map(|i| {
            let Spot::Path(path) = &i.spot else {
                panic!("a path")
            };
            assert_eq!(i.shown, dir.join(path).display().to_string());
            let mark = match i.state {
                State::Installed => "",
                State::Pending => "!",
                State::Partial => "?",
            };
            format!("{} {}{mark} {}", path.display(), i.version, i.pattern)
        });
        lines.collect()
    }

    #[test]
    fn only_what_is_of_the_right_kind_is_an_instance_and_no_link_is() {
        let dir = tree(&["os_1", "os_2/", "other", "os_4/os_5"]);
        symlink("os_1", dir.path().join("os_3")).unwrap();
        symlink("os_2", dir.path().join("os_6")).unwrap();
        for kind in [Kind::RegularFile, Kind::Tar] {
            assert_eq!(found(dir.path(), "os_@v", kind, Side::Target), ["os_1 1 0"]);
        }
        for kind in [Kind::Directory, Kind::Subvolume] {
            assert_eq!(
                found(dir.path(), "os_@v", kind, Side::Source),
                ["os_2 2 0", "os_4 4 0"]
            );
        }
    }

    #[test]
    fn marks_of_what_is_not_installed_count_in_targets_only() {
        let dir = tree(&[
            "os_1.raw",
            ".sysupdate.partial.os_2.raw",
            ".sysupdate.pending.os_3.raw",
            ".#sysupdateos_4.raw0123456789abcdef",
            ".#os_4.raw",
        ]);
        let list = |pattern, side| found(dir.path(), pattern, Kind::RegularFile, side);
        assert_eq!(
            list("os_@v.raw", Side::Target),
            [
                ".sysupdate.partial.os_2.raw 2? 0",
                ".sysupdate.pending.os_3.raw 3! 0",
                "os_1.raw 1 0"
            ]
        );
        assert_eq!(list("os_@v.raw", Side::Source), ["os_1.raw 1 0"]);
        assert_eq!(list("@v", Side::Source), ["os_1.raw os_1.raw 0"]);
    }

    #[test]
    fn patterns_with_slashes_look_below_and_never_through_links() {
        let dir = tree(&[
            "foo_1/bar.efi",
            "foo_1/baz.efi",
            "foo_2/x/bar.efi",
            "foo_3",
            "foo_4/.sysupdate.pending.bar.efi",
            ".sysupdate.pending.foo_5/bar.efi",
            "a/b/c_7/d_8.raw",
        ]);
        symlink("foo_1", dir.path().join("foo_6")).unwrap();
        let list = |pattern| found(dir.path(), pattern, Kind::RegularFile, Side::Target);
        assert_eq!(
            list("foo_@v/bar.efi"),
            ["foo_1/bar.efi 1 0", "foo_4/.sysupdate.pending.bar.efi 4! 0"]
        );
        assert_eq!(list("a/b/c_@v/d_@s.raw"), ["a/b/c_7/d_8.raw 7 0"]);
        // a file may be an instance, a directory leads on
        assert_eq!(
            list("foo_@v foo_@v/baz.efi"),
            ["foo_1/baz.efi 1 1", "foo_3 3 0"]
        );
        for nothing in ["/foo_@v", "../@v", "./foo_@v", "foo_@v/"] {
            assert_eq!(list(nothing), [""; 0], "{nothing}");
        }
        let trees = found(
            dir.path(),
            "foo_@v foo_@v/@s",
            Kind::Directory,
            Side::Target,
        );
        assert_eq!(
            trees,
            [
                ".sysupdate.pending.foo_5 5! 0",
                "foo_1 1 0",
                "foo_2 2 0",
                "foo_4 4 0"
            ]
        );
    }

    #[test]
    fn a_directory_of_a_version_with_nothing_in_it_is_known_and_others_are_not() {
        let dir = tree(&["a/b/", "a_1/b/", "a_2/b/c", "a_3/", "other/", "a_4/b/x"]);
        let patterns: PatternList = ["a_@v/b/c", "a/b/@v"]
            .map(|p| Pattern::parse(p).unwrap())
            .into_iter()
            .collect();
        let open = open(&Root::live(), dir.path()).unwrap().unwrap();
        let found = deserted(open, dir.path(), &patterns, Kind::RegularFile).unwrap();
        assert_eq!(found, ["a_1/b", "a_3"].map(PathBuf::from));
    }

    #[test]
    fn a_pattern_for_any_depth_finds_all_of_them() {
        let dir = tree(&["x_1.bin", "a/x_2.bin", "a/b/x_3.bin", "a/b/y_4.bin"]);
        symlink("a", dir.path().join("c")).unwrap();
        assert_eq!(
            found(dir.path(), "**/x_@v.bin", Kind::RegularFile, Side::Source),
            ["a/b/x_3.bin 3 0", "a/x_2.bin 2 0", "x_1.bin 1 0"]
        );
        let mut deep = dir.path().to_owned();
        for _ in 0..70 {
            deep.push("d");
        }
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("x_5.bin"), "").unwrap();
        assert_eq!(
            found(dir.path(), "**/x_@v.bin", Kind::RegularFile, Side::Source).len(),
            3
        );
    }

    #[test]
    fn the_first_pattern_that_matches_tells_what_an_instance_is() {
        let dir = tree(&["os_1+3-0.efi", "os_2.efi"]);
        let list = |patterns| found(dir.path(), patterns, Kind::RegularFile, Side::Target);
        assert_eq!(
            list("os_@v+@l-@d.efi os_@v.efi"),
            ["os_1+3-0.efi 1 0", "os_2.efi 2 1"]
        );
        assert_eq!(list("os_@v.efi os_@v+@l-@d.efi")[0], "os_1+3-0.efi 1+3-0 0");
    }

    #[test]
    fn the_time_and_the_mode_of_a_file_stand_in_for_what_its_name_does_not_tell() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tree(&["os_1", "os_2_@5_600"]);
        let file = fs::File::options()
            .write(true)
            .open(dir.path().join("os_1"))
            .unwrap();
        file.set_modified(
            std::time::UNIX_EPOCH + std::time::Duration::from_micros(1_714_564_800_000_001),
        )
        .unwrap();
        fs::set_permissions(dir.path().join("os_1"), fs::Permissions::from_mode(0o4757)).unwrap();
        let patterns: PatternList = ["os_@v_@@@t_@m", "os_@v"]
            .map(|p| Pattern::parse(p).unwrap())
            .into_iter()
            .collect();
        let open = open(&Root::live(), dir.path()).unwrap().unwrap();
        let all = list(open, dir.path(), &patterns, Kind::RegularFile, Side::Target).unwrap();
        let told: Vec<_> = all
            .iter()
            .map(|i| (i.metadata.mtime.unwrap(), i.metadata.mode.unwrap()))
            .collect();
        assert_eq!(told, [(1_714_564_800_000_001, 0o755), (5, 0o600)]);
    }

    #[test]
    fn a_directory_that_is_missing_has_no_instances_and_one_behind_a_link_stays_in_its_root() {
        let dir = tree(&["real/os_1", "file"]);
        let root = Root::at(dir.path()).unwrap();
        symlink("/real", dir.path().join("link")).unwrap();
        assert!(open(&root, Path::new("/link")).unwrap().is_some());
        for none in ["/nowhere", "/file", "/file/x"] {
            assert!(open(&root, Path::new(none)).unwrap().is_none(), "{none}");
        }
        symlink("../../../../../../etc", dir.path().join("out")).unwrap();
        assert!(open(&root, Path::new("/out")).unwrap().is_none());
    }
}
