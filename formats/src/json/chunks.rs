//! A file's bytes in chunks that end with a line.

use std::io::Read;

use outpost_model::limits;

use crate::error::{ErrorClass, FormatError};
use crate::memory;

/// How much is read from the input at once.
const BLOCK_BYTES: usize = 256 * 1024;

/// The chunks of one file.
pub(super) struct Chunks {
    input: Box<dyn Read + Send>,
    chunk_bytes: usize,
    /// Read, but after the last chunk's end.
    carry: Vec<u8>,
    is_at_end: bool,
}

impl Chunks {
    pub(super) fn new(input: Box<dyn Read + Send>, chunk_bytes: usize) -> Self {
        Self { input, chunk_bytes, carry: Vec::new(), is_at_end: false }
    }

    /// The first bytes of the next chunk, without taking them.
    pub(super) fn peek(&mut self, len: usize) -> Result<&[u8], FormatError> {
        while self.carry.len() < len && !self.is_at_end {
            self.read_block(len.max(4096))?;
        }
        Ok(&self.carry[..len.min(self.carry.len())])
    }

    /// Drops bytes that were peeked.
    pub(super) fn skip(&mut self, len: usize) {
        self.carry.drain(..len);
    }

    /// The next chunk, up to the end of the line at which the chunk's size is reached; `None` at the end.
    pub(super) fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, FormatError> {
        while self.carry.len() < self.chunk_bytes && !self.is_at_end {
            self.read_block(BLOCK_BYTES.min(self.chunk_bytes))?;
        }
        let mut searched = self.chunk_bytes.min(self.carry.len());
        let end = loop {
            if let Some(found) = memchr::memchr(b'\n', &self.carry[searched..]) {
                break searched + found + 1;
            }
            searched = self.carry.len();
            if self.is_at_end {
                break searched;
            }
            if searched > limits::WHOLE_FILE_BYTES_MAX {
                return Err(FormatError::new(
                    ErrorClass::LimitExceeded,
                    format!(
                        "A line of this JSON file is longer than {} bytes; write one row per line.",
                        limits::WHOLE_FILE_BYTES_MAX
                    ),
                ));
            }
            self.read_block(BLOCK_BYTES)?;
        };
        let rest = self.carry.split_off(end);
        let chunk = std::mem::replace(&mut self.carry, rest);
        Ok((!chunk.is_empty()).then_some(chunk))
    }

    /// Everything that is left, and whether that had to be cut at the largest size that is held.
    pub(super) fn rest(&mut self) -> Result<(Vec<u8>, bool), FormatError> {
        while !self.is_at_end && self.carry.len() <= limits::WHOLE_FILE_BYTES_MAX {
            self.read_block(BLOCK_BYTES)?;
        }
        let mut rest = std::mem::take(&mut self.carry);
        let is_cut = rest.len() > limits::WHOLE_FILE_BYTES_MAX;
        rest.truncate(limits::WHOLE_FILE_BYTES_MAX);
        self.is_at_end = true;
        Ok((rest, is_cut))
    }

    fn read_block(&mut self, len: usize) -> Result<(), FormatError> {
        let before = self.carry.len();
        memory::hold(before + len)?;
        self.carry.resize(before + len, 0);
        let read = self.input.read(&mut self.carry[before..]);
        let count = *read.as_ref().unwrap_or(&0);
        self.carry.truncate(before + count);
        match read {
            Ok(0) => self.is_at_end = true,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
