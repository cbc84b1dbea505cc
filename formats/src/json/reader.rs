//! Tables of one JSON file: a table per chunk of lines, or one for a whole document.

use std::io::Read;

use outpost_model::limits;

use super::align::align;
use super::chunks::Chunks;
use super::infer::{Chunk, InferError, Typed, infer};
use super::options::Options;
use super::paths::JsonPaths;
use super::scan::Layout;
use super::shape;
use super::{frame, options};
use crate::error::{ErrorClass, FormatError};
use crate::features::Features;
use crate::memory;
use crate::module::DataFile;
use crate::table::{Table, TableReader};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Arrow reads chunks of up to eight blocks block by block.
const ARROW_BLOCK_BYTES: usize = limits::CHUNK_BYTES / 32;
/// How far an array is looked into for the first object (dataset-loading.md section 1.7, step 2).
const FIRST_OBJECT_BYTES: usize = 100;

/// One open file.
pub(super) struct JsonReader {
    file: DataFile,
    options: Options,
    features: Option<Features>,
    /// `None` once the file is read.
    chunks: Option<Chunks>,
    paths: JsonPaths,
    is_first_chunk: bool,
    /// Whether mixed values are looked for in the first chunk when features are unknown.
    finds_mixed: bool,
}

/// A first look at a file.
pub(super) enum FirstTable {
    /// The file has no bytes.
    Empty,
    /// Only reading the whole file tells.
    NeedsAll,
    Typed(Typed),
}

impl JsonReader {
    pub(super) fn open(
        file: &DataFile,
        options: Options,
        features: Option<&Features>,
    ) -> Result<Self, FormatError> {
        let chunks = Chunks::new(options::open_text(file, &options)?, options.chunk_bytes);
        Ok(Self {
            file: file.clone(),
            options,
            features: features.cloned(),
            chunks: Some(chunks),
            paths: features.map(JsonPaths::of_features).unwrap_or_default(),
            is_first_chunk: true,
            finds_mixed: true,
        })
    }

    /// Leaves mixed values to type changes, as for a file behind an empty one.
    pub(super) fn without_mixed_search(mut self) -> Self {
        self.finds_mixed = false;
        self
    }

    /// The type of the first chunk, unless the whole file is needed to know it.
    pub(super) fn first_table(&mut self) -> Result<FirstTable, FormatError> {
        let Some(chunks) = &mut self.chunks else { return Ok(FirstTable::Empty) };
        if self.options.field.is_some() {
            return Ok(FirstTable::NeedsAll);
        }
        skip_mark(chunks)?;
        if chunks.peek(1)? == b"[" {
            return Ok(FirstTable::NeedsAll);
        }
        let Some(bytes) = chunks.next_chunk()? else { return Ok(FirstTable::Empty) };
        match self.infer(&bytes, Layout::Lines, false, 0) {
            Ok(typed) if is_frame(&typed, &bytes) => Ok(FirstTable::NeedsAll),
            Ok(typed) => Ok(FirstTable::Typed(typed)),
            Err(InferError::Arrow(_)) => Ok(FirstTable::NeedsAll),
            Err(InferError::Final(error)) => Err(error),
        }
    }

    fn infer(
        &mut self,
        bytes: &[u8],
        layout: Layout,
        is_cut: bool,
        row_limit: usize,
    ) -> Result<Typed, InferError> {
        let chunk = Chunk {
            bytes,
            layout,
            is_cut,
            row_limit,
            finds_mixed: self.is_first_chunk
                && self.finds_mixed
                && self.features.is_none()
                && self.options.encodes_mixed,
            encodes_mixed: self.options.encodes_mixed,
        };
        let typed = infer(chunk, &mut self.paths);
        self.is_first_chunk = false;
        typed
    }

    fn table(&self, typed: &Typed, bytes: &[u8]) -> Result<Table, FormatError> {
        let marks_json = self.features.is_none();
        let mut fields: Vec<_> =
            typed.columns.iter().map(|(name, shape)| shape::field(name, shape, marks_json)).collect();
        let mut rows = typed.read_rows(bytes)?;
        if let Some(features) = &self.features {
            align(&mut fields, &mut rows, features);
        }
        if fields.is_empty() {
            // Rows without columns are no rows.
            return Ok(Table { fields, rows: Vec::new(), row_count: 0 });
        }
        Ok(Table { fields, rows, row_count: typed.rows })
    }

