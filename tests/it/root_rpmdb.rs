//! Databases that rpm made, large and odd, in both formats: what is read of them, from a read-only snapshot as well, and what
//! rpm says of the directories that were made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::fx::{CREATE_DIRS, Machine, Ran, Variant, command, require_root, script};
use crate::ndb::Package;
use crate::root_dirs_flaws::Scratch;
use crate::rpmdb::{
    agrees_about_directories, agrees_about_packages, open, prefixes, told_directories,
};

fn made(words: &[&str]) -> PathBuf {
    require_root();
    PathBuf::from(script("rpmdb.sh", words))
}

/// Compares directories and packages of both formats with what rpm says; how many directories there are.
fn agrees(made: &Path, packages: usize, hashed: usize) -> usize {
    let of = |format: &str| {
        let database = open(&made.join(format));
        let answer = |what: &str| made.join(format!("{format}.{what}"));
        let listed = agrees_about_packages(&database, &answer("packages"), hashed);
        assert_eq!(listed, packages, "{format}");
        let found = database.directories(&prefixes()).unwrap();
        agrees_about_directories(&found, &answer("files"))
    };
    let (sqlite, ndb) = (of("sqlite"), of("ndb"));
    assert_eq!(sqlite, ndb);
    sqlite
}

#[test]
fn of_2200_packages_all_directories_and_names_are_those_that_rpm_says_in_both_formats() {
    assert!(agrees(&made(&["big"]), 2200, 0) > 300);
}

#[test]
fn of_hard_packages_all_directories_and_names_are_those_that_rpm_says_in_both_formats() {
    assert!(agrees(&made(&["edge"]), 37, 1) > 50);
}

/// A machine whose read-only root snapshot has this database and nothing of another one.
fn with_database(variant: Variant, format: &str, made: &Path) -> Machine {
    let mut machine = Machine::of(variant);
    machine.bind(made.join(format), "/run/made");
    machine.prepare("rm -rf /usr/lib/sysimage/rpm/*; cp /run/made/* /usr/lib/sysimage/rpm/");
    machine
}

/// The entries of an answer in JSON that are there now, each with the package that decides about it.
fn done(ran: &Ran) -> BTreeMap<String, String> {
    let json = ran.stdout.split("\n== verify\n").next().unwrap();
    let answer: Value = serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}\n{ran}"));
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let entries = answer["entries"].as_array().unwrap().iter();
    let there = entries.filter(|e| ["create", "exists"].contains(&text(&e["action"]).as_str()));
    there
        .map(|e| (text(&e["path"]), text(&e["packages"][0])))
        .collect()
}

/// Whether a line of `rpm -V` complains about `path`: that it is missing, or about mode, user or group.
fn complains(line: &str, path: &str) -> bool {
    let flags = line.split(' ').next().unwrap_or_default();
    let is_it = line.strip_suffix(path).is_some_and(|l| l.ends_with(' '));
    is_it && (flags == "missing" || flags.contains(['M', 'U', 'G']))
}

