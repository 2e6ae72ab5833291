//! A payload as a stream that goes on where it broke off (RFC 9110, 13.1.5 and 14).
//!
//! What was received before is given back to the server as a range and a validator. Whatever the server makes of
//! that, the digest of the whole is checked in the end: going on wrongly can only fail.

use std::io;

use serde::{Deserialize, Serialize};

use super::request::{Ask, Body, Reply};
use super::url::{Scheme, Url};
use super::{Client, Error};

/// What is known of a payload from its server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Its ETag, as it was sent.
    pub etag: Option<String>,
    /// Its time, as it was sent; for a local file `@` and seconds since 1970.
    pub last_modified: Option<String>,
    /// Bytes of all of it.
    pub length: Option<u64>,
}

impl Facts {
    pub(super) fn of(reply: &Reply) -> Facts {
        let length = match reply.part {
            Some((.., whole)) => whole,
            None => reply.length,
        };
        Facts {
            etag: reply.etag.clone(),
            last_modified: reply.last_modified.clone(),
            length,
        }
    }

    /// Its time in seconds since 1970.
    #[must_use]
    pub fn modified(&self) -> Option<i64> {
        let text = self.last_modified.as_deref()?;
        match text.strip_prefix('@') {
            Some(seconds) => seconds.parse().ok(),
            None => http_date(text),
        }
    }

    /// What a server may compare: a strong ETag, else the time.
    fn validator(&self) -> Option<&str> {
        let strong = self.etag.as_deref().filter(|e| !e.starts_with("W/"));
        strong.or(self.last_modified.as_deref())
    }

    /// Whether both may be of the same thing: nothing that both say differs.
    fn agrees(&self, other: &Facts) -> bool {
        fn same<T: PartialEq>(a: Option<&T>, b: Option<&T>) -> bool {
            a.is_none() || b.is_none() || a == b
        }
        same(self.etag.as_ref(), other.etag.as_ref())
            && same(self.last_modified.as_ref(), other.last_modified.as_ref())
            && same(self.length.as_ref(), other.length.as_ref())
    }
}

/// The one form of a date that servers send today (RFC 9110, 5.6.7), as `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [_, day, month, year, time, "GMT"] = words[..] else {
        return None;
    };
    let number = |text: &str, most: i64| text.parse().ok().filter(|n| (0..=most).contains(n));
    let mut clock = time.split(':');
    let mut part = |most| number(clock.next()?, most);
    let (hours, minutes, seconds) = (part(23)?, part(59)?, part(60)?);
    let (day, year) = (number(day, 31)?, number(year, 9999)?);
    let month = MONTHS.iter().position(|m| *m == month)? as i64;
    // the year begins in March, so that the day that may be missing is its last one
    let (year, month) = if month < 2 {
        (year - 1, month + 10)
    } else {
        (year, month - 2)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    Some((days - 719_468) * 86_400 + hours * 3600 + minutes * 60 + seconds)
}

/// Who takes a payload.
pub trait Receive {
    /// An answer begins with byte `from`: 0, or where the bytes ended that were taken already. After 0 those are void.
    ///
    /// # Errors
    /// What keeps it from being taken.
    fn begin(&mut self, from: u64, facts: &Facts) -> io::Result<()>;

    /// The next bytes.
    ///
    /// # Errors
    /// What keeps them from being taken.
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()>;
}

impl Client {
    /// Fetches all of a payload, of which `have` bytes of what `known` describes have been taken already.
    ///
    /// # Errors
    /// [`Error`], after as many attempts as the policy says for what may pass; each goes on where the last one ended.
    pub fn payload(
        &mut self,
        url: &Url,
        have: u64,
        known: Facts,
        receive: &mut dyn Receive,
    ) -> Result<Facts, Error> {
        let limit = self.policy.limit;
        let mut payload = Payload {
            url,
            limit,
            have,
            known,
            again: false,
            receive,
        };
        self.again(|client| payload.attempt(client))?;
        Ok(payload.known)
    }
}

