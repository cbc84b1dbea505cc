//! The golden cases for tests: files in, rows as the cases spell them out.

use std::sync::{Arc, LazyLock};

use arrow_schema::TimeUnit;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::{Value as Json, json};

use crate::{DataFile, Feature, Features, FormatError, Module, Params, Value};

static CASES: LazyLock<Json> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../tests/parity/cases.json")).expect("the cases are JSON")
});

/// A unit table by name.
pub(crate) fn table(name: &str) -> &'static [Json] {
    CASES["tables"][name].as_array().expect("the table exists")
}

/// A case: its files, and what the only split of its default config answers.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) files: Vec<DataFile>,
    pub(crate) split: &'static Json,
    config: &'static Json,
}

/// The cases whose name starts with `prefix`, without a README.
pub(crate) fn cases(prefix: &str) -> Vec<Case> {
    let all = CASES["cases"].as_array().expect("a list").iter();
    all.filter(|case| case["name"].as_str().is_some_and(|name| name.starts_with(prefix)))
        .filter(|case| case["files"].get("README.md").is_none())
        .map(|case| {
            let result = case.pointer("/variants/viewer_pins").unwrap_or(&case["result"]);
            let config = result.pointer("/configs/default").expect("every case has the default config");
            Case {
                name: case["name"].as_str().expect("a name"),
                files: files(&case["files"]),
                split: &config["per_split"]["train"],
                config,
            }
        })
        .collect()
}

impl Case {
    /// The last link of the error that `key` holds, in the split or else in its config, as `Class: message`.
    pub(crate) fn error(&self, key: &str) -> Option<String> {
        let chain = self.split.get(key).or_else(|| self.config.get(key))?.as_array()?;
        let error = chain.last()?;
        Some(format!("{}: {}", error["class"].as_str()?, error["message"].as_str()?))
    }
}

fn files(files: &Json) -> Vec<DataFile> {
    let files = files.as_object().expect("files by path").iter();
    files
        .map(|(path, content)| {
            let bytes = match content.get("text") {
                Some(text) => text.as_str().expect("text").as_bytes().to_vec(),
                None => BASE64_STANDARD.decode(content["base64"].as_str().expect("base64")).expect("base64"),
            };
            data_file(path, bytes)
        })
        .collect()
}

/// A file in memory.
pub(crate) fn data_file(path: &str, bytes: impl Into<Bytes>) -> DataFile {
    DataFile { path: path.to_owned(), url: path.to_owned(), source: Arc::new(bytes.into()) }
}

/// Features at open and up to `limit` rows of files read one after the other, as JSON objects.
pub(crate) type Read = (Option<Features>, Vec<Json>);

/// Reads files through a module: columns in the features' order, missing ones null, no casts.
pub(crate) fn read(
    module: &dyn Module,
    files: &[DataFile],
    params: &Params,
    limit: usize,
) -> Result<Read, FormatError> {
    let features = module.features_at_open(&mut files.iter().cloned().map(Ok), params)?;
    let mut rows = Vec::new();
    for file in files {
        let mut reader = module.open(file, params, features.as_ref())?;
        while rows.len() < limit {
            let Some(table) = reader.next_table(limit - rows.len())? else { break };
            assert!(table.row_count >= table.rows.len());
            for row in &table.rows {
                assert_eq!(row.len(), table.fields.len());
                let columns = features.iter().flat_map(|features| &features.0);
                let mut cells: serde_json::Map<_, _> =
                    columns.map(|(name, _)| (name.to_string(), Json::Null)).collect();
                for (field, value) in table.fields.iter().zip(row) {
                    let feature = features.as_ref().and_then(|features| features.get(field.name()));
                    cells.insert(field.name().clone(), cell(value, feature));
                }
                rows.push(Json::Object(cells));
            }
        }
    }
    Ok((features, rows))
}

/// A cell as the cases write it.
pub(crate) fn cell(value: &Value, feature: Option<&Feature>) -> Json {
    match (value, feature) {
        (Value::Null, _) => Json::Null,
        (Value::Str(text), Some(Feature::Json { .. })) => {
            crate::json_text::ujson::loads(text).unwrap_or_else(|| json!(&**text))
        }
        (Value::Bool(value), _) => json!(value),
        (Value::Int(value), _) => json!(value),
        (Value::UInt(value), _) => json!(value),
        (Value::Float(value), _) => float(*value),
        (Value::Str(text), _) => json!(&**text),
        (Value::Bytes(bytes), _) => json!({"$bytes_b64": BASE64_STANDARD.encode(bytes)}),
        (Value::Decimal(text), _) => json!({"$decimal": &**text}),
        (Value::Date(days), _) => {
            let date =
                chrono::NaiveDate::default() + chrono::Days::new(u64::try_from(*days).expect("after 1970"));
            json!({"$date": date.to_string()})
        }
        (Value::Time(units, unit), _) => json!({"$time": clock(*units, *unit)}),
        (Value::Timestamp(units, unit, zone), _) => {
            json!({"$datetime": datetime(*units, *unit, zone.as_deref())})
        }
        (Value::Duration(units, unit), _) => json!({"$timedelta_us": micros(*units, *unit)}),
        (Value::List(items), feature) => {
            let item = match feature {
                Some(Feature::List { feature, .. } | Feature::LargeList { feature, .. }) => Some(&**feature),
                _ => None,
            };
            items.iter().map(|value| cell(value, item)).collect()
        }
        (Value::Struct(members), feature) => {
            let members = members.iter().map(|(name, value)| {
                let inner = match feature {
                    Some(Feature::Struct(features)) => features.get(name),
                    _ => None,
                };
                (name.to_string(), cell(value, inner))
            });
            Json::Object(members.collect())
        }
    }
}

fn float(value: f64) -> Json {
    if value.is_nan() {
        return json!({"$float": "nan"});
    }
    if value.is_infinite() {
        return json!({"$float": if value > 0.0 { "inf" } else { "-inf" }});
    }
    json!(value)
}

fn micros(units: i64, unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => units * 1_000_000,
        TimeUnit::Millisecond => units * 1_000,
        TimeUnit::Microsecond => units,
        TimeUnit::Nanosecond => units / 1_000,
    }
}

fn clock(units: i64, unit: TimeUnit) -> String {
    let time = chrono::DateTime::from_timestamp_micros(micros(units, unit)).expect("in range").time();
    if micros(units, unit) % 1_000_000 == 0 {
        time.format("%H:%M:%S").to_string()
    } else {
        time.format("%H:%M:%S%.6f").to_string()
    }
}

fn datetime(units: i64, unit: TimeUnit, zone: Option<&str>) -> String {
    let utc = chrono::DateTime::from_timestamp_micros(micros(units, unit)).expect("in range");
    let fraction = if micros(units, unit) % 1_000_000 == 0 { "" } else { "%.6f" };
    match zone {
        None => utc.naive_utc().format(&format!("%Y-%m-%dT%H:%M:%S{fraction}")).to_string(),
        Some(zone) => {
            let zone: chrono_tz::Tz = zone.parse().expect("a zone");
            utc.with_timezone(&zone).format(&format!("%Y-%m-%dT%H:%M:%S{fraction}%:z")).to_string()
        }
    }
}
