//! Payloads as they were before they were compressed. What a payload is, its first bytes say, never its name.
//!
//! Several streams, members or frames in a row are one payload. One that is cut off, or has something else behind it, is an
//! error. Memory is bounded whatever the payload says: a window of at most 128 MiB, and what is produced by the caller's limit.

use std::io::{self, BufRead, Cursor, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use liblzma::stream::{Action, MtStreamBuilder, Status, Stream};
use lz4_flex::frame::FrameDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;
use zstd::zstd_safe;

/// Bytes that decide what a payload is.
pub const MAGIC: usize = 6;
/// The largest window or dictionary, as a power of two.
const WINDOW_LOG: u32 = 27;
/// What all threads together may take to decode blocks of xz side by side. Blocks that need more are decoded by one.
const XZ_THREADING: u64 = 40 << 20;
/// What xz may take at all: the largest dictionary, and what the decoder itself needs.
const XZ_MEMORY: u64 = (1 << WINDOW_LOG) + (1 << 20);

/// What a payload is compressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Not at all, or with something unknown: kept as it is.
    Raw,
    /// xz streams, from liblzma.
    Xz,
    /// gzip members (RFC 1952).
    Gzip,
    /// bzip2 streams.
    Bzip2,
    /// Zstandard frames (RFC 8878).
    Zstd,
    /// LZ4 frames.
    Lz4,
}

impl Format {
    /// By the first bytes, [`MAGIC`] of them when there are as many.
    #[must_use]
    pub fn of(first: &[u8]) -> Format {
        match first {
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Format::Xz,
            [0x1f, 0x8b, ..] => Format::Gzip,
            [b'B', b'Z', b'h', ..] => Format::Bzip2,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Format::Zstd,
            [0x04, 0x22, 0x4d, 0x18, ..] => Format::Lz4,
            _ => Format::Raw,
        }
    }
}

/// Whether a frame begins that decoders of Zstandard and LZ4 step over.
#[must_use]
pub fn is_skippable(first: &[u8]) -> bool {
    matches!(first, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// The payload in `from` without its compression. More than `limit` bytes are an error of the kind `FileTooLarge`.
///
/// # Errors
/// The error of `from`; `InvalidData` or `UnexpectedEof` for what is damaged, also while the result is read.
pub fn open<'a>(from: impl BufRead + Send + 'a, limit: u64) -> io::Result<Decompressed<'a>> {
    let (format, from) = begin(from)?;
    let inner: Box<dyn Read + 'a> = match format {
        Format::Raw => Box::new(from),
        Format::Xz => Box::new(Xz::new(from)),
        Format::Gzip => Box::new(MultiGzDecoder::new(from)),
        Format::Bzip2 => Box::new(MultiBzDecoder::new(from)),
        Format::Zstd => {
            let mut decoder = ZstdDecoder::with_buffer(from)?;
            decoder.window_log_max(WINDOW_LOG)?;
            Box::new(decoder)
        }
        Format::Lz4 => Box::new(Lz4::new(from)),
    };
    Ok(Decompressed {
        inner,
        format,
        left: limit,
    })
}

/// What comes out.
pub struct Decompressed<'a> {
    inner: Box<dyn Read + 'a>,
    format: Format,
    left: u64,
}

impl Decompressed<'_> {
    /// What it was compressed with.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }
}

impl std::fmt::Debug for Decompressed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressed")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

impl Read for Decompressed<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // one byte more than is left tells whether there is too much
        let room = usize::try_from(self.left.saturating_add(1)).unwrap_or(usize::MAX);
        let room = room.min(buf.len());
        let read = self.inner.read(&mut buf[..room])?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => {
                let text = "File overly large, refusing.";
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
            }
        }
        Ok(read)
    }
}

