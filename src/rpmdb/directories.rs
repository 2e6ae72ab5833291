//! The directories that a header names below some prefixes.
//!
//! Most packages have none: for them only the names of their directories are looked at, and nothing is allocated.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::header::{Damage, Header, Numbers, Strings, damage, tag};
use super::model::{DirectoryEntry, FileState, Prefix};

/// The flag of a file that the package owns and does not bring (rpmfiles.h of rpm).
pub(super) const GHOST: u32 = 64;
pub(super) const TYPE: u16 = 0o170_000;
pub(super) const DIRECTORY: u16 = 0o040_000;
pub(super) const PERMISSIONS: u16 = 0o7777;
/// FIFO, character device, directory, block device, regular file, link, socket (inode(7)).
const TYPES: [u16; 7] = [0o01, 0o02, 0o04, 0o06, 0o10, 0o12, 0o14];

/// Bytes that the directories of a scan may take. Those of a real database take some 100 KB; one made for it could put the
/// same long name before each of millions of files.
pub(super) const MOST_TEXT: usize = 64 << 20;

/// The directories of `header` below `prefixes`, for the package number `package`, in the order of the header. What they take
/// is taken from `room`.
///
/// # Errors
/// When the arrays of its files do not fit each other or cannot be read, the name of a directory is none, a file is of no
/// known type, or the room does not suffice. `room` is as before then.
pub(super) fn of(
    header: &Header<'_>,
    prefixes: &[Prefix],
    package: usize,
    room: &mut usize,
) -> Result<Vec<DirectoryEntry>, Damage> {
    if !any_below(header, prefixes)? {
        return Ok(Vec::new());
    }
    let mut files = Files::of(header)?;
    let mut found = Vec::new();
    let mut left = *room;
    while let Some(file) = files.next()? {
        if !prefixes.iter().any(|p| file.is_below(p)) || !file.is_directory()? {
            continue;
        }
        let length = file.directory.len() + file.name.len();
        let size = size_of::<DirectoryEntry>() + length + file.user.len() + file.group.len();
        left = match left.checked_sub(size) {
            Some(left) => left,
            None => {
                return damage("it has more directories, or longer ones, than a package can have");
            }
        };
        found.push(DirectoryEntry {
            path: PathBuf::from(OsString::from_vec(file.path())),
            mode: (file.mode & PERMISSIONS).into(),
            user: OsStr::from_bytes(file.user).to_owned(),
            group: OsStr::from_bytes(file.group).to_owned(),
            is_ghost: file.flags & GHOST != 0,
            state: state(file.state),
            package,
        });
    }
    *room = left;
    Ok(found)
}

/// Whether a file of the package can lie below one of `prefixes`.
fn any_below(header: &Header<'_>, prefixes: &[Prefix]) -> Result<bool, Damage> {
    let mut any = false;
    for name in header.strings(tag::DIRNAMES)? {
        let name = name?;
        if !name.starts_with(b"/") || !name.ends_with(b"/") {
            return damage(format_args!("{:?} is no name of a directory", text(name)));
        }
        any |= prefixes.iter().any(|p| p.holds_files_of(name));
    }
    for path in header.strings(tag::OLDFILENAMES)? {
        let path = path?;
        any |= prefixes.iter().any(|p| p.holds(path));
    }
    Ok(any)
}

/// What a header says of a file. Its path is put together only for what is taken: a header can put the same megabytes before
/// the names of millions of files.
struct File<'a> {
    /// With `/` at its end; empty when the name is the whole path.
    directory: &'a [u8],
    name: &'a [u8],
    mode: u16,
    flags: u32,
    state: Option<u8>,
    user: &'a [u8],
    group: &'a [u8],
}

