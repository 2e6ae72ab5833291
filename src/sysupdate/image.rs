//! A system in the image of a disk, or of a file system.
//!
//! It is mounted where nobody else sees it: the mount and the loop device go with this process, however it ends.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::gpt::{Bad, Disk, NoDisk, Partition, Table, mark};
use super::instance::State;
use super::partition_type::PartitionType;
use super::version::Version;
use crate::sys::cmd::Argv;
use crate::sys::lock::WriteLock;
use crate::sys::tool::{Done, Tool};
use crate::sys::{Root, mount};

/// Where what belongs to images is, in the running system.
const PLACE: &str = "run/transactional-update/image";
/// How long mounting may take: a journal may have to be replayed.
const LIMIT: Duration = Duration::from_secs(120);

/// A system in an image, which nobody else opens meanwhile.
#[derive(Debug)]
pub struct Image {
    /// Where it is mounted.
    pub path: PathBuf,
    /// The number of the partition that its root is, when it is the image of a disk: whatever is written there is destroyed by the mount,
    /// or destroys it.
    pub partition: Option<u32>,
    _lock: WriteLock,
}

impl Image {
    /// Mounts the image `file` of the running system, read-only when nothing is to be changed. Its root is the partition of the type for
    /// roots of this `architecture`, of several the one with the newest version in its label; without a partition table, all of it.
    /// Has to be called before there are other threads: they would not see it.
    ///
    /// # Errors
    /// When it has no root, or cannot be mounted; when another process works on it.
    pub fn mount(file: &Path, architecture: &str, is_read_only: bool) -> Result<Image> {
        let shown = file.display();
        let live = Root::live();
        let there = fs::metadata(file).with_context(|| format!("--image {shown}"))?;
        let name = format!("{}-{}.lock", there.dev(), there.ino());
        let lock = WriteLock::in_root(&live, &Path::new(PLACE).join(name))?;
        let mut options = vec!["loop".to_owned()];
        let mut partition = None;
        match Disk::open(&live, file, false)?.table() {
            Ok(table) => {
                let root = root(&table, architecture).with_context(|| {
                    format!("{shown} has no partition for the root of this machine")
                })?;
                let extent = root
                    .extent
                    .with_context(|| format!("partition {} leads out of {shown}", root.number))?;
                options.push(format!("offset={}", extent.start));
                options.push(format!("sizelimit={}", extent.length));
                partition = Some(root.number);
            }
            Err(NoDisk::Table(_, Bad::None)) => {}
            Err(e) => bail!(e),
        }
        if is_read_only {
            options.push("ro".into());
        }
        let path = live.join(PLACE).join("mounted");
        fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        mount::private_namespace().context("a mount namespace of our own cannot be made")?;
        let options = options.join(",");
        let words = ["mount", "-o", &options, "--"].map(std::ffi::OsString::from);
        let words = words.into_iter().chain([file.into(), path.clone().into()]);
        Tool::new(Argv::new(words), LIMIT)
            .run()
            .and_then(Done::succeeded)
            .with_context(|| format!("{shown} cannot be mounted"))?;
        Ok(Image {
            path,
            partition,
            _lock: lock,
        })
    }
}

/// The partition that holds the root.
fn root(table: &Table, architecture: &str) -> Option<Partition> {
    let kind = PartitionType::parse("root", architecture)?;
    let roots = table.partitions().filter(|p| {
        mark::state(p.kind, kind) == Some(State::Installed) && p.label != super::slots::EMPTY
    });
    let version = |label: &str| {
        let text = label.rsplit_once('_').map_or(label, |(_, text)| text);
        Version::new(text)
    };
    // the first one of equals
    roots.reduce(
        |best, other| match version(&other.label) > version(&best.label) {
            true => other,
            false => best,
        },
    )
}
