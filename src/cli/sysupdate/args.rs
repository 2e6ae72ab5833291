//! What can be typed, and what of it makes sense together.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser;

use super::json::Form;
use crate::sysupdate::Collection;
use crate::sysupdate::definition::is_component_name;
use crate::sysupdate::pattern::boolean;
use crate::sysupdate::update::Erase;

/// List, check and clean up versions of files, directories and images that transfer files name.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "sysupdate",
    version,
    max_term_width = 100,
    args_override_self = true,
    disable_help_subcommand = true,
    after_help = COMMANDS
)]
pub struct Sysupdate {
    /// What to do, and with what; without it all versions are listed
    #[arg(value_name = "COMMAND")]
    pub words: Vec<String>,
    /// Work with the transfer files of a component: those in sysupdate.NAME.d
    #[arg(
        short = 'C',
        long,
        value_name = "NAME",
        overrides_with = "component_all"
    )]
    pub component: Option<String>,
    /// Read transfer files only in this directory
    #[arg(long, value_name = "DIR")]
    pub definitions: Option<PathBuf>,
    /// Work on the system that is mounted at DIR
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Work on the system in the image of a disk or of a file system; of several roots of a disk it is the one with the newest version in
    /// its label, which stays in its partition
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
    /// Accepted; only the root of an image is mounted
    #[arg(long, value_name = "POLICY", hide = true)]
    pub image_policy: Option<String>,
    /// Switch all features
    #[arg(short = 'a', long)]
    pub feature_all: bool,
    /// Switch the features that are suggested here
    #[arg(short = 's', long)]
    pub feature_suggested: bool,
    /// Switch all components; update or acquire what has no component, and then each component that is enabled; clean up all of them
    #[arg(short = 'A', long, overrides_with = "component")]
    pub component_all: bool,
    /// Switch the components that are suggested here
    #[arg(short = 'S', long)]
    pub component_suggested: bool,
    /// How many versions stay, whatever the transfer files say
    #[arg(short = 'm', long, value_name = "N")]
    pub instances_max: Option<String>,
    /// Do not look into sources
    #[arg(long)]
    pub offline: bool,
    /// What the path of a source with PathRelativeTo=explicit is relative to
    #[arg(long, value_name = "DIR")]
    pub transfer_source: Option<PathBuf>,
    /// Whether manifests need a signature, whatever the transfer files say
    #[arg(long, value_name = "BOOL")]
    pub verify: Option<String>,
    /// Whether what changes is written to disk before the command ends (default: yes); no is for tests only
    #[arg(long, value_name = "BOOL")]
    pub sync: Option<String>,
    /// After update: reboot, when the new version is newer than the one that runs, or is that one and was repaired; after rollback: when it is
    /// another one than runs
    #[arg(long)]
    pub reboot: bool,
    /// After update, also when there was nothing to update: do what cleanup does (default: no)
    #[arg(long, value_name = "BOOL")]
    pub cleanup: Option<String>,
    /// Show what update, acquire, vacuum, cleanup or rollback would do, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Transfers at a time (default: 4)
    #[arg(long, value_name = "N")]
    pub jobs: Option<String>,
    /// Where what is received is kept, so that a run that was cut off is gone on with: a directory, or no
    #[arg(long, value_name = "DIR|no")]
    pub spool: Option<PathBuf>,
    /// When a slot is emptied for what comes: auto (default), late (that is complete then) or early
    #[arg(long, value_name = "WHEN")]
    pub erase: Option<String>,
    /// How progress is shown on standard error: auto (default), plain, json or none
    #[arg(long, value_name = "FORM")]
    pub progress: Option<String>,
    /// Print no headers and no sums
    #[arg(long)]
    pub no_legend: bool,
    /// Accepted; a pager is never used
    #[arg(long)]
    pub no_pager: bool,
    /// Print JSON: short in one line, pretty with lines and indentation, or off (default)
    #[arg(long, value_name = "FORM")]
    pub json: Option<String>,
}

