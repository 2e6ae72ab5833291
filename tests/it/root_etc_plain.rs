//! /etc as a directory of a read-write root: what is changed there while an update waits is told, since nothing
//! merges it.

use serde_json::{Value, json};

use crate::fx::{Machine, Variant};

const WARNING: &str = "will not be there after the reboot";

fn machine() -> Machine {
    Machine::of(Variant::RwSqlite)
}

#[test]
fn what_is_changed_in_the_running_etc_while_an_update_waits_is_in_the_status() {
    let machine = machine();
    let script = "touch /etc/from-before /etc/to-remove; mkdir /etc/dir; touch /etc/dir/in
         transactional-update -q -n pkg install fx-etc && transactional-update -q run sh -c 'rm /etc/from-before; echo u >> /etc/fstab; echo 1 > /etc/both' || exit
         transactional-update status >&2
         echo more >> /etc/profile; chmod 600 /etc/motd; ln -s x '/etc/a link'; rm -r /etc/to-remove /etc/dir; mkdir /etc/new; touch /etc/new/in; echo 2 > /etc/both
         transactional-update status; transactional-update status --json > /var/json";
    let ran = machine.boot(script).succeeds();
    assert!(!ran.stderr.contains(WARNING), "{ran}");
    let told: Vec<&str> = ran
        .stdout
        .lines()
        .filter(|l| l.starts_with("  /"))
        .collect();
    let edits = [
        ("/etc/a link", "added"),
        ("/etc/both", "changed"),
        ("/etc/dir", "removed"),
        ("/etc/motd", "changed"),
        ("/etc/new", "added"),
        ("/etc/profile", "changed"),
        ("/etc/to-remove", "removed"),
    ];
    let lines = edits.map(|(path, change)| format!("  {path} ({change})"));
    assert_eq!(told, lines, "{ran}");
    let status: Value =
        serde_json::from_str(&machine.outside("cat $FX_ROOT/var/json").stdout).unwrap();
    let lost = edits.map(|(path, change)| json!({"path": path, "change": change}));
    assert_eq!(status["etc"]["lost"], json!(lost));
}

#[test]
fn names_that_are_no_text_or_would_write_on_the_terminal_are_told_in_one_line() {
    let machine = machine();
    let script =
        "transactional-update -q run touch /etc/new && touch $'/etc/\\xff' $'/etc/a\\e[31m\\nb'
         transactional-update status && transactional-update status --json >&2";
    let ran = machine.boot(script).succeeds();
    assert!(
        ran.stdout.contains("  \"/etc/\\xFF\" (added)\n") && !ran.stdout.contains('\x1b'),
        "{ran}"
    );
    ran.says("  \"/etc/a\\u{1b}[31m\\nb\" (added)\n")
        .says("\"path\": \"/etc/\u{fffd}\"");
}

#[test]
fn what_is_changed_while_the_update_is_made_is_told_at_its_end() {
    let machine = machine();
    let script = "TU_FAILPOINTS=ran=touch:/run/reached,ran=wait:/run/go transactional-update run true & until [ -e /run/reached ]; do sleep .02; done
         echo more >> /etc/profile; touch /run/go; wait $!";
    machine
        .boot(script)
        .succeeds()
        .says(WARNING)
        .says("  /etc/profile (changed)")
        .does_not_say("fstab");
    machine
        .boot("transactional-update run touch /etc/new")
        .succeeds()
        .does_not_say(WARNING);
}

#[test]
fn a_status_without_a_pending_update_does_not_look_at_etc() {
    let machine = machine();
    let script = "transactional-update -q run true; transactional-update -q rollback; touch /etc/x; transactional-update status";
    machine.boot(script).succeeds().does_not_say(WARNING);
}
