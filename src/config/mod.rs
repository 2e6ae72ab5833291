//! The configuration: transactional-update.conf and tukit.conf, merged and typed.
//!
//! This module owns where the files are, how they are merged, what may stand in them and what it means. Each value
//! knows where it comes from. The files are data: nothing in them is ever run or expanded, and a line that only a
//! shell could understand is an error that says what to write instead.
//!
//! It must not look at the environment (whoever does passes [`Overrides`]), write anything, or decide what a value
//! leads to. Every path is below a [`Root`], except the ones in the overrides.
//!
//! [`KEYS`] is the one list of what can be set. The parser checks against it, and the manual pages are made from it.

mod error;
mod files;
mod keys;
mod parse;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use error::ConfigError;
pub use keys::{Base, File, KEYS, Key, RebootMethod, UpdateMethod, Values};

use crate::sys::Root;
use files::read_all;
use keys::{
    DEFAULT_LOCK_FILE, DEFAULT_OFFLINE_PAUSE, DEFAULT_OFFLINE_STALL, DEFAULT_PLUGIN_TIMEOUT,
    DEFAULT_PREFIXES, DEFAULT_SNAPSHOT_MANAGER,
};
use parse::Assignment;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nothing set it.
    Default,
    /// A line of a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, counted from one.
        line: usize,
    },
    /// An environment variable of this name. This module never makes it; whoever overrides a value does.
    Environment(&'static str),
    /// An option of the command line that sets a key.
    CommandLine,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Environment(name) => write!(f, "environment variable {name}"),
            Origin::CommandLine => f.write_str("command line"),
        }
    }
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub origin: Origin,
}

impl<T> Value<T> {
    fn default_of(value: T) -> Value<T> {
        Value {
            value,
            origin: Origin::Default,
        }
    }
}

/// What the caller wants otherwise than the usual files say: files to read in place of them, as the environment
/// names them, and keys that were set by hand. The files are not below the root.
///
/// The drop-ins of such a file are in the directory beside it whose name has `.d` added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// In place of usr/etc/transactional-update.conf (`TU_CONFFILESYSTEM`).
    pub system_file: Option<PathBuf>,
    /// In place of etc/transactional-update.conf (`TU_CONFFILE`).
    pub admin_file: Option<PathBuf>,
    /// Lines that could stand at the end of tukit.conf (`KEY=value`).
    pub settings: Vec<String>,
}

