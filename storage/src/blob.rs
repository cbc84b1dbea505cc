//! Blobs: values of any length, compressed, checked and cut into chunks that the engine stores well.
//!
//! Owns the way from bytes to chunks and back, and the keys of chunks. A blob is immutable under its id: a new value
//! gets a new id, so a reader sees one value whole or misses a chunk and looks again. Its BLAKE3 is checked before it
//! is decompressed.

use std::borrow::Cow;

use bincode::{Decode, Encode};
use outpost_model::limits;

use crate::error::StorageError;
use crate::kv::{Batch, Kv, Tree};
use crate::packing;

/// Prefix in the tree of records of blobs whose chunks are no longer referred to and not yet deleted.
pub(crate) const GARBAGE: u8 = b'g';
/// Times that a read looks again when the value is replaced under it.
const READ_TRIES_MAX: usize = 100;
/// Below this compression costs more than it saves.
const COMPRESS_BYTES_MIN: usize = 256;

/// Where a value is and how to check it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Blob {
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prepared {
    blob: Blob,
    chunked: Option<Vec<u8>>,
}

/// Compresses and hashes `raw`.
///
/// # Errors
/// [`StorageError::Engine`] when it is longer than a response may be.
pub(crate) fn prepare(raw: &[u8]) -> Result<Prepared, StorageError> {
    if raw.len() > limits::CONTENT_BYTES_MAX {
        return Err(StorageError::Engine(format!(
            "a value of {} bytes was to be stored, at most {} are",
            raw.len(),
            limits::CONTENT_BYTES_MAX
        )));
    }
    let packed = (raw.len() >= COMPRESS_BYTES_MIN)
        .then(|| packing::compress(raw))
        .transpose()
        .map_err(|error| StorageError::Engine(format!("compression failed: {error}")))?
        .filter(|packed| packed.len() < raw.len());
    let compressed = packed.is_some();
    let stored = packed.unwrap_or_else(|| raw.to_vec());
    Ok(place(stored, raw.len(), compressed))
}

/// Decides where `stored` goes. Neither length is beyond [`limits::CONTENT_BYTES_MAX`].
fn place(stored: Vec<u8>, raw_bytes: usize, compressed: bool) -> Prepared {
    let hash = *blake3::hash(&stored).as_bytes();
    place_hashed(stored, raw_bytes, compressed, hash)
}

/// As [`place`], where the hash of `stored` is known.
fn place_hashed(stored: Vec<u8>, raw_bytes: usize, compressed: bool, hash: [u8; 32]) -> Prepared {
    let length = |bytes: usize| u32::try_from(bytes).expect("checked against CONTENT_BYTES_MAX");
    let (raw_bytes, stored_bytes) = (length(raw_bytes), length(stored.len()));
    let (place, chunked) = if stored.len() <= limits::STORE_INLINE_BYTES_MAX {
        (Place::Inline(stored), None)
    } else {
        (Place::Chunks { id: 0 }, Some(stored))
    };
    Prepared { blob: Blob { raw_bytes, stored_bytes, compressed, hash, place }, chunked }
}

impl Prepared {
    /// What another node prepared; nothing but the lengths is believed until [`Prepared::open`].
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when a length is beyond what a response may be or the two contradict each other.
    pub(crate) fn from_parts(
        stored: Vec<u8>,
        raw_bytes: usize,
        compressed: bool,
    ) -> Result<Self, StorageError> {
        check_lengths(stored.len(), raw_bytes, compressed)?;
        Ok(place(stored, raw_bytes, compressed))
    }

    /// The bytes as stored.
    pub(crate) fn stored(&self) -> &[u8] {
        match (&self.chunked, &self.blob.place) {
            (Some(stored), _) | (None, Place::Inline(stored)) => stored,
            (None, Place::Chunks { .. }) => &[],
        }
    }

    /// An empty value.
    pub(crate) fn empty() -> Self {
        place(Vec::new(), 0, false)
    }

    /// One whose chunks were written by [`write`]; another write of it writes nothing.
    pub(crate) fn of_written(blob: Blob) -> Self {
        Self { blob, chunked: None }
    }

    /// The id of chunks that were written ahead.
    pub(crate) fn written_id(&self) -> Option<u64> {
        if self.chunked.is_some() { None } else { self.blob.chunks_id() }
    }

