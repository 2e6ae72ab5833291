//! What is seen while the package manager works: bars on a terminal, lines elsewhere.

use std::sync::OnceLock;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::package::{Event, Level, Summary, Task};
use crate::sys::out;

/// The bar that lines have to step aside for.
static BAR: OnceLock<ProgressBar> = OnceLock::new();

/// Shows events as they come.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    /// The step that was told last, so that each is told once.
    last: String,
}

impl Progress {
    /// Bars when a person watches and nothing forbids them.
    pub(super) fn new() -> Progress {
        let bar = BAR.get_or_init(|| {
            let drawn = out::is_watched() && out::level() != out::Level::Quiet;
            let target = if drawn {
                ProgressDrawTarget::stderr()
            } else {
                ProgressDrawTarget::hidden()
            };
            let style = ProgressStyle::with_template("{bar:30} {pos:>3}% {wide_msg}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::with_draw_target(Some(100), target).with_style(style);
            if drawn {
                out::lines_go_through(|text| {
                    BAR.get()
                        .map_or_else(|| out::plain(text), |bar| bar.suspend(|| out::plain(text)))
                });
            }
            bar
        });
        Progress {
            bar: bar.clone(),
            last: String::new(),
        }
    }

    /// Shows one event.
    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::Message {
                level: Level::Info,
                text,
            } => tracing::info!("zypper: {text}"),
            Event::Message {
                level: Level::Warning,
                text,
            } => tracing::warn!("zypper: {text}"),
            Event::Message {
                level: Level::Error,
                text,
            } => tracing::error!("zypper: {text}"),
            Event::Summary(summary) => tell_summary(summary),
            Event::Retrieve(retrieve) if !retrieve.cached => {
                self.step(
                    format!(
                        "Download {}/{}: {}",
                        retrieve.step.number, retrieve.step.of, retrieve.package
                    ),
                    None,
                );
            }
            Event::Download(download) => {
                self.step(format!("Download: {}", download.file), download.percent)
            }
            Event::Progress(progress) => {
                let Some(text) = words(progress) else { return };
                self.step(text, progress.percent);
            }
            Event::Retrieve(_) | Event::Prompt(_) | Event::FileConflict(_) => {}
        }
    }

    fn step(&mut self, text: String, percent: Option<u8>) {
        self.bar.set_position(percent.unwrap_or(0).into());
        if text == self.last {
            return;
        }
        self.bar.set_message(text.clone());
        if self.bar.is_hidden() {
            out::say(&text);
        } else {
            tracing::info!("{text}");
        }
        self.last = text;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.set_message("");
        self.bar.disable_steady_tick();
        self.bar.finish_and_clear();
    }
}

fn words(progress: &crate::package::Progress) -> Option<String> {
    let what = match &progress.task {
        Task::Install { package } => format!("Install {}{package}", step(progress)),
        Task::Remove { package } => format!("Remove {}{package}", step(progress)),
        Task::Script { scriptlet, package } => format!("{scriptlet} of {package}"),
        Task::PostTransaction => "Scriptlets after the transaction".to_owned(),
        Task::Refresh => format!("Refresh {}", progress.label),
        Task::BuildCache | Task::CheckConflicts | Task::Other => return None,
    };
    Some(what)
}

fn step(progress: &crate::package::Progress) -> String {
    progress
        .step
        .map(|s| format!("{}/{}: ", s.number, s.of))
        .unwrap_or_default()
}

fn tell_summary(summary: &Summary) {
    if summary.is_empty() {
        return;
    }
    let mut last = "";
    let mut names: Vec<String> = Vec::new();
    for (what, solvable) in summary.entries() {
        if what != last && !names.is_empty() {
            out::say(format_args!("To {last}: {}", names.join(", ")));
            names.clear();
        }
        last = what;
        names.push(format!("{} {}", solvable.name, solvable.edition));
    }
    if !names.is_empty() {
        out::say(format_args!("To {last}: {}", names.join(", ")));
    }
    out::say(format_args!(
        "Download {} KiB, {:+} KiB on disk.",
        summary.download_size >> 10,
        summary.space_usage_diff >> 10
    ));
}
