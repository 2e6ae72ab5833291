//! How far the transfers of an update are.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::sys::{notify, out};
use crate::sysupdate::update::Progress;

use super::args::ProgressForm;
use super::json::{Form, Json};

/// Progress as it is shown: bars where a person watches, else lines, for each transfer at most one for ten percent, or in five seconds.
pub(super) struct Shown {
    form: ProgressForm,
    version: String,
    /// How many there are.
    transfers: u64,
    bars: Option<Bars>,
    last: Mutex<BTreeMap<String, (u64, Instant)>>,
}

/// How much has to come before a line follows a line, in percent.
const STEP: u64 = 10;
/// How long it takes at most.
const PAUSE: Duration = Duration::from_secs(5);

impl Shown {
    /// Of these transfers, with how many bytes each has, where that is known.
    pub(super) fn new(
        form: ProgressForm,
        version: String,
        transfers: &[(&str, Option<u64>)],
    ) -> Shown {
        let has_bars = form == ProgressForm::Auto && out::is_watched();
        Shown {
            form,
            version,
            transfers: transfers.len().max(1) as u64,
            bars: has_bars.then(|| Bars::new(transfers)).flatten(),
            last: Mutex::default(),
        }
    }

    pub(super) fn tell(&self, progress: Progress<'_>) {
        if let Some(bars) = &self.bars {
            bars.set(progress);
        }
        let percent = progress
            .total
            .filter(|total| *total > 0)
            .map(|total| progress.bytes.min(total) * 100 / total);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_due = last.get(progress.transfer).is_none_or(|(told, at)| {
            let has_come = percent.is_some_and(|p| p / STEP != told / STEP);
            has_come || now.duration_since(*at) >= PAUSE
        });
        if !is_due {
            return;
        }
        last.insert(progress.transfer.to_owned(), (percent.unwrap_or(0), now));
        let whole = last.values().map(|(percent, _)| percent).sum::<u64>() / self.transfers;
        notify::send(&format!("X_SYSUPDATE_PROGRESS={whole}"));
        match self.form {
            _ if self.bars.is_some() => {}
            ProgressForm::None => {}
            ProgressForm::Json => out::plain(self.json(progress, percent).trim_end()),
            ProgressForm::Auto | ProgressForm::Plain => {
                let percent = percent.map_or(String::new(), |p| format!(" ({p} %)"));
                let (transfer, bytes) = (progress.transfer, progress.bytes);
                out::say(format_args!("{transfer}: {bytes} bytes{percent}"));
            }
        }
    }

    fn json(&self, progress: Progress<'_>, percent: Option<u64>) -> String {
        let number = |n: Option<u64>| n.map_or(Json::Null, Json::Number);
        let line = Json::Object(vec![
            ("transfer", Json::Text(progress.transfer.to_owned())),
            ("version", Json::Text(self.version.clone())),
            ("phase", Json::Text("acquire".to_owned())),
            ("bytes", Json::Number(progress.bytes)),
            ("total", number(progress.total)),
            ("percent", number(percent)),
        ]);
        line.written(Form::Short)
    }
}

/// All bars of the program, which lines have to step aside for.
static BARS: OnceLock<MultiProgress> = OnceLock::new();

/// One for each transfer, and one for all of them.
struct Bars {
    each: BTreeMap<String, ProgressBar>,
    total: ProgressBar,
}

impl Bars {
    /// None on a terminal that can draw nothing.
    fn new(transfers: &[(&str, Option<u64>)]) -> Option<Bars> {
        const ALL: &str = "Total";
        let all = BARS.get_or_init(|| {
            out::lines_go_through(|text| match BARS.get() {
                Some(bars) => bars.suspend(|| out::plain(text)),
                None => out::plain(text),
            });
            MultiProgress::new()
        });
        if all.is_hidden() {
            return None;
        }
        let names = transfers.iter().map(|(name, _)| name.chars().count());
        let width = names.chain([ALL.len()]).max().unwrap_or(0);
        let bar = |name: &str, length: Option<u64>, more: &str| {
            let so_far = match length {
                Some(_) => "[{bar:30}] {bytes} of {total_bytes}",
                None => "{bytes}",
            };
            let template = format!("{{prefix:{width}}} {so_far}{more}");
            let style = ProgressStyle::with_template(&template);
            let bar = all.add(length.map_or_else(ProgressBar::no_length, ProgressBar::new));
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(name.to_owned());
            bar
        };
        let sum = transfers
            .iter()
            .map(|(_, bytes)| *bytes)
            .sum::<Option<u64>>();
        let left = if sum.is_some() { ", {eta} left" } else { "" };
        Some(Bars {
            each: transfers
                .iter()
                .map(|(name, bytes)| ((*name).to_owned(), bar(name, *bytes, "")))
                .collect(),
            total: bar(ALL, sum, &format!(", {{bytes_per_sec}}{left}")),
        })
    }

    fn set(&self, progress: Progress<'_>) {
        if let Some(bar) = self.each.get(progress.transfer) {
            bar.set_position(progress.bytes);
        }
        let sum = self.each.values().map(ProgressBar::position).sum();
        self.total.set_position(sum);
    }
}

impl Drop for Bars {
    /// What was reached stays to be read.
    fn drop(&mut self) {
        for bar in self.each.values().chain([&self.total]) {
            bar.abandon();
        }
    }
}
