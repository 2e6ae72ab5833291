//! Which files there are, and the order in which they are read.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::keys::File;
use super::parse::{Read, parse};
use super::{Overrides, Root};

/// Largest file, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// Most drop-ins in one directory.
const DROP_INS_MAX: usize = 1000;

/// Where packages put their files.
const VENDOR: &str = "usr/etc";

/// Where the administrator puts files.
const ADMIN: &str = "etc";

/// A main file and the directory of its drop-ins.
#[derive(Debug)]
struct Place {
    main: PathBuf,
    /// Whether somebody named the file, so that it has to be there.
    is_named: bool,
    drop_ins: BTreeMap<OsString, PathBuf>,
}

/// Reads every file that belongs to `file`, in the order in which later lines win.
pub(super) fn read_all(
    root: &Root,
    file: File,
    overrides: &Overrides,
) -> Result<Read, ConfigError> {
    let (system, admin) = match file {
        File::TransactionalUpdate => (&overrides.system_file, &overrides.admin_file),
        File::Tukit => (&None, &None),
    };
    let mut vendor = Place::find(root, VENDOR, file, system)?;
    let admin = Place::find(root, ADMIN, file, admin)?;
    vendor
        .drop_ins
        .retain(|name, _| !admin.drop_ins.contains_key(name));

    let mut read = Read::default();
    match file {
        File::TransactionalUpdate => {
            for place in [vendor, admin] {
                read.take_main(file, &place)?;
                read.take_drop_ins(file, &place.drop_ins)?;
            }
        }
        File::Tukit => {
            let is_replaced = read.take_main(file, &admin)?;
            if !is_replaced {
                read.take_main(file, &vendor)?;
            }
            vendor.drop_ins.extend(admin.drop_ins);
            read.take_drop_ins(file, &vendor.drop_ins)?;
        }
    }
    Ok(read)
}

impl Place {
    fn find(
        root: &Root,
        dir: &str,
        file: File,
        named: &Option<PathBuf>,
    ) -> Result<Place, ConfigError> {
        let main = match named {
            Some(path) => path.clone(),
            None => root.join(Path::new(dir).join(file.name())),
        };
        let mut drop_in_dir = main.clone().into_os_string();
        drop_in_dir.push(".d");
        let drop_ins = drop_ins(Path::new(&drop_in_dir))?;
        Ok(Place {
            main,
            is_named: named.is_some(),
            drop_ins,
        })
    }
}

impl Read {
    /// Reads a main file; says whether it exists.
    fn take_main(&mut self, file: File, place: &Place) -> Result<bool, ConfigError> {
        match content(&place.main)? {
            Some(bytes) => {
                self.take(parse(file, &place.main, &bytes)?);
                Ok(true)
            }
            None if place.is_named => {
                let remedy = "create it, or do not name it in the environment";
                Err(ConfigError::of_file(&place.main, "does not exist", remedy))
            }
            None => Ok(false),
        }
    }

    fn take_drop_ins(
        &mut self,
        file: File,
        drop_ins: &BTreeMap<OsString, PathBuf>,
    ) -> Result<(), ConfigError> {
        for path in drop_ins.values() {
            if let Some(bytes) = content(path)? {
                self.take(parse(file, path, &bytes)?);
            }
        }
        Ok(())
    }

    fn take(&mut self, other: Read) {
        self.assignments.extend(other.assignments);
        self.warnings.extend(other.warnings);
    }
}

/// The drop-ins of a directory by name: `*.conf`, without hidden ones. A directory that is not there has none.
fn drop_ins(dir: &Path) -> Result<BTreeMap<OsString, PathBuf>, ConfigError> {
    let mut found = BTreeMap::new();
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(ConfigError::unreadable(dir, error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| ConfigError::unreadable(dir, error))?;
        let name = entry.file_name();
        let bytes = name.as_encoded_bytes();
        if bytes.starts_with(b".") || !bytes.ends_with(b".conf") {
            continue;
        }
        if found.len() == DROP_INS_MAX {
            return Err(ConfigError::of_file(
                dir,
                "has more than 1000 files",
                "remove those that are not needed",
            ));
        }
        found.insert(name, entry.path());
    }
    Ok(found)
}

/// The bytes of a file; None when it does not exist, nothing for a device (a link to the null device hides a file).
fn content(path: &Path) -> Result<Option<Vec<u8>>, ConfigError> {
    let kind = match fs::metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ConfigError::unreadable(path, error)),
    };
    if kind.is_char_device() {
        return Ok(Some(Vec::new()));
    }
    if !kind.is_file() {
        return Err(ConfigError::of_file(
            path,
            "is no file",
            "remove it, or put a file there",
        ));
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|error| ConfigError::unreadable(path, error))?;
    file.take(FILE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| ConfigError::unreadable(path, error))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(ConfigError::of_file(
            path,
            "is larger than 1 MiB",
            "it is probably no configuration file",
        ));
    }
    Ok(Some(bytes))
}
