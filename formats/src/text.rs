//! The text module: one row per line, paragraph or file.
//!
//! Owns the rules of dataset-loading.md section 1.9: universal newlines on input, rows that end only at LF, `sample_by`,
//! `keep_linebreaks`. Refuses unknown values of its options with `ValueError`. Rows beyond the asked ones are counted, not
//! kept; a kept row or document is bounded by [`limits::WHOLE_FILE_BYTES_MAX`].

use std::sync::Arc;

use arrow_schema::{DataType, Field};
use outpost_model::limits;
use serde_json::Value as Json;

use crate::compression::open_extracted;
use crate::encoding::{Decoder, Encoding, OnInvalid};
use crate::error::{ErrorClass, FormatError};
use crate::features::Features;
use crate::memory;
use crate::module::{DataFile, Module, Params};
use crate::table::{Table, TableReader};
use crate::value::Value;

/// The text module.
pub struct Text;

impl Module for Text {
    fn name(&self) -> &'static str {
        "text"
    }

    fn extracts(&self) -> bool {
        true
    }

    fn param_names(&self) -> &'static [&'static str] {
        &["features", "encoding", "encoding_errors", "chunksize", "keep_linebreaks", "sample_by"]
    }

    fn open(
        &self,
        file: &DataFile,
        params: &Params,
        features: Option<&Features>,
    ) -> Result<Box<dyn TableReader>, FormatError> {
        let decoder = Decoder::new(open_extracted(file)?, encoding(params)?, on_invalid(params)?);
        let column = column_name(features, "text")?;
        Ok(Box::new(TextReader::new(decoder, sample_by(params)?, column, chunk_bytes(params)?)))
    }
}

/// Reads a file as one row with its whole text, in a column of this name unless the features name it.
///
/// # Errors
/// As [`Module::open`].
pub(crate) fn document_reader(
    file: &DataFile,
    params: &Params,
    features: Option<&Features>,
    column: &str,
) -> Result<Box<dyn TableReader>, FormatError> {
    let decoder = Decoder::new(open_extracted(file)?, encoding(params)?, on_invalid(params)?);
    let column = column_name(features, column)?;
    Ok(Box::new(TextReader::new(decoder, Sample::Document, column, u64::MAX)))
}

/// The option `encoding`.
pub(crate) fn encoding(params: &Params) -> Result<Encoding, FormatError> {
    Encoding::named(text_option(params, "encoding")?.unwrap_or("utf-8"))
}

/// The option `encoding_errors`.
pub(crate) fn on_invalid(params: &Params) -> Result<OnInvalid, FormatError> {
    OnInvalid::named(text_option(params, "encoding_errors")?.unwrap_or("strict"))
}

fn value_error(message: String) -> FormatError {
    FormatError::new(ErrorClass::ValueError, message)
}

/// An option of the config; null counts as not set.
fn option<'a>(params: &'a Params, name: &str) -> Option<&'a Json> {
    params.get(name).filter(|value| !value.is_null())
}

/// An option of the config that is a text.
pub(crate) fn text_option<'a>(params: &'a Params, name: &str) -> Result<Option<&'a str>, FormatError> {
    match option(params, name) {
        None => Ok(None),
        Some(Json::String(text)) => Ok(Some(text)),
        Some(other) => Err(value_error(format!("option '{name}' must be a string, not {other}"))),
    }
}

/// Bytes after which a table ends with its line; without a positive number the file is one table.
fn chunk_bytes(params: &Params) -> Result<u64, FormatError> {
    match params.get("chunksize") {
        None => Ok(limits::CHUNK_BYTES as u64),
        Some(Json::Null) => Ok(u64::MAX),
        Some(value) => match value.as_i64() {
            Some(bytes @ 1..) => Ok(bytes.unsigned_abs()),
            Some(_) => Ok(u64::MAX),
            None => Err(value_error(format!("text option 'chunksize' must be an integer, not {value}"))),
        },
    }
}

fn sample_by(params: &Params) -> Result<Sample, FormatError> {
    let keep_linebreaks = match option(params, "keep_linebreaks") {
        None | Some(Json::Bool(false)) => false,
        Some(Json::Bool(true)) => true,
        Some(other) => {
            return Err(value_error(format!(
                "text option 'keep_linebreaks' must be true or false, not {other}"
            )));
        }
    };
    match text_option(params, "sample_by")? {
        None | Some("line") if keep_linebreaks => Ok(Sample::LineWithBreak),
        None | Some("line") => Ok(Sample::Line),
        Some("paragraph") => Ok(Sample::Paragraph),
        Some("document") => Ok(Sample::Document),
        Some(other) => {
            Err(value_error(format!("text option 'sample_by' is '{other}'; use line, paragraph or document")))
        }
    }
}

/// The one column: this name, or as the features call it.
fn column_name(features: Option<&Features>, name: &str) -> Result<Arc<str>, FormatError> {
    match features.map(|features| features.0.as_slice()) {
        None => Ok(name.into()),
        Some([(name, _)]) => Ok(Arc::clone(name)),
        Some(columns) => Err(value_error(format!(
            "Length of names ({}) does not match length of arrays (1)",
            columns.len()
        ))),
    }
}

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sample {
    Line,
    LineWithBreak,
    /// What stands between two empty lines; empty paragraphs are no rows.
    Paragraph,
    Document,
}

/// The row being read.
struct Splitter {
    sample: Sample,
    /// Its text, empty when it is not to be kept.
    text: Vec<u8>,
    /// Whether anything of it has been seen.
    started: bool,
    /// Whether its last byte is a line break.
    broken: bool,
}

