//! Making the mounts of a plan, and taking them away again.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::{Plan, What};
use crate::sys::{Doing, Failure, Root, beneath, failpoint, mount};

/// The mounts of one transaction; detached when dropped.
#[derive(Debug)]
pub struct Mounts {
    top: PathBuf,
    fd: OwnedFd,
    /// Directories and files that were made in the snapshot only to mount something on them.
    made: Vec<PathBuf>,
    attached: bool,
}

impl Mounts {
    /// Mounts the snapshot at `snapshot` on itself, in the namespace of the calling thread, which must be a
    /// private one, and then what `plan` lists for the system at `root`.
    ///
    /// # Errors
    /// Names the mount that failed; what was mounted before is detached again.
    pub fn make(root: &Root, snapshot: &Path, plan: &Plan) -> Result<Mounts, Failure> {
        let doing = || format!("mounting {}", snapshot.display());
        let below = beneath::open_root(snapshot).doing(doing)?;
        mount::bind(snapshot, &below, false).doing(doing)?;
        let fd = beneath::open_root(snapshot).doing(doing)?;
        let mut mounts = Mounts {
            top: snapshot.to_owned(),
            fd,
            made: Vec::new(),
            attached: true,
        };
        for (place, what) in &plan.steps {
            mounts
                .step(root, plan, place, what)
                .doing(|| format!("mounting {} in the snapshot", place.display()))?;
        }
        Ok(mounts)
    }

    /// No mounts: the system at `root` as it is, for what changes it in place.
    ///
    /// # Errors
    /// When its root directory cannot be opened.
    pub fn none(root: &Root) -> Result<Mounts, Failure> {
        let top = root.path().to_owned();
        let fd = beneath::open_root(&top).doing(|| format!("opening {}", top.display()))?;
        Ok(Mounts {
            top,
            fd,
            made: Vec::new(),
            attached: false,
        })
    }

    fn step(&mut self, root: &Root, plan: &Plan, place: &Path, what: &What) -> io::Result<()> {
        let source = match what {
            What::Kernel => Some(Root::live().join(place)),
            What::Private(_) => None,
            What::Live => Some(root.join(place)),
            What::ReadOnly(source) => Some(source.clone()),
        };
        if source.as_ref().is_some_and(|s| !s.exists()) {
            return Ok(()); // what the running system does not have cannot be shown
        }
        let is_file = source.as_ref().is_some_and(|s| !s.is_dir());
        self.make_place(plan, place, is_file)?;
        failpoint::hit("mount-placed")?;
        let target = beneath::open_place(&self.fd, place)?;
        match (what, source) {
            (What::Private(mode), _) => mount::tmpfs(&target, mode),
            (What::Kernel, Some(source)) => mount::bind(&source, &target, true),
            (What::Live, Some(source)) => {
                mount::bind(&source, &target, source != root.join(SNAPSHOTS))
            }
            (What::ReadOnly(_), Some(source)) => {
                mount::bind(&source, &target, false)?;
                mount::make_read_only(&self.top.join(place))
            }
            (_, None) => Ok(()),
        }
    }

    fn make_place(&mut self, plan: &Plan, place: &Path, is_file: bool) -> io::Result<()> {
        let dirs = if is_file {
            place.parent().unwrap_or(Path::new(""))
        } else {
            place
        };
        let mut made = beneath::make_dirs(&self.fd, dirs, 0o755)?;
        if is_file && beneath::make_file(&self.fd, place)? {
            made.push(place.to_owned());
        }
        self.made.extend(
            made.into_iter()
                .filter(|p| !plan.is_private(p) || is_private_itself(plan, p)),
        );
        Ok(())
    }

    /// Puts a symbolic link into the snapshot for the time of the run, when nothing is at `place` and the
    /// directory `only_with` is there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn link(&mut self, place: &Path, target: &Path, only_with: &Path) -> Result<(), Failure> {
        let doing = || format!("making the link {} in the snapshot", place.display());
        if beneath::open_dir(&self.fd, only_with).is_err() {
            return Ok(());
        }
        let parent = place.parent().unwrap_or(Path::new(""));
        self.made
            .extend(beneath::make_dirs(&self.fd, parent, 0o755).doing(doing)?);
        if beneath::make_link(&self.fd, place, target).doing(doing)? {
            self.made.push(place.to_owned());
        }
        Ok(())
    }

    /// The snapshot with its mounts, as its mount point is called outside.
    #[must_use]
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// The open root of the snapshot with its mounts.
    #[must_use]
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Takes all mounts away and removes what was put into the snapshot only for them.
    ///
    /// # Errors
    /// When the mounts cannot be detached; they go with this process then.
    pub fn take_away(mut self) -> Result<(), Failure> {
        self.detach()
            .doing(|| format!("unmounting {}", self.top.display()))?;
        let snapshot =
            beneath::open_root(&self.top).doing(|| format!("opening {}", self.top.display()))?;
        for path in self.made.iter().rev() {
            let doing = || format!("removing {} again", path.display());
            failpoint::hit("mounts-detached").doing(doing)?;
            beneath::remove(&snapshot, path).doing(doing)?;
        }
        Ok(())
    }

    fn detach(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.attached) {
            mount::detach(&self.top)
        } else {
            Ok(())
        }
    }
}

const SNAPSHOTS: &str = ".snapshots";

/// The mount point of a private directory lies in the snapshot, what is made inside it does not.
fn is_private_itself(plan: &Plan, path: &Path) -> bool {
    plan.steps
        .iter()
        .any(|(p, w)| matches!(w, What::Private(_)) && p.starts_with(path))
}

impl Drop for Mounts {
    fn drop(&mut self) {
        if let Err(e) = self.detach() {
            crate::sys::out::detail(format_args!("unmounting {}: {e}", self.top.display()));
        }
    }
}
