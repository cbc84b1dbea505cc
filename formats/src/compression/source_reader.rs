//! Sequential reading over a random-access source.
//!
//! Owns the read-ahead policy: the first block is small, each further one twice as large, up to a maximum, because most
//! reads stop after a few rows and the others go to the end. A failure of the source is kept aside, since decoders
//! between it and the reader may reword or swallow it.

use std::io::{self, BufRead, Read};
use std::sync::{Arc, Mutex, PoisonError};

use outpost_model::limits;

use crate::error::FormatError;
use crate::source::ByteSource;

/// The first failure of a source, shared with the adapter around the decoder.
#[derive(Debug, Clone, Default)]
pub(crate) struct Failure(Arc<Mutex<Option<FormatError>>>);

impl Failure {
    fn set(&self, error: FormatError) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// The failure, if the source has failed.
    pub(crate) fn get(&self) -> Option<FormatError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A buffered sequential reader of a [`ByteSource`] with growing blocks
/// ([`limits::READ_BLOCK_BYTES_MIN`] to [`limits::READ_BLOCK_BYTES_MAX`]).
pub struct SourceReader {
    source: Arc<dyn ByteSource>,
    failure: Failure,
    /// Offset in the source of the byte after the buffered ones.
    offset: u64,
    block_bytes: usize,
    buffer: Vec<u8>,
    consumed: usize,
}

impl SourceReader {
    /// Starts at the first byte. Nothing is read yet.
    #[must_use]
    pub fn new(source: Arc<dyn ByteSource>) -> Self {
        Self::with_failure(source, Failure::default())
    }

    pub(crate) fn with_failure(source: Arc<dyn ByteSource>, failure: Failure) -> Self {
        Self {
            source,
            failure,
            offset: 0,
            block_bytes: limits::READ_BLOCK_BYTES_MIN,
            buffer: Vec::new(),
            consumed: 0,
        }
    }

    /// Up to `count` next bytes without consuming them; fewer only at the end.
    ///
    /// # Errors
    /// `io::Error` of the source.
    pub fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        while self.buffer.len() - self.consumed < count && self.read_block()? {}
        let rest = &self.buffer[self.consumed..];
        Ok(&rest[..rest.len().min(count)])
    }

    /// Leaves out `count` bytes, which are not fetched unless they are at hand.
    pub fn skip(&mut self, count: u64) {
        let ready = (self.buffer.len() - self.consumed) as u64;
        self.consume(usize::try_from(count).unwrap_or(usize::MAX));
        self.offset = self.offset.saturating_add(count.saturating_sub(ready));
    }

    /// Appends the next block, dropping consumed bytes; false at the end of the source.
    fn read_block(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        let rest = self.source.len().saturating_sub(self.offset);
        let wanted = usize::try_from(rest).unwrap_or(usize::MAX).min(self.block_bytes);
        let kept = self.buffer.len();
        self.buffer.resize(kept + wanted, 0);
        let read = self.source.read_at(self.offset, &mut self.buffer[kept..]);
        let count = match &read {
            Ok(count) => (*count).min(wanted),
            Err(_) => 0,
        };
        self.buffer.truncate(kept + count);
        self.offset += count as u64;
        self.block_bytes = (self.block_bytes * 2).min(limits::READ_BLOCK_BYTES_MAX);
        match read {
            Ok(_) => Ok(count > 0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => {
                let error = FormatError::from(error);
                self.failure.set(error.clone());
                Err(error.into())
            }
        }
    }
}

impl BufRead for SourceReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.peek(1)?;
        Ok(&self.buffer[self.consumed..])
    }

    fn consume(&mut self, count: usize) {
        self.consumed = self.consumed.saturating_add(count).min(self.buffer.len());
    }
}

impl Read for SourceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let ready = self.fill_buf()?;
        let count = ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        self.consume(count);
        Ok(count)
    }
}
