//! sqlite: `rpmdb.sqlite`, the format of most distributions.
//!
//! Owns how the database is opened and which of its rows are read. Invariant: nothing is written beside the database: no
//! lock file, no index of a write-ahead log, no rollback. Where sqlite could read only after such a write, it reads a
//! private copy.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rusqlite::blob::Blob as Incremental;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, Row, ToSql};

use super::files::{Files, JOURNAL, WAL};
use super::header::tag;
use super::model::Prefix;
use super::source::{Ask, Blob, Blobs, Marks};
use super::{Fingerprint, RpmdbError};

/// How often it is read without locks before locks are used.
const UNLOCKED: u32 = 3;
/// How often it is read at all before it counts as busy.
const ATTEMPTS: u32 = 6;
/// How long to wait for another program's lock, in milliseconds.
const PATIENCE: u32 = if cfg!(test) { 300 } else { 5000 };
/// Most rows that are taken, far above what any system has: in a damaged tree the same page may come again and again.
const MOST_ROWS: usize = 1 << 22;
/// Most bytes of a header, as in rpm.
const MOST_BYTES: usize = 256 << 20;

/// A database of sqlite.
#[derive(Debug)]
pub(super) struct Sqlite {
    files: Files,
}

/// Why a scan ended early.
enum Failure {
    Sqlite(rusqlite::Error),
    Format(String),
}

impl From<rusqlite::Error> for Failure {
    fn from(e: rusqlite::Error) -> Failure {
        Failure::Sqlite(e)
    }
}

impl Sqlite {
    /// The database that is in `files`.
    ///
    /// # Errors
    /// When there is none, or it does not begin as one.
    pub(super) fn open(files: Files) -> Result<Sqlite, RpmdbError> {
        files.sqlite_fingerprint()?;
        Ok(Sqlite { files })
    }

    /// How it looks now.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub(super) fn fingerprint(&self) -> Result<Fingerprint, RpmdbError> {
        self.files.sqlite_fingerprint()
    }

    /// Lets `work` read one state of the database.
    fn read<T>(
        &self,
        attempt: u32,
        work: impl FnOnce(&Connection) -> Result<T, Failure>,
    ) -> Result<T, RpmdbError> {
        let shown = || self.files.shown().to_owned();
        if attempt >= ATTEMPTS {
            return Err(RpmdbError::Busy(shown()));
        }
        let before = self.fingerprint()?;
        let is_whole = matches!(before, Fingerprint::Sqlite { wal: None, .. })
            && self.files.beside(JOURNAL)?.is_none();
        let is_unlocked = is_whole && attempt < UNLOCKED;
        // without an index of the log that is there already, and where a rollback is due, sqlite refuses "readonly_shm"
        let how = if is_unlocked {
            "immutable=1"
        } else {
            "mode=ro&readonly_shm=1"
        };
        let place = self.files.place();
        let opened = place
            .as_ref()
            .map(|dir| connect(&dir.join(self.files.name()), how));
        let connection = match opened {
            Some(Ok(connection)) => connection,
            Some(Err(e)) if !is_copy_needed(&e) => return Err(self.error(e)),
            Some(Err(_)) | None => {
                return work(&self.copy()?).map_err(|e| self.failed(e));
            }
        };
        let result = work(&connection).map_err(|e| self.failed(e));
        let is_other = self.files.place() != place;
        if is_other || is_unlocked && self.fingerprint()? != before {
            return Err(RpmdbError::Changed(shown()));
        }
        result
    }

    /// What its small tables say of the packages; `None` where they do not know each of them.
    ///
    /// # Errors
    /// As a scan.
    pub(super) fn marks(&self) -> Result<Option<Marks>, RpmdbError> {
        let mut attempt = 0;
        loop {
            match self.read(attempt, |connection| Tables::of(connection)?.marks()) {
                Err(RpmdbError::Changed(_)) => attempt += 1,
                other => return other,
            }
        }
    }

    /// Opens a private copy, which is gone when it is closed, or when the program ends in whatever way.
    fn copy(&self) -> Result<Connection, RpmdbError> {
        let dir = self.files.copy(&[WAL, JOURNAL])?;
        let file = dir.path().join(self.files.name());
        let journal = dir.path().join(format!("{}{JOURNAL}", self.files.name()));
        if names_another_journal(&journal).map_err(RpmdbError::read(self.files.shown()))? {
            let why = "it was left in a transaction over several databases, which rpm never begins";
            return Err(RpmdbError::format(self.files.shown(), why));
        }
        connect_copy(&file).map_err(|e| self.error(e))
        // everything is open now: the directory goes with its names
    }

    fn failed(&self, failure: Failure) -> RpmdbError {
        match failure {
            Failure::Sqlite(e) => self.error(e),
            Failure::Format(why) => RpmdbError::format(self.files.shown(), why),
        }
    }

    fn error(&self, e: rusqlite::Error) -> RpmdbError {
        let shown = self.files.shown();
        match e.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                RpmdbError::Busy(shown.to_owned())
            }
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::OutOfMemory
                | ErrorCode::DiskFull,
            ) => RpmdbError::read(shown)(std::io::Error::other(e)),
            _ => RpmdbError::format(shown, e.to_string()),
        }
    }
}

