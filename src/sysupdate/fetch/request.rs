//! One request by libcurl, without redirects or second tries.

use std::ffi::c_long;
use std::time::Duration;

use super::easy::{CurlError, Easy, Events, Number, Text};
use super::url::{Scheme, Url};
use super::{Error, Policy};
use crate::sysupdate::cancel::Cancel;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) url: &'a Url,
    /// Only what is told about it, not the thing itself.
    pub(super) head: bool,
    /// From this byte on.
    pub(super) from: u64,
    /// Up to this byte, included.
    pub(super) to: Option<u64>,
    /// Only if it is still the one with this validator, else all of it (RFC 9110, 13.1.5).
    pub(super) if_range: Option<&'a str>,
}

impl<'a> Ask<'a> {
    /// All of it.
    pub(super) fn whole(url: &'a Url) -> Ask<'a> {
        Ask {
            url,
            head: false,
            from: 0,
            to: None,
            if_range: None,
        }
    }

    fn range(&self) -> Option<String> {
        match (self.from, self.to) {
            (0, None) => None,
            (from, to) => Some(format!(
                "{from}-{}",
                to.map_or(String::new(), |to| to.to_string())
            )),
        }
    }
}

/// What an answer says of the thing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reply {
    /// Of HTTP; 200 for a file that was opened.
    pub(super) status: u32,
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
    /// Bytes of this answer.
    pub(super) length: Option<u64>,
    /// First byte, last byte and bytes of the whole, of an answer with a part.
    pub(super) part: Option<(u64, u64, Option<u64>)>,
}

impl Reply {
    fn line(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end();
        if let Some(rest) = line.strip_prefix("HTTP/") {
            let status = rest.split_ascii_whitespace().nth(1);
            *self = Reply {
                status: status.and_then(|s| s.parse().ok()).unwrap_or(0),
                ..Reply::default()
            };
            return;
        }
        let Some((name, value)) = line.split_once(':') else {
            return;
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "etag" => self.etag = Some(value.to_owned()),
            "last-modified" => self.last_modified = Some(value.to_owned()),
            "content-length" => self.length = value.parse().ok(),
            "content-range" => self.part = part(value),
            _ => {}
        }
    }
}

/// The value of Content-Range, as `bytes 5-9/10`.
fn part(value: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, whole) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let whole = match whole {
        "*" => None,
        number => Some(number.parse().ok()?),
    };
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && whole.is_none_or(|whole| last < whole)).then_some((first, last, whole))
}

/// Who takes what comes.
pub(super) trait Body {
    /// The headers are complete, and were those of a success.
    fn begin(&mut self, reply: &Reply) -> Result<(), Error>;
    /// The next bytes.
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error>;
}

/// Most bytes that are read of an error page.
const MOST_UNWANTED: usize = 1 << 20;

/// What happens in the callbacks of a transfer.
struct Transfer<'a> {
    reply: Reply,
    body: &'a mut dyn Body,
    cancel: &'a Cancel,
    begun: bool,
    /// Bytes of an answer that is no success, which nobody wants.
    unwanted: usize,
    failed: Option<Error>,
}

impl Transfer<'_> {
    fn begin(&mut self) -> bool {
        if !self.begun && matches!(self.reply.status, 200 | 206) {
            self.begun = true;
            self.failed = self.body.begin(&self.reply).err();
        }
        self.failed.is_none()
    }
}

impl Events for Transfer<'_> {
    fn header(&mut self, line: &[u8]) {
        self.reply.line(line);
    }

    fn goes_on(&mut self) -> bool {
        self.cancel.check().is_ok()
    }

    fn bytes(&mut self, bytes: &[u8]) -> usize {
        if !self.begin() {
            return 0;
        }
        if self.begun {
            self.failed = self.body.bytes(bytes).err();
        } else {
            // read to its end, so that the connection can be used again; but it may be endless
            self.unwanted += bytes.len();
        }
        if self.failed.is_none() && self.unwanted < MOST_UNWANTED {
            bytes.len()
        } else {
            0
        }
    }
}

