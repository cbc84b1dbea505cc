//! Arrow IPC files, stream or file format (dataset-loading.md section 1.8).
//!
//! Owns bounded decoding, one record batch at a time, each fully validated. Features come from the first file's schema
//! and its `huggingface` metadata. Refuses messages beyond the limits and the other byte order.

mod messages;
mod reader;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::messages::Messages;
use self::reader::ArrowReader;
use crate::error::FormatError;
use crate::features::Features;
use crate::module::{DataFile, Module, Params};
use crate::table::TableReader;

/// The `arrow` module.
pub struct Arrow;

impl Module for Arrow {
    fn name(&self) -> &'static str {
        "arrow"
    }

    fn extracts(&self) -> bool {
        false
    }

    fn param_names(&self) -> &'static [&'static str] {
        &["features"]
    }

    fn features_at_open(
        &self,
        files: &mut dyn Iterator<Item = Result<DataFile, FormatError>>,
        _params: &Params,
    ) -> Result<Option<Features>, FormatError> {
        let Some(file) = files.next() else { return Ok(None) };
        let (_, schema) = Messages::open(Arc::clone(&file?.source))?;
        let huggingface = schema.metadata().get("huggingface");
        Features::from_schema(&reader::fields(&schema), huggingface.map(String::as_str)).map(Some)
    }

    fn open(
        &self,
        file: &DataFile,
        _params: &Params,
        _features: Option<&Features>,
    ) -> Result<Box<dyn TableReader>, FormatError> {
        let (messages, schema) = Messages::open(Arc::clone(&file.source))?;
        Ok(Box::new(ArrowReader::new(messages, schema)))
    }
}
