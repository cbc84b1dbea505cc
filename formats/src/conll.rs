//! The conll module: one row per sentence, a list of its tokens.
//!
//! Owns the rules of dataset-loading.md section 1.12. Sentences end at blank lines; of each line the first column counts, as no card
//! can name further ones. In memory are one block, one line and the rows that the caller asked for, bounded by
//! [`limits::WHOLE_FILE_BYTES_MAX`].
//!
//! Deliberate difference: a table ends with a sentence after 10 MiB, so that the first rows of a large file need not all of it.

use std::sync::Arc;

use arrow_schema::{DataType, Field};
use outpost_model::limits;
use serde_json::Value as Json;

use crate::compression::open_extracted;
use crate::encoding::Decoder;
use crate::error::{ErrorClass, FormatError};
use crate::features::Features;
use crate::memory;
use crate::module::{DataFile, Module, Params};
use crate::table::{Table, TableReader};
use crate::text::{encoding, on_invalid, text_option, translate_newlines};
use crate::value::Value;

/// Lines of CoNLL-2003 that mark documents start so.
const DOCUMENT_MARK: &str = "-DOCSTART-";

/// The conll module.
pub struct Conll;

impl Module for Conll {
    fn name(&self) -> &'static str {
        "conll"
    }

    fn extracts(&self) -> bool {
        true
    }

    fn param_names(&self) -> &'static [&'static str] {
        &["features", "delimiter", "encoding", "encoding_errors", "skip_docstart", "comment_prefix"]
    }

    fn open(
        &self,
        file: &DataFile,
        params: &Params,
        _features: Option<&Features>,
    ) -> Result<Box<dyn TableReader>, FormatError> {
        let syntax = Syntax::from_params(params)?;
        let decoder = Decoder::new(open_extracted(file)?, encoding(params)?, on_invalid(params)?);
        let lines = Lines::new(decoder);
        Ok(Box::new(ConllReader { lines, syntax, ended: false }))
    }
}

/// Which lines count and where their first column ends.
struct Syntax {
    /// Any whitespace when `None`.
    delimiter: Option<String>,
    skips_document_marks: bool,
    comment_prefix: Option<String>,
}

impl Syntax {
    fn from_params(params: &Params) -> Result<Self, FormatError> {
        let value_error = |message: &str| FormatError::new(ErrorClass::ValueError, message);
        let delimiter = text_option(params, "delimiter")?.map(str::to_owned);
        if delimiter.as_deref() == Some("") {
            return Err(value_error("empty separator"));
        }
        let skips_document_marks = match params.get("skip_docstart") {
            None => true,
            Some(Json::Bool(skips)) => *skips,
            Some(_) => return Err(value_error("option 'skip_docstart' must be true or false")),
        };
        let comment_prefix = text_option(params, "comment_prefix")?.map(str::to_owned);
        Ok(Self { delimiter, skips_document_marks, comment_prefix })
    }

    /// What a line that is not blank means: its token, or nothing.
    fn token<'a>(&self, line: &'a str) -> Option<&'a str> {
        if self.skips_document_marks && line.starts_with(DOCUMENT_MARK) {
            return None;
        }
        if self.comment_prefix.as_ref().is_some_and(|prefix| line.starts_with(prefix.as_str())) {
            return None;
        }
        match &self.delimiter {
            Some(delimiter) => line.split(delimiter.as_str()).next(),
            None => line.split(is_space).find(|part| !part.is_empty()),
        }
    }
}

/// Whether Python counts a character as whitespace.
fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\x1c'..='\x1f').contains(&character)
}

fn too_large(what: &str) -> FormatError {
    let message = format!(
        "{what} has more than {} bytes; separate sentences by blank lines",
        limits::WHOLE_FILE_BYTES_MAX
    );
    FormatError::new(ErrorClass::LimitExceeded, message)
}

/// The lines of a text.
struct Lines {
    decoder: Decoder,
    block: Vec<u8>,
    position: usize,
    after_return: bool,
    line: Vec<u8>,
}

