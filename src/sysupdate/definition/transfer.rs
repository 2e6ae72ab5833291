//! One transfer file: this source goes to this target.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use super::Refusal;
use super::ini::{At, Line};
use super::search::Definition;
use crate::sys::root;
use crate::sysupdate::Version;
use crate::sysupdate::partition_type::PartitionType;
use crate::sysupdate::pattern::{self, Pattern, PatternList};
use crate::sysupdate::specifier::{Specifiers, Unknown};
use crate::sysupdate::url::Url;
use crate::sysupdate::uuid::Uuid;

/// How many versions of files stay when nothing is said.
const INSTANCES: u64 = 3;

/// What a resource is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file behind an address.
    UrlFile,
    /// An archive behind an address.
    UrlTar,
    /// An archive in a directory.
    Tar,
    /// A file in a directory.
    RegularFile,
    /// A directory in a directory.
    Directory,
    /// A subvolume in a directory.
    Subvolume,
    /// A partition of a disk.
    Partition,
}

/// Every kind and its name.
const KINDS: [(&str, Kind); 7] = [
    ("url-file", Kind::UrlFile),
    ("url-tar", Kind::UrlTar),
    ("tar", Kind::Tar),
    ("regular-file", Kind::RegularFile),
    ("directory", Kind::Directory),
    ("subvolume", Kind::Subvolume),
    ("partition", Kind::Partition),
];

impl Kind {
    fn parse(text: &str) -> Option<Kind> {
        KINDS
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, kind)| *kind)
    }

    /// Its name in a transfer file.
    #[must_use]
    pub fn name(self) -> &'static str {
        KINDS
            .iter()
            .find(|(_, kind)| *kind == self)
            .map_or("", |(name, _)| name)
    }

    /// Whether it comes from an address, with a manifest.
    #[must_use]
    pub fn is_url(self) -> bool {
        matches!(self, Kind::UrlFile | Kind::UrlTar)
    }

    /// Whether an instance of it in a directory is itself a directory.
    #[must_use]
    pub fn is_tree(self) -> bool {
        matches!(self, Kind::Directory | Kind::Subvolume)
    }

    /// Whether what comes from this source can go to `target`.
    #[must_use]
    pub fn fits(self, target: Kind) -> bool {
        match self {
            Kind::UrlFile | Kind::RegularFile => {
                matches!(target, Kind::Partition | Kind::RegularFile)
            }
            Kind::UrlTar | Kind::Tar | Kind::Directory | Kind::Subvolume => target.is_tree(),
            Kind::Partition => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a path is relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Base {
    /// The root directory.
    #[default]
    Root,
    /// Where the EFI system partition is mounted.
    Esp,
    /// Where the extended boot loader partition is mounted.
    Xbootldr,
    /// Where the extended boot loader partition is mounted, or that of EFI.
    Boot,
    /// The directory of `--transfer-source`.
    Explicit,
}

/// A directory, absolute, and what it is relative to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The path, normalized, with its leading slash.
    pub path: PathBuf,
    /// What it is relative to.
    pub base: Base,
}

/// Where a source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// Behind an address.
    Url(Url),
    /// In a directory.
    Local(Place),
}

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

/// A transfer while its lines are read.
#[derive(Debug)]
struct Draft {
    min_version: Option<Version>,
    protected: Vec<String>,
    verify: bool,
    change_log: Vec<String>,
    app_stream: Vec<String>,
    features: Vec<String>,
    requisite_features: Vec<String>,
    source: Side,
    mirrors: Vec<Url>,
    target: Side,
    partition_type: PartitionType,
    settings: pattern::Metadata,
    instances_max: Option<u64>,
    remove_temporary: bool,
    current_symlink: Option<(PathBuf, At)>,
}

impl Default for Draft {
    fn default() -> Draft {
        Draft {
            min_version: None,
            protected: Vec::new(),
            verify: true,
            change_log: Vec::new(),
            app_stream: Vec::new(),
            features: Vec::new(),
            requisite_features: Vec::new(),
            source: Side::default(),
            mirrors: Vec::new(),
            target: Side::default(),
            partition_type: PartitionType::default(),
            settings: pattern::Metadata::default(),
            instances_max: None,
            remove_temporary: true,
            current_symlink: None,
        }
    }
}

