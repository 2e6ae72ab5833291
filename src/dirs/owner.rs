//! Names of users and groups to the numbers that the system at a root gives them.
//!
//! Its passwd(5) and group(5), and for the running system whatever else answers there (nsswitch.conf(5)). A name that
//! is a number is a name: nobody is called so, and rpm takes it for nobody as well.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::sys::stat::fstat;
use nix::unistd::{Group, User};
use serde::{Deserialize, Serialize};

use super::report::Reason;
use super::select::Selected;
use crate::sys::{beneath, out};

/// Most bytes of one of the files: more than a million accounts.
const MOST: u64 = 64 << 20;

/// What a name is a name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// A user.
    User,
    /// A group.
    Group,
}

impl Kind {
    /// The file, below the root.
    fn file(self) -> &'static Path {
        Path::new(match self {
            Kind::User => "etc/passwd",
            Kind::Group => "etc/group",
        })
    }

    fn word(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Group => "group",
        }
    }
}

/// A name that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unknown {
    kind: Kind,
    name: OsString,
}

impl Unknown {
    /// Why a directory waits.
    pub(super) fn reason(&self) -> Reason {
        match self.kind {
            Kind::User => Reason::UnknownUser,
            Kind::Group => Reason::UnknownGroup,
        }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.word();
        if self.name.is_empty() {
            return write!(f, "its package names no {kind}");
        }
        let name = out::path(Path::new(&self.name));
        write!(
            f,
            "there is no {kind} {name}, and no sysusers.d(5) entry has made it"
        )
    }
}

/// The users and groups of a system.
#[derive(Debug)]
pub(super) struct Names {
    users: Vec<u8>,
    groups: Vec<u8>,
    is_live: bool,
    /// What was asked before.
    known: HashMap<(Kind, OsString), Option<u32>>,
}

impl Names {
    /// Reads the files of the system whose root directory `top` is; `is_live` when it is the running one. A file that is
    /// missing has nobody in it, and so has one that cannot be read, which makes a warning.
    pub(super) fn read(top: &OwnedFd, is_live: bool, warnings: &mut Vec<String>) -> Names {
        let mut file = |kind: Kind| {
            read(top, kind.file()).unwrap_or_else(|e| {
                let file = kind.file().display();
                warnings.push(format!("nobody in {file} is known: it cannot be read: {e}"));
                Vec::new()
            })
        };
        Names {
            users: file(Kind::User),
            groups: file(Kind::Group),
            is_live,
            known: HashMap::new(),
        }
    }

    /// Takes nobody to have the name for which a directory waited, without asking again.
    pub(super) fn take_as_before(&mut self, waiting: &Selected, why: Option<Reason>) {
        let key = match why {
            Some(Reason::UnknownUser) => (Kind::User, waiting.user.clone()),
            Some(Reason::UnknownGroup) => (Kind::Group, waiting.group.clone()),
            _ => return,
        };
        self.known.insert(key, None);
    }

    /// The numbers of a directory's owner and group.
    pub(super) fn ids(&mut self, user: &OsStr, group: &OsStr) -> Result<(u32, u32), Unknown> {
        Ok((self.id(Kind::User, user)?, self.id(Kind::Group, group)?))
    }

    fn id(&mut self, kind: Kind, name: &OsStr) -> Result<u32, Unknown> {
        // the superuser needs no file to be known
        if name == "root" {
            return Ok(0);
        }
        let key = (kind, name.to_owned());
        let id = match self.known.get(&key) {
            Some(id) => *id,
            None => {
                let id = self.ask(kind, name);
                self.known.insert(key.clone(), id);
                id
            }
        };
        id.ok_or(Unknown { kind, name: key.1 })
    }

    fn ask(&self, kind: Kind, name: &OsStr) -> Option<u32> {
        let (text, columns) = match kind {
            Kind::User => (&self.users, 7),
            Kind::Group => (&self.groups, 4),
        };
        let in_file = id_in(text, name.as_bytes(), columns);
        in_file.or_else(|| {
            self.is_live
                .then(|| by_services(kind, name.to_str()?))
                .flatten()
        })
    }
}

