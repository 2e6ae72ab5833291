//! Makes the disks that power cuts leave, one after the other.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::log::{Cut, Image, Log};

/// A disk, and the cuts after which it looks like this.
pub(crate) type Case = (Image, Vec<Cut>);

/// The disks of these cuts, each of them once, in the order in which they can be made.
pub(crate) fn cases(log: &Log, cuts: &[Cut]) -> Vec<Case> {
    let mut found: HashMap<Image, Vec<Cut>> = HashMap::new();
    for cut in cuts {
        found.entry(log.image(*cut)).or_default().push(*cut);
    }
    let mut cases: Vec<Case> = found.into_iter().collect();
    for (_, cuts) in &mut cases {
        cuts.sort_unstable();
        cuts.dedup();
    }
    cases.sort_by(|a, b| (a.0.whole, &a.0.kept).cmp(&(b.0.whole, &b.0.kept)));
    cases
}

/// A disk that goes through a log entry by entry.
pub(crate) struct Replay<'l> {
    log: &'l Log,
    disk: File,
    at: usize,
}

impl<'l> Replay<'l> {
    /// Starts with a copy of `base`, made at `path` on a file system whose files can share blocks.
    pub(crate) fn new(log: &'l Log, base: &Path, path: &Path) -> io::Result<Replay<'l>> {
        let disk = share(&File::open(base)?, path)?;
        Ok(Replay { log, disk, at: 0 })
    }

    /// Makes a disk at `path`. It has no fewer whole entries than the one before.
    pub(crate) fn make(&mut self, image: &Image, path: &Path) -> io::Result<()> {
        assert!(self.at <= image.whole, "the disks are not in order");
        while self.at < image.whole {
            self.log.apply(self.at, &self.disk)?;
            self.at += 1;
        }
        let copy = share(&self.disk, path)?;
        for index in &image.kept {
            self.log.apply(*index, &copy)?;
        }
        Ok(())
    }
}

/// A copy of a file that shares its blocks.
fn share(from: &File, path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let copy = options.read(true).write(true).create_new(true).open(path)?;
    rustix::fs::ioctl_ficlone(&copy, from)?;
    Ok(copy)
}

/// The first byte in which two disks of one size differ.
pub(crate) fn difference(one: &Path, other: &Path) -> io::Result<Option<u64>> {
    let (one, other) = (File::open(one)?, File::open(other)?);
    let size = one.metadata()?.len();
    if size != other.metadata()?.len() {
        return Ok(Some(size.min(other.metadata()?.len())));
    }
    let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut at = 0;
    while at < size {
        // where neither has data, both are zero
        let data = |file: &File| match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
            Ok(next) => Ok(next),
            Err(rustix::io::Errno::NXIO) => Ok(size),
            Err(e) => Err(io::Error::from(e)),
        };
        at = data(&one)?.min(data(&other)?);
        let length = (1 << 20).min(size - at) as usize;
        one.read_exact_at(&mut a[..length], at)?;
        other.read_exact_at(&mut b[..length], at)?;
        if a[..length] != b[..length] {
            let byte = (0..length).find(|i| a[*i] != b[*i]).unwrap_or(0);
            return Ok(Some(at + byte as u64));
        }
        at += length as u64;
    }
    Ok(None)
}
