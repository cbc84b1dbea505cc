//! Dtype strings: the spelling of scalar Arrow types in features.
//!
//! Owns both directions (dataset-loading.md sections 4.2 and 4.3): `timestamp[us, tz=UTC]` to the Arrow type and
//! back. Fails with `ValueError` for what is not a dtype, and with `TypeError` for names of types that need
//! arguments (`list`, `struct`), because README fields treat the two differently.

use arrow_schema::{DataType, IntervalUnit, TimeUnit};

use super::type_text::{arrow_type_text, time_unit_text};
use crate::error::{ErrorClass, FormatError};

const DOCS: &str = "https://arrow.apache.org/docs/python/generated/pyarrow";

/// Names of `pyarrow` factories that do not work without arguments.
const FACTORIES_WITH_ARGUMENTS: &[(&str, &str)] = &[
    ("list", "list_() takes at least 1 positional argument (0 given)"),
    ("list_", "list_() takes at least 1 positional argument (0 given)"),
    ("struct", "struct() takes exactly 1 positional argument (0 given)"),
    ("large_list", "large_list() takes exactly one argument (0 given)"),
    ("list_view", "list_view() takes exactly one argument (0 given)"),
    ("large_list_view", "large_list_view() takes exactly one argument (0 given)"),
    ("map", "map_() takes at least 2 positional arguments (0 given)"),
    ("map_", "map_() takes at least 2 positional arguments (0 given)"),
    ("dictionary", "dictionary() takes at least 2 positional arguments (0 given)"),
    ("timestamp", "timestamp() takes at least 1 positional argument (0 given)"),
    ("duration", "duration() takes exactly one argument (0 given)"),
    ("time32", "time32() takes exactly one argument (0 given)"),
    ("time64", "time64() takes exactly one argument (0 given)"),
    ("decimal128", "decimal128() takes at least 1 positional argument (0 given)"),
    ("decimal256", "decimal256() takes at least 1 positional argument (0 given)"),
];

/// The Arrow type of a dtype string.
///
/// # Errors
/// `ValueError` when it is not a dtype, `TypeError` when it names a type that needs arguments.
pub fn string_to_arrow(dtype: &str) -> Result<DataType, FormatError> {
    if dtype == "json" {
        return Err(value_error("'json' is not a valid dtype, use the Json() feature instead"));
    }
    if let Some(data_type) = plain_type(dtype.strip_suffix('_').unwrap_or(dtype), dtype) {
        return Ok(data_type);
    }
    if let Some((_, message)) = FACTORIES_WITH_ARGUMENTS.iter().find(|(name, _)| *name == dtype) {
        return Err(FormatError::new(ErrorClass::TypeError, *message));
    }
    if let Some(inner) = between(dtype, "timestamp[", ']') {
        return timestamp(dtype, inner);
    }
    if let Some(inner) = between(dtype, "duration[", ']') {
        return time_unit(inner).map(DataType::Duration).ok_or_else(|| {
            let example = "duration[s] or duration[us]";
            value_error(&format!("{}\nValid examples include: {example}.", malformed(dtype, "duration")))
        });
    }
    if let Some((bits, unit)) = between(dtype, "time", ']').and_then(|inner| inner.split_once('[')) {
        return time(dtype, bits, unit);
    }
    if let Some((bits, inner)) = between(dtype, "decimal", ')').and_then(|inner| inner.split_once('(')) {
        return decimal(dtype, bits, inner);
    }
    let width = between(dtype, "fixed_size_binary[", ']').filter(|width| is_digits(width));
    if let Some(width) = width.and_then(|width| width.parse().ok()) {
        return Ok(DataType::FixedSizeBinary(width));
    }
    Err(value_error(&format!(
        "Neither {dtype} nor {dtype}_ seems to be a pyarrow data type. Please make sure to use a correct data type, see: https://arrow.apache.org/docs/python/api/datatypes.html#factory-functions"
    )))
}

/// Types without arguments. Only `bool_` exists with a trailing underscore among them.
fn plain_type(name: &str, dtype: &str) -> Option<DataType> {
    if name.len() != dtype.len() && dtype != "bool_" {
        return None;
    }
    Some(match name {
        "null" => DataType::Null,
        "bool" => DataType::Boolean,
        "int8" => DataType::Int8,
        "int16" => DataType::Int16,
        "int32" => DataType::Int32,
        "int64" => DataType::Int64,
        "uint8" => DataType::UInt8,
        "uint16" => DataType::UInt16,
        "uint32" => DataType::UInt32,
        "uint64" => DataType::UInt64,
        "float16" => DataType::Float16,
        "float32" => DataType::Float32,
        "float64" => DataType::Float64,
        "date32" => DataType::Date32,
        "date64" => DataType::Date64,
        "binary" => DataType::Binary,
        "large_binary" => DataType::LargeBinary,
        "binary_view" => DataType::BinaryView,
        "string" | "utf8" => DataType::Utf8,
        "large_string" | "large_utf8" => DataType::LargeUtf8,
        "string_view" => DataType::Utf8View,
        "month_day_nano_interval" => DataType::Interval(IntervalUnit::MonthDayNano),
        _ => return None,
    })
}

