//! The central directory of a zip archive.
//!
//! Owns what is kept of it and the bounds of reading it: one entry at a time, so that memory does not depend on what the
//! archive claims. Fails with `BadZipFile` where the directory is broken.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use indexmap::IndexMap;
use outpost_model::limits;
use zip::CompressionMethod;
use zip::result::ZipError;
use zip::unstable::read::ZipIterable;

use super::{Budget, Member, Method};
use crate::error::{ErrorClass, FormatError};
use crate::module::DataFile;
use crate::source::ByteSource;

/// Longest end of an archive that may have to be searched for its directory: the end record with the longest comment, and
/// the records of large archives before it.
const TAIL_BYTES: usize = 66 * 1024;

pub(super) fn members(archive: &DataFile) -> Result<Vec<Member>, FormatError> {
    let reader = DirectoryReader::new(Arc::clone(&archive.source));
    let mut directory =
        ZipIterable::try_new(reader, zip::read::Config::default()).map_err(|error| not_a_zip(&error))?;
    if directory.len() > limits::ARCHIVE_MEMBERS_MAX {
        return Err(too_large(archive, "members", limits::ARCHIVE_MEMBERS_MAX));
    }
    let budget = Budget::new(limits::DECOMPRESSED_BYTES_MAX);
    let mut directory_start = None;
    let mut starts = Vec::new();
    let mut by_name: IndexMap<String, (Member, usize)> = IndexMap::new();
    let mut name_bytes = 0;
    for entry in directory.files().map_err(|error| bad_directory(&error))? {
        let entry = entry.map_err(|error| bad_directory(&error))?;
        directory_start.get_or_insert(entry.central_header_start());
        let name = checked_name(&entry.name().map_err(|error| bad_directory(&error))?)?;
        name_bytes += name.len();
        if name_bytes > limits::ARCHIVE_NAMES_BYTES_MAX {
            return Err(too_large(archive, "bytes of names", limits::ARCHIVE_NAMES_BYTES_MAX));
        }
        let member = Member {
            name: String::new(),
            size: entry.size(),
            packed_size: entry.compressed_size(),
            crc32: entry.crc32(),
            method: method(entry.compression()),
            is_encrypted: entry.encrypted(),
            header_start: entry.header_start(),
            end_max: 0,
            budget: budget.clone(),
        };
        by_name.insert(name, (member, starts.len()));
        starts.push(entry.header_start());
    }
    let ends = ends(&starts, directory_start.unwrap_or(0));
    let named = |(name, (member, at))| Member { name, end_max: ends[at], ..member };
    Ok(by_name.into_iter().map(named).collect())
}

/// Where each entry must end: where the next one starts, the last one where the directory starts.
fn ends(starts: &[u64], directory_start: u64) -> Vec<u64> {
    let mut order: Vec<usize> = (0..starts.len()).collect();
    order.sort_by_key(|&at| starts[at]);
    let mut ends = vec![directory_start; starts.len()];
    for pair in order.windows(2) {
        ends[pair[0]] = starts[pair[1]];
    }
    ends
}

fn checked_name(name: &str) -> Result<String, FormatError> {
    if name.len() > limits::ARCHIVE_MEMBER_NAME_BYTES_MAX {
        let message = format!(
            "A member of the zip archive has a name of {} bytes; use names of up to {} bytes",
            name.len(),
            limits::ARCHIVE_MEMBER_NAME_BYTES_MAX
        );
        return Err(FormatError::new(ErrorClass::LimitExceeded, message));
    }
    if name.starts_with('/') || name.contains('\0') || name.split('/').any(|part| part == "..") {
        let message = format!(
            "'{}' is not a path inside of the zip archive; pack it with relative names and without '..'",
            name.escape_default()
        );
        return Err(FormatError::new(ErrorClass::BadZipFile, message));
    }
    Ok(name.to_owned())
}

fn method(method: CompressionMethod) -> Method {
    match method {
        CompressionMethod::STORE => Method::Stored,
        CompressionMethod::DEFLATE => Method::Deflate,
        CompressionMethod::BZIP2 => Method::Bzip2,
        CompressionMethod::ZSTD => Method::Zstd,
        CompressionMethod::XZ => Method::Xz,
        _ => Method::Other,
    }
}

