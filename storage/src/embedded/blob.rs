//! Blobs: values of any length, compressed, checked and cut into chunks that the engine stores well.
//!
//! Owns the way from bytes to chunks and back. A blob is immutable under its id: a new value gets a new id, so a
//! reader sees one value whole or misses a chunk and looks again. Its BLAKE3 is checked before it is decompressed.

use bincode::{Decode, Encode};
use outpost_model::limits;

use super::keys;
use crate::error::StorageError;
use crate::kv::{Batch, Tree};

/// Below this compression costs more than it saves.
const COMPRESS_BYTES_MIN: usize = 256;
const ZSTD_LEVEL: i32 = 3;

/// Where a value is and how to check it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct Blob {
    /// Length before compression.
    raw_bytes: u32,
    /// Length as stored.
    stored_bytes: u32,
    /// Whether the stored bytes are a zstd frame.
    compressed: bool,
    /// BLAKE3 of the stored bytes.
    hash: [u8; 32],
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
enum Place {
    Inline(Vec<u8>),
    Chunks { id: u64 },
}

/// A blob ready to be stored: the work that needs no lock is done.
#[derive(Debug)]
pub(super) struct Prepared {
    blob: Blob,
    chunked: Option<Vec<u8>>,
}

/// Compresses and hashes `raw`.
///
/// # Errors
/// [`StorageError::Engine`] when it is longer than a response may be.
pub(super) fn prepare(raw: &[u8]) -> Result<Prepared, StorageError> {
    if raw.len() > limits::CONTENT_BYTES_MAX {
        return Err(StorageError::Engine(format!(
            "a value of {} bytes was to be stored, at most {} are",
            raw.len(),
            limits::CONTENT_BYTES_MAX
        )));
    }
    let packed = (raw.len() >= COMPRESS_BYTES_MIN)
        .then(|| zstd::bulk::compress(raw, ZSTD_LEVEL))
        .transpose()
        .map_err(|error| StorageError::Engine(format!("compression failed: {error}")))?
        .filter(|packed| packed.len() < raw.len());
    let compressed = packed.is_some();
    let stored = packed.unwrap_or_else(|| raw.to_vec());
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("checked against CONTENT_BYTES_MAX");
    let (raw_bytes, stored_bytes) = (length(raw), length(&stored));
    let hash = *blake3::hash(&stored).as_bytes();
    let (place, chunked) = if stored.len() <= limits::STORE_INLINE_BYTES_MAX {
        (Place::Inline(stored), None)
    } else {
        (Place::Chunks { id: 0 }, Some(stored))
    };
    Ok(Prepared { blob: Blob { raw_bytes, stored_bytes, compressed, hash, place }, chunked })
}

/// Writes the chunks under the next id, when there are any, and returns what to keep in the record.
pub(super) fn write(prepared: Prepared, next_id: &mut u64, chunks: &Tree) -> Result<Blob, StorageError> {
    let Prepared { mut blob, chunked } = prepared;
    let Some(stored) = chunked else { return Ok(blob) };
    let id = *next_id;
    *next_id += 1;
    let mut batch = Batch::new();
    for (index, piece) in (0u32..).zip(stored.chunks(limits::STORE_CHUNK_BYTES)) {
        batch.put(keys::chunk(id, index), piece.to_vec());
    }
    chunks.apply(batch)?;
    blob.place = Place::Chunks { id };
    Ok(blob)
}

/// What reading a blob found.
pub(super) enum Read {
    /// The value.
    Whole(Vec<u8>),
    /// A chunk is missing: the blob was superseded while it was read, or it is damaged.
    Missing,
}

impl Blob {
    /// The id under which chunks are stored, `None` when there are none.
    pub(super) fn chunks_id(&self) -> Option<u64> {
        match self.place {
            Place::Inline(_) => None,
            Place::Chunks { id } => Some(id),
        }
    }

    fn chunk_count(&self) -> u32 {
        self.stored_bytes.div_ceil(limits::STORE_CHUNK_BYTES as u32)
    }

    /// Reads and checks the value.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when its bytes are not those that were written.
    pub(super) fn read(&self, chunks: &Tree) -> Result<Read, StorageError> {
        match &self.place {
            Place::Inline(stored) => self.open(stored).map(Read::Whole),
            Place::Chunks { id } => {
                let mut stored =
                    Vec::with_capacity((self.stored_bytes as usize).min(limits::CONTENT_BYTES_MAX));
                for index in 0..self.chunk_count() {
                    let Some(piece) = chunks.get(&keys::chunk(*id, index))? else { return Ok(Read::Missing) };
                    stored.extend_from_slice(&piece);
                }
                self.open(&stored).map(Read::Whole)
            }
        }
    }

    fn open(&self, stored: &[u8]) -> Result<Vec<u8>, StorageError> {
        let damaged = |why: &str| StorageError::Damaged(format!("blob: {why}"));
        let raw_bytes = self.raw_bytes as usize;
        if *blake3::hash(stored).as_bytes() != self.hash {
            return Err(damaged("wrong hash"));
        }
        if raw_bytes > limits::CONTENT_BYTES_MAX {
            return Err(damaged("too long"));
        }
        let raw = if self.compressed {
            zstd::bulk::decompress(stored, raw_bytes).map_err(|error| damaged(&error.to_string()))?
        } else {
            stored.to_vec()
        };
        if raw.len() == raw_bytes { Ok(raw) } else { Err(damaged("wrong length")) }
    }
}

/// Deletes every chunk of the blob `id`, whatever their number.
pub(super) fn delete_chunks(id: u64, chunks: &Tree) -> Result<(), StorageError> {
    let mut batch = Batch::new();
    for pair in chunks.prefix(&id.to_be_bytes()) {
        batch.delete(pair?.0.to_vec());
    }
    chunks.apply(batch)
}
