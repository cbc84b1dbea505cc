//! Golden cases, ranged reading and hostile files.

use super::Parquet;
use crate::Params;
use crate::golden;

/// Casts between files are not this module's: rows up to the first failed cast are.
#[test]
fn the_golden_cases_read_as_the_original_reads_them() {
    let mut seen = 0;
    for case in golden::cases("parquet_") {
        seen += 1;
        match golden::read(&Parquet, &case.files, &Params::new(), 30) {
            Ok((features, rows)) => {
                let features = features.expect("known at open").to_json();
                assert_eq!(features, case.split["features"], "{}", case.name);
                let expected = case.split["rows"].as_array().expect("rows");
                assert_eq!(&rows[..expected.len()], expected, "{}", case.name);
            }
            Err(error) => {
                let known = case.error("rows_error_after").or_else(|| case.error("splits_error"));
                assert_eq!(Some(error.to_string()), known, "{}", case.name);
            }
        }
    }
    assert!(seen >= 15);
}
