//! The way of a payload: receive, digest, decompress, write, each in a thread of its own with few buffers between them.
//!
//! Invariant: a [`Verified`] is made here only, when the bytes as served had the digest that was expected of them, the stream
//! ended well, and all of it was taken. Nothing else can be marked as complete.

mod keep;
mod pipe;
mod spooled;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::thread;

use sha2::Digest as _;

pub(super) use self::keep::drop_kept;
use self::keep::{Keeping, Kept};
use self::pipe::{Piece, Reader, Writer, is_gone, pipe};
pub use self::spooled::Spooled;
use super::archive::{self, Tree};
use super::cancel::Cancel;
use super::decompress::{self, Format};
use super::fetch::{self, Client, Facts, Receive, Url};
use super::spool::Spool;
use crate::sys::hex::to_hex;
use crate::sys::out;

/// A SHA-256 digest; shown in lower-case hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

/// Where a payload is written to.
pub trait Sink {
    /// Takes all of a payload, which is complete only when `from` ended without an error. Called again when what it took became void;
    /// it begins anew then.
    ///
    /// # Errors
    /// Those of `from`, and what keeps it from being taken.
    fn take(&mut self, from: &mut dyn BufRead) -> io::Result<()>;

    /// What it holds of the payload from an earlier run, and how many bytes: for what holds a payload just as it was served.
    ///
    /// # Errors
    /// The error of the system.
    fn kept(&mut self) -> io::Result<Option<(File, u64)>> {
        Ok(None)
    }

    /// The first `bytes` that come next are those that it holds.
    fn has(&mut self, bytes: u64) {
        debug_assert_eq!(bytes, 0);
    }
}

/// What has been taken whole, with the digest that was expected.
#[derive(Debug)]
#[must_use]
pub struct Verified<S> {
    sink: S,
    /// What the server said, of a payload that came from one.
    facts: Option<Facts>,
    format: Format,
    spooled: Option<Spooled>,
}

impl<S> Verified<S> {
    /// The file of the spool that all of it is in, when it was staged there.
    pub fn spooled(&mut self) -> Option<Spooled> {
        self.spooled.take()
    }

    /// What has taken it.
    #[must_use]
    pub fn sink(&self) -> &S {
        &self.sink
    }

    /// The same, for good.
    #[must_use]
    pub fn into_sink(self) -> S {
        self.sink
    }

    /// What the server said, of a payload that came from one.
    #[must_use]
    pub fn facts(&self) -> Option<&Facts> {
        self.facts.as_ref()
    }

    /// What it was compressed with.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }
}

/// Where a payload comes from.
#[derive(Debug)]
pub enum Source<'a> {
    /// A server, or a file as one.
    Url(&'a mut Client, &'a Url),
    /// A file that is open.
    File(&'a mut File),
    /// What was found right before, whose digest is not made again.
    Spooled(&'a Spooled),
}

/// Where what was received is kept until all of it is complete.
#[derive(Debug, Clone, Copy)]
pub enum Keep<'a> {
    /// Nowhere: the next run begins anew.
    Nowhere,
    /// In the spool.
    Spool(&'a Spool),
    /// In the spool, also once it is complete.
    Stage(&'a Spool),
    /// In the spool; or, when it is not compressed, in the file itself where it goes, by this path.
    Partial(&'a Spool, &'a str),
}

impl<'a> Keep<'a> {
    fn spool(self) -> Option<&'a Spool> {
        match self {
            Keep::Nowhere => None,
            Keep::Spool(spool) | Keep::Stage(spool) | Keep::Partial(spool, _) => Some(spool),
        }
    }

    fn partial(self) -> Option<&'a str> {
        match self {
            Keep::Partial(_, path) => Some(path),
            _ => None,
        }
    }
}

/// A payload that is to be taken.
pub struct Job<'a> {
    /// Where it comes from.
    pub source: Source<'a>,
    /// The digest of the bytes as served; only a local file may have none.
    pub expected: Option<Sha256>,
    /// Where it is kept meanwhile.
    pub keep: Keep<'a>,
    /// Most bytes once it is decompressed.
    pub limit: u64,
    /// Asks to end early.
    pub cancel: &'a Cancel,
    /// Told of each piece, by how many bytes it has and which of how many these are.
    pub progress: &'a (dyn Fn(u64, Option<u64>) + Sync),
}

impl fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("source", &self.source)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