/// Makes the directories of a database of 2,200 packages that lies in a read-only snapshot, and asks rpm about them.
fn rpm_has_nothing_to_say_of_2200(variant: Variant, format: &str) {
    let made = made(&["big"]);
    let machine = with_database(variant, format, &made);
    let ran = machine.boot(
        "set -e; findmnt -n -o OPTIONS / | grep -q '^ro,'; ls -A /usr/lib/sysimage/rpm > /run/before
         create-dirs-from-rpmdb --json || [ $? = 65 ]
         ls -A /usr/lib/sysimage/rpm | diff /run/before -; echo; echo '== verify'
         cp -r /run/made /run/db; rpm --dbpath /run/db -Va --nodeps --noscripts 2>/run/err | grep -aE ' /(var|srv|opt)/' || :",
    );
    let ran = ran.succeeds();
    let done = done(&ran);
    assert!(done.len() > 300, "{}\n{ran}", done.len());
    // of two packages that want one directory differently, rpm can be content with one only
    let mut wishes = BTreeMap::<Vec<u8>, BTreeSet<_>>::new();
    for (path, mode, user, group, ..) in told_directories(&made.join(format!("{format}.files"))) {
        wishes.entry(path).or_default().insert((mode, user, group));
    }
    let lines = ran.stdout.split("\n== verify\n").nth(1).unwrap();
    // files are missing, so that there is something to hear
    assert!(lines.contains("missing"), "{ran}");
    let complaints: Vec<_> = lines
        .lines()
        .filter(|line| {
            let path = line
                .find(" /")
                .map(|at| &line[at + 1..])
                .unwrap_or_default();
            let agreed = wishes.get(path.as_bytes()).is_some_and(|w| w.len() == 1);
            agreed && done.contains_key(path) && complains(line, path)
        })
        .collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn rpm_verifies_the_directories_of_2200_packages_in_a_read_only_snapshot_sqlite() {
    rpm_has_nothing_to_say_of_2200(Variant::RoSqlite, "sqlite");
}

#[test]
fn rpm_verifies_the_directories_of_2200_packages_in_a_read_only_snapshot_ndb() {
    rpm_has_nothing_to_say_of_2200(Variant::RoNdb, "ndb");
}

#[test]
fn rpm_verifies_each_directory_of_the_hard_packages_for_the_package_that_decides() {
    for (variant, format) in [(Variant::RoSqlite, "sqlite"), (Variant::RoNdb, "ndb")] {
        let machine = with_database(variant, format, &made(&["edge"]));
        let ran = machine.boot(
            "set -e; create-dirs-from-rpmdb --json || [ $? = 65 ]; echo; echo '== verify'
             cp -r /run/made /run/db
             for p in $(rpm --dbpath /run/db -qa --qf '%{NEVRA}\\n' 2>/run/err); do
               echo \"== $p\"; rpm --dbpath /run/db -V --nodeps --noscripts $p 2>/run/err || :; done",
        );
        let ran = ran.succeeds();
        let done = done(&ran);
        assert!(done.len() > 30, "{ran}");
        let verified = ran.stdout.split("\n== verify\n").nth(1).unwrap();
        let mut checked = 0;
        for (path, package) in done.iter().filter(|(_, package)| !package.is_empty()) {
            let lines = verified.split(&format!("== {package}")).nth(1);
            let lines = lines.unwrap_or_else(|| panic!("{package}\n{ran}"));
            let lines = lines.split("\n== ").next().unwrap();
            assert!(!lines.contains("is not installed"), "{lines}");
            let wrong: Vec<_> = lines.lines().filter(|l| complains(l, path)).collect();
            assert!(wrong.is_empty(), "{package}: {}\n{ran}", wrong.join("\n"));
            checked += 1;
        }
        assert!(checked > 30, "{checked}");
        // what is not there is still complained about: rpm was heard
        assert!(verified.contains("missing     /var/lib/unk2"), "{ran}");
    }
}

/// Runs the program with so much memory for what it writes to, in bytes; all that is not the mapped database.
fn run_within(memory: u64, root: &Path) -> Ran {
    let mut prlimit = command("prlimit");
    prlimit.arg(format!("--data={memory}")).arg(CREATE_DIRS);
    prlimit
        .args(["-q", "--dry-run", "--force", "--root"])
        .arg(root);
    Ran::new("prlimit", prlimit.output().unwrap())
}

#[test]
fn a_scan_takes_less_than_16_megabytes_however_many_packages_there_are() {
    const LIMIT: u64 = 16 << 20;
    for count in [200, 2200, 22_000] {
        let packages: Vec<_> = (0..count)
            .map(|n| {
                let package = (0..5).fold(Package::new(&format!("p{n}")), |p, k| {
                    p.dir(&format!("/usr/share/p{n}/{k}"), 0o755)
                });
                match n % 20 {
                    0 => package.dir(&format!("/var/lib/p{n}"), 0o755),
                    _ => package,
                }
            })
            .collect();
        run_within(LIMIT, Scratch::new(&packages).at("").as_path()).exits(0);
    }
    for words in [&["big", "200"][..], &["big"]] {
        for format in ["sqlite", "ndb"] {
            let scratch = Scratch::without_database();
            let place = scratch.at("usr/lib/sysimage/rpm");
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            let copied = command("cp")
                .args(["-r", "--reflink=auto"])
                .arg(made(words).join(format))
                .arg(&place)
                .status();
            assert!(copied.unwrap().success());
            // some wait for a user that is not there
            run_within(LIMIT, scratch.at("").as_path()).exits(65);
        }
    }
    // the limit is one: with a tenth of it nothing can be read
    let scratch = Scratch::new(&[Package::new("a").dir("/var/lib/a", 0o755)]);
    assert_ne!(run_within(100 << 10, scratch.at("").as_path()).code, 0);
}
