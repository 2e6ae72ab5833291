//! What must hold of whatever is read, from bytes of any kind. The fuzz targets call it, and tests/it/fuzz_corpus.rs with the
//! corpus that is kept.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use transactional_update::rpmdb::{Database, DirectoryEntry, Prefix, raw};
use transactional_update::sysupdate::pattern::words;
use transactional_update::sysupdate::{Manifest, Pattern, PatternList, Specifiers, Transfer};

fn prefixes() -> Vec<Prefix> {
    let tops = ["/var", "/srv", "/opt"].map(|top| Prefix::new(Path::new(top)));
    tops.into_iter().flatten().collect()
}

/// Reads `bytes` as a header. Whether there is one.
///
/// # Panics
/// When what is read is not as promised.
pub fn header(bytes: &[u8]) -> bool {
    let prefixes = prefixes();
    let Ok((package, entries)) = raw::header(bytes, &prefixes) else {
        return false;
    };
    assert!(package.nevra.to_string().contains('-'));
    entries.iter().for_each(|entry| sound(entry, &prefixes, 1));
    true
}

/// Reads `bytes` as a database of ndb: how many packages it has, and how many that cannot be read; `None` when it is no
/// database.
///
/// # Panics
/// When what is read is not as promised.
pub fn ndb(bytes: &[u8]) -> Option<(usize, usize)> {
    let prefixes = prefixes();
    let database = Database::of_ndb(file(bytes), Path::new("Packages.db"));
    let state = database.fingerprint();
    let (packages, bad) = database.nevras().ok()?;
    // each comes from a slot of its own, besides what cannot be read of one
    assert!(packages.len() <= bytes.len() / 16 && bad.len() <= 2 * (bytes.len() / 16));
    let found = database
        .directories(&prefixes)
        .expect("what has a list of packages can be scanned");
    for entry in &found.entries {
        sound(entry, &prefixes, found.packages.len());
    }
    let key = |e: &DirectoryEntry| (e.path.as_os_str().to_owned(), e.package);
    assert!(found.entries.is_sorted_by_key(key));
    assert!(found.packages.len() <= packages.len());
    assert_eq!(state.ok(), database.fingerprint().ok());
    Some((packages.len(), bad.len()))
}

fn sound(entry: &DirectoryEntry, prefixes: &[Prefix], packages: usize) {
    let path = entry.path.as_os_str().as_bytes();
    assert!(prefixes.iter().any(|p| p.holds(path)), "{entry:?}");
    assert!(
        entry.mode <= 0o7777 && entry.package < packages,
        "{entry:?}"
    );
    control();
}

/// The controls of tests/proof/fuzz.sh: a mistake that has to be found.
fn control() {
    assert!(std::env::var_os("FUZZ_CONTROL").is_none(), "a control");
}

/// Reads the first line of `bytes` as a list of patterns, the rest as a name. Whether there is a list, and whether the name
/// matches.
///
/// # Panics
/// When what matches is not as promised.
pub fn pattern(bytes: &[u8]) -> Option<bool> {
    let (list, name) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
    let patterns = words(list).ok()?;
    let patterns = patterns.iter().map(|word| Pattern::parse(word).ok());
    let patterns: PatternList = patterns.collect::<Option<_>>()?;
    let Some((number, fields)) = patterns.matches(name) else {
        return Some(false);
    };
    control();
    let pattern = &patterns.patterns()[number];
    assert!(pattern.can_match() && name.contains(fields.version.as_str()));
    assert!(
        patterns.patterns()[..number]
            .iter()
            .all(|before| before.matches(name).is_none())
    );
    let metadata = &fields.metadata;
    if let Ok(new) = pattern.format(&fields.version, metadata) {
        let again = pattern
            .matches(&new)
            .expect("a name that is given is found again");
        assert!(again == fields, "{new}: {again:?}, not {fields:?}");
    }
    Some(true)
}

/// Reads `bytes` as a transfer file. Whether it is one.
///
/// # Panics
/// When what is read is not as promised.
pub fn transfer(bytes: &[u8]) -> bool {
    let mut warnings = Vec::new();
    let specifiers = Specifiers::default();
    let read = Transfer::parse(Path::new("a.transfer"), bytes, &specifiers, &mut warnings);
    let lines = bytes.iter().filter(|b| **b == b'\n').count() + 1;
    // a line has a warning for each of its words at most
    assert!(
        warnings.len() <= bytes.len() + 10 && warnings.iter().all(|w| w.starts_with("a.transfer:"))
    );
    match read {
        Ok(transfer) => {
            control();
            assert!(
                transfer.source.patterns.first().is_some()
                    && transfer.target.patterns.first().is_some()
            );
            assert!(transfer.source.kind.fits(transfer.target.kind));
            assert!(transfer.target.instances_max() >= 2);
            let place = transfer.target.place.map(|place| place.path);
            assert!(place.is_none_or(|path| path.is_absolute()));
            true
        }
        Err(e) => {
            assert!(e.line <= lines && !e.problem.is_empty(), "{e}");
            false
        }
    }
}

/// Reads `bytes` as a manifest: how many files it has; `None` when it is none.
///
/// # Panics
/// When what is read is not as promised.
pub fn manifest(bytes: &[u8]) -> Option<usize> {
    let manifest = Manifest::parse(bytes).ok()?;
    for entry in manifest.entries() {
        control();
        let is_plain = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= 255;
        assert!(entry.name.split('/').all(is_plain), "{entry:?}");
        assert!(
            !entry
                .name
                .contains(|c: char| c == '%' || c.is_ascii_control())
        );
    }
    let now = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_714_564_800);
    assert!(manifest.freshness(now).warnings.len() <= manifest.entries().len());
    let patterns: PatternList = Pattern::parse("os_@v_@h")
        .into_iter()
        .chain(Pattern::parse("@v"))
        .collect();
    let matching = manifest.instances(&patterns).count();
    assert!(matching <= manifest.entries().len() && manifest.entries().len() <= bytes.len() / 68);
    Some(manifest.entries().len())
}

/// A file without a name that holds `bytes`.
fn file(bytes: &[u8]) -> File {
    let name = format!(
        "tu-fuzz.{}.{:?}",
        std::process::id(),
        std::thread::current().id()
    );
    let path = Path::new("/dev/shm").join(name);
    // everybody may write there: what has the name already, left over or a link, is not opened
    drop(fs::remove_file(&path));
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .expect("memory");
    fs::remove_file(&path).expect("it was made");
    file.write_all_at(bytes, 0).expect("memory");
    file
}
