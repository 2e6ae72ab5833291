//! What `sysupdate update` does at the limits of servers, keys and file systems: the right thing is installed, or nothing.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::mount::MsFlags;

use crate::fx::command;
use crate::gpg::Gpg;
use crate::http::Answer;
use crate::sysupdate_slots_update::Loop;
use crate::sysupdate_update::{Site, image, wait_until};

/// A mounted file system, as long as this lives.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    /// Of this kind, empty, in the directory `dir` of the system, which is made.
    pub(crate) fn new(site: &Site, dir: &str, kind: &str, options: &str) -> Mounted {
        let path = site.path(dir);
        fs::create_dir_all(&path).unwrap();
        let options = Some(options).filter(|o| !o.is_empty());
        nix::mount::mount(Some(kind), &path, Some(kind), MsFlags::empty(), options).unwrap();
        Mounted(path)
    }

    /// That of a device.
    pub(crate) fn of(device: &str, kind: &str, path: &Path) -> Mounted {
        let none: Option<&str> = None;
        nix::mount::mount(Some(device), path, Some(kind), MsFlags::empty(), none).unwrap();
        Mounted(path.to_owned())
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let name = |e: std::io::Result<fs::DirEntry>| e.unwrap().file_name().into_string().unwrap();
        entries.map(name).collect()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // a child that another test starts just now may have something in it open until another program runs in it
        wait_until(|| match nix::mount::umount(&self.0) {
            Err(Errno::EBUSY) => false,
            done => {
                done.unwrap();
                true
            }
        });
    }
}

fn zst(content: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(content, 1).unwrap()
}

/// A transfer of a file to `dir`, beside those that each site has.
fn to(site: &Site, dir: &str, more: &str) {
    site.transfer("30-other", &format!("Type=url-file\nMatchPattern=other_@v\n[Target]\nType=regular-file\nPath=/{dir}\nMatchPattern=other_@v\n{more}"));
}

#[test]
fn only_a_key_that_is_trusted_and_has_not_expired_makes_a_manifest_count() {
    let site = Site::with(&["1"], "2");
    let gpg = Gpg::new(&["trusted", "foreign"]);
    let manifest = site.manifest();
    let expired = gpg.sign_expired("expired", &manifest);
    // what is worked on does not say whom to trust
    site.write("etc/systemd/import-pubring.pgp", "");
    let of_its_own = site.path("etc/systemd/import-pubring.pgp");
    fs::write(of_its_own, gpg.keys("foreign")).unwrap();
    let keyring = site.path("keyring");
    fs::write(
        &keyring,
        [gpg.keys("trusted"), gpg.keys("expired")].concat(),
    )
    .unwrap();
    let updated = |is_named: bool| {
        let mut command = site.command(&["update", "--verify=yes"]);
        if is_named {
            command.env("SYSTEMD_OPENPGP_KEYRING", &keyring);
        }
        let done = command.output().unwrap();
        let told = String::from_utf8(done.stderr).unwrap();
        (done.status.code(), told)
    };
    let signed = |signature: Vec<u8>| {
        site.answer("SHA256SUMS.gpg", Answer::of(&Arc::new(signature)));
    };
    let before = site.payloads().len();
    for (signature, why) in [
        (gpg.sign("foreign", &manifest), "There is no key for it"),
        (expired, "key has expired"),
        (
            gpg.sign("trusted", b"another text"),
            "not the one that was signed",
        ),
    ] {
        signed(signature);
        let (code, told) = updated(true);
        let invalid = "DOWNLOAD INVALID: Signature verification failed.";
        assert_eq!(code, Some(1), "{told}");
        assert!(
            told.contains(invalid) && told.contains(why),
            "{why}: {told}"
        );
    }
    assert_eq!(site.payloads().len(), before);
    signed(gpg.sign("foreign", &manifest));
    let (code, told) = updated(false);
    assert_eq!(code, Some(1), "{told}");
    signed(gpg.sign("trusted", &manifest));
    let (code, told) = updated(true);
    assert_eq!(code, Some(0), "{told}");
    site.has_only(&["1", "2"]);
}

