//! create-dirs-from-rpmdb as a person or a program calls it: what is typed, what is told, and the exit code.

use std::path::{Path, PathBuf};

use crate::fx::{CREATE_DIRS, Machine, Ran, command, needed, require_root};

/// A system in a directory, with a database of a few packages.
struct System(tempfile::TempDir);

impl System {
    fn new() -> System {
        let system = System::bare();
        let database = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/rpmdb/few");
        system
            .bash(&format!(
                "mkdir -p usr/lib/sysimage && cp -r {database}/ndb usr/lib/sysimage/rpm"
            ))
            .succeeds();
        system
    }

    /// The same without a database.
    fn bare() -> System {
        require_root();
        let system = System(tempfile::tempdir().unwrap());
        system
            .bash(
                "mkdir -p etc var/lib srv opt; echo root:x:0:0::/:/bin/sh > etc/passwd; echo mail:x:8:8::/:/bin/sh >> etc/passwd
                 printf 'root:x:0:\\nmail:x:8:\\n' > etc/group",
            )
            .succeeds();
        system
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn bash(&self, script: &str) -> Ran {
        let mut command = command("bash");
        command
            .args(["-c", script])
            .current_dir(self.path())
            .env("HELPER", CREATE_DIRS);
        Ran::new(script, command.output().unwrap())
    }

    /// Calls the program for it with these words, split at blanks.
    fn call(&self, words: &str) -> Ran {
        self.bash(&format!("\"$HELPER\" --root . {words}"))
    }

    /// Owner, group and mode of all that is below the prefixes.
    fn found(&self) -> String {
        self.bash("find var srv opt -mindepth 1 -path var/lib/transactional-update -prune -o -printf '%p %m %u:%g\\n' | sort")
            .succeeds()
            .stdout
    }

    /// The answer in JSON to a call with these words.
    fn json(&self, words: &str, code: i32) -> serde_json::Value {
        let ran = self.call(&format!("--json {words}")).exits(code);
        serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}\n{ran}"))
    }
}

/// What is below the prefixes when all of the database was made that can be.
const MADE: &str = "\
opt/x 755 root:root
srv/x 755 root:root
var/lib 755 root:root
var/lib/a 755 root:root
var/lib/a/sub 2775 root:mail
var/lib/conf 700 mail:mail
var/lib/dangling 755 root:root
var/lib/grpw 775 root:mail
var/lib/np 755 root:root
var/lib/np/deep 755 root:root
var/lib/np/deep/dir 755 root:root
var/lib/state0 755 root:root
var/lib/unk1 755 root:root
var/lib/unk3 755 root:root
var/spool 755 root:root
var/spool/pub 1777 root:root
";

const MAKE_USER: &str = "echo nosuchuser:x:4711:4711::/:/bin/false >> etc/passwd";

/// The entry of a path in an answer.
fn entry<'a>(answer: &'a serde_json::Value, path: &str) -> &'a serde_json::Value {
    let entries = answer["entries"].as_array().unwrap();
    entries
        .iter()
        .find(|e| e["path"] == path)
        .unwrap_or_else(|| panic!("{path} is not in {answer:#}"))
}

#[test]
fn a_command_line_that_is_not_understood_ends_with_64_and_changes_nothing() {
    let system = System::new();
    let before = system.found();
    for words in [
        "--no-such-option",
        "word",
        "--prefix var",
        "--prefix /",
        "--exclude-prefix /var/../etc",
        "--quiet --verbose",
        "--root",
        "--fix",
    ] {
        let ran = system.call(words).exits(64);
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{ran}");
    }
    let ran = system.bash("\"$HELPER\" --root ./nowhere").exits(64);
    ran.says("--root ./nowhere: No such file");
    assert_eq!(system.found(), before);
}

#[test]
fn help_version_and_usage_are_answers_and_not_failures() {
    let system = System::bare();
    for (words, says) in [
        ("-h", "--verify-digests"),
        ("--help", "73 some could not be made"),
        ("-V", "create-dirs-from-rpmdb 0."),
        ("--version", "create-dirs-from-rpmdb 0."),
        ("--usage", "Usage: create-dirs-from-rpmdb"),
    ] {
        let ran = system.call(words).succeeds();
        assert!(ran.stdout.contains(says) && ran.stderr.is_empty(), "{ran}");
    }
}

