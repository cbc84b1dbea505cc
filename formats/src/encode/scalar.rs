//! Scalars as Python converts them. Integers beyond 64 bits do not occur: no reader makes them.

use std::sync::Arc;

use crate::error::{ErrorClass, FormatError};
use crate::features::repr::quoted;
use crate::json_text::time;
use crate::python_values::{class_name, repr_text};
use crate::value::Value;

/// A value for a column of this dtype: Python converts to booleans, integers, floats and text, and leaves the rest.
///
/// # Errors
/// `ValueError` or `TypeError` when Python cannot convert.
pub(crate) fn encode(value: Value, dtype: &str) -> Result<Value, FormatError> {
    match dtype {
        "bool" => Ok(Value::Bool(is_truthy(&value))),
        "string" | "large_string" => text(value),
        "float" | "double" | "float16" | "float32" | "float64" => float(&value).map(Value::Float),
        "uint8" | "uint16" | "uint32" | "uint64" => {
            let number = integer(&value)?;
            Ok(u64::try_from(number).map_or_else(|_| signed(number), Value::UInt))
        }
        "int8" | "int16" | "int32" | "int64" => integer(&value).map(signed),
        _ => Ok(value),
    }
}

fn signed(number: i128) -> Value {
    match i64::try_from(number) {
        Ok(number) => Value::Int(number),
        Err(_) => u64::try_from(number).map_or(Value::Int(i64::MIN), Value::UInt),
    }
}

/// The id of a label, given as one or by name.
///
/// # Errors
/// `ValueError` for a name or an id that is none.
pub(crate) fn label(value: &Value, names: &[Arc<str>]) -> Result<Value, FormatError> {
    let id_of = |name: &str| names.iter().position(|known| &**known == name);
    let count = i128::try_from(names.len()).unwrap_or(i128::MAX);
    let is_id = |id: i128| (-1..count).contains(&id);
    let id = match value {
        Value::Str(name) => match id_of(name).or_else(|| id_of(name.trim())) {
            Some(id) => i128::try_from(id).ok(),
            None => parse_integer(name).filter(|id| is_id(*id)),
        }
        .ok_or_else(|| invalid(format!("Invalid string class label {name}")))?,
        other => integer(other)?,
    };
    if !is_id(id) {
        return Err(invalid(format!("Class label {id} greater than configured num_classes {}", names.len())));
    }
    Ok(signed(id))
}

fn invalid(message: String) -> FormatError {
    FormatError::new(ErrorClass::ValueError, message)
}

fn integer(value: &Value) -> Result<i128, FormatError> {
    match value {
        Value::Bool(value) => Ok(i128::from(*value)),
        Value::Int(value) => Ok((*value).into()),
        Value::UInt(value) => Ok((*value).into()),
        Value::Float(value) if value.is_nan() => {
            Err(invalid("cannot convert float NaN to integer".to_owned()))
        }
        Value::Float(value) if value.is_infinite() => {
            let message = "cannot convert float infinity to integer";
            Err(FormatError::new(ErrorClass::OverflowError, message))
        }
        #[expect(clippy::cast_possible_truncation, reason = "the bounds are checked")]
        Value::Float(value) if value.abs() < 18_446_744_073_709_551_616.0 => Ok(value.trunc() as i128),
        Value::Float(_) => {
            let message = "Python int too large to convert to C long";
            Err(FormatError::new(ErrorClass::OverflowError, message))
        }
        Value::Str(text) => parse_integer(text)
            .ok_or_else(|| invalid(format!("invalid literal for int() with base 10: {}", quoted(text)))),
        Value::Decimal(text) => Ok(text.split('.').next().and_then(parse_integer).unwrap_or_default()),
        other => {
            let message = format!(
                "int() argument must be a string, a bytes-like object or a real number, not '{}'",
                class_name(other)
            );
            Err(FormatError::new(ErrorClass::TypeError, message))
        }
    }
}

fn float(value: &Value) -> Result<f64, FormatError> {
    #[expect(clippy::cast_precision_loss, reason = "Python rounds too")]
    match value {
        Value::Bool(value) => Ok(f64::from(*value)),
        Value::Int(value) => Ok(*value as f64),
        Value::UInt(value) => Ok(*value as f64),
        Value::Float(value) => Ok(*value),
        Value::Str(text) | Value::Decimal(text) => without_separators(text.trim())
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| invalid(format!("could not convert string to float: {}", quoted(text)))),
        other => {
            let message =
                format!("float() argument must be a string or a real number, not '{}'", class_name(other));
            Err(FormatError::new(ErrorClass::TypeError, message))
        }
    }
}

fn text(value: Value) -> Result<Value, FormatError> {
    let text = match value {
        Value::Str(_) => return Ok(value),
        Value::Decimal(text) => return Ok(Value::Str(text)),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Int(value) => value.to_string(),
        Value::UInt(value) => value.to_string(),
        Value::Float(value) => float_text(value),
        Value::Date(days) => time::date_text(days).unwrap_or_default(),
        Value::Bytes(_) | Value::List(_) | Value::Struct(_) => repr_text(&value),
        other => {
            let message = format!(
                "a value of type '{}' is not made to text here; declare its column with its own type",
                class_name(&other)
            );
            return Err(FormatError::new(ErrorClass::TypeError, message));
        }
    };
    Ok(Value::str(&text))
}

/// A float as Python prints it: with a point or an exponent of at least two digits.
fn float_text(number: f64) -> String {
    if !number.is_finite() {
        return number.to_string().to_lowercase();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        return format!("{number:?}");
    }
    format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// An integer as Python reads it: blanks around it and underscores between digits do not count.
fn parse_integer(text: &str) -> Option<i128> {
    without_separators(text.trim())?.parse().ok()
}

fn without_separators(text: &str) -> Option<String> {
    let is_misplaced = text.starts_with('_') || text.ends_with('_') || text.contains("__");
    (!is_misplaced).then(|| text.replace('_', ""))
}

fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Int(value) => *value != 0,
        Value::UInt(value) => *value != 0,
        Value::Float(value) => *value != 0.0,
        Value::Str(text) => !text.is_empty(),
        Value::Bytes(bytes) => !bytes.is_empty(),
        Value::List(items) => !items.is_empty(),
        Value::Struct(members) => !members.is_empty(),
        Value::Duration(count, _) => *count != 0,
        Value::Decimal(text) => text.bytes().any(|byte| matches!(byte, b'1'..=b'9')),
        Value::Date(_) | Value::Time(..) | Value::Timestamp(..) => true,
    }
}
