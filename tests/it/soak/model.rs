//! What a machine of the soak may look like: facts that it tells, and what each command may make of them.

use std::collections::{BTreeMap, BTreeSet};

/// What a snapshot holds: the number of the round that wrote to it last, and its packages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Content {
    pub(super) marker: u32,
    pub(super) packages: BTreeMap<String, String>,
}

/// A snapshot as its metadata describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Snapshot {
    pub(super) has_subvolume: bool,
    has_info: bool,
    damaged: bool,
    data: BTreeMap<String, String>,
}

impl Snapshot {
    fn is(&self, key: &str) -> bool {
        self.data.get(key).is_some_and(|v| v == "yes")
    }

    pub(super) fn is_kept(&self) -> bool {
        self.data.contains_key("tu-kept")
    }

    pub(super) fn is_open(&self) -> bool {
        self.in_progress() && self.data.get("tu-owner").is_some_and(|o| o == "open")
    }

    fn in_progress(&self) -> bool {
        self.is("transactional-update-in-progress")
    }

    pub(super) fn is_whole(&self) -> bool {
        self.has_subvolume
            && self.has_info
            && !self.damaged
            && !self.in_progress()
            && !self.is_kept()
    }

    pub(super) fn was_booted(&self) -> bool {
        self.data.contains_key("tu-booted")
    }

    /// What the next command has to remove.
    pub(super) fn is_half(&self) -> bool {
        self.in_progress() && !self.is_kept() && (!self.is_open() || !self.has_subvolume)
    }

    pub(super) fn base(&self) -> Option<u32> {
        self.data.get("tu-base")?.split(':').next()?.parse().ok()
    }
}

/// What soak.py says.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) default: u32,
    pub(super) current: u32,
    pub(super) snapshots: BTreeMap<u32, Snapshot>,
    /// What must not be there: processes, mounts, entries of the directory of snapshots.
    pub(super) left: Vec<String>,
    /// What is wrong with the files of the running system.
    pub(super) broken: Vec<String>,
    pub(super) content: Content,
    pub(super) status: String,
    codes: BTreeMap<String, String>,
}

