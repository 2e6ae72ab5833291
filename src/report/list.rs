//! All snapshots with what they are for.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::SCHEMA;
use crate::snapshot::{Inventory, Metadata, Snapshot, key};

/// The answer of `list`.
#[derive(Debug, Serialize)]
pub struct List {
    /// Version of this form.
    pub schema: u32,
    /// By number.
    pub snapshots: Vec<Entry>,
}

/// A snapshot.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// Its number.
    pub number: u64,
    /// When it was made, UTC; empty when that is not known.
    pub date: String,
    /// What it is: any of `booted`, `current`, `default`, `pending`, `in-progress`, `open`, `kept`, `broken`,
    /// `important`.
    pub flags: Vec<&'static str>,
    /// Whether it is read-only; none without a subvolume.
    pub read_only: Option<bool>,
    /// Number of the snapshot it was made from, when we made it.
    pub base: Option<u64>,
    /// One line for people.
    pub description: String,
    /// snapper's cleanup algorithm; empty: it stays.
    pub cleanup: String,
    /// Keys and values of anybody.
    pub userdata: BTreeMap<String, String>,
    /// Why its info.xml cannot be understood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl List {
    /// The list of all snapshots of `inventory`.
    #[must_use]
    pub fn new(inventory: &Inventory) -> List {
        let snapshots = inventory
            .snapshots
            .values()
            .filter(|s| !s.is_only_a_number());
        List {
            schema: SCHEMA,
            snapshots: snapshots.map(|s| Entry::new(inventory, s)).collect(),
        }
    }
}

impl Entry {
    fn new(inventory: &Inventory, snapshot: &Snapshot) -> Entry {
        let info = snapshot.info().cloned().unwrap_or_default();
        let problem = match (&snapshot.metadata, &snapshot.subvolume) {
            (Metadata::Bad(why), _) => Some(why.clone()),
            (Metadata::Missing, _) => Some("info.xml is missing".into()),
            (Metadata::Good(_), None) => Some("the subvolume is missing".into()),
            (Metadata::Good(_), Some(_)) => None,
        };
        Entry {
            number: snapshot.id.number(),
            flags: flags(inventory, snapshot, problem.is_some()),
            read_only: snapshot.subvolume.as_ref().map(|s| s.read_only),
            base: snapshot.base().map(|b| b.id.number()),
            date: info.date,
            description: info.description,
            cleanup: info.cleanup,
            userdata: info.userdata,
            problem,
        }
    }
}

fn flags(inventory: &Inventory, snapshot: &Snapshot, broken: bool) -> Vec<&'static str> {
    let id = Some(snapshot.id);
    let all = [
        ("booted", inventory.booted == id),
        ("current", inventory.current == id),
        ("default", inventory.default == id),
        (
            "pending",
            inventory.pending().is_some_and(|p| p.id == snapshot.id),
        ),
        ("in-progress", snapshot.in_progress()),
        ("open", snapshot.is_open()),
        ("kept", snapshot.userdata(key::KEPT).is_some()),
        ("broken", broken),
        ("important", snapshot.userdata("important") == Some("yes")),
    ];
    all.into_iter()
        .filter(|(_, is)| *is)
        .map(|(name, _)| name)
        .collect()
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags: Vec<String> = self.snapshots.iter().map(|s| s.flags.join(",")).collect();
        let width = flags
            .iter()
            .map(String::len)
            .max()
            .unwrap_or(0)
            .max("Flags".len());
        writeln!(
            f,
            "{:>6}  {:<19}  {:<width$}  {:>6}  {:<8}  Description",
            "#", "Date (UTC)", "Flags", "Base", "Cleanup"
        )?;
        for (entry, flags) in self.snapshots.iter().zip(&flags) {
            let base = entry.base.map(|b| b.to_string()).unwrap_or_default();
            let text = entry
                .problem
                .as_deref()
                .map_or(entry.description.clone(), |why| format!("({why})"));
            let line = format!(
                "{:>6}  {:<19}  {flags:<width$}  {base:>6}  {:<8}  {}",
                entry.number,
                entry.date,
                entry.cleanup,
                text.replace(char::is_control, " ")
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
