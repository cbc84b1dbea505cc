//! The bytes of an object as something to read, a block at a time.
//!
//! Owns that only what is read is fetched, and that a slow reader holds no connection. Every block is one request.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use object_store::path::Path;
use outpost_model::limits;

use super::objects::Objects;
use crate::error::StorageError;

/// An object that was not read yet.
pub(in super::super) struct ObjectBytes {
    objects: Arc<Objects>,
    path: Path,
}

impl ObjectBytes {
    pub(super) fn new(objects: &Arc<Objects>, path: Path) -> Self {
        Self { objects: Arc::clone(objects), path }
    }

    /// Reads a range. The first block is fetched here, so that a missing object is noticed before anything is sent.
    pub(in super::super) fn read(self, range: Range<u64>) -> Result<ObjectReader, StorageError> {
        let Self { objects, path } = self;
        let mut reader = ObjectReader { objects, path, left: range, block: Bytes::new() };
        reader.fetch()?;
        Ok(reader)
    }
}

/// A range of an object that is being read.
pub(in super::super) struct ObjectReader {
    objects: Arc<Objects>,
    path: Path,
    /// What was not fetched yet.
    left: Range<u64>,
    block: Bytes,
}

impl ObjectReader {
    fn fetch(&mut self) -> Result<(), StorageError> {
        if self.left.is_empty() {
            return Ok(());
        }
        let next = self.left.start..self.left.end.min(self.left.start + limits::ASSET_REQUEST_BYTES);
        let block = self.objects.get_range(&self.path, next.clone())?;
        let block = block.filter(|block| block.len() as u64 == next.end - next.start);
        self.block = block.ok_or_else(|| StorageError::Damaged("asset: its bytes are missing".to_owned()))?;
        self.left.start = next.end;
        Ok(())
    }
}

impl Read for ObjectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.block.is_empty() {
            self.fetch().map_err(io::Error::other)?;
        }
        let read = buffer.len().min(self.block.len());
        self.block.copy_to_slice(&mut buffer[..read]);
        Ok(read)
    }
}
