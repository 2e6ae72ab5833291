//! What is kept of a payload until all of it is there, and what an earlier run has kept.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::{Job, Keep, Sha256, Sink, Source};
use crate::sys::out;
use crate::sysupdate::decompress::{self, Format};
use crate::sysupdate::fetch::{Facts, Url};
use crate::sysupdate::spool::{Record, Spool};

/// Bytes after which the kernel is to write what is staged.
const BATCH: usize = 8 << 20;

/// What cannot be removed is removed when it is old.
pub(in crate::sysupdate) fn drop_kept(spool: Option<(&Spool, Sha256)>) {
    if let Some((spool, digest)) = spool
        && let Err(e) = spool.remove(&digest)
    {
        out::warn(format_args!(
            "what was kept of a payload cannot be removed: {e}"
        ));
    }
}

/// What an earlier run has left.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) file: Option<File>,
    pub(super) bytes: u64,
    pub(super) known: Facts,
    /// The bytes are in the file where they go.
    in_place: bool,
}

impl Kept {
    /// None where there is anything wrong: it is fetched again then.
    pub(super) fn of_earlier_run(
        keep: Keep<'_>,
        digest: Option<Sha256>,
        url: &Url,
        sink: &mut dyn Sink,
    ) -> Kept {
        let mut found = || {
            let (spool, digest) = keep.spool().zip(digest)?;
            let record = spool.record(&digest)?;
            let in_place = record.partial.is_some();
            let (file, bytes) = if in_place {
                if record.partial.as_deref() != keep.partial() {
                    return None;
                }
                sink.kept().ok()??
            } else {
                let file = spool.bytes(&digest).ok()?;
                let length = file.metadata().ok()?.len();
                (file, length)
            };
            if bytes == 0 || record.facts.length.is_some_and(|length| bytes > length) {
                return None;
            }
            // the same bytes from another server: what this one says of them is not known
            let known = if record.url == url.to_string() {
                record.facts
            } else {
                Facts {
                    length: record.facts.length,
                    ..Facts::default()
                }
            };
            Some(Kept {
                file: Some(file),
                bytes,
                known,
                in_place,
            })
        };
        let kept: Kept = found().unwrap_or_default();
        if kept.in_place {
            sink.has(kept.bytes);
        }
        kept
    }
}

/// Keeps what comes, as long as that is possible.
pub(super) struct Keeping<'a> {
    spool: Option<(&'a Spool, Sha256)>,
    url: String,
    partial: Option<&'a str>,
    /// Bytes at the start that are kept already.
    there: u64,
    /// All of it is to be on disk soon.
    is_staged: bool,
    /// Bytes that were written since that was last begun.
    waiting: usize,
    state: KeepingState,
    facts: Facts,
}

enum KeepingState {
    /// Nothing has come yet.
    Before,
    InSpool(File),
    /// The file where it goes keeps it.
    InPlace,
    Nowhere,
}

impl<'a> Keeping<'a> {
    pub(super) fn new(job: &Job<'a>, kept: &Kept) -> Keeping<'a> {
        let (spool, url) = match &job.source {
            Source::Url(_, url) => (job.keep.spool().zip(job.expected), url.to_string()),
            Source::File(_) | Source::Spooled(_) => (None, String::new()),
        };
        Keeping {
            spool,
            url,
            partial: job.keep.partial(),
            there: kept.bytes,
            is_staged: matches!(job.keep, Keep::Stage(_)),
            waiting: 0,
            state: KeepingState::Before,
            facts: kept.known.clone(),
        }
    }

    pub(super) fn facts(&mut self, facts: &Facts) {
        self.facts = facts.clone();
        if matches!(self.state, KeepingState::InSpool(_) | KeepingState::InPlace) {
            self.record();
        }
    }

    fn record(&mut self) {
        let Some((spool, digest)) = self.spool else {
            return;
        };
        let partial = matches!(self.state, KeepingState::InPlace)
            .then_some(self.partial)
            .flatten();
        let record = Record {
            url: self.url.clone(),
            facts: self.facts.clone(),
            partial: partial.map(str::to_owned),
        };
        if let Err(e) = spool.set_record(&digest, &record) {
            self.give_up(&e);
        }
    }

    pub(super) fn restart(&mut self) {
        self.there = 0;
        if !matches!(self.state, KeepingState::Nowhere) {
            self.state = KeepingState::Before;
        }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        if matches!(self.state, KeepingState::Before) {
            self.begin(bytes);
        }
        let there = usize::try_from(self.there)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        self.there -= there as u64;
        if let KeepingState::InSpool(file) = &mut self.state
            && let Err(e) = file.write_all(&bytes[there..])
        {
            return self.give_up(&e);
        }
        self.waiting += bytes.len() - there;
        if self.is_staged && self.waiting >= BATCH {
            self.begin_writing();
        }
    }

    /// Lets the kernel begin to write what waits, while more comes. It is only sooner done then.
    fn begin_writing(&mut self) {
        let waiting = std::mem::take(&mut self.waiting) as u64;
        let KeepingState::InSpool(file) = &mut self.state else {
            return;
        };
        let Ok(end) = file.stream_position() else {
            return;
        };
        let (Ok(from), Ok(length)) = (
            i64::try_from(end.saturating_sub(waiting)),
            i64::try_from(waiting),
        ) else {
            return;
        };
        // what is not yet written stays in memory
        let advice = PosixFadviseAdvice::POSIX_FADV_DONTNEED;
        posix_fadvise(&*file, from, length, advice).unwrap_or(());
    }

    /// The file of the spool that has all that came; `None` when none has.
    pub(super) fn into_file(self) -> Option<File> {
        match self.state {
            KeepingState::InSpool(file) => Some(file),
            _ => None,
        }
    }

    /// By the first bytes it is known whether the file where they go can keep them.
    fn begin(&mut self, first: &[u8]) {
        let Some((spool, digest)) = self.spool else {
            self.state = KeepingState::Nowhere;
            return;
        };
        let is_raw = Format::of(first) == Format::Raw && !decompress::is_skippable(first);
        self.state = if self.partial.is_some() && is_raw {
            KeepingState::InPlace
        } else {
            let opened = spool.bytes(&digest).and_then(|mut file| {
                // what was there is gone before a record says that it is of something else
                file.set_len(self.there)?;
                file.seek(SeekFrom::Start(self.there))?;
                Ok(file)
            });
            match opened {
                Ok(file) => KeepingState::InSpool(file),
                Err(e) => return self.give_up(&e),
            }
        };
        self.record();
    }

    /// No room, or something else: no resume for this payload, never an error.
    fn give_up(&mut self, e: &io::Error) {
        out::warn(format_args!(
            "a payload cannot be kept to go on with later: {e}"
        ));
        self.state = KeepingState::Nowhere;
        drop_kept(self.spool);
    }
}
