//! Full disks and disks that cannot write.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::fx::{Machine, command, fixture, script};

/// Prints how much of the disk is used, in MiB, without what the package manager downloaded.
const USED: &str = r"used() {
  # the first wakes up who deletes; otherwise that takes half a minute
  btrfs filesystem sync /.snapshots; btrfs subvolume sync -s 1 /.snapshots >/dev/null; sync -f /.snapshots
  echo used $(( ($(df -k --output=used /.snapshots | tail -1) - $(du -sk /var/cache | cut -f1)) / 1024 )); }";
/// `most` leaves little more than what a transaction needs to begin, `fill` nothing; both are fast.
const FILL: &str = r"most() { fallocate -l $(( $(df -k --output=avail /var | tail -1) - 131072 ))K /var/taken; }
fill() {
  fallocate -l $(( $(df -k --output=avail /var | tail -1) - 8192 ))K /var/fill
  dd if=/dev/zero bs=1M status=none 2>/dev/null >> /var/fill; sync -f /var; :; }";
/// Asserts that the disk was used as much at the end as in the beginning, give or take metadata.
#[track_caller]
fn all_space_is_back(stdout: &str) {
    let used: Vec<i64> = stdout
        .lines()
        .filter_map(|l| l.strip_prefix("used ")?.parse().ok())
        .collect();
    assert!(
        used.len() == 2 && (used[0] - used[1]).abs() < 8,
        "{used:?}: {stdout}"
    );
}

#[test]
fn a_disk_that_is_full_before_the_start_is_refused_with_what_is_missing() {
    let machine = Machine::with_disk("700M");
    let script = format!(
        "{FILL}; fill; for words in 'run true' '-n pkg install fx-etc'; do
           transactional-update $words; [ $? = 1 ] || exit 98; done
         transactional-update list && transactional-update status || exit 97; exit 1"
    );
    machine
        .boot(&script)
        .exits(1)
        .says("the file system of /.snapshots is full")
        .says("64 MiB are needed at least")
        .says("MiB are missing")
        .says("delete snapshots or files");
    machine.holds(&[1], 1);
    machine
        .boot("rm /var/fill && transactional-update run true")
        .succeeds();
    machine.holds(&[1, 2], 2);
}

#[test]
fn a_full_disk_does_not_stop_going_back_and_dropping_an_update() {
    let machine = Machine::with_disk("700M");
    machine.tu("run touch /usr/new").succeeds();
    let script =
        format!("{FILL}; fill; transactional-update rollback 1 && transactional-update rollback 2");
    machine.boot(&script).succeeds();
    machine.holds(&[1, 2], 2);
    machine.boot("test -e /usr/new").succeeds();
    let machine = Machine::with_disk("700M");
    let script = format!(
        "{FILL}; transactional-update run touch /usr/new && fill && transactional-update discard"
    );
    machine.boot(&script).succeeds().says("Deleted #2");
    machine.holds(&[1], 1);
}

/// Installs the large package, with `taken` of the disk gone before; `says` is where it failed.
#[track_caller]
fn package_too_large(taken: &str, says: &str) {
    let machine = Machine::with_disk("600M");
    machine.use_repository("v1", &["gpgcheck=0"]);
    let script = format!(
        "{USED}; [ {taken} = 0 ] || fallocate -l {taken} /var/taken; used
         transactional-update -n pkg install fx-huge; code=$?; used; exit $code"
    );
    let ran = machine
        .boot(&script)
        .exits(1)
        .says(says)
        .says("file system is full")
        .says("Remove old snapshots or other data");
    all_space_is_back(&ran.stdout);
    machine.holds(&[1], 1);
    machine.boot("rpm -q fx-huge").exits(1);
}

#[test]
fn a_package_that_does_not_fit_into_the_snapshot_leaves_the_old_system_and_all_space() {
    package_too_large("0", "/usr/share/fx-huge/");
}

#[test]
fn a_package_that_cannot_even_be_fetched_leaves_the_old_system_and_all_space() {
    package_too_large("200M", "/var/cache/zypp/packages/v1");
}

#[test]
fn a_command_that_fills_the_disk_and_says_nothing_ends_whole_or_not_at_all() {
    let machine = Machine::with_disk("700M");
    let script = format!(
        "{USED}; used
         transactional-update run sh -c 'echo begun > /usr/first; head -c 2G /dev/zero > /usr/big; echo wrote $?; exit 0'
         code=$?; btrfs subvolume get-default /; exit $code"
    );
    let ran = machine.boot(&script).says("wrote 1");
    let is_new = ran.stdout.contains(".snapshots/2/snapshot");
    assert_eq!(ran.code == 0, is_new, "half a switch\n{ran}");
    machine.holds(if is_new { &[1, 2] } else { &[1] }, 1 + u32::from(is_new));
    if is_new {
        machine.boot("test -s /usr/first").succeeds();
    }
    let script = format!(
        "{USED}; transactional-update rollback 1 && {{ [ ! -e /.snapshots/2 ] || btrfs -q subvolume delete /.snapshots/2/snapshot && rm -rf /.snapshots/2; }}; used"
    );
    let after = machine.boot(&script).succeeds();
    all_space_is_back(&format!("{}{}", ran.stdout, after.stdout));
    machine.tu("run true").succeeds();
}

