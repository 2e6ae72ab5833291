//! Moments in the time zone of the machine, or that of `TZ`.
//!
//! What a zone is only the C library knows as every other program on the machine does: `TZ`, /etc/localtime and the tables below it.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::mem::MaybeUninit;

use nix::libc;

/// `WEEKDAY YYYY-MM-DD HH:MM:SS ZONE` for seconds since 1970, as systemd writes it (systemd.time(7)); `None` for a year that the
/// calendar of the C library has not.
#[must_use]
pub fn local(seconds: i64) -> Option<String> {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    let mut broken = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are to what lives here and has the right type; all zeros are a tm as well. It reads the environment,
    // which no thread of ours changes.
    let tm = unsafe {
        if libc::localtime_r(&raw const seconds, broken.as_mut_ptr()).is_null() {
            return None;
        }
        broken.assume_init()
    };
    let zone = match tm.tm_zone.is_null() {
        true => "",
        // SAFETY: a text of the C library that stays until the zone changes, and nobody here calls tzset(3).
        false => unsafe { CStr::from_ptr(tm.tm_zone) }
            .to_str()
            .unwrap_or_default(),
    };
    let day = DAYS[usize::try_from(tm.tm_wday).ok()? % DAYS.len()];
    let text = format!(
        "{day} {:04}-{:02}-{:02} {:02}:{:02}:{:02} {zone}",
        i64::from(tm.tm_year) + 1900,
        tm.tm_mon + 1,
        tm.tm_mday,
        tm.tm_hour,
        tm.tm_min,
        tm.tm_sec
    );
    Some(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_its_weekday_and_zone_and_one_without_a_year_is_none() {
        let text = local(1_714_564_800).unwrap();
        // zones are at most 14 hours from UTC
        assert!(
            ["Tue 2024-04-30 ", "Wed 2024-05-01 ", "Thu 2024-05-02 "]
                .iter()
                .any(|day| text.starts_with(day)),
            "{text}"
        );
        assert_eq!(local(i64::MAX), None);
    }
}
