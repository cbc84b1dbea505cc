//! Samples as rows of known features (dataset-loading.md sections 1.11 and 5.3).
//!
//! Owns the conversions that the original makes of Python values before rows are shown: missing fields are null, others
//! than the known ones are dropped, scalars go through `int`, `float`, `bool` and `str`, media become path and bytes.
//! Fails with the classes of these conversions.

use std::sync::Arc;

use super::samples::{KEY, Sample, URL};
use crate::encode::scalar;
use crate::error::{ErrorClass, FormatError};
use crate::features::{Feature, Features};
use crate::python_values::class_name;
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
            let message = format!("'{path}' holds a '{}' object, not media", class_name(&other));
            Err(FormatError::new(ErrorClass::TypeError, message))
        }
    }
}

fn encode(value: Value, feature: &Feature) -> Result<Value, FormatError> {
    match (value, feature) {
        (Value::Null, _) => Ok(Value::Null),
        (value, Feature::Value { dtype, .. }) => scalar::encode(value, dtype),
        (value, Feature::ClassLabel { names }) => scalar::label(&value, names),
        (Value::List(items), Feature::List { feature, .. } | Feature::LargeList { feature }) => {
            let items = items.into_iter().map(|item| encode(item, feature));
            items.collect::<Result<_, _>>().map(Value::List)
        }
        (Value::Str(text), Feature::List { .. } | Feature::LargeList { .. }) => {
            let message = format!("Got a string but expected a list instead: '{text}'");
            Err(FormatError::new(ErrorClass::ValueError, message))
        }
        (other, Feature::List { .. } | Feature::LargeList { .. }) => {
            let message = format!("'{}' object is not iterable", class_name(&other));
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
            let message = format!("'{}' object is not a dict", class_name(&other));
            Err(FormatError::new(ErrorClass::TypeError, message))
        }
        (value, _) => Ok(value),
    }
}
