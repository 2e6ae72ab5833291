//! Scriptlets that fail, hang, leave things behind, and signals in the middle of them.

use std::time::{Duration, Instant};

use crate::fx::{Machine, Ran, command};

/// Fails when anything but the test's own shell runs; what was just killed may need a moment to go.
const NOTHING_RUNS: &str = "for i in $(seq 40); do left=$(ps -e -o comm= | grep -vE '^(bash|ps|grep)$') || break; sleep 0.05; done
    [ -z \"$left\" ] || { echo \"still running: $left\"; exit 91; }";

/// A script that starts the program with `words`, waits until `marker` is there, does `act` with its process
/// id in `$p`, and ends as the program did. The seconds that took are in /run/took.
fn act_in_the_middle(words: &str, marker: &str, act: &str) -> String {
    format!(
        "transactional-update {words} & p=$!
         for i in $(seq 400); do [ -e {marker} ] && break; sleep 0.05; done; [ -e {marker} ] || exit 92
         start=$EPOCHREALTIME; {act}
         wait $p; rc=$?; awk -v a=$start -v b=$EPOCHREALTIME 'BEGIN {{ print b - a }}' > /run/took
         {NOTHING_RUNS}
         cat /run/took; exit $rc"
    )
}

fn started(package: &str) -> String {
    format!("/.snapshots/2/snapshot/usr/share/{package}/started")
}

fn seconds(ran: &Ran) -> f64 {
    ran.stdout
        .lines()
        .last()
        .and_then(|l| l.parse().ok())
        .unwrap_or_else(|| panic!("no time\n{ran}"))
}

#[test]
fn a_signal_in_the_middle_of_a_scriptlet_ends_everything_at_once_and_leaves_nothing() {
    let machine = Machine::new();
    for signal in ["INT", "TERM", "HUP"] {
        let script = act_in_the_middle(
            "-n pkg install fx-slow",
            &started("fx-slow"),
            &format!("kill -{signal} $p"),
        );
        let ran = machine
            .boot(&script)
            .exits(1)
            .says(&format!("Error: interrupted by SIG{signal}"));
        assert!(seconds(&ran) < 4.0, "{ran}");
        assert_eq!(ran.stderr.matches("Error: ").count(), 1, "{ran}");
        machine.holds(&[1], 1);
    }
    let history = machine.boot(
        "tail -n 1 /var/lib/transactional-update/history.jsonl; test ! -e /run/reboot-needed",
    );
    history.succeeds().says("interrupted by SIGHUP");
    machine
        .tu("-n pkg install fx-lib")
        .succeeds()
        .does_not_say("Removed snapshot");
    machine.holds(&[1, 2], 2);
}

#[test]
fn a_signal_ends_a_command_and_a_shell_that_nobody_watches_on_a_terminal() {
    let machine = Machine::new();
    let marker = "/.snapshots/2/snapshot/usr/begun";
    for signal in ["INT", "TERM"] {
        for words in [
            "run sh -c 'touch /usr/begun; sleep 60'",
            "shell < /root/script",
        ] {
            let kill = act_in_the_middle(words, marker, &format!("kill -{signal} $p"));
            let script = format!("echo 'touch /usr/begun; sleep 60' > /root/script\n{kill}");
            let ran = machine
                .boot(&script)
                .exits(1)
                .says(&format!("interrupted by SIG{signal}"));
            assert!(seconds(&ran) < 4.0, "{ran}");
        }
    }
    machine.holds(&[1], 1);
}

#[test]
fn a_kept_snapshot_is_not_what_a_signal_asks_for() {
    let machine = Machine::new();
    let script = act_in_the_middle(
        "-n --keep pkg install fx-slow",
        &started("fx-slow"),
        "kill -TERM $p",
    );
    machine
        .boot(&script)
        .exits(1)
        .says("interrupted by SIGTERM")
        .does_not_say("kept");
    machine.holds(&[1], 1);
}

#[test]
fn on_a_terminal_the_interrupt_key_ends_the_command_and_leaves_nothing() {
    let machine = Machine::new();
    let ran = machine.boot(&format!(
        "{{ for i in $(seq 400); do [ -e /.snapshots/2/snapshot/usr/begun ] && break; sleep 0.05; done
            sleep 0.2; printf '\\003'; sleep 1; }} | script -qefc \"transactional-update run sh -c 'touch /usr/begun; exec sleep 60'\" /dev/null
         rc=$?; {NOTHING_RUNS}
         exit $rc"
    ));
    // the key reaches the command and the program at once: whichever is noticed first says so
    assert!([1, 130].contains(&ran.code), "{ran}");
    let by_the_command = ran
        .stdout
        .contains("failed with status 130; nothing was changed");
    assert!(
        by_the_command || ran.stdout.contains("interrupted by SIGINT"),
        "{ran}"
    );
    machine.holds(&[1], 1);
}

