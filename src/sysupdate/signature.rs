//! Detached OpenPGP signatures over manifests, checked by gpgv(1).
//!
//! Invariant: nothing of a manifest is parsed before it is [`Authentic`], and what is parsed are the bytes that were checked:
//! they are kept in memory, and gpgv gets a copy in a directory that only we can enter. Nothing in the home directory of the
//! user is read or written.
//!
//! gpgv ends with 0 also when the key has expired or was revoked, so what it reports of each signature decides (doc/DETAILS of
//! GnuPG).

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fetch::{self, Client, MANIFEST_LIMIT, SIGNATURE_LIMIT, Url};
use crate::sys::cmd::Argv;
use crate::sys::fs::{PrivateDir, read_bounded};
use crate::sys::tool::{Tool, ToolError};
use crate::sys::{Doing, Failure, Root};

/// What the manifest of a source is called.
pub const MANIFEST: &str = "SHA256SUMS";
/// Names of its signature. The first that is there decides.
pub const NAMES: [&str; 4] = [
    "SHA256SUMS.sha256.asc",
    "SHA256SUMS.sha256.gpg",
    "SHA256SUMS.gpg",
    "SHA256SUMS.asc",
];
/// Names a keyring instead of those of the system.
pub const VARIABLE: &str = "SYSTEMD_OPENPGP_KEYRING";

/// Directories of the administrator's and the vendor's keyring.
const DIRS: [&str; 2] = ["etc/systemd", "usr/lib/systemd"];
/// What it is called; the first that is there counts.
const KEYRINGS: [&str; 2] = ["import-pubring.pgp", "import-pubring.gpg"];
/// Most bytes of a keyring.
const KEYRING_LIMIT: u64 = 16 << 20;
/// How long gpgv may take.
const LIMIT: Duration = Duration::from_secs(60);

/// The keys that are trusted, as files for gpgv.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyrings(Vec<Vec<u8>>);

impl Keyrings {
    /// That which `variable`, the value of [`VARIABLE`], names, alone; else the administrator's and the vendor's below `root`. None
    /// where none is there, or all are empty.
    ///
    /// # Errors
    /// When one is there and cannot be read, and for a variable without an absolute path.
    pub fn find(root: &Root, variable: Option<&OsStr>) -> Result<Keyrings, Failure> {
        let paths: Vec<PathBuf> = match variable {
            Some(path) if Path::new(path).is_absolute() => vec![path.into()],
            Some(path) => {
                let doing = format!("using the keyring {} that {VARIABLE} names", path.display());
                let cause = io::Error::other("it is no absolute path");
                return Err(Failure::new(doing, cause));
            }
            None => {
                let first = |dir: &&str| {
                    let mut names = KEYRINGS.iter().map(|name| root.join(dir).join(name));
                    names.find(|path| fs::symlink_metadata(path).is_ok())
                };
                DIRS.iter().filter_map(first).collect()
            }
        };
        let mut found = Vec::new();
        for path in paths {
            let doing = || format!("reading the keyring {}", path.display());
            let keys = read_bounded(&path, KEYRING_LIMIT).doing(doing)?;
            let keys = binary(keys).doing(doing)?;
            if !keys.is_empty() {
                found.push(keys);
            }
        }
        Ok(Keyrings(found))
    }

