//! tukit: transactions that stay open between processes, and its commands.

use crate::fx::{Machine, Ran, Variant};

/// Bash functions: `exits CODE WORDS...` runs words that must end so, `nothing_runs` looks for what a transaction
/// left, `there` prints snapshots and default, `data N KEY` a value of userdata, `reset` makes the running snapshot
/// the default one and deletes #2, with its /etc where that is a subvolume.
pub(crate) const TOOLS: &str = r#"
exits() { local want=$1 code=0; shift; "$@" || code=$?; [ $code = $want ] || { echo "$*: status $code, not $want" >&2; exit 98; }; }
nothing_runs() { for _ in 1 2 3 4 5 6 7 8 9 10; do pgrep -x sleep >/dev/null || return 0; sleep .1; done; echo "a process is left" >&2; exit 97; }
there() { echo there: $(ls -A /.snapshots | sort -n) default $(btrfs subvolume get-default / | sed -E 's|.*snapshots/([0-9]+)/.*|\1|'); }
data() { grep -A1 "<key>$2</key>" /.snapshots/$1/info.xml | sed -n 's|.*<value>\(.*\)</value>.*|\1|p'; }
reset() {
  btrfs subvolume set-default $(btrfs inspect-internal rootid /) /.snapshots
  [ ! -e /.snapshots/2 ] || { btrfs property set -f -ts /.snapshots/2/snapshot ro false
    btrfs -q subvolume delete -R /.snapshots/2/snapshot; rm -r /.snapshots/2; }
}
until_there() { for _ in $(seq 200); do [ ! -e $1 ] || return 0; sleep .05; done; echo "$1 does not appear" >&2; exit 96; }
"#;

pub(crate) fn boot(machine: &Machine, script: &str) -> Ran {
    machine.boot(&format!("{TOOLS}\nset -e\n{script}"))
}

// --- the life of a transaction --------------------------------------------------------------------------------