/// What sources and targets have in common.
#[derive(Debug, Default)]
struct Side {
    kind: Option<Kind>,
    path: Option<String>,
    base: Base,
    patterns: PatternList,
}

impl Side {
    /// Takes a line that both sides know; whether it is one.
    fn take(&mut self, reader: &mut Reader<'_>, line: &Line) -> Result<bool, Refusal> {
        match line.key.as_str() {
            "Type" => match Kind::parse(&line.value) {
                Some(kind) => self.kind = Some(kind),
                None => reader.invalid(line),
            },
            "Path" if line.value.is_empty() => self.path = None,
            "Path" => self.path = reader.expand(line, &line.value).or(self.path.take()),
            "PathRelativeTo" => match line.value.as_str() {
                "" | "root" => self.base = Base::Root,
                "esp" => self.base = Base::Esp,
                "xbootldr" => self.base = Base::Xbootldr,
                "boot" => self.base = Base::Boot,
                "explicit" => self.base = Base::Explicit,
                _ => reader.invalid(line),
            },
            "MatchPattern" if line.value.is_empty() => self.patterns = PatternList::default(),
            "MatchPattern" => {
                for pattern in reader.patterns(line)? {
                    self.patterns.push(pattern);
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The path as a directory or a device.
    fn place(&self, text: &str, side: &str, whole: &At) -> Result<Place, Refusal> {
        let path = Path::new(text);
        let is_plain = |p: Component<'_>| matches!(p, Component::RootDir | Component::Normal(_));
        let has_dots = text.split('/').any(|part| matches!(part, "." | ".."));
        if !path.is_absolute() || !path.components().all(is_plain) || has_dots {
            return Err(whole.refuse(format!(
                "{side} path is not a normalized, absolute path: {text}"
            )));
        }
        Ok(Place {
            path: path.components().collect(),
            base: self.base,
        })
    }
}

impl Draft {
    fn transfer(&mut self, reader: &mut Reader<'_>, line: &Line) {
        match line.key.as_str() {
            "MinVersion" if line.value.is_empty() => self.min_version = None,
            "MinVersion" => {
                if let Some(text) = reader.expand(line, &line.value) {
                    match Version::new(&text) {
                        Some(version) => self.min_version = Some(version),
                        None => reader.warn(
                            line,
                            format!("MinVersion= string is not valid, ignoring: {text}"),
                        ),
                    }
                }
            }
            "ProtectVersion" if line.value.is_empty() => self.protected.clear(),
            "ProtectVersion" => {
                if let Some(text) = reader.expand(line, &line.value) {
                    if text.trim().is_empty() {
                        reader.warn(line, "ProtectVersion= is empty here, ignoring.".into());
                    }
                    for word in text.split_ascii_whitespace() {
                        match Version::new(word) {
                            Some(_) => self.protected.push(word.to_owned()),
                            None => reader.warn(
                                line,
                                format!("ProtectVersion= string is not valid, ignoring: {word}"),
                            ),
                        }
                    }
                }
            }
            "Verify" => reader.set(line, &mut self.verify),
            "ChangeLog" => reader.urls(line, &mut self.change_log),
            "AppStream" => reader.urls(line, &mut self.app_stream),
            "Features" => words(line, &mut self.features),
            "RequisiteFeatures" => words(line, &mut self.requisite_features),
            _ => reader.unknown(line),
        }
    }

    fn source(&mut self, reader: &mut Reader<'_>, line: &Line) -> Result<(), Refusal> {
        if self.source.take(reader, line)? {
            return Ok(());
        }
        match line.key.as_str() {
            "X-Mirror" if line.value.is_empty() => self.mirrors.clear(),
            "X-Mirror" => {
                for word in line.value.split_ascii_whitespace() {
                    let url = reader.expand(line, word).map(|text| Url::parse(&text));
                    match url {
                        Some(Some(url)) if !self.mirrors.contains(&url) => self.mirrors.push(url),
                        Some(None) => reader.warn(
                            line,
                            format!("X-Mirror= is not a valid URL, ignoring: {word}"),
                        ),
                        _ => {}
                    }
                }
            }
            _ => reader.unknown(line),
        }
        Ok(())
    }

    fn target(&mut self, reader: &mut Reader<'_>, line: &Line) -> Result<(), Refusal> {
        if self.target.take(reader, line)? {
            return Ok(());
        }
        let settings = &mut self.settings;
        match line.key.as_str() {
            "MatchPartitionType" if line.value.is_empty() => {
                self.partition_type = PartitionType::default()
            }
            "MatchPartitionType" => {
                match PartitionType::parse(&line.value, &reader.specifiers.architecture) {
                    Some(known) => self.partition_type = known,
                    None => reader.invalid(line),
                }
            }
            "PartitionUUID" => reader.parsed(line, &mut settings.uuid, Uuid::parse),
            "PartitionFlags" => reader.parsed(line, &mut settings.flags, pattern::flags),
            "PartitionNoAuto" => reader.set_or_unset(line, &mut settings.no_auto),
            "PartitionGrowFileSystem" => reader.set_or_unset(line, &mut settings.grow_fs),
            "ReadOnly" => reader.set_or_unset(line, &mut settings.read_only),
            "Mode" => reader.parsed(line, &mut settings.mode, |text| {
                let is_octal = text.bytes().all(|b| b.is_ascii_digit());
                u32::from_str_radix(text, 8)
                    .ok()
                    .filter(|mode| is_octal && *mode <= 0o7777)
            }),
            "TriesLeft" => reader.parsed(line, &mut settings.tries_left, pattern::decimal),
            "TriesDone" => reader.parsed(line, &mut settings.tries_done, pattern::decimal),
            "InstancesMax" => {
                reader.parsed(line, &mut self.instances_max, pattern::decimal);
                if self.instances_max.is_some_and(|n| n < 2) {
                    reader.warn(
                        line,
                        "InstancesMax= value must be at least 2, bumping: ".to_owned()
                            + &line.value,
                    );
                    self.instances_max = Some(2);
                }
            }
            "RemoveTemporary" => reader.set(line, &mut self.remove_temporary),
            "CurrentSymlink" if line.value.is_empty() => self.current_symlink = None,
            "CurrentSymlink" => {
                if let Some(text) = reader.expand(line, &line.value) {
                    let is_normal = |part: &str| !matches!(part, "." | "..");
                    let names = Path::new(&text).file_name().is_some() && !text.ends_with('/');
                    if names && text.split('/').all(is_normal) {
                        let path = Path::new(&text).components().collect();
                        self.current_symlink = Some((path, line.at.clone()));
                    } else {
                        reader.warn(
                            line,
                            format!("CurrentSymlink= path is not normalized, ignoring: {text}"),
                        );
                    }
                }
            }
            _ => reader.unknown(line),
        }
        Ok(())
    }

    /// The transfer, when everything that it needs is there and fits.
    fn finish(
        mut self,
        id: &str,
        whole: &At,
        reader: &mut Reader<'_>,
    ) -> Result<Transfer, Refusal> {
        let source = self.finish_source(whole)?;
        for pattern in self
            .source
            .patterns
            .patterns()
            .iter()
            .chain(self.target.patterns.patterns())
        {
            if !pattern.can_match() {
                reader
                    .warnings
                    .push(whole.warning(format!("no name can ever match the pattern {pattern}")));
            }
        }
        let target = self.finish_target(&source, whole, reader)?;
        unique(&mut self.change_log);
        unique(&mut self.app_stream);
        Ok(Transfer {
            id: id.to_owned(),
            path: whole.path.clone(),
            min_version: self.min_version,
            protected: self.protected,
            verify: self.verify,
            change_log: self.change_log,
            app_stream: self.app_stream,
            features: self.features,
            requisite_features: self.requisite_features,
            is_enabled: true,
            source,
            target,
        })
    }

    fn finish_source(&mut self, whole: &At) -> Result<Source, Refusal> {
        let kind = self.source.kind.filter(|kind| *kind != Kind::Partition);
        let kind = kind.ok_or_else(|| {
            whole.refuse("Source Type= must be one of url-file, url-tar, tar, regular-file, directory, subvolume.")
        })?;
        let path = self.source.path.take();
        let path = path.ok_or_else(|| whole.refuse("Source specification lacks Path=."))?;
        let location = if kind.is_url() {
            let url = Url::parse(&path);
            Location::Url(url.ok_or_else(|| {
                whole.refuse(format!(
                    "Source path is not a valid HTTP or HTTPS URL: {path}"
                ))
            })?)
        } else {
            Location::Local(self.source.place(&path, "Source", whole)?)
        };
        let patterns = &self.source.patterns;
        if patterns.first().is_none() {
            return Err(whole.refuse("Source specification lacks MatchPattern=."));
        }
        if kind.is_tree() && patterns.patterns().iter().any(Pattern::is_any_depth) {
            return Err(whole.refuse(format!(
                "Source type '{kind}' cannot be matched by a pattern with **/, refusing."
            )));
        }
        Ok(Source {
            kind,
            location,
            mirrors: std::mem::take(&mut self.mirrors),
            patterns: patterns.clone(),
        })
    }

    fn finish_target(
        &mut self,
        source: &Source,
        whole: &At,
        reader: &mut Reader<'_>,
    ) -> Result<Target, Refusal> {
        let path = self.target.path.take();
        let path = path.ok_or_else(|| whole.refuse("Target specification lacks Path=."))?;
        let kind = self.target.kind.unwrap_or(match source.kind {
            Kind::UrlTar | Kind::Tar | Kind::Directory => Kind::Directory,
            Kind::Subvolume => Kind::Subvolume,
            _ if path == AUTO || Path::new(&path).starts_with(root::DEVICES) => Kind::Partition,
            _ => Kind::RegularFile,
        });
        if !source.kind.fits(kind) {
            let source = source.kind;
            return Err(whole.refuse(format!(
                "Target type '{kind}' is incompatible with source type '{source}', refusing."
            )));
        }
        let place = match path.as_str() {
            AUTO if kind == Kind::Partition => None,
            _ => Some(self.target.place(&path, "Target", whole)?),
        };
        if self.target.base == Base::Explicit {
            return Err(
                whole.refuse("PathRelativeTo=explicit may only be used for sources, refusing.")
            );
        }
        let mut patterns = std::mem::take(&mut self.target.patterns);
        if patterns.first().is_none() {
            let lacks = "Target specification lacks MatchPattern= expression. Assuming same value as in source specification.";
            reader.warnings.push(whole.warning(lacks));
            patterns = source
                .patterns
                .patterns()
                .iter()
                .map(Pattern::without_depth)
                .collect();
        }
        if let Some(deep) = patterns.patterns().iter().find(|p| p.is_any_depth()) {
            return Err(whole.refuse(format!(
                "Target MatchPattern= may not begin with **/, refusing: {deep}"
            )));
        }
        let current_symlink =
            self.current_symlink.take().and_then(|(path, at)| {
                if kind == Kind::Partition && !path.is_absolute() {
                    reader.warnings.push(at.warning(
                        "CurrentSymlink= must be an absolute path for partitions, ignoring.",
                    ));
                    return None;
                }
                Some(path)
            });
        Ok(Target {
            kind,
            place,
            patterns,
            partition_type: self.partition_type,
            settings: std::mem::take(&mut self.settings),
            instances_max: self.instances_max,
            remove_temporary: self.remove_temporary,
            current_symlink,
        })
    }
}

/// The path that stands for the disk that the root directory is on.
const AUTO: &str = "auto";

/// What lines are read with.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    specifiers: &'a Specifiers,
    warnings: &'a mut Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(specifiers: &'a Specifiers, warnings: &'a mut Vec<String>) -> Reader<'a> {
        Reader {
            specifiers,
            warnings,
        }
    }

    /// The lines of known sections; each other section is told once.
    pub(super) fn known_section<'l>(&mut self, lines: &'l [Line], known: &[&str]) -> Vec<&'l Line> {
        let mut told = BTreeSet::new();
        let mut found = Vec::new();
        for line in lines {
            let section = line.section.as_str();
            if known.contains(&section) {
                found.push(line);
            } else if !section.starts_with(OWN) && told.insert(section) {
                let problem = match section {
                    "" => "Assignment outside of section. Ignoring.".to_owned(),
                    _ => format!("Unknown section '{section}'. Ignoring."),
                };
                self.warn(line, problem);
            }
        }
        found
    }

    pub(super) fn warn(&mut self, line: &Line, problem: String) {
        self.warnings.push(line.at.warning(problem));
    }

    /// Tells of a key that is not known, unless it is somebody's own.
    pub(super) fn unknown(&mut self, line: &Line) {
        if !line.key.starts_with(OWN) {
            self.warn(
                line,
                format!(
                    "Unknown key '{}' in section [{}], ignoring.",
                    line.key, line.section
                ),
            );
        }
    }

    /// Tells of a value that is not understood.
    pub(super) fn invalid(&mut self, line: &Line) {
        self.warn(
            line,
            format!(
                "Failed to parse {}= value, ignoring: {}",
                line.key, line.value
            ),
        );
    }

    /// `text` with its specifiers expanded; `None`, and it is told, when one is unknown.
    fn expand(&mut self, line: &Line, text: &str) -> Option<String> {
        match self.specifiers.expand(text) {
            Ok(text) => Some(text),
            Err(Unknown(letter)) => {
                let problem = format!(
                    "Unknown specifier %{} in {}=, ignoring: {text}",
                    letter.escape_debug(),
                    line.key
                );
                self.warn(line, problem);
                None
            }
        }
    }

    /// Sets a switch.
    pub(super) fn set(&mut self, line: &Line, switch: &mut bool) {
        match pattern::boolean(&line.value) {
            Some(is_on) => *switch = is_on,
            None => self.invalid(line),
        }
    }

    /// Sets a switch that can also be unset.
    pub(super) fn set_or_unset(&mut self, line: &Line, switch: &mut Option<bool>) {
        self.parsed(line, switch, pattern::boolean);
    }

    /// Sets a value; without one it is unset.
    fn parsed<T>(&mut self, line: &Line, value: &mut Option<T>, parse: impl Fn(&str) -> Option<T>) {
        match parse(&line.value) {
            _ if line.value.is_empty() => *value = None,
            Some(parsed) => *value = Some(parsed),
            None => self.invalid(line),
        }
    }

    /// Adds addresses to a list; without one the list is emptied.
    pub(super) fn urls(&mut self, line: &Line, urls: &mut Vec<String>) {
        if line.value.is_empty() {
            urls.clear();
        }
        for word in line.value.split_ascii_whitespace() {
            let Some(text) = self.expand(line, word) else {
                continue;
            };
            let is_http = text.starts_with("http://") || text.starts_with("https://");
            let is_plain = text.chars().all(|c| !c.is_control() && !c.is_whitespace());
            match is_http && is_plain {
                true => urls.push(text),
                false => self.warn(
                    line,
                    format!(
                        "{}= is not a valid HTTP or HTTPS URL, ignoring: {text}",
                        line.key
                    ),
                ),
            }
        }
    }

    /// The patterns of a line.
    fn patterns(&mut self, line: &Line) -> Result<Vec<Pattern>, Refusal> {
        let refuse = |word: &str, why: &dyn fmt::Display| {
            line.at.refuse(format!(
                "MatchPattern= string is not valid, refusing: {word} ({why})"
            ))
        };
        let words = pattern::words(&line.value);
        let words =
            words.map_err(|word| refuse(&word, &"a backslash in it begins no escape of C"))?;
        let mut found = Vec::new();
        for word in words {
            if let Some(text) = self.expand(line, &word) {
                found.push(Pattern::parse(&text).map_err(|why| refuse(&text, &why))?);
            }
        }
        Ok(found)
    }
}

/// What keys and sections begin with that systemd leaves to others.
const OWN: &str = "X-";

/// Adds words to a list; without one the list is emptied.
fn words(line: &Line, list: &mut Vec<String>) {
    if line.value.is_empty() {
        list.clear();
    }
    list.extend(line.value.split_ascii_whitespace().map(str::to_owned));
}

/// Leaves the first of each.
pub(super) fn unique(list: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    list.retain(|item| seen.insert(item.clone()));
}
