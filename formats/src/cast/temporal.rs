//! Casts to and from dates, times, timestamps and durations.
//!
//! Owns the change of units, which never loses digits, and the integers that stand for instants. Fails with
//! `ArrowInvalid` for values that do not fit.

use arrow_schema::{DataType, TimeUnit};

use super::number::{integer_value, whole};
use super::scalar::{Convert, invalid, mismatch};
use crate::error::FormatError;
use crate::features::type_text::arrow_type_text;
use crate::json_text::time::{units_per_second, utc, zone_offset};
use crate::value::Value;

const MS_PER_DAY: i64 = 86_400_000;
const S_PER_DAY: i64 = 86_400;

pub(super) fn conversion<'a>(from: &'a DataType, to: &'a DataType) -> Option<Convert<'a>> {
    use DataType::{Date32, Date64, Duration, Int32, Int64, Time32, Time64, Timestamp};
    Some(match (from, to) {
        (Int32, Date32 | Time32(_)) | (Int64, Date64 | Time64(_) | Timestamp(..) | Duration(_)) => {
            Box::new(move |value| from_integer(&value, from, to))
        }
        (Date32 | Time32(_), Int32) | (Date64 | Time64(_) | Timestamp(..) | Duration(_), Int64) => {
            Box::new(move |value| to_integer(&value, from, to))
        }
        (Date32, Date64) | (Date64, Date32) => Box::new(Ok),
        (Date32 | Date64, Timestamp(unit, zone)) => Box::new(move |value| match value {
            Value::Date(days) => {
                let per_day = S_PER_DAY * units_per_second(*unit);
                let count = i64::from(days).checked_mul(per_day);
                let count = count.ok_or_else(|| out_of_bounds(from, to, i64::from(days)))?;
                Ok(Value::Timestamp(count, *unit, zone.clone()))
            }
            other => Err(mismatch(&other, from)),
        }),
        (Timestamp(..), Date32 | Date64) => Box::new(move |value| timestamp_to_date(&value, from)),
        (Timestamp(..), Time32(unit) | Time64(unit)) => {
            Box::new(move |value| timestamp_to_time(&value, from, *unit))
        }
        (Timestamp(..), Timestamp(unit, zone)) => Box::new(move |value| match value {
            Value::Timestamp(count, from_unit, _) => {
                Ok(Value::Timestamp(shift(count, from_unit, *unit, from, to)?, *unit, zone.clone()))
            }
            other => Err(mismatch(&other, from)),
        }),
        (Duration(_), Duration(unit)) => Box::new(move |value| match value {
            Value::Duration(count, from_unit) => {
                Ok(Value::Duration(shift(count, from_unit, *unit, from, to)?, *unit))
            }
            other => Err(mismatch(&other, from)),
        }),
        (Time32(_) | Time64(_), Time32(unit) | Time64(unit)) => Box::new(move |value| match value {
            Value::Time(count, from_unit) => {
                Ok(Value::Time(shift(count, from_unit, *unit, from, to)?, *unit))
            }
            other => Err(mismatch(&other, from)),
        }),
        _ => return None,
    })
}

fn from_integer(value: &Value, from: &DataType, to: &DataType) -> Result<Value, FormatError> {
    let number = whole(value).and_then(|number| i64::try_from(number).ok());
    let number = number.ok_or_else(|| mismatch(value, from))?;
    let days = |days: i64| i32::try_from(days).map(Value::Date).map_err(|_| out_of_bounds(from, to, number));
    match to {
        DataType::Date32 => days(number),
        DataType::Date64 => days(number.div_euclid(MS_PER_DAY)),
        DataType::Time32(unit) | DataType::Time64(unit) => Ok(Value::Time(number, *unit)),
        DataType::Duration(unit) => Ok(Value::Duration(number, *unit)),
        DataType::Timestamp(unit, zone) => Ok(Value::Timestamp(number, *unit, zone.clone())),
        _ => Err(mismatch(value, from)),
    }
}

fn to_integer(value: &Value, from: &DataType, to: &DataType) -> Result<Value, FormatError> {
    let number = match value {
        Value::Date(days) if *from == DataType::Date64 => i64::from(*days) * MS_PER_DAY,
        Value::Date(days) => i64::from(*days),
        Value::Time(count, _) | Value::Duration(count, _) | Value::Timestamp(count, ..) => *count,
        other => return Err(mismatch(other, from)),
    };
    Ok(integer_value(number.into(), to))
}

/// The instant of a timestamp on the clock of its zone.
fn local(count: i64, unit: TimeUnit, zone: Option<&str>) -> Option<chrono::NaiveDateTime> {
    let instant = utc(count, unit)?;
    match zone {
        Some(zone) => instant.checked_add_offset(zone_offset(zone, instant)),
        None => Some(instant),
    }
}

fn timestamp_to_date(value: &Value, from: &DataType) -> Result<Value, FormatError> {
    let Value::Timestamp(count, unit, zone) = value else { return Err(mismatch(value, from)) };
    let days = local(*count, *unit, zone.as_deref())
        .and_then(|local| i32::try_from(local.and_utc().timestamp().div_euclid(S_PER_DAY)).ok());
    days.map(Value::Date).ok_or_else(|| out_of_bounds(from, &DataType::Date32, *count))
}

fn timestamp_to_time(value: &Value, from: &DataType, unit: TimeUnit) -> Result<Value, FormatError> {
    let Value::Timestamp(count, from_unit, zone) = value else { return Err(mismatch(value, from)) };
    let local = local(*count, *from_unit, zone.as_deref())
        .ok_or_else(|| out_of_bounds(from, &DataType::Time64(unit), *count))?;
    let per_second = units_per_second(*from_unit);
    let seconds = local.and_utc().timestamp().rem_euclid(S_PER_DAY);
    let of_day = seconds * per_second + count.rem_euclid(per_second);
    let count = rescale(of_day, *from_unit, unit)
        .ok_or_else(|| invalid(format!("Cast would lose data: {of_day}")))?;
    Ok(Value::Time(count, unit))
}

/// A count in another unit, `None` when digits would be lost or the result is too large.
fn rescale(count: i64, from: TimeUnit, to: TimeUnit) -> Option<i64> {
    let (from, to) = (units_per_second(from), units_per_second(to));
    if to >= from {
        return count.checked_mul(to / from);
    }
    let factor = from / to;
    (count % factor == 0).then_some(count / factor)
}

fn shift(
    count: i64,
    from_unit: TimeUnit,
    to_unit: TimeUnit,
    from: &DataType,
    to: &DataType,
) -> Result<i64, FormatError> {
    rescale(count, from_unit, to_unit).ok_or_else(|| {
        if units_per_second(to_unit) > units_per_second(from_unit) {
            return out_of_bounds(from, to, count);
        }
        let (from, to) = (arrow_type_text(from), arrow_type_text(to));
        invalid(format!("Casting from {from} to {to} would lose data: {count}"))
    })
}

fn out_of_bounds(from: &DataType, to: &DataType, count: i64) -> FormatError {
    let (from, to) = (arrow_type_text(from), arrow_type_text(to));
    invalid(format!("Casting from {from} to {to} would result in out of bounds timestamp: {count}"))
}
