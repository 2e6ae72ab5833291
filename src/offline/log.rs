//! What happened in the boots of updates.

use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::journal::{EVENTS, Event};
use super::record::{self, Directory};
use super::state::{Outcome, Record};
use super::systemd::TARGET;
use super::words::UNIT;
use crate::sys::cmd::Argv;
use crate::sys::tool::{Tool, ToolError};
use crate::sys::{beneath, out};

/// Time for the journal to be searched or shown.
const LIMIT: Duration = Duration::from_secs(600);
const JOURNALCTL: &str = "journalctl";
/// Boots that are shown, the last ones.
const MOST: usize = 16;
/// What is read of a log file at most, in bytes.
const LOG: u64 = 256 << 20;

/// A boot in which something happened to an update.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Boot {
    id: String,
    /// Whether only records of ours are shown: in the others an update was to be carried out.
    is_ordinary: bool,
}

/// A record, of which these fields are asked for.
#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(rename = "_BOOT_ID")]
    boot: String,
    #[serde(rename = "MESSAGE_ID", default)]
    message: Option<String>,
    #[serde(rename = "UNIT", default)]
    unit: Option<String>,
}

/// Shows them: of each boot in which an update was to be carried out the journal, of the others what was done about updates; then
/// what the package manager printed.
///
/// # Errors
/// When the journal cannot be read, or the output not be written.
pub fn show(
    directory: Option<&Directory>,
    record: Option<&Record>,
    outcome: Option<&Outcome>,
) -> Result<()> {
    let boots = boots(record)?;
    if boots.is_empty() {
        out::say("The journal has no records of offline updates.");
    }
    for boot in &boots {
        out::answer(&format!("-- boot {}\n", boot.id))?;
        stream(show_boot(boot))?;
    }
    let name = outcome
        .and_then(|outcome| outcome.log.as_deref())
        .and_then(|path| path.strip_prefix(record::path()).ok());
    if let (Some(directory), Some(name)) = (directory, name) {
        out::answer(&format!("-- {}\n", record::path().join(name).display()))?;
        match beneath::open_file(directory.fd(), name) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                out::say("The log file is not there any more.");
            }
            file => print(file.with_context(|| name.display().to_string())?)?,
        }
    }
    Ok(())
}

fn print(file: File) -> Result<()> {
    let mut file = file.take(LOG);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            read => out::answer_bytes(&buffer[..read])?,
        }
    }
}

/// The matches that find all of it: what we wrote, and what the first process wrote of the units of an update boot.
fn matches() -> Vec<String> {
    let ours = EVENTS.map(|event| format!("MESSAGE_ID={}", event.id()));
    let units = [TARGET, UNIT].map(|unit| format!("UNIT={unit}"));
    let mut all = ours.to_vec();
    all.push("+".into());
    all.extend(units);
    all
}

fn boots(record: Option<&Record>) -> Result<Vec<Boot>> {
    let mut words: Vec<String> = [
        JOURNALCTL,
        "--no-pager",
        "--quiet",
        "--output=json",
        "--output-fields=_BOOT_ID,MESSAGE_ID,UNIT",
    ]
    .map(str::to_owned)
    .to_vec();
    if let Some(record) = record {
        words.push(format!("--since={} UTC", record.armed.time));
    }
    words.extend(matches());
    let mut found = Found::default();
    let done = Tool::new(Argv::new(words), LIMIT).stream(&mut |piece| {
        found.take(piece);
        Ok(())
    });
    match done.and_then(|done| match done.code {
        // nothing was found
        1 => Ok(done),
        _ => done.succeeded(),
    }) {
        Ok(_) => {}
        Err(e @ ToolError::NotFound(_)) => tracing::info!("{e}"),
        Err(e) => return Err(e).context("searching the journal"),
    }
    Ok(found.boots())
}

/// Collects boots from lines of JSON that come in pieces.
#[derive(Debug, Default)]
struct Found {
    line: Vec<u8>,
    boots: Vec<Boot>,
}

impl Found {
    fn take(&mut self, piece: &[u8]) {
        /// A record with three short fields is never longer; what is, is none of them.
        const LONGEST: usize = 64 << 10;
        for byte in piece {
            if *byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                self.entry(&line);
            } else if self.line.len() < LONGEST {
                self.line.push(*byte);
            }
        }
    }

    fn entry(&mut self, line: &[u8]) {
        let Ok(entry) = serde_json::from_slice::<Entry>(line) else {
            return;
        };
        let is_id = entry.boot.bytes().all(|b| b.is_ascii_hexdigit());
        if entry.boot.is_empty() || !is_id {
            return;
        }
        // how it ended may only be found out, and noted, in a later boot
        let is_start = entry.message.as_deref() == Some(Event::Started.id());
        let is_ordinary = entry.unit.is_none() && !is_start;
        match self.boots.iter_mut().find(|boot| boot.id == entry.boot) {
            Some(boot) => boot.is_ordinary &= is_ordinary,
            None => self.boots.push(Boot {
                id: entry.boot,
                is_ordinary,
            }),
        }
    }

    /// The last ones, in the order in which they were found.
    fn boots(mut self) -> Vec<Boot> {
        let from = self.boots.len().saturating_sub(MOST);
        self.boots.split_off(from)
    }
}

fn show_boot(boot: &Boot) -> Argv {
    let boot_id = format!("--boot={}", boot.id);
    let mut words = vec![JOURNALCTL.to_owned(), "--no-pager".into(), boot_id];
    if boot.is_ordinary {
        words.extend(EVENTS.map(|event| format!("MESSAGE_ID={}", event.id())));
    }
    Argv::new(words)
}

fn stream(argv: Argv) -> Result<()> {
    let done = Tool::new(argv, LIMIT).stream(&mut out::answer_bytes)?;
    done.succeeded()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boots_are_found_in_lines_that_come_in_any_pieces_and_only_the_last_ones_are_kept() {
        let line = |boot: &str, rest: &str| format!("{{\"_BOOT_ID\":\"{boot}\"{rest}}}\n");
        let armed = format!(",\"MESSAGE_ID\":\"{}\"", Event::Armed.id());
        let started = format!(",\"MESSAGE_ID\":\"{}\"", Event::Started.id());
        let text = [
            line("a", &armed),
            "no json\n".into(),
            line("--evil", &armed),
            line("b", ",\"UNIT\":\"system-update.target\""),
            line("b", &started),
            line("b", &armed),
            line("c", &armed),
        ]
        .concat();
        for size in [1, 7, 4096] {
            let mut found = Found::default();
            text.as_bytes()
                .chunks(size)
                .for_each(|piece| found.take(piece));
            let boots = found.boots();
            let found: Vec<_> = boots
                .iter()
                .map(|b| (b.id.as_str(), b.is_ordinary))
                .collect();
            assert_eq!(found, [("a", true), ("b", false), ("c", true)]);
        }
        let mut many = Found::default();
        for number in 0..100 {
            many.take(line(&format!("{number:x}"), "").as_bytes());
        }
        let boots = many.boots();
        assert_eq!((boots.len(), boots[MOST - 1].id.as_str()), (MOST, "63"));
    }

    #[test]
    fn of_an_ordinary_boot_only_what_is_about_updates_is_shown() {
        let words = |is_ordinary| {
            let id = "0a".into();
            show_boot(&Boot { id, is_ordinary }).to_string()
        };
        assert_eq!(words(false), "journalctl --no-pager --boot=0a");
        assert!(words(true).contains(Event::NotRun.id()));
    }
}
