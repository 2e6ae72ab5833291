//! What a tag of zypper's XML says: its attributes as values.

use quick_xml::events::BytesStart;

use super::event::{
    Download, Event, Kind, Level, Progress, Retrieve, Solvable, Step, Summary, Task,
};
use super::text::{ATTRIBUTE_MAX, clean};

/// Most entries of one summary that are kept; a whole distribution has a tenth of it.
const SOLVABLES_MAX: usize = 200_000;

/// Which list of a summary is being read.
#[derive(Debug, Clone, Copy)]
pub(super) enum List {
    None,
    Install,
    Remove,
    Upgrade,
    Downgrade,
    Reinstall,
    ChangeArch,
    ChangeVendor,
}

impl List {
    /// The list that an element begins; None when it is another element.
    pub(super) fn begun_by(element: &str) -> Option<List> {
        Some(match element {
            "to-install" => List::Install,
            "to-remove" => List::Remove,
            "to-upgrade" => List::Upgrade,
            "to-downgrade" => List::Downgrade,
            "to-reinstall" => List::Reinstall,
            "to-change-arch" => List::ChangeArch,
            "to-change-vendor" => List::ChangeVendor,
            _ => return None,
        })
    }
}

/// The attributes of a tag, as far as they can be read.
pub(super) struct Attributes<'t> {
    start: BytesStart<'t>,
}

impl<'t> Attributes<'t> {
    /// `tag` without angle brackets; its name has `name` bytes.
    pub(super) fn new(tag: &'t str, name: usize) -> Attributes<'t> {
        Attributes {
            start: BytesStart::from_content(tag, name),
        }
    }

    pub(super) fn is_empty_element(&self) -> bool {
        self.start.attributes_raw().ends_with(b"/") || self.start.name().as_ref().ends_with(b"/")
    }

    /// The value of an attribute, cleaned; None when it is absent.
    fn find(&self, name: &str) -> Option<String> {
        let mut attributes = self.start.attributes();
        let found = attributes
            .with_checks(false)
            .flatten()
            .find(|a| a.key.as_ref() == name.as_bytes())?;
        Some(clean(&found.value, ATTRIBUTE_MAX))
    }

    /// The value of an attribute, empty when it is absent.
    pub(super) fn get(&self, name: &str) -> String {
        self.find(name).unwrap_or_default()
    }

    pub(super) fn number<N: std::str::FromStr>(&self, name: &str) -> Option<N> {
        self.find(name)?.trim().parse().ok()
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.get(name).as_str(), "1" | "true")
    }

    fn percent(&self, name: &str) -> Option<u8> {
        let percent: i64 = self.number(name)?;
        u8::try_from(percent).ok().map(|p| p.min(100))
    }
}

pub(super) fn level(name: &str) -> Level {
    match name {
        "error" => Level::Error,
        "warning" => Level::Warning,
        _ => Level::Info,
    }
}

/// A message, or what zypper only writes as one: that it begins to get a package. Blank ones are dropped.
pub(super) fn message(level: Level, text: &str, sink: &mut impl FnMut(Event)) {
    let text = text.trim();
    if text.is_empty() {
        return;
    }
    sink(match retrieve(text) {
        Some(retrieve) if level == Level::Info => Event::Retrieve(retrieve),
        _ => Event::Message {
            level,
            text: text.to_owned(),
        },
    });
}

/// Reads `Retrieving: PACKAGE (REPOSITORY) (1/3), …` and `In cache FILE (1/3), …`.
fn retrieve(text: &str) -> Option<Retrieve> {
    let (cached, rest) = match text.strip_prefix("Retrieving: ") {
        Some(rest) => (false, rest),
        None => (true, text.strip_prefix("In cache ")?),
    };
    let (package, rest) = rest.split_once(' ')?;
    let (_, counted) = rest.rsplit_once('(')?;
    let step = step(counted.split_once(')')?.0)?;
    Some(Retrieve {
        package: package.to_owned(),
        step,
        cached,
    })
}

/// Reads `1/3`, with blanks for alignment.
fn step(text: &str) -> Option<Step> {
    let (number, of) = text.split_once('/')?;
    Some(Step {
        number: number.trim().parse().ok()?,
        of: of.trim().parse().ok()?,
    })
}

