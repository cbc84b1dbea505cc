//! The csv module: separated values as pandas 2 reads them.
//!
//! Owns the rules of dataset-loading.md section 1.6. Types are inferred per chunk of 10 000 rows; features of a config choose how
//! columns are read. Refuses options that need pandas' Python engine. Broken files fail with pandas' classes and
//! texts (`ParserError`, `EmptyDataError`, `UnicodeDecodeError`).
//!
//! Deliberate differences: types are inferred over the whole chunk also where pandas cuts it further (64 columns and more)
//! and then fails on mixed results; in files whose lines end in a bare CR, lines that start with whitespace are read
//! once, where pandas repeats or loses them.

mod cells;
mod columns;
mod dialect;
mod dtype;
mod infer;
mod number;
mod options;
mod reader;
mod tokenizer;

use crate::compression::open_extracted;
use crate::encoding::Decoder;
use crate::error::FormatError;
use crate::features::Features;
use crate::module::{DataFile, Module, Params};
use crate::table::TableReader;

use options::Options;
use reader::CsvReader;

/// The csv module.
pub struct Csv;

impl Module for Csv {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn extracts(&self) -> bool {
        true
    }

    fn param_names(&self) -> &'static [&'static str] {
        options::PARAM_NAMES
    }

    fn open(
        &self,
        file: &DataFile,
        params: &Params,
        features: Option<&Features>,
    ) -> Result<Box<dyn TableReader>, FormatError> {
        let options = Options::from_params(params)?;
        let decoder = Decoder::new(open_extracted(file)?, options.encoding, options.on_invalid);
        Ok(Box::new(CsvReader::new(decoder, options, features)))
    }
}

#[cfg(test)]
mod tests;
