//! The program `sysupdate` removes what no transfer owns any more, and nothing else.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sha2::{Digest, Sha256};

use crate::fx::{command, failpoints, require_root};
use crate::sysupdate::PROGRAM;

const DATABASE: &str = "var/lib/systemd/sysupdate/installdb";

/// A system whose versions come from a directory.
struct System(tempfile::TempDir);

impl System {
    /// With versions 1 and 2 installed by a transfer to /images.
    fn new() -> System {
        require_root();
        let system = System(tempfile::tempdir().unwrap());
        system.write("etc/os-release", "ID=test\n");
        fs::create_dir(system.path("run")).unwrap();
        for version in ["1", "2"] {
            system.write(&format!("src/os_{version}"), version);
        }
        system.transfer("", "a", "/images", "os_@v");
        system.ok(&["update", "1"]);
        system.ok(&["update"]);
        assert_eq!(system.names("images"), ["os_1", "os_2"]);
        system
    }

    fn transfer(&self, component: &str, id: &str, path: &str, patterns: &str) {
        self.write(
            &format!("etc/sysupdate{component}.d/{id}.transfer"),
            &format!(
                "[Source]\nType=regular-file\nPath=/src\nMatchPattern=os_@v\n[Target]\nType=regular-file\nPath={path}\nMatchPattern={patterns}\n"
            ),
        );
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut program = command(PROGRAM);
        program.arg(format!("--root={}", self.0.path().display()));
        program.args(words);
        program
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// What it told.
    #[track_caller]
    fn ok(&self, words: &[&str]) -> String {
        let out = self.run(words);
        assert!(out.status.success(), "{words:?}: {out:?}");
        String::from_utf8(out.stderr).unwrap()
    }

    #[track_caller]
    fn fails(&self, words: &[&str], with: &str) {
        let out = self.run(words);
        let told = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{words:?}: {told}");
        assert!(told.contains(with), "{words:?}: {told}");
    }

    /// The names in a directory; none where there is no directory.
    fn names(&self, dir: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(dir)).into_iter().flatten();
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// The texts of the entries of a database, each of which has the name that belongs to it.
    fn entries(&self, database: &str) -> Vec<String> {
        let texts = self.names(database).into_iter().map(|name| {
            let text = fs::read_link(self.path(database).join(&name)).unwrap();
            assert_eq!(name, digest(text.as_os_str().as_bytes()));
            text.into_os_string().into_string().unwrap()
        });
        let mut texts: Vec<String> = texts.collect();
        texts.sort();
        texts
    }

    /// An entry with this text.
    fn entry(&self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        let target = std::ffi::OsStr::from_bytes(text);
        symlink(target, self.path(DATABASE).join(digest(text))).unwrap();
    }
}

fn digest(text: &[u8]) -> String {
    let digest = Sha256::digest(text);
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn what_was_installed_is_removed_when_no_transfer_owns_it_and_its_entry_goes_with_it() {
    let system = System::new();
    assert_eq!(system.entries(DATABASE), ["/images/./os_@v"]);
    let before = system.ok(&["cleanup"]);
    assert!(!before.contains("removed"), "{before}");
    assert_eq!(system.entries(DATABASE), ["/images/./os_@v"]);
    system.transfer("", "a", "/images", "sub/new_@v new-@v");
    system.write("images/other", "x");
    system.write("images/.sysupdate.pending.os_7", "x");
    fs::create_dir(system.path("images/os_8")).unwrap();
    symlink("other", system.path("images/os_9")).unwrap();
    system.ok(&["acquire"]);
    // what is only acquired is not installed
    assert_eq!(system.entries(DATABASE), ["/images/./os_@v"]);
    system.ok(&["update"]);
    let all = [
        "/images/./new-@v",
        "/images/./os_@v",
        "/images/./sub/new_@v",
    ];
    assert_eq!(system.entries(DATABASE), all);
    let dry = system.run(&["cleanup", "--dry-run", "--json=short"]);
    let plan: serde_json::Value = serde_json::from_slice(&dry.stdout).unwrap();
    let shown = |name: &str| system.path("images").join(name).display().to_string();
    let gone = [
        (".sysupdate.pending.os_7", "7"),
        ("os_1", "1"),
        ("os_2", "2"),
        ("os_8", "8"),
    ];
    let remove = gone.map(|(name, version)| {
        serde_json::json!({"version": version, "transfer": null, "path": shown(name)})
    });
    let none = serde_json::json!([]);
    assert_eq!(
        plan,
        serde_json::json!({"version": null, "remove": remove, "acquire": none, "install": none})
    );
    let told = system.ok(&["update", "--cleanup=yes", "--dry-run"]);
    assert!(
        told.contains(&format!("Would remove '{}'.", shown("os_1"))),
        "{told}"
    );
    assert_eq!(system.entries(DATABASE), all);
    assert!(!system.ok(&["update"]).contains("removed"));
    assert!(system.path("images/os_1").exists());
    // also when there is nothing to update
    let told = system.ok(&["update", "--cleanup=yes"]);
    assert!(told.contains("No update needed."), "{told}");
    for (name, _) in gone {
        let line = format!(
            "Successfully removed '{}' which is no longer owned by any transfer files.",
            shown(name)
        );
        assert!(told.contains(&line), "{told}");
    }
    assert_eq!(system.names("images"), ["os_9", "other", "sub"]);
    assert_eq!(system.names("images/sub"), ["new_2"]);
    assert_eq!(system.entries(DATABASE), ["/images/./sub/new_@v"]);
}

#[test]
fn what_is_protected_or_shown_to_stays_and_so_does_what_a_transfer_owns_by_another_path() {
    let system = System::new();
    system.write("images/os_3", "3");
    symlink("os_2", system.path("images/current")).unwrap();
    let text = "[Transfer]\nProtectVersion=3\n[Source]\nType=regular-file\nPath=/src\nMatchPattern=os_@v\n\
                [Target]\nType=regular-file\nPath=/images\nMatchPattern=new_@v\nCurrentSymlink=current\n";
    system.write("etc/sysupdate.d/a.transfer", text);
    system.ok(&["cleanup"]);
    assert_eq!(system.names("images"), ["current", "os_2", "os_3"]);
    assert_eq!(system.entries(DATABASE), ["/images/./os_@v"]);
    // the same directory, behind a link
    symlink("images", system.path("link")).unwrap();
    system.transfer("", "a", "/link", "os_@v");
    fs::remove_file(system.path("images/current")).unwrap();
    system.ok(&["cleanup"]);
    assert_eq!(system.names("images"), ["os_2", "os_3"]);
    // a directory with something that is owned
    system.entry("/images/./d_@v");
    system.write("images/d_1/os_4", "4");
    system.write("images/d_2/x", "x");
    system.transfer("", "b", "/images/d_1", "os_@v");
    system.ok(&["cleanup"]);
    assert_eq!(system.names("images"), ["d_1", "os_2", "os_3"]);
    // a transfer that takes no part owns nothing
    let feature = "[Transfer]\nFeatures=off\n[Source]\nType=regular-file\nPath=/src\nMatchPattern=os_@v\n[Target]\nType=regular-file\nPath=/link\n";
    system.write("etc/sysupdate.d/a.transfer", feature);
    system.ok(&["cleanup"]);
    assert_eq!(system.names("images"), ["d_1"]);
}

#[test]
fn what_a_transfer_of_another_collection_owns_stays() {
    let system = System::new();
    // it was moved to a component, with its link
    fs::remove_file(system.path("etc/sysupdate.d/a.transfer")).unwrap();
    system.transfer(".moved", "a", "/images", "os_@v");
    system.ok(&["cleanup"]);
    assert_eq!(system.names("images"), ["os_1", "os_2"]);
    assert_eq!(system.entries(DATABASE), ["/images/./os_@v"]);
    system.ok(&["-A", "cleanup"]);
    assert_eq!(system.names("images"), ["os_1", "os_2"]);
    // it has another name there, and its link still shows to the old one
    let text = fs::read_to_string(system.path("etc/sysupdate.moved.d/a.transfer")).unwrap();
    let renamed = text.replace(
        "MatchPattern=os_@v\n[Target]",
        "MatchPattern=os_@v\n[Target]\nCurrentSymlink=current",
    );
    let (source, target) = renamed.split_at(renamed.find("[Target]").unwrap());
    let target = target.replace("MatchPattern=os_@v", "MatchPattern=new_@v");
    system.write(
        "etc/sysupdate.moved.d/a.transfer",
        &(source.to_owned() + &target),
    );
    symlink("os_1", system.path("images/current")).unwrap();
    system.ok(&["cleanup"]);
    assert_eq!(system.names("images"), ["current", "os_1"]);
    fs::remove_file(system.path("images/current")).unwrap();
    // what cannot be read may own anything
    system.write("etc/sysupdate.bad.d/a.transfer", "[Source]\nType=none\n");
    system.fails(&["cleanup"], "component 'bad': looking for what it owns");
    fs::remove_file(system.path("etc/sysupdate.bad.d/a.transfer")).unwrap();
    fs::remove_file(system.path("etc/sysupdate.moved.d/a.transfer")).unwrap();
    system.ok(&["cleanup"]);
    assert!(system.names("images").is_empty());
}

#[test]
fn without_definitions_only_the_command_itself_cleans_up_and_one_that_is_refused_keeps_all() {
    let system = System::new();
    system.transfer(".part", "p", "/parts", "p_@v");
    system.transfer(".off", "p", "/off", "o_@v");
    system.ok(&["-A", "update"]);
    system.write("etc/sysupdate.off.component", "[Component]\nEnabled=no\n");
    assert_eq!(
        system.entries(&format!("{DATABASE}.part")),
        ["/parts/./p_@v"]
    );
    let rest = |system: &System| ["images", "parts", "off"].map(|dir| system.names(dir).len());
    fs::remove_file(system.path("etc/sysupdate.d/a.transfer")).unwrap();
    fs::remove_file(system.path("etc/sysupdate.part.d/p.transfer")).unwrap();
    system.fails(
        &["update", "--cleanup=yes"],
        "No transfer definitions found.",
    );
    system.fails(
        &["-A", "update", "--cleanup=yes"],
        "No transfer definitions for component 'part' found.",
    );
    assert_eq!(rest(&system), [2, 1, 1]);
    system.write("etc/sysupdate.d/bad.transfer", "[Source]\nType=none\n");
    system.fails(&["cleanup"], "Source Type= must be one of");
    // it might own what the others have
    system.fails(
        &["-A", "cleanup"],
        "what has no component: looking for what it owns",
    );
    assert_eq!(rest(&system), [2, 1, 1]);
    fs::remove_file(system.path("etc/sysupdate.d/bad.transfer")).unwrap();
    system.ok(&["cleanup"]);
    assert_eq!(rest(&system), [0, 1, 1]);
    // of a component, nothing but its database may be left
    fs::rename(system.path("etc/sysupdate.off.d"), system.path("etc/gone")).unwrap();
    system.ok(&["-A", "cleanup"]);
    assert_eq!(rest(&system), [0, 0, 0]);
    for (words, with) in [
        (
            &["cleanup", "--cleanup=no"][..],
            "is contradictory, refusing.",
        ),
        (&["vacuum", "--cleanup=no"], "may only be used with update."),
        (
            &["acquire", "--cleanup=yes"],
            "may only be used with update.",
        ),
        (&["update", "--cleanup=x"], "Failed to parse --cleanup="),
        (&["cleanup", "1"], "Too many arguments."),
    ] {
        system.fails(words, with);
    }
    system.ok(&["cleanup", "--cleanup=yes"]);
}

#[test]
fn a_failed_update_cleans_nothing_up() {
    let system = System::new();
    system.transfer("", "a", "/images", "new_@v");
    system.fails(&["update", "7", "--cleanup=yes"], "Update '7' not found.");
    assert_eq!(system.names("images"), ["os_1", "os_2"]);
}

#[test]
fn what_is_no_entry_is_expunged_and_leads_nowhere() {
    let system = System::new();
    let long = [b"/images/./x_@v".as_slice(), &[b'x'; 4000]].concat();
    let bad: [&[u8]; 8] = [
        b"/images/../etc/./x_@v",
        b"/images/./../etc/x_@v",
        b"/images/.//etc/x_@v",
        b"/./x_@v",
        b"images/./x_@v",
        b"/images/./**/x_@v",
        b"/images/./x_\xff@v",
        &long,
    ];
    for text in bad {
        system.entry(text);
    }
    let stray = system.path(DATABASE).join("abcd");
    symlink("/images/./x_@v", &stray).unwrap();
    system.write(&format!("{DATABASE}/file"), "x");
    for path in ["x_1", "etc/x_1", "images/x_1", "images/sub/x_1", "real/x_1"] {
        system.write(path, "x");
    }
    // a link on the way, and one in place of the directory
    symlink("real", system.path("away")).unwrap();
    system.entry("/away/./x_@v");
    let told = system.ok(&["cleanup"]);
    assert_eq!(told.matches("expunging").count(), 8, "{told}");
    assert!(told.contains("a symbolic link is on the way"), "{told}");
    assert!(
        told.contains("file is no entry of the install database"),
        "{told}"
    );
    for path in ["x_1", "etc/x_1", "images/x_1", "images/sub/x_1", "real/x_1"] {
        assert!(system.path(path).exists(), "{path}: {told}");
    }
    fs::remove_file(system.path(DATABASE).join("file")).unwrap();
    assert_eq!(
        system.entries(DATABASE),
        ["/away/./x_@v", "/images/./os_@v"]
    );
    // too many of them
    for number in 0..4096 {
        system.entry(format!("/images/./x{number}_@v"));
    }
    system.fails(&["cleanup"], "has more than 4096 entries");
    // the database itself behind a link
    fs::rename(system.path(DATABASE), system.path("elsewhere")).unwrap();
    symlink("/elsewhere", system.path(DATABASE)).unwrap();
    system.fails(&["cleanup"], "reading the install database");
    system.write("src/os_3", "3");
    system.fails(&["update"], "writing to the install database");
    assert!(!system.path("images/os_3").exists());
}

#[test]
fn cleaning_up_that_is_killed_at_any_step_is_finished_by_the_next_one() {
    let before = || {
        let system = System::new();
        system.transfer("", "a", "/new", "new_@v new-@v");
        system.ok(&["update"]);
        system
    };
    let is_done = |system: &System| {
        assert_eq!(system.names("new"), ["new_2"]);
        system.names("images").is_empty() && system.entries(DATABASE) == ["/new/./new_@v"]
    };
    let system = before();
    let log = system.path("log");
    let mut logged = system.command(&["cleanup"]);
    logged.env("TU_FAILPOINTS", format!("*=log:{}", log.display()));
    assert!(logged.status().unwrap().success() && is_done(&system));
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for step in failpoints()
        .iter()
        .filter(|n| n.starts_with("sysupdate-cleanup-"))
    {
        assert!(lines.contains(&step.as_str()), "{step}: {text}");
    }
    for (at, name) in lines.iter().enumerate() {
        let number = lines[..=at].iter().filter(|other| other == &name).count();
        let system = before();
        let mut killed = system.command(&["cleanup"]);
        killed.env("TU_FAILPOINTS", format!("{name}@{number}=kill"));
        assert_eq!(killed.output().unwrap().status.signal(), Some(9), "{name}");
        // as long as anything is there, so is its entry
        let has_entry = system
            .entries(DATABASE)
            .contains(&"/images/./os_@v".to_owned());
        assert!(
            has_entry || system.names("images").is_empty(),
            "{name}@{number}"
        );
        system.ok(&["cleanup"]);
        assert!(is_done(&system), "{name}@{number}");
    }
}

#[test]
fn the_entry_is_there_before_anything_has_its_name() {
    let system = System::new();
    system.transfer("", "a", "/new", "new_@v");
    let mut killed = system.command(&["update"]);
    killed.env("TU_FAILPOINTS", "sysupdate-recorded=kill");
    assert_eq!(killed.output().unwrap().status.signal(), Some(9));
    assert_eq!(system.names("new"), [".sysupdate.pending.new_2"]);
    assert!(
        system
            .entries(DATABASE)
            .contains(&"/new/./new_@v".to_owned())
    );
    // another text under its name is none
    let entry = Path::new(DATABASE).join(digest(b"/new/./new_@v"));
    let entry = system.path(entry.to_str().unwrap());
    fs::remove_file(&entry).unwrap();
    symlink("/etc/./new_@v", &entry).unwrap();
    system.ok(&["update"]);
    assert_eq!(fs::read_link(&entry).unwrap(), Path::new("/new/./new_@v"));
    assert_eq!(system.names("new"), ["new_2"]);
}
