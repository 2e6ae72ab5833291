//! How far the transfers of an update are.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::sys::{notify, out};
use crate::sysupdate::update::{Plan, Progress};

use super::args::ProgressForm;
use super::json::{Form, Json};

/// Progress as it is shown: each transfer at most once for ten percent, or in five seconds.
pub(super) struct Shown {
    form: ProgressForm,
    version: String,
    /// How many there are.
    transfers: u64,
    last: Mutex<BTreeMap<String, (u64, Instant)>>,
}

/// How much has to come before a line follows a line, in percent.
const STEP: u64 = 10;
/// How long it takes at most.
const PAUSE: Duration = Duration::from_secs(5);

impl Shown {
    pub(super) fn new(form: ProgressForm, plan: &Plan) -> Shown {
        Shown {
            form,
            version: plan.version.to_string(),
            transfers: plan.acquired().count().max(1) as u64,
            last: Mutex::default(),
        }
    }

    pub(super) fn tell(&self, progress: Progress<'_>) {
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
