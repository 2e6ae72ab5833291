//! Questions to the rpm program: who owns a file, and has the set of packages changed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{MAIN_SEPARATOR_STR, PathBuf};

/// Most paths asked about in one call, so that the command line stays below the kernel's limit of 128 KiB for one
/// argument and 2 MiB for all of them.
pub const OWNER_BATCH: usize = 200;

/// Longest answer that is looked at, in bytes. Ten times a large installation.
const ANSWER_MAX: usize = 64 << 20;

/// What a line begins with that names an owner. Other lines are messages, in the user's language.
const OWNER_MARK: &str = "owner\t";

/// A file of the kernel that always exists and that no package owns, below the root directory.
const NOBODYS: &str = "proc/self/stat";

/// The command lines that ask who owns each of `paths`, with the paths that each of them asks about.
///
/// A path can have several owners, and rpm does not say which path an answer belongs to. Between two paths the command
/// therefore asks about a file of /proc that nobody owns; the line that says so is the mark between two answers.
/// /proc has to be mounted where the command runs. No path makes no command line.
pub fn owners_argv(paths: &[PathBuf]) -> Vec<(&[PathBuf], Vec<OsString>)> {
    paths
        .chunks(OWNER_BATCH)
        .map(|batch| (batch, owners_of(batch)))
        .collect()
}

fn owners_of(batch: &[PathBuf]) -> Vec<OsString> {
    let format = format!("{OWNER_MARK}%{{NAME}}\\n");
    let mut argv: Vec<OsString> = vec![
        "rpm".into(),
        "-qf".into(),
        "--qf".into(),
        format.into(),
        "--".into(),
    ];
    for path in batch {
        argv.push(path.into());
        argv.push(nobodys().into());
    }
    argv
}

fn nobodys() -> String {
    [MAIN_SEPARATOR_STR, NOBODYS].concat()
}

/// Reads the standard output of a command line of [`owners_argv`]: the names of the packages for each path of its
/// batch, none for a path that no package owns or that does not exist.
///
/// When the marks are not all there (without /proc, or when the output breaks off), nothing is known of the paths after
/// the last mark, and they are missing from the result. rpm's exit status counts paths without an owner and
/// says nothing more.
pub fn parse_owners(batch: &[PathBuf], output: &[u8]) -> BTreeMap<PathBuf, Vec<String>> {
    let output = String::from_utf8_lossy(&output[..output.len().min(ANSWER_MAX)]);
    let mark = nobodys();
    let mut owners = BTreeMap::new();
    let mut paths = batch.iter();
    let mut names: Vec<String> = Vec::new();
    for line in output.lines() {
        if let Some(name) = line.strip_prefix(OWNER_MARK) {
            if !names.iter().any(|n| n == name) {
                names.push(name.to_owned());
            }
        } else if line.contains(&mark) {
            let Some(path) = paths.next() else { break };
            owners.insert(path.clone(), std::mem::take(&mut names));
        }
    }
    owners
}

/// The command line whose answer tells whether packages changed: one line for each package, with its version and the
/// transaction that installed it.
pub fn fingerprint_argv() -> Vec<OsString> {
    [
        "rpm",
        "-qa",
        "--qf",
        "%{NEVRA} %{INSTALLTIME} %{INSTALLTID}\\n",
    ]
    .map(OsString::from)
    .into()
}

/// What is installed, in a form that can be compared. A reinstallation makes a difference, the order of rpm's answer
/// does not. Signing keys in the database count as packages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fingerprint(BTreeSet<Vec<u8>>);

impl Fingerprint {
    /// Reads the standard output of [`fingerprint_argv`].
    pub fn parse(output: &[u8]) -> Fingerprint {
        let output = &output[..output.len().min(ANSWER_MAX)];
        let lines = output
            .split(|&b| b == b'\n')
            .filter(|line| !line.is_empty());
        Fingerprint(lines.map(<[u8]>::to_vec).collect())
    }

    /// How many entries the database has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the database has no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_by_the_file_that_nobody_owns() {
        let paths: Vec<PathBuf> = ["/srv/a", "/srv/gone", "/srv/own", "/srv/two"]
            .map(PathBuf::from)
            .into();
        let unowned = "file /proc/self/stat is not owned by any package\n";
        let output = format!(
            "owner\tx\n{unowned}{unowned}file /srv/own is not owned by any package\n{unowned}owner\tx\nowner\ty\n{unowned}"
        );
        let owners = parse_owners(&paths, output.as_bytes());
        let of = |path: &str| {
            owners
                .get(&PathBuf::from(path))
                .cloned()
                .unwrap_or_default()
        };
        assert_eq!(of("/srv/a"), ["x"]);
        assert!(of("/srv/gone").is_empty() && of("/srv/own").is_empty());
        assert_eq!(of("/srv/two"), ["x", "y"]);
        assert_eq!(owners.len(), 4);
    }

    #[test]
    fn an_answer_that_breaks_off_says_nothing_about_the_rest() {
        let paths: Vec<PathBuf> = ["/a", "/b"].map(PathBuf::from).into();
        let owners = parse_owners(
            &paths,
            b"owner\tx\nDatei /proc/self/stat geh\xf6rt zu keinem Paket\nowner\ty\n",
        );
        assert_eq!(owners.len(), 1);
        assert!(parse_owners(&[], b"owner\tx\nfile /proc/self/stat\n").is_empty());
    }

    #[test]
    fn many_paths_are_asked_about_in_several_calls() {
        let paths: Vec<PathBuf> = (0..OWNER_BATCH + 1)
            .map(|n| PathBuf::from(format!("/srv/{n}")))
            .collect();
        let calls = owners_argv(&paths);
        assert_eq!(calls.len(), 2);
        assert_eq!(calls[1].0.len(), 1);
        let words = [
            "rpm",
            "-qf",
            "--qf",
            "owner\t%{NAME}\\n",
            "--",
            "/srv/200",
            "/proc/self/stat",
        ];
        assert_eq!(calls[1].1, words);
        assert!(owners_argv(&[]).is_empty());
    }

    #[test]
    fn a_fingerprint_sees_a_reinstallation_but_not_the_order() {
        let before = Fingerprint::parse(b"a-1-1.noarch 1 1\nb-1-1.noarch 1 1\n");
        assert_eq!(
            before,
            Fingerprint::parse(b"b-1-1.noarch 1 1\na-1-1.noarch 1 1")
        );
        assert_ne!(
            before,
            Fingerprint::parse(b"a-1-1.noarch 2 2\nb-1-1.noarch 1 1\n")
        );
        assert_eq!((before.len(), before.is_empty()), (2, false));
    }
}