/// Why a payload was not taken.
#[derive(Debug)]
pub enum Error {
    /// It was not received.
    Fetch(fetch::Error),
    /// The file that it is in cannot be read.
    Reading(io::Error),
    /// Its bytes are others than were expected.
    Digest {
        /// What it has.
        found: Sha256,
        /// What it should have.
        expected: Sha256,
    },
    /// A payload from a server needs a digest.
    NoDigest,
    /// It cannot be decompressed, or is too large, or no archive where it has to be one.
    Damaged(io::Error),
    /// It could not be written.
    Writing(io::Error),
    /// A signal came, or other work failed.
    Ended(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Fetch(e) => write!(f, "{e}"),
            Error::Reading(e) => write!(f, "the source cannot be read: {e}"),
            Error::Digest { found, expected } => write!(
                f,
                "Checksum of downloaded resource does not match expected checksum, yikes. It is {found} and not {expected}."
            ),
            Error::NoDigest => {
                f.write_str("a payload from a server without a checksum is not taken")
            }
            Error::Damaged(e) if e.kind() == io::ErrorKind::FileTooLarge => write!(f, "{e}"),
            Error::Damaged(e) => write!(f, "the payload is damaged: {e}"),
            Error::Writing(e) => write!(f, "the payload cannot be written: {e}"),
            Error::Ended(e) => write!(f, "{e}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Fetch(e) => Some(e),
            Error::Reading(e) | Error::Damaged(e) | Error::Writing(e) | Error::Ended(e) => Some(e),
            Error::Digest { .. } | Error::NoDigest => None,
        }
    }
}

/// Takes a payload. What an earlier run kept of it is not fetched again, unless it turns out to be wrong. What is kept goes on
/// success, and stays for the next run where that may help.
///
/// # Errors
/// [`Error`]; what `sink` has taken then is of no use, but to go on with.
pub fn take<S: Sink>(mut job: Job<'_>, mut sink: S) -> Result<Verified<S>, Error> {
    let digest = match (&job.source, job.expected) {
        (Source::Url(..), None) => return Err(Error::NoDigest),
        (Source::File(_) | Source::Spooled(_), _) => None,
        (Source::Url(..), digest) => digest,
    };
    let spool = job.keep.spool().zip(digest);
    let (result, resumed) = once(&mut job, &mut sink);
    let result = match result {
        // a disk may not give back what it was given before a power cut
        Err(e @ (Error::Digest { .. } | Error::Damaged(_) | Error::Reading(_))) if resumed => {
            out::warn(format_args!(
                "{e} What was kept of an earlier run is dropped."
            ));
            drop_kept(spool);
            sink.has(0);
            once(&mut job, &mut sink).0
        }
        other => other,
    };
    let is_of_use = match &result {
        Ok(_) => matches!(job.keep, Keep::Stage(_)),
        Err(Error::Digest { .. } | Error::Damaged(_)) => false,
        Err(_) => true,
    };
    if !is_of_use {
        drop_kept(spool);
    }
    let done = result?;
    Ok(Verified {
        sink,
        facts: done.facts,
        format: done.format,
        spooled: done.spooled,
    })
}

/// Copies a local directory into a tree. There is no digest of it, nor could there be one.
///
/// # Errors
/// [`Error::Writing`] for all that fails, [`Error::Ended`] when `cancel` says so.
pub fn copied(from: &OwnedFd, tree: Tree, cancel: &Cancel) -> Result<Verified<Tree>, Error> {
    let done = archive::copy(from, &tree, cancel);
    cancel.check().map_err(Error::Ended)?;
    done.map_err(Error::Writing)?;
    Ok(Verified {
        sink: tree,
        facts: None,
        format: Format::Raw,
        spooled: None,
    })
}

/// What is known of a payload that was taken whole.
struct Done {
    facts: Option<Facts>,
    format: Format,
    spooled: Option<Spooled>,
}

/// Once, and whether it went on with what was kept.
fn once(job: &mut Job<'_>, sink: &mut dyn Sink) -> (Result<Done, Error>, bool) {
    let kept = match &job.source {
        Source::Url(_, url) => Kept::of_earlier_run(job.keep, job.expected, url, sink),
        Source::File(_) | Source::Spooled(_) => Kept::default(),
    };
    let resumed = kept.bytes > 0;
    (run(job, kept, sink), resumed)
}

