//! Text as scalars, the way Arrow's casts from string read it.
//!
//! Owns the parsers: no surrounding spaces, no plus sign, hexadecimal integers with `0x`, ISO 8601 timestamps whose
//! fraction fits the unit and whose zone offset is there exactly when the type has a zone. Fails with `ArrowInvalid`.

use arrow_schema::{DataType, TimeUnit};
use chrono::{Datelike, NaiveDate};

use super::decimal;
use super::number::{float_value, integer_range, integer_value};
use super::scalar::{invalid, is_decimal};
use crate::error::FormatError;
use crate::features::type_text::arrow_type_text;
use crate::json_text::time::units_per_second;
use crate::value::Value;

const EPOCH_DAYS_FROM_CE: i32 = 719_163;
const S_PER_DAY: i64 = 86_400;

type Parser<'a> = Box<dyn Fn(&str) -> Result<Value, FormatError> + 'a>;

/// The parser of a type that is neither text nor bytes.
pub(super) fn parser(to: &DataType) -> Option<Parser<'_>> {
    Some(match to {
        DataType::Boolean => Box::new(boolean),
        _ if to.is_integer() => Box::new(move |text| integer(text, to).ok_or_else(|| failed(text, to))),
        _ if to.is_floating() => Box::new(move |text| {
            float(text).map(|number| float_value(number, to)).ok_or_else(|| failed(text, to))
        }),
        _ if is_decimal(to) => Box::new(move |text| decimal::parse(text, to)),
        DataType::Date32 | DataType::Date64 => {
            Box::new(move |text| date(text).map(Value::Date).ok_or_else(|| failed(text, to)))
        }
        DataType::Timestamp(unit, zone) => Box::new(move |text| {
            let parsed = timestamp(text, *unit);
            let has_zone = parsed.is_some_and(|(_, has_zone)| has_zone);
            match parsed {
                _ if zone.is_some() && !has_zone => Err(invalid(format!(
                    "{}: expected a zone offset. If these timestamps are in local time, cast to timestamp without timezone, then call assume_timezone.",
                    failed(text, to).message
                ))),
                Some((_, true)) if zone.is_none() => {
                    Err(invalid(format!("{}: expected no zone offset.", failed(text, to).message)))
                }
                Some((count, _)) => Ok(Value::Timestamp(count, *unit, zone.clone())),
                None => Err(failed(text, to)),
            }
        }),
        _ => return None,
    })
}

fn failed(text: &str, to: &DataType) -> FormatError {
    invalid(format!("Failed to parse string: '{text}' as a scalar of type {}", arrow_type_text(to)))
}

fn boolean(text: &str) -> Result<Value, FormatError> {
    match text {
        "1" => Ok(Value::Bool(true)),
        "0" => Ok(Value::Bool(false)),
        _ if text.eq_ignore_ascii_case("true") => Ok(Value::Bool(true)),
        _ if text.eq_ignore_ascii_case("false") => Ok(Value::Bool(false)),
        _ => Err(invalid(format!("Failed to parse value: {text}"))),
    }
}

fn integer(text: &str, to: &DataType) -> Option<Value> {
    let (low, high) = integer_range(to)?;
    if let Some(digits) =
        text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).filter(|hex| !hex.is_empty())
    {
        return hexadecimal(digits, to);
    }
    let (negative, digits) = match text.strip_prefix('-').filter(|_| to.is_signed_integer()) {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    let magnitude: i128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    let number = if negative { -magnitude } else { magnitude };
    (low..=high).contains(&number).then(|| integer_value(number, to))
}

/// Hexadecimal digits are the bits of the integer: `0xFF` is -1 as int8.
fn hexadecimal(digits: &str, to: &DataType) -> Option<Value> {
    let bytes = to.primitive_width()?;
    if digits.len() > bytes * 2 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let bits = i128::from(u64::from_str_radix(digits, 16).ok()?);
    let (_, high) = integer_range(to)?;
    let number = if bits > high { bits - (1_i128 << (bytes * 8)) } else { bits };
    Some(integer_value(number, to))
}

