//! Tar archives as one sequential read (dataset-loading.md section 1.11): plain, gzip, bz2 or xz by their first bytes.
//!
//! Owns walking the members and reading the content of the current one; what is not read is skipped, without fetching
//! it where the archive is not compressed. Refuses sparse members. Fails with `ReadError` where Python's stream reader
//! does (a damaged header behind the first member ends the archive, as it does there), with `LimitExceeded` for headers
//! beyond the limits. No size that a header claims is allocated before its bytes have arrived.

use std::io::Read;
use std::sync::Arc;

use outpost_model::limits;

use super::tar_header::{BLOCK_BYTES, Header, HeaderError, Kind, Pax};
use crate::compression::{Packing, SourceReader, open_packed, packing_of_bytes};
use crate::error::{ErrorClass, FormatError};
use crate::module::DataFile;

/// Bytes by which a compressed archive is known.
const MAGIC_BYTES_MAX: usize = 6;

/// Bytes of the archive, in order.
enum Input {
    Plain { reader: SourceReader, left: u64 },
    Packed(Box<dyn Read + Send>),
}

/// A regular file of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Its path in the archive.
    pub(super) name: String,
    /// Bytes of its content, as the header claims.
    pub(super) size: u64,
}

/// An archive being read.
pub(super) struct Tar {
    input: Input,
    /// Bytes of the current member that were not read, and those that fill its last block.
    content_left: u64,
    padding: u64,
    /// Whether a member was seen: damage behind one ends the archive silently.
    started: bool,
    ended: bool,
    global: Pax,
}

impl Tar {
    /// Opens an archive.
    ///
    /// # Errors
    /// Those of reading its first bytes.
    pub(super) fn open(file: &DataFile) -> Result<Self, FormatError> {
        let mut reader = SourceReader::new(Arc::clone(&file.source));
        let packing = packing_of_bytes(reader.peek(MAGIC_BYTES_MAX)?);
        let input = match packing {
            Packing::Gzip | Packing::Bz2 | Packing::Xz => {
                Input::Packed(open_packed(&file.path, Arc::clone(&file.source), packing)?)
            }
            _ => Input::Plain { reader, left: file.source.len() },
        };
        Ok(Self { input, content_left: 0, padding: 0, started: false, ended: false, global: Pax::default() })
    }

    /// The next regular file; `None` at the end.
    ///
    /// # Errors
    /// `ReadError` for damage, `NotImplementedError` for sparse members, `LimitExceeded` for endless headers.
    pub(super) fn next_member(&mut self) -> Result<Option<Member>, FormatError> {
        for _ in 0..limits::TAR_HEADERS_SKIPPED_MAX {
            if self.ended {
                return Ok(None);
            }
            self.skip_rest()?;
            match self.next_entry() {
                Ok((header, pax)) => {
                    self.started = true;
                    if let Some(member) = self.enter(header, &pax)? {
                        return Ok(Some(member));
                    }
                }
                Err(HeaderError::End) => self.ended = true,
                Err(HeaderError::Damaged(_)) if self.started => self.ended = true,
                Err(HeaderError::Damaged(reason)) => return Err(read_error(reason)),
                Err(HeaderError::Failed(error)) => return Err(error),
            }
        }
        let message = format!(
            "the archive has more than {} entries in a row that are no files; pack only the samples",
            limits::TAR_HEADERS_SKIPPED_MAX
        );
        Err(FormatError::new(ErrorClass::LimitExceeded, message))
    }

    /// The content of the current member.
    ///
    /// # Errors
    /// `ReadError` when the archive ends before it.
    pub(super) fn read_content(&mut self) -> Result<Vec<u8>, FormatError> {
        self.check_length(self.content_left)?;
        let content = self.input.read(self.content_left)?;
        if (content.len() as u64) < self.content_left {
            return Err(unexpected_end());
        }
        self.content_left = 0;
        Ok(content)
    }

    /// Goes behind the current member.
    fn skip_rest(&mut self) -> Result<(), FormatError> {
        let rest = self.content_left + self.padding;
        self.content_left = 0;
        self.padding = 0;
        self.check_length(rest)?;
        if self.input.skip(rest)? < rest { Err(unexpected_end()) } else { Ok(()) }
    }

    /// Refuses what a plain archive cannot hold before any of it is fetched.
    fn check_length(&self, bytes: u64) -> Result<(), FormatError> {
        match &self.input {
            Input::Plain { left, .. } if *left < bytes => Err(unexpected_end()),
            _ => Ok(()),
        }
    }

