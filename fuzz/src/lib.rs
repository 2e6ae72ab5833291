//! What must hold of whatever is read, from bytes of any kind. The fuzz targets call it, and tests/it/fuzz_corpus.rs with the
//! corpus that is kept.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use transactional_update::rpmdb::{Database, DirectoryEntry, Prefix, raw};

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
    // the controls of tests/proof/fuzz.sh: a mistake that has to be found
    assert!(std::env::var_os("FUZZ_CONTROL").is_none(), "{entry:?}");
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
