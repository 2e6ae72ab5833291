//! The program `transactional-update-sync-etc-state`: the merge of /etc, also in an initrd.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{CommandFactory, Parser};

use super::error;
use crate::etc::{self, COMPARE_WITH, Plan, SYNCPOINT, Tree, Trees};
use crate::snapshot::{SNAPSHOTS, SnapshotId};
use crate::sys::{fs, out};

/// Take what was changed in the /etc of the system that ran before over into the one of the new snapshot.
#[derive(Debug, Parser)]
#[command(
    name = "transactional-update-sync-etc-state",
    version,
    max_term_width = 100,
    after_help = "What both sides changed stays as the new snapshot has it; the other version is kept beside it as \
                  NAME.rpmsave, and is told.\n\nExit status: 0 merged; 1 failed: the syncpoint is still there, and the same call again does the rest."
)]
pub struct SyncEtc {
    /// Print what would be done, and do nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Do not remove the syncpoint afterwards
    #[arg(long)]
    pub keep_syncpoint: bool,
    /// Merge at the boot of the system that is mounted at DIR: /etc there, its syncpoint, and the /etc of the snapshot
    /// that the syncpoint names
    #[arg(long, value_name = "DIR", conflicts_with = "etc")]
    pub sysroot: Option<PathBuf>,
    /// The /etc of the system that ran before, the one of the new snapshot, and the one that both come from
    #[arg(
        value_names = ["PARENT", "CURRENT", "REFERENCE"],
        num_args = 3,
        required_unless_present = "sysroot"
    )]
    pub etc: Vec<PathBuf>,
}

/// The command line as clap knows it.
#[must_use]
pub fn command() -> clap::Command {
    SyncEtc::command()
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    match SyncEtc::try_parse() {
        Err(e) => error::usage(&e, error::FAILED),
        Ok(asked) => match asked.run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => error::report(&e),
        },
    }
}

impl SyncEtc {
    fn run(self) -> Result<()> {
        let (parent, current, reference) = match (&self.sysroot, &self.etc[..]) {
            (Some(root), _) => match at_boot(root)? {
                Some(three) => three,
                None => return Ok(()),
            },
            (None, [parent, current, reference]) => {
                (parent.clone(), current.clone(), reference.clone())
            }
            _ => bail!("three directories are needed: PARENT, CURRENT and REFERENCE"),
        };
        let open = |path: &Path| {
            Tree::open(path).with_context(|| format!("opening the directory {}", path.display()))
        };
        let trees = Trees {
            base: open(&reference)?,
            ours: open(&parent)?,
            theirs: open(&current)?,
        };
        // a stand-in for a subvolume, or what is left of a deleted one; all files would seem to have been removed
        if is_empty(&trees.ours, &parent)? && !is_empty(&trees.base, &reference)? {
            bail!(
                "{} is empty: it cannot be the /etc of the system that ran before, and nothing is merged",
                parent.display()
            );
        }
        let plan = Plan::of(&trees)?;
        for path in plan.foreign() {
            out::warn(format_args!(
                "{path:?} is not merged: it is a mount point or a subvolume, or too deep"
            ));
        }
        if self.dry_run {
            out::answer(&plan.steps().map(|step| step + "\n").collect::<String>())?;
        } else {
            plan.apply(&trees)?;
            drop(trees);
            if !self.keep_syncpoint {
                etc::forget(&reference)?;
            }
        }
        for conflict in plan.conflicts() {
            out::warn(conflict);
        }
        Ok(())
    }
}

fn is_empty(tree: &Tree, path: &Path) -> Result<bool> {
    tree.is_empty()
        .with_context(|| format!("reading the directory {}", path.display()))
}

/// The three directories when the system below `root` boots; `None` when it has nothing to merge, or no more.
fn at_boot(root: &Path) -> Result<Option<(PathBuf, PathBuf, PathBuf)>> {
    let current = root.join("etc");
    let reference = current.join(SYNCPOINT);
    if !reference.is_dir() {
        return Ok(None);
    }
    let file = reference.join(COMPARE_WITH);
    let base = Tree::open(&reference)
        .with_context(|| format!("opening the directory {}", reference.display()))?;
    // an empty one is the rest of one that was merged, or what a snapshot has in its place
    if base.is_merged() || (is_empty(&base, &reference)? && !file.exists()) {
        drop(base);
        etc::forget(&reference)?;
        return Ok(None);
    }
    let bytes = fs::read_bounded(&file, 64)
        .with_context(|| format!("reading which snapshot to compare with: {}", file.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    let id: SnapshotId = text
        .trim()
        .parse()
        .map_err(|e: String| anyhow::anyhow!("{}: {e}", file.display()))?;
    let parent = root
        .join(SNAPSHOTS)
        .join(id.to_string())
        .join("snapshot/etc");
    Ok(Some((parent, current, reference)))
}
