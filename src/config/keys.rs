//! The one list of what can be set, and the words that values are made of.

/// The default of LOCKFILE, below the root.
pub(super) const DEFAULT_LOCK_FILE: &str = "run/tukit.lock";

/// The default of SNAPSHOT_MANAGER.
pub(super) const DEFAULT_SNAPSHOT_MANAGER: &str = "snapper";

/// The default of PLUGIN_TIMEOUT, in seconds.
pub(super) const DEFAULT_PLUGIN_TIMEOUT: &str = "300";

/// The default of OFFLINE_STALL_TIMEOUT, in seconds.
pub(super) const DEFAULT_OFFLINE_STALL: &str = "1800";

/// The default of OFFLINE_FAILURE_PAUSE, in seconds.
pub(super) const DEFAULT_OFFLINE_PAUSE: &str = "10";

/// The default of CREATE_DIRS_PREFIXES: what openSUSE keeps out of its snapshots and packages own directories in.
pub(super) const DEFAULT_PREFIXES: &str = "/var /srv /opt";

/// A configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum File {
    /// transactional-update.conf: what the command transactional-update does.
    TransactionalUpdate,
    /// tukit.conf: what every transaction does.
    Tukit,
}

impl File {
    /// Its name in etc and usr/etc.
    pub fn name(self) -> &'static str {
        match self {
            File::TransactionalUpdate => "transactional-update.conf",
            File::Tukit => "tukit.conf",
        }
    }
}

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// One of these words, each with what it means.
    Words(&'static [(&'static str, &'static str)]),
    /// `1`, `yes` or `true` against `0`, `no` or `false`, in any case.
    Boolean,
    /// An absolute path.
    Path,
    /// A list: one line `KEY[]=` or `KEY[number]=` with an absolute path for each entry.
    Paths,
    /// Absolute paths of directories with blanks between them.
    Directories,
    /// A number of seconds, from this one to 86400.
    Seconds(u64),
    /// Any text.
    Text,
}

/// A key that can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// The file it belongs into.
    pub file: File,
    /// Its value when nothing sets it; empty when that is nothing. Paths are below the root.
    pub default: &'static str,
    /// What it takes.
    pub values: Values,
    /// What it is for, in sentences for a manual page.
    pub doc: &'static str,
}

impl Key {
    /// Whether the key is written with brackets and may be set several times.
    pub fn is_list(&self) -> bool {
        matches!(self.values, Values::Paths)
    }
}

