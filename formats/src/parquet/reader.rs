//! Rows of an open Parquet file, row group by row group.
//!
//! Reads only the pages that the asked rows need. A table ends early when its values grow beyond
//! [`limits::TABLE_BYTES_MAX`]; the next one goes on in the same row group.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use super::column::{PageFailure, RowGroup};
use super::footer::{Footer, parquet_error};
use crate::batch_rows::{OpenBatch, Rows};
use crate::error::{ErrorClass, FormatError};
use crate::features::type_text::schema_text;
use crate::panics::caught;
use crate::table::{Table, TableReader};
use crate::value::Value;
use ::parquet::arrow::FieldLevels;
use ::parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use arrow_schema::{ArrowError, FieldRef};

/// Values decoded at once, by the sizes that the footer states.
const BATCH_BYTES: u64 = 8 * 1024 * 1024;

/// One open file.
pub(super) struct ParquetReader {
    footer: Footer,
    levels: FieldLevels,
    fields: Vec<FieldRef>,
    /// Whether batches are as long as the first row group, which then must not be empty.
    batch_is_first_group: bool,
    next_group: usize,
    open: Option<OpenGroup>,
}

/// A row group whose rows are not all handed out.
struct OpenGroup {
    /// Starts at the first asked row; `None` when the group is only counted.
    batches: Option<ParquetRecordBatchReader>,
    batch: Option<OpenBatch>,
    rows_left: usize,
    failure: PageFailure,
}

impl ParquetReader {
    /// `columns` restricts the file's columns to these, in the file's order.
    pub(super) fn new(
        footer: Footer,
        columns: Option<&[String]>,
        batch_is_first_group: bool,
    ) -> Result<Self, FormatError> {
        let indices = selected(&footer, columns)?;
        let levels = footer.levels(&indices)?;
        let fields = indices.iter().map(|index| Arc::clone(&footer.fields[*index])).collect();
        Ok(Self { footer, levels, fields, batch_is_first_group, next_group: 0, open: None })
    }

    fn open_next_group(&mut self) -> Result<Option<OpenGroup>, FormatError> {
        while self.next_group < self.footer.metadata.num_row_groups() {
            let index = self.next_group;
            self.next_group += 1;
            let rows = usize::try_from(self.footer.metadata.row_group(index).num_rows()).unwrap_or(0);
            if rows > 0 {
                return Ok(Some(OpenGroup {
                    batches: None,
                    batch: None,
                    rows_left: rows,
                    failure: PageFailure::default(),
                }));
            }
            if index == 0 && self.batch_is_first_group {
                return Err(FormatError::new(
                    ErrorClass::ArrowInvalid,
                    "BatchSize must be greater than 0, got 0",
                ));
            }
        }
        Ok(None)
    }

    fn batches(
        &self,
        row_limit: usize,
        failure: &PageFailure,
    ) -> Result<ParquetRecordBatchReader, FormatError> {
        let index = self.next_group - 1;
        let group = self.footer.metadata.row_group(index);
        let bytes_per_row =
            group.total_byte_size().max(0).unsigned_abs() / group.num_rows().max(1).unsigned_abs();
        let batch_rows = (BATCH_BYTES / bytes_per_row.max(1)).clamp(1, row_limit as u64) as usize;
        let group = RowGroup {
            metadata: Arc::clone(&self.footer.metadata),
            index,
            windows: Arc::clone(&self.footer.windows),
            held_bytes: Arc::default(),
            failure: Arc::clone(failure),
        };
        caught(|| {
            ParquetRecordBatchReader::try_new_with_row_groups(&self.levels, &group, batch_rows, None)
                .map_err(parquet_error)
        })
    }

