//! What was received of payloads by runs that did not end well, so that the next run goes on there.
//!
//! One file with the bytes as served for each payload, named by the digest that they are to have, and one beside it that says
//! where they are from. Nothing here is needed: what cannot be kept or read is fetched again, and the digest of the whole
//! decides whether what was kept was right.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statvfs::fstatvfs;
use nix::unistd::Uid;
use serde::{Deserialize, Serialize};

use super::fetch::Facts;
use super::pipeline::Sha256;
use crate::sys::{Root, beneath};

/// How long what nobody went on with is kept.
pub const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Most bytes of a record.
const RECORD_LIMIT: u64 = 64 << 10;

/// Where the bytes of a payload are from, and where they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The address, without what is secret in it.
    pub url: String,
    /// What its server said.
    pub facts: Facts,
    /// The path of the unfinished file that holds them itself, when they go there as they are.
    pub partial: Option<String>,
}

/// The directory.
#[derive(Debug)]
pub struct Spool {
    dir: OwnedFd,
}

impl Spool {
    /// Opens the one at a path that somebody named, and makes it, for us alone, when it is not there.
    ///
    /// # Errors
    /// The error of mkdir(2) or open(2); also when others can write there, who could exchange what is kept.
    pub fn open(path: &Path) -> io::Result<Spool> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)?;
        Spool::of(beneath::open_root(path)?)
    }

    /// Opens the one of a system, and makes it when it is not there. No link is followed on the way: it may lead out of the system.
    ///
    /// # Errors
    /// As [`Spool::open`]; also for a link.
    pub fn in_root(root: &Root, rel: &Path) -> io::Result<Spool> {
        let top = beneath::open_root(root.path())?;
        beneath::make_dirs(&top, rel.parent().unwrap_or(Path::new("")), 0o755)?;
        beneath::make_dirs(&top, rel, 0o700)?;
        Spool::of(beneath::open_dir(&top, rel)?)
    }

    fn of(dir: OwnedFd) -> io::Result<Spool> {
        let there = fstat(&dir)?;
        if there.st_mode & 0o022 != 0 || there.st_uid != Uid::effective().as_raw() {
            return Err(io::Error::other("others can write there"));
        }
        Ok(Spool { dir })
    }

    /// What is kept of the payload with this digest.
    #[must_use]
    pub fn record(&self, digest: &Sha256) -> Option<Record> {
        let file = beneath::open_file(&self.dir, record_name(digest).as_ref()).ok()?;
        let mut text = Vec::new();
        file.take(RECORD_LIMIT).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Says where the bytes are from. Old or new is there after a crash, or none.
    ///
    /// # Errors
    /// The error of the system, as no room.
    pub fn set_record(&self, digest: &Sha256, record: &Record) -> io::Result<()> {
        let new = format!("{}.new", record_name(digest));
        let flags = OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_WRONLY;
        let mut file = self.create(&new, flags)?;
        file.write_all(&serde_json::to_vec(record)?)?;
        beneath::rename(&self.dir, new.as_ref(), record_name(digest).as_ref())
    }

    /// The bytes of a payload, to be read and written; made when they are missing.
    ///
    /// # Errors
    /// The error of openat(2).
    pub fn bytes(&self, digest: &Sha256) -> io::Result<File> {
        self.create(&digest.to_string(), OFlag::O_CREAT | OFlag::O_RDWR)
    }

    /// Waits until all that is kept of a payload is on disk: a power cut does not take it from there any more.
    ///
    /// # Errors
    /// The error of fsync(2), or none of it is there.
    pub fn settle(&self, digest: &Sha256) -> io::Result<()> {
        for name in [digest.to_string(), record_name(digest)] {
            beneath::open_file(&self.dir, name.as_ref())?.sync_all()?;
        }
        File::from(beneath::reopen(&self.dir)?).sync_all()
    }

    /// Bytes of a payload that are kept here.
    #[must_use]
    pub fn length(&self, digest: &Sha256) -> u64 {
        let file = beneath::open_file(&self.dir, digest.to_string().as_ref());
        file.and_then(|file| file.metadata())
            .map_or(0, |there| there.len())
    }

    /// The device that it is on, and how many bytes are free there.
    ///
    /// # Errors
    /// The error of fstatvfs(3).
    pub fn room(&self) -> io::Result<(u64, u64)> {
        let system = fstatvfs(&self.dir)?;
        let device = fstat(&self.dir)?.st_dev;
        Ok((device, crate::sys::fs::available(&system)))
    }

    fn create(&self, name: &str, flags: OFlag) -> io::Result<File> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = File::from(openat(
            &self.dir,
            name,
            flags,
            Mode::from_bits_truncate(0o600),
        )?);
        file.set_permissions(Permissions::from_mode(0o600))?;
        Ok(file)
    }

    /// Removes all of one payload. Missing already is fine.
    ///
    /// # Errors
    /// The error of unlinkat(2).
    pub fn remove(&self, digest: &Sha256) -> io::Result<()> {
        beneath::remove(&self.dir, record_name(digest).as_ref())?;
        beneath::remove(&self.dir, digest.to_string().as_ref())
    }

    /// Removes what was not written for `age`; all of it for an age of zero. What somebody else put there stays.
    ///
    /// # Errors
    /// The error of getdents(2) or unlinkat(2).
    pub fn remove_older(&self, age: Duration) -> io::Result<()> {
        let now = SystemTime::now();
        let names = beneath::names(beneath::reopen(&self.dir)?)?;
        for name in names.iter().filter(|name| is_ours(name)) {
            let changed =
                beneath::open_file(&self.dir, name.as_ref()).and_then(|f| f.metadata()?.modified());
            // of a time in the future, or none, nothing can be said: it goes only when everything goes
            let is_old = changed.is_ok_and(|t| now.duration_since(t).is_ok_and(|d| d >= age));
            if age.is_zero() || is_old {
                beneath::remove(&self.dir, name.as_ref())?;
            }
        }
        Ok(())
    }
}