impl Blobs for Sqlite {
    fn for_each(&self, ask: Ask<'_>, visit: &mut dyn FnMut(Blob<'_>)) -> Result<(), RpmdbError> {
        self.read(ask.attempt, |connection| {
            let tables = Tables::of(connection)?;
            let mut headers = Headers::new(connection);
            let numbers = match ask {
                Ask {
                    numbers: Some(few), ..
                } => few.iter().map(|n| n.cast_signed()).collect(),
                Ask {
                    prefixes: Some(prefixes),
                    ..
                } if tables.has("Dirnames") => {
                    let mut numbers = numbers_below(connection, prefixes)?;
                    let others = tables.numbers_without_directories()?;
                    numbers.extend(others.into_iter().filter(|n| headers.is_wanted(*n)));
                    numbers
                }
                _ => numbers(connection, "SELECT hnum FROM Packages", [])?,
            };
            for number in numbers {
                visit(Blob {
                    number: number.cast_unsigned(),
                    bytes: headers.read(number),
                });
            }
            Ok(())
        })
    }
}

/// Opens the original, for reading, and begins to read.
fn connect(file: &Path, how: &str) -> rusqlite::Result<Connection> {
    // no link, neither in the path nor at its end
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    begin(Connection::open_with_flags(
        uri(file, how),
        flags | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?)
}

/// The path `file` as a URI that sqlite understands ("Uniform Resource Identifiers" in its manual), whatever bytes it has.
fn uri(file: &Path, options: &str) -> String {
    use std::fmt::Write;
    let mut uri = String::from("file:");
    for byte in file.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => {
                uri.push(char::from(*byte));
            }
            // writing into a String does not fail
            other => write!(uri, "%{other:02x}").unwrap_or(()),
        }
    }
    uri + "?" + options
}

/// Opens a copy, lets sqlite bring it into order, and begins to read.
fn connect_copy(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    // nobody else knows it: no index in a file is needed
    connection.execute_batch("PRAGMA locking_mode=EXCLUSIVE")?;
    begin(connection)
}

/// From here on `connection` shows one state of the database, and has all its files open.
fn begin(connection: Connection) -> rusqlite::Result<Connection> {
    // a mapping would end us with a signal when the file is truncated; of an unknown schema nothing is run
    connection.execute_batch("PRAGMA mmap_size=0; PRAGMA trusted_schema=OFF")?;
    // not by the function for it, which libraries before 3.44 do not have all of
    connection.execute_batch(&format!("PRAGMA busy_timeout={PATIENCE}; BEGIN"))?;
    connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))?;
    Ok(connection)
}

