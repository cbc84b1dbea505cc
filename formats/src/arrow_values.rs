//! Arrow arrays to values: one cell of any array as a [`Value`].
//!
//! Owns the mapping from physical Arrow types to values, as `pyarrow` hands them to Python: dictionaries and
//! run-end-encoded arrays are decoded, float16 and float32 are widened exactly, decimals become Python's text.
//! Refuses unions and intervals (`ArrowNotImplementedError`) and nesting beyond [`limits::NESTING_DEPTH_MAX`].

use std::cell::Cell;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowDictionaryKeyType, ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type,
    Decimal128Type, Decimal256Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
    DurationSecondType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    RunEndIndexType, Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, StructArray};
use arrow_schema::{DataType, Fields, TimeUnit};
use outpost_model::limits;

use crate::error::{ErrorClass, FormatError};
use crate::value::Value;

const MS_PER_DAY: i64 = 86_400_000;

/// The value at `row` of an array of any type.
///
/// # Errors
/// `ArrowNotImplementedError` for types that have no value (unions, intervals), `ArrowInvalid` for a row or a
/// dictionary key outside of the array, `LimitExceeded` for nesting that is too deep.
pub fn array_value(array: &dyn Array, row: usize) -> Result<Value, FormatError> {
    nested_value(array, row, Walk { depth: 0, left: &Cell::new(limits::CELL_VALUES_MAX) })
}

/// Where in a cell a value is: how deep, and how many more values the cell may have. Lists of nulls take no bytes in a
/// file, and list views may show the same items many times.
#[derive(Clone, Copy)]
struct Walk<'a> {
    depth: usize,
    left: &'a Cell<usize>,
}

impl Walk<'_> {
    fn deeper(self, levels: usize) -> Self {
        Self { depth: self.depth + levels, ..self }
    }

    fn take(self, count: usize) -> Result<(), FormatError> {
        let left = self.left.get().checked_sub(count).ok_or_else(|| {
            let message =
                format!("A cell has more than {} values; write shorter lists.", limits::CELL_VALUES_MAX);
            FormatError::new(ErrorClass::LimitExceeded, message)
        })?;
        self.left.set(left);
        Ok(())
    }
}

fn nested_value(array: &dyn Array, row: usize, walk: Walk<'_>) -> Result<Value, FormatError> {
    if walk.depth > limits::NESTING_DEPTH_MAX {
        let message = format!("Arrow values nested more than {} levels deep", limits::NESTING_DEPTH_MAX);
        return Err(FormatError::new(ErrorClass::LimitExceeded, message));
    }
    if row >= array.len() {
        let message = format!("Index {row} out of bounds of an array of length {}", array.len());
        return Err(FormatError::new(ErrorClass::ArrowInvalid, message));
    }
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    if let Some(value) = scalar_value(array, row) {
        return Ok(value);
    }
    container_value(array, row, walk)
}

fn primitive<T: ArrowPrimitiveType>(array: &dyn Array, row: usize) -> T::Native {
    array.as_primitive::<T>().value(row)
}

/// The value of a number, text, bytes or date; `None` for every other type. `row` is within the array.
fn scalar_value(array: &dyn Array, row: usize) -> Option<Value> {
    Some(match array.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::Int8 => Value::Int(primitive::<Int8Type>(array, row).into()),
        DataType::Int16 => Value::Int(primitive::<Int16Type>(array, row).into()),
        DataType::Int32 => Value::Int(primitive::<Int32Type>(array, row).into()),
        DataType::Int64 => Value::Int(primitive::<Int64Type>(array, row)),
        DataType::UInt8 => Value::UInt(primitive::<UInt8Type>(array, row).into()),
        DataType::UInt16 => Value::UInt(primitive::<UInt16Type>(array, row).into()),
        DataType::UInt32 => Value::UInt(primitive::<UInt32Type>(array, row).into()),
        DataType::UInt64 => Value::UInt(primitive::<UInt64Type>(array, row)),
        DataType::Float16 => Value::Float(primitive::<Float16Type>(array, row).to_f64()),
        DataType::Float32 => Value::Float(primitive::<Float32Type>(array, row).into()),
        DataType::Float64 => Value::Float(primitive::<Float64Type>(array, row)),
        DataType::Utf8 => Value::str(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Value::str(array.as_string::<i64>().value(row)),
        DataType::Utf8View => Value::str(array.as_string_view().value(row)),
        DataType::Binary => Value::Bytes(array.as_binary::<i32>().value(row).into()),
        DataType::LargeBinary => Value::Bytes(array.as_binary::<i64>().value(row).into()),
        DataType::BinaryView => Value::Bytes(array.as_binary_view().value(row).into()),
        DataType::FixedSizeBinary(_) => Value::Bytes(array.as_fixed_size_binary().value(row).into()),
        DataType::Decimal32(_, scale) => {
            decimal(&primitive::<Decimal32Type>(array, row).to_string(), i32::from(*scale))
        }
        DataType::Decimal64(_, scale) => {
            decimal(&primitive::<Decimal64Type>(array, row).to_string(), i32::from(*scale))
        }
        DataType::Decimal128(_, scale) => {
            decimal(&primitive::<Decimal128Type>(array, row).to_string(), i32::from(*scale))
        }
        DataType::Decimal256(_, scale) => {
            decimal(&primitive::<Decimal256Type>(array, row).to_string(), i32::from(*scale))
        }
        _ => return temporal_value(array, row),
    })
}

