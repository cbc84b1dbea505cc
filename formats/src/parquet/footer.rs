//! The footer of a Parquet file: metadata, physical schema as pyarrow reports it, key-value metadata.
//!
//! Owns the bounds on a footer (length, columns, depth) and the differences between arrow-rs and pyarrow in the
//! physical schema (dataset-loading.md sections 1.8 and 4.3). Errors carry pyarrow's classes and messages.

use std::sync::{Arc, Mutex};

use ::parquet::arrow::{FieldLevels, ProjectionMask, parquet_to_arrow_field_levels, parquet_to_arrow_schema};
use ::parquet::basic::LogicalType;
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::{KeyValue, ParquetMetaData, ParquetMetaDataReader};
use ::parquet::schema::types::SchemaDescriptor;
use arrow_schema::{DataType, Field, FieldRef, Fields, TimeUnit};
use outpost_model::limits;

use crate::error::{ErrorClass, FormatError};
use crate::panics::caught;
use crate::source::ByteSource;
use crate::windows::Windows;

/// Length and magic bytes at the end of the file.
const TAIL_BYTES: usize = 8;
/// Read at the end of the file at once; most footers fit.
const TAIL_AHEAD_BYTES: usize = 64 * 1024;

/// Where a field's metadata names its extension type.
const EXTENSION_NAME: &str = "ARROW:extension:name";

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
        let start = file_len - TAIL_BYTES as u64 - footer_len as u64;
        let bytes = windows.read(start, footer_len, footer_len)?;
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
    // A list takes two levels of the path, a struct one.
    if descriptor.num_columns() > limits::COLUMNS_MAX || depth > 2 * limits::NESTING_DEPTH_MAX {
        return Err(FormatError::new(
            ErrorClass::LimitExceeded,
            format!(
                "This Parquet file has {} columns nested up to {depth} levels, more than the {} columns or {} levels \
                 that are read.",
                descriptor.num_columns(),
                limits::COLUMNS_MAX,
                2 * limits::NESTING_DEPTH_MAX
            ),
        ));
    }
    Ok(())
}

/// The columns that pyarrow reports: `ARROW:schema` restored, dictionaries decoded, no unit or type that Parquet lacks.
fn physical_fields(metadata: &ParquetMetaData) -> Result<Fields, FormatError> {
    let descriptor = metadata.file_metadata().schema_descr();
    let pairs = metadata.file_metadata().key_value_metadata();
    let restored = parquet_to_arrow_schema(descriptor, pairs)
        // A damaged ARROW:schema must not hide the data.
        .or_else(|_| parquet_to_arrow_schema(descriptor, without_arrow_schema(pairs).as_ref()))
        .map_err(parquet_error)?;
    let mut leaf = 0;
    Ok(restored.fields().iter().map(|field| physical_field(field, descriptor, &mut leaf)).collect())
}

fn without_arrow_schema(pairs: Option<&Vec<KeyValue>>) -> Option<Vec<KeyValue>> {
    Some(pairs?.iter().filter(|pair| pair.key != "ARROW:schema").cloned().collect())
}

/// `leaf` counts the Parquet columns that the fields before this one took.
fn physical_field(field: &FieldRef, descriptor: &SchemaDescriptor, leaf: &mut usize) -> FieldRef {
    let mut metadata = field.metadata().clone();
    let data_type = match field.data_type() {
        DataType::Struct(members) => {
            DataType::Struct(members.iter().map(|member| physical_field(member, descriptor, leaf)).collect())
        }
        DataType::List(item) => DataType::List(physical_field(item, descriptor, leaf)),
        DataType::LargeList(item) => DataType::LargeList(physical_field(item, descriptor, leaf)),
        DataType::ListView(item) => DataType::ListView(physical_field(item, descriptor, leaf)),
        DataType::LargeListView(item) => DataType::LargeListView(physical_field(item, descriptor, leaf)),
        DataType::FixedSizeList(item, len) => {
            DataType::FixedSizeList(physical_field(item, descriptor, leaf), *len)
        }
        DataType::Map(entries, sorted) => {
            DataType::Map(map_entries(field.name(), &physical_field(entries, descriptor, leaf)), *sorted)
        }
        scalar => {
            if let Some(name) = logical_extension(descriptor, *leaf)
                && !metadata.contains_key(EXTENSION_NAME)
            {
                metadata.insert(EXTENSION_NAME.to_owned(), name.to_owned());
            }
            *leaf += 1;
            physical_scalar(scalar)
        }
    };
    let field = Field::new(field.name(), data_type, field.is_nullable()).with_metadata(metadata);
    Arc::new(field)
}

/// Entries whose value field bears the map's name, as it does in pyarrow's messages.
fn map_entries(name: &str, entries: &FieldRef) -> FieldRef {
    let DataType::Struct(members) = entries.data_type() else { return Arc::clone(entries) };
    let renamed = members.iter().enumerate().map(|(index, member)| match index {
        1 => Arc::new(member.as_ref().clone().with_name(name)),
        _ => Arc::clone(member),
    });
    Arc::new(entries.as_ref().clone().with_data_type(DataType::Struct(renamed.collect())))
}

/// The extension type that pyarrow gives a column for its logical type alone.
fn logical_extension(descriptor: &SchemaDescriptor, leaf: usize) -> Option<&'static str> {
    if leaf >= descriptor.num_columns() {
        return None;
    }
    match descriptor.column(leaf).logical_type_ref()? {
        LogicalType::Json => Some("arrow.json"),
        LogicalType::Uuid => Some("arrow.uuid"),
        _ => None,
    }
}

fn physical_scalar(scalar: &DataType) -> DataType {
    match scalar {
        DataType::Dictionary(_, value) => physical_scalar(value),
        DataType::Time32(_) => DataType::Time32(TimeUnit::Millisecond),
        DataType::Timestamp(TimeUnit::Second, zone) => {
            DataType::Timestamp(TimeUnit::Millisecond, zone.clone())
        }
        DataType::Date64 => DataType::Date32,
        other => other.clone(),
    }
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
