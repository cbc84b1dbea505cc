//! Golden tables: what the original answered, row by row (`tests/parity/cases.json`).
//!
//! Owns reading the tables and the rule for differences: a row that we answer differently on purpose is listed with its
//! reason, and the test fails both for an unlisted difference and for a listed row that agrees.

mod arrow_types;
mod casts;
mod features;
mod values;

use serde_json::Value as Json;

use crate::error::FormatError;

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/parity/cases.json");
/// The environment whose answers count where they differ from the newest versions.
const VIEWER_PINS: &str = "viewer_pins";
/// A later release, of which rows beside those of the main table are used.
const RELEASE: &str = "pypi_5_2_0";

fn cases() -> Json {
    let text = std::fs::read_to_string(CASES).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The rows of a table: those of the viewer's environment where they differ.
fn table(name: &str) -> Vec<Json> {
    let cases = cases();
    let variant = &cases["tables_variants"][VIEWER_PINS][name];
    let rows = if variant.is_array() { variant } else { &cases["tables"][name] };
    rows.as_array().unwrap().clone()
}

/// The rows of a table and those that only a later release has, without the types that it added.
fn table_with_release(name: &str) -> Vec<Json> {
    let mut rows = table(name);
    let text = cases()["tables_variants"][RELEASE][name].to_string();
    let release: Vec<Json> =
        serde_json::from_str(&text.replace("'BioSequence', 'BioStructure', ", "")).unwrap();
    for row in release {
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    rows
}

/// Runs `check` on every row; `known` lists rows, by a part of their JSON, that differ for a reason.
fn check_rows(rows: &[Json], known: &[(&str, &str)], check: impl Fn(&Json) -> Result<(), String>) {
    assert!(!rows.is_empty());
    let mut problems = Vec::new();
    for row in rows {
        let text = row.to_string();
        let listed = known.iter().find(|(part, _)| text.contains(part));
        match (check(row), listed) {
            (Ok(()), None) | (Err(_), Some(_)) => {}
            (Err(difference), None) => problems.push(format!("{text}\n  {difference}")),
            (Ok(()), Some((_, reason))) => {
                problems.push(format!("{text}\n  agrees, yet is listed: {reason}"));
            }
        }
    }
    for (part, _) in known {
        if !rows.iter().any(|row| row.to_string().contains(part)) {
            problems.push(format!("no row holds {part}"));
        }
    }
    assert!(problems.is_empty(), "{} of {} rows:\n{}", problems.len(), rows.len(), problems.join("\n"));
}

/// Compares with the first error of a row, or runs `agree` on the result when the row has none.
fn check_outcome<T>(
    row: &Json,
    outcome: Result<T, FormatError>,
    agree: impl FnOnce(T) -> Result<(), String>,
) -> Result<(), String> {
    match (outcome, row["error"].get(0)) {
        (Ok(value), None) => agree(value),
        (Ok(_), Some(_)) => Err("we give no error".into()),
        (Err(error), Some(expected))
            if expected["class"] == error.class.to_string() && expected["message"] == *error.message =>
        {
            Ok(())
        }
        (Err(error), _) => Err(format!("we fail with {error:?}")),
    }
}

fn check_equal(what: &str, ours: &Json, expected: &Json) -> Result<(), String> {
    if ours == expected { Ok(()) } else { Err(format!("{what}: we have {ours}")) }
}

#[test]
#[should_panic(expected = "differs on purpose")]
fn an_unlisted_difference_fails() {
    check_rows(&[Json::from(1)], &[], |_| Err("differs on purpose".into()));
}

#[test]
#[should_panic(expected = "agrees, yet is listed")]
fn a_listed_row_that_agrees_fails() {
    check_rows(&[Json::from(1)], &[("1", "a reason")], |_| Ok(()));
}
