//! The program `sysupdate` installs versions from a server of the test's own: what it says, what it leaves, and what it goes on with.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sha2::{Digest, Sha256};

use crate::fx::{failpoints, require_root};
use crate::http::{Answer, Request, Server};
use crate::sysupdate::PROGRAM;

/// Files of a server that a test changes while it runs.
type Files = Arc<Mutex<BTreeMap<String, Vec<Answer>>>>;

/// A system whose versions come from a server: a tree, an image with a link to the newest one, and an entry of a boot loader, which is
/// installed last.
pub(crate) struct Site {
    dir: tempfile::TempDir,
    files: Files,
    pub(crate) server: Server,
    sums: BTreeMap<String, String>,
    /// Bytes of each image.
    pub(crate) length: usize,
}

/// Bytes of an image: no two versions have the same.
pub(crate) fn image(version: &str, length: usize) -> Vec<u8> {
    let seed = version
        .bytes()
        .fold(7_u64, |sum, b| sum * 31 + u64::from(b));
    (0..length as u64)
        .map(|i| (i.wrapping_mul(i) / 251 + i + seed) as u8)
        .collect()
}

/// An archive (POSIX ustar) with one file in one directory.
fn archive(dir: &str, name: &str, content: &[u8]) -> Vec<u8> {
    let mut all = header(&format!("{dir}/"), b"0000755", b'5', 0);
    all.extend(header(
        &format!("{dir}/{name}"),
        b"0000644",
        b'0',
        content.len(),
    ));
    let padded = content.len().next_multiple_of(512);
    all.extend(content);
    all.resize(2 * 512 + padded + 1024, 0);
    all
}

