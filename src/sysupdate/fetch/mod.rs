//! HTTP, HTTPS and local files by the system's libcurl: small documents, and payloads that go on where they broke off.
//!
//! Redirects are followed here and not by libcurl, which cannot be told that https must not lead to http.

mod easy;
mod request;
mod stream;
#[cfg(test)]
mod tests;
pub mod url;

use std::fmt;
use std::io;
use std::time::Duration;

use self::easy::{CurlError, Easy};
use self::request::{Ask, Body, Reply};
pub use self::stream::{Facts, Receive};
pub use self::url::{BadUrl, Scheme, Url};
use super::cancel::Cancel;
use crate::sys::out;

/// Most bytes of a manifest.
pub const MANIFEST_LIMIT: u64 = 32 << 20;
/// Most bytes of a signature.
pub const SIGNATURE_LIMIT: u64 = 1 << 20;
/// Redirects that are followed.
const REDIRECTS: u32 = 10;

/// How patient a client is.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Time for a connection.
    pub connect: Duration,
    /// A transfer ends that gets fewer bytes a second than this ...
    pub slow_bytes: u32,
    /// ... for this time, in whole seconds.
    pub slow_time: Duration,
    /// Waits between the attempts; one attempt more than there are.
    pub delays: Vec<Duration>,
    /// Most bytes of a payload.
    pub limit: u64,
    /// Whether proxies that the environment names are left alone.
    pub no_proxy: bool,
}

impl Default for Policy {
    /// Below 30 bytes a second for a minute ends a transfer, five attempts 1, 2, 4 and 8 seconds apart, 64 GiB.
    fn default() -> Policy {
        Policy {
            connect: Duration::from_secs(60),
            slow_bytes: 30,
            slow_time: Duration::from_secs(60),
            delays: [1, 2, 4, 8].map(Duration::from_secs).to_vec(),
            limit: 64 << 30,
            no_proxy: false,
        }
    }
}

/// Why something was not fetched. The text says no secrets.
#[derive(Debug)]
pub enum Error {
    /// The server refused with this status.
    Status(Url, u32),
    /// It cannot be had, and may be another time: no connection, or one that broke.
    Failed(Url, String),
    /// It must not be fetched, or what was answered cannot be right; another attempt would be no better.
    Refused(Url, String),
    /// It is longer than this.
    TooLarge(Url, u64),
    /// A signal came, or other work failed.
    Ended(io::Error),
    /// What was fetched could not be taken.
    Taking(io::Error),
}

impl Error {
    fn failed(url: &Url, e: &CurlError) -> Error {
        let is_secret = url.credentials().is_some_and(|c| e.detail().contains(c));
        let why = match e.detail() {
            detail if !detail.is_empty() && !is_secret => format!("{}: {detail}", e.meaning()),
            _ => e.meaning(),
        };
        if e.is_no_file() {
            let why = "there is no such file, or it cannot be read".to_owned();
            return Error::Refused(url.clone(), why);
        }
        if e.is_no_address() {
            return Error::Refused(url.clone(), why);
        }
        Error::Failed(url.clone(), why)
    }

    /// Whether another attempt may succeed.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Error::Failed(..) => true,
            Error::Status(_, status) => *status >= 500,
            _ => false,
        }
    }

    /// Whether the server says, or the file system, that there is no such thing.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        match self {
            Error::Status(_, status) => matches!(status, 404 | 410),
            Error::Refused(url, _) => url.scheme() == Scheme::File,
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Status(url, status) => write!(f, "{url} failed with code {status}."),
            Error::Failed(url, why) => write!(f, "{url} cannot be fetched: {why}"),
            Error::Refused(url, why) => write!(f, "{url} is not fetched: {why}"),
            Error::TooLarge(url, limit) => write!(f, "{url} is longer than {limit} bytes"),
            Error::Ended(why) => write!(f, "{why}"),
            Error::Taking(why) => write!(f, "what was fetched cannot be kept: {why}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Ended(e) | Error::Taking(e) => Some(e),
            _ => None,
        }
    }
}

/// A client with connections that it keeps; one for each thread.
pub struct Client {
    easy: Option<Easy>,
    policy: Policy,
    cancel: Cancel,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client that ends what it does when `cancel` says so, within a second.
    #[must_use]
    pub fn new(policy: Policy, cancel: Cancel) -> Client {
        Client {
            easy: Easy::new(),
            policy,
            cancel,
        }
    }

    /// A document of at most `limit` bytes.
    ///
    /// # Errors
    /// [`Error`], after as many attempts as the policy says for what may pass.
    pub fn document(&mut self, url: &Url, limit: u64) -> Result<Vec<u8>, Error> {
        self.again(|client| {
            let mut document = Document {
                url,
                limit,
                bytes: Vec::new(),
            };
            client.ask(Ask::whole(url), &mut document)?;
            Ok(document.bytes)
        })
    }

    /// What is told of a payload without fetching it.
    ///
    /// # Errors
    /// As [`Client::document`].
    pub fn probe(&mut self, url: &Url) -> Result<Facts, Error> {
        self.again(|client| {
            let ask = Ask {
                head: true,
                ..Ask::whole(url)
            };
            match client.ask(ask, &mut Nothing) {
                // the method is not allowed, or not known
                Err(Error::Status(_, 405 | 501)) => client.first_byte(url),
                other => Ok(Facts::of(&other?)),
            }
        })
    }

