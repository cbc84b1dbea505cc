//! Ranged reads of one file with a small memory of recent windows.
//!
//! Owns how many bytes the columnar readers ask for: a window is read ahead where small neighbours follow, anything
//! large is read exactly. Refuses ranges beyond the file. A failed read is the source's error, handed through.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use outpost_model::limits;

use crate::error::{ErrorClass, FormatError};
use crate::memory;
use crate::source::ByteSource;

/// Windows remembered at once; with windows of at most 64 KiB this is 4 MiB.
const WINDOWS_MAX: usize = 64;

/// The recent windows of one file.
pub(crate) struct Windows {
    source: Arc<dyn ByteSource>,
    recent: VecDeque<(u64, Bytes)>,
}

impl Windows {
    pub(crate) fn new(source: Arc<dyn ByteSource>) -> Self {
        Self { source, recent: VecDeque::new() }
    }

    pub(crate) fn file_len(&self) -> u64 {
        self.source.len()
    }

    /// Exactly `len` bytes at `start`; a miss reads `ahead` bytes when that is more.
    pub(crate) fn read(&mut self, start: u64, len: usize, ahead: usize) -> Result<Bytes, FormatError> {
        self.check(start, len)?;
        let known = self.known(start);
        if known.len() >= len {
            return Ok(known.slice(..len));
        }
        if known.is_empty() {
            let bytes = self.fetch(start, len.max(ahead))?;
            return Ok(bytes.slice(..len));
        }
        let mut joined = Vec::with_capacity(len);
        joined.extend_from_slice(&known);
        let rest = self.fetch(start + known.len() as u64, len - known.len())?;
        joined.extend_from_slice(&rest);
        Ok(Bytes::from(joined))
    }

    /// The bytes at `start` that are at hand, after a read of `ahead` when there are none.
    pub(crate) fn peek(&mut self, start: u64, ahead: usize) -> Result<Bytes, FormatError> {
        let known = self.known(start);
        if !known.is_empty() {
            return Ok(known);
        }
        self.check(start, 1)?;
        self.fetch(start, ahead.max(1))
    }

    fn check(&self, start: u64, len: usize) -> Result<(), FormatError> {
        let end = start.checked_add(len as u64);
        if end.is_none_or(|end| end > self.source.len()) {
            return Err(FormatError::new(ErrorClass::OSError, "The file ends before what it says it holds."));
        }
        Ok(())
    }

    fn known(&self, start: u64) -> Bytes {
        let covering = self.recent.iter().find(|(at, bytes)| *at <= start && start < at + bytes.len() as u64);
        covering.map_or_else(Bytes::new, |(at, bytes)| bytes.slice((start - at) as usize..))
    }

    fn fetch(&mut self, start: u64, len: usize) -> Result<Bytes, FormatError> {
        let left = self.source.len().saturating_sub(start);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(len);
        memory::hold(len)?;
        let mut buffer = vec![0; len];
        let mut filled = 0;
        while filled < len {
            let count = self.source.read_at(start + filled as u64, &mut buffer[filled..])?;
            if count == 0 {
                return Err(FormatError::new(
                    ErrorClass::OSError,
                    "The file became shorter while it was read.",
                ));
            }
            filled += count;
        }
        let bytes = Bytes::from(buffer);
        if len <= limits::READ_BLOCK_BYTES_MIN {
            self.recent.truncate(WINDOWS_MAX - 1);
            self.recent.push_front((start, bytes.clone()));
        }
        Ok(bytes)
    }
}
