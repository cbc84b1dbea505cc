//! Casts between booleans, integers and floats; values are checked, never wrapped or cut.
//!
//! Owns the ranges. Fails with `ArrowInvalid` for integers out of range and floats with a fraction.

use arrow_schema::DataType;

use super::scalar::{Convert, invalid, is_decimal, mismatch};
use super::{decimal, text};
use crate::error::FormatError;
use crate::features::type_text::arrow_type_text;
use crate::value::Value;

/// The range of an integer type.
pub(super) fn integer_range(data_type: &DataType) -> Option<(i128, i128)> {
    Some(match data_type {
        DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        DataType::Int64 => (i64::MIN.into(), i64::MAX.into()),
        DataType::UInt8 => (0, u8::MAX.into()),
        DataType::UInt16 => (0, u16::MAX.into()),
        DataType::UInt32 => (0, u32::MAX.into()),
        DataType::UInt64 => (0, u64::MAX.into()),
        _ => return None,
    })
}

/// An integer as the value of an integer type in whose range it is.
pub(super) fn integer_value(number: i128, to: &DataType) -> Value {
    match i64::try_from(number) {
        Ok(number) if to.is_signed_integer() => Value::Int(number),
        _ => Value::UInt(u64::try_from(number).unwrap_or_default()),
    }
}

/// A float as the value of a float type, rounded to its width.
pub(super) fn float_value(number: f64, to: &DataType) -> Value {
    Value::Float(match to {
        DataType::Float16 => half::f16::from_f64(number).to_f64(),
        #[expect(clippy::cast_possible_truncation, reason = "a narrower float is what is asked for")]
        DataType::Float32 => f64::from(number as f32),
        _ => number,
    })
}

/// The number in an integer or boolean value.
pub(super) fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Int(number) => Some((*number).into()),
        Value::UInt(number) => Some((*number).into()),
        Value::Bool(flag) => Some((*flag).into()),
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "callers check that the integer is exact, or mean to round")]
pub(super) fn to_f64(number: i128) -> f64 {
    number as f64
}

pub(super) fn conversion<'a>(from: &'a DataType, to: &'a DataType) -> Option<Convert<'a>> {
    let is_number = |data_type: &DataType| {
        data_type.is_integer() || data_type.is_floating() || *data_type == DataType::Boolean
    };
    if is_decimal(from) {
        return decimal::to_number(from, to);
    }
    if !is_number(from) || !is_number(to) {
        return None;
    }
    Some(match (from, to) {
        (_, DataType::Boolean) => Box::new(move |value| to_boolean(&value, from)),
        (_, to) if to.is_integer() && from.is_floating() => Box::new(move |value| match value {
            Value::Float(number) => float_to_integer(number, to),
            other => Err(mismatch(&other, from)),
        }),
        (_, to) if to.is_integer() => Box::new(move |value| {
            let number = whole(&value).ok_or_else(|| mismatch(&value, from))?;
            check_range(number, from, integer_range(to).unwrap_or_default())?;
            Ok(integer_value(number, to))
        }),
        (from, _) if from.is_floating() => Box::new(move |value| match value {
            Value::Float(number) => Ok(float_value(number, to)),
            other => Err(mismatch(&other, from)),
        }),
        _ => Box::new(move |value| {
            let number = whole(&value).ok_or_else(|| mismatch(&value, from))?;
            integer_to_float(number, from, to)
        }),
    })
}

fn to_boolean(value: &Value, from: &DataType) -> Result<Value, FormatError> {
    match value {
        Value::Float(number) => Ok(Value::Bool(*number != 0.0)),
        other => whole(other).map(|number| Value::Bool(number != 0)).ok_or_else(|| mismatch(other, from)),
    }
}

/// Checks an integer of type `from` against a range; the message names what both have in common.
fn check_range(number: i128, from: &DataType, (low, high): (i128, i128)) -> Result<(), FormatError> {
    if (low..=high).contains(&number) {
        return Ok(());
    }
    let (from_low, from_high) = integer_range(from).unwrap_or((low, high));
    let (low, high) = (low.max(from_low), high.min(from_high));
    Err(invalid(format!("Integer value {number} not in range: {low} to {high}")))
}

fn float_to_integer(number: f64, to: &DataType) -> Result<Value, FormatError> {
    let (low, high) = integer_range(to).unwrap_or_default();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked to be whole, and saturated beyond every range"
    )]
    let whole = number as i128;
    if number.fract() != 0.0 || !number.is_finite() || !(low..=high).contains(&whole) {
        let (number, to) = (text::fixed_float(number), arrow_type_text(to));
        return Err(invalid(format!("Float value {number} was truncated converting to {to}")));
    }
    Ok(integer_value(whole, to))
}

fn integer_to_float(number: i128, from: &DataType, to: &DataType) -> Result<Value, FormatError> {
    let small = matches!(
        from,
        DataType::Boolean | DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16
    );
    if !small {
        let exact: i128 = if *to == DataType::Float32 { 1 << 24 } else { 1 << 53 };
        check_range(number, from, (-exact, exact))?;
    }
    Ok(float_value(to_f64(number), to))
}