    /// The same by a request for one byte; of an answer with all of them no more is read.
    fn first_byte(&mut self, url: &Url) -> Result<Facts, Error> {
        let ask = Ask {
            to: Some(0),
            ..Ask::whole(url)
        };
        let mut head = Head(None);
        let asked = self.ask(ask, &mut head);
        match (head.0, asked) {
            (Some(facts), _) => Ok(facts),
            (None, Err(e)) => Err(e),
            (None, Ok(reply)) => Ok(Facts::of(&reply)),
        }
    }

    /// At most `count` bytes of a payload of `length` bytes, from byte `from` on; `None` when the server has no ranges.
    ///
    /// # Errors
    /// As [`Client::document`].
    pub fn piece(
        &mut self,
        url: &Url,
        from: u64,
        count: u64,
        length: u64,
    ) -> Result<Option<Vec<u8>>, Error> {
        let end = from.saturating_add(count).min(length);
        let Some(last) = end.checked_sub(1).filter(|last| from <= *last) else {
            return Ok(Some(Vec::new()));
        };
        self.again(|client| {
            let ask = Ask {
                from,
                to: Some(last),
                ..Ask::whole(url)
            };
            let mut piece = Piece {
                document: Document {
                    url,
                    limit: count,
                    bytes: Vec::new(),
                },
                is_part: false,
                expected: (from, last),
            };
            match client.ask(ask, &mut piece) {
                Err(Error::Refused(..)) if !piece.is_part => return Ok(None),
                other => other?,
            };
            Ok(Some(piece.document.bytes))
        })
    }

    /// Calls `one` until it succeeds, fails for good, or was called as often as the policy says.
    fn again<T>(
        &mut self,
        mut one: impl FnMut(&mut Client) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let delays = self.policy.delays.clone();
        for delay in delays {
            match one(self) {
                Err(e) if e.is_passing() => {
                    out::warn(format_args!(
                        "{e}; trying again in {} seconds",
                        delay.as_secs_f32()
                    ));
                    self.cancel.sleep(delay).map_err(Error::Ended)?;
                }
                other => return other,
            }
        }
        one(self)
    }

    /// Asks, follows redirects, and refuses what is no success.
    fn ask(&mut self, ask: Ask<'_>, body: &mut dyn Body) -> Result<Reply, Error> {
        let mut url = ask.url.clone();
        for _ in 0..=REDIRECTS {
            let ask = Ask { url: &url, ..ask };
            let easy = self.easy.as_mut().ok_or_else(|| {
                Error::Refused(ask.url.clone(), "libcurl cannot be set up".into())
            })?;
            let (reply, to) = request::perform(easy, &self.policy, &self.cancel, ask, body)?;
            match (reply.status, to) {
                (200 | 206, _) => return Ok(reply),
                (301 | 302 | 303 | 307 | 308, Some(to)) => {
                    let next = url.redirected(&to);
                    url = next
                        .map_err(|e| Error::Refused(url, format!("it redirects to what is {e}")))?;
                }
                (status, _) => return Err(Error::Status(url, status)),
            }
        }
        let why = format!("more than {REDIRECTS} redirects");
        Err(Error::Refused(ask.url.clone(), why))
    }
}

/// Takes a small document.
struct Document<'a> {
    url: &'a Url,
    limit: u64,
    bytes: Vec<u8>,
}

impl Document<'_> {
    fn too_large(&self) -> Error {
        Error::TooLarge(self.url.clone(), self.limit)
    }
}

impl Body for Document<'_> {
    fn begin(&mut self, reply: &Reply) -> Result<(), Error> {
        self.bytes.clear();
        match reply.length {
            Some(length) if length > self.limit => Err(self.too_large()),
            _ => Ok(()),
        }
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if (self.bytes.len() + bytes.len()) as u64 > self.limit {
            return Err(self.too_large());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

/// Takes a part of a payload.
struct Piece<'a> {
    document: Document<'a>,
    is_part: bool,
    expected: (u64, u64),
}

impl Body for Piece<'_> {
    fn begin(&mut self, reply: &Reply) -> Result<(), Error> {
        let is_file = self.document.url.scheme() == Scheme::File;
        let part = reply.part.map(|(first, last, _)| (first, last));
        self.is_part = is_file || part == Some(self.expected);
        if !self.is_part {
            let why = "another part was answered than was asked for".to_owned();
            return Err(Error::Refused(self.document.url.clone(), why));
        }
        self.document.bytes.clear();
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.document.bytes(bytes)
    }
}

/// Takes what the headers say, and ends the transfer then.
struct Head(Option<Facts>);

impl Body for Head {
    fn begin(&mut self, reply: &Reply) -> Result<(), Error> {
        self.0 = Some(Facts::of(reply));
        Ok(())
    }

    fn bytes(&mut self, _: &[u8]) -> Result<(), Error> {
        Err(Error::Taking(io::Error::other("no more is wanted")))
    }
}

/// Takes nothing, because there is nothing but headers.
struct Nothing;

impl Body for Nothing {
    fn begin(&mut self, _: &Reply) -> Result<(), Error> {
        Ok(())
    }

    fn bytes(&mut self, _: &[u8]) -> Result<(), Error> {
        Ok(())
    }
}
