//! The calls into libbtrfsutil and the one ioctl it lacks; descriptors instead of paths.
//!
//! The bindings of btrfsutil-sys are used directly: the wrapper crate above them has unsound qgroup handling,
//! an iterator that looks paths up in the current directory, and a default subvolume with the wrong path.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use btrfsutil_sys as sys;

/// Turns a result of libbtrfsutil into one with errno, which the library sets on each failed system call.
fn check(result: sys::btrfs_util_error) -> io::Result<()> {
    let errno = io::Error::last_os_error();
    match result {
        sys::btrfs_util_error_BTRFS_UTIL_OK => Ok(()),
        sys::btrfs_util_error_BTRFS_UTIL_ERROR_NOT_BTRFS
        | sys::btrfs_util_error_BTRFS_UTIL_ERROR_NOT_SUBVOLUME => {
            Err(io::Error::from(nix::errno::Errno::EINVAL))
        }
        sys::btrfs_util_error_BTRFS_UTIL_ERROR_NO_MEMORY => Err(io::ErrorKind::OutOfMemory.into()),
        _ => Err(errno),
    }
}

fn c_name(name: &str) -> io::Result<CString> {
    CString::new(name).map_err(|_| io::ErrorKind::InvalidFilename.into())
}

/// Whether the directory is the root of a subvolume (and so on btrfs at all).
///
/// # Errors
/// Only when the kernel cannot be asked.
pub(super) fn is_subvolume(fd: impl AsFd) -> io::Result<bool> {
    // SAFETY: a descriptor that is open for the duration of the call; nothing is kept.
    match unsafe { sys::btrfs_util_is_subvolume_fd(fd.as_fd().as_raw_fd()) } {
        sys::btrfs_util_error_BTRFS_UTIL_OK => Ok(true),
        sys::btrfs_util_error_BTRFS_UTIL_ERROR_NOT_BTRFS
        | sys::btrfs_util_error_BTRFS_UTIL_ERROR_NOT_SUBVOLUME => Ok(false),
        other => check(other).map(|()| false),
    }
}

/// Id of the subvolume that holds the file or directory (BTRFS_IOC_INO_LOOKUP).
///
/// # Errors
/// `EINVAL` where this is not btrfs.
pub(super) fn subvolume_id(fd: impl AsFd) -> io::Result<u64> {
    let mut id = 0;
    // SAFETY: the out pointer is valid for the duration of the call.
    check(unsafe { sys::btrfs_util_subvolume_id_fd(fd.as_fd().as_raw_fd(), &raw mut id) })?;
    Ok(id)
}

/// Makes a snapshot of the subvolume `source` as `name` in the directory `parent`, in the quota group
/// `qgroup` when one is given. Waits until the file system has committed it.
///
/// # Errors
/// `EEXIST`, `ENOSPC`, `EROFS` … as BTRFS_IOC_SNAP_CREATE_V2 gives them.
pub(super) fn snapshot(
    source: impl AsFd,
    parent: impl AsFd,
    name: &str,
    read_only: bool,
    qgroup: Option<u64>,
) -> io::Result<()> {
    let name = c_name(name)?;
    let flags = if read_only {
        sys::BTRFS_UTIL_CREATE_SNAPSHOT_READ_ONLY
    } else {
        0
    };
    let inherit = qgroup.map(Inherit::group).transpose()?;
    let inherit = inherit.as_ref().map_or(ptr::null_mut(), |i| i.0);
    // SAFETY: both descriptors are open, the name is NUL-terminated, `inherit` is null or owned by a value
    // that lives until the end of this function. A null transid pointer asks to wait for the commit.
    check(unsafe {
        sys::btrfs_util_create_snapshot_fd2(
            source.as_fd().as_raw_fd(),
            parent.as_fd().as_raw_fd(),
            name.as_ptr(),
            flags as i32,
            ptr::null_mut(),
            inherit,
        )
    })
}

/// A list of quota groups, freed when dropped.
struct Inherit(*mut sys::btrfs_util_qgroup_inherit);

