//! The oracle's tables, for unit tests.

use serde_json::Value;

/// A table of `tests/parity/cases.json` by name.
pub fn table(name: &str) -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/parity/cases.json");
    let text = std::fs::read_to_string(path).expect("the oracle file is part of the tree");
    let mut file: Value = serde_json::from_str(&text).expect("the oracle file is JSON");
    let table = file["tables"][name].take();
    assert!(!table.is_null(), "the oracle has no table {name}");
    table
}

/// A JSON object of lists, in order.
pub fn object<'a, V: serde::Serialize + 'a>(entries: impl IntoIterator<Item = (&'a String, V)>) -> Value {
    Value::Object(entries.into_iter().map(|(key, value)| (key.clone(), serde_json::json!(value))).collect())
}
