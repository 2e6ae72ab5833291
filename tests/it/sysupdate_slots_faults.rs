//! The program `sysupdate` with disks on which something is in its way: too short, in use, with more than it knows; and with what ends an
//! update of slots before its time.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fx::{command, require_root};
use crate::http::{Answer, Request, Server};
use crate::sfdisk;
use crate::sysupdate::PROGRAM;
use crate::sysupdate_limits::Mounted;
use crate::sysupdate_slots::{ROOT, Slots, VERITY};
use crate::sysupdate_slots_update::{Loop, content, served, steps, two_installed};
use crate::sysupdate_update::wait_until;

/// Bytes of the disk of [`served`].
const LENGTH: u64 = 8 << 20;

impl Slots {
    /// Makes the disk so long.
    fn resize(&self, length: u64) {
        let file = fs::File::options().write(true).open(self.path("disk.img"));
        file.unwrap().set_len(length).unwrap();
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.path("disk.img")).unwrap()
    }

    /// The program, with its standard error for the test.
    fn armed(&self, points: &str, words: &[&str]) -> Child {
        let mut command = self.command(words);
        let command = command.env("TU_FAILPOINTS", points);
        command.stderr(Stdio::piped()).spawn().unwrap()
    }
}

#[test]
fn a_disk_that_has_become_shorter_is_not_written() {
    let system = served(&["1", "2"]);
    system.offer("3");
    let entries = system.entries();
    for (length, why, is_listed) in [
        (
            LENGTH - 512,
            "the disk ends before the second copy of its GPT disk label; make it as long as it was",
            true,
        ),
        // the rest of the usable part, all slots, the last slot, and all of them
        (
            LENGTH - 34 * 512,
            "its GPT disk label is damaged: of the first copy",
            false,
        ),
        (4 << 20, "its GPT disk label is damaged", false),
        (1 << 20, "its GPT disk label is damaged", false),
        (3 * 512, "its GPT disk label is damaged", false),
        (512, "it has no GPT disk label, not suitable.", false),
    ] {
        let whole = system.bytes();
        system.resize(length);
        let bytes = system.bytes();
        assert_eq!(system.run(&["list"]).status.success(), is_listed);
        for words in [&["update"][..], &["vacuum", "-m", "1"]] {
            system.fails(words, why);
        }
        assert!(system.bytes() == bytes, "{length}");
        assert_eq!(system.entries(), entries);
        fs::write(system.path("disk.img"), whole).unwrap();
    }
    // as long as it was, but without what was at its end
    system.resize(5 << 20);
    system.resize(LENGTH);
    let [_, told] = system.ok(&["update"]);
    assert!(
        told.contains("the copy of its GPT disk label at the end is damaged"),
        "{told}"
    );
    system.has_only(&["2", "3"]);
    let [_, told] = system.ok(&["list"]);
    assert!(!told.contains("damaged"), "{told}");
}

#[test]
fn a_disk_that_becomes_shorter_under_an_update_is_not_marked() {
    for point in [
        "sysupdate-slot-staged@2",
        "sysupdate-slot-partial@1",
        "sysupdate-slot-verified@2",
        "sysupdate-slot-pending@2",
    ] {
        let system = served(&["1", "2"]);
        system.offer("3");
        let [reached, go] = ["reached", "go"].map(|name| system.path(name));
        let points = format!(
            "{point}=touch:{},{point}=wait:{}",
            reached.display(),
            go.display()
        );
        let child = system.armed(&points, &["update", "--jobs=1"]);
        wait_until(|| reached.exists());
        let table = system.bytes()[..34 * 512].to_vec();
        system.resize(LENGTH - 40 * 512);
        fs::write(&go, "").unwrap();
        let done = child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{point}: {told}");
        assert!(told.contains("its GPT disk label is damaged"), "{told}");
        assert!(system.bytes()[..34 * 512] == table, "{point}");
        assert!(!system.entries().contains(&"os_3.efi".to_owned()));
        // with its length it has what it had, and the next run goes on
        system.resize(LENGTH);
        assert!(system.is_whole("2"), "{point}");
        system.ok(&["update"]);
        system.has_only(&["2", "3"]);
    }
}