fn run(job: &mut Job<'_>, kept: Kept, sink: &mut dyn Sink) -> Result<Done, Error> {
    let (received, to_digest) = pipe();
    let (digested, to_decompress) = pipe();
    let (decompressed, mut to_write) = pipe();
    let keeping = Keeping::new(job, &kept);
    let (expected, limit, cancel, progress) = (job.expected, job.limit, job.cancel, job.progress);
    let is_staged = matches!(job.keep, Keep::Stage(_));
    let source = &mut job.source;
    let known = match source {
        Source::Spooled(spooled) => Some(spooled.digest()),
        _ => None,
    };
    // as it is before the first byte of it is read
    let looked_at = match source {
        Source::File(file) if is_staged => spooled(file.try_clone(), expected),
        _ => None,
    };
    thread::scope(|scope| {
        let digesting = scope.spawn(move || digest(to_digest, digested, known, keeping));
        let decompressing = scope.spawn(move || unpack(to_decompress, decompressed, limit));
        let receiving = scope.spawn(move || {
            let mut receiver = Receiver {
                to: received,
                cancel,
                progress,
                have: 0,
                length: None,
            };
            let facts = match source {
                Source::Url(client, url) => receiver.fetch(client, url, kept).map(Some),
                Source::File(file) => receiver.read(file).map(|()| None),
                Source::Spooled(spooled) => receiver.read_again(spooled).map(|()| None),
            };
            if facts.is_err() {
                receiver.to.abandon();
            }
            let facts = facts?;
            receiver.to.end().map_err(Error::Writing)?;
            Ok(facts)
        });
        let written = write(sink, &mut to_write);
        // whoever waits to hand on something more ends now
        drop(to_write);
        let format = joined(decompressing.join());
        let found = joined(digesting.join());
        let facts = joined(receiving.join());
        cancel.check().map_err(Error::Ended)?;
        first_cause(&written, &format, &found, &facts)?;
        let (facts, (found, kept), format) = (facts?, found?, format?);
        written.map_err(Error::Writing)?;
        match expected {
            Some(expected) if expected != found => Err(Error::Digest { found, expected }),
            _ => Ok(Done {
                facts,
                format,
                spooled: looked_at
                    .filter(Spooled::is_unchanged)
                    .or_else(|| spooled(Ok(kept.filter(|_| is_staged)?), expected)),
            }),
        }
    })
}

/// A file of the spool that has, or is to have, all of a payload. What cannot be asked is looked at once more, as anything else.
fn spooled(file: io::Result<File>, expected: Option<Sha256>) -> Option<Spooled> {
    Spooled::of(file.ok()?, expected?).ok()
}

/// What a thread came to; its panic is ours.
fn joined<T>(result: thread::Result<T>) -> T {
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// When one part fails, those beside it fail because it is gone. Theirs is no cause.
fn first_cause(
    written: &io::Result<()>,
    format: &Result<Format, Error>,
    found: &Result<(Sha256, Option<File>), Error>,
    facts: &Result<Option<Facts>, Error>,
) -> Result<(), Error> {
    let same = |e: &io::Error| match e.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(e.kind(), e.to_string()),
    };
    let cause = |e: &Error| match e {
        Error::Damaged(e) if !is_gone(e) => Some(Error::Damaged(same(e))),
        Error::Writing(e) if !is_gone(e) => Some(Error::Writing(same(e))),
        _ => None,
    };
    // the receiver's own errors are whole, and are given as they are when nobody after it failed
    let receiver = matches!(facts, Err(e) if !matches!(e, Error::Writing(_) | Error::Fetch(fetch::Error::Taking(_))));
    match written {
        _ if receiver => Ok(()),
        Err(e) if !is_gone(e) => Err(of_sink(same(e))),
        _ => {
            let later = [format.as_ref().err(), found.as_ref().err()];
            match later.into_iter().flatten().find_map(cause) {
                Some(cause) => Err(cause),
                None => Ok(()),
            }
        }
    }
}

/// What keeps a payload from being taken: where it goes, or its own bytes, as an archive that is none.
fn of_sink(e: io::Error) -> Error {
    match e.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Error::Damaged(e),
        _ => Error::Writing(e),
    }
}

/// The first part: hands on what comes.
struct Receiver<'a> {
    to: Writer,
    cancel: &'a Cancel,
    progress: &'a (dyn Fn(u64, Option<u64>) + Sync),
    have: u64,
    length: Option<u64>,
}