impl Lines {
    fn new(decoder: Decoder) -> Self {
        Self { decoder, block: Vec::new(), position: 0, after_return: false, line: Vec::new() }
    }

    /// The next line without its end, `None` at the end of the text.
    fn next(&mut self) -> Result<Option<&str>, FormatError> {
        self.line.clear();
        let mut started = false;
        loop {
            if self.position == self.block.len() {
                self.block.clear();
                self.position = 0;
                if !self.decoder.next_block(&mut self.block)? {
                    break;
                }
                translate_newlines(&mut self.block, &mut self.after_return);
                continue;
            }
            started = true;
            let rest = &self.block[self.position..];
            let length = memchr::memchr(b'\n', rest);
            let piece = &rest[..length.unwrap_or(rest.len())];
            memory::hold(self.line.len() + piece.len())?;
            if self.line.len() + piece.len() > limits::WHOLE_FILE_BYTES_MAX {
                return Err(too_large("a line"));
            }
            self.line.extend_from_slice(piece);
            self.position += piece.len() + usize::from(length.is_some());
            if length.is_some() {
                break;
            }
        }
        // The decoder hands out UTF-8, which is cut at line ends only.
        let line = std::str::from_utf8(&self.line)
            .map_err(|error| FormatError::new(ErrorClass::UnicodeDecodeError, error.to_string()))?;
        Ok(started.then_some(line))
    }
}

/// Reads a conll file chunk by chunk.
struct ConllReader {
    lines: Lines,
    syntax: Syntax,
    ended: bool,
}

/// The rows of a table being read.
struct Rows {
    kept: Vec<Vec<Value>>,
    count: usize,
    /// The sentence being read: whether it has tokens, and those that are kept.
    has_tokens: bool,
    tokens: Vec<Value>,
    token_bytes: usize,
    row_limit: usize,
}

impl Rows {
    fn push(&mut self, token: &str) -> Result<(), FormatError> {
        self.has_tokens = true;
        if self.kept.len() >= self.row_limit {
            return Ok(());
        }
        // The text is an allocation of its own.
        self.token_bytes += token.len() + size_of::<Value>() + 32;
        memory::hold(self.token_bytes)?;
        if self.token_bytes > limits::WHOLE_FILE_BYTES_MAX || self.tokens.len() >= limits::CELL_VALUES_MAX {
            return Err(too_large("a sentence, or the first rows together,"));
        }
        self.tokens.push(Value::str(token));
        Ok(())
    }

    /// Ends a sentence; true when it was one.
    fn end_sentence(&mut self) -> bool {
        if !std::mem::take(&mut self.has_tokens) {
            return false;
        }
        self.count += 1;
        if self.kept.len() < self.row_limit {
            self.kept.push(vec![Value::List(std::mem::take(&mut self.tokens))]);
        }
        true
    }
}

impl TableReader for ConllReader {
    fn next_table(&mut self, row_limit: usize) -> Result<Option<Table>, FormatError> {
        let mut rows = Rows {
            kept: Vec::new(),
            count: 0,
            has_tokens: false,
            tokens: Vec::new(),
            token_bytes: 0,
            row_limit,
        };
        let mut bytes_seen = 0;
        while !self.ended {
            let Some(line) = self.lines.next()? else {
                self.ended = true;
                rows.end_sentence();
                break;
            };
            bytes_seen += line.len() + 1;
            if line.chars().all(is_space) {
                let is_full =
                    bytes_seen >= limits::CHUNK_BYTES || rows.token_bytes >= limits::TABLE_BYTES_MAX;
                if rows.end_sentence() && is_full {
                    break;
                }
            } else if let Some(token) = self.syntax.token(line) {
                rows.push(token)?;
            }
        }
        let item = Arc::new(Field::new("item", DataType::Utf8, true));
        let field = Arc::new(Field::new("tokens", DataType::List(item), true));
        Ok((rows.count > 0).then(|| Table { fields: vec![field], rows: rows.kept, row_count: rows.count }))
    }
}

#[cfg(test)]
mod tests;