/// All values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How to reboot (REBOOT_METHOD).
    pub reboot_method: Value<RebootMethod>,
    /// What to do without a command (UPDATE_METHOD).
    pub update_method: Value<UpdateMethod>,
    /// Whether new repository keys are trusted (ZYPPER_AUTO_IMPORT_KEYS).
    pub import_keys: Value<bool>,
    /// What a new snapshot is made from (BASE).
    pub base: Value<Base>,
    /// Below which directories those of packages are made at boot (CREATE_DIRS_PREFIXES).
    pub create_dirs_prefixes: Value<Vec<PathBuf>>,
    /// Below which none are made (CREATE_DIRS_EXCLUDE).
    pub create_dirs_exclude: Value<Vec<PathBuf>>,
    /// Whether those that packages only own are made as well (CREATE_DIRS_GHOST).
    pub create_dirs_ghost: Value<bool>,
    /// Directories that are live in a transaction, absolute, in the order of the files (BINDDIRS).
    pub bind_dirs: Vec<Value<PathBuf>>,
    /// Whether a soft-reboot may replace a reboot (REBOOT_ALLOW_SOFT_REBOOT).
    pub allow_soft_reboot: Value<bool>,
    /// Whether kexec may replace a reboot (REBOOT_ALLOW_KEXEC).
    pub allow_kexec: Value<bool>,
    /// The lock file, as a path of the system that is worked on (LOCKFILE).
    pub lock_file: Value<PathBuf>,
    /// How long a plugin may take (PLUGIN_TIMEOUT).
    pub plugin_timeout: Value<Duration>,
    /// After how long without a sign of life an offline update is given up (OFFLINE_STALL_TIMEOUT).
    pub offline_stall: Value<Duration>,
    /// How long the reason of a failed offline update stays on the screen (OFFLINE_FAILURE_PAUSE).
    pub offline_pause: Value<Duration>,
    /// What manages snapshots (SNAPSHOT_MANAGER). Nothing depends on it.
    pub snapshot_manager: Value<String>,
    /// The container image to apply when none is named (OCI_TARGET).
    pub oci_target: Value<Option<String>>,
    /// What is strange in the files but does no harm, each with file and line.
    pub warnings: Vec<String>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            reboot_method: Value::default_of(RebootMethod::Auto),
            update_method: Value::default_of(UpdateMethod::Dup),
            import_keys: Value::default_of(false),
            base: Value::default_of(Base::Auto),
            create_dirs_prefixes: Value::default_of(
                parse::directories(DEFAULT_PREFIXES).unwrap_or_default(),
            ),
            create_dirs_exclude: Value::default_of(Vec::new()),
            create_dirs_ghost: Value::default_of(false),
            bind_dirs: Vec::new(),
            allow_soft_reboot: Value::default_of(false),
            allow_kexec: Value::default_of(false),
            lock_file: Value::default_of(PathBuf::from(DEFAULT_LOCK_FILE)),
            plugin_timeout: Value::default_of(parse::seconds(DEFAULT_PLUGIN_TIMEOUT)),
            offline_stall: Value::default_of(parse::seconds(DEFAULT_OFFLINE_STALL)),
            offline_pause: Value::default_of(parse::seconds(DEFAULT_OFFLINE_PAUSE)),
            snapshot_manager: Value::default_of(DEFAULT_SNAPSHOT_MANAGER.to_owned()),
            oci_target: Value::default_of(None),
            warnings: Vec::new(),
        }
    }
}

impl Config {
    /// Reads the configuration of the system at `root`.
    ///
    /// A file that does not exist is passed over, unless `overrides` names it. transactional-update.conf is read in
    /// layers: the file of usr/etc, its drop-ins, the file of etc, its drop-ins; what is read later wins, so that the
    /// administrator's file beats what packages put into drop-ins. Of tukit.conf the file in etc replaces the one in
    /// usr/etc, and the drop-ins of both directories follow in the order of their names, as libeconf reads it.
    /// In both, a drop-in in etc replaces one of the same name in usr/etc.
    ///
    /// # Errors
    /// When a file cannot be read, is not text, is larger than 1 MiB, or has a line or a value that is not understood.
    pub fn load(root: &Root, overrides: &Overrides) -> Result<Config, ConfigError> {
        let mut builder = Builder::default();
        for file in [File::TransactionalUpdate, File::Tukit] {
            builder.read(root, file, overrides)?;
        }
        for text in &overrides.settings {
            builder.set(File::Tukit, &parse::setting(text)?)?;
        }
        let mut config = builder.config;
        config
            .bind_dirs
            .retain(|dir| !dir.value.as_os_str().is_empty());
        Ok(config)
    }

    /// Reads only what the files of this name say, as [`Config::load`] does; everything else has its default.
    ///
    /// # Errors
    /// As those of [`Config::load`].
    pub fn load_only(root: &Root, file: File) -> Result<Config, ConfigError> {
        let mut builder = Builder::default();
        builder.read(root, file, &Overrides::default())?;
        Ok(builder.config)
    }
}

/// A configuration while its lines are applied.
#[derive(Debug, Default)]
struct Builder {
    config: Config,
    /// Which numbered BINDDIRS is where in the list.
    numbered: BTreeMap<String, usize>,
}

impl Builder {
    /// Applies all lines of `file`.
    fn read(&mut self, root: &Root, file: File, overrides: &Overrides) -> Result<(), ConfigError> {
        let read = read_all(root, file, overrides)?;
        self.config.warnings.extend(read.warnings);
        for assignment in read.assignments {
            self.set(file, &assignment)?;
        }
        Ok(())
    }

