//! Scalars as text, the way Arrow's casts to string write them.
//!
//! Owns the number and date formats: floats in their shortest form (`1`, `1e+20`, `1e-7`), timestamps with all digits
//! of their unit. Fails with `ArrowInvalid` for instants beyond the calendar.

use std::fmt::Write as _;

use arrow_schema::{DataType, TimeUnit};

use super::scalar::{Convert, invalid, is_decimal, mismatch};
use crate::error::FormatError;
use crate::json_text::time::{date_text, units_per_second, utc, zone_offset};
use crate::value::Value;

/// Exponents from here, inclusive, to [`DECIMAL_EXPONENT_END`], exclusive, are written without `e`.
const DECIMAL_EXPONENT_START: i32 = -5;
const DECIMAL_EXPONENT_END: i32 = 15;

/// The conversion to text of a type that is neither text nor bytes.
pub(super) fn to_text(from: &DataType) -> Option<Convert<'_>> {
    let known = from.is_integer() || from.is_floating() || from.is_temporal() || is_decimal(from);
    if !known && *from != DataType::Boolean || matches!(from, DataType::Interval(_)) {
        return None;
    }
    Some(Box::new(move |value| {
        let text = match &value {
            Value::Bool(flag) => flag.to_string(),
            Value::Int(number) => number.to_string(),
            Value::UInt(number) => number.to_string(),
            Value::Float(number) => float_text(*number, from),
            Value::Decimal(text) => return Ok(Value::Str(text.clone())),
            Value::Date(days) => date_text(*days).ok_or_else(|| out_of_calendar(i64::from(*days)))?,
            Value::Time(count, unit) => clock_text(*count, *unit),
            Value::Timestamp(count, unit, zone) => timestamp_text(*count, *unit, zone.as_deref())?,
            Value::Duration(count, _) => count.to_string(),
            other => return Err(mismatch(other, from)),
        };
        Ok(Value::Str(text.into()))
    }))
}

fn out_of_calendar(count: i64) -> FormatError {
    invalid(format!("<value out of range: {count}>"))
}

/// The shortest text that reads back as the same float of its width.
fn float_text(number: f64, from: &DataType) -> String {
    if number.is_nan() {
        return "nan".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf".into() } else { "-inf".into() };
    }
    #[expect(clippy::cast_possible_truncation, reason = "the value came from a float of this width")]
    let scientific = match from {
        DataType::Float64 => format!("{number:e}"),
        _ => format!("{:e}", number as f32),
    };
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(DECIMAL_EXPONENT_START..DECIMAL_EXPONENT_END).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{}", exponent.abs());
    }
    match from {
        DataType::Float64 => format!("{number}"),
        #[expect(clippy::cast_possible_truncation, reason = "the value came from a float of this width")]
        _ => format!("{}", number as f32),
    }
}

/// A float with six decimals, as C's `%f`.
pub(super) fn fixed_float(number: f64) -> String {
    if number.is_nan() {
        return "nan".into();
    }
    format!("{number:.6}")
}

/// A time of day with all digits of its unit.
fn clock_text(count: i64, unit: TimeUnit) -> String {
    let per_second = units_per_second(unit);
    let mut text = String::with_capacity(18);
    push_clock(count.div_euclid(per_second), count.rem_euclid(per_second), unit, &mut text);
    text
}

fn push_clock(seconds: i64, fraction: i64, unit: TimeUnit, text: &mut String) {
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    let _ = write!(text, "{hours:02}:{minutes:02}:{:02}", seconds % 60);
    let _ = match unit {
        TimeUnit::Second => Ok(()),
        TimeUnit::Millisecond => write!(text, ".{fraction:03}"),
        TimeUnit::Microsecond => write!(text, ".{fraction:06}"),
        TimeUnit::Nanosecond => write!(text, ".{fraction:09}"),
    };
}

fn timestamp_text(count: i64, unit: TimeUnit, zone: Option<&str>) -> Result<String, FormatError> {
    let instant = utc(count, unit).ok_or_else(|| out_of_calendar(count))?;
    let offset = zone.map(|zone| zone_offset(zone, instant));
    let local = match offset {
        Some(offset) => instant.checked_add_offset(offset).ok_or_else(|| out_of_calendar(count))?,
        None => instant,
    };
    let mut text = local.date().format("%Y-%m-%d ").to_string();
    let second = i64::from(chrono::Timelike::num_seconds_from_midnight(&local));
    push_clock(second, count.rem_euclid(units_per_second(unit)), unit, &mut text);
    match (zone, offset) {
        (Some("UTC"), _) => text.push('Z'),
        (_, Some(offset)) => {
            let minutes = offset.local_minus_utc() / 60;
            let sign = if minutes < 0 { '-' } else { '+' };
            let _ = write!(text, "{sign}{:02}{:02}", minutes.abs() / 60, minutes.abs() % 60);
        }
        _ => {}
    }
    Ok(text)
}