/// Asks, and hands what comes to `body` if the answer is a success. Returns the answer and where a redirect leads.
pub(super) fn perform(
    easy: &mut Easy,
    policy: &Policy,
    cancel: &Cancel,
    ask: Ask<'_>,
    body: &mut dyn Body,
) -> Result<(Reply, Option<String>), Error> {
    cancel.check().map_err(Error::Ended)?;
    configure(easy, policy, ask).map_err(|e| Error::failed(ask.url, &e))?;
    let is_file = ask.url.scheme() == Scheme::File;
    let mut transfer = Transfer {
        reply: Reply {
            status: if is_file { 200 } else { 0 },
            ..Reply::default()
        },
        body,
        cancel,
        begun: false,
        unwanted: 0,
        failed: None,
    };
    let done = easy.perform(&mut transfer);
    if let Some(error) = transfer.failed {
        return Err(error);
    }
    cancel.check().map_err(Error::Ended)?;
    if let Err(e) = done {
        // of an answer that is no success, the status says more than that its text was not wanted
        if !e.is_not_taken() || matches!(transfer.reply.status, 0 | 200 | 206) {
            return Err(Error::failed(ask.url, &e));
        }
    }
    if is_file {
        transfer.reply.length = easy.length();
        transfer.reply.last_modified = easy.time().map(|t| format!("@{t}"));
    } else if !transfer.begin() {
        let none = || Error::Failed(ask.url.clone(), "no answer".into());
        return Err(transfer.failed.unwrap_or_else(none));
    }
    Ok((transfer.reply, easy.redirect()))
}

fn configure(easy: &mut Easy, policy: &Policy, ask: Ask<'_>) -> Result<(), CurlError> {
    let seconds = |time: Duration| c_long::try_from(time.as_secs()).unwrap_or(c_long::MAX);
    let ms = |time: Duration| c_long::try_from(time.as_millis()).unwrap_or(c_long::MAX);
    easy.reset();
    easy.text(Text::Url, ask.url.secret())?;
    easy.text(
        Text::UserAgent,
        concat!("sysupdate/", env!("CARGO_PKG_VERSION")),
    )?;
    easy.number(Number::FileTime, 1)?;
    // only a wish, which libcurl refuses on a handle whose last file was not there (seen with 7.88)
    easy.number(Number::BufferSize, 256 << 10).unwrap_or(());
    easy.number(Number::ConnectTimeoutMs, ms(policy.connect))?;
    easy.number(Number::LowSpeedLimit, policy.slow_bytes.into())?;
    easy.number(Number::LowSpeedTime, seconds(policy.slow_time))?;
    if policy.no_proxy {
        easy.text(Text::Proxy, "")?;
    }
    easy.header("Accept-Encoding: identity")?;
    if let Some(validator) = ask.if_range {
        easy.header(&format!("If-Range: {validator}"))?;
    }
    easy.number(Number::NoBody, ask.head.into())?;
    match ask.range() {
        Some(range) => easy.text(Text::Range, &range),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_that_makes_no_sense_is_none() {
        assert_eq!(part("bytes 5-9/10"), Some((5, 9, Some(10))));
        assert_eq!(part("bytes 0-0/*"), Some((0, 0, None)));
        for bad in [
            "bytes 9-5/10",
            "bytes 5-10/10",
            "bytes */10",
            "items 5-9/10",
            "bytes -9/10",
            "bytes 5-9",
            "",
        ] {
            assert_eq!(part(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_the_last_answer_of_several_counts() {
        let mut reply = Reply::default();
        for line in [
            "HTTP/1.1 100 Continue\r\n",
            "ETag: \"old\"\r\n",
            "\r\n",
            "HTTP/2 206 \r\n",
            "CONTENT-LENGTH:  7 \r\n",
            "no header\r\n",
        ] {
            reply.line(line.as_bytes());
        }
        let expected = Reply {
            status: 206,
            length: Some(7),
            ..Reply::default()
        };
        assert_eq!(reply, expected);
    }
}
