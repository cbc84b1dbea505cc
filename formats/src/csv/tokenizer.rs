//! Rows from text: pandas' C tokenizer as a state machine over blocks.
//!
//! Owns quoting, line ends, blank lines, comments, skipped lines and the check of field counts (dataset-loading.md
//! section 1.6), and the texts of `ParserError`. Holds one row at a time, bounded by
//! [`limits::WHOLE_FILE_BYTES_MAX`] bytes and [`limits::COLUMNS_MAX`] fields.

use outpost_model::limits;

use super::dialect::{Delimiter, Dialect, OnBadLine, Row, is_blank};
use crate::error::{ErrorClass, FormatError};
use crate::memory;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    StartRecord,
    StartField,
    InField,
    InQuoted,
    QuoteInQuoted,
    Escaped,
    EscapedInQuoted,
    /// Whitespace at the start of a line, kept in `indent` until something else comes.
    Indent,
    /// Between fields separated by spaces.
    BetweenFields,
    /// In a comment after fields.
    Comment,
    /// In a line that is only a comment.
    CommentLine,
    /// After a CR that ended a row.
    AfterReturn,
    /// After a CR that ended an ignored line.
    AfterIgnoredReturn,
    SkipField,
    SkipFieldStart,
    SkipQuoted,
    SkipQuoteInQuoted,
}

/// What one byte does to the position.
enum Step {
    /// It is used up.
    Next,
    /// It must be looked at again in the new state.
    Again,
    /// It is used up and ends the line.
    EndLine,
    /// The line ended before it.
    EndLineBefore,
}

/// Rows out of blocks of UTF-8.
pub(super) struct Tokenizer {
    dialect: Dialect,
    specials: Box<[bool; 256]>,
    state: State,
    row: Row,
    indent: Vec<u8>,
    /// Lines of the file that have ended, as error texts count them.
    file_lines: u64,
    /// Rows in the buffer that pandas would hold, which decides where field counts are checked.
    buffered_rows: u64,
    /// Rows that may have any number of fields: up to and including the one after the header.
    header_rows: u64,
    previous_fields: usize,
    /// Fields that every row must be allowed to have (`names`).
    expected_fields: usize,
    check_fields: bool,
    has_nul: bool,
}

impl Tokenizer {
    /// `header_rows` counts the rows up to the header's end; `check_fields` is false with `usecols`.
    pub(super) fn new(dialect: Dialect, header_rows: u64, check_fields: bool) -> Self {
        let specials = dialect.specials();
        Self {
            dialect,
            specials,
            state: State::StartRecord,
            row: Row::default(),
            indent: Vec::new(),
            file_lines: 0,
            buffered_rows: 0,
            header_rows,
            previous_fields: 0,
            expected_fields: 0,
            check_fields,
            has_nul: false,
        }
    }

    /// Raises the number of fields that every row has at least.
    pub(super) fn expect_fields(&mut self, count: usize) {
        self.expected_fields = count;
    }

    /// Tells that the rows so far were taken as a chunk: pandas forgets them, and with them some checks.
    pub(super) fn end_chunk(&mut self) {
        self.buffered_rows = self.header_rows;
    }

    /// The row that was last completed.
    pub(super) fn row(&self) -> &Row {
        &self.row
    }

    /// Tells about a new block, before [`Tokenizer::next_row`] sees it.
    pub(super) fn note_block(&mut self, block: &[u8]) {
        self.has_nul = self.has_nul || memchr::memchr(0, block).is_some();
    }

