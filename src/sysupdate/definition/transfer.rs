//! One transfer file: this source goes to this target.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Refusal;
use super::draft::Draft;
use super::ini::{self, At};
use super::kind::{Kind, Location, Place};
use super::reader::Reader;
use super::search::Definition;
use crate::sysupdate::Version;
use crate::sysupdate::fetch::Url;
use crate::sysupdate::partition_type::PartitionType;
use crate::sysupdate::pattern::{self, PatternList};
use crate::sysupdate::specifier::Specifiers;

/// How many versions of files stay when nothing is said.
const INSTANCES: u64 = 3;

/// Where versions come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What they are there.
    pub kind: Kind,
    /// Where they are.
    pub location: Location,
    /// More addresses with the same.
    pub mirrors: Vec<Url>,
    /// What they are called.
    pub patterns: PatternList,
}

/// Where versions go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// What they are there.
    pub kind: Kind,
    /// The directory or the disk; `None` for the disk that the root directory is on.
    pub place: Option<Place>,
    /// What they are called: the first pattern names new ones.
    pub patterns: PatternList,
    /// Type of their partitions.
    pub partition_type: PartitionType,
    /// What is set, whatever the name at the source says.
    pub settings: pattern::Metadata,
    /// How many versions stay; `None` when nothing is said.
    pub instances_max: Option<u64>,
    /// Whether left-overs are removed.
    pub remove_temporary: bool,
    /// The link that shows to the newest version: absolute, or below the directory.
    pub current_symlink: Option<PathBuf>,
}

impl Target {
    /// How many versions stay: as many as there are slots for partitions, when nothing is said.
    #[must_use]
    pub fn instances_max(&self) -> u64 {
        let default = if self.kind == Kind::Partition {
            u64::MAX
        } else {
            INSTANCES
        };
        self.instances_max.unwrap_or(default)
    }
}

/// A transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The name of its file, without the extension.
    pub id: String,
    /// Its file.
    pub path: PathBuf,
    /// Older versions are obsolete.
    pub min_version: Option<Version>,
    /// Versions that are never removed, as exact texts.
    pub protected: Vec<String>,
    /// Whether the manifest needs a signature.
    pub verify: bool,
    /// Addresses of what has changed, with `@v` for the version.
    pub change_log: Vec<String>,
    /// Addresses of AppStream catalogues.
    pub app_stream: Vec<String>,
    /// Features of which one has to be on.
    pub features: Vec<String>,
    /// Features that all have to be on.
    pub requisite_features: Vec<String>,
    /// Whether it takes part.
    pub is_enabled: bool,
    /// Where versions come from.
    pub source: Source,
    /// Where they go.
    pub target: Target,
}

impl Transfer {
    /// Reads the text of one transfer file, which errors call `path`. What is strange but does no harm goes to `warnings`.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn parse(
        path: &Path,
        bytes: &[u8],
        specifiers: &Specifiers,
        warnings: &mut Vec<String>,
    ) -> Result<Transfer, Refusal> {
        let file = Definition {
            path: path.to_owned(),
            lines: ini::parse(path, bytes, warnings)?,
        };
        let id = path.file_stem().unwrap_or_default().to_string_lossy();
        Transfer::read(&id, &file, specifiers, warnings)
    }

    /// What a file and its drop-ins say.
    pub(super) fn read(
        id: &str,
        file: &Definition,
        specifiers: &Specifiers,
        warnings: &mut Vec<String>,
    ) -> Result<Transfer, Refusal> {
        let mut draft = Draft::default();
        let mut reader = Reader::new(specifiers, warnings);
        for line in reader.known_section(&file.lines, &["Transfer", "Source", "Target"]) {
            match line.section.as_str() {
                "Transfer" => draft.transfer(&mut reader, line),
                "Source" => draft.source(&mut reader, line)?,
                _ => draft.target(&mut reader, line)?,
            }
        }
        let whole = At {
            path: file.path.clone(),
            line: 1,
        };
        draft.finish(id, &whole, &mut reader)
    }

    /// Whether it takes part when these features are on.
    pub(super) fn features_allow(&self, enabled: &BTreeSet<String>) -> bool {
        let one = self.features.is_empty() || self.features.iter().any(|f| enabled.contains(f));
        one && self.requisite_features.iter().all(|f| enabled.contains(f))
    }
}