    /// Applies one line.
    fn set(&mut self, file: File, line: &Assignment) -> Result<(), ConfigError> {
        let is_list = line.index.is_some();
        let is_meant =
            |key: &Key| key.file == file && key.name == line.key && key.is_list() == is_list;
        let config = &mut self.config;
        let default = Config::default();
        match line.key.as_str() {
            _ if !KEYS.iter().any(is_meant) => self.warn_of_unknown(file, line),
            "REBOOT_METHOD" => config.reboot_method = line.word(default.reboot_method.value)?,
            "UPDATE_METHOD" => config.update_method = line.word(default.update_method.value)?,
            "BASE" => config.base = line.word(default.base.value)?,
            "ZYPPER_AUTO_IMPORT_KEYS" => {
                config.import_keys = line.boolean(default.import_keys.value)?
            }
            "CREATE_DIRS_PREFIXES" => {
                config.create_dirs_prefixes =
                    line.directories(default.create_dirs_prefixes.value)?;
            }
            "CREATE_DIRS_EXCLUDE" => {
                config.create_dirs_exclude = line.directories(default.create_dirs_exclude.value)?;
            }
            "CREATE_DIRS_GHOST" => {
                config.create_dirs_ghost = line.boolean(default.create_dirs_ghost.value)?;
            }
            "REBOOT_ALLOW_SOFT_REBOOT" => {
                config.allow_soft_reboot = line.boolean(default.allow_soft_reboot.value)?;
            }
            "REBOOT_ALLOW_KEXEC" => config.allow_kexec = line.boolean(default.allow_kexec.value)?,
            "LOCKFILE" => config.lock_file = line.path(default.lock_file.value)?,
            "PLUGIN_TIMEOUT" => {
                config.plugin_timeout = line.seconds(1, default.plugin_timeout.value)?
            }
            "OFFLINE_STALL_TIMEOUT" => {
                config.offline_stall = line.seconds(1, default.offline_stall.value)?;
            }
            "OFFLINE_FAILURE_PAUSE" => {
                config.offline_pause = line.seconds(0, default.offline_pause.value)?;
            }
            "SNAPSHOT_MANAGER" => config.snapshot_manager = line.with(line.value.clone()),
            "OCI_TARGET" => {
                let target = (!line.value.is_empty()).then(|| line.value.clone());
                config.oci_target = line.with(target);
            }
            "BINDDIRS" => self.bind(line)?,
            // A row of the table without an arm here would be silently ignored; a test sets every key.
            _ => {}
        }
        Ok(())
    }

    /// `BINDDIRS[]` adds a directory, or empties the list when it has no value. `BINDDIRS[1]` adds number 1 or replaces
    /// it; without a value it takes it away.
    fn bind(&mut self, line: &Assignment) -> Result<(), ConfigError> {
        let number = line.index.as_deref().unwrap_or_default();
        let list = &mut self.config.bind_dirs;
        if number.is_empty() && line.value.is_empty() {
            list.clear();
            self.numbered.clear();
            return Ok(());
        }
        // an entry without a path is dropped in the end
        let dir = line.path(PathBuf::new())?;
        match self
            .numbered
            .get(number)
            .and_then(|&place| list.get_mut(place))
        {
            Some(entry) => *entry = dir,
            None => {
                if !number.is_empty() {
                    self.numbered.insert(number.to_owned(), list.len());
                }
                list.push(dir);
            }
        }
        Ok(())
    }

    fn warn_of_unknown(&mut self, file: File, line: &Assignment) {
        let name = &line.key;
        let hint = match KEYS.iter().find(|key| key.name == name) {
            Some(key) if key.file != file => format!("; it belongs into {}", key.file.name()),
            Some(key) if key.is_list() => format!("; write {name}[]= for each entry"),
            Some(_) => format!("; write {name}= without brackets"),
            None => String::new(),
        };
        let brackets = if line.index.is_some() { "[]" } else { "" };
        self.config.warnings.push(format!(
            "{}: unknown key {name}{brackets}{hint}",
            line.origin
        ));
    }
}

#[cfg(test)]
mod tests;
