//! Golden cases, both layouts, and hostile files.

use super::Arrow;
use crate::{Params, golden};

#[test]
fn the_golden_cases_read_as_the_original_reads_them() {
    let cases = golden::cases("arrow_");
    assert!(!cases.is_empty());
    for case in &cases {
        let (features, rows) = golden::read(&Arrow, &case.files, &Params::new(), 30).unwrap();
        assert_eq!(features.unwrap().to_json(), case.split["features"], "{}", case.name);
        assert_eq!(serde_json::Value::from(rows), case.split["rows"], "{}", case.name);
    }
}
