//! The program `sysupdate`: what it does with several collections, and how it goes back.

use std::fs;
use std::os::unix::process::ExitStatusExt;

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
