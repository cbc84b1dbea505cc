//! Golden cases and tables; the rules one by one in [`rules`], documents that pandas reads in [`frames`].

mod frames;
mod hostile;
mod rules;

use serde_json::{Value as JsonValue, json};

use super::Json;
use super::infer::{Chunk, InferError, infer};
use super::paths::JsonPaths;
use super::scan::Layout;
use super::shape;
use crate::features::type_text::arrow_type_text;
use crate::golden::{self, data_file};
use crate::{FormatError, Params};

/// Cases whose files are no JSON alone, or that the loading rules reduce.
const NOT_JSON_ALONE: [&str; 2] = ["jsonl_json_parquet_tie", "json_config_json_ignored"];

/// Casts between files are not this module's: rows up to the first failed cast are.
#[test]
fn the_golden_cases_read_as_the_original_reads_them() {
    let cases = golden::cases("json_").into_iter().chain(golden::cases("jsonl_"));
    let cases: Vec<_> = cases.filter(|case| !NOT_JSON_ALONE.contains(&case.name)).collect();
    assert!(cases.len() >= 40);
    for case in &cases {
        match golden::read(&Json, &case.files, &Params::new(), 30) {
            Ok((features, rows)) => {
                let known = case.split["features_known_at_open"].as_bool();
                assert_eq!(Some(features.is_some()), known, "{}", case.name);
                if let Some(features) = features {
                    assert_eq!(features.to_json(), case.split["features"], "{}", case.name);
                }
                let expected = case.split["rows"].as_array().map_or(&[][..], Vec::as_slice);
                assert_eq!(&rows[..expected.len()], expected, "{}", case.name);
            }
            Err(error) => {
                let keys = ["plain_iteration_error", "rows_error_after", "splits_error"];
                let known = keys.iter().find_map(|key| case.error(key));
                assert_eq!(Some(error.to_string()), known, "{}", case.name);
            }
        }
    }
}

/// What Arrow's reader alone says of a text: the types and the rows.
fn arrow_reader(text: &str) -> Result<(JsonValue, JsonValue), FormatError> {
    let bytes = text.strip_prefix('\u{feff}').unwrap_or(text).as_bytes();
    let chunk = Chunk {
        bytes,
        layout: Layout::Lines,
        is_cut: false,
        row_limit: 100,
        finds_mixed: false,
        encodes_mixed: false,
    };
    let typed = infer(chunk, &mut JsonPaths::default()).map_err(|error| match error {
        InferError::Arrow(error) | InferError::Final(error) => error,
    })?;
    let types = typed.columns.iter().map(|(name, column)| {
        let field = shape::field(name, column, false);
        (name.to_string(), json!(arrow_type_text(field.data_type())))
    });
    let rows = typed.read_rows(bytes)?.into_iter().map(|row| {
        let cells = typed.columns.iter().zip(&row);
        JsonValue::Object(
            cells.map(|((name, _), value)| (name.to_string(), golden::cell(value, None))).collect(),
        )
    });
    Ok((JsonValue::Object(types.collect()), rows.collect()))
}

#[test]
fn types_and_values_are_those_of_the_arrow_reader() {
    let table = golden::table("arrow_json_reader");
    assert!(table.len() >= 35);
    for row in table {
        let text = row["text"].as_str().unwrap();
        match arrow_reader(text) {
            Ok((types, rows)) => {
                assert_eq!(types, row["schema"], "{text}");
                // Python has no year 0; Arrow does.
                if row.get("rows").is_some() {
                    assert_eq!(rows, row["rows"], "{text}");
                }
            }
            Err(error) => {
                let known = &row["error"][0];
                let known =
                    format!("{}: {}", known["class"].as_str().unwrap(), known["message"].as_str().unwrap());
                assert_eq!(error.to_string(), known, "{text}");
            }
        }
    }
}

/// Features (when known at open) and rows of one file.
fn read(text: impl Into<Vec<u8>>) -> Result<golden::Read, FormatError> {
    read_with(text, &Params::new())
}

fn read_with(text: impl Into<Vec<u8>>, params: &Params) -> Result<golden::Read, FormatError> {
    golden::read(&Json, &[data_file("a.jsonl", text.into())], params, 100)
}

fn params(value: JsonValue) -> Params {
    match value {
        JsonValue::Object(params) => params,
        other => panic!("{other} is no object"),
    }
}

/// The features' JSON of a file whose features are known at open.
fn features(text: &str) -> JsonValue {
    read(text).unwrap().0.expect("known at open").to_json()
}

fn rows(text: &str) -> Vec<JsonValue> {
    read(text).unwrap().1
}

fn value(dtype: &str) -> JsonValue {
    json!({"dtype": dtype, "_type": "Value"})
}

fn json_type() -> JsonValue {
    json!({"_type": "Json"})
}
