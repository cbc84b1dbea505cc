//! Options of the folder modules. Refuses row filters, which a README cannot spell anyway.

use serde_json::Value as Json;

use crate::error::{ErrorClass, FormatError};
use crate::module::Params;

/// The names of the options (dataset-loading.md section 1.10).
pub(super) const NAMES: &[&str] =
    &["drop_labels", "drop_metadata", "features", "filters", "metadata_filenames"];

const METADATA_FILE_NAMES: &[&str] = &["metadata.csv", "metadata.jsonl", "metadata.parquet"];

/// Checked options.
#[derive(Debug)]
pub(super) struct Options {
    /// `None` leaves it to the folders.
    pub(super) drop_labels: Option<bool>,
    pub(super) drop_metadata: bool,
    pub(super) metadata_file_names: Vec<String>,
}

impl Options {
    pub(super) fn new(params: &Params) -> Result<Self, FormatError> {
        let set = |name: &str| params.get(name).filter(|value| !value.is_null());
        if set("filters").is_some() {
            let message = "rows of metadata files cannot be filtered here; leave `filters` out of the config";
            return Err(FormatError::new(ErrorClass::NotImplementedError, message));
        }
        Ok(Self {
            drop_labels: set("drop_labels").map(is_truthy),
            drop_metadata: set("drop_metadata").is_some_and(is_truthy),
            metadata_file_names: match set("metadata_filenames").filter(|names| is_truthy(names)) {
                None => METADATA_FILE_NAMES.iter().map(|&name| name.to_owned()).collect(),
                Some(Json::Array(names)) => {
                    names.iter().filter_map(Json::as_str).map(str::to_owned).collect()
                }
                Some(name) => name.as_str().map(str::to_owned).into_iter().collect(),
            },
        })
    }

    pub(super) fn is_metadata(&self, base_name: &str) -> bool {
        self.metadata_file_names.iter().any(|name| name == base_name)
    }
}

/// Whether Python takes a value of a README for true.
fn is_truthy(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(value) => *value,
        Json::Number(number) => number.as_f64() != Some(0.0),
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => !items.is_empty(),
        Json::Object(members) => !members.is_empty(),
    }
}
