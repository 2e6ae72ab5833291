//! A file in memory.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

use nix::libc::{_SC_PAGESIZE, mincore, sysconf};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// A file, mapped for reading.
///
/// A disk that fails to deliver a page, or a writer that cuts the file off, ends the process with SIGBUS at the place that
/// reads it: mmap(2) has no other way to tell. The caller therefore holds the lock that writers of the file take, and is a
/// program that may die there without harm: it only reads, and what it made before was made by one rename each.
#[derive(Debug)]
pub(super) struct Map {
    start: NonNull<c_void>,
    length: NonZeroUsize,
}

impl Map {
    /// The first `length` bytes of `file`, which has so many.
    ///
    /// # Errors
    /// The error of mmap(2); `InvalidInput` for nothing.
    pub(super) fn of(file: &File, length: u64) -> io::Result<Map> {
        let length = usize::try_from(length).ok().and_then(NonZeroUsize::new);
        let length = length.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        // SAFETY: a new mapping at an address that the kernel chooses; it replaces nothing that Rust knows of.
        let start = unsafe {
            mmap(
                None,
                length,
                ProtFlags::PROT_READ,
                MapFlags::MAP_PRIVATE,
                file,
                0,
            )
        }?;
        Ok(Map { start, length })
    }

    /// Whether at least half of it is in memory already (mincore(2)); also when the kernel does not tell. Pages that are not
    /// are read much slower through a map than by read(2): each piece is waited for.
    pub(super) fn is_in_memory(&self) -> bool {
        // SAFETY: sysconf(3) takes a number and returns one.
        let page = unsafe { sysconf(_SC_PAGESIZE) };
        let Some(page) = usize::try_from(page).ok().filter(|page| *page > 0) else {
            return true;
        };
        let mut pages = vec![0u8; self.length.get().div_ceil(page)];
        // SAFETY: the whole of the mapping, and a byte for each of its pages.
        let told = unsafe { mincore(self.start.as_ptr(), self.length.get(), pages.as_mut_ptr()) };
        let there = pages.iter().filter(|state| **state & 1 == 1).count();
        told != 0 || there >= pages.len() / 2
    }

    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: `start` is readable for `length` bytes until `drop`, which cannot come before the borrow of `self` ends, and
        // nobody in this process writes there. Other processes are kept out by the lock, as `Map` says. If one writes all the
        // same, two looks at a byte may differ; the readers bear that, because they check each offset when they use it.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.length.get()) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the mapping that `of` made, whole, and no borrow of it is left.
        let unmapped = unsafe { munmap(self.start, self.length.get()) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_shows_the_bytes_of_the_file() {
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&path, vec![7; 10_000]).unwrap();
        let file = File::open(&path).unwrap();
        let map = Map::of(&file, 10_000).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(map.bytes(), vec![7; 10_000]);
        assert!(map.is_in_memory());
        assert!(Map::of(&file, 0).is_err());
    }
}