/// The number of `name` in a file with so many columns, of which the third is the number; the first line that has it
/// counts.
fn id_in(text: &[u8], name: &[u8], columns: usize) -> Option<u32> {
    // a name that begins so is an order to ask somebody else (nss_compat)
    if name.is_empty() || name.starts_with(b"+") || name.starts_with(b"-") {
        return None;
    }
    let line = text.split(|b| *b == b'\n').find(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(b":"))
    })?;
    let fields: Vec<&[u8]> = line.split(|b| *b == b':').collect();
    if fields.len() != columns {
        return None;
    }
    let digits = std::str::from_utf8(fields.get(2)?).ok()?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let id: u32 = digits.parse().ok()?;
    // chown(2) takes the last number for "leave it as it is"
    (id != u32::MAX).then_some(id)
}

/// The number that the name services of the running system give. When they fail nobody is known: it is asked again at
/// the next run.
fn by_services(kind: Kind, name: &str) -> Option<u32> {
    if name.is_empty() {
        return None;
    }
    match kind {
        Kind::User => Some(User::from_name(name).ok()??.uid.as_raw()),
        Kind::Group => Some(Group::from_name(name).ok()??.gid.as_raw()),
    }
}

fn read(top: &OwnedFd, rel: &Path) -> io::Result<Vec<u8>> {
    let bytes = beneath::read(top, rel, MOST + 1)?.unwrap_or_default();
    if bytes.len() as u64 > MOST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// The state of the two files; as long as it is the same, they know the same names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Accounts {
    passwd: Option<FileState>,
    group: Option<FileState>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FileState {
    inode: u64,
    size: i64,
    seconds: i64,
    nanoseconds: i64,
}

impl Accounts {
    /// As they are in the system whose root directory `top` is.
    pub(super) fn of(top: &OwnedFd) -> Accounts {
        let state = |kind: Kind| {
            let stat = fstat(beneath::resolve(top, kind.file()).ok()?).ok()?;
            Some(FileState {
                inode: stat.st_ino,
                size: stat.st_size,
                seconds: stat.st_mtime,
                nanoseconds: stat.st_mtime_nsec,
            })
        };
        Accounts {
            passwd: state(Kind::User),
            group: state(Kind::Group),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn system(passwd: &str, group: &str) -> (tempfile::TempDir, OwnedFd) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/passwd"), passwd).unwrap();
        fs::write(dir.path().join("etc/group"), group).unwrap();
        let top = beneath::open_root(dir.path()).unwrap();
        (dir, top)
    }

    fn names(top: &OwnedFd) -> Names {
        let mut warnings = Vec::new();
        let names = Names::read(top, false, &mut warnings);
        assert_eq!(warnings, [""; 0]);
        names
    }

    #[test]
    fn names_have_the_numbers_that_the_files_of_the_root_give_them() {
        let (_dir, top) = system(
            "root:x:7:7::/:/bin/sh\nab:x:12:13::/:\na:x:10:11::/:\na:x:99:99::/:\n",
            "wheel:x:5:a,b\nab:x:6:",
        );
        let mut names = names(&top);
        let mut id = |user: &str, group: &str| names.ids(user.as_ref(), group.as_ref()).ok();
        assert_eq!(id("a", "wheel"), Some((10, 5)));
        assert_eq!(id("ab", "ab"), Some((12, 6)));
        assert_eq!(id("root", "root"), Some((0, 0)));
        assert_eq!(id("daemon", "ab"), None, "the running system is not asked");
    }

    #[test]
    fn odd_names_and_lines_are_unknown() {
        let (_dir, top) = system(
            "+:x:1:1::/:\n:x:1:1::/:\nshort:x:1\nbig:x:4294967296:1::/:\nall:x:4294967295:1::/:\nminus:x:-1:1::/:\n\
             +nis:x:1:1::/:\nlong:x:1:1::/::\nsign:x:+1:1::/:x\n",
            "",
        );
        let mut names = names(&top);
        for name in [
            "+", "", "short", "big", "all", "minus", "+nis", "1", "long", "sign", "x", ":",
        ] {
            let unknown = names.ids(name.as_ref(), "root".as_ref()).unwrap_err();
            assert_eq!(unknown.reason(), Reason::UnknownUser, "{name}");
        }
        let unknown = names.ids("root".as_ref(), "none".as_ref()).unwrap_err();
        assert_eq!(unknown.reason(), Reason::UnknownGroup);
        assert_eq!(
            unknown.to_string(),
            "there is no group none, and no sysusers.d(5) entry has made it"
        );
    }

    #[test]
    fn the_services_of_the_running_system_are_asked_only_for_that() {
        let (_dir, top) = system("", "");
        let mut warnings = Vec::new();
        // in no file of that root, so the answer comes from the services
        let mut live = Names::read(&top, true, &mut warnings);
        let daemon = User::from_name("daemon").unwrap().unwrap().uid.as_raw();
        let (user, _) = live.ids("daemon".as_ref(), "root".as_ref()).unwrap();
        assert_eq!(user, daemon);
        assert!(live.ids("0".as_ref(), "root".as_ref()).is_err());
        let waiting = Selected {
            path: "/var/a".into(),
            mode: 0o755,
            user: "root".into(),
            group: "daemon".into(),
            packages: Vec::new(),
            skip: None,
        };
        live.take_as_before(&waiting, Some(Reason::UnknownUser));
        assert!(live.ids("root".as_ref(), "daemon".as_ref()).is_ok());
        live.take_as_before(&waiting, Some(Reason::UnknownGroup));
        assert!(live.ids("root".as_ref(), "daemon".as_ref()).is_err());
    }

    #[test]
    fn a_link_in_etc_stays_inside_the_root_and_what_is_missing_has_nobody() {
        let (dir, top) = system("", "");
        let passwd = dir.path().join("etc/passwd");
        fs::remove_file(&passwd).unwrap();
        symlink("/etc/shadow-of-passwd", &passwd).unwrap();
        assert!(names(&top).ids("a".as_ref(), "root".as_ref()).is_err());
        fs::write(
            dir.path().join("etc/shadow-of-passwd"),
            "a:x:10:11::/:/bin/sh\n",
        )
        .unwrap();
        let mut names = names(&top);
        assert_eq!(names.ids("a".as_ref(), "root".as_ref()), Ok((10, 0)));
    }

    #[test]
    fn what_cannot_be_read_is_told_and_makes_everybody_unknown() {
        let (dir, top) = system("a:x:10:11::/:/bin/sh\n", "");
        let passwd = dir.path().join("etc/passwd");
        fs::remove_file(&passwd).unwrap();
        fs::create_dir(&passwd).unwrap();
        let mut warnings = Vec::new();
        let mut names = Names::read(&top, false, &mut warnings);
        assert!(warnings[0].contains("etc/passwd"), "{warnings:?}");
        assert!(names.ids("a".as_ref(), "root".as_ref()).is_err());
        assert!(names.ids("root".as_ref(), "root".as_ref()).is_ok());
    }

    #[test]
    fn a_new_user_changes_the_state_of_the_files() {
        let (dir, top) = system("", "");
        let before = Accounts::of(&top);
        assert_eq!(before, Accounts::of(&top));
        fs::write(dir.path().join("etc/passwd"), "a:x:10:11::/:/bin/sh\n").unwrap();
        assert_ne!(before, Accounts::of(&top));
        fs::remove_file(dir.path().join("etc/group")).unwrap();
        assert_eq!(Accounts::of(&top).group, None);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_fail(text: Vec<u8>, name: Vec<u8>) {
            id_in(&text, &name, 7);
        }
    }
}
