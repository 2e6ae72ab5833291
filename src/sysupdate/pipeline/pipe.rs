//! What leads from one thread to the next: a few buffers, which are used again.
//!
//! A pipe may say that all that came before is void. Who reads gets an error then, asks [`Reader::restarted`], and begins again.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use crate::sysupdate::fetch::Facts;

/// Bytes of a buffer, and of most writes: a multiple of the blocks of file systems.
pub(super) const BUFFER: usize = 256 << 10;
/// Buffers that wait between two threads.
const WAITING: usize = 4;

/// What goes through.
pub(super) enum Piece {
    Bytes(Vec<u8>),
    /// What is known of what follows.
    Facts(Facts),
    /// What came before is void.
    Restart,
    /// All of it came.
    End,
}

/// The other end is gone, which tells why itself.
pub(super) fn gone() -> io::Error {
    io::Error::from(io::ErrorKind::BrokenPipe)
}

pub(super) fn is_gone(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::BrokenPipe
}

pub(super) fn pipe() -> (Writer, Reader) {
    let (to, from) = sync_channel(WAITING);
    let (back, spare) = channel();
    let writer = Writer {
        to,
        spare,
        filling: Vec::new(),
        has: 0,
    };
    let reader = Reader {
        from,
        back,
        now: Vec::new(),
        at: 0,
        restarted: false,
        ended: false,
    };
    (writer, reader)
}

pub(super) struct Writer {
    to: SyncSender<Piece>,
    spare: Receiver<Vec<u8>>,
    filling: Vec<u8>,
    /// Bytes that are in it.
    has: usize,
}

impl Writer {
    /// Fails when nobody reads any more.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = self.room();
            let (now, rest) = bytes.split_at(bytes.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            self.filled(now.len())?;
            bytes = rest;
        }
        Ok(())
    }

    /// Reads once, straight into a buffer; 0 at the end.
    pub(super) fn read_from(&mut self, from: &mut dyn Read) -> io::Result<usize> {
        let read = from.read(self.room())?;
        self.filled(read)?;
        Ok(read)
    }

    /// What is left of the buffer, never nothing. What was used before has its length, so that only a new one is filled with zeros.
    fn room(&mut self) -> &mut [u8] {
        if self.filling.len() < BUFFER {
            self.filling = self.spare.try_recv().unwrap_or_default();
            self.filling.resize(BUFFER, 0);
        }
        &mut self.filling[self.has..]
    }

    fn filled(&mut self, bytes: usize) -> io::Result<()> {
        self.has += bytes;
        match self.has == BUFFER {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut full = std::mem::take(&mut self.filling);
        full.truncate(std::mem::take(&mut self.has));
        if full.is_empty() {
            return Ok(());
        }
        self.send(Piece::Bytes(full))
    }

    fn send(&mut self, piece: Piece) -> io::Result<()> {
        self.to.send(piece).map_err(|_| gone())
    }

    pub(super) fn facts(&mut self, facts: &Facts) -> io::Result<()> {
        self.send(Piece::Facts(facts.clone()))
    }

    /// Passes a piece of another pipe on. Buffers that came back go on to where they are from.
    pub(super) fn pass(&mut self, piece: Piece, from: &Reader) -> io::Result<()> {
        for empty in self.spare.try_iter() {
            // the writer may be done
            from.back.send(empty).unwrap_or(());
        }
        self.send(piece)
    }

    pub(super) fn restart(&mut self) -> io::Result<()> {
        self.has = 0;
        self.send(Piece::Restart)
    }

    /// Hands on what there is, so that it is kept, before this goes without an end.
    pub(super) fn abandon(&mut self) {
        // whoever would have read it may be gone
        self.flush().unwrap_or(());
    }

    pub(super) fn end(mut self) -> io::Result<()> {
        self.flush()?;
        self.send(Piece::End)
    }
}

pub(super) struct Reader {
    from: Receiver<Piece>,
    back: Sender<Vec<u8>>,
    now: Vec<u8>,
    at: usize,
    restarted: bool,
    ended: bool,
}

impl Reader {
    /// The next piece, for who does not need a stream.
    pub(super) fn piece(&self) -> io::Result<Piece> {
        self.from.recv().map_err(|_| gone())
    }

    /// Whether the last error said that all is void, which is forgotten now.
    pub(super) fn restarted(&mut self) -> bool {
        std::mem::take(&mut self.restarted)
    }

    /// Waits until all came, dropping what still comes; `false` when all is void.
    pub(super) fn drain(&mut self) -> io::Result<bool> {
        loop {
            let length = match self.fill_buf() {
                Ok([]) => return Ok(true),
                Ok(bytes) => bytes.len(),
                Err(e) => return if self.restarted() { Ok(false) } else { Err(e) },
            };
            self.consume(length);
        }
    }
}

impl BufRead for Reader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at == self.now.len() && !self.ended {
            if self.restarted {
                return Err(io::Error::other("what was received so far is void"));
            }
            let empty = std::mem::take(&mut self.now);
            self.at = 0;
            if empty.capacity() > 0 {
                // the writer may be done
                self.back.send(empty).unwrap_or(());
            }
            match self.piece()? {
                Piece::Bytes(bytes) => self.now = bytes,
                Piece::Restart => self.restarted = true,
                Piece::End => self.ended = true,
                Piece::Facts(_) => {}
            }
        }
        Ok(&self.now[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Read for Reader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let length = bytes.len().min(buf.len());
        buf[..length].copy_from_slice(&bytes[..length]);
        self.consume(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::thread;

    use super::*;

    #[test]
    fn however_much_goes_through_two_pipes_few_buffers_are_used() {
        let (mut first, between) = pipe();
        let (mut on, mut last) = pipe();
        let mut used = BTreeSet::new();
        thread::scope(|scope| {
            scope.spawn(move || {
                let bytes = vec![1; BUFFER];
                (0..200).for_each(|_| first.write(&bytes).unwrap());
                first.end().unwrap();
            });
            scope.spawn(move || {
                loop {
                    let piece = between.piece().unwrap();
                    let is_end = matches!(piece, Piece::End);
                    on.pass(piece, &between).unwrap();
                    if is_end {
                        return;
                    }
                }
            });
            while let length @ 1.. = last.fill_buf().unwrap().len() {
                used.insert(last.now.as_ptr().addr());
                last.consume(length);
            }
        });
        assert!(used.len() <= 4 * WAITING, "{}", used.len());
    }
}
