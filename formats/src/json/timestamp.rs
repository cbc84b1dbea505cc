//! Strings that Arrow's JSON reader takes for timestamps.
//!
//! `YYYY-MM-DD`, alone or with `T` or a space and `HH[:MM[:SS]]`, then optionally `Z`, `±HH`, `±HHMM` or `±HH:MM`
//! (dataset-loading.md section 1.7). No fraction, no other spelling.

use chrono::NaiveDate;

const SECONDS_PER_DAY: i64 = 86_400;

/// Seconds since 1970 in UTC.
pub(super) fn parse(text: &[u8]) -> Option<i64> {
    // Most strings end the test here.
    if text.len() < 10 || text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let year = digits(&text[..4])?;
    let date =
        NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, digits(&text[5..7])?, digits(&text[8..10])?)?;
    let days = date.signed_duration_since(NaiveDate::default()).num_days();
    let seconds = match text[10..].split_first() {
        None => 0,
        Some((b'T' | b' ', time)) => time_of_day(time)?,
        Some(_) => return None,
    };
    Some(days * SECONDS_PER_DAY + seconds)
}

fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0')))
}

/// Seconds since midnight in UTC, which may be a day off.
fn time_of_day(text: &[u8]) -> Option<i64> {
    let zone_at = text.iter().position(|byte| matches!(byte, b'Z' | b'+' | b'-')).unwrap_or(text.len());
    let (clock, zone) = text.split_at(zone_at);
    let seconds = match clock {
        [h1, h2] => clock_seconds([*h1, *h2], *b"00", *b"00")?,
        [h1, h2, b':', m1, m2] => clock_seconds([*h1, *h2], [*m1, *m2], *b"00")?,
        [h1, h2, b':', m1, m2, b':', s1, s2] => clock_seconds([*h1, *h2], [*m1, *m2], [*s1, *s2])?,
        _ => return None,
    };
    let (sign, offset) = match zone.split_first() {
        None => return Some(seconds),
        Some((b'Z', rest)) => return rest.is_empty().then_some(seconds),
        Some((b'+', offset)) => (1, offset),
        Some((_, offset)) => (-1, offset),
    };
    let offset = match offset {
        [h1, h2] => clock_seconds([*h1, *h2], *b"00", *b"00")?,
        [h1, h2, m1, m2] | [h1, h2, b':', m1, m2] => clock_seconds([*h1, *h2], [*m1, *m2], *b"00")?,
        _ => return None,
    };
    Some(seconds - sign * offset)
}

fn clock_seconds(hours: [u8; 2], minutes: [u8; 2], seconds: [u8; 2]) -> Option<i64> {
    let (hours, minutes, seconds) = (digits(&hours)?, digits(&minutes)?, digits(&seconds)?);
    (hours < 24 && minutes < 60 && seconds < 60).then(|| i64::from(hours * 3600 + minutes * 60 + seconds))
}