    /// Length of the value.
    pub(crate) fn raw_bytes(&self) -> u32 {
        self.blob.raw_bytes
    }

    /// Whether the stored bytes are a zstd frame.
    pub(crate) fn is_compressed(&self) -> bool {
        self.blob.compressed
    }

    /// The value.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when the bytes are not what they claim to be.
    pub(crate) fn open(&self) -> Result<Vec<u8>, StorageError> {
        // The hash was taken from these very bytes.
        self.blob.unpack(self.stored())
    }
}

/// Refuses lengths that no value has.
fn check_lengths(stored_bytes: usize, raw_bytes: usize, compressed: bool) -> Result<(), StorageError> {
    let is_sound = raw_bytes <= limits::CONTENT_BYTES_MAX
        && if compressed { stored_bytes < raw_bytes } else { stored_bytes == raw_bytes };
    if is_sound {
        return Ok(());
    }
    let cause = format!("blob: {raw_bytes} bytes cannot be stored as {stored_bytes} bytes");
    Err(StorageError::Damaged(cause))
}

/// Writes the chunks under the next id, when there are any, and returns what to keep in the record.
pub(crate) fn write(prepared: Prepared, next_id: &mut u64, chunks: &Tree) -> Result<Blob, StorageError> {
    let Prepared { mut blob, chunked } = prepared;
    let Some(stored) = chunked else { return Ok(blob) };
    let id = *next_id;
    *next_id += 1;
    // Nothing refers to them yet, so they need no batch, which would keep readers waiting.
    for (index, piece) in (0u32..).zip(stored.chunks(limits::STORE_CHUNK_BYTES)) {
        chunks.put(&chunk_key(id, index), piece.to_vec())?;
    }
    blob.place = Place::Chunks { id };
    Ok(blob)
}

/// What reading a blob found.
pub(crate) enum Read<T = Vec<u8>> {
    /// The value.
    Whole(T),
    /// A chunk is missing: the blob was superseded while it was read, or it is damaged.
    Missing,
}

impl Blob {
    /// The id under which chunks are stored, `None` when there are none.
    pub(crate) fn chunks_id(&self) -> Option<u64> {
        match self.place {
            Place::Inline(_) => None,
            Place::Chunks { id } => Some(id),
        }
    }

    fn chunk_count(&self) -> u32 {
        self.stored_bytes.div_ceil(limits::STORE_CHUNK_BYTES as u32)
    }

    /// Length before compression.
    pub(crate) fn raw_bytes(&self) -> u32 {
        self.raw_bytes
    }

    /// Length as stored.
    pub(crate) fn stored_bytes(&self) -> u32 {
        self.stored_bytes
    }

    /// Reads and checks the value.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when its bytes are not those that were written.
    pub(crate) fn read(&self, chunks: &Tree) -> Result<Read, StorageError> {
        match self.stored(chunks)? {
            Read::Whole(stored) => self.open(&stored).map(Read::Whole),
            Read::Missing => Ok(Read::Missing),
        }
    }

    /// Reads the value as stored, for another node.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when its bytes are not those that were written.
    pub(crate) fn read_packed(&self, chunks: &Tree) -> Result<Read<Prepared>, StorageError> {
        let Read::Whole(stored) = self.stored(chunks)? else { return Ok(Read::Missing) };
        if *blake3::hash(&stored).as_bytes() != self.hash {
            return Err(StorageError::Damaged("blob: wrong hash".to_owned()));
        }
        check_lengths(stored.len(), self.raw_bytes as usize, self.compressed)?;
        let stored = stored.into_owned();
        Ok(Read::Whole(place_hashed(stored, self.raw_bytes as usize, self.compressed, self.hash)))
    }

