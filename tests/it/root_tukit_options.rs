//! tukit: the options that other programs know, and what a transaction tells of itself.

use crate::fx::Machine;
use crate::root_tukit::boot;

// --- options --------------------------------------------------------------------------------------------------

#[test]
fn without_continue_the_running_system_is_the_base_and_with_it_the_next_one() {
    let machine = Machine::new();
    let script = "tukit -q execute touch /usr/two
         tukit -q open; tukit -q -c open; tukit -q --continue open; tukit -q -c1 open; tukit -q --continue=2 open
         tukit -q -cdefault open; tukit -q --continue=active open
         for n in 3 4 5 6 7 8 9; do echo base of $n: $(data $n tu-base | cut -d: -f1); done
         exits 1 tukit -c99 open; exits 1 tukit -c3 open";
    let ran = boot(&machine, script).succeeds();
    let bases: Vec<&str> = ran
        .stdout
        .lines()
        .filter_map(|l| l.strip_prefix("base of "))
        .collect();
    assert_eq!(
        bases,
        ["3: 1", "4: 2", "5: 2", "6: 1", "7: 2", "8: 2", "9: 1"],
        "{ran}"
    );
    ran.says("there is no snapshot 99")
        .says("snapshot 3 belongs to a transaction that has not ended");
}

#[test]
fn a_description_is_that_of_the_snapshot() {
    let machine = Machine::new();
    let script = "tukit open; tukit --description='<mine> & \"yours\"' open; tukit --description text execute true
         tukit -f number,description snapshots; snapper --no-dbus list | grep mine";
    boot(&machine, script)
        .succeeds()
        .says("2\tSnapshot Update of #1\t\n3\t<mine> & \"yours\"\t\n4\ttext\t\n");
}

#[test]
fn keep_leaves_the_snapshot_of_a_command_that_failed() {
    let machine = Machine::new();
    let script = "exits 1 tukit -k execute sh -c 'touch /usr/one; exit 3'; exits 1 tukit --keep execute false; there
         ls /.snapshots/2/snapshot/usr/one; transactional-update status";
    boot(&machine, script)
        .succeeds()
        .says("there: 1 2 3 default 1")
        .says("Kept after a failure: #2, #3");
}

#[test]
fn discard_drops_what_changed_nothing_also_when_it_was_said_to_open() {
    let machine = Machine::new();
    let script = "tukit -d execute true; there; tukit --discard execute touch /usr/one; there
         tukit -d open; tukit call 3 true; tukit callext 3 ls {} >/dev/null; tukit close 3; there
         tukit open; tukit -d close 3; there
         tukit open; tukit close 3; there
         tukit -d open; tukit call 4 touch /usr/two; tukit close 4; there";
    let ran = boot(&machine, script).succeeds();
    let there: Vec<&str> = ran
        .stdout
        .lines()
        .filter(|l| l.starts_with("there"))
        .collect();
    assert_eq!(
        there,
        [
            "there: 1 default 1",
            "there: 1 2 default 2",
            "there: 1 2 default 2",
            "there: 1 2 default 2",
            "there: 1 2 3 default 3",
            "there: 1 2 3 4 default 4"
        ],
        "{ran}"
    );
}

#[test]
fn a_killed_call_that_changed_nothing_is_no_change() {
    let machine = Machine::new();
    let script = "tukit -d open; exits 137 env TU_FAILPOINTS=mounted=kill tukit call 2 true
         exits 137 env TU_FAILPOINTS=ran=kill tukit callext 2 true; tukit close 2; there";
    boot(&machine, script).succeeds().says("there: 1 default 1");
}

#[test]
fn log_restricts_where_things_are_told_and_what_fails_is_told_always() {
    let machine = Machine::new();
    let script = "L=/var/log/transactional-update.log; lines() { cat $L 2>/dev/null | wc -l; }
         a=$(lines); tukit -l console -v execute true 2> /run/err; [ $(lines) = $a ]; grep -q 'Base: #1' /run/err
         tukit -l syslog -v execute true 2> /run/err; [ $(lines) -gt $a ]; [ ! -s /run/err ]; grep -q 'tukit -l syslog' $L
         a=$(lines); tukit --log=console,syslog execute true 2> /run/err; [ $(lines) -gt $a ]; [ -s /run/err ]
         exits 1 tukit -l syslog close 99 2> /run/err; grep -q 'Error: there is no snapshot 99' /run/err
         exits 1 tukit -l file execute true";
    boot(&machine, script)
        .succeeds()
        .says("invalid value 'file'");
}

