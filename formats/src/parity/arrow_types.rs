//! A parser of types as `pyarrow` prints them, for the golden tables.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::extension::{EXTENSION_TYPE_METADATA_KEY, EXTENSION_TYPE_NAME_KEY};
use arrow_schema::{DataType, Field, UnionFields, UnionMode};

use crate::features::dtype::string_to_arrow;

/// The nullable field `name` with the type that `text` prints.
pub(super) fn field(name: &str, text: &str) -> Field {
    if let Some(extension) = inside(text, "extension<") {
        return extension_field(name, extension);
    }
    Field::new(name, data_type(text), true)
}

fn extension_field(name: &str, extension: &str) -> Field {
    let (extension, metadata, storage) = match extension.split_once('[') {
        Some((extension, _)) => {
            let storage = DataType::FixedSizeList(Arc::new(field("item", "int32")), 4);
            (extension, r#"{"shape":[2,2]}"#, storage)
        }
        None if extension == "arrow.uuid" => (extension, "", DataType::FixedSizeBinary(16)),
        None => (extension, "", DataType::Utf8),
    };
    Field::new(name, storage, true).with_metadata(HashMap::from([
        (EXTENSION_TYPE_NAME_KEY.to_owned(), extension.to_owned()),
        (EXTENSION_TYPE_METADATA_KEY.to_owned(), metadata.to_owned()),
    ]))
}

fn data_type(text: &str) -> DataType {
    if let Some(item) = inside(text, "list<") {
        return DataType::List(Arc::new(member(item)));
    }
    if let Some(item) = inside(text, "large_list<") {
        return DataType::LargeList(Arc::new(member(item)));
    }
    if let Some(rest) = text.strip_prefix("fixed_size_list<") {
        let (item, length) = rest.rsplit_once(">[").unwrap();
        let length = length.trim_end_matches(']').parse().unwrap();
        return DataType::FixedSizeList(Arc::new(member(item)), length);
    }
    if let Some(members) = inside(text, "struct<") {
        return DataType::Struct(split(members).into_iter().map(member).collect());
    }
    if let Some(parts) = inside(text, "run_end_encoded<") {
        let parts = split(parts);
        return DataType::RunEndEncoded(Arc::new(member(parts[0])), Arc::new(member(parts[1])));
    }
    if let Some(parts) = inside(text, "dense_union<") {
        let (part, id) = parts.rsplit_once('=').unwrap();
        let fields = UnionFields::try_new([id.parse().unwrap()], [member(part)]).unwrap();
        return DataType::Union(fields, UnionMode::Dense);
    }
    small_decimal(text).unwrap_or_else(|| scalar(text))
}

fn small_decimal(text: &str) -> Option<DataType> {
    let (name, numbers) = text.trim_end_matches(')').split_once('(')?;
    let (precision, scale) = numbers.split_once(", ")?;
    let (precision, scale) = (precision.parse().ok()?, scale.parse().ok()?);
    match name {
        "decimal32" => Some(DataType::Decimal32(precision, scale)),
        "decimal64" => Some(DataType::Decimal64(precision, scale)),
        _ => None,
    }
}

fn scalar(text: &str) -> DataType {
    let dtype = match text {
        "halffloat" => "float16",
        "float" => "float32",
        "double" => "float64",
        "date32[day]" => "date32",
        "date64[ms]" => "date64",
        other => other,
    };
    string_to_arrow(dtype).unwrap()
}

fn member(text: &str) -> Field {
    let (name, text) = text.split_once(": ").unwrap();
    match text.strip_suffix(" not null") {
        Some(text) => field(name, text).with_nullable(false),
        None => field(name, text),
    }
}

fn inside<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    text.strip_prefix(start)?.strip_suffix('>')
}

/// Splits at the commas that stand outside of brackets.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_i32, 0);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'<' | b'[' | b'(' => depth += 1,
            b'>' | b']' | b')' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(text[start..index].trim());
                start = index + 1;
            }
            _ => {}
        }
    }
    if start < text.len() {
        parts.push(text[start..].trim());
    }
    parts
}
