//! One open csv file: chunks of rows as tables.
//!
//! Owns the walk over blocks, header and rows. In memory are one block, one row and the rows that the caller asked for, up to
//! [`limits::TABLE_BYTES_MAX`]; column types are found while rows stream by.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::Field;
use outpost_model::limits;

use super::columns::{self, Layout};
use super::dialect::Row;
use super::dtype::{ColumnReader, Finished, Wanted};
use super::options::Options;
use super::tokenizer::Tokenizer;
use crate::encoding::Decoder;
use crate::error::{ErrorClass, FormatError};
use crate::features::{Feature, Features};
use crate::memory;
use crate::table::{Table, TableReader};
use crate::value::Value;

/// Rows of a file, read one by one.
struct Rows {
    decoder: Decoder,
    tokenizer: Tokenizer,
    block: Vec<u8>,
    position: usize,
    at_start: bool,
    ended: bool,
}

impl Rows {
    /// Moves to the next row; false at the end of the file.
    fn advance(&mut self) -> Result<bool, FormatError> {
        loop {
            if self.tokenizer.next_row(&self.block, &mut self.position)? {
                return Ok(true);
            }
            if self.ended {
                return Ok(false);
            }
            self.block.clear();
            self.position = 0;
            if !self.decoder.next_block(&mut self.block)? {
                self.ended = true;
                return self.tokenizer.finish();
            }
            if std::mem::replace(&mut self.at_start, false) && self.block.starts_with(b"\xef\xbb\xbf") {
                self.position = 3;
            }
            self.tokenizer.note_block(&self.block);
        }
    }

    fn row(&self) -> &Row {
        self.tokenizer.row()
    }
}

/// A file whose columns are known.
struct Open {
    layout: Layout,
    columns: Vec<ColumnReader>,
    /// Whether the current row is the first of the next chunk.
    row_waits: bool,
    rows_read: u64,
    /// Fields of the widest row so far.
    widest: usize,
}

/// Reads a csv file chunk by chunk.
pub(super) struct CsvReader {
    options: Options,
    features: Option<Features>,
    rows: Rows,
    open: Option<Open>,
    done: bool,
}

/// Cells of the rows to materialise, as one buffer.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    rows: usize,
}

impl Kept {
    fn push(&mut self, row: &Row, layout: &Layout) -> Result<(), FormatError> {
        for column in &layout.columns {
            self.bytes.extend_from_slice(row.field(column.field));
            self.ends.push(self.bytes.len());
        }
        self.rows += 1;
        memory::hold(self.held_bytes())
    }

    /// Bytes of the cells as values.
    fn held_bytes(&self) -> usize {
        self.bytes.len() + self.ends.len() * size_of::<Value>()
    }

    fn cell(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }
}

impl CsvReader {
    pub(super) fn new(decoder_input: Decoder, options: Options, features: Option<&Features>) -> Self {
        let header_rows = options.header.map_or(0, |row| row + 1);
        let tokenizer = Tokenizer::new(options.dialect.clone(), header_rows, options.usecols.is_none());
        let rows = Rows {
            decoder: decoder_input,
            tokenizer,
            block: Vec::new(),
            position: 0,
            at_start: true,
            ended: false,
        };
        Self { options, features: features.cloned(), rows, open: None, done: false }
    }

    /// The header row's names, `None` without header.
    fn read_header(&mut self) -> Result<Option<Vec<(String, bool)>>, FormatError> {
        let Some(header) = self.options.header else {
            if let Some(names) = &self.options.names {
                self.rows.tokenizer.expect_fields(names.len());
            }
            return Ok(None);
        };
        for row in 0..=header {
            if self.rows.advance()? {
                continue;
            }
            if row == 0 {
                return if self.options.names.is_some() { Ok(None) } else { Err(empty_file()) };
            }
            let message = format!("Passed header={header} but only {row} lines in file");
            return Err(FormatError::new(ErrorClass::ParserError, message));
        }
        Ok(Some(columns::header_names(self.rows.row())))
    }

    fn open(&mut self) -> Result<Open, FormatError> {
        let header = self.read_header()?;
        let row_waits = self.rows.advance()?;
        let first = if row_waits { self.rows.row().len() } else { 0 };
        let header_width = header.as_ref().map_or(0, Vec::len);
        let width = first.max(header_width);
        if width == 0 && self.options.names.is_none() {
            return Err(empty_file());
        }
        if let (None, Some(names)) = (self.options.header, &self.options.names) {
            self.rows.tokenizer.expect_fields(first.max(names.len()));
        }
        let layout = columns::layout(&self.options, header, width)?;
        let layout = self.select(layout)?;
        let features: HashMap<&str, &Feature> = self
            .features
            .iter()
            .flat_map(|features| features.0.iter().map(|(name, feature)| (&**name, feature)))
            .collect();
        let columns = layout
            .columns
            .iter()
            .map(|column| {
                let name = column.option_name();
                let wanted = name.and_then(|name| features.get(name).copied());
                let missing = Arc::clone(self.options.missing.of_column(name));
                ColumnReader::new(wanted.map(Wanted::of_feature), missing, &self.options.cells)
            })
            .collect();
        Ok(Open { layout, columns, row_waits, rows_read: 0, widest: width })
    }