pub(crate) fn header(name: &str, mode: &[u8], kind: u8, length: usize) -> Vec<u8> {
    let mut head = vec![0_u8; 512];
    let mut put = |at: usize, text: &[u8]| head[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, mode);
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{length:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = head.iter().map(|b| u32::from(*b)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    head
}

const KEYS: &str = "[Transfer]\nVerify=no\n[Source]\nPath=URL\n";

impl Site {
    /// Without any version.
    pub(crate) fn new() -> Site {
        require_root();
        let files = Files::default();
        let answers = Arc::clone(&files);
        let server = Server::new(move |request: &Request| {
            let mut files = answers.lock().unwrap();
            // the last one stays
            let found = files.get_mut(request.path.trim_start_matches('/'));
            found.map_or(Answer::status(404), |answers| match answers.len() {
                1 => answers[0].clone(),
                _ => answers.remove(0),
            })
        });
        let site = Site {
            dir: tempfile::tempdir().unwrap(),
            files,
            server,
            sums: BTreeMap::new(),
            length: 100_000,
        };
        site.write("etc/os-release", "ID=test\n");
        fs::create_dir(site.path("run")).unwrap();
        site.transfer("10-tree", "Type=url-tar\nMatchPattern=tree_@v.tar\n[Target]\nType=directory\nPath=/trees\nMatchPattern=tree_@v\nInstancesMax=2\n");
        site.transfer("20-image", "Type=url-file\nMatchPattern=os_@v.raw\n[Target]\nType=regular-file\nPath=/images\nMatchPattern=os_@v.raw\nInstancesMax=2\nCurrentSymlink=current.raw\n");
        site.transfer("90-entry", "Type=url-file\nMatchPattern=os_@v.efi\n[Target]\nType=regular-file\nPath=/boot\nMatchPattern=os_@v+@l-@d.efi os_@v.efi\nMode=0600\nInstancesMax=2\n");
        site
    }

    /// With these versions installed, the last one newest, and `new` to be had.
    pub(crate) fn with(installed: &[&str], new: &str) -> Site {
        let mut site = Site::new();
        for version in installed {
            site.offer(version);
            site.ok(&["update", version]);
        }
        if !new.is_empty() {
            site.offer(new);
        }
        site
    }

    /// A transfer file; `text` follows after the keys that all have.
    pub(crate) fn transfer(&self, id: &str, text: &str) {
        self.transfer_in("sysupdate.d", id, text);
    }

    /// The same in another directory than that of what has no component.
    pub(crate) fn transfer_in(&self, dir: &str, id: &str, text: &str) {
        let keys = KEYS.replace("URL", self.server.url("").trim_end_matches('/'));
        self.write(&format!("etc/{dir}/{id}.transfer"), &(keys + text));
    }

    pub(crate) fn path(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Has the server answer so for a name, without naming it in the manifest.
    pub(crate) fn answer(&self, name: &str, answer: Answer) {
        self.answer_in_turn(name, vec![answer]);
    }

    /// Has the server answer with one after the other, and then always with the last.
    pub(crate) fn answer_in_turn(&self, name: &str, answers: Vec<Answer>) {
        self.files.lock().unwrap().insert(name.to_owned(), answers);
    }

    /// Puts a file to the server and into the manifest.
    pub(crate) fn put(&mut self, name: &str, content: Vec<u8>) {
        let digest: String = Sha256::digest(&content)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let answer = Answer::of(&Arc::new(content)).etag("\"1\"");
        self.answer(
            name,
            answer.header("Last-Modified", "Wed, 01 May 2024 12:00:00 GMT"),
        );
        self.sums.insert(name.to_owned(), digest);
        self.publish();
    }

    /// What a file of the server has in it.
    pub(crate) fn payload(&self, name: &str) -> Arc<Vec<u8>> {
        self.files.lock().unwrap()[name][0].body()
    }

    /// Names a file with this digest in the manifest.
    pub(crate) fn promise(&mut self, name: &str, digest: &str) {
        self.sums.insert(name.to_owned(), digest.to_owned());
        self.publish();
    }

    /// The manifest as it is served.
    pub(crate) fn manifest(&self) -> Vec<u8> {
        let lines = self.sums.iter();
        let lines: String = lines
            .map(|(name, digest)| format!("{digest}  {name}\n"))
            .collect();
        lines.into_bytes()
    }

    fn publish(&self) {
        self.answer("SHA256SUMS", Answer::of(&Arc::new(self.manifest())));
    }

    /// A whole version.
    pub(crate) fn offer(&mut self, version: &str) {
        let length = self.length;
        self.put(
            &format!("tree_{version}.tar"),
            archive("usr", "file", version.as_bytes()),
        );
        self.put(&format!("os_{version}.raw"), image(version, length));
        self.put(&format!("os_{version}.efi"), image(version, 3000));
    }

    #[allow(clippy::disallowed_methods)] // tests start programs as a person does
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        let path = std::env::var_os("PATH").unwrap_or_default();
        command
            .arg(format!("--root={}", self.dir.path().display()))
            .args(words)
            .env_clear()
            .env("PATH", path);
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Standard error of what succeeds.
    #[track_caller]
    pub(crate) fn ok(&self, words: &[&str]) -> String {
        let out = self.run(words);
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "{words:?}: {told}");
        told
    }

    /// Standard error of what ends with 1.
    #[track_caller]
    pub(crate) fn fails(&self, words: &[&str], with: &str) -> String {
        let out = self.run(words);
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(1), "{words:?}: {told}");
        assert!(told.contains(with), "{words:?}: {told}");
        told
    }

    pub(crate) fn started(&self, words: &[&str]) -> Child {
        let mut command = self.command(words);
        command.stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Every path below the targets, the state and the root of the system, but for what tests put there.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut found = Vec::new();
        for dir in [
            "trees",
            "images",
            "boot",
            "var/lib/transactional-update/sysupdate",
        ] {
            walk(self.dir.path(), Path::new(dir), &mut found);
        }
        found.sort();
        found
    }

    /// Whether a version is installed with all its bytes.
    pub(crate) fn is_whole(&self, version: &str) -> bool {
        let has =
            |path: String, content: &[u8]| fs::read(self.path(&path)).is_ok_and(|c| c == content);
        has(format!("trees/tree_{version}/usr/file"), version.as_bytes())
            && has(
                format!("images/os_{version}.raw"),
                &image(version, self.length),
            )
            && has(format!("boot/os_{version}+3-0.efi"), &image(version, 3000))
    }

    /// Exactly these versions are there, and nothing else; the link shows to the last of them.
    #[track_caller]
    pub(crate) fn has_only(&self, versions: &[&str]) {
        let mut expected: Vec<String> = Vec::new();
        for version in versions {
            assert!(self.is_whole(version), "{version}: {:?}", self.left());
            expected.push(format!("boot/os_{version}+3-0.efi"));
            expected.push(format!("images/os_{version}.raw"));
            expected.push(format!("trees/tree_{version}/usr/file"));
        }
        expected.push("images/current.raw".to_owned());
        expected.sort();
        assert_eq!(self.left(), expected);
        let link = fs::read_link(self.path("images/current.raw")).unwrap();
        assert_eq!(
            link,
            Path::new(&format!("os_{}.raw", versions.last().unwrap()))
        );
    }

    /// Paths that the server was asked for, without the manifest.
    pub(crate) fn payloads(&self) -> Vec<String> {
        let seen = self.server.seen();
        let paths = seen
            .iter()
            .map(|r| r.path.trim_start_matches('/').to_owned());
        paths
            .filter(|path| !path.starts_with("SHA256SUMS"))
            .collect()
    }
}

fn walk(top: &Path, dir: &Path, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(top.join(dir)) else {
        return;
    };
    for entry in entries {
        let entry = entry.unwrap();
        let path = dir.join(entry.file_name());
        if entry.file_name().to_string_lossy().starts_with('.') {
            found.push(path.display().to_string());
        }
        match entry.file_type().unwrap().is_dir() {
            true => walk(top, &path, found),
            false => found.push(path.display().to_string()),
        }
    }
}

#[test]
fn an_update_installs_the_newest_version_and_the_oldest_leaves_as_a_whole() {
    let site = Site::with(&["1", "2"], "3");
    site.has_only(&["1", "2"]);
    let told = site.ok(&["update"]);
    for text in [
        "Selected update '3' for install.",
        "Making room for 1 updates…",
        "Removed 1 instances.",
        "✨ Successfully installed update '3'.",
    ] {
        assert!(told.contains(text), "{told}");
    }
    site.has_only(&["2", "3"]);
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &str| fs::metadata(site.path(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(
        (mode("images/os_3.raw"), mode("boot/os_3+3-0.efi")),
        (0o644, 0o600)
    );
    let before = site.payloads().len();
    assert!(site.ok(&["update"]).contains("No update needed."));
    assert!(
        site.ok(&["update", "3"])
            .contains("Selected update '3' is already installed. Skipping update.")
    );
    site.fails(&["update", "9"], "Update '9' not found.");
    assert_eq!(site.payloads().len(), before);
}

#[test]
fn versions_of_a_server_are_listed_and_checked_and_each_manifest_is_fetched_once() {
    let site = Site::with(&[], "1.1");
    let out = site.run(&["check-new"]);
    assert_eq!(
        (out.status.code(), out.stdout),
        (Some(0), b"1.1\n".to_vec())
    );
    assert_eq!(site.server.seen().len(), 1);
    let out = site.run(&["list", "--no-legend"]);
    assert_eq!(
        String::from_utf8_lossy(&out.stdout),
        "↻ 1.1   ✓ candidate\n"
    );
    let before = site.server.seen().len();
    let out = site.run(&["--offline", "check-new"]);
    assert_eq!(
        (out.status.code(), site.server.seen().len()),
        (Some(1), before)
    );
}

#[test]
fn a_local_directory_with_a_manifest_is_a_source_as_a_server_is() {
    let site = Site::new();
    let dir = tempfile::tempdir().unwrap();
    for id in ["10-tree", "20-image", "90-entry"] {
        fs::remove_file(site.path(&format!("etc/sysupdate.d/{id}.transfer"))).unwrap();
    }
    let content = image("1", 5000);
    fs::write(dir.path().join("os_1"), &content).unwrap();
    let digest: String = Sha256::digest(&content)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    fs::write(dir.path().join("SHA256SUMS"), format!("{digest} *os_1\n")).unwrap();
    let text = format!(
        "[Source]\nType=url-file\nPath=file://{}\nMatchPattern=os_@v\n[Target]\nType=regular-file\nPath=/images\nMatchPattern=os_@v\n",
        dir.path().display()
    );
    site.write("etc/sysupdate.d/a.transfer", &text);
    site.fails(
        &["update"],
        "Failed to retrieve signature file, cannot verify. (Try --verify=no?)",
    );
    site.ok(&["update", "--verify=no"]);
    assert_eq!(fs::read(site.path("images/os_1")).unwrap(), content);
}

#[test]
fn what_was_acquired_is_installed_without_a_network() {
    let site = Site::with(&["1"], "2");
    let told = site.ok(&["acquire"]);
    assert!(told.contains("Selected update '2' for install."), "{told}");
    assert!(site.path("images/.sysupdate.pending.os_2.raw").exists());
    assert!(site.is_whole("1") && !site.path("images/os_2.raw").exists());
    let out = site.run(&["--offline", "--no-legend"]);
    assert!(
        String::from_utf8_lossy(&out.stdout).contains("current+pending"),
        "{out:?}"
    );
    let told = site.ok(&["acquire"]);
    assert!(
        told.contains("Selected update '2' is already acquired and pending installation."),
        "{told}"
    );
    let before = site.server.seen().len();
    site.ok(&["update", "--offline"]);
    assert_eq!(site.server.seen().len(), before);
    site.has_only(&["1", "2"]);
}

#[test]
fn only_what_is_missing_of_an_incomplete_version_is_fetched() {
    let site = Site::with(&["1", "2"], "");
    fs::remove_file(site.path("images/os_2.raw")).unwrap();
    let before = site.payloads().len();
    let told = site.ok(&["update"]);
    assert!(
        told.contains("Selected update '2' is already installed, but incomplete. Repairing."),
        "{told}"
    );
    site.has_only(&["1", "2"]);
    assert!(
        site.payloads()[before..]
            .iter()
            .all(|path| path == "os_2.raw")
    );
}

#[test]
fn an_older_version_is_installed_when_it_is_asked_for() {
    let mut site = Site::with(&["2"], "1");
    assert!(site.ok(&["update"]).contains("No update needed."));
    let told = site.ok(&["update", "1"]);
    assert!(
        told.contains("Selected update '1' is not the newest, proceeding anyway."),
        "{told}"
    );
    assert!(
        told.contains(
            "Selected update '1' is older than newest installed version, proceeding anyway."
        ),
        "{told}"
    );
    site.has_only(&["2", "1"]);
    site.offer("3");
    site.fails(&["update", "--offline", "3"], "Update '3' not found.");
}

#[test]
fn a_dry_run_shows_the_plan_and_changes_nothing() {
    let site = Site::with(&["1", "2"], "3");
    let before = site.left();
    let out = site.run(&["update", "--dry-run", "--json=short"]);
    assert!(out.status.success(), "{out:?}");
    let text = String::from_utf8(out.stdout).unwrap();
    let plan: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(plan["version"], "3");
    let paths = |key: &str, field: &str| -> Vec<String> {
        let all = plan[key].as_array().unwrap().iter();
        all.map(|item| item[field].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        paths("acquire", "transfer"),
        ["10-tree", "20-image", "90-entry"]
    );
    assert_eq!(
        paths("install", "transfer"),
        ["10-tree", "20-image", "90-entry"]
    );
    // the entry of the boot loader goes first
    assert_eq!(
        paths("remove", "transfer"),
        ["90-entry", "20-image", "10-tree"]
    );
    assert_eq!(plan["acquire"][1]["bytes"], 100_000);
    assert_eq!(site.left(), before);
}

#[test]
fn progress_as_json_is_one_object_in_a_line() {
    let site = Site::with(&[], "1");
    let told = site.ok(&["update", "--progress=json"]);
    let lines: Vec<serde_json::Value> = told
        .lines()
        .filter(|l| l.starts_with('{'))
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let last = lines
        .iter()
        .rfind(|line| line["transfer"] == "20-image")
        .unwrap();
    assert_eq!(
        (&last["version"], &last["bytes"], &last["percent"]),
        (&"1".into(), &100_000.into(), &100.into())
    );
    assert!(!site.ok(&["update", "--progress=none"]).contains('{'));
}

#[test]
fn a_service_manager_is_told_how_far_an_update_is() {
    let site = Site::with(&[], "1");
    let path = site.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let is_told = Duration::from_millis(200);
    manager.set_read_timeout(Some(is_told)).unwrap();
    let mut command = site.command(&["update"]);
    let mut child = command.env("NOTIFY_SOCKET", &path).spawn().unwrap();
    let mut told = String::new();
    let mut bytes = [0; 1024];
    loop {
        // asked before: what was sent until its end is read after it
        let has_ended = child.try_wait().unwrap().is_some();
        match manager.recv(&mut bytes) {
            Ok(length) => told += &(String::from_utf8_lossy(&bytes[..length]).into_owned() + "\n"),
            Err(_) if has_ended => break,
            Err(_) => {}
        }
    }
    assert!(child.wait().unwrap().success());
    for line in [
        "READY=1",
        "X_SYSUPDATE_VERSION=1",
        "X_SYSUPDATE_PROGRESS=100",
        "X_SYSUPDATE_TRANSFERS_DONE=3",
        "X_SYSUPDATE_TRANSFERS_LEFT=0",
    ] {
        assert!(told.lines().any(|l| l == line), "{line}: {told}");
    }
}

#[test]
fn a_signal_ends_an_update_soon_and_the_next_one_fetches_only_the_rest() {
    for (signal, name) in [(Signal::SIGTERM, "SIGTERM"), (Signal::SIGINT, "SIGINT")] {
        let mut site = Site::new();
        site.length = 8 << 20;
        site.offer("1");
        site.ok(&["update"]);
        site.offer("2");
        let content = Arc::new(image("2", site.length));
        let slow = Answer::of(&content).etag("\"1\"");
        site.answer("os_2.raw", slow.slow(256 << 10, Duration::from_millis(300)));
        let child = site.started(&["update"]);
        let partial = site.path("images/.sysupdate.partial.os_2.raw");
        wait_until(|| fs::metadata(&partial).is_ok_and(|m| m.len() > 1 << 20));
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        let done = child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{told}");
        assert!(told.contains(name), "{told}");
        // it did not wait for the server, which needs ten seconds
        let length = fs::metadata(&partial).unwrap().len();
        assert!(site.is_whole("1") && length < 8 << 20, "{length}");
        let out = site.run(&["--offline", "--no-legend"]);
        assert!(
            String::from_utf8_lossy(&out.stdout).contains("+partial"),
            "{out:?}"
        );
        site.answer("os_2.raw", Answer::of(&content).etag("\"1\""));
        let before = site.server.seen().len();
        site.ok(&["update"]);
        let seen = site.server.seen();
        assert!(seen[before..].iter().any(goes_on), "{seen:?}");
        site.has_only(&["1", "2"]);
    }
}

/// Whether the rest of an image is asked for; a look at its first bytes is nothing of the kind.
pub(crate) fn goes_on(request: &Request) -> bool {
    let range = request.header("range");
    request.path == "/os_2.raw" && range.is_some_and(|range| !range.starts_with("bytes=0-"))
}

pub(crate) fn wait_until(is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Versions 1 and 2, and 3 to be had; something is in the way of a name.
fn before_the_kill() -> Site {
    let site = Site::with(&["1", "2"], "3");
    site.write("images/os_3.raw/file", "of nobody");
    site
}

#[test]
fn an_update_that_is_killed_at_any_step_is_finished_by_the_next_one() {
    let site = before_the_kill();
    let log = site.path("log");
    let armed = |points: &str| {
        let mut command = site.command(&["update", "--jobs=1"]);
        command.env("TU_FAILPOINTS", points);
        command
    };
    assert!(
        armed(&format!("*=log:{}", log.display()))
            .status()
            .unwrap()
            .success()
    );
    let mut points: Vec<(String, usize)> = Vec::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for name in fs::read_to_string(&log).unwrap().lines() {
        let count = counts.entry(name.to_owned()).or_default();
        *count += 1;
        points.push((name.to_owned(), *count));
    }
    // those of slots are passed where there are some, those of going back and of cleaning up by tests of that
    let elsewhere = ["sysupdate-slot-", "sysupdate-back-", "sysupdate-cleanup-"];
    let is_here = |n: &&String| {
        n.starts_with("sysupdate-") && !elsewhere.iter().any(|other| n.starts_with(other))
    };
    for step in failpoints().iter().filter(is_here) {
        assert!(counts.contains_key(step), "{step}: {counts:?}");
    }
    site.has_only(&["2", "3"]);
    // in how many pieces the payloads come is not always the same
    points.retain(|(name, number)| name != "sysupdate-writing" || *number <= 5);
    for (name, number) in points {
        let site = before_the_kill();
        let killed = site
            .command(&["update", "--jobs=1"])
            .env("TU_FAILPOINTS", format!("{name}@{number}=kill"))
            .output()
            .unwrap();
        let at = format!("{name}@{number}");
        assert_eq!(killed.status.signal(), Some(9), "{at}: {killed:?}");
        assert!(site.is_whole("2"), "{at}: {:?}", site.left());
        // whatever has its name has all its bytes, and the entry comes last
        let entry = site.path("boot/os_3+3-0.efi").exists();
        assert!(!entry || site.is_whole("3"), "{at}: {:?}", site.left());
        let out = site.run(&["list", "--json=short"]);
        assert!(out.status.success(), "{at}: {out:?}");
        let out = site.run(&["update"]);
        assert!(out.status.success(), "{at}: {out:?}");
        site.has_only(&["2", "3"]);
    }
}
