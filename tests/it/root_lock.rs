//! What lies where the lock file belongs.

use crate::fx::{Machine, Ran};

/// Lays `what` at $L, the lock file, and runs a command that writes, which has no time to wait for somebody who opens
/// the other end.
fn with_lock_file(machine: &Machine, what: &str) -> Ran {
    let script = format!(
        "L=/run/tukit.lock; {{ {what}; }} || exit 97
         timeout 30 transactional-update run touch /usr/new"
    );
    machine.boot(&script)
}

/// The command is refused with the cause and what to do each time, and nothing was changed.
#[track_caller]
fn refused(cases: &[(&str, &str)]) {
    let machine = Machine::new();
    for (what, cause) in cases {
        with_lock_file(&machine, what)
            .exits(1)
            .says(&format!("cannot lock /run/tukit.lock: {cause}; "))
            .says("LOCKFILE in tukit.conf");
    }
    machine.holds(&[1], 1);
}

#[test]
fn a_lock_file_that_is_no_regular_file_is_refused_at_once_and_by_name() {
    let socket =
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"/run/tukit.lock\")'";
    refused(&[
        ("mkdir $L", "Is a directory (os error 21)"),
        ("mkfifo $L", "it is no regular file"),
        (socket, "No such device or address (os error 6)"),
        ("mknod $L c 1 3", "it is no regular file"),
    ]);
}

#[test]
fn a_link_at_the_lock_file_is_not_followed() {
    let machine = Machine::new();
    for target in ["/nowhere/at/all", "tukit.lock", "/var/precious"] {
        with_lock_file(
            &machine,
            &format!("echo mine > /var/precious; ln -s {target} $L"),
        )
        .exits(1)
        .says("cannot lock /run/tukit.lock: it is a link; ");
        machine
            .boot("[ \"$(cat /var/precious)\" = mine ]")
            .succeeds();
    }
    machine.holds(&[1], 1);
}

#[test]
fn a_lock_file_that_cannot_be_written_or_made_is_refused() {
    // FS_IOC_SETFLAGS with FS_IMMUTABLE_FL
    let immutable = "python3 -c 'import fcntl, struct
fcntl.ioctl(open(\"/run/tukit.lock\", \"w\"), 0x40086602, struct.pack(\"l\", 0x10))'";
    refused(&[
        (immutable, "Operation not permitted (os error 1)"),
        (
            "mount -o remount,bind,ro /run",
            "Read-only file system (os error 30)",
        ),
        (
            "mount -o remount,nr_inodes=$(( $(df --output=iused /run | tail -1) )) /run",
            "No space left on device (os error 28)",
        ),
    ]);
}

#[test]
fn what_an_old_or_strange_lock_file_holds_stops_nobody() {
    let machine = Machine::new();
    for what in [
        "chmod 000 $L",
        "head -c 100K /dev/urandom > $L",
        "truncate -s 1T $L",
        "echo pid 1 > $L",
    ] {
        with_lock_file(&machine, &format!(": > $L; {what}")).succeeds();
    }
    machine.holds(&[1, 2, 3, 4, 5], 5);
}

#[test]
fn whoever_holds_the_lock_file_is_waited_for_by_nobody_whatever_it_wrote() {
    let machine = Machine::new();
    for what in [
        r"printf '\033[2J\377\0pid 1' > $L",
        "head -c 100K /dev/urandom > $L",
        "truncate -s 1T $L",
    ] {
        with_lock_file(&machine, &format!("{what}; exec 9<$L; flock -n 9"))
            .exits(1)
            .says("another transaction is running: /run/tukit.lock is locked; wait until it has ended");
    }
    machine.holds(&[1], 1);
}

#[test]
fn a_lock_file_that_was_removed_lets_no_second_writer_in() {
    let machine = Machine::new();
    let script = "transactional-update run sh -c 'touch /root/begun; until [ -e /root/go ]; do sleep .02; done' & first=$!
        until [ -e /root/begun ]; do sleep .02; done
        rm /run/tukit.lock; transactional-update run true; code=$?
        touch /root/go; wait $first || exit 96; exit $code";
    machine
        .boot(script)
        .exits(1)
        .says("another transaction is running: /.snapshots is locked");
    machine.holds(&[1, 2], 2);
}

#[test]
fn a_full_run_is_no_reason_to_have_no_lock() {
    let full = ": > $L; dd if=/dev/zero of=/run/fill bs=1M count=10 status=none
        mount -o remount,size=$(df -k --output=used /run | tail -1)K /run; dd if=/dev/zero bs=4k status=none >> /run/fill 2>/dev/null; :";
    let machine = Machine::new();
    let ran = with_lock_file(&machine, full)
        .says("/run/tukit.lock does not say who holds it: No space left on device");
    if ran.code == 0 {
        machine.holds(&[1, 2], 2);
    } else {
        machine.holds(&[1], 1);
    }
    machine.tu("run true").succeeds();
}
