//! Addresses of sources.

use std::fmt;

/// The address of a directory that a source is in: `http`, `https` or `file`, without query and fragment.
///
/// What is shown of it has no password: use [`Url::as_str`] for requests only.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(String);

impl Url {
    /// Reads an address; `None` when it is none of `http`, `https` or `file`, or names no host or no absolute path. A query
    /// and a fragment are dropped.
    #[must_use]
    pub fn parse(text: &str) -> Option<Url> {
        let end = text.find(['?', '#']).unwrap_or(text.len());
        let text = &text[..end];
        let (scheme, rest) = text.split_once("://")?;
        let is_plain = text.chars().all(|c| !c.is_control() && !c.is_whitespace());
        let host = rest.split('/').next().unwrap_or_default();
        let is_whole = match scheme {
            "http" | "https" => !host_of(host).is_empty(),
            "file" => ["", "localhost"].contains(&host) && rest.len() > host.len(),
            _ => false,
        };
        (is_plain && is_whole).then(|| Url(text.to_owned()))
    }

    /// The address itself, perhaps with a password in it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address of `name`, a path without a leading slash, below this one. Whatever may have a meaning in an address is
    /// encoded.
    #[must_use]
    pub fn join(&self, name: &str) -> Url {
        let mut text = self.0.clone();
        if !text.ends_with('/') {
            text.push('/');
        }
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~/+:@".contains(&byte) {
                text.push(char::from(byte));
            } else {
                text.push_str(&format!("%{byte:02X}"));
            }
        }
        Url(text)
    }
}

/// A host without user, password and port.
fn host_of(authority: &str) -> &str {
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    host.rsplit_once(':').map_or(host, |(name, port)| {
        match port.bytes().all(|b| b.is_ascii_digit()) {
            true => name,
            false => host,
        }
    })
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("", &self.0));
        let end = rest.find('/').unwrap_or(rest.len());
        match rest[..end].rsplit_once('@') {
            Some((user, host)) if user.contains(':') => {
                let user = user.split(':').next().unwrap_or_default();
                write!(f, "{scheme}://{user}:…@{host}{}", &rest[end..])
            }
            _ => f.write_str(&self.0),
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
    fn only_addresses_of_http_https_and_files_are_taken() {
        for good in [
            "http://h",
            "https://u:p@h:1/a/",
            "file:///a",
            "file://localhost/a",
            "http://[::1]:8/x",
        ] {
            assert_eq!(Url::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "ftp://x/",
            "http://",
            "http:///x",
            "http://:80/",
            "/x",
            "file://host/x",
            "file://",
            "http://a b/",
            "http://a\n/",
            "",
        ] {
            assert_eq!(Url::parse(bad), None, "{bad}");
        }
        assert_eq!(Url::parse("http://h/a?b#c").unwrap().as_str(), "http://h/a");
        assert_eq!(Url::parse("http://h/a#c?b").unwrap().as_str(), "http://h/a");
    }

    #[test]
    fn a_name_is_joined_with_everything_encoded_that_would_mean_something() {
        let join =
            |base: &str, name: &str| Url::parse(base).unwrap().join(name).as_str().to_owned();
        assert_eq!(
            join("http://h/a", "b/os_1+2~3.raw"),
            "http://h/a/b/os_1+2~3.raw"
        );
        assert_eq!(
            join("http://h/a/", "x?y#z é%"),
            "http://h/a/x%3Fy%23z%20%C3%A9%25"
        );
    }

    #[test]
    fn a_password_is_never_shown() {
        let url = Url::parse("https://me:secret@h:1/a@b").unwrap();
        assert_eq!(url.to_string(), "https://me:…@h:1/a@b");
        assert!(!format!("{url:?}").contains("secret"));
        assert_eq!(
            Url::parse("http://h/a:b@c").unwrap().to_string(),
            "http://h/a:b@c"
        );
    }
}
