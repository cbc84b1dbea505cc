//! A table next to features that are known: the part of the cast that only JSON files have (dataset-loading.md section 1.7).
//!
//! Columns that the table lacks are added as nulls, objects in columns of strings become JSON text. Everything else is
//! left to the general cast, which also refuses columns too many.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef};

use crate::features::{Feature, Features};
use crate::json_text::ujson;
use crate::value::Value;

/// Aligns the columns and rows of a table with features.
pub(super) fn align(fields: &mut Vec<FieldRef>, rows: &mut [Vec<Value>], features: &Features) {
    for (index, field) in fields.iter_mut().enumerate() {
        if matches!(field.data_type(), DataType::Struct(_)) && is_string(features.get(field.name())) {
            *field = Arc::new(Field::new(field.name(), DataType::Utf8, true));
            rows.iter_mut().for_each(|row| row[index] = json_text(&row[index]));
        }
    }
    for (name, _) in &features.0 {
        if !fields.iter().any(|field| **field.name() == **name) {
            fields.push(Arc::new(Field::new(&**name, DataType::Null, true)));
            rows.iter_mut().for_each(|row| row.push(Value::Null));
        }
    }
}

fn is_string(feature: Option<&Feature>) -> bool {
    matches!(feature, Some(Feature::Value { dtype, id: None }) if &**dtype == "string")
}

fn json_text(value: &Value) -> Value {
    if value.is_null() {
        return Value::Null;
    }
    Value::Str(ujson::dump(value).into())
}
