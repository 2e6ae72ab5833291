//! Writing large amounts to a disk or the image of one, past the page cache where the system can do that: nobody reads it soon, what
//! others have in memory stays there, and nothing is left to be written at the end.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use nix::libc;

use crate::sys::root::descriptor_path;

/// What begin, length and memory of a write are multiples of: no disk has larger sectors.
const ALIGN: usize = 4096;
/// Bytes of a write.
const CHUNK: usize = 1 << 20;

/// What is written from one place on.
#[derive(Debug)]
pub(super) struct Direct<'f> {
    file: &'f File,
    /// The same past the page cache; `None` where that cannot be.
    direct: Option<File>,
    /// Holds a chunk that begins where memory may.
    buffer: Vec<u8>,
    first: usize,
    has: usize,
    at: u64,
}

impl<'f> Direct<'f> {
    /// Writes to `file` from the byte `at` on.
    #[must_use]
    pub(super) fn new(file: &'f File, at: u64) -> Direct<'f> {
        let mut options = File::options();
        options.write(true).custom_flags(libc::O_DIRECT);
        let direct = options.open(descriptor_path(file.as_fd()));
        let buffer = vec![0; CHUNK + ALIGN];
        Direct {
            file,
            direct: direct.ok().filter(|_| at.is_multiple_of(ALIGN as u64)),
            first: buffer.as_ptr().align_offset(ALIGN).min(ALIGN),
            buffer,
            has: 0,
            at,
        }
    }

    /// Takes what comes next.
    ///
    /// # Errors
    /// The error of pwrite(2).
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(CHUNK - self.has));
            self.buffer[self.first + self.has..][..now.len()].copy_from_slice(now);
            self.has += now.len();
            bytes = rest;
            if self.has == CHUNK {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Writes what is left. It is on disk only once the file is synced.
    ///
    /// # Errors
    /// The error of pwrite(2).
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        let bytes = &self.buffer[self.first..][..self.has];
        let mut done = self.has - self.has % ALIGN;
        match &self.direct {
            Some(direct) => match direct.write_all_at(&bytes[..done], self.at) {
                // what can be opened so and not written: all of the chunk is written again
                Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
                    self.direct = None;
                    done = 0;
                }
                other => other?,
            },
            None => done = 0,
        }
        self.file
            .write_all_at(&bytes[done..], self.at + done as u64)?;
        self.at += self.has as u64;
        self.has = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes `bytes` in steps from `at` on into what is full of ones, and looks that nothing beside them has changed.
    fn written(dir: &str, at: usize, bytes: &[u8], step: usize) {
        let file = tempfile::tempfile_in(dir).unwrap();
        let mut wanted = vec![1; at + bytes.len() + 9000];
        file.write_all_at(&wanted, 0).unwrap();
        let mut direct = Direct::new(&file, at as u64);
        for bytes in bytes.chunks(step) {
            direct.write(bytes).unwrap();
        }
        direct.finish().unwrap();
        wanted[at..][..bytes.len()].copy_from_slice(bytes);
        let mut has = vec![0; wanted.len() + 1];
        assert_eq!(file.read_at(&mut has, 0).unwrap(), wanted.len());
        assert!(has[..wanted.len()] == wanted, "{dir} {at} {step}");
    }

    #[test]
    fn every_byte_is_written_and_none_beside_them_wherever_it_begins_and_ends() {
        let bytes: Vec<u8> = (0..(2 << 20) + 5000_u32).map(|i| (i / 7) as u8).collect();
        // on a disk, and where there is no way past memory
        for dir in [env!("CARGO_MANIFEST_DIR"), "/dev/shm"] {
            for (at, length, step) in [
                (1 << 20, bytes.len(), 256 << 10),
                (4096, 2 << 20, 3 << 20),
                (512, bytes.len(), 100_000),
                (8192, 3, 1),
                (8192, 0, 1),
            ] {
                written(dir, at, &bytes[..length], step);
            }
        }
    }
}
