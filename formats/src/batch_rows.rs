//! Record batches to rows of values, shared by the columnar readers.
//!
//! Counts the bytes of what it makes, so that a reader can end its table before memory runs out.

use arrow_array::RecordBatch;

use crate::arrow_values::array_value;
use crate::error::FormatError;
use crate::value::Value;

/// Appends the first `count` rows of a batch; returns about how many bytes they take.
///
/// # Errors
/// [`FormatError`] for a column type that has no values.
pub(crate) fn append_rows(
    batch: &RecordBatch,
    count: usize,
    rows: &mut Vec<Vec<Value>>,
) -> Result<usize, FormatError> {
    let mut bytes = 0;
    for row in 0..count.min(batch.num_rows()) {
        let values: Vec<Value> = batch
            .columns()
            .iter()
            .map(|column| array_value(column.as_ref(), row))
            .collect::<Result<_, _>>()?;
        bytes += values.iter().map(value_bytes).sum::<usize>();
        rows.push(values);
    }
    Ok(bytes)
}

fn value_bytes(value: &Value) -> usize {
    let inside = match value {
        Value::Str(text) | Value::Decimal(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.iter().map(value_bytes).sum(),
        Value::Struct(members) => members.iter().map(|(_, member)| value_bytes(member)).sum(),
        _ => 0,
    };
    size_of::<Value>() + inside
}