    /// Reads on from `block[*position]`; true when a row is complete, false when the block is used up.
    ///
    /// # Errors
    /// `ParserError` for a row with too many fields, `LimitExceeded` for one that is too large.
    pub(super) fn next_row(&mut self, block: &[u8], position: &mut usize) -> Result<bool, FormatError> {
        if matches!(self.state, State::StartRecord) {
            self.row.clear();
        }
        while *position < block.len() {
            let ended = match self.state {
                State::InField => self.run_in_field(block, position),
                State::InQuoted => self.run_in_quoted(block, position),
                _ => self.step_and_move(block[*position], position)?,
            };
            self.check_size()?;
            if ended && self.end_line()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Ends the file; true when it completes a row.
    ///
    /// # Errors
    /// `ParserError` inside a quoted field or after an escape.
    pub(super) fn finish(&mut self) -> Result<bool, FormatError> {
        match self.state {
            State::StartRecord
            | State::Indent
            | State::AfterIgnoredReturn
            | State::CommentLine
            | State::SkipField
            | State::SkipFieldStart
            | State::SkipQuoted
            | State::SkipQuoteInQuoted => return Ok(false),
            State::InQuoted | State::EscapedInQuoted => {
                return Err(tokenizing_error(&format!(
                    "EOF inside string starting at row {}",
                    self.file_lines
                )));
            }
            State::Escaped => return Err(tokenizing_error("EOF following escape character")),
            State::InField | State::StartField | State::QuoteInQuoted => self.end_field(),
            _ => {}
        }
        let completed = self.end_line()?;
        self.state = State::StartRecord;
        Ok(completed)
    }

    fn check_size(&self) -> Result<(), FormatError> {
        memory::hold(self.row.bytes.len().max(self.indent.len()))?;
        if self.row.bytes.len() <= limits::WHOLE_FILE_BYTES_MAX
            && self.row.ends.len() <= limits::COLUMNS_MAX
            && self.indent.len() <= limits::WHOLE_FILE_BYTES_MAX
        {
            return Ok(());
        }
        Err(FormatError::new(
            ErrorClass::LimitExceeded,
            format!(
                "line {} has more than {} fields or {} bytes; check its quotes and the separator",
                self.file_lines + 1,
                limits::COLUMNS_MAX,
                limits::WHOLE_FILE_BYTES_MAX
            ),
        ))
    }

    fn after_delimiter(&self) -> State {
        match self.dialect.delimiter {
            Delimiter::Byte(_) => State::StartField,
            Delimiter::Spaces => State::BetweenFields,
        }
    }

    fn end_field(&mut self) {
        if self.has_nul {
            // pandas 2 hands fields over as C strings.
            let start = self.row.ends.last().copied().unwrap_or(0);
            if let Some(at) = memchr::memchr(0, &self.row.bytes[start..]) {
                self.row.bytes.truncate(start + at);
            }
        }
        self.row.ends.push(self.row.bytes.len());
    }

    /// Takes a run of ordinary bytes of an unquoted field and the special byte that ends it.
    fn run_in_field(&mut self, block: &[u8], position: &mut usize) -> bool {
        let rest = &block[*position..];
        let length = rest.iter().position(|byte| self.specials[usize::from(*byte)]).unwrap_or(rest.len());
        self.row.bytes.extend_from_slice(&rest[..length]);
        *position += length;
        let Some(&byte) = rest.get(length) else { return false };
        *position += 1;
        self.end_unquoted(byte)
    }

    /// A special byte in an unquoted field; true when it ends the line.
    fn end_unquoted(&mut self, byte: u8) -> bool {
        if self.dialect.is_line_end(byte) {
            self.end_field();
            return true;
        }
        if Some(byte) == self.dialect.escape && !self.dialect.is_return(byte) {
            self.state = State::Escaped;
            return false;
        }
        self.end_field();
        self.state = if self.dialect.is_return(byte) {
            State::AfterReturn
        } else if self.dialect.is_delimiter(byte) {
            self.after_delimiter()
        } else {
            State::Comment
        };
        false
    }

    /// Takes a run of a quoted field up to its quote or an escape.
    fn run_in_quoted(&mut self, block: &[u8], position: &mut usize) -> bool {
        let rest = &block[*position..];
        let quote = self.dialect.quote.unwrap_or(b'"');
        let found = match self.dialect.escape {
            Some(escape) => memchr::memchr2(quote, escape, rest),
            None => memchr::memchr(quote, rest),
        };
        let length = found.unwrap_or(rest.len());
        self.row.bytes.extend_from_slice(&rest[..length]);
        *position += length;
        if let Some(&byte) = rest.get(length) {
            *position += 1;
            self.state = if Some(byte) == self.dialect.escape {
                State::EscapedInQuoted
            } else if self.dialect.double_quote {
                State::QuoteInQuoted
            } else {
                State::InField
            };
        }
        false
    }

    fn step_and_move(&mut self, byte: u8, position: &mut usize) -> Result<bool, FormatError> {
        let step = match self.state {
            State::SkipField | State::SkipFieldStart | State::SkipQuoted | State::SkipQuoteInQuoted => {
                self.step_in_skipped(byte)
            }
            State::StartRecord | State::Indent | State::CommentLine | State::AfterIgnoredReturn => {
                self.step_between_rows(byte)?
            }
            _ => self.step_in_row(byte),
        };
        match step {
            Step::Next | Step::EndLine => *position += 1,
            Step::Again | Step::EndLineBefore => {}
        }
        Ok(matches!(step, Step::EndLine | Step::EndLineBefore))
    }

    fn step_between_rows(&mut self, byte: u8) -> Result<Step, FormatError> {
        match self.state {
            State::StartRecord => Ok(self.start_record(byte)),
            State::Indent if self.dialect.is_indent(byte) => {
                self.indent.push(byte);
                Ok(Step::Next)
            }
            State::Indent if self.dialect.is_line_end(byte) || self.dialect.is_return(byte) => {
                self.indent.clear();
                Ok(self.end_ignored_line(byte))
            }
            State::Indent => self.replay_indent(),
            State::AfterIgnoredReturn => {
                self.state = State::StartRecord;
                Ok(if byte == b'\n' { Step::Next } else { Step::Again })
            }
            _ if self.dialect.is_line_end(byte) || self.dialect.is_return(byte) => {
                Ok(self.end_ignored_line(byte))
            }
            _ => Ok(Step::Next),
        }
    }

    fn end_ignored_line(&mut self, byte: u8) -> Step {
        self.file_lines += 1;
        self.state =
            if self.dialect.is_return(byte) { State::AfterIgnoredReturn } else { State::StartRecord };
        Step::Next
    }

    /// The line was not blank: its leading whitespace belongs to the first field.
    fn replay_indent(&mut self) -> Result<Step, FormatError> {
        self.state = State::StartField;
        if self.dialect.delimiter == Delimiter::Spaces {
            self.indent.clear();
            return Ok(Step::Again);
        }
        let indent = std::mem::take(&mut self.indent);
        for &byte in &indent {
            if self.state == State::InField {
                self.row.bytes.push(byte);
            } else {
                self.step_in_row(byte);
            }
        }
        self.check_size()?;
        self.indent = indent;
        self.indent.clear();
        Ok(Step::Again)
    }

    fn start_record(&mut self, byte: u8) -> Step {
        if self.dialect.skip_lines.contains(self.file_lines) {
            self.state = if self.dialect.quote == Some(byte) { State::SkipQuoted } else { State::SkipField };
            return if self.state == State::SkipQuoted { Step::Next } else { Step::Again };
        }
        if self.dialect.is_line_end(byte) {
            if !self.dialect.skip_blank_lines {
                return Step::EndLine;
            }
            self.file_lines += 1;
            return Step::Next;
        }
        if self.dialect.is_return(byte) {
            if self.dialect.skip_blank_lines {
                return self.end_ignored_line(byte);
            }
            self.state = State::AfterReturn;
            return Step::Next;
        }
        if self.dialect.comment == Some(byte) {
            self.state = State::CommentLine;
            return Step::Next;
        }
        if self.dialect.is_indent(byte) {
            if self.dialect.skip_blank_lines {
                self.indent.push(byte);
                self.state = State::Indent;
                return Step::Next;
            }
            if self.dialect.delimiter == Delimiter::Spaces {
                self.state = State::BetweenFields;
                return Step::Next;
            }
        }
        self.state = State::StartField;
        Step::Again
    }

    fn step_in_row(&mut self, byte: u8) -> Step {
        match self.state {
            State::QuoteInQuoted if self.dialect.quote == Some(byte) && !self.dialect.is_end(byte) => {
                self.row.bytes.push(byte);
                self.state = State::InQuoted;
                Step::Next
            }
            State::StartField | State::QuoteInQuoted => self.start_field(byte),
            State::BetweenFields => self.step_between_fields(byte),
            State::Comment => {
                if self.dialect.is_return(byte) {
                    self.state = State::AfterReturn;
                }
                if self.dialect.is_line_end(byte) { Step::EndLine } else { Step::Next }
            }
            State::AfterReturn if byte == b'\n' => Step::EndLine,
            State::AfterReturn => Step::EndLineBefore,
            State::EscapedInQuoted => {
                self.row.bytes.push(byte);
                self.state = State::InQuoted;
                Step::Next
            }
            // Only an escaped byte is left: the runs take the states InField and InQuoted.
            _ => {
                self.row.bytes.push(byte);
                self.state = State::InField;
                Step::Next
            }
        }
    }

    /// The first byte of a field, or the one after a closing quote.
    fn start_field(&mut self, byte: u8) -> Step {
        let fresh = self.state == State::StartField;
        if self.dialect.is_line_end(byte) {
            self.end_field();
            return Step::EndLine;
        }
        if self.dialect.is_return(byte) {
            self.end_field();
            self.state = State::AfterReturn;
        } else if fresh && self.dialect.quote == Some(byte) {
            self.state = State::InQuoted;
        } else if fresh && self.dialect.escape == Some(byte) {
            self.state = State::Escaped;
        } else if fresh && byte == b' ' && self.skips_space() {
            // Dropped.
        } else if self.dialect.is_delimiter(byte) {
            if !fresh || self.dialect.delimiter != Delimiter::Spaces {
                self.end_field();
            }
            self.state = self.after_delimiter();
        } else if fresh && self.dialect.comment == Some(byte) {
            self.end_field();
            self.state = State::Comment;
        } else {
            self.row.bytes.push(byte);
            self.state = State::InField;
        }
        Step::Next
    }

    fn skips_space(&self) -> bool {
        self.dialect.skip_initial_space && self.dialect.delimiter != Delimiter::Spaces
    }

    fn step_between_fields(&mut self, byte: u8) -> Step {
        if self.dialect.is_line_end(byte) {
            return Step::EndLine;
        }
        if is_blank(byte) {
            return Step::Next;
        }
        if self.dialect.is_return(byte) {
            self.state = State::AfterReturn;
            return Step::Next;
        }
        if self.dialect.comment == Some(byte) {
            self.state = State::Comment;
            return Step::Next;
        }
        self.state = State::StartField;
        Step::Again
    }

    fn step_in_skipped(&mut self, byte: u8) -> Step {
        let quote = self.dialect.quote == Some(byte);
        if self.state == State::SkipQuoted {
            if quote {
                self.state =
                    if self.dialect.double_quote { State::SkipQuoteInQuoted } else { State::SkipField };
            }
            return Step::Next;
        }
        if self.dialect.is_end(byte) {
            return self.end_ignored_line(byte);
        }
        let opens = matches!(self.state, State::SkipFieldStart | State::SkipQuoteInQuoted);
        self.state = if quote && opens {
            State::SkipQuoted
        } else if self.dialect.is_delimiter(byte) {
            State::SkipFieldStart
        } else {
            State::SkipField
        };
        Step::Next
    }

    /// Counts and checks the line in `row`; false when it is dropped.
    fn end_line(&mut self) -> Result<bool, FormatError> {
        self.state = State::StartRecord;
        self.file_lines += 1;
        let fields = self.row.len();
        let expected =
            if self.buffered_rows > 0 { self.previous_fields.max(self.expected_fields) } else { 0 };
        if self.check_fields && self.buffered_rows > self.header_rows && fields > expected {
            self.row.clear();
            return match self.dialect.on_bad_line {
                OnBadLine::Skip => Ok(false),
                OnBadLine::Fail => Err(tokenizing_error(&format!(
                    "Expected {expected} fields in line {}, saw {fields}\n",
                    self.file_lines
                ))),
            };
        }
        let pads = self.buffered_rows >= self.header_rows;
        self.previous_fields = if pads { fields.max(expected) } else { fields };
        self.buffered_rows += 1;
        Ok(true)
    }
}

fn tokenizing_error(message: &str) -> FormatError {
    FormatError::new(ErrorClass::ParserError, format!("Error tokenizing data. C error: {message}"))
}
