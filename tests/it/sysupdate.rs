//! The program `sysupdate` on directories: what it prints, and with what status it ends.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use crate::fx::{Machine, Variant};
use crate::http::Server;

/// The program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_sysupdate");

/// A system with files in it.
struct System(tempfile::TempDir);

const ROOT_TRANSFER: &str = "[Transfer]\nProtectVersion=0.9\nChangeLog=https://example.com/@v\nAppStream=https://example.com/app.xml\n\
     [Source]\nType=regular-file\nPath=/src\nMatchPattern=os_@v.raw\n\
     [Target]\nPath=/images\nMatchPattern=os_@v.raw\nInstancesMax=2\nCurrentSymlink=current.raw\n";
const ENTRY_TRANSFER: &str = "[Source]\nType=regular-file\nPath=/src\nMatchPattern=os_@v.efi\n\
     [Target]\nPath=/EFI/Linux\nPathRelativeTo=boot\nMatchPattern=os_@v+@l-@d.efi os_@v.efi\n";
const EXTRA_TRANSFER: &str = "[Transfer]\nFeatures=extra\n[Source]\nType=regular-file\nPath=/src\nMatchPattern=extra_@v\n\
     [Target]\nPath=/extra\nMatchPattern=extra_@v\n";

impl System {
    fn new() -> System {
        let system = System(tempfile::tempdir().unwrap());
        system.write("etc/os-release", "ID=test\nIMAGE_VERSION=1.0\n");
        system.write("usr/lib/sysupdate.d/50-root.transfer", ROOT_TRANSFER);
        system.write("usr/lib/sysupdate.d/90-entry.transfer", ENTRY_TRANSFER);
        system.write("usr/lib/sysupdate.d/70-extra.transfer", EXTRA_TRANSFER);
        system.write(
            "usr/lib/sysupdate.d/extra.feature",
            "[Feature]\nDescription=More\n",
        );
        system.mkdir("run");
        system
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn mkdir(&self, path: &str) {
        fs::create_dir_all(self.path().join(path)).unwrap();
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A system with these versions at the source, and these in the targets.
    fn with(available: &[&str], installed: &[&str]) -> System {
        let system = System::new();
        for version in available {
            system.write(&format!("src/os_{version}.raw"), "x");
            system.write(&format!("src/os_{version}.efi"), "x");
        }
        for version in installed {
            system.write(&format!("images/os_{version}.raw"), "x");
            system.write(&format!("efi/EFI/Linux/os_{version}+3-0.efi"), "x");
        }
        system
    }

    fn run(&self, words: &[&str]) -> Output {
        let root = format!("--root={}", self.path().display());
        run(&[&[root.as_str()], words].concat())
    }

    /// Standard output of what succeeds.
    fn printed(&self, words: &[&str]) -> String {
        let out = self.run(words);
        assert!(out.status.success(), "{words:?}: {out:?}");
        String::from_utf8(out.stdout).unwrap()
    }

    fn names(&self, dir: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path().join(dir)).unwrap();
        let mut names: Vec<String> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[allow(clippy::disallowed_methods)] // tests start programs as a person does
fn run(words: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command
        .args(words)
        .env_clear()
        .env("SYSTEMD_ESP_PATH", "/efi");
    command.output().unwrap()
}

/// Fails with this on standard error and nothing on standard output.
#[track_caller]
fn fails(out: &Output, with: &str) {
    let told = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{told}");
    assert!(told.contains(with), "{told}");
    assert!(out.stdout.is_empty(), "{out:?}");
}

#[test]
fn versions_in_directories_are_listed_and_checked() {
    let system = System::with(&["1.0", "1.1"], &["0.9", "1.0"]);
    let table = "  VERSION INSTALLED AVAILABLE ASSESSMENT\n↻ 1.1                   ✓     candidate\n\
                 ● 1.0         ✓         ✓     current\n○ 0.9         ✓               protected\n";
    assert_eq!(system.printed(&[]), table);
    assert_eq!(system.printed(&["list"]), table);
    assert_eq!(
        system.printed(&["--offline", "--no-legend", "list"]),
        "● 1.0 ✓   current\n○ 0.9 ✓   protected\n"
    );
    assert_eq!(
        system.printed(&["--json=short"]),
        "{\"current\":\"1.0\",\"all\":[\"1.1\",\"1.0\",\"0.9\"],\"appstreamUrls\":[\"https://example.com/app.xml\"]}\n"
    );
    assert_eq!(system.printed(&["check-new"]), "1.1\n");
    assert_eq!(
        system.printed(&["check-new", "--json=short"]),
        "{\"available\":\"1.1\"}\n"
    );
    fails(&system.run(&["--offline", "check-new"]), "");
    let none = system.run(&["--offline", "--json=short", "check-new"]);
    assert_eq!(
        (none.status.code(), none.stdout),
        (Some(1), b"{\"available\":null}\n".to_vec())
    );
}

#[test]
fn a_version_is_shown_with_its_instances_and_an_unknown_one_is_not_found() {
    let system = System::with(&["1.1"], &["1.0"]);
    let text = system.printed(&["list", "1.0"]);
    assert!(
        text.starts_with(
            "● Version: 1.0\n    State: current\nInstalled: yes (newest)\nAvailable: no\n"
        ),
        "{text}"
    );
    assert!(
        text.contains("\nChangeLog: https://example.com/1.0\n\nTYPE "),
        "{text}"
    );
    let entry = format!(
        "regular-file {}/efi/EFI/Linux/os_1.0+3-0.efi ",
        system.path().display()
    );
    assert!(text.contains(&entry), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&system.printed(&["--json=pretty", "list", "1.1"])).unwrap();
    assert_eq!(
        (json["newest"].as_bool(), json["installed"].as_bool()),
        (Some(true), Some(false))
    );
    assert_eq!(json["contents"].as_array().unwrap().len(), 2);
    fails(&system.run(&["list", "7.7"]), "Update '7.7' not found.");
    fails(&system.run(&["list", "1.00"]), "Update '1.00' not found.");
}

#[test]
fn the_link_of_a_disabled_transfer_goes_with_what_it_shows_to() {
    let system = System::with(&[], &["1.0"]);
    for (link, at) in [
        ("current", "extra/current"),
        ("/links/extra", "links/extra"),
    ] {
        let transfer = format!("{EXTRA_TRANSFER}CurrentSymlink={link}\n");
        system.write("usr/lib/sysupdate.d/70-extra.transfer", &transfer);
        system.write("extra/extra_5", "x");
        system.write("other", "x");
        system.mkdir("links");
        let path = system.path().join(at);
        // what shows to something else is nobody's business, and neither is what showed to nothing before
        for elsewhere in ["/other", "/none"] {
            symlink(elsewhere, &path).unwrap();
            system.printed(&["vacuum"]);
            assert_eq!(fs::read_link(&path).unwrap(), Path::new(elsewhere));
            fs::remove_file(&path).unwrap();
            system.write("extra/extra_5", "x");
        }
        symlink("/extra/extra_5", &path).unwrap();
        system.write("extra/.sysupdate.partial.extra_6", "x");
        let text = system.printed(&["vacuum", "--dry-run", "--json=short"]);
        let plan: serde_json::Value = serde_json::from_str(&text).unwrap();
        let removed = plan["remove"].as_array().unwrap().iter();
        let removed: Vec<_> = removed
            .map(|r| (r["version"].as_str(), r["path"].as_str()))
            .collect();
        let shown = |path: &str| system.path().join(path).display().to_string();
        let (partial, whole, link) = (
            shown("extra/.sysupdate.partial.extra_6"),
            shown("extra/extra_5"),
            shown(at),
        );
        assert_eq!(
            removed,
            [
                (Some("6"), Some(partial.as_str())),
                (Some("5"), Some(whole.as_str())),
                (None, Some(link.as_str()))
            ]
        );
        assert_eq!(
            (&plan["version"], plan["acquire"].as_array().unwrap().len()),
            (&serde_json::Value::Null, 0)
        );
        assert!(system.path().join("extra/extra_5").exists() && path.symlink_metadata().is_ok());
        let told = system.run(&["vacuum", "--dry-run"]);
        let told = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(told.contains(&format!("Would remove '{link}'.")), "{told}");
        let out = system.run(&["vacuum"]);
        let told = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{told}");
        assert!(told.contains("Removing link '"), "{told}");
        assert!(path.symlink_metadata().is_err(), "{at}");
        assert!(!system.path().join("extra/extra_5").exists());
    }
}

#[test]
fn an_update_removes_what_disabled_transfers_have() {
    let system = System::with(&["1.1"], &["1.0"]);
    system.write("extra/extra_5", "x");
    let dry = system.printed(&["update", "--dry-run", "--json=short"]);
    assert!(dry.contains("/extra/extra_5\""), "{dry}");
    assert!(system.path().join("extra/extra_5").exists());
    let out = system.run(&["update"]);
    let told = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{told}");
    assert!(told.contains("Removed 1 disabled transfers."), "{told}");
    assert!(system.names("extra").is_empty());
    assert!(system.path().join("images/os_1.1.raw").exists());
}

#[test]
fn what_an_enabled_transfer_has_is_not_that_of_a_disabled_one() {
    let system = System::with(&["1.1"], &["1.0"]);
    // the same target by another name, and with something of its own
    system.write("images/beta_7", "x");
    symlink("images", system.path().join("by")).unwrap();
    let text =
        fs::read_to_string(system.path().join("usr/lib/sysupdate.d/50-root.transfer")).unwrap();
    let beta = format!("[Transfer]\nFeatures=extra\n{text}");
    let beta = beta.replace(
        "Path=/images\nMatchPattern=",
        "Path=/by\nMatchPattern=beta_@v ",
    );
    system.write("etc/sysupdate.d/60-beta.transfer", &beta);
    system.printed(&["vacuum"]);
    assert_eq!(system.names("images"), ["os_1.0.raw"]);
    // nor is what a transfer of another collection has
    system.write(
        "etc/sysupdate.part.d/p.transfer",
        &beta.replace("Features=extra\n", ""),
    );
    for file in ["images/beta_7", "extra/extra_5"] {
        system.write(file, "x");
    }
    system.printed(&["vacuum"]);
    assert_eq!(system.names("images"), ["beta_7", "os_1.0.raw"]);
    assert!(system.names("extra").is_empty());
    // of one that cannot be read nobody knows what it has
    system.write("extra/extra_5", "x");
    system.write("etc/sysupdate.bad.d/p.transfer", "[Source]\nType=none\n");
    let out = system.run(&["vacuum"]);
    let told = String::from_utf8_lossy(&out.stderr);
    let why = "what disabled transfers have stays: component 'bad': looking for what it owns";
    assert!(out.status.success() && told.contains(why), "{told}");
    assert_eq!(system.names("extra"), ["extra_5"]);
    for file in ["etc/sysupdate.bad.d/p.transfer", "images/beta_7"] {
        fs::remove_file(system.path().join(file)).unwrap();
    }
    system.printed(&["acquire"]);
    system.printed(&["--offline", "update"]);
    assert_eq!(
        system.names("images"),
        ["current.raw", "os_1.0.raw", "os_1.1.raw"]
    );
}

#[test]
fn read_only_subvolumes_and_those_in_them_are_removed() {
    let machine = Machine::of(Variant::RoSqlite);
    machine.install();
    let script = "mkdir -p /run/sysupdate.d /srv/trees; cd /srv/trees
        for v in 1 2 3; do
          btrfs -q subvolume create os_$v; mkdir os_$v/usr; btrfs -q subvolume create os_$v/usr/inner; touch os_$v/file os_$v/usr/inner/file
          btrfs property set -ts os_$v/usr/inner ro true; btrfs property set -ts os_$v ro true
        done
        printf '%s\\n' '[Source]' Type=subvolume Path=/srv/none MatchPattern=os_@v '[Target]' Path=/srv/trees MatchPattern=os_@v InstancesMax=2 > /run/sysupdate.d/os.transfer
        sysupdate --offline vacuum && ls /srv/trees | xargs && btrfs property get -ts os_2 ro";
    machine
        .power_on(script)
        .exits(0)
        .says("Removed 1 instances.\n")
        .says("os_2 os_3\nro=true\n");
}

#[test]
fn trees_become_subvolumes_that_are_read_only_once_they_are_installed() {
    let machine = Machine::of(Variant::RoSqlite);
    machine.install();
    let script = "mkdir -p /run/sysupdate.d /srv/from/os_1/usr /srv/trees /run/trees /srv/tars; cd /srv
        echo one > from/os_1/usr/file; cp -a from/os_1 from/os_2; cp -a from/os_1 from/os_3; tar -C from/os_1 -cf tars/img_1.tar usr
        transfer() { printf '%s\n' '[Source]' Type=$2 Path=$3 MatchPattern=$4 '[Target]' Type=subvolume Path=$5 MatchPattern=${4%.tar} ReadOnly=yes InstancesMax=2 \
          > /run/sysupdate.d/$1.transfer; }
        transfer 10-dir directory /srv/from os_@v /srv/trees; transfer 20-tar tar /srv/tars img_@v.tar /srv/trees
        transfer 30-elsewhere directory /srv/from os_@v /run/trees
        sysupdate update 1
        cat trees/os_1/usr/file trees/img_1/usr/file; stat -c '%i %a' trees/os_1 trees/img_1 | xargs
        btrfs property get trees/os_1 ro; btrfs property get trees/img_1 ro; touch trees/os_1/new; touch run/trees/os_1/new && echo writable
        rm /run/sysupdate.d/20-tar.transfer; ls -A trees | xargs
        btrfs property set -ts trees/os_1 ro false; mv trees/os_1 trees/.sysupdate.partial.os_2; btrfs property set -ts trees/.sysupdate.partial.os_2 ro true
        sysupdate update 2 && sysupdate update 3; ls -A trees | xargs; stat -c %i trees/os_3; btrfs property get trees/os_3 ro";
    machine
        .power_on(&script.replace("touch run/", "touch /run/"))
        .exits(0)
        .says("one\none\n256 755 256 755\nro=true\nro=true\n")
        .says("Read-only file system")
        .says("/run/trees/os_1 cannot be made read-only: it is no subvolume")
        .says("writable\nimg_1 os_1\n")
        .says("img_1 os_2 os_3\n256\nro=true\n");
}

#[test]
fn texts_that_scripts_look_for_begin_their_line() {
    let system = System::with(&[], &["1.0"]);
    let told = |out: Output| String::from_utf8(out.stderr).unwrap();
    for (words, text) in [
        (&["list", "7.7"][..], "Update '7.7' not found.\n"),
        (&["bogusverb"], "Unknown command verb 'bogusverb'.\n"),
        (
            &["-C", "nope", "list"],
            "No transfer definitions for component 'nope' found.\n",
        ),
    ] {
        assert_eq!(told(system.run(words)), text);
    }
    let entry = ENTRY_TRANSFER.replace("PathRelativeTo=boot", "PathRelativeTo=xbootldr");
    system.write("usr/lib/sysupdate.d/90-entry.transfer", &entry);
    let text = told(system.run(&["list"]));
    assert!(
        text.starts_with("Failed to resolve $BOOT: Required key not available\n"),
        "{text}"
    );
    assert!(text.contains("90-entry.transfer"), "{text}");
}

#[test]
fn the_time_of_an_instance_is_in_the_zone_of_the_machine() {
    let system = System::with(&[], &["1.0"]);
    let shown = |zone: &str, at: u64| {
        let image = fs::File::options()
            .write(true)
            .open(system.path().join("images/os_1.0.raw"))
            .unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(at);
        image.set_modified(time).unwrap();
        #[allow(clippy::disallowed_methods)] // tests start programs as a person does
        let out = Command::new(PROGRAM)
            .args(["--root".as_ref(), system.path().as_os_str()])
            .args(["--offline", "list", "1.0"])
            .env_clear()
            .env("SYSTEMD_ESP_PATH", "/efi")
            .env("TZ", zone)
            .output()
            .unwrap();
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout).unwrap()
    };
    // a zone with its rules in the variable needs no tables
    let europe = "CET-1CEST,M3.5.0,M10.5.0/3";
    for (zone, at, text) in [
        ("UTC", 1_714_564_800, " Wed 2024-05-01 12:00:00 UTC "),
        ("UTC", 1_709_208_000, " Thu 2024-02-29 12:00:00 UTC "),
        (europe, 1_714_564_800, " Wed 2024-05-01 14:00:00 CEST "),
        (europe, 1_704_063_600, " Mon 2024-01-01 00:00:00 CET "),
    ] {
        let table = shown(zone, at);
        assert!(table.contains(text), "{zone}: {table}");
    }
}

#[test]
fn what_is_unfinished_is_listed_and_removed_with_what_is_too_much() {
    let system = System::with(&[], &["0.8", "0.9", "1.0"]);
    system.write("images/.sysupdate.partial.os_1.1.raw", "x");
    system.write("efi/EFI/Linux/.sysupdate.pending.os_1.1+3-0.efi", "x");
    system.write("images/.#sysupdateos_1.2.raw0123456789abcdef", "x");
    system.write("extra/extra_5", "x");
    let table = system.printed(&["list"]);
    assert!(
        table.contains("⤵\u{fe0f} 1.1         ✓               current+partial\n"),
        "{table}"
    );
    let out = system.run(&["vacuum"]);
    let told = String::from_utf8(out.stderr.clone()).unwrap();
    assert!(out.status.success() && out.stdout.is_empty(), "{out:?}");
    let path = system.path().display();
    let lines = [
        "Making room…".to_owned(),
        format!(
            "♻\u{fe0f} Removing old pending '{path}/efi/EFI/Linux/.sysupdate.pending.os_1.1+3-0.efi' (regular-file)."
        ),
        format!(
            "♻\u{fe0f} Removing old partial '{path}/images/.sysupdate.partial.os_1.1.raw' (regular-file)."
        ),
        format!("♻\u{fe0f} Removing old '{path}/efi/EFI/Linux/os_0.8+3-0.efi' (regular-file)."),
        format!("♻\u{fe0f} Removing old '{path}/images/os_0.8.raw' (regular-file)."),
        format!("♻\u{fe0f} Removing disabled '{path}/extra/extra_5' (regular-file)."),
        format!(
            "♻\u{fe0f} Removing left-over '{path}/images/.#sysupdateos_1.2.raw0123456789abcdef'."
        ),
        "Removed 2 instances, and 1 disabled transfers.\n".to_owned(),
    ];
    assert_eq!(told, lines.join("\n"));
    assert_eq!(system.names("images"), ["os_0.9.raw", "os_1.0.raw"]);
    assert_eq!(
        system.names("efi/EFI/Linux"),
        ["os_0.9+3-0.efi", "os_1.0+3-0.efi"]
    );
    assert!(system.names("extra").is_empty());
    let again = system.run(&["vacuum"]);
    assert_eq!(
        String::from_utf8(again.stderr).unwrap(),
        "Making room…\nFound nothing to remove.\n"
    );
    assert_eq!(
        system.printed(&["--json=short", "vacuum"]),
        "{\"removed\":0,\"disabledTransfers\":0}\n"
    );
}

#[test]
fn what_a_link_shows_to_stays() {
    let system = System::with(&[], &["0.7", "0.8", "1.0", "1.1"]);
    symlink("os_0.7.raw", system.path().join("images/current.raw")).unwrap();
    system.printed(&["--instances-max=1", "vacuum"]);
    assert_eq!(
        system.names("images"),
        ["current.raw", "os_0.7.raw", "os_1.1.raw"]
    );
}

#[test]
fn nothing_is_removed_through_a_link_in_a_target() {
    let system = System::with(&[], &["0.7", "0.8", "1.0", "1.1"]);
    system.write("kept/os_0.1.raw", "x");
    symlink(
        "../kept/os_0.1.raw",
        system.path().join("images/os_0.6.raw"),
    )
    .unwrap();
    symlink("../kept", system.path().join("images/.#link")).unwrap();
    system.printed(&["--instances-max=1", "vacuum"]);
    assert_eq!(system.names("kept"), ["os_0.1.raw"]);
    assert_eq!(system.names("images"), ["os_0.6.raw", "os_1.1.raw"]);
}

#[test]
fn only_one_of_two_changes_something_at_a_time() {
    let system = System::with(&[], &["0.7", "0.8", "1.0", "1.1"]);
    let lock = fs::File::create(system.path().join("run/sysupdate.lock")).unwrap();
    let lock = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusiveNonblock).unwrap();
    fails(&system.run(&["vacuum"]), "is locked");
    assert_eq!(system.names("images").len(), 4);
    drop(lock);
    system.printed(&["vacuum"]);
    assert_eq!(system.names("images").len(), 2);
}

#[test]
fn features_and_components_are_told() {
    let system = System::new();
    assert_eq!(
        system.printed(&["features"]),
        "ENABLED SUGGESTED FEATURE DESCRIPTION DOCUMENTATION\n✗       ✗         extra   More        -\n\n1 features listed.\n"
    );
    assert!(
        system
            .printed(&["features", "extra"])
            .contains("Transfers: 70-extra\n")
    );
    fails(&system.run(&["features", "none"]), "none");
    system.write("etc/sysupdate.more.d/a.transfer", ROOT_TRANSFER);
    assert_eq!(
        system.printed(&["--json=short", "components"]),
        "{\"default\":true,\"components\":[\"more\"]}\n"
    );
    assert!(
        system
            .printed(&["-C", "more", "list"])
            .ends_with("ASSESSMENT\n")
    );
    fails(
        &system.run(&["-C", "nope", "list"]),
        "No transfer definitions for component 'nope' found.",
    );
}

#[test]
fn features_and_components_are_switched_and_an_unknown_one_switches_nothing() {
    let system = System::new();
    system.write(
        "usr/lib/sysupdate.d/more.feature",
        "[Feature]\nSuggest=yes\n",
    );
    system.write("usr/lib/sysupdate.foo.d/a.transfer", ROOT_TRANSFER);
    let features = || {
        system
            .printed(&["--no-legend", "features"])
            .replace(' ', "")
    };
    fails(
        &system.run(&["enable-feature", "extra", "none"]),
        "Feature not found: none",
    );
    assert_eq!(features(), "✗✗extraMore-\n✗✓more--\n");
    assert_eq!(
        system.printed(&["enable-feature", "--feature-suggested"]),
        ""
    );
    assert_eq!(features(), "✗✗extraMore-\n✓✓more--\n");
    system.printed(&["enable-feature", "extra"]);
    system.printed(&["disable-feature", "more"]);
    assert_eq!(features(), "✓✗extraMore-\n✗✓more--\n");
    system.printed(&["-a", "disable-feature"]);
    assert_eq!(features(), "✗✗extraMore-\n✗✓more--\n");
    assert_eq!(
        system.names("etc/sysupdate.d/extra.feature.d"),
        ["50-systemd-sysupdate-enabled.conf"]
    );
    fails(
        &system.run(&["disable-component", "bar"]),
        "Component not found: bar",
    );
    let foo = || {
        system
            .printed(&["--no-legend", "components"])
            .lines()
            .last()
            .unwrap()
            .to_owned()
    };
    assert!(foo().starts_with('✓'), "{}", foo());
    system.printed(&["disable-component", "foo"]);
    assert!(foo().starts_with('✗'), "{}", foo());
    system.printed(&["-A", "enable-component"]);
    assert!(foo().starts_with('✓'), "{}", foo());
}

#[test]
fn without_definitions_and_with_bad_ones_it_says_so_and_changes_nothing() {
    let system = System::with(&[], &["0.7", "0.8", "1.0", "1.1"]);
    fails(
        &run(&["--definitions=/nonexistent", "list"]),
        "No transfer definitions found.",
    );
    fails(&run(&["--no-such-option"]), "--no-such-option");
    fails(&run(&["bogusverb"]), "Unknown command verb 'bogusverb'.");
    system.write(
        "etc/sysupdate.d/60-bad.transfer",
        "[Source]\nType=regular-file\nPath=/x\nMatchPattern=abc\n",
    );
    for verb in ["list", "check-new", "vacuum", "features"] {
        fails(
            &system.run(&[verb]),
            "60-bad.transfer:4: MatchPattern= string is not valid, refusing: abc",
        );
    }
    assert_eq!(system.names("images").len(), 4);
    let server = Server::with_files(&[]);
    let address = server.url("").replace("//", "//me:secret@");
    let url = format!(
        "[Source]\nType=url-file\nPath={address}\nMatchPattern=x_@v\n[Target]\nPath=/x\nMatchPattern=x_@v\n"
    );
    system.write("etc/sysupdate.d/60-bad.transfer", &url);
    let out = system.run(&["list"]);
    fails(&out, "SHA256SUMS failed with code 404.");
    assert!(!String::from_utf8_lossy(&out.stderr).contains("secret"));
    assert!(system.run(&["--offline", "list"]).status.success());
}

#[test]
fn an_explicit_source_is_where_the_option_says() {
    let system = System::new();
    for other in ["70-extra", "90-entry"] {
        symlink(
            "/dev/null",
            system
                .path()
                .join(format!("usr/lib/sysupdate.d/{other}.conf")),
        )
        .unwrap();
        fs::remove_file(
            system
                .path()
                .join(format!("usr/lib/sysupdate.d/{other}.transfer")),
        )
        .unwrap();
    }
    let transfer = ROOT_TRANSFER.replace("Path=/src\n", "Path=/\nPathRelativeTo=explicit\n");
    system.write("usr/lib/sysupdate.d/50-root.transfer", &transfer);
    system.write("given/os_3.raw", "x");
    fails(
        &system.run(&["list"]),
        "PathRelativeTo=explicit requires --transfer-source= to be specified.",
    );
    let given = format!("--transfer-source={}/given", system.path().display());
    assert_eq!(system.printed(&[&given, "check-new"]), "3\n");
}
