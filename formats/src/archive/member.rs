//! The bytes of one member of a zip archive.
//!
//! Owns decompression and the checks against what the directory says: entries that overlap, lengths and checksums that do
//! not hold. Reading goes forward; a read before the last one starts anew. Fails with `BadZipFile`.

use std::io::{self, BufRead, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bzip2::bufread::BzDecoder;
use flate2::Crc;
use flate2::bufread::DeflateDecoder;

use super::{Member, Method};
use crate::compression::SourceReader;
use crate::compression::decoders::{xz_reader, zstd_reader};
use crate::compression::source_reader::Failure;
use crate::error::{ErrorClass, FormatError};
use crate::source::ByteSource;

/// Fixed part of the header before a member's bytes.
const HEADER_BYTES: usize = 30;
/// Bytes decompressed at a time to get to a position.
const SKIP_BYTES: usize = 16 * 1024;

/// A member as a file of its decompressed bytes.
pub(super) struct MemberSource {
    archive: Arc<dyn ByteSource>,
    member: Member,
    open: Mutex<Option<Open>>,
}

/// A member being read.
struct Open {
    decoder: Box<dyn Read + Send>,
    failure: Failure,
    position: u64,
    checksum: Crc,
}

impl MemberSource {
    pub(super) fn new(archive: Arc<dyn ByteSource>, member: Member) -> Self {
        Self { archive, member, open: Mutex::new(None) }
    }

    fn bad(&self, what: &str) -> FormatError {
        FormatError::new(ErrorClass::BadZipFile, format!("{what} '{}'", self.member.name))
    }

    fn overlapped(&self) -> FormatError {
        let message = format!("Overlapped entries: '{}' (possible zip bomb)", self.member.name);
        FormatError::new(ErrorClass::BadZipFile, message)
    }

    /// The entry from its header to where the next one starts, to be read in one go.
    fn entry(&self) -> Result<Window, FormatError> {
        let Member { header_start, packed_size, end_max, .. } = self.member;
        if header_start >= self.archive.len() {
            return Err(self.bad("Truncated file header of"));
        }
        let least_end =
            header_start.checked_add(HEADER_BYTES as u64).and_then(|end| end.checked_add(packed_size));
        match least_end {
            Some(end) if end <= end_max => {
                let length = end_max - header_start;
                Ok(Window { source: Arc::clone(&self.archive), start: header_start, length })
            }
            _ => Err(self.overlapped()),
        }
    }

    /// Skips the header, so that the member's bytes come next; they must end inside of the entry.
    fn skip_header(&self, input: &mut SourceReader, entry_bytes: u64) -> Result<(), FormatError> {
        let header = input.peek(HEADER_BYTES)?;
        if header.len() < HEADER_BYTES {
            return Err(self.bad("Truncated file header of"));
        }
        if !header.starts_with(b"PK\x03\x04") {
            return Err(self.bad("Bad magic number for file header of"));
        }
        let length = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
        let header_bytes = HEADER_BYTES + length(26) + length(28);
        if header_bytes as u64 > entry_bytes.saturating_sub(self.member.packed_size) {
            return Err(self.overlapped());
        }
        input.peek(header_bytes)?;
        input.consume(header_bytes);
        Ok(())
    }

    fn start(&self) -> Result<Open, FormatError> {
        let entry = self.entry()?;
        let entry_bytes = entry.length;
        let failure = Failure::default();
        let mut input = SourceReader::with_failure(Arc::new(entry), failure.clone());
        self.skip_header(&mut input, entry_bytes)?;
        let packed = input.take(self.member.packed_size);
        let decoder: Box<dyn Read + Send> = match self.member.method {
            Method::Deflate => Box::new(DeflateDecoder::new(packed)),
            Method::Bzip2 => Box::new(BzDecoder::new(packed)),
            Method::Zstd => Box::new(zstd_reader(packed)?),
            Method::Xz => Box::new(xz_reader(packed)),
            Method::Stored | Method::Other => Box::new(packed),
        };
        Ok(Open { decoder, failure, position: 0, checksum: Crc::new() })
    }

    /// Reads the next bytes, none behind the claimed length.
    fn read_on(&self, open: &mut Open, buffer: &mut [u8]) -> Result<usize, FormatError> {
        let left = self.member.size - open.position;
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = loop {
            match open.decoder.read(&mut buffer[..wanted]) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let bad = || self.bad(&format!("Invalid compressed data ({error}) in"));
                    return Err(open.failure.get().unwrap_or_else(bad));
                }
            }
        };
        if count == 0 {
            return Err(self.bad(&format!("Fewer than the {} bytes of the directory in", self.member.size)));
        }
        if !self.member.budget.take(count as u64) {
            let message = format!(
                "more than {} bytes were decompressed from one zip archive; split it into smaller ones",
                outpost_model::limits::DECOMPRESSED_BYTES_MAX
            );
            return Err(FormatError::new(ErrorClass::LimitExceeded, message));
        }
        open.position += count as u64;
        open.checksum.update(&buffer[..count]);
        if open.position == self.member.size && open.checksum.sum() != self.member.crc32 {
            return Err(self.bad("Bad CRC-32 for file"));
        }
        Ok(count)
    }

    /// The member opened at a position, which lies before its end.
    fn open_at(&self, open: Option<Open>, position: u64) -> Result<Open, FormatError> {
        let mut open = match open {
            Some(open) if open.position <= position => open,
            _ => self.start()?,
        };
        let mut skipped = [0; SKIP_BYTES];
        while open.position < position {
            let rest = usize::try_from(position - open.position).unwrap_or(usize::MAX).min(SKIP_BYTES);
            self.read_on(&mut open, &mut skipped[..rest])?;
        }
        Ok(open)
    }
}

impl ByteSource for MemberSource {
    fn len(&self) -> u64 {
        self.member.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if offset >= self.member.size || buffer.is_empty() {
            return Ok(0);
        }
        let mut held = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // A reader that failed is not put back: the next read starts anew and fails alike.
        let mut open = self.open_at(held.take(), offset)?;
        let count = self.read_on(&mut open, buffer)?;
        *held = Some(open);
        Ok(count)
    }
}

/// A part of a file.
struct Window {
    source: Arc<dyn ByteSource>,
    start: u64,
    length: u64,
}

impl ByteSource for Window {
    fn len(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.length.saturating_sub(offset);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if count == 0 {
            return Ok(0);
        }
        self.source.read_at(self.start + offset, &mut buffer[..count])
    }
}