const COMMANDS: &str = "Commands:
  list [VERSION]           All versions, or one of them in detail
  check-new                Print the version to update to; exit status 1: none
  pending                  Whether a newer one is installed than runs; exit status 1: no
  update [VERSION]         Install the newest version, or this one
  acquire [VERSION]        Fetch it, so that update --offline installs it
  rollback [VERSION]       Go back to the version before the current one, or to this one
  reboot                   Reboot, when pending says yes
  vacuum                   Remove what is too much, or of disabled transfers
  cleanup                  Remove what was installed and no transfer owns any more
  features [FEATURE]       The optional features, or one of them
  enable-feature NAME…     Let features take part; also -a, -s
  disable-feature NAME…    Let features take no part
  components               The components
  enable-component NAME…   Let components be updated; also -A, -S
  disable-component NAME…  Let components not be updated
  help                     This text

Exit status: 0 it is done, or the answer is yes; 1 it failed, or the answer is no.";

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verb {
    List(Option<String>),
    CheckNew,
    Pending,
    Reboot,
    Vacuum,
    Cleanup,
    Update(Option<String>),
    Acquire(Option<String>),
    Rollback(Option<String>),
    Features(Option<String>),
    Components,
    Switch(Thing, Chosen, bool),
    Help,
}

/// What can be switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thing {
    Feature,
    Component,
}

impl Thing {
    /// What it is called.
    pub(super) fn word(self) -> &'static str {
        match self {
            Thing::Feature => "Feature",
            Thing::Component => "Component",
        }
    }
}

/// Which ones of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Chosen {
    All,
    Suggested,
    Named(Vec<String>),
}

/// Where what is received is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Keep {
    /// Where the system has a place for it.
    Usual,
    /// In this directory of the running system, an absolute path.
    In(PathBuf),
    /// Nowhere.
    Nowhere,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum ProgressForm {
    /// As fits where it goes.
    #[default]
    Auto,
    /// As lines.
    Plain,
    /// As lines of JSON.
    Json,
    /// Not at all.
    None,
}

impl FromStr for ProgressForm {
    type Err = String;

    fn from_str(text: &str) -> Result<ProgressForm, String> {
        match text {
            "auto" => Ok(ProgressForm::Auto),
            "plain" => Ok(ProgressForm::Plain),
            "json" => Ok(ProgressForm::Json),
            "none" => Ok(ProgressForm::None),
            _ => Err(format!("Unknown argument to --progress= switch: {text}")),
        }
    }
}

/// What was typed, once all of it makes sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) verb: Verb,
    pub(super) collection: Collection,
    /// All collections of the system are meant.
    pub(super) is_of_all: bool,
    pub(super) root: Option<PathBuf>,
    pub(super) image: Option<PathBuf>,
    pub(super) instances_max: Option<u64>,
    pub(super) is_offline: bool,
    pub(super) transfer_source: Option<PathBuf>,
    pub(super) is_synced: bool,
    /// Whether manifests need a signature, when that was said.
    pub(super) is_verified: Option<bool>,
    /// Whether a reboot follows, where one makes a difference.
    pub(super) has_reboot: bool,
    /// Whether an update is followed by a clean-up.
    pub(super) has_cleanup: bool,
    pub(super) is_dry_run: bool,
    /// Transfers at a time, when that was said.
    pub(super) jobs: Option<usize>,
    pub(super) keep: Keep,
    pub(super) progress: ProgressForm,
    pub(super) erase: Erase,
    pub(super) has_legend: bool,
    pub(super) form: Form,
}

impl Asked {
    /// Whether it is only asked what is there, or what would be done.
    pub(super) fn changes_nothing(&self) -> bool {
        let changes = matches!(
            self.verb,
            Verb::Update(_)
                | Verb::Acquire(_)
                | Verb::Vacuum
                | Verb::Cleanup
                | Verb::Rollback(_)
                | Verb::Switch(..)
        );
        !changes || self.is_dry_run
    }
}