#[test]
fn what_was_kept_and_cannot_be_read_any_more_is_fetched_again() {
    const BLOCK: usize = 4096;
    let site = Site::with(&[], "1");
    let disk = site.path("disk");
    let file = fs::File::create(&disk).unwrap();
    file.set_len(120 << 20).unwrap();
    let device = Loop::new(512, disk.to_str().unwrap());
    let made = command("mkfs.btrfs").args(["-q", &device.0]).output();
    assert!(made.unwrap().status.success());
    fs::create_dir_all(site.path("images")).unwrap();
    let _mounted = Mounted::of(&device.0, "btrfs", &site.path("images"));
    let payload = site.payload("os_1.raw");
    let whole = Answer::of(&payload).etag("\"1\"");
    site.answer("os_1.raw", whole.clone().cut_after(70_000).without_ranges());
    site.fails(&["update"], "os_1.raw");
    site.answer("os_1.raw", whole);
    // a block of what is there becomes another one, and nobody has it in memory
    let kept = fs::File::open(site.path("images/.sysupdate.partial.os_1.raw")).unwrap();
    kept.sync_all().unwrap();
    posix_fadvise(&kept, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
    let block = &payload[2 * BLOCK..3 * BLOCK];
    let bytes = fs::read(&disk).unwrap();
    let at = bytes
        .chunks(BLOCK)
        .position(|chunk| chunk == block)
        .unwrap();
    file.write_all_at(&[0x55; 64], (at * BLOCK) as u64).unwrap();
    file.sync_all().unwrap();
    assert!(fs::read(site.path("images/.sysupdate.partial.os_1.raw")).is_err());
    let told = site.ok(&["update"]);
    assert!(
        told.contains("What was kept of an earlier run is dropped"),
        "{told}"
    );
    assert!(fs::read(site.path("images/os_1.raw")).unwrap() == *payload);
}

#[test]
fn a_payload_comes_by_redirects_and_from_a_server_that_fails_now_and_then() {
    let site = Site::with(&["1"], "2");
    let content = Arc::new(image("2", 100_000));
    site.answer("os_2.raw", Answer::redirect(302, "/elsewhere/image"));
    site.answer("elsewhere/image", Answer::redirect(307, "deeper"));
    site.answer("elsewhere/deeper", Answer::of(&content).etag("\"1\""));
    let entry = Arc::new(image("2", 3000));
    site.answer_in_turn("os_2.efi", vec![Answer::status(503), Answer::of(&entry)]);
    let told = site.ok(&["update"]);
    assert!(
        told.contains("failed with code 503.; trying again in 1 seconds"),
        "{told}"
    );
    site.has_only(&["1", "2"]);
}

#[test]
fn a_server_that_redirects_in_circles_or_to_a_file_gives_nothing() {
    let site = Site::with(&["1"], "2");
    for (to, why) in [
        ("/os_2.raw", "more than 10 redirects"),
        ("file:///etc/os-release", "it redirects to what is"),
    ] {
        site.answer("os_2.raw", Answer::redirect(302, to));
        let told = site.fails(&["update"], "nothing has changed.");
        assert!(told.contains(why), "{told}");
        site.has_only(&["1"]);
    }
}

#[test]
fn a_server_that_lies_about_parts_and_lengths_is_not_believed() {
    let site = Site::with(&["1"], "2");
    let content = Arc::new(image("2", 100_000));
    // it breaks off, and then gives another part than it was asked for
    site.answer_in_turn(
        "os_2.raw",
        vec![
            Answer::of(&content).etag("\"1\""),
            Answer::of(&content).etag("\"1\""),
            Answer::of(&content).etag("\"1\"").cut_after(30_000),
            Answer::of(&content).etag("\"1\"").with_wrong_range(),
        ],
    );
    site.ok(&["update"]);
    site.has_only(&["1", "2"]);
}

#[test]
fn a_size_that_the_first_bytes_tell_is_looked_at_before_anything_changes() {
    let mut site = Site::with(&["1"], "2");
    to(&site, "small", "");
    let bomb = zst(&vec![b'x'; 4 << 20]);
    assert!(bomb.len() < 100_000);
    site.put("other_2", bomb);
    let mounted = Mounted::new(&site, "small", "tmpfs", "size=1m");
    let told = site.fails(&["update"], "nothing has changed.");
    assert!(told.contains("4194304 bytes are needed"), "{told}");
    assert!(mounted.names().is_empty());
    let gets = site.server.seen();
    let whole = gets
        .iter()
        .filter(|r| r.method == "GET" && r.path == "/other_2" && r.header("range").is_none());
    assert_eq!(whole.count(), 0, "{gets:?}");
    drop(mounted);
    fs::remove_file(site.path("etc/sysupdate.d/30-other.transfer")).unwrap();
    fs::remove_dir(site.path("small")).unwrap();
    site.has_only(&["1"]);
}

#[test]
fn what_does_not_fit_into_the_spool_is_installed_without_it() {
    let mut site = Site::with(&["1"], "2");
    to(&site, "others", "");
    // what cannot be compressed
    let mut noise: u64 = 1;
    let content: Vec<u8> = (0..1 << 20)
        .map(|_| {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (noise >> 56) as u8
        })
        .collect();
    site.put("other_2", zst(&content));
    let spool = "var/lib/transactional-update/sysupdate/spool";
    let mounted = Mounted::new(&site, spool, "tmpfs", "size=256k,mode=700");
    let told = site.ok(&["update"]);
    assert!(
        told.contains("30-other: ") && told.contains("it would begin anew"),
        "{told}"
    );
    assert!(mounted.names().is_empty());
    assert!(site.is_whole("2"));
    assert!(fs::read(site.path("others/other_2")).unwrap() == content);
}

#[test]
fn a_tree_with_more_files_than_there_are_inodes_leaves_nothing_there() {
    let mut site = Site::with(&["1"], "");
    site.transfer("30-tree", "Type=url-tar\nMatchPattern=many_@v.tar\n[Target]\nType=directory\nPath=/few\nMatchPattern=many_@v\n");
    let from = tempfile::tempdir().unwrap();
    for number in 0..100 {
        fs::write(from.path().join(number.to_string()), "x").unwrap();
    }
    let tar = run("tar", &["-C", from.path().to_str().unwrap(), "-c", "."]);
    site.offer("2");
    site.put("many_2.tar", tar);
    let mounted = Mounted::new(&site, "few", "tmpfs", "size=8m,nr_inodes=50");
    site.fails(&["update"], "No space left on device");
    assert!(mounted.names().is_empty(), "{:?}", mounted.names());
    assert!(site.is_whole("1") && !site.path("boot/os_2+3-0.efi").exists());
}

/// What a program prints.
#[allow(clippy::disallowed_methods)] // tests start programs as a person does
fn run(program: &str, args: &[&str]) -> Vec<u8> {
    let done = Command::new(program).args(args).output().unwrap();
    assert!(done.status.success(), "{program}: {done:?}");
    done.stdout
}

#[test]
fn a_full_var_keeps_an_update_from_being_installed_and_the_next_one_installs_it() {
    let site = Site::with(&["1"], "2");
    let mounted = Mounted::new(&site, "var/lib/transactional-update", "tmpfs", "size=64k");
    let mut fill = fs::File::create(mounted.0.join("fill")).unwrap();
    let mut written = 0;
    while std::io::Write::write(&mut fill, &[1; 4096]).is_ok_and(|n| n > 0) {
        written += 1;
        assert!(written < 1000);
    }
    site.fails(&["update"], "noting what is being installed");
    assert!(site.is_whole("1") && !site.is_whole("2"));
    assert_eq!(
        fs::read_link(site.path("images/current.raw")).unwrap(),
        Path::new("os_1.raw")
    );
    drop(fill);
    fs::remove_file(mounted.0.join("fill")).unwrap();
    let before = site.payloads().len();
    site.ok(&["update"]);
    assert_eq!(site.payloads().len(), before, "all of it was pending");
    drop(mounted);
    site.has_only(&["1", "2"]);
}

#[test]
fn a_file_system_without_attributes_takes_files_and_trees() {
    let mut site = Site::with(&["1"], "2");
    to(&site, "plain", "ReadOnly=yes\n");
    site.put("other_2", b"other".to_vec());
    site.transfer("30-tree", "Type=url-tar\nMatchPattern=plain_@v.tar\n[Target]\nType=directory\nPath=/plain\nMatchPattern=plain_@v\nReadOnly=yes\n");
    site.put("plain_2.tar", run("tar", &["-c", "-T", "/dev/null"]));
    let mounted = Mounted::new(&site, "plain", "ramfs", "");
    let told = site.ok(&["update"]);
    let why = "plain/plain_2: it cannot be noted that nobody may write to it";
    assert!(told.contains(why), "{told}");
    let mut names = mounted.names();
    names.sort();
    assert_eq!(names, ["other_2", "plain_2"]);
    drop(mounted);
    site.has_only(&["1", "2"]);
}

/// A file system that has neither modes nor links nor attributes, as FAT has none, and a driver for it as a program.
struct Exfat {
    path: PathBuf,
    device: String,
    driver: Child,
}

impl Exfat {
    #[allow(clippy::disallowed_methods)] // tests start programs as a person does
    fn new(site: &Site, dir: &str) -> Exfat {
        let (image, path) = (site.path("exfat.img"), site.path(dir));
        fs::create_dir_all(&path).unwrap();
        fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
        let image = image.to_str().unwrap();
        run("mkfs.exfat", &[image]);
        let device = String::from_utf8(run("losetup", &["--find", "--show", image])).unwrap();
        let device = device.trim_end().to_owned();
        let quiet = Stdio::null;
        let mut driver = Command::new("mount.exfat-fuse");
        let driver = driver.args(["-d", &device]).arg(&path);
        let driver = driver.stdout(quiet()).stderr(quiet()).spawn().unwrap();
        let exfat = Exfat {
            path,
            device,
            driver,
        };
        let above = fs::metadata(site.path("")).unwrap().dev();
        for _ in 0..1200 {
            if fs::metadata(&exfat.path).unwrap().dev() != above {
                return exfat;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("exfat-fuse does not mount");
    }
}

impl Drop for Exfat {
    fn drop(&mut self) {
        nix::mount::umount(&self.path).unwrap_or(());
        drop(self.driver.kill());
        drop(self.driver.wait());
        run("losetup", &["--detach", &self.device]);
    }
}

#[test]
fn a_file_system_without_modes_and_links_takes_files_and_a_link_there_is_named() {
    let mut site = Site::with(&["1"], "2");
    to(&site, "esp", "Mode=0600\nReadOnly=yes\n");
    site.put("other_2", b"other".to_vec());
    let exfat = Exfat::new(&site, "esp");
    site.ok(&["update"]);
    assert!(site.is_whole("2"));
    assert_eq!(fs::read(exfat.path.join("other_2")).unwrap(), b"other");

    to(&site, "esp", "CurrentSymlink=current\n");
    site.offer("3");
    site.put("other_3", b"third".to_vec());
    let told = site.fails(&["update"], "making the link");
    assert!(
        told.contains("esp/current") && told.contains("Function not implemented"),
        "{told}"
    );
    assert!(told.contains("has no symbolic links"), "{told}");
    assert_eq!(fs::read(exfat.path.join("other_3")).unwrap(), b"third");
    // it is the only thing that is missing, and what comes after it follows once it is not wanted any more
    to(&site, "esp", "");
    site.ok(&["update"]);
    assert!(site.is_whole("3"));
}

#[test]
fn no_way_to_another_directory_is_a_version_or_followed() {
    let mut site = Site::with(&["1"], "");
    site.fails(&["update", "../../etc"], "Update '../../etc' not found.");
    site.fails(
        &["-C", "../etc", "update"],
        "Component name invalid: ../etc",
    );
    // a version of two points
    for name in ["tree_...tar", "os_...raw", "os_...efi"] {
        site.put(name, b"x".to_vec());
    }
    assert!(site.ok(&["update"]).contains("No update needed."));
    site.has_only(&["1"]);
    // a subdirectory that is a link
    site.transfer("30-deep", "Type=url-file\nMatchPattern=os_@v.efi\n[Target]\nType=regular-file\nPath=/deep\nMatchPattern=os_@v/boot.efi\n");
    site.offer("2");
    let precious = site.path("precious");
    fs::create_dir_all(&precious).unwrap();
    fs::create_dir(site.path("deep")).unwrap();
    symlink(&precious, site.path("deep/os_2")).unwrap();
    site.fails(&["update"], "os_2");
    assert!(fs::read_dir(&precious).unwrap().next().is_none());
    assert!(site.is_whole("1") && !site.path("boot/os_2+3-0.efi").exists());
}
