//! `list`: all versions, or one of them with its instances.

use crate::sys::hex::to_hex;
use crate::sys::zone;
use crate::sysupdate::{Instance, Kind, Resource, Sets, UpdateSet};

use super::json::Json;
use super::table::{Align, Table};

/// The sign before a version.
fn glyph(set: &UpdateSet) -> &'static str {
    match set {
        set if set.is_obsolete => "×",
        set if set.is_partial || set.is_pending => "⤵\u{fe0f}",
        set if set.is_installed && set.is_newest => "●",
        set if set.is_installed && set.is_protected => "○",
        set if set.is_newest => "↻",
        _ => "",
    }
}

/// All versions as a table.
pub(super) fn table(sets: &Sets, has_header: bool) -> String {
    let mut table = Table::new(&[
        ("", Align::Right),
        ("VERSION", Align::Left),
        ("INSTALLED", Align::Centre),
        ("AVAILABLE", Align::Centre),
        ("ASSESSMENT", Align::Left),
    ]);
    let mark = |is_so: bool| if is_so { "✓" } else { "" }.to_owned();
    for set in sets.all() {
        table.row(vec![
            glyph(set).to_owned(),
            set.version.to_string(),
            mark(set.is_installed),
            mark(set.is_available),
            set.assessment(),
        ]);
    }
    table.rendered(has_header)
}

