//! The program `sysupdate` with partitions, in the image of a disk: no device, and no kernel that knows its table.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::fx::failpoints;
use crate::sfdisk;
use crate::sysupdate::PROGRAM;

pub(crate) const ROOT: &str = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709";
pub(crate) const VERITY: &str = "2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5";
/// Types of what is not installed yet.
const ROOT_PARTIAL: &str = "7A01D3C6-92AC-43E9-BD77-5726B602AD9D";
const VERITY_PENDING: &str = "A0527BFF-640D-406C-93E1-3059B3853391";

/// A system on a disk with slots for a root and its hashes, and a directory with entries of a boot loader.
pub(crate) struct Slots(tempfile::TempDir);

impl Slots {
    /// The labels of the slots, each with its type, in the order of the disk. `more` stands in each transfer.
    pub(crate) fn new(slots: &[(&str, &str)], more: &str) -> Slots {
        let system = Slots(tempfile::tempdir().unwrap());
        system.write("etc/os-release", "ID=test\nIMAGE_VERSION=1\n");
        for dir in ["run", "src", "EFI"] {
            fs::create_dir(system.path(dir)).unwrap();
        }
        for (file, name, kind) in [
            ("10-root", "root", "root-x86-64"),
            ("20-verity", "verity", "root-x86-64-verity"),
        ] {
            system.write(&format!("etc/sysupdate.d/{file}.transfer"), &format!("[Transfer]\n{more}\n[Source]\nType=regular-file\nPath=/src\nMatchPattern={name}_@v.raw\n[Target]\nType=partition\nPath=/disk.img\nMatchPattern={name}_@v\nMatchPartitionType={kind}\n"));
        }
        system.write("etc/sysupdate.d/90-entry.transfer", &format!("[Transfer]\n{more}\n[Source]\nType=regular-file\nPath=/src\nMatchPattern=os_@v.efi\n[Target]\nPath=/EFI\nMatchPattern=os_@v.efi\nInstancesMax=2\n"));
        fs::File::create(system.path("disk.img"))
            .unwrap()
            .set_len(8 << 20)
            .unwrap();
        let mut script =
            String::from("label: gpt\nlabel-id: 11111111-2222-3333-4444-555555555555\n");
        for (number, (label, kind)) in slots.iter().enumerate() {
            script += &format!(
                "size=1MiB, type={kind}, uuid=AAAAAAAA-0000-0000-0000-{number:012}, name=\"{label}\", attrs=\"GUID:60\"\n"
            );
        }
        sfdisk::make(system.path("disk.img"), &script);
        system
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// What sfdisk says of the slots: type, label and all else.
    pub(crate) fn dump(&self) -> String {
        let path = self.path("disk.img").display().to_string();
        sfdisk::dump(self.path("disk.img")).replace(&path, "disk")
    }

    #[allow(clippy::disallowed_methods)] // tests start programs as a person does
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        let root = format!("--root={}", self.0.path().display());
        command.arg(root).args(words).env_clear();
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Standard output and standard error of what succeeds, with another word for where the system is.
    #[track_caller]
    pub(crate) fn ok(&self, words: &[&str]) -> [String; 2] {
        let out = self.run(words);
        assert!(out.status.success(), "{words:?}: {out:?}");
        [out.stdout, out.stderr].map(|bytes| {
            let text = String::from_utf8(bytes).unwrap();
            text.replace(&self.0.path().display().to_string(), "$W")
        })
    }

    #[track_caller]
    pub(crate) fn fails(&self, words: &[&str], with: &str) {
        let out = self.run(words);
        let told = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{told}");
        assert!(told.contains(with), "{told}");
    }

    pub(crate) fn entries(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("EFI")).unwrap();
        let mut names: Vec<String> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Two versions, each whole.
fn two() -> Slots {
    let system = Slots::new(
        &[
            ("root_1", ROOT),
            ("root_2", ROOT),
            ("verity_1", VERITY),
            ("verity_2", VERITY),
            ("Märchen", ROOT),
        ],
        "",
    );
    system.write("EFI/os_1.efi", "1");
    system.write("EFI/os_2.efi", "2");
    system
}

#[test]
fn versions_in_partitions_are_listed_with_what_is_known_of_them() {
    let system = two();
    for file in ["root_3.raw", "verity_3.raw", "os_3.efi"] {
        system.write(&format!("src/{file}"), "x");
    }
    let [table, _] = system.ok(&["list"]);
    assert_eq!(
        table,
        "  VERSION INSTALLED AVAILABLE ASSESSMENT\n\
         ↻ 3                     ✓     candidate\n\
         ● 2           ✓               current\n  1           ✓               installed\n"
    );
    let [shown, _] = system.ok(&["list", "2"]);
    let rows: Vec<&str> = shown
        .lines()
        .skip_while(|l| !l.starts_with("TYPE"))
        .collect();
    let columns: Vec<&str> = rows[0].split_ascii_whitespace().collect();
    assert_eq!(
        columns,
        ["TYPE", "PATH", "PTUUID", "PTFLAGS", "MTIME", "MODE", "RO"]
    );
    let cells: Vec<&str> = rows[1].split_ascii_whitespace().collect();
    assert_eq!(
        cells,
        [
            "partition",
            "$W/disk.img2",
            "aaaaaaaa-0000-0000-0000-000000000001",
            "1000000000000000",
            "-",
            "-",
            "yes"
        ]
    );
    let [json, _] = system.ok(&["list", "2", "--json=short"]);
    assert!(
        json.contains(r#"{"type":"partition","path":"$W/disk.img4","ptuuid":"aaaaaaaa-0000-0000-0000-000000000003","ptflags":1152921504606846976,"#),
        "{json}"
    );
}

#[test]
fn what_is_not_installed_yet_is_known_by_its_type() {
    let system = Slots::new(
        &[
            ("root_1", ROOT),
            ("root_2", ROOT_PARTIAL),
            ("verity_1", VERITY),
            ("verity_2", VERITY_PENDING),
        ],
        "",
    );
    system.write("EFI/os_1.efi", "1");
    let [table, _] = system.ok(&["list", "--no-legend"]);
    assert_eq!(
        table,
        "⤵\u{fe0f} 2 ✓   current+partial\n   1 ✓   installed\n"
    );
    let [_, told] = system.ok(&["vacuum"]);
    assert!(
        told.contains("Removing old partial '$W/disk.img2' (partition)."),
        "{told}"
    );
    assert!(
        told.contains("Removing old pending '$W/disk.img4' (partition)."),
        "{told}"
    );
    let dump = system.dump();
    for (number, kind) in [(2, ROOT), (4, VERITY)] {
        let line = dump
            .lines()
            .find(|l| l.starts_with(&format!("disk{number} ")))
            .unwrap();
        assert!(
            line.contains(&format!("type={kind}")) && line.contains("name=\"_empty\""),
            "{line}"
        );
    }
}

#[test]
fn a_version_leaves_its_slots_and_nothing_else_of_the_disk_changes() {
    let system = two();
    let before = system.dump();
    let bytes = fs::read(system.path("disk.img")).unwrap();
    let [_, dry] = system.ok(&["vacuum", "-m", "1", "--dry-run"]);
    assert!(dry.contains("$W/disk.img1"), "{dry}");
    assert!(fs::read(system.path("disk.img")).unwrap() == bytes);
    let [_, told] = system.ok(&["vacuum", "-m", "1"]);
    assert_eq!(
        told,
        "Making room…\n\
         ♻\u{fe0f} Removing old '$W/EFI/os_1.efi' (regular-file).\n\
         ♻\u{fe0f} Removing old '$W/disk.img3' (partition).\n\
         ♻\u{fe0f} Removing old '$W/disk.img1' (partition).\n\
         Removed 1 instances.\n"
    );
    // UUID, attributes and bytes stay
    let expected = before
        .replace("name=\"root_1\"", "name=\"_empty\"")
        .replace("name=\"verity_1\"", "name=\"_empty\"");
    assert_ne!(before, expected);
    assert_eq!(system.dump(), expected);
    let after = fs::read(system.path("disk.img")).unwrap();
    assert!(after[1 << 20..(8 << 20) - 33 * 512] == bytes[1 << 20..(8 << 20) - 33 * 512]);
    assert_eq!(system.entries(), ["os_2.efi"]);
    let [_, told] = system.ok(&["vacuum", "-m", "1"]);
    assert!(told.ends_with("Found nothing to remove.\n"), "{told}");
}

#[test]
fn the_slots_of_a_disabled_transfer_are_emptied_but_for_the_version_that_runs() {
    let system = Slots::new(
        &[
            ("root_1", ROOT),
            ("root_2", ROOT),
            ("verity_1", VERITY),
            ("verity_2", VERITY),
        ],
        "Features=off",
    );
    let [_, told] = system.ok(&["vacuum"]);
    assert!(
        told.contains("Removing disabled '$W/disk.img2' (partition)."),
        "{told}"
    );
    assert!(told.contains("Removed 2 disabled transfers."), "{told}");
    let dump = system.dump();
    // a system below --root does not run
    assert_eq!(dump.matches("name=\"_empty\"").count(), 4, "{dump}");
}

#[test]
fn the_slots_that_an_enabled_transfer_has_are_not_those_of_a_disabled_one() {
    let system = two();
    let text = fs::read_to_string(system.path("etc/sysupdate.d/10-root.transfer")).unwrap();
    let beta = format!("[Transfer]\nFeatures=off\n{text}");
    let disk = system.path("disk.img");
    sfdisk::make(
        &disk,
        &sfdisk::dump(&disk).replace(r"M\xc3\xa4rchen", "beta_1"),
    );
    let of_its_own = beta.replace("MatchPattern=root_@v\n", "MatchPattern=beta_@v root_@v\n");
    system.write("etc/sysupdate.d/15-beta.transfer", &of_its_own);
    let before = system.dump();
    system.ok(&["vacuum"]);
    let after = before.replace("name=\"beta_1\"", "name=\"_empty\"");
    assert!(before != after);
    assert_eq!(system.dump(), after);
}

#[test]
fn a_disk_that_cannot_be_used_is_named_with_the_reason() {
    let system = two();
    let one = format!("label: gpt\nsize=1MiB, type={ROOT}, name=\"root_1\"\n");
    sfdisk::make(system.path("disk.img"), &one);
    system.fails(
        &["vacuum"],
        "Partition table has less than two partition slots of the right type 4f68bce3-e8cd-4db1-96e7-fbcaf984b709 (root-x86-64) and matching the expected pattern 'root_@v', refusing.",
    );
    fs::write(system.path("disk.img"), vec![0; 1 << 20]).unwrap();
    system.fails(&["list"], "has no GPT disk label, not suitable.");
    fs::remove_file(system.path("disk.img")).unwrap();
    system.fails(
        &["list"],
        "/disk.img cannot be read: No such file or directory",
    );
    std::os::unix::fs::symlink("/dev/null", system.path("disk.img")).unwrap();
    system.fails(&["list"], "/disk.img cannot be read");
    system.fails(&["update", "7"], "cannot be read");
}

#[test]
fn a_version_that_leaves_its_slots_is_gone_after_the_next_call_wherever_that_is_stopped() {
    let system = two();
    let log = system.path("log");
    let armed = |points: String| {
        let mut command = system.command(&["vacuum", "-m", "1"]);
        command.env("TU_FAILPOINTS", points);
        command.output().unwrap()
    };
    assert!(armed(format!("*=log:{}", log.display())).status.success());
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut points = Vec::new();
    for name in fs::read_to_string(&log).unwrap().lines() {
        let count = counts.entry(name.to_owned()).or_default();
        *count += 1;
        points.push(format!("{name}@{count}"));
    }
    let whole = system.dump();
    assert!(
        failpoints().iter().any(|n| n == "sysupdate-slot-table")
            && counts["sysupdate-slot-table"] == 8
    );
    for point in points {
        let system = two();
        let killed = system
            .command(&["vacuum", "-m", "1"])
            .env("TU_FAILPOINTS", format!("{point}=kill"))
            .output()
            .unwrap();
        assert_eq!(killed.status.signal(), Some(9), "{point}: {killed:?}");
        let [table, _] = system.ok(&["list", "--no-legend"]);
        assert!(table.starts_with("● 2 ✓   current\n"), "{point}: {table}");
        system.ok(&["vacuum", "-m", "1"]);
        assert_eq!(system.dump(), whole, "{point}");
        assert_eq!(system.entries(), ["os_2.efi"], "{point}");
    }
}
