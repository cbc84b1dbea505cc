//! Safe casts between scalar types, with the answers and messages of Arrow's `cast` kernels.
//!
//! Owns the table of which type casts to which. Fails with `ArrowInvalid` for a value that does not fit and
//! `ArrowNotImplementedError` for a pair of types that has no cast.

use arrow_schema::DataType;

use super::{bytes, decimal, number, parse, temporal, text};
use crate::error::{ErrorClass, FormatError};
use crate::features::arrow::types_equal;
use crate::features::type_text::arrow_type_text;
use crate::value::Value;

/// What converts one value that is not null.
pub(super) type Convert<'a> = Box<dyn Fn(Value) -> Result<Value, FormatError> + 'a>;

/// Which error of a column counts. Arrow's parsers go on after a failure and report the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Report {
    First,
    Last,
}

/// The values of a column as another scalar type. `to` may be nested: then only a column of type null casts.
///
/// # Errors
/// See the module.
pub(super) fn cast_scalars(
    values: Vec<Value>,
    from: &DataType,
    to: &DataType,
) -> Result<Vec<Value>, FormatError> {
    if from.is_null() || types_equal(from, to) {
        return Ok(values);
    }
    let convert = conversion(from, to).ok_or_else(|| unsupported(from, to))??;
    let report =
        if is_text(from) || is_decimal(from) || is_decimal(to) { Report::Last } else { Report::First };
    let mut failure = None;
    let mut cast = Vec::with_capacity(values.len());
    for value in values {
        match if value.is_null() { Ok(value) } else { convert(value) } {
            Ok(value) => cast.push(value),
            Err(error) if report == Report::First => return Err(error),
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(cast), Err)
}

/// An `ArrowInvalid` error.
pub(super) fn invalid(message: impl Into<String>) -> FormatError {
    FormatError::new(ErrorClass::ArrowInvalid, message)
}

/// The error for a value whose kind is not that of its column's type: a reader broke the contract of tables.
pub(super) fn mismatch(value: &Value, from: &DataType) -> FormatError {
    invalid(format!("a column of type {} holds {value:?}", arrow_type_text(from)))
}

fn unsupported(from: &DataType, to: &DataType) -> FormatError {
    let (name, function) = match to {
        DataType::Boolean => ("bool", "boolean"),
        DataType::Float16 => ("halffloat", "half_float"),
        DataType::Date32 => ("date32", "date32"),
        DataType::Date64 => ("date64", "date64"),
        DataType::Time32(_) => ("time32", "time32"),
        DataType::Time64(_) => ("time64", "time64"),
        DataType::Timestamp(..) => ("timestamp", "timestamp"),
        DataType::Duration(_) => ("duration", "duration"),
        DataType::Decimal128(..) => ("decimal128", "decimal"),
        DataType::Decimal256(..) => ("decimal256", "decimal256"),
        DataType::FixedSizeBinary(_) => ("fixed_size_binary", "fixed_size_binary"),
        DataType::Struct(_) => ("struct", "struct"),
        DataType::List(_) => ("list", "list"),
        DataType::LargeList(_) => ("large_list", "large_list"),
        DataType::FixedSizeList(..) => ("fixed_size_list", "fixed_size_list"),
        other => {
            let name = arrow_type_text(other);
            return unsupported_named(from, &name, &name);
        }
    };
    unsupported_named(from, name, function)
}

fn unsupported_named(from: &DataType, to: &str, function: &str) -> FormatError {
    let from = arrow_type_text(from);
    let message = format!("Unsupported cast from {from} to {to} using function cast_{function}");
    FormatError::new(ErrorClass::ArrowNotImplementedError, message)
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_binary(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

pub(super) fn is_decimal(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..)
    )
}

/// The conversion of a pair of types; `None` when there is none. The inner error is one of the types themselves.
fn conversion<'a>(from: &'a DataType, to: &'a DataType) -> Option<Result<Convert<'a>, FormatError>> {
    if is_text(from) {
        return from_text(from, to).map(Ok);
    }
    if is_binary(from) || matches!(from, DataType::FixedSizeBinary(_)) {
        return from_bytes(from, to).map(Ok);
    }
    if is_text(to) {
        return text::to_text(from).map(Ok);
    }
    if is_decimal(to) {
        return decimal::to_decimal(from, to);
    }
    if from.is_temporal() || to.is_temporal() {
        return temporal::conversion(from, to).map(Ok);
    }
    number::conversion(from, to).map(Ok)
}

fn from_text<'a>(from: &'a DataType, to: &'a DataType) -> Option<Convert<'a>> {
    let convert: Convert<'a> = match to {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Box::new(Ok),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Box::new(bytes::of_text),
        DataType::FixedSizeBinary(width) => {
            let width = *width;
            Box::new(move |value| bytes::of_text(value).and_then(|value| bytes::fixed(value, from, width)))
        }
        _ => {
            let parse = parse::parser(to)?;
            Box::new(move |value| match &value {
                Value::Str(text) => parse(text),
                other => Err(mismatch(other, from)),
            })
        }
    };
    Some(convert)
}

fn from_bytes<'a>(from: &'a DataType, to: &'a DataType) -> Option<Convert<'a>> {
    let convert: Convert<'a> = match to {
        _ if is_binary(to) => Box::new(Ok),
        _ if is_text(to) => Box::new(bytes::to_text),
        DataType::FixedSizeBinary(width) => {
            let width = *width;
            Box::new(move |value| bytes::fixed(value, from, width))
        }
        _ if is_binary(from) => {
            let parse = parse::parser(to)?;
            Box::new(move |value| match bytes::to_text(value)? {
                Value::Str(text) => parse(&text),
                other => Err(mismatch(&other, from)),
            })
        }
        _ => return None,
    };
    Some(convert)
}