/// Whether sqlite refuses to read because it would have to write first, or cannot open what a descriptor can.
fn is_copy_needed(e: &rusqlite::Error) -> bool {
    let code = e.sqlite_error_code();
    matches!(code, Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen))
}

/// Whether a journal ends as one of several that belong together, after which sqlite would look for the others, and remove
/// files, wherever the journal says ("The Atomic Commit", super-journal).
fn names_another_journal(journal: &Path) -> std::io::Result<bool> {
    const MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    let mut journal = match fs::File::open(journal) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    if journal.metadata()?.len() < MAGIC.len() as u64 {
        return Ok(false);
    }
    let mut end = [0; MAGIC.len()];
    journal.seek(SeekFrom::End(-(MAGIC.len() as i64)))?;
    journal.read_exact(&mut end)?;
    Ok(end == MAGIC)
}

/// The tables that are real ones: what a view or a virtual table would do is unknown.
struct Tables<'c> {
    connection: &'c Connection,
    names: HashSet<String>,
}

impl Tables<'_> {
    fn of(connection: &Connection) -> Result<Tables<'_>, Failure> {
        let mut query = connection.prepare(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0 \
             AND name IN ('Packages', 'Name', 'Dirnames', 'Sha1header')",
        )?;
        let names = query.query_map([], |row| row.get(0))?;
        let names = names.collect::<Result<HashSet<String>, _>>()?;
        let tables = Tables { connection, names };
        if !tables.has("Packages") {
            return Err(Failure::Format("it has no table Packages".into()));
        }
        Ok(tables)
    }

    fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    fn marks(&self) -> Result<Option<Marks>, Failure> {
        if !self.has("Name") || !self.has("Sha1header") {
            return Ok(None);
        }
        let mut unnamed = numbers(self.connection, "SELECT hnum FROM Packages", [])?;
        let mut digests = HashMap::new();
        each(
            self.connection,
            "SELECT hnum, key FROM Sha1header",
            [],
            |row| {
                let digest = row.get_ref(1)?.as_bytes_or_null()?.map(<[u8]>::to_vec);
                digests.insert(row.get::<_, i64>(0)?, digest);
                Ok(())
            },
        )?;
        let mut marks = Marks::new();
        each(self.connection, "SELECT hnum, key FROM Name", [], |row| {
            let number: i64 = row.get(0)?;
            if unnamed.remove(&number) {
                let name = row.get_ref(1)?.as_bytes_or_null()?.unwrap_or_default();
                let of_name = marks.entry(name.to_vec()).or_default();
                of_name.push((digests.remove(&number).flatten(), number.cast_unsigned()));
            }
            Ok(())
        })?;
        Ok(unnamed.is_empty().then_some(marks))
    }

    /// Packages that the index of directories does not know: without files, or with their old way of writing them. The
    /// index of names is smaller than the table of packages.
    fn numbers_without_directories(&self) -> Result<BTreeSet<i64>, Failure> {
        let query = if self.has("Name") {
            "SELECT hnum FROM Name WHERE hnum NOT IN (SELECT hnum FROM Dirnames)"
        } else {
            "SELECT hnum FROM Packages WHERE hnum NOT IN (SELECT hnum FROM Dirnames)"
        };
        numbers(self.connection, query, [])
    }
}

/// The packages with files in directories below one of `prefixes`. A header that writes a directory without `/` at its
/// end, which rpm never does, is found only when what it writes is below the prefix itself.
fn numbers_below(connection: &Connection, prefixes: &[Prefix]) -> Result<BTreeSet<i64>, Failure> {
    let mut found = BTreeSet::new();
    for prefix in prefixes {
        // '0' is the byte after '/', and keys are compared byte by byte
        let bound = |end| Text([prefix.path().as_os_str().as_bytes(), &[end]].concat());
        let query = "SELECT hnum FROM Dirnames WHERE key >= ?1 AND key < ?2";
        found.append(&mut numbers(connection, query, [bound(b'/'), bound(b'0')])?);
    }
    Ok(found)
}