/// All versions as JSON.
pub(super) fn json(resources: &[Resource<'_>], sets: &Sets) -> Json {
    let current = sets.current();
    let key = match current {
        Some(set) if set.is_pending => "current+pending",
        _ => "current",
    };
    let mut urls: Vec<&String> = Vec::new();
    for url in resources.iter().flat_map(|r| &r.transfer.app_stream) {
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    Json::Object(vec![
        (key, Json::text_or_null(current.map(|set| &set.version))),
        (
            "all",
            Json::texts(sets.all().iter().map(|set| &set.version)),
        ),
        ("appstreamUrls", Json::texts(urls)),
    ])
}

/// One version as text.
pub(super) fn version_text(
    resources: &[Resource<'_>],
    set: &UpdateSet,
    has_header: bool,
) -> String {
    let sign = match glyph(set) {
        "" => " ",
        sign => sign,
    };
    let yes = |is_so: bool| if is_so { "yes" } else { "no" };
    let newest = if set.is_newest { " (newest)" } else { "" };
    let mut installed = yes(set.is_installed).to_owned();
    if set.is_installed {
        let notes = [
            (set.is_newest, " (newest)"),
            (set.is_incomplete, " (incomplete)"),
            (set.is_pending, " (pending)"),
            (set.is_partial, " (partial)"),
        ];
        installed.extend(
            notes
                .iter()
                .filter(|(is_so, _)| *is_so)
                .map(|(_, note)| *note),
        );
    }
    let mut available = yes(set.is_available).to_owned();
    if set.is_available && !set.is_installed {
        available.push_str(newest);
    }
    let mut out = format!("{sign} Version: {}\n", set.version);
    for (key, value) in [
        ("State", set.assessment().as_str()),
        ("Installed", &installed),
        ("Available", &available),
        ("Protected", yes(set.is_protected)),
        ("Obsolete", yes(set.is_obsolete)),
    ] {
        out.push_str(&format!("{key:>9}: {value}\n"));
    }
    for url in change_logs(resources, set) {
        out.push_str(&format!("ChangeLog: {url}\n"));
    }
    let columns = shown_columns(resources, set);
    let headings: Vec<_> = columns.iter().map(|c| (c.heading, c.align)).collect();
    let mut table = Table::new(&headings);
    for instance in contents(resources, set) {
        let cell =
            |c: &&Column| (c.value)(instance).map_or("-".to_owned(), |value| (c.text)(&value));
        table.row(columns.iter().map(cell).collect());
    }
    out + "\n" + &table.rendered(has_header)
}

/// One version as JSON.
pub(super) fn version_json(resources: &[Resource<'_>], set: &UpdateSet) -> Json {
    let columns = shown_columns(resources, set);
    let object = |instance: &Instance| {
        let fields = columns
            .iter()
            .map(|c| (c.key, (c.value)(instance).unwrap_or(Json::Null)));
        Json::Object(fields.collect())
    };
    let flags = [
        ("newest", set.is_newest),
        ("available", set.is_available),
        ("installed", set.is_installed),
        ("partial", set.is_partial),
        ("pending", set.is_pending),
        ("obsolete", set.is_obsolete),
        ("protected", set.is_protected),
        ("incomplete", set.is_incomplete),
    ];
    let mut fields = vec![("version", Json::Text(set.version.to_string()))];
    fields.extend(flags.map(|(key, flag)| (key, Json::Flag(flag))));
    fields.push(("changelogUrls", Json::texts(change_logs(resources, set))));
    fields.push((
        "contents",
        Json::List(contents(resources, set).map(object).collect()),
    ));
    Json::Object(fields)
}

/// Addresses of what has changed in this version.
fn change_logs(resources: &[Resource<'_>], set: &UpdateSet) -> Vec<String> {
    let mut urls = Vec::new();
    for url in resources.iter().flat_map(|r| &r.transfer.change_log) {
        let url = url.replace("@v", set.version.as_str());
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    urls
}

/// The instances of a version: those in the targets, and for a target that lacks it what its source has.
fn contents<'r>(
    resources: &'r [Resource<'_>],
    set: &'r UpdateSet,
) -> impl Iterator<Item = &'r Instance> {
    let of_each = resources.iter().zip(set.target.iter().zip(&set.source));
    of_each.flat_map(|(resource, (target, source))| {
        let missing = source
            .iter()
            .filter(|_| target.is_empty())
            .map(|n| &resource.source[*n]);
        target.iter().map(|n| &resource.target[*n]).chain(missing)
    })
}

/// What is shown of an instance.
struct Column {
    heading: &'static str,
    key: &'static str,
    align: Align,
    value: fn(&Instance) -> Option<Json>,
    text: fn(&Json) -> String,
    /// What hides it together with a column before or after it.
    pair: Pair,
}

/// Columns that are shown together or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pair {
    Always,
    /// Only where a target is a disk.
    Partition,
    /// Only where a target is none.
    File,
    Tries,
    Alone,
}

const COLUMNS: [Column; 13] = [
    column(
        "TYPE",
        "type",
        Align::Left,
        |i| Some(Json::Text(i.kind.to_string())),
        plain,
        Pair::Always,
    ),
    column(
        "PATH",
        "path",
        Align::Left,
        |i| Some(Json::Text(i.shown.clone())),
        plain,
        Pair::Always,
    ),
    column(
        "PTUUID",
        "ptuuid",
        Align::Left,
        |i| i.metadata.uuid.map(|u| Json::Text(u.to_string())),
        plain,
        Pair::Partition,
    ),
    column(
        "PTFLAGS",
        "ptflags",
        Align::Right,
        |i| i.metadata.flags.map(Json::Number),
        |v| number(v, |n| format!("{n:x}")),
        Pair::Partition,
    ),
    column(
        "MTIME",
        "mtime",
        Align::Right,
        |i| i.metadata.mtime.map(Json::Number),
        |v| number(v, moment),
        Pair::File,
    ),
    column(
        "MODE",
        "mode",
        Align::Right,
        |i| i.metadata.mode.map(|m| Json::Number(m.into())),
        |v| number(v, |n| format!("{n:04o}")),
        Pair::File,
    ),
    column(
        "SIZE",
        "size",
        Align::Right,
        |i| i.metadata.size.map(Json::Number),
        |v| number(v, size),
        Pair::Alone,
    ),
    column(
        "TRIES-DONE",
        "tries-done",
        Align::Right,
        |i| i.metadata.tries_done.map(Json::Number),
        plain,
        Pair::Tries,
    ),
    column(
        "TRIES-LEFT",
        "tries-left",
        Align::Right,
        |i| i.metadata.tries_left.map(Json::Number),
        plain,
        Pair::Tries,
    ),
    column(
        "NOAUTO",
        "noauto",
        Align::Left,
        |i| i.metadata.no_auto.map(Json::Flag),
        plain,
        Pair::Alone,
    ),
    column(
        "RO",
        "ro",
        Align::Left,
        |i| i.metadata.read_only.map(Json::Flag),
        plain,
        Pair::Alone,
    ),
    column(
        "GROWFS",
        "growfs",
        Align::Left,
        |i| i.metadata.grow_fs.map(Json::Flag),
        plain,
        Pair::Alone,
    ),
    column(
        "SHA256",
        "sha256",
        Align::Left,
        |i| i.metadata.sha256.map(|d| Json::Text(to_hex(&d))),
        plain,
        Pair::Alone,
    ),
];

const fn column(
    heading: &'static str,
    key: &'static str,
    align: Align,
    value: fn(&Instance) -> Option<Json>,
    text: fn(&Json) -> String,
    pair: Pair,
) -> Column {
    Column {
        heading,
        key,
        align,
        value,
        text,
        pair,
    }
}

/// The columns that have something to show.
fn shown_columns(resources: &[Resource<'_>], set: &UpdateSet) -> Vec<&'static Column> {
    let has_value = |column: &Column| contents(resources, set).any(|i| (column.value)(i).is_some());
    let has_target = |is_disk: bool| {
        let is_such = |r: &Resource<'_>| (r.transfer.target.kind == Kind::Partition) == is_disk;
        resources.iter().any(is_such)
    };
    let is_shown = |column: &&Column| match column.pair {
        Pair::Always => true,
        Pair::Alone => has_value(column),
        pair => {
            let together = COLUMNS.iter().filter(|c| c.pair == pair);
            let may_be = match pair {
                Pair::Partition => has_target(true),
                Pair::File => has_target(false),
                _ => true,
            };
            may_be && together.into_iter().any(has_value)
        }
    };
    COLUMNS.iter().filter(is_shown).collect()
}

fn plain(value: &Json) -> String {
    match value {
        Json::Text(text) => text.clone(),
        Json::Number(number) => number.to_string(),
        Json::Flag(flag) => if *flag { "yes" } else { "no" }.to_owned(),
        _ => "-".to_owned(),
    }
}

fn number(value: &Json, text: fn(u64) -> String) -> String {
    match value {
        Json::Number(number) => text(*number),
        other => plain(other),
    }
}

/// A number of bytes, with one decimal place and a letter for powers of 1024.
fn size(bytes: u64) -> String {
    const LETTERS: [char; 6] = ['K', 'M', 'G', 'T', 'P', 'E'];
    let (mut whole, mut rest, mut letter) = (bytes, 0, None);
    for next in LETTERS {
        if whole < 1024 {
            break;
        }
        (rest, whole, letter) = (whole % 1024, whole / 1024, Some(next));
    }
    match letter {
        None => format!("{bytes}B"),
        Some(letter) => format!("{whole}.{}{letter}", rest * 10 / 1024),
    }
}

/// A moment in the time zone of the machine, from microseconds since 1970.
fn moment(micros: u64) -> String {
    let seconds = i64::try_from(micros / 1_000_000).ok();
    seconds
        .and_then(zone::local)
        .unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_systemd_writes_them() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.0K"),
            (2900, "2.8K"),
            (1 << 30, "1.0G"),
            (u64::MAX, "15.9E"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(moment(u64::MAX), zone::local(18_446_744_073_709).unwrap());
    }
}
