//! `--dry-run`: what would be done, as lines for a person or as one object.

use std::path::Path;

use anyhow::Result;

use crate::sys::out;
use crate::sysupdate::cleanup::Unowned;
use crate::sysupdate::sweep::{Gone, What};
use crate::sysupdate::{Collection, Version};

use super::Session;
use super::json::{Form, Json};

/// Takes what would be done, in its order. Lines come at once.
pub(super) struct DryRun<'s> {
    session: &'s Session,
    version: Json,
    remove: Vec<Json>,
    acquire: Vec<Json>,
    install: Vec<Json>,
    link: Vec<Json>,
    rename: Vec<Json>,
    /// Of a rollback alone.
    hold: Option<Json>,
}

impl<'s> DryRun<'s> {
    /// One that leads to this version, or to none.
    pub(super) fn new(session: &'s Session, version: Option<&Version>) -> DryRun<'s> {
        DryRun {
            session,
            version: Json::text_or_null(version),
            remove: Vec::new(),
            acquire: Vec::new(),
            install: Vec::new(),
            link: Vec::new(),
            rename: Vec::new(),
            hold: None,
        }
    }

    fn say(&self, text: std::fmt::Arguments<'_>) {
        if self.session.asked.form == Form::Table {
            out::say(text);
        }
    }

    pub(super) fn remove(&mut self, gone: Gone<'_>) {
        self.say(format_args!("Would remove '{}'.", gone.path.display()));
        let version = match gone.what {
            What::Instance(instance, _) => Some(&instance.version),
            What::LeftOver | What::Link => None,
        };
        self.remove.push(Json::Object(vec![
            ("version", Json::text_or_null(version)),
            ("transfer", text(gone.transfer)),
            ("path", path(gone.path)),
        ]));
    }

    pub(super) fn remove_unowned(&mut self, unowned: &Unowned) {
        self.say(format_args!("Would remove '{}'.", unowned.shown.display()));
        self.remove.push(Json::Object(vec![
            ("version", Json::text_or_null(Some(&unowned.version))),
            ("transfer", Json::Null),
            ("path", path(&unowned.shown)),
        ]));
    }

    pub(super) fn acquire(
        &mut self,
        transfer: &str,
        source: &str,
        target: &Path,
        bytes: Option<u64>,
    ) {
        self.say(format_args!(
            "Would acquire {source} → {}.",
            target.display()
        ));
        self.acquire.push(Json::Object(vec![
            ("transfer", text(transfer)),
            ("source", text(source)),
            ("target", path(target)),
            ("bytes", bytes.map_or(Json::Null, Json::Number)),
        ]));
    }

    pub(super) fn install(&mut self, transfer: &str, target: &Path) {
        self.say(format_args!("Would install '{}'.", target.display()));
        self.install.push(Json::Object(vec![
            ("transfer", text(transfer)),
            ("target", path(target)),
        ]));
    }

    pub(super) fn link(&mut self, transfer: &str, link: &Path, target: &Path) {
        let (shown, to) = (link.display(), target.display());
        self.say(format_args!("Would let '{shown}' show to '{to}'."));
        self.link.push(Json::Object(vec![
            ("transfer", text(transfer)),
            ("path", path(link)),
            ("target", path(target)),
        ]));
    }

    pub(super) fn rename(&mut self, transfer: &str, from: &Path, to: &Path) {
        let (shown, new) = (from.display(), to.display());
        self.say(format_args!("Would rename '{shown}' to '{new}'."));
        self.rename.push(Json::Object(vec![
            ("transfer", text(transfer)),
            ("path", path(from)),
            ("target", path(to)),
        ]));
    }

    pub(super) fn hold(&mut self, versions: &[Version]) {
        for version in versions {
            self.say(format_args!("Would hold version '{version}'."));
        }
        self.hold = Some(Json::texts(versions));
    }

    /// Ends it; of several collections each says which it is.
    pub(super) fn show(self) -> Result<()> {
        let asked = &self.session.asked;
        if asked.form == Form::Table {
            return Ok(());
        }
        let mut all = Vec::new();
        if asked.is_of_all {
            let component = match &asked.collection {
                Collection::Component(name) => text(name),
                _ => Json::Null,
            };
            all.push(("component", component));
        }
        all.extend([
            ("version", self.version),
            ("remove", Json::List(self.remove)),
            ("acquire", Json::List(self.acquire)),
            ("install", Json::List(self.install)),
        ]);
        if let Some(hold) = self.hold {
            all.extend([
                ("link", Json::List(self.link)),
                ("rename", Json::List(self.rename)),
                ("hold", hold),
            ]);
        }
        Ok(out::answer(&Json::Object(all).written(asked.form))?)
    }
}

fn text(text: &str) -> Json {
    Json::Text(text.to_owned())
}

fn path(path: &Path) -> Json {
    Json::Text(path.display().to_string())
}
