//! Whether a Python value converts to the inferred type of its column, and what `pyarrow` says when not.

use std::collections::BTreeMap;

use super::Inferred;
use crate::error::{ErrorClass, FormatError};
use crate::python_values::{class_name, repr_text};
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
    let class = class_name(value);
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
            let (text, target) = (repr_text(value), type_name(inferred));
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
