//! Where bytes come from: random access with a known length.
//!
//! Owns the trait between readers and the outside. Implementations enforce deadlines, cancellation and byte counts;
//! their failures are `io::Error`s (see `From<io::Error> for FormatError`).

use std::io;

/// A file that can be read at any offset, from any thread, blocking.
pub trait ByteSource: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads up to `buffer.len()` bytes at `offset`; 0 only at or past the end, or for an empty buffer.
    ///
    /// # Errors
    /// `io::Error` when the bytes cannot be had.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

/// A file in memory.
impl ByteSource for bytes::Bytes {
    fn len(&self) -> u64 {
        self.as_ref().len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.as_ref().len());
        let rest = &self[start..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}