#[test]
fn each_problem_has_a_line_and_all_of_it_one_more() {
    let system = System::new();
    let ran = system.call("").exits(65);
    assert_eq!(system.found(), MADE);
    assert_eq!(ran.stdout, "", "{ran}");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let [conflict, first, second, sum] = lines[..] else {
        panic!("{ran}");
    };
    assert!(conflict.starts_with("Warning: "), "{ran}");
    for word in ["/var/lib/conf", "two-owners-1-1-1", "two-owners-2-1-1"] {
        assert!(conflict.contains(word), "{ran}");
    }
    assert!(
        first.starts_with("Warning: /var/lib/unk2 has to wait: ")
            && first.contains("nosuchuser")
            && first.ends_with(" (unknown-user-1-1.noarch)"),
        "{ran}"
    );
    assert!(
        second.starts_with("Warning: /var/lib/unk2/in has to wait: "),
        "{ran}"
    );
    assert!(
        sum.starts_with("Directories of packages: 15 made, 2 deferred, 0 failed, 0 differing, "),
        "{ran}"
    );
    assert!(
        sum.contains("0 unreadable packages; ") && sum.ends_with(" ms"),
        "{ran}"
    );
    // the same again is still told, but nothing is made
    system.call("").exits(65).says("0 made, 2 deferred");
    system.bash(MAKE_USER).succeeds();
    system.call("").succeeds().says("2 made, 0 deferred");
    let ran = system.call("").succeeds();
    assert_eq!(
        ran.stderr, "The directories of all packages are there\n",
        "{ran}"
    );
}

#[test]
fn quiet_tells_problems_only_and_verbose_each_directory_that_is_made_or_left_out() {
    let system = System::new();
    let ran = system
        .call("--quiet")
        .exits(65)
        .does_not_say("Directories of");
    assert!(
        ran.stderr.lines().all(|l| l.starts_with("Warning: ")),
        "{ran}"
    );
    let system = System::new();
    let ran = system
        .call("-v")
        .exits(65)
        .says("\nCreate /var/lib/a/sub (plain-1-1.noarch)\n");
    let ran = ran.says("\nCreate /var/lib/np: no package owns it");
    assert_eq!(
        ran.stderr
            .lines()
            .filter(|l| l.starts_with("Create "))
            .count(),
        15,
        "{ran}"
    );
    ran.says("/var/lib/ghost is left out: ")
        .says("/var/lib/state4 is left out: ")
        .does_not_say("is as it should be");
    system
        .call("--debug --force")
        .exits(65)
        .says("\n/var/lib/a/sub is as it should be (plain-1-1.noarch)\n")
        .says("Asked for: ");
}

#[test]
fn a_dry_run_tells_what_it_would_make_and_makes_nothing_and_a_check_fails_while_something_is_missing()
 {
    let system = System::new();
    system.bash(MAKE_USER).succeeds();
    let everything = "find . | sort";
    let before = system.bash(everything).stdout;
    let dry = system
        .call("-n")
        .exits(0)
        .says("Create /var/lib/unk2/in (unknown-user-1-1.noarch)\n");
    dry.says("Directories of packages: 17 to make, 0 deferred");
    system.call("--check -q").exits(1);
    let checked = system.json("--check", 1);
    assert_eq!(checked["dry_run"], true);
    assert_eq!(checked["summary"]["made"], 17);
    assert_eq!(system.bash(everything).stdout, before);
    system.call("-q").succeeds();
    system.call("--check").succeeds();
    system.bash("rmdir var/lib/a/sub").succeeds();
    system
        .call("--check")
        .exits(1)
        .says("Create /var/lib/a/sub");
    system
        .bash("[ ! -e var/lib/a/sub ] && mkdir -m 700 var/lib/a/sub")
        .succeeds();
    // it is there, if otherwise than its package wants it
    system
        .call("--check --verbose --force")
        .succeeds()
        .says("/var/lib/a/sub is not as its package wants it");
}