    /// Takes up an entry: a member when it is a regular file.
    fn enter(&mut self, header: Header, pax: &Pax) -> Result<Option<Member>, FormatError> {
        let size = pax.size.or(self.global.size).unwrap_or(header.size);
        if header.kind == Kind::Empty {
            return Ok(None);
        }
        self.content_left = size;
        self.padding = size.next_multiple_of(BLOCK_BYTES) - size;
        if header.kind == Kind::Other {
            return Ok(None);
        }
        let name = pax.path.clone().or_else(|| self.global.path.clone()).unwrap_or(header.name);
        if header.kind == Kind::Sparse || pax.is_sparse || self.global.is_sparse {
            let message = format!("'{name}' is a sparse file; pack the archive again without sparse files");
            return Err(FormatError::new(ErrorClass::NotImplementedError, message));
        }
        Ok(Some(Member { name, size }))
    }

    /// The next header that is no extension of another, with what its extensions say.
    fn next_entry(&mut self) -> Result<(Header, Pax), HeaderError> {
        let mut local = Pax::default();
        let mut is_extended = false;
        for _ in 0..limits::TAR_EXTENSIONS_MAX {
            let header = match self.next_header() {
                Err(HeaderError::Damaged(reason)) if is_extended => return Err(read_error(reason).into()),
                Err(HeaderError::End) if is_extended => {
                    return Err(read_error("end of file header").into());
                }
                header => header?,
            };
            match header.kind {
                Kind::LongName => {
                    let content = self.extension(header.size)?;
                    local.path.get_or_insert_with(|| super::tar_header::text(&content));
                }
                Kind::LongLink => drop(self.extension(header.size)?),
                Kind::Pax => {
                    let pax = Pax::parse(&self.extension(header.size)?)?;
                    local = pax.over(local);
                }
                Kind::GlobalPax => {
                    let pax = Pax::parse(&self.extension(header.size)?)?;
                    self.global = pax.over(std::mem::take(&mut self.global));
                }
                _ => return Ok((header, local)),
            }
            is_extended = true;
        }
        let message = format!(
            "a member of the archive has more than {} extension headers; pack it again",
            limits::TAR_EXTENSIONS_MAX
        );
        Err(FormatError::new(ErrorClass::LimitExceeded, message).into())
    }

    fn next_header(&mut self) -> Result<Header, HeaderError> {
        let block = self.input.read(BLOCK_BYTES)?;
        Header::parse(&block)
    }

    /// The content of an extension header, with the filling of its last block taken away.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, HeaderError> {
        if size > limits::TAR_EXTENSION_BYTES_MAX {
            let message = format!(
                "a header of the archive claims {size} bytes; at most {} are read",
                limits::TAR_EXTENSION_BYTES_MAX
            );
            return Err(FormatError::new(ErrorClass::LimitExceeded, message).into());
        }
        let mut content = self.input.read(size.next_multiple_of(BLOCK_BYTES))?;
        content.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        Ok(content)
    }
}

impl Input {
    /// The next `count` bytes, fewer only at the end.
    fn read(&mut self, count: u64) -> Result<Vec<u8>, FormatError> {
        let mut bytes = Vec::new();
        match self {
            Self::Plain { reader, left } => {
                reader.take(count).read_to_end(&mut bytes)?;
                *left = left.saturating_sub(bytes.len() as u64);
            }
            Self::Packed(reader) => {
                reader.take(count).read_to_end(&mut bytes).map_err(damaged)?;
            }
        }
        Ok(bytes)
    }

    /// Leaves out `count` bytes; returns how many there were.
    fn skip(&mut self, count: u64) -> Result<u64, FormatError> {
        match self {
            Self::Plain { reader, left } => {
                let count = count.min(*left);
                reader.skip(count);
                *left -= count;
                Ok(count)
            }
            Self::Packed(reader) => {
                std::io::copy(&mut reader.take(count), &mut std::io::sink()).map_err(damaged)
            }
        }
    }
}

/// A failure to decompress, as Python's reader words it.
fn damaged(error: std::io::Error) -> FormatError {
    let error = FormatError::from(error);
    if error.class == ErrorClass::OSError { read_error("invalid compressed data") } else { error }
}

fn read_error(reason: &str) -> FormatError {
    FormatError::new(ErrorClass::ReadError, reason)
}

fn unexpected_end() -> FormatError {
    read_error("unexpected end of data")
}
