//! The program `sysupdate` with a system in the image of a file system, or of a disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::fx::require_root;
use crate::sfdisk;
use crate::sysupdate::PROGRAM;

const ROOT: &str = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709";
/// Bytes of a partition with a root.
const LENGTH: u64 = 16 << 20;

/// An image, and what is put into it.
struct Image(tempfile::TempDir);

#[allow(clippy::disallowed_methods)] // tests start programs as a person does
fn run(program: &str, words: &[&str]) -> Output {
    Command::new(program).args(words).output().unwrap()
}

#[track_caller]
fn ok(program: &str, words: &[&str]) -> String {
    let done = run(program, words);
    assert!(done.status.success(), "{program} {words:?}: {done:?}");
    String::from_utf8(done.stdout).unwrap() + &String::from_utf8(done.stderr).unwrap()
}

impl Image {
    /// A file system with versions 1 and 2 to be had, by a transfer file with this target.
    fn new(target: &str) -> Image {
        Image::with(target, &[])
    }

    /// The same, with `more` files.
    fn with(target: &str, more: &[(&str, &str)]) -> Image {
        require_root();
        let image = Image(tempfile::tempdir().unwrap());
        for dir in ["etc/sysupdate.d", "src", "images", "run"] {
            fs::create_dir_all(image.path("tree").join(dir)).unwrap();
        }
        let tree = image.path("tree");
        let transfer = format!(
            "[Source]\nType=regular-file\nPath=/src\nMatchPattern=os_@v.raw\n[Target]\n{target}"
        );
        fs::write(tree.join("etc/sysupdate.d/a.transfer"), transfer).unwrap();
        fs::write(tree.join("etc/os-release"), "ID=test\n").unwrap();
        for version in ["1", "2"] {
            fs::write(tree.join(format!("src/os_{version}.raw")), version).unwrap();
        }
        for (path, text) in more {
            let path = tree.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let file = image.path("image");
        fs::File::create(&file).unwrap().set_len(LENGTH).unwrap();
        let words = ["-q", "-d", tree.to_str().unwrap(), file.to_str().unwrap()];
        ok("mkfs.ext4", &words);
        image
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// The whole disk, in which the file system is the root: two slots, the root, and a root that is not finished.
    fn in_disk(self) -> Image {
        self.placed_at(
            3 << 20,
            &format!(
                "size=1MiB, name=\"_empty\"\nsize=1MiB, name=\"_empty\"\n\
                 size=16MiB, type={ROOT}, name=\"root_5\"\nsize=1MiB, type={ROOT}, name=\"_empty\"\n"
            ),
        )
    }

    /// The whole disk, with two slots for roots: in the first one is version 0, and in the second one the file system is version 1.
    fn in_slots(self) -> Image {
        self.placed_at(
            2 << 20,
            &format!(
                "size=1MiB, type={ROOT}, name=\"root_0\"\nsize=16MiB, type={ROOT}, name=\"root_1\"\n"
            ),
        )
    }

    /// The whole disk with these partitions, and the file system where one of them begins.
    fn placed_at(self, at: u64, partitions: &str) -> Image {
        let root = fs::read(self.path("image")).unwrap();
        let disk = self.path("image");
        let file = fs::File::create(&disk).unwrap();
        file.set_len(LENGTH + (8 << 20)).unwrap();
        sfdisk::make(&disk, &format!("label: gpt\n{partitions}"));
        let file = fs::File::options().write(true).open(&disk).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &root, at).unwrap();
        self
    }

    /// The labels of the partitions.
    fn labels(&self) -> Vec<String> {
        let dump = sfdisk::dump(self.path("image"));
        let labels = dump.lines().filter_map(|l| l.split("name=").nth(1));
        labels.map(|label| label.replace('"', "")).collect()
    }

    fn sysupdate(&self, words: &[&str]) -> Output {
        let image = format!("--image={}", self.path("image").display());
        run(PROGRAM, &[&[image.as_str()], words].concat())
    }

    #[track_caller]
    fn ok(&self, words: &[&str]) -> String {
        let done = self.sysupdate(words);
        assert!(done.status.success(), "{words:?}: {done:?}");
        String::from_utf8(done.stdout).unwrap() + &String::from_utf8(done.stderr).unwrap()
    }

    /// Nothing of it is attached or mounted any more.
    #[track_caller]
    fn is_released(&self) {
        let path = self.path("image");
        for _ in 0..1200 {
            if ok("losetup", &["--associated", path.to_str().unwrap()]).is_empty() {
                return;
            }
            // the kernel lets go of it when the namespace is gone
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("{}", ok("losetup", &["--list"]));
    }
}

/// The text of a file in the file system that `file` is.
fn text(file: &Path, path: &str) -> String {
    let request = format!("cat {path}");
    let words = ["-R", &request, file.to_str().unwrap()];
    let done = run("debugfs", &words);
    String::from_utf8(done.stdout).unwrap()
}

const FILES: &str = "Path=/images\nMatchPattern=os_@v.raw\nCurrentSymlink=/images/current\n";

#[test]
fn a_system_in_an_image_is_updated_and_the_image_is_let_go() {
    let image = Image::new(FILES);
    assert!(image.ok(&["list", "--no-legend"]).contains("2"));
    image.is_released();
    let told = image.ok(&["update"]);
    assert!(
        told.contains("Successfully installed update '2'."),
        "{told}"
    );
    image.is_released();
    assert_eq!(text(&image.path("image"), "/images/os_2.raw"), "2");
    assert!(
        image
            .ok(&["list"])
            .contains("● 2           ✓         ✓     current")
    );
    // also when it fails, or is killed
    assert_eq!(image.sysupdate(&["update", "7"]).status.code(), Some(1));
    image.is_released();
    let kill = format!(
        "TU_FAILPOINTS=sysupdate-acquired=kill {PROGRAM} --image={} update 1",
        image.path("image").display()
    );
    assert_eq!(run("sh", &["-c", &kill]).status.code(), Some(137));
    image.is_released();
    image.ok(&["update", "1"]);
    assert_eq!(text(&image.path("image"), "/images/os_1.raw"), "1");
    // nothing outside of it
    assert!(!Path::new("/images").exists());
}

#[test]
fn the_root_of_a_disk_is_found_and_auto_is_that_disk() {
    let image = Image::new("Type=partition\nPath=auto\nMatchPattern=os_@v\n").in_disk();
    let told = image.ok(&["update"]);
    let disk = image.path("image");
    assert!(
        told.contains(&format!("Installed '{}1'.", disk.display())),
        "{told}"
    );
    image.is_released();
    assert_eq!(image.labels(), ["os_2", "_empty", "root_5", "_empty"]);
    assert_eq!(fs::read(&disk).unwrap()[1 << 20], b'2');
}

const ROOTS: &str = "Type=partition\nPath=auto\nMatchPattern=root_@v\nMatchPartitionType=root\n";

#[test]
fn the_slot_of_the_root_that_is_mounted_is_never_written() {
    let protecting = format!("{ROOTS}[Transfer]\nProtectVersion=0\n");
    let only =
        "No partition slot can be emptied for a: 1 is in use, 0 is protected; nothing is changed";
    for words in [&["update"][..], &["update", "--erase=early"]] {
        let image = Image::new(&protecting).in_slots();
        let done = image.sysupdate(words);
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(
            done.status.code() == Some(1) && told.contains(only),
            "{told}"
        );
        assert_eq!(image.labels(), ["root_0", "root_1"]);
    }
    // nothing else keeps it: something of its version is missing, it was gone back from, or its transfer takes no part
    let second = "[Source]\nType=regular-file\nPath=/src\nMatchPattern=os_@v.raw\n[Target]\nPath=/images\nMatchPattern=os_@v.raw\n";
    let incomplete = [
        ("etc/sysupdate.d/b.transfer", second),
        ("images/os_0.raw", "0"),
    ];
    let record = "var/lib/transactional-update/sysupdate/held/default";
    let held = [(record, "{\"versions\":[\"1\"]}")];
    for more in [&incomplete[..], &held] {
        let image = Image::with(ROOTS, more).in_slots();
        let done = image.sysupdate(&["update"]);
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(told.contains("1 is in use, 0 is the newest"), "{told}");
        assert_eq!(image.labels(), ["root_0", "root_1"]);
    }
    let off = format!("{ROOTS}[Transfer]\nFeatures=off\n");
    let feature = ("etc/sysupdate.d/off.feature", "[Feature]\n");
    let image = Image::with(&off, &[feature]).in_slots();
    image.ok(&["vacuum"]);
    assert_eq!(image.labels(), ["_empty", "root_1"]);
}

#[test]
fn an_image_that_cannot_be_used_is_named_with_the_reason() {
    let image = Image::new(FILES);
    let file = image.path("image");
    let told = |why: &str| {
        let done = image.sysupdate(&["list"]);
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(1), "{told}");
        assert!(told.contains(why), "{why}: {told}");
        image.is_released();
    };
    fs::write(&file, vec![0; 1 << 20]).unwrap();
    told("image cannot be mounted: `mount");
    fs::File::create(&file).unwrap().set_len(8 << 20).unwrap();
    sfdisk::make(&file, "label: gpt\nsize=1MiB, name=\"x\"\n");
    told("has no partition for the root of this machine");
    fs::remove_file(&file).unwrap();
    told("No such file or directory");
}

#[test]
fn an_image_whose_lock_is_no_file_says_so_and_names_no_file_of_settings() {
    use std::os::unix::fs::MetadataExt;
    let image = Image::new("Type=regular-file\nPath=/images\nMatchPattern=os_@v.raw\n");
    let there = fs::metadata(image.path("image")).unwrap();
    let name = format!("{}-{}.lock", there.dev(), there.ino());
    let lock = Path::new("/run/transactional-update/image").join(name);
    // of an image that is gone there may be one with the same number
    fs::remove_file(&lock).unwrap_or(());
    fs::create_dir_all(&lock).unwrap();
    let done = image.sysupdate(&["list"]);
    fs::remove_dir(&lock).unwrap();
    let told = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{told}");
    assert!(told.contains("cannot lock /run/"), "{told}");
    assert!(
        told.contains("see that a regular file can be written there"),
        "{told}"
    );
    assert!(!told.contains("LOCKFILE"), "{told}");
}