/// Points between which the disk fills up while a transaction waits.
const FULL_AT: [&str; 8] = [
    "reserved-unborn",
    "reserved",
    "created",
    "mounted",
    "unmounted",
    "before-sync",
    "before-final-info",
    "before-set-default",
];

/// The disk is full from `point` on.
fn full_from(point: &str) {
    let machine = Machine::with_disk("700M");
    let script = format!(
        "{FILL}; {USED}; most; used
         TU_FAILPOINTS={point}=touch:/run/reached,{point}=wait:/run/go transactional-update run sh -c 'head -c 20M /dev/urandom > /usr/big' & p=$!
         until [ -e /run/reached ]; do sleep .02; done; fill; kill -0 $p || exit 97; touch /run/go
         wait $p; code=$?; rm /var/fill; btrfs subvolume get-default /; ls -A /.snapshots | xargs echo there: ; used; exit $code"
    );
    let ran = machine.boot(&script);
    let is_new = ran.stdout.contains(".snapshots/2/snapshot");
    assert_eq!(ran.code, i32::from(!is_new), "{point}\n{ran}");
    if is_new {
        machine.holds(&[1, 2], 2);
        let whole = machine.boot("[ $(stat -c %s /usr/big) = 20971520 ]");
        whole.succeeds();
    } else {
        all_space_is_back(&ran.stdout);
        let ran = ran.does_not_say("could not be removed");
        assert!(ran.stderr.contains("Error: "), "{point}\n{ran}");
        machine.holds(&[1], 1);
    }
    machine.tu("run true").succeeds();
}

#[test]
fn a_disk_that_fills_up_between_two_steps_leaves_the_old_system_or_the_whole_new_one() {
    for pair in FULL_AT.chunks(4) {
        std::thread::scope(|scope| {
            let running: Vec<_> = pair
                .iter()
                .map(|point| scope.spawn(|| full_from(point)))
                .collect();
            for one in running {
                one.join().unwrap();
            }
        });
    }
}

#[test]
fn snapshots_that_turn_read_only_in_the_middle_leave_the_old_system() {
    let machine = Machine::new();
    let script = "TU_FAILPOINTS=before-set-default=touch:/run/reached,before-set-default=wait:/run/go transactional-update run true & p=$!
         until [ -e /run/reached ]; do sleep .02; done; mount -o remount,bind,ro /.snapshots; touch /run/go; wait $p";
    machine.boot(script).exits(1).says("Read-only file system");
    machine.boot("transactional-update run true").succeeds();
    machine.holds(&[1, 2], 2);
}

#[test]
fn going_back_on_a_read_only_file_system_changes_nothing_and_says_so() {
    let machine = Machine::new();
    let script = "transactional-update run true; mount -o remount,bind,ro /.snapshots
         for words in rollback discard; do transactional-update $words; [ $? = 1 ] || exit 98; done; exit 1";
    let ran = machine.boot(script).exits(1);
    ran.says("Read-only file system");
    machine.holds(&[1, 2], 2);
}

/// A disk on which writes to some sectors fail; gone when dropped.
pub(crate) struct BadDisk {
    dir: PathBuf,
    pub(crate) export: PathBuf,
}

impl BadDisk {
    fn new(machine: &Machine, sectors: impl IntoIterator<Item = u64>) -> BadDisk {
        BadDisk::failing(machine, sectors, "write")
    }

    /// `errors`: `write`, `once` (the first write) or `read`.
    pub(crate) fn failing(
        machine: &Machine,
        sectors: impl IntoIterator<Item = u64>,
        errors: &str,
    ) -> BadDisk {
        let dir = machine.dir().join("eio");
        let list: Vec<String> = sectors.into_iter().map(|s| format!("{s}\n")).collect();
        let file = machine.dir().join("sectors");
        fs::write(&file, list.concat()).unwrap();
        let out = command(fixture("disk.sh"))
            .args(["start", "errors"])
            .env("DISK_ERRORS", errors)
            .arg(machine.image())
            .arg(&dir)
            .stdin(fs::File::open(file).unwrap())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(out.status.success(), "disk.sh start");
        let export = PathBuf::from(String::from_utf8(out.stdout).unwrap().trim_end());
        BadDisk { dir, export }
    }
}

