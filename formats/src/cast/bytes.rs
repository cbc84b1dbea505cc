//! Casts between text and bytes. Fails with `ArrowInvalid` for bytes that are not UTF-8 or not of the fixed width.

use std::sync::Arc;

use arrow_schema::DataType;

use super::scalar::{invalid, mismatch};
use crate::error::FormatError;
use crate::features::type_text::arrow_type_text;
use crate::value::Value;

pub(super) fn of_text(value: Value) -> Result<Value, FormatError> {
    match value {
        Value::Str(text) => Ok(Value::Bytes(Arc::from(text.as_bytes()))),
        other => Err(mismatch(&other, &DataType::Utf8)),
    }
}

pub(super) fn to_text(value: Value) -> Result<Value, FormatError> {
    match value {
        Value::Bytes(bytes) => match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(Value::str(text)),
            Err(_) => Err(invalid("Invalid UTF8 payload")),
        },
        other => Err(mismatch(&other, &DataType::Binary)),
    }
}

pub(super) fn fixed(value: Value, from: &DataType, width: i32) -> Result<Value, FormatError> {
    match &value {
        Value::Bytes(bytes) if i32::try_from(bytes.len()) == Ok(width) => Ok(value),
        _ => Err(invalid(format!(
            "Failed casting from {} to fixed_size_binary[{width}]: widths must match",
            arrow_type_text(from)
        ))),
    }
}
