//! The state file of transactional-update up to 6.1, for the programs that look at it (health-checker).
//!
//! They read it as a shell does, so it holds nothing that a shell would run. Nothing here is decided from it, and
//! it is no part of a transaction: what cannot be read or written is told and no more.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Restart, System};
use crate::snapshot::{Inventory, SnapshotId};
use crate::sys::{fs, out};

/// Where it is, below the root.
const STATE: &str = "var/lib/misc/transactional-update.state";
/// Largest state file that is read, in bytes.
const LIMIT: u64 = 1 << 20;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateChange {
    /// This snapshot is the next system, which needs this restart.
    Published(SnapshotId, Restart),
    /// This snapshot was chosen to be the next system.
    RolledBack(SnapshotId),
    /// What is not in use was marked for deletion.
    CleanedUp,
}

/// Where it is; `None` when the system does not run, and no file is named for it.
pub(super) fn file(system: &System) -> Option<PathBuf> {
    let usual = || Some(system.root.join(STATE)).filter(|_| system.root.is_live());
    system.state_file.clone().or_else(usual)
}

/// Writes into the state file what happened.
pub fn keep_state(system: &System, change: StateChange) {
    let Some(path) = file(system) else {
        return;
    };
    if let Err(e) = update(system, &path, change) {
        out::warn(format_args!(
            "programs that read {} see an old state: {e:#}",
            path.display()
        ));
    }
}

fn update(system: &System, path: &Path, change: StateChange) -> Result<()> {
    let text = match fs::read_bounded(path, LIMIT) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other.context("reading it")?,
    };
    let (mut state, strange) = State::parse(&String::from_utf8_lossy(&text));
    for line in strange {
        out::warn(format_args!(
            "{}:{line}: this line is no plain value and is left out",
            path.display()
        ));
    }
    state.apply(change, &system.store.inventory()?);
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).context("making its directory")?;
    }
    fs::replace(path, state.to_string().as_bytes()).context("writing it")
}

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct State {
    /// Systems that worked, the last one first, and are not marked for deletion yet.
    working: Vec<u64>,
    /// Snapshots that were made, the last one first, and are not marked for deletion yet.
    unused: Vec<u64>,
    /// The snapshot that was booted when the file was written.
    booted: Option<u64>,
    /// How the system has to be restarted for each snapshot that was made since that boot.
    restarts: BTreeMap<u64, Restart>,
    /// Whether repositories are to be read again because of a new key.
    refresh: bool,
}

impl State {
    /// Reads what the tools wrote; also the numbers of the lines that they did not write.
    fn parse(text: &str) -> (State, Vec<usize>) {
        let mut state = State::default();
        let mut strange = Vec::new();
        for (number, line) in text.lines().enumerate().map(|(i, l)| (i + 1, l.trim())) {
            let is_nothing = line.is_empty() || line.starts_with('#');
            if !is_nothing && state.line(line).is_none() {
                strange.push(number);
            }
        }
        (state, strange)
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let (key, value) = line.split_once('=')?;
        let value = match value.strip_prefix('"') {
            Some(quoted) => quoted.strip_suffix('"')?,
            None => value,
        };
        let number = |word: &str| word.parse::<SnapshotId>().ok().map(SnapshotId::number);
        let numbers = || -> Option<Vec<u64>> {
            let words = value.split(' ').filter(|w| !w.is_empty());
            words.map(number).collect()
        };
        match key {
            "LAST_WORKING_SNAPSHOTS" => self.working = numbers()?,
            "UNUSED_SNAPSHOTS" => self.unused = numbers()?,
            "LAST_BOOTED" if value.is_empty() => self.booted = None,
            "LAST_BOOTED" => self.booted = Some(number(value)?),
            "FORCE_REFRESH" => {
                self.refresh = ["", "0", "1"].contains(&value).then_some(value == "1")?
            }
            _ => {
                let of = key.strip_prefix("REBOOT_ASSOCS[")?.strip_suffix(']')?;
                self.restarts.insert(number(of)?, Restart::named(value)?);
            }
        }
        Some(())
    }

