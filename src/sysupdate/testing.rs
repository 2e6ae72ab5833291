//! Transfers and instances for tests.

use std::path::PathBuf;

use super::Version;
use super::definition::{Base, Kind, Location, Place, Source, Target, Transfer};
use super::instance::{Instance, Resource, Spot, State};
use super::partition_type::PartitionType;
use super::pattern::{Metadata, Pattern, PatternList};
use crate::sys::root;

/// A version.
pub(crate) fn version(text: &str) -> Version {
    Version::new(text).unwrap_or_else(|| panic!("{text} is a version"))
}

/// A transfer of files from one directory to another.
pub(crate) fn transfer(id: &str) -> Transfer {
    let place = |path: &str| Place {
        path: root::inside(path.as_ref()),
        base: Base::Root,
    };
    let patterns: PatternList = [Pattern::parse("os_@v").unwrap()].into_iter().collect();
    Transfer {
        id: id.to_owned(),
        path: PathBuf::from(format!("{id}.transfer")),
        min_version: None,
        protected: Vec::new(),
        verify: true,
        change_log: Vec::new(),
        app_stream: Vec::new(),
        features: Vec::new(),
        requisite_features: Vec::new(),
        is_enabled: true,
        source: Source {
            kind: Kind::RegularFile,
            location: Location::Local(place("src")),
            mirrors: Vec::new(),
            patterns: patterns.clone(),
        },
        target: Target {
            kind: Kind::RegularFile,
            place: Some(place("dst")),
            patterns,
            partition_type: PartitionType::default(),
            settings: Metadata::default(),
            instances_max: None,
            remove_temporary: true,
            current_symlink: None,
        },
    }
}

/// An instance from `VERSION`, `VERSION!` when it is pending, `VERSION?` when it is partial.
pub(crate) fn instance(text: &str) -> Instance {
    let (text, state) = match (text.strip_suffix('!'), text.strip_suffix('?')) {
        (Some(text), _) => (text, State::Pending),
        (_, Some(text)) => (text, State::Partial),
        _ => (text, State::Installed),
    };
    Instance {
        version: version(text),
        state,
        kind: Kind::RegularFile,
        spot: Spot::Path(PathBuf::from(format!("os_{text}"))),
        shown: format!("dst/os_{text}"),
        pattern: 0,
        metadata: Metadata::default(),
    }
}

/// A transfer with what is in its target and what its source has: words as [`instance`] reads them.
pub(crate) fn resource<'d>(transfer: &'d Transfer, target: &str, source: &str) -> Resource<'d> {
    let instances = |words: &str| words.split_ascii_whitespace().map(instance).collect();
    Resource {
        transfer,
        target: instances(target),
        source: instances(source),
        slots: None,
        room: Vec::new(),
    }
}