impl Inherit {
    fn group(id: u64) -> io::Result<Inherit> {
        let mut list = Inherit(ptr::null_mut());
        // SAFETY: the out pointer is valid; on success it owns a list.
        check(unsafe { sys::btrfs_util_create_qgroup_inherit(0, &raw mut list.0) })?;
        // SAFETY: the list was just made; the call replaces the pointer when it moves the list.
        check(unsafe { sys::btrfs_util_qgroup_inherit_add_group(&raw mut list.0, id) })?;
        Ok(list)
    }
}

impl Drop for Inherit {
    fn drop(&mut self) {
        // SAFETY: null or a list that nothing else refers to.
        unsafe { sys::btrfs_util_destroy_qgroup_inherit(self.0) }
    }
}

/// Deletes the subvolume `name` in the directory `parent`.
///
/// # Errors
/// `EPERM` for the default subvolume, `ENOTEMPTY` for one that holds others, else as BTRFS_IOC_SNAP_DESTROY
/// gives them.
pub(super) fn delete(parent: impl AsFd, name: &str) -> io::Result<()> {
    delete_with(parent, name, 0)
}

/// Deletes the subvolume `name` in the directory `parent`, with the subvolumes nested in it.
///
/// # Errors
/// As [`delete`]; those that could be deleted before are gone.
pub(super) fn delete_recursively(parent: impl AsFd, name: &str) -> io::Result<()> {
    let flags = sys::BTRFS_UTIL_DELETE_SUBVOLUME_RECURSIVE as i32;
    delete_with(parent, name, flags)
}

fn delete_with(parent: impl AsFd, name: &str, flags: i32) -> io::Result<()> {
    let name = c_name(name)?;
    // SAFETY: an open descriptor and a NUL-terminated name, both for the duration of the call.
    check(unsafe {
        sys::btrfs_util_delete_subvolume_fd(parent.as_fd().as_raw_fd(), name.as_ptr(), flags)
    })
}

/// Path of the subvolume `id` from the top of the file system, for people.
///
/// # Errors
/// `ENOENT` when there is none.
pub(super) fn subvolume_path(fd: impl AsFd, id: u64) -> io::Result<String> {
    let mut path = ptr::null_mut();
    // SAFETY: an open descriptor and a valid out pointer.
    check(unsafe { sys::btrfs_util_subvolume_path_fd(fd.as_fd().as_raw_fd(), id, &raw mut path) })?;
    // SAFETY: on success it is a NUL-terminated string of malloc(3) that is ours.
    let text = unsafe { CStr::from_ptr(path) }
        .to_string_lossy()
        .into_owned();
    // SAFETY: from malloc(3), and not used after this.
    unsafe { nix::libc::free(path.cast()) };
    Ok(text)
}

/// Sets or clears the read-only property of a subvolume.
///
/// # Errors
/// As BTRFS_IOC_SUBVOL_SETFLAGS gives them.
pub(super) fn set_read_only(fd: impl AsFd, read_only: bool) -> io::Result<()> {
    // SAFETY: an open descriptor.
    check(unsafe { sys::btrfs_util_set_subvolume_read_only_fd(fd.as_fd().as_raw_fd(), read_only) })
}

/// Whether a subvolume has the read-only property.
///
/// # Errors
/// As BTRFS_IOC_SUBVOL_GETFLAGS gives them.
pub(super) fn is_read_only(fd: impl AsFd) -> io::Result<bool> {
    let mut read_only = false;
    // SAFETY: an open descriptor and a valid out pointer.
    check(unsafe {
        sys::btrfs_util_get_subvolume_read_only_fd(fd.as_fd().as_raw_fd(), &raw mut read_only)
    })?;
    Ok(read_only)
}

/// Id of the default subvolume.
///
/// # Errors
/// `EPERM` without privilege.
pub(super) fn default_subvolume(fd: impl AsFd) -> io::Result<u64> {
    let mut id = 0;
    // SAFETY: an open descriptor and a valid out pointer.
    check(unsafe {
        sys::btrfs_util_get_default_subvolume_fd(fd.as_fd().as_raw_fd(), &raw mut id)
    })?;
    Ok(id)
}

