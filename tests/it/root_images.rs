//! UPDATE_METHOD=sysupdate: commands that leave open what they are about are about versions of images.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::fx::{Machine, PROGRAM, Ran, command};
use crate::root_reboot::FAKE;

/// A machine with snapshots that runs version 2 of its image, and has a disk with two slots: version 1 is in one of them, and version 2 in
/// a file beside. Its source has both, and version 3.
fn machine() -> Machine {
    let machine = Machine::new();
    machine.prepare(
        "echo UPDATE_METHOD=sysupdate > /etc/transactional-update.conf; mkdir -p /etc/sysupdate.d /srv/source /srv/boot
         rm -f /etc/os-release; printf 'ID=test\\nIMAGE_VERSION=2\\n' > /etc/os-release
         for v in 1 2 3; do head -c 100000 /dev/urandom > /srv/source/os_$v.raw; echo $v > /srv/source/os_$v.efi; done
         cp /srv/source/os_{1,2}.efi /srv/boot; ln -s os_2.efi /srv/boot/current
         printf '%s\\n' '[Source]' Type=regular-file Path=/srv/source MatchPattern=os_@v.raw '[Target]' Type=partition Path=/srv/disk \\
           MatchPattern=os_@v MatchPartitionType=root-x86-64 > /etc/sysupdate.d/10-root.transfer
         printf '%s\\n' '[Source]' Type=regular-file Path=/srv/source MatchPattern=os_@v.efi '[Target]' Path=/srv/boot MatchPattern=os_@v.efi \\
           CurrentSymlink=current > /etc/sysupdate.d/20-boot.transfer",
    );
    disk(&machine, &["os_1", "os_2"]);
    machine
}

/// Makes the disk of a machine anew, with a slot of 1 MiB for each of these labels.
fn disk(machine: &Machine, labels: &[&str]) {
    let slots: String = labels
        .iter()
        .map(|label| {
            format!("size=2048, type=4f68bce3-e8cd-4db1-96e7-fbcaf984b709, name={label}\\n")
        })
        .collect();
    machine
        .outside(&format!("d=$FX_ROOT/srv/disk; rm -f $d; truncate -s 8M $d; printf 'label: gpt\\n{slots}' | sfdisk --quiet $d"))
        .succeeds();
}

/// Boots it and runs this; what is said and what is answered come in their order.
fn boot(machine: &Machine, script: &str) -> Ran {
    machine.boot(&format!("exec 2>&1; {script}"))
}

/// The same for the program with these words.
fn tu(machine: &Machine, words: &str) -> Ran {
    boot(machine, &format!("transactional-update {words}"))
}

fn parse(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}\n{ran}"))
}

#[test]
fn snapshots_and_slots_are_shown_in_one_document() {
    let machine = machine();
    disk(&machine, &["os_2", "_empty", "_empty"]);
    let status = parse(&machine.tu("status --json").succeeds());
    assert_eq!(status["schema"], 1);
    assert_eq!((&status["booted"], &status["next"]), (&json!(1), &json!(1)));
    assert_eq!(status["reboot_needed"], false);
    let at = |transfer: &str, kind: &str, path: &str| json!({"transfer": transfer, "type": kind, "path": path, "state": "installed"});
    assert_eq!(
        status["sysupdate"],
        json!({
            "booted": "2",
            "collections": [{
                "component": null,
                "current": "2",
                "reboot_needed": false,
                "held": [],
                "versions": [
                    {
                        "version": "2", "assessment": "current", "complete": true, "protected": false,
                        "instances": [
                            at("10-root", "partition", "/srv/disk1"),
                            at("20-boot", "regular-file", "/srv/boot/os_2.efi"),
                        ],
                    },
                    {
                        "version": "1", "assessment": "installed+incomplete", "complete": false, "protected": false,
                        "instances": [at("20-boot", "regular-file", "/srv/boot/os_1.efi")],
                    },
                ],
                "empty_slots": [
                    {"transfer": "10-root", "partition": 2, "bytes": 1_048_576},
                    {"transfer": "10-root", "partition": 3, "bytes": 1_048_576},
                ],
            }],
        })
    );
    machine.tu("status").succeeds().says(
        "Running image: version 2\nImages: version 2 is the current one\n  1 (installed+incomplete)\n  2 slots are empty\n",
    );
    // whatever the method is: they are there
    machine.prepare("rm /etc/transactional-update.conf");
    let other = parse(&machine.tu("status --json").succeeds());
    assert_eq!(other, status);
    // what cannot be read keeps nobody from seeing the rest
    machine.prepare("rm /srv/disk");
    let told = parse(&machine.tu("status --json").succeeds());
    let attention = told["attention"][0].as_str().unwrap();
    assert!(
        attention.contains("what is installed of images cannot be told")
            && attention.contains("/srv/disk"),
        "{attention}"
    );
    // where no transfer file is, nothing is said of images
    machine.prepare("rm -r /etc/sysupdate.d");
    let none = parse(&machine.tu("status --json").succeeds());
    assert!(none.get("sysupdate").is_none() && none["attention"] == json!([]));
}