type Rest<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// Steps over frames that carry nothing, and finds out what the rest is. The first bytes of the rest are put before it again.
fn begin<R: BufRead>(mut from: R) -> io::Result<(Format, Rest<R>)> {
    let mut stepped = false;
    loop {
        let mut first = Vec::with_capacity(MAGIC);
        from.by_ref().take(MAGIC as u64).read_to_end(&mut first)?;
        let format = Format::of(&first);
        if !is_skippable(&first) {
            if stepped && format == Format::Raw && !first.is_empty() {
                return Err(bad(
                    "nothing known comes after a frame that is to be skipped",
                ));
            }
            return Ok((format, Cursor::new(first).chain(from)));
        }
        stepped = true;
        // its length: four bytes, of which two are read already
        let mut length = [0; 4];
        let known = first.len() - 4;
        length[..known].copy_from_slice(&first[4..]);
        from.read_exact(&mut length[known..])?;
        let length = u64::from(u32::from_le_bytes(length));
        if io::copy(&mut from.by_ref().take(length), &mut io::sink())? != length {
            return Err(cut_off());
        }
    }
}

fn bad(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the payload is cut off")
}

/// Streams of xz, with zeros between and after them in fours (The .xz File Format, 2.2).
struct Xz<R> {
    from: R,
    /// None between two streams.
    stream: Option<Stream>,
    padding: u64,
}

impl<R: BufRead> Xz<R> {
    fn new(from: R) -> Xz<R> {
        Xz {
            from,
            stream: None,
            padding: 0,
        }
    }

    /// Begins the next stream; `false` at the end of all.
    fn next(&mut self) -> io::Result<bool> {
        loop {
            let input = self.from.fill_buf()?;
            let zeros = input.iter().take_while(|b| **b == 0).count();
            if zeros == 0 {
                let ended = input.is_empty();
                if !self.padding.is_multiple_of(4) {
                    return Err(bad(
                        "the padding of an xz stream is not a multiple of four bytes",
                    ));
                }
                if !ended {
                    self.stream = Some(decoder()?);
                }
                return Ok(!ended);
            }
            self.padding += zeros as u64;
            self.from.consume(zeros);
        }
    }
}

fn decoder() -> io::Result<Stream> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut builder = MtStreamBuilder::new();
    builder
        .threads(u32::try_from(cores).unwrap_or(1))
        .memlimit_threading(XZ_THREADING)
        .memlimit_stop(XZ_MEMORY);
    Ok(builder.decoder()?)
}

impl<R: BufRead> Read for Xz<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            let Some(stream) = &mut self.stream else {
                if self.next()? {
                    continue;
                }
                return Ok(0);
            };
            let input = self.from.fill_buf()?;
            let ended = input.is_empty();
            let action = if ended { Action::Finish } else { Action::Run };
            let before = (stream.total_in(), stream.total_out());
            let status = stream.process(input, buf, action)?;
            let taken = (stream.total_in() - before.0) as usize;
            let made = (stream.total_out() - before.1) as usize;
            self.from.consume(taken);
            if status == Status::StreamEnd {
                self.stream = None;
                self.padding = 0;
            } else if made == 0 && ended {
                return Err(cut_off());
            } else if made == 0 && taken == 0 && status == Status::MemNeeded {
                return Err(bad("an xz stream that goes nowhere"));
            }
            if made > 0 {
                return Ok(made);
            }
        }
    }
}

/// Frames of LZ4. The decoder takes a frame that is cut off for one that has ended, so it is watched what it reads.
struct Lz4<R: BufRead> {
    frame: Option<FrameDecoder<Watched<Rest<R>>>>,
    between: Option<R>,
}

/// Notices when more was wanted than there is.
struct Watched<R> {
    from: R,
    ended: bool,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buf)?;
        self.ended |= read == 0 && !buf.is_empty();
        Ok(read)
    }
}

impl<R: BufRead> Lz4<R> {
    fn new(from: R) -> Lz4<R> {
        Lz4 {
            frame: None,
            between: Some(from),
        }
    }

