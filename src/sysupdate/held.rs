//! Versions that were gone back from: they are installed, or could be, and are not to be had again unless somebody asks for them.
//!
//! One record for each collection. It also says which version is being made the current one, so that whatever is cut off on the way is
//! gone on with: links and names of files change one after the other.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::definition::Collection;
use super::note::Note;
use super::version::Version;
use crate::sys::{Root, out};

const NOTE: Note = Note("held");
/// Most bytes of a record.
const LIMIT: u64 = 1 << 20;

/// What is held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// The versions.
    pub versions: Vec<Version>,
    /// The version that is being made the current one.
    pub becoming: Option<Version>,
}

/// The same as it is on disk.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    versions: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    becoming: Option<String>,
}

impl Held {
    /// Whether a version is held.
    #[must_use]
    pub fn has(&self, version: &Version) -> bool {
        self.versions.contains(version)
    }

    /// What is held of a collection.
    ///
    /// # Errors
    /// When the record cannot be read, or is none.
    pub fn load(root: &Root, collection: &Collection) -> Result<Held> {
        let path = root.join(NOTE.path(collection));
        let shown = out::path(&path);
        let bytes = NOTE.read(root, collection, LIMIT);
        let Some(bytes) = bytes.with_context(|| format!("reading {shown}"))? else {
            return Ok(Held::default());
        };
        let record: Option<Record> = serde_json::from_slice(&bytes).ok();
        let held = record.and_then(|record| {
            let versions = record.versions.iter().map(|text| Version::new(text));
            let becoming = record.becoming.as_deref().map(Version::new);
            Some(Held {
                versions: versions.collect::<Option<_>>()?,
                becoming: match becoming {
                    Some(version) => Some(version?),
                    None => None,
                },
            })
        });
        held.with_context(|| {
            format!("{shown} is no record of held versions; when it is removed, none is held")
        })
    }

    /// Records it, durably.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, root: &Root, collection: &Collection) -> Result<()> {
        let about = || format!("writing {}", out::path(&root.join(NOTE.path(collection))));
        if *self == Held::default() {
            return NOTE.forget(root, collection).with_context(about);
        }
        let record = Record {
            versions: self.versions.iter().map(Version::to_string).collect(),
            becoming: self.becoming.as_ref().map(Version::to_string),
        };
        let bytes = serde_json::to_vec(&record)?;
        NOTE.write(root, collection, &bytes).with_context(about)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysupdate::testing::version;

    #[test]
    fn what_is_held_is_remembered_for_each_collection_and_what_is_no_record_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path()).unwrap();
        let other = Collection::Component("c".into());
        let held = Held {
            versions: vec![version("2"), version("3~rc1")],
            becoming: Some(version("1")),
        };
        let load = |collection| Held::load(&root, collection);
        assert_eq!(load(&Collection::Default).unwrap(), Held::default());
        held.save(&root, &Collection::Default).unwrap();
        assert_eq!(load(&Collection::Default).unwrap(), held);
        assert_eq!(load(&other).unwrap(), Held::default());
        Held::default().save(&root, &Collection::Default).unwrap();
        let path = root.join(NOTE.path(&Collection::Default));
        assert!(!path.exists());
        for text in [
            "",
            "{}",
            "{\"versions\":[\"..\"]}",
            "{\"versions\":[],\"becoming\":\"\"}",
        ] {
            std::fs::write(&path, text).unwrap();
            let told = load(&Collection::Default).unwrap_err().to_string();
            assert!(told.contains("is no record of held versions"), "{told}");
        }
    }
}
