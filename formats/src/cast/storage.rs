//! Casts to features that are stored in their own way: labels, media, JSON (`cast_storage` of the original).
//!
//! Owns names to label ids, paths and bytes to media structs, and values to JSON text. Fails with `ValueError` for
//! unknown labels; refuses pixel and sample arrays (`NotImplementedError`), which would have to be encoded as files.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Fields};

use super::nested::{Structs, cast_to_type};
use super::number::whole;
use crate::error::{ErrorClass, FormatError};
use crate::features::{Feature, MediaKind};
use crate::json_text::ujson;
use crate::value::Value;

/// Values of a `Json` column that are looked at to tell JSON from other text.
const JSON_SAMPLE_VALUES: usize = 5;

/// Casts to a class label: integers are checked against the number of names, names become their ids.
pub(super) fn cast_labels(
    mut values: Vec<Value>,
    from: &DataType,
    names: &[Arc<str>],
) -> Result<Vec<Value>, FormatError> {
    if from.is_integer() {
        let count = names.len() as i128;
        if let Some(label) = values.iter().filter_map(whole).max().filter(|label| *label >= count) {
            let message = format!("Class label {label} greater than configured num_classes {count}");
            return Err(FormatError::new(ErrorClass::ValueError, message));
        }
    }
    if *from != DataType::Utf8 {
        return cast_to_type(values, from, &DataType::Int64);
    }
    let ids: HashMap<&str, i64> = names.iter().map(|name| &**name).zip(0..).collect();
    for value in &mut values {
        if let Value::Str(name) = value {
            *value = Value::Int(label_id(name, &ids)?);
        }
    }
    Ok(values)
}

fn label_id(name: &str, ids: &HashMap<&str, i64>) -> Result<i64, FormatError> {
    if let Some(id) = ids.get(name).or_else(|| ids.get(name.trim())) {
        return Ok(*id);
    }
    let id: Option<i64> = name.trim().parse().ok();
    id.filter(|id| (-1..ids.len() as i64).contains(id))
        .ok_or_else(|| FormatError::new(ErrorClass::ValueError, format!("Invalid string class label {name}")))
}

/// Casts to the struct of a media type: text is a path, bytes are the file, structs keep these two members.
pub(super) fn cast_media(
    values: Vec<Value>,
    from: &DataType,
    kind: MediaKind,
) -> Result<Vec<Value>, FormatError> {
    let storage = Feature::Media(crate::features::Media { kind, options: Vec::new() }).storage_type()?;
    let takes_large_text = matches!(kind, MediaKind::Image | MediaKind::Mesh);
    let takes_large_bytes = !matches!(kind, MediaKind::Pdf | MediaKind::Nifti);
    match from {
        DataType::Utf8 => Ok(wrap(values, "path")),
        DataType::LargeUtf8 if takes_large_text => Ok(wrap(values, "path")),
        DataType::Binary => Ok(wrap(values, "bytes")),
        DataType::LargeBinary if takes_large_bytes => Ok(wrap(values, "bytes")),
        DataType::Struct(fields) => {
            if kind == MediaKind::Audio && fields.iter().any(|field| field.name() == "array") {
                return Err(must_encode("audio samples"));
            }
            cast_media_members(values, fields)
        }
        DataType::List(_) if matches!(kind, MediaKind::Image | MediaKind::Video) => {
            if values.iter().all(Value::is_null) {
                return Ok(values);
            }
            Err(must_encode("pixel arrays"))
        }
        _ => cast_to_type(values, from, &storage),
    }
}

fn must_encode(what: &str) -> FormatError {
    let message = format!("{what} cannot be turned into files here; store encoded files or paths instead");
    FormatError::new(ErrorClass::NotImplementedError, message)
}

/// Structs of bytes and path of which one is given.
fn wrap(values: Vec<Value>, given: &str) -> Vec<Value> {
    let (bytes, path): (Arc<str>, Arc<str>) = ("bytes".into(), "path".into());
    let wrapped = values.into_iter().map(|value| match value {
        Value::Null => Value::Null,
        value if given == "bytes" => Value::Struct(vec![(bytes.clone(), value), (path.clone(), Value::Null)]),
        value => Value::Struct(vec![(bytes.clone(), Value::Null), (path.clone(), value)]),
    });
    wrapped.collect()
}

fn cast_media_members(values: Vec<Value>, fields: &Fields) -> Result<Vec<Value>, FormatError> {
    let mut structs = Structs::new(values, fields)?;
    for (name, to) in [("bytes", DataType::Binary), ("path", DataType::Utf8)] {
        let column = match structs.take(name) {
            Some((field, column)) => cast_to_type(column, field.data_type(), &to)?,
            None => vec![Value::Null; structs.len()],
        };
        structs.put(name, column);
    }
    Ok(structs.finish())
}

/// Casts to JSON text. Text is kept when the first five values are JSON; everything else is dumped.
pub(super) fn cast_json(values: Vec<Value>, from: &DataType) -> Vec<Value> {
    let is_json = |value: &Value| match value {
        Value::Str(text) => ujson::loads(text).is_some(),
        _ => true,
    };
    if *from == DataType::Utf8 && values.iter().take(JSON_SAMPLE_VALUES).all(is_json) {
        return values;
    }
    let dump = |value: Value| match value {
        Value::Null => Value::Null,
        value => Value::Str(ujson::dump(&value).into()),
    };
    values.into_iter().map(dump).collect()
}