#[test]
fn without_a_command_the_newest_version_comes_into_a_slot_and_the_next_boot_has_it() {
    let machine = machine();
    machine.prepare("echo REBOOT_METHOD=kured >> /etc/transactional-update.conf");
    boot(&machine,
            "transactional-update && transactional-update status --json && transactional-update reboot && ls /run/reboot-required
             readlink /srv/boot/current; transactional-update; ls /.snapshots | xargs",
        )
        .succeeds()
        .says("UPDATE_METHOD is sysupdate (/etc/transactional-update.conf:1)")
        .says("Successfully installed update '3'")
        .says("\"reboot_needed\": true")
        .says("Version '2' runs, and '3' boots next.\nkured was told that a reboot is needed.\n/run/reboot-required\nos_3.efi\n")
        .says("No update needed.\n1\n");
}

#[test]
fn a_reboot_follows_only_where_it_makes_a_difference_and_that_is_known() {
    let machine = machine();
    machine.prepare(
        "echo REBOOT_METHOD=kured >> /etc/transactional-update.conf; rm /srv/source/os_3.*",
    );
    boot(
        &machine,
        "transactional-update cleanup auto reboot && ls /run/reboot-required",
    )
    .exits(2)
    .says("No reboot: version '2' runs, and '2' is the newest that is installed as a whole.");
    machine.prepare("sed -i /IMAGE_VERSION/d /etc/os-release");
    boot(&machine, "transactional-update auto reboot; echo $?; ls /run/reboot-required")
        .exits(2)
        .says("No update needed.")
        .says("whether a reboot makes a difference is not known, and there is none: /etc/os-release lacks IMAGE_VERSION= field.\n")
        .says("\n1\n");
    // what boots is not among what is updated
    machine.prepare("mv /etc/sysupdate.d /etc/sysupdate.c.d");
    boot(
        &machine,
        "transactional-update cleanup auto reboot && ls /run/reboot-required",
    )
    .exits(2)
    .says("Updating component 'c'.")
    .says("No reboot: no transfer that has no component takes part, and components need none.\n");
    tu(&machine, "rollback last")
        .exits(1)
        .says("no transfer that has no component takes part; `sysupdate --component=NAME rollback` goes back with one");
    machine.prepare("mv /etc/sysupdate.c.d /etc/sysupdate.d");
    // it failed: no reboot either, although an older wish is there
    machine.prepare("echo IMAGE_VERSION=1 >> /etc/os-release; rm /srv/disk");
    boot(
        &machine,
        "transactional-update auto reboot; echo $?; ls /run/reboot-required",
    )
    .exits(2)
    .says("/srv/disk")
    .says("\n1\n");
}

#[test]
fn another_kernel_is_never_loaded_for_an_image() {
    let machine = machine();
    // kexec(8) would fail the call of it: nobody knows one here
    machine.prepare(&format!(
        "{FAKE}fake kexec; echo REBOOT_METHOD=kexec >> /etc/transactional-update.conf"
    ));
    tu(&machine, "auto reboot && cat /run/calls")
        .succeeds()
        .says("kexec is not possible, a full reboot takes its place: which kernel boots next is not known where images are updated")
        .says("Reboot: systemctl reboot\nsystemctl reboot\n");
}

#[test]
fn going_back_is_to_what_runs_or_to_the_version_before_it_or_to_a_named_one() {
    let machine = machine();
    let current = "; readlink /srv/boot/current";
    tu(&machine, &format!("rollback{current}"))
        .succeeds()
        .says("Version '2' runs and boots next; `rollback last` goes to '1'.\nos_2.efi\n");
    tu(
        &machine,
        &format!("auto; transactional-update rollback{current}"),
    )
    .succeeds()
    .says("Version '2' is the current one.\nos_2.efi\n");
    tu(&machine, &format!("auto{current}"))
        .succeeds()
        .says("No update needed.")
        .says("os_2.efi\n");
    tu(&machine, &format!("rollback 3{current}"))
        .succeeds()
        .says("os_3.efi\n");
    tu(&machine, "rollback last")
        .exits(1)
        .says("no version that is older than '2', which runs, is installed as a whole");
    tu(&machine, "rollback 7")
        .exits(1)
        .says("Update '7' not found.");
    machine.prepare("sed -i /IMAGE_VERSION/d /etc/os-release");
    tu(&machine, "rollback").exits(1).says(
        "`rollback VERSION` names what to go back to: /etc/os-release lacks IMAGE_VERSION= field.",
    );
}

#[test]
fn going_back_that_was_cut_off_is_finished_by_the_same_command() {
    let machine = machine();
    tu(&machine, "auto").succeeds().says("update '3'");
    boot(&machine, "TU_FAILPOINTS=sysupdate-back-begun=kill transactional-update rollback; echo $?; readlink /srv/boot/current")
        .says("137\nos_3.efi\n");
    tu(
        &machine,
        "rollback; readlink /srv/boot/current; transactional-update rollback",
    )
    .succeeds()
    .says("Version '2' is the current one.\nos_2.efi\n")
    .says("Version '2' runs and boots next.\n");
}

