//! What is seen of an update while it runs: lines on the console, and plymouth(1) where it shows something.

use std::time::{Duration, Instant};

use crate::offline::EndAction;
use crate::package::{Event, Task};
use crate::sys::cmd::Argv;
use crate::sys::out;
use crate::sys::tool::Tool;

const PLYMOUTH: &str = "plymouth";
/// How long a call of plymouth may take, and how often there is one at most.
const LIMIT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_secs(1);
/// After how many percent there is another line on the console.
const STEP: u8 = 5;

/// The console and plymouth.
#[derive(Debug)]
pub(super) struct Screen {
    /// Until a call of plymouth fails.
    has_plymouth: bool,
    /// When plymouth was told last, and what.
    told: Option<(Instant, u8)>,
    /// What the last line said, in percent.
    line: u8,
    message: Option<String>,
}

impl Screen {
    /// The screen; plymouth is called when it answers.
    pub(super) fn new() -> Screen {
        let mut screen = Screen {
            has_plymouth: true,
            told: None,
            line: 0,
            message: None,
        };
        screen.call(&["--ping"]);
        screen
    }

    /// The packages are about to change; `upgrade`: all of them.
    pub(super) fn begin(&mut self, upgrade: bool) {
        // themes hide messages in this mode, so it begins as late as that
        let mode = if upgrade {
            "--system-upgrade"
        } else {
            "--updates"
        };
        self.call(&["change-mode", mode]);
        self.call(&["system-update", "--progress=0"]);
        self.told = Some((Instant::now(), 0));
    }

    /// A line that stays: what is done now.
    pub(super) fn phase(&mut self, text: &str) {
        out::say(text);
        if let Some(old) = self.message.take() {
            self.call(&["hide-message", &format!("--text={old}")]);
        }
        self.call(&["display-message", &format!("--text={text}")]);
        self.message = Some(text.to_owned());
    }

    /// Shows how far the package manager is.
    pub(super) fn take(&mut self, event: &Event) {
        let Some(percent) = percent(event) else {
            return;
        };
        if percent >= self.line.saturating_add(STEP) {
            self.line = percent - percent % STEP;
            out::say(format_args!("{percent} %: do not power off."));
        }
        let is_due = self
            .told
            .is_none_or(|(at, told)| at.elapsed() >= PAUSE && told < percent);
        if is_due {
            self.told = Some((Instant::now(), percent));
            self.call(&["system-update", &format!("--progress={percent}")]);
        }
    }

    /// What comes now.
    pub(super) fn end(&mut self, action: EndAction) {
        let mode = match action {
            EndAction::Poweroff => "--shutdown",
            EndAction::Reboot | EndAction::SoftReboot => "--reboot",
        };
        self.call(&["change-mode", mode]);
    }

    /// Nobody has to look, so the first call that fails is the last one.
    fn call(&mut self, words: &[&str]) {
        if self.has_plymouth {
            let argv = Argv::new([&[PLYMOUTH], words].concat());
            let done = Tool::new(argv, LIMIT).run();
            self.has_plymouth = done.is_ok_and(|done| done.code == 0);
        }
    }
}

/// How much of the installing and removing is done.
fn percent(event: &Event) -> Option<u8> {
    let Event::Progress(progress) = event else {
        return None;
    };
    if !matches!(progress.task, Task::Install { .. } | Task::Remove { .. }) {
        return None;
    }
    let step = progress.step?;
    let part = if progress.done {
        100
    } else {
        progress.percent.unwrap_or(0).min(100)
    };
    let done = u64::from(step.number.saturating_sub(1)) * 100 + u64::from(part);
    let percent = done / u64::from(step.of.max(1));
    u8::try_from(percent.min(100)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::{Progress, Step};

    fn install(number: u32, of: u32, part: Option<u8>) -> Event {
        Event::Progress(Progress {
            task: Task::Install {
                package: "p".into(),
            },
            label: String::new(),
            step: Some(Step { number, of }),
            percent: part,
            done: false,
            failed: false,
        })
    }

    #[test]
    fn the_percentage_counts_packages_and_what_is_done_of_the_last_one() {
        for (number, of, part, wanted) in [
            (1, 4, None, 0),
            (1, 4, Some(100), 25),
            (4, 4, Some(50), 87),
            (4, 4, Some(100), 100),
            (9, 4, Some(255), 100),
            (1, 0, Some(7), 7),
            (u32::MAX, u32::MAX, Some(100), 100),
        ] {
            assert_eq!(
                percent(&install(number, of, part)),
                Some(wanted),
                "{number}/{of} {part:?}"
            );
        }
        let message = Event::Message {
            level: crate::package::Level::Info,
            text: String::new(),
        };
        assert_eq!(percent(&message), None);
    }
}