/// The dtype string of a scalar Arrow type; a dictionary has that of its values.
///
/// # Errors
/// `ValueError` for types without one.
pub fn arrow_to_string(data_type: &DataType) -> Result<String, FormatError> {
    Ok(match data_type {
        DataType::Float16 => "float16".into(),
        DataType::Float32 => "float32".into(),
        DataType::Float64 => "float64".into(),
        DataType::Date32 => "date32".into(),
        DataType::Date64 => "date64".into(),
        DataType::Timestamp(unit, Some(zone)) => format!("timestamp[{}, tz={zone}]", time_unit_text(*unit)),
        DataType::Dictionary(_, values) => return arrow_to_string(values),
        DataType::Null
        | DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Timestamp(_, None)
        | DataType::Duration(_)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..)
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_)
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View => arrow_type_text(data_type),
        other => return Err(no_equivalent(&arrow_type_text(other))),
    })
}

/// The error for an Arrow type, given by its text, that no feature stands for.
#[must_use]
pub(super) fn no_equivalent(type_text: &str) -> FormatError {
    value_error(&format!("Arrow type {type_text} does not have a datasets dtype equivalent."))
}

fn value_error(message: &str) -> FormatError {
    FormatError::new(ErrorClass::ValueError, message)
}

fn malformed(dtype: &str, pyarrow_type: &str) -> String {
    format!("{dtype} is not a validly formatted string representation of the pyarrow {pyarrow_type} type.")
}

fn between<'a>(dtype: &'a str, start: &str, end: char) -> Option<&'a str> {
    dtype.strip_prefix(start)?.strip_suffix(end)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn time_unit(text: &str) -> Option<TimeUnit> {
    Some(match text {
        "s" => TimeUnit::Second,
        "ms" => TimeUnit::Millisecond,
        "us" => TimeUnit::Microsecond,
        "ns" => TimeUnit::Nanosecond,
        _ => return None,
    })
}

fn timestamp(dtype: &str, inner: &str) -> Result<DataType, FormatError> {
    if let Some(unit) = time_unit(inner) {
        return Ok(DataType::Timestamp(unit, None));
    }
    let is_zone_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+-:".contains(&byte);
    let parts = inner.split_once(',').and_then(|(unit, rest)| {
        let zone = rest.trim_start().strip_prefix("tz=")?;
        Some((time_unit(unit)?, zone)).filter(|_| zone.bytes().all(is_zone_byte))
    });
    match parts {
        Some((unit, "")) => Ok(DataType::Timestamp(unit, None)),
        Some((unit, zone)) => Ok(DataType::Timestamp(unit, Some(zone.into()))),
        None => Err(value_error(&format!(
            "{}\nValid examples include: timestamp[us] or timestamp[us, tz=America/New_York.\nFor more insformation, see: {DOCS}.timestamp.html.",
            malformed(dtype, "timestamp")
        ))),
    }
}

fn time(dtype: &str, bits: &str, unit: &str) -> Result<DataType, FormatError> {
    let unsupported = |supported: &str| {
        value_error(&format!(
            "{unit} is not a valid unit for the pyarrow time{bits} type. Supported units: {supported}."
        ))
    };
    match (bits, time_unit(unit)) {
        ("32", Some(unit @ (TimeUnit::Second | TimeUnit::Millisecond))) => Ok(DataType::Time32(unit)),
        ("64", Some(unit @ (TimeUnit::Microsecond | TimeUnit::Nanosecond))) => Ok(DataType::Time64(unit)),
        ("32", _) => Err(unsupported("s (second) and ms (millisecond)")),
        ("64", _) => Err(unsupported("us (microsecond) and ns (nanosecond)")),
        _ => Err(value_error(&format!(
            "{}\nValid examples include: time32[s] or time64[us].\nFor more insformation, see: {DOCS}.time32.html and {DOCS}.time64.html.",
            malformed(dtype, "time")
        ))),
    }
}

fn decimal(dtype: &str, bits: &str, inner: &str) -> Result<DataType, FormatError> {
    let examples = match bits {
        "128" => "decimal128(10, 2) or decimal128(4, -2)",
        "256" => "decimal256(30, 2) or decimal256(38, -4)",
        _ => {
            return Err(value_error(&format!(
                "{}\nValid examples include: decimal128(12, 3) or decimal256(40, 6).\nFor more insformation, see: {DOCS}.decimal128.html and {DOCS}.decimal256.html.",
                malformed(dtype, "decimal")
            )));
        }
    };
    let numbers = inner.split_once(',').filter(|(precision, scale)| {
        let scale = scale.trim_start();
        is_digits(precision) && is_digits(scale.strip_prefix('-').unwrap_or(scale))
    });
    let Some((precision, scale)) = numbers else {
        return Err(value_error(&format!(
            "{}\nValid examples include: {examples}.\nFor more insformation, see: {DOCS}.decimal{bits}.html.",
            malformed(dtype, &format!("decimal{bits}"))
        )));
    };
    let precision_max = if bits == "128" { 38 } else { 76 };
    let precision = precision.parse().ok().filter(|precision| (1..=precision_max).contains(precision));
    let precision = precision
        .ok_or_else(|| value_error(&format!("precision should be between 1 and {precision_max}")))?;
    let scale = scale.trim_start().parse();
    let scale =
        scale.map_err(|_| value_error(&format!("the scale of {dtype} should be between -128 and 127")))?;
    Ok(if bits == "128" {
        DataType::Decimal128(precision, scale)
    } else {
        DataType::Decimal256(precision, scale)
    })
}