/// A float as the C++ parser takes it: no plus sign, no spaces, nothing beyond the range of a double.
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let is_word = ["nan", "inf", "infinity"].iter().any(|word| unsigned.eq_ignore_ascii_case(word));
    if !is_word && !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    let number: f64 = text.parse().ok()?;
    (is_word || number.is_finite()).then_some(number)
}

fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Days since the epoch of `YYYY-MM-DD`.
fn date(text: &str) -> Option<i32> {
    let parts = (text.get(..4)?, text.get(4..5)?, text.get(5..7)?, text.get(7..8)?, text.get(8..)?);
    let (year, "-", month, "-", day) = parts else { return None };
    if day.len() != 2 {
        return None;
    }
    let year = i32::try_from(digits(year)?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, digits(month)?, digits(day)?)?;
    Some(date.num_days_from_ce() - EPOCH_DAYS_FROM_CE)
}

/// Units since the epoch in UTC, and whether the text has a zone offset.
fn timestamp(text: &str, unit: TimeUnit) -> Option<(i64, bool)> {
    let days = i64::from(date(text.get(..10)?)?);
    let rest = text.get(10..)?;
    let Some(clock) = rest.strip_prefix([' ', 'T']) else {
        let count = days.checked_mul(S_PER_DAY)?.checked_mul(units_per_second(unit))?;
        return rest.is_empty().then_some((count, false));
    };
    let (clock, offset_s) = split_zone(clock)?;
    let (clock, fraction) = clock.split_once('.').map_or((clock, None), |(clock, rest)| (clock, Some(rest)));
    let seconds = clock_seconds(clock)?;
    let fraction = match fraction {
        Some(fraction) if clock.len() == 8 => subseconds(fraction, unit)?,
        Some(_) => return None,
        None => 0,
    };
    let seconds = days.checked_mul(S_PER_DAY)?.checked_add(seconds)?.checked_sub(offset_s.unwrap_or(0))?;
    Some((seconds.checked_mul(units_per_second(unit))?.checked_add(fraction)?, offset_s.is_some()))
}

/// Splits `Z`, `+HH`, `+HHMM` or `+HH:MM` off a time of day; the offset in seconds.
fn split_zone(clock: &str) -> Option<(&str, Option<i64>)> {
    if let Some(clock) = clock.strip_suffix('Z') {
        return Some((clock, Some(0)));
    }
    let Some(at) = clock.rfind(['+', '-']) else { return Some((clock, None)) };
    let (clock, zone) = clock.split_at(at);
    let (hours, minutes) = match zone.len() {
        3 => (zone.get(1..)?, "00"),
        5 => (zone.get(1..3)?, zone.get(3..)?),
        6 if zone.get(3..4) == Some(":") => (zone.get(1..3)?, zone.get(4..)?),
        _ => return None,
    };
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    let seconds = i64::from(hours * 3_600 + minutes * 60);
    (hours < 24 && minutes < 60)
        .then_some((clock, Some(if zone.starts_with('-') { -seconds } else { seconds })))
}

/// Seconds of `HH`, `HH:MM` or `HH:MM:SS`.
fn clock_seconds(clock: &str) -> Option<i64> {
    let mut parts = clock.split(':');
    let mut limits = [(24, 3_600), (60, 60), (60, 1)].into_iter();
    let mut seconds = 0;
    for part in parts.by_ref() {
        let (limit, weight) = limits.next()?;
        let number =
            Some(part).filter(|part| part.len() == 2).and_then(digits).filter(|&number| number < limit)?;
        seconds += i64::from(number) * weight;
    }
    Some(seconds)
}

fn subseconds(fraction: &str, unit: TimeUnit) -> Option<i64> {
    let places = match unit {
        TimeUnit::Second => return None,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    };
    if fraction.is_empty() || fraction.len() > places {
        return None;
    }
    digits(&format!("{fraction:0<places$}")).map(i64::from)
}
