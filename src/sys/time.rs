//! UTC time as text, in the form snapper writes into info.xml.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::owner;
use super::root::{RUN, UPTIME};

/// `YYYY-MM-DD HH:MM:SS` in UTC for `time`; times before 1970 give the start of 1970.
#[must_use]
pub fn utc(time: SystemTime) -> String {
    let secs = time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (days, rest) = (secs / 86_400, secs % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// When this system was booted: when its first process started, which in a container is later than the kernel
/// did (proc_uptime(5)); by the clock as it goes now, or by the one that went then, whichever is earlier: a clock that
/// was set since makes nothing older than the boot that is not. `None` where /proc does not tell.
#[must_use]
pub fn booted() -> Option<SystemTime> {
    let by_now = reckoned()?;
    let by_then = std::fs::metadata(RUN).and_then(|run| run.created());
    Some(by_then.map_or(by_now, |then| by_now.min(then)))
}

fn reckoned() -> Option<SystemTime> {
    let uptime = std::fs::read_to_string(UPTIME).ok()?;
    let uptime: f64 = uptime.split_ascii_whitespace().next()?.parse().ok()?;
    let first = owner::start_time(1)? as f64 / TICKS;
    let age = Duration::try_from_secs_f64((uptime - first).max(0.0)).ok()?;
    SystemTime::now().checked_sub(age)
}

/// Clock ticks of a second in what /proc tells (USER_HZ).
const TICKS: f64 = 100.0;

/// Proleptic Gregorian date of a day number since 1970-01-01, counted in 400-year eras that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_was_before_now_and_not_before_the_kernel_was_written() {
        let reckoned = reckoned().unwrap();
        assert!(reckoned <= SystemTime::now());
        assert!(*utc(reckoned) > *"2020", "{}", utc(reckoned));
        // the clock may have been set since
        assert!(booted().unwrap() <= reckoned + Duration::from_secs(1));
    }

    #[test]
    fn dates_agree_with_the_calendar() {
        for (secs, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_827_696, "2000-02-29 12:34:56"),
            (1_735_689_599, "2024-12-31 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(secs)), text);
        }
    }
}
