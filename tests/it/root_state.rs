//! What is written for other programs: the old state file, and the wish for a reboot.

use crate::fx::Machine;

const STATE: &str = "/var/lib/misc/transactional-update.state";

#[test]
fn the_old_state_file_tells_a_shell_what_happened() {
    let machine = Machine::new();
    let read = format!(
        "set -u; declare -A REBOOT_ASSOCS; . {STATE}; echo \"$LAST_WORKING_SNAPSHOTS|$UNUSED_SNAPSHOTS|$LAST_BOOTED|${{REBOOT_ASSOCS[*]}}|$FORCE_REFRESH\""
    );
    for (command, expected) in [
        ("run true", "1|2|1|reboot|0\n"),
        ("run true", "2 1|3 2|2|reboot|0\n"),
        ("cleanup", "||3||0\n"),
        ("rollback 1", "|1|3||0\n"),
        ("run true", "1|4 1|1|reboot|0\n"),
        (
            "run true && transactional-update -q discard",
            "4 1|4 1|4||0\n",
        ),
    ] {
        let ran = machine
            .boot(&format!(
                "transactional-update -q {command} || exit; {read}"
            ))
            .succeeds();
        assert_eq!(ran.stdout, expected, "{command}\n{ran}");
    }
}

#[test]
fn a_line_of_shell_code_is_named_and_not_run_nor_kept() {
    let machine = Machine::new();
    let state = "printf '%s\\n' 'LAST_WORKING_SNAPSHOTS=\"1\"' 'UNUSED_SNAPSHOTS=\"$(touch /run/ran)\"' 'touch /run/ran' > /var/state";
    machine
        .boot(&format!("{state}; TU_STATE_FILE=/var/state transactional-update run true; cat /var/state; ls /run/ran {STATE}"))
        .says("/var/state:2: this line is no plain value and is left out")
        .says("/var/state:3: ")
        .says("LAST_WORKING_SNAPSHOTS=\"1\"\nUNUSED_SNAPSHOTS=\"2\"\nLAST_BOOTED=\"1\"\nREBOOT_ASSOCS[2]=reboot\nFORCE_REFRESH=\"0\"\n")
        .says("cannot access '/run/ran'")
        .says(&format!("cannot access '{STATE}'"));
}

#[test]
fn a_state_file_that_cannot_be_written_stops_nothing() {
    let machine = Machine::new();
    machine
        .boot("mkdir /run/state; TU_STATE_FILE=/run/state transactional-update run true")
        .succeeds()
        .says("programs that read /run/state see an old state")
        .says("Snapshot 2 is the next system");
}

#[test]
fn a_choice_by_hand_tells_other_programs_whether_a_reboot_is_needed() {
    let machine = Machine::new();
    let needed = "cat /run/reboot-needed 2>&1";
    let none = "cat: /run/reboot-needed: No such file or directory\n";
    for (back, boots) in [("discard", 1), ("rollback", 1)] {
        let ran = machine.boot(&format!(
            "transactional-update -q run true; {needed}; transactional-update -q {back}; {needed}"
        ));
        assert_eq!(ran.stdout, format!("reboot\n{none}"), "{back}\n{ran}");
        machine.holds(if back == "discard" { &[1] } else { &[1, 2] }, boots);
    }
    let elsewhere = "TU_NEEDS_RESTARTING_FILE=/run/elsewhere transactional-update -q rollback 2; cat /run/elsewhere";
    let ran = machine.boot(&format!("{elsewhere}; {needed}"));
    assert_eq!(ran.stdout, format!("reboot\n{none}"), "{ran}");
    machine.boot("btrfs subvolume set-default $(btrfs inspect-internal rootid /.snapshots/1/snapshot) /.snapshots").succeeds();
    let ran = machine
        .boot(&format!("transactional-update -q rollback 2; {needed}"))
        .succeeds();
    assert_eq!(ran.stdout, "reboot\n", "{ran}");
}
