//! A transfer while its lines are read.

use std::path::{Component, Path, PathBuf};

use super::Refusal;
use super::ini::{At, Line};
use super::kind::{Base, Kind, Location, Place};
use super::reader::{Reader, unique, words};
use super::transfer::{Source, Target, Transfer};
use crate::sys::root;
use crate::sysupdate::Version;
use crate::sysupdate::fetch::Url;
use crate::sysupdate::partition_type::PartitionType;
use crate::sysupdate::pattern::{self, Pattern, PatternList};
use crate::sysupdate::uuid::Uuid;

/// A transfer while its lines are read.
#[derive(Debug)]
pub(super) struct Draft {
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
    pub(super) fn transfer(&mut self, reader: &mut Reader<'_>, line: &Line) {
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

    pub(super) fn source(&mut self, reader: &mut Reader<'_>, line: &Line) -> Result<(), Refusal> {
        if self.source.take(reader, line)? {
            return Ok(());
        }
        match line.key.as_str() {
            "X-Mirror" if line.value.is_empty() => self.mirrors.clear(),
            "X-Mirror" => {
                for word in line.value.split_ascii_whitespace() {
                    let url = reader.expand(line, word).map(|text| Url::base(&text).ok());
                    match url {
                        Some(Some(url)) if !self.mirrors.contains(&url) => self.mirrors.push(url),
                        Some(None) => reader.warn(
                            line,
                            format!(
                                "X-Mirror= is not a valid URL, ignoring: {}",
                                without_user(word)
                            ),
                        ),
                        _ => {}
                    }
                }
            }
            _ => reader.unknown(line),
        }
        Ok(())
    }

    pub(super) fn target(&mut self, reader: &mut Reader<'_>, line: &Line) -> Result<(), Refusal> {
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
    pub(super) fn finish(
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
            let url = Url::base(&path).map_err(|_| {
                let path = without_user(&path);
                whole.refuse(format!(
                    "Source path is not a valid HTTP or HTTPS URL: {path}"
                ))
            });
            Location::Url(url?)
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

    /// The link, which of a partition has to be absolute.
    fn link(&mut self, kind: Kind, reader: &mut Reader<'_>) -> Option<PathBuf> {
        let (path, at) = self.current_symlink.take()?;
        if kind == Kind::Partition && !path.is_absolute() {
            let problem = "CurrentSymlink= must be an absolute path for partitions, ignoring.";
            reader.warnings.push(at.warning(problem));
            return None;
        }
        Some(path)
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
        Ok(Target {
            kind,
            place,
            patterns,
            partition_type: self.partition_type,
            settings: std::mem::take(&mut self.settings),
            instances_max: self.instances_max,
            remove_temporary: self.remove_temporary,
            current_symlink: self.link(kind, reader),
        })
    }
}

/// The path that stands for the disk that the root directory is on.
const AUTO: &str = "auto";

/// An address without user and password, which nobody is to read in a message.
fn without_user(text: &str) -> String {
    let parts = text.split_once("://");
    let without = parts.and_then(|(scheme, rest)| {
        let end = rest.find('/').unwrap_or(rest.len());
        let (_, host) = rest[..end].rsplit_once('@')?;
        Some(format!("{scheme}://{host}{}", &rest[end..]))
    });
    without.unwrap_or_else(|| text.to_owned())
}