#[test]
fn cleaning_up_removes_versions_and_sees_to_snapshots_and_keeps_no_update_from_being_made() {
    let machine = machine();
    tu(&machine, "run touch /usr/made").succeeds();
    machine.prepare(
        "sed -i /cleanup/d /.snapshots/1/info.xml
         mkdir -p /etc/sysupdate.more.d; sed s,/srv/boot,/srv/more, /etc/sysupdate.d/20-boot.transfer > /etc/sysupdate.more.d/more.transfer
         mkdir -p /srv/more; cp /srv/boot/*.efi /srv/more; touch /srv/boot/os_0.9.efi /srv/more/os_0.{8,9}.efi",
    );
    tu(
        &machine,
        "cleanup-snapshots; ls /srv/boot /srv/more | xargs",
    )
    .succeeds()
    .says("Marked for deletion by snapper: #1")
    .says(
        "current os_0.9.efi os_1.efi os_2.efi /srv/more: os_0.8.efi os_0.9.efi os_1.efi os_2.efi",
    );
    tu(&machine, "cleanup; ls /srv/boot /srv/more | xargs")
        .succeeds()
        .says("Removing old '/srv/boot/os_0.9.efi'")
        .says("current os_1.efi os_2.efi /srv/more: os_0.9.efi os_1.efi os_2.efi");
    // a component that cannot be cleaned up fails alone, and says so
    machine.prepare("sed -i -e s,/srv/more,/srv/none, -e '/Target/a Type=partition' -e /Current/d /etc/sysupdate.more.d/more.transfer");
    tu(
        &machine,
        "cleanup; echo $?; transactional-update cleanup auto; echo $?; readlink /srv/boot/current",
    )
    .succeeds()
    .says("more.transfer")
    .says("\n1\n")
    .says("Not updated: component 'more'.")
    .says("\n1\nos_3.efi\n");
}

#[test]
fn commands_that_are_about_packages_or_a_snapshot_stay_what_they_are() {
    let machine = machine();
    tu(&machine, "run touch /usr/made auto")
        .succeeds()
        .says("Snapshot 2 is the next system");
    machine.prepare("echo REBOOT_METHOD=kured >> /etc/transactional-update.conf");
    boot(
        &machine,
        "transactional-update run touch /usr/more && transactional-update reboot && ls /run/reboot-required",
    )
    .succeeds()
    .says("Snapshot 3 is the next system")
    .says("kured was told that a reboot is needed.\n/run/reboot-required\n");
    tu(&machine, "auto run true")
        .exits(1)
        .says("auto updates images here (UPDATE_METHOD=sysupdate); of all commands only cleanup and reboot go with it");
    tu(&machine, "auto apply")
        .exits(1)
        .says("auto updates images here");
    tu(&machine, "offline prepare")
        .exits(1)
        .says("UPDATE_METHOD=sysupdate (/etc/transactional-update.conf:1) updates images, and this is about packages");
    tu(&machine, "discard").succeeds();
    machine.prepare("rm -r /etc/sysupdate.d");
    for words in ["", "cleanup", "rollback", "reboot"] {
        tu(&machine, words)
            .exits(1)
            .says("UPDATE_METHOD=sysupdate (/etc/transactional-update.conf:1), but no transfer file says what is updated");
    }
}

#[test]
fn a_mounted_system_without_snapshots_is_updated_and_nothing_of_it_runs() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("etc/transactional-update.conf", "UPDATE_METHOD=sysupdate\n");
    write("etc/os-release", "IMAGE_VERSION=1\n");
    write(
        "etc/sysupdate.d/os.transfer",
        "[Source]\nType=regular-file\nPath=/source\nMatchPattern=os_@v\n[Target]\nPath=/images\nMatchPattern=os_@v\nCurrentSymlink=current\n",
    );
    for file in ["images/os_1", "source/os_2"] {
        write(file, file);
    }
    fs::create_dir(dir.path().join("run")).unwrap();
    let run = |words: &str| {
        let mut program = command(PROGRAM);
        program.arg("--root").arg(dir.path());
        program.env("TU_LOGFILE", dir.path().join("log"));
        let out = program.args(words.split(' ')).output().unwrap();
        Ran::new(words, out)
    };
    let current = || fs::read_link(dir.path().join("images/current")).unwrap();
    run("auto")
        .succeeds()
        .says("Successfully installed update '2'");
    assert_eq!(current(), Path::new("os_2"));
    run("rollback")
        .exits(1)
        .says("`rollback VERSION` names what to go back to: nothing of the system at");
    run("rollback 1").succeeds();
    assert_eq!(current(), Path::new("os_1"));
    let status = parse(&run("status --json").succeeds());
    assert_eq!(status["booted"], Value::Null);
    assert_eq!(status["sysupdate"]["booted"], Value::Null);
    assert_eq!(status["sysupdate"]["collections"][0]["held"], json!(["2"]));
    run("reboot").exits(1).says("nothing of the system at");
    run("cleanup").succeeds();
    // what is only about snapshots needs them
    run("cleanup-snapshots").exits(1).says("not on btrfs");
    run("run true").exits(1).says("not on btrfs");
}
