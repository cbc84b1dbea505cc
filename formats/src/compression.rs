//! Compressed files: which protocol a path has, and streaming decoders for it.
//!
//! Owns the rules of dataset-loading.md section 1.5 for single files: extension first, first bytes where the extension says
//! nothing. Archives are refused: zip and rar with `NotImplementedError`, tar because its reader walks members itself.
//! Decoders hold bounded memory, stop at [`limits::DECOMPRESSED_BYTES_MAX`], and report broken or truncated data as
//! `OSError`; failures of the source itself keep their own class.

pub(crate) mod decoders;
pub(crate) mod source_reader;

use std::io::Read;
use std::sync::Arc;

use outpost_model::limits;

use crate::error::{ErrorClass, FormatError};
use crate::module::DataFile;
use crate::source::ByteSource;

pub use source_reader::SourceReader;

use decoders::{Bounded, BzReader, GzReader, Lz4Reader};

/// How the bytes of a file are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the formats")]
pub enum Packing {
    /// Read as they are.
    Plain,
    Gzip,
    Bz2,
    Xz,
    Zstd,
    Lz4,
    Zip,
    /// Only known by its first bytes; nothing reads it.
    Rar,
}

impl Packing {
    /// The protocol name in chained URLs (`gzip://data.csv::hf://...`); `None` when nothing is extracted.
    #[must_use]
    pub fn protocol(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Gzip => Some("gzip"),
            Self::Bz2 => Some("bz2"),
            Self::Xz => Some("xz"),
            Self::Zstd => Some("zstd"),
            Self::Lz4 => Some("lz4"),
            Self::Zip => Some("zip"),
            Self::Rar => Some("rar"),
        }
    }
}

/// Extensions whose files are never extracted, whatever their bytes.
const PLAIN_EXTENSIONS: [&str; 14] = [
    "txt", "csv", "json", "jsonl", "tsv", "conll", "conllu", "orig", "parquet", "pkl", "pickle", "rel",
    "xml", "arrow",
];

/// First bytes by which a file of another extension is known.
const MAGICS: [(&[u8], Packing); 9] = [
    (b"PK\x03\x04", Packing::Zip),
    (b"PK\x05\x06", Packing::Zip),
    (b"PK\x07\x08", Packing::Zip),
    (b"BZh", Packing::Bz2),
    (b"\x1f\x8b", Packing::Gzip),
    (b"\xfd7zXZ\0", Packing::Xz),
    (b"\x04\"M\x18", Packing::Lz4),
    (b"\x28\xb5\x2f\xfd", Packing::Zstd),
    (b"Rar!", Packing::Rar),
];

/// Longest of the [`MAGICS`].
const MAGIC_BYTES_MAX: usize = 6;

/// What follows the last dot of a path, cut at the first `?`, `-` or `_`.
fn extension(path: &str) -> &str {
    let tail = path.rsplit('.').next().unwrap_or(path);
    tail.split(['?', '-', '_']).next().unwrap_or(tail)
}

fn is_tar(path: &str) -> bool {
    matches!(extension(path), "tgz" | "tar")
        || [".tar.gz", ".tar.bz2", ".tar.xz"].iter().any(|suffix| path.ends_with(suffix))
}

/// The packing that a path alone tells (section 1.5): `None` means that the first bytes must be looked at.
#[must_use]
pub fn packing_of_path(path: &str) -> Option<Packing> {
    let path = path.split("::").next().unwrap_or(path);
    let extension = extension(path);
    if PLAIN_EXTENSIONS.contains(&extension) || is_tar(path) {
        return Some(Packing::Plain);
    }
    match extension {
        "gz" | "gzip" => Some(Packing::Gzip),
        "bz2" => Some(Packing::Bz2),
        "lz4" => Some(Packing::Lz4),
        "xz" => Some(Packing::Xz),
        "zst" | "zstd" => Some(Packing::Zstd),
        "zip" | "eval" => Some(Packing::Zip),
        _ => None,
    }
}

/// The packing that the first bytes of a file tell.
#[must_use]
pub fn packing_of_bytes(head: &[u8]) -> Packing {
    MAGICS.iter().find(|(magic, _)| head.starts_with(magic)).map_or(Packing::Plain, |(_, packing)| *packing)
}

/// The packing of a file: by path, else by its first bytes.
///
/// # Errors
/// [`FormatError`] when the first bytes cannot be had.
pub fn packing(file: &DataFile) -> Result<Packing, FormatError> {
    if let Some(packing) = packing_of_path(&file.path) {
        return Ok(packing);
    }
    let mut head = [0; MAGIC_BYTES_MAX];
    let mut filled = 0;
    while filled < head.len() {
        match file.source.read_at(filled as u64, &mut head[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(packing_of_bytes(&head[..filled]))
}

/// Opens a file for one sequential read, decompressed where its name or first bytes ask for it.
///
/// # Errors
/// `NotImplementedError` for archives; [`FormatError`] when the first bytes cannot be had. Reads of the result fail
/// with `io::Error`s that `FormatError::from` turns into `OSError` (broken data), `LimitExceeded` (too many bytes)
/// or the source's own class.
pub fn open_extracted(file: &DataFile) -> Result<Box<dyn Read + Send>, FormatError> {
    if is_tar(file.path.split("::").next().unwrap_or(&file.path)) {
        return Err(FormatError::new(
            ErrorClass::NotImplementedError,
            format!(
                "Extraction protocol for TAR archives like '{}' is not implemented in streaming mode; \
                 upload its files unpacked",
                file.path
            ),
        ));
    }
    open_packed(&file.path, Arc::clone(&file.source), packing(file)?)
}

/// Opens a file whose packing is known.
pub(crate) fn open_packed(
    path: &str,
    source: Arc<dyn ByteSource>,
    packing: Packing,
) -> Result<Box<dyn Read + Send>, FormatError> {
    let failure = source_reader::Failure::default();
    let input = SourceReader::with_failure(source, failure.clone());
    let bound = limits::DECOMPRESSED_BYTES_MAX;
    let decoder: Box<dyn Read + Send> = match packing {
        Packing::Plain => return Ok(Box::new(input)),
        Packing::Gzip => Box::new(GzReader::new(input)),
        Packing::Bz2 => Box::new(BzReader::new(input)),
        Packing::Xz => Box::new(decoders::xz_reader(input)),
        Packing::Zstd => Box::new(decoders::zstd_reader(input)?),
        Packing::Lz4 => Box::new(Lz4Reader::new(input)),
        Packing::Zip | Packing::Rar => return Err(unsupported_archive(path, packing)),
    };
    Ok(Box::new(Bounded::new(decoder, failure, path, packing, bound)))
}

fn unsupported_archive(path: &str, packing: Packing) -> FormatError {
    let protocol = packing.protocol().unwrap_or_default();
    FormatError::new(
        ErrorClass::NotImplementedError,
        format!(
            "Extraction protocol '{protocol}' for file at '{path}' is not implemented yet; \
             upload the files unpacked or as .gz, .bz2, .xz, .zst or .lz4"
        ),
    )
}

#[cfg(test)]
mod tests;
