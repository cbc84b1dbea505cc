//! The physical columns of a Parquet file as pyarrow reports them (dataset-loading.md sections 1.8 and 4.3).
//!
//! Owns the differences from arrow-rs: the stored `ARROW:schema` counts with its units and dictionaries replaced by what
//! Parquet keeps of them, and INT96 is nanoseconds without a zone. A damaged `ARROW:schema` is passed over.

use std::sync::Arc;

use ::parquet::arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema, parquet_to_arrow_schema};
use ::parquet::basic::Type as PhysicalType;
use ::parquet::file::metadata::{KeyValue, ParquetMetaData};
use ::parquet::schema::types::SchemaDescriptor;
use arrow_schema::{DataType, FieldRef, Fields, Schema, TimeUnit};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::footer::parquet_error;
use crate::error::FormatError;

/// Marks the message of a stored schema, before its length.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// The columns of a file.
pub(super) fn physical_fields(metadata: &ParquetMetaData) -> Result<Fields, FormatError> {
    let descriptor = metadata.file_metadata().schema_descr();
    let pairs = metadata.file_metadata().key_value_metadata().into_iter().flatten();
    let stored =
        pairs.filter(|pair| pair.key == ARROW_SCHEMA_META_KEY).find_map(|pair| pair.value.as_deref());
    let hint = stored.and_then(stored_schema).map(|schema| {
        let fields: Fields = schema.fields().iter().map(kept_field).collect();
        let text = encode_arrow_schema(&Schema::new(fields));
        vec![KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), text)]
    });
    let restored = parquet_to_arrow_schema(descriptor, hint.as_ref())
        .or_else(|_| parquet_to_arrow_schema(descriptor, None))
        .map_err(parquet_error)?;
    let mut leaf = 0;
    Ok(restored.fields().iter().map(|field| physical_field(field, descriptor, &mut leaf)).collect())
}

fn stored_schema(text: &str) -> Option<Schema> {
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    let message = bytes.strip_prefix(&CONTINUATION).and_then(|rest| rest.get(4..)).unwrap_or(&bytes);
    let schema = arrow_ipc::root_as_message(message).ok()?.header_as_schema()?;
    arrow_ipc::convert::try_fb_to_schema(schema).ok()
}

/// A field of the stored schema with what Parquet keeps of its type: no seconds, no `date64`, no dictionary.
fn kept_field(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Dictionary(_, value) => {
            return kept_field(&Arc::new(field.as_ref().clone().with_data_type(value.as_ref().clone())));
        }
        DataType::Time32(_) => DataType::Time32(TimeUnit::Millisecond),
        DataType::Timestamp(TimeUnit::Second, zone) => {
            DataType::Timestamp(TimeUnit::Millisecond, zone.clone())
        }
        DataType::Date64 => DataType::Date32,
        nested => with_children(nested, &mut kept_field),
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

/// `leaf` counts the Parquet columns that the fields before this one took.
fn physical_field(field: &FieldRef, descriptor: &SchemaDescriptor, leaf: &mut usize) -> FieldRef {
    let data_type = with_children(field.data_type(), &mut |child| physical_field(child, descriptor, leaf));
    let data_type = match data_type {
        DataType::Map(entries, sorted) => DataType::Map(map_entries(field.name(), &entries), sorted),
        nested @ (DataType::Struct(_)
        | DataType::List(_)
        | DataType::LargeList(_)
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::FixedSizeList(..)) => nested,
        scalar => {
            let is_int96 = *leaf < descriptor.num_columns()
                && descriptor.column(*leaf).physical_type() == PhysicalType::INT96;
            *leaf += 1;
            if is_int96 { DataType::Timestamp(TimeUnit::Nanosecond, None) } else { scalar }
        }
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

/// A type whose fields are replaced.
fn with_children(data_type: &DataType, replace: &mut dyn FnMut(&FieldRef) -> FieldRef) -> DataType {
    match data_type {
        DataType::Struct(members) => DataType::Struct(members.iter().map(replace).collect()),
        DataType::List(item) => DataType::List(replace(item)),
        DataType::LargeList(item) => DataType::LargeList(replace(item)),
        DataType::ListView(item) => DataType::ListView(replace(item)),
        DataType::LargeListView(item) => DataType::LargeListView(replace(item)),
        DataType::FixedSizeList(item, len) => DataType::FixedSizeList(replace(item), *len),
        DataType::Map(entries, sorted) => DataType::Map(replace(entries), *sorted),
        other => other.clone(),
    }
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