/// A device with three slots and, over all of it, a file system; definitions are in the directory `d`.
fn device(dir: &Path) -> Loop {
    require_root();
    let at = |path: &str| dir.join(path).display().to_string();
    fs::File::create(at("disk"))
        .unwrap()
        .set_len(160 << 20)
        .unwrap();
    let device = Loop::new(512, &at("disk"));
    // it begins with 64 KiB that it leaves to others, and ends before the disk does
    let made = command("mkfs.btrfs")
        .args(["-q", "-b", "150M", &device.0])
        .output();
    assert!(made.unwrap().status.success());
    let slot = format!("size=1MiB, type={ROOT}, name=\"_empty\"\n");
    sfdisk::make(&device.0, &format!("label: gpt\n{slot}{slot}{slot}"));
    for dir in ["d", "src", "mnt"] {
        fs::create_dir(at(dir)).unwrap();
    }
    fs::write(at("src/root_1.raw"), content("root", "1", 100_000)).unwrap();
    let transfer = format!(
        "[Source]\nType=regular-file\nPath={}\nMatchPattern=root_@v.raw\n[Target]\nType=partition\nPath={}\nMatchPattern=root_@v\nMatchPartitionType=root-x86-64\n",
        at("src"),
        device.0
    );
    fs::write(at("d/a.transfer"), transfer).unwrap();
    device
}

fn update(dir: &Path) -> Output {
    called(dir, "update")
}

fn called(dir: &Path, verb: &str) -> Output {
    let definitions = format!("--definitions={}", dir.join("d").display());
    let mut program = command(PROGRAM);
    program.args([&definitions, verb]).output().unwrap()
}

#[track_caller]
fn is_refused(dir: &Path, device: &Loop, why: &str) {
    let before = sfdisk::dump(&device.0);
    let done = update(dir);
    let told = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{told}");
    let why = format!("a: {}p1 is {why}, and so it is not changed", device.0);
    assert!(told.contains(&why), "{why}: {told}");
    assert_eq!(sfdisk::dump(&device.0), before);
}

#[test]
fn nothing_is_written_to_a_device_that_is_mounted() {
    let dir = tempfile::tempdir().unwrap();
    let device = device(dir.path());
    let beta = with_a_disabled_transfer(dir.path(), &device);
    let point = dir.path().join("mnt");
    let mounted = Mounted::of(&device.0, "btrfs", &point);
    let point = point.display();
    is_refused(dir.path(), &device, &format!("mounted at {point}"));
    // what a disabled transfer has there stays, and nothing fails for it
    let told = vacuumed(dir.path());
    let why = format!("b: {}p2 is mounted at {point}", device.0);
    assert!(told.contains(&why), "{told}");
    assert!(!told.contains("disabled transfers"), "{told}");
    assert!(sfdisk::dump(&device.0).contains(&beta));
    // nobody else sees where it is mounted
    let script = r#"umount "$1"; exec "$2" "$3" update"#;
    let definitions = format!("--definitions={}", dir.path().join("d").display());
    let done = command("unshare")
        .args(["--mount", "--propagation=private", "sh", "-c", script, "sh"])
        .args([&point.to_string(), PROGRAM, &definitions])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{told}");
    assert!(told.contains("p1 is a part of a mounted btrfs"), "{told}");
    drop(mounted);
}

#[test]
fn the_same_device_is_written_when_it_is_not_mounted() {
    let dir = tempfile::tempdir().unwrap();
    let device = device(dir.path());
    let beta = with_a_disabled_transfer(dir.path(), &device);
    vacuumed(dir.path());
    assert!(!sfdisk::dump(&device.0).contains(&beta));
    assert!(update(dir.path()).status.success());
    assert!(sfdisk::dump(&device.0).contains("name=\"root_1\""));
}

/// With a transfer that takes no part and has something in the second slot: what a table has for that.
fn with_a_disabled_transfer(dir: &Path, device: &Loop) -> String {
    let relabel = ["--part-label", &device.0, "2", "beta_1"];
    let done = command("sfdisk").args(relabel).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let text = fs::read_to_string(dir.join("d/a.transfer")).unwrap();
    let beta = text.replace("MatchPattern=root_", "MatchPattern=beta_");
    let beta = format!("[Transfer]\nFeatures=off\n{beta}");
    fs::write(dir.join("d/b.transfer"), beta).unwrap();
    "name=\"beta_1\"".to_owned()
}

fn vacuumed(dir: &Path) -> String {
    let done = called(dir, "vacuum");
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{told}");
    told
}

