//! What to ask the package manager, and what its answer means.
//!
//! This module owns everything that is known about zypper and rpm as programs: how a request is spelled
//! ([`Request::argv`], [`cached`]), how the XML on zypper's standard output is read while it runs ([`xml`]), what is remembered
//! of it ([`Report`]), what an exit code means ([`judge`]), how rpm is asked for the owner of a file ([`rpm`]) and
//! about package files ([`archive`]), and which local directories a repository file points to ([`repos`]).
//!
//! It must not run anything, open a file, or look at the environment: it gets text and gives back data. Whoever runs
//! the argv decides where; inside a transaction that is the sandbox and nothing else.
//!
//! Nothing that zypper prints can make a function here panic, and nothing it prints is kept without a bound: a field
//! is cut after a few KiB, a list after a fixed number of entries.
//!
//! Facts about zypper in this module were observed with zypper 1.14.89 and libzypp 17.36.7. The captured streams are
//! in `tests/data/zypper/`.

pub mod archive;
pub mod cached;
mod element;
pub mod event;
pub mod outcome;
pub mod report;
pub mod repos;
pub mod request;
pub mod rpm;
mod text;
mod token;
pub mod xml;

pub use event::{
    Download, Event, FileConflict, Kind, Level, Progress, Prompt, Retrieve, Solvable, Step,
    Summary, Task,
};
pub use outcome::{Failure, FailureKind, Success, judge};
pub use report::{Report, ScriptletFailure};
pub use request::{Action, Request, refresh_argv};

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::{Path, PathBuf};

    use proptest::prelude::*;

    use super::xml::{Parser, Reader};
    use super::*;

    /// A run of zypper: its output, exit code and arguments, and in `expected` what this module makes of it.
    struct Case {
        dir: PathBuf,
        out: Vec<u8>,
        err: String,
        code: i32,
        action: Action,
    }

    fn cases() -> Vec<Case> {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/zypper");
        let mut dirs: Vec<PathBuf> = std::fs::read_dir(data)
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        dirs.sort();
        dirs.into_iter().map(case).collect()
    }

    fn case(dir: PathBuf) -> Case {
        let text = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
        let command = text("cmd");
        let action = match command
            .split_whitespace()
            .find(|word| !word.starts_with('-') && *word != "zypper")
        {
            Some("install") => Action::Install,
            Some("remove") => Action::Remove,
            Some("update") => Action::Update,
            Some("dup") => Action::DistUpgrade,
            Some("patch") => Action::Patch,
            other => panic!("{}: {other:?}", dir.display()),
        };
        Case {
            out: std::fs::read(dir.join("out")).unwrap(),
            err: std::fs::read_to_string(dir.join("err")).unwrap_or_default(),
            code: text("rc").trim().parse().unwrap(),
            action,
            dir,
        }
    }

    fn events(bytes: &[u8]) -> Vec<Event> {
        Reader::new(bytes).map(|event| event.unwrap()).collect()
    }

    fn describe(case: &Case) -> String {
        let report = Report::of(events(&case.out));
        let mut text = String::new();
        for (list, solvable) in report.summary.iter().flat_map(Summary::entries) {
            let old = solvable
                .edition_old
                .as_deref()
                .map(|old| format!(" (was {old})"))
                .unwrap_or_default();
            let Solvable {
                name,
                edition,
                arch,
                repository,
                ..
            } = solvable;
            writeln!(
                text,
                "{list} {name} {edition} {arch} from {repository}{old}"
            )
            .unwrap();
        }
        writeln!(
            text,
            "done: {} installed, {} removed",
            report.installed, report.removed
        )
        .unwrap();
        match judge(case.action, case.code, &report, &case.err) {
            Ok(success) => {
                writeln!(text, "success, changed: {:?}", success.changed).unwrap();
                let flags = [
                    ("reboot wanted", success.reboot_wanted),
                    ("run again", success.run_again),
                ];
                for (name, _) in flags.iter().filter(|(_, on)| *on) {
                    writeln!(text, "{name}").unwrap();
                }
                for warning in &success.warnings {
                    writeln!(text, "warning: {warning}").unwrap();
                }
            }
            Err(failure) => {
                writeln!(text, "failure {}: {:?}", failure.code, failure.kind).unwrap();
                writeln!(text, "message: {failure}\nhint: {}", failure.hint).unwrap();
                for line in &failure.details {
                    writeln!(text, "  {line}").unwrap();
                }
            }
        }
        text
    }

    #[test]
    fn every_captured_run_is_understood_as_its_expected_file_says() {
        let mut wrong = String::new();
        for case in cases() {
            let path = case.dir.join("expected");
            let described = describe(&case);
            if std::env::var_os("UPDATE_EXPECTED").is_some() {
                std::fs::write(&path, &described).unwrap();
            } else if std::fs::read_to_string(&path).ok().as_ref() != Some(&described) {
                write!(wrong, "{}:\n{described}\n", case.dir.display()).unwrap();
            }
        }
        assert!(
            wrong.is_empty(),
            "not as expected (UPDATE_EXPECTED=1 writes the files anew):\n{wrong}"
        );
    }

    #[test]
    fn a_run_that_breaks_off_at_any_byte_keeps_what_came_before() {
        for case in cases() {
            let whole = events(&case.out);
            let mut parser = Parser::new();
            let mut seen = Vec::new();
            for byte in &case.out {
                parser.feed(&[*byte], |event| seen.push(event));
                let mut all = seen.clone();
                parser.clone().finish(|event| all.push(event));
                assert!(
                    all.len() >= seen.len() && all.len() <= whole.len() + 1,
                    "{}",
                    case.dir.display()
                );
                let end = judge(case.action, 8, &Report::of(all), "");
                assert!(end.is_err_and(|failure| !failure.message.is_empty()));
            }
            parser.finish(|event| seen.push(event));
            assert_eq!(seen, whole, "{}", case.dir.display());
        }
    }

    fn failed(report: &Report, code: i32, stderr: &str) -> Failure {
        judge(Action::Patch, code, report, stderr).unwrap_err()
    }

    #[test]
    fn a_failed_scriptlet_is_not_hidden_by_a_code_that_asks_for_a_reboot() {
        let text = "warning: %post(a-1-1.noarch) scriptlet failed, exit status 1".to_owned();
        let report = Report::of([Event::Message {
            level: Level::Info,
            text,
        }]);
        for code in [102, 103, 106] {
            assert!(matches!(
                failed(&report, code, "").kind,
                FailureKind::Scriptlet { .. }
            ));
            assert!(judge(Action::Patch, code, &Report::new(), "").is_ok());
        }
        let success = judge(Action::Patch, 0, &report, "").unwrap();
        assert_eq!(
            success.warnings,
            ["%post of a-1-1.noarch failed: exit status 1"]
        );
    }

    #[test]
    fn exit_code_four_is_a_full_disk_when_a_message_says_so() {
        let failure = failed(
            &Report::new(),
            4,
            "error: sqlite failure: CREATE TABLE: disk I/O error\n",
        );
        assert_eq!(failure.kind, FailureKind::DiskFull);
        assert_eq!(
            failed(&Report::new(), 4, "").kind,
            FailureKind::Unresolvable
        );
    }

    #[test]
    fn without_a_report_every_code_still_has_a_message() {
        let kind = |code| failed(&Report::new(), code, "").kind;
        assert!(!failed(&Report::new(), 1, "").lacks_key());
        assert_eq!(kind(7), FailureKind::Locked);
        assert_eq!(kind(8), FailureKind::Commit);
        assert_eq!(kind(104), FailureKind::NotFound);
        assert_eq!(kind(105), FailureKind::Interrupted);
        assert_eq!(kind(130), FailureKind::Interrupted);
        assert_eq!(kind(6), FailureKind::RepositoryUnavailable);
        assert!(matches!(kind(107), FailureKind::Scriptlet { .. }));
        for code in -1..260 {
            if let Err(failure) = judge(Action::Install, code, &Report::new(), "") {
                assert!(!failure.message.is_empty() && failure.code == code);
            }
        }
        let dup = judge(Action::DistUpgrade, 106, &Report::new(), "").unwrap_err();
        assert_eq!(dup.kind, FailureKind::RepositoryUnavailable);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic_and_their_portions_make_no_difference(
            pieces in proptest::collection::vec(
                prop_oneof![
                    "[ -~\\n]{0,12}",
                    Just("<message type=\"info\">".to_owned()), Just("</message>".to_owned()), Just("<".to_owned()),
                    Just("<progress id=\"install-resolvable\" name=\"(1/2) Installing: a\" value=".to_owned()),
                    Just("\"5\"/>".to_owned()), Just("<prompt id='1'><description>".to_owned()),
                    Just("<install-summary packages-to-change=\"1\">".to_owned()), Just("<to-install>".to_owned()),
                    Just("<solvable name=\"x\" type=\"package\"/>".to_owned()), Just("</install-summary>".to_owned()),
                    Just("%post(a) scriptlet failed, ".to_owned()), Just("</stream>\n".to_owned()),
                ],
                0..40,
            ),
            garbage in proptest::collection::vec(any::<u8>(), 0..200),
            size in 1..50usize,
        ) {
            let mut bytes = pieces.concat().into_bytes();
            bytes.extend(garbage);
            let mut in_portions = Vec::new();
            let mut parser = Parser::new();
            for portion in bytes.chunks(size) {
                parser.feed(portion, |event| in_portions.push(event));
            }
            parser.finish(|event| in_portions.push(event));
            prop_assert_eq!(&in_portions, &events(&bytes));
            let report = Report::of(in_portions);
            for code in [0, 1, 4, 8, 102, 104, 106, 107, 130, 139, -1] {
                let end = judge(Action::DistUpgrade, code, &report, "");
                prop_assert_eq!(end.is_ok(), code == 0 || (code == 102 && report.scriptlets.is_empty()));
            }
        }
    }
}