#[test]
fn a_scriptlet_that_ignores_signals_is_killed_after_a_grace_period() {
    let machine = Machine::new();
    let script = act_in_the_middle(
        "-n pkg install fx-trap",
        &started("fx-trap"),
        "kill -TERM $p; sleep 1; kill -INT $p",
    );
    let ran = machine.boot(&script).exits(1).says("interrupted by SIG");
    assert!((4.0..20.0).contains(&seconds(&ran)), "{ran}");
    machine.holds(&[1], 1);
}

#[test]
fn when_the_program_is_killed_its_processes_die_with_it_and_the_next_command_cleans_up() {
    let machine = Machine::new();
    let script = act_in_the_middle(
        "-n pkg install fx-daemon fx-slow",
        &started("fx-slow"),
        "kill -KILL $p",
    );
    let ran = machine
        .boot(&format!(
            "({script})\nrc=$?; grep -c '/.snapshots/2' /proc/mounts; exit $rc"
        ))
        .exits(137);
    assert_eq!(
        ran.stdout.lines().last(),
        Some("0"),
        "a mount is left\n{ran}"
    );
    machine.holds(&[1, 2], 1);
    let status = machine.tu("status").succeeds();
    status
        .says("In progress: #2")
        .says("Attention: snapshot 2 was left behind by a transaction that was cut off");
    let next = machine.tu("-d run true").succeeds();
    next.says("Removed snapshot 2, left behind by a transaction that was cut off.")
        .says("Nothing to do");
    machine.holds(&[1], 1);
    machine.tu("status").succeeds().does_not_say("Attention");
}