impl File<'_> {
    fn path(&self) -> Vec<u8> {
        [self.directory, self.name].concat()
    }

    fn is_below(&self, prefix: &Prefix) -> bool {
        if self.directory.is_empty() {
            return prefix.holds(self.name);
        }
        // without a name the path is that of the directory, which may be the prefix itself
        prefix.holds_files_of(self.directory)
            && (!self.name.is_empty() || prefix.holds(self.directory))
    }

    fn is_directory(&self) -> Result<bool, Damage> {
        if !TYPES.contains(&(self.mode >> 12)) {
            return damage(format_args!(
                "its file {:?} has the mode {:o}, which is no type of file",
                text(&self.path()),
                self.mode
            ));
        }
        Ok(self.mode & TYPE == DIRECTORY)
    }
}

/// The files of a package, one after the other.
struct Files<'a> {
    at: usize,
    directories: Vec<&'a [u8]>,
    indexes: Numbers<'a, 4>,
    names: Strings<'a>,
    modes: Numbers<'a, 2>,
    flags: Numbers<'a, 4>,
    states: Numbers<'a, 1>,
    users: Strings<'a>,
    groups: Strings<'a>,
}

impl<'a> Files<'a> {
    /// Names are in two parts, or whole in packages of an old rpm.
    fn of(header: &Header<'a>) -> Result<Files<'a>, Damage> {
        let (parts, whole) = (
            header.strings(tag::BASENAMES)?,
            header.strings(tag::OLDFILENAMES)?,
        );
        if parts.len() > 0 && whole.len() > 0 {
            return damage("it has the names of its files in both of two forms");
        }
        let directories: Result<_, Damage> = header.strings(tag::DIRNAMES)?.collect();
        let files = Files {
            at: 0,
            directories: directories?,
            indexes: header.u32s(tag::DIRINDEXES)?,
            modes: header.u16s(tag::FILEMODES)?,
            flags: header.u32s(tag::FILEFLAGS)?,
            states: header.bytes(tag::FILESTATES)?,
            users: header.strings(tag::FILEUSERNAME)?,
            groups: header.strings(tag::FILEGROUPNAME)?,
            names: if whole.len() > 0 {
                whole
            } else {
                parts.clone()
            },
        };
        let count = files.names.len();
        for (tag, length, expected) in [
            (tag::DIRINDEXES, files.indexes.len(), parts.len()),
            (tag::FILEMODES, files.modes.len(), count),
            (tag::FILEFLAGS, files.flags.len(), count),
            (tag::FILEUSERNAME, files.users.len(), count),
            (tag::FILEGROUPNAME, files.groups.len(), count),
            (tag::FILESTATES, files.states.len(), count),
        ] {
            // no states at all: every file is installed
            let may_lack = tag == tag::FILESTATES && length == 0;
            if length != expected && !may_lack {
                return damage(format_args!(
                    "it has {count} files, and {length} values of tag {tag} for them"
                ));
            }
        }
        Ok(files)
    }

    fn next(&mut self) -> Result<Option<File<'a>>, Damage> {
        let (Some(name), Some(user), Some(group)) =
            (self.names.next(), self.users.next(), self.groups.next())
        else {
            return Ok(None);
        };
        let directory: &[u8] = match self.indexes.get(self.at) {
            None => b"",
            Some(index) => match self.directories.get(index as usize) {
                Some(directory) => directory,
                None => return damage(format_args!("it has no directory number {index}")),
            },
        };
        let file = File {
            directory,
            name: name?,
            mode: self.modes.get(self.at).unwrap_or_default(),
            flags: self.flags.get(self.at).unwrap_or_default(),
            state: self.states.get(self.at),
            user: user?,
            group: group?,
        };
        self.at += 1;
        Ok(Some(file))
    }
}

pub(super) fn state(value: Option<u8>) -> FileState {
    match value {
        None | Some(0) => FileState::Normal,
        Some(1) => FileState::Replaced,
        Some(2) => FileState::NotInstalled,
        Some(3) => FileState::NetShared,
        Some(4) => FileState::WrongColour,
        Some(other) => FileState::Unknown(other),
    }
}

/// The beginning of a name, for a message.
fn text(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes.get(..256).unwrap_or(bytes))
}

#[cfg(test)]
mod tests;