impl Sysupdate {
    /// What is asked for.
    ///
    /// # Errors
    /// What makes no sense, or not together.
    pub(super) fn asked(self) -> Result<Asked, String> {
        let verb = self.verb()?;
        let form = self.json.as_deref().map_or(Ok(Form::Table), str::parse)?;
        let component = self.component.filter(|name| !name.is_empty());
        if let Some(name) = component.as_ref().filter(|name| !is_component_name(name)) {
            return Err(format!("Component name invalid: {name}"));
        }
        let instances_max = self.instances_max.as_deref().map(|text| {
            let number = text
                .parse::<u64>()
                .ok()
                .filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
            number.ok_or_else(|| format!("Failed to parse --instances-max= parameter: {text}"))
        });
        let instances_max = instances_max.transpose()?;
        let is_synced = switch("sync", self.sync.as_deref())?.unwrap_or(true);
        let is_verified = switch("verify", self.verify.as_deref())?;
        let cleanup = switch("cleanup", self.cleanup.as_deref())?;
        let jobs = self.jobs.as_deref().map(|text| {
            let number = text.parse().ok().filter(|n| (1..=64).contains(n));
            number.ok_or_else(|| format!("Failed to parse --jobs= parameter: {text}"))
        });
        let jobs = jobs.transpose()?;
        let erase = match self.erase.as_deref() {
            None | Some("auto") => Erase::Auto,
            Some("late") => Erase::Late,
            Some("early") => Erase::Early,
            Some(text) => return Err(format!("Unknown argument to --erase= switch: {text}")),
        };
        let progress = self
            .progress
            .as_deref()
            .map_or(Ok(ProgressForm::Auto), str::parse)?;
        let can_be_dry = matches!(
            verb,
            Verb::Update(_) | Verb::Acquire(_) | Verb::Vacuum | Verb::Cleanup | Verb::Rollback(_)
        );
        if self.dry_run && !can_be_dry {
            return Err(
                "The --dry-run switch may only be used with update, acquire, vacuum, cleanup and rollback."
                    .into(),
            );
        }
        let given = Given {
            definitions: self.definitions.is_some(),
            component: component.is_some() || self.component_all || self.component_suggested,
            root: self.root.is_some() || self.image.is_some(),
            reboot: self.reboot,
            cleanup,
        };
        if self.root.is_some() && self.image.is_some() {
            return Err(
                "Please specify either --root= or --image=, the combination of both is not supported."
                    .into(),
            );
        }
        if let Some(clash) = clash(&verb, given, instances_max) {
            return Err(clash.into());
        }
        let absolute = |path: PathBuf| {
            let made = std::path::absolute(&path);
            made.map_err(|e| format!("{}: {e}", path.display()))
        };
        let definitions = self.definitions.map(absolute).transpose()?;
        let keep = match self.spool {
            None => Keep::Usual,
            Some(no) if no.as_os_str() == "no" => Keep::Nowhere,
            Some(dir) => Keep::In(absolute(dir)?),
        };
        let collection = match (definitions, component) {
            (Some(dir), _) => Collection::Directory(dir),
            (None, Some(name)) => Collection::Component(name),
            (None, None) => Collection::Default,
        };
        Ok(Asked {
            verb,
            collection,
            is_of_all: self.component_all,
            root: self.root,
            image: self.image.map(absolute).transpose()?,
            instances_max,
            is_offline: self.offline,
            transfer_source: self.transfer_source.map(absolute).transpose()?,
            is_synced,
            is_verified,
            has_reboot: self.reboot,
            has_cleanup: cleanup.unwrap_or(false),
            is_dry_run: self.dry_run,
            jobs,
            keep,
            progress,
            erase,
            has_legend: !self.no_legend,
            form,
        })
    }
}

/// The value of a switch, when it is given.
fn switch(name: &str, text: Option<&str>) -> Result<Option<bool>, String> {
    let failed = |text| format!("Failed to parse --{name}= parameter: {text}");
    text.map(|text| boolean(text).ok_or_else(|| failed(text)))
        .transpose()
}

/// Which options are given, of those that do not go with all others.
#[derive(Debug, Clone, Copy)]
struct Given {
    definitions: bool,
    /// One of those that choose components.
    component: bool,
    root: bool,
    reboot: bool,
    cleanup: Option<bool>,
}

/// What does not go together: a command with options, and a limit.
fn clash(verb: &Verb, given: Given, instances_max: Option<u64>) -> Option<&'static str> {
    match verb {
        Verb::Cleanup if given.cleanup == Some(false) => {
            Some("Invocation of 'cleanup' with --cleanup=no is contradictory, refusing.")
        }
        // the command says the same
        Verb::Update(_) | Verb::Cleanup => None,
        _ => given
            .cleanup
            .map(|_| "The --cleanup= switch may only be used with update."),
    }
    .or_else(|| clash_of_others(verb, given, instances_max))
}