/// Makes `id` the default subvolume. Not durable until [`commit`]. `fd` must be writable: on a root that is
/// mounted read-only, a directory of another mount of the same file system.
///
/// # Errors
/// As BTRFS_IOC_DEFAULT_SUBVOL gives them.
pub(super) fn set_default(fd: impl AsFd, id: u64) -> io::Result<()> {
    // SAFETY: an open descriptor.
    check(unsafe { sys::btrfs_util_set_default_subvolume_fd(fd.as_fd().as_raw_fd(), id) })
}

/// Commits the running btrfs transaction and waits for it (BTRFS_IOC_START_SYNC, BTRFS_IOC_WAIT_SYNC).
///
/// # Errors
/// When the file system could not write.
pub(super) fn commit(fd: impl AsFd) -> io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    let mut transid = 0;
    // SAFETY: an open descriptor and a valid out pointer.
    check(unsafe { sys::btrfs_util_start_sync_fd(fd, &raw mut transid) })?;
    // SAFETY: an open descriptor.
    check(unsafe { sys::btrfs_util_wait_sync_fd(fd, transid) })
}

/// Bytes of the buffer of one tree search: enough for 3,500 subvolumes, after which the caller asks again.
pub(super) const SEARCH_BUFFER: usize = 2 << 20;

/// struct btrfs_ioctl_search_args_v2 of linux/btrfs.h, without the buffer that follows it.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SearchArgs {
    tree_id: u64,
    min_objectid: u64,
    max_objectid: u64,
    min_offset: u64,
    max_offset: u64,
    min_transid: u64,
    max_transid: u64,
    min_type: u32,
    max_type: u32,
    nr_items: u32,
    unused: u32,
    unused_more: [u64; 4],
    buf_size: u64,
}

nix::ioctl_readwrite!(tree_search_v2, 0x94, 17, SearchArgs);

const HEAD: usize = size_of::<SearchArgs>() / size_of::<u64>();

/// What a search found: raw items, each behind its header.
#[derive(Debug)]
pub(super) struct Found {
    memory: Vec<u64>,
    /// Number of items.
    pub(super) count: u32,
}

impl Found {
    /// The items and unused space behind them.
    #[must_use]
    pub(super) fn bytes(&self) -> &[u8] {
        let words = &self.memory[HEAD..];
        // SAFETY: bytes have no alignment and no invalid values; the slice covers exactly `words`.
        unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
    }
}

/// One search of the root tree, in the order of its keys (objectid, type, offset), from `from` up to the
/// objects numbered `last`.
///
/// # Errors
/// As BTRFS_IOC_TREE_SEARCH_V2 gives them; `EPERM` without privilege.
pub(super) fn search_root_tree(
    fd: impl AsFd,
    from: (u64, u8, u64),
    last: u64,
) -> io::Result<Found> {
    let mut memory = vec![0u64; HEAD + SEARCH_BUFFER / size_of::<u64>()];
    let args = SearchArgs {
        tree_id: 1,
        min_objectid: from.0,
        min_type: from.1.into(),
        min_offset: from.2,
        max_objectid: last,
        max_type: u8::MAX.into(),
        max_offset: u64::MAX,
        max_transid: u64::MAX,
        nr_items: u32::MAX,
        buf_size: SEARCH_BUFFER as u64,
        ..SearchArgs::default()
    };
    let head = memory.as_mut_ptr().cast::<SearchArgs>();
    // SAFETY: the memory is zeroed, aligned to 8 bytes as the struct is, and holds the struct and, behind it,
    // the `buf_size` bytes that the kernel may fill. The struct has no padding.
    let count = unsafe {
        head.write(args);
        tree_search_v2(fd.as_fd().as_raw_fd(), head)?;
        (*head).nr_items
    };
    Ok(Found { memory, count })
}