#[test]
fn json_says_of_every_directory_what_became_of_it_and_standard_output_holds_nothing_else() {
    let system = System::new();
    system
        .bash("mkdir -m 700 var/lib/grpw; touch var/lib/unk3; ln -s nowhere var/lib/dangling")
        .succeeds();
    let answer = system.json("", 73);
    assert_eq!(answer["version"], 1);
    assert_eq!(answer["status"], "scanned");
    let root = system.path().canonicalize().unwrap();
    assert_eq!(answer["root"], root.to_str().unwrap());
    assert_eq!(answer["database"]["backend"], "ndb");
    let database = answer["database"]["path"].as_str().unwrap();
    assert!(
        database.contains("usr/lib/sysimage/rpm/Packages.db"),
        "{database}"
    );
    for (path, action, reason, mode, owner) in [
        ("/var/lib/a/sub", "create", None, "2775", "root:mail"),
        (
            "/var/lib/np",
            "create",
            Some("implied"),
            "0755",
            "root:root",
        ),
        ("/var/lib/grpw", "differs", None, "0775", "root:mail"),
        (
            "/var/lib/unk2",
            "deferred",
            Some("unknown-user"),
            "0755",
            "nosuchuser:root",
        ),
        (
            "/var/lib/unk2/in",
            "deferred",
            Some("below-deferred"),
            "0755",
            "root:root",
        ),
        (
            "/var/lib/unk3",
            "failed",
            Some("blocked"),
            "0755",
            "root:root",
        ),
        (
            "/var/lib/dangling",
            "skipped",
            Some("redirected"),
            "0755",
            "root:root",
        ),
        (
            "/var/lib/ghost",
            "skipped",
            Some("ghost"),
            "0755",
            "root:root",
        ),
        (
            "/var/lib/state2",
            "skipped",
            Some("not-installed"),
            "0755",
            "root:root",
        ),
        ("/var/lib/conf", "create", None, "0700", "mail:mail"),
    ] {
        let entry = entry(&answer, path);
        let (user, group) = owner.split_once(':').unwrap();
        assert_eq!(
            (
                &entry["action"],
                entry["reason"].as_str(),
                &entry["mode"],
                &entry["user"],
                &entry["group"]
            ),
            (
                &action.into(),
                reason,
                &mode.into(),
                &user.into(),
                &group.into()
            ),
            "{path}"
        );
        // an entry says more where something is wrong with it
        if ["deferred", "failed", "differs"].contains(&action) {
            assert!(entry["error"].is_string(), "{entry}");
        }
    }
    assert_eq!(
        entry(&answer, "/var/lib/conf")["packages"],
        serde_json::json!(["two-owners-2-1-1.noarch", "two-owners-1-1-1.noarch"])
    );
    let sum = &answer["summary"];
    assert_eq!(
        (
            &sum["differing"],
            &sum["deferred"],
            &sum["failed"],
            &sum["bad_packages"]
        ),
        (&1.into(), &2.into(), &1.into(), &0.into()),
        "{sum}"
    );
    let entries = answer["entries"].as_array().unwrap();
    let counted: u64 = [
        "made",
        "existing",
        "differing",
        "deferred",
        "failed",
        "skipped",
    ]
    .iter()
    .map(|name| sum[*name].as_u64().unwrap())
    .sum();
    assert_eq!(counted, entries.len() as u64);
    let paths: Vec<&str> = entries
        .iter()
        .map(|e| e["path"].as_str().unwrap())
        .collect();
    assert!(paths.is_sorted(), "{paths:?}");
}

#[test]
fn no_database_is_no_failure_and_one_that_cannot_be_read_is_66() {
    let system = System::bare();
    system.call("").succeeds().says("There is no RPM database");
    assert_eq!(system.json("", 0)["status"], "no-database");
    system
        .bash("mkdir -p usr/lib/sysimage/rpm; head -c 9000 /dev/urandom > usr/lib/sysimage/rpm/rpmdb.sqlite")
        .succeeds();
    let ran = system.call("").exits(66);
    assert!(ran.stderr.starts_with("Error: the RPM database "), "{ran}");
    let ran = ran.says("usr/lib/sysimage/rpm");
    assert_eq!(ran.stdout, "");
    let answer = system.json("--quiet", 66);
    assert_eq!(answer["status"], "unreadable");
    assert_eq!(answer["entries"], serde_json::json!([]));
    assert_eq!(system.found(), "var/lib 755 root:root\n");
}

