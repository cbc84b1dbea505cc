//! Reference cases that need one module only: one data file, read without the loading rules.
//!
//! Owns picking them from the parity data and comparing their rows and errors with what a module yields.

use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use serde_json::Value as Json;

use crate::module::{DataFile, Module, Params};
use crate::{Features, FormatError, Table, Value};

/// A file in memory.
pub(crate) fn file(path: &str, data: impl AsRef<[u8]>) -> DataFile {
    DataFile {
        path: path.to_owned(),
        url: path.to_owned(),
        source: Arc::new(Bytes::copy_from_slice(data.as_ref())),
    }
}

/// Options as JSON.
pub(crate) fn params(json: Json) -> Params {
    serde_json::from_value(json).unwrap()
}

/// All tables of a file, with every row.
pub(crate) fn read(
    module: &dyn Module,
    file: &DataFile,
    params: &Params,
    features: Option<&Features>,
) -> Result<Vec<Table>, FormatError> {
    let mut reader = module.open(file, params, features)?;
    let mut tables = Vec::new();
    while let Some(table) = reader.next_table(usize::MAX)? {
        tables.push(table);
    }
    Ok(tables)
}

/// A value as the parity data writes it.
pub(crate) fn value_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::UInt(value) => (*value).into(),
        Value::Float(value) if value.is_nan() => serde_json::json!({"$float": "nan"}),
        Value::Float(value) if value.is_infinite() => {
            serde_json::json!({"$float": if *value > 0.0 { "inf" } else { "-inf" }})
        }
        Value::Float(value) => (*value).into(),
        Value::Str(value) => Json::String(value.to_string()),
        other => panic!("no such value in text formats: {other:?}"),
    }
}

/// Rows of tables as JSON objects.
pub(crate) fn rows_json(tables: &[Table]) -> Vec<Json> {
    let mut rows = Vec::new();
    for table in tables {
        for row in &table.rows {
            let members = table.fields.iter().zip(row);
            rows.push(Json::Object(
                members.map(|(field, value)| (field.name().clone(), value_json(value))).collect(),
            ));
        }
    }
    rows
}

/// A reference case: one file, one split, no README.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) file: DataFile,
    /// The split's part of the expected result.
    expected: Json,
}

fn file_bytes(content: &Json) -> Vec<u8> {
    if let Some(text) = content["text"].as_str() {
        return text.as_bytes().to_vec();
    }
    if let Some(text) = content["base64"].as_str() {
        return base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    }
    let generated = &content["generated"];
    let line = format!("{}\n", generated["repeat_line"].as_str().unwrap());
    let repeat = usize::try_from(generated["repeat"].as_u64().unwrap()).unwrap();
    let (header, last) = (generated["header"].as_str().unwrap(), generated["last_line"].as_str().unwrap());
    format!("{header}\n{}{last}\n", line.repeat(repeat)).into_bytes()
}

/// The cases of a module that have one data file and no options.
pub(crate) fn cases_of(module: &str) -> Vec<Case> {
    let all: Json = serde_json::from_str(include_str!("../../tests/parity/cases.json")).unwrap();
    let mut cases = Vec::new();
    for case in all["cases"].as_array().unwrap() {
        let result = case["variants"].get("viewer_pins").unwrap_or(&case["result"]);
        let config = &result["configs"]["default"];
        let files = case["files"].as_object().unwrap();
        let (Some((path, content)), 1) = (files.iter().next(), files.len()) else { continue };
        let expected = &config["per_split"]["train"];
        if config["module"] != module || !expected.is_object() || path.ends_with(".zip") {
            continue;
        }
        let name = case["name"].as_str().unwrap().to_owned();
        cases.push(Case { name, file: file(path, file_bytes(content)), expected: expected.clone() });
    }
    cases
}

impl Case {
    /// Compares rows, count, column types and errors.
    ///
    /// # Panics
    /// When they differ.
    pub(crate) fn check(&self, outcome: Result<Vec<Table>, FormatError>) {
        let name = &self.name;
        let expected = &self.expected;
        if let Some(chain) = expected.get("plain_iteration_error").and_then(Json::as_array) {
            let error = outcome.expect_err(name);
            let cause = chain.last().unwrap();
            assert_eq!(cause["class"], error.class.to_string(), "{name}");
            assert_eq!(cause["message"], error.message, "{name}");
            return;
        }
        let tables = outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        let rows = rows_json(&tables);
        let wanted = expected.get("rows_plain_iteration").unwrap_or(&expected["rows"]).as_array().unwrap();
        assert_eq!(&rows[..wanted.len().min(rows.len())], wanted.as_slice(), "{name}");
        assert_eq!(expected["total_rows_plain_iteration"], rows.len(), "{name}");
        assert_eq!(tables.iter().map(|table| table.row_count).sum::<usize>(), rows.len(), "{name}");
        self.check_types(&tables);
    }

    /// Compares column types with the announced features, where those are not null.
    fn check_types(&self, tables: &[Table]) {
        let (Some(features), Some(table)) = (self.expected["features"].as_object(), tables.first()) else {
            return;
        };
        let names: Vec<&String> = features.keys().collect();
        let fields: Vec<&String> = table.fields.iter().map(|field| field.name()).collect();
        assert_eq!(fields, names, "{}", self.name);
        for (field, feature) in table.fields.iter().zip(features.values()) {
            let dtype = match field.data_type() {
                arrow_schema::DataType::Utf8 => "string".to_owned(),
                arrow_schema::DataType::Boolean => "bool".to_owned(),
                other => other.to_string().to_ascii_lowercase(),
            };
            if feature["dtype"] != "null" {
                assert_eq!(feature["dtype"], dtype, "{} column {}", self.name, field.name());
            }
        }
    }
}
