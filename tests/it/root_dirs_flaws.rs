//! What other programs for the same job do wrong: directories of packages, made in a scratch root under four umasks.
//!
//! The databases are those of `ndb.rs`, with exactly what a test is about.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::fx::{CREATE_DIRS, Ran, command, require_root};
use crate::ndb::{self, Package};
use crate::rpmdb::kept;

/// A system without anything but accounts, the tops of what packages own, and a database.
pub(crate) struct Scratch {
    dir: tempfile::TempDir,
    umask: &'static str,
}

const DATABASE: &str = "usr/lib/sysimage/rpm";
const STAMP: &str = "var/lib/transactional-update/create-dirs.json";
const MAIL: u32 = 8;

impl Scratch {
    pub(crate) fn new(packages: &[Package]) -> Scratch {
        let scratch = Scratch::without_database();
        ndb::write(&scratch.at(DATABASE), packages);
        scratch
    }

    pub(crate) fn without_database() -> Scratch {
        require_root();
        let scratch = Scratch {
            dir: tempfile::Builder::new()
                .prefix("tu-dirs.")
                .tempdir_in("/var/tmp")
                .unwrap(),
            umask: "0022",
        };
        for dir in ["etc", "usr/lib", "var/lib", "srv", "opt"] {
            fs::create_dir_all(scratch.at(dir)).unwrap();
        }
        for dir in ["", "etc", "usr", "usr/lib", "var", "var/lib", "srv", "opt"] {
            fs::set_permissions(scratch.at(dir), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let accounts = "root:x:0:0::/root:/bin/sh\nmail:x:8:8::/:/bin/false\n";
        fs::write(scratch.at("etc/passwd"), accounts).unwrap();
        fs::write(scratch.at("etc/group"), "root:x:0:\nmail:x:8:\n").unwrap();
        scratch
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path.trim_start_matches('/'))
    }

    /// Runs the program on this root with these words.
    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        let mut command = command("sh");
        command
            .args(["-c", r#"umask "$0"; exec "$@""#, self.umask, CREATE_DIRS])
            .arg("--root")
            .arg(self.dir.path())
            .args(words)
            .env_remove("TU_FAILPOINTS");
        Ran::new(&words.join(" "), command.output().unwrap())
    }

    /// The same with --json: what it says, its exit code in it.
    pub(crate) fn says(&self, words: &[&str]) -> Said {
        let ran = self.run(&[&["--json"], words].concat());
        let json = serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}\n{ran}"));
        Said { json, ran }
    }

    /// Mode, owner and group of what is there, never of where a link leads.
    #[track_caller]
    pub(crate) fn holds(&self, path: &str, mode: u32, uid: u32, gid: u32) {
        let found = fs::symlink_metadata(self.at(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        let found = (
            found.is_dir(),
            found.mode() & 0o7777,
            found.uid(),
            found.gid(),
        );
        assert_eq!(found, (true, mode, uid, gid), "{path} {:o}", found.1);
    }

    #[track_caller]
    pub(crate) fn lacks(&self, path: &str) {
        assert!(
            fs::symlink_metadata(self.at(path)).is_err(),
            "{path} is there"
        );
    }
}

/// What the program said as JSON.
pub(crate) struct Said {
    pub(crate) json: Value,
    pub(crate) ran: Ran,
}

impl Said {
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Said {
        assert_eq!(self.ran.code, code, "{}", self.ran);
        self
    }

    /// Asserts how the work was found.
    #[track_caller]
    pub(crate) fn status(self, status: &str) -> Said {
        assert_eq!(self.json["status"], status, "{}", self.ran);
        self
    }

    #[track_caller]
    fn entry(&self, path: &str) -> &Value {
        let entries = self.json["entries"].as_array().unwrap();
        let found: Vec<_> = entries.iter().filter(|e| e["path"] == path).collect();
        assert_eq!(found.len(), 1, "{path}\n{}", self.ran);
        found[0]
    }

    /// Asserts what became of `path` and why (`""`: nothing to explain).
    #[track_caller]
    pub(crate) fn tells(self, path: &str, action: &str, reason: &str) -> Said {
        let entry = self.entry(path);
        let told = (
            entry["action"].as_str().unwrap(),
            entry["reason"].as_str().unwrap_or(""),
        );
        assert_eq!(told, (action, reason), "{path}\n{}", self.ran);
        self
    }

    /// Asserts that nothing is said of other paths than these.
    #[track_caller]
    fn only(self, paths: &[&str]) -> Said {
        let entries = self.json["entries"].as_array().unwrap();
        let told: Vec<_> = entries
            .iter()
            .map(|e| e["path"].as_str().unwrap())
            .collect();
        assert_eq!(told, paths, "{}", self.ran);
        self
    }
}

/// Runs a test under each umask, in a root of its own that has these packages.
fn under_each_umask(packages: &[Package], test: impl Fn(&Scratch)) {
    for umask in ["0000", "0022", "0027", "0077"] {
        let mut scratch = Scratch::new(packages);
        scratch.umask = umask;
        test(&scratch);
    }
}

#[test]
fn every_directory_has_exactly_the_bits_of_its_package_whatever_the_umask_is() {
    let modes = [
        0o755, 0o1777, 0o775, 0o2775, 0o4755, 0o700, 0o7777, 0o0, 0o6711,
    ];
    let name = |mode: u16| format!("/var/lib/m{mode:o}");
    let package = modes.iter().fold(Package::new("modes"), |p, mode| {
        p.owned(name(*mode), *mode, "root", "mail")
    });
    under_each_umask(&[package], |scratch| {
        scratch.run(&[]).exits(0);
        for mode in modes {
            scratch.holds(&name(mode), mode.into(), 0, MAIL);
        }
    });
}

#[test]
fn an_unknown_user_or_group_defers_only_that_directory_and_what_is_below_it() {
    // first, middle and last of its package
    let packages = [
        Package::new("first")
            .owned("/var/lib/first", 0o755, "nosuchuser", "root")
            .dir("/var/lib/first-2", 0o755),
        Package::new("middle")
            .dir("/var/lib/middle-1", 0o755)
            .owned("/var/lib/middle-2", 0o755, "root", "nosuchgroup")
            .dir("/var/lib/middle-2/below", 0o755)
            .dir("/var/lib/middle-3", 0o755),
        Package::new("last").dir("/var/lib/last-1", 0o755).owned(
            "/var/lib/last-2",
            0o755,
            "nosuchuser",
            "nosuchgroup",
        ),
    ];
    under_each_umask(&packages, |scratch| {
        let said = scratch
            .says(&[])
            .exits(65)
            .tells("/var/lib/first", "deferred", "unknown-user")
            .tells("/var/lib/middle-2", "deferred", "unknown-group")
            .tells("/var/lib/middle-2/below", "deferred", "below-deferred")
            .tells("/var/lib/last-2", "deferred", "unknown-user");
        assert_eq!(said.entry("/var/lib/first")["user"], "nosuchuser");
        assert_eq!(
            said.entry("/var/lib/first")["packages"][0],
            "first-1-1.noarch"
        );
        for path in ["first-2", "middle-1", "middle-3", "last-1"] {
            scratch.holds(&format!("/var/lib/{path}"), 0o755, 0, 0);
        }
        for path in ["first", "middle-2", "last-2"] {
            scratch.lacks(&format!("/var/lib/{path}"));
        }
        scratch
            .run(&["--force"])
            .exits(65)
            .says("nosuchuser")
            .says("first-1-1.noarch")
            .says("/var/lib/middle-2");
    });
}

#[test]
fn what_is_missing_above_a_directory_is_made_for_root_and_told() {
    let package = Package::new("deep").owned("/var/lib/np/deep/dir", 0o700, "mail", "mail");
    under_each_umask(&[package], |scratch| {
        scratch
            .says(&[])
            .exits(0)
            .tells("/var/lib/np", "create", "implied")
            .tells("/var/lib/np/deep", "create", "implied")
            .tells("/var/lib/np/deep/dir", "create", "");
        scratch.holds("/var/lib/np", 0o755, 0, 0);
        scratch.holds("/var/lib/np/deep", 0o755, 0, 0);
        scratch.holds("/var/lib/np/deep/dir", 0o700, MAIL, MAIL);
    });
}

#[test]
fn a_link_in_the_place_of_a_directory_is_left_alone_and_is_no_failure() {
    let package = Package::new("moved")
        .dir("/var/lib/dangling", 0o755)
        .dir("/var/lib/elsewhere", 0o700);
    under_each_umask(&[package], |scratch| {
        symlink("nowhere", scratch.at("/var/lib/dangling")).unwrap();
        symlink("../../srv", scratch.at("/var/lib/elsewhere")).unwrap();
        for status in ["scanned", "nothing-to-do"] {
            let said = scratch.says(&[]).exits(0).status(status);
            if status == "scanned" {
                said.tells("/var/lib/dangling", "skipped", "redirected")
                    .tells("/var/lib/elsewhere", "skipped", "redirected");
            }
        }
        scratch.lacks("/var/lib/nowhere");
        scratch.holds("/srv", 0o755, 0, 0);
        let link = fs::read_link(scratch.at("/var/lib/dangling")).unwrap();
        assert_eq!(link, Path::new("nowhere"));
    });
}

#[test]
fn after_a_failure_only_what_is_left_is_tried_again_without_a_scan() {
    let package = Package::new("waits")
        .dir("/var/lib/a", 0o755)
        .owned("/var/lib/b", 0o2750, "later", "later")
        .dir("/var/lib/c/d", 0o755);
    under_each_umask(&[package], |scratch| {
        fs::write(scratch.at("/var/lib/c"), "in the way").unwrap();
        scratch.says(&[]).exits(73).status("scanned");
        scratch.holds("/var/lib/a", 0o755, 0, 0);
        let left = ["/var/lib/b", "/var/lib/c/d"];
        scratch
            .says(&[])
            .exits(73)
            .status("resumed")
            .only(&left)
            .tells("/var/lib/b", "deferred", "unknown-user")
            .tells("/var/lib/c/d", "failed", "blocked");
        // the user exists, and nothing is in the way any more
        for (file, line) in [
            ("passwd", "later:x:77:78::/:/bin/false\n"),
            ("group", "later:x:78:\n"),
        ] {
            let path = scratch.at("etc").join(file);
            let text = fs::read_to_string(&path).unwrap() + line;
            fs::write(path, text).unwrap();
        }
        fs::remove_file(scratch.at("/var/lib/c")).unwrap();
        scratch.says(&[]).exits(0).status("resumed");
        scratch.holds("/var/lib/b", 0o2750, 77, 78);
        scratch.holds("/var/lib/c/d", 0o755, 0, 0);
        scratch.says(&[]).exits(0).status("nothing-to-do").only(&[]);
    });
}

#[test]
fn var_srv_and_opt_are_looked_at_and_others_when_that_is_asked_for() {
    let package = Package::new("roots")
        .dir("/home/x", 0o755)
        .dir("/opt/x", 0o755)
        .dir("/opt/y/in", 0o755)
        .dir("/srv/x", 0o755)
        .dir("/usr/local/x", 0o755)
        .dir("/var/x", 0o755)
        .dir("/various/x", 0o755);
    let tops = [
        "/home/x",
        "/opt/x",
        "/opt/y/in",
        "/srv/x",
        "/usr/local/x",
        "/var/x",
        "/various/x",
    ];
    let there = |scratch: &Scratch| {
        let there = tops.into_iter().filter(|p| scratch.at(p).exists());
        there.collect::<Vec<_>>()
    };
    under_each_umask(&[package], |scratch| {
        scratch
            .run(&["--prefix", "/opt", "--exclude-prefix", "/opt/y"])
            .exits(0);
        assert_eq!(there(scratch), ["/opt/x"]);
        scratch.run(&[]).exits(0);
        assert_eq!(there(scratch), ["/opt/x", "/opt/y/in", "/srv/x", "/var/x"]);
        let config = "CREATE_DIRS_PREFIXES=\"/home /usr/local\"\n";
        fs::write(scratch.at("etc/transactional-update.conf"), config).unwrap();
        scratch.run(&[]).exits(0);
        assert_eq!(there(scratch), tops[..6]);
    });
}

#[test]
fn what_rpm_did_not_install_is_not_made() {
    let states = [
        (0, ""),
        (1, "replaced"),
        (2, "not-installed"),
        (3, "net-shared"),
        (4, "wrong-colour"),
    ];
    let package = states.iter().fold(Package::new("states"), |p, (state, _)| {
        p.dir(&format!("/var/lib/state{state}"), 0o755)
            .state(*state)
    });
    let package = package.dir("/var/lib/ghost", 0o755).ghost();
    under_each_umask(&[package], |scratch| {
        let mut said = scratch
            .says(&[])
            .exits(0)
            .tells("/var/lib/ghost", "skipped", "ghost");
        for (state, reason) in &states[1..] {
            let path = format!("/var/lib/state{state}");
            said = said.tells(&path, "skipped", reason);
            scratch.lacks(&path);
        }
        scratch.holds("/var/lib/state0", 0o755, 0, 0);
        scratch.lacks("/var/lib/ghost");
        scratch.run(&["--ghost"]).exits(0);
        scratch.holds("/var/lib/ghost", 0o755, 0, 0);
    });
}

#[test]
fn of_two_packages_the_one_installed_last_decides_wherever_it_stands_and_both_are_named() {
    let early = Package::new("early").dir("/var/lib/shared", 0o755);
    let late = Package::new("late")
        .owned("/var/lib/shared", 0o2770, "mail", "mail")
        .installed_at(1_700_000_001);
    // the same second: the transaction decides, and then the name
    let first = Package::new("z-first")
        .dir("/var/lib/other", 0o755)
        .transaction(5);
    let second = Package::new("a-second")
        .dir("/var/lib/other", 0o700)
        .transaction(6);
    let old = Package::new("same")
        .dir("/var/lib/third", 0o755)
        .version("1.9");
    let new = Package::new("same")
        .dir("/var/lib/third", 0o711)
        .version("1.10");
    let agree = Package::new("agrees")
        .dir("/var/lib/other", 0o700)
        .transaction(4);
    let mut packages = [early, late, first, second, old, new, agree];
    for _ in 0..2 {
        under_each_umask(&packages, |scratch| {
            let said = scratch.says(&[]).exits(0);
            scratch.holds("/var/lib/shared", 0o2770, MAIL, MAIL);
            scratch.holds("/var/lib/other", 0o700, 0, 0);
            scratch.holds("/var/lib/third", 0o711, 0, 0);
            let owners = said.entry("/var/lib/shared")["packages"]
                .as_array()
                .unwrap();
            assert_eq!(
                owners[..],
                ["late-1-1.noarch", "early-1-1.noarch"],
                "{}",
                said.ran
            );
            scratch
                .run(&["--force"])
                .exits(0)
                .says("late-1-1.noarch")
                .says("early-1-1.noarch")
                .says("2770")
                .says("same-1.10-1.noarch");
        });
        packages.reverse();
    }
}

#[test]
fn a_system_without_a_database_is_said_to_have_none_and_one_that_cannot_be_read_is_an_error() {
    under_each_umask(&[], |scratch| {
        let database = scratch.at(DATABASE).join("Packages.db");
        fs::remove_file(&database).unwrap();
        scratch.says(&[]).exits(0).status("no-database");
        let ran = scratch.run(&[]).exits(0);
        assert!(
            ran.stderr.contains("database") || ran.stdout.contains("database"),
            "{ran}"
        );
        for broken in [
            &b""[..],
            b"RpmP",
            b"no database at all, but longer than its head",
        ] {
            fs::write(&database, broken).unwrap();
            scratch.says(&[]).exits(66).status("unreadable");
            scratch.run(&[]).exits(66).says("Packages.db");
        }
        // the words for it do not hide behind what was known before
        assert!(!scratch.at(STAMP).exists());
    });
}

#[test]
fn what_is_there_is_compared_and_told_and_never_changed() {
    let package = Package::new("there")
        .owned("/var/lib/differs", 0o2750, "mail", "mail")
        .dir("/var/lib/equal", 0o755)
        .dir("/var/lib/file", 0o755)
        .dir("/var/lib/socket/below", 0o755)
        .dir("/var/lib/wanted", 0o755);
    under_each_umask(&[package], |scratch| {
        for dir in ["/var/lib/differs", "/var/lib/equal"] {
            fs::create_dir(scratch.at(dir)).unwrap();
            fs::set_permissions(scratch.at(dir), fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(scratch.at("/var/lib/file"), "data").unwrap();
        let socket = scratch.at("/var/lib/socket");
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        let said = scratch
            .says(&[])
            .exits(73)
            .tells("/var/lib/differs", "differs", "")
            .tells("/var/lib/equal", "exists", "")
            .tells("/var/lib/file", "failed", "blocked")
            .tells("/var/lib/socket/below", "failed", "blocked")
            .tells("/var/lib/wanted", "create", "");
        let how = said.entry("/var/lib/differs")["error"].as_str().unwrap();
        assert!(how.contains("755"), "{how}");
        scratch.holds("/var/lib/differs", 0o755, 0, 0);
        assert_eq!(fs::read(scratch.at("/var/lib/file")).unwrap(), b"data");
        assert!(!fs::symlink_metadata(&socket).unwrap().is_dir());
        scratch
            .run(&["-v", "--force"])
            .exits(73)
            .says("/var/lib/differs")
            .says("/var/lib/file");
    });
}

#[test]
fn what_was_removed_after_a_good_run_is_made_again() {
    let package = Package::new("again")
        .dir("/srv/www", 0o755)
        .dir("/srv/www/htdocs", 0o2775)
        .owned("/var/lib/one", 0o711, "mail", "root")
        .dir("/var/lib/two", 0o755);
    under_each_umask(&[package], |scratch| {
        scratch.says(&[]).exits(0).status("scanned");
        scratch.says(&[]).exits(0).status("nothing-to-do");
        fs::remove_dir(scratch.at("/var/lib/one")).unwrap();
        scratch
            .says(&[])
            .exits(0)
            .status("resumed")
            .tells("/var/lib/one", "create", "");
        scratch.holds("/var/lib/one", 0o711, MAIL, 0);
        // another /srv than the one that was filled
        fs::rename(scratch.at("/srv"), scratch.at("/old-srv")).unwrap();
        fs::create_dir(scratch.at("/srv")).unwrap();
        scratch.says(&[]).exits(0);
        scratch.holds("/srv/www", 0o755, 0, 0);
        scratch.holds("/srv/www/htdocs", 0o2775, 0, 0);
        scratch.says(&[]).exits(0).status("nothing-to-do");
    });
}

#[test]
fn no_link_on_the_way_is_followed_wherever_it_leads() {
    let package = Package::new("links")
        .owned("/var/lib/inside/a", 0o777, "mail", "mail")
        .owned("/var/lib/outside/b", 0o777, "mail", "mail")
        .owned("/var/lib/service/link/c", 0o777, "mail", "mail");
    under_each_umask(&[package], |scratch| {
        let outside = tempfile::tempdir_in("/var/tmp").unwrap();
        fs::create_dir(outside.path().join("b")).unwrap();
        let before = fs::symlink_metadata(outside.path().join("b")).unwrap();
        fs::create_dir(scratch.at("/var/lib/target")).unwrap();
        symlink("target", scratch.at("/var/lib/inside")).unwrap();
        symlink(outside.path(), scratch.at("/var/lib/outside")).unwrap();
        // a directory of a service's user, who put a link to a place of root's into it
        fs::create_dir(scratch.at("/var/lib/service")).unwrap();
        std::os::unix::fs::chown(scratch.at("/var/lib/service"), Some(MAIL), Some(MAIL)).unwrap();
        symlink("../../../etc", scratch.at("/var/lib/service/link")).unwrap();
        let mut said = scratch.says(&[]).exits(0);
        for path in ["inside/a", "outside/b", "service/link/c"] {
            said = said.tells(&format!("/var/lib/{path}"), "skipped", "redirected");
        }
        drop(said);
        scratch.lacks("/var/lib/target/a");
        scratch.lacks("/etc/c");
        let after = fs::symlink_metadata(outside.path().join("b")).unwrap();
        assert_eq!((before.mode(), before.uid()), (after.mode(), after.uid()));
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    });
}

#[test]
fn what_each_boot_makes_anew_is_not_made() {
    let package = Package::new("volatile")
        .dir("/run/x", 0o755)
        .dir("/var/lock/x", 0o755)
        .dir("/var/run/x", 0o755)
        .dir("/var/running/x", 0o755);
    under_each_umask(&[package], |scratch| {
        fs::create_dir(scratch.at("/run")).unwrap();
        symlink("../run", scratch.at("/var/run")).unwrap();
        scratch
            .says(&[])
            .exits(0)
            .tells("/var/lock/x", "skipped", "volatile")
            .tells("/var/run/x", "skipped", "volatile");
        scratch.lacks("/run/x");
        scratch.lacks("/var/lock");
        scratch.holds("/var/running/x", 0o755, 0, 0);
    });
}

#[test]
fn headers_that_librpm_would_leave_out_count_and_one_that_cannot_be_read_is_named() {
    let whole = |name: &str| Package::new(name).dir(&format!("/var/lib/{name}"), 0o755);
    under_each_umask(&[], |scratch| {
        let digest = tag(273, &"0".repeat(64));
        let wrong = insert(whole("wrong-digest").header(), &digest);
        let mut broken = whole("broken").header();
        // a type that does not exist, of the third entry
        broken[8 + 16 * 2 + 7] = 99;
        let headers = [
            whole("before").header(),
            wrong,
            broken,
            whole("after").header(),
        ];
        let database = scratch.at(DATABASE).join("Packages.db");
        fs::write(&database, ndb::file(&headers)).unwrap();
        let said = scratch.says(&[]).exits(65);
        assert_eq!(said.json["summary"]["bad_packages"], 1, "{}", said.ran);
        for name in ["before", "wrong-digest", "after"] {
            scratch.holds(&format!("/var/lib/{name}"), 0o755, 0, 0);
        }
        scratch.lacks("/var/lib/broken");
        scratch.run(&["--force"]).exits(65).says("package ");
        let ran = scratch.run(&["--force", "--verify-digests"]);
        ran.exits(65).says("wrong-digest");
    });
}

#[test]
fn when_there_is_nothing_to_do_the_packages_are_not_read() {
    let packages: Vec<_> = (0..300)
        .map(|n| {
            let package = Package::new(&format!("p{n}")).dir(&format!("/var/lib/p{n}"), 0o755);
            (0..100).fold(package, |p, k| {
                p.dir(&format!("/usr/share/p{n}/{k}"), 0o755)
            })
        })
        .collect();
    under_each_umask(&packages, |scratch| {
        let size = fs::metadata(scratch.at(DATABASE).join("Packages.db"))
            .unwrap()
            .len();
        assert!(size > 1_000_000, "{size}");
        scratch.run(&[]).exits(0);
        let mut strace = command("strace");
        strace.args(["-f", "-y", "-s", "0", "-e", "trace=read,pread64,readv,mmap"]);
        strace
            .arg(CREATE_DIRS)
            .args(["-q", "--root"])
            .arg(scratch.dir.path());
        let ran = Ran::new("strace", strace.output().unwrap()).exits(0);
        let database = |l: &&str| l.contains("Packages.db");
        let calls: Vec<_> = ran.stderr.lines().filter(database).collect();
        let mapped = calls.iter().filter(|l| l.contains("mmap"));
        assert_eq!(mapped.count(), 0, "{ran}");
        let read = |l: &&str| {
            l.rsplit("= ")
                .next()
                .and_then(|n| n.trim().parse::<u64>().ok())
        };
        let reads = ran.stderr.lines().filter(|l| !l.contains("mmap"));
        let all: u64 = reads.filter_map(|l| read(&l)).sum();
        let of_database: u64 = calls.iter().filter_map(read).sum();
        assert!(
            (4096..3 * 4096).contains(&of_database),
            "{of_database}\n{ran}"
        );
        assert!(all < 200_000, "{all}\n{ran}");
    });
}

/// What lies in the directory of the database, by name.
fn beside_database(scratch: &Scratch) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(scratch.at(DATABASE)).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name()).collect();
    names.sort();
    names
}

#[test]
fn with_a_database_of_sqlite_there_is_nothing_to_do_either_until_it_is_another_one() {
    for umask in ["0000", "0022", "0027", "0077"] {
        let mut scratch = Scratch::without_database();
        scratch.umask = umask;
        fs::create_dir_all(scratch.at(DATABASE)).unwrap();
        let database = scratch.at(DATABASE).join("rpmdb.sqlite");
        fs::copy(kept("few/sqlite/rpmdb.sqlite"), &database).unwrap();
        for file in ["etc/passwd", "etc/group"] {
            let path = scratch.at(file);
            let line = match file {
                "etc/passwd" => "nosuchuser:x:77:77::/:/bin/false\n",
                _ => "nosuchuser:x:77:\n",
            };
            fs::write(&path, fs::read_to_string(&path).unwrap() + line).unwrap();
        }
        scratch
            .says(&[])
            .exits(0)
            .status("scanned")
            .tells("/var/lib/a/sub", "create", "");
        scratch.holds("/var/lib/a/sub", 0o2775, 0, MAIL);
        scratch.says(&[]).exits(0).status("nothing-to-do").only(&[]);
        // what is removed is known from before
        fs::remove_dir(scratch.at("/var/spool/pub")).unwrap();
        scratch
            .says(&[])
            .exits(0)
            .status("resumed")
            .tells("/var/spool/pub", "create", "");
        scratch.holds("/var/spool/pub", 0o1777, 0, 0);
        scratch.says(&[]).exits(0).status("nothing-to-do").only(&[]);
        assert_eq!(beside_database(&scratch), ["rpmdb.sqlite"]);
        // the same bytes in another file
        let copy = scratch.at(DATABASE).join("copy");
        fs::copy(&database, &copy).unwrap();
        fs::rename(&copy, &database).unwrap();
        scratch.says(&[]).exits(0).status("scanned");
        scratch.says(&[]).exits(0).status("nothing-to-do").only(&[]);
    }
}

#[test]
fn another_root_a_dry_run_a_check_a_list_and_json_are_there() {
    let package = Package::new("look")
        .dir("/var/lib/new", 0o755)
        .dir("/var/lib/new/in", 0o700);
    under_each_umask(&[package], |scratch| {
        for words in [&["-n"][..], &["--dry-run"]] {
            scratch
                .says(words)
                .exits(0)
                .tells("/var/lib/new", "create", "")
                .tells("/var/lib/new/in", "create", "");
            scratch
                .run(&[words, &["-v"]].concat())
                .exits(0)
                .says("/var/lib/new/in");
        }
        scratch.run(&["--check"]).exits(1);
        scratch.lacks("/var/lib/new");
        scratch.lacks(STAMP);
        let said = scratch.says(&[]).exits(0);
        for name in [
            "version", "root", "database", "status", "summary", "entries",
        ] {
            assert!(!said.json[name].is_null(), "{name}\n{}", said.ran);
        }
        scratch.holds("/var/lib/new/in", 0o700, 0, 0);
        scratch.run(&["--check"]).exits(0);
        assert!(scratch.at(STAMP).exists());
    });
}

/// A tag with one word, as an entry of the index without its place, and its data.
fn tag(number: u32, value: &str) -> (u32, Vec<u8>) {
    (number, [value.as_bytes(), &[0]].concat())
}

/// The header with this tag behind its region.
fn insert(header: Vec<u8>, (number, value): &(u32, Vec<u8>)) -> Vec<u8> {
    let word = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
    let (entries, length) = (word(0), word(4));
    let data = 8 + 16 * entries as usize;
    let more = u32::try_from(value.len()).unwrap();
    let words = |v: &[u32]| v.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<_>>();
    [
        words(&[entries + 1, length + more]),
        header[8..data].to_vec(),
        words(&[*number, 6, length, 1]),
        header[data..].to_vec(),
        value.clone(),
    ]
    .concat()
}
