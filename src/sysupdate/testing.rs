//! Transfers and instances for tests.

use std::path::{Path, PathBuf};

use super::Version;
use super::cancel::Cancel;
use super::definition::{Base, Kind, Location, Place, Source, Target, Transfer};
use super::fetch::Policy;
use super::instance::{Instance, Resource, Spot, State};
use super::partition_type::PartitionType;
use super::pattern::{Metadata, Pattern, PatternList};
use super::place::Bases;
use super::source::Manifests;
use super::update::Site;
use crate::sys::{Root, root};

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

/// A system without anything, to be updated.
pub(super) struct Nothing {
    root: Root,
    bases: Bases,
    manifests: Manifests,
    policy: Policy,
    cancel: Cancel,
}

impl Nothing {
    pub(super) fn at(dir: &Path) -> Nothing {
        Nothing {
            root: Root::at(dir).unwrap(),
            bases: Bases::default(),
            manifests: Manifests::default(),
            policy: Policy::default(),
            cancel: Cancel::default(),
        }
    }

    pub(super) fn site(&self) -> Site<'_> {
        Site {
            root: &self.root,
            bases: &self.bases,
            manifests: &self.manifests,
            spool: None,
            policy: &self.policy,
            cancel: &self.cancel,
            is_durable: false,
        }
    }
}