impl Drop for BadDisk {
    fn drop(&mut self) {
        script("disk.sh", &["stop", self.dir.to_str().unwrap()]);
    }
}

/// The sectors of the data of `file` in a snapshot, one for each 64 KiB.
pub(crate) fn sectors_of(machine: &Machine, snapshot: u32, file: &str) -> Vec<u64> {
    let ran = machine
        .outside(&format!(
            "filefrag -v $FX_ROOT/.snapshots/{snapshot}/snapshot/{file}"
        ))
        .succeeds();
    // "   0:        0..    8191:     290688..    298879:   8192:   last,eof", in blocks
    let numbers = |line: &str| -> Option<(u64, u64)> {
        let fields: Vec<&str> = line.split(':').map(str::trim).collect();
        let _extent: u64 = fields.first()?.parse().ok()?;
        Some((
            fields.get(2)?.split("..").next()?.parse().ok()?,
            fields.get(3)?.parse().ok()?,
        ))
    };
    let extents: Vec<_> = ran.stdout.lines().filter_map(numbers).collect();
    assert!(!extents.is_empty(), "no extents\n{ran}");
    let places = extents.iter().flat_map(|(block, count)| {
        let start = on_disk(machine.image(), block * 4096);
        (0..count * 4096)
            .step_by(64 << 10)
            .map(move |at| (start + at) / 512)
    });
    places.collect()
}

/// Where the disk has what the file system calls `logical`.
fn on_disk(image: &Path, logical: u64) -> u64 {
    let out = command("btrfs-map-logical")
        .arg("-l")
        .arg(logical.to_string())
        .arg(image)
        .output()
        .unwrap();
    let said = String::from_utf8(out.stdout).unwrap();
    let mut words = said.split_whitespace().skip_while(|w| *w != "physical");
    words
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or_else(|| panic!("no place on the disk: {said}"))
}

/// Does `words` on a good copy of a machine to learn where the data of `file` goes, and then on a disk that
/// cannot write there. The package manager or command succeeds; only the sync tells.
#[track_caller]
fn data_cannot_be_written(prepare: &dyn Fn(&Machine), words: &str, file: &str) {
    let good = Machine::new();
    prepare(&good);
    good.tu(words).succeeds();
    let sectors = sectors_of(&good, 2, file);
    let machine = Machine::new();
    prepare(&machine);
    let bad = BadDisk::new(&machine, sectors);
    let ran = machine.boot_on(&bad.export, &format!("transactional-update {words}"));
    drop(bad);
    ran.exits(1)
        .says("writing the file system of /.snapshots to disk: Input/output error")
        .does_not_say("could not be removed")
        .does_not_say("failed with status");
    machine.holds(&[1], 1);
    machine.tu(words).succeeds();
    machine.holds(&[1, 2], 2);
}

#[test]
fn a_write_error_that_the_command_does_not_notice_stops_the_switch() {
    let words = "run sh -c 'head -c 32M /dev/urandom > /usr/big && echo written || exit 9'";
    data_cannot_be_written(&|_| (), words, "usr/big");
}

#[test]
fn a_write_error_that_the_package_manager_does_not_notice_stops_the_switch() {
    let prepare = |machine: &Machine| machine.use_repository("v1", &["gpgcheck=0"]);
    data_cannot_be_written(&prepare, "-n pkg install fx-huge", "usr/share/fx-huge/big");
}

#[test]
fn a_superblock_that_cannot_be_written_leaves_the_old_system_and_names_the_first_error() {
    for words in ["run true", "-n pkg install fx-etc"] {
        let machine = Machine::new();
        // so that nothing has to be written before the snapshot
        machine.tu("boot-complete").succeeds();
        let bad = BadDisk::new(&machine, [128]);
        let ran = machine.boot_on(&bad.export, &format!("transactional-update {words}"));
        drop(bad);
        ran.exits(1).says("Input/output error");
        machine.holds(&[1], 1);
        machine.tu(words).succeeds();
        machine.holds(&[1, 2], 2);
    }
}

#[test]
fn death_while_removing_what_death_left_is_made_good_by_the_next_command() {
    let machine = Machine::new();
    let script = "TU_FAILPOINTS=mounted=kill transactional-update run true
        TU_FAILPOINTS=deleted-subvolume=kill transactional-update run true
        ls -A /.snapshots/2";
    let ran = machine.boot(script).succeeds();
    assert_eq!(ran.stdout, "info.xml\n", "{ran}");
    machine
        .tu("run true")
        .succeeds()
        .says("Removed snapshot 2, left behind");
    machine.holds(&[1, 2], 2);
}