fn numbers(
    connection: &Connection,
    query: &str,
    bound: impl rusqlite::Params,
) -> Result<BTreeSet<i64>, Failure> {
    let mut numbers = BTreeSet::new();
    each(connection, query, bound, |row| {
        numbers.insert(row.get(0)?);
        Ok(())
    })?;
    Ok(numbers)
}

/// Hands out the rows of an answer, as long as there are not more than there can be.
fn each(
    connection: &Connection,
    query: &str,
    bound: impl rusqlite::Params,
    mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> Result<(), Failure> {
    let mut query = connection.prepare(query)?;
    let mut rows = query.query(bound)?;
    for _ in 0..MOST_ROWS {
        match rows.next()? {
            Some(row) => take(row)?,
            None => return Ok(()),
        }
    }
    let why = format!("a table of it has more than {MOST_ROWS} rows");
    Err(Failure::Format(why))
}

/// Bytes that are text for sqlite, also when they are not UTF-8: paths are what they are.
struct Text(Vec<u8>);

impl ToSql for Text {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(&self.0)))
    }
}

/// Reads headers, one after the other, into the same memory.
struct Headers<'c> {
    connection: &'c Connection,
    open: Option<Incremental<'c>>,
    bytes: Vec<u8>,
}

impl<'c> Headers<'c> {
    fn new(connection: &'c Connection) -> Headers<'c> {
        Headers {
            connection,
            open: None,
            bytes: Vec::new(),
        }
    }

    /// The header of package `number`, or why it cannot be had.
    fn read(&mut self, number: i64) -> Result<&[u8], String> {
        let length = self.find(number)?;
        self.fill(length)
    }

    /// Whether a header that the index of directories does not know has to be looked at: it has whole paths in it, as rpm
    /// wrote them in its first years, or it is damaged.
    fn is_wanted(&mut self, number: i64) -> bool {
        self.is_legacy(number).unwrap_or(true)
    }

    fn is_legacy(&mut self, number: i64) -> Result<bool, String> {
        const HEAD: usize = 8;
        const ENTRY: usize = 16;
        let length = self.find(number)?;
        let head = self.fill(HEAD.min(length))?;
        let entries = head.first_chunk().map_or(0, |il| u32::from_be_bytes(*il));
        let entries = usize::try_from(entries).unwrap_or(usize::MAX);
        let index = entries.saturating_mul(ENTRY);
        let index = self.fill(index.min(length.saturating_sub(HEAD)))?;
        let legacy = tag::OLDFILENAMES.to_be_bytes();
        Ok(index.chunks_exact(ENTRY).any(|e| e.starts_with(&legacy)))
    }

    /// Goes to the beginning of a header; returns its length.
    fn find(&mut self, number: i64) -> Result<usize, String> {
        // what could not be opened cannot be moved either
        let open = match self.open.take() {
            Some(mut open) => open.reopen(number).map(|()| open),
            None => self
                .connection
                .blob_open(MAIN_DB, c"Packages", c"blob", number, true),
        };
        let open = open.map_err(|e| e.to_string())?;
        let length = usize::try_from(open.size()).unwrap_or(0);
        self.open = Some(open);
        if length > MOST_BYTES {
            return Err(format!(
                "its header has {length} bytes, more than rpm allows"
            ));
        }
        Ok(length)
    }

    /// The next `length` bytes.
    fn fill(&mut self, length: usize) -> Result<&[u8], String> {
        if self.bytes.len() < length {
            self.bytes.resize(length, 0);
        }
        let into = &mut self.bytes[..length];
        match &mut self.open {
            Some(open) => open.read_exact(into).map_err(|e| e.to_string())?,
            None => return Err("it is not open".into()),
        }
        Ok(into)
    }
}

#[cfg(test)]
mod tests;
