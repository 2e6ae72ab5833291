//! What is not read natively: rpm itself is asked, and its answer taken apart.
//!
//! rpm gets a private copy: it writes beside what it opens, and where it does not know a format it makes a new, empty
//! database and calls that success. Without a digest of its own the identity of a package is empty here.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::RpmdbError;
use super::changelog::ChangelogEntry;
use super::directories;
use super::files::{Files, JOURNAL, WAL};
use super::fingerprint::Fingerprint;
use super::header::text;
use super::model::{
    Backend, BadPackage, Directories, DirectoryEntry, InstalledPackage, Nevra, Prefix,
};
use crate::sys::cmd::Argv;
use crate::sys::fs::PrivateDir;
use crate::sys::tool::Tool;

/// How long rpm may take.
const LIMIT: Duration = Duration::from_secs(120);
/// How often the database is copied before it counts as busy.
const ATTEMPTS: u32 = 4;
/// Longest record, in bytes: room for what somebody wrote about a change.
const LONGEST: usize = 1 << 20;
/// Most bytes that an answer may take here, and most lines of it that are not understood. A large system takes a tenth.
const MOST: usize = 64 << 20;
const MOST_BAD: usize = 10_000;
/// What a record takes besides its text.
const RECORD: usize = 256;

/// What rpm may begin where it does not find what it knows.
const DATABASES: [&str; 3] = ["Packages.db", "rpmdb.sqlite", "Packages"];

/// A package: eleven fields, the first one of them `P`. A missing value is an empty field, a string is quoted.
const PACKAGE: &str = concat!(
    r"P\t%{NAME:shescape}\t%|EPOCH?{%{EPOCH}}:{}|\t%{VERSION:shescape}\t%{RELEASE:shescape}",
    r"\t%|ARCH?{%{ARCH:shescape}}:{}|",
    r"\t%|SHA256HEADER?{%{SHA256HEADER}}:{%|SHA1HEADER?{%{SHA1HEADER}}:{}|}|",
    r"\t%|INSTALLTIME?{%{INSTALLTIME}}:{}|\t%|INSTALLTID?{%{INSTALLTID}}:{}|",
    r"\t%|VENDOR?{%{VENDOR:shescape}}:{}|\t%|LONGSIZE?{%{LONGSIZE}}:{}|\n",
);

/// A file of the package before it: seven fields, the first one of them `F`.
const FILES: &str = concat!(
    r"[F\t%{FILEMODES}\t%{FILEFLAGS}\t%|FILESTATES?{%{FILESTATES}}:{}|",
    r"\t%{FILEUSERNAME:shescape}\t%{FILEGROUPNAME:shescape}\t%{FILENAMES:shescape}\n]",
);

/// A change of the package before it: four fields, the first one of them `C`.
const CHANGES: &str =
    r"[C\t%{CHANGELOGTIME}\t%{CHANGELOGNAME:shescape}\t%{CHANGELOGTEXT:shescape}\n]";

/// A database that rpm is asked about.
#[derive(Debug)]
pub(super) struct Query {
    files: Files,
    backend: Backend,
}

impl Query {
    /// The database that is in `files`.
    pub(super) fn new(files: Files, backend: Backend) -> Query {
        Query { files, backend }
    }

