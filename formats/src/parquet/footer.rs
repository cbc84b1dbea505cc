//! The footer of a Parquet file: metadata, columns, `huggingface` metadata.
//!
//! Owns the bounds on a footer: length, columns, depth. Errors carry pyarrow's classes and messages.

use std::sync::{Arc, Mutex};

use ::parquet::arrow::{FieldLevels, ProjectionMask, parquet_to_arrow_field_levels};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use ::parquet::schema::types::SchemaDescriptor;
use arrow_schema::Fields;
use outpost_model::limits;

use super::schema::physical_fields;
use super::schema_depth::{self, SCHEMA_DEPTH_MAX};
use crate::error::{ErrorClass, FormatError};
use crate::memory;
use crate::panics::caught;
use crate::source::ByteSource;
use crate::windows::Windows;

/// Length and magic bytes at the end of the file.
const TAIL_BYTES: usize = 8;
/// Read at the end of the file at once; most footers fit.
const TAIL_AHEAD_BYTES: usize = 64 * 1024;

/// What a byte of a footer takes once it is decoded, about.
const MEMORY_PER_FOOTER_BYTE: usize = 12;

/// An open file: what its footer says.
pub(super) struct Footer {
    pub(super) metadata: Arc<ParquetMetaData>,
    /// Columns with pyarrow's physical types and extension marks.
    pub(super) fields: Fields,
    /// The `huggingface` key of the metadata.
    pub(super) huggingface: Option<String>,
    pub(super) windows: Arc<Mutex<Windows>>,
}

impl Footer {
    /// Reads the footer with one ranged read where it is of usual size.
    pub(super) fn read(source: Arc<dyn ByteSource>) -> Result<Self, FormatError> {
        let mut windows = Windows::new(source);
        let file_len = windows.file_len();
        if file_len < TAIL_BYTES as u64 {
            return Err(too_small(file_len));
        }
        let ahead = usize::try_from(file_len).unwrap_or(usize::MAX).min(TAIL_AHEAD_BYTES);
        let tail = windows.read(file_len - ahead as u64, ahead, ahead)?;
        let footer_len = footer_len(&tail[ahead - TAIL_BYTES..], file_len)?;
        memory::hold(footer_len.saturating_mul(MEMORY_PER_FOOTER_BYTE))?;
        let start = file_len - TAIL_BYTES as u64 - footer_len as u64;
        let bytes = windows.read(start, footer_len, footer_len)?;
        schema_depth::check(&bytes)?;
        let metadata = caught(|| ParquetMetaDataReader::decode_metadata(&bytes).map_err(parquet_error))?;
        check_schema(metadata.file_metadata().schema_descr())?;
        let fields = caught(|| physical_fields(&metadata))?;
        let pairs = metadata.file_metadata().key_value_metadata().into_iter().flatten();
        let huggingface = pairs.filter(|pair| pair.key == "huggingface").find_map(|pair| pair.value.clone());
        Ok(Self { metadata: Arc::new(metadata), fields, huggingface, windows: Arc::new(Mutex::new(windows)) })
    }

    /// How the columns at `indices` of the schema are decoded.
    pub(super) fn levels(&self, indices: &[usize]) -> Result<FieldLevels, FormatError> {
        let descriptor = self.metadata.file_metadata().schema_descr();
        let mask = ProjectionMask::roots(descriptor, indices.iter().copied());
        caught(|| parquet_to_arrow_field_levels(descriptor, mask, Some(&self.fields)).map_err(parquet_error))
    }
}

fn too_small(len: u64) -> FormatError {
    let message = match len {
        0 => "Parquet file size is 0 bytes".to_owned(),
        _ => format!("Parquet file size is {len} bytes, smaller than the minimum file footer (8 bytes)"),
    };
    FormatError::new(ErrorClass::ArrowInvalid, message)
}

fn footer_len(tail: &[u8], file_len: u64) -> Result<usize, FormatError> {
    let (len, magic) = tail.split_at(4);
    if magic == b"PARE" {
        return Err(FormatError::new(
            ErrorClass::OSError,
            "This Parquet file is encrypted; upload it without encryption to see its rows.",
        ));
    }
    if magic != b"PAR1" {
        return Err(FormatError::new(
            ErrorClass::ArrowInvalid,
            "Parquet magic bytes not found in footer. Either the file is corrupted or this is not a parquet file.",
        ));
    }
    let len = u32::from_le_bytes([len[0], len[1], len[2], len[3]]);
    if u64::from(len) > file_len - TAIL_BYTES as u64 {
        return Err(FormatError::new(
            ErrorClass::ArrowInvalid,
            format!(
                "Parquet file size is {file_len} bytes, smaller than the size reported by footer's ({len}bytes)"
            ),
        ));
    }
    let len = len as usize;
    if len > limits::PARQUET_FOOTER_BYTES_MAX {
        return Err(FormatError::new(
            ErrorClass::LimitExceeded,
            format!(
                "The footer of this Parquet file has {len} bytes, more than the {} that are read; \
                 write fewer columns or larger row groups.",
                limits::PARQUET_FOOTER_BYTES_MAX
            ),
        ));
    }
    Ok(len)
}

fn check_schema(descriptor: &SchemaDescriptor) -> Result<(), FormatError> {
    let depth = descriptor.columns().iter().map(|column| column.path().parts().len()).max().unwrap_or(0);
    if descriptor.num_columns() > limits::COLUMNS_MAX || depth > SCHEMA_DEPTH_MAX {
        return Err(FormatError::new(
            ErrorClass::LimitExceeded,
            format!(
                "This Parquet file has {} columns nested up to {depth} levels, more than the {} columns or {} levels \
                 that are read.",
                descriptor.num_columns(),
                limits::COLUMNS_MAX,
                SCHEMA_DEPTH_MAX
            ),
        ));
    }
    Ok(())
}

/// A failure of the parquet crate as pyarrow's class; failures of the byte source come back unchanged.
pub(super) fn parquet_error(error: ParquetError) -> FormatError {
    match error {
        ParquetError::External(inner) => match inner.downcast::<FormatError>() {
            Ok(inner) => *inner,
            Err(inner) => FormatError::new(ErrorClass::OSError, inner.to_string()),
        },
        ParquetError::NYI(what) => FormatError::new(ErrorClass::ArrowNotImplementedError, what),
        ParquetError::EOF(what) | ParquetError::General(what) => FormatError::new(ErrorClass::OSError, what),
        other => FormatError::new(ErrorClass::OSError, other.to_string()),
    }
}
