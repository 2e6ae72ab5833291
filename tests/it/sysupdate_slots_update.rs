//! The program `sysupdate` installs versions in partitions: which slots it takes, when it empties them, and what stays when it is cut off.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use crate::fx::failpoints;
use crate::sfdisk;
use crate::sysupdate::PROGRAM;
use crate::sysupdate_slots::{ROOT, Slots, VERITY};

/// Bytes of one version of a root or of its hashes: no two have the same.
pub(crate) fn content(name: &str, version: &str, length: usize) -> Vec<u8> {
    let seed = name.bytes().chain(version.bytes());
    let seed = seed.fold(7_u64, |sum, b| sum.wrapping_mul(31).wrapping_add(b.into()));
    (0..length as u64)
        .map(|i| (i.wrapping_mul(i) / 251 + i).wrapping_add(seed) as u8)
        .collect()
}

impl Slots {
    /// The same, from addresses: what is offered stands in a manifest.
    pub(crate) fn served(slots: &[(&str, &str)]) -> Slots {
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
    pub(crate) fn offer(&self, version: &str) {
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
    pub(crate) fn publish(&self, wrong: &[&str]) {
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
    pub(crate) fn slots(&self) -> Vec<String> {
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
    pub(crate) fn is_whole(&self, version: &str) -> bool {
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
    pub(crate) fn has_only(&self, versions: &[&str]) {
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
pub(crate) fn served(versions: &[&str]) -> Slots {
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
fn what_is_shorter_than_its_name_tells_is_not_installed_in_a_slot_that_is_free() {
    let system = served(&[]);
    let path = "etc/sysupdate.d/10-root.transfer";
    let text = fs::read_to_string(system.path(path)).unwrap();
    system.write(path, &text.replace("root_@v.raw", "root_@v_@s.raw"));
    system.offer("1");
    fs::remove_file(system.path("src/root_1.raw")).unwrap();
    let before = system.slots();
    for (size, why) in [
        (
            "700001",
            "it has 700000 bytes, and not the 700001 of its name",
        ),
        ("700000", ""),
    ] {
        // how long it will be is not known before
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&content("root", "1", 700_000)).unwrap();
        let name = |size: &str| system.path(&format!("src/root_1_{size}.raw"));
        fs::write(name(size), packed.finish().unwrap()).unwrap();
        system.publish(&[]);
        if why.is_empty() {
            system.ok(&["update"]);
            system.has_only(&["1"]);
        } else {
            system.fails(&["update", "--jobs=1"], why);
            assert_eq!(system.slots(), before);
            fs::remove_file(name(size)).unwrap();
        }
    }
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

/// Makes systems with versions 1 and 2 in their slots and version 3 to be had.
pub(crate) fn two_installed() -> impl Fn() -> Slots {
    let template = served(&["1", "2"]);
    move || {
        let system = served(&[]);
        for file in ["disk.img", "EFI/os_1.efi", "EFI/os_2.efi"] {
            fs::copy(template.path(file), system.path(file)).unwrap();
        }
        system.offer("3");
        system
    }
}

/// The failpoints that an update of one payload after the other meets, each with how often it was met by then.
pub(crate) fn steps(system: &Slots) -> Vec<(String, usize)> {
    let log = system.path("log");
    let done = system
        .command(&["update", "--jobs=1"])
        .env("TU_FAILPOINTS", format!("*=log:{}", log.display()))
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    let text = fs::read_to_string(&log).unwrap();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut count = |name| {
        let count = counts.entry(name).or_default();
        *count += 1;
        (name.to_owned(), *count)
    };
    text.lines().map(&mut count).collect()
}

#[test]
fn an_update_of_slots_that_is_killed_at_any_step_is_finished_by_the_next_one() {
    let before = two_installed();
    let points = steps(&before());
    let is_met = |step: &str| points.iter().any(|(name, _)| name == step);
    for step in failpoints()
        .iter()
        .filter(|n| n.starts_with("sysupdate-slot-"))
    {
        assert!(is_met(step), "{step}: {points:?}");
    }
    for (name, count) in points
        .iter()
        .filter(|(name, _)| name != "sysupdate-writing")
    {
        let point = format!("{name}@{count}");
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

/// What somebody does with what is staged, and with what it was fetched from, before it is written into its slots.
#[test]
fn what_is_staged_is_what_is_written_whatever_becomes_of_its_files_meanwhile() {
    let staged = "var/lib/transactional-update/sysupdate/spool";
    for (is_changed, is_removed) in [(false, false), (true, false), (false, true)] {
        let system = served(&["1", "2"]);
        system.offer("3");
        let (is_there, go_on) = (system.path("there"), system.path("go"));
        let points = format!(
            "sysupdate-slot-staged@2=touch:{},sysupdate-vacuumed=wait:{}",
            is_there.display(),
            go_on.display()
        );
        let mut command = system.command(&["update", "--jobs=1"]);
        let command = command.env("TU_FAILPOINTS", points);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        crate::sysupdate_update::wait_until(|| is_there.exists());
        let mut kept = 0;
        for entry in fs::read_dir(system.path(staged)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some() {
                continue;
            }
            kept += 1;
            if is_changed {
                let mut bytes = fs::read(&path).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle..][..100].fill(0x55);
                let file = fs::File::options().write(true).open(&path).unwrap();
                (&file).write_all(&bytes).unwrap();
            }
            if is_removed {
                fs::remove_file(&path).unwrap();
            }
        }
        assert_eq!(kept, 2);
        // what is right in the spool is not fetched once more
        if !is_changed {
            fs::remove_file(system.path("src/root_3.raw")).unwrap();
            fs::remove_file(system.path("src/verity_3.raw")).unwrap();
        }
        fs::write(&go_on, "").unwrap();
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "{is_changed} {is_removed}: {done:?}");
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

/// A loop device, which goes with the value.
pub(crate) struct Loop(pub(crate) String);

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

    /// With sectors of so many bytes.
    pub(crate) fn new(sector: u32, file: &str) -> Loop {
        let sector = format!("--sector-size={sector}");
        Loop(Loop::run(&["--find", "--show", &sector, file]))
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
    let device = Loop::new(4096, &at("disk"));
    let slot = format!("size=256, type={ROOT}, name=\"_empty\"\n");
    sfdisk::make(&device.0, &format!("label: gpt\n{slot}{slot}"));
    for dir in ["d", "src"] {
        fs::create_dir(at(dir)).unwrap();
    }
    fs::write(at("src/root_1.raw"), content("root", "1", 100_000)).unwrap();
    let transfer = format!(
        "[Source]\nType=regular-file\nPath={}\nMatchPattern=root_@v.raw\n[Target]\nType=partition\nPath={}\nMatchPattern=root_@v\nMatchPartitionType=root-x86-64\nReadOnly=yes\nCurrentSymlink={}\n",
        at("src"),
        device.0,
        at("links/current")
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
    let dump = sfdisk::dump(&device.0);
    assert!(
        dump.contains("name=\"root_1\", attrs=\"GUID:60\""),
        "{dump}"
    );
    // its link leads to the node of the partition
    let link = fs::read_link(at("links/current")).unwrap();
    let up = "../".repeat(at("links").split('/').count() - 1);
    let node = device.0.trim_start_matches('/');
    assert_eq!(link, Path::new(&format!("{up}{node}p1")));
    drop(device);
    let bytes = fs::read(at("disk")).unwrap();
    assert!(bytes[1 << 20..][..100_000] == content("root", "1", 100_000));
}

#[test]
fn a_link_to_a_partition_in_an_image_is_refused_before_anything_changes() {
    let system = served(&["1"]);
    let path = "etc/sysupdate.d/10-root.transfer";
    let text = fs::read_to_string(system.path(path)).unwrap();
    system.write(path, &(text + "CurrentSymlink=/current\n"));
    let before = (system.slots(), system.entries());
    system.offer("2");
    system.fails(
        &["update"],
        "CurrentSymlink= cannot show to a partition in the image of a disk",
    );
    assert_eq!((system.slots(), system.entries()), before);
}

#[test]
fn going_back_leaves_both_versions_in_their_slots_and_the_entry_decides() {
    let system = served(&[]);
    let path = "etc/sysupdate.d/90-entry.transfer";
    let text = fs::read_to_string(system.path(path)).unwrap();
    let target = text.replace(
        "Path=/EFI\nMatchPattern=os_@v.efi",
        "Path=/EFI\nMatchPattern=os_@v+@l-@d.efi",
    );
    assert_ne!(target, text);
    system.write(path, &target);
    for version in ["1", "2"] {
        system.offer(version);
        system.ok(&["update"]);
    }
    let slots = system.slots();
    assert_eq!(system.entries(), ["os_1+3-0.efi", "os_2+3-0.efi"]);
    system.ok(&["rollback"]);
    assert_eq!(system.entries(), ["os_1+3-0.efi", "os_2+0-0.efi"]);
    assert_eq!(system.slots(), slots);
    // what was gone back from is not taken again, but what is newer is
    assert!(system.ok(&["update"])[1].contains("No update needed."));
    assert_eq!(system.run(&["check-new"]).status.code(), Some(1));
    system.offer("3");
    system.ok(&["update"]);
    assert!(
        system.slots()[1].starts_with("root root_3 "),
        "{:?}",
        system.slots()
    );
    assert_eq!(system.entries(), ["os_1+3-0.efi", "os_3+3-0.efi"]);
}
