//! The program `sysupdate` with partitions, in the image of a disk: no device, and no kernel that knows its table.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use sha2::{Digest, Sha256};

use crate::fx::failpoints;
use crate::sysupdate::PROGRAM;

const ROOT: &str = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709";
const VERITY: &str = "2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5";
/// Types of what is not installed yet.
const ROOT_PARTIAL: &str = "7A01D3C6-92AC-43E9-BD77-5726B602AD9D";
const VERITY_PENDING: &str = "A0527BFF-640D-406C-93E1-3059B3853391";

/// A system on a disk with slots for a root and its hashes, and a directory with entries of a boot loader.
struct Slots(tempfile::TempDir);

impl Slots {
    /// The labels of the slots, each with its type, in the order of the disk. `more` stands in each transfer.
    fn new(slots: &[(&str, &str)], more: &str) -> Slots {
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
        system.sfdisk(&["--quiet", "--no-tell-kernel"], &script);
        system
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[allow(clippy::disallowed_methods)] // tests start programs as a person does
    fn sfdisk(&self, words: &[&str], input: &str) -> String {
        let mut child = Command::new("sfdisk")
            .args(words)
            .arg(self.path("disk.img"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "{words:?}");
        String::from_utf8(done.stdout).unwrap()
    }

    /// What sfdisk says of the slots: type, label and all else.
    fn dump(&self) -> String {
        let path = self.path("disk.img").display().to_string();
        self.sfdisk(&["--dump"], "").replace(&path, "disk")
    }

    #[allow(clippy::disallowed_methods)] // tests start programs as a person does
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        let root = format!("--root={}", self.0.path().display());
        command.arg(root).args(words).env_clear();
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Standard output and standard error of what succeeds, with another word for where the system is.
    #[track_caller]
    fn ok(&self, words: &[&str]) -> [String; 2] {
        let out = self.run(words);
        assert!(out.status.success(), "{words:?}: {out:?}");
        [out.stdout, out.stderr].map(|bytes| {
            let text = String::from_utf8(bytes).unwrap();
            text.replace(&self.0.path().display().to_string(), "$W")
        })
    }

    #[track_caller]
    fn fails(&self, words: &[&str], with: &str) {
        let out = self.run(words);
        let told = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{told}");
        assert!(told.contains(with), "{told}");
    }

    fn entries(&self) -> Vec<String> {
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
fn a_disk_that_cannot_be_used_is_named_with_the_reason() {
    let system = two();
    let one = format!("label: gpt\nsize=1MiB, type={ROOT}, name=\"root_1\"\n");
    system.sfdisk(&["--quiet", "--no-tell-kernel"], &one);
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

/// Bytes of one version of a root or of its hashes: no two have the same.
fn content(name: &str, version: &str, length: usize) -> Vec<u8> {
    let seed = name.bytes().chain(version.bytes());
    let seed = seed.fold(7_u64, |sum, b| sum.wrapping_mul(31).wrapping_add(b.into()));
    (0..length as u64)
        .map(|i| (i.wrapping_mul(i) / 251 + i).wrapping_add(seed) as u8)
        .collect()
}

impl Slots {
    /// The same, from addresses: what is offered stands in a manifest.
    fn served(slots: &[(&str, &str)]) -> Slots {
        let system = Slots::new(slots, "Verify=no");
        for file in ["10-root", "20-verity", "90-entry"] {
            let path = format!("etc/sysupdate.d/{file}.transfer");
            let text = fs::read_to_string(system.path(&path)).unwrap();
            let source = format!("Path=file://{}", system.path("src").display());
            let text = text
                .replace("Type=regular-file\nPath=/src", &format!("Type=url-file\n{source}"))
                .replace("MatchPartitionType", "ReadOnly=yes\nPartitionNoAuto=yes\nPartitionGrowFileSystem=yes\nMatchPartitionType");
            system.write(&path, &text);
        }
        system.publish(&[]);
        system
    }

    /// Puts a version to where it is fetched from: a root that is compressed, hashes that are not, and an entry.
    fn offer(&self, version: &str) {
        let root = zstd::bulk::compress(&content("root", version, 700_000), 1).unwrap();
        let verity = content("verity", version, 300_000);
        for (name, bytes) in [
            (format!("root_{version}.raw"), root),
            (format!("verity_{version}.raw"), verity),
            (format!("os_{version}.efi"), version.as_bytes().to_vec()),
        ] {
            fs::write(self.path("src").join(name), bytes).unwrap();
        }
        self.publish(&[]);
    }

    /// Writes the manifest of what is there; of names in `wrong`, with a digest that is not theirs.
    fn publish(&self, wrong: &[&str]) {
        let mut text = String::new();
        for entry in fs::read_dir(self.path("src")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name == "SHA256SUMS" {
                continue;
            }
            let mut bytes = fs::read(self.path("src").join(&name)).unwrap();
            if wrong.contains(&name.as_str()) {
                bytes.push(0);
            }
            let digest: String = Sha256::digest(&bytes)
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            text += &format!("{digest}  {name}\n");
        }
        self.write("src/SHA256SUMS", &text);
    }

    /// Number, type, label and attributes of the slots, as sfdisk tells them.
    fn slots(&self) -> Vec<String> {
        let dump = self.dump();
        let lines = dump.lines().filter(|line| line.starts_with("disk"));
        lines
            .map(|line| {
                let field = |key: &str| {
                    let found = line.split(", ").find_map(|f| f.trim().strip_prefix(key));
                    found.unwrap_or("").trim_matches('"').to_owned()
                };
                let kind = match field("type=").as_str() {
                    ROOT => "root".to_owned(),
                    VERITY => "verity".to_owned(),
                    other => other.to_owned(),
                };
                format!("{kind} {} {}", field("name="), field("attrs="))
            })
            .collect()
    }

    /// Whether a version is in its slots with all its bytes, and has its entry.
    fn is_whole(&self, version: &str) -> bool {
        let disk = fs::read(self.path("disk.img")).unwrap();
        let has = |name: &str, length: usize| {
            let label = format!(" {name}_{version} ");
            let at = self
                .slots()
                .iter()
                .position(|slot| slot.contains(&label) && slot.starts_with(name));
            let wanted = content(name, version, length);
            at.is_some_and(|at| disk[(at + 1) << 20..][..length] == wanted)
        };
        let entry = fs::read(self.path(&format!("EFI/os_{version}.efi")));
        has("root", 700_000)
            && has("verity", 300_000)
            && entry.is_ok_and(|e| e == version.as_bytes())
    }

    /// Exactly these versions are there, and nothing unfinished.
    #[track_caller]
    fn has_only(&self, versions: &[&str]) {
        for version in versions {
            assert!(
                self.is_whole(version),
                "{version}: {:?} {:?}",
                self.slots(),
                self.entries()
            );
        }
        let entries: Vec<String> = versions.iter().map(|v| format!("os_{v}.efi")).collect();
        assert_eq!(self.entries(), entries);
        let slots = self.slots();
        let used = slots.iter().filter(|slot| !slot.contains(" _empty "));
        assert_eq!(used.count(), versions.len() * 2, "{slots:?}");
        assert!(
            slots
                .iter()
                .all(|s| s.starts_with("root ") || s.starts_with("verity ")),
            "{slots:?}"
        );
        let spool = self.path("var/lib/transactional-update/sysupdate/spool");
        let kept = fs::read_dir(spool).map_or(0, Iterator::count);
        assert_eq!(kept, 0);
    }
}

/// Two slots of each kind; the versions are installed one after the other.
fn served(versions: &[&str]) -> Slots {
    let empty = "_empty";
    let system = Slots::served(&[
        (empty, ROOT),
        (empty, ROOT),
        (empty, VERITY),
        (empty, VERITY),
    ]);
    for version in versions {
        system.offer(version);
        system.ok(&["update", version]);
    }
    system
}

#[test]
fn a_version_comes_into_empty_slots_with_its_attributes() {
    let system = served(&[]);
    system.offer("1");
    let [_, told] = system.ok(&["update"]);
    assert!(
        told.contains("Installed '$W/disk.img1'.\nInstalled '$W/disk.img3'.\n"),
        "{told}"
    );
    assert!(!told.contains("not empty"), "{told}");
    system.has_only(&["1"]);
    assert_eq!(
        system.slots(),
        [
            // attributes that each type knows
            "root root_1 GUID:59,60,63",
            "root _empty GUID:60",
            "verity verity_1 GUID:60,63",
            "verity _empty GUID:60"
        ]
    );
    assert!(system.ok(&["update"])[1].contains("No update needed."));
}

#[test]
fn the_slots_of_a_version_are_emptied_when_what_comes_into_them_is_complete() {
    let system = served(&["1", "2"]);
    system.has_only(&["1", "2"]);
    system.offer("3");
    let [_, told] = system.ok(&["update"]);
    assert!(
        told.contains("Fetching what comes into slots that are not empty…"),
        "{told}"
    );
    system.has_only(&["2", "3"]);
    assert!(system.slots()[0].starts_with("root root_3 "));
    // the same without waiting
    system.offer("4");
    let [_, told] = system.ok(&["update", "--erase=early"]);
    assert!(!told.contains("not empty"), "{told}");
    system.has_only(&["3", "4"]);
}

#[test]
fn a_payload_that_is_not_right_leaves_the_version_in_its_slot() {
    for wrong in ["root_3.raw", "verity_3.raw", "os_3.efi"] {
        let system = served(&["1", "2"]);
        system.offer("3");
        system.publish(&[wrong]);
        let before = system.slots();
        system.fails(
            &["update"],
            "Checksum of downloaded resource does not match",
        );
        if wrong != "os_3.efi" {
            assert_eq!(system.slots(), before, "{wrong}");
            assert!(system.is_whole("1"));
        }
        assert!(system.is_whole("2"), "{wrong}");
        assert!(!system.entries().iter().any(|name| name == "os_3.efi"));
        system.publish(&[]);
        system.ok(&["update"]);
        system.has_only(&["2", "3"]);
    }
}

#[test]
fn what_is_larger_than_every_slot_changes_nothing() {
    let system = served(&["1", "2"]);
    let before = (system.slots(), system.entries());
    let bytes = fs::read(system.path("disk.img")).unwrap();
    let large = content("root", "3", (1 << 20) + 1);
    let known = zstd::bulk::compress(&large, 1).unwrap();
    let mut unknown = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    unknown.write_all(&large).unwrap();
    for (payload, why) in [
        (
            known,
            "1048577 bytes are needed, and the largest slot that is free or becomes so has 1048576",
        ),
        (unknown.finish().unwrap(), "File overly large, refusing."),
    ] {
        system.offer("3");
        fs::write(system.path("src/root_3.raw"), payload).unwrap();
        system.publish(&[]);
        system.fails(&["update"], why);
        assert_eq!((system.slots(), system.entries()), before);
        assert!(fs::read(system.path("disk.img")).unwrap() == bytes);
    }
    // and where its slot is emptied before, or is empty, no byte beside it is written
    system.fails(&["update", "--erase=early"], "File overly large, refusing.");
    let now = fs::read(system.path("disk.img")).unwrap();
    for slot in [2 << 20..3 << 20, 4 << 20..5 << 20] {
        assert!(now[slot.clone()] == bytes[slot]);
    }
    assert!(system.is_whole("2"));
}

#[test]
fn a_label_that_is_too_long_changes_nothing() {
    let system = served(&["1"]);
    let before = system.slots();
    let long = "9".repeat(33);
    system.offer(&long);
    system.fails(
        &["update"],
        &format!("Formatted pattern is not suitable as GPT partition label, refusing: root_{long}"),
    );
    assert_eq!(system.slots(), before);
}

#[test]
fn an_update_of_slots_that_is_killed_at_any_step_is_finished_by_the_next_one() {
    let template = served(&["1", "2"]);
    let before = || {
        let system = served(&[]);
        for file in ["disk.img", "EFI/os_1.efi", "EFI/os_2.efi"] {
            fs::copy(template.path(file), system.path(file)).unwrap();
        }
        system.offer("3");
        system
    };
    let system = before();
    let log = system.path("log");
    let done = system
        .command(&["update", "--jobs=1"])
        .env("TU_FAILPOINTS", format!("*=log:{}", log.display()))
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut points = Vec::new();
    for name in fs::read_to_string(&log).unwrap().lines() {
        let count = counts.entry(name.to_owned()).or_default();
        *count += 1;
        points.push(format!("{name}@{count}"));
    }
    for step in failpoints()
        .iter()
        .filter(|n| n.starts_with("sysupdate-slot-"))
    {
        assert!(counts.contains_key(step), "{step}: {counts:?}");
    }
    for point in points
        .into_iter()
        .filter(|p| !p.starts_with("sysupdate-writing"))
    {
        let system = before();
        let killed = system
            .command(&["update", "--jobs=1"])
            .env("TU_FAILPOINTS", format!("{point}=kill"))
            .output()
            .unwrap();
        assert_eq!(killed.status.signal(), Some(9), "{point}: {killed:?}");
        assert!(system.is_whole("2"), "{point}: {:?}", system.slots());
        // the entry comes last
        let is_there = system.path("EFI/os_3.efi").exists();
        assert!(
            !is_there || system.is_whole("3"),
            "{point}: {:?}",
            system.slots()
        );
        system.ok(&["list", "--json=short"]);
        system.ok(&["update"]);
        system.has_only(&["2", "3"]);
    }
}

#[test]
fn a_version_that_one_transfer_protects_keeps_all_of_its_slots() {
    let system = served(&["1", "0.9"]);
    let path = "etc/sysupdate.d/10-root.transfer";
    let text = fs::read_to_string(system.path(path)).unwrap();
    system.write(
        path,
        &text.replace("Verify=no", "Verify=no\nProtectVersion=0.9"),
    );
    system.offer("2");
    system.ok(&["update"]);
    // 1 has left as a whole; directories are listed by name
    system.has_only(&["0.9", "2"]);
    system.offer("3");
    system.ok(&["update"]);
    system.has_only(&["0.9", "3"]);
    // nothing can go that would leave a whole version
    let text = fs::read_to_string(system.path(path)).unwrap();
    system.write(
        path,
        &text.replace("ProtectVersion=0.9", "ProtectVersion=0.9 3"),
    );
    let before = (system.slots(), system.entries());
    system.offer("4");
    system.fails(&["update"], "No partition slot can be emptied for 10-root, 20-verity: 3 is protected, 0.9 is protected; nothing is changed");
    assert_eq!((system.slots(), system.entries()), before);
}

/// A loop device with sectors of 4096 bytes, which goes with the value.
struct Loop(String);

impl Loop {
    #[allow(clippy::disallowed_methods)] // tests start programs as a person does
    fn run(words: &[&str]) -> String {
        let done = Command::new("losetup").args(words).output().unwrap();
        assert!(done.status.success(), "{words:?}: {done:?}");
        String::from_utf8(done.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    fn new(file: &str) -> Loop {
        Loop(Loop::run(&["--find", "--show", "--sector-size=4096", file]))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        Loop::run(&["--detach", &self.0]);
    }
}

#[test]
#[allow(clippy::disallowed_methods)] // tests start programs as a person does
fn a_device_with_large_sectors_is_written_as_an_image_is() {
    crate::fx::require_root();
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path).display().to_string();
    fs::File::create(at("disk"))
        .unwrap()
        .set_len(12 << 20)
        .unwrap();
    let device = Loop::new(&at("disk"));
    let sfdisk = |words: &[&str], input: &str| {
        let mut command = Command::new("sfdisk");
        let command = command.args(words).arg(&device.0);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success());
        String::from_utf8(done.stdout).unwrap()
    };
    let slot = format!("size=256, type={ROOT}, name=\"_empty\"\n");
    sfdisk(
        &["--quiet", "--no-reread", "--no-tell-kernel"],
        &format!("label: gpt\n{slot}{slot}"),
    );
    for dir in ["d", "src"] {
        fs::create_dir(at(dir)).unwrap();
    }
    fs::write(at("src/root_1.raw"), content("root", "1", 100_000)).unwrap();
    let transfer = format!(
        "[Source]\nType=regular-file\nPath={}\nMatchPattern=root_@v.raw\n[Target]\nType=partition\nPath={}\nMatchPattern=root_@v\nMatchPartitionType=root-x86-64\nReadOnly=yes\n",
        at("src"),
        device.0
    );
    fs::write(at("d/a.transfer"), transfer).unwrap();
    let mut update = Command::new(PROGRAM);
    let done = update
        .arg(format!("--definitions={}", at("d")))
        .arg("update")
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    let told = String::from_utf8(done.stderr).unwrap();
    assert!(
        told.contains(&format!("Installed '{}p1'.", device.0)),
        "{told}"
    );
    let dump = sfdisk(&["--dump"], "");
    assert!(
        dump.contains("name=\"root_1\", attrs=\"GUID:60\""),
        "{dump}"
    );
    drop(device);
    let bytes = fs::read(at("disk")).unwrap();
    assert!(bytes[1 << 20..][..100_000] == content("root", "1", 100_000));
}
