//! What zypper reports while it runs, as data.

/// One thing zypper reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something to read, of zypper, of rpm or of a scriptlet. Text that is no XML comes as [`Level::Info`] too.
    Message {
        /// How bad it is, as zypper classed it. rpm's own warnings and errors come as [`Level::Info`].
        level: Level,
        /// The text, without blank space around it; it may have several lines.
        text: String,
    },
    /// A step of the work began, went on or ended.
    Progress(Progress),
    /// zypper begins to get a package.
    Retrieve(Retrieve),
    /// A file is being downloaded. Local repositories (`dir:`) cause no such event, only [`Event::Retrieve`].
    Download(Download),
    /// What the solver wants to change.
    Summary(Summary),
    /// A question. With `--non-interactive` zypper has answered it itself with the default.
    Prompt(Prompt),
    /// Two packages have the same file with different content.
    FileConflict(FileConflict),
}

/// How bad a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Something to know.
    Info,
    /// A warning.
    Warning,
    /// An error.
    Error,
}

/// The number of a step and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Step {
    /// Counts from one.
    pub number: u32,
    /// How many steps there will be.
    pub of: u32,
}

/// What a progress report is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Task {
    /// The metadata of a repository is downloaded.
    Refresh,
    /// The solver's cache of a repository is built.
    BuildCache,
    /// Packages are checked for files that other packages have.
    CheckConflicts,
    /// A package is installed, up- or downgraded.
    Install {
        /// Name, version and architecture.
        package: String,
    },
    /// A package is removed.
    Remove {
        /// Name, version and architecture.
        package: String,
    },
    /// A scriptlet of one package runs (only when all packages are installed in one rpm transaction).
    Script {
        /// The scriptlet, as `%post`.
        scriptlet: String,
        /// Name, version and architecture.
        package: String,
    },
    /// The scriptlets that run after all packages are installed.
    PostTransaction,
    /// Anything else; the label says what.
    Other,
}

/// A step of the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What is worked on.
    pub task: Task,
    /// zypper's own words for it, without the step.
    pub label: String,
    /// Which step of how many, when zypper counts them.
    pub step: Option<Step>,
    /// 0 to 100; None when zypper only says that it is alive.
    pub percent: Option<u8>,
    /// Whether the task has ended.
    pub done: bool,
    /// Whether it ended badly. zypper writes `done="0"` for that and `done="1"` for success, contrary to its schema.
    pub failed: bool,
}

/// A package that is about to be downloaded, or is in the cache already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retrieve {
    /// The package, or its file name when it is in the cache.
    pub package: String,
    /// Which package of how many.
    pub step: Step,
    /// Whether it was downloaded earlier.
    pub cached: bool,
}

/// State of one download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// The last part of the URL: the file.
    pub file: String,
    /// The whole URL.
    pub url: String,
    /// 0 to 100; None when it is not known.
    pub percent: Option<u8>,
    /// Bytes per second; None when it is not known.
    pub rate: Option<u64>,
    /// Whether it has ended.
    pub done: bool,
    /// Whether it ended badly.
    pub failed: bool,
}

/// A question of zypper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// zypper's number of the question; `zypper --promptids` lists them.
    pub id: u32,
    /// What led to it; for a dependency problem the problem and its solutions.
    pub description: String,
    /// The question.
    pub text: String,
    /// The default, which is what zypper answered in non-interactive mode.
    pub answer: String,
}

impl Prompt {
    /// Continue with the changes of the summary? Asked in every run that changes something.
    pub const CONTINUE: u32 = 0;
    /// Which solution of a dependency problem?
    pub const RESOLVE: u32 = 1;
    /// Agree to a licence?
    pub const LICENCE: u32 = 10;
}

/// A file that two packages have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileConflict {
    /// The path of the file.
    pub file: String,
    /// The names of the packages.
    pub packages: Vec<String>,
}

/// What sort of thing a solvable is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A package: files on disk change.
    Package,
    /// A source package.
    SourcePackage,
    /// A patch: only marks that packages are new enough.
    Patch,
    /// A pattern.
    Pattern,
    /// A product.
    Product,
    /// Something this list does not know.
    Other,
}

/// One entry of a summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Solvable {
    /// What sort of thing it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The version that will be there (or, in a list of removals, that is there).
    pub edition: String,
    /// The version that is there now, when it is replaced.
    pub edition_old: Option<String>,
    /// Its architecture.
    pub arch: String,
    /// The alias of the repository it comes from; `@System` for what is removed.
    pub repository: String,
    /// One line that says what it is.
    pub summary: String,
}

/// What the solver decided to change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many packages will change, as zypper counted them; None when an old zypper did not say.
    pub packages_to_change: Option<u64>,
    /// Bytes to download.
    pub download_size: u64,
    /// Bytes that the system will grow by, negative when it shrinks.
    pub space_usage_diff: i64,
    /// To be installed.
    pub install: Vec<Solvable>,
    /// To be removed.
    pub remove: Vec<Solvable>,
    /// To be replaced by a newer version.
    pub upgrade: Vec<Solvable>,
    /// To be replaced by an older version.
    pub downgrade: Vec<Solvable>,
    /// To be installed again in the same version.
    pub reinstall: Vec<Solvable>,
    /// To be replaced by the same for another architecture.
    pub change_arch: Vec<Solvable>,
    /// To be replaced by the same of another vendor.
    pub change_vendor: Vec<Solvable>,
    /// How many entries there were beyond the number that is kept.
    pub omitted: u64,
    /// Whether the changes want a reboot.
    pub need_reboot: bool,
    /// Whether the changes want the package manager or services to be started anew.
    pub need_restart: bool,
    /// Whether the end of the summary was read. When it was not, lists may lack entries.
    pub complete: bool,
}

impl Summary {
    /// Whether no package changes. A patch that only marks something does not count.
    ///
    /// A summary without an end is never empty: what is not known is not "nothing".
    pub fn is_empty(&self) -> bool {
        self.complete && self.packages_to_change.unwrap_or(0) == 0 && self.packages() == 0
    }

    /// How many packages will change: zypper's number, or the length of the lists when it gave none.
    pub fn count(&self) -> u64 {
        self.packages_to_change.unwrap_or_else(|| self.packages())
    }

    /// All entries, with the name of the list they stand in: `install`, `remove` and so on.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, &Solvable)> {
        self.lists()
            .into_iter()
            .flat_map(|(name, list)| list.iter().map(move |entry| (name, entry)))
    }

    fn lists(&self) -> [(&'static str, &Vec<Solvable>); 7] {
        [
            ("install", &self.install),
            ("upgrade", &self.upgrade),
            ("downgrade", &self.downgrade),
            ("reinstall", &self.reinstall),
            ("change-arch", &self.change_arch),
            ("change-vendor", &self.change_vendor),
            ("remove", &self.remove),
        ]
    }

    /// How many entries the lists have.
    pub(super) fn kept(&self) -> usize {
        self.lists().iter().map(|(_, list)| list.len()).sum()
    }

    fn packages(&self) -> u64 {
        let known = self
            .entries()
            .filter(|(_, s)| !matches!(s.kind, Kind::Patch | Kind::Pattern))
            .count();
        u64::try_from(known)
            .unwrap_or(u64::MAX)
            .saturating_add(self.omitted)
    }
}