fn temporal_value(array: &dyn Array, row: usize) -> Option<Value> {
    Some(match array.data_type() {
        DataType::Date32 => Value::Date(primitive::<Date32Type>(array, row)),
        DataType::Date64 => {
            let days = primitive::<Date64Type>(array, row).div_euclid(MS_PER_DAY);
            Value::Date(i32::try_from(days).unwrap_or(if days < 0 { i32::MIN } else { i32::MAX }))
        }
        DataType::Time32(unit) => Value::Time(
            match unit {
                TimeUnit::Second => primitive::<Time32SecondType>(array, row).into(),
                _ => primitive::<Time32MillisecondType>(array, row).into(),
            },
            *unit,
        ),
        DataType::Time64(unit) => Value::Time(
            match unit {
                TimeUnit::Microsecond => primitive::<Time64MicrosecondType>(array, row),
                _ => primitive::<Time64NanosecondType>(array, row),
            },
            *unit,
        ),
        DataType::Timestamp(unit, zone) => {
            let count = match unit {
                TimeUnit::Second => primitive::<TimestampSecondType>(array, row),
                TimeUnit::Millisecond => primitive::<TimestampMillisecondType>(array, row),
                TimeUnit::Microsecond => primitive::<TimestampMicrosecondType>(array, row),
                TimeUnit::Nanosecond => primitive::<TimestampNanosecondType>(array, row),
            };
            Value::Timestamp(count, *unit, zone.clone())
        }
        DataType::Duration(unit) => {
            let count = match unit {
                TimeUnit::Second => primitive::<DurationSecondType>(array, row),
                TimeUnit::Millisecond => primitive::<DurationMillisecondType>(array, row),
                TimeUnit::Microsecond => primitive::<DurationMicrosecondType>(array, row),
                TimeUnit::Nanosecond => primitive::<DurationNanosecondType>(array, row),
            };
            Value::Duration(count, *unit)
        }
        _ => return None,
    })
}

fn container_value(array: &dyn Array, row: usize, walk: Walk<'_>) -> Result<Value, FormatError> {
    match array.data_type() {
        DataType::List(_) => list(&array.as_list::<i32>().value(row), walk),
        DataType::LargeList(_) => list(&array.as_list::<i64>().value(row), walk),
        DataType::FixedSizeList(..) => list(&array.as_fixed_size_list().value(row), walk),
        DataType::ListView(_) => list(&array.as_list_view::<i32>().value(row), walk),
        DataType::LargeListView(_) => list(&array.as_list_view::<i64>().value(row), walk),
        DataType::Struct(fields) => members(array.as_struct(), fields, row, walk),
        DataType::Map(..) => entries(&array.as_map().value(row), walk),
        DataType::Dictionary(key_type, _) => match &**key_type {
            DataType::Int8 => dictionary::<Int8Type>(array, row, walk),
            DataType::Int16 => dictionary::<Int16Type>(array, row, walk),
            DataType::Int32 => dictionary::<Int32Type>(array, row, walk),
            DataType::Int64 => dictionary::<Int64Type>(array, row, walk),
            DataType::UInt8 => dictionary::<UInt8Type>(array, row, walk),
            DataType::UInt16 => dictionary::<UInt16Type>(array, row, walk),
            DataType::UInt32 => dictionary::<UInt32Type>(array, row, walk),
            DataType::UInt64 => dictionary::<UInt64Type>(array, row, walk),
            _ => Err(not_implemented(array.data_type())),
        },
        DataType::RunEndEncoded(ends, _) => match ends.data_type() {
            DataType::Int16 => run::<Int16Type>(array, row, walk),
            DataType::Int32 => run::<Int32Type>(array, row, walk),
            DataType::Int64 => run::<Int64Type>(array, row, walk),
            _ => Err(not_implemented(array.data_type())),
        },
        other => Err(not_implemented(other)),
    }
}