struct Payload<'a> {
    url: &'a Url,
    limit: u64,
    have: u64,
    known: Facts,
    /// The answer was none to go on with: ask for all of it.
    again: bool,
    receive: &'a mut dyn Receive,
}

impl Payload<'_> {
    fn attempt(&mut self, client: &mut Client) -> Result<(), Error> {
        if self.url.scheme() == Scheme::File {
            return self.attempt_file(client);
        }
        if self.is_complete() {
            return Ok(());
        }
        self.again = false;
        let known = self.known.clone();
        let ask = Ask {
            from: self.have,
            if_range: known.validator().filter(|_| self.have > 0),
            ..Ask::whole(self.url)
        };
        match client.ask(ask, self) {
            Err(Error::Refused(..)) if self.again => self.all_again(client)?,
            // there is nothing from this byte on: it is shorter now
            Err(Error::Status(_, 416)) if self.have > 0 => self.all_again(client)?,
            other => drop(other?),
        }
        if self.known.length.is_some_and(|length| self.have < length) {
            let why = format!("it ended after {} bytes", self.have);
            return Err(Error::Failed(self.url.clone(), why));
        }
        Ok(())
    }

    /// With an answer to a request without a range, `begin` says that what was taken is void.
    fn all_again(&mut self, client: &mut Client) -> Result<(), Error> {
        self.have = 0;
        client.ask(Ask::whole(self.url), self).map(drop)
    }

    /// libcurl says nothing of a local file before its bytes come, so it is asked first.
    fn attempt_file(&mut self, client: &mut Client) -> Result<(), Error> {
        let facts = client.probe(self.url)?;
        if facts != self.known {
            self.have = 0;
        }
        self.known = facts;
        let known = self.known.clone();
        self.limited(known.length)?;
        self.receive
            .begin(self.have, &known)
            .map_err(Error::Taking)?;
        if self.is_complete() {
            return Ok(());
        }
        let ask = Ask {
            from: self.have,
            ..Ask::whole(self.url)
        };
        client.ask(ask, self).map(drop)
    }

    fn is_complete(&self) -> bool {
        self.have > 0 && self.known.length == Some(self.have)
    }

    fn limited(&self, length: Option<u64>) -> Result<(), Error> {
        match length {
            Some(length) if length > self.limit => {
                Err(Error::TooLarge(self.url.clone(), self.limit))
            }
            _ => Ok(()),
        }
    }
}

impl Body for Payload<'_> {
    fn begin(&mut self, reply: &Reply) -> Result<(), Error> {
        if self.url.scheme() == Scheme::File {
            return Ok(());
        }
        let facts = Facts::of(reply);
        if reply.status == 206 {
            let fits = reply.part.is_some_and(|(first, ..)| first == self.have);
            if self.have == 0 || !fits || !self.known.agrees(&facts) {
                self.again = true;
                let why = "another part was answered than was asked for".to_owned();
                return Err(Error::Refused(self.url.clone(), why));
            }
        } else {
            self.have = 0;
            self.known = Facts::default();
        }
        self.limited(facts.length)?;
        // a part may say less than the whole did
        self.known = Facts {
            etag: facts.etag.or(self.known.etag.take()),
            last_modified: facts.last_modified.or(self.known.last_modified.take()),
            length: facts.length.or(self.known.length),
        };
        self.receive
            .begin(self.have, &self.known)
            .map_err(Error::Taking)
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.have += bytes.len() as u64;
        self.limited(Some(self.have))?;
        self.receive.bytes(bytes).map_err(Error::Taking)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_payload_is_read_from_what_its_server_says() {
        let of = |text: &str| {
            let last_modified = Some(text.to_owned());
            let facts = Facts {
                last_modified,
                ..Facts::default()
            };
            facts.modified()
        };
        assert_eq!(of("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(of("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(of("Thu, 29 Feb 2024 23:59:59 GMT"), Some(1_709_251_199));
        assert_eq!(of("@1709251199"), Some(1_709_251_199));
        for bad in [
            "",
            "@x",
            "yesterday",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
