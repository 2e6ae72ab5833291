//! Extended attributes of what a descriptor stands for, of any type; ACLs and security labels are some of them.
//!
//! xattr(7) has no call for a descriptor opened with `O_PATH`, so each goes through the link of the descriptor
//! in /proc, which names that very object, also when it is a symbolic link.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::AsFd;

use rustix::buffer::spare_capacity;
use rustix::fs::{XattrFlags, getxattr, listxattr, listxattr_query, removexattr, setxattr};
use rustix::io::Errno;

use super::root::descriptor_path;

/// Attributes by name. A value is bytes, with NUL bytes among them.
pub type Xattrs = BTreeMap<CString, Vec<u8>>;

/// The ACL that is checked at each access (acl(5)), in the kernel's form.
pub const ACCESS_ACL: &CStr = c"system.posix_acl_access";

/// The kernel's bound for the list of names and for each value (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const LIMIT: usize = 65536;

/// All attributes; none where the file system has no such thing.
///
/// # Errors
/// The error of listxattr(2) or getxattr(2).
pub fn all(object: impl AsFd) -> io::Result<Xattrs> {
    let path = descriptor_path(object.as_fd());
    match listxattr_query(&path) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Xattrs::new()),
        Ok(_) => {}
        Err(e) => return Err(e.into()),
    }
    let mut names = Vec::with_capacity(LIMIT);
    listxattr(&path, spare_capacity(&mut names))?;
    let mut found = Xattrs::new();
    for name in names.split_inclusive(|b| *b == 0) {
        let name = CStr::from_bytes_with_nul(name).map_err(io::Error::other)?;
        let mut value = Vec::with_capacity(LIMIT);
        match getxattr(&path, name, spare_capacity(&mut value)) {
            // removed since, or one that only its owner may read
            Err(Errno::NODATA | Errno::OPNOTSUPP) => continue,
            other => other?,
        };
        value.shrink_to_fit();
        found.insert(name.to_owned(), value);
    }
    Ok(found)
}

/// Gives an attribute a value.
///
/// # Errors
/// The error of setxattr(2).
pub fn set(object: impl AsFd, name: &CStr, value: &[u8]) -> io::Result<()> {
    let path = descriptor_path(object.as_fd());
    Ok(setxattr(&path, name, value, XattrFlags::empty())?)
}

/// Takes an attribute away. Missing already is fine.
///
/// # Errors
/// The error of removexattr(2).
pub fn remove(object: impl AsFd, name: &CStr) -> io::Result<()> {
    match removexattr(descriptor_path(object.as_fd()), name) {
        Err(Errno::NODATA) => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_with_nul_bytes_is_read_as_it_was_written() {
        let file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        assert!(all(&file).unwrap().is_empty());
        set(&file, c"user.a", b"a\0b\0").unwrap();
        set(&file, c"user.empty", b"").unwrap();
        let all_of_it = all(&file).unwrap();
        assert_eq!(all_of_it[c"user.a"], b"a\0b\0");
        assert_eq!(all_of_it[c"user.empty"], b"");
        remove(&file, c"user.a").unwrap();
        remove(&file, c"user.a").unwrap();
        assert_eq!(all(&file).unwrap().len(), 1);
    }
}