#[test]
fn auto_is_the_disk_that_the_root_of_the_system_is_on() {
    let dir = tempfile::tempdir().unwrap();
    let device = device(dir.path());
    let text = fs::read_to_string(dir.path().join("d/a.transfer")).unwrap();
    let text = text
        .replace(&format!("Path={}\n", device.0), "Path=auto\n")
        .replace(&dir.path().join("src").display().to_string(), "/src");
    fs::write(dir.path().join("d/a.transfer"), text).unwrap();
    // all mounts go with the namespace
    let script = r#"set -e; mount -t btrfs "$1" "$2/mnt"; cd "$2/mnt"
        for d in proc sys dev usr; do mkdir -p $d; mount --rbind /$d $d; done
        for d in bin sbin lib lib64; do [ ! -e /$d ] || { mkdir -p $d; mount --rbind /$d/ $d; }; done
        mkdir -p etc/sysupdate.d run tmp var src; cp "$2"/d/* etc/sysupdate.d; cp "$2"/src/* src; echo ID=test > etc/os-release
        touch sysupdate; mount --bind "$3" sysupdate; exec chroot . /sysupdate $4"#;
    let inside = |words: &str| {
        let mut run = command("unshare");
        run.args([
            "-m",
            "--propagation",
            "private",
            "bash",
            "-c",
            script,
            "bash",
        ])
        .args([&device.0, dir.path().to_str().unwrap(), PROGRAM, words]);
        let done = run.output().unwrap();
        let [out, told] = [done.stdout, done.stderr].map(|t| String::from_utf8(t).unwrap());
        (done.status.code(), out, told)
    };
    sfdisk::make(
        &device.0,
        &format!(
            "label: gpt\nsize=1MiB, type={ROOT}, name=\"root_0\"\nsize=1MiB, type={ROOT}, name=\"_empty\"\n"
        ),
    );
    let (code, out, told) = inside("list 0");
    assert_eq!(code, Some(0), "{told}");
    assert!(out.contains(&format!("partition {}p1", device.0)), "{out}");
    // the disk is the root here, as a whole, and nothing else of it can be written
    let (code, _, told) = inside("update");
    assert_eq!(code, Some(1), "{told}");
    let why = format!("{}p2 is mounted at /, and so", device.0);
    assert!(told.contains(&why), "{told}");
}

/// The label of a partition, and its type, as they are on the disk: sectors of 512 bytes, and the table where it usually is.
fn entry(disk: &[u8], number: usize) -> String {
    let entry = &disk[1024 + (number - 1) * 128..][..128];
    let units = entry[56..].as_chunks::<2>().0;
    let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    let label = String::from_utf16(&units).unwrap();
    label.trim_end_matches('\0').to_owned()
}

#[test]
fn slots_behind_the_128th_and_labels_of_any_characters_are_taken_and_all_else_stays() {
    let system = served(&[]);
    // entries of others: attributes, labels and types of any kind, and gaps between their numbers
    let mut script = "label: gpt\nlabel-id: 11111111-2222-3333-4444-555555555555\ntable-length: 200\nfirst-lba: 2048\n".to_owned();
    let mut add = |number: u32, kind: &str, name: &str, attributes: &str| {
        script += &format!(
            "disk{number} : size=256KiB, type={kind}, uuid=AAAAAAAA-0000-0000-0000-{number:012}, name=\"{name}\", attrs=\"{attributes}\"\n"
        );
    };
    let efi = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
    add(1, efi, "EFI", "RequiredPartition LegacyBIOSBootable");
    add(7, ROOT, "Märchen", "GUID:48,55,60");
    add(8, ROOT, "PRT#root_8", "");
    add(9, ROOT, "PND#😀😀_9", "");
    add(128, ROOT, "root 9", "NoBlockIOProtocol");
    for number in [129, 199] {
        add(number, VERITY, "_empty", "GUID:60");
    }
    for number in [130, 200] {
        add(number, ROOT, "_empty", "GUID:50");
    }
    system.resize(0);
    system.resize(LENGTH);
    sfdisk::make(system.path("disk.img"), &script);
    let path = "etc/sysupdate.d/10-root.transfer";
    let text = fs::read_to_string(system.path(path)).unwrap();
    // two units for each of these
    let target = text.replace("MatchPattern=root_@v\n", "MatchPattern=😀😀_@v\n");
    assert_ne!(target, text);
    system.write(path, &target);
    let small = |version: &str| {
        for name in ["root", "verity"] {
            let path = format!("src/{name}_{version}.raw");
            fs::write(system.path(&path), content(name, version, 9000)).unwrap();
        }
        system.write(&format!("src/os_{version}.efi"), "x");
        system.publish(&[]);
    };
    let (before, bytes) = (system.dump(), system.bytes());
    let long = "1".repeat(32);
    small(&long);
    let label = format!("😀😀_{long}");
    system.fails(&["update"], &format!("refusing: {label}"));
    assert!(system.bytes() == bytes);
    for entry in fs::read_dir(system.path("src")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    // 29 units of a version fit besides root's, and verity's seven
    let version = "1".repeat(29);
    small(&version);
    system.ok(&["update"]);
    let disk = system.bytes();
    assert_eq!(entry(&disk, 130), format!("😀😀_{version}"));
    assert_eq!(entry(&disk, 129), format!("verity_{version}"));
    let after = system.dump();
    let changed: Vec<&str> = before
        .lines()
        .zip(after.lines())
        .filter(|(old, new)| old != new)
        .map(|(old, _)| old.split(' ').next().unwrap())
        .collect();
    assert_eq!(changed, ["disk129", "disk130"]);
    assert_eq!(before.lines().count(), after.lines().count());
    // no byte but those of both copies and of the slots
    let written = |number: u32| {
        let start = format!("disk{number} : start=");
        let line = after.lines().find_map(|line| line.strip_prefix(&start));
        let sector = line.unwrap().split(',').next().unwrap().trim();
        let at = sector.parse::<usize>().unwrap() * 512;
        at..at + (256 << 10)
    };
    let ours = [written(129), written(130)];
    let table = 34 + 18;
    for (at, (old, new)) in bytes.chunks(512).zip(disk.chunks(512)).enumerate() {
        let is_slot = ours.iter().any(|slot| slot.contains(&(at * 512)));
        let is_table = (1..=table).contains(&at) || at >= (LENGTH as usize / 512) - table;
        assert!(old == new || is_slot || is_table, "{at}");
    }
    // and it is found again, and leaves
    let list = system.ok(&["list", "--no-legend"]).concat();
    assert!(list.contains(&format!("● {version} ✓ ✓ current")), "{list}");
}

#[test]
fn a_signal_at_any_step_of_an_update_of_slots_ends_it_and_the_next_one_goes_on() {
    let before = two_installed();
    let mut points = steps(&before());
    let last: BTreeMap<String, usize> = points.iter().cloned().collect();
    points.retain(|(name, count)| *count == 1 || *count == last[name]);
    let all_here = points
        .iter()
        .position(|(name, _)| name == "sysupdate-acquired");
    let all_here = all_here.unwrap();
    let mut signals = ["TERM", "INT"].into_iter().cycle();
    for (number, (name, count)) in points.iter().enumerate() {
        let signal = signals.next().unwrap();
        let system = before();
        let point = format!("{name}@{count}");
        let armed = format!("{point}=signal:{signal}");
        let done = system.armed(&armed, &["update", "--jobs=1"]);
        let done = done.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&done.stderr);
        // what is complete is installed as a whole
        if number > all_here {
            assert_eq!(done.status.code(), Some(0), "{point}: {told}");
            system.has_only(&["2", "3"]);
            continue;
        }
        assert_eq!(done.status.code(), Some(1), "{point}: {told}");
        assert!(told.contains(&format!("SIG{signal}")), "{point}: {told}");
        assert!(system.is_whole("2"), "{point}: {:?}", system.slots());
        assert!(!system.path("EFI/os_3.efi").exists(), "{point}");
        system.ok(&["update"]);
        system.has_only(&["2", "3"]);
    }
}

/// A server of what a system offers, from which `answer` may make something else.
fn server(
    system: &Slots,
    answer: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static,
) -> Server {
    let dir = system.path("src");
    Server::new(move |request| {
        let path = dir.join(request.path.trim_start_matches('/'));
        match fs::read(path) {
            Ok(bytes) => {
                let etag = format!("\"{}\"", bytes.len());
                answer(request, Answer::of(&Arc::new(bytes)).etag(&etag))
            }
            Err(_) => Answer::status(404),
        }
    })
}

/// Has the root come from these servers.
fn use_servers(system: &Slots, servers: &[&Server]) {
    let path = "etc/sysupdate.d/10-root.transfer";
    let text = fs::read_to_string(system.path(path)).unwrap();
    let local = format!("Path=file://{}\n", system.path("src").display());
    let urls: Vec<String> = servers.iter().map(|server| server.url("")).collect();
    let remote = format!("Path={}\nX-Mirror={}\n", urls[0], urls[1..].join(" "));
    let new = text.replace(&local, &remote);
    assert_ne!(new, text);
    system.write(path, &new);
}

/// Whether it is more of a root than its first bytes that is asked for.
fn is_payload(request: &Request) -> bool {
    let range = request.header("range").unwrap_or("bytes=0-");
    request.method == "GET" && request.path == "/root_3.raw" && range.ends_with('-')
}

#[test]
fn a_staged_payload_that_breaks_off_at_one_address_comes_from_the_next() {
    let system = served(&["1", "2"]);
    system.offer("3");
    let length = fs::metadata(system.path("src/root_3.raw")).unwrap().len();
    let half = usize::try_from(length).unwrap() / 2;
    let has_broken = AtomicBool::new(false);
    let first = server(&system, move |request, answer| match is_payload(request) {
        true if has_broken.swap(true, Ordering::Relaxed) => Answer::status(404),
        true => answer.cut_after(half),
        false => answer,
    });
    let bytes = system.bytes();
    let disk = system.path("disk.img");
    let is_untouched = Arc::new(AtomicBool::new(true));
    let untouched = Arc::clone(&is_untouched);
    let second = server(&system, move |request, answer| {
        if is_payload(request) && fs::read(&disk).unwrap() != bytes {
            untouched.store(false, Ordering::Relaxed);
        }
        answer
    });
    use_servers(&system, &[&first, &second]);
    let [_, told] = system.ok(&["update"]);
    assert!(told.contains("slots that are not empty"), "{told}");
    system.has_only(&["2", "3"]);
    assert!(is_untouched.load(Ordering::Relaxed), "emptied too early");
    let asked: Vec<Request> = second.seen().into_iter().filter(is_payload).collect();
    assert_eq!(asked.len(), 1, "{asked:?}");
}

/// How long an update takes to end after a signal while its server stalls; the slots stay, and the next one goes on.
fn ended_by(signal: Signal) -> Duration {
    let system = served(&["1", "2"]);
    system.offer("3");
    let root = content("root", "3", 700_000);
    fs::write(system.path("src/root_3.raw"), &root).unwrap();
    system.publish(&[]);
    let is_stalled = Arc::new(AtomicBool::new(true));
    let stalled = Arc::clone(&is_stalled);
    let server = server(&system, move |request, answer| {
        match is_payload(request) && stalled.load(Ordering::Relaxed) {
            true => answer.stall_after(root.len() / 2),
            false => answer,
        }
    });
    use_servers(&system, &[&server]);
    let bytes = system.bytes();
    let child = system.armed("", &["update", "--jobs=1"]);
    // a part of it is kept, and its record
    let spool = system.path("var/lib/transactional-update/sysupdate/spool");
    wait_until(|| has_record(&spool));
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
    let begun = Instant::now();
    let done = child.wait_with_output().unwrap();
    let took = begun.elapsed();
    let told = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{told}");
    assert!(told.contains(signal.as_str()), "{told}");
    assert!(system.bytes() == bytes, "nothing was emptied");
    is_stalled.store(false, Ordering::Relaxed);
    let before = server.seen().len();
    system.ok(&["update"]);
    system.has_only(&["2", "3"]);
    let seen = server.seen();
    let asked = seen[before..].iter().filter(|r| is_payload(r));
    let ranges: Vec<_> = asked.map(|r| r.header("range")).collect();
    // the rest, and not what was kept
    assert!(
        matches!(ranges[..], [Some(range)] if !range.starts_with("bytes=0-")),
        "{ranges:?}"
    );
    took
}

#[test]
fn a_signal_ends_a_server_that_stalls_within_two_seconds_and_the_slots_stay() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        // once may be a moment at which the machine does something else
        let times = [ended_by(signal), ended_by(signal)];
        let shortest = times.iter().min().unwrap();
        assert!(*shortest < Duration::from_secs(2), "{signal}: {times:?}");
    }
}

/// Something of a payload is in the spool, with where it is from.
fn has_record(spool: &Path) -> bool {
    let Ok(entries) = fs::read_dir(spool) else {
        return false;
    };
    let mut paths = entries.map(|entry| entry.unwrap().path());
    paths.any(|path| {
        let bytes = fs::metadata(path.with_extension(""));
        path.extension().is_some_and(|end| end == "json") && bytes.is_ok_and(|b| b.len() > 0)
    })
}
