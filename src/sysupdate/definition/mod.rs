//! Definitions: transfer files, features and components (sysupdate.d(5)).
//!
//! Owns where the files are, what may stand in them and what it means. A file that is refused refuses everything: half of
//! a set of transfers must never be installed. What is strange but does no harm is a warning.

mod condition;
mod draft;
mod feature;
mod ini;
mod kind;
mod reader;
mod search;
mod suggest;
mod transfer;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

pub use condition::Machine;
pub use feature::{Component, Feature};
pub use kind::{Base, Kind, Location, Place};
pub use suggest::Suggestion;
pub use transfer::{Source, Target, Transfer};

use super::Specifiers;
use crate::sys::Root;
use search::{BASES, Search};

/// What is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Collection {
    /// `sysupdate.d` of the system.
    Default,
    /// `sysupdate.NAME.d` of the system; [`is_component_name`] holds of it.
    Component(String),
    /// One directory of the running system, an absolute path.
    Directory(PathBuf),
}

/// A definition that cannot be used, or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from one; 0 where it is not about one.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

impl Refusal {
    fn of_path(path: &Path, problem: String) -> Refusal {
        Refusal {
            path: path.to_owned(),
            line: 0,
            problem,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if self.line > 0 {
            write!(f, "{}:", self.line)?;
        }
        write!(f, " {}", self.problem)
    }
}

impl std::error::Error for Refusal {}

/// Everything that a collection defines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Definitions {
    /// The transfers, enabled or not, in the order in which they are installed.
    pub transfers: Vec<Transfer>,
    /// The features, by their names.
    pub features: Vec<Feature>,
    /// What is strange in the files but does no harm.
    pub warnings: Vec<String>,
}

impl Definitions {
    /// Reads what `collection` defines in the system at `root`. Where there is not one `*.transfer`, `*.conf` are transfers, as they were
    /// called before systemd 257.
    ///
    /// # Errors
    /// When a file cannot be read, is larger than 1 MiB, or is refused; when a directory has more than 1000 files.
    pub fn load(
        root: &Root,
        collection: &Collection,
        specifiers: &Specifiers,
    ) -> Result<Definitions, Refusal> {
        let search = Search::of(root, collection)?;
        let mut warnings = Vec::new();
        let mut features = Vec::new();
        for (name, file) in search.files("feature", &mut warnings)? {
            features.push(Feature::read(
                &stem(&name),
                &file.lines,
                specifiers,
                &mut warnings,
            ));
        }
        let mut files = search.files("transfer", &mut warnings)?;
        if files.is_empty() {
            files = search.files("conf", &mut warnings)?;
            if !files.is_empty() {
                warnings.push(
                    "As of v257, transfer definitions should have the '.transfer' extension."
                        .into(),
                );
            }
        }
        let enabled: BTreeSet<String> = features
            .iter()
            .filter(|f| f.is_enabled)
            .map(|f| f.name.clone())
            .collect();
        let mut transfers = Vec::new();
        for (name, file) in files {
            let mut transfer = Transfer::read(&stem(&name), &file, specifiers, &mut warnings)?;
            transfer.is_enabled = transfer.features_allow(&enabled);
            transfers.push(transfer);
        }
        Ok(Definitions {
            transfers,
            features,
            warnings,
        })
    }

    /// The transfers that take part.
    pub fn enabled(&self) -> impl Iterator<Item = &Transfer> {
        self.transfers.iter().filter(|t| t.is_enabled)
    }
}

/// The components of the system at `root`, by their names, and warnings. A directory makes a component; what a file says of it is
/// only more about it.
///
/// # Errors
/// As [`Definitions::load`].
pub fn components(
    root: &Root,
    specifiers: &Specifiers,
) -> Result<(Vec<Component>, Vec<String>), Refusal> {
    let search = Search::at(root, BASES.map(PathBuf::from).into())?;
    let mut names = BTreeSet::new();
    for base in BASES {
        for entry in search.names(Path::new(base))? {
            let name = entry
                .to_str()
                .and_then(|e| e.strip_prefix("sysupdate.")?.strip_suffix(".d"));
            // not the drop-ins of sysupdate.NAME.component, and only a directory has names or could have some
            let Some(name) = name.filter(|name| is_component_name(name)) else {
                continue;
            };
            if search.is_directory(&Path::new(base).join(&entry)) {
                names.insert(name.to_owned());
            }
        }
    }
    let mut warnings = Vec::new();
    let components = names
        .iter()
        .map(|name| component_of(&search, name, specifiers, &mut warnings));
    Ok((components.collect::<Result<_, _>>()?, warnings))
}

/// What is said of the component `name` of the system at `root`, and warnings; of one that no file describes, it is enabled.
///
/// # Errors
/// As [`Definitions::load`].
pub fn component(
    root: &Root,
    name: &str,
    specifiers: &Specifiers,
) -> Result<(Component, Vec<String>), Refusal> {
    let search = Search::at(root, BASES.map(PathBuf::from).into())?;
    let mut warnings = Vec::new();
    Ok((
        component_of(&search, name, specifiers, &mut warnings)?,
        warnings,
    ))
}

fn component_of(
    search: &Search<'_>,
    name: &str,
    specifiers: &Specifiers,
    warnings: &mut Vec<String>,
) -> Result<Component, Refusal> {
    let file = format!("sysupdate.{name}.component");
    let lines = search.file(OsStr::new(&file), warnings)?;
    Ok(Component::read(name, &lines, specifiers, warnings))
}

/// Whether a component can be called `name`: part of a file name, and not the name of the file that describes one.
#[must_use]
pub fn is_component_name(name: &str) -> bool {
    let is_part = !name.contains('/') && !name.chars().any(char::is_control) && name.len() <= 200;
    is_part && !matches!(name, "" | "." | "..") && !name.ends_with(".component")
}

fn stem(name: &OsStr) -> String {
    Path::new(name)
        .file_stem()
        .unwrap_or(name)
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests;
