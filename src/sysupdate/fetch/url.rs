//! Addresses of sources: http, https and file, shown without what is secret in them.

use std::fmt;

/// An address whose scheme is one of the three. `Display` and `Debug` leave out user, password, query and fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    scheme: Scheme,
    /// All of it, without a fragment.
    text: String,
}

/// What may stand before `://`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// With TLS.
    Https,
    /// A local file.
    File,
}

/// Why a text is no address that can be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadUrl {
    /// Another scheme, or none.
    Scheme,
    /// No host, or for `file:` one that is not this machine.
    Host,
    /// A blank or a control character.
    Character,
    /// From https to one that is not encrypted, or to a local file.
    Downgrade,
}

impl fmt::Display for BadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadUrl::Scheme => "not a valid HTTP, HTTPS or file URL",
            BadUrl::Host => "it names no host, or for file: another one than this",
            BadUrl::Character => "it has a blank or a control character",
            BadUrl::Downgrade => {
                "it leads from the network to a local file, or from https to an address without encryption"
            }
        })
    }
}

impl std::error::Error for BadUrl {}

impl Url {
    /// The base address of a source. Query and fragment are dropped, as for all addresses that names are added to.
    ///
    /// # Errors
    /// When it is none of the three kinds, or has characters that no address has.
    pub fn base(text: &str) -> Result<Url, BadUrl> {
        let end = text.find(['?', '#']).unwrap_or(text.len());
        Url::whole(&text[..end])
    }

    fn whole(text: &str) -> Result<Url, BadUrl> {
        let text = text.split('#').next().unwrap_or("");
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(BadUrl::Character);
        }
        let (scheme, rest) = text.split_once("://").ok_or(BadUrl::Scheme)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "file" => Scheme::File,
            _ => return Err(BadUrl::Scheme),
        };
        let host = rest.split(['/', '?']).next().unwrap_or("");
        let host = host.rsplit('@').next().unwrap_or("");
        let local = ["", "localhost", "127.0.0.1"].contains(&host) && rest.contains('/');
        match scheme {
            Scheme::File if !local => Err(BadUrl::Host),
            Scheme::Http | Scheme::Https if host.split(':').next() == Some("") => Err(BadUrl::Host),
            _ => Ok(Url {
                scheme,
                text: text.to_owned(),
            }),
        }
    }

    /// The address of `name` below this one: each byte that could mean something else is percent-encoded, slashes stay.
    #[must_use]
    pub fn join(&self, name: &str) -> Url {
        let mut text = self.text.trim_end_matches('/').to_owned();
        text.push('/');
        for byte in name.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                    text.push(char::from(byte));
                }
                other => text.push_str(&format!("%{other:02X}")),
            }
        }
        Url {
            scheme: self.scheme,
            text,
        }
    }

    /// Where an answer from this address leads; `to` is a whole address.
    ///
    /// # Errors
    /// For a local file, from https to http, and for what is no address.
    pub fn redirected(&self, to: &str) -> Result<Url, BadUrl> {
        let to = Url::whole(to)?;
        match (self.scheme, to.scheme) {
            (Scheme::Http, Scheme::Http | Scheme::Https) | (Scheme::Https, Scheme::Https) => Ok(to),
            _ => Err(BadUrl::Downgrade),
        }
    }

    /// Its kind.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// All of it, to be given to libcurl only.
    pub(super) fn secret(&self) -> &str {
        &self.text
    }

    /// User and password, as they stand in it.
    pub(super) fn credentials(&self) -> Option<&str> {
        let rest = self.text.split_once("://")?.1;
        let host = rest.split(['/', '?']).next()?;
        host.rsplit_once('@').map(|(credentials, _)| credentials)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.text.split('?').next().unwrap_or("");
        match self.credentials() {
            Some(hidden) => f.write_str(&shown.replacen(&format!("{hidden}@"), "", 1)),
            None => f.write_str(shown),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_http_https_or_a_local_file_and_loses_query_and_fragment() {
        for (text, shown) in [
            ("http://host/a", "http://host/a"),
            ("HTTPS://host:8443", "HTTPS://host:8443"),
            ("http://host/a?key=1#f", "http://host/a"),
            ("file:///srv/a", "file:///srv/a"),
            ("file://localhost/srv", "file://localhost/srv"),
        ] {
            assert_eq!(Url::base(text).unwrap().secret(), shown, "{text}");
        }
        for (text, why) in [
            ("ftp://host/a", BadUrl::Scheme),
            ("/srv/a", BadUrl::Scheme),
            ("", BadUrl::Scheme),
            ("http:///a", BadUrl::Host),
            ("http://user@:80/a", BadUrl::Host),
            ("file://other/a", BadUrl::Host),
            ("file://", BadUrl::Host),
            ("http://host/a b", BadUrl::Character),
            ("http://host/a\r\nX: y", BadUrl::Character),
        ] {
            assert_eq!(Url::base(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn a_name_becomes_a_part_of_the_path_and_nothing_else() {
        let base = Url::base("http://host/dir/").unwrap();
        let joined = base.join("a/os?1#2 %+é.raw");
        assert_eq!(
            joined.secret(),
            "http://host/dir/a/os%3F1%232%20%25%2B%C3%A9.raw"
        );
    }

    #[test]
    fn a_redirect_never_leads_to_a_file_nor_out_of_encryption() {
        let http = Url::base("http://host/a").unwrap();
        let https = Url::base("https://host/a").unwrap();
        assert!(http.redirected("https://other/b?key=1").is_ok());
        assert!(https.redirected("https://other/b").is_ok());
        assert_eq!(https.redirected("http://h/b"), Err(BadUrl::Downgrade));
        assert_eq!(
            http.redirected("file:///etc/shadow"),
            Err(BadUrl::Downgrade)
        );
        assert_eq!(http.redirected("gopher://h/"), Err(BadUrl::Scheme));
    }

    #[test]
    fn user_password_and_query_are_never_shown() {
        let base = Url::base("https://me:s3cret@host:1/a").unwrap();
        assert_eq!(base.to_string(), "https://host:1/a");
        assert_eq!(base.credentials(), Some("me:s3cret"));
        let signed = base
            .redirected("https://x@y:pw@cdn/b?token=s3cret")
            .unwrap();
        assert_eq!(
            format!("{signed} {signed:?}"),
            "https://cdn/b Url(https://cdn/b)"
        );
    }
}
