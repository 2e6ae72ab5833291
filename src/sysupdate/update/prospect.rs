//! What can be known of a payload before it comes: how long it is, and how long it will be.

use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};

use super::Site;
use crate::sys::beneath;
use crate::sysupdate::decompress::{Format, Size, is_skippable};
use crate::sysupdate::definition::Location;
use crate::sysupdate::fetch::{Client, Url};
use crate::sysupdate::instance::{Instance, Resource, Spot};

/// Bytes at the begin that are looked at.
const START: u64 = 512;
/// How often an index tells that it begins earlier.
const LOOKS: usize = 3;

/// A payload that has not come yet.
#[derive(Debug, Clone, Copy)]
pub struct Prospect {
    /// Bytes as they are served.
    pub bytes: Option<u64>,
    /// Bytes once they are unpacked.
    pub size: Size,
    /// It is known not to be compressed.
    pub is_raw: bool,
    /// Whether it may be kept to go on with when it breaks off: there is room for it.
    pub is_kept: bool,
}

impl Prospect {
    /// Of what nothing is known.
    pub(super) const UNKNOWN: Prospect = Prospect {
        bytes: None,
        size: Size::Unknown,
        is_raw: false,
        is_kept: true,
    };

    /// Asks what there is to know of an instance, which says as well whether it is there. Of several addresses the first counts that has
    /// one with as many bytes as its name says; where none has, it is the first that has one.
    ///
    /// # Errors
    /// When it is not there, or cannot be had.
    pub(super) fn of(
        site: &Site<'_>,
        client: &mut Client,
        resource: &Resource<'_>,
        instance: &Instance,
        named: Option<u64>,
    ) -> Result<Prospect> {
        let Spot::Path(path) = &instance.spot else {
            return Ok(Prospect::UNKNOWN);
        };
        match &resource.transfer.source.location {
            Location::Local(_) if instance.kind.is_tree() => Ok(Prospect::UNKNOWN),
            Location::Local(place) => {
                let dir = site.bases.open(site.root, place)?.dir;
                let file = beneath::open_file(dir.context("its directory is gone")?, path)?;
                let length = file.metadata()?.len();
                Ok(Prospect::read(length, |from, count| {
                    let mut bytes = vec![0; usize::try_from(count).ok()?];
                    file.read_exact_at(&mut bytes, from).ok()?;
                    Some(bytes)
                }))
            }
            Location::Url(_) => {
                let name = path.to_str().context("its name is no text")?;
                let (mut other, mut first) = (None, None);
                for base in site.manifests.bases(resource.transfer) {
                    match Prospect::at(client, &base.join(name)) {
                        Ok(prospect) if prospect.may_have(named) => return Ok(prospect),
                        // such as a page that says that it is not here
                        Ok(prospect) => other = other.or(Some(prospect)),
                        Err(e) => first = first.or(Some(e)),
                    }
                    site.cancel.check()?;
                }
                match (other, first) {
                    (Some(other), _) => Ok(other),
                    (None, first) => first.map_or(Ok(Prospect::UNKNOWN), Err),
                }
            }
        }
    }

    fn at(client: &mut Client, url: &Url) -> Result<Prospect> {
        let Some(length) = client.probe(url)?.length else {
            return Ok(Prospect::UNKNOWN);
        };
        // a server without parts of files tells no more than the length
        Ok(Prospect::read(length, |from, count| {
            client.piece(url, from, count, length).ok().flatten()
        }))
    }

    /// What `piece` gives of the `length` bytes tells how long it will be: so many from there, or none.
    fn read(length: u64, mut piece: impl FnMut(u64, u64) -> Option<Vec<u8>>) -> Prospect {
        let known = Prospect {
            bytes: Some(length),
            ..Prospect::UNKNOWN
        };
        let Some(first) = piece(0, START.min(length)) else {
            return known;
        };
        let mut size = Size::of_start(&first, length);
        for _ in 0..LOOKS {
            let Size::NeedsEnd(count) = size else { break };
            let last = piece(length.saturating_sub(count), count.min(length));
            size = last.map_or(Size::Unknown, |last| Size::of_end(&last, length));
        }
        Prospect {
            size,
            is_raw: Format::of(&first) == Format::Raw && !is_skippable(&first),
            ..known
        }
    }

    /// Whether it may be what has the bytes that its name says.
    fn may_have(&self, named: Option<u64>) -> bool {
        match (named, self.size) {
            (Some(size), Size::Exactly(has)) => has == size,
            (Some(size), Size::AtLeast(least)) => least <= size,
            _ => true,
        }
    }

    /// Bytes that it needs at least, once it is unpacked; 0 when nothing is known.
    pub(super) fn at_least(&self) -> u64 {
        match self.size {
            Size::Exactly(size) | Size::AtLeast(size) => size,
            Size::NeedsEnd(_) | Size::Unknown => self.bytes.unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is known of these bytes, and which of them were asked for.
    fn looked_at(bytes: &[u8]) -> (Prospect, Vec<(u64, u64)>) {
        let mut asked = Vec::new();
        let prospect = Prospect::read(bytes.len() as u64, |from, count| {
            asked.push((from, count));
            Some(bytes[from as usize..(from + count) as usize].to_vec())
        });
        (prospect, asked)
    }

    #[test]
    fn the_first_bytes_tell_how_long_a_payload_will_be_and_of_xz_the_last_ones() {
        let content = vec![b'x'; 300_000];
        let (raw, asked) = looked_at(&content);
        assert!(raw.is_raw && matches!(raw.size, Size::Exactly(_)) && raw.at_least() == 300_000);
        assert_eq!(asked, [(0, START)]);

        let zst = zstd::bulk::compress(&content, 3).unwrap();
        let (prospect, _) = looked_at(&zst);
        assert!(!prospect.is_raw && prospect.at_least() == 300_000);
        assert_eq!(prospect.bytes, Some(zst.len() as u64));

        let mut xz = Vec::new();
        std::io::copy(&mut liblzma::read::XzEncoder::new(&content[..], 6), &mut xz).unwrap();
        let (prospect, asked) = looked_at(&xz);
        assert!(matches!(prospect.size, Size::Exactly(_)) && prospect.at_least() == 300_000);
        assert_eq!(asked.len(), 2);
    }

    #[test]
    fn of_what_tells_nothing_its_length_is_the_least() {
        let gz = [0x1f, 0x8b, 8, 0];
        let (prospect, _) = looked_at(&gz);
        assert!(!prospect.is_raw && prospect.size == Size::Unknown && prospect.at_least() == 4);
        // a server that has no parts
        let prospect = Prospect::read(100, |_, _| None);
        assert!(!prospect.is_raw && prospect.size == Size::Unknown && prospect.at_least() == 100);
        let (prospect, _) = looked_at(&[]);
        assert!(
            prospect.is_raw
                && matches!(prospect.size, Size::Exactly(_))
                && prospect.at_least() == 0
        );
    }
}