#[test]
fn when_the_whole_machine_dies_in_a_scriptlet_the_next_boot_is_the_old_system() {
    let mut machine = Machine::new();
    let seen = machine.dir().join("seen");
    std::fs::create_dir(&seen).unwrap();
    machine.bind(&seen, "/run/seen");
    let marker = started("fx-slow");
    let mut child = machine.start(&format!(
        "transactional-update -n pkg install fx-slow & until [ -e {marker} ]; do sleep 0.05; done; touch /run/seen/begun; wait"
    ));
    wait_until("the scriptlet runs", || seen.join("begun").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    // the image's file system goes with the last of its processes, a moment later
    let image = machine.image().to_owned();
    wait_until("the machine is off", || {
        let users = command("losetup").arg("-j").arg(&image).output().unwrap();
        users.stdout.is_empty()
    });
    machine.holds(&[1, 2], 1);
    machine
        .tu("-n pkg install fx-lib")
        .succeeds()
        .says("Removed snapshot 2");
    machine.boot("rpm -q fx-lib").succeeds();
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "waited for: {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_a_scriptlet_leaves_running_is_named_and_ended() {
    let machine = Machine::new();
    let ran = machine.boot(&format!(
        "transactional-update -n pkg install fx-daemon fx-mount || exit; {NOTHING_RUNS}"
    ));
    ran.succeeds()
        .says("Warning: zypper left a process sleep behind; it is gone with the transaction");
    machine
        .boot("rpm -q fx-daemon fx-mount && test ! -e /usr/share/fx-mount/m/in-the-mount")
        .succeeds();
}

#[test]
fn what_a_command_leaves_running_or_mounted_is_named_and_taken_away() {
    let machine = Machine::new();
    let ran = machine.boot(&format!(
        "transactional-update run bash -c 'setsid sleep 600 & mkdir /usr/m; mount -t tmpfs foo /usr/m; touch /usr/m/x
            until [ \"$(cat /proc/$!/comm)\" = sleep ]; do :; done' || exit
         {NOTHING_RUNS}
         ! grep -E 'snapshots/2|/usr/m' /proc/mounts"
    ));
    ran.succeeds()
        .says("bash left a process sleep behind")
        .says("bash left a mount /usr/m behind");
    machine
        .boot("test -d /usr/m && test ! -e /usr/m/x")
        .succeeds();
}

#[test]
fn a_scriptlet_that_asks_gets_the_end_of_input_and_no_terminal() {
    let machine = Machine::new();
    let ran = machine.boot(
        "yes | transactional-update -n pkg install fx-stdin || exit
         script -qefc 'transactional-update --no-continue -n pkg install fx-stdin' /dev/null </dev/null || exit
         cat /.snapshots/[23]/snapshot/usr/share/fx-stdin/got",
    );
    let ran = ran.succeeds();
    assert_eq!(
        ran.stdout
            .matches("stdin: end of file\ntty: none\n")
            .count(),
        2,
        "{ran}"
    );
    let input = machine
        .boot("yes | transactional-update -n run cat")
        .succeeds();
    assert!(input.stdout.is_empty(), "{input}");
}

#[test]
fn output_that_is_hard_to_read_does_not_disturb() {
    let machine = Machine::new();
    let ran = machine.tu("-n pkg install fx-noise fx-lib").succeeds();
    assert!(!ran.stderr.contains(['\x1b', '\x07', '\x08']), "{ran}");
    machine.boot("rpm -q fx-noise fx-lib").succeeds();
    let loud = machine
        .boot("transactional-update -q run head -c 50000000 /dev/zero | wc -c")
        .succeeds();
    assert_eq!(loud.stdout, "50000000\n", "{loud}");
}

#[test]
fn readers_that_go_away_and_closed_streams_do_not_break_an_installation() {
    let machine = Machine::new();
    for (i, (package, streams)) in [
        ("fx-etc", ">&-"),
        ("fx-lib", "2>&-"),
        ("fx-caps", "<&- >&- 2>&-"),
        ("fx-ghost", "2>&1 | true; exit ${PIPESTATUS[0]}"),
    ]
    .iter()
    .enumerate()
    {
        machine
            .boot(&format!(
                "transactional-update -n pkg install {package} {streams}"
            ))
            .succeeds();
        machine
            .boot(&format!(
                "transactional-update list | head -n 1; rpm -q {package}"
            ))
            .succeeds();
        let all: Vec<u32> = (1..=u32::try_from(i).unwrap() + 2).collect();
        machine.holds(&all, u32::try_from(i).unwrap() + 2);
    }
    let yes = machine
        .boot("transactional-update run yes | head -n 1; exit ${PIPESTATUS[0]}")
        .exits(141);
    yes.says("yes failed with status 141; nothing was changed");
    machine
        .boot("transactional-update -q run sh -c 'echo x; echo y >&2' >/dev/full 2>&1; echo $?")
        .succeeds()
        .says("1\n");
    machine.holds(&[1, 2, 3, 4, 5], 5);
}

#[test]
fn a_command_cannot_kill_what_watches_it() {
    let machine = Machine::new();
    let script = "transactional-update run bash -c 'kill -9 1 $PPID; kill -9 -1; touch /usr/alive'";
    machine
        .boot(&format!("{script} || exit; {NOTHING_RUNS}"))
        .succeeds();
    machine.boot("test -e /usr/alive").succeeds();
    let own = machine
        .tu("run sh -c 'touch /usr/lost; kill -9 $$'")
        .exits(137);
    own.says("failed with status 137; nothing was changed");
    machine.boot("test ! -e /usr/lost").succeeds();
    machine.holds(&[1, 2], 2);
}

#[test]
fn when_the_watching_process_is_killed_from_outside_the_transaction_fails_whole() {
    let machine = Machine::new();
    for command in [
        "-n pkg install fx-slow",
        "run sh -c 'mkdir -p /usr/share/fx-slow; touch /usr/share/fx-slow/started; sleep 60'",
    ] {
        let script = act_in_the_middle(command, &started("fx-slow"), "kill -KILL $(pgrep -P $p)");
        let ran = machine
            .boot(&script)
            .exits(1)
            .says("the process that watched")
            .says("was ended");
        assert!(seconds(&ran) < 4.0, "{ran}");
        machine.holds(&[1], 1);
    }
}

/// Steps of a transaction at which a signal still aborts it, and those after which it is too late for that.
const ABORTED: [&str; 7] = [
    "reserved",
    "created",
    "mounted",
    "ran",
    "unmounted",
    "before-sync",
    "synced",
];
const PUBLISHED: [&str; 4] = [
    "before-final-info",
    "final-info",
    "before-set-default",
    "after-set-default",
];

fn signalled_at(machine: &Machine, step: &str) -> Ran {
    let kill = act_in_the_middle(
        "-n pkg install fx-lib",
        "/run/here",
        "kill -TERM $p; kill -INT $p",
    );
    machine.boot(&format!(
        "export TU_FAILPOINTS={step}=touch:/run/here,{step}=sleep:300\n{kill}"
    ))
}

#[test]
fn a_signal_before_the_switch_begins_leaves_the_old_system() {
    let machine = Machine::new();
    for step in ABORTED {
        signalled_at(&machine, step)
            .exits(1)
            .says("interrupted by SIG")
            .does_not_say("next system");
        machine.holds(&[1], 1);
    }
}

#[test]
fn a_signal_while_the_system_is_switched_comes_too_late_and_the_new_one_is_whole() {
    for step in PUBLISHED {
        let machine = Machine::new();
        signalled_at(&machine, step)
            .succeeds()
            .says("Snapshot 2 is the next system");
        machine.holds(&[1, 2], 2);
        let new = machine
            .boot("rpm -q fx-lib && transactional-update status")
            .succeeds();
        new.does_not_say("Attention")
            .does_not_say("In progress")
            .says("Next boot: #2");
    }
}

#[test]
fn a_link_in_the_place_of_a_hidden_directory_is_told_and_stops_no_later_transaction() {
    let machine = Machine::new();
    let script = "transactional-update run sh -c 'rmdir /srv; ln -s etc /srv; ln -s /etc /var/spool; mkdir /opt/x; ln -s /etc /opt/x/y'
        diff -r /etc /.snapshots/1/snapshot/etc";
    let ran = machine.boot(script).succeeds();
    ran.says("  /srv (no package)")
        .says("  /var/spool (no package)")
        .says("  /opt/x/y (no package)");
    machine
        .tu("-n pkg install fx-vardirs fx-lib")
        .succeeds()
        .says("Base: #2");
    machine.boot("rpm -q fx-vardirs fx-lib").succeeds();
}

#[test]
fn subvolumes_that_a_command_makes_go_with_its_snapshot() {
    let machine = Machine::new();
    let make = "btrfs -q subvolume create /usr/s; btrfs -q subvolume create /usr/s/t; btrfs property set /usr/s/t ro true";
    machine.tu(&format!("run sh -c '{make}; exit 7'")).exits(7);
    let subvolumes = machine
        .boot("btrfs subvolume list / | grep -c 'usr/s$\\|usr/s/t$'")
        .exits(1);
    assert_eq!(subvolumes.stdout, "0\n", "{subvolumes}");
    machine.holds(&[1], 1);
    machine
        .tu(&format!("-d run sh -c '{make}'"))
        .succeeds()
        .says("Snapshot 2 is the next system");
    machine.boot("test -d /usr/s/t").succeeds();
}
