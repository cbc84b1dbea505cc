//! Golden cases and tables, and the rules one by one.

use super::Json;
use crate::{Params, golden};

/// Files that are no JSON, or that the rules leave out.
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