fn step_by_step(variant: Variant) {
    let machine = Machine::of(variant);
    let ran = boot(
        &machine,
        "id=$(tukit open 2>/dev/null); [ \"$id\" = 'ID: 2' ] || exit 9
         tukit call 2 sh -c 'echo one > /usr/one'; there
         tukit callext 2 sh -c 'cat {}/usr/one > {}/usr/two'
         test ! -e /usr/one; there
         tukit close 2; there",
    );
    let there: Vec<&str> = ran
        .stdout
        .lines()
        .filter(|l| l.starts_with("there"))
        .collect();
    assert_eq!(
        there,
        [
            "there: 1 2 default 1",
            "there: 1 2 default 1",
            "there: 1 2 default 2"
        ],
        "{ran}"
    );
    ran.succeeds().says("Snapshot 2 is the next system.");
    machine.holds(&[1, 2], 2);
    let ro = if variant.is_read_write() {
        "false"
    } else {
        "true"
    };
    let look = "cat /usr/one /usr/two; btrfs property get -ts / ro; cat /.snapshots/2/info.xml";
    machine
        .boot(look)
        .succeeds()
        .says("one\none\n")
        .says(&format!("ro={ro}"))
        .does_not_say("in-progress")
        .does_not_say("tu-owner")
        .does_not_say("tu-boot");
    let history = machine.boot("cat /var/lib/transactional-update/history.jsonl");
    history.says(r#""command":"tukit close 2","result":"published","snapshot":2,"base":1"#);
}

#[test]
fn a_transaction_is_made_step_by_step_on_a_read_only_system() {
    step_by_step(Variant::RoSqlite);
}

#[test]
fn a_transaction_is_made_step_by_step_on_a_read_write_system() {
    step_by_step(Variant::RwSqlite);
}

#[test]
fn a_transaction_is_made_step_by_step_where_etc_is_a_subvolume() {
    step_by_step(Variant::NestedSqlite);
    let machine = Machine::of(Variant::NestedSqlite);
    let script = "tukit open; tukit call 2 sh -c 'echo new > /etc/one; touch /usr/one'
         tukit call 2 sh -c 'touch /var/cache/begun; sleep 1000' & p=$!
         until_there /var/cache/begun; kill -KILL $(pgrep -x tukit); exits 137 wait $p; transactional-update boot-complete
         exits 137 env TU_FAILPOINTS=synced=kill tukit close 2; tukit callext 2 sh -c 'echo two >> {}/etc/one'
         tukit close 2; there; tukit -d open; tukit call 3 true; tukit close 3; there
         tukit -d open; tukit call 3 touch /etc/three; tukit close 3; there; tukit open; tukit abort 4; there";
    let ran = boot(&machine, script).succeeds();
    let there: Vec<&str> = ran
        .stdout
        .lines()
        .filter(|l| l.starts_with("there"))
        .collect();
    assert_eq!(
        there,
        [
            "there: 1 2 default 2",
            "there: 1 2 default 2",
            "there: 1 2 3 default 3",
            "there: 1 2 3 default 3"
        ],
        "{ran}"
    );
    let look = "transactional-update -q rollback 2; cat /.snapshots/2/snapshot/etc/one; ls /.snapshots/3/snapshot/etc/three; btrfs subvolume list / | grep -c 'snapshots/4'";
    machine.boot(look).says("new\ntwo\n").says("etc/three\n0\n");
}

#[test]
fn recovery_leaves_an_open_transaction_which_is_called_and_closed_after_it() {
    let machine = Machine::new();
    boot(
        &machine,
        "tukit open; transactional-update boot-complete; tukit call 2 touch /usr/one",
    )
    .succeeds();
    // the next boot, in which another transaction and its recovery come between
    let ran = boot(
        &machine,
        "transactional-update -q run true; there; tukit call 2 touch /usr/two; tukit close 2; there",
    );
    ran.succeeds()
        .says("there: 1 2 3 default 3")
        .says("there: 1 2 3 default 2")
        .does_not_say("left behind");
    machine.boot("ls /usr/one /usr/two").succeeds();
}

#[test]
fn a_call_that_is_killed_leaves_its_transaction_open_and_no_process() {
    for call in ["call 2", "callext 2"] {
        let machine = Machine::new();
        let script = format!(
            "tukit open; tukit call 2 sh -c 'echo one > /usr/one'
             tukit {call} sh -c 'setsid sleep 1000 & touch /var/cache/begun; sleep 1000' & p=$!
             until_there /var/cache/begun; kill -KILL $p; exits 137 wait $p; nothing_runs
             exits 1 grep ' /.snapshots/2' /proc/self/mountinfo
             transactional-update boot-complete; there
             transactional-update status; transactional-update list
             tukit call 2 sh -c 'cat /usr/one; echo two > /usr/two'; tukit close 2"
        );
        boot(&machine, &script)
            .succeeds()
            .says("there: 1 2 default 1")
            .says("Open transactions: #2")
            .says("in-progress,open")
            .says("one\n")
            .does_not_say("left behind");
        machine.holds(&[1, 2], 2);
        machine.boot("cat /usr/one /usr/two").succeeds();
    }
}

/// Points of `open`, `call` and `close` at which the program dies, and what is there afterwards: whether the
/// transaction is still open, and what `close` then ends with.
const DEATHS: &[(&str, &str, &str)] = &[
    ("mounted", "tukit open", "removed"),
    ("park-synced", "tukit open", "removed"),
    ("parked", "tukit open", "open"),
    ("resumed", "tukit call 2 touch /usr/two", "open"),
    ("mounted", "tukit call 2 touch /usr/two", "open"),
    ("ran", "tukit call 2 touch /usr/two", "open"),
    ("park-synced", "tukit call 2 touch /usr/two", "open"),
    ("parked", "tukit call 2 touch /usr/two", "open"),
    ("resumed", "tukit close 2", "open"),
    ("unmounted", "tukit close 2", "open"),
    ("before-sync", "tukit close 2", "open"),
    ("synced", "tukit close 2", "open"),
    ("before-final-info", "tukit close 2", "open"),
    ("final-info", "tukit close 2", "whole"),
    ("resumed", "tukit abort 2", "open"),
    ("deleted-subvolume", "tukit abort 2", "removed"),
];

#[test]
fn death_at_any_point_leaves_an_open_transaction_open_or_removes_it() {
    let machine = Machine::new();
    let mut script = String::from(
        "transactional-update boot-complete; make() { tukit -q open; tukit -q call 2 touch /usr/one; }\n",
    );
    for (point, words, then) in DEATHS {
        let made = if words.ends_with("open") {
            "true"
        } else {
            "make"
        };
        let after = match *then {
            "open" => {
                "[ $(data 2 tu-owner) = open ]; tukit call 2 touch /usr/three; tukit close 2; [ \"$(there)\" = 'there: 1 2 default 2' ]"
            }
            "whole" => {
                "[ -z \"$(data 2 tu-owner)\" ]; exits 1 tukit close 2; [ \"$(there)\" = 'there: 1 2 default 1' ]"
            }
            _ => "[ \"$(there)\" = 'there: 1 default 1' ]",
        };
        script += &format!(
            "echo '{point}: {words}'; {made}; exits 137 env TU_FAILPOINTS={point}=kill {words}
             transactional-update boot-complete; {after}; reset\n"
        );
    }
    let ran = boot(&machine, &script);
    assert_eq!(ran.code, 0, "{ran}");
    machine.holds(&[1], 1);
}

#[test]
fn an_error_at_any_point_of_opening_leaves_nothing() {
    let machine = Machine::new();
    for point in ["mounted", "park-synced", "parked"] {
        boot(&machine, &format!("TU_FAILPOINTS={point}=error tukit open"))
            .exits(1)
            .says(&format!("failpoint {point}"));
        machine.holds(&[1], 1);
    }
}

#[test]
fn what_cannot_be_mounted_again_stays_open_and_can_be_aborted() {
    let machine = Machine::new();
    let script = "tukit open; for words in 'call 2 true' 'callext 2 true' 'close 2'; do
           exits 1 env TU_FAILPOINTS=mounted=error tukit $words; done; there
         TU_FAILPOINTS=mounted=error tukit abort 2";
    boot(&machine, script)
        .succeeds()
        .says("there: 1 2 default 1")
        .says("cannot be mounted: failpoint mounted");
    machine.holds(&[1], 1);
}

#[test]
fn an_open_transaction_that_boots_next_is_not_aborted_and_keeps_its_etc() {
    let machine = Machine::of(Variant::NestedSqlite);
    let script = "tukit open
         btrfs subvolume set-default $(btrfs inspect-internal rootid /.snapshots/2/snapshot) /.snapshots
         exits 1 tukit abort 2; ls /.snapshots/2/snapshot/etc/fstab; [ $(data 2 tu-owner) = open ]
         transactional-update -q rollback; tukit abort 2";
    boot(&machine, script)
        .succeeds()
        .says("deleting snapshot 2: it runs or boots next");
    machine.holds(&[1], 1);
}

#[test]
fn an_abort_that_is_cut_off_leaves_nothing_open_without_its_etc() {
    for point in ["deleted-etc", "deleted-subvolume"] {
        let machine = Machine::of(Variant::NestedSqlite);
        let script = format!(
            "tukit open; exits 137 env TU_FAILPOINTS={point}=kill tukit abort 2; transactional-update boot-complete"
        );
        boot(&machine, &script)
            .succeeds()
            .says("Removed snapshot 2");
        machine.holds(&[1], 1);
    }
}

#[test]
fn a_link_to_the_database_that_a_call_made_stays_where_var_is_part_of_the_snapshot() {
    let machine = Machine::of(Variant::RwSqlite);
    machine.prepare("sed -i '/[[:space:]]\\/var[[:space:]]/d' /etc/fstab");
    boot(
        &machine,
        "rm -f /var/lib/rpm; tukit open
         tukit call 2 sh -c 'mkdir -p /var/lib; ln -s ../../usr/lib/sysimage/rpm /var/lib/rpm'; tukit call 2 true; tukit close 2
         readlink /.snapshots/2/snapshot/var/lib/rpm",
    )
    .succeeds()
    .says("../../usr/lib/sysimage/rpm\n");
}

#[test]
fn a_signal_during_a_call_ends_the_command_and_leaves_the_transaction_open() {
    let machine = Machine::new();
    let script = r#"tukit open
         for words in call callext; do for how in "" "trap '' TERM;"; do
           rm -f /var/cache/begun
           tukit $words 2 sh -c "$how touch /var/cache/begun; (setsid sleep 1000 &) ; sleep 1000" & p=$!
           until_there /var/cache/begun; kill -TERM $p; exits 1 wait $p; nothing_runs; done; done
         tukit call 2 true; tukit close 2"#;
    boot(&machine, script)
        .succeeds()
        .says("transaction 2 stays open: interrupted by SIGTERM");
    machine.holds(&[1, 2], 2);
}

#[test]
fn two_processes_cannot_work_on_a_transaction_at_the_same_time() {
    let machine = Machine::new();
    let script = "tukit open; tukit call 2 sh -c 'touch /var/cache/begun; sleep 3; touch /usr/one' & p=$!
         until_there /var/cache/begun
         for words in 'call 2 touch /usr/two' 'callext 2 true' 'close 2' 'abort 2' open 'rollback 1'; do exits 1 tukit $words; done
         tukit snapshots; wait $p; tukit close 2";
    boot(&machine, script)
        .succeeds()
        .says("another transaction is running")
        .says("0\t\n1\t\n2\t\n");
    machine
        .boot("ls /usr/one; ls /usr/two")
        .says("/usr/one")
        .exits(2);
}

#[test]
fn several_transactions_can_be_open_at_the_same_time() {
    let machine = Machine::new();
    let script =
        "tukit open; tukit open; tukit call 2 touch /usr/two; tukit call 3 touch /usr/three
         transactional-update status; tukit abort 2; there; tukit close 3";
    boot(&machine, script)
        .succeeds()
        .says("Open transactions: #2, #3")
        .says("there: 1 3 default 1");
    machine.holds(&[1, 3], 3);
    machine
        .boot("ls /usr/three; ls /usr/two")
        .says("/usr/three")
        .exits(2);
}

#[test]
fn an_open_transaction_of_an_earlier_boot_is_told_and_can_still_be_closed() {
    let machine = Machine::new();
    let script = "tukit open; sed -i \"s/$(cat /proc/sys/kernel/random/boot_id)/another-boot/\" /.snapshots/2/info.xml
         transactional-update status; tukit call 2 touch /usr/one; transactional-update status >&2; tukit close 2";
    let ran = boot(&machine, script).succeeds();
    assert!(
        ran.stdout
            .contains("snapshot 2 is an open transaction of an earlier boot"),
        "{ran}"
    );
    assert!(!ran.stderr.contains("earlier boot"), "{ran}");
    machine.holds(&[1, 2], 2);
}

#[test]
fn a_transaction_whose_base_is_gone_can_still_be_closed() {
    let machine = Machine::new();
    let script = "transactional-update -q run true; tukit -c -d open; tukit call 3 touch /usr/one
         transactional-update discard 2; there; tukit call 3 touch /usr/two; tukit close 3";
    boot(&machine, script)
        .succeeds()
        .says("there: 1 3 default 1")
        .says("what snapshot 3 was made from is gone");
    machine.holds(&[1, 3], 3);
    machine
        .boot("ls /usr/one /usr/two; btrfs property get -ts / ro")
        .succeeds()
        .says("ro=true");
}

// --- commands -------------------------------------------------------------------------------------------------

#[test]
fn execute_makes_a_whole_transaction_and_fails_with_1_whatever_the_command_fails_with() {
    let machine = Machine::new();
    let script = "exits 1 tukit execute sh -c 'touch /usr/one; exit 42'; exits 1 tukit execute no-such; there
         tukit execute sh -c 'touch /usr/one; pwd -P'; there";
    boot(&machine, script)
        .succeeds()
        .says("sh -c 'touch /usr/one; exit 42' failed with status 42; nothing was changed")
        .says("there: 1 default 1")
        .says("there: 1 2 default 2");
    machine.boot("ls /usr/one").succeeds();
    let shell = Machine::new();
    let script = "echo 'touch /usr/by-shell' | tukit execute; there";
    boot(&shell, script).succeeds().says("there: 1 2 default 2");
    shell.boot("ls /usr/by-shell").succeeds();
}

#[test]
fn a_transaction_whose_number_nobody_can_read_is_not_left_open() {
    let machine = Machine::new();
    boot(&machine, "exits 1 sh -c 'tukit open > /dev/full'; there")
        .succeeds()
        .says("No space left on device")
        .says("there: 1 default 1");
}

#[test]
fn an_open_transaction_is_neither_discarded_nor_gone_back_to() {
    let machine = Machine::new();
    let script = "tukit open; exits 1 transactional-update discard 2; exits 1 transactional-update rollback 2; exits 1 tukit rollback 2; there";
    boot(&machine, script)
        .succeeds()
        .says("`tukit abort 2` removes it")
        .says("there: 1 2 default 1");
}

#[test]
fn call_and_callext_pass_the_status_of_the_command_and_the_transaction_stays_open() {
    let machine = Machine::new();
    let script = r#"tukit open; for words in call callext; do
         exits 42 tukit $words 2 sh -c 'exit 42'; exits 137 tukit $words 2 sh -c 'kill -KILL $$'
         exits 127 tukit $words 2 no-such-program; exits 126 tukit $words 2 /etc/passwd; tukit $words 2 true; done
         [ $(data 2 tu-owner) = open ]; tukit close 2"#;
    boot(&machine, script)
        .succeeds()
        .says("sh -c 'exit 42' ended with status 42; transaction 2 stays open")
        .says("no-such-program: there is no such program");
    machine.holds(&[1, 2], 2);
}

#[test]
fn a_call_runs_chrooted_in_the_callers_directory_with_the_known_environment() {
    let machine = Machine::new();
    let script = "tukit open; cd /usr/share
         tukit call 2 sh -c 'pwd; stat -c %d:%i / > /usr/root; echo $TRANSACTIONAL_UPDATE $TRANSACTIONAL_UPDATE_ROOT; cat' < /etc/hostname
         [ $(cat /.snapshots/2/snapshot/usr/root) = $(stat -c %d:%i /.snapshots/2/snapshot) ]";
    boot(&machine, script)
        .succeeds()
        .says("/usr/share\ntrue /.snapshots/2/snapshot\n");
}

#[test]
fn callext_runs_in_the_running_system_and_shows_it_the_mounted_snapshot() {
    let machine = Machine::new();
    let script = r#"tukit open; cd /usr/share; touch /run/here
         tukit callext 2 sh -c 'pwd; ls -d /run/here; stat -c %d:%i / > {}/usr/root; echo $TRANSACTIONAL_UPDATE "$@"' x {} a{}b{} '{ }'
         [ $(cat /.snapshots/2/snapshot/usr/root) = $(stat -c %d:%i /) ]
         tukit callext 2 sh -c 'findmnt -n -o FSTYPE {}/run; findmnt -n -o TARGET {}/proc; chroot {} ls -d /proc/1; mount -t tmpfs tmpfs /mnt; touch /mnt/x'
         test ! -e /mnt/x"#;
    let ran = boot(&machine, script).succeeds();
    ran.says("/usr/share\n/run/here\n")
        .says("true /.snapshots/2/snapshot a/.snapshots/2/snapshotb/.snapshots/2/snapshot { }\n")
        .says("tmpfs\n/.snapshots/2/snapshot/proc\n/proc/1\n");
}

#[test]
fn no_process_survives_a_call() {
    let machine = Machine::new();
    let script = "tukit open; for words in call callext; do
         tukit $words 2 sh -c 'setsid sleep 1000 >/dev/null 2>&1 & setsid sleep 2000 & sleep .2'; nothing_runs; done";
    boot(&machine, script)
        .succeeds()
        .says("left a process sleep behind");
}

#[test]
fn abort_deletes_the_transaction_and_a_second_one_says_that_there_is_none() {
    let machine = Machine::new();
    let script =
        "tukit open; tukit call 2 touch /usr/one; tukit abort 2; there; exits 1 tukit abort 2
         cat /var/lib/transactional-update/history.jsonl";
    boot(&machine, script)
        .succeeds()
        .says("Deleted #2.")
        .says("there: 1 default 1")
        .says("there is no snapshot 2; `tukit snapshots` shows those there are")
        .says(r#""command":"tukit abort 2","result":"aborted","snapshot":2"#);
    machine.holds(&[1], 1);
}

#[test]
fn what_is_no_open_transaction_is_refused_and_stays_as_it_is() {
    let machine = Machine::new();
    // 2 is closed, 3 of another program, 4 has no info.xml, 5 one that is not understood, 6 is only a number
    let script = r#"tukit -q open; tukit -q close 2
         foreign() { mkdir /.snapshots/$1; btrfs -q subvolume snapshot / /.snapshots/$1/snapshot; }
         for n in 3 4 5; do foreign $n; done; mkdir /.snapshots/6
         sed 's/<num>1/<num>3/; s|</snapshot>|<userdata><key>transactional-update-in-progress</key><value>yes</value></userdata></snapshot>|' \
           /.snapshots/1/info.xml > /.snapshots/3/info.xml
         echo '<snapshot>' > /.snapshots/5/info.xml
         state() { ls -A /.snapshots; cat /.snapshots/*/info.xml; btrfs subvolume list / | sed 's/gen [0-9]*//'; btrfs subvolume get-default /; }
         state > /run/before
         for id in 1 2 3 4 5 6 99; do for words in "call $id true" "callext $id true" "close $id" "abort $id"; do
           exits 1 tukit $words; exits 1 tukit -k $words; done; done
         for id in 0 -1 x '' 01 4294967296; do exits 1 tukit call "$id" true; exits 1 tukit close "$id"; done
         state | cmp - /run/before"#;
    boot(&machine, script)
        .succeeds()
        .says("snapshot 1 is no open transaction")
        .says("snapshot 2 is no open transaction: it was closed")
        .says("snapshot 3 is no open transaction: it was closed, or `tukit open` did not make it")
        .says("there is no snapshot 6")
        .says("there is no snapshot 99");
}

#[test]
fn rollback_goes_to_a_snapshot_by_number() {
    let machine = Machine::new();
    let script = "tukit -q execute true; there; tukit rollback 1; there; exits 1 tukit rollback 9; exits 1 tukit rollback last";
    boot(&machine, script)
        .succeeds()
        .says("there: 1 2 default 2")
        .says("Snapshot 1 is the next system.")
        .says("there: 1 2 default 1");
}

#[test]
fn reboot_takes_the_method_that_is_named_or_auto_and_not_that_of_the_configuration() {
    let machine = Machine::new();
    machine.prepare(
        r#"printf '#!/bin/bash\necho "systemctl $*" >> /run/calls\n[ "$*" = reboot ] || [ "$*" = soft-reboot ] || exit 99\n' > /usr/sbin/systemctl
           chmod 755 /usr/sbin/systemctl; echo REBOOT_METHOD=kured > /etc/transactional-update.conf"#,
    );
    let script = "tukit reboot none; test ! -e /run/reboot-required; test ! -e /run/calls
         tukit reboot kured; ls /run/reboot-required
         tukit reboot; tukit reboot auto; tukit reboot systemd
         tukit -q execute sh -c 'echo soft-reboot > /run/reboot-needed'; tukit -o REBOOT_ALLOW_SOFT_REBOOT=yes reboot systemd
         cat /run/calls; exits 1 tukit reboot now";
    let ran = boot(&machine, script).succeeds();
    assert_eq!(
        ran.stdout,
        "/run/reboot-required\nsystemctl reboot\nsystemctl reboot\nsystemctl reboot\nsystemctl soft-reboot\n",
        "{ran}"
    );
    ran.says("invalid value 'now'");
}

#[test]
fn snapshots_prints_what_snapper_would_for_every_field() {
    let machine = Machine::new();
    let script = r#"snapper --no-dbus create -d 'quoted "text", commas' --userdata a=1,b=2 -c timeline
         snapper --no-dbus create -t pre -d before; snapper --no-dbus create -t post --pre-number 3 -d after
         tukit -q execute true; tukit -q open
         sed -i 's|</date>|</date><uid>1000</uid>|' /.snapshots/2/info.xml
         for field in number default active date description type cleanup userdata user config subvolume; do
           tukit --fields=$field snapshots > /run/ours
           snapper --no-dbus --utc --iso --csvout list --columns $field | sed 1d | sed 's/^"\(.*\)"$/\1/; s/""/"/g; s/$/\t/' > /run/theirs
           diff /run/theirs /run/ours || { echo "$field differs"; exit 9; }; done
         tukit snapshots | cmp - <(tukit -fnumber snapshots)
         tukit snapshots -f number,default"#;
    let ran = boot(&machine, script).succeeds();
    assert_eq!(
        ran.stdout, "ID: 6\n0\tno\t\n1\tno\t\n2\tno\t\n3\tno\t\n4\tno\t\n5\tyes\t\n6\tno\t\n",
        "{ran}"
    );
}

#[test]
fn snapshots_refuses_unknown_fields_and_keeps_a_line_for_each_snapshot() {
    let machine = Machine::new();
    let script = "snapper --no-dbus create -d $'two\\nlines\\tand a tab'; exits 1 tukit -f number,nonsense snapshots
         tukit -f number,description snapshots";
    boot(&machine, script)
        .succeeds()
        .says("2\ttwo lines and a tab\t\n")
        .says("there is number, default, active, date");
}