    fn stored(&self, chunks: &Tree) -> Result<Read<Cow<'_, [u8]>>, StorageError> {
        match &self.place {
            Place::Inline(stored) => Ok(Read::Whole(Cow::Borrowed(stored))),
            Place::Chunks { id } => {
                let mut stored =
                    Vec::with_capacity((self.stored_bytes as usize).min(limits::CONTENT_BYTES_MAX));
                for index in 0..self.chunk_count() {
                    let Some(piece) = chunks.get(&chunk_key(*id, index))? else { return Ok(Read::Missing) };
                    stored.extend_from_slice(&piece);
                }
                Ok(Read::Whole(Cow::Owned(stored)))
            }
        }
    }

    fn open(&self, stored: &[u8]) -> Result<Vec<u8>, StorageError> {
        if *blake3::hash(stored).as_bytes() != self.hash {
            return Err(StorageError::Damaged("blob: wrong hash".to_owned()));
        }
        self.unpack(stored)
    }

    fn unpack(&self, stored: &[u8]) -> Result<Vec<u8>, StorageError> {
        let damaged = |why: &str| StorageError::Damaged(format!("blob: {why}"));
        let raw_bytes = self.raw_bytes as usize;
        if raw_bytes > limits::CONTENT_BYTES_MAX {
            return Err(damaged("too long"));
        }
        let raw = if self.compressed {
            packing::decompress(stored, raw_bytes).map_err(|error| damaged(&error.to_string()))?
        } else {
            stored.to_vec()
        };
        if raw.len() == raw_bytes { Ok(raw) } else { Err(damaged("wrong length")) }
    }
}

/// Deletes every chunk of the blob `id`, whatever their number.
pub(crate) fn delete_chunks(id: u64, chunks: &Tree) -> Result<(), StorageError> {
    for pair in chunks.prefix(&id.to_be_bytes()) {
        chunks.delete(&pair?.0)?;
    }
    Ok(())
}

/// Deletes superseded blobs, then their marks. A crash in between leaves the mark, and the next open repeats this.
pub(crate) fn delete_garbage(kv: &Kv, blobs: &[u64]) -> Result<(), StorageError> {
    let mut marks = Batch::new();
    for id in blobs {
        delete_chunks(*id, &kv.chunks)?;
        marks.delete(garbage_key(*id));
    }
    kv.state.apply(marks)
}

/// Deletes what a crash left: superseded blobs, and chunks that were written for a commit that never came.
pub(crate) fn delete_leftovers(kv: &Kv, next_blob: u64) -> Result<(), StorageError> {
    let mut blobs = Vec::new();
    for pair in kv.state.prefix(&[GARBAGE]) {
        blobs.extend(blob_of_mark(&pair?.0));
    }
    delete_garbage(kv, &blobs)?;
    for pair in kv.chunks.from(&next_blob.to_be_bytes()) {
        kv.chunks.delete(&pair?.0)?;
    }
    Ok(())
}

/// The key of the mark of a superseded blob, in the tree of records.
pub(crate) fn garbage_key(blob: u64) -> Vec<u8> {
    [&[GARBAGE][..], &blob.to_be_bytes()].concat()
}

/// The blob that a mark is of.
pub(crate) fn blob_of_mark(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(1..)?.try_into().ok()?))
}

/// A chunk's key in the tree of chunks: blob, then index.
pub(crate) fn chunk_key(blob: u64, index: u32) -> Vec<u8> {
    [&blob.to_be_bytes()[..], &index.to_be_bytes()].concat()
}

/// The blob that a chunk belongs to.
pub(crate) fn blob_of_chunk(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(..8)?.try_into().ok()?))
}

/// Reads a head and what it refers to; a missing chunk means that the value was replaced in between, unless the head is
/// still the same. `what` names the value in errors.
pub(crate) fn read_consistently<H: PartialEq, T>(
    what: &dyn std::fmt::Display,
    head: impl Fn() -> Result<Option<H>, StorageError>,
    read: impl Fn(&H) -> Result<Option<T>, StorageError>,
) -> Result<Option<T>, StorageError> {
    let mut last = None;
    for _ in 0..READ_TRIES_MAX {
        let Some(head) = head()? else { return Ok(None) };
        if let Some(value) = read(&head)? {
            return Ok(Some(value));
        }
        if last.as_ref() == Some(&head) {
            return Err(missing());
        }
        last = Some(head);
    }
    Err(StorageError::Engine(format!("entry {what} is replaced faster than it can be read")))
}

/// The error of a blob that lacks a chunk although nothing replaced it.
pub(crate) fn missing() -> StorageError {
    StorageError::Damaged("blob: a chunk is missing".to_owned())
}