    /// How it looks now.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub(super) fn fingerprint(&self) -> Result<Fingerprint, RpmdbError> {
        match self.backend {
            Backend::Sqlite => self.files.sqlite_fingerprint(),
            Backend::Ndb | Backend::Bdb => Ok(Fingerprint::Other {
                file: self.files.stamp()?,
            }),
        }
    }

    /// The packages, in the order of the database, and what cannot be read.
    ///
    /// # Errors
    /// When rpm cannot be run, fails, or gives no whole answer.
    pub(super) fn packages(&self) -> Result<(Vec<InstalledPackage>, Vec<BadPackage>), RpmdbError> {
        let mut found = Vec::new();
        let bad = self.ask(PACKAGE, &mut |record| match record {
            Record::Package(package) => {
                found.push(package);
                true
            }
            Record::File(_) | Record::Change(_) => false,
        })?;
        Ok((found, bad))
    }

    /// The directories below `prefixes`, in the order of the database.
    ///
    /// # Errors
    /// As [`Query::packages`].
    pub(super) fn directories(&self, prefixes: &[Prefix]) -> Result<Directories, RpmdbError> {
        let mut found = Directories::default();
        let mut owner = None;
        let bad = self.ask(&[PACKAGE, FILES].concat(), &mut |record| {
            let file = match record {
                Record::Package(package) => {
                    owner = Some(package);
                    return true;
                }
                Record::File(file) => file,
                Record::Change(_) => return false,
            };
            if file.mode & u32::from(directories::TYPE) != u32::from(directories::DIRECTORY)
                || !prefixes.iter().any(|p| p.holds(file.path))
            {
                return false;
            }
            found.packages.extend(owner.take());
            let name = |bytes| OsStr::from_bytes(bytes).to_owned();
            found.entries.push(DirectoryEntry {
                path: PathBuf::from(name(file.path)),
                mode: file.mode & u32::from(directories::PERMISSIONS),
                user: name(file.user),
                group: name(file.group),
                is_ghost: file.flags & directories::GHOST != 0,
                state: directories::state(file.state),
                package: found.packages.len().saturating_sub(1),
            });
            true
        })?;
        Ok(Directories { bad, ..found })
    }

    /// As [`super::Database::changelog`].
    pub(super) fn changelog(&self, nevra: &Nevra) -> Result<Vec<ChangelogEntry>, RpmdbError> {
        let mut entries = Vec::new();
        let mut is_it = false;
        self.ask(&[PACKAGE, CHANGES].concat(), &mut |record| {
            match record {
                Record::Package(package) => is_it = package.nevra == *nevra,
                Record::Change(entry) if is_it => {
                    entries.push(entry);
                    return true;
                }
                Record::Change(_) | Record::File(_) => {}
            }
            false
        })?;
        Ok(entries)
    }

    /// Lets rpm print all packages in `format`, and hands the records out to `take`, which says whether it keeps one; returns
    /// what could not be read.
    fn ask(
        &self,
        format: &str,
        take: &mut dyn FnMut(Record<'_>) -> bool,
    ) -> Result<Vec<BadPackage>, RpmdbError> {
        let copy = self.copy()?;
        let mut argv: Vec<OsString> = vec!["rpm".into(), "--dbpath".into(), copy.path().into()];
        // without these rpm leaves out, without a word, what does not fit its digest
        argv.extend(["--nosignature", "--nodigest", "-qa", "--qf", format].map(Into::into));
        let tool = Tool::new(Argv::new(argv), LIMIT).env("LC_ALL", "C");
        let mut answer = Answer::default();
        let done = tool.stream(&mut |piece| answer.feed(piece, take));
        let done = done.map_err(|e| self.failed(e.to_string()))?;
        if done.code != 0 {
            let words = done.last_words();
            return Err(self.failed(format!("it ended with exit code {}: {words}", done.code)));
        }
        if answer.is_within() {
            return Err(self.failed("its answer ends in the middle of a line"));
        }
        let mut others = DATABASES.iter().filter(|name| **name != self.files.name());
        if others.any(|name| copy.path().join(name).exists()) {
            return Err(self.failed("it does not know the format"));
        }
        let complaints = done.stderr.split(|b| *b == b'\n');
        let errors = complaints.filter_map(|line| line.strip_prefix(b"error: "));
        answer.bad.extend(errors.map(|line| BadPackage {
            name: "of unknown name".into(),
            why: format!("rpm says: {}", text(line)),
        }));
        Ok(answer.bad)
    }

    fn copy(&self) -> Result<PrivateDir, RpmdbError> {
        for _ in 0..ATTEMPTS {
            match self.files.copy(&[WAL, JOURNAL]) {
                Err(RpmdbError::Changed(_)) => {}
                other => return other,
            }
        }
        Err(RpmdbError::Busy(self.files.shown().to_owned()))
    }

    fn failed(&self, why: impl Into<String>) -> RpmdbError {
        RpmdbError::Query(self.files.shown().to_owned(), why.into())
    }
}

fn too_much(what: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("its answer has {what}"))
}

/// A line of the answer.
enum Record<'a> {
    Package(InstalledPackage),
    /// Of the package before it.
    File(FileRecord<'a>),
    /// Of the package before it.
    Change(ChangelogEntry),
}

struct FileRecord<'a> {
    mode: u32,
    flags: u32,
    state: Option<u8>,
    user: &'a [u8],
    group: &'a [u8],
    path: &'a [u8],
}

/// What rpm prints, taken apart as it comes: records end with a line, fields with a tab; both may stand in quotes, where
/// they are part of a string, as in a shell.
#[derive(Default)]
struct Answer {
    /// All fields of the record so far.
    bytes: Vec<u8>,
    /// Where each field ends.
    ends: Vec<usize>,
    is_quoted: bool,
    is_escaped: bool,
    /// How many bytes of it are kept, about.
    kept: usize,
    /// The package whose files come.
    name: String,
    /// Whether what comes belongs to a package: not to one whose own line was not understood.
    is_of_package: bool,
    bad: Vec<BadPackage>,
}

