use std::fs;
use std::os::unix::fs::symlink;

use super::*;

const SYSTEM: &str = "usr/lib/sysimage/rpm";

fn root_with(files: &[&str]) -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        write(dir.path(), file, file);
    }
    let root = Root::at(dir.path()).unwrap();
    (dir, root)
}

fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// The file that is taken, and those that are not, below the root.
fn found(root: &Root, dir: Option<&str>) -> Option<(String, Vec<String>)> {
    let below = |place: &Place| {
        root.strip(&place.path)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    let found = find(root, dir.map(Path::new)).unwrap()?;
    Some((
        below(&found.place),
        found.ignored.iter().map(below).collect(),
    ))
}

#[test]
fn a_root_without_a_database_has_none() {
    let (_dir, root) = root_with(&["usr/lib/sysimage/rpm/Index.db", "var/lib/rpm"]);
    assert_eq!(found(&root, None), None);
    assert_eq!(found(&root, Some("srv/none")), None);
}

#[test]
fn the_directory_of_the_system_comes_before_the_one_in_var() {
    let (_dir, root) = root_with(&["var/lib/rpm/Packages.db"]);
    assert_eq!(found(&root, None).unwrap().0, "var/lib/rpm/Packages.db");
    write(root.path(), "usr/lib/sysimage/rpm/rpmdb.sqlite", "");
    let (taken, ignored) = found(&root, None).unwrap();
    assert_eq!(taken, "usr/lib/sysimage/rpm/rpmdb.sqlite");
    assert_eq!(ignored, ["var/lib/rpm/Packages.db"]);
    assert_eq!(found(&root, Some("/var/lib/rpm")).unwrap().1, [""; 0]);
}

#[test]
fn a_link_from_one_directory_to_the_other_is_the_same_database() {
    let (dir, root) = root_with(&["usr/lib/sysimage/rpm/Packages.db"]);
    fs::create_dir_all(dir.path().join("var/lib")).unwrap();
    symlink("../../usr/lib/sysimage/rpm", dir.path().join("var/lib/rpm")).unwrap();
    let (taken, ignored) = found(&root, None).unwrap();
    assert_eq!(
        (taken.as_str(), ignored.len()),
        ("usr/lib/sysimage/rpm/Packages.db", 0)
    );
    assert_eq!(
        found(&root, Some("var/lib/rpm")).unwrap().0,
        "var/lib/rpm/Packages.db"
    );
}

#[test]
fn a_link_does_not_lead_out_of_the_root() {
    let (outside, _) = root_with(&["rpm/Packages.db"]);
    let (dir, root) = root_with(&["var/lib/x"]);
    symlink(outside.path().join("rpm"), dir.path().join("var/lib/rpm")).unwrap();
    assert_eq!(found(&root, None), None);
    fs::create_dir_all(dir.path().join(SYSTEM)).unwrap();
    let link = dir.path().join(SYSTEM).join("Packages.db");
    symlink(outside.path().join("rpm/Packages.db"), link).unwrap();
    assert_eq!(found(&root, None), None);
}

#[test]
fn of_several_formats_the_one_that_rpm_is_told_to_use_is_taken() {
    let (dir, root) = root_with(&[
        "usr/lib/sysimage/rpm/Packages",
        "usr/lib/sysimage/rpm/Packages.db",
        "usr/lib/sysimage/rpm/rpmdb.sqlite",
    ]);
    let taken = || found(&root, None).unwrap().0.split_off(SYSTEM.len() + 1);
    assert_eq!(taken(), "Packages.db");
    let steps = [
        (
            "usr/lib/rpm/macros",
            "%x 1\n%_db_backend\t sqlite\n",
            "rpmdb.sqlite",
        ),
        ("etc/rpm/macros.b", "%_db_backend bdb", "Packages"),
        ("etc/rpm/macros.a", "%_db_backend ndb", "Packages"),
        ("etc/rpm/macros.c.rpmsave", "%_db_backend ndb", "Packages"),
        (
            "etc/rpm/macros.d",
            "%_db_backend %{other}\n%_db_backend dummy\n",
            "Packages",
        ),
        (
            "etc/rpm/macros",
            "#%_db_backend bdb\n%_db_backend ndb\n",
            "Packages.db",
        ),
    ];
    for (file, text, expected) in steps {
        write(dir.path(), file, text);
        assert_eq!(taken(), expected, "{file}");
    }
    assert_eq!(found(&root, None).unwrap().1.len(), 2);
}

#[test]
fn what_is_there_and_cannot_be_opened_is_an_error() {
    let (dir, root) = root_with(&[]);
    fs::create_dir_all(dir.path().join(SYSTEM).join("Packages.db")).unwrap();
    let why = find(&root, None).unwrap_err().to_string();
    assert!(
        why.contains("Packages.db") && why.contains("no regular file"),
        "{why}"
    );
    fs::remove_dir(dir.path().join(SYSTEM).join("Packages.db")).unwrap();
    fs::remove_dir(dir.path().join(SYSTEM)).unwrap();
    symlink("rpm", dir.path().join(SYSTEM)).unwrap();
    assert!(
        matches!(find(&root, None), Err(RpmdbError::Read(..))),
        "a link to itself"
    );
    write(dir.path(), "var/lib/rpm/Packages.db", "");
    assert!(find(&root, None).is_err(), "it may be a newer one");
}
