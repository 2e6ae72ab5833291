//! Writing a fresh regular file with holes where there are only zeros.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::pipeline::Sink;

/// What a hole is a multiple of, and begins at a multiple of: the size of a page, and of a block of most file systems.
const BLOCK: usize = 4096;

/// A file that takes a payload.
#[derive(Debug)]
pub struct SparseFile {
    file: File,
    /// Bytes of the payload that an earlier run has written into it.
    has: u64,
}

impl SparseFile {
    /// `file` is empty, or holds the first bytes of the payload from an earlier run; it can be read and written.
    #[must_use]
    pub fn new(file: File) -> SparseFile {
        SparseFile { file, has: 0 }
    }

    /// The file, to give it attributes and to make it durable.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Takes a payload of which `from` has only the `pieces`, which are in order; `length` bytes with the holes.
    ///
    /// # Errors
    /// Those of `from`, `UnexpectedEof` when it has less, and what keeps it from being written.
    pub(super) fn take_pieces(
        &mut self,
        from: &mut dyn BufRead,
        pieces: &[Range<u64>],
        length: u64,
    ) -> io::Result<()> {
        self.file.set_len(0)?;
        for piece in pieces {
            let mut bytes = (&mut *from).take(piece.end - piece.start);
            if self.write_all(&mut bytes, piece.start, 0)? != piece.end {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        self.file.set_len(length)
    }

    /// Writes what comes at `at`, but for the first bytes that it `has` and blocks of zeros. Returns where that ends.
    fn write_all(&self, from: &mut dyn BufRead, mut at: u64, mut has: u64) -> io::Result<u64> {
        loop {
            let bytes = from.fill_buf()?;
            if bytes.is_empty() {
                return Ok(at);
            }
            let there = usize::try_from(has).unwrap_or(usize::MAX).min(bytes.len());
            self.write_at(&bytes[there..], at + there as u64)?;
            has -= there as u64;
            at += bytes.len() as u64;
            let length = bytes.len();
            from.consume(length);
        }
    }

    /// Writes `bytes` at `at`, but for blocks of zeros.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        // the first block ends where one of the file does
        let first = BLOCK - usize::try_from(at % BLOCK as u64).unwrap_or(0);
        let (mut start, mut end) = (0, 0);
        while end < bytes.len() {
            let next = if end == 0 { first } else { end + BLOCK };
            let next = next.min(bytes.len());
            if is_zero(&bytes[end..next]) {
                self.file
                    .write_all_at(&bytes[start..end], at + start as u64)?;
                start = next;
            }
            end = next;
        }
        self.file.write_all_at(&bytes[start..], at + start as u64)
    }
}

impl Sink for SparseFile {
    fn take(&mut self, from: &mut dyn BufRead) -> io::Result<()> {
        let has = std::mem::take(&mut self.has);
        self.file.set_len(has)?;
        let length = self.write_all(from, 0, has)?;
        self.file.set_len(length)
    }

    fn kept(&mut self) -> io::Result<Option<(File, u64)>> {
        let length = self.file.metadata()?.len();
        Ok(Some((self.file.try_clone()?, length)))
    }

    fn has(&mut self, bytes: u64) {
        self.has = bytes;
    }
}

/// In steps that the compiler makes wide instructions of.
fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<64>();
    let or = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum | byte);
    chunks.iter().all(|chunk| or(chunk) == 0) && or(rest) == 0
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Seek};
    use std::os::unix::fs::MetadataExt;

    use proptest::prelude::*;

    use super::*;

    fn here() -> SparseFile {
        SparseFile::new(tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap())
    }

    fn content(sparse: &SparseFile) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut file = sparse.file();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn zeros_become_holes_and_the_length_is_exact_also_when_they_are_last() {
        let mut bytes = vec![0; 3 << 20];
        bytes[1 << 20] = 1;
        bytes[(1 << 20) + 5000] = 2;
        let mut sparse = here();
        sparse
            .take(&mut BufReader::with_capacity(256 << 10, &*bytes))
            .unwrap();
        assert!(content(&sparse) == bytes);
        let blocks = sparse.file().metadata().unwrap().blocks() * 512;
        assert!(blocks <= 64 << 10, "{blocks}");
    }

    #[test]
    fn taking_once_more_begins_again() {
        let mut sparse = here();
        sparse.take(&mut &[7; 10_000][..]).unwrap();
        sparse.take(&mut &[0, 1][..]).unwrap();
        assert_eq!(content(&sparse), [0, 1]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn what_is_written_is_what_was_given_whatever_was_there_of_it(
            runs in prop::collection::vec((0_usize..9000, any::<bool>()), 0..12),
            step in 1_usize..20_000,
            has in 0_u64..30_000,
        ) {
            let bytes: Vec<u8> = runs.iter().flat_map(|(n, zero)| vec![if *zero { 0 } else { 9 }; *n]).collect();
            let mut sparse = here();
            let has = has.min(bytes.len() as u64);
            sparse.file().write_all_at(&bytes[..has as usize], 0).unwrap();
            sparse.has(has);
            sparse.take(&mut BufReader::with_capacity(step, &*bytes)).unwrap();
            prop_assert!(content(&sparse) == bytes);
        }
    }
}