impl Splitter {
    fn new(sample: Sample) -> Self {
        Self { sample, text: Vec::new(), started: false, broken: false }
    }

    /// Takes a piece of a line.
    fn push(&mut self, piece: &[u8], keep: bool) -> Result<(), FormatError> {
        if piece.is_empty() {
            return Ok(());
        }
        self.started = true;
        self.broken = false;
        self.keep(piece, keep)
    }

    fn keep(&mut self, piece: &[u8], keep: bool) -> Result<(), FormatError> {
        if !keep {
            return Ok(());
        }
        let held = self.text.len() + piece.len();
        memory::hold(held)?;
        if held > limits::WHOLE_FILE_BYTES_MAX {
            let message = format!(
                "a row has more than {} bytes; split the file into smaller rows (option sample_by)",
                limits::WHOLE_FILE_BYTES_MAX
            );
            return Err(FormatError::new(ErrorClass::LimitExceeded, message));
        }
        self.text.extend_from_slice(piece);
        Ok(())
    }

    /// Takes a line break; true when it completes a row.
    fn end_line(&mut self, keep: bool) -> Result<bool, FormatError> {
        match self.sample {
            Sample::Line => return Ok(true),
            Sample::LineWithBreak => {
                self.keep(b"\n", keep)?;
                return Ok(true);
            }
            Sample::Paragraph if self.broken => {
                let had_text = self.started;
                self.broken = false;
                self.started = false;
                if keep {
                    self.text.pop();
                }
                return Ok(had_text);
            }
            Sample::Paragraph | Sample::Document => {}
        }
        self.keep(b"\n", keep)?;
        self.broken = true;
        Ok(false)
    }

    /// Ends the file; true when it completes a row.
    fn finish(&self) -> bool {
        match self.sample {
            Sample::Line | Sample::LineWithBreak => self.started,
            Sample::Paragraph => self.started || self.broken,
            Sample::Document => true,
        }
    }

    fn take(&mut self) -> Value {
        self.started = false;
        // The decoder hands out UTF-8 and rows end at line breaks.
        Value::Str(Arc::from(String::from_utf8_lossy(&std::mem::take(&mut self.text))))
    }
}

/// Reads a text file chunk by chunk.
struct TextReader {
    decoder: Decoder,
    splitter: Splitter,
    column: Arc<str>,
    chunk_bytes: u64,
    block: Vec<u8>,
    position: usize,
    /// Whether the last block ended in a CR, already handed on as a line break.
    after_return: bool,
    ended: bool,
}

impl TextReader {
    fn new(decoder: Decoder, sample: Sample, column: Arc<str>, chunk_bytes: u64) -> Self {
        Self {
            decoder,
            splitter: Splitter::new(sample),
            column,
            chunk_bytes,
            block: Vec::new(),
            position: 0,
            after_return: false,
            ended: false,
        }
    }

    /// Loads the next block with its newlines translated; false at the end.
    fn load(&mut self) -> Result<bool, FormatError> {
        self.block.clear();
        self.position = 0;
        if !self.decoder.next_block(&mut self.block)? {
            return Ok(false);
        }
        translate_newlines(&mut self.block, &mut self.after_return);
        Ok(true)
    }

    fn table(&self, rows: Vec<Vec<Value>>, row_count: usize) -> Table {
        let field = Field::new(&*self.column, DataType::Utf8, true);
        Table { fields: vec![Arc::new(field)], rows, row_count }
    }
}

impl TableReader for TextReader {
    fn next_table(&mut self, row_limit: usize) -> Result<Option<Table>, FormatError> {
        let mut rows = Vec::new();
        let mut row_count = 0;
        let mut bytes_seen = 0_u64;
        let mut bytes_kept = 0;
        while !self.ended {
            let keep = rows.len() < row_limit && bytes_kept < limits::TABLE_BYTES_MAX;
            if self.position == self.block.len() && !self.load()? {
                self.ended = true;
                if self.splitter.finish() {
                    row_count += 1;
                    if keep {
                        rows.push(vec![self.splitter.take()]);
                    }
                }
                break;
            }
            let rest = &self.block[self.position..];
            let length = memchr::memchr(b'\n', rest);
            let piece = &rest[..length.unwrap_or(rest.len())];
            bytes_seen += piece.len() as u64 + 1;
            self.splitter.push(piece, keep)?;
            self.position += piece.len() + usize::from(length.is_some());
            if length.is_none() || !self.splitter.end_line(keep)? {
                continue;
            }
            row_count += 1;
            let text = self.splitter.take();
            if keep {
                bytes_kept += text.held_bytes();
                memory::hold(bytes_kept)?;
                rows.push(vec![text]);
            }
            if bytes_seen >= self.chunk_bytes {
                break;
            }
        }
        Ok((row_count > 0).then(|| self.table(rows, row_count)))
    }
}

/// Turns CRLF and CR into LF, also across blocks.
pub(crate) fn translate_newlines(block: &mut Vec<u8>, after_return: &mut bool) {
    let continues = std::mem::take(after_return) && block.first() == Some(&b'\n');
    if !continues && memchr::memchr(b'\r', block).is_none() {
        return;
    }
    *after_return = block.last() == Some(&b'\r');
    let mut kept = 0;
    let mut previous = if continues { b'\r' } else { 0 };
    for at in 0..block.len() {
        let byte = block[at];
        let repeats = byte == b'\n' && previous == b'\r';
        previous = byte;
        if !repeats {
            block[kept] = if byte == b'\r' { b'\n' } else { byte };
            kept += 1;
        }
    }
    block.truncate(kept);
}

#[cfg(test)]
mod tests;