impl Answer {
    fn is_within(&self) -> bool {
        self.is_quoted || !self.bytes.is_empty() || !self.ends.is_empty()
    }

    fn feed(&mut self, piece: &[u8], take: &mut dyn FnMut(Record<'_>) -> bool) -> io::Result<()> {
        for byte in piece {
            match byte {
                _ if self.is_escaped => {
                    self.is_escaped = false;
                    self.bytes.push(*byte);
                }
                b'\'' => self.is_quoted = !self.is_quoted,
                _ if self.is_quoted => self.bytes.push(*byte),
                b'\\' => self.is_escaped = true,
                b'\t' => self.ends.push(self.bytes.len()),
                b'\n' => {
                    self.ends.push(self.bytes.len());
                    self.record(take)?;
                    self.bytes.clear();
                    self.ends.clear();
                }
                other => self.bytes.push(*other),
            }
            if self.bytes.len() + self.ends.len() > LONGEST {
                return Err(too_much(format_args!(
                    "a line of more than {LONGEST} bytes"
                )));
            }
        }
        Ok(())
    }

    fn record(&mut self, take: &mut dyn FnMut(Record<'_>) -> bool) -> io::Result<()> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let fields = starts.zip(&self.ends);
        let fields: Vec<&[u8]> = fields.map(|(from, to)| &self.bytes[from..*to]).collect();
        let parsed = parse(&fields);
        if let [b"P", name, ..] = fields[..] {
            self.is_of_package = parsed.is_ok();
            self.name = match &parsed {
                Ok(Some(Record::Package(package))) => package.nevra.to_string(),
                _ => text(name),
            };
        } else if !self.is_of_package && parsed.is_ok() {
            return Ok(());
        }
        match parsed {
            Ok(Some(record)) => {
                if take(record) {
                    self.kept += self.bytes.len() + RECORD;
                }
                match self.kept {
                    0..MOST => Ok(()),
                    _ => Err(too_much("more packages or files than any system")),
                }
            }
            Ok(None) => Ok(()),
            Err(_) if self.bad.len() >= MOST_BAD => Err(too_much(format_args!(
                "{MOST_BAD} lines that are not as asked for"
            ))),
            Err(why) => {
                let name = self.name.clone();
                self.bad.push(BadPackage { name, why });
                Ok(())
            }
        }
    }
}

/// The record with these fields; `None` for the files, or changes, of a package without any.
fn parse<'a>(fields: &[&'a [u8]]) -> Result<Option<Record<'a>>, String> {
    match fields {
        [
            b"P",
            name,
            epoch,
            version,
            release,
            arch,
            identity,
            time,
            tid,
            vendor,
            size,
        ] => Ok(Some(Record::Package(InstalledPackage {
            nevra: Nevra {
                name: text(name),
                epoch: number(epoch)?,
                version: text(version),
                release: text(release),
                arch: text(arch),
            },
            identity: text(identity),
            install_time: number(time)?.unwrap_or(0),
            transaction: number(tid)?,
            vendor: (!vendor.is_empty()).then(|| text(vendor)),
            size: number(size)?.unwrap_or(0),
        }))),
        [b"F", b"(none)", ..] => Ok(None),
        [b"F", mode, flags, state, user, group, path] => Ok(Some(Record::File(FileRecord {
            mode: number(mode)?.unwrap_or(0),
            flags: number(flags)?.unwrap_or(0),
            state: number(state)?,
            user,
            group,
            path,
        }))),
        [b"C", b"(none)", ..] => Ok(None),
        [b"C", time, author, text] => Ok(Some(Record::Change(ChangelogEntry {
            time: number(time)?.unwrap_or(0),
            author: String::from_utf8_lossy(author).into_owned(),
            text: String::from_utf8_lossy(text).into_owned(),
        }))),
        _ => Err("rpm prints a line about it that is not as asked for".into()),
    }
}

