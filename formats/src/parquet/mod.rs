//! Parquet files (dataset-loading.md sections 1.8, 4.3 and 4.4).
//!
//! Owns ranged reading: the footer, then only the pages that the asked rows need. Features come from the first file's
//! schema and its `huggingface` metadata. Refuses encrypted files, row filters, and footers or pages beyond the limits;
//! other failures carry pyarrow's classes and messages.

mod codec;
mod column;
mod footer;
mod page_header;
mod reader;
mod schema;
mod schema_depth;
mod thrift;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::Value as Json;

use self::footer::Footer;
use self::reader::ParquetReader;
use crate::error::{ErrorClass, FormatError};
use crate::features::Features;
use crate::module::{DataFile, Module, Params};
use crate::table::TableReader;

/// The `parquet` module.
pub struct Parquet;

impl Module for Parquet {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn extracts(&self) -> bool {
        false
    }

    fn param_names(&self) -> &'static [&'static str] {
        &["batch_size", "columns", "features", "filters", "fragment_scan_options", "on_bad_files"]
    }

    fn features_at_open(
        &self,
        files: &mut dyn Iterator<Item = Result<DataFile, FormatError>>,
        params: &Params,
    ) -> Result<Option<Features>, FormatError> {
        let options = Options::new(params)?;
        for file in files {
            let read = file.and_then(|file| Footer::read(Arc::clone(&file.source)));
            match read {
                Ok(footer) => {
                    let mut features = Features::from_schema(&footer.fields, footer.huggingface.as_deref())?;
                    if let Some(columns) = &options.columns {
                        features.0.retain(|(name, _)| columns.iter().any(|column| **column == **name));
                    }
                    return Ok(Some(features));
                }
                Err(error) if options.skips(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn open(
        &self,
        file: &DataFile,
        params: &Params,
        _features: Option<&Features>,
    ) -> Result<Box<dyn TableReader>, FormatError> {
        let options = Options::new(params)?;
        let opened = Footer::read(Arc::clone(&file.source)).and_then(|footer| {
            ParquetReader::new(footer, options.columns.as_deref(), options.batch_is_first_group)
        });
        match opened {
            Ok(reader) => Ok(Box::new(reader)),
            Err(error) if options.skips(&error) => Ok(Box::new(NoTables)),
            Err(error) => Err(error),
        }
    }
}

/// Options of a README's config, checked.
struct Options {
    columns: Option<Vec<String>>,
    batch_is_first_group: bool,
    skips_bad_files: bool,
}

impl Options {
    fn new(params: &Params) -> Result<Self, FormatError> {
        if params.get("filters").is_some_and(|filters| !filters.is_null()) {
            return Err(FormatError::new(
                ErrorClass::NotImplementedError,
                "The `filters` option of parquet is not supported; remove it from the config in README.md.",
            ));
        }
        Ok(Self {
            columns: column_names(params.get("columns"))?,
            batch_is_first_group: is_falsy(params.get("batch_size")),
            skips_bad_files: matches!(
                params.get("on_bad_files").and_then(Json::as_str),
                Some("warn" | "skip")
            ),
        })
    }

    /// Whether `on_bad_files` says to go on after this error.
    fn skips(&self, error: &FormatError) -> bool {
        self.skips_bad_files && matches!(error.class, ErrorClass::ArrowInvalid | ErrorClass::ValueError)
    }
}

fn is_falsy(value: Option<&Json>) -> bool {
    value.is_none_or(|value| value.is_null() || value.as_f64() == Some(0.0))
}

fn column_names(columns: Option<&Json>) -> Result<Option<Vec<String>>, FormatError> {
    let invalid = || FormatError::new(ErrorClass::TypeError, "`columns` must be a list of column names.");
    match columns {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Array(names)) => names
            .iter()
            .map(|name| name.as_str().map(str::to_owned).ok_or_else(invalid))
            .collect::<Result<_, _>>()
            .map(Some),
        Some(_) => Err(invalid()),
    }
}

/// A file that was skipped.
struct NoTables;

impl TableReader for NoTables {
    fn next_table(&mut self, _row_limit: usize) -> Result<Option<crate::table::Table>, FormatError> {
        Ok(None)
    }
}
