//! Arrow types as `pyarrow` prints them.
//!
//! Owns the texts that error messages quote (`list<item: int64>`, `timestamp[us, tz=UTC]`, whole schemas). Nothing
//! here fails; nesting is bounded by the types that readers accept.

use std::fmt::Write as _;

use arrow_schema::extension::EXTENSION_TYPE_NAME_KEY;
use arrow_schema::{DataType, Field, FieldRef, IntervalUnit, TimeUnit, UnionMode};

/// `s`, `ms`, `us` or `ns`.
#[must_use]
pub fn time_unit_text(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    }
}

/// The text of a type.
#[must_use]
pub fn arrow_type_text(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "null".into(),
        DataType::Boolean => "bool".into(),
        DataType::Int8 => "int8".into(),
        DataType::Int16 => "int16".into(),
        DataType::Int32 => "int32".into(),
        DataType::Int64 => "int64".into(),
        DataType::UInt8 => "uint8".into(),
        DataType::UInt16 => "uint16".into(),
        DataType::UInt32 => "uint32".into(),
        DataType::UInt64 => "uint64".into(),
        DataType::Float16 => "halffloat".into(),
        DataType::Float32 => "float".into(),
        DataType::Float64 => "double".into(),
        DataType::Utf8 => "string".into(),
        DataType::LargeUtf8 => "large_string".into(),
        DataType::Utf8View => "string_view".into(),
        DataType::Binary => "binary".into(),
        DataType::LargeBinary => "large_binary".into(),
        DataType::BinaryView => "binary_view".into(),
        DataType::FixedSizeBinary(width) => format!("fixed_size_binary[{width}]"),
        DataType::Date32 => "date32[day]".into(),
        DataType::Date64 => "date64[ms]".into(),
        DataType::Time32(unit) => format!("time32[{}]", time_unit_text(*unit)),
        DataType::Time64(unit) => format!("time64[{}]", time_unit_text(*unit)),
        DataType::Timestamp(unit, None) => format!("timestamp[{}]", time_unit_text(*unit)),
        DataType::Timestamp(unit, Some(zone)) => format!("timestamp[{}, tz={zone}]", time_unit_text(*unit)),
        DataType::Duration(unit) => format!("duration[{}]", time_unit_text(*unit)),
        DataType::Interval(IntervalUnit::YearMonth) => "month_interval".into(),
        DataType::Interval(IntervalUnit::DayTime) => "day_time_interval".into(),
        DataType::Interval(IntervalUnit::MonthDayNano) => "month_day_nano_interval".into(),
        DataType::Decimal32(precision, scale) => format!("decimal32({precision}, {scale})"),
        DataType::Decimal64(precision, scale) => format!("decimal64({precision}, {scale})"),
        DataType::Decimal128(precision, scale) => format!("decimal128({precision}, {scale})"),
        DataType::Decimal256(precision, scale) => format!("decimal256({precision}, {scale})"),
        nested => nested_type_text(nested),
    }
}

fn nested_type_text(data_type: &DataType) -> String {
    match data_type {
        DataType::List(item) => format!("list<{}>", member_text(item)),
        DataType::LargeList(item) => format!("large_list<{}>", member_text(item)),
        DataType::ListView(item) => format!("list_view<{}>", member_text(item)),
        DataType::LargeListView(item) => format!("large_list_view<{}>", member_text(item)),
        DataType::FixedSizeList(item, length) => format!("fixed_size_list<{}>[{length}]", member_text(item)),
        DataType::Struct(members) => {
            let members: Vec<String> = members.iter().map(|member| member_text(member)).collect();
            format!("struct<{}>", members.join(", "))
        }
        DataType::Map(entries, _) => match children(entries.data_type()).as_slice() {
            [key, value] => format!("map<{}, {}>", map_side_text(key, "key"), map_side_text(value, "value")),
            _ => "map".into(),
        },
        DataType::Dictionary(indices, values) => {
            format!(
                "dictionary<values={}, indices={}, ordered=0>",
                arrow_type_text(values),
                arrow_type_text(indices)
            )
        }
        DataType::RunEndEncoded(ends, values) => {
            format!(
                "run_end_encoded<run_ends: {}, values: {}>",
                field_type_text(ends),
                field_type_text(values)
            )
        }
        DataType::Union(members, mode) => {
            let mode = if *mode == UnionMode::Dense { "dense" } else { "sparse" };
            let members: Vec<String> =
                members.iter().map(|(id, member)| format!("{}={id}", member_text(member))).collect();
            format!("{mode}_union<{}>", members.join(", "))
        }
        other => other.to_string(),
    }
}

/// The text of a field's type, which is that of its extension type when it has a known one.
#[must_use]
pub fn field_type_text(field: &Field) -> String {
    match field.metadata().get(EXTENSION_TYPE_NAME_KEY).map(String::as_str) {
        Some(name @ ("arrow.json" | "arrow.uuid" | "arrow.bool8")) => format!("extension<{name}>"),
        Some("arrow.fixed_shape_tensor") => tensor_text(field),
        Some(name) => match name.rsplit_once('.').filter(|_| super::arrow::is_array_extension(name)) {
            Some((_, class)) => format!("extension<{name}<{class}>>"),
            None => arrow_type_text(field.data_type()),
        },
        None => arrow_type_text(field.data_type()),
    }
}

fn tensor_text(field: &Field) -> String {
    let metadata = field.metadata().get(arrow_schema::extension::EXTENSION_TYPE_METADATA_KEY);
    let shape = metadata
        .and_then(|metadata| serde_json::from_str::<serde_json::Value>(metadata).ok())
        .map(|metadata| metadata["shape"].to_string())
        .unwrap_or_default();
    let items = children(field.data_type());
    let value_type = items.first().map(|item| arrow_type_text(item.data_type())).unwrap_or_default();
    format!("extension<arrow.fixed_shape_tensor[value_type={value_type}, shape={shape}]>")
}

fn member_text(field: &Field) -> String {
    let not_null = if field.is_nullable() { "" } else { " not null" };
    format!("{}: {}{not_null}", field.name(), field_type_text(field))
}

fn children(data_type: &DataType) -> Vec<&FieldRef> {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => vec![item],
        DataType::Struct(members) => members.iter().collect(),
        _ => Vec::new(),
    }
}

/// The key or value of a map, with its name where that is not the usual one.
fn map_side_text(field: &Field, usual_name: &str) -> String {
    let text = field_type_text(field);
    if field.name() == usual_name { text } else { format!("{text} ('{}')", field.name()) }
}

/// The text of a schema: a line per column, indented ones for what is nested in it.
#[must_use]
pub fn schema_text(fields: &[FieldRef]) -> String {
    let mut text = String::new();
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        text.push_str(&member_text(field));
        push_children(field, 1, &mut text);
    }
    text
}

fn push_children(field: &Field, depth: usize, text: &mut String) {
    if field_type_text(field).starts_with("extension<") {
        return;
    }
    for (index, child) in children(field.data_type()).into_iter().enumerate() {
        let _ = write!(text, "\n{:indent$}child {index}, {}", "", member_text(child), indent = depth * 2);
        push_children(child, depth + 1, text);
    }
}