#[test]
fn an_option_takes_precedence_over_tukit_conf() {
    let machine = Machine::new();
    let script = "tukit -o LOCKFILE=/run/other.lock -o 'BINDDIRS[x]=/srv' open; ls /run/other.lock; test ! -e /run/tukit.lock
         tukit --option='BINDDIRS[]=/srv' call 2 touch /srv/live; ls /srv/live
         tukit call 2 ls /srv/live && exit 9
         tukit -o SNAPSHOT_MANAGER=podman -o OCI_TARGET=x -o UNKNOWN=1 call 2 true
         for wrong in LOCKFILE LOCKFILE=relative =x PLUGIN_TIMEOUT=x REBOOT_ALLOW_KEXEC=maybe; do exits 1 tukit -o \"$wrong\" open; done; there";
    boot(&machine, script)
        .succeeds()
        .says("command line: unknown key UNKNOWN")
        .says("LOCKFILE needs an absolute path")
        .says("REBOOT_ALLOW_KEXEC is either on or off")
        .says("there: 1 2 default 1");
}

#[test]
fn quiet_prints_what_was_asked_for_and_verbose_each_step() {
    let machine = Machine::new();
    let script =
        "tukit -q open > /run/out 2> /run/err; [ \"$(cat /run/out)\" = 'ID: 2' ]; [ ! -s /run/err ]
         [ \"$(tukit --quiet call 2 echo out 2>/run/err)\" = out ]; [ ! -s /run/err ]
         tukit -q close 2 > /run/out 2> /run/err; [ ! -s /run/out ]; [ ! -s /run/err ]
         tukit -v execute true 2>&1 | grep -q 'Running in snapshot 3: true'
         tukit --verbose -q execute echo only";
    let ran = boot(&machine, script).succeeds();
    assert_eq!((&*ran.stdout, &*ran.stderr), ("only\n", ""), "{ran}");
}

#[test]
fn the_version_is_printed_alone_and_help_names_every_command() {
    let machine = Machine::new();
    let version = env!("CARGO_PKG_VERSION");
    let script = format!(
        "[ \"$(tukit --version)\" = {version} ]; [ \"$(tukit -V)\" = {version} ]
         for words in --help -h; do for command in execute open call callext close abort rollback snapshots reboot; do
           tukit $words | grep -q \"^  $command \" || exit 9; done; done"
    );
    boot(&machine, &script).succeeds();
}

#[test]
fn what_is_not_understood_fails_with_1_and_changes_nothing() {
    let machine = Machine::new();
    let script = "for words in '' '-x open' nonsense 'open more' call 'call 2' 'close' '--fields snapshots' 'reboot sideways' '-c 1 open'; do
         exits 1 tukit $words; done; there; ls -A /.snapshots/1";
    boot(&machine, script)
        .succeeds()
        .says("a command is missing")
        .says("there: 1 default 1");
}

#[test]
fn only_root_and_nobody_inside_a_transaction_can_make_one() {
    let machine = Machine::new();
    let script = "tukit -q open; for words in open 'execute true' 'call 2 true' 'callext 2 true' 'close 2' 'abort 2'; do
           exits 1 env TRANSACTIONAL_UPDATE=true tukit $words; done
         exits 1 setpriv --reuid=1000 --clear-groups /run/tu/tukit open; there";
    boot(&machine, script)
        .succeeds()
        .says("this already runs inside a transaction")
        .says("only root can")
        .says("there: 1 2 default 1");
}

// --- what a transaction tells of itself -----------------------------------------------------------------------

#[test]
fn files_that_will_be_hidden_are_told_at_the_end_whichever_call_wrote_them() {
    let machine = Machine::new();
    machine.prepare(
        "mkdir -p /run/r; mount --bind / /run/r; echo old > /run/r/srv/old; umount /run/r",
    );
    let script = "tukit open; tukit call 2 sh -c 'echo 1 > /srv/one'; tukit callext 2 sh -c 'echo 2 > {}/srv/two'; tukit close 2";
    boot(&machine, script)
        .succeeds()
        .says("  /srv/one (no package)\n  /srv/two (no package)\n")
        .does_not_say("/srv/old");
}

#[test]
fn the_wishes_for_a_restart_and_for_an_initrd_of_all_calls_reach_the_running_system() {
    let machine = Machine::new();
    let script = "tukit open; tukit call 2 sh -c 'echo soft-reboot > /run/reboot-needed; mkdir /run/regenerate-initrd; touch /run/regenerate-initrd/all'
         ls /run/regenerate-initrd; test ! -e /run/reboot-needed
         tukit call 2 sh -c 'mkdir /run/regenerate-initrd; ln -s /etc/passwd /run/regenerate-initrd/link; mkdir /run/regenerate-initrd/dir; echo x > /run/regenerate-initrd/6.1'
         ls /run/regenerate-initrd; tukit close 2; cat /run/reboot-needed
         tukit execute sh -c 'echo kexec > /run/reboot-needed'; cat /run/reboot-needed; tukit execute true; cat /run/reboot-needed";
    let ran = boot(&machine, script).succeeds();
    assert_eq!(
        ran.stdout, "ID: 2\nall\n6.1\nall\nsoft-reboot\nkexec\nreboot\n",
        "{ran}"
    );
}