fn too_large(archive: &DataFile, what: &str, max: usize) -> FormatError {
    let message =
        format!("the zip archive '{}' has more than {max} {what}; split it into smaller ones", archive.path);
    FormatError::new(ErrorClass::LimitExceeded, message)
}

fn not_a_zip(error: &ZipError) -> FormatError {
    zip_error(error, "File is not a zip file".to_owned())
}

fn bad_directory(error: &ZipError) -> FormatError {
    zip_error(error, format!("Bad central directory: {error}"))
}

fn zip_error(error: &ZipError, bad: String) -> FormatError {
    match error {
        ZipError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => of_source(error),
        ZipError::UnsupportedArchive(what) => FormatError::new(ErrorClass::NotImplementedError, *what),
        _ => FormatError::new(ErrorClass::BadZipFile, bad),
    }
}

/// The failure of the source inside of an error that can only be borrowed.
fn of_source(error: &io::Error) -> FormatError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<FormatError>()) {
        Some(inner) => inner.clone(),
        None => io::Error::new(error.kind(), error.to_string()).into(),
    }
}

/// A part of the archive in memory.
#[derive(Default)]
struct Block {
    start: u64,
    bytes: Vec<u8>,
}

impl Block {
    /// What it holds from a position on.
    fn from(&self, position: u64) -> &[u8] {
        let skipped = position.checked_sub(self.start).and_then(|skipped| usize::try_from(skipped).ok());
        skipped.and_then(|skipped| self.bytes.get(skipped..)).unwrap_or_default()
    }
}

/// Reads the end of an archive at once and its directory in blocks that grow, each byte of both at most a few times.
struct DirectoryReader {
    source: Arc<dyn ByteSource>,
    position: u64,
    tail: Block,
    block: Block,
    block_bytes: usize,
    bytes_left: u64,
}

impl DirectoryReader {
    fn new(source: Arc<dyn ByteSource>) -> Self {
        Self {
            source,
            position: 0,
            tail: Block::default(),
            block: Block::default(),
            block_bytes: limits::READ_BLOCK_BYTES_MIN,
            bytes_left: limits::ARCHIVE_LISTING_BYTES_MAX,
        }
    }

    fn fetch(&mut self, start: u64, length: usize) -> io::Result<Block> {
        let Some(left) = self.bytes_left.checked_sub(length as u64) else {
            let message = format!(
                "more than {} bytes would be read to list a zip archive; split it into smaller ones",
                limits::ARCHIVE_LISTING_BYTES_MAX
            );
            return Err(FormatError::new(ErrorClass::LimitExceeded, message).into());
        };
        self.bytes_left = left;
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match self.source.read_at(start + filled as u64, &mut bytes[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count.min(length - filled),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Kept whole: the kind alone would make a failure of the source look like a broken archive.
                Err(error) => return Err(FormatError::from(error).into()),
            }
        }
        bytes.truncate(filled);
        Ok(Block { start, bytes })
    }

    /// Makes the bytes at the position available, unless it lies behind the end.
    fn load(&mut self) -> io::Result<()> {
        let length = self.source.len();
        let held = !self.tail.from(self.position).is_empty() || !self.block.from(self.position).is_empty();
        if held || self.position >= length {
            return Ok(());
        }
        let tail_start = length.saturating_sub(TAIL_BYTES as u64);
        if self.tail.bytes.is_empty() && self.position >= tail_start {
            let tail_bytes = usize::try_from(length - tail_start).unwrap_or(TAIL_BYTES);
            self.tail = self.fetch(tail_start, tail_bytes)?;
            return Ok(());
        }
        let rest = usize::try_from(length - self.position).unwrap_or(usize::MAX);
        self.block = self.fetch(self.position, self.block_bytes.min(rest))?;
        self.block_bytes = (self.block_bytes * 2).min(limits::READ_BLOCK_BYTES_MAX);
        Ok(())
    }
}

impl Read for DirectoryReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.load()?;
        let held = match self.tail.from(self.position) {
            [] => self.block.from(self.position),
            tail => tail,
        };
        let count = held.len().min(buffer.len());
        buffer[..count].copy_from_slice(&held[..count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for DirectoryReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.source.len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}
