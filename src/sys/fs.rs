//! Files: bounded reads, and writes that are either wholly there or not at all.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::statvfs::Statvfs;

use super::failpoint;
use super::root::RANDOM;

/// Bytes that are free in a file system. One that has no size, as one of memory may, is not known to be full.
#[must_use]
pub fn available(system: &Statvfs) -> u64 {
    match system.blocks() {
        0 => u64::MAX,
        _ => system.blocks_available() * system.fragment_size(),
    }
}

/// Reads a file of at most `limit` bytes. Never waits for somebody to write into a FIFO.
///
/// # Errors
/// The error of open(2) or read(2); `FileTooLarge` when there is more than `limit`.
pub fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // what fits is read with one call, and one more finds the end
    let mut bytes = Vec::with_capacity(4096);
    let file = File::options()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)?;
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than {limit} bytes"),
        ));
    }
    Ok(bytes)
}

/// 128 bits that nobody can guess (random(4)).
///
/// # Errors
/// The error of open(2) or read(2).
pub fn random() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    File::open(RANDOM)?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Makes `path` hold `bytes`, durably and atomically: temporary file beside it, fsync, rename, fsync of the
/// directory. After a power cut the old or the new content is there, never a part. A left-over temporary
/// file is called [`is_temporary`]. The file is readable for everybody who may enter its directory.
///
/// # Errors
/// The first step that failed; the old content is still there then.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_some_time(path, bytes)?;
    sync_dir(path.parent().unwrap_or(Path::new("")))
}

/// As [`replace`], but after a power cut the old content may be there again; still never a part. For what does no harm
/// when it comes back.
///
/// # Errors
/// As there.
pub fn replace_some_time(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return Err(io::Error::from(io::ErrorKind::InvalidFilename));
    };
    let mut file = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .suffix(TEMPORARY)
        .tempfile_in(dir)?;
    // whatever the umask is
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(0o644))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    failpoint::hit("replace-written")?;
    file.persist(path).map_err(|e| e.error)?;
    failpoint::hit("replace-renamed")
}

const TEMPORARY: &str = ".tu-new";

/// Whether a file name is one that [`replace`] gives its temporary files.
#[must_use]
pub fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(TEMPORARY)
}

/// Removes what calls of [`replace`] for `path` that were cut off left beside it. Nobody else may be writing it now.
///
/// # Errors
/// The error of opendir(3) or unlink(2).
pub fn remove_temporaries(path: &Path) -> io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return Ok(());
    };
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let is_its = |n: &str| is_temporary(n) && n.starts_with(&format!(".{name}."));
        if entry.file_name().to_str().is_some_and(is_its) && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
            failpoint::hit("temporary-removed")?;
        }
    }
    Ok(())
}

/// Makes `to` hold what `from` does by sharing its blocks (ioctl_ficlone(2)).
///
/// # Errors
/// Where the file system cannot; `to` is unchanged then.
pub fn share(to: &File, from: &File) -> io::Result<()> {
    Ok(rustix::fs::ioctl_ficlone(to, from)?)
}

/// Makes the entries of a directory durable.
///
/// # Errors
/// The error of open(2) or fsync(2).
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Appends one line to a file that is made when it is missing, with its directory, and makes it durable. A line that
/// an earlier call was cut off in is removed. Nobody else may be writing now.
///
/// # Errors
/// The first step that failed.
pub fn append_line(path: &Path, line: &str) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(dir)?;
    let mut file = File::options()
        .create(true)
        .read(true)
        .append(true)
        .open(path)?;
    let is_new = file.metadata()?.len() == 0;
    cut_half_line(&file)?;
    file.write_all(format!("{line}\n").as_bytes())?;
    failpoint::hit("line-written")?;
    file.sync_all()?;
    if is_new { sync_dir(dir) } else { Ok(()) }
}

/// Removes what stands behind the last end of a line. Of a file whose last line is longer than any of ours, nothing.
fn cut_half_line(file: &File) -> io::Result<()> {
    const LONGEST: u64 = 1 << 20;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(LONGEST);
    let mut last = Vec::new();
    if length > 0 {
        last.resize(1, 0);
        file.read_exact_at(&mut last, length - 1)?;
    }
    if last.is_empty() || last == b"\n" {
        return Ok(());
    }
    last.resize(usize::try_from(length - from).unwrap_or(0), 0);
    file.read_exact_at(&mut last, from)?;
    let whole = last.iter().rposition(|b| *b == b'\n').map(|at| at + 1);
    let whole = match whole {
        Some(whole) => from + whole as u64,
        None if from == 0 => 0,
        None => return Ok(()),
    };
    file.set_len(whole)?;
    failpoint::hit("line-cut")
}

/// A directory that only we may enter, where temporary files go (tempfile(3), `TMPDIR`). It is removed on drop with all
/// that is in it; what is still open there lives until it is closed.
#[derive(Debug)]
pub struct PrivateDir(tempfile::TempDir);

impl PrivateDir {
    /// Makes one.
    ///
    /// # Errors
    /// The error of mkdir(2).
    pub fn new() -> io::Result<PrivateDir> {
        let dir = tempfile::Builder::new()
            .prefix("transactional-update.")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir()?;
        Ok(PrivateDir(dir))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacing_leaves_the_new_content_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("info.xml");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_written_is_readable_for_everybody_whatever_the_umask_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // of this thread alone
                nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).unwrap();
                nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
                replace(&path, b"text").unwrap();
            });
        });
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o644);
    }

    #[test]
    fn a_failed_replace_keeps_the_old_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("target");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("kept"), "old").unwrap();
        assert!(replace(&path, b"new").is_err());
        assert_eq!(fs::read(path.join("kept")).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_line_that_was_cut_off_goes_and_all_whole_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/history");
        append_line(&path, "one").unwrap();
        let long = "x".repeat((1 << 20) + 1);
        for (there, then) in [
            ("one\n", "one\nnew\n"),
            ("one\ntw", "one\nnew\n"),
            ("on", "new\n"),
            ("", "new\n"),
            (&long, &format!("{long}new\n")),
        ] {
            fs::write(&path, there).unwrap();
            append_line(&path, "new").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), then);
        }
    }

    #[test]
    fn only_temporaries_of_the_same_file_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let others = [".g.x.tu-new", ".f.x", "f.x.tu-new", ".fx.tu-new"];
        for name in others.iter().chain(&[".f.abc.tu-new"]) {
            fs::write(dir.path().join(name), "").unwrap();
        }
        remove_temporaries(&dir.path().join("f")).unwrap();
        assert!(others.iter().all(|name| dir.path().join(name).exists()));
        assert!(!dir.path().join(".f.abc.tu-new").exists());
        remove_temporaries(&dir.path().join("none/f")).unwrap();
    }

    #[test]
    fn a_file_over_the_bound_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, [0; 11]).unwrap();
        assert_eq!(
            read_bounded(&path, 10).unwrap_err().kind(),
            io::ErrorKind::FileTooLarge
        );
        assert_eq!(read_bounded(&path, 11).unwrap().len(), 11);
    }

    #[test]
    fn a_private_directory_is_ours_alone_and_goes_with_what_is_in_it() {
        let dir = PrivateDir::new().unwrap();
        let path = dir.path().to_owned();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o700
        );
        fs::write(path.join("f"), "x").unwrap();
        drop(dir);
        assert!(!path.exists());
    }
}
