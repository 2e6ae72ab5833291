//! A boot in which one command after the other is asked for, and which may die at any moment.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::fx::{Machine, command};

/// Every boot has its own id, as real ones have. Commands come by standard input, a line each.
const LOOP: &str = r#"
cat /proc/sys/kernel/random/uuid > /run/boot_id && mount --bind /run/boot_id /proc/sys/kernel/random/boot_id || exit
exec 3>&1
while IFS= read -r line; do eval "$line"; done 2>/dev/null"#;

/// What ends an answer.
const END: &str = "@@@ end ";
/// Nothing here takes as long; a command that does hangs.
const HANG: Duration = Duration::from_secs(300);

/// What came of a command.
#[derive(Debug)]
pub(super) enum Answer {
    /// It ended with this status and this output.
    Ended(i32, String),
    /// The machine died first.
    Dead,
}

/// A machine that runs.
pub(super) struct Session<'m> {
    machine: &'m Machine,
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl<'m> Session<'m> {
    pub(super) fn boot(machine: &'m Machine) -> Session<'m> {
        let mut child = machine.start(LOOP);
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        let errors = BufReader::new(child.stderr.take().unwrap());
        let forward = move |from: Box<dyn BufRead + Send>, prefix: &'static str| {
            let sender = sender.clone();
            thread::spawn(move || {
                for line in from.split(b'\n').map_while(Result::ok) {
                    let line = String::from_utf8_lossy(&line).into_owned();
                    if sender.send(format!("{prefix}{line}")).is_err() {
                        break;
                    }
                }
            });
        };
        forward(Box::new(output), "");
        forward(Box::new(errors), "! ");
        drop(forward);
        let input = child.stdin.take();
        Session {
            machine,
            child,
            input,
            lines,
        }
    }

    /// Runs `words` of bash.
    pub(super) fn ask(&mut self, words: &str) -> Answer {
        self.send(words);
        self.answer(None)
    }

    /// The same, and the machine dies after `delay`, when the command has not ended by then.
    pub(super) fn ask_and_die(&mut self, words: &str, delay: Duration) -> Answer {
        self.send(words);
        self.answer(Some(delay))
    }

    fn send(&mut self, words: &str) {
        let line = format!(
            "{{ {words}; }} </dev/null >/run/out 2>&1; code=$?; cat /run/out >&3; printf '\\n{END}%s\\n' $code >&3\n"
        );
        let input = self.input.as_mut().expect("a machine that runs");
        // one that is dead says so by the end of its output
        if let Err(e) = input.write_all(line.as_bytes()) {
            assert_eq!(e.kind(), std::io::ErrorKind::BrokenPipe);
        }
    }

    fn answer(&mut self, mut die_after: Option<Duration>) -> Answer {
        let (mut text, mut killed) = (String::new(), false);
        loop {
            match self.lines.recv_timeout(die_after.unwrap_or(HANG)) {
                Ok(line) => match line.strip_prefix(END) {
                    // it may have ended while it was killed
                    Some(_) if killed => {}
                    Some(code) => return Answer::Ended(code.parse().unwrap(), text),
                    None => text += &(line + "\n"),
                },
                Err(RecvTimeoutError::Disconnected) => {
                    self.end();
                    return Answer::Dead;
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.child.kill().unwrap();
                    killed = true;
                    assert!(
                        die_after.take().is_some(),
                        "this hangs; it said so far: {text}"
                    );
                }
            }
        }
    }

    /// Shuts the machine down, or sees a dead one off: when this returns, nothing holds its disk.
    pub(super) fn end(&mut self) {
        self.input = None;
        self.child.wait().unwrap();
        while self.lines.recv().is_ok() {}
        let held = || {
            let mut losetup = command("losetup");
            let out = losetup.arg("-j").arg(self.machine.image()).output();
            !out.unwrap().stdout.is_empty()
        };
        // the last mount goes some moments after the last process
        while held() {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let killed = self.child.kill();
            assert!(killed.is_ok() || thread::panicking());
        }
        self.end();
    }
}