    fn apply(&mut self, change: StateChange, inventory: &Inventory) {
        let number = |id: Option<SnapshotId>| id.map(SnapshotId::number);
        let [booted, current, default] =
            [inventory.booted, inventory.current, inventory.default].map(number);
        let runs = |n: &u64| [booted, current].contains(&Some(*n));
        if self.booted != booted {
            self.restarts.clear();
            self.booted = booted;
        }
        match change {
            StateChange::Published(id, restart) => {
                self.working
                    .splice(0..0, current.filter(|c| !self.working.contains(c)));
                self.unused.insert(0, id.number());
                self.restarts.insert(id.number(), restart);
            }
            StateChange::RolledBack(id) => {
                let is_listed = |list: &Vec<u64>| list.contains(&id.number());
                if !is_listed(&self.working) && !is_listed(&self.unused) {
                    self.unused.push(id.number());
                }
            }
            StateChange::CleanedUp => {
                self.working.retain(runs);
                self.unused.retain(|n| default == Some(*n) && !runs(n));
            }
        }
        let exists = |n: u64| {
            let mut all = inventory.snapshots.values();
            all.any(|s| s.id.number() == n && s.subvolume.is_some())
        };
        self.working.retain(|n| exists(*n));
        self.unused.retain(|n| exists(*n));
        self.restarts.retain(|n, _| exists(*n));
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |numbers: &[u64]| {
            numbers
                .iter()
                .map(u64::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        };
        writeln!(f, "LAST_WORKING_SNAPSHOTS=\"{}\"", list(&self.working))?;
        writeln!(f, "UNUSED_SNAPSHOTS=\"{}\"", list(&self.unused))?;
        let booted = self.booted.map(|n| n.to_string()).unwrap_or_default();
        writeln!(f, "LAST_BOOTED=\"{booted}\"")?;
        for (snapshot, restart) in &self.restarts {
            writeln!(f, "REBOOT_ASSOCS[{snapshot}]={}", restart.name())?;
        }
        writeln!(f, "FORCE_REFRESH=\"{}\"", u8::from(self.refresh))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Info, Metadata, Snapshot, Subvolume};

    const WRITTEN: &str = "LAST_WORKING_SNAPSHOTS=\"4 2\"\nUNUSED_SNAPSHOTS=\"6 5\"\nLAST_BOOTED=\"4\"\n\
                           REBOOT_ASSOCS[5]=soft-reboot\nREBOOT_ASSOCS[6]=reboot\nFORCE_REFRESH=\"0\"\n";

    fn id(n: u32) -> SnapshotId {
        SnapshotId::new(n).unwrap()
    }

    /// Snapshots 1 to 7; `running` runs, `default` boots next.
    fn system(running: u32, default: u32) -> Inventory {
        let snapshots = (1..8).map(|n| Snapshot {
            id: id(n),
            subvolume: Some(Subvolume {
                read_only: true,
                ..Subvolume::default()
            }),
            metadata: Metadata::Good(Info::new(id(n), String::new(), String::new())),
        });
        Inventory {
            snapshots: snapshots.map(|s| (s.id, s)).collect(),
            booted: Some(id(running)),
            current: Some(id(running)),
            default: Some(id(default)),
        }
    }

    fn after(change: StateChange, inventory: &Inventory) -> String {
        let mut state = State::parse(WRITTEN).0;
        state.apply(change, inventory);
        state.to_string()
    }

    #[test]
    fn what_the_old_tool_wrote_is_read_and_written_in_the_same_form() {
        let (state, strange) = State::parse(WRITTEN);
        assert_eq!((state.to_string().as_str(), strange), (WRITTEN, Vec::new()));
        let (state, strange) = State::parse(
            "LAST_WORKING_SNAPSHOTS=\" 4  2 \"\nUNUSED_SNAPSHOTS=\"\"\nLAST_BOOTED=4\n\n# c\n",
        );
        assert_eq!(
            (state.working, state.unused, state.booted, strange),
            (vec![4, 2], vec![], Some(4), vec![])
        );
    }

    #[test]
    fn a_line_that_only_a_shell_understands_is_left_out_and_its_number_told() {
        for line in [
            "UNUSED_SNAPSHOTS=\"$(reboot)\"",
            "UNUSED_SNAPSHOTS=`id`",
            "UNUSED_SNAPSHOTS=\"1\"; reboot",
            "LAST_BOOTED=\"1",
            "REBOOT_ASSOCS[1]=$x",
            "REBOOT_ASSOCS[x]=reboot",
            "FORCE_REFRESH=\"2\"",
            "PATH=/tmp",
            "declare -A REBOOT_ASSOCS",
            "rm -rf /",
        ] {
            let (state, strange) = State::parse(&format!("{WRITTEN}{line}\n"));
            assert_eq!(
                (state.to_string().as_str(), strange),
                (WRITTEN, vec![7]),
                "{line}"
            );
        }
    }

    #[test]
    fn an_update_notes_the_running_system_as_one_that_works_and_itself_as_made() {
        let change = StateChange::Published(id(7), Restart::Kexec);
        let expected = "LAST_WORKING_SNAPSHOTS=\"4 2\"\nUNUSED_SNAPSHOTS=\"7 6 5\"\nLAST_BOOTED=\"4\"\nREBOOT_ASSOCS[5]=soft-reboot\n\
                        REBOOT_ASSOCS[6]=reboot\nREBOOT_ASSOCS[7]=kexec\nFORCE_REFRESH=\"0\"\n";
        assert_eq!(after(change, &system(4, 7)), expected);
        let expected = "LAST_WORKING_SNAPSHOTS=\"6 4 2\"\nUNUSED_SNAPSHOTS=\"7 6 5\"\nLAST_BOOTED=\"6\"\nREBOOT_ASSOCS[7]=kexec\nFORCE_REFRESH=\"0\"\n";
        assert_eq!(after(change, &system(6, 7)), expected, "after a boot");
    }

    #[test]
    fn a_clean_up_leaves_what_is_in_use_and_a_rollback_adds_what_is_in_no_list() {
        let expected = "LAST_WORKING_SNAPSHOTS=\"4\"\nUNUSED_SNAPSHOTS=\"6\"\nLAST_BOOTED=\"4\"\nREBOOT_ASSOCS[5]=soft-reboot\nREBOOT_ASSOCS[6]=reboot\nFORCE_REFRESH=\"0\"\n";
        assert_eq!(after(StateChange::CleanedUp, &system(4, 6)), expected);
        assert_eq!(
            after(StateChange::RolledBack(id(2)), &system(4, 2)),
            WRITTEN
        );
        let with = WRITTEN.replace("\"6 5\"", "\"6 5 3\"");
        assert_eq!(after(StateChange::RolledBack(id(3)), &system(4, 3)), with);
    }

    #[test]
    fn what_was_deleted_is_in_no_list() {
        let mut inventory = system(4, 4);
        for n in [2, 6] {
            inventory.snapshots.remove(&id(n));
        }
        let expected = "LAST_WORKING_SNAPSHOTS=\"4\"\nUNUSED_SNAPSHOTS=\"5\"\nLAST_BOOTED=\"4\"\nREBOOT_ASSOCS[5]=soft-reboot\nFORCE_REFRESH=\"0\"\n";
        assert_eq!(after(StateChange::RolledBack(id(4)), &inventory), expected);
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_read_a_shell_finds_nothing_to_run_in_what_is_written(text in "(LAST_BOOTED=|UNUSED_SNAPSHOTS=|REBOOT_ASSOCS\\[|\\]=|[0-9 \"$`;()=]|reboot|\n){0,30}") {
            let written = State::parse(&text).0.to_string();
            proptest::prop_assert!(written.chars().all(|c| c.is_ascii_alphanumeric() || "_=\"[]- \n".contains(c)), "{}", written);
            proptest::prop_assert_eq!(State::parse(&written).1, Vec::<usize>::new());
        }
    }
}
