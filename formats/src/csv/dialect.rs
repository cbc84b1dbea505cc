//! What a csv file's characters mean, and the row that comes of them.
//!
//! Owns the tokenizer's options and its output. Decides nothing.

use std::collections::HashSet;

/// What separates fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delimiter {
    Byte(u8),
    /// Runs of spaces and tabs (`sep: '\s+'`).
    Spaces,
}

/// What happens to a row with too many fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnBadLine {
    Fail,
    Skip,
}

/// Lines left out before parsing, by their number in the file, from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SkipLines {
    First(u64),
    These(HashSet<u64>),
}

impl SkipLines {
    pub(super) fn contains(&self, line: u64) -> bool {
        match self {
            Self::First(count) => line < *count,
            Self::These(lines) => lines.contains(&line),
        }
    }
}

/// The dialect of a file.
#[derive(Debug, Clone)]
pub(super) struct Dialect {
    pub(super) delimiter: Delimiter,
    /// `None` when nothing is quoted.
    pub(super) quote: Option<u8>,
    pub(super) escape: Option<u8>,
    pub(super) comment: Option<u8>,
    /// The only line end; `None` for LF, CR and CRLF.
    pub(super) terminator: Option<u8>,
    pub(super) double_quote: bool,
    pub(super) skip_initial_space: bool,
    pub(super) skip_blank_lines: bool,
    pub(super) skip_lines: SkipLines,
    pub(super) on_bad_line: OnBadLine,
}

impl Dialect {
    /// Whether a byte ends a line on its own.
    pub(super) fn is_line_end(&self, byte: u8) -> bool {
        byte == self.terminator.unwrap_or(b'\n')
    }

    /// Whether a byte is a CR that ends lines.
    pub(super) fn is_return(&self, byte: u8) -> bool {
        self.terminator.is_none() && byte == b'\r'
    }

    /// Whether a byte separates fields.
    pub(super) fn is_delimiter(&self, byte: u8) -> bool {
        match self.delimiter {
            Delimiter::Byte(delimiter) => byte == delimiter,
            Delimiter::Spaces => is_blank(byte),
        }
    }

    /// Whether a byte at the start of a line may be part of a blank line.
    pub(super) fn is_indent(&self, byte: u8) -> bool {
        is_blank(byte) && self.delimiter != Delimiter::Byte(byte)
    }

    /// Whether a byte ends a line, alone or with another.
    pub(super) fn is_end(&self, byte: u8) -> bool {
        self.is_line_end(byte) || self.is_return(byte)
    }

    /// For each byte, whether it ends a run of ordinary bytes in an unquoted field.
    pub(super) fn specials(&self) -> Box<[bool; 256]> {
        let special = |byte: u8| {
            self.is_end(byte)
                || self.is_delimiter(byte)
                || self.escape == Some(byte)
                || self.comment == Some(byte)
        };
        Box::new(std::array::from_fn(|byte| u8::try_from(byte).is_ok_and(special)))
    }
}

/// Whether a byte is a space or a tab.
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The fields of one row, as one buffer.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) bytes: Vec<u8>,
    /// End of each field in `bytes`.
    pub(super) ends: Vec<usize>,
}

impl Row {
    /// How many fields the row has.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of all fields.
    pub(super) fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// A field; fields past the last are empty.
    pub(super) fn field(&self, index: usize) -> &[u8] {
        let Some(&end) = self.ends.get(index) else { return b"" };
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..end]
    }

    /// Drops all fields.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}
