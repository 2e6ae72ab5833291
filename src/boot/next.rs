//! The entry that the loader starts, read as the loader reads it: no program is asked.

use std::io;
use std::path::{Path, PathBuf};

use super::esp::{Entry, Esp};
use super::{BootError, Loader, detect, esp};
use crate::sys::{Root, beneath, fs};

/// What the firmware remembers (Boot Loader Interface): attributes, then UTF-16 with a NUL at its end.
const VARIABLE: &str =
    "sys/firmware/efi/efivars/LoaderEntryDefault-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
const ATTRIBUTES: usize = 4;
/// Configuration of systemd-boot, and the environment blocks of GRUB, one for each directory of a system.
const LOADER_CONF: &str = "loader/loader.conf";
const GRUB_DIRECTORIES: &str = "EFI";
const GRUBENV: &str = "grubenv";
/// Bound of what is read of each, in bytes.
const LIMIT: u64 = 64 << 10;

/// The default entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextEntry {
    /// Its id, the name of its file.
    pub id: String,
    /// The kernel, an absolute path.
    pub kernel: PathBuf,
    /// The initrds, absolute paths.
    pub initrds: Vec<PathBuf>,
    /// The kernel's command line.
    pub options: String,
    entry: Entry,
}

impl NextEntry {
    /// Whether it boots the snapshot at `path` (`.snapshots/N/snapshot`).
    #[must_use]
    pub fn boots(&self, path: &Path) -> bool {
        self.entry.boots(path)
    }
}

/// The entry that the running system's loader starts; `None` where no entries decide, and where the one that is
/// named cannot be found.
///
/// # Errors
/// When no partition with entries is mounted or it cannot be read.
pub fn next_entry(root: &Root) -> Result<Option<NextEntry>, BootError> {
    let unreadable =
        |e: io::Error| BootError::Unusable(format!("cannot read what boots next: {e}"));
    let loader = detect(beneath::open_root(root.path()).map_err(unreadable)?)?;
    if loader != Loader::Bls || !root.is_live() {
        return Ok(None);
    }
    let esp = Esp::open(root)?;
    let Some(id) = default_id(root, &esp).map_err(unreadable)? else {
        return Ok(None);
    };
    let entries = esp.entries().map_err(unreadable)?;
    let entry = entries.into_iter().find(|e| e.is(&id));
    Ok(entry.map(|entry| NextEntry {
        id: entry.file.clone(),
        kernel: esp.path.join(&entry.kernel),
        initrds: entry.initrds.iter().map(|i| esp.path.join(i)).collect(),
        options: entry.options.clone(),
        entry,
    }))
}

fn default_id(root: &Root, esp: &Esp) -> io::Result<Option<String>> {
    match fs::read_bounded(&root.join(VARIABLE), LIMIT) {
        Ok(bytes) => {
            if let Some(id) = variable(&bytes) {
                return Ok(Some(id));
            }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let conf = beneath::read(&esp.fd, Path::new(LOADER_CONF), LIMIT)?.unwrap_or_default();
    if let Some(id) = value(&conf, &[' ', '\t']) {
        return Ok(Some(id));
    }
    for name in esp::directories(&esp.fd, Path::new(GRUB_DIRECTORIES))? {
        let path = Path::new(GRUB_DIRECTORIES).join(name).join(GRUBENV);
        let block = beneath::read(&esp.fd, &path, LIMIT)?.unwrap_or_default();
        if let Some(id) = value(&block, &['=']) {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

fn variable(bytes: &[u8]) -> Option<String> {
    let text = bytes.get(ATTRIBUTES..)?.chunks_exact(2);
    let units = text.map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let text: Vec<u16> = units.take_while(|u| *u != 0).collect();
    Some(String::from_utf16_lossy(&text)).filter(|id| !id.is_empty())
}

/// The value of `default` in lines of key and value.
fn value(text: &[u8], separators: &[char]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let mut lines = text.lines();
    let id = lines.find_map(|line| {
        let (key, value) = line.split_once(separators)?;
        (key == "default").then(|| value.trim().to_owned())
    });
    id.filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_entry_is_read_as_firmware_systemd_boot_and_grub_keep_it() {
        let bytes = |id: &str| -> Vec<u8> {
            let units = id.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
            [7, 0, 0, 0].into_iter().chain(units).collect()
        };
        let id = "fx-6.4.0-1-default-2.conf";
        assert_eq!(variable(&bytes(id)).as_deref(), Some(id));
        for none in [&b""[..], b"\x07\0\0\0", b"\x07\0\0\0\0\0", b"\x07\0"] {
            assert_eq!(variable(none), None);
        }
        let conf = format!("timeout 5\n#default x\ndefault  {id}\n");
        assert_eq!(value(conf.as_bytes(), &[' ', '\t']).as_deref(), Some(id));
        let block = format!("# GRUB Environment Block\ndefault={id}\n####");
        assert_eq!(value(block.as_bytes(), &['=']).as_deref(), Some(id));
        assert_eq!(value(b"default=\n\xff", &['=']), None);
    }
}
