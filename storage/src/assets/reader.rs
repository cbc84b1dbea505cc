//! Reading stored bytes, whole or in part, in either form.
//!
//! Owns the checks: a whole file is hashed as it goes by and ends in an error when it is not what was put; a part ends
//! in one when bytes are missing. Memory is bounded by the decoder's window. Small files are checked when opened.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::ops::Range;

use outpost_model::limits;

use super::shared::ObjectBytes;
use super::{AssetBody, AssetForm};
use crate::error::StorageError;

/// Largest window that our own frames need, as a power of two.
const WINDOW_LOG_MAX: u32 = 25;

/// What the stored bytes of an asset must be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    pub(super) bytes: u64,
    pub(super) hash: [u8; 32],
    pub(super) stored_bytes: u64,
    pub(super) stored_hash: [u8; 32],
    /// Whether they are a zstd frame.
    pub(super) compressed: bool,
}

/// Where stored bytes are.
pub(super) enum Source {
    Small(Vec<u8>),
    Large(File),
    Object(ObjectBytes),
}

impl Source {
    /// The bytes of a range.
    fn read(self, range: Range<u64>) -> Result<Box<dyn Read + Send>, StorageError> {
        Ok(match self {
            Self::Small(bytes) => {
                let mut cursor = Cursor::new(bytes);
                cursor.set_position(range.start);
                Box::new(cursor)
            }
            Self::Large(mut file) => {
                file.seek(SeekFrom::Start(range.start))
                    .map_err(|error| StorageError::Engine(format!("failed to read an asset: {error}")))?;
                Box::new(file)
            }
            Self::Object(object) => Box::new(object.read(range)?),
        })
    }
}

/// The stored bytes of an asset.
pub(super) struct StoredBody {
    source: Source,
    stored: Stored,
}

impl StoredBody {
    /// Bytes in memory are checked here.
    pub(super) fn new(stored: Stored, source: Source) -> Result<Self, StorageError> {
        if let Source::Small(bytes) = &source
            && *blake3::hash(bytes).as_bytes() != stored.stored_hash
        {
            return Err(damaged("wrong hash"));
        }
        Ok(Self { source, stored })
    }

    /// Reads all stored bytes once and says whether they are those that were put.
    pub(super) fn verify(self) -> bool {
        let (form, length) = match self.stored.compressed {
            true => (AssetForm::Zstd, self.stored.stored_bytes),
            false => (AssetForm::Identity, self.stored.bytes),
        };
        let read = Box::new(self).read(form, 0..length);
        read.is_ok_and(|mut reader| io::copy(&mut reader, &mut io::sink()).is_ok())
    }
}

impl AssetBody for StoredBody {
    fn read(
        self: Box<Self>,
        form: AssetForm,
        range: Range<u64>,
    ) -> Result<Box<dyn Read + Send>, StorageError> {
        let Stored { bytes, hash, stored_bytes, stored_hash, compressed } = self.stored;
        let (length, hash) = match form {
            AssetForm::Identity => (bytes, hash),
            AssetForm::Zstd if compressed => (stored_bytes, stored_hash),
            AssetForm::Zstd => return Err(damaged("it has no zstd form")),
        };
        if range.start > range.end || range.end > length {
            return Err(damaged("it has no such range"));
        }
        let is_decoded = compressed && form == AssetForm::Identity;
        // A decoded file is read from its start whatever the range.
        let start = if is_decoded { 0 } else { range.start };
        let stored = self.source.read(if is_decoded { 0..stored_bytes } else { range.clone() })?;
        let inner: Box<dyn Read + Send> = if is_decoded {
            let decoder = zstd::stream::read::Decoder::new(stored).and_then(|mut decoder| {
                decoder.window_log_max(WINDOW_LOG_MAX)?;
                Ok(decoder)
            });
            Box::new(decoder.map_err(|error| damaged(&error.to_string()))?)
        } else {
            stored
        };
        let check = (range == (0..length)).then(|| (Box::new(blake3::Hasher::new()), hash));
        let skip = range.start - start;
        Ok(Box::new(Checked { inner, skip, remaining: range.end - range.start, check }))
    }
}

/// Exactly so many bytes, of a file that is checked when it is read whole.
struct Checked {
    inner: Box<dyn Read + Send>,
    skip: u64,
    remaining: u64,
    check: Option<(Box<blake3::Hasher>, [u8; 32])>,
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.skip > 0 {
            let skipped = io::copy(&mut self.inner.by_ref().take(self.skip), &mut io::sink())?;
            if skipped < self.skip {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the asset is shorter than it was"));
            }
            self.skip = 0;
        }
        let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.inner.read(&mut buffer[..wanted])?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the asset is shorter than it was"));
        }
        self.remaining -= read as u64;
        if let Some((hasher, hash)) = &mut self.check {
            hasher.update(&buffer[..read]);
            if self.remaining == 0 && *hasher.finalize().as_bytes() != *hash {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the asset is not what was put"));
            }
        }
        Ok(read)
    }
}

fn damaged(why: &str) -> StorageError {
    StorageError::Damaged(format!("asset: {why}"))
}

const _: () = assert!(limits::ASSET_COMPRESSED_BYTES_MAX <= 1 << WINDOW_LOG_MAX);
