//! Calling systemd-tmpfiles(8), which applies the lines of tmpfiles.d(5) to the same directories. They are not read here.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::report::Tmpfiles;
use crate::rpmdb::Prefix;
use crate::sys::Root;
use crate::sys::cmd::Argv;
use crate::sys::tool::{Done, Tool, ToolError};

const PROGRAM: &str = "systemd-tmpfiles";
/// It may remove and copy trees.
const LIMIT: Duration = Duration::from_secs(300);
/// How long it may take to tell its version.
const ANSWER: Duration = Duration::from_secs(10);
/// Since this version an unknown user is no failure when asked so.
const GRACEFUL: u32 = 254;
/// Since this version it can tell what it would do.
const DRY_RUN: u32 = 256;
/// Some lines could not be read (`EX_DATAERR`), or not be applied (`EX_CANTCREAT`).
const SOME_LINES: [u8; 2] = [65, 73];

/// What it is called for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) root: &'a Root,
    /// Lines with paths in these.
    pub(super) prefixes: &'a [Prefix],
    /// But not in these.
    pub(super) excluded: &'a [Prefix],
    /// Whether lines count that are only for the boot.
    pub(super) boot: bool,
    pub(super) dry_run: bool,
}

impl Call<'_> {
    /// Calls it.
    pub(super) fn run(&self) -> Tmpfiles {
        if self.prefixes.is_empty() {
            return Tmpfiles::NotCalled;
        }
        let version = Tool::new(Argv::new([PROGRAM, "--version"]), ANSWER).run();
        let version = match version.as_ref().map(|done| version_in(&done.stdout)) {
            Ok(Some(version)) => version,
            Ok(None) => return Tmpfiles::Unable(format!("{PROGRAM} does not tell its version")),
            Err(e) => return unable(e),
        };
        if self.dry_run && version < DRY_RUN {
            return Tmpfiles::Unable(format!(
                "{PROGRAM} of systemd {version} cannot tell what it would do, which takes systemd {DRY_RUN}"
            ));
        }
        match Tool::new(Argv::new(self.words(version)), LIMIT).run() {
            Ok(done) => outcome(&done),
            Err(e) => unable(&e),
        }
    }

    fn words(&self, version: u32) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![PROGRAM.into(), "--create".into()];
        let mut add = |is_wanted: bool, word: &str| {
            if is_wanted {
                words.push(word.into());
            }
        };
        add(self.boot, "--boot");
        add(version >= GRACEFUL, "--graceful");
        add(self.dry_run, "--dry-run");
        let with = |option: &str, path: &Path| {
            let mut word = OsString::from(option);
            word.push(path);
            word
        };
        if !self.root.is_live() {
            words.push(with("--root=", self.root.path()));
        }
        words.extend(self.prefixes.iter().map(|p| with("--prefix=", p.path())));
        words.extend(
            self.excluded
                .iter()
                .map(|p| with("--exclude-prefix=", p.path())),
        );
        words
    }
}

fn unable(e: &ToolError) -> Tmpfiles {
    match e {
        ToolError::NotFound(_) => Tmpfiles::Unable(e.to_string()),
        _ => Tmpfiles::Failed(e.to_string()),
    }
}

fn outcome(done: &Done) -> Tmpfiles {
    let said = String::from_utf8_lossy(&done.stderr).trim_end().to_owned();
    match done.code {
        0 => Tmpfiles::Applied,
        code if SOME_LINES.contains(&code) => Tmpfiles::SomeLines(said),
        code => Tmpfiles::Failed(format!("{PROGRAM} ended with {code}: {said}")),
    }
}

/// The number in `systemd 252 (252.38-1)`.
fn version_in(said: &[u8]) -> Option<u32> {
    let said = String::from_utf8_lossy(said);
    let word = said.split_ascii_whitespace().nth(1)?;
    let digits = word.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(paths: &[&str]) -> Vec<Prefix> {
        let new = |p: &&str| Prefix::new(Path::new(p)).unwrap();
        paths.iter().map(new).collect()
    }

    #[test]
    fn the_version_is_found_in_what_any_release_says() {
        for (said, version) in [
            ("systemd 252 (252.38-1~deb12u1)\n+PAM", Some(252)),
            ("systemd 257.5 (257.5+suse)\n", Some(257)),
            ("systemd 258~rc2", Some(258)),
            ("systemd", None),
            ("systemd v9", None),
            ("", None),
        ] {
            assert_eq!(version_in(said.as_bytes()), version, "{said}");
        }
    }

    #[test]
    fn only_what_a_version_knows_is_asked_of_it() {
        let (prefixes, excluded) = (prefixes(&["/var", "/srv"]), prefixes(&["/srv/a"]));
        let live = Root::live();
        let mut call = Call {
            root: &live,
            prefixes: &prefixes,
            excluded: &excluded,
            boot: true,
            dry_run: false,
        };
        let text = |call: &Call<'_>, version| Argv::new(call.words(version)).to_string();
        let places = "--prefix=/var --prefix=/srv --exclude-prefix=/srv/a";
        assert_eq!(
            text(&call, 253),
            format!("systemd-tmpfiles --create --boot {places}")
        );
        assert_eq!(
            text(&call, 254),
            format!("systemd-tmpfiles --create --boot --graceful {places}")
        );
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path()).unwrap();
        call = Call {
            root: &root,
            boot: false,
            dry_run: true,
            ..call
        };
        assert_eq!(
            text(&call, 256),
            format!(
                "systemd-tmpfiles --create --graceful --dry-run --root={} {places}",
                root.path().display()
            )
        );
    }

    #[test]
    fn lines_that_it_could_not_apply_are_no_failure_but_any_other_end_is() {
        let done = |code| Done {
            argv: Argv::new([PROGRAM]),
            code,
            stdout: Vec::new(),
            stderr: b"first\nsecond\n".to_vec(),
        };
        assert_eq!(outcome(&done(0)), Tmpfiles::Applied);
        for code in [65, 73] {
            let said = "first\nsecond".to_owned();
            assert_eq!(outcome(&done(code)), Tmpfiles::SomeLines(said));
        }
        for code in [1, 64, 137] {
            assert!(
                matches!(outcome(&done(code)), Tmpfiles::Failed(why) if why.contains("second"))
            );
        }
        let missing = ToolError::NotFound(PROGRAM.into());
        assert!(matches!(unable(&missing), Tmpfiles::Unable(_)));
        let hung = ToolError::TimedOut(PROGRAM.into(), LIMIT);
        assert!(matches!(unable(&hung), Tmpfiles::Failed(_)));
    }
}
