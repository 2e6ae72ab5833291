//! What is refused before anything changes, and why.

use crate::fx::{Machine, PROGRAM, Ran, Variant, command};

/// Bash functions that make directories in /.snapshots: `info N USERDATA` writes an info.xml, `sub N` makes a
/// subvolume.
const CRAFT: &str = r#"
info() {
  mkdir -p /.snapshots/$1
  { echo '<?xml version="1.0"?>'; echo "<snapshot><type>single</type><num>$1</num><date>2026-01-02 03:04:05</date>"
    echo "<description>crafted</description>$2</snapshot>"; } > /.snapshots/$1/info.xml; }
sub() { mkdir -p /.snapshots/$1; btrfs -q subvolume snapshot -r /.snapshots/1/snapshot /.snapshots/$1/snapshot; }
data() { echo "<userdata><key>$1</key><value>$2</value></userdata>"; }
ours() { data transactional-update-in-progress yes; data tu-owner "$1"; }
"#;

/// Every command that changes something, for a loop in bash.
const WRITERS: &str = "'run true' '-n pkg install fx-etc' '-n dup' rollback discard";

/// Boots and runs `script`, which has to fail with status 1, say all of `says` and leave no mount, no snapshot
/// and no other default behind.
#[track_caller]
fn refused(machine: &Machine, script: &str, says: &[&str]) {
    let ran = machine
        .boot(&format!("{CRAFT}\n{script}\n{NO_MOUNT}"))
        .exits(1);
    says.iter().fold(ran, |ran, text| ran.says(text));
    machine.holds(&[1], 1);
}

/// Passes the status on, but is a failure of its own when a mount of a transaction is left.
const NO_MOUNT: &str =
    r"code=$?; ! grep -E ' /\.snapshots/[0-9]' /proc/self/mountinfo || exit 99; exit $code";

/// A loop over words: each is a command line that must fail with status 1.
fn each_fails(words: &str, prefix: &str) -> String {
    format!(
        "for words in {words}; do {prefix} $words; code=$?; [ $code = 1 ] || {{ echo \"$words: status $code\"; exit 98; }}; done; (exit 1)"
    )
}

#[test]
fn a_user_who_is_not_root_is_told_to_become_root_by_every_command() {
    let machine = Machine::new();
    let as_daemon = "setpriv --reuid=daemon --regid=daemon --clear-groups -- transactional-update";
    let words = format!("status list {WRITERS}");
    refused(
        &machine,
        &each_fails(&words, as_daemon),
        &["only root can", "call this as root"],
    );
    let script = format!("{as_daemon} status 2>&1; {as_daemon} --help; {as_daemon} --version");
    machine
        .boot(&script)
        .succeeds()
        .says("Error: only root")
        .says("Usage:");
}

#[test]
fn a_root_that_is_not_on_btrfs_is_refused_and_stays_untouched() {
    let machine = Machine::new();
    let words = format!("status list {WRITERS}");
    let script = format!(
        "mkdir /tmp/r; mount -t tmpfs r /tmp/r; cd /tmp/r; mkdir usr run proc; mount --rbind /run run
         mount --bind /usr usr; ln -s usr/lib lib; ln -s usr/lib64 lib64; ls -A > /run/before
         {}; ls -A > /run/after; cmp /run/before /run/after || exit 97; (exit 1)",
        each_fails(&words, "chroot . /run/tu/transactional-update")
    );
    refused(
        &machine,
        &script,
        &["/ is not on btrfs", "need a root file system of type btrfs"],
    );
}

