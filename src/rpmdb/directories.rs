//! The directories that a header names below some prefixes.
//!
//! Most packages have none: for them only the names of their directories are looked at, and nothing is allocated.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::header::{Damage, Header, Numbers, Strings, damage, tag};
use super::model::{DirectoryEntry, FileState, Prefix};

/// The flag of a file that the package owns and does not bring (rpmfiles.h of rpm).
const GHOST: u32 = 64;
const TYPE: u16 = 0o170_000;
const DIRECTORY: u16 = 0o040_000;
const PERMISSIONS: u16 = 0o7777;
/// FIFO, character device, directory, block device, regular file, link, socket (inode(7)).
const TYPES: [u16; 7] = [0o01, 0o02, 0o04, 0o06, 0o10, 0o12, 0o14];

/// Bytes of text that a scan may take from a database. A database that is as it should be takes some 100 KB; one that is
/// made to, could name the same long directory in each of millions of entries.
pub(super) const MOST_TEXT: usize = 64 << 20;

/// The directories of `header` below `prefixes`, for the package number `package`; sorted as the header has them. What they
/// take is taken from `room`.
///
/// # Errors
/// When the arrays of its files do not fit each other or cannot be read, a path is not put together from parts as rpm does,
/// a file is of no known type, or the room does not suffice; `room` is as before then.
pub(super) fn of(
    header: &Header<'_>,
    prefixes: &[Prefix],
    package: usize,
    room: &mut usize,
) -> Result<Vec<DirectoryEntry>, Damage> {
    let basenames = header.strings(tag::BASENAMES)?;
    let whole = header.strings(tag::OLDFILENAMES)?;
    if basenames.len() > 0 && whole.len() > 0 {
        return damage("it has its file names in both of two forms");
    }
    if !any_below(header, whole.clone(), prefixes)? {
        return Ok(Vec::new());
    }
    let count = basenames.len() + whole.len();
    let files = Files::of(header, count)?;
    let mut found = Vec::new();
    let mut left = *room;
    let mut take = |path: &[u8], at: usize, user: &[u8], group: &[u8]| -> Result<(), Damage> {
        if !prefixes.iter().any(|p| p.holds(path)) || !files.is_directory(at, path)? {
            return Ok(());
        }
        let size = size_of::<DirectoryEntry>() + path.len() + user.len() + group.len();
        left = match left.checked_sub(size) {
            Some(left) => left,
            None => return damage("it has more, or longer, directories than any package"),
        };
        found.push(DirectoryEntry {
            path: PathBuf::from(OsStr::from_bytes(path)),
            mode: (files.modes.get(at).unwrap_or_default() & PERMISSIONS).into(),
            user: text(user),
            group: text(group),
            is_ghost: files.flags.get(at).unwrap_or_default() & GHOST != 0,
            state: state(files.states.get(at)),
            package,
        });
        Ok(())
    };
    let mut users = header.strings(tag::FILEUSERNAME)?;
    let mut groups = header.strings(tag::FILEGROUPNAME)?;
    let mut owner = || match (users.next(), groups.next()) {
        (Some(user), Some(group)) => Ok((user?, group?)),
        _ => damage("it has fewer owners than files"),
    };
    let names = Names::of(header)?;
    let mut path = Vec::new();
    for (at, name) in basenames.chain(whole).enumerate() {
        let name = name?;
        let (user, group) = owner()?;
        path.clear();
        path.extend_from_slice(names.directory(at)?);
        path.extend_from_slice(name);
        take(&path, at, user, group)?;
    }
    *room = left;
    Ok(found)
}

/// Whether a file of the package can lie below one of `prefixes`. `whole` are its whole paths, when it has such.
fn any_below(header: &Header<'_>, whole: Strings<'_>, prefixes: &[Prefix]) -> Result<bool, Damage> {
    let mut any = false;
    for name in header.strings(tag::DIRNAMES)? {
        let name = name?;
        if !name.starts_with(b"/") || !name.ends_with(b"/") {
            return damage(format_args!(
                "{:?} is no name of a directory",
                OsStr::from_bytes(name)
            ));
        }
        any |= prefixes.iter().any(|p| p.holds_files_of(name));
    }
    for path in whole {
        let path = path?;
        any |= prefixes.iter().any(|p| p.holds(path));
    }
    Ok(any)
}

/// The parts of the paths that stand before the last name.
struct Names<'a> {
    directories: Vec<&'a [u8]>,
    indexes: Numbers<'a, 4>,
}

impl<'a> Names<'a> {
    fn of(header: &Header<'a>) -> Result<Names<'a>, Damage> {
        let directories: Result<_, Damage> = header.strings(tag::DIRNAMES)?.collect();
        let indexes = header.u32s(tag::DIRINDEXES)?;
        let basenames = header.strings(tag::BASENAMES)?.len();
        if indexes.len() != basenames {
            return damage(format_args!(
                "it has {basenames} names of files, and {} directories for them",
                indexes.len()
            ));
        }
        Ok(Names {
            directories: directories?,
            indexes,
        })
    }

    /// What stands before the name of the file at a place; nothing before a whole path.
    fn directory(&self, at: usize) -> Result<&'a [u8], Damage> {
        let Some(index) = self.indexes.get(at) else {
            return Ok(&[]);
        };
        let directory = self.directories.get(index as usize);
        directory.map_or_else(
            || {
                damage(format_args!(
                    "a file is in the directory {index}, of which there is none"
                ))
            },
            |d| Ok(*d),
        )
    }
}

/// What the header says of its files, each a value per file.
struct Files<'a> {
    modes: Numbers<'a, 2>,
    flags: Numbers<'a, 4>,
    states: Numbers<'a, 1>,
}

impl<'a> Files<'a> {
    fn of(header: &Header<'a>, count: usize) -> Result<Files<'a>, Damage> {
        let files = Files {
            modes: header.u16s(tag::FILEMODES)?,
            flags: header.u32s(tag::FILEFLAGS)?,
            states: header.bytes(tag::FILESTATES)?,
        };
        let lengths = [
            (tag::FILEMODES, files.modes.len()),
            (tag::FILEFLAGS, files.flags.len()),
            (tag::FILEUSERNAME, header.strings(tag::FILEUSERNAME)?.len()),
            (
                tag::FILEGROUPNAME,
                header.strings(tag::FILEGROUPNAME)?.len(),
            ),
            // there may be none: then all are installed
            (
                tag::FILESTATES,
                if files.states.len() == 0 {
                    count
                } else {
                    files.states.len()
                },
            ),
        ];
        match lengths.iter().find(|(_, length)| *length != count) {
            Some((tag, length)) => damage(format_args!(
                "it has {count} files, and {length} values of tag {tag} for them"
            )),
            None => Ok(files),
        }
    }

    fn is_directory(&self, at: usize, path: &[u8]) -> Result<bool, Damage> {
        let mode = self.modes.get(at).unwrap_or_default();
        if !TYPES.contains(&(mode >> 12)) {
            return damage(format_args!(
                "its file {:?} is of no known type (mode {mode:o})",
                OsStr::from_bytes(path)
            ));
        }
        Ok(mode & TYPE == DIRECTORY)
    }
}

fn state(value: Option<u8>) -> FileState {
    match value {
        None | Some(0) => FileState::Normal,
        Some(1) => FileState::Replaced,
        Some(2) => FileState::NotInstalled,
        Some(3) => FileState::NetShared,
        Some(4) => FileState::WrongColour,
        Some(other) => FileState::Unknown(other),
    }
}

fn text(bytes: &[u8]) -> OsString {
    OsStr::from_bytes(bytes).to_owned()
}
