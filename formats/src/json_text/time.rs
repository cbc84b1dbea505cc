//! Dates, times, timestamps and durations as Python prints them.
//!
//! Owns the texts of worker-and-store.md sections 1.1 and 5.6. Refuses instants that no calendar here covers (some
//! 262,000 years away from now): those have no text. Years outside of 1 to 9999, which Python cannot hold, print
//! with a sign.

use std::fmt::Write as _;

use arrow_schema::TimeUnit;
use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, Offset, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;

const EPOCH_DAYS_FROM_CE: i32 = 719_163;
const US_PER_S: i64 = 1_000_000;
const NS_PER_S: i128 = 1_000_000_000;
const S_PER_DAY: i128 = 86_400;

/// Units of a kind in one second.
#[must_use]
pub fn units_per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => US_PER_S,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// The calendar day `days` after 1970-01-01.
#[must_use]
pub fn date(days: i32) -> Option<NaiveDate> {
    NaiveDate::from_num_days_from_ce_opt(days.checked_add(EPOCH_DAYS_FROM_CE)?)
}

/// A date as `2020-01-02`.
#[must_use]
pub fn date_text(days: i32) -> Option<String> {
    date(days).map(|date| date.format("%Y-%m-%d").to_string())
}

/// The instant in UTC, without a zone.
#[must_use]
pub fn utc(count: i64, unit: TimeUnit) -> Option<NaiveDateTime> {
    let per_second = units_per_second(unit);
    let nanos = count.rem_euclid(per_second) * (1_000_000_000 / per_second);
    let nanos = u32::try_from(nanos).ok()?;
    DateTime::<Utc>::from_timestamp(count.div_euclid(per_second), nanos).map(|instant| instant.naive_utc())
}

/// The offset from UTC of a zone, given by name (`Europe/Paris`) or as `+02:00`, at an instant. UTC when the zone is
/// unknown.
#[must_use]
pub fn zone_offset(zone: &str, instant: NaiveDateTime) -> FixedOffset {
    let utc = Utc.fix();
    if let Ok(zone) = zone.parse::<Tz>() {
        return instant.and_utc().with_timezone(&zone).offset().fix();
    }
    zone.parse::<FixedOffset>().unwrap_or(utc)
}

/// A timestamp as `2020-01-02T03:04:05[.ffffff]`, followed by `Z` or the offset when its type has a zone.
/// Nanoseconds are cut.
#[must_use]
pub fn timestamp_text(count: i64, unit: TimeUnit, zone: Option<&str>) -> Option<String> {
    let instant = utc(count, unit)?;
    let Some(zone) = zone else {
        return Some(datetime_text(instant, 'T'));
    };
    let offset = zone_offset(zone, instant);
    let mut text = datetime_text(instant.checked_add_offset(offset)?, 'T');
    if offset.local_minus_utc() == 0 {
        text.push('Z');
    } else {
        text.push_str(&offset.to_string());
    }
    Some(text)
}

/// A timestamp as the cache returns it: in UTC, cut to milliseconds, without a zone.
#[must_use]
pub fn cached_timestamp_text(count: i64, unit: TimeUnit) -> Option<String> {
    let instant = utc(count, unit)?;
    let excess = instant.nanosecond() % 1_000_000;
    Some(datetime_text(instant.checked_sub_signed(TimeDelta::nanoseconds(excess.into()))?, 'T'))
}

/// Date and time with microseconds when there are any.
#[must_use]
pub fn datetime_text(instant: NaiveDateTime, separator: char) -> String {
    let mut text = instant.date().format("%Y-%m-%d").to_string();
    text.push(separator);
    push_time(instant.num_seconds_from_midnight().into(), (instant.nanosecond() / 1_000).into(), &mut text);
    text
}

/// A time of day as `03:04:05[.ffffff]`; nanoseconds are cut.
#[must_use]
pub fn time_text(count: i64, unit: TimeUnit) -> String {
    let per_second = units_per_second(unit);
    let micros = i128::from(count.rem_euclid(per_second)) * i128::from(US_PER_S) / i128::from(per_second);
    let mut text = String::with_capacity(15);
    push_time(count.div_euclid(per_second), i64::try_from(micros).unwrap_or(0), &mut text);
    text
}

fn push_time(seconds: i64, micros: i64, text: &mut String) {
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    let _ = write!(text, "{hours:02}:{minutes:02}:{:02}", seconds % 60);
    if micros != 0 {
        let _ = write!(text, ".{micros:06}");
    }
}

/// A duration as Python's `timedelta` prints (`1 day, 1:01:01`), or as pandas' `Timedelta` does (`0 days
/// 00:00:00.000001`) when its unit is the nanosecond.
#[must_use]
pub fn duration_text(count: i64, unit: TimeUnit) -> String {
    let nanos = i128::from(count) * (NS_PER_S / i128::from(units_per_second(unit)));
    let seconds = nanos.div_euclid(NS_PER_S);
    let (days, seconds) = (seconds.div_euclid(S_PER_DAY), seconds.rem_euclid(S_PER_DAY));
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let nanos = nanos.rem_euclid(NS_PER_S);
    let mut text = String::new();
    if unit == TimeUnit::Nanosecond {
        let sign = if days < 0 { "+" } else { "" };
        let _ = write!(text, "{days} days {sign}{hours:02}:{minutes:02}:{seconds:02}");
        if nanos % 1_000 != 0 {
            let _ = write!(text, ".{nanos:09}");
            return text;
        }
    } else {
        if days != 0 {
            let _ = write!(text, "{days} day{}, ", if days.abs() == 1 { "" } else { "s" });
        }
        let _ = write!(text, "{hours}:{minutes:02}:{seconds:02}");
    }
    if nanos != 0 {
        let _ = write!(text, ".{:06}", nanos / 1_000);
    }
    text
}
