//! Whether a Python value converts to the inferred type of its column, and what `pyarrow` says when not.

use std::collections::BTreeMap;

use super::Inferred;
use crate::error::{ErrorClass, FormatError};
use crate::features::repr::quoted;
use crate::json_text::time;
use crate::value::Value;

/// Integers up to here are exact as doubles.
const EXACT_INTEGER_MAX: u64 = 1 << 53;

/// Checks one value.
///
/// # Errors
/// `ArrowInvalid`, `ArrowTypeError` or `OverflowError` with the message of `pyarrow`.
pub(super) fn check(value: &Value, inferred: &Inferred) -> Result<(), FormatError> {
    match (value, inferred) {
        (Value::Null, _) | (Value::Date(_) | Value::Timestamp(..), Inferred::Date) => Ok(()),
        (Value::UInt(number), Inferred::Int | Inferred::Float) if i64::try_from(*number).is_err() => {
            let message = "Python int too large to convert to C long";
            Err(FormatError::new(ErrorClass::OverflowError, message))
        }
        (Value::Int(number), Inferred::Float) => check_exact(number.unsigned_abs(), *number),
        (Value::UInt(number), Inferred::Float) => check_exact(*number, *number),
        (Value::Int(_) | Value::UInt(_), Inferred::Int | Inferred::Decimal { .. })
        | (Value::Bool(_), Inferred::Bool)
        | (Value::Float(_), Inferred::Float)
        | (Value::Decimal(_), Inferred::Decimal { .. })
        | (Value::Time(..), Inferred::Time)
        | (Value::Timestamp(..), Inferred::Timestamp { .. })
        | (Value::Duration(..), Inferred::Duration)
        | (Value::Bytes(_) | Value::Str(_), Inferred::Binary)
        | (Value::Str(_), Inferred::Text) => Ok(()),
        (Value::Bytes(bytes), Inferred::Text) if std::str::from_utf8(bytes).is_ok() => Ok(()),
        (Value::List(items), Inferred::List(item)) => items.iter().try_for_each(|value| check(value, item)),
        (Value::Struct(values), Inferred::Struct(members)) => {
            // In the order of the inferred members, which decides whose error counts.
            let values: BTreeMap<&str, &Value> =
                values.iter().map(|(name, value)| (&**name, value)).collect();
            values.iter().try_for_each(|(name, value)| {
                members.get(*name).map_or(Ok(()), |member| check(value, member))
            })
        }
        _ => Err(refused(value, inferred)),
    }
}

fn check_exact(magnitude: u64, number: impl std::fmt::Display) -> Result<(), FormatError> {
    if magnitude <= EXACT_INTEGER_MAX {
        return Ok(());
    }
    let message = format!(
        "Integer value {number} is outside of the range exactly representable by a IEEE 754 double precision value"
    );
    Err(FormatError::new(ErrorClass::ArrowInvalid, message))
}

fn refused(value: &Value, inferred: &Inferred) -> FormatError {
    let class = python_class(value);
    match (value, inferred) {
        (Value::Bool(_), Inferred::Int) => {
            FormatError::new(ErrorClass::ArrowTypeError, "Expected integer, got bool")
        }
        (_, Inferred::Text | Inferred::Binary) => {
            let message = format!("Expected bytes, got a '{class}' object");
            FormatError::new(ErrorClass::ArrowTypeError, message)
        }
        (_, Inferred::Decimal { .. }) => {
            let message = format!("int or Decimal object expected, got {class}");
            FormatError::new(ErrorClass::ArrowTypeError, message)
        }
        _ => {
            let (text, target) = (python_text(value), type_name(inferred));
            let message = format!("Could not convert {text} with type {class}: tried to convert to {target}");
            FormatError::new(ErrorClass::ArrowInvalid, message)
        }
    }
}

fn type_name(inferred: &Inferred) -> &'static str {
    match inferred {
        Inferred::Null => "null",
        Inferred::Bool => "boolean",
        Inferred::Int => "int64",
        Inferred::Float => "double",
        Inferred::Decimal { .. } => "decimal128",
        Inferred::Date => "date32",
        Inferred::Time => "time64",
        Inferred::Timestamp { .. } => "timestamp",
        Inferred::Duration => "duration",
        Inferred::Binary => "binary",
        Inferred::Text => "string",
        Inferred::List(_) => "list",
        Inferred::Struct(_) => "struct",
    }
}

/// The name of its Python class.
pub(crate) fn python_class(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::UInt(_) => "int",
        Value::Float(_) => "float",
        Value::Str(_) => "str",
        Value::Bytes(_) => "bytes",
        Value::Date(_) => "datetime.date",
        Value::Time(..) => "datetime.time",
        Value::Timestamp(..) => "datetime.datetime",
        Value::Duration(..) => "datetime.timedelta",
        Value::Decimal(_) => "decimal.Decimal",
        Value::List(_) => "list",
        Value::Struct(_) => "dict",
    }
}

/// A value roughly as Python's `repr` has it; exact for the kinds that mix in practice.
pub(crate) fn python_text(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Str(text) => quoted(text),
        Value::Bytes(bytes) => format!("b'{}'", bytes.escape_ascii()),
        Value::Date(days) => match time::date(*days) {
            Some(date) => date.format("datetime.date(%Y, %-m, %-d)").to_string(),
            None => format!("datetime.date({days})"),
        },
        Value::Decimal(text) => format!("Decimal('{text}')"),
        Value::Time(count, unit) => time::time_text(*count, *unit),
        Value::Timestamp(count, unit, zone) => {
            time::timestamp_text(*count, *unit, zone.as_deref()).unwrap_or_else(|| count.to_string())
        }
        Value::Duration(count, unit) => time::duration_text(*count, *unit),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(python_text).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Struct(members) => {
            let members: Vec<String> = members
                .iter()
                .map(|(name, value)| format!("{}: {}", quoted(name), python_text(value)))
                .collect();
            format!("{{{}}}", members.join(", "))
        }
    }
}