fn not_implemented(data_type: &DataType) -> FormatError {
    let message = format!("values of Arrow type {data_type} cannot be read");
    FormatError::new(ErrorClass::ArrowNotImplementedError, message)
}

fn list(items: &ArrayRef, walk: Walk<'_>) -> Result<Value, FormatError> {
    walk.take(items.len())?;
    let values =
        (0..items.len()).map(|index| nested_value(items, index, walk.deeper(1))).collect::<Result<_, _>>()?;
    Ok(Value::List(values))
}

fn members(array: &StructArray, fields: &Fields, row: usize, walk: Walk<'_>) -> Result<Value, FormatError> {
    walk.take(fields.len())?;
    let mut members = Vec::with_capacity(fields.len());
    for (field, column) in fields.iter().zip(array.columns()) {
        members.push((Arc::from(field.name().as_str()), nested_value(column, row, walk.deeper(1))?));
    }
    Ok(Value::Struct(members))
}

/// A map cell as a list of `[key, value]` pairs, the form in which its JSON is written.
fn entries(entries: &StructArray, walk: Walk<'_>) -> Result<Value, FormatError> {
    walk.take(entries.len())?;
    let mut pairs = Vec::with_capacity(entries.len());
    for row in 0..entries.len() {
        let pair = entries
            .columns()
            .iter()
            .map(|column| nested_value(column, row, walk.deeper(2)))
            .collect::<Result<Vec<_>, _>>()?;
        pairs.push(Value::List(pair));
    }
    Ok(Value::List(pairs))
}

fn dictionary<K: ArrowDictionaryKeyType>(
    array: &dyn Array,
    row: usize,
    walk: Walk<'_>,
) -> Result<Value, FormatError> {
    let array = array.as_dictionary::<K>();
    match array.key(row) {
        Some(key) => nested_value(array.values(), key, walk.deeper(1)),
        None => Ok(Value::Null),
    }
}

fn run<R: RunEndIndexType>(array: &dyn Array, row: usize, walk: Walk<'_>) -> Result<Value, FormatError> {
    let array = array.as_run::<R>();
    nested_value(array.values(), array.get_physical_index(row), walk.deeper(1))
}

fn decimal(unscaled: &str, scale: i32) -> Value {
    Value::Decimal(decimal_text(unscaled, scale).into())
}

/// Text of the decimal `unscaled` × 10^-`scale` as Python's `str(Decimal)` prints it: plain digits, or an exponent
/// (`1E-7`, `1E+3`) when the exponent is positive or the number is below 10^-6.
#[must_use]
pub fn decimal_text(unscaled: &str, scale: i32) -> String {
    let (sign, digits) = match unscaled.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", unscaled),
    };
    let digit_count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let left_digits = digit_count - scale;
    let point = if scale >= 0 && left_digits > -6 { left_digits } else { 1 };
    let mut text = String::with_capacity(digits.len() + 8);
    text.push_str(sign);
    if point <= 0 {
        text.push_str("0.");
        text.extend(std::iter::repeat_n('0', point.unsigned_abs() as usize));
        text.push_str(digits);
    } else {
        let (whole, fraction) = digits.split_at((point.unsigned_abs() as usize).min(digits.len()));
        text.push_str(whole);
        if !fraction.is_empty() {
            text.push('.');
            text.push_str(fraction);
        }
    }
    if left_digits != point {
        text.push_str(&format!("E{:+}", left_digits - point));
    }
    text
}

#[cfg(test)]
mod tests;