fn number<T: FromStr>(field: &[u8]) -> Result<Option<T>, String> {
    if field.is_empty() {
        return Ok(None);
    }
    let number = std::str::from_utf8(field).ok().and_then(|f| f.parse().ok());
    let wrong = || format!("rpm prints {} where a number is asked for", text(field));
    number.map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The records of `answer`, fed in pieces of this size, and what is bad.
    fn read(answer: &[u8], size: usize) -> io::Result<(Vec<String>, Answer)> {
        let mut records = Vec::new();
        let mut parser = Answer::default();
        for piece in answer.chunks(size) {
            parser.feed(piece, &mut |record| {
                records.push(match record {
                    Record::Package(p) => format!("{} {:?} {}", p.nevra, p.vendor, p.size),
                    Record::Change(c) => format!("{} {} {:?}", c.time, c.author, c.text),
                    Record::File(f) => format!("{:o} {:?} {}", f.mode, f.state, text(f.path)),
                });
                true
            })?;
        }
        Ok((records, parser))
    }

    #[test]
    fn quotes_hold_whatever_a_name_has() {
        let answer = b"P\t'a'\t7\t'1'\t'2'\t'noarch'\tabc\t1\t2\t'it'\\''s\n\tfine'\t9\n\
            F\t16877\t0\t\t'root'\t'root'\t'/var/a\nb\tc'\\'''\nF\t16877\t64\t2\t'r'\t'r'\t'/\xff'\n";
        for size in [1, 2, 7, 1000] {
            let (records, parser) = read(answer, size).unwrap();
            assert_eq!(
                records,
                [
                    r#"a-7:1-2.noarch Some("it\\'s\\n\\tfine") 9"#,
                    r"40755 None /var/a\nb\tc\'",
                    r"40755 Some(2) /\xff"
                ]
            );
            assert!(!parser.is_within() && parser.bad.is_empty());
        }
    }

    #[test]
    fn what_is_missing_is_nothing_and_what_is_not_understood_is_bad() {
        let answer =
            b"P\t'k'\t\t'1'\t'2'\t\t\t\t\t\t\nF\t(none)\t(none)\t\t'(none)'\t'(none)'\t'(none)'\n\
            F\tx\t0\t0\t'r'\t'r'\t'/var/a'\nwhat\nF\t16877\t0\t300\t'r'\t'r'\t'/var/a'\n";
        let (records, parser) = read(answer, 1000).unwrap();
        assert_eq!(records, ["k-1-2 None 0"]);
        let bad: Vec<_> = parser.bad.iter().map(|b| b.name.as_str()).collect();
        assert_eq!(bad, ["k-1-2"; 3]);
    }

    #[test]
    fn files_of_a_package_that_is_not_understood_go_to_no_other_one() {
        let files = |path: &str| format!("F\t16877\t0\t0\t'r'\t'r'\t'{path}'\nC\t1\t'me'\t'x'\n");
        let package = |epoch| format!("P\t'p{epoch}'\t{epoch}\t'1'\t'2'\t\tabc\t1\t2\t\t9\n");
        let answer = [
            files("/var/nobody"),
            package("x"),
            files("/var/x"),
            package("1"),
            files("/var/1"),
            package("y"),
            files("/var/y"),
        ];
        let (records, parser) = read(answer.concat().as_bytes(), 1000).unwrap();
        let of_one = ["p1-1:1-2 None 9", "40755 Some(0) /var/1", "1 me \"x\""];
        assert_eq!(records, of_one);
        let bad: Vec<_> = parser.bad.iter().map(|b| b.name.as_str()).collect();
        assert_eq!(bad, ["px", "py"]);
    }

    #[test]
    fn an_answer_that_would_take_the_memory_of_the_machine_is_refused() {
        let file = [
            b"F\t16877\t0\t0\t'r'\t'r'\t'/",
            &[b'a'; 500_000][..],
            b"'\n",
        ]
        .concat();
        let feed = |times: usize, keep: bool| {
            let mut answer = Answer {
                is_of_package: true,
                ..Answer::default()
            };
            (0..times).try_for_each(|_| answer.feed(&file, &mut |_| keep))
        };
        let most = MOST / 500_000;
        assert!(feed(most - 1, true).is_ok() && feed(most * 2, false).is_ok());
        assert!(feed(most + 1, true).is_err());
    }

    #[test]
    fn an_answer_that_breaks_off_or_never_ends_a_line_is_noticed() {
        for part in ["F", "F\t", "'", "P\t'a\n"] {
            assert!(read(part.as_bytes(), 1).unwrap().1.is_within(), "{part}");
        }
        assert!(read(&vec![b'a'; LONGEST + 1], 1000).is_err());
        assert!(read(&vec![b'\t'; LONGEST + 1], 1000).is_err());
        assert!(read(&b"what\n".repeat(MOST_BAD), 1000).is_ok());
        assert!(read(&b"what\n".repeat(MOST_BAD + 1), 1000).is_err());
    }
}