    /// Whether there is no key at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A keyring as it is, or what its armour holds (RFC 9580, 6.2): gpgv takes only the former.
fn binary(keys: Vec<u8>) -> io::Result<Vec<u8>> {
    let Ok(text) = std::str::from_utf8(&keys) else {
        return Ok(keys);
    };
    let mut lines = text.lines().map(str::trim_end);
    let mut found = Vec::new();
    let mut is_armoured = false;
    while lines
        .by_ref()
        .any(|line| line == "-----BEGIN PGP PUBLIC KEY BLOCK-----")
    {
        is_armoured = true;
        // an empty line ends the headers
        let body = lines.by_ref().skip_while(|line| !line.is_empty()).skip(1);
        let body = body.take_while(|line| !line.starts_with("-----"));
        // a line that begins with = is a checksum of the armour, which later versions of the format ignore
        let body: String = body.filter(|line| !line.starts_with('=')).collect();
        let bytes = base64(&body).ok_or_else(|| io::Error::other("its armour is damaged"))?;
        found.extend(bytes);
    }
    Ok(if is_armoured { found } else { keys })
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for c in text.bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

/// A document that may be parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentic(Vec<u8>);

impl Authentic {
    /// Of a transfer with Verify=no, or a run with --verify=no: the administrator trusts the place that it is from.
    #[must_use]
    pub fn without_signature(bytes: Vec<u8>) -> Authentic {
        Authentic(bytes)
    }

    /// The bytes that were checked.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Why a document is not authentic.
#[derive(Debug)]
pub enum Error {
    /// It, or its signature, was not fetched.
    Fetch(fetch::Error),
    /// There is no signature.
    Missing,
    /// There is no key that could have made it.
    NoKeyring,
    /// The signature is not good, for this reason.
    Bad(String),
    /// It could not be checked.
    Unchecked(Failure),
    /// gpgv could not be run.
    Tool(ToolError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const INVALID: &str = "DOWNLOAD INVALID: Signature verification failed.";
        match self {
            Error::Fetch(e) => write!(f, "{e}"),
            Error::Missing => {
                f.write_str("Failed to retrieve signature file, cannot verify. (Try --verify=no?)")
            }
            Error::NoKeyring => write!(
                f,
                "{INVALID} There is no keyring: put the keys to be trusted into {}/{}.",
                DIRS[0], KEYRINGS[0]
            ),
            Error::Bad(why) => write!(f, "{INVALID} {why}"),
            Error::Unchecked(e) => write!(f, "{INVALID} {e}: {}", e.cause()),
            Error::Tool(e) => write!(f, "{INVALID} {e}"),
        }
    }
}

impl std::error::Error for Error {}

/// The manifest at `base`, checked with `keyrings`; without them it is taken as it is.
///
/// # Errors
/// [`Error`]; nothing was parsed then.
pub fn manifest(
    client: &mut Client,
    base: &Url,
    keyrings: Option<&Keyrings>,
) -> Result<Authentic, Error> {
    let document = client
        .document(&base.join(MANIFEST), MANIFEST_LIMIT)
        .map_err(Error::Fetch)?;
    let Some(keyrings) = keyrings else {
        return Ok(Authentic::without_signature(document));
    };
    for name in NAMES {
        match client.document(&base.join(name), SIGNATURE_LIMIT) {
            Ok(signature) => return verify(document, &signature, keyrings),
            Err(e) if e.is_missing() => {}
            Err(e) => return Err(Error::Fetch(e)),
        }
    }
    Err(Error::Missing)
}

/// The document, when `signature` is a good one of it by one of the keys.
///
/// # Errors
/// [`Error`], also when gpgv is not there.
pub fn verify(
    document: Vec<u8>,
    signature: &[u8],
    keyrings: &Keyrings,
) -> Result<Authentic, Error> {
    if keyrings.is_empty() {
        return Err(Error::NoKeyring);
    }
    let doing = || "giving gpgv what it is to check".to_owned();
    let dir = PrivateDir::new().doing(doing).map_err(Error::Unchecked)?;
    let put = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        let written = fs::write(&path, bytes).doing(doing);
        written.map(|()| path).map_err(Error::Unchecked)
    };
    let mut argv = vec!["gpgv".into(), "--homedir".into(), dir.path().into()];
    argv.extend(["--status-fd", "1"].map(Into::into));
    for (number, keys) in keyrings.0.iter().enumerate() {
        argv.push("--keyring".into());
        argv.push(put(&format!("keyring-{number}"), keys)?.into_os_string());
    }
    argv.push("--".into());
    argv.push(put("signature", signature)?.into_os_string());
    argv.push(put("document", &document)?.into_os_string());
    let done = Tool::new(Argv::new(argv), LIMIT)
        .env("HOME", dir.path())
        .env("GNUPGHOME", dir.path())
        .run()
        .map_err(Error::Tool)?;
    match judge(&String::from_utf8_lossy(&done.stdout)) {
        Ok(()) if done.code == 0 => Ok(Authentic(document)),
        Ok(()) => Err(Error::Bad(format!("gpgv says: {}", done.last_words()))),
        Err(why) => Err(Error::Bad(why)),
    }
}

/// Whether what gpgv reports is that all signatures, and at least one, are good, by keys that are so now.
fn judge(report: &str) -> Result<(), String> {
    let mut good = 0;
    for line in report.lines() {
        let Some(words) = line.strip_prefix("[GNUPG:] ") else {
            continue;
        };
        let (keyword, rest) = words.split_once(' ').unwrap_or((words, ""));
        let why = match keyword {
            "GOODSIG" => {
                good += 1;
                continue;
            }
            "BADSIG" => "The manifest is not the one that was signed by",
            "EXPSIG" => "The signature has expired, by",
            "EXPKEYSIG" => "The key has expired:",
            "REVKEYSIG" => "The key was revoked:",
            "ERRSIG" => {
                "There is no key for it in the keyring, or it is of a kind that is not known:"
            }
            "NODATA" | "UNEXPECTED" => "It is no signature.",
            _ => continue,
        };
        // a name in a key may hold anything
        let who: String = rest
            .chars()
            .map(|c| if c.is_control() { '?' } else { c })
            .collect();
        return Err(format!("{why} {who}").trim_end().to_owned());
    }
    match good {
        0 => Err("There is no good signature.".to_owned()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
