//! The xml module: one row per file, its whole text.
//!
//! Owns the rules of dataset-loading.md section 1.12. The text is not parsed; it is bounded as one row of the text module is.
//!
//! Deliberate difference: the library means to do this and fails on every file.

use crate::error::FormatError;
use crate::features::Features;
use crate::module::{DataFile, Module, Params};
use crate::table::TableReader;
use crate::text::document_reader;

/// The xml module.
pub struct Xml;

impl Module for Xml {
    fn name(&self) -> &'static str {
        "xml"
    }

    fn extracts(&self) -> bool {
        true
    }

    fn param_names(&self) -> &'static [&'static str] {
        &["features", "encoding", "encoding_errors"]
    }

    fn open(
        &self,
        file: &DataFile,
        params: &Params,
        features: Option<&Features>,
    ) -> Result<Box<dyn TableReader>, FormatError> {
        document_reader(file, params, features, "xml")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::simple_cases::{file, params, read, rows_json};

    #[test]
    fn a_file_is_a_row_of_its_text() {
        let rows = |data: &[u8], options| {
            rows_json(&read(&Xml, &file("a.xml", data), &params(options), None).unwrap())
        };
        assert_eq!(rows(b"<r>\r\n\r\n</r>\n", json!({})), [json!({"xml": "<r>\n\n</r>\n"})]);
        assert_eq!(rows(b"not xml", json!({})), [json!({"xml": "not xml"})]);
        assert_eq!(rows(b"<\xe9/>", json!({"encoding": "latin-1"})), [json!({"xml": "<\u{e9}/>"})]);
    }

    #[test]
    fn the_column_is_called_as_the_features_say() {
        let features = Features::from_json(&json!({"page": {"dtype": "string", "_type": "Value"}})).unwrap();
        let tables = read(&Xml, &file("a.xml", "<r/>"), &Params::new(), Some(&features)).unwrap();
        assert_eq!(rows_json(&tables), [json!({"page": "<r/>"})]);
    }
}
