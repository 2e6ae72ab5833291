//! Files that the environment names.

use crate::fx::Machine;

#[test]
fn each_file_that_the_environment_names_takes_the_place_of_the_usual_one() {
    let machine = Machine::new();
    let usual = "/run/tukit.lock /run/reboot-needed /var/log/transactional-update.log /var/lib/misc/transactional-update.state";
    machine.prepare("mkdir -p /usr/etc; echo UPDATE_METHOD=up > /usr/etc/transactional-update.conf; echo BASE=default > /etc/transactional-update.conf");
    let ran = machine
        .boot(&format!(
            "mkdir /run/own; cd /run/own; echo UPDATE_METHOD=patch > system.conf; echo BASE=active > admin.conf
             export TU_CONFFILE=/run/own/admin.conf TU_CONFFILESYSTEM=/run/own/system.conf TU_LOCKFILE=/run/own/lock
             export TU_LOGFILE=/run/own/log TU_STATE_FILE=/run/own/state TU_NEEDS_RESTARTING_FILE=/run/own/restart
             transactional-update; transactional-update run touch /usr/x
             echo soft-reboot > restart; transactional-update initrd; transactional-update run touch /usr/y
             ls; cat restart state; grep -c 'called as' log; ls {usual}"
        ))
        .exits(2)
        .says("UPDATE_METHOD is patch (/run/own/system.conf:1)")
        .says("the pending #2 will not be part of it");
    let mut lines = ran.stdout.lines();
    let files: Vec<&str> = lines.by_ref().take(6).collect();
    assert_eq!(
        files,
        [
            "admin.conf",
            "lock",
            "log",
            "restart",
            "state",
            "system.conf"
        ],
        "{ran}"
    );
    assert_eq!(lines.next(), Some("reboot"), "{ran}");
    assert!(ran.stdout.contains("LAST_WORKING_SNAPSHOTS"), "{ran}");
    assert!(ran.stdout.ends_with("\n4\n"), "{ran}");
}

#[test]
fn a_variable_that_is_empty_names_no_file() {
    let machine = Machine::new();
    machine
        .boot("export TU_CONFFILE= TU_CONFFILESYSTEM= TU_LOCKFILE= TU_LOGFILE= TU_STATE_FILE= TU_NEEDS_RESTARTING_FILE=
               transactional-update run touch /usr/x && ls /run/tukit.lock /run/reboot-needed /var/log/transactional-update.log /var/lib/misc/transactional-update.state")
        .succeeds()
        .does_not_say("cannot write the log");
}
