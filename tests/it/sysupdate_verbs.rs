//! The program `sysupdate`: what it does with several collections, and how it goes back.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use crate::fx::{command, failpoints};
use crate::sysupdate_update::{Site, image};

/// A site with a component that has files of its own.
fn with_component(site: &mut Site, name: &str) {
    let text = format!(
        "Type=url-file\nMatchPattern={name}_@v\n[Target]\nType=regular-file\nPath=/{name}\nMatchPattern={name}_@v\n"
    );
    site.transfer_in(&format!("sysupdate.{name}.d"), "part", &text);
    site.put(&format!("{name}_7"), image(name, 1000));
}

#[test]
fn all_collections_are_updated_but_disabled_ones_and_one_that_fails_keeps_none_from_it() {
    let mut site = Site::with(&["1"], "2");
    for name in ["bad", "good", "off"] {
        with_component(&mut site, name);
    }
    site.write("etc/sysupdate.off.component", "[Component]\nEnabled=no\n");
    site.promise("bad_7", &"0".repeat(64));
    let out = site.run(&["update", "-A", "--dry-run", "--json=short"]);
    let plans: Vec<serde_json::Value> = String::from_utf8_lossy(&out.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |plan: &serde_json::Value| (plan["component"].clone(), plan["version"].clone());
    assert_eq!(
        plans.iter().map(of).collect::<Vec<_>>(),
        [
            (serde_json::Value::Null, "2".into()),
            ("bad".into(), "7".into()),
            ("good".into(), "7".into())
        ]
    );
    let told = site.fails(
        &["update", "--component-all"],
        "Not updated: component 'bad'.",
    );
    assert!(
        told.contains("Skipping component 'off': it is disabled."),
        "{told}"
    );
    assert!(told.contains("does not match"), "{told}");
    site.has_only(&["1", "2"]);
    let there = |path: &str| site.path(path).exists();
    assert!(there("good/good_7") && !there("bad/bad_7") && !there("off"));
    // VERSION is that of each; the others have none of it
    let told = site.fails(&["acquire", "-A", "2"], "Update '2' not found.");
    assert!(told.contains("already installed"), "{told}");
}

#[test]
fn without_anything_that_has_no_component_the_components_are_updated_and_nothing_at_all_is_no_failure()
 {
    let mut site = Site::new();
    fs::rename(site.path("etc/sysupdate.d"), site.path("etc/elsewhere")).unwrap();
    assert!(
        site.ok(&["update", "-A"])
            .contains("No transfer definitions found.")
    );
    with_component(&mut site, "good");
    site.ok(&["acquire", "-A"]);
    assert!(site.path("good/.sysupdate.pending.good_7").exists());
    site.ok(&["update", "-A", "--offline"]);
    assert!(site.path("good/good_7").exists());
    // one without anything that could be updated is one that fails
    site.write("etc/sysupdate.empty.d/x.feature", "[Feature]\n");
    site.fails(
        &["update", "-A"],
        "No transfer definitions for component 'empty' found.",
    );
}

/// The files in a directory; none when there is no directory.
fn names(dir: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn what_is_received_is_kept_where_it_is_wanted_or_not_at_all() {
    let keep = tempfile::tempdir().unwrap();
    let spool = format!("--spool={}", keep.path().display());
    fs::write(keep.path().join("of somebody"), "x").unwrap();
    // most of the image has come then
    let point = "sysupdate-writing@450=kill";
    for (option, is_kept) in [(spool.as_str(), true), ("--spool=no", false)] {
        let mut site = Site::new();
        site.length = 8 << 20;
        site.offer("2");
        let update = ["update", "--jobs=1", option];
        let killed = site.command(&update).env("TU_FAILPOINTS", point).output();
        assert_eq!(killed.unwrap().status.signal(), Some(9));
        let usual = site.path("var/lib/transactional-update/sysupdate/spool");
        let is_record = |name: &String| name.ends_with(".json");
        let kept = names(keep.path()).iter().any(is_record);
        assert_eq!(
            (kept, names(&usual).iter().any(is_record)),
            (is_kept, false)
        );
        let before = site.server.seen().len();
        site.ok(&update);
        let seen = site.server.seen();
        let goes_on = seen[before..].iter().any(crate::sysupdate_update::goes_on);
        assert_eq!(goes_on, is_kept, "{option}");
        site.has_only(&["2"]);
        assert_eq!(names(keep.path()), ["of somebody"]);
    }
    let site = Site::with(&[], "1");
    fs::write(keep.path().join("0".repeat(64)), "x").unwrap();
    site.ok(&["vacuum", "--spool=no"]);
    assert_eq!(names(keep.path()).len(), 2);
    site.ok(&["vacuum", &spool]);
    assert_eq!(names(keep.path()), ["of somebody"]);
    let told = site.ok(&["update", "--spool=/tmp"]);
    assert!(
        told.contains("cannot be kept in /tmp: others can write there"),
        "{told}"
    );
}

impl Site {
    /// What the link shows to, and the entries of the boot loader.
    fn used(&self) -> String {
        let link = fs::read_link(self.path("images/current.raw")).unwrap();
        let mut entries = names(&self.path("boot"));
        entries.sort();
        format!("{} {}", link.display(), entries.join(" "))
    }

    /// Standard output of check-new.
    fn candidate(&self) -> String {
        String::from_utf8(self.run(&["check-new"]).stdout).unwrap()
    }

    /// Whether these versions have all their bytes, whatever their entries are called.
    fn has_whole(&self, versions: &[&str]) -> bool {
        versions.iter().all(|version| {
            let is_entry = |name: &String| name.starts_with(&format!("os_{version}+"));
            let entries = names(&self.path("boot"));
            let entry = entries.iter().find(|name| is_entry(name));
            let entry = entry.map(|name| fs::read(self.path(&format!("boot/{name}"))).unwrap());
            let raw = fs::read(self.path(&format!("images/os_{version}.raw")));
            self.path(&format!("trees/tree_{version}/usr/file"))
                .exists()
                && raw.is_ok_and(|bytes| bytes == image(version, self.length))
                && entry == Some(image(version, 3000))
        })
    }
}

const BACK: &str = "os_1.raw os_1+3-0.efi os_2+0-0.efi";

#[test]
fn after_going_back_nothing_is_gone_and_the_version_is_used_again_only_when_it_is_asked_for() {
    let mut site = Site::with(&["1", "2"], "");
    let used = site.used();
    let out = site.run(&["rollback", "--dry-run", "--json=short"]);
    let plan: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let shown = |path: &str| serde_json::Value::from(site.path(path).display().to_string());
    assert_eq!(
        (
            &plan["version"],
            &plan["hold"],
            &plan["link"][0]["target"],
            &plan["rename"][0]["target"]
        ),
        (
            &"1".into(),
            &serde_json::json!(["2"]),
            &shown("images/os_1.raw"),
            &shown("boot/os_2+0-0.efi")
        )
    );
    assert_eq!((site.used(), site.left().len()), (used, 7));
    let told = site.ok(&["rollback"]);
    assert!(
        told.contains("Version '2' is held") && told.contains("Version '1' is the current one."),
        "{told}"
    );
    assert_eq!(site.used(), BACK);
    assert!(site.has_whole(&["1", "2"]));
    site.fails(
        &["rollback"],
        "No version that is older than '1' is installed as a whole",
    );
    // it would be an update if it were not held
    assert!(site.ok(&["update"]).contains("No update needed."));
    assert_eq!(site.candidate(), "");
    fs::remove_file(site.path("images/os_2.raw")).unwrap();
    assert_eq!(site.candidate(), "");
    site.fails(
        &["rollback", "2"],
        "Version '2' is not installed as a whole",
    );
    assert!(site.ok(&["update"]).contains("No update needed."));
    site.ok(&["update", "2"]);
    site.has_only(&["1", "2"]);
    // whole as it is
    site.ok(&["rollback", "1"]);
    let told = site.ok(&["update", "2"]);
    assert!(told.contains("It is not held any more."), "{told}");
    site.has_only(&["1", "2"]);
    // a newer one is taken, and what was gone back from makes room for it
    site.ok(&["rollback"]);
    site.offer("3");
    assert_eq!(site.candidate(), "3\n");
    site.ok(&["update"]);
    assert!(site.is_whole("1") && site.is_whole("3") && !site.path("images/os_2.raw").exists());
    let told = site.fails(&["rollback", "7"], "Update '7' not found.");
    assert!(!told.contains("held"), "{told}");
    site.ok(&["rollback", "1"]);
    assert_eq!(site.used(), "os_1.raw os_1+3-0.efi os_3+0-0.efi");
}

#[test]
fn a_version_that_was_gone_back_from_is_not_used_again_for_a_note_that_came_back() {
    let site = Site::with(&["1", "2"], "");
    site.ok(&["rollback"]);
    // a file system may bring back what was removed last before the power went
    let note = "var/lib/transactional-update/sysupdate/installing/default";
    site.write(note, "2");
    assert!(site.ok(&["update"]).contains("No update needed."));
    assert_eq!(site.used(), BACK);
    assert!(!site.path(note).exists());
}

#[test]
fn what_is_noted_is_on_disk_with_its_directories_and_so_is_that_it_is_forgotten() {
    let site = Site::with(&["1", "2"], "");
    site.write(
        "var/lib/transactional-update/sysupdate/installing/default",
        "2",
    );
    let mut strace = command("strace");
    strace.args(["-f", "-y", "-s", "99", "-e", "trace=mkdirat,unlinkat,fsync"]);
    let called = site.command(&["rollback"]);
    strace.arg(called.get_program()).args(called.get_args());
    let done = strace.output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    let dir = "var/lib/transactional-update/sysupdate";
    for (change, dir) in [
        (format!("{dir}>, \"held\""), dir.to_owned()),
        (
            format!("{dir}/installing>, \"default\""),
            format!("{dir}/installing"),
        ),
    ] {
        let after = told
            .split_once(&change)
            .unwrap_or_else(|| panic!("{change}: {told}"))
            .1;
        let is_synced = |line: &str| line.contains("fsync(") && line.contains(&format!("/{dir}>"));
        assert!(after.lines().any(is_synced), "{change}: {told}");
    }
}

#[test]
fn without_anything_that_leads_back_it_says_so() {
    let site = Site::with(&["1", "2"], "");
    fs::remove_file(site.path("etc/sysupdate.d/90-entry.transfer")).unwrap();
    let path = site.path("etc/sysupdate.d/20-image.transfer");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("CurrentSymlink=", "X-Other=")).unwrap();
    let before = site.left();
    site.fails(
        &["rollback"],
        "no transfer has CurrentSymlink= or a pattern with @l",
    );
    site.write("var/lib/transactional-update/sysupdate/held/default", "1");
    site.fails(&["check-new"], "is no record of held versions");
    fs::remove_file(site.path("var/lib/transactional-update/sysupdate/held/default")).unwrap();
    assert_eq!(site.left(), before);
}

/// Kills each of these commands at each failpoint of it, and has it, or what follows it, finish.
fn killed_everywhere(
    first: &[&[&str]],
    words: &[&str],
    after: &[&[&str]],
    used: &str,
    whole: &[&str],
) {
    let before = || {
        let site = Site::with(&["1", "2"], "");
        first.iter().for_each(|words| drop(site.ok(words)));
        site
    };
    let site = before();
    let log = site.path("log");
    let mut logged = site.command(words);
    logged.env("TU_FAILPOINTS", format!("*=log:{}", log.display()));
    assert!(logged.status().unwrap().success());
    let text = fs::read_to_string(&log).unwrap();
    for step in failpoints()
        .iter()
        .filter(|n| n.starts_with("sysupdate-back-"))
    {
        assert!(text.lines().any(|name| name == step), "{step}: {text}");
    }
    let lines: Vec<&str> = text.lines().collect();
    for (at, name) in lines.iter().enumerate() {
        let number = lines[..=at].iter().filter(|other| other == &name).count();
        let at = format!("{name}@{number}");
        for next in after {
            let site = before();
            let mut killed = site.command(words);
            killed.env("TU_FAILPOINTS", format!("{at}=kill"));
            assert_eq!(killed.output().unwrap().status.signal(), Some(9), "{at}");
            assert!(site.has_whole(&["1", "2"]), "{at}: {:?}", site.left());
            let link = fs::read_link(site.path("images/current.raw")).unwrap();
            assert!(site.path("images").join(link).exists(), "{at}");
            assert!(site.run(&["list"]).status.success(), "{at}");
            assert_eq!(site.candidate(), "", "{at}");
            let record = site.path("var/lib/transactional-update/sysupdate/held/default");
            let record = fs::read_to_string(record).unwrap_or_default();
            // before anything is noted nothing has begun; the same twice would go back twice
            let is_done =
                words == ["rollback"] && !record.is_empty() && !record.contains("becoming");
            if !record.is_empty() || *next == words {
                if !is_done {
                    site.ok(next);
                }
                assert_eq!(site.used(), used, "{at} {next:?}");
                assert_eq!(site.candidate(), "", "{at}");
                let is_rest = |path: &String| path.contains(".tu-new") || path.contains(".#");
                assert!(!site.left().iter().any(is_rest), "{at}: {:?}", site.left());
            }
            assert!(site.has_whole(whole), "{at}");
        }
    }
}

#[test]
fn going_back_that_is_killed_at_any_step_is_finished_by_the_next_call_or_update() {
    killed_everywhere(
        &[],
        &["rollback"],
        &[&["rollback"], &["update"]],
        BACK,
        &["1", "2"],
    );
}

#[test]
fn using_a_version_again_that_is_killed_at_any_step_is_finished_by_the_next_call_or_update() {
    let used = "os_2.raw os_1+3-0.efi os_2+3-0.efi";
    let words: &[&str] = &["update", "2"];
    killed_everywhere(&[&["rollback"]], words, &[words], used, &["1", "2"]);
}

#[test]
fn repairing_a_version_that_is_held_lets_it_be_used_again_wherever_it_is_killed_on_the_way() {
    let before = || {
        let site = Site::with(&["1", "2"], "");
        site.ok(&["rollback"]);
        fs::remove_file(site.path("images/os_2.raw")).unwrap();
        site
    };
    let killed_at = |site: &Site, points: &str| {
        let mut command = site.command(&["update", "2"]);
        let done = command.env("TU_FAILPOINTS", points).output().unwrap();
        done.status.signal()
    };
    let site = before();
    let log = site.path("log");
    assert_eq!(killed_at(&site, &format!("*=log:{}", log.display())), None);
    let text = fs::read_to_string(log).unwrap();
    let names: BTreeSet<&str> = text.lines().collect();
    assert!(names.contains("sysupdate-lifted") && names.contains("sysupdate-back-noted"));
    for name in names {
        let site = before();
        assert_eq!(killed_at(&site, &format!("{name}=kill")), Some(9), "{name}");
        let record = site.path("var/lib/transactional-update/sysupdate/held/default");
        // nobody has to ask for it again once it is not held any more
        let record = fs::read_to_string(record).unwrap_or_default();
        match record.contains(r#""becoming":"2""#) {
            true => site.ok(&["update"]),
            false => site.ok(&["update", "2"]),
        };
        site.has_only(&["1", "2"]);
    }
}

#[test]
fn a_person_sees_a_line_for_each_transfer_and_all_of_them_and_others_read_few_lines() {
    let site = Site::with(&[], "1");
    let size = nix::pty::Winsize {
        ws_row: 25,
        ws_col: 100,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let terminal = nix::pty::openpty(Some(&size), None).unwrap();
    // what another test starts meanwhile does not keep it open
    for end in [&terminal.master, &terminal.slave] {
        let flags = FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC);
        fcntl(end, flags).unwrap();
    }
    let mut command = site.command(&["update"]);
    command.env("TERM", "xterm").stderr(terminal.slave);
    let mut child = command.spawn().unwrap();
    // it has the other side open as well
    drop(command);
    let mut shown = Vec::new();
    // reading fails when nobody has the other side open any more
    let mut master = fs::File::from(terminal.master);
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = master.read(&mut bytes) {
        shown.extend(&bytes[..length]);
    }
    assert!(child.wait().unwrap().success());
    let shown = String::from_utf8_lossy(&shown).into_owned();
    for text in [
        "10-tree  [█",
        "20-image [█",
        "90-entry [█",
        "Total    [█",
        "of 97.66 KiB",
        "/s, ",
        " left",
    ] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    assert!(
        shown.contains("✨ Successfully installed update '1'."),
        "{shown}"
    );
    let mut site = Site::new();
    site.length = 8 << 20;
    site.offer("1");
    let begun = std::time::Instant::now();
    let told = site.ok(&["update", "--progress=plain"]);
    let lines = told
        .lines()
        .filter(|line| line.starts_with("20-image: "))
        .count() as u64;
    // one more in five seconds, wherever it takes so long
    let most = 11 + begun.elapsed().as_secs() / 5;
    assert!((1..=most).contains(&lines), "{told}");
}