    /// Up to `row_limit` rows of the open group.
    fn read_rows(&self, group: &mut OpenGroup, row_limit: usize) -> Result<Vec<Vec<Value>>, FormatError> {
        let wanted = row_limit.min(group.rows_left);
        if self.fields.is_empty() {
            return Ok(vec![Vec::new(); wanted]);
        }
        let mut rows = Rows::new(wanted);
        while !rows.is_full() {
            let mut batch = match group.batch.take() {
                Some(batch) => batch,
                None => self.next_batch(group, wanted)?,
            };
            batch.move_rows(&mut rows)?;
            group.batch = (batch.rows_left() > 0).then_some(batch);
        }
        Ok(rows.rows)
    }

    fn next_batch(&self, group: &mut OpenGroup, row_limit: usize) -> Result<OpenBatch, FormatError> {
        if group.batches.is_none() {
            let batches = self.batches(row_limit, &group.failure);
            group.batches = Some(batches.map_err(|error| first_failure(&group.failure, error))?);
        }
        let batches = group.batches.as_mut();
        let next = caught(|| batches.and_then(Iterator::next).transpose().map_err(arrow_error));
        match next.map_err(|error| first_failure(&group.failure, error))? {
            Some(batch) => Ok(OpenBatch::new(batch)),
            None => Err(FormatError::new(
                ErrorClass::OSError,
                "A row group of this Parquet file holds fewer rows than its footer says.",
            )),
        }
    }
}

impl TableReader for ParquetReader {
    fn next_table(&mut self, row_limit: usize) -> Result<Option<Table>, FormatError> {
        let mut group = match self.open.take() {
            Some(group) => group,
            None => match self.open_next_group()? {
                Some(group) => group,
                None => return Ok(None),
            },
        };
        check_names(&self.fields)?;
        let rows = self.read_rows(&mut group, row_limit)?;
        let is_cut_by_size = rows.len() < row_limit.min(group.rows_left);
        let row_count = if is_cut_by_size { rows.len() } else { group.rows_left };
        if is_cut_by_size {
            group.rows_left -= rows.len();
            self.open = Some(group);
        }
        Ok(Some(Table { fields: self.fields.clone(), rows, row_count }))
    }
}

/// The indices of the columns to read, in the file's order.
fn selected(footer: &Footer, columns: Option<&[String]>) -> Result<Vec<usize>, FormatError> {
    let fields = &footer.fields;
    let Some(columns) = columns else { return Ok((0..fields.len()).collect()) };
    for column in columns {
        if !fields.iter().any(|field| field.name() == column) {
            return Err(FormatError::new(
                ErrorClass::ArrowInvalid,
                format!("No match for FieldRef.Name({column}) in {}", scanned_schema(fields)),
            ));
        }
    }
    Ok((0..fields.len()).filter(|index| columns.iter().any(|name| name == fields[*index].name())).collect())
}

fn check_names(fields: &[FieldRef]) -> Result<(), FormatError> {
    let mut seen = HashSet::new();
    match fields.iter().find(|field| !seen.insert(field.name())) {
        None => Ok(()),
        Some(field) => Err(FormatError::new(
            ErrorClass::ArrowInvalid,
            format!("Multiple matches for FieldRef.Name({}) in {}", field.name(), scanned_schema(fields)),
        )),
    }
}

/// The columns as a dataset scan names them in its errors.
fn scanned_schema(fields: &[FieldRef]) -> String {
    schema_text(fields)
        + "
__fragment_index: int32\n__batch_index: int32\n__last_in_fragment: bool\n__filename: string"
}

/// What made a page fail, where one did.
fn first_failure(failure: &PageFailure, error: FormatError) -> FormatError {
    failure.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(error)
}

fn arrow_error(error: ArrowError) -> FormatError {
    match error {
        ArrowError::ExternalError(inner) => match inner.downcast::<::parquet::errors::ParquetError>() {
            Ok(inner) => parquet_error(*inner),
            Err(inner) => match inner.downcast::<FormatError>() {
                Ok(inner) => *inner,
                Err(inner) => FormatError::new(ErrorClass::OSError, inner.to_string()),
            },
        },
        ArrowError::ParquetError(what) => FormatError::new(ErrorClass::OSError, what),
        other => FormatError::new(ErrorClass::ArrowInvalid, other.to_string()),
    }
}
