//! Record batches to rows of values, shared by the columnar readers.
//!
//! Counts the bytes of what it makes: a table ends at [`limits::TABLE_BYTES_MAX`], and the batch goes on in the next one.

use arrow_array::RecordBatch;
use outpost_model::limits;

use crate::arrow_values::array_value;
use crate::error::FormatError;
use crate::value::Value;

/// Rows of a table in the making.
pub(crate) struct Rows {
    pub(crate) rows: Vec<Vec<Value>>,
    wanted: usize,
    bytes: usize,
}

impl Rows {
    pub(crate) fn new(wanted: usize) -> Self {
        Self { rows: Vec::new(), wanted, bytes: 0 }
    }

    /// Whether no further row is asked for or fits.
    pub(crate) fn is_full(&self) -> bool {
        self.rows.len() >= self.wanted || self.bytes >= limits::TABLE_BYTES_MAX
    }
}

/// A batch of which some rows are handed out.
pub(crate) struct OpenBatch {
    batch: RecordBatch,
    next: usize,
}

impl OpenBatch {
    pub(crate) fn new(batch: RecordBatch) -> Self {
        Self { batch, next: 0 }
    }

    pub(crate) fn rows_left(&self) -> usize {
        self.batch.num_rows() - self.next
    }

    /// Moves rows until there are enough or none are left.
    ///
    /// # Errors
    /// [`FormatError`] for a column type that has no values, or a cell beyond the limits.
    pub(crate) fn move_rows(&mut self, rows: &mut Rows) -> Result<(), FormatError> {
        while !rows.is_full() && self.rows_left() > 0 {
            let columns = self.batch.columns().iter();
            let values: Vec<Value> =
                columns.map(|column| array_value(column.as_ref(), self.next)).collect::<Result<_, _>>()?;
            rows.bytes += values.iter().map(Value::held_bytes).sum::<usize>();
            rows.rows.push(values);
            self.next += 1;
        }
        Ok(())
    }
}