impl Facts {
    pub(super) fn parse(text: &str) -> Facts {
        let mut facts = Facts::default();
        for line in text.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "snap" => {
                    let mut words = rest.split(' ');
                    let id = words.next().unwrap().parse().unwrap();
                    let data: BTreeMap<_, _> = words
                        .filter_map(|w| w.split_once('='))
                        .map(|(k, v)| (k.to_owned(), v.to_owned()))
                        .collect();
                    let yes = |key| data.get(key).is_some_and(|v: &String| v == "1");
                    facts.snapshots.insert(
                        id,
                        Snapshot {
                            has_subvolume: yes("subvolume"),
                            has_info: yes("info"),
                            damaged: yes("damaged"),
                            data,
                        },
                    );
                }
                "default" => facts.default = rest.parse().unwrap_or(0),
                "current" => facts.current = rest.parse().unwrap_or(0),
                "marker" => facts.content.marker = rest.parse().unwrap_or(u32::MAX),
                "package" => {
                    let (name, version) = rest.split_once(' ').unwrap();
                    let packages = &mut facts.content.packages;
                    packages.insert(name.to_owned(), version.to_owned());
                }
                "left" => facts.left.push(rest.to_owned()),
                "broken" => facts.broken.push(rest.to_owned()),
                "status:" => facts.status += &format!("{rest}\n"),
                "status" | "list" | "rpm" => {
                    facts.codes.insert(word.to_owned(), rest.to_owned());
                }
                _ => {}
            }
        }
        facts
    }

    /// What a transaction with this policy builds upon.
    pub(super) fn base(&self, policy: Policy) -> u32 {
        match policy {
            Policy::Default => self.default,
            Policy::Current => self.current,
            Policy::Auto => {
                let chain = self.lineage();
                let is_new = |id: &u32| !self.snapshots[id].was_booted();
                if chain.is_some_and(|c| c.iter().all(is_new)) {
                    self.default
                } else {
                    self.current
                }
            }
        }
    }

    /// From the default snapshot down to the running one, without that.
    pub(super) fn lineage(&self) -> Option<Vec<u32>> {
        let (mut chain, mut at) = (Vec::new(), self.default);
        while at != self.current {
            chain.push(at);
            let base = self.snapshots.get(&at)?.base()?;
            if base >= at || !self.snapshots.contains_key(&base) {
                return None;
            }
            at = base;
        }
        Some(chain)
    }

    /// The update that waits for the next boot.
    pub(super) fn pending(&self) -> Option<u32> {
        let default = self.snapshots.get(&self.default)?;
        (self.default != self.current && !default.was_booted()).then_some(self.default)
    }

    pub(super) fn that(&self, is: impl Fn(&Snapshot) -> bool) -> Vec<u32> {
        let all = self.snapshots.iter();
        all.filter(|(_, s)| is(s)).map(|(id, _)| *id).collect()
    }

    /// What is always so, at whatever moment something died.
    pub(super) fn sound(&self) -> Result<(), String> {
        let default = self.snapshots.get(&self.default);
        if !default.is_some_and(Snapshot::is_whole) {
            return Err(format!(
                "the default snapshot {} is not whole: {default:?}",
                self.default
            ));
        }
        if !self
            .snapshots
            .get(&self.current)
            .is_some_and(|s| s.has_subvolume)
        {
            return Err(format!("the running snapshot {} is gone", self.current));
        }
        for command in ["status", "list"] {
            let code = self.codes.get(command).map(String::as_str);
            if code != Some("0") {
                return Err(format!("{command} ends with {code:?}:\n{}", self.status));
            }
        }
        let names = |id: &u32| {
            let number = id.to_string();
            let mut words = self.status.split(|c: char| !c.is_ascii_digit());
            words.any(|w| w == number)
        };
        // a directory of that name alone is snapper's way to keep a number
        let unclear =
            self.that(|s| s.is_half() || s.is_kept() || s.damaged || s.has_subvolume != s.has_info);
        match unclear.iter().find(|id| !names(id)) {
            Some(id) => Err(format!(
                "snapshot {id} is half and status does not name it: {:?}\n{}",
                self.snapshots[id], self.status
            )),
            None => Ok(()),
        }
    }

    /// What is so once a command of ours has ended.
    pub(super) fn mended(&self) -> Result<(), String> {
        let halves = self.that(Snapshot::is_half);
        if !halves.is_empty() {
            return Err(format!(
                "snapshots {halves:?} are half and were not removed"
            ));
        }
        match self.left.is_empty() {
            true => Ok(()),
            false => Err(format!("left behind: {:?}", self.left)),
        }
    }

    /// The files of the running system are what its packages and the model say.
    pub(super) fn boots_as(&self, allowed: &[Content]) -> Result<(), String> {
        if self.current != self.default {
            return Err(format!(
                "snapshot {} is the default and {} was booted",
                self.default, self.current
            ));
        }
        if self.codes.get("rpm").map(String::as_str) != Some("0") {
            return Err("rpm cannot read its database".into());
        }
        if !self.broken.is_empty() {
            return Err(format!("rpm -V: {:?}", self.broken));
        }
        match allowed.contains(&self.content) {
            true => Ok(()),
            false => Err(format!(
                "snapshot {} holds {:?}, which is none of {allowed:?}",
                self.current, self.content
            )),
        }
    }
}

/// Which base was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    Auto,
    Current,
    Default,
}

impl Policy {
    pub(super) fn word(self) -> &'static str {
        match self {
            Policy::Auto => "",
            Policy::Current => "--no-continue ",
            Policy::Default => "--continue ",
        }
    }
}

/// The packages that are installed and removed, and what each requires.
pub(super) const PACKAGES: [(&str, &[&str]); 5] = [
    ("fx-etc", &[]),
    ("fx-lib", &[]),
    ("fx-reqs", &["fx-etc", "fx-lib"]),
    ("fx-caps", &[]),
    ("fx-reboot", &[]),
];

/// The version that the repository has of `package`, and the older one of which it has a second one.
pub(super) fn newest(package: &str) -> &'static str {
    if package == "fx-etc" { "2.0" } else { "1.0" }
}

impl Content {
    pub(super) fn install(&self, package: &str, version: &str) -> Content {
        let mut new = self.clone();
        let (_, requires) = PACKAGES.iter().find(|(name, _)| *name == package).unwrap();
        let wanted = requires.iter().map(|name| (*name, newest(name)));
        for (name, version) in wanted.chain([(package, version)]) {
            let packages = &mut new.packages;
            packages.entry(name.into()).or_insert(version.into());
        }
        new
    }

    pub(super) fn remove(&self, package: &str) -> Content {
        let mut gone = BTreeSet::from([package]);
        let need = PACKAGES
            .iter()
            .filter(|(_, needs)| needs.contains(&package));
        gone.extend(need.map(|(name, _)| *name));
        let mut new = self.clone();
        new.packages.retain(|name, _| !gone.contains(name.as_str()));
        new
    }

    pub(super) fn upgrade(&self) -> Content {
        let mut new = self.clone();
        for (name, version) in &mut new.packages {
            newest(name).clone_into(version);
        }
        new
    }

    pub(super) fn marked(&self, marker: u32) -> Content {
        Content {
            marker,
            ..self.clone()
        }
    }
}
