//! The mount plan: which parts of the running system a transaction sees. Pure data.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::sys::root::inside;

/// Live parts of /var: downloads and logs survive a failed transaction.
const LIVE: [&str; 2] = ["var/cache", "var/log"];
/// State below /var that package management needs; live when /var is not part of the snapshot.
const LIVE_STATE: [&str; 4] = [
    "var/lib/zypp",
    "var/lib/ca-certificates",
    "var/lib/alternatives",
    "var/lib/selinux",
];
/// Mounts that belong to what a transaction may change: the boot loader's files and root's home.
const LIVE_MOUNTS: [&str; 4] = ["boot/efi", "boot/zipl", "boot/writable", "root"];
const GRUB: &str = "boot/grub2";
/// Where the transaction gets an empty directory of its own, with its mode.
const PRIVATE: [(&str, &str); 3] = [("run", "755"), ("tmp", "1777"), ("var/tmp", "1777")];
/// Trees of the kernel.
const KERNEL: [&str; 2] = ["dev", "sys"];
const PROC: &str = "proc";
const SNAPSHOTS: &str = ".snapshots";
/// Part of the snapshot also where it is mounted: it is a subvolume inside of it then, mounted on itself.
const ETC: &str = "etc";

/// What is mounted at a place of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A tree of the kernel, with everything below it.
    Kernel,
    /// An empty tmpfs with this mode (octal digits).
    Private(&'static str),
    /// The running system's directory: changes there are not undone by an abort.
    Live,
    /// A file or directory of the running system from this absolute path, read-only.
    ReadOnly(PathBuf),
}

/// What the plan is made from: paths are relative to the root of the system.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Mount points of the system.
    pub mounted: Vec<PathBuf>,
    /// Mount points that its fstab names.
    pub fstab: Vec<PathBuf>,
    /// Directories that the administrator wants live (BINDDIRS).
    pub bind_dirs: Vec<PathBuf>,
    /// Files and directories to show read-only.
    pub read_only: Vec<Shown>,
    /// Files of the running /run that programs in the snapshot need.
    pub from_run: Vec<PathBuf>,
}

/// A file or directory from outside that a transaction gets to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// How the transaction calls it, absolute.
    pub path: PathBuf,
    /// Where it is, absolute.
    pub source: PathBuf,
    /// Whether it is shown also where the snapshot has content of its own, which may be older. A directory that
    /// packages own must not be covered so.
    pub over_own: bool,
}

/// The mounts of a transaction, in the order in which they are made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Place in the snapshot, relative, and what is mounted there.
    pub steps: Vec<(PathBuf, What)>,
    /// Places whose content in the running system is another file system: what a transaction writes there
    /// lies hidden in the snapshot.
    pub excluded: Vec<PathBuf>,
}

impl Plan {
    /// Plans the mounts for a system of which `facts` are known.
    #[must_use]
    pub fn new(facts: &Facts) -> Plan {
        let separate = separate(facts);
        let is_hidden = |p: &Path| separate.iter().any(|s| p.starts_with(s));
        let mut plan = Plan::default();
        for tree in KERNEL {
            plan.add(tree, What::Kernel);
        }
        for (path, mode) in PRIVATE {
            plan.add(path, What::Private(mode));
        }
        for path in &facts.from_run {
            plan.add(path, What::ReadOnly(inside(path)));
        }
        for path in LIVE {
            plan.add(path, What::Live);
        }
        for path in LIVE_STATE.iter().filter(|p| is_hidden(Path::new(p))) {
            plan.add(path, What::Live);
        }
        for path in separate.iter().filter(|p| is_live_mount(p)) {
            plan.add(path, What::Live);
        }
        plan.add(SNAPSHOTS, What::Live);
        for path in &facts.bind_dirs {
            plan.add(path, What::Live);
        }
        for shown in &facts.read_only {
            let place = crate::sys::root::relative(&shown.path);
            // what lies above another mount would cover it
            let is_above = plan.steps.iter().any(|(p, _)| p.starts_with(&place));
            let is_needed = shown.over_own || is_hidden(&place) || plan.is_private(&place);
            if is_needed && !is_above && !plan.shows_live(&place) {
                plan.add(place, What::ReadOnly(shown.source.clone()));
            }
        }
        plan.excluded = separate
            .into_iter()
            .filter(|p| !plan.shows_live(p))
            .collect();
        plan
    }

    fn add(&mut self, place: impl Into<PathBuf>, what: What) {
        let place = place.into();
        if !self.steps.iter().any(|(p, _)| *p == place) {
            self.steps.push((place, what));
        }
    }

    /// Whether `place` shows the running system's own content.
    fn shows_live(&self, place: &Path) -> bool {
        let above = self.steps.iter().filter(|(p, _)| place.starts_with(p));
        above
            .max_by_key(|(p, _)| p.components().count())
            .is_some_and(|(_, w)| *w == What::Live)
    }

    /// Whether `place` is, or lies below, an empty directory of the transaction's own.
    #[must_use]
    pub fn is_private(&self, place: &Path) -> bool {
        self.steps
            .iter()
            .any(|(p, w)| matches!(w, What::Private(_)) && place.starts_with(p))
    }

    /// Whether the running system shows another file system at `place`, so that the transaction has a directory of
    /// its own there.
    #[must_use]
    pub fn hides(&self, place: &Path) -> bool {
        self.excluded.iter().any(|p| place.starts_with(p))
    }

    /// Places where a transaction writes into the running system.
    pub fn live(&self) -> impl Iterator<Item = &Path> {
        self.steps
            .iter()
            .filter(|(_, w)| *w == What::Live)
            .map(|(p, _)| p.as_path())
    }
}

