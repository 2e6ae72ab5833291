//! `snapshots`: a table for programs.

use std::process::ExitCode;

use anyhow::Result;
use nix::unistd::{Uid, User};

use super::super::session::Session;
use super::args::Field;
use crate::snapshot::{Info, Inventory, Snapshot};
use crate::sys::out;

/// Prints a line for each snapshot: each field, followed by a tabulator. The running system comes first, under the
/// number 0, as snapper counts it.
pub(super) fn snapshots(session: &Session, fields: &[Field]) -> Result<ExitCode> {
    let inventory = session.system()?.store.inventory()?;
    let fields = if fields.is_empty() {
        &[Field::Number]
    } else {
        fields
    };
    let mut text = line(fields, of_running);
    let listed = inventory
        .snapshots
        .values()
        .filter(|s| !s.is_only_a_number());
    for snapshot in listed {
        text += &line(fields, |field| of(&inventory, snapshot, field));
    }
    out::answer(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn line(fields: &[Field], value: impl Fn(Field) -> String) -> String {
    // what somebody wrote into a description must not look like another field or line
    let cells = fields
        .iter()
        .map(|field| value(*field).replace(char::is_control, " ") + "\t");
    cells.collect::<String>() + "\n"
}

fn of_running(field: Field) -> String {
    match field {
        Field::Number => "0".into(),
        Field::Description => "current".into(),
        Field::Type => "single".into(),
        Field::Default | Field::Active => yes(false),
        Field::User => user(0),
        Field::Config | Field::Subvolume => of_the_root(field),
        Field::Date | Field::Cleanup | Field::Userdata => String::new(),
    }
}

fn of(inventory: &Inventory, snapshot: &Snapshot, field: Field) -> String {
    let id = Some(snapshot.id);
    let info = snapshot.info();
    let text = |of: fn(&Info) -> &String| info.map(of).cloned().unwrap_or_default();
    match field {
        Field::Number => snapshot.id.to_string(),
        Field::Default => yes(inventory.default == id),
        Field::Active => yes(inventory.booted == id),
        Field::Date => text(|info| &info.date),
        Field::Description => text(|info| &info.description),
        Field::Type => text(|info| &info.kind),
        Field::Cleanup => text(|info| &info.cleanup),
        Field::User => user(info.and_then(Info::uid).unwrap_or(0)),
        Field::Userdata => {
            let data = info.map(|info| &info.userdata).into_iter().flatten();
            let pairs: Vec<String> = data.map(|(key, value)| format!("{key}={value}")).collect();
            pairs.join(", ")
        }
        Field::Config | Field::Subvolume => of_the_root(field),
    }
}

/// The names of the configuration and of the directory that snapshots are made of.
fn of_the_root(field: Field) -> String {
    let root = crate::sys::root::inside("".as_ref());
    match field {
        Field::Config => "root".into(),
        _ => root.display().to_string(),
    }
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.into()
}

fn user(uid: u32) -> String {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}
