//! Casts of a column to a feature (`cast_array_to_feature` of the original).
//!
//! Owns the rules by feature: structs may lack members and are filled with nulls, lists recurse, labels, media and JSON
//! have their own storage. Fails with `TypeError` when the shapes do not fit.

use std::collections::HashSet;

use arrow_schema::{DataType, Field, Fields};

use super::nested::{Structs, all_of_length, cast_items, cast_to_type, value_type};
use super::storage::{cast_json, cast_labels, cast_media};
use crate::error::{ErrorClass, FormatError};
use crate::features::repr::{feature_text, short_text};
use crate::features::type_text::field_type_text;
use crate::features::{Feature, Features};
use crate::value::Value;

/// The values of a column with this physical field as values of the feature.
///
/// # Errors
/// `TypeError`, `ValueError`, `ArrowInvalid` or `ArrowNotImplementedError`, with the messages of the original.
pub fn cast_column(values: Vec<Value>, field: &Field, feature: &Feature) -> Result<Vec<Value>, FormatError> {
    let from = value_type(field.data_type());
    match feature {
        Feature::ClassLabel { names } => return cast_labels(values, from, names),
        Feature::Media(media) => return cast_media(values, from, media.kind),
        Feature::Json { .. } => return Ok(cast_json(values, from)),
        _ => {}
    }
    match (from, feature) {
        (DataType::Null, _) => Ok(values),
        (DataType::Struct(fields), Feature::Struct(features)) if is_subset(fields, features) => {
            cast_members(values, fields, features)
        }
        (
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _),
            Feature::List { feature, length: None } | Feature::LargeList { feature },
        ) => cast_items(values, |items| cast_column(items, item, feature)),
        (
            DataType::List(item) | DataType::LargeList(item),
            Feature::List { feature: item_feature, length: Some(length) },
        ) => {
            if !i32::try_from(*length).is_ok_and(|length| all_of_length(&values, length)) {
                return Err(cannot_cast(field, feature));
            }
            cast_items(values, |items| cast_column(items, item, item_feature))
        }
        (DataType::FixedSizeList(item, size), Feature::List { feature, length: Some(length) })
            if usize::try_from(*size) == Ok(*length) =>
        {
            cast_items(values, |items| cast_column(items, item, feature))
        }
        (_, Feature::Struct(_) | Feature::List { .. } | Feature::LargeList { .. }) => {
            Err(cannot_cast(field, feature))
        }
        (_, Feature::Array { shape, .. }) => {
            let values = cast_to_type(values, from, &feature.storage_type()?)?;
            check_shape(&values, shape)?;
            Ok(values)
        }
        _ => cast_to_type(values, from, &feature.storage_type()?),
    }
}

fn cannot_cast(field: &Field, feature: &Feature) -> FormatError {
    let (from, to) = (short_text(&field_type_text(field)), short_text(&feature_text(feature)));
    FormatError::new(ErrorClass::TypeError, format!("Couldn't cast array of type\n{from}\nto\n{to}"))
}

fn is_subset(fields: &Fields, features: &Features) -> bool {
    let names: HashSet<&str> = features.0.iter().map(|(name, _)| &**name).collect();
    fields.iter().all(|field| names.contains(field.name().as_str()))
}

fn cast_members(values: Vec<Value>, fields: &Fields, features: &Features) -> Result<Vec<Value>, FormatError> {
    let mut structs = Structs::new(values, fields)?;
    for (name, feature) in &features.0 {
        let column = match structs.take(name) {
            Some((field, column)) => cast_column(column, field, feature)?,
            None => vec![Value::Null; structs.len()],
        };
        structs.put(name, column);
    }
    Ok(structs.finish())
}

/// Checks that arrays have as many items as their shape says, all of them together or, with an open first dimension,
/// each.
fn check_shape(values: &[Value], shape: &[Option<usize>]) -> Result<(), FormatError> {
    let inner = shape.iter().skip(1).flatten().fold(1_usize, |inner, size| inner.saturating_mul(*size));
    let rank = shape.len();
    let sizes: Vec<String> = shape.iter().flatten().map(usize::to_string).collect();
    let sizes = sizes.join(",");
    let arrays = values.iter().filter(|value| !value.is_null());
    if let Some(Some(first)) = shape.first() {
        let count = arrays.clone().count();
        let size: usize = arrays.map(|array| leaves(array, rank)).sum();
        if count.checked_mul(first.saturating_mul(inner)) != Some(size) {
            return Err(cannot_reshape(size, &format!("({count},{sizes})")));
        }
        return Ok(());
    }
    for array in arrays {
        let Value::List(rows) = array else { continue };
        let size = leaves(array, rank);
        if rows.len().checked_mul(inner) != Some(size) {
            return Err(cannot_reshape(size, &format!("({},{sizes})", rows.len())));
        }
    }
    Ok(())
}

fn leaves(value: &Value, rank: usize) -> usize {
    match value {
        Value::List(items) if rank > 1 => items.iter().map(|item| leaves(item, rank - 1)).sum(),
        Value::List(items) => items.len(),
        _ => 0,
    }
}

fn cannot_reshape(size: usize, shape: &str) -> FormatError {
    let message = format!("cannot reshape array of size {size} into shape {shape}");
    FormatError::new(ErrorClass::ValueError, message)
}