/// Whether a file here is the bytes of a payload, or a record of one.
fn is_ours(name: &OsStr) -> bool {
    let name = name.to_str().unwrap_or("");
    let digest = name.split('.').next().unwrap_or("");
    let is_digest = digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit());
    is_digest && matches!(&name[64..], "" | ".json" | ".json.new")
}

fn record_name(digest: &Sha256) -> String {
    format!("{digest}.json")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn digest(byte: u8) -> Sha256 {
        Sha256([byte; 32])
    }

    fn record() -> Record {
        Record {
            url: "http://host/p".into(),
            facts: Facts::default(),
            partial: None,
        }
    }

    #[test]
    fn what_is_kept_is_for_us_alone_and_is_found_by_its_digest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/spool");
        let spool = Spool::open(&path).unwrap();
        assert_eq!(spool.record(&digest(1)), None);
        spool
            .bytes(&digest(1))
            .unwrap()
            .write_all(b"bytes")
            .unwrap();
        spool.set_record(&digest(1), &record()).unwrap();
        let again = Spool::open(&path).unwrap();
        assert_eq!(again.record(&digest(1)), Some(record()));
        assert_eq!(again.record(&digest(2)), None);
        for entry in fs::read_dir(&path).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o600);
        }
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);
        again.remove(&digest(1)).unwrap();
        again.remove(&digest(1)).unwrap();
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    }

    #[test]
    fn no_link_leads_to_a_spool_outside_of_its_system() {
        let dir = tempfile::tempdir().unwrap();
        let (system, outside) = (dir.path().join("system"), dir.path().join("outside"));
        fs::create_dir(&system).unwrap();
        fs::create_dir(&outside).unwrap();
        let root = Root::at(&system).unwrap();
        let open = || Spool::in_root(&root, Path::new("var/lib/spool"));
        for link in ["var", "var/lib", "var/lib/spool"] {
            let link = system.join(link);
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(&outside, &link).unwrap();
            assert!(open().is_err());
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
            fs::remove_file(link).unwrap();
        }
        open().unwrap().set_record(&digest(1), &record()).unwrap();
        assert_eq!(open().unwrap().record(&digest(1)), Some(record()));
        let mode = |path| {
            fs::metadata(system.join(path))
                .unwrap()
                .permissions()
                .mode()
                & 0o7777
        };
        assert_eq!((mode("var/lib"), mode("var/lib/spool")), (0o755, 0o700));
    }

    #[test]
    fn what_is_not_all_there_cannot_be_settled() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        spool.bytes(&digest(1)).unwrap();
        assert!(spool.settle(&digest(1)).is_err());
        spool.set_record(&digest(1), &record()).unwrap();
        spool.settle(&digest(1)).unwrap();
    }

    #[test]
    fn a_record_that_is_damaged_or_a_link_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        spool.set_record(&digest(1), &record()).unwrap();
        let name = dir.path().join(record_name(&digest(1)));
        let text = fs::read(&name).unwrap();
        fs::write(&name, &text[..text.len() - 1]).unwrap();
        assert_eq!(spool.record(&digest(1)), None);
        fs::remove_file(&name).unwrap();
        let elsewhere = dir.path().join("elsewhere");
        fs::write(&elsewhere, text).unwrap();
        symlink(&elsewhere, &name).unwrap();
        assert_eq!(spool.record(&digest(1)), None);
        symlink(&elsewhere, dir.path().join(digest(1).to_string())).unwrap();
        assert!(spool.bytes(&digest(1)).is_err());
    }

    #[test]
    fn what_is_older_than_seven_days_goes_and_by_request_everything() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        for number in [1, 2] {
            spool.set_record(&digest(number), &record()).unwrap();
            let file = spool.bytes(&digest(number)).unwrap();
            if number == 1 {
                file.set_modified(SystemTime::now() - KEPT_FOR - Duration::from_secs(5))
                    .unwrap();
            }
        }
        spool.remove_older(KEPT_FOR).unwrap();
        let there = |number| dir.path().join(digest(number).to_string()).exists();
        assert!(!there(1) && there(2));
        let new = dir.path().join(format!("{}.new", record_name(&digest(3))));
        for path in [
            &new,
            &dir.path().join("of somebody"),
            &dir.path().join(format!("{}.iso", digest(1))),
        ] {
            fs::write(path, "").unwrap();
        }
        spool.remove_older(Duration::ZERO).unwrap();
        assert!(!new.exists() && !there(2));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn where_others_can_write_nothing_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        for (mode, is_usable) in [
            (0o755, true),
            (0o1777, false),
            (0o770, false),
            (0o700, true),
        ] {
            fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(Spool::open(dir.path()).is_ok(), is_usable, "{mode:o}");
        }
    }
}
