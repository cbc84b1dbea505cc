//! Examples of generator modules, encoded as Python encodes them (dataset-loading.md section 5.3).
//!
//! Owns `int()`, `float()`, `str()` and `bool()` of values, names of labels to ids, addresses to media. Members that the
//! features do not have are dropped, those that a row lacks are null. Fails with `ValueError`, `TypeError` or
//! `AttributeError` for values that Python cannot encode.

pub(crate) mod scalar;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::error::{ErrorClass, FormatError};
use crate::features::{Feature, Features};
use crate::python_values::class_name;
use crate::value::Value;

/// A row as the features have it: one value per feature.
///
/// # Errors
/// See the module.
pub(crate) fn encode_example(
    mut row: Vec<(Arc<str>, Value)>,
    features: &Features,
) -> Result<Vec<Value>, FormatError> {
    let mut encoded = Vec::with_capacity(features.0.len());
    for (name, feature) in &features.0 {
        let value = row.iter_mut().find(|(column, _)| column == name).map(|(_, value)| std::mem::take(value));
        encoded.push(encode(value.unwrap_or_default(), feature)?);
    }
    Ok(encoded)
}

fn encode(value: Value, feature: &Feature) -> Result<Value, FormatError> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    match feature {
        Feature::Struct(members) => match value {
            Value::Struct(row) => {
                let values = encode_example(row, members)?;
                let names = members.0.iter().map(|(name, _)| name.clone());
                Ok(Value::Struct(names.zip(values).collect()))
            }
            other => {
                let message = format!("'{}' object has no attribute 'get'", class_name(&other));
                Err(FormatError::new(ErrorClass::AttributeError, message))
            }
        },
        Feature::List { feature, .. } | Feature::LargeList { feature } => match value {
            Value::List(items) => {
                let items: Result<_, _> = items.into_iter().map(|item| encode(item, feature)).collect();
                items.map(Value::List)
            }
            other => {
                let message = format!("object of type '{}' has no len()", class_name(&other));
                Err(FormatError::new(ErrorClass::TypeError, message))
            }
        },
        Feature::Media(_) => Ok(match value {
            Value::Str(path) => media(Value::Null, Value::Str(path)),
            Value::Bytes(bytes) => media(Value::Bytes(bytes), Value::Null),
            other => other,
        }),
        Feature::ClassLabel { names } => scalar::label(&value, names),
        Feature::Value { dtype, .. } => scalar::encode(value, dtype),
        _ => Ok(value),
    }
}

/// A cell of media.
fn media(bytes: Value, path: Value) -> Value {
    Value::Struct(vec![("bytes".into(), bytes), ("path".into(), path)])
}
