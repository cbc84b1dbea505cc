//! JSON files: JSON Lines, arrays, single objects, documents with the rows in a field (dataset-loading.md section 1.7).
//!
//! Owns Arrow's type inference over the first 10 MiB, the JSON text that mixed values become, and pandas' reading of
//! what Arrow refuses. Bounded: one chunk, or a whole document of up to [`limits::WHOLE_FILE_BYTES_MAX`], is in memory;
//! only the asked rows become values. Agent traces are read as the rows that they are written in.
//!
//! [`limits::WHOLE_FILE_BYTES_MAX`]: outpost_model::limits::WHOLE_FILE_BYTES_MAX

mod align;
mod chunks;
mod dom;
mod dump;
mod frame;
mod frame_types;
mod infer;
mod lexer;
mod number;
mod options;
mod paths;
mod reader;
mod rows;
mod scan;
mod shape;
mod timestamp;
mod tree;

#[cfg(test)]
mod tests;

use self::options::Options;
use self::reader::{FirstTable, JsonReader};
use crate::error::{ErrorClass, FormatError};
use crate::features::Features;
use crate::module::{DataFile, Module, Params};
use crate::table::TableReader;

/// The `json` module.
pub struct Json;

impl Module for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn extracts(&self) -> bool {
        true
    }

    fn param_names(&self) -> &'static [&'static str] {
        options::NAMES
    }

    fn features_at_open(
        &self,
        files: &mut dyn Iterator<Item = Result<DataFile, FormatError>>,
        params: &Params,
    ) -> Result<Option<Features>, FormatError> {
        let options = Options::new(params)?;
        for (index, file) in files.enumerate() {
            let mut reader = JsonReader::open(&file?, options.clone(), None)?;
            if index > 0 {
                reader = reader.without_mixed_search();
            }
            match reader.first_table()? {
                FirstTable::Empty => {}
                FirstTable::NeedsAll => return Ok(None),
                FirstTable::Typed(typed) => {
                    let fields: Vec<_> =
                        typed.columns.iter().map(|(name, shape)| shape::field(name, shape, true)).collect();
                    return Features::from_schema(&fields, None).map(Some);
                }
            }
        }
        Err(FormatError::new(ErrorClass::StopIteration, ""))
    }

    fn open(
        &self,
        file: &DataFile,
        params: &Params,
        features: Option<&Features>,
    ) -> Result<Box<dyn TableReader>, FormatError> {
        let reader = JsonReader::open(file, Options::new(params)?, features)?;
        Ok(Box::new(reader))
    }
}