    /// Keeps the columns of the features, in their order, when those can be had by a plain cast.
    fn select(&self, mut layout: Layout) -> Result<Layout, FormatError> {
        let Some(features) = &self.features else { return Ok(layout) };
        if features.0.iter().any(|(_, feature)| needs_storage_cast(feature)) {
            return Ok(layout);
        }
        let by_name = columns::positions(&layout.columns);
        let mut selected = Vec::with_capacity(features.0.len());
        for (name, _) in &features.0 {
            let Some(column) = by_name.get(&**name).map(|&at| &layout.columns[at]) else {
                let message = format!("'Field \"{name}\" does not exist in schema'");
                return Err(FormatError::new(ErrorClass::KeyError, message));
            };
            selected.push(column.clone());
        }
        layout.columns = selected;
        Ok(layout)
    }

    /// Reads the rows of a chunk; how many there were.
    fn read_chunk(
        &mut self,
        open: &mut Open,
        row_limit: usize,
        kept: &mut Kept,
    ) -> Result<usize, FormatError> {
        let rows_left = self.options.rows_max.saturating_sub(open.rows_read);
        let rows_max = usize::try_from(rows_left).unwrap_or(usize::MAX).min(self.options.chunk_rows);
        let mut count = 0;
        let mut bytes = 0_u64;
        while count < rows_max && bytes < limits::CSV_CHUNK_BYTES_MAX {
            if !std::mem::replace(&mut open.row_waits, false) && !self.rows.advance()? {
                break;
            }
            let row = self.rows.row();
            open.widest = open.widest.max(row.len());
            for (column, reader) in open.layout.columns.iter().zip(&mut open.columns) {
                reader.observe(row.field(column.field), &self.options.cells);
            }
            if count < row_limit && kept.held_bytes() < limits::TABLE_BYTES_MAX {
                kept.push(row, &open.layout)?;
            }
            bytes += row.byte_len() as u64;
            count += 1;
        }
        open.rows_read += count as u64;
        self.rows.tokenizer.end_chunk();
        Ok(count)
    }

    /// pandas refuses more names than a file with a header has columns.
    fn check_names(&self, open: &Open) -> Result<(), FormatError> {
        let Some(names) = self.options.names.as_ref().filter(|_| self.options.header.is_some()) else {
            return Ok(());
        };
        if names.len() + open.layout.surplus <= open.widest {
            return Ok(());
        }
        Err(FormatError::new(
            ErrorClass::ParserError,
            format!("Too many columns specified: expected {} and found {}", names.len(), open.widest),
        ))
    }

    fn table(&self, open: &Open, kept: &Kept, row_count: usize) -> Result<Table, FormatError> {
        let finished = open
            .columns
            .iter()
            .zip(&open.layout.columns)
            .map(|(column, place)| column.finish(place.field))
            .collect::<Result<Vec<Finished>, _>>()?;
        let width = open.columns.len();
        let rows = (0..kept.rows)
            .map(|row| {
                let cell = |index: usize| kept.cell(row * width + index);
                let values = open.columns.iter().zip(&finished).enumerate();
                values
                    .map(|(index, (column, finished))| {
                        column.value(cell(index), finished, &self.options.cells)
                    })
                    .collect::<Vec<Value>>()
            })
            .collect();
        let fields = open
            .layout
            .columns
            .iter()
            .zip(&finished)
            .map(|(column, finished)| Arc::new(Field::new(&column.name, finished.data_type.clone(), true)))
            .collect();
        Ok(Table { fields, rows, row_count })
    }

    fn next_chunk(&mut self, row_limit: usize) -> Result<Option<Table>, FormatError> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.open()?,
        };
        let mut kept = Kept::default();
        let count = self.read_chunk(&mut open, row_limit, &mut kept)?;
        if count == 0 {
            return Ok(None);
        }
        self.check_names(&open)?;
        let table = self.table(&open, &kept, count)?;
        for column in &mut open.columns {
            column.restart(&self.options.cells);
        }
        self.open = Some(open);
        Ok(Some(table))
    }
}

impl TableReader for CsvReader {
    fn next_table(&mut self, row_limit: usize) -> Result<Option<Table>, FormatError> {
        if self.done {
            return Ok(None);
        }
        let table = self.next_chunk(row_limit);
        self.done = !matches!(table, Ok(Some(_)));
        table
    }
}

fn empty_file() -> FormatError {
    FormatError::new(ErrorClass::EmptyDataError, "No columns to parse from file")
}

/// Whether a feature is stored in another form than pandas reads, so that tables are cast column by column by name.
fn needs_storage_cast(feature: &Feature) -> bool {
    match feature {
        Feature::ClassLabel { .. } | Feature::Media(_) | Feature::Json { .. } => true,
        Feature::List { feature, .. } | Feature::LargeList { feature } => needs_storage_cast(feature),
        Feature::Struct(members) => members.0.iter().any(|(_, member)| needs_storage_cast(member)),
        Feature::Value { .. }
        | Feature::Array { .. }
        | Feature::Translation { .. }
        | Feature::TranslationVariableLanguages { .. } => false,
    }
}
