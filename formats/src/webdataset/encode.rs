//! Samples as rows of known features (dataset-loading.md sections 1.11 and 5.3).
//!
//! Owns the conversions that the original makes of Python values before rows are shown: missing fields are null, others
//! than the known ones are dropped, scalars go through `int`, `float`, `bool` and `str`, media become path and bytes.
//! Fails with the classes of these conversions.

use std::sync::Arc;

use super::decode::too_large;
use super::samples::{KEY, Sample, URL};
use crate::error::{ErrorClass, FormatError};
use crate::features::{Feature, Features};
use crate::infer::{python_class, python_text};
use crate::value::Value;

/// The row of a sample.
pub(super) fn row(
    mut sample: Sample,
    url: &Arc<str>,
    features: &Features,
) -> Result<Vec<Value>, FormatError> {
    let key = Arc::clone(&sample.key);
    let cells = features.0.iter().map(|(name, feature)| {
        let value = match sample.fields.get_mut(name) {
            Some(cell) => std::mem::take(&mut cell.value),
            None if &**name == KEY => Value::Str(Arc::clone(&key)),
            None if &**name == URL => Value::Str(Arc::clone(url)),
            None => Value::Null,
        };
        match feature {
            Feature::Media(_) => media(value, &format!("{key}.{name}")),
            _ => encode(value, feature),
        }
    });
    cells.collect()
}

fn media(value: Value, path: &str) -> Result<Value, FormatError> {
    match value {
        Value::Null => Ok(Value::Null),
        bytes @ Value::Bytes(_) => {
            Ok(Value::Struct(vec![("bytes".into(), bytes), ("path".into(), Value::str(path))]))
        }
        other => {
            let message = format!("'{path}' holds a '{}' object, not media", python_class(&other));
            Err(FormatError::new(ErrorClass::TypeError, message))
        }
    }
}

fn encode(value: Value, feature: &Feature) -> Result<Value, FormatError> {
    match (value, feature) {
        (Value::Null, _) => Ok(Value::Null),
        (value, Feature::Value { dtype, .. }) => scalar(value, dtype),
        (value, Feature::ClassLabel { names }) => label(value, names),
        (Value::List(items), Feature::List { feature, .. } | Feature::LargeList { feature }) => {
            let items = items.into_iter().map(|item| encode(item, feature));
            items.collect::<Result<_, _>>().map(Value::List)
        }
        (Value::Str(text), Feature::List { .. } | Feature::LargeList { .. }) => {
            let message = format!("Got a string but expected a list instead: '{text}'");
            Err(FormatError::new(ErrorClass::ValueError, message))
        }
        (other, Feature::List { .. } | Feature::LargeList { .. }) => {
            let message = format!("'{}' object is not iterable", python_class(&other));
            Err(FormatError::new(ErrorClass::TypeError, message))
        }
        (Value::Struct(mut members), Feature::Struct(features)) => {
            let members = features.0.iter().map(|(name, feature)| {
                let member = members.iter_mut().find(|(member, _)| member == name);
                let value = member.map(|(_, value)| std::mem::take(value)).unwrap_or_default();
                Ok((Arc::clone(name), encode(value, feature)?))
            });
            members.collect::<Result<_, FormatError>>().map(Value::Struct)
        }
        (other, Feature::Struct(_)) => {
            let message = format!("'{}' object is not a dict", python_class(&other));
            Err(FormatError::new(ErrorClass::TypeError, message))
        }
        (value, _) => Ok(value),
    }
}

fn scalar(value: Value, dtype: &str) -> Result<Value, FormatError> {
    match dtype {
        "bool" => Ok(Value::Bool(is_true(&value))),
        "string" => Ok(match value {
            Value::Str(_) => value,
            other => Value::str(&python_text(&other)),
        }),
        _ if dtype.starts_with("int") || dtype.starts_with("uint") => int(value),
        _ if dtype.starts_with("float") => float(value),
        _ => Ok(value),
    }
}

fn is_true(value: &Value) -> bool {
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
        _ => true,
    }
}

fn int(value: Value) -> Result<Value, FormatError> {
    match value {
        Value::Int(_) | Value::UInt(_) => Ok(value),
        Value::Bool(value) => Ok(Value::Int(value.into())),
        Value::Float(value) if value.is_nan() => {
            Err(FormatError::new(ErrorClass::ValueError, "cannot convert float NaN to integer"))
        }
        Value::Float(value) if value.is_infinite() => {
            Err(FormatError::new(ErrorClass::OverflowError, "cannot convert float infinity to integer"))
        }
        Value::Float(value) if value.abs() < 2_f64.powi(63) => Ok(Value::Int(value as i64)),
        Value::Float(_) => Err(too_large()),
        Value::Str(text) => text.trim().parse().map(Value::Int).map_err(|_| {
            let shown = python_text(&Value::Str(Arc::clone(&text)));
            let message = format!("invalid literal for int() with base 10: {shown}");
            FormatError::new(ErrorClass::ValueError, message)
        }),
        other => {
            Err(no_number("int() argument must be a string, a bytes-like object or a real number", &other))
        }
    }
}

fn float(value: Value) -> Result<Value, FormatError> {
    match value {
        Value::Float(_) => Ok(value),
        Value::Int(value) => Ok(Value::Float(value as f64)),
        Value::UInt(value) => Ok(Value::Float(value as f64)),
        Value::Bool(value) => Ok(Value::Float(f64::from(u8::from(value)))),
        Value::Str(text) => text.trim().parse().map(Value::Float).map_err(|_| {
            let shown = python_text(&Value::Str(Arc::clone(&text)));
            FormatError::new(ErrorClass::ValueError, format!("could not convert string to float: {shown}"))
        }),
        other => Err(no_number("float() argument must be a string or a real number", &other)),
    }
}

fn no_number(rule: &str, value: &Value) -> FormatError {
    FormatError::new(ErrorClass::TypeError, format!("{rule}, not '{}'", python_class(value)))
}

fn label(value: Value, names: &[Arc<str>]) -> Result<Value, FormatError> {
    let refused = |message| Err(FormatError::new(ErrorClass::ValueError, message));
    match value {
        Value::Int(label) if label < names.len() as i64 && label >= -1 => Ok(Value::Int(label)),
        Value::Int(label) => {
            refused(format!("Class label {label} greater than configured num_classes {}", names.len()))
        }
        Value::Str(name) => match names.iter().position(|known| *known == name) {
            Some(label) => Ok(Value::Int(label as i64)),
            None => refused(format!("Invalid string class label {name}")),
        },
        other => refused(format!("Invalid class label of type '{}'", python_class(&other))),
    }
}