pub(super) fn progress(tag: &Attributes<'_>) -> Progress {
    let name = tag.get("name");
    let counted = name.strip_prefix('(').and_then(|n| n.split_once(')'));
    let (step, label) = match counted.and_then(|(count, rest)| Some((step(count)?, rest))) {
        Some((step, rest)) => (Some(step), rest.trim()),
        None => (None, name.trim()),
    };
    // The package is the last word: "Installing: NAME", and in older versions "Removing NAME".
    let package = || label.rsplit(' ').next().unwrap_or_default().to_owned();
    let task = match tag.get("id").as_str() {
        "raw-refresh" => Task::Refresh,
        "fileconflict-check" => Task::CheckConflicts,
        "install-resolvable" => Task::Install { package: package() },
        "remove-resolvable" => Task::Remove { package: package() },
        "execute-resolvable-script" => Task::Script {
            scriptlet: scriptlet_of(label),
            package: package(),
        },
        _ if label.starts_with("Building repository ") => Task::BuildCache,
        _ if label == "Running post-transaction scripts" => Task::PostTransaction,
        _ => Task::Other,
    };
    let done = tag.find("done");
    Progress {
        task,
        label: label.to_owned(),
        step,
        percent: tag.percent("value"),
        failed: done
            .as_deref()
            .is_some_and(|done| done != "1" && done != "true"),
        done: done.is_some(),
    }
}

/// The scriptlet in `Executing %post script for: NAME`.
fn scriptlet_of(label: &str) -> String {
    let words: Vec<&str> = label.split(' ').take(8).collect();
    let script = words
        .iter()
        .position(|&word| word == "script")
        .unwrap_or_default();
    match script.checked_sub(1).and_then(|before| words.get(before)) {
        Some(word) => format!("%{}", word.trim_start_matches('%')),
        None => String::new(),
    }
}

pub(super) fn download(tag: &Attributes<'_>) -> Download {
    let url = tag.get("url");
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let done = tag.find("done");
    Download {
        file: path
            .rsplit('/')
            .find(|part| !part.is_empty())
            .unwrap_or_default()
            .to_owned(),
        percent: tag.percent("percent"),
        rate: tag.number("rate"),
        failed: done
            .as_deref()
            .is_some_and(|done| done != "1" && done != "true"),
        done: done.is_some(),
        url,
    }
}

pub(super) fn summary(tag: &Attributes<'_>) -> Summary {
    Summary {
        packages_to_change: tag.number("packages-to-change"),
        download_size: tag.number("download-size").unwrap_or(0),
        space_usage_diff: tag.number("space-usage-diff").unwrap_or(0),
        need_reboot: tag.flag("need-reboot"),
        need_restart: tag.flag("need-restart"),
        ..Summary::default()
    }
}

pub(super) fn add_solvable(summary: &mut Summary, list: List, tag: &Attributes<'_>) {
    let kept = summary.kept();
    let list = match list {
        List::None => return,
        List::Install => &mut summary.install,
        List::Remove => &mut summary.remove,
        List::Upgrade => &mut summary.upgrade,
        List::Downgrade => &mut summary.downgrade,
        List::Reinstall => &mut summary.reinstall,
        List::ChangeArch => &mut summary.change_arch,
        List::ChangeVendor => &mut summary.change_vendor,
    };
    if kept >= SOLVABLES_MAX {
        summary.omitted = summary.omitted.saturating_add(1);
        return;
    }
    let kind = tag.find("type").unwrap_or_else(|| tag.get("kind"));
    list.push(Solvable {
        kind: match kind.as_str() {
            "package" => Kind::Package,
            "srcpackage" => Kind::SourcePackage,
            "patch" => Kind::Patch,
            "pattern" => Kind::Pattern,
            "product" => Kind::Product,
            _ => Kind::Other,
        },
        name: tag.get("name"),
        edition: tag.get("edition"),
        edition_old: tag.find("edition-old"),
        arch: tag.get("arch"),
        repository: tag.get("repository"),
        summary: tag.get("summary"),
    });
}