/// Mount points of other file systems that lie over the root snapshot, outermost only.
fn separate(facts: &Facts) -> Vec<PathBuf> {
    let provided = |p: &Path| {
        KERNEL
            .iter()
            .chain(&[PROC, SNAPSHOTS])
            .any(|k| p.starts_with(k))
            || PRIVATE.iter().any(|(own, _)| p.starts_with(own))
    };
    let mut all: Vec<PathBuf> = facts
        .mounted
        .iter()
        .chain(&facts.fstab)
        .map(|p| crate::sys::root::relative(p))
        .filter(|p| !p.as_os_str().is_empty() && p != Path::new(ETC) && !provided(p))
        .collect();
    all.sort();
    let mut outer: Vec<PathBuf> = Vec::new();
    for path in all {
        if !outer
            .iter()
            .any(|o| path.starts_with(o) && !is_live_mount(&path))
        {
            outer.push(path);
        }
    }
    outer.dedup();
    outer
}

fn is_live_mount(path: &Path) -> bool {
    LIVE_MOUNTS.iter().any(|p| path == Path::new(p))
        || (path.starts_with(GRUB) && path != Path::new(GRUB))
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, what) in &self.steps {
            let what = match what {
                What::Kernel => "kernel".to_owned(),
                What::Private(mode) => format!("private, empty, mode {mode}"),
                What::Live => "live".to_owned(),
                What::ReadOnly(source) => format!("read-only from {}", source.display()),
            };
            writeln!(f, "  {}: {what}", inside(place).display())?;
        }
        for place in &self.excluded {
            writeln!(f, "  {}: excluded", inside(place).display())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(list: &[&str]) -> Vec<PathBuf> {
        list.iter().map(PathBuf::from).collect()
    }

    fn opensuse() -> Facts {
        Facts {
            mounted: paths(&[
                ".snapshots",
                "var",
                "srv",
                "opt",
                "root",
                "home",
                "usr/local",
                "boot/grub2/x86_64-efi",
            ]),
            fstab: paths(&["/", "/.snapshots", "/var", "/boot/efi", "/data"]),
            ..Facts::default()
        }
    }

    fn what<'p>(plan: &'p Plan, place: &str) -> Option<&'p What> {
        plan.steps
            .iter()
            .find(|(p, _)| p == Path::new(place))
            .map(|(_, w)| w)
    }

    #[test]
    fn var_srv_and_opt_are_left_out_and_caches_logs_and_loader_files_are_live() {
        let plan = Plan::new(&opensuse());
        assert_eq!(
            plan.excluded,
            paths(&["data", "home", "opt", "srv", "usr/local", "var"])
        );
        for live in [
            "var/cache",
            "var/log",
            "var/lib/zypp",
            "root",
            "boot/efi",
            "boot/grub2/x86_64-efi",
            ".snapshots",
        ] {
            assert_eq!(what(&plan, live), Some(&What::Live), "{live}");
        }
        assert_eq!(what(&plan, "tmp"), Some(&What::Private("1777")));
        for absent in ["var", "srv", "opt", "home", "usr/local"] {
            assert_eq!(what(&plan, absent), None, "{absent}");
        }
    }

    #[test]
    fn state_below_var_stays_in_the_snapshot_where_var_is_part_of_it() {
        let plan = Plan::new(&Facts {
            mounted: paths(&[".snapshots", "home"]),
            ..Facts::default()
        });
        assert_eq!(what(&plan, "var/lib/zypp"), None);
        assert_eq!(plan.excluded, paths(&["home"]));
    }

    #[test]
    fn what_the_administrator_lists_is_live_and_no_longer_excluded() {
        let plan = Plan::new(&Facts {
            bind_dirs: paths(&["opt"]),
            ..opensuse()
        });
        assert_eq!(what(&plan, "opt"), Some(&What::Live));
        assert!(!plan.excluded.contains(&PathBuf::from("opt")));
    }

    #[test]
    fn a_local_package_is_shown_read_only_unless_its_directory_is_live() {
        let shown = |path: PathBuf| Shown {
            source: path.clone(),
            path,
            over_own: true,
        };
        let read_only = paths(&["/home/me/foo.rpm", "/tmp/bar.rpm", "/var/cache/baz.rpm"])
            .into_iter()
            .map(shown)
            .collect();
        let plan = Plan::new(&Facts {
            read_only,
            ..opensuse()
        });
        assert_eq!(
            what(&plan, "home/me/foo.rpm"),
            Some(&What::ReadOnly("/home/me/foo.rpm".into()))
        );
        assert_eq!(
            what(&plan, "tmp/bar.rpm"),
            Some(&What::ReadOnly("/tmp/bar.rpm".into()))
        );
        assert_eq!(what(&plan, "var/cache/baz.rpm"), None);
    }

    #[test]
    fn a_repository_covers_neither_other_mounts_nor_what_the_snapshot_has() {
        for dir in ["/", "/var", "/run", "/usr/share/repository"] {
            let shown = Shown {
                path: dir.into(),
                source: dir.into(),
                over_own: false,
            };
            let plan = Plan::new(&Facts {
                read_only: vec![shown],
                ..opensuse()
            });
            assert_eq!(plan, Plan::new(&opensuse()), "{dir}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_mount_of_the_system_is_live_excluded_or_replaced(
            mounted in proptest::collection::vec("(var|srv|opt|home|data|boot/efi|usr/local|run/x|var/lib/y)", 0..8)
        ) {
            let facts = Facts { mounted: mounted.iter().map(PathBuf::from).collect(), ..Facts::default() };
            let plan = Plan::new(&facts);
            for point in &facts.mounted {
                let excluded = plan.excluded.iter().any(|e| point.starts_with(e));
                proptest::prop_assert!(excluded || plan.shows_live(point) || plan.is_private(point), "{point:?}");
            }
        }
    }
}