#[test]
fn a_directory_that_is_not_on_btrfs_is_refused_as_root_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    for words in [["status"].as_slice(), &["list"], &["run", "true"]] {
        let out = command(PROGRAM)
            .arg("--root")
            .arg(dir.path())
            .args(words)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{said}");
        let name = dir.path().to_str().unwrap();
        assert!(said.contains(&format!("{name} is not on btrfs")), "{said}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_system_without_its_directory_of_snapshots_is_told_what_is_missing() {
    let machine = Machine::new();
    let words = format!("status list {WRITERS}");
    let script = format!(
        "umount /.snapshots; {}",
        each_fails(&words, "transactional-update")
    );
    refused(
        &machine,
        &script,
        &["/.snapshots is not a btrfs subvolume", "mounted there"],
    );
}

#[test]
fn snapshots_that_are_mounted_read_only_are_named_with_the_way_out() {
    let machine = Machine::new();
    let script = format!(
        "mount -o remount,bind,ro /.snapshots; {}",
        each_fails("'run true' '-n pkg install fx-etc'", "transactional-update")
    );
    refused(
        &machine,
        &script,
        &[
            "/.snapshots is mounted read-only",
            "mount -o remount,rw /.snapshots",
        ],
    );
    machine
        .boot("mount -o remount,bind,ro /.snapshots; transactional-update list && transactional-update status")
        .succeeds()
        .says("Next boot: #1");
}

/// Makes a small disk with one subvolume `name` and calls the program with it as root.
#[track_caller]
fn other_layout(name: &str, more: &str, says: &str) {
    let machine = Machine::new();
    let script = format!(
        "truncate -s 256M /tmp/d.img; mkfs.btrfs -q /tmp/d.img; mkdir /tmp/d; mount -o loop /tmp/d.img /tmp/d
         btrfs -q subvolume create /tmp/d/{name}; cd /tmp/d/{name}; {more}
         cd /; umount /tmp/d; mount -o loop,subvol={name} /tmp/d.img /tmp/d
         {}",
        each_fails(
            &format!("list status {WRITERS}"),
            "transactional-update --root /tmp/d"
        )
    );
    refused(&machine, &script, &[says, "openSUSE layout"]);
}

#[test]
fn the_layout_of_debian_is_refused_by_what_it_lacks() {
    other_layout(
        "@",
        "btrfs -q subvolume create ../@home; mkdir usr etc",
        "/tmp/d/.snapshots is not a btrfs subvolume",
    );
}

#[test]
fn the_layout_of_fedora_with_snapper_is_refused_by_what_it_lacks() {
    let more =
        "btrfs -q subvolume create ../home; mkdir usr etc; btrfs -q subvolume create .snapshots
        mkdir .snapshots/1; btrfs -q subvolume snapshot -r . .snapshots/1/snapshot; ln -s . link";
    other_layout("root", more, "/tmp/d is not a snapshot of .snapshots");
}

#[test]
fn a_missing_zypper_is_named_and_stops_only_package_commands() {
    let machine = Machine::new();
    machine.prepare("rm /usr/bin/zypper");
    refused(
        &machine,
        &each_fails(
            "'-n pkg install fx-etc' '-n dup' '-n up'",
            "transactional-update",
        ),
        &["/usr/bin/zypper is missing", "install the package zypper"],
    );
    machine.tu("run true").succeeds();
    machine.holds(&[1, 2], 2);
}

#[test]
fn a_missing_package_database_is_named_and_stops_only_package_commands() {
    let machine = Machine::new();
    machine.prepare("mv /usr/lib/sysimage /usr/lib/elsewhere");
    refused(
        &machine,
        "transactional-update -n pkg install fx-etc",
        &[
            "/usr/lib/sysimage/rpm is missing",
            "must be part of the root snapshot",
        ],
    );
}

#[test]
fn a_directory_in_the_place_of_the_link_to_the_package_database_is_refused() {
    let machine = Machine::new();
    machine.prepare("mkdir -p /.snapshots/1/snapshot/var/lib/rpm");
    refused(
        &machine,
        "transactional-update -n pkg install fx-etc",
        &[
            "/var/lib/rpm inside the snapshot is a directory",
            "a link to /usr/lib/sysimage/rpm belongs",
            "move it away",
        ],
    );
    machine.tu("run true").succeeds();
    machine.holds(&[1, 2], 2);
}

/// Has snapshots 2 to 5 crafted, asks for them as bases, and finds all of them as they were.
#[track_caller]
fn base_is_refused(craft: &str, base: &str, says: &[&str]) {
    let machine = Machine::new();
    let show = "(cd /.snapshots; find . -maxdepth 2 | sort; cat [2-9]/info.xml) 2>/dev/null";
    let ran = machine
        .boot(&format!(
            "{CRAFT}\n{craft}; {show} > /run/before
             transactional-update -c {base} run true; code=$?
             {show} | diff /run/before - >&2 || exit 97
             (exit $code); {NO_MOUNT}"
        ))
        .exits(1);
    says.iter().fold(ran, |ran, text| ran.says(text));
    machine
        .boot("btrfs subvolume get-default /")
        .says(".snapshots/1/snapshot");
}

#[test]
fn a_base_that_is_not_there_is_refused() {
    base_is_refused(
        "true",
        "99",
        &["there is no snapshot 99", "`list` shows those there are"],
    );
    base_is_refused("info 2", "2", &["there is no snapshot 2"]);
}

#[test]
fn a_base_that_is_still_being_made_is_refused() {
    base_is_refused(
        "sub 2; info 2 \"$(data transactional-update-in-progress yes)\"",
        "2",
        &[
            "snapshot 2 belongs to a transaction that has not ended",
            "choose another one",
        ],
    );
}

#[test]
fn a_base_whose_description_is_not_understood_is_refused() {
    base_is_refused(
        "sub 2; echo '<<< no XML' > /.snapshots/2/info.xml",
        "2",
        &["snapshot 2 cannot be used", "info.xml is not understood"],
    );
    base_is_refused(
        "sub 2",
        "2",
        &["snapshot 2 cannot be used", "it is missing"],
    );
}

#[test]
fn a_default_that_is_no_snapshot_is_no_base() {
    let machine = Machine::new();
    refused(
        &machine,
        "id=$(btrfs inspect-internal rootid /); btrfs subvolume set-default 5 /.snapshots
         transactional-update -c run true; code=$?
         btrfs subvolume set-default $id /.snapshots; (exit $code)",
        &[
            "the default subvolume is no snapshot",
            "name one with --continue=N",
        ],
    );
}

/// Makes broken directories of many kinds, numbered from 3 to 14, and some whose names are no numbers.
const BROKEN: &str = r#"
mkdir /.snapshots/3
sub 4; echo garbage > /.snapshots/4/info.xml
sub 5; info 5; sed -i 's|<num>5|<num>6|' /.snapshots/5/info.xml
info 6
sub 7
echo file > /.snapshots/8
sub 9; info 9; head -c 5M /dev/zero >> /.snapshots/9/info.xml
sub 10; mkdir /.snapshots/10/info.xml
sub 11; ln -s nowhere /.snapshots/11/info.xml
sub 12; mkfifo /.snapshots/12/info.xml
ln -s 1 /.snapshots/13
info 14; echo file > /.snapshots/14/snapshot
mkdir /.snapshots/foo /.snapshots/007
show() { (cd /.snapshots; find . -maxdepth 2 -not -path './15*' -not -path . -printf '%p %y %s %i\n' | sort; btrfs subvolume list -o . | grep -v /15/ | cut -d' ' -f2,9); }
"#;

#[test]
fn broken_directories_of_others_never_stop_an_update_and_are_never_deleted() {
    let machine = Machine::new();
    let script = format!(
        "{CRAFT}{BROKEN}
         mv /.snapshots/1/info.xml /run; transactional-update boot-complete; mv /run/info.xml /.snapshots/1
         transactional-update boot-complete; show > /run/before
         timeout 20 transactional-update -n pkg install fx-etc || exit
         timeout 20 transactional-update list || exit; timeout 20 transactional-update status || exit
         show | diff /run/before - >&2"
    );
    let ran = machine.boot(&script).succeeds();
    let ran = ran
        .says("Snapshot 15 is the next system")
        .says("it ends in the middle");
    ran.does_not_say("Removed");
    machine
        .boot("rpm -q fx-etc; findmnt -n -o FSROOT /")
        .succeeds()
        .says("snapshots/15/");
}

#[test]
fn broken_directories_of_others_are_refused_by_name_when_they_are_asked_for() {
    let machine = Machine::new();
    let script = format!(
        "{CRAFT}{BROKEN}
         transactional-update boot-complete; show > /run/before
         for n in 3 4 5 6 7 8 9 10 11 12 13 14; do for words in \"rollback $n\" \"-c $n run true\" \"discard $n\"; do
           text=$(timeout 20 transactional-update $words 2>&1); code=$?
           [ $code = 1 ] && [[ $text == *\"snapshot $n\"* ]] || {{ echo \"$words: $code $text\"; exit 98; }}
         done; done
         show | diff /run/before - >&2 && btrfs subvolume get-default /"
    );
    machine
        .boot(&script)
        .succeeds()
        .says(".snapshots/1/snapshot");
}

#[test]
fn the_highest_number_does_not_stop_an_update() {
    let machine = Machine::new();
    machine.boot("mkdir /.snapshots/4294967295").succeeds();
    machine.tu("run true").succeeds().says("Snapshot 2");
    machine.tu("run true").succeeds().says("Snapshot 3");
    machine.holds(&[1, 2, 3, u32::MAX], 3);
}

#[test]
fn inside_a_transaction_nothing_is_changed_and_looking_is_allowed() {
    let machine = Machine::new();
    refused(
        &machine,
        &format!(
            "export TRANSACTIONAL_UPDATE=true; transactional-update status && transactional-update list || exit 97
             {}",
            each_fails(WRITERS, "transactional-update")
        ),
        &[
            "TRANSACTIONAL_UPDATE is set",
            "already runs inside a transaction",
            "call the command itself",
        ],
    );
}

#[test]
fn a_transaction_in_a_transaction_is_refused_even_without_the_variable() {
    let mut machine = Machine::new();
    machine.bind(PROGRAM, "/root/tu");
    refused(
        &machine,
        "transactional-update run /root/tu run true",
        &["TRANSACTIONAL_UPDATE is set", "nothing was changed"],
    );
    refused(
        &machine,
        "transactional-update run env -u TRANSACTIONAL_UPDATE /root/tu run true",
        &[
            "another transaction is running: /.snapshots is locked",
            "nothing was changed",
        ],
    );
}

/// Starts a transaction that lasts until /root/go exists; its number is in `$first`.
const FIRST: &str = r"
transactional-update run sh -c 'until [ -e /root/go ]; do sleep .05; done' & first=$!
until [ -e /.snapshots/2/snapshot/usr ]; do sleep .05; done
";

#[test]
fn a_second_writer_is_refused_by_the_process_number_of_the_first_while_looking_is_allowed() {
    let machine = Machine::new();
    let script = format!(
        "{FIRST}
         for words in {WRITERS}; do
           text=$(transactional-update $words 2>&1); code=$?
           [ $code = 1 ] && [[ $text == *\"pid $first)\"* ]] || {{ echo \"$words: $code $text\"; exit 98; }}
         done; echo \"$text\"
         transactional-update status && transactional-update list || exit 97
         transactional-update boot-complete || exit 95 # the first has noted it
         touch /root/go; wait $first || exit 96
         transactional-update run true"
    );
    let ran = machine.boot(&script).succeeds();
    ran.says("another transaction is running")
        .says("wait until it has ended")
        .says("In progress: #2")
        .says("Snapshot 3 is the next system");
    machine.holds(&[1, 2, 3], 3);
}

#[test]
fn a_second_writer_that_comes_by_another_path_is_refused_as_well() {
    let machine = Machine::new();
    let script = format!(
        "{FIRST}
         mkdir /run/r; mount --rbind / /run/r
         {each}; code=$?
         touch /root/go; wait $first || exit 96; exit $code",
        each = each_fails(
            "'run true' rollback discard",
            "transactional-update --root /run/r"
        )
    );
    let ran = machine.boot(&script).exits(1);
    ran.says("another transaction is running")
        .says("/run/r/.snapshots is locked");
    machine.holds(&[1, 2], 2);
}

#[test]
fn an_overlay_on_etc_is_refused_by_name() {
    let machine = Machine::new();
    refused(
        &machine,
        "mkdir /run/upper /run/work
         mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/upper,workdir=/run/work /etc || exit 97
         transactional-update run true",
        &["/etc is an overlay file system", "must be migrated"],
    );
}

#[test]
fn an_etc_in_another_file_system_is_refused_by_name() {
    let machine = Machine::new();
    refused(
        &machine,
        "mkdir /run/e; cp -a /etc/. /run/e; mount --bind /run/e /etc || exit 97
         transactional-update run true",
        &[
            "/etc is a file system of its own (tmpfs)",
            "move it into the root",
        ],
    );
}

#[test]
fn boot_loaders_with_entries_of_their_own_are_refused_without_their_tool() {
    for line in ["LOADER_TYPE=\"systemd-boot\"", "LOADER_TYPE='grub2-bls'"] {
        let machine = Machine::new();
        machine.prepare(&format!(
            "mkdir -p /etc/sysconfig; cat >> /etc/sysconfig/bootloader <<'X'\n# kind\n{line}\nX"
        ));
        refused(
            &machine,
            &each_fails("'run true' '-n pkg install fx-etc'", "transactional-update"),
            &[
                "this system boots by entries on the ESP, but /usr/bin/sdbootutil is missing",
                "install the package sdbootutil",
            ],
        );
        machine.boot("transactional-update status").succeeds();
    }
}

/// A system that boots with GRUB, as far as can be seen from its files.
fn with_grub(variant: Variant) -> Machine {
    let machine = Machine::of(variant);
    machine.prepare(
        "v=6.4.0-1-default; mkdir -p /boot/grub2 /usr/lib/modules/$v; echo menuentry > /boot/grub2/grub.cfg
         echo k > /boot/vmlinuz-$v; echo i > /boot/initrd-$v; : > /usr/lib/modules/$v/modules.dep
         ln -s vmlinuz-$v /boot/vmlinuz; ln -s initrd-$v /boot/initrd",
    );
    machine
}

#[test]
fn a_system_with_grub_that_can_boot_is_published() {
    let machine = with_grub(Variant::RoSqlite);
    machine
        .tu("-v run touch /usr/new")
        .succeeds()
        .does_not_say("No boot loader");
    machine.holds(&[1, 2], 2);
    machine.boot("test -e /usr/new").succeeds();
}

#[test]
fn a_transaction_that_makes_the_system_unbootable_is_refused_at_its_end() {
    let machine = with_grub(Variant::RoSqlite);
    let (script, names): (Vec<&str>, Vec<&str>) = [
        ("rm /boot/initrd", "boot/initrd cannot be read"),
        (
            "rm /boot/vmlinuz-6.4.0-1-default",
            "boot/vmlinuz cannot be read",
        ),
        ("truncate -s 0 /boot/initrd", "boot/initrd is empty"),
        (
            "truncate -s 0 /boot/grub2/grub.cfg",
            "boot/grub2/grub.cfg is empty",
        ),
        (
            "rm /boot/grub2/grub.cfg",
            "boot/grub2/grub.cfg cannot be read",
        ),
        (
            "rm -r /usr/lib/modules",
            "there are no modules for its kernel 6.4.0-1-default",
        ),
        (
            "ln -sf initrd-6.5 /boot/initrd; echo i > /boot/initrd-6.5",
            "the kernel is 6.4.0-1-default, but the initrd is 6.5",
        ),
    ]
    .into_iter()
    .unzip();
    for (script, names) in script.iter().zip(names) {
        refused(
            &machine,
            &format!("transactional-update run sh -c '{script}'"),
            &[
                names,
                "snapshot 2 is not made the next one",
                "could not boot",
            ],
        );
    }
}

/// Rolls back to a snapshot that has lost its initrd, as someone else may have done it.
fn rollback_to_unbootable(variant: Variant) {
    let machine = with_grub(variant);
    machine.tu("run true").succeeds();
    let script = "set -e; s=/.snapshots/1/snapshot; ro=$(btrfs property get -ts $s ro | cut -d= -f2)
        btrfs property set -ts $s ro false; rm $s/boot/grub2/grub.cfg; btrfs property set -ts $s ro $ro";
    machine.boot(script).succeeds();
    let ran = machine.tu("rollback 1").exits(1);
    ran.says("boot/grub2/grub.cfg cannot be read")
        .says("could not boot");
    machine.holds(&[1, 2], 2);
}

#[test]
fn a_rollback_to_a_snapshot_that_cannot_boot_is_refused() {
    rollback_to_unbootable(Variant::RoSqlite);
}

#[test]
fn a_rollback_to_a_snapshot_that_cannot_boot_is_refused_and_leaves_no_copies() {
    rollback_to_unbootable(Variant::RwSqlite);
}

#[test]
fn wrong_usage_is_status_1_and_help_is_status_0() {
    let run = |words: &str| {
        let out = command(PROGRAM)
            .args(words.split_whitespace())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (out.status.code(), text(&out.stdout), text(&out.stderr))
    };
    for (words, says) in [
        ("dup nonsense", "'nonsense'"),
        ("nonsense", "'nonsense'"),
        ("run", "<CMD>"),
        ("pkg", "Usage: transactional-update pkg"),
        ("--nonsense list", "--nonsense"),
        ("-c abc list", "'abc'"),
        ("--continue=0 run true", "\"0\" is no snapshot number"),
        ("discard x", "\"x\" is no snapshot number"),
        ("rollback 1 2", "'2'"),
        ("--root", "--root"),
        ("-q -v list", "'--verbose'"),
    ] {
        let (code, stdout, stderr) = run(words);
        assert_eq!(code, Some(1), "{words:?}: {stderr}");
        assert!(
            stderr.contains(says) && stdout.is_empty(),
            "{words:?}: {stderr}{stdout}"
        );
    }
    for (words, says) in [
        ("--help", "Commands:"),
        ("-h", "Commands:"),
        ("--version", env!("CARGO_PKG_VERSION")),
        ("run --help", "Usage: transactional-update run"),
    ] {
        let (code, stdout, stderr) = run(words);
        assert_eq!(code, Some(0), "{words:?}: {stderr}");
        assert!(stdout.contains(says), "{words:?}: {stdout}");
    }
}

#[test]
fn wrong_words_of_commands_are_refused_with_what_would_be_right() {
    let machine = Machine::new();
    let script = each_fails(
        "'rollback x' '-n pkg install' '-n pkg remove' '--root /nix list'",
        "transactional-update",
    );
    refused(
        &machine,
        &script,
        &[
            "use `rollback N` or `rollback last`",
            "--root /nix",
            "rgument",
        ],
    );
}

#[test]
fn a_configuration_with_a_line_that_only_a_shell_understands_is_an_error_with_file_and_line() {
    let machine = Machine::new();
    for text in [
        "UPDATE_METHOD=$(touch /root/ran)",
        "if true; then",
        "REBOOT_METHOD=`touch /root/ran`",
    ] {
        let script = format!(
            "cat > /run/tu.conf <<'X'\n# first\n{text}\nX\nexport TU_CONFFILE=/run/tu.conf; {}",
            each_fails(&format!("list status {WRITERS}"), "transactional-update")
        );
        refused(&machine, &script, &["/run/tu.conf:2: "]);
    }
    machine.boot("test ! -e /root/ran").succeeds();
}

#[test]
fn a_configuration_that_cannot_be_read_is_an_error_with_its_name() {
    let machine = Machine::new();
    let says = |ran: Ran, text: &str| ran.exits(1).says(text);
    says(
        machine.boot("TU_CONFFILE=/run/none transactional-update run true"),
        "/run/none",
    );
    says(
        machine.boot("mkdir /run/dir; TU_CONFFILE=/run/dir transactional-update run true"),
        "/run/dir",
    );
    says(
        machine.boot(
            "mkfifo /run/fifo; TU_CONFFILE=/run/fifo timeout 20 transactional-update run true",
        ),
        "/run/fifo",
    );
    machine.prepare("mkdir -p /etc/tukit.conf.d; echo BINDDIRS[0]=relative/path > /etc/tukit.conf.d/10-own.conf");
    refused(
        &machine,
        "transactional-update run true",
        &["/etc/tukit.conf.d/10-own.conf:1: ", "relative/path"],
    );
}

#[test]
fn what_a_dead_transaction_of_ours_left_is_removed_and_named_by_the_next_command() {
    for words in [
        "run true",
        "rollback",
        "discard",
        "boot-complete",
        "recover",
    ] {
        let machine = Machine::new();
        let script = format!(
            "{CRAFT}
             sub 3; info 3 \"$(ours another-boot:1:1)\"; touch /.snapshots/3/.info.xml.AbCdEf.tu-new
             info 4 \"$(ours $(cat /proc/sys/kernel/random/boot_id):99999999:1)\"
             btrfs -q subvolume snapshot /.snapshots/1/snapshot /.snapshots/4/snapshot
             btrfs -q subvolume create /.snapshots/4/snapshot/usr/nested
             info 5 \"$(ours $(cat /proc/sys/kernel/random/boot_id):1:1)\"
             mkdir /.snapshots/.transactional-update-new; cp /.snapshots/5/info.xml /.snapshots/.transactional-update-new
             transactional-update {words} && ls -A /.snapshots | xargs"
        );
        let ran = machine.boot(&script).succeeds();
        let ran = [3, 4, 5].iter().fold(ran, |ran, n| {
            ran.says(&format!("Removed snapshot {n}, left behind"))
        });
        ran.says("Removed /.snapshots/.transactional-update-new, left behind");
        match words {
            "run true" => machine.holds(&[1, 2], 2),
            _ => machine.holds(&[1], 1),
        }
    }
}

#[test]
fn unfinished_snapshots_of_others_and_open_ones_stay() {
    let machine = Machine::new();
    let alive =
        "$(cat /proc/sys/kernel/random/boot_id):$$:$(sed 's/.*)//' /proc/$$/stat | cut -d' ' -f21)";
    let script = format!(
        "{CRAFT}
         sub 2; info 2 \"$(data transactional-update-in-progress yes)\"
         sub 3; info 3 \"$(ours open)\"
         sub 4; info 4 \"$(ours {alive})\"
         sub 5; info 5 \"$(data tu-owner another-boot:1:1)\"
         sub 6; info 6 \"$(ours another-boot:1:1)$(data tu-kept yes)\"
         transactional-update run true && transactional-update rollback && transactional-update discard && transactional-update status"
    );
    let ran = machine.boot(&script).succeeds();
    ran.does_not_say("Removed").says("In progress: #2, #3, #4");
    machine.holds(&[1, 2, 3, 4, 5, 6, 7], 1);
}

#[test]
fn an_unfinished_snapshot_that_is_the_default_stays_and_is_told_until_it_no_longer_is() {
    let machine = Machine::new();
    let script = format!(
        "{CRAFT}
         sub 2; info 2 \"$(ours another-boot:1:1)\"
         btrfs subvolume set-default $(btrfs inspect-internal rootid /.snapshots/2/snapshot) /.snapshots
         transactional-update boot-complete && ls /.snapshots/2/snapshot/usr && transactional-update rollback"
    );
    let ran = machine.boot(&script).succeeds();
    ran.says("snapshot 2 is marked as unfinished, but it is what boots; it stays")
        .does_not_say("Removed");
    machine
        .tu("boot-complete")
        .succeeds()
        .says("Removed snapshot 2");
    machine.holds(&[1], 1);
}
