//! The common type of two samples, as Arrow's default promotion makes it (dataset-loading.md section 1.11).
//!
//! Owns the merge of nulls, structs and lists. Refuses all else with `ArrowTypeError` and Arrow's message.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields};

use crate::error::{ErrorClass, FormatError};
use crate::features::type_text::arrow_type_text;
use crate::features::{Feature, Features};

/// Merges two samples with the same columns, in the order of the first.
pub(super) fn merge(left: &Features, right: &Features) -> Result<Features, FormatError> {
    let columns = left.0.iter().map(|(name, feature)| {
        let Some(other) = right.get(name) else { return Ok((Arc::clone(name), feature.clone())) };
        if other == feature {
            return Ok((Arc::clone(name), feature.clone()));
        }
        let merged = merge_fields(&feature.to_arrow(name)?, &other.to_arrow(name)?)?;
        Ok((Arc::clone(name), Feature::from_arrow(&merged)?))
    });
    columns.collect::<Result<_, FormatError>>().map(Features)
}

fn merge_fields(left: &Field, right: &Field) -> Result<Field, FormatError> {
    let merged = merge_types(left.data_type(), right.data_type()).map_err(|reason| {
        let (name, left, right) =
            (left.name(), arrow_type_text(left.data_type()), arrow_type_text(right.data_type()));
        let reason = reason.map(|error| format!(": {}", error.message)).unwrap_or_default();
        let message =
            format!("Unable to merge: Field {name} has incompatible types: {left} vs {right}{reason}");
        FormatError::new(ErrorClass::ArrowTypeError, message)
    })?;
    Ok(left.clone().with_data_type(merged))
}

/// Fails with the error of a nested field, if that is the reason.
fn merge_types(left: &DataType, right: &DataType) -> Result<DataType, Option<FormatError>> {
    match (left, right) {
        _ if left == right => Ok(left.clone()),
        (DataType::Null, other) | (other, DataType::Null) => Ok(other.clone()),
        (DataType::Struct(left), DataType::Struct(right)) => {
            merge_members(left, right).map(DataType::Struct).map_err(Some)
        }
        (DataType::List(left), DataType::List(right)) => {
            merge_fields(left, right).map(|item| DataType::List(Arc::new(item))).map_err(Some)
        }
        _ => Err(None),
    }
}

fn merge_members(left: &Fields, right: &Fields) -> Result<Fields, FormatError> {
    let mut members: Vec<FieldRef> = left.iter().cloned().collect();
    for other in right {
        match members.iter_mut().find(|member| member.name() == other.name()) {
            Some(member) => *member = Arc::new(merge_fields(member, other)?),
            None => members.push(Arc::clone(other)),
        }
    }
    Ok(members.into())
}
