//! Tables: what a reader yields, one per chunk, row group or record batch.
//!
//! A table's schema covers the whole chunk (types are inferred from all of it) while only the rows that the caller
//! asked for are materialised as values. Nothing here fails.

use arrow_schema::FieldRef;

use crate::error::FormatError;
use crate::value::Value;

/// A chunk of a file: its physical schema and the first rows of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Columns with their physical Arrow types. Extension types (`arrow.json`, `Array2D` ...) are marked in the
    /// field's metadata under `ARROW:extension:name` and `ARROW:extension:metadata`.
    pub fields: Vec<FieldRef>,
    /// Materialised rows, each with one value per field. Where they are fewer than asked for and than `row_count`, the
    /// rest was too large to be held, and whoever gathers first rows ends with them.
    pub rows: Vec<Vec<Value>>,
    /// Rows that the chunk holds in the file; at least `rows.len()`.
    pub row_count: usize,
}

impl Table {
    /// Whether rows that were asked for are left out, as the table holds too much already.
    #[must_use]
    pub fn is_cut(&self, row_limit: usize) -> bool {
        self.rows.len() < self.row_count.min(row_limit)
    }
}

/// One open file of a split.
pub trait TableReader: Send {
    /// The next chunk with at most `row_limit` rows materialised, `None` at the end of the file.
    ///
    /// # Errors
    /// [`FormatError`] when the bytes cannot be had or break the format.
    fn next_table(&mut self, row_limit: usize) -> Result<Option<Table>, FormatError>;
}
