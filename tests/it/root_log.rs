//! The log: a file always, the journal where there is one, and the history.

use crate::fx::Machine;

/// Stands for the journal: prints the datagrams that arrive within two seconds of silence.
const JOURNAL: &str = r#"mkdir -p /run/systemd/journal
cat > /run/journal.py <<'PY'
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("/run/systemd/journal/socket")
open("/run/journal.ready", "w")
s.settimeout(2)
try:
    while True:
        sys.stdout.buffer.write(s.recv(65536) + b"\n--\n")
except OSError:
    pass
PY
python3 /run/journal.py > /run/journal &
until [ -e /run/journal.ready ]; do sleep .05; done
"#;

#[test]
fn what_is_said_is_in_the_journal_and_in_the_log_file() {
    let machine = Machine::new();
    let ran = machine
        .boot(&format!(
            "{JOURNAL}transactional-update -q run touch /usr/x; wait; cat -v /run/journal; echo ==; cat /var/log/transactional-update.log"
        ))
        .succeeds();
    let (journal, file) = ran.stdout.split_once("==\n").unwrap();
    for log in [journal, file] {
        assert!(log.contains("Snapshot 2 is the next system"), "{ran}");
        assert!(
            log.contains("called as: transactional-update -q run touch /usr/x"),
            "{ran}"
        );
    }
    assert!(journal.contains("SYSLOG_IDENTIFIER"), "{ran}");
    assert!(
        file.contains("Running in snapshot 2"),
        "the file has each step\n{ran}"
    );
}

#[test]
fn a_failure_is_in_the_log_and_in_the_history_without_a_journal() {
    let machine = Machine::new();
    machine.tu("-n pkg install fx-badpost").exits(1);
    machine
        .boot("cat /var/log/transactional-update.log /var/lib/transactional-update/history.jsonl")
        .succeeds()
        .says("ERROR the %post scriptlet of fx-badpost")
        .says("badpost: failing")
        .says(r#""command":"transactional-update -n pkg install fx-badpost","result":"failed""#);
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing_and_is_told() {
    let machine = Machine::new();
    let ran = machine.boot("TU_LOGFILE=/proc/no/log transactional-update run touch /usr/x");
    ran.succeeds().says("cannot write the log /proc/no/log");
    machine.holds(&[1, 2], 2);
}