fn clash_of_others(verb: &Verb, given: Given, instances_max: Option<u64>) -> Option<&'static str> {
    match verb {
        _ if given.reboot && given.root => {
            Some("The --reboot switch may not be combined with --root= or --image=.")
        }
        _ if given.reboot && given.component => Some(
            "The --reboot switch may not be combined with --component=, --component-all or --component-suggested.",
        ),
        _ if given.definitions && given.component => Some(
            "The --definitions= and --component=/--component-all/--component-suggested switches may not be combined.",
        ),
        _ if given.definitions && given.root => {
            Some("The --definitions= switch may not be combined with --root= or --image=.")
        }
        Verb::Update(_) | Verb::Acquire(_) if instances_max.is_some_and(|n| n < 2) => {
            Some("The --instances-max= argument must be >= 2 while updating")
        }
        Verb::Update(_) | Verb::Rollback(_) => None,
        _ if given.reboot => Some("The --reboot switch may only be used with update and rollback."),
        Verb::Components if given.definitions => {
            Some("The --definitions= switch may not be combined with 'components'.")
        }
        Verb::Switch(..) if given.definitions => Some(
            "The --definitions= switch may not be combined with commands that enable or disable.",
        ),
        Verb::Pending if given.root || given.component => Some(
            "The --root=, --image= and --component= switches may not be combined with 'pending'.",
        ),
        Verb::Reboot if given.root || given.component => Some(
            "The --root=, --image= and --component= switches may not be combined with 'reboot'.",
        ),
        Verb::Vacuum if instances_max == Some(0) => {
            Some("The --instances-max= argument must be >= 1 while vacuuming")
        }
        _ => None,
    }
}

impl Sysupdate {
    /// The command, with what belongs to it.
    fn verb(&self) -> Result<Verb, String> {
        let (verb, arguments) = match &self.words[..] {
            [] => ("list", &[][..]),
            [verb, arguments @ ..] => (verb.as_str(), arguments),
        };
        let first = || arguments.first().cloned();
        let (verb, most) = match verb {
            "list" => (Verb::List(first()), 1),
            "features" => (Verb::Features(first()), 1),
            "check-new" => (Verb::CheckNew, 0),
            "pending" => (Verb::Pending, 0),
            "reboot" => (Verb::Reboot, 0),
            "vacuum" => (Verb::Vacuum, 0),
            "cleanup" => (Verb::Cleanup, 0),
            "update" => (Verb::Update(first()), 1),
            "acquire" => (Verb::Acquire(first()), 1),
            "rollback" => (Verb::Rollback(first()), 1),
            "components" => (Verb::Components, 0),
            "enable-feature" => (self.switch(Thing::Feature, arguments, true)?, usize::MAX),
            "disable-feature" => (self.switch(Thing::Feature, arguments, false)?, usize::MAX),
            "enable-component" => (self.switch(Thing::Component, arguments, true)?, usize::MAX),
            "disable-component" => (self.switch(Thing::Component, arguments, false)?, usize::MAX),
            "help" => (Verb::Help, usize::MAX),
            _ => return Err(format!("Unknown command verb '{verb}'.")),
        };
        if arguments.len() > most {
            return Err("Too many arguments.".into());
        }
        let takes_features = matches!(verb, Verb::Switch(Thing::Feature, ..));
        let takes_components = matches!(verb, Verb::Switch(Thing::Component, ..));
        let takes_all =
            takes_components || matches!(verb, Verb::Update(_) | Verb::Acquire(_) | Verb::Cleanup);
        let is_of_features = self.feature_all || self.feature_suggested;
        if (is_of_features && !takes_features)
            || (self.component_suggested && !takes_components)
            || (self.component_all && !takes_all)
        {
            return Err("The --feature-all, --feature-suggested, --component-all and --component-suggested switches may only be used \
                        with commands that enable or disable such, and --component-all also with update, acquire and cleanup."
                .into());
        }
        Ok(verb)
    }

    /// What is to be switched: by names, or by one option.
    fn switch(&self, thing: Thing, names: &[String], is_on: bool) -> Result<Verb, String> {
        let (all, suggested) = match thing {
            Thing::Feature => (self.feature_all, self.feature_suggested),
            Thing::Component => (self.component_all, self.component_suggested),
        };
        let chosen = match (names, all, suggested) {
            ([], true, false) => Chosen::All,
            ([], false, true) => Chosen::Suggested,
            ([], false, false) => return Err("Too few arguments.".into()),
            (names, false, false) => Chosen::Named(names.to_vec()),
            _ => return Err("Names, all and suggested ones may not be combined.".into()),
        };
        Ok(Verb::Switch(thing, chosen, is_on))
    }
}

#[cfg(test)]
mod tests;