impl Receiver<'_> {
    fn fetch(&mut self, client: &mut Client, url: &Url, kept: Kept) -> Result<Facts, Error> {
        let bytes = kept.bytes;
        if let Some(mut file) = kept.file {
            self.length = kept.known.length;
            file.seek(SeekFrom::Start(0)).map_err(Error::Reading)?;
            self.read(&mut file.take(bytes))?;
            if self.have != bytes {
                return Err(Error::Reading(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        client
            .payload(url, bytes, kept.known, self)
            .map_err(|e| match e {
                fetch::Error::Ended(e) => Error::Ended(e),
                other => Error::Fetch(other),
            })
    }

    /// What was found to be right, as long as it is the same to the end.
    fn read_again(&mut self, spooled: &Spooled) -> Result<(), Error> {
        self.read(&mut spooled.bytes().map_err(Error::Reading)?)?;
        match spooled.is_unchanged() {
            true => Ok(()),
            false => Err(Error::Damaged(io::Error::other("it was changed meanwhile"))),
        }
    }

    fn read(&mut self, from: &mut dyn Read) -> Result<(), Error> {
        loop {
            self.cancel.check().map_err(Error::Ended)?;
            let read = match self.to.read_from(from) {
                Err(e) if is_gone(&e) => return Err(Error::Writing(e)),
                other => other.map_err(Error::Reading)?,
            };
            if read == 0 {
                return Ok(());
            }
            self.came(read);
        }
    }

    fn came(&mut self, bytes: usize) {
        self.have += bytes as u64;
        (self.progress)(self.have, self.length);
    }
}

impl Receive for Receiver<'_> {
    fn begin(&mut self, from: u64, facts: &Facts) -> io::Result<()> {
        self.length = facts.length;
        if from == 0 && self.have > 0 {
            self.have = 0;
            self.to.restart()?;
        }
        if from != self.have {
            return Err(io::Error::other("it goes on where nothing ended"));
        }
        self.to.facts(facts)
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write(bytes)?;
        self.came(bytes.len());
        Ok(())
    }
}

/// The second part: the digest of the bytes as served, unless it is `known`, and keeping them; the file of the spool that has them all.
fn digest(
    from: Reader,
    mut to: Writer,
    known: Option<Sha256>,
    mut keeping: Keeping<'_>,
) -> Result<(Sha256, Option<File>), Error> {
    let mut hasher = sha2::Sha256::new();
    loop {
        let piece = from.piece().map_err(Error::Writing)?;
        match &piece {
            Piece::Facts(facts) => {
                keeping.facts(facts);
                continue;
            }
            Piece::Bytes(bytes) => {
                if known.is_none() {
                    hasher.update(bytes);
                }
                keeping.bytes(bytes);
            }
            Piece::Restart => {
                hasher = sha2::Sha256::new();
                keeping.restart();
            }
            Piece::End => {
                to.pass(piece, &from).map_err(Error::Writing)?;
                let found = known.unwrap_or_else(|| Sha256(hasher.finalize().into()));
                return Ok((found, keeping.into_file()));
            }
        }
        to.pass(piece, &from).map_err(Error::Writing)?;
    }
}

/// The third part.
fn unpack(mut from: Reader, mut to: Writer, limit: u64) -> Result<Format, Error> {
    loop {
        match unpack_once(&mut from, &mut to, limit) {
            Ok(format) => {
                // the decoder has seen the end
                to.end().map_err(Error::Writing)?;
                return Ok(format);
            }
            Err(_) if from.restarted() => to.restart().map_err(Error::Writing)?,
            Err(e) => {
                to.abandon();
                return Err(Error::Damaged(e));
            }
        }
    }
}

fn unpack_once(from: &mut Reader, to: &mut Writer, limit: u64) -> io::Result<Format> {
    let mut from = decompress::open(from, limit)?;
    while to.read_from(&mut from)? > 0 {}
    Ok(from.format())
}

/// The last part.
fn write(sink: &mut dyn Sink, from: &mut Reader) -> io::Result<()> {
    loop {
        match sink.take(from) {
            // an archive may end before its payload does
            Ok(()) => {
                if from.drain()? {
                    return Ok(());
                }
            }
            Err(_) if from.restarted() => {}
            Err(e) => return Err(e),
        }
    }
}