/// Makes an enum whose variants are the words of a key, and the table of the words.
macro_rules! words {
    ($(#[$about:meta])* $name:ident $table:ident { $($word:literal $variant:ident $doc:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $(#[doc = $doc] $variant,)+
        }

        const $table: &[(&str, &str)] = &[$(($word, $doc),)+];

        impl $name {
            /// The word in the file.
            pub fn word(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)+
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(word: &str) -> Result<$name, String> {
                let words: Vec<&str> = $table.iter().map(|(word, _)| *word).collect();
                $name::of(word).ok_or_else(|| format!("write one of {}", words.join(", ")))
            }
        }

        impl Word for $name {
            const WORDS: &'static [(&'static str, &'static str)] = $table;

            fn of(word: &str) -> Option<$name> {
                match word {
                    $($word => Some($name::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

/// A value that is one of some words.
pub(super) trait Word: Sized {
    /// The words, each with what it means.
    const WORDS: &'static [(&'static str, &'static str)];

    /// The value that a word stands for.
    fn of(word: &str) -> Option<Self>;
}

words! {
    /// How to reboot.
    RebootMethod REBOOT_METHODS {
        "auto" Auto "By rebootmgr when it is active, else by systemd.",
        "rebootmgr" Rebootmgr "Ask rebootmgr, which waits for its maintenance window.",
        "notify" Notify "Tell the users that a reboot is needed, and leave it to them.",
        "systemd" Systemd "Reboot at once.",
        "kured" Kured "Tell kured, which reboots the nodes of a Kubernetes cluster one after the other.",
        "kexec" Kexec "Load the new kernel and start it without going through the firmware.",
        "none" None "Do nothing; the next reboot comes when somebody asks for it.",
    }
}

words! {
    /// What to do when no command is given.
    UpdateMethod UPDATE_METHODS {
        "dup" Dup "Upgrade the distribution, as for rolling releases.",
        "up" Up "Update the packages within the release.",
        "patch" Patch "Install the patches that are needed.",
        "sysupdate" Sysupdate "Install versions of images, partitions or directories, as sysupdate does; cleanup, rollback and reboot are about them then.",
    }
}

words! {
    /// What a new snapshot is made from.
    Base BASES {
        "auto" Auto "The pending snapshot when it descends from the current one and was never booted, else the current one.",
        "active" Active "Always the current snapshot; what is pending is not continued.",
        "default" Default "The snapshot that is the default for the next boot.",
    }
}

/// Every key, in the order of the manual pages.
pub const KEYS: &[Key] = &[
    Key {
        name: "REBOOT_METHOD",
        file: File::TransactionalUpdate,
        default: "auto",
        values: Values::Words(REBOOT_METHODS),
        doc: "How the system is rebooted after an update, by the command reboot.",
    },
    Key {
        name: "UPDATE_METHOD",
        file: File::TransactionalUpdate,
        default: "dup",
        values: Values::Words(UPDATE_METHODS),
        doc: "What is done when no command is given, as in the nightly update.",
    },
    Key {
        name: "ZYPPER_AUTO_IMPORT_KEYS",
        file: File::TransactionalUpdate,
        default: "0",
        values: Values::Boolean,
        doc: "Whether keys of new repositories are trusted without asking. When they are not, an update fails for as long \
              as a key is unknown. A repository can bring any key with it, so leave this off unless you trust the way to it.",
    },
    Key {
        name: "BASE",
        file: File::TransactionalUpdate,
        default: "auto",
        values: Values::Words(BASES),
        doc: "What a new snapshot is made from when neither --continue nor --no-continue is given.",
    },
    Key {
        name: "CREATE_DIRS_PREFIXES",
        file: File::TransactionalUpdate,
        default: DEFAULT_PREFIXES,
        values: Values::Directories,
        doc: "Below which directories create-dirs-from-rpmdb(8) makes what packages own: those that no transaction can see.",
    },
    Key {
        name: "CREATE_DIRS_EXCLUDE",
        file: File::TransactionalUpdate,
        default: "",
        values: Values::Directories,
        doc: "Below which directories it makes nothing all the same.",
    },
    Key {
        name: "CREATE_DIRS_GHOST",
        file: File::TransactionalUpdate,
        default: "no",
        values: Values::Boolean,
        doc: "Whether it also makes directories that a package owns but does not bring (%ghost).",
    },
    Key {
        name: "OFFLINE_STALL_TIMEOUT",
        file: File::TransactionalUpdate,
        default: DEFAULT_OFFLINE_STALL,
        values: Values::Seconds(1),
        doc: "After how long without a sign of life from the package manager an offline update is given up: a scriptlet that \
              hangs would otherwise leave a machine that nobody can log in to.",
    },
    Key {
        name: "OFFLINE_FAILURE_PAUSE",
        file: File::TransactionalUpdate,
        default: DEFAULT_OFFLINE_PAUSE,
        values: Values::Seconds(0),
        doc: "How long the reason of an offline update that failed stays on the screen before the system restarts.",
    },
    Key {
        name: "BINDDIRS",
        file: File::Tukit,
        default: "",
        values: Values::Paths,
        doc: "Directories of the running system that are live in a transaction. What is written there is seen at once and \
              is not undone when the transaction fails. BINDDIRS[]= adds an entry, and without a value it empties the list; \
              an entry with a number or a name can be replaced, or removed, by a later line with the same one.",
    },
    Key {
        name: "REBOOT_ALLOW_SOFT_REBOOT",
        file: File::Tukit,
        default: "false",
        values: Values::Boolean,
        doc: "Whether the reboot methods rebootmgr and systemd may use a soft-reboot when that is enough.",
    },
    Key {
        name: "REBOOT_ALLOW_KEXEC",
        file: File::Tukit,
        default: "false",
        values: Values::Boolean,
        doc: "Whether the reboot method systemd may use kexec when that is enough. Some machines do not survive it.",
    },
    Key {
        name: "LOCKFILE",
        file: File::Tukit,
        default: DEFAULT_LOCK_FILE,
        values: Values::Path,
        doc: "The file that keeps two transactions from being made at the same time.",
    },
    Key {
        name: "PLUGIN_TIMEOUT",
        file: File::Tukit,
        default: DEFAULT_PLUGIN_TIMEOUT,
        values: Values::Seconds(1),
        doc: "How long a plugin of tukit or of snapper, or a call of sdbootutil, may take before it is ended, which counts as a failure.",
    },
    Key {
        name: "SNAPSHOT_MANAGER",
        file: File::Tukit,
        default: DEFAULT_SNAPSHOT_MANAGER,
        values: Values::Text,
        doc: "What manages the snapshots. Accepted so that existing files can be kept; it has no effect.",
    },
    Key {
        name: "OCI_TARGET",
        file: File::Tukit,
        default: "",
        values: Values::Text,
        doc: "The container image that apply-oci uses when none is named.",
    },
];