    /// Begins the next frame; `false` at the end of all.
    fn next(&mut self) -> io::Result<bool> {
        let Some(from) = self.between.take() else {
            return Ok(false);
        };
        let (format, mut from) = begin(from)?;
        if from.fill_buf()?.is_empty() {
            return Ok(false);
        }
        if format != Format::Lz4 {
            return Err(bad("something else comes after an LZ4 frame"));
        }
        let ended = false;
        self.frame = Some(FrameDecoder::new(Watched { from, ended }));
        Ok(true)
    }
}

impl<R: BufRead> Read for Lz4<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(frame) = &mut self.frame {
                let read = frame.read(buf)?;
                if read > 0 {
                    return Ok(read);
                }
            }
            if let Some(frame) = self.frame.take() {
                let watched = frame.into_inner();
                if watched.ended {
                    return Err(cut_off());
                }
                self.between = Some(watched.from.into_inner().1);
            }
            if !self.next()? {
                return Ok(0);
            }
        }
    }
}

/// What can be known of the size of a payload without decompressing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// These bytes.
    Exactly(u64),
    /// Not fewer.
    AtLeast(u64),
    /// As [`Size::of_end`], with so many of the last bytes, more can be said.
    NeedsEnd(u64),
    /// Nothing.
    Unknown,
}

impl Size {
    /// By the first bytes of a payload of `length` bytes; a few hundred are enough.
    #[must_use]
    pub fn of_start(first: &[u8], length: u64) -> Size {
        match Format::of(first) {
            Format::Raw if is_skippable(first) => Size::Unknown,
            Format::Raw => Size::Exactly(length),
            Format::Xz => Size::NeedsEnd(length.min(64 << 10)),
            // of the first frame; others may follow
            Format::Zstd => match zstd_safe::get_frame_content_size(first) {
                Ok(Some(size)) => Size::AtLeast(size),
                _ => Size::Unknown,
            },
            Format::Gzip | Format::Bzip2 | Format::Lz4 => Size::Unknown,
        }
    }

    /// By the last bytes of an xz payload of `length` bytes: the index of its last stream says how long each block is (The .xz File
    /// Format, 2.1.2 and 4).
    #[must_use]
    pub fn of_end(last: &[u8], length: u64) -> Size {
        xz_size(last, length).unwrap_or(Size::Unknown)
    }
}

fn xz_size(last: &[u8], length: u64) -> Option<Size> {
    const FOOTER: usize = 12;
    let zeros = last.iter().rev().take_while(|b| **b == 0).count();
    let last = &last[..last.len() - zeros / 4 * 4];
    let (rest, footer) = last.split_last_chunk::<FOOTER>()?;
    if !footer.ends_with(b"YZ") {
        return None;
    }
    let stored = u32::from_le_bytes(*footer[4..].first_chunk()?);
    let index = (u64::from(stored) + 1) * 4;
    let Some(start) = rest.len().checked_sub(usize::try_from(index).ok()?) else {
        let needed = index + FOOTER as u64 + zeros as u64;
        return (needed <= length && needed < 64 << 20).then_some(Size::NeedsEnd(needed));
    };
    let mut records = rest[start..].strip_prefix(&[0])?;
    let count = number(&mut records)?;
    let (mut packed, mut unpacked) = (0_u64, 0_u64);
    for _ in 0..count {
        let block = number(&mut records)?;
        packed = packed.checked_add(block.checked_next_multiple_of(4)?)?;
        unpacked = unpacked.checked_add(number(&mut records)?)?;
    }
    let stream = 2 * FOOTER as u64 + packed + index;
    let all = stream == length - zeros as u64 / 4 * 4;
    Some(if all {
        Size::Exactly(unpacked)
    } else {
        Size::AtLeast(unpacked)
    })
}

/// A number of variable length (The .xz File Format, 1.2).
fn number(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests;