    /// The next chunk with its layout, and whether it is cut.
    fn next_chunk(&mut self) -> Result<Option<(Vec<u8>, Layout, bool)>, FormatError> {
        let Some(chunks) = &mut self.chunks else { return Ok(None) };
        if self.is_first_chunk {
            skip_mark(chunks)?;
        }
        if chunks.peek(1)? != b"[" {
            return Ok(chunks.next_chunk()?.map(|bytes| (bytes, Layout::Lines, false)));
        }
        let (bytes, is_cut) = chunks.rest()?;
        let layout = if starts_with_object(&bytes) { Layout::Items } else { Layout::TextItems };
        Ok(Some((bytes, layout, is_cut)))
    }

    /// The file as pandas reads it, after Arrow refused it for `reason`.
    fn table_of_frame(&mut self, reason: FormatError, row_limit: usize) -> Result<Table, FormatError> {
        self.chunks = None;
        let text = self.whole_text()?;
        let columns = self.features.as_ref();
        match frame::read_document(&text, row_limit, columns) {
            Ok(table) => Ok(self.aligned(table)),
            Err(error) if error.class == ErrorClass::ValueError => Err(reason),
            Err(error) => Err(error),
        }
    }

    fn table_of_field(&mut self, field: &str, row_limit: usize) -> Result<Table, FormatError> {
        self.chunks = None;
        let text = self.whole_text()?;
        let table = frame::read_field(&text, field, row_limit, self.features.as_ref())?;
        Ok(self.aligned(table))
    }

    fn aligned(&self, mut table: Table) -> Table {
        if let Some(features) = &self.features {
            align(&mut table.fields, &mut table.rows, features);
        }
        table
    }

    fn whole_text(&self) -> Result<Vec<u8>, FormatError> {
        let mut text = Vec::new();
        memory::hold(usize::try_from(self.file.source.len()).unwrap_or(usize::MAX))?;
        let mut input =
            options::open_text(&self.file, &self.options)?.take(limits::WHOLE_FILE_BYTES_MAX as u64 + 1);
        input.read_to_end(&mut text)?;
        if text.len() > limits::WHOLE_FILE_BYTES_MAX {
            return Err(FormatError::new(
                ErrorClass::LimitExceeded,
                format!(
                    "This JSON document has more than {} bytes; write it as JSON Lines.",
                    limits::WHOLE_FILE_BYTES_MAX
                ),
            ));
        }
        Ok(text)
    }
}

impl TableReader for JsonReader {
    fn next_table(&mut self, row_limit: usize) -> Result<Option<Table>, FormatError> {
        if let (Some(field), Some(_)) = (self.options.field.clone(), &self.chunks) {
            return self.table_of_field(&field, row_limit).map(Some);
        }
        let Some((bytes, layout, is_cut)) = self.next_chunk()? else { return Ok(None) };
        match self.infer(&bytes, layout, is_cut, row_limit) {
            Ok(typed) if is_frame(&typed, &bytes) => {
                self.chunks = None;
                let table = frame::read_document(&bytes, row_limit, self.features.as_ref())?;
                Ok(Some(self.aligned(table)))
            }
            Ok(typed) => self.table(&typed, &bytes).map(Some),
            Err(InferError::Arrow(reason)) => self.table_of_frame(reason, row_limit).map(Some),
            Err(InferError::Final(error)) => Err(error),
        }
    }
}

/// Whether Arrow cuts the only object of a file into blocks, at the end of a line, and fails, while pandas makes rows of
/// it. Larger chunks are one block.
fn is_frame(typed: &Typed, bytes: &[u8]) -> bool {
    let is_in_blocks = bytes.len() > ARROW_BLOCK_BYTES && bytes.len() / 8 <= ARROW_BLOCK_BYTES;
    if !is_in_blocks || !typed.is_single_object() {
        return false;
    }
    let first_block = bytes[..ARROW_BLOCK_BYTES].trim_ascii_start();
    first_block.contains(&b'\n') && frame::read_document(bytes, 0, None).is_ok()
}

fn skip_mark(chunks: &mut Chunks) -> Result<(), FormatError> {
    if chunks.peek(BYTE_ORDER_MARK.len())? == BYTE_ORDER_MARK {
        chunks.skip(BYTE_ORDER_MARK.len());
    }
    Ok(())
}

/// Whether the items of an array are rows themselves: an object opens before the first string.
fn starts_with_object(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(FIRST_OBJECT_BYTES)];
    let before_text = head.split(|byte| *byte == b'"').next().unwrap_or(head);
    before_text.contains(&b'{')
}