#[test]
fn the_configuration_says_where_and_options_take_its_place() {
    let system = System::new();
    system.bash(MAKE_USER).succeeds();
    let configure = |text: &str| {
        std::fs::write(system.path().join("etc/transactional-update.conf"), text).unwrap();
    };
    configure(
        "CREATE_DIRS_PREFIXES='/opt /var/lib'\nCREATE_DIRS_EXCLUDE=/var/lib/np\nCREATE_DIRS_GHOST=yes\n",
    );
    let answer = system.json("-n", 0);
    for path in ["/opt/x", "/var/lib/a", "/var/lib/ghost"] {
        assert_eq!(entry(&answer, path)["action"], "create", "{path}");
    }
    let paths = |answer: &serde_json::Value| -> Vec<PathBuf> {
        let entries = answer["entries"].as_array().unwrap().iter();
        let made = entries.filter(|e| e["action"] == "create");
        made.map(|e| e["path"].as_str().unwrap().into()).collect()
    };
    let made = paths(&answer);
    assert!(
        !made.iter().any(|p| p.starts_with("/srv")
            || p.starts_with("/var/spool")
            || p.starts_with("/var/lib/np")),
        "{made:?}"
    );
    assert_eq!(
        paths(&system.json("-n --prefix /srv/ --prefix /var/lib/np", 0)),
        [Path::new("/srv/x")]
    );
    assert_eq!(
        paths(&system.json("-n --prefix /srv --prefix /opt --exclude-prefix /opt", 0)),
        [Path::new("/srv/x")]
    );
}

#[test]
fn a_mistake_in_the_configuration_is_told_and_at_boot_stops_nothing() {
    let system = System::new();
    system.bash(MAKE_USER).succeeds();
    std::fs::write(system.path().join("etc/tukit.conf"), "nonsense\n").unwrap();
    let file = system.path().join("etc/transactional-update.conf");
    std::fs::write(&file, "CREATE_DIRS_GHOST=maybe\n").unwrap();
    system
        .call("")
        .exits(1)
        .says("transactional-update.conf:1: CREATE_DIRS_GHOST is either on or off");
    assert_eq!(system.found(), "var/lib 755 root:root\n");
    system
        .call("--boot")
        .succeeds()
        .says("Warning: ")
        .says("transactional-update.conf:1: CREATE_DIRS_GHOST is either on or off")
        .says("17 made");
    assert!(!system.path().join("var/lib/ghost").exists());
    // the other file is none of its business
    std::fs::write(&file, "CREATE_DIRS_GHOST=yes\n").unwrap();
    system.call("").succeeds().says(": 1 made");
    assert!(system.path().join("var/lib/ghost").exists());
}

#[test]
fn lines_for_the_journal_begin_with_their_priority_and_others_do_not() {
    let system = System::new();
    let to = |stream: &str| {
        system
            .bash(&format!(
                "rm -rf var/lib/transactional-update; exec 2> said; export JOURNAL_STREAM={stream}; \"$HELPER\" --root . -v"
            ))
            .exits(65);
        std::fs::read_to_string(system.path().join("said")).unwrap()
    };
    let said = to("$(stat -Lc %d:%i /dev/stderr)");
    let begins = |priority: &str, what: &str| {
        let found = said
            .lines()
            .find_map(|l| l.strip_prefix(priority).filter(|l| l.contains(what)));
        assert!(found.is_some(), "{priority}{what}: {said}");
    };
    begins("<4>", "/var/lib/unk2 has to wait");
    begins("<7>", "Create /var/lib/a");
    begins("<6>", "Directories of packages");
    let said = to("1:1");
    assert!(
        !said.contains('<') && said.contains("Directories of packages"),
        "{said}"
    );
}

#[test]
fn it_is_installed_under_both_names_with_its_unit_linked_to_every_boot() {
    let machine = Machine::new();
    machine.install();
    let tree = machine.dir().join("installed/usr");
    let link = |path: &str| std::fs::read_link(tree.join(path)).unwrap();
    let wants = "lib/systemd/system/sysinit.target.wants/create-dirs-from-rpmdb.service";
    assert_eq!(
        link("sbin/create_dirs_from_rpmdb"),
        Path::new("create-dirs-from-rpmdb")
    );
    assert_eq!(link(wants), Path::new("../create-dirs-from-rpmdb.service"));
    machine
        .boot("create_dirs_from_rpmdb --version && systemd-analyze --man=no verify create-dirs-from-rpmdb.service")
        .succeeds()
        .says("create-dirs-from-rpmdb 0.")
        .does_not_say("create-dirs-from-rpmdb.service:");
}

#[test]
fn it_starts_where_librpm_and_libbtrfsutil_are_broken() {
    let needed = needed(CREATE_DIRS);
    assert_eq!(needed, ["libc.so.6", "libgcc_s.so.1", "libsqlite3.so.0"]);
    let machine = Machine::new();
    machine
        .boot(
            "for l in rpm rpmio btrfsutil; do for f in /usr/lib/*/lib$l.so.*; do mount --bind /dev/null $f; done; done
             ! rpm -qa 2>/dev/null && create-dirs-from-rpmdb",
        )
        .succeeds();
}
